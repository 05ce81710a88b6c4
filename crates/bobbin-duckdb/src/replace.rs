//! Replacing a table as a whole (F-86, `stitch-behaviour.md` 7.9).
//!
//! Rows of a new version go into a keyed table at once, over those of the same keys: readers see every
//! record in one form or the other. In a table without keys they would see both generations, so
//! they gather in a table beside it. When the version is whole, what is left of older ones goes, in
//! one transaction; at its end, as all deletes ([`crate::merge`]). A version that never becomes
//! whole removes nothing (C5).

use bobbin_core::Result;
use duckdb::Connection;

use crate::error::Doing;
use crate::family::Family;
use crate::found;
use crate::ledger::Ledger;
use crate::merge::{OWN_ROWS, fill};
use crate::sql;
use crate::table::{Sweep, TABLE_VERSION, Table};

/// What a segment's version means for a family's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Turn {
    /// The version its rows are written with.
    pub(crate) version: i64,
    /// Whether that version may take the place of all others.
    pub(crate) whole: bool,
    /// Whether a later version is there already.
    pub(crate) outdated: bool,
}

/// Prepares the tables for rows of `version`; none is a stream that only changes.
pub(crate) fn begin(db: &Connection, family: &mut Family, version: Option<i64>) -> Result<Turn> {
    family.mark();
    let (active, exists, keyed) = match family.tables.first() {
        Some(own) => (own.version, own.exists, own.keyed),
        None => (None, false, false),
    };
    let Some(version) = version else {
        for table in &mut family.tables {
            table.beside = false;
        }
        let version = active.unwrap_or(TABLE_VERSION);
        return Ok(Turn { version, whole: false, outdated: false });
    };
    let outdated = active.is_some_and(|active| version < active);
    // The first rows ever show at once.
    let first = active.is_none() && !exists;
    let beside = !keyed && !outdated && !first && active != Some(version);
    for table in &mut family.tables {
        if first {
            table.version = Some(version);
        }
        table.beside = beside;
        if beside && table.exists {
            table
                .prepare_next(db, Some(version))
                .map_err(|error| error.with("table", &table.place.table))?;
        }
    }
    Ok(Turn { version, whole: !outdated, outdated })
}

/// Lets `version` take the place of all others; gives how many records are no more then.
pub(crate) fn activate(
    db: &Connection,
    ledger: &Ledger,
    family: &mut Family,
    version: i64,
) -> Result<u64> {
    let mut removed = 0;
    for (at, table) in family.tables.iter_mut().enumerate() {
        if !table.exists || table.version.is_some_and(|active| active > version) {
            continue;
        }
        let sweep = Sweep {
            version: (!table.beside).then_some(version),
            before: OWN_ROWS + table.open.appended,
        };
        if at == 0 {
            removed = count(db, table, sweep)?;
        }
        table.open.sweep = Some(sweep);
        if table.beside {
            take_in(db, table, version).map_err(|error| error.with("table", &table.place.table))?;
        }
        table.version = Some(version);
    }
    family.record_all(db, ledger)?;
    Ok(removed)
}

/// How many rows go beside those that go anyway.
fn count(db: &Connection, table: &Table, sweep: Sweep) -> Result<u64> {
    let open = &table.open;
    let confirmed = sweep.version.and_then(|version| open.confirmed.get(&version));
    let others: Vec<i64> =
        open.doomed.iter().chain(confirmed.into_iter().flatten()).copied().collect();
    fill(db, &others)?;
    let earlier = open.sweep.map_or("false".to_owned(), Sweep::sql);
    let rows: i64 = db
        .query_row(
            &format!(
                "SELECT count(*) FROM {} WHERE {} AND NOT {earlier}
                     AND rowid NOT IN (SELECT id FROM temp.main.bobbin_rows)",
                table.place.sql(),
                sweep.sql()
            ),
            [],
            |row| row.get(0),
        )
        .map_err(|error| table.error("cannot count the rows of the earlier version", error))?;
    Ok(rows as u64)
}

/// Moves the rows of a version that gathered beside a table into it.
fn take_in(db: &Connection, table: &mut Table, version: i64) -> Result<()> {
    let what = "cannot replace the table's earlier version";
    let next = table.next();
    let columns: Vec<String> = found::columns(db, &next)?
        .into_iter()
        .filter(|(name, _)| table.is_ours(name))
        .map(|(name, _)| sql::name(&name))
        .collect();
    if !columns.is_empty() {
        let columns = columns.join(", ");
        let rows = db
            .execute(
                &format!(
                    "INSERT INTO {} ({columns}) SELECT {columns} FROM {}
                     WHERE _sdc_table_version = {version}",
                    table.place.sql(),
                    next.sql()
                ),
                [],
            )
            .doing(what)?;
        table.open.appended += rows as i64;
        db.execute_batch(&format!("DROP TABLE {}", next.sql())).doing(what)?;
    }
    table.beside = false;
    Ok(())
}
