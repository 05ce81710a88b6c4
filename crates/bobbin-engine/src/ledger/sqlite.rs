//! The ledger in one SQLite file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bobbin_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::migrations::MIGRATIONS;

/// An open ledger: one SQLite file, which several processes may have open at once.
#[derive(Debug)]
pub struct SqliteLedger {
    pub(super) sqlite: Connection,
}

impl SqliteLedger {
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
            let transaction =
                sqlite.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
            let version = version(&transaction, path)?;
            for (n, migration) in MIGRATIONS.iter().enumerate().skip(version) {
                transaction.execute_batch(migration).map_err(failed)?;
                transaction.pragma_update(None, "user_version", n as i64 + 1).map_err(failed)?;
            }
            transaction.commit().map_err(failed)?;
        }
        Ok(Self { sqlite })
    }

    pub(super) fn user_version(&self) -> Result<u32> {
        self.sqlite
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|error| self.error("cannot read the ledger's version", error))
    }

    pub(super) fn count_rows(&self) -> Result<BTreeMap<String, u64>> {
        let failed = |error| self.error("cannot count the ledger's rows", error);
        let tables: Vec<String> = self
            .sqlite
            .prepare(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
            )
            .and_then(|mut all| all.query_map([], |row| row.get(0))?.collect())
            .map_err(failed)?;
        let count = |table: String| {
            let sql = format!("SELECT count(*) FROM \"{table}\"");
            let rows = self.sqlite.query_row(&sql, [], |row| row.get(0)).map_err(failed)?;
            Ok((table, rows))
        };
        tables.into_iter().map(count).collect()
    }

    /// Does all of `act` or, on an error, none of it; `what` could not be done then. Within another one it is
    /// a part of that.
    pub(super) fn atomically<T>(&self, what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.sqlite.is_autocommit() {
            return act();
        }
        let failed = |error| self.error(what, error);
        let transaction = self.writing().map_err(failed)?;
        let done = act()?;
        transaction.commit().map_err(failed)?;
        Ok(done)
    }

    /// A transaction that will write. It waits for its turn at its beginning: one that has read already is
    /// refused when another wrote meanwhile, however long it would wait.
    pub(super) fn writing(&self) -> rusqlite::Result<Transaction<'_>> {
        Transaction::new_unchecked(&self.sqlite, TransactionBehavior::Immediate)
    }

    pub(super) fn error(&self, what: &str, error: rusqlite::Error) -> Error {
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
    use crate::ledger::{Ledger, NoticeKind};
    use bobbin_core::id::ConnectionId;
    use jiff::Timestamp;

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
            let ledger: &dyn Ledger = &SqliteLedger::open(&path).unwrap();
            let jobs = ledger.jobs(&"c".into(), None, 10).unwrap();
            assert_eq!((jobs.len(), jobs[0].trigger.as_str()), (1, "manual"), "from {version}");
            let state = ledger.state(&"c".into()).unwrap().unwrap();
            assert_eq!(state.bookmarks.values().next(), Some(&7.into()), "from {version}");
            assert!(ledger.loads(&"c".into(), None, None, 10).unwrap().is_empty());
            assert!(!ledger.is_paused(&"c".into()).unwrap());
        }
    }

    /// What reads first and writes then is not refused because another wrote in between.
    #[test]
    fn what_is_done_at_once_waits_for_its_turn() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.sqlite");
        let one = SqliteLedger::open(&path).unwrap();
        let ledger: &dyn Ledger = &one;
        let (c, now) = (ConnectionId::from("c"), Timestamp::UNIX_EPOCH);
        ledger.schedule(&c, now).unwrap();
        let (wrote, written) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            one.atomically("cannot do it", || {
                assert!(!ledger.is_paused(&c)?);
                let (path, c) = (&path, &c);
                scope.spawn(move || {
                    let other: &dyn Ledger = &SqliteLedger::open(path).unwrap();
                    other.pause(c, true, now).unwrap();
                    wrote.send(()).unwrap();
                });
                // It has its turn after this one, and would be done by now if it did not wait.
                let waited = written.recv_timeout(Duration::from_millis(300));
                assert!(waited.is_err(), "two write at once");
                ledger.settle(now)
            })
            .unwrap();
        });
        assert!(ledger.is_paused(&c).unwrap());
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
        let ledger: &dyn Ledger = &SqliteLedger::open(&path).unwrap();
        let (c, now) = ("c".into(), Timestamp::UNIX_EPOCH);
        let (id, load) = ledger.loads(&c, None, None, 10).unwrap().remove(0);
        assert_eq!((id, load.table.as_str(), load.rows, load.bytes), (3, "t", 1, 5));
        let lease = ledger.lease(&c, "here", now, now).unwrap();
        ledger.loaded(&lease, &load, None).unwrap();
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
