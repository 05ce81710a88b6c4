//! What became of each slot of a schedule.

use bobbin_core::id::{ConnectionId, JobId};
use bobbin_core::{Error, Result};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::SqliteLedger;

/// What became of a slot, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotOutcome {
    /// Its job started.
    Started,
    /// A job was running, or could not be started.
    Skipped,
    /// Nobody was there.
    Missed,
}

impl SlotOutcome {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "started" => Self::Started,
            "skipped" => Self::Skipped,
            _ => Self::Missed,
        }
    }
}

/// A slot, or several in a row that were missed together.
#[derive(Clone, Debug, Serialize)]
pub struct SlotRow {
    /// When it was due.
    pub slot: Timestamp,
    /// When the last of them was due.
    pub last: Timestamp,
    /// How many.
    pub count: u32,
    /// What became of it.
    pub outcome: SlotOutcome,
    /// Why it was skipped, missed or late.
    pub reason: Option<String>,
    /// The job that started.
    pub job: Option<JobId>,
    /// When that was decided.
    pub decided: Timestamp,
}

/// Why a slot is skipped while a job runs.
pub(crate) const OVERRUN: &str = "the job before it was still running";

/// How that goes on where a job is to follow.
pub(crate) const FOLLOWS: &str = "; one follows as soon as that has ended";

/// What is kept of a connection's schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// When its first job was due: what a frequency counts from.
    pub base: Timestamp,
    /// Slots up to here are decided.
    pub decided: Timestamp,
    /// Whether somebody paused it.
    pub paused: bool,
}

/// Schedules: how far they are decided, and what became of each slot.
pub trait Slots {
    /// What is kept of a connection's schedule; made at its first sight. Then a frequency counts from
    /// the connection's first job, which is due now unless there was one (F-18).
    fn schedule(&self, connection: &ConnectionId, now: Timestamp) -> Result<Kept>;

    /// Pauses the connection's schedule, or goes on with it: nothing that would have been due in the
    /// pause was missed.
    fn pause(&self, connection: &ConnectionId, paused: bool, now: Timestamp) -> Result<()>;

    /// Of every connection, slots until `until` are decided.
    fn settle(&self, until: Timestamp) -> Result<()>;

    /// The slots of a connection that were left open because the process died, newest first: their
    /// jobs were to start and never began, or were to follow one that was running.
    fn left_open(&self, connection: &ConnectionId) -> Result<Vec<(Timestamp, SlotOutcome)>>;

    /// When the connection's first job was due, if it is known.
    fn base(&self, connection: &ConnectionId) -> Result<Option<Timestamp>>;

    /// Since when the connection's schedule is paused by somebody.
    fn paused_since(&self, connection: &ConnectionId) -> Result<Option<Timestamp>>;

    /// Whether somebody paused the connection's schedule.
    fn is_paused(&self, connection: &ConnectionId) -> Result<bool>;

    /// Writes down what became of a slot, before anything is done about it.
    fn decide(&self, connection: &ConnectionId, row: &SlotRow) -> Result<()>;

    /// The latest slots of a connection, newest first.
    fn slots(&self, connection: &ConnectionId, most: u32) -> Result<Vec<SlotRow>>;

    /// The slots of a connection from an instant on and before another whose jobs did not start, newest
    /// first.
    fn idle_slots(
        &self,
        connection: &ConnectionId,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        most: u32,
    ) -> Result<Vec<SlotRow>>;
}

impl Slots for SqliteLedger {
    fn schedule(&self, connection: &ConnectionId, now: Timestamp) -> Result<Kept> {
        let failed = |error| self.error("cannot read the schedule", error);
        let kept: Option<(String, String, bool)> = self
            .sqlite
            .query_row(
                "SELECT base, decided, paused IS NOT NULL FROM schedules WHERE connection = ?1",
                params![connection.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()
            .map_err(failed)?;
        if let Some((base, decided, paused)) = kept {
            return Ok(Kept { base: instant(&base)?, decided: instant(&decided)?, paused });
        }
        let first: Option<String> = self
            .sqlite
            .query_row(
                "SELECT min(started) FROM jobs WHERE connection = ?1",
                params![connection.as_str()],
                |row| row.get(0),
            )
            .map_err(failed)?;
        let kept = match first {
            Some(first) => Kept { base: instant(&first)?, decided: now, paused: false },
            None => {
                let decided = now - jiff::SignedDuration::from_nanos(1);
                Kept { base: now, decided, paused: false }
            }
        };
        self.sqlite
            .execute(
                "INSERT INTO schedules (connection, base, decided) VALUES (?1, ?2, ?3)",
                params![connection.as_str(), text(kept.base), text(kept.decided)],
            )
            .map_err(failed)?;
        Ok(kept)
    }

    fn pause(&self, connection: &ConnectionId, paused: bool, now: Timestamp) -> Result<()> {
        self.sqlite
            .execute(
                "UPDATE schedules SET paused = ?2, decided = max(decided, ?3)
                 WHERE connection = ?1",
                params![connection.as_str(), paused.then(|| text(now)), text(now)],
            )
            .map_err(|error| self.error("cannot pause the schedule", error))?;
        Ok(())
    }

    fn settle(&self, until: Timestamp) -> Result<()> {
        self.sqlite
            .execute("UPDATE schedules SET decided = max(decided, ?1)", params![text(until)])
            .map_err(|error| self.error("cannot settle the schedules", error))?;
        Ok(())
    }

    fn left_open(&self, connection: &ConnectionId) -> Result<Vec<(Timestamp, SlotOutcome)>> {
        let failed = |error| self.error("cannot read the slots", error);
        let mut statement = self
            .sqlite
            .prepare(
                "SELECT slot, outcome FROM slots AS one
                 WHERE connection = ?1 AND job IS NULL
                 AND (outcome = 'started'
                      OR outcome = 'skipped' AND reason = ?2 || ?3
                      AND NOT EXISTS (SELECT 1 FROM slots WHERE connection = ?1 AND slot > one.slot
                                      AND (outcome <> 'skipped' OR reason NOT IN (?2, ?2 || ?3))))
                 ORDER BY slot DESC",
            )
            .map_err(failed)?;
        let mut rows =
            statement.query(params![connection.as_str(), OVERRUN, FOLLOWS]).map_err(failed)?;
        let mut open = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let slot = instant(&row.get::<_, String>(0).map_err(failed)?)?;
            open.push((slot, SlotOutcome::of(&row.get::<_, String>(1).map_err(failed)?)));
        }
        Ok(open)
    }

    fn base(&self, connection: &ConnectionId) -> Result<Option<Timestamp>> {
        let base: Option<String> = self
            .sqlite
            .query_row(
                "SELECT coalesce((SELECT base FROM schedules WHERE connection = ?1),
                                 (SELECT min(started) FROM jobs WHERE connection = ?1))",
                params![connection.as_str()],
                |row| row.get(0),
            )
            .map_err(|error| self.error("cannot read the schedule", error))?;
        base.as_deref().map(instant).transpose()
    }

    fn paused_since(&self, connection: &ConnectionId) -> Result<Option<Timestamp>> {
        let since: Option<Option<String>> = self
            .sqlite
            .query_row(
                "SELECT paused FROM schedules WHERE connection = ?1",
                params![connection.as_str()],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| self.error("cannot read the schedule", error))?;
        since.flatten().as_deref().map(instant).transpose()
    }

    fn is_paused(&self, connection: &ConnectionId) -> Result<bool> {
        self.sqlite
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM schedules WHERE connection = ?1 AND paused IS NOT NULL)",
                params![connection.as_str()],
                |row| row.get(0),
            )
            .map_err(|error| self.error("cannot read the schedule", error))
    }

    fn decide(&self, connection: &ConnectionId, row: &SlotRow) -> Result<()> {
        let what = "cannot write down what became of a slot";
        let failed = |error| self.error(what, error);
        self.atomically(what, || {
            self.sqlite
                .execute(
                    "INSERT INTO slots (connection, slot, last, count, outcome, reason, decided)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (connection, slot) DO UPDATE SET
                         outcome = excluded.outcome, reason = excluded.reason,
                         decided = excluded.decided
                     WHERE job IS NULL",
                    params![
                        connection.as_str(),
                        text(row.slot),
                        text(row.last),
                        row.count,
                        row.outcome.word(),
                        row.reason,
                        text(row.decided)
                    ],
                )
                .map_err(failed)?;
            self.sqlite
                .execute(
                    "UPDATE schedules SET decided = max(decided, ?2) WHERE connection = ?1",
                    params![connection.as_str(), text(row.last)],
                )
                .map_err(failed)?;
            Ok(())
        })
    }

    fn slots(&self, connection: &ConnectionId, most: u32) -> Result<Vec<SlotRow>> {
        self.slot_rows("ORDER BY slot DESC LIMIT ?2", params![connection.as_str(), most])
    }

    fn idle_slots(
        &self,
        connection: &ConnectionId,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        most: u32,
    ) -> Result<Vec<SlotRow>> {
        self.slot_rows(
            "AND outcome <> 'started' AND (?2 IS NULL OR slot >= ?2) AND (?3 IS NULL OR slot < ?3)
             ORDER BY slot DESC LIMIT ?4",
            params![connection.as_str(), from.map(text), until.map(text), most],
        )
    }
}

impl SqliteLedger {
    fn slot_rows(&self, which: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<SlotRow>> {
        let failed = |error| self.error("cannot read the slots", error);
        let mut statement = self
            .sqlite
            .prepare(&format!(
                "SELECT slot, last, count, outcome, reason, job, decided FROM slots
                 WHERE connection = ?1 {which}"
            ))
            .map_err(failed)?;
        let mut rows = statement.query(parameters).map_err(failed)?;
        let mut slots = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let at = |column: usize| row.get::<_, String>(column).map_err(failed);
            slots.push(SlotRow {
                slot: instant(&at(0)?)?,
                last: instant(&at(1)?)?,
                count: row.get(2).map_err(failed)?,
                outcome: SlotOutcome::of(&at(3)?),
                reason: row.get(4).map_err(failed)?,
                job: row.get::<_, Option<String>>(5).map_err(failed)?.map(JobId::from),
                decided: instant(&at(6)?)?,
            });
        }
        Ok(slots)
    }
}

/// An instant as text whose order is that of time.
pub(super) fn text(at: Timestamp) -> String {
    format!("{at:.9}")
}

pub(super) fn instant(text: &str) -> Result<Timestamp> {
    text.parse().map_err(|error| {
        Error::new(bobbin_core::ErrorKind::InvalidData, "the ledger holds an instant that is none")
            .caused_by(error)
    })
}
