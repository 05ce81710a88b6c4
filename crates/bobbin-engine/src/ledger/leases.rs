//! Leases: who may run jobs of a connection, and whose writes count (`failures.md`, duplicate concurrent
//! runs).

use bobbin_core::id::ConnectionId;
use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::SqliteLedger;
use super::slots::text;

/// The right to run jobs of a connection, which each holder gets with a greater fencing token. What is
/// written with an older one is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Of which connection.
    pub connection: ConnectionId,
    /// The fencing token.
    pub fence: i64,
}

/// Leases of connections.
pub trait Leases {
    /// Takes the lease of a connection for `holder` until an instant; `holder` itself, which knows that what
    /// it ran before is dead, gets it at once, others once it has ended.
    ///
    /// # Errors
    /// Of kind `Conflict` while another one holds it.
    fn lease(
        &self,
        connection: &ConnectionId,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Lease>;

    /// Keeps a lease until an instant. False when another one has it.
    fn renew(&self, lease: &Lease, until: Timestamp) -> Result<bool>;

    /// Whether no other one has taken the lease.
    fn holds(&self, lease: &Lease) -> Result<bool>;

    /// Gives a lease back, unless another one has it.
    fn give_back(&self, lease: &Lease) -> Result<()>;
}

impl Leases for SqliteLedger {
    fn lease(
        &self,
        connection: &ConnectionId,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Lease> {
        let failed = |error| self.error("cannot take a lease", error);
        let mut statement = self
            .sqlite
            .prepare(
                "INSERT INTO leases (connection, holder, fence, until) VALUES (?1, ?2, 1, ?4)
                 ON CONFLICT (connection) DO UPDATE
                 SET holder = excluded.holder, fence = fence + 1, until = excluded.until
                 WHERE until IS NULL OR until <= ?3 OR holder = excluded.holder
                 RETURNING fence",
            )
            .map_err(failed)?;
        let mut rows = statement
            .query(params![connection.as_str(), holder, text(now), text(until)])
            .map_err(failed)?;
        let fence =
            rows.next().map_err(failed)?.map(|row| row.get(0)).transpose().map_err(failed)?;
        if let Some(fence) = fence {
            return Ok(Lease { connection: connection.clone(), fence });
        }
        let held: String = self
            .sqlite
            .query_row(
                "SELECT coalesce(until, '') FROM leases WHERE connection = ?1",
                params![connection.as_str()],
                |row| row.get(0),
            )
            .map_err(failed)?;
        Err(Error::new(ErrorKind::Conflict, "another bobbin runs a job of this connection")
            .with("connection", connection)
            .with("its lease ends", held)
            .hint("wait for its job to end, or stop it; two jobs must not write the same tables"))
    }

    fn renew(&self, lease: &Lease, until: Timestamp) -> Result<bool> {
        let kept = self.sqlite.execute(
            "UPDATE leases SET until = ?3 WHERE connection = ?1 AND fence = ?2",
            params![lease.connection.as_str(), lease.fence, text(until)],
        );
        Ok(kept.map_err(|error| self.error("cannot keep a lease", error))? > 0)
    }

    fn holds(&self, lease: &Lease) -> Result<bool> {
        let fence: Option<i64> = self
            .sqlite
            .query_row(
                "SELECT fence FROM leases WHERE connection = ?1",
                params![lease.connection.as_str()],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| self.error("cannot read a lease", error))?;
        Ok(fence == Some(lease.fence))
    }

    fn give_back(&self, lease: &Lease) -> Result<()> {
        self.sqlite
            .execute(
                "UPDATE leases SET until = NULL WHERE connection = ?1 AND fence = ?2",
                params![lease.connection.as_str(), lease.fence],
            )
            .map_err(|error| self.error("cannot give a lease back", error))?;
        Ok(())
    }
}

impl SqliteLedger {
    /// Refuses what is written with an older fencing token than the connection's. A writing statement, so that
    /// nobody takes the lease before the transaction around it ends.
    pub(super) fn fenced(&self, lease: &Lease) -> Result<()> {
        let same = self.sqlite.execute(
            "UPDATE leases SET fence = fence WHERE connection = ?1 AND fence = ?2",
            params![lease.connection.as_str(), lease.fence],
        );
        match same.map_err(|error| self.error("cannot read a lease", error))? {
            0 => Err(taken(&lease.connection)),
            _ => Ok(()),
        }
    }
}

/// Another bobbin has the lease that this one had.
pub(crate) fn taken(connection: &ConnectionId) -> Error {
    Error::new(ErrorKind::Conflict, "another bobbin has taken over this connection")
        .with("connection", connection)
        .hint("it goes on from what is loaded; let one bobbin alone run a connection")
}
