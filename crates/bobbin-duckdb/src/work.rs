//! One segment on its way into a stream's tables.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;

use bobbin_core::catalog::Stream;
use bobbin_core::clock::Clock;
use bobbin_core::id::StreamName;
use bobbin_core::receipt::{Change, Fill, Span};
use bobbin_core::{Error, Result};
use bobbin_load::shape::batch::{Batch, RejectedRow};
use bobbin_load::shape::convert::kept;
use bobbin_load::shape::layout::Deletes;
use duckdb::Connection;
use jiff::Timestamp;
use rustc_hash::FxHashMap;

use crate::database::Database;
use crate::family::{Family, Registry};
use crate::ledger::Ledger;
use crate::merge::{OWN_ROWS, Touched};
use crate::replace::Turn;
use crate::table::Sweep;
use crate::writer::{Stamp, Writer};

/// The writing half of a load.
pub(crate) struct Work<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) registry: &'a mut Registry,
    pub(crate) family: &'a mut Family,
    pub(crate) stream: &'a Stream,
    pub(crate) database: &'a Database,
    /// Memory the open round was given for tables, by stream.
    pub(crate) room_kib: &'a mut FxHashMap<StreamName, u64>,
    /// Columns of the widest table written to.
    pub(crate) widest: &'a mut usize,
    /// Whether the open round has its rows held.
    pub(crate) holds: &'a mut bool,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) received: Timestamp,
    /// The version of the segment's rows.
    pub(crate) turn: Turn,
    pub(crate) touched: Touched,
    pub(crate) written: Written,
}

/// What became of a segment.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) rows: u64,
    pub(crate) superseded_early: u64,
    pub(crate) superseded_later: u64,
    pub(crate) rejected: u64,
    /// Records that are no more: deleted in the source, or not in the version that took the place of
    /// all others.
    pub(crate) removed: u64,
    pub(crate) sequence: Option<i64>,
    pub(crate) changes: Vec<Change>,
    /// The records' table.
    pub(crate) table: Option<String>,
    /// Rows of the tables of arrays, by their names.
    pub(crate) subtables: BTreeMap<String, u64>,
    pub(crate) span: Option<Span>,
    pub(crate) fill: Fill,
    /// When the source gave the latest of the rows.
    pub(crate) extracted_at: Option<i64>,
    /// Records that were loaded without some of their values.
    partial: u64,
}

/// The open appenders, one place for each of the family's tables.
struct Desk<'db> {
    db: &'db Connection,
    writers: Vec<Option<Writer<'db>>>,
}

impl Work<'_> {
    pub(crate) fn write(
        mut self,
        db: &mut Connection,
        batches: &Receiver<Batch>,
    ) -> Result<Written> {
        let mut desk = Desk { db, writers: Vec::new() };
        self.written.changes.append(&mut self.family.changes);
        self.written.table = self.family.tables.first().map(|own| own.place.table.clone());
        for mut batch in batches {
            let batched = self.clock.now();
            self.refuse_all(&mut batch);
            self.set_aside(desk.db, &batch, batched)?;
            self.written.superseded_early += batch.superseded;
            if batch.rows == 0 {
                continue;
            }
            self.written.sequence = self.written.sequence.max(batch.sequence.iter().copied().max());
            if self.turn.outdated {
                self.written.superseded_early += batch.rows as u64;
                continue;
            }
            self.take(&mut desk, &batch, batched)?;
            Span::widen(&mut self.written.span, batch.span.take());
            self.written.fill.add(&batch.fill);
            self.written.extracted_at =
                self.written.extracted_at.max(batch.extracted_at.iter().copied().max());
        }
        desk.writers.clear();
        self.family.record(desk.db, self.ledger)?;
        let whole = self.turn.whole.then_some(self.turn.version);
        let settled = self.touched.settle(desk.db, &mut self.family.tables, whole)?;
        self.written.superseded_later = settled.superseded;
        self.written.removed = settled.removed;
        for (table, lost) in settled.items {
            if let Some(rows) = self.written.subtables.get_mut(&table) {
                *rows -= lost;
            }
        }
        if self.written.partial > 0
            && let Some(own) = self.family.tables.first()
        {
            let words = format!(
                "{} records were loaded without a value that has no place; _sdc_rejected holds \
                 them whole",
                self.written.partial
            );
            self.written.changes.push(Change::told(&own.place.table, words));
        }
        Ok(self.written)
    }

    /// Where the table can have no name, its records are rejected, each with its text (F-78).
    fn refuse_all(&self, batch: &mut Batch) {
        let Some(reason) = &self.family.refused else { return };
        for record in batch.records.drain(..) {
            batch.rejected.push(RejectedRow { reason: reason.clone(), record: kept(&record) });
        }
        batch.rows = 0;
    }

    fn set_aside(&mut self, db: &Connection, batch: &Batch, at: Timestamp) -> Result<()> {
        let Some(own) = self.family.tables.first() else { return Ok(()) };
        self.written.rejected += batch.rejected.len() as u64;
        self.ledger.reject(db, &own.place.table, &batch.rejected, at)?;
        self.written.partial += batch.partial.len() as u64;
        self.ledger.reject(db, &own.place.table, &batch.partial, at)
    }

    /// Takes a batch's rows and those of its arrays.
    fn take(&mut self, desk: &mut Desk<'_>, batch: &Batch, batched: Timestamp) -> Result<()> {
        let stamp = Stamp { received: self.received, batched, version: self.turn.version };
        self.append(desk, 0, batch, stamp)?;
        if let Some(own) = self.family.tables.first_mut().filter(|own| own.keyed) {
            let removes = self.registry.layout.deletes == Deletes::Remove;
            self.touched.note(own, batch, removes)?;
        }
        self.written.rows += batch.rows as u64;
        for child in &batch.children {
            match self.family.child(desk.db, self.registry, self.stream, child)? {
                Ok(at) => self.append(desk, at, child, stamp)?,
                Err(reason) => self.leave_out(desk.db, batch, child, &reason, batched)?,
            }
        }
        Ok(())
    }

    /// Appends rows to the table at `at`, which gets the columns they need.
    fn append(
        &mut self,
        desk: &mut Desk<'_>,
        at: usize,
        batch: &Batch,
        stamp: Stamp,
    ) -> Result<()> {
        if desk.writers.len() <= at {
            desk.writers.resize_with(at + 1, || None);
        }
        let Some(table) = self.family.tables.get_mut(at) else { return Err(lost_table()) };
        let mut writer = desk.writers[at].take();
        if !table.exists || !batch.new.is_empty() || !batch.renamed.is_empty() {
            let active = writer.take().map(|writer| writer.union(batch));
            self.database.hold_rows_of(desk.db, table, self.holds)?;
            let made = !table.exists;
            self.written.changes.extend(table.grow(desk.db, self.ledger, batch)?);
            if made && at == 0 {
                self.empty_items();
            }
            let Some(table) = self.family.tables.get(at) else { return Err(lost_table()) };
            let active = active.unwrap_or_else(|| positions(batch));
            writer = Some(Writer::new(desk.db, table, active)?);
        }
        let Some(table) = self.family.tables.get_mut(at) else { return Err(lost_table()) };
        table.open.written += batch.rows as u64;
        if at > 0 {
            let rows = self.written.subtables.entry(table.place.table.clone()).or_default();
            *rows += batch.rows as u64;
        }
        if !table.beside {
            table.open.appended += batch.rows as i64;
        }
        self.make_room(desk.db)?;
        let Some(table) = self.family.tables.get(at) else { return Err(lost_table()) };
        let current = match writer {
            Some(current) if current.covers(batch) => current,
            Some(current) => Writer::new(desk.db, table, current.union(batch))?,
            None => Writer::new(desk.db, table, positions(batch))?,
        };
        desk.writers[at].insert(current).append(table, batch, stamp)
    }

    /// Removes, at the round's end, the items of a table that somebody dropped.
    fn empty_items(&mut self) {
        for table in self.family.tables.iter_mut().skip(1).filter(|table| table.exists) {
            table.open.sweep = Some(Sweep::all(OWN_ROWS));
        }
    }

    /// Gives `DuckDB` the memory it needs for the tables that the round writes to.
    fn make_room(&mut self, db: &Connection) -> Result<()> {
        let mut need = 0;
        for table in &self.family.tables {
            if table.open.appended > 0 || table.beside {
                let columns = table.columns.len() + table.lead.len();
                *self.widest = columns.max(*self.widest);
                need += self.database.room_for(columns);
            }
        }
        let room = self.room_kib.entry(self.stream.name.clone()).or_default();
        self.database.change_room(db, *room, need)?;
        *room = need;
        Ok(())
    }

    /// Keeps the records whose items can have no table (F-78).
    fn leave_out(
        &mut self,
        db: &Connection,
        batch: &Batch,
        child: &Batch,
        reason: &str,
        at: Timestamp,
    ) -> Result<()> {
        let mut rows = child.parents.clone();
        rows.dedup();
        let aside: Vec<RejectedRow> = rows
            .iter()
            .filter_map(|&row| batch.records.get(row as usize))
            .map(|record| RejectedRow { reason: reason.to_owned(), record: kept(record) })
            .collect();
        self.written.partial += aside.len() as u64;
        let own = self.family.tables.first().ok_or_else(lost_table)?;
        self.ledger.reject(db, &own.place.table, &aside, at)
    }
}

fn positions(batch: &Batch) -> Vec<usize> {
    batch.columns.iter().map(|(position, _)| *position).collect()
}

/// Rows that a bug put in front of the wrong table would be lost.
pub(crate) fn lost_table() -> Error {
    Error::bug("a table was not opened before loading")
}
