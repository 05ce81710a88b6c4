//! Notices: what somebody should know, until it is no longer so, and whom it was told
//! (`stitch-behaviour.md` 9.1).

use bobbin_core::id::ConnectionId;
use bobbin_core::{Party, Result};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;

use super::slots::{instant, text};
use super::{Slots, SqliteLedger};
use crate::report::Outcome;
use crate::report::RunReport;

/// What a notice is about. A connection has at most one of a kind that is not over; of hooks, one each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A job failed on the source's side, or could not begin.
    Extraction,
    /// A job could not load.
    Loading,
    /// A job ended in order, but something is missing.
    Incomplete,
    /// Records were set aside.
    Rejected,
    /// No job was complete for longer than it may be.
    Stale,
    /// A post-load hook could not be delivered.
    Hook,
    /// Far more or fewer rows came than usual.
    Unusual,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Extraction,
        Self::Loading,
        Self::Incomplete,
        Self::Rejected,
        Self::Stale,
        Self::Hook,
        Self::Unusual,
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Extraction => "extraction",
            Self::Loading => "loading",
            Self::Incomplete => "incomplete",
            Self::Rejected => "rejected",
            Self::Stale => "stale",
            Self::Hook => "hook",
            Self::Unusual => "unusual",
        }
    }

    /// Whether no data comes until somebody acts; others are warnings.
    pub fn is_critical(self) -> bool {
        matches!(self, Self::Extraction | Self::Loading | Self::Stale)
    }
}

/// Something that somebody should know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Notice {
    /// Its number.
    pub id: i64,
    /// Of which connection.
    pub connection: ConnectionId,
    /// What it is about.
    pub kind: NoticeKind,
    /// `critical` or `warning`.
    pub level: &'static str,
    /// One line that reads well alone.
    pub message: String,
    /// All that is known.
    pub detail: Option<String>,
    /// Since when it is so.
    pub raised_at: Timestamp,
    /// When it was seen last.
    pub seen_at: Timestamp,
    /// How often.
    pub times: u32,
    /// When somebody said that they know.
    pub dismissed_at: Option<Timestamp>,
    /// When it was over.
    pub recovered_at: Option<Timestamp>,
}

/// What a channel is told of a notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Telling {
    /// That it is so.
    Raised,
    /// That it is over.
    Recovered,
}

impl Telling {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Recovered => "recovered",
        }
    }
}

/// After so many attempts a warning is not told to a channel any more, nor that something is over. What
/// is critical is tried on, every hour, while it is so.
const MOST_ATTEMPTS: u32 = 8;

/// How often something that goes on is counted anew.
const COUNTED_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// The columns of a notice, in the order [`notice`] reads them.
const COLUMNS: &str = "n.id, n.connection, n.kind, n.message, n.detail, n.raised, n.seen, n.times, \
                       n.dismissed, n.recovered";

/// What somebody should know, and whom it was told.
pub trait Notices {
    /// Says that something is so. A notice of its kind that is not over is renewed.
    fn raise(
        &self,
        connection: &ConnectionId,
        kind: NoticeKind,
        message: &str,
        detail: Option<&str>,
        now: Timestamp,
    ) -> Result<()>;

    /// Says that a post-load hook could not be told of a load of the connection.
    fn raise_hook(
        &self,
        connection: &ConnectionId,
        hook: &str,
        message: &str,
        detail: Option<&str>,
        now: Timestamp,
    ) -> Result<()>;

    /// Says that something is still so, for whoever looks often: it counts once an hour, and when it
    /// reads differently.
    fn raise_on(
        &self,
        connection: &ConnectionId,
        kind: NoticeKind,
        message: &str,
        detail: Option<&str>,
        now: Timestamp,
    ) -> Result<()>;

    /// Says that something is over.
    fn recover(&self, connection: &ConnectionId, kind: NoticeKind, now: Timestamp) -> Result<()>;

    /// Says that a post-load hook can be told again, or need not be.
    fn recover_hook(&self, connection: &ConnectionId, hook: &str, now: Timestamp) -> Result<()>;

    /// Takes a notice off everyone's list, until it is over and comes again (F-91). False when there
    /// is none of that number.
    fn dismiss(&self, id: i64, now: Timestamp) -> Result<bool>;

    /// Notices, newest first: those that are so and were not dismissed, or with `all` every one kept.
    fn notices(&self, all: bool, most: u32) -> Result<Vec<Notice>>;

    /// What a job's end says: what is so now, and what is over.
    fn take_stock(&self, report: &RunReport) -> Result<()>;

    /// When a job of the connection was complete last.
    fn last_complete(&self, connection: &ConnectionId) -> Result<Option<Timestamp>>;

    /// When the connection was complete last, or first seen by a schedule.
    fn complete_since(&self, connection: &ConnectionId) -> Result<Option<Timestamp>>;

    /// What a channel has to be told: notices that are so, not dismissed and not told yet, and those
    /// that were told and are over.
    fn untold(&self, channel: &str, now: Timestamp) -> Result<Vec<(Notice, Telling)>>;

    /// Writes down that a channel was told, or why it could not be: then it is tried again later, a
    /// limited number of times unless it is critical.
    fn told(
        &self,
        channel: &str,
        notice: &Notice,
        telling: Telling,
        error: Option<&str>,
        now: Timestamp,
    ) -> Result<()>;
}

impl Notices for SqliteLedger {
    fn raise(
        &self,
        connection: &ConnectionId,
        kind: NoticeKind,
        message: &str,
        detail: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        self.put_notice(connection, (kind, ""), (message, detail), now, now)
    }

    fn raise_hook(
        &self,
        connection: &ConnectionId,
        hook: &str,
        message: &str,
        detail: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        self.put_notice(connection, (NoticeKind::Hook, hook), (message, detail), now, now)
    }

    fn raise_on(
        &self,
        connection: &ConnectionId,
        kind: NoticeKind,
        message: &str,
        detail: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let before = now.checked_sub(COUNTED_AGAIN).unwrap_or(Timestamp::MIN);
        self.put_notice(connection, (kind, ""), (message, detail), now, before)
    }

    fn recover(&self, connection: &ConnectionId, kind: NoticeKind, now: Timestamp) -> Result<()> {
        self.recover_of(connection, kind, None, now)
    }

    fn recover_hook(&self, connection: &ConnectionId, hook: &str, now: Timestamp) -> Result<()> {
        self.recover_of(connection, NoticeKind::Hook, Some(hook), now)
    }

    fn dismiss(&self, id: i64, now: Timestamp) -> Result<bool> {
        let changed = self.sqlite.execute(
            "UPDATE notices SET dismissed = coalesce(dismissed, ?2) WHERE id = ?1",
            params![id, text(now)],
        );
        Ok(changed.map_err(|error| self.error("cannot dismiss a notice", error))? > 0)
    }

    fn notices(&self, all: bool, most: u32) -> Result<Vec<Notice>> {
        let which = if all { "true" } else { "recovered IS NULL AND dismissed IS NULL" };
        let failed = |error| self.error("cannot read the notices", error);
        let mut statement = self
            .sqlite
            .prepare(&format!(
                "SELECT {COLUMNS} FROM notices AS n WHERE {which} ORDER BY id DESC LIMIT ?1"
            ))
            .map_err(failed)?;
        let rows = statement.query_map(params![most], notice).map_err(failed)?;
        rows.map(|row| row.map_err(failed)?).collect()
    }

    fn take_stock(&self, report: &RunReport) -> Result<()> {
        let (connection, now) = (&report.connection, report.ended);
        let rejected: Vec<String> = report
            .tables
            .iter()
            .filter(|table| table.rejected > 0)
            .map(|table| format!("{}: {}", table.stream, table.rejected))
            .collect();
        if !rejected.is_empty() {
            let message = format!("records were set aside ({})", rejected.join(", "));
            let detail = "bobbin rejected list shows them with their reasons";
            self.raise(connection, NoticeKind::Rejected, &message, Some(detail), now)?;
        }
        match report.outcome {
            Outcome::Interrupted => {}
            Outcome::Failed => {
                let destinations =
                    report.failure.is_some_and(|(_, party)| party == Party::Destination);
                let kind = if destinations { NoticeKind::Loading } else { NoticeKind::Extraction };
                let error = report.error.as_deref().unwrap_or("the job failed");
                let line = error.lines().next().unwrap_or_default();
                self.raise(connection, kind, line, Some(error), now)?;
            }
            Outcome::Incomplete => {
                let missing: Vec<String> = report
                    .tables
                    .iter()
                    .filter_map(|table| {
                        Some(format!("{}: {}", table.stream, table.reason.as_ref()?))
                    })
                    .collect();
                let message = match missing.len() {
                    1 => missing[0].lines().next().unwrap_or_default().to_owned(),
                    n => format!("{n} tables are not complete"),
                };
                let detail = Some(missing.join("\n")).filter(|detail| !detail.is_empty());
                self.raise(connection, NoticeKind::Incomplete, &message, detail.as_deref(), now)?;
                self.recover(connection, NoticeKind::Extraction, now)?;
                self.recover(connection, NoticeKind::Loading, now)?;
            }
            Outcome::Complete => {
                for kind in NoticeKind::ALL {
                    let stays = matches!(kind, NoticeKind::Hook | NoticeKind::Unusual)
                        || (kind == NoticeKind::Rejected && !rejected.is_empty());
                    if !stays {
                        self.recover(connection, kind, now)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn last_complete(&self, connection: &ConnectionId) -> Result<Option<Timestamp>> {
        let failed = |error| self.error("cannot read the jobs", error);
        let mut statement = self
            .sqlite
            .prepare_cached(
                "SELECT max(ended) FROM jobs WHERE connection = ?1 AND outcome = 'complete'
                 AND trigger <> 'backfill'",
            )
            .map_err(failed)?;
        let at: Option<String> =
            statement.query_row(params![connection.as_str()], |row| row.get(0)).map_err(failed)?;
        at.as_deref().map(instant).transpose()
    }

    fn complete_since(&self, connection: &ConnectionId) -> Result<Option<Timestamp>> {
        match self.last_complete(connection)? {
            Some(at) => Ok(Some(at)),
            None => self.base(connection),
        }
    }

    fn untold(&self, channel: &str, now: Timestamp) -> Result<Vec<(Notice, Telling)>> {
        let failed = |error| self.error("cannot read the notices", error);
        let mut untold = Vec::new();
        for (telling, which) in [
            (Telling::Raised, "n.recovered IS NULL AND n.dismissed IS NULL"),
            (
                Telling::Recovered,
                "n.recovered IS NOT NULL AND EXISTS (
                     SELECT 1 FROM tellings AS r WHERE r.channel = ?1 AND r.notice = n.id
                         AND r.what = 'raised' AND r.done AND r.error IS NULL)",
            ),
        ] {
            let mut statement = self
                .sqlite
                .prepare(&format!(
                    "SELECT {COLUMNS} FROM notices AS n
                     LEFT JOIN tellings AS t
                         ON t.channel = ?1 AND t.notice = n.id AND t.what = ?2
                     WHERE {which} AND (t.notice IS NULL OR (NOT t.done AND t.next <= ?3))
                     ORDER BY n.id"
                ))
                .map_err(failed)?;
            let rows = statement
                .query_map(params![channel, telling.word(), text(now)], notice)
                .map_err(failed)?;
            for row in rows {
                untold.push((row.map_err(failed)??, telling));
            }
        }
        Ok(untold)
    }

    fn told(
        &self,
        channel: &str,
        notice: &Notice,
        telling: Telling,
        error: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let failed = |error| self.error("cannot write down what a channel was told", error);
        let attempts: Option<u32> = self
            .sqlite
            .query_row(
                "SELECT attempts FROM tellings WHERE channel = ?1 AND notice = ?2 AND what = ?3",
                params![channel, notice.id, telling.word()],
                |row| row.get(0),
            )
            .optional()
            .map_err(failed)?;
        let attempts = attempts.unwrap_or(0) + 1;
        let goes_on = notice.kind.is_critical() && telling == Telling::Raised;
        let done = error.is_none() || (attempts >= MOST_ATTEMPTS && !goes_on);
        let wait = match attempts {
            6.. if goes_on => 60,
            attempts => 1 << attempts.min(7),
        };
        let wait = SignedDuration::from_mins(wait);
        let next = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        self.sqlite
            .execute(
                "INSERT OR REPLACE INTO tellings
                     (channel, notice, what, attempts, tried, next, done, error)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    channel,
                    notice.id,
                    telling.word(),
                    attempts,
                    text(now),
                    text(next),
                    done,
                    error
                ],
            )
            .map_err(failed)?;
        Ok(())
    }
}

impl SqliteLedger {
    /// One that reads the same and was seen after `before` stays as it is.
    fn put_notice(
        &self,
        connection: &ConnectionId,
        (kind, about): (NoticeKind, &str),
        (message, detail): (&str, Option<&str>),
        now: Timestamp,
        before: Timestamp,
    ) -> Result<()> {
        self.sqlite
            .execute(
                "INSERT INTO notices (connection, kind, about, message, detail, raised, seen, times)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 1)
                 ON CONFLICT (connection, kind, about) WHERE recovered IS NULL DO UPDATE SET
                     message = excluded.message, detail = excluded.detail, seen = excluded.seen,
                     times = times + 1
                 WHERE ?7 = ?6 OR message <> excluded.message OR seen <= ?7",
                params![
                    connection.as_str(),
                    kind.word(),
                    about,
                    message,
                    detail,
                    text(now),
                    text(before)
                ],
            )
            .map_err(|error| self.error("cannot write down a notice", error))?;
        Ok(())
    }

    fn recover_of(
        &self,
        connection: &ConnectionId,
        kind: NoticeKind,
        about: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        self.sqlite
            .execute(
                "UPDATE notices SET recovered = ?3
                 WHERE connection = ?1 AND kind = ?2 AND about = coalesce(?4, about)
                     AND recovered IS NULL",
                params![connection.as_str(), kind.word(), text(now), about],
            )
            .map_err(|error| self.error("cannot write down that a notice is over", error))?;
        Ok(())
    }
}

fn notice(row: &Row<'_>) -> rusqlite::Result<Result<Notice>> {
    let word: String = row.get(2)?;
    let kind = NoticeKind::ALL.into_iter().find(|kind| kind.word() == word);
    let kind = kind.unwrap_or(NoticeKind::Extraction);
    let at = |column: usize| row.get::<_, Option<String>>(column);
    let (raised, seen, dismissed, recovered) = (at(5)?, at(6)?, at(8)?, at(9)?);
    let (id, connection, times): (i64, String, u32) = (row.get(0)?, row.get(1)?, row.get(7)?);
    let (message, detail) = (row.get(3)?, row.get(4)?);
    let known = |at: Option<String>| at.as_deref().map(instant).transpose();
    let whole = || {
        Ok(Notice {
            id,
            connection: connection.into(),
            kind,
            level: if kind.is_critical() { "critical" } else { "warning" },
            message,
            detail,
            raised_at: known(raised)?.unwrap_or(Timestamp::UNIX_EPOCH),
            seen_at: known(seen)?.unwrap_or(Timestamp::UNIX_EPOCH),
            times,
            dismissed_at: known(dismissed)?,
            recovered_at: known(recovered)?,
        })
    };
    Ok(whole())
}
