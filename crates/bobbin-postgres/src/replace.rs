//! Replacing a table as a whole (F-86, `stitch-behaviour.md` 7.9).
//!
//! Rows of a new version go into a keyed table at once, over those of the same keys: readers see every
//! record in one form or the other. In a table without keys they would see both generations, so
//! they gather in a table beside it. When the version is whole, what is left of older ones goes,
//! in one transaction; where a person wants them kept, they are marked as deleted instead. A version
//! that never becomes whole removes nothing (C5).

use bobbin_core::receipt::Change;
use bobbin_core::{Error, Result};
use bobbin_load::shape::convert::Converter;
use bobbin_load::shape::course::{Course, NO_VERSION, TABLE_VERSION};
use jiff::Timestamp;
use postgres::Client;

use crate::error::Doing;
use crate::family::Family;
use crate::found;
use crate::ledger::Ledger;
use crate::merge;
use crate::sql;
use crate::table::Table;

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
    let standing = family.standing();
    let Some(version) = version else {
        let mut version = standing.active.unwrap_or(TABLE_VERSION);
        if let Some(own) = family.tables.first().filter(|_| standing.may_be_on_the_way()) {
            version = version.max(greatest_version(db, own)?);
        }
        family.tables.iter_mut().for_each(|table| table.beside = None);
        return Ok(Turn { version, outdated: false });
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
        if beside && table.exists && table.beside != Some(version) {
            gather_beside(db, table, version)?;
        }
        table.beside = beside.then_some(version);
    }
    Ok(Turn { version, outdated })
}

/// The greatest version of a table's rows.
fn greatest_version(db: &mut Client, table: &Table) -> Result<i64> {
    let greatest = format!("SELECT max(_sdc_table_version) FROM {}", table.sql());
    let row = db.query_one(&greatest, &[]).doing("cannot read the table's versions")?;
    Ok(row.get::<_, Option<i64>>(0).unwrap_or(TABLE_VERSION))
}

/// Makes the table beside, or goes on with the one that is there. What an earlier version that never
/// became whole left in it goes.
pub(crate) fn gather_beside(db: &mut Client, table: &mut Table, version: i64) -> Result<()> {
    let what = "cannot make the table beside";
    let next = table.next();
    let named = |error: Error| error.with("table", &table.name);
    let ours = found::columns(db, &table.schema, &table.name)?;
    let there = found::columns(db, &table.schema, &table.next_name())?;
    let mut goes_on = !there.is_empty();
    if goes_on {
        let any =
            format!("SELECT EXISTS (SELECT FROM {next} WHERE _sdc_table_version = {version})");
        goes_on = db.query_one(&any, &[]).doing(what).map_err(named)?.get(0);
    }
    let mut ddl = String::new();
    if goes_on {
        ddl += &format!("DELETE FROM {next} WHERE _sdc_table_version <> {version};");
        let has = |name: &str| there.iter().any(|(found, _)| found == name);
        for (column, ty) in ours.iter().filter(|(name, _)| !has(name)) {
            ddl += &format!("ALTER TABLE {next} ADD COLUMN {} {ty};", sql::name(column));
        }
    } else {
        ddl += &format!("DROP TABLE IF EXISTS {next}; CREATE TABLE {next} (LIKE {});", table.sql());
    }
    db.batch_execute(&ddl).doing(what).map_err(named)?;
    table.beside = Some(version);
    Ok(())
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
        let mut delete = format!("DELETE FROM {}", table.sql());
        if table.beside.is_none() {
            delete += &format!(" WHERE _sdc_table_version IS DISTINCT FROM {version}");
        }
        let gone =
            db.execute(&delete, &[]).doing(what).map_err(|e| e.with("table", &table.name))?;
        removed += if at == 0 { gone } else { 0 };
        if table.beside.is_some() {
            let columns = table.all_columns().join(", ");
            db.batch_execute(&format!(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM {next}
                 WHERE _sdc_table_version = {version}; DROP TABLE {next};",
                table = table.sql(),
                next = table.next(),
            ))
            .doing(what)
            .map_err(|error| error.with("table", &table.name))?;
            table.beside = None;
        }
        table.version = Some(version);
    }
    family.record_all(db, ledger)?;
    Ok(removed)
}

/// Lets `version` take the place of all others, marking as deleted what it does not have; gives what
/// was changed, for people. Items stay with their records.
pub(crate) fn mark(
    db: &mut Client,
    ledger: &Ledger,
    (family, converter): (&mut Family, &mut Converter),
    version: i64,
    at: Timestamp,
) -> Result<Vec<Change>> {
    let Some(own) = family.tables.first_mut() else { return Ok(Vec::new()) };
    let columns = converter
        .provide_deleted_at()
        .ok_or_else(|| Error::bug("there is no column for the mark of deleted records"))?;
    let mut changes = own.grow(db, ledger, &columns)?;
    let marked = merge::marked(own, &columns.deleted_at)
        .ok_or_else(|| Error::bug("the mark of deleted records has no column"))?;
    let count = db
        .execute(
            &format!(
                "UPDATE {} AS held SET {} = to_timestamp(0) + $1::bigint * interval '1 microsecond'
                 WHERE _sdc_table_version IS DISTINCT FROM {version} AND NOT {marked}",
                own.sql(),
                own.deleted_at().ok_or_else(|| Error::bug("the mark's column was not made"))?
            ),
            &[&at.as_microsecond()],
        )
        .doing("cannot mark what the table's new version does not have")
        .map_err(|error| error.with("table", &own.name))?;
    if count > 0 {
        changes
            .push(Change::told(&own.name, format!("marked {count} rows as deleted in the source")));
    }
    for table in family.tables.iter_mut().filter(|table| table.exists) {
        if table.version.is_none_or(|active| active <= version) {
            table.version = Some(version);
        }
    }
    family.record_all(db, ledger)?;
    Ok(changes)
}
