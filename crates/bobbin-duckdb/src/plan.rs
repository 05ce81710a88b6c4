//! What loading would change: the tables that are there and the streams' schemas, side by side.

use bobbin_core::catalog::Stream;
use bobbin_core::id::ConnectionId;
use bobbin_core::plan::{TablePlan, TableState};
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_load::shape::convert::Converter;
use bobbin_load::shape::name;
use bobbin_load::shape::plan::Place;
use bobbin_load::shape::tree::Column;
use duckdb::Connection;

use crate::config::Config;
use crate::error::Doing;
use crate::ledger::Ledger;
use crate::query;
use crate::sql;
use crate::table::{self, SYSTEM};

/// Plans the streams' tables. A file that is not there is not made.
pub(crate) fn plan(
    config: &Config,
    connection: &ConnectionId,
    streams: &[Stream],
) -> Result<Vec<TablePlan>> {
    let open = config.path.exists().then(|| query::open(&config.path)).transpose()?;
    let held = match &open {
        Some(open) => {
            let db = &open.connection;
            db.execute_batch("BEGIN TRANSACTION READ ONLY").doing("cannot begin a transaction")?;
            Some(Held::read(db, connection)?)
        }
        None => None,
    };
    let mut plans = Vec::new();
    for stream in streams {
        match plan_stream(held.as_ref(), connection, stream) {
            Ok(plan) => plans.extend(plan),
            Err(error) if error.kind() == ErrorKind::SchemaConflict => plans.push(TablePlan {
                stream: stream.name.clone(),
                table: name::plain(&[stream.name.as_str()]),
                state: TableState::Stops {
                    message: error.to_string(),
                    hint: error.hint_text().map(str::to_owned),
                },
                key: Vec::new(),
                columns: Vec::new(),
            }),
            Err(error) => return Err(error.with("stream", &stream.name)),
        }
    }
    Ok(plans)
}

/// A file that is there.
struct Held<'a> {
    db: &'a Connection,
    catalog: String,
    /// None where the connection was never loaded.
    ledger: Option<Ledger>,
}

impl<'a> Held<'a> {
    fn read(db: &'a Connection, connection: &ConnectionId) -> Result<Self> {
        let catalog = current_catalog(db)?;
        let ledger = Ledger::new(&catalog, connection);
        let ledger = is_loaded(db, &ledger, connection)?.then_some(ledger);
        Ok(Self { db, catalog, ledger })
    }
}

fn plan_stream(
    held: Option<&Held<'_>>,
    connection: &ConnectionId,
    stream: &Stream,
) -> Result<Vec<TablePlan>> {
    let table = name::plain(&[stream.name.as_str()]);
    let mut stored: Vec<Column> = Vec::new();
    let mut found = Vec::new();
    if let Some(Held { db, catalog, ledger }) = held {
        if let Some(ledger) = ledger {
            stored = ledger.columns(db, stream.name.as_str())?;
        }
        let place = table::Place {
            catalog: catalog.clone(),
            schema: connection.as_str().to_owned(),
            table: table.clone(),
        };
        found = table::found_columns(db, &place)?;
        table::check(&place, &stored, &found)?;
    }
    let (stored, others) = table::sort_out(stored, &found);
    let converter = Converter::new(stream, stored, &others);
    let plans = converter.plan().into_iter().map(|sheet| {
        sheet.table(Place {
            stream,
            table: Ok(table.clone()),
            found: &found,
            system: &SYSTEM,
            keyed: !stream.key.is_empty(),
            case_sensitive: false,
            type_name: &sql::column_type,
        })
    });
    Ok(plans.collect())
}

/// The name the file is attached under.
pub(crate) fn current_catalog(db: &Connection) -> Result<String> {
    db.query_row("SELECT current_database()", [], |row| row.get(0))
        .doing("cannot read the name of the database file")
}

/// Whether there are tables of a bobbin that can be read.
pub(crate) fn is_loaded(
    db: &Connection,
    ledger: &Ledger,
    connection: &ConnectionId,
) -> Result<bool> {
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
