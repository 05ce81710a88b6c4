//! What loading would change: the tables that are there and the streams' schemas, side by side.

use bobbin_core::catalog::Stream;
use bobbin_core::id::SchemaName;
use bobbin_core::plan::{TablePlan, TableState};
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_load::shape::plan::Place;
use bobbin_load::shape::types::ColumnType;
use duckdb::Connection;

use crate::config::Config;
use crate::error::Doing;
use crate::family::{Registry, Survey};
use crate::found;
use crate::ledger::Ledger;
use crate::query;
use crate::sql;
use crate::table::SYSTEM;

/// Plans the streams' tables. A file that is not there is not made.
pub(crate) fn plan(
    config: &Config,
    connection: &SchemaName,
    streams: &[Stream],
) -> Result<Vec<TablePlan>> {
    let what = "cannot begin a transaction";
    let open = config.path.exists().then(|| query::open(&config.path)).transpose()?;
    let nothing = Connection::open_in_memory().doing("cannot start DuckDB")?;
    let db = open.as_ref().map_or(&nothing, |open| &open.connection);
    db.execute_batch("BEGIN TRANSACTION READ ONLY").doing(what)?;
    let catalog = current_catalog(db)?;
    let place = (catalog.as_str(), connection.as_str());
    let ledger = Ledger::new(&catalog, connection);
    let ledger = is_loaded(db, &ledger, connection)?.then_some(ledger);
    let mut registry = match &ledger {
        Some(ledger) => Registry::read(db, ledger, place, config.layout)?,
        None => Registry::of(Vec::new(), place, config.layout),
    };
    let mut plans = Vec::new();
    for stream in streams {
        let stored = match &ledger {
            Some(ledger) => ledger.columns(db, stream.name.as_str())?,
            None => Vec::new(),
        };
        match registry.survey(db, &stored, stream) {
            Ok(survey) => plans.extend(tables(db, &mut registry, stream, survey)?),
            Err(error) if error.kind() == ErrorKind::SchemaConflict => {
                let name = registry.own_name(stream.name.as_str()).0;
                plans.push(stopped(stream, name, &error));
            }
            Err(error) => return Err(error.with("stream", &stream.name)),
        }
    }
    Ok(plans)
}

/// The tables of a stream that can be loaded.
fn tables(
    db: &Connection,
    registry: &mut Registry,
    stream: &Stream,
    survey: Survey,
) -> Result<Vec<TablePlan>> {
    let Survey { family, converter, found } = survey;
    let keyed = family.tables.first().is_some_and(|own| own.keyed);
    let mut plans = Vec::new();
    for sheet in converter.plan() {
        let at = family.tables.iter().position(|table| table.sub == sheet.sub);
        let name = match (at.map(|at| &family.tables[at]), &family.refused) {
            (Some(_), Some(reason)) if sheet.sub.is_own() => Err(reason.clone()),
            (Some(table), _) => Ok(table.place.table.clone()),
            (None, _) => registry.child_name(stream, &sheet.sub),
        };
        let columns = match (at, &name) {
            (Some(at), _) => found[at].clone(),
            (None, Ok(name)) => found::columns(db, &registry.place(name))?,
            (None, Err(_)) => Vec::new(),
        };
        if at.is_none()
            && let Ok(name) = &name
        {
            let lead: Vec<(String, ColumnType)> =
                sheet.lead.iter().filter_map(|(name, ty)| Some((name.clone(), (*ty)?))).collect();
            if let Err(error) = found::check(&registry.place(name), &lead, &[], &columns) {
                plans.push(stopped(stream, name.clone(), &error));
                continue;
            }
        }
        plans.push(sheet.table(Place {
            stream,
            table: name,
            found: &columns,
            system: &SYSTEM,
            keyed,
            case_sensitive: false,
            type_name: &sql::column_type,
        }));
    }
    Ok(plans)
}

fn stopped(stream: &Stream, table: String, error: &Error) -> TablePlan {
    TablePlan {
        stream: stream.name.clone(),
        table,
        state: TableState::Stops {
            message: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
        },
        key: Vec::new(),
        columns: Vec::new(),
    }
}

/// The name the file is attached under.
pub(crate) fn current_catalog(db: &Connection) -> Result<String> {
    db.query_row("SELECT current_database()", [], |row| row.get(0))
        .doing("cannot read the name of the database file")
}

/// Whether there are tables of a bobbin that can be read.
pub(crate) fn is_loaded(db: &Connection, ledger: &Ledger, connection: &SchemaName) -> Result<bool> {
    let there: bool = db
        .query_row(
            "SELECT count(*) > 0 FROM duckdb_tables()
             WHERE database_name = current_database() AND schema_name = ?
               AND table_name = '_bobbin_state'",
            [connection.as_str()],
            |row| row.get(0),
        )
        .doing("cannot see whether there are tables of bobbin")?;
    if !there {
        return Ok(false);
    }
    if ledger.is_newer(db)? {
        return Err(Error::config("the tables were written by a newer bobbin")
            .with("schema", connection)
            .hint("use that version of bobbin or a later one"));
    }
    Ok(true)
}
