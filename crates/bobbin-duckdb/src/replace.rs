//! Replacing a table as a whole (F-86, `stitch-behaviour.md` 7.9).
//!
//! Rows of a new version go into a keyed table at once, over those of the same keys: readers see every
//! record in one form or the other. In a table without keys they would see both generations, so
//! they gather in a table beside it. When the version is whole, what is left of older ones goes, in
//! one transaction; at its end, as all deletes ([`crate::merge`]). Where a person wants them kept, they
//! are marked as deleted instead. A version that never becomes whole removes nothing (C5).

use bobbin_core::receipt::Change;
use bobbin_core::{Error, Result};
use bobbin_load::shape::convert::Converter;
use bobbin_load::shape::course::{Course, NO_VERSION, TABLE_VERSION};
use duckdb::Connection;
use jiff::Timestamp;
use rustc_hash::FxHashSet;

use crate::error::Doing;
use crate::family::Family;
use crate::found;
use crate::ledger::Ledger;
use crate::merge::{OWN_ROWS, fill};
use crate::sql;
use crate::table::{Fade, Sweep, Table};

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
    let standing = family.standing();
    let Some(version) = version else {
        for table in &mut family.tables {
            table.beside = false;
        }
        let mut version = standing.active.unwrap_or(TABLE_VERSION);
        if let Some(own) = family.tables.first().filter(|_| standing.may_be_on_the_way()) {
            version = version.max(greatest_version(db, own)?);
        }
        return Ok(Turn { version, whole: false, outdated: false });
    };
    let Course { outdated, first, beside } = standing.course(version);
    for table in &mut family.tables {
        if first {
            table.version = Some(version);
        }
        if table.exists && table.version.is_none() {
            // From now on it is one that has versions, though none is whole yet.
            table.version = Some(NO_VERSION);
            table.recorded = false;
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

/// The greatest version of a table's rows: those that go at the round's end among them, and those that
/// are confirmed only then.
fn greatest_version(db: &Connection, table: &Table) -> Result<i64> {
    let greatest = format!("SELECT max(_sdc_table_version) FROM {}", table.place.sql());
    let found: Option<i64> = db
        .query_row(&greatest, [], |row| row.get(0))
        .map_err(|error| table.error("cannot read the table's versions", error))?;
    let mut confirmed = table.open.confirmed.iter().rev();
    let confirmed = confirmed.find(|(_, ids)| !ids.is_empty()).map(|(version, _)| *version);
    Ok(found.max(confirmed).unwrap_or(TABLE_VERSION))
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
        let before = OWN_ROWS + table.open.appended;
        let sweep = if table.beside { Sweep::all(before) } else { Sweep::others(version, before) };
        let sweep = sweep.beside(table.open.sweep);
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
    let confirmed = |sweep: Sweep| {
        let ids = sweep.version.and_then(|version| table.open.confirmed.get(&version));
        ids.into_iter().flatten().copied()
    };
    let others: FxHashSet<i64> =
        table.open.doomed.iter().copied().chain(confirmed(sweep)).collect();
    fill(db, &others.iter().copied().collect::<Vec<_>>())?;
    let listed = "rowid IN (SELECT id FROM temp.main.bobbin_rows)";
    let Some(earlier) = table.open.sweep else {
        return count_where(db, table, &format!("{} AND NOT {listed}", sweep.sql()));
    };
    let (swept, before) = (sweep.sql(), earlier.sql());
    let more = count_where(db, table, &format!("{swept} AND NOT {before} AND NOT {listed}"))?;
    // What the version before held on to goes only now.
    let held: Vec<i64> = confirmed(earlier).filter(|id| !others.contains(id)).collect();
    fill(db, &held)?;
    Ok(more + count_where(db, table, &format!("{swept} AND {before} AND {listed}"))?)
}

fn count_where(db: &Connection, table: &Table, condition: &str) -> Result<u64> {
    let count = format!("SELECT count(*) FROM {} WHERE {condition}", table.place.sql());
    let rows: i64 = db
        .query_row(&count, [], |row| row.get(0))
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

/// Lets `version` take the place of all others, marking as deleted what it does not have; gives what
/// was changed, for people. Items stay with their records.
pub(crate) fn mark(
    db: &Connection,
    ledger: &Ledger,
    (family, converter): (&mut Family, &mut Converter),
    version: i64,
    at: Timestamp,
) -> Result<Vec<Change>> {
    let Some(own) = family.tables.first_mut() else { return Ok(Vec::new()) };
    let columns = converter
        .provide_deleted_at()
        .ok_or_else(|| Error::bug("there is no column for the mark of deleted records"))?;
    let changes = own.grow(db, ledger, &columns)?;
    let rows = Sweep::others(version, OWN_ROWS + own.open.appended);
    own.open.fade = Some(Fade { rows, deleted_at: columns.deleted_at, at });
    for table in family.tables.iter_mut().filter(|table| table.exists) {
        if table.version.is_none_or(|active| active <= version) {
            table.version = Some(version);
        }
    }
    family.record_all(db, ledger)?;
    Ok(changes)
}
