//! One job of a connection: its tap and destination made out of what is set up, and run.

use std::sync::Arc;

use bobbin_core::cancel::Cancel;
use bobbin_core::id::StreamName;
use bobbin_core::report::JobLog;
use bobbin_core::tap::Context;
use bobbin_core::{Error, Result};
use bobbin_engine::ledger::Trigger;
use bobbin_engine::{Engine, RunReport, RunRequest};
use jiff::Timestamp;

use crate::config::Connection;
use crate::registry;
use crate::time::Wall;

/// The source's setting that ends a backfill. A connection that had it would stop there and look complete.
pub(crate) const END_DATE: &str = "end_date";

/// A part of some tables to be read again, whose bookmarks stay where they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Backfill {
    /// The tables.
    pub(crate) tables: Vec<StreamName>,
    /// The first instant of change that is read.
    pub(crate) from: Timestamp,
    /// The first one after it that is not.
    pub(crate) until: Timestamp,
}

impl Backfill {
    /// # Errors
    /// When nothing is asked for.
    pub(crate) fn new(tables: Vec<StreamName>, from: Timestamp, until: Timestamp) -> Result<Self> {
        if tables.is_empty() {
            return Err(Error::config("no table is named to read a part of again"));
        }
        if from >= until {
            return Err(Error::config("the part to read again ends before it begins")
                .with("from", from)
                .with("until", until));
        }
        Ok(Self { tables, from, until })
    }

    /// # Errors
    /// When the connection cannot read it.
    pub(crate) fn check(&self, connection: &Connection) -> Result<()> {
        self.of(connection).map(drop)
    }

    /// The connection as it reads that part alone.
    fn of(&self, connection: &Connection) -> Result<Connection> {
        if connection.source.kind != "kustomer" {
            return Err(Error::config(format!(
                "a part of `{}` cannot be read again",
                connection.name
            ))
            .hint("only a kustomer source can be asked for records by their time of change"));
        }
        for table in &self.tables {
            if !connection.selection.contains(table) {
                return Err(Error::config(format!(
                    "`{table}` is no table that `{}` replicates",
                    connection.name
                )));
            }
        }
        let mut part = connection.clone();
        let settings = &mut part.source.settings;
        settings.insert("start_date".to_owned(), self.from.to_string().into());
        settings.insert(END_DATE.to_owned(), self.until.to_string().into());
        Ok(part)
    }
}

/// Runs a job to its end; what it does goes to `log`.
///
/// # Errors
/// When no job began: a setting is wrong, another one is running, the ledger cannot be opened.
pub(crate) fn run(
    connection: &Connection,
    engine: &Engine,
    (trigger, backfill): (Trigger, Option<&Backfill>),
    cancel: &Cancel,
    log: &Arc<impl JobLog + 'static>,
) -> Result<RunReport> {
    let part = backfill.map(|backfill| backfill.of(connection)).transpose()?;
    let connection = part.as_ref().unwrap_or(connection);
    let selection = connection.chosen()?;
    let read = backfill.map(|backfill| selection.narrowed(&backfill.tables));
    let mut tap = registry::tap_of(connection, engine.home())?;
    let destination = registry::destination(&connection.destination, engine.home(), log.clone())?;
    #[cfg(feature = "otel")]
    let log = &std::sync::Arc::new(crate::trace::Traced::new(log.clone()));
    let cx = Context { clock: &Wall, cancel, log: &**log };
    engine.run(
        cx,
        RunRequest {
            connection: &connection.id,
            schema: &connection.schema,
            tap: &mut *tap,
            destination: &*destination,
            selection: &selection,
            trigger,
            part: read.as_ref(),
        },
    )
}
