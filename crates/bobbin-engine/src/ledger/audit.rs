//! Who did what: each change that somebody asked for, and who logged in or tried to.

use bobbin_core::Result;
use jiff::Timestamp;
use rusqlite::params;
use serde::Serialize;

use super::SqliteLedger;
use super::slots::{instant, text};

/// Something that was done or tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Act {
    /// Whose way in it was: `user`, `key`, `token` or `cli`.
    pub kind: String,
    /// Who: the name of a user, what a key is for and how it ends.
    pub name: String,
    /// The method of a request; `bobbin` for the command line.
    pub method: String,
    /// What was asked for: the address without query, the words of the command line.
    pub path: String,
    /// The status of the answer; none for the command line.
    pub status: Option<u16>,
    /// From where.
    pub address: Option<String>,
}

/// An act as it was written down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Deed {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub act: Act,
}

/// What was done, and by whom.
pub trait Audit {
    /// Writes down what somebody did.
    fn write_down(&self, act: &Act, now: Timestamp) -> Result<()>;

    /// What was done, newest first, all or before the one of this number.
    fn deeds(&self, before: Option<i64>, most: u32) -> Result<Vec<Deed>>;
}

impl Audit for SqliteLedger {
    fn write_down(&self, act: &Act, now: Timestamp) -> Result<()> {
        self.sqlite
            .execute(
                "INSERT INTO audit (at, kind, name, method, path, status, address)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    text(now),
                    act.kind,
                    act.name,
                    act.method,
                    act.path,
                    act.status,
                    act.address
                ],
            )
            .map_err(|error| self.error("cannot write down who did what", error))?;
        Ok(())
    }

    fn deeds(&self, before: Option<i64>, most: u32) -> Result<Vec<Deed>> {
        let failed = |error| self.error("cannot read who did what", error);
        let mut statement = self
            .sqlite
            .prepare(
                "SELECT id, at, kind, name, method, path, status, address FROM audit
                 WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            )
            .map_err(failed)?;
        let rows = statement
            .query_map(params![before.unwrap_or(i64::MAX), most], |row| {
                let act = Act {
                    kind: row.get(2)?,
                    name: row.get(3)?,
                    method: row.get(4)?,
                    path: row.get(5)?,
                    status: row.get(6)?,
                    address: row.get(7)?,
                };
                Ok((row.get(0)?, row.get::<_, String>(1)?, act))
            })
            .map_err(failed)?;
        rows.map(|row| {
            let (id, at, act) = row.map_err(failed)?;
            Ok(Deed { id, at: instant(&at)?, act })
        })
        .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    #[test]
    fn what_was_done_is_told_in_pages_and_forgotten_with_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let ledger: &dyn Ledger =
            &SqliteLedger::open(&directory.path().join("ledger.sqlite")).unwrap();
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        for second in 1..=5 {
            let act = Act {
                kind: "user".to_owned(),
                name: "anna".to_owned(),
                method: "POST".to_owned(),
                path: format!("/{second}"),
                status: Some(202),
                address: None,
            };
            ledger.write_down(&act, at(second)).unwrap();
        }
        let paths = |before, most| {
            let deeds = ledger.deeds(before, most).unwrap();
            deeds.into_iter().map(|deed| (deed.id, deed.act.path)).collect::<Vec<_>>()
        };
        assert_eq!(paths(None, 2), [(5, "/5".to_owned()), (4, "/4".to_owned())]);
        assert_eq!(paths(Some(2), 2), [(1, "/1".to_owned())]);
        ledger.forget(at(4)).unwrap();
        assert_eq!(paths(None, 9), [(5, "/5".to_owned()), (4, "/4".to_owned())]);
    }
}
