//! Upsert: of several rows with one key only the newest version stays.
//!
//! Rows are appended first and older versions found afterwards, once per segment: that reads the
//! key column once, finds mostly rows that were there before, and leaves the rows of a first load,
//! whose keys are new, untouched. Rows of earlier transactions are deleted at the round's end,
//! because DuckDB refuses to commit a transaction in which a column is added after such a delete.
//!
//! Items of arrays that have tables of their own go with their record: an item belongs to the
//! version of a record whose sequence it carries. The same version may be loaded twice, by two jobs
//! or in two segments, so an item must also have come with its row: before this transaction, in an
//! earlier segment of it, or in the segment at hand.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Int64Type, Schema};
use bobbin_core::{Error, Result};
use bobbin_load::filter::KeyFilter;
use bobbin_load::shape::batch::{Batch, KeyBytes};
use bobbin_load::shape::layout::{Deletes, Layout};
use bobbin_load::shape::version::{Part, Version};
use duckdb::Connection;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::Doing;
use crate::sql;
use crate::table::{Open, Sweep, Table};

/// Row ids from here on are of rows that the open transaction appended, in their order: `MAX_ROW_ID`
/// in `DuckDB`'s source.
pub(crate) const OWN_ROWS: i64 = 36_028_797_018_960_000;

/// Segments whose keys are looked up in the table before all its keys are read into a filter.
const LOOK_UPS: u32 = 4;

/// The rows of one segment whose keys may have been in the table before.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Keys of these rows, one batch per batch of the segment that had some.
    keys: Vec<RecordBatch>,
    /// Positions of the version fields' columns, of the latest batch.
    versions: Vec<Vec<usize>>,
    key_positions: Vec<usize>,
    /// Positions of the columns that say when a record was deleted in the source, where it is to go
    /// for it.
    deleted_at: Vec<usize>,
}

/// What settling a segment did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Settled {
    /// Rows that came with the segment and are older than another of their key.
    pub(crate) superseded: u64,
    /// Records that are no more, because they are deleted in the source.
    pub(crate) removed: u64,
    /// Items that came with the segment, of records that are older: how many of which table.
    pub(crate) items: Vec<(String, u64)>,
}

impl Touched {
    /// Notes which rows of a batch may replace others, and with `removes` which are to go because
    /// they are deleted in the source. Call before or after appending it.
    pub(crate) fn note(&mut self, table: &mut Table, batch: &Batch, removes: bool) -> Result<()> {
        if batch.keys.is_empty() || batch.rows == 0 {
            return Ok(());
        }
        let keys = batch.key_bytes();
        let removes = removes && !batch.deleted_at.is_empty();
        if removes {
            self.deleted_at.clone_from(&batch.deleted_at);
        }
        let known: UInt32Array = match &mut table.filter {
            Some(filter) => (0..batch.rows)
                .filter(|&row| filter.insert(keys.at(row)) || removes && batch.is_deleted(row))
                .map(|row| row as u32)
                .collect(),
            None => (0..batch.rows as u32).collect(),
        };
        if table.filter.as_ref().is_some_and(KeyFilter::is_too_large) {
            table.filter = None;
        }
        self.versions.clone_from(&batch.versions);
        self.key_positions.clone_from(&batch.keys);
        if known.is_empty() {
            return Ok(());
        }
        let bug = |error| Error::bug("the keys do not form a batch").caused_by(error);
        let mut fields = Vec::new();
        let mut arrays = Vec::new();
        for (n, &position) in batch.keys.iter().enumerate() {
            let column = batch
                .column(position)
                .ok_or_else(|| Error::bug("a batch is without one of its key columns"))?;
            arrays.push(take(column, &known, None).map_err(bug)?);
            fields.push(Field::new(format!("k{n}"), column.data_type().clone(), true));
        }
        let schema = std::sync::Arc::new(Schema::new(fields));
        self.keys.push(RecordBatch::try_new(schema, arrays).map_err(bug)?);
        Ok(())
    }

    /// Finds every row that a newer version of its key makes superfluous, and deletes those of
    /// this round; the others wait in `Open::doomed`. Of a key whose newest version is to go, every row
    /// is superfluous. `whole` is the version that the segment's rows belong to, if it is to take the place of
    /// others: what is newer than its rows belongs to it, too.
    pub(crate) fn settle(
        self,
        db: &Connection,
        tables: &mut [Table],
        whole: Option<i64>,
    ) -> Result<Settled> {
        let Some((table, children)) = tables.split_first_mut() else {
            return Ok(Settled::default());
        };
        if self.keys.is_empty() {
            return Ok(Settled::default());
        }
        let fresh = OWN_ROWS + table.open.mark;
        let what = "cannot look up earlier versions";
        self.fill_keys(db, table)?;
        let (own, statement) = self.query(table)?;
        let mut winners: FxHashMap<Vec<u8>, (Version, i64)> = FxHashMap::default();
        let mut deleted: FxHashSet<i64> = FxHashSet::default();
        let mut losers: Vec<(i64, i64)> = Vec::new();
        let mut beaten: Vec<Vec<u8>> = Vec::new();
        let mut superseded = 0;
        let mut statement = db.prepare(&statement).doing(what)?;
        for rows in statement.query_arrow([]).doing(what)? {
            let columns = rows.columns();
            let ids = columns[0].as_primitive::<Int64Type>();
            let sequences = columns[1].as_primitive::<Int64Type>();
            let key_columns: Vec<&ArrayRef> = columns[2..2 + own.keys].iter().collect();
            let keys = KeyBytes::of(&key_columns, rows.num_rows());
            for row in 0..rows.num_rows() {
                if table.open.doomed.contains(&ids.value(row)) {
                    continue;
                }
                if let Some(sweep) = table.open.sweep
                    && is_swept(table, sweep, ids.value(row), &columns[columns.len() - 1], row)
                {
                    continue;
                }
                let mut at = 2 + own.keys;
                let mut parts = Vec::with_capacity(own.versions.len());
                for &count in &own.versions {
                    parts.push(Part::at(&columns[at..at + count], row));
                    at += count;
                }
                let marks = &columns[at..at + own.marks];
                if marks.iter().any(|column| column.is_valid(row)) {
                    deleted.insert(ids.value(row));
                }
                let candidate = (Version { parts, sequence: sequences.value(row) }, ids.value(row));
                let loser = match winners.entry(keys.at(row).to_vec()) {
                    Entry::Vacant(place) => {
                        place.insert(candidate);
                        continue;
                    }
                    Entry::Occupied(mut place) if candidate > *place.get() => {
                        place.insert(candidate)
                    }
                    Entry::Occupied(_) => candidate,
                };
                if loser.1 >= fresh {
                    superseded += 1;
                    if whole.is_some() {
                        beaten.push(keys.at(row).to_vec());
                    }
                }
                losers.push((loser.1, loser.0.sequence));
            }
        }
        drop(statement);
        if let Some(version) = whole {
            let held = beaten.iter().filter_map(|key| winners.get(key)).map(|(_, id)| *id);
            let held = held.filter(|id| *id < fresh);
            table.open.confirmed.entry(version).or_default().extend(held);
        }
        let gone = winners.into_values().filter(|(_, id)| deleted.contains(id));
        let gone: Vec<(i64, i64)> = gone.map(|(version, id)| (id, version.sequence)).collect();
        let removed = gone.len() as u64;
        losers.extend(gone);
        let (appended, earlier): (Vec<_>, Vec<_>) =
            losers.into_iter().partition(|(id, _)| *id >= OWN_ROWS);
        table.open.doomed.extend(earlier.into_iter().map(|(id, _)| id));
        let ids: Vec<i64> = appended.iter().map(|(id, _)| *id).collect();
        delete(db, table, &ids)?;
        let (new, old): (Vec<_>, Vec<_>) = appended.into_iter().partition(|(id, _)| *id >= fresh);
        let items = delete_items(db, children, &new, |table| {
            let came = table.open.appended > table.open.mark;
            came.then(|| format!("rowid >= {}", OWN_ROWS + table.open.mark))
        })?;
        delete_items(db, children, &old, |table| {
            let end = OWN_ROWS + table.open.mark;
            (end > OWN_ROWS).then(|| format!("rowid >= {OWN_ROWS} AND rowid < {end}"))
        })?;
        table.look_ups += 1;
        if table.filter.is_none() && table.look_ups == LOOK_UPS {
            table.filter = self.read_keys(db, table)?;
        }
        Ok(Settled { superseded, removed, items })
    }

    fn fill_keys(&self, db: &Connection, table: &Table) -> Result<()> {
        let what = "cannot look up earlier versions";
        let columns: Vec<String> = self
            .key_positions
            .iter()
            .enumerate()
            .map(|(n, &position)| {
                Ok(format!("k{n} {}", sql::column_type(table.column(position)?.ty)))
            })
            .collect::<Result<_>>()?;
        db.execute_batch(&format!(
            "CREATE OR REPLACE TEMP TABLE bobbin_keys ({})",
            columns.join(", ")
        ))
        .doing(what)?;
        let mut appender =
            db.appender_to_catalog_and_db("bobbin_keys", "temp", "main").doing(what)?;
        for keys in &self.keys {
            appender.append_record_batch(keys.clone()).doing(what)?;
        }
        appender.flush().doing(what)
    }

    /// The statement that reads all rows with these keys, and what its columns are.
    fn query(&self, table: &Table) -> Result<(Shape, String)> {
        let mut select = vec!["t.rowid".to_owned(), "t._sdc_sequence".to_owned()];
        let mut on = Vec::new();
        for (n, &position) in self.key_positions.iter().enumerate() {
            let column = format!("t.{}", sql::name(&table.column(position)?.name));
            on.push(format!("{column} = k.k{n}"));
            select.push(column);
        }
        let mut versions = Vec::new();
        for positions in &self.versions {
            // A column that no record so far gave a value is not there.
            let there: Vec<_> =
                positions.iter().filter_map(|&position| table.column(position).ok()).collect();
            versions.push(there.len());
            select.extend(there.iter().map(|column| format!("t.{}", sql::name(&column.name))));
        }
        let marks: Vec<_> =
            self.deleted_at.iter().filter_map(|&position| table.column(position).ok()).collect();
        select.extend(marks.iter().map(|column| format!("t.{}", sql::name(&column.name))));
        if table.open.sweep.is_some() {
            select.push("t._sdc_table_version".to_owned());
        }
        let statement = format!(
            "SELECT {} FROM {} AS t SEMI JOIN temp.main.bobbin_keys AS k ON {}",
            select.join(", "),
            table.place.sql(),
            on.join(" AND ")
        );
        Ok((Shape { keys: self.key_positions.len(), versions, marks: marks.len() }, statement))
    }

    /// Reads all keys of the table.
    fn read_keys(&self, db: &Connection, table: &Table) -> Result<Option<KeyFilter>> {
        let what = "cannot read the table's keys";
        let columns: Vec<String> = self
            .key_positions
            .iter()
            .map(|&position| Ok(sql::name(&table.column(position)?.name)))
            .collect::<Result<_>>()?;
        let mut filter = KeyFilter::new();
        let mut statement = db
            .prepare(&format!("SELECT {} FROM {}", columns.join(", "), table.place.sql()))
            .doing(what)?;
        for rows in statement.stream_arrow([]).doing(what)? {
            let keys = KeyBytes::of(&rows.columns().iter().collect::<Vec<_>>(), rows.num_rows());
            for row in 0..rows.num_rows() {
                filter.insert(keys.at(row));
            }
            if filter.is_too_large() {
                return Ok(None);
            }
        }
        Ok(Some(filter))
    }
}

/// How the columns of the look-up divide: keys, then the columns of each version field, then those
/// that say when a record was deleted in the source.
struct Shape {
    keys: usize,
    versions: Vec<usize>,
    marks: usize,
}

/// Whether a row is no more once the transaction is over.
fn is_swept(table: &Table, sweep: Sweep, id: i64, versions: &ArrayRef, row: usize) -> bool {
    if id < sweep.all_before {
        return true;
    }
    let Some(version) = sweep.version.filter(|_| id < sweep.before) else { return false };
    let confirmed = table.open.confirmed.get(&version).is_some_and(|ids| ids.contains(&id));
    !confirmed && versions.as_primitive::<Int64Type>().value(row) != version
}

/// Ends what a round does to a stream's tables: deletes the rows of earlier transactions that it
/// replaces, with their items, and the rows whose place a version took. No column may be added
/// afterwards in the same transaction.
pub(crate) fn finish(db: &Connection, tables: &mut [Table], layout: Layout) -> Result<()> {
    let Some((own, children)) = tables.split_first_mut() else { return Ok(()) };
    let what = "cannot replace earlier versions";
    let mut doomed: Vec<i64> = own.open.doomed.drain().collect();
    doomed.sort_unstable();
    if !doomed.is_empty() {
        fill(db, &doomed)?;
        for table in children.iter().filter(|table| table.exists) {
            db.execute_batch(&format!(
                "DELETE FROM {} WHERE rowid < {OWN_ROWS} AND {}",
                table.place.sql(),
                of_rows(own)
            ))
            .map_err(|error| table.error(what, error))?;
        }
        delete_filled(db, own, doomed.len())?;
    }
    // A row that the version held on to may be in a later one, too.
    let turned = own.open.sweep.and_then(|sweep| sweep.version);
    let turned = turned.or(own.open.fade.as_ref().and_then(|fade| fade.rows.version));
    let mut confirmed = std::mem::take(&mut own.open.confirmed);
    let later = turned.map(|version| confirmed.split_off(&(version + 1))).unwrap_or_default();
    confirm(db, own, children, confirmed, layout)?;
    fade(db, own)?;
    for table in std::iter::once(&*own).chain(&*children) {
        if let Some(sweep) = table.open.sweep {
            db.execute_batch(&format!("DELETE FROM {} WHERE {}", table.place.sql(), sweep.sql()))
                .map_err(|error| table.error("cannot remove the table's earlier version", error))?;
        }
    }
    confirm(db, own, children, later, layout)?;
    for table in tables {
        table.open = Open::default();
    }
    Ok(())
}

/// Writes down that rows are in versions, though newer than the forms these came with.
fn confirm(
    db: &Connection,
    own: &Table,
    children: &[Table],
    confirmed: BTreeMap<i64, FxHashSet<i64>>,
    layout: Layout,
) -> Result<()> {
    let what = "cannot replace earlier versions";
    for (version, ids) in confirmed {
        let ids: Vec<i64> = ids.into_iter().collect();
        if ids.is_empty() {
            continue;
        }
        fill(db, &ids)?;
        for table in children.iter().filter(|table| table.exists) {
            db.execute_batch(&format!(
                "UPDATE {} SET _sdc_table_version = {version} WHERE {}",
                table.place.sql(),
                of_rows(own)
            ))
            .map_err(|error| table.error(what, error))?;
        }
        let mut set = format!("_sdc_table_version = {version}");
        if layout.deletes == Deletes::Mark
            && let Some(mark) = own.deleted_at()
        {
            // Marks that a tap gave are older than the rows they came with, marks of our own are not.
            set += &format!(", {mark} = CASE WHEN {mark} < _sdc_batched_at THEN {mark} END");
        }
        db.execute_batch(&format!(
            "UPDATE {} SET {set}
             WHERE rowid IN (SELECT id FROM temp.main.bobbin_rows)",
            own.place.sql()
        ))
        .map_err(|error| own.error(what, error))?;
    }
    Ok(())
}

/// Marks the rows that the table's new version does not have as deleted in the source.
fn fade(db: &Connection, own: &Table) -> Result<()> {
    if let Some(fade) = &own.open.fade
        && let Some(mark) = own.deleted_at()
    {
        let columns = fade.deleted_at.iter().filter_map(|&position| own.column(position).ok());
        let unmarked: Vec<String> =
            columns.map(|column| format!(" AND {} IS NULL", sql::name(&column.name))).collect();
        db.execute(
            &format!(
                "UPDATE {} SET {mark} = make_timestamptz(?) WHERE {}{}",
                own.place.sql(),
                fade.rows.sql(),
                unmarked.concat()
            ),
            [fade.at.as_microsecond()],
        )
        .map_err(|error| {
            own.error("cannot mark what the table's new version does not have", error)
        })?;
    }
    Ok(())
}

/// The condition for items of the rows whose ids were [filled](fill) in.
fn of_rows(own: &Table) -> String {
    format!(
        "_sdc_sequence IN (SELECT _sdc_sequence FROM {}
             WHERE rowid IN (SELECT id FROM temp.main.bobbin_rows))",
        own.place.sql()
    )
}

/// Deletes the items of rows that lost, given with their sequences, among those of each table's
/// items that `which` names; gives how many of which table.
fn delete_items(
    db: &Connection,
    children: &[Table],
    rows: &[(i64, i64)],
    which: impl Fn(&Table) -> Option<String>,
) -> Result<Vec<(String, u64)>> {
    let mut deleted = Vec::new();
    if rows.is_empty() {
        return Ok(deleted);
    }
    let mut filled = false;
    for table in children {
        let Some(which) = which(table) else { continue };
        if !filled {
            fill(db, &rows.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>())?;
            filled = true;
        }
        let statement = format!(
            "DELETE FROM {}
             WHERE {which} AND _sdc_sequence IN (SELECT id FROM temp.main.bobbin_rows)",
            table.place.sql()
        );
        let count = db
            .execute(&statement, [])
            .map_err(|error| table.error("cannot replace earlier versions", error))?;
        deleted.push((table.place.table.clone(), count as u64));
    }
    Ok(deleted)
}

fn delete(db: &Connection, table: &Table, rows: &[i64]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    fill(db, rows)?;
    delete_filled(db, table, rows.len())
}

/// Puts row ids, or sequences, where a statement can use them.
pub(crate) fn fill(db: &Connection, rows: &[i64]) -> Result<()> {
    let what = "cannot replace earlier versions";
    db.execute_batch("CREATE OR REPLACE TEMP TABLE bobbin_rows (id BIGINT)").doing(what)?;
    let mut appender = db.appender_to_catalog_and_db("bobbin_rows", "temp", "main").doing(what)?;
    appender.append_rows(rows.iter().map(|row| [row])).doing(what)?;
    appender.flush().doing(what)
}

fn delete_filled(db: &Connection, table: &Table, rows: usize) -> Result<()> {
    let deleted = db
        .execute(
            &format!(
                "DELETE FROM {} WHERE rowid IN (SELECT id FROM temp.main.bobbin_rows)",
                table.place.sql()
            ),
            [],
        )
        .map_err(|error| table.error("cannot replace earlier versions", error))?;
    if deleted != rows {
        return Err(Error::bug("not as many earlier versions were deleted as were found")
            .with("table", &table.place.table)
            .with("found", rows)
            .with("deleted", deleted));
    }
    Ok(())
}
