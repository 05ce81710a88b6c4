//! What was set up through the API: sources, destinations, connections and whoever is told, sealed (F-103).
//!
//! The ledger does not know what is in them: the program that serves them does, and it has the key
//! ([`crate::vault`]).

use bobbin_core::id::ConnectionId;
use bobbin_core::{Error, Result};
use jiff::Timestamp;
use rusqlite::params;

use super::SqliteLedger;
use super::slots::{instant, text};

/// What can be set up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Thing {
    /// A source.
    Source,
    /// A destination.
    Destination,
    /// A connection of the two.
    Connection,
    /// Somebody who is told of notices, or a program that is told of loads.
    Channel,
}

impl Thing {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Connection => "connection",
            Self::Channel => "channel",
        }
    }

    fn of(word: &str) -> Result<Self> {
        [Self::Source, Self::Destination, Self::Connection, Self::Channel]
            .into_iter()
            .find(|thing| thing.word() == word)
            .ok_or_else(|| {
                Error::bug("the ledger keeps a thing of no known kind").with("kind", word)
            })
    }
}

/// Something that was set up.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What it is.
    pub thing: Thing,
    /// Its name; that of a connection is its identity.
    pub name: String,
    /// Everything else, sealed.
    pub sealed: Vec<u8>,
    /// Since when there is it.
    pub made: Timestamp,
    /// When it was last changed.
    pub changed: Timestamp,
}

/// A connection that was set up through the API and removed.
#[derive(Clone, Debug)]
pub struct Removed {
    /// Which.
    pub connection: ConnectionId,
    /// What there is to say of it still, as whoever removed it wrote it.
    pub label: String,
    /// Since when there was it.
    pub made: Timestamp,
    /// Since when there is not.
    pub removed: Timestamp,
}

/// What was set up through the API.
pub trait Store {
    /// Everything that was set up, by name.
    fn things(&self) -> Result<Vec<Stored>>;

    /// Makes, changes (with its sealed text) or removes (without) several things at once, all or none.
    /// A connection that is removed leaves its label.
    fn change_things(
        &self,
        changes: &[(Thing, &str, Option<Vec<u8>>)],
        label: &dyn Fn(&str) -> String,
        now: Timestamp,
    ) -> Result<()>;

    /// Connections that were set up through the API and removed, oldest first.
    fn removed_connections(&self) -> Result<Vec<Removed>>;

    /// Whether there is anything left of a connection of that name: rows that it loaded go on under its
    /// bookmarks, so no other one may be called the same.
    fn knows(&self, connection: &ConnectionId) -> Result<bool>;
}

impl Store for SqliteLedger {
    fn things(&self) -> Result<Vec<Stored>> {
        let failed = |error| self.error("cannot read what was set up", error);
        let mut statement = self
            .sqlite
            .prepare("SELECT kind, name, sealed, made, changed FROM things ORDER BY kind, name")
            .map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut things = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let (kind, made, changed): (String, String, String) = (
                row.get(0).map_err(failed)?,
                row.get(3).map_err(failed)?,
                row.get(4).map_err(failed)?,
            );
            things.push(Stored {
                thing: Thing::of(&kind)?,
                name: row.get(1).map_err(failed)?,
                sealed: row.get(2).map_err(failed)?,
                made: instant(&made)?,
                changed: instant(&changed)?,
            });
        }
        Ok(things)
    }

    fn change_things(
        &self,
        changes: &[(Thing, &str, Option<Vec<u8>>)],
        label: &dyn Fn(&str) -> String,
        now: Timestamp,
    ) -> Result<()> {
        let failed = |error| self.error("cannot keep what was set up", error);
        let now = text(now);
        let transaction = self.writing().map_err(failed)?;
        for (thing, name, sealed) in changes {
            let kind = thing.word();
            if let Some(sealed) = sealed {
                transaction
                    .execute(
                        "INSERT INTO things (kind, name, sealed, made, changed)
                         VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (kind, name)
                         DO UPDATE SET sealed = excluded.sealed, changed = excluded.changed",
                        params![kind, name, sealed, now],
                    )
                    .map_err(failed)?;
                continue;
            }
            if *thing == Thing::Connection {
                transaction
                    .execute(
                        "INSERT OR REPLACE INTO removed_connections (name, label, made, removed)
                         SELECT name, ?2, made, ?3 FROM things WHERE kind = 'connection' AND name = ?1",
                        params![name, label(name), now],
                    )
                    .map_err(failed)?;
                transaction
                    .execute("DELETE FROM tokens WHERE connection = ?1", params![name])
                    .map_err(failed)?;
            }
            transaction
                .execute("DELETE FROM things WHERE kind = ?1 AND name = ?2", params![kind, name])
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    fn removed_connections(&self) -> Result<Vec<Removed>> {
        let failed = |error| self.error("cannot read what was removed", error);
        let mut statement = self
            .sqlite
            .prepare("SELECT name, label, made, removed FROM removed_connections ORDER BY removed")
            .map_err(failed)?;
        let rows = statement
            .query_map([], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                ))
            })
            .map_err(failed)?;
        let mut removed = Vec::new();
        for row in rows {
            let (name, label, made, gone) = row.map_err(failed)?;
            let (made, gone) = (instant(&made)?, instant(&gone)?);
            removed.push(Removed { connection: name.into(), label, made, removed: gone });
        }
        Ok(removed)
    }

    fn knows(&self, connection: &ConnectionId) -> Result<bool> {
        self.sqlite
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM removed_connections WHERE name = ?1)
                     OR EXISTS (SELECT 1 FROM jobs WHERE connection = ?1)
                     OR EXISTS (SELECT 1 FROM states WHERE connection = ?1)
                     OR EXISTS (SELECT 1 FROM schedules WHERE connection = ?1)",
                params![connection.as_str()],
                |row| row.get(0),
            )
            .map_err(|error| self.error("cannot look for a connection", error))
    }
}
