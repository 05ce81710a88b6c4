//! Records that programs push into connections: where they wait, and jobs that load them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bobbin_core::id::ConnectionId;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_engine::Engine;
use bobbin_engine::vault::Vault;
use bobbin_import::inbox::{Inbox, Limits};

use super::{Served, warn};
use crate::out::eprintln;
use crate::{registry, time};

/// How long pushed records are gathered before a job begins to load them.
const GATHER: Duration = Duration::from_secs(10);

/// The inboxes that are open, and whose records wait, since when.
#[derive(Default)]
pub(super) struct Pushes {
    inboxes: Mutex<BTreeMap<ConnectionId, Arc<Inbox>>>,
    waiting: Mutex<BTreeMap<ConnectionId, Instant>>,
}

impl Pushes {
    /// Notes that something waits.
    pub(super) fn add(&self, connection: &ConnectionId) {
        locked(&self.waiting).entry(connection.clone()).or_insert_with(Instant::now);
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Served {
    /// The inbox of a connection; it stays open for as long as this program runs.
    pub(super) fn inbox_of(&self, connection: &ConnectionId) -> Result<Arc<Inbox>> {
        let config = self.config();
        let mut connections = config.connections.values();
        let pushed = connections
            .any(|known| known.id == *connection && known.source.kind == registry::IMPORT);
        if !pushed {
            return Err(Error::config(format!(
                "nobody can push into the connection `{connection}`"
            ))
            .hint("its source is of another type than import_api"));
        }
        let mut inboxes = locked(&self.pushes.inboxes);
        if let Some(open) = inboxes.get(connection) {
            return Ok(Arc::clone(open));
        }
        let place = registry::inbox(&config.home, connection);
        let engine = config.engine();
        let vault = engine.seal_spool.then(|| Vault::open(&config.home, true)).transpose()?;
        let inbox = Arc::new(Inbox::open(&place, Limits::default(), vault)?);
        inboxes.insert(connection.clone(), Arc::clone(&inbox));
        Ok(inbox)
    }

    /// What was pushed before this program began waits still.
    pub(crate) fn look_for_pushes(&self) {
        let config = self.config();
        let pushed =
            config.connections.values().filter(|known| known.source.kind == registry::IMPORT);
        for connection in pushed {
            let waits = self.inbox_of(&connection.id).and_then(|inbox| {
                let state = config.engine().ledger()?.state(&connection.id)?;
                inbox.waiting(&state.unwrap_or_default())
            });
            match waits {
                Ok(waits) if waits.requests > 0 => self.pushes.add(&connection.id),
                Ok(_) => {}
                Err(error) => warn(&error),
            }
        }
    }

    /// Begins jobs for what has been gathered. Where one runs, the next look is another attempt; a job
    /// that fails is tried again by the connection's schedule.
    pub(crate) fn load_what_was_pushed(&self) {
        let due: Vec<(ConnectionId, Instant)> = locked(&self.pushes.waiting)
            .iter()
            .filter(|(_, since)| since.elapsed() >= GATHER)
            .map(|(connection, since)| (connection.clone(), *since))
            .collect();
        for (connection, since) in due {
            let paused = self.control.look().is_ok_and(|all| {
                all.iter().any(|seen| seen.connection == connection && seen.paused)
            });
            if paused {
                continue;
            }
            // Taken out before the job begins: what comes from here on may be too late for it.
            locked(&self.pushes.waiting).remove(&connection);
            match self.control.run(&connection) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(_) => {
                    locked(&self.pushes.waiting).entry(connection).or_insert(since);
                }
            }
        }
    }

    /// Deletes what has waited too long to be loaded.
    pub(crate) fn erase_what_waited(&self) {
        match self.config().engine().erase_what_waited(time::now()) {
            Ok(lines) => {
                let now = time::now();
                for line in lines {
                    eprintln!("{now:.0} warning: {line}");
                }
            }
            Err(error) => warn(&error),
        }
    }

    /// Deletes what waits for a connection that is gone.
    pub(super) fn forget_inbox(&self, connection: &ConnectionId) {
        locked(&self.pushes.waiting).remove(connection);
        locked(&self.pushes.inboxes).remove(connection);
        let place = registry::inbox(&self.config().home, connection);
        match std::fs::remove_dir_all(&place) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let error = Error::io("cannot delete what waited for a connection", error);
                warn(&error.with("path", place.display()));
            }
            _ => {}
        }
    }

    /// Deletes what the destination holds for good.
    pub(super) fn make_room(&self, connection: &ConnectionId, engine: &Engine) {
        let released = self.inbox_of(connection).and_then(|inbox| {
            let state = engine.ledger()?.state(connection)?;
            state.map_or(Ok(0), |state| inbox.release(&state))
        });
        if let Err(error) = released {
            warn(&error);
        }
    }
}
