//! The last connection check of each source and destination (`stitch-behaviour.md` 1.4, 1.5).

use bobbin_core::{Error, Result};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::SqliteLedger;
use super::slots::{instant, text};

/// What is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// A connection's source: its key, and what it may read.
    Source,
    /// A destination.
    Destination,
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// A check that runs or has ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Checked {
    /// How many checks there were of this, with this one.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; none while it runs.
    pub ended_at: Option<Timestamp>,
    /// Why it failed, with what to do.
    pub error: Option<String>,
}

impl Checked {
    /// `running`, `succeeded` or `failed`.
    pub fn status(&self) -> &'static str {
        match (self.ended_at, &self.error) {
            (None, _) => "running",
            (Some(_), None) => "succeeded",
            (Some(_), Some(_)) => "failed",
        }
    }
}

/// The last check of each source and destination.
pub trait Checks {
    /// Notes that a check began; gives its number.
    fn begin_check(&self, side: Side, name: &str, now: Timestamp) -> Result<u32>;

    /// Notes how a check ended, unless another one has begun since.
    fn end_check(
        &self,
        check: (Side, &str, u32),
        error: Option<&Error>,
        now: Timestamp,
    ) -> Result<()>;

    /// Ends the checks of a process that is gone: nobody waits for them.
    fn abandon_checks(&self, now: Timestamp) -> Result<()>;

    /// The last check, if there was one.
    fn check(&self, side: Side, name: &str) -> Result<Option<Checked>>;
}

impl Checks for SqliteLedger {
    fn begin_check(&self, side: Side, name: &str, now: Timestamp) -> Result<u32> {
        self.sqlite
            .query_row(
                "INSERT INTO checks (side, name, number, started) VALUES (?1, ?2, 1, ?3)
                 ON CONFLICT (side, name) DO UPDATE
                 SET number = number + 1, started = excluded.started, ended = NULL, error = NULL
                 RETURNING number",
                params![side.word(), name, text(now)],
                |row| row.get(0),
            )
            .map_err(|error| self.error("cannot note a check's beginning", error))
    }

    fn end_check(
        &self,
        (side, name, number): (Side, &str, u32),
        error: Option<&Error>,
        now: Timestamp,
    ) -> Result<()> {
        self.sqlite
            .execute(
                "UPDATE checks SET ended = ?4, error = ?5
                 WHERE side = ?1 AND name = ?2 AND number = ?3",
                params![side.word(), name, number, text(now), error.map(Error::report)],
            )
            .map_err(|error| self.error("cannot note a check's end", error))?;
        Ok(())
    }

    fn abandon_checks(&self, now: Timestamp) -> Result<()> {
        self.sqlite
            .execute(
                "UPDATE checks SET ended = ?1, error = 'bobbin was stopped before it ended'
                 WHERE ended IS NULL",
                params![text(now)],
            )
            .map_err(|error| self.error("cannot note the end of checks", error))?;
        Ok(())
    }

    fn check(&self, side: Side, name: &str) -> Result<Option<Checked>> {
        let found: Option<(u32, String, Option<String>, Option<String>)> = self
            .sqlite
            .query_row(
                "SELECT number, started, ended, error FROM checks WHERE side = ?1 AND name = ?2",
                params![side.word(), name],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .optional()
            .map_err(|error| self.error("cannot read a check", error))?;
        let Some((number, started, ended, error)) = found else { return Ok(None) };
        Ok(Some(Checked {
            number,
            started_at: instant(&started)?,
            ended_at: ended.as_deref().map(instant).transpose()?,
            error,
        }))
    }
}
