//! One segment on its way into a stream's tables.
//!
//! Rows whose keys are certainly new are copied straight into the tables; all others wait in
//! temporary tables until the segment's end, when the newest of each key moves on. A record's items
//! go the same way as the record, and after it: where PostgreSQL refuses a record, its items stay
//! out, too.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::io::Write;
use std::sync::mpsc::Receiver;

use bobbin_core::catalog::Stream;
use bobbin_core::clock::Clock;
use bobbin_core::receipt::{Change, Fill, Span};
use bobbin_core::{Error, Result};
use bobbin_load::filter::KeyFilter;
use bobbin_load::shape::batch::{Batch, RejectedRow};
use bobbin_load::shape::convert::kept;
use bobbin_load::shape::layout::Deletes;
use jiff::Timestamp;
use postgres::Client;
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use crate::copy::{Field, HEADER, Rows, TRAILER};
use crate::error::{self, Doing};
use crate::family::{Family, Registry};
use crate::ledger::Ledger;
use crate::merge::{self, Positions, Waiting};
use crate::replace;
use crate::sql;
use crate::table::{SYSTEM, Table};

/// Bytes of one COPY.
const COPY_BYTES: usize = 8 << 20;

/// The writing half of a load.
pub(crate) struct Work<'a> {
    pub(crate) db: &'a mut Client,
    pub(crate) ledger: &'a Ledger,
    pub(crate) registry: &'a mut Registry,
    pub(crate) family: &'a mut Family,
    pub(crate) stream: &'a Stream,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) received: Timestamp,
    /// The version of the segment's rows.
    pub(crate) version: i64,
    /// Whether rows of other versions may go once it is whole.
    pub(crate) whole: bool,
    /// Whether that version is over already: its records are older than all that is there.
    pub(crate) outdated: bool,
    /// Rows on their way, one place for each of the family's tables.
    pub(crate) flows: Vec<Flow>,
    /// Hashes of the keys of records that wait, to see whether one may come twice.
    pub(crate) waiting: FxHashSet<u64>,
    pub(crate) repeats: bool,
    pub(crate) written: Written,
}

/// Rows of one table that are encoded and not sent yet.
#[derive(Default)]
pub(crate) struct Flow {
    /// Rows whose keys are new, on their way into the table.
    direct: Pending,
    /// Rows that may replace others, on their way into the temporary table.
    waiting: Pending,
    /// The positions of the columns that the rows hold.
    active: Vec<usize>,
    /// Rows that wait in the temporary table.
    staged: u64,
}

#[derive(Default)]
struct Pending {
    rows: Rows,
    /// Each row's sequence: which record it is, or belongs to.
    sequences: Vec<i64>,
    /// Their records, for the case that a row is refused.
    records: Vec<Box<str>>,
}

/// What became of a segment.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) loaded: u64,
    pub(crate) superseded: u64,
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

impl Work<'_> {
    pub(crate) fn write(mut self, batches: &Receiver<Batch>) -> Result<Written> {
        let mut positions: Option<Positions> = None;
        self.written.changes.append(&mut self.family.changes);
        self.written.table = self.family.tables.first().map(|own| own.name.clone());
        for mut batch in batches {
            let batched = self.clock.now();
            self.refuse_all(&mut batch);
            self.set_aside(&batch, batched)?;
            self.written.superseded += batch.superseded;
            if batch.rows == 0 {
                continue;
            }
            self.written.sequence = self.written.sequence.max(batch.sequence.iter().copied().max());
            if self.outdated {
                self.written.superseded += batch.rows as u64;
                continue;
            }
            self.take(&batch, batched)?;
            Span::widen(&mut self.written.span, batch.span.take());
            self.written.fill.add(&batch.fill);
            self.written.extracted_at =
                self.written.extracted_at.max(batch.extracted_at.iter().copied().max());
            let waits = |flow: &Flow| flow.direct.rows.bytes.len() + flow.waiting.rows.bytes.len();
            if self.flows.iter().map(waits).sum::<usize>() >= COPY_BYTES {
                self.flush()?;
            }
            let Batch { keys, versions, deleted_at, .. } = batch;
            positions = Some(Positions { keys, versions, deleted_at });
        }
        self.flush()?;
        self.family.record(self.db, self.ledger)?;
        if let Some(positions) = positions
            && let Some(waited) = self.flows.first().map(|flow| flow.staged).filter(|&n| n > 0)
        {
            let tables = &self.family.tables;
            let staged: Vec<u64> = self.flows.iter().map(|flow| flow.staged).collect();
            let waiting = Waiting {
                rows: &staged,
                repeats: self.repeats,
                positions: &positions,
                replaces_by: self.whole.then_some(self.version),
                deletes: self.registry.layout.deletes == Deletes::Remove,
                marks: self.registry.layout.deletes == Deletes::Mark,
            };
            let merged = merge::merge(self.db, tables, &waiting)?;
            self.written.loaded += merged.moved;
            self.written.superseded += waited - merged.moved;
            self.written.removed += merged.removed;
            for (table, rows) in merged.items {
                *self.written.subtables.entry(table).or_default() += rows;
            }
        }
        self.tell();
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

    fn set_aside(&mut self, batch: &Batch, at: Timestamp) -> Result<()> {
        let Some(own) = self.family.tables.first() else { return Ok(()) };
        self.written.rejected += batch.rejected.len() as u64;
        self.ledger.reject(self.db, &own.name, &batch.rejected, at)?;
        self.written.partial += batch.partial.len() as u64;
        self.ledger.reject(self.db, &own.name, &batch.partial, at)
    }

    /// Takes a batch's rows and those of its arrays.
    fn take(&mut self, batch: &Batch, batched: Timestamp) -> Result<()> {
        let mut places = vec![(0, batch)];
        for child in &batch.children {
            match self.family.child(self.db, self.registry, self.stream, child)? {
                Ok(at) => places.push((at, child)),
                Err(reason) => self.leave_out(batch, child, &reason, batched)?,
            }
        }
        self.flows.resize_with(self.family.tables.len(), Flow::default);
        let grows = |(at, rows): &(usize, &Batch)| {
            let (table, flow) = (&self.family.tables[*at], &self.flows[*at]);
            !table.exists
                || !rows.new.is_empty()
                || !rows.renamed.is_empty()
                || rows.columns.iter().any(|(at, _)| flow.active.binary_search(at).is_err())
        };
        if places.iter().any(grows) {
            self.flush()?;
            for (at, rows) in &places {
                let made = !self.family.tables[*at].exists;
                let changes = self.family.tables[*at].grow(self.db, self.ledger, rows)?;
                self.written.changes.extend(changes);
                if made && *at == 0 {
                    self.empty_items()?;
                }
                if made && self.family.tables[0].beside.is_some() {
                    // Made while the stream's rows gather beside: its own do the same.
                    replace::gather_beside(self.db, &mut self.family.tables[*at], self.version)?;
                }
                let active = &mut self.flows[*at].active;
                active.extend(rows.columns.iter().map(|(position, _)| position));
                active.sort_unstable();
                active.dedup();
            }
        }
        let replaces = self.known_before(batch);
        for (at, rows) in places {
            self.encode(at, rows, &replaces, batched)?;
        }
        Ok(())
    }

    /// Removes the items of a table that somebody dropped.
    fn empty_items(&mut self) -> Result<()> {
        for table in self.family.tables.iter().skip(1).filter(|table| table.exists) {
            let gone = self
                .db
                .execute(&format!("DELETE FROM {}", table.sql()), &[])
                .doing("cannot remove items without records")
                .map_err(|error| error.with("table", &table.name))?;
            if gone > 0 {
                let words = format!("removed {gone} rows whose records are gone");
                self.written.changes.push(Change::told(&table.name, words));
            }
        }
        Ok(())
    }

    /// For each record, whether there may be a row of its key, or it is to go as soon as it is there.
    fn known_before(&mut self, batch: &Batch) -> Vec<bool> {
        let own = &mut self.family.tables[0];
        if !own.keyed {
            return vec![false; batch.rows];
        }
        let keys = batch.key_bytes();
        let mut known: Vec<bool> = match &mut own.filter {
            Some(filter) => (0..batch.rows).map(|row| filter.insert(keys.at(row))).collect(),
            None => vec![true; batch.rows],
        };
        if self.registry.layout.deletes == Deletes::Remove && !batch.deleted_at.is_empty() {
            for (row, known) in known.iter_mut().enumerate() {
                *known |= batch.is_deleted(row);
            }
        }
        if own.filter.as_ref().is_some_and(KeyFilter::is_too_large) {
            own.filter = None;
        }
        for row in (0..batch.rows).filter(|&row| known[row]) {
            let mut hasher = FxHasher::default();
            hasher.write(keys.at(row));
            self.repeats |= !self.waiting.insert(hasher.finish());
        }
        known
    }

    /// Keeps the records whose items can have no table (F-78).
    fn leave_out(
        &mut self,
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
        self.ledger.reject(self.db, &self.family.tables[0].name, &aside, at)
    }

    /// Encodes rows for where they go.
    fn encode(
        &mut self,
        at: usize,
        batch: &Batch,
        replaces: &[bool],
        batched: Timestamp,
    ) -> Result<()> {
        let (table, flow) = (&self.family.tables[at], &mut self.flows[at]);
        let mut fields = Vec::with_capacity(batch.lead.len() + flow.active.len());
        for lead in &batch.lead {
            fields.push(Field::new(lead.ty, Some(&lead.array))?);
        }
        for &position in &flow.active {
            fields.push(Field::new(table.column(position)?.ty, batch.column(position))?);
        }
        let times = [self.received, batched].map(Timestamp::as_microsecond);
        for row in 0..batch.rows {
            let record = batch.parents.get(row).map_or(row, |&parent| parent as usize);
            let pending = if replaces[record] { &mut flow.waiting } else { &mut flow.direct };
            let instants = [batch.extracted_at[row], times[0], times[1]];
            pending.rows.push(&fields, row, instants, [batch.sequence[row], self.version]);
            pending.sequences.push(batch.sequence[row]);
            pending.records.extend(batch.records.get(row).cloned());
        }
        Ok(())
    }

    /// Sends what is encoded.
    fn flush(&mut self) -> Result<()> {
        let mut flows = std::mem::take(&mut self.flows);
        let mut gone: FxHashSet<i64> = FxHashSet::default();
        let mut texts: FxHashMap<i64, Box<str>> = FxHashMap::default();
        for (at, flow) in flows.iter_mut().enumerate() {
            for pending in [&mut flow.direct, &mut flow.waiting] {
                let lost = |sequence: &i64| gone.contains(sequence);
                if at > 0 && !gone.is_empty() && pending.sequences.iter().any(lost) {
                    let marked: Vec<bool> = pending.sequences.iter().map(lost).collect();
                    pending.rows.remove(&marked);
                    pending.sequences.retain(|sequence| !gone.contains(sequence));
                }
            }
            if flow.direct.rows.len() > 0 {
                let table = &self.family.tables[at];
                let target = if table.beside.is_some() { table.next() } else { table.sql() };
                let arrived =
                    self.send(at, &target, &flow.active, &flow.direct, &mut gone, &texts)?;
                if at == 0 {
                    self.written.loaded += arrived;
                } else {
                    let name = self.family.tables[at].name.clone();
                    *self.written.subtables.entry(name).or_default() += arrived;
                }
            }
            if flow.waiting.rows.len() > 0 {
                self.family.tables[at].prepare_stage(self.db)?;
                let target = self.family.tables[at].stage().to_owned();
                flow.staged +=
                    self.send(at, &target, &flow.active, &flow.waiting, &mut gone, &texts)?;
            }
            for pending in [&mut flow.direct, &mut flow.waiting] {
                pending.rows.clear();
                let records = pending.records.drain(..);
                if at == 0 && self.family.tables.len() > 1 {
                    texts.extend(pending.sequences.iter().copied().zip(records));
                }
                pending.sequences.clear();
            }
        }
        self.flows = flows;
        Ok(())
    }

    /// Copies rows; those that PostgreSQL refuses are set aside alone. Gives how many arrived.
    fn send(
        &mut self,
        at: usize,
        target: &str,
        active: &[usize],
        pending: &Pending,
        gone: &mut FxHashSet<i64>,
        texts: &FxHashMap<i64, Box<str>>,
    ) -> Result<u64> {
        let table = &self.family.tables[at];
        let statement = copy_statement(table, target, active)?;
        let rows = &pending.rows;
        let mut arrived = 0;
        let mut parts: Vec<_> = std::iter::once(0..rows.len()).collect();
        let mut refused = Vec::new();
        while let Some(part) = parts.pop() {
            self.db.batch_execute("SAVEPOINT rows").doing("cannot set a savepoint")?;
            match copy(self.db, &statement, rows.slice(part.clone())) {
                Ok(()) => {
                    self.db.batch_execute("RELEASE rows").doing("cannot release a savepoint")?;
                    arrived += part.len() as u64;
                }
                Err(error) if error::is_data(&error) => {
                    self.db
                        .batch_execute("ROLLBACK TO rows; RELEASE rows")
                        .doing("cannot go back to a savepoint")?;
                    if part.len() == 1 {
                        let sequence = pending.sequences[part.start];
                        let text = pending.records.get(part.start).or(texts.get(&sequence));
                        refused.push(RejectedRow {
                            reason: error::of_row(&error),
                            record: kept(text.map_or("", |text| text)),
                        });
                        if at == 0 {
                            gone.insert(sequence);
                        }
                    } else {
                        let middle = part.start + part.len() / 2;
                        parts.push(middle..part.end);
                        parts.push(part.start..middle);
                    }
                }
                Err(error) => {
                    return Err(error::postgres("cannot write to the table", &error)
                        .with("table", &table.name));
                }
            }
        }
        let count = refused.len() as u64;
        *(if at == 0 { &mut self.written.rejected } else { &mut self.written.partial }) += count;
        self.ledger.reject(self.db, &table.name, &refused, self.clock.now())?;
        Ok(arrived)
    }

    /// Adds to the changes what a person should know about the values.
    fn tell(&mut self) {
        let Some(own) = self.family.tables.first() else { return };
        let mended = |flow: &Flow| flow.direct.rows.mended + flow.waiting.rows.mended;
        let mended: u64 = self.flows.iter().map(mended).sum();
        if mended > 0 {
            let words = format!(
                "{mended} characters or numbers that PostgreSQL cannot hold were replaced (NUL \
                 became ␀)"
            );
            self.written.changes.push(Change::told(&own.name, words));
        }
        if self.written.partial > 0 {
            let words = format!(
                "{} records were loaded without a value that has no place; _sdc_rejected holds \
                 them whole",
                self.written.partial
            );
            self.written.changes.push(Change::told(&own.name, words));
        }
    }
}

fn copy_statement(table: &Table, target: &str, active: &[usize]) -> Result<String> {
    let mut columns: Vec<String> = table.lead.iter().map(|(name, _)| sql::name(name)).collect();
    for &position in active {
        columns.push(sql::name(&table.column(position)?.name));
    }
    columns.extend(SYSTEM.iter().map(|(name, _)| (*name).to_owned()));
    Ok(format!("COPY {target} ({}) FROM STDIN (FORMAT binary)", columns.join(", ")))
}

fn copy(db: &mut Client, statement: &str, rows: &[u8]) -> Result<(), postgres::Error> {
    let mut writer = db.copy_in(statement)?;
    // A failure to send is told, with its reason, by the end.
    let _ = writer
        .write_all(HEADER)
        .and_then(|()| rows.chunks(1 << 16).try_for_each(|chunk| writer.write_all(chunk)))
        .and_then(|()| writer.write_all(TRAILER));
    writer.finish().map(|_| ())
}

/// Rows that a bug put in front of the wrong table would be lost.
pub(crate) fn lost_table() -> Error {
    Error::bug("a table was not opened before loading")
}
