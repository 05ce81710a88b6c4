//! A session: rounds of segments, each one transaction.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Stream;
use bobbin_core::clock::Clock;
use bobbin_core::destination::{Loader, Receipt, Recovered};
use bobbin_core::id::{ConnectionId, JobId, SegmentId, StreamName};
use bobbin_core::rejected::Taken;
use bobbin_core::segment::Segment;
use bobbin_core::state::State;
use bobbin_core::{Error, Result};
use bobbin_load::feed::feed;
use bobbin_load::shape::batch::Batch;
use bobbin_load::shape::convert::Converter;
use duckdb::{Connection, params};
use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::database::Database;
use crate::error::Doing;
use crate::ledger::{Entry, Ledger, LoadedSegment};
use crate::merge::{self, Touched};
use crate::rejected;
use crate::table::{Table, Times, Writer};

/// Batches that may wait between the thread that converts and the one that writes.
const BATCHES_AHEAD: usize = 0;

/// Bytes of the write-ahead log after which a commit is followed by a checkpoint.
const WAL_BYTES: u64 = 64 << 20;

/// Rows after which the file is closed and opened to give memory back.
const REOPEN_ROWS: u64 = 250_000;

/// A fenced session with one connection's tables.
pub(crate) struct DuckDbLoader {
    db: Connection,
    /// Keeps the file open.
    database: Database,
    ledger: Ledger,
    connection: ConnectionId,
    job: JobId,
    token: i64,
    clock: Arc<dyn Clock>,
    cancel: Cancel,
    durable: FxHashSet<SegmentId>,
    tables: FxHashMap<StreamName, (Table, Converter)>,
    round: Option<Round>,
    trimmed: bool,
    /// Rows loaded since the file was opened.
    rows: u64,
    /// Memory the open round was given for tables, by stream.
    room_kib: FxHashMap<StreamName, u64>,
    /// Columns of the widest table written to.
    widest: usize,
}

/// What is in the open transaction.
#[derive(Default)]
struct Round {
    segments: Vec<LoadedSegment>,
    sequence: Option<i64>,
    /// Something failed half way; only a rollback helps.
    broken: bool,
}

impl DuckDbLoader {
    pub(crate) fn open(
        database: Database,
        connection: &ConnectionId,
        job: &JobId,
        clock: Arc<dyn Clock>,
        cancel: Cancel,
    ) -> Result<Self> {
        let db = database.connect()?;
        let ledger = Ledger::new(database.catalog(), connection);
        db.execute_batch("BEGIN").doing("cannot begin a transaction")?;
        let token = ledger.take_over(&db, job, clock.now())?;
        db.execute_batch("COMMIT").doing("cannot prepare bobbin's tables in the destination")?;
        let durable = ledger.segments(&db)?.into_iter().collect();
        Ok(Self {
            db,
            database,
            ledger,
            connection: connection.clone(),
            job: job.clone(),
            token,
            clock,
            cancel,
            durable,
            tables: FxHashMap::default(),
            round: None,
            trimmed: false,
            rows: 0,
            room_kib: FxHashMap::default(),
            widest: 0,
        })
    }

    /// The open round, begun if there is none.
    fn begin(&mut self) -> Result<&mut Round> {
        if self.round.is_none() {
            self.db.execute_batch("BEGIN").doing("cannot begin a transaction")?;
            self.round = Some(Round::default());
        }
        match &mut self.round {
            Some(round) if !round.broken => Ok(round),
            _ => Err(Error::bug("a round that failed was used again without a rollback")),
        }
    }

    /// Reads what is there for a stream, unless that was done.
    fn open_table(&mut self, stream: &Stream) -> Result<()> {
        if !self.tables.contains_key(&stream.name) {
            let opened = Table::open(
                &self.db,
                &self.ledger,
                self.database.catalog(),
                self.connection.as_str(),
                stream,
            )?;
            self.tables.insert(stream.name.clone(), opened);
        }
        Ok(())
    }

    fn take(&mut self, stream: &Stream, before: Timestamp, most: u64) -> Result<Taken> {
        let (catalog, schema) = (self.database.catalog(), self.connection.as_str());
        let Some((table, _)) = self.tables.get(&stream.name) else {
            return Err(Error::bug("a table was not opened before loading"));
        };
        rejected::take(&self.db, catalog, schema, &[&table.place.table], before, most)
    }

    fn load_lines(
        &mut self,
        stream: &Stream,
        segment: &Segment,
        lines: &mut dyn BufRead,
    ) -> Result<(LoadedSegment, Option<i64>, Vec<String>)> {
        let Some((table, converter)) = self.tables.get_mut(&stream.name) else {
            return Err(Error::bug("a table was not opened before loading"));
        };
        converter.learn(&stream.fields);
        let received = self.clock.now();
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        let work = Work {
            db: &mut self.db,
            ledger: &self.ledger,
            table,
            database: &self.database,
            room_kib: &mut self.room_kib,
            widest: &mut self.widest,
            clock: &*self.clock,
            received,
        };
        let cancel = &self.cancel;
        let (converted, written) = thread::scope(|scope| {
            let writer = thread::Builder::new()
                .name("duckdb".to_owned())
                .spawn_scoped(scope, move || work.write(&batches))
                .map_err(|error| Error::io("cannot start a thread", error));
            let writer = match writer {
                Ok(writer) => writer,
                Err(error) => return (Ok(()), Err(error)),
            };
            let converted = feed(converter, lines, cancel, |batch| sender.send(batch).is_ok());
            drop(sender);
            let written = writer
                .join()
                .unwrap_or_else(|_| Err(Error::bug("the thread that writes to DuckDB died")));
            (converted, written)
        });
        let written = written?;
        converted?;
        let loaded = LoadedSegment {
            segment: segment.clone(),
            loaded: written.rows - written.superseded_later,
            superseded: written.superseded_early + written.superseded_later,
            rejected: written.rejected,
        };
        Ok((loaded, written.sequence, written.changes))
    }
}

/// The writing half of a load.
struct Work<'a> {
    db: &'a mut Connection,
    ledger: &'a Ledger,
    table: &'a mut Table,
    database: &'a Database,
    room_kib: &'a mut FxHashMap<StreamName, u64>,
    widest: &'a mut usize,
    clock: &'a dyn Clock,
    received: jiff::Timestamp,
}

#[derive(Default)]
struct Written {
    rows: u64,
    superseded_early: u64,
    superseded_later: u64,
    rejected: u64,
    sequence: Option<i64>,
    changes: Vec<String>,
}

impl Work<'_> {
    fn write(self, batches: &Receiver<Batch>) -> Result<Written> {
        let db: &Connection = self.db;
        let table = self.table;
        let room = self.room_kib.entry(table.stream.clone()).or_default();
        let mut written = Written::default();
        let mut touched = Touched::default();
        let mut writer: Option<Writer<'_>> = None;
        for batch in batches {
            let batched = self.clock.now();
            written.rejected += batch.rejected.len() as u64;
            reject(db, table, &batch, batched)?;
            written.superseded_early += batch.superseded;
            if batch.rows == 0 {
                continue;
            }
            if !table.exists() || !batch.new.is_empty() {
                let active = writer.take().map(|writer| writer.union(&batch));
                written.changes.extend(table.grow(db, self.ledger, &batch)?);
                let active = active.unwrap_or_else(|| positions(&batch));
                writer = Some(Writer::new(db, table, active)?);
            }
            let need = self.database.room_for(table.columns.len());
            *self.widest = table.columns.len().max(*self.widest);
            self.database.change_room(db, *room, need)?;
            *room = need;
            let current = match writer.take() {
                Some(current) if current.covers(&batch) => current,
                Some(current) => Writer::new(db, table, current.union(&batch))?,
                None => Writer::new(db, table, positions(&batch))?,
            };
            let current = writer.insert(current);
            current.append(table, &batch, Times { received: self.received, batched })?;
            touched.note(table, &batch)?;
            written.rows += batch.rows as u64;
            written.sequence = written.sequence.max(batch.sequence.iter().copied().max());
        }
        drop(writer);
        written.superseded_later = touched.settle(db, table)?;
        Ok(written)
    }
}

fn positions(batch: &Batch) -> Vec<usize> {
    batch.columns.iter().map(|(position, _)| *position).collect()
}

fn reject(db: &Connection, table: &Table, batch: &Batch, at: jiff::Timestamp) -> Result<()> {
    if batch.rejected.is_empty() {
        return Ok(());
    }
    let what = "cannot write rejected records";
    let place = &table.place;
    let mut appender = db
        .appender_to_catalog_and_db("_sdc_rejected", &place.catalog, &place.schema)
        .doing(what)?;
    for row in &batch.rejected {
        appender
            .append_row(params![
                duckdb::types::Value::Timestamp(
                    duckdb::types::TimeUnit::Microsecond,
                    at.as_microsecond()
                ),
                place.table,
                row.reason,
                row.record
            ])
            .doing(what)?;
    }
    appender.flush().doing(what)
}

impl Loader for DuckDbLoader {
    fn recover(&mut self) -> Result<Recovered> {
        let (state, sequence) = self.ledger.state(&self.db)?;
        let mut segments: Vec<SegmentId> = self.durable.iter().cloned().collect();
        segments.sort_unstable();
        Ok(Recovered { state, segments, sequence })
    }

    fn load(
        &mut self,
        stream: &Stream,
        segment: &Segment,
        lines: &mut dyn BufRead,
    ) -> Result<Receipt> {
        let in_round = self.round.as_ref().is_some_and(|round| {
            round.segments.iter().any(|loaded| loaded.segment.id == segment.id)
        });
        if in_round || self.durable.contains(&segment.id) {
            return Ok(Receipt::default());
        }
        self.open_table(stream)?;
        self.begin()?;
        let outcome = self.load_lines(stream, segment, lines);
        let round = self.begin()?;
        match outcome {
            Ok((loaded, sequence, changes)) => {
                let receipt = Receipt {
                    loaded: loaded.loaded,
                    superseded: loaded.superseded,
                    rejected: loaded.rejected,
                    removed: 0,
                    changes,
                };
                round.segments.push(loaded);
                round.sequence = round.sequence.max(sequence);
                Ok(receipt)
            }
            Err(error) => {
                round.broken = true;
                Err(error.with("stream", &stream.name).with("segment", &segment.id))
            }
        }
    }

    fn take_rejected(&mut self, stream: &Stream, before: Timestamp, most: u64) -> Result<Taken> {
        self.open_table(stream)?;
        self.begin()?;
        let taken = self.take(stream, before, most);
        taken.map_err(|error| {
            if let Some(round) = &mut self.round {
                round.broken = true;
            }
            error.with("stream", &stream.name)
        })
    }

    fn commit(&mut self, state: Option<&State>) -> Result<()> {
        self.begin()?;
        let Some(round) = self.round.take() else { return Ok(()) };
        let entry = Entry {
            job: &self.job,
            token: self.token,
            state,
            sequence: round.sequence,
            segments: &round.segments,
            now: self.clock.now(),
        };
        let replaced = self
            .tables
            .values_mut()
            .try_for_each(|(table, _)| merge::delete_doomed(&self.db, table));
        let recorded = replaced
            .and_then(|()| self.ledger.commit(&self.db, &entry))
            .and_then(|()| if self.trimmed { Ok(()) } else { self.ledger.trim(&self.db) });
        bobbin_core::crash::point("rows-written");
        let done = recorded
            .and_then(|()| self.db.execute_batch("COMMIT").doing("cannot commit the round"));
        if let Err(error) = done {
            self.round = Some(Round { broken: true, ..round });
            self.rollback()?;
            return Err(error);
        }
        self.trimmed = true;
        self.give_room_back()?;
        self.rows += round.segments.iter().map(|loaded| loaded.loaded).sum::<u64>();
        self.durable.extend(round.segments.into_iter().map(|loaded| loaded.segment.id));
        if self.rows >= REOPEN_ROWS {
            self.rows = 0;
            self.database.reopen(&self.db, self.widest)?;
        } else if self.database.wal_bytes() > WAL_BYTES {
            self.database.checkpoint(&self.db, self.widest)?;
        }
        Ok(())
    }

    fn rollback(&mut self) -> Result<()> {
        if self.round.take().is_none() {
            return Ok(());
        }
        let ended = self.end_transaction();
        self.give_room_back()?;
        ended
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.rollback()?;
        self.tables.clear();
        self.database.checkpoint(&self.db, self.widest)
    }
}

impl DuckDbLoader {
    fn end_transaction(&mut self) -> Result<()> {
        // What the converters learnt in this round may name columns that are not there now.
        self.tables.clear();
        match self.db.execute_batch("ROLLBACK") {
            // A failed commit has ended the transaction itself.
            Err(error) if error.to_string().contains("no transaction is active") => Ok(()),
            result => result.doing("cannot roll the round back"),
        }
    }

    fn give_room_back(&mut self) -> Result<()> {
        let kib = self.room_kib.drain().map(|(_, kib)| kib).sum();
        self.database.change_room(&self.db, kib, 0)
    }
}

impl Drop for DuckDbLoader {
    fn drop(&mut self) {
        // Others in this process may go on with the same file.
        let _ = self.give_room_back();
    }
}
