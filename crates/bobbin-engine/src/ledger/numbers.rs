//! Numbers of things, for whoever knows things by numbers (Stitch's API).

use bobbin_core::{Error, Result};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{SqliteLedger, slots};

/// Numbers that are given at first sight and stay.
pub trait Numbers {
    /// The number of a thing, for whoever knows things by numbers, and since when it has it. It is given
    /// at first sight and stays.
    fn number(&self, kind: &str, name: &str, now: Timestamp) -> Result<(i64, Timestamp)>;

    /// Whether a thing was ever given a number.
    fn has_number(&self, kind: &str, name: &str) -> Result<bool>;
}

impl Numbers for SqliteLedger {
    fn number(&self, kind: &str, name: &str, now: Timestamp) -> Result<(i64, Timestamp)> {
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

    fn has_number(&self, kind: &str, name: &str) -> Result<bool> {
        self.sqlite
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM numbers WHERE kind = ?1 AND name = ?2)",
                params![kind, name],
                |row| row.get(0),
            )
            .map_err(|error| self.error("cannot look for a number", error))
    }
}
