//! Compares a replica with the simulator's oracle: nothing lost, nothing doubled, nothing stale.

use std::collections::HashMap;
use std::path::Path;

use bobbin_core::{Error, Result};
use fake_kustomer::{Bounds, Oracle};

/// What comparing one table found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// The table.
    pub(crate) table: String,
    /// Records a perfect replica holds.
    pub(crate) expected: u64,
    /// Rows there are.
    pub(crate) rows: u64,
    /// Records that are missing.
    pub(crate) lost: u64,
    /// Rows beyond the first of a record.
    pub(crate) doubled: u64,
    /// Rows that hold an older version.
    pub(crate) stale: u64,
    /// Rows of records that are not there.
    pub(crate) invented: u64,
}

impl Verdict {
    /// Whether the copy is exact.
    pub(crate) fn is_exact(&self) -> bool {
        self.lost + self.doubled + self.stale + self.invented == 0
    }
}

/// The tables and the simulator's names for their streams.
pub(crate) const TABLES: [(&str, &str); 9] = [
    ("users", "user"),
    ("teams", "team"),
    ("tags", "tag"),
    ("shortcuts", "shortcut"),
    ("customers", "customer"),
    ("conversations", "conversation"),
    ("messages", "message"),
    ("notes", "note"),
    ("kobjects", "kobject"),
];

/// Compares one table with what the oracle says it should hold of everything changed before
/// `until_ms` (all of it, when none is given).
pub(crate) fn compare(
    database: &Path,
    schema: &str,
    table: &str,
    oracle: &Oracle,
    until_ms: Option<i64>,
) -> Result<Verdict> {
    let stream = TABLES
        .iter()
        .find(|(name, _)| *name == table)
        .map(|(_, stream)| *stream)
        .ok_or_else(|| Error::bug(format!("the oracle knows no table {table}")))?;
    let mut verdict = Verdict { table: table.to_owned(), ..Verdict::default() };
    let sql = format!("SELECT id, epoch_ms(updated_at) FROM \"{schema}\".\"{table}\"");
    let mut found: HashMap<String, (i64, u64)> = HashMap::new();
    for row in bobbin_duckdb::query::query(database, &sql, usize::MAX)?.rows {
        let mut cells = row.into_iter();
        let id = cells.next().flatten().unwrap_or_default();
        let updated = cells.next().flatten().and_then(|ms| ms.parse().ok()).unwrap_or(i64::MIN);
        let entry = found.entry(id).or_insert((updated, 0));
        entry.0 = entry.0.min(updated);
        entry.1 += 1;
        verdict.rows += 1;
    }
    let bounds = until_ms.map_or(Bounds::all(), Bounds::until);
    oracle
        .for_each(stream, bounds, |held, _| {
            verdict.expected += 1;
            match found.remove(&held.id) {
                None => verdict.lost += 1,
                Some((updated, times)) => {
                    verdict.doubled += times - 1;
                    verdict.stale += u64::from(updated < held.updated_ms);
                }
            }
        })
        .map_err(|error| Error::bug("the oracle did not answer").caused_by(error))?;
    verdict.invented = found.len() as u64;
    Ok(verdict)
}
