//! Replacing a table as a whole (F-86, `stitch-behaviour.md` 7.9).
//!
//! Rows of a new version go into a keyed table at once, over those of the same keys: readers see every
//! record in one form or the other. In a table without keys they would see both generations, so
//! they gather in a table beside it. When the version is whole, what is left of older ones goes,
//! in one transaction. A version that never becomes whole removes nothing (C5).

use bobbin_core::Result;
use postgres::Client;

use crate::error::Doing;
use crate::family::Family;
use crate::ledger::Ledger;

/// What a segment's version means for a family's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Turn {
    /// The version its rows are written with.
    pub(crate) version: i64,
    /// Whether a later version is there already.
    pub(crate) outdated: bool,
}

/// Prepares the tables for rows of `version`; none is a stream that only changes.
pub(crate) fn begin(db: &mut Client, family: &mut Family, version: Option<i64>) -> Result<Turn> {
    let Some(own) = family.tables.first() else {
        return Ok(Turn { version: crate::work::TABLE_VERSION, outdated: false });
    };
    let active = own.version;
    let Some(version) = version else {
        let version = active.unwrap_or(crate::work::TABLE_VERSION);
        return Ok(Turn { version, outdated: false });
    };
    let outdated = active.is_some_and(|active| version < active);
    // The first rows ever show at once.
    let first = active.is_none() && !own.exists;
    let beside = !own.keyed && !outdated && !first && active != Some(version);
    for table in &mut family.tables {
        if first {
            table.version = Some(version);
        }
        table.beside = beside;
        if beside && table.exists {
            // What an earlier version that never became whole left there goes.
            db.batch_execute(&format!(
                "CREATE TABLE IF NOT EXISTS {next} (LIKE {table});
                 DELETE FROM {next} WHERE _sdc_table_version <> {version};",
                next = table.next(),
                table = table.sql(),
            ))
            .doing("cannot make the table beside")
            .map_err(|error| error.with("table", &table.name))?;
        }
    }
    Ok(Turn { version, outdated })
}

/// Lets `version` take the place of all others; gives how many records are no more.
pub(crate) fn activate(
    db: &mut Client,
    ledger: &Ledger,
    family: &mut Family,
    version: i64,
) -> Result<u64> {
    let what = "cannot replace the table's earlier version";
    let mut removed = 0;
    for (at, table) in family.tables.iter_mut().enumerate() {
        if !table.exists || table.version.is_some_and(|active| active > version) {
            continue;
        }
        let delete = if table.beside {
            format!("DELETE FROM {}", table.sql())
        } else {
            format!("DELETE FROM {} WHERE _sdc_table_version <> {version}", table.sql())
        };
        let gone =
            db.execute(&delete, &[]).doing(what).map_err(|e| e.with("table", &table.name))?;
        removed += if at == 0 { gone } else { 0 };
        if table.beside {
            let columns = table.all_columns().join(", ");
            db.batch_execute(&format!(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM {next}; DROP TABLE {next};",
                table = table.sql(),
                next = table.next(),
            ))
            .doing(what)
            .map_err(|error| error.with("table", &table.name))?;
            table.beside = false;
        }
        table.version = Some(version);
    }
    family.record_all(db, ledger)?;
    Ok(removed)
}
