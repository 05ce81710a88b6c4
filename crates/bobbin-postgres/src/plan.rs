//! What loading would change: the tables that are there and the streams' schemas, side by side.

use bobbin_core::catalog::Stream;
use bobbin_core::id::SchemaName;
use bobbin_core::plan::{TablePlan, TableState};
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_load::shape::plan::Place;
use bobbin_load::shape::types::ColumnType;
use postgres::Client;

use crate::client::connect;
use crate::config::Config;
use crate::error::Doing;
use crate::family::{Refusal, Registry, Survey};
use crate::ledger::Ledger;
use crate::sql;
use crate::table::SYSTEM;

/// Plans the streams' tables in one transaction that may change nothing.
pub(crate) fn plan(
    config: &Config,
    connection: &SchemaName,
    streams: &[Stream],
) -> Result<Vec<TablePlan>> {
    let mut db = connect(config)?;
    db.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .doing("cannot begin a transaction")?;
    let planned = plan_within(&mut db, config, connection, streams);
    db.batch_execute("ROLLBACK").doing("cannot end a transaction")?;
    planned
}

fn plan_within(
    db: &mut Client,
    config: &Config,
    connection: &SchemaName,
    streams: &[Stream],
) -> Result<Vec<TablePlan>> {
    let ledger = Ledger::new(connection);
    let there = ledger.is_there(db)?;
    let known = if there { ledger.tables(db)? } else { Vec::new() };
    let mut registry = Registry::of(known, connection.as_str(), config.layout);
    let mut plans = Vec::new();
    for stream in streams {
        let stored = if there { ledger.columns(db, stream.name.as_str())? } else { Vec::new() };
        let name = registry.own_name(stream);
        match registry.survey(db, stored, stream, name.clone()) {
            Ok(survey) => plans.extend(tables(db, &mut registry, stream, &name, survey)?),
            Err(error) if error.kind() == ErrorKind::SchemaConflict => {
                plans.push(stopped(stream, name, &error));
            }
            Err(error) => return Err(error.with("stream", &stream.name)),
        }
    }
    Ok(plans)
}

/// The tables of a stream that can be loaded.
fn tables(
    db: &mut Client,
    registry: &mut Registry,
    stream: &Stream,
    own: &Result<String, Refusal>,
    survey: Survey,
) -> Result<Vec<TablePlan>> {
    let Survey { family, converter, found, .. } = survey;
    let keyed = family.tables.first().is_some_and(|own| own.keyed);
    let mut plans = Vec::new();
    for sheet in converter.plan() {
        let at = family.tables.iter().position(|table| table.sub == sheet.sub);
        let name = match at.map(|at| &family.tables[at]) {
            Some(_) if sheet.sub.is_own() => own.clone().map_err(|refusal| refusal.reason),
            Some(table) => Ok(table.name.clone()),
            None => registry.child_name(stream, &sheet.sub),
        };
        let columns = match (at, &name) {
            (Some(at), _) => found[at].clone(),
            (None, Ok(name)) => crate::found::columns(db, &registry.schema, name)?,
            (None, Err(_)) => Vec::new(),
        };
        if at.is_none()
            && let Ok(name) = &name
        {
            let place = format!("{}.{name}", registry.schema);
            let lead: Vec<(String, ColumnType)> =
                sheet.lead.iter().filter_map(|(name, ty)| Some((name.clone(), (*ty)?))).collect();
            if let Err(error) = crate::found::check(&place, &lead, &[], &columns) {
                plans.push(stopped(stream, Ok(name.clone()), &error));
                continue;
            }
        }
        plans.push(sheet.table(Place {
            stream,
            table: name,
            found: &columns,
            system: &SYSTEM,
            keyed,
            case_sensitive: true,
            type_name: &|ty| sql::column_type(ty).to_owned(),
        }));
    }
    Ok(plans)
}

fn stopped(stream: &Stream, name: Result<String, Refusal>, error: &Error) -> TablePlan {
    TablePlan {
        stream: stream.name.clone(),
        table: name.unwrap_or_else(|refusal| refusal.stands_for_it),
        state: TableState::Stops {
            message: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
        },
        key: Vec::new(),
        columns: Vec::new(),
    }
}
