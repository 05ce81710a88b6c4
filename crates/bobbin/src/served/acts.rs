//! What can be done with a connection beside running it.

use std::sync::{Arc, MutexGuard, PoisonError};

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::SystemClock;
use bobbin_core::destination::Destination;
use bobbin_core::id::{ConnectionId, JobId, SchemaName, StreamName};
use bobbin_core::rejected::{RejectedList, RejectedQuery};
use bobbin_core::report::NoLog;
use bobbin_core::tap::Context;
use bobbin_core::{Error, ErrorKind, Party, Result};
use bobbin_engine::{ResetRequest, Retried, RetryRequest};

use super::{Backfills, Served};
use crate::config::Connection;
use crate::job::Backfill;
use crate::registry;

impl Served {
    fn connection_of(&self, id: &ConnectionId) -> Result<Connection> {
        let config = self.config();
        let found = config.connections.values().find(|known| known.id == *id).cloned();
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such connection"))
    }

    pub(super) fn reset_of(
        &self,
        id: &ConnectionId,
        streams: &[StreamName],
        replace: bool,
    ) -> Result<Vec<StreamName>> {
        let (connection, engine) = (self.connection_of(id)?, self.config().engine());
        registry::reread(&connection)?;
        let selection = connection.chosen()?;
        let log = Arc::new(NoLog);
        let destination = registry::destination(&connection.destination, engine.home(), log)?;
        let cancel = Cancel::new();
        let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
        engine.reset(
            cx,
            &ResetRequest {
                connection: &connection.id,
                schema: &connection.schema,
                destination: &*destination,
                selection: &selection,
                streams,
                replace,
            },
        )
    }

    /// Begins a job that reads a part again.
    pub(super) fn begin_backfill(&self, id: &ConnectionId, backfill: Backfill) -> Result<JobId> {
        backfill.check(&self.connection_of(id)?)?;
        // The lock is held until it is kept under the job's name: the job looks there when it begins.
        let mut backfills = self.backfills();
        let job = self.control.run(id)?;
        // None of the connection runs or waits but this one.
        backfills.retain(|_, (whose, _)| whose != id);
        backfills.insert(job.clone(), (id.clone(), backfill));
        Ok(job)
    }

    pub(super) fn backfills(&self) -> MutexGuard<'_, Backfills> {
        self.backfills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rejected_of(
        &self,
        id: &ConnectionId,
        query: &RejectedQuery,
    ) -> Result<RejectedList> {
        self.looked_into(id, |destination, cx, schema| destination.rejected(cx, schema, query))
    }

    /// Looks into a connection's destination.
    pub(super) fn looked_into<T>(
        &self,
        id: &ConnectionId,
        look: impl FnOnce(&dyn Destination, &Context<'_>, &SchemaName) -> Result<T>,
    ) -> Result<T> {
        let connection = self.connection_of(id)?;
        let log = Arc::new(NoLog);
        let destination = registry::destination(&connection.destination, &self.config().home, log)?;
        let cancel = Cancel::new();
        let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
        look(&*destination, &cx, &connection.schema).map_err(|error| error.of(Party::Destination))
    }

    pub(super) fn retry_of(&self, id: &ConnectionId, table: Option<&str>) -> Result<Vec<Retried>> {
        let (connection, engine) = (self.connection_of(id)?, self.config().engine());
        let selection = connection.chosen()?;
        let log = Arc::new(NoLog);
        let destination = registry::destination(&connection.destination, engine.home(), log)?;
        let tap = registry::tap_of(&connection, engine.home())?;
        let cancel = Cancel::new();
        let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
        engine.retry_rejected(
            cx,
            &RetryRequest {
                connection: &connection.id,
                schema: &connection.schema,
                tap: &*tap,
                destination: &*destination,
                selection: &selection,
                table,
            },
        )
    }
}
