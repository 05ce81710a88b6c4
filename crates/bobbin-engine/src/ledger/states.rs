//! A copy of each connection's state, in case its destination is lost.

use bobbin_core::id::ConnectionId;
use bobbin_core::state::State;
use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{Lease, SqliteLedger};

/// The states last seen durable in the destinations: the truth is there.
pub trait States {
    /// The state last seen durable in the destination, as a backup of it.
    fn state(&self, connection: &ConnectionId) -> Result<Option<State>>;

    /// Keeps a copy of a state that the destination has committed.
    fn save_state(&self, lease: &Lease, state: &State, now: Timestamp) -> Result<()>;
}

impl States for SqliteLedger {
    fn state(&self, connection: &ConnectionId) -> Result<Option<State>> {
        let text: Option<String> = self
            .sqlite
            .query_row(
                "SELECT state FROM states WHERE connection = ?1",
                params![connection.as_str()],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| self.error("cannot read the state", error))?;
        text.map(|text| {
            serde_json::from_str(&text).map_err(|error| {
                Error::new(ErrorKind::InvalidData, "the ledger's copy of the state is damaged")
                    .caused_by(error)
            })
        })
        .transpose()
    }

    fn save_state(&self, lease: &Lease, state: &State, now: Timestamp) -> Result<()> {
        let text = serde_json::to_string(state)
            .map_err(|error| Error::bug("cannot write a state as JSON").caused_by(error))?;
        const WHAT: &str = "cannot save the state";
        self.atomically(WHAT, || {
            self.fenced(lease)?;
            let saved = self.sqlite.execute(
                "INSERT INTO states (connection, version, state, saved) VALUES (?1, 1, ?2, ?3)
                 ON CONFLICT (connection) DO UPDATE
                 SET version = version + 1, state = excluded.state, saved = excluded.saved",
                params![lease.connection.as_str(), text, now.to_string()],
            );
            saved.map(drop).map_err(|error| self.error(WHAT, error))
        })
    }
}
