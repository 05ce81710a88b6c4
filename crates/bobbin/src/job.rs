//! One job of a connection: its tap and destination made out of the file, and run.

use std::sync::Arc;

use bobbin_core::Result;
use bobbin_core::cancel::Cancel;
use bobbin_core::report::JobLog;
use bobbin_core::tap::Context;
use bobbin_engine::ledger::Trigger;
use bobbin_engine::{Engine, RunReport, RunRequest};

use crate::config::Connection;
use crate::registry;
use crate::time::Wall;

/// Runs a job to its end; what it does goes to `log`.
///
/// # Errors
/// When no job began: a setting is wrong, another one is running, the ledger cannot be opened.
pub(crate) fn run(
    connection: &Connection,
    engine: &Engine,
    trigger: Trigger,
    cancel: &Cancel,
    log: &Arc<impl JobLog + 'static>,
) -> Result<RunReport> {
    let selection = connection.chosen()?;
    let mut tap = registry::tap(&connection.source)?;
    let destination = registry::destination(&connection.destination, engine.home(), log.clone())?;
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
        },
    )
}
