//! What each source had to offer when somebody last looked (F-06).

use std::collections::{BTreeMap, BTreeSet};

use bobbin_core::id::{ConnectionId, StreamName};
use bobbin_core::tap::Discovery;
use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{SqliteLedger, slots};

/// What sources had to offer.
pub trait Catalogs {
    /// Keeps what a source had to offer (F-06).
    fn save_catalog(
        &self,
        connection: &ConnectionId,
        found: &Discovery,
        now: Timestamp,
    ) -> Result<()>;

    /// What the connection's source had to offer when its last job looked, and when that was.
    fn catalog(&self, connection: &ConnectionId) -> Result<Option<(Discovery, Timestamp)>>;

    /// Keeps which columns of a connection are not new, by stream (F-49).
    fn save_columns(
        &self,
        connection: &ConnectionId,
        columns: &BTreeMap<StreamName, BTreeSet<String>>,
        now: Timestamp,
    ) -> Result<()>;

    /// Which columns of a connection are not new, by stream; none before its first job.
    fn columns(
        &self,
        connection: &ConnectionId,
    ) -> Result<Option<BTreeMap<StreamName, BTreeSet<String>>>>;
}

impl Catalogs for SqliteLedger {
    fn save_catalog(
        &self,
        connection: &ConnectionId,
        found: &Discovery,
        now: Timestamp,
    ) -> Result<()> {
        let bug = |error| Error::bug("cannot write a catalog as JSON").caused_by(error);
        let streams = serde_json::to_string(&found.catalog).map_err(bug)?;
        let unreadable = serde_json::to_string(&found.unreadable).map_err(bug)?;
        self.sqlite
            .execute(
                "INSERT OR REPLACE INTO catalogs (connection, streams, unreadable, seen)
                 VALUES (?1, ?2, ?3, ?4)",
                params![connection.as_str(), streams, unreadable, slots::text(now)],
            )
            .map_err(|error| self.error("cannot save the catalog", error))?;
        Ok(())
    }

    fn catalog(&self, connection: &ConnectionId) -> Result<Option<(Discovery, Timestamp)>> {
        let found: Option<(String, String, String)> = self
            .sqlite
            .query_row(
                "SELECT streams, unreadable, seen FROM catalogs WHERE connection = ?1",
                params![connection.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()
            .map_err(|error| self.error("cannot read the catalog", error))?;
        let Some((streams, unreadable, seen)) = found else { return Ok(None) };
        let damaged = |error| {
            Error::new(ErrorKind::InvalidData, "the ledger's catalog is damaged").caused_by(error)
        };
        let found = Discovery {
            catalog: serde_json::from_str(&streams).map_err(damaged)?,
            unreadable: serde_json::from_str(&unreadable).map_err(damaged)?,
        };
        Ok(Some((found, slots::instant(&seen)?)))
    }

    fn save_columns(
        &self,
        connection: &ConnectionId,
        columns: &BTreeMap<StreamName, BTreeSet<String>>,
        now: Timestamp,
    ) -> Result<()> {
        let text = serde_json::to_string(columns)
            .map_err(|error| Error::bug("cannot write columns as JSON").caused_by(error))?;
        self.sqlite
            .execute(
                "INSERT OR REPLACE INTO known_columns (connection, columns, saved)
                 VALUES (?1, ?2, ?3)",
                params![connection.as_str(), text, slots::text(now)],
            )
            .map_err(|error| self.error("cannot save the known columns", error))?;
        Ok(())
    }

    fn columns(
        &self,
        connection: &ConnectionId,
    ) -> Result<Option<BTreeMap<StreamName, BTreeSet<String>>>> {
        let found: Option<String> = self
            .sqlite
            .query_row(
                "SELECT columns FROM known_columns WHERE connection = ?1",
                params![connection.as_str()],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| self.error("cannot read the known columns", error))?;
        let read = |text: String| {
            serde_json::from_str(&text).map_err(|error| {
                Error::new(ErrorKind::InvalidData, "the ledger's known columns are damaged")
                    .caused_by(error)
            })
        };
        found.map(read).transpose()
    }
}
