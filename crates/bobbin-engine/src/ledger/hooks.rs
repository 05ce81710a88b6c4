//! How far each post-load hook was told of loads (`stitch-behaviour.md` 9.3).

use std::time::Duration;

use bobbin_core::Result;
use bobbin_core::id::ConnectionId;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, Row, params};

use super::loads::{Load, Stored};
use super::slots::{instant, text};
use super::{Notices, SqliteLedger};

/// How often a post-load hook is tried again with one load.
const RETRIES: u32 = 5;

/// What post-load hooks have still to be told.
pub trait Hooks {
    /// The loads that a post-load hook is to be sent now, oldest first: those since it was first asked
    /// for, in which rows came or were set aside (F-96). None before its next try is due.
    fn unsent(
        &self,
        hook: &str,
        most: u32,
        now: Timestamp,
    ) -> Result<Vec<(i64, ConnectionId, Load)>>;

    /// Begins to tell a hook of loads, of those from now on; one that is told already goes on.
    fn begin_hook(&self, hook: &str) -> Result<()>;

    /// Writes down that a hook was sent a load, or that it was given up: it never comes again.
    fn sent(&self, hook: &str, load: i64) -> Result<()>;

    /// Writes down that a hook could not be sent a load. It is tried again after `wait`, doubled for
    /// each further time; after five retries it is given up, and true comes back.
    fn unsendable(&self, hook: &str, load: i64, wait: Duration, now: Timestamp) -> Result<bool>;

    /// When a hook that could not be told is tried next, the first of them all.
    fn next_try(&self) -> Result<Option<Timestamp>>;

    /// Forgets how far other hooks than these were told, so that one that comes back is not sent what
    /// came meanwhile, and ends the notices of hooks that do not take the connection's loads any more.
    fn keep_hooks(
        &self,
        takes: &dyn Fn(&str, Option<&ConnectionId>) -> bool,
        now: Timestamp,
    ) -> Result<()>;
}

impl Hooks for SqliteLedger {
    fn unsent(
        &self,
        hook: &str,
        most: u32,
        now: Timestamp,
    ) -> Result<Vec<(i64, ConnectionId, Load)>> {
        let failed = |error| self.error("cannot read the loads for a hook", error);
        self.begin_hook(hook)?;
        let mut statement = self
            .sqlite
            .prepare(&format!(
                "SELECT {}, connection FROM loads
                 WHERE id > (SELECT sent FROM hooks
                             WHERE hook = ?1 AND (next IS NULL OR next <= ?3))
                     AND error IS NULL AND rows + rejected > 0
                 ORDER BY id LIMIT ?2",
                Stored::COLUMNS
            ))
            .map_err(failed)?;
        let read = |row: &Row<'_>| {
            let connection: String = row.get(Stored::COUNT)?;
            Ok((row.get::<_, i64>(0)?, connection, Stored::of(row)?))
        };
        let rows = statement.query_map(params![hook, most, text(now)], read).map_err(failed)?;
        rows.map(|row| {
            let (id, connection, stored) = row.map_err(failed)?;
            Ok((id, connection.into(), stored.load()?))
        })
        .collect()
    }

    fn begin_hook(&self, hook: &str) -> Result<()> {
        // The greatest number ever given, also where the loads themselves are forgotten.
        self.sqlite
            .execute(
                "INSERT OR IGNORE INTO hooks (hook, sent)
                 VALUES (?1, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'loads'), 0))",
                params![hook],
            )
            .map_err(|error| self.error("cannot begin to tell a hook", error))?;
        Ok(())
    }

    fn sent(&self, hook: &str, load: i64) -> Result<()> {
        self.sqlite
            .execute(
                "UPDATE hooks SET sent = max(sent, ?2), load = NULL, attempts = 0, next = NULL
                 WHERE hook = ?1",
                params![hook, load],
            )
            .map_err(|error| self.error("cannot write down what a hook was sent", error))?;
        Ok(())
    }

    fn unsendable(&self, hook: &str, load: i64, wait: Duration, now: Timestamp) -> Result<bool> {
        let failed = |error| self.error("cannot write down what a hook was sent", error);
        let before: Option<u32> = self
            .sqlite
            .query_row(
                "SELECT attempts FROM hooks WHERE hook = ?1 AND load = ?2",
                params![hook, load],
                |row| row.get(0),
            )
            .optional()
            .map_err(failed)?;
        let before = before.unwrap_or(0);
        if before >= RETRIES {
            self.sent(hook, load)?;
            return Ok(true);
        }
        let wait = SignedDuration::try_from(wait * (1 << before)).unwrap_or(SignedDuration::MAX);
        let next = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        self.sqlite
            .execute(
                "UPDATE hooks SET load = ?2, attempts = ?3, next = ?4 WHERE hook = ?1",
                params![hook, load, before + 1, text(next)],
            )
            .map_err(failed)?;
        Ok(false)
    }

    fn next_try(&self) -> Result<Option<Timestamp>> {
        let next: Option<String> = self
            .sqlite
            .query_row("SELECT min(next) FROM hooks", [], |row| row.get(0))
            .map_err(|error| self.error("cannot read what hooks were sent", error))?;
        next.as_deref().map(instant).transpose()
    }

    fn keep_hooks(
        &self,
        takes: &dyn Fn(&str, Option<&ConnectionId>) -> bool,
        now: Timestamp,
    ) -> Result<()> {
        let what = "cannot forget a hook";
        let failed = |error| self.error(what, error);
        self.atomically(what, || {
            let hooks: Vec<String> = self
                .sqlite
                .prepare("SELECT hook FROM hooks")
                .and_then(|mut all| all.query_map([], |row| row.get(0))?.collect())
                .map_err(failed)?;
            for hook in hooks.iter().filter(|hook| !takes(hook, None)) {
                self.sqlite
                    .execute("DELETE FROM hooks WHERE hook = ?1", params![hook])
                    .map_err(failed)?;
            }
            let notices: Vec<(String, String)> = self
                .sqlite
                .prepare(
                    "SELECT connection, about FROM notices
                     WHERE kind = 'hook' AND recovered IS NULL",
                )
                .and_then(|mut all| {
                    all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
                })
                .map_err(failed)?;
            for (connection, hook) in notices {
                let connection = ConnectionId::from(connection);
                if !takes(&hook, Some(&connection)) {
                    self.recover_hook(&connection, &hook, now)?;
                }
            }
            Ok(())
        })
    }
}
