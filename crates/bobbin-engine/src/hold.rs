//! A connection in the hands of one job: its spool locked on this machine, its lease in the ledger kept.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{fs, io};

use bobbin_core::clock::Clock;
use bobbin_core::id::ConnectionId;
use bobbin_core::{Error, Result};
use jiff::{SignedDuration, Timestamp};

use crate::engine::Engine;
use crate::ledger::{Lease, Ledger, taken};
use crate::spool::Spool;
use crate::vault;

/// For how long a lease is taken.
const LIFE: SignedDuration = SignedDuration::from_secs(60);

/// How often it is renewed.
const RENEWED: Duration = Duration::from_secs(20);

/// Held from [`Hold::take`] until it is dropped.
pub(crate) struct Hold<'a> {
    pub(crate) ledger: Box<dyn Ledger>,
    pub(crate) lease: Lease,
    pub(crate) spool: Spool,
    engine: &'a Engine,
}

impl<'a> Hold<'a> {
    /// Takes hold of a connection.
    ///
    /// # Errors
    /// Of kind `Conflict` when another job of it runs, here or elsewhere.
    pub(crate) fn take(
        engine: &'a Engine,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<Self> {
        let ledger = engine.ledger()?;
        // With the lock, whatever ran here before is dead: its lease needs not be waited for.
        let spool = Spool::open(&engine.home().join("spool"), connection)?;
        let lease = ledger.lease(connection, &engine.holder()?, now, until(now))?;
        Ok(Self { ledger, lease, spool, engine })
    }

    /// Does `act` while the lease is renewed.
    pub(crate) fn keep<T>(&self, clock: &dyn Clock, act: impl FnOnce() -> T) -> Result<T> {
        let ledger = self.engine.ledger()?;
        let lease = &self.lease;
        std::thread::scope(|scope| {
            let (done, ended) = mpsc::channel::<()>();
            let renew = move || {
                while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(RENEWED) {
                    // What cannot be written now is tried again; a lease that is lost is seen elsewhere.
                    let _ = ledger.renew(lease, until(clock.now()));
                }
            };
            std::thread::Builder::new()
                .name("lease".into())
                .spawn_scoped(scope, renew)
                .map_err(|error| Error::io("cannot start a thread", error))?;
            let done = done;
            let acted = act();
            drop(done);
            Ok(acted)
        })
    }

    /// Fails once another one has taken over.
    pub(crate) fn check(&self) -> Result<()> {
        // A ledger that cannot be read stops no job: the destination has a fence of its own.
        match self.ledger.holds(&self.lease) {
            Ok(false) => Err(taken(&self.lease.connection)),
            Ok(true) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        // Else it ends by itself.
        let _ = self.ledger.give_back(&self.lease);
    }
}

fn until(now: Timestamp) -> Timestamp {
    now.saturating_add(LIFE).unwrap_or(Timestamp::MAX)
}

impl Engine {
    /// What this directory is called among those that share a ledger. It is given at first use.
    fn holder(&self) -> Result<String> {
        let path = self.home().join("holder");
        let failed = |error| {
            Error::io("cannot read what this directory is called", error)
                .with("path", path.display())
        };
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                vault::keep(&path, &vault::random::<16>()?).map_err(failed)?;
                fs::read_to_string(&path).map_err(failed)
            }
            read => read.map_err(failed),
        }
    }
}
