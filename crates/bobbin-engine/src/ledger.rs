//! The ledger: jobs and their reports in one SQLite file, for `bobbin status`.
//!
//! It is a record of what happened and a cache of the state; the truth about rows and bookmarks
//! is in the destination. A lost ledger costs history, never data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use bobbin_core::id::{ConnectionId, JobId, StreamName};
use bobbin_core::state::State;
use bobbin_core::tap::Discovery;
use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::report::RunReport;

mod audit;
mod checks;
mod hooks;
mod keys;
mod loads;
mod migrations;
mod notices;
mod replies;
mod sessions;
mod slots;
mod store;
mod tokens;
mod users;

use migrations::MIGRATIONS;

pub use audit::{Act, Deed};
pub use checks::{Checked, Side};
pub use keys::{Key, MOST_KEYS, Role};
pub use loads::{Load, LoadedTable, PERIOD_DAYS, Rows};
pub use notices::{Notice, NoticeKind, Telling};
pub use replies::Reply;
pub use sessions::{Owner, SESSION_IDLE, SESSION_LIFE, Session};
pub(crate) use slots::{FOLLOWS, OVERRUN};
pub use slots::{Kept, SlotOutcome, SlotRow};
pub use store::{Removed, Stored, Thing};
pub use tokens::{MOST_TOKENS, Token};
pub use users::{MOST_USERS, User, UserChange};

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    sqlite: Connection,
}

/// What stands for the trigger of jobs that read a part again: they make nothing complete.
const BACKFILL: &str = "backfill";

/// Why a job runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trigger {
    /// Somebody asked for it.
    #[default]
    Manual,
    /// Somebody asked the service for it, and was told at that instant what it is called.
    Asked(Timestamp),
    /// A slot of its schedule came.
    Slot(Timestamp),
}

impl Trigger {
    /// What the job is called, where somebody was told so before it began.
    pub fn job(self) -> Option<JobId> {
        match self {
            Self::Asked(at) => Some(crate::engine::job_id(at)),
            Self::Manual | Self::Slot(_) => None,
        }
    }

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Manual | Self::Asked(_) => "manual",
            Self::Slot(_) => "schedule",
        }
    }
}

/// A job as the ledger knows it. Without a report it is running, or its process ended abruptly.
#[derive(Clone, Debug)]
pub struct JobRow {
    /// Which.
    pub id: JobId,
    /// When it began.
    pub started: Timestamp,
    /// `manual` or `schedule`.
    pub trigger: String,
    /// Whether it has ended, if without a word: its process died.
    pub ended: bool,
    /// How it ended, with everything it said.
    pub report: Option<RunReport>,
}

impl JobRow {
    /// Whether it read a part again, and made nothing complete.
    pub fn is_backfill(&self) -> bool {
        self.trigger == BACKFILL
    }

    /// `running`, `complete`, `incomplete`, `interrupted`, `failed` or `abrupt`: its process died.
    pub fn status(&self) -> &'static str {
        match &self.report {
            Some(report) => report.outcome.word(),
            None if self.ended => "abrupt",
            None => "running",
        }
    }
}

impl Ledger {
    /// Opens the ledger at `path`, making or migrating it when needed. A ledger of a newer
    /// bobbin is refused.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |error: rusqlite::Error| ledger_error("cannot open the ledger", error, path);
        let mut sqlite = Connection::open(path).map_err(failed)?;
        sqlite.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
        let mode: String =
            sqlite.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(failed)?;
        if mode != "wal" {
            write_ahead(&sqlite).map_err(failed)?;
        }
        sqlite.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        // Whoever only reads waits for nobody.
        if version(&sqlite, path)? < MIGRATIONS.len() {
            let transaction = sqlite
                .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
                .map_err(failed)?;
            let version = version(&transaction, path)?;
            for (n, migration) in MIGRATIONS.iter().enumerate().skip(version) {
                transaction.execute_batch(migration).map_err(failed)?;
                transaction.pragma_update(None, "user_version", n as i64 + 1).map_err(failed)?;
            }
            transaction.commit().map_err(failed)?;
        }
        Ok(Self { sqlite })
    }

    /// Notes that a job began. The caller holds the connection's lock, so what has not ended by now
    /// never will.
    pub fn begin(
        &self,
        job: &JobId,
        connection: &ConnectionId,
        now: Timestamp,
        trigger: Trigger,
        backfill: bool,
    ) -> Result<()> {
        let word = if backfill { BACKFILL } else { trigger.word() };
        let failed = |error| self.error("cannot note the job's beginning", error);
        let transaction = self.sqlite.unchecked_transaction().map_err(failed)?;
        self.end_abruptly(connection, now)?;
        transaction
            .execute(
                "INSERT INTO jobs (id, connection, started, trigger) VALUES (?1, ?2, ?3, ?4)",
                params![job.as_str(), connection.as_str(), now.to_string(), word],
            )
            .map_err(failed)?;
        if let Trigger::Slot(slot) = trigger {
            transaction
                .execute(
                    "UPDATE slots SET job = ?3 WHERE connection = ?1 AND slot = ?2",
                    params![connection.as_str(), slots::text(slot), job.as_str()],
                )
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// The connections with a job that has not ended: it runs, or its process is gone.
    pub(crate) fn unended(&self) -> Result<Vec<ConnectionId>> {
        let failed = |error| self.error("cannot read the jobs", error);
        let mut statement = self
            .sqlite
            .prepare("SELECT DISTINCT connection FROM jobs WHERE ended IS NULL")
            .map_err(failed)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
        rows.map(|row| Ok(row.map_err(failed)?.into())).collect()
    }

    /// Ends the jobs of a connection that have not ended. The caller holds the connection's lock, so they
    /// never will.
    pub(crate) fn end_abruptly(&self, connection: &ConnectionId, now: Timestamp) -> Result<()> {
        self.sqlite
            .execute(
                "UPDATE jobs SET ended = ?2, outcome = 'abrupt'
                 WHERE connection = ?1 AND ended IS NULL",
                params![connection.as_str(), now.to_string()],
            )
            .map_err(|error| self.error("cannot note a job's end", error))?;
        Ok(())
    }

    /// Notes how a job ended.
    pub fn end(&self, report: &RunReport) -> Result<()> {
        let text = serde_json::to_string(report)
            .map_err(|error| Error::bug("cannot write a report as JSON").caused_by(error))?;
        self.sqlite
            .execute(
                "UPDATE jobs SET ended = ?2, outcome = ?3, report = ?4 WHERE id = ?1 AND connection = ?5",
                params![report.job.as_str(), report.ended.to_string(), report.outcome.word(), text, report.connection.as_str()],
            )
            .map_err(|error| self.error("cannot note the job's end", error))?;
        Ok(())
    }

    /// The latest jobs of a connection, newest first; those before one, if it is named.
    pub fn jobs(
        &self,
        connection: &ConnectionId,
        before: Option<&JobId>,
        most: u32,
    ) -> Result<Vec<JobRow>> {
        let before = before.map(JobId::as_str);
        self.job_rows(
            "AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3",
            params![connection.as_str(), before, most],
        )
    }

    /// One job.
    pub fn job(&self, connection: &ConnectionId, job: &JobId) -> Result<Option<JobRow>> {
        let rows = self.job_rows("AND id = ?2", params![connection.as_str(), job.as_str()])?;
        Ok(rows.into_iter().next())
    }

    fn job_rows(&self, which: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<JobRow>> {
        let failed = |error| self.error("cannot read the jobs", error);
        let mut statement = self
            .sqlite
            .prepare(&format!(
                "SELECT id, started, trigger, ended IS NOT NULL, report FROM jobs
                 WHERE connection = ?1 {which}"
            ))
            .map_err(failed)?;
        let mut rows = statement.query(parameters).map_err(failed)?;
        let mut jobs = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let id: String = row.get(0).map_err(failed)?;
            let started: String = row.get(1).map_err(failed)?;
            let report: Option<String> = row.get(4).map_err(failed)?;
            jobs.push(JobRow {
                id: id.into(),
                started: started.parse().unwrap_or(Timestamp::UNIX_EPOCH),
                trigger: row.get(2).map_err(failed)?,
                ended: row.get(3).map_err(failed)?,
                report: report.and_then(|text| serde_json::from_str(&text).ok()),
            });
        }
        Ok(jobs)
    }

    /// The state last seen durable in the destination, as a backup of it.
    pub fn state(&self, connection: &ConnectionId) -> Result<Option<State>> {
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

    /// Keeps a copy of a state that the destination has committed.
    pub fn save_state(
        &self,
        connection: &ConnectionId,
        state: &State,
        now: Timestamp,
    ) -> Result<()> {
        let text = serde_json::to_string(state)
            .map_err(|error| Error::bug("cannot write a state as JSON").caused_by(error))?;
        self.sqlite
            .execute(
                "INSERT INTO states (connection, version, state, saved) VALUES (?1, 1, ?2, ?3)
                 ON CONFLICT (connection) DO UPDATE
                 SET version = version + 1, state = excluded.state, saved = excluded.saved",
                params![connection.as_str(), text, now.to_string()],
            )
            .map_err(|error| self.error("cannot save the state", error))?;
        Ok(())
    }

    /// Keeps what a source had to offer (F-06).
    pub fn save_catalog(
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

    /// What the connection's source had to offer when its last job looked, and when that was.
    pub fn catalog(&self, connection: &ConnectionId) -> Result<Option<(Discovery, Timestamp)>> {
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

    /// Keeps which columns of a connection are not new, by stream (F-49).
    pub fn save_columns(
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

    /// Which columns of a connection are not new, by stream; none before its first job.
    pub fn columns(
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

    /// The number of a thing, for whoever knows things by numbers, and since when it has it. It is given
    /// at first sight and stays.
    pub fn number(&self, kind: &str, name: &str, now: Timestamp) -> Result<(i64, Timestamp)> {
        let failed = |error| self.error("cannot give a number", error);
        let find = || {
            self.sqlite
                .query_row(
                    "SELECT id, made FROM numbers WHERE kind = ?1 AND name = ?2",
                    params![kind, name],
                    |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
                )
                .optional()
                .map_err(failed)
        };
        let found = match find()? {
            Some(found) => found,
            None => {
                self.sqlite
                    .execute(
                        "INSERT OR IGNORE INTO numbers (kind, name, made) VALUES (?1, ?2, ?3)",
                        params![kind, name, slots::text(now)],
                    )
                    .map_err(failed)?;
                find()?.ok_or_else(|| Error::bug("a number that was given is not there"))?
            }
        };
        Ok((found.0, slots::instant(&found.1)?))
    }

    /// The latest job of a connection that has ended in order.
    pub fn last_ended(&self, connection: &ConnectionId) -> Result<Option<JobRow>> {
        let rows = self.job_rows(
            "AND report IS NOT NULL ORDER BY id DESC LIMIT 1",
            params![connection.as_str()],
        )?;
        Ok(rows.into_iter().next())
    }

    /// How many jobs of a connection ended in which way, of those that are kept.
    pub fn outcomes(&self, connection: &ConnectionId) -> Result<Vec<(String, u64)>> {
        let failed = |error| self.error("cannot count the jobs", error);
        let mut statement = self
            .sqlite
            .prepare(
                "SELECT outcome, count(*) FROM jobs
                 WHERE connection = ?1 AND outcome IS NOT NULL GROUP BY outcome ORDER BY outcome",
            )
            .map_err(failed)?;
        let rows = statement
            .query_map(params![connection.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    /// Does all of `act` or, on an error, none of it; `what` could not be done then. Within another one it is
    /// a part of that.
    pub(crate) fn atomically<T>(&self, what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.sqlite.is_autocommit() {
            return act();
        }
        let failed = |error| self.error(what, error);
        let transaction = self.sqlite.unchecked_transaction().map_err(failed)?;
        let done = act()?;
        transaction.commit().map_err(failed)?;
        Ok(done)
    }

    fn error(&self, what: &str, error: rusqlite::Error) -> Error {
        ledger_error(what, error, Path::new(self.sqlite.path().unwrap_or("?")))
    }
}

/// Lets readers and one writer work at once. SQLite does not wait for that by itself where two make the
/// file at the same time.
fn write_ahead(sqlite: &Connection) -> rusqlite::Result<()> {
    let mut attempts = 0;
    loop {
        match sqlite.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && attempts < 200 =>
            {
                attempts += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}

/// How many migrations a ledger has; one of a newer bobbin is refused.
fn version(sqlite: &Connection, path: &Path) -> Result<usize> {
    let version: u32 = sqlite
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| ledger_error("cannot open the ledger", error, path))?;
    let version = version as usize;
    if version > MIGRATIONS.len() {
        return Err(Error::config("the ledger was written by a newer bobbin")
            .with("path", path.display())
            .with("version", version)
            .with("known_version", MIGRATIONS.len())
            .hint("use that version of bobbin, or move the file away: only the history of jobs is in it, never data"));
    }
    Ok(version)
}

fn ledger_error(what: &str, error: rusqlite::Error, path: &Path) -> Error {
    use rusqlite::ErrorCode;
    let (kind, hint) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            (ErrorKind::DiskFull, "free some space on that disk and run again")
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => (
            ErrorKind::InvalidData,
            "move the file away and run again: only the history of jobs is in it, never data",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Conflict, "another program holds it; try again")
        }
        _ => (ErrorKind::Io, "check that the directory exists and can be written"),
    };
    Error::new(kind, what).with("path", path.display()).hint(hint).caused_by(error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    /// Whatever version a ledger was written by, it opens, and what it told then it still tells.
    #[test]
    fn a_ledger_of_every_earlier_version_goes_on() {
        for version in 1..MIGRATIONS.len() {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("ledger.sqlite");
            let sqlite = Connection::open(&path).unwrap();
            for migration in &MIGRATIONS[..version] {
                sqlite.execute_batch(migration).unwrap();
            }
            sqlite
                .execute_batch(
                    "INSERT INTO jobs (connection, id, started) VALUES ('c', 'j', '2026-01-01T00:00:00Z');
                     INSERT INTO states (connection, version, state, saved)
                     VALUES ('c', 1, '{\"bookmarks\":{\"a\":7}}', '2026-01-01T00:00:00Z')",
                )
                .unwrap();
            sqlite.pragma_update(None, "user_version", version as i64).unwrap();
            drop(sqlite);
            let ledger = Ledger::open(&path).unwrap();
            let jobs = ledger.jobs(&"c".into(), None, 10).unwrap();
            assert_eq!((jobs.len(), jobs[0].trigger.as_str()), (1, "manual"), "from {version}");
            let state = ledger.state(&"c".into()).unwrap().unwrap();
            assert_eq!(state.bookmarks.values().next(), Some(&7.into()), "from {version}");
            assert!(ledger.loads(&"c".into(), None, None, 10).unwrap().is_empty());
            assert!(!ledger.is_paused(&"c".into()).unwrap());
        }
    }

    /// A ledger in which numbers were given twice already is mended: the next load comes after all that
    /// any hook was sent, and a hook's notice is its own.
    #[test]
    fn hooks_of_an_earlier_version_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.sqlite");
        let sqlite = Connection::open(&path).unwrap();
        for migration in &MIGRATIONS[..7] {
            sqlite.execute_batch(migration).unwrap();
        }
        sqlite
            .execute_batch(
                "INSERT INTO loads (id, connection, job, stream, started, ended, rows, unchanged, rejected,
                                    removed, bytes, table_name, replaced)
                 VALUES (3, 'c', 'j', 's', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 1, 2, 3, 4, 5,
                         't', 1);
                 INSERT INTO hooks VALUES ('dbt', 40);
                 INSERT INTO notices (id, connection, kind, message, raised, seen, times)
                 VALUES (8, 'c', 'hook', 'the post-load hook `dbt` could not be told of a load of `s`',
                         '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 1),
                        (9, 'c', 'stale', 'old', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 7);
                 INSERT INTO tellings VALUES ('chat', 12, 'raised', 1, '2026', '2026', 1, NULL);",
            )
            .unwrap();
        sqlite.pragma_update(None, "user_version", 7).unwrap();
        drop(sqlite);
        let ledger = Ledger::open(&path).unwrap();
        let (c, now) = ("c".into(), Timestamp::UNIX_EPOCH);
        let (id, load) = ledger.loads(&c, None, None, 10).unwrap().remove(0);
        assert_eq!((id, load.table.as_str(), load.rows, load.bytes), (3, "t", 1, 5));
        ledger.loaded(&c, &load, None).unwrap();
        assert_eq!(ledger.unsent("dbt", 10, now).unwrap()[0].0, 41);
        ledger.raise(&c, NoticeKind::Rejected, "new", None, now).unwrap();
        assert_eq!(
            ledger.notices(false, 1).unwrap()[0].id,
            13,
            "whom 12 was told is not whom 13 was"
        );
        ledger.recover_hook(&c, "other", now).unwrap();
        assert_eq!(ledger.notices(false, 10).unwrap().len(), 3);
        ledger.recover_hook(&c, "dbt", now).unwrap();
        let left = ledger.notices(false, 10).unwrap();
        assert_eq!((left.len(), left[1].times), (2, 7));
    }
}
