//! A session: rounds of segments, each one transaction.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Stream;
use bobbin_core::clock::Clock;
use bobbin_core::destination::{Loader, Receipt, Recovered};
use bobbin_core::id::{ConnectionId, JobId, SegmentId, StreamName};
use bobbin_core::segment::Segment;
use bobbin_core::state::State;
use bobbin_core::{Error, Result};
use bobbin_load::feed::feed;
use bobbin_load::shape::batch::{Batch, RejectedRow};
use bobbin_load::shape::convert::Converter;
use jiff::Timestamp;
use postgres::Client;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::client::connect;
use crate::config::Config;
use crate::copy::{Field, HEADER, Rows, TRAILER};
use crate::error::{self, Doing};
use crate::key;
use crate::ledger::{Entry, Ledger, LoadedSegment};
use crate::merge::merge;
use crate::sql;
use crate::table::{SYSTEM, Table};

/// Batches that may wait between the thread that converts and the one that writes.
const BATCHES_AHEAD: usize = 1;

/// Bytes of one COPY.
const COPY_BYTES: usize = 8 << 20;

/// The version of a table that was never replaced as a whole.
const TABLE_VERSION: i64 = 1;

/// A fenced session with one connection's tables.
pub(crate) struct PostgresLoader {
    config: Config,
    /// `None` after the connection was lost; the next round makes a new one.
    db: Option<Client>,
    ledger: Ledger,
    connection: ConnectionId,
    job: JobId,
    token: i64,
    clock: Arc<dyn Clock>,
    cancel: Cancel,
    durable: FxHashSet<SegmentId>,
    tables: FxHashMap<StreamName, (Table, Converter)>,
    /// Tables opened so far, which numbers their temporary tables.
    opened: usize,
    round: Option<Round>,
    trimmed: bool,
}

/// What is in the open transaction.
#[derive(Default)]
struct Round {
    segments: Vec<LoadedSegment>,
    sequence: Option<i64>,
    /// Something failed half way; only a rollback helps.
    broken: bool,
}

impl PostgresLoader {
    pub(crate) fn open(
        config: Config,
        connection: &ConnectionId,
        job: &JobId,
        clock: Arc<dyn Clock>,
        cancel: Cancel,
    ) -> Result<Self> {
        let mut db = connect(&config)?;
        let ledger = Ledger::new(connection);
        db.batch_execute("BEGIN").doing("cannot begin a transaction")?;
        let token = ledger.take_over(&mut db, job)?;
        db.batch_execute("COMMIT").doing("cannot prepare bobbin's tables in the destination")?;
        let durable = ledger.segments(&mut db)?.into_iter().collect();
        Ok(Self {
            config,
            db: Some(db),
            ledger,
            connection: connection.clone(),
            job: job.clone(),
            token,
            clock,
            cancel,
            durable,
            tables: FxHashMap::default(),
            opened: 0,
            round: None,
            trimmed: false,
        })
    }

    /// The connection, made anew when it was lost.
    fn db(&mut self) -> Result<&mut Client> {
        let lost = self.db.as_ref().is_none_or(Client::is_closed);
        if lost {
            self.db = None;
            self.db = Some(connect(&self.config)?);
        }
        self.db.as_mut().ok_or_else(|| Error::bug("a connection and none"))
    }

    /// Begins a round if none is open.
    fn begin(&mut self) -> Result<()> {
        match &self.round {
            None => {
                self.db()?.batch_execute("BEGIN").doing("cannot begin a transaction")?;
                self.round = Some(Round::default());
                Ok(())
            }
            Some(round) if !round.broken => Ok(()),
            Some(_) => Err(Error::bug("a round that failed was used again without a rollback")),
        }
    }

    fn load_lines(
        &mut self,
        stream: &Stream,
        segment: &Segment,
        lines: &mut dyn BufRead,
    ) -> Result<(LoadedSegment, Option<i64>, Vec<String>)> {
        let received = self.clock.now();
        let Some(db) = &mut self.db else {
            return Err(Error::bug("a round is open without a connection"));
        };
        if !self.tables.contains_key(&stream.name) {
            self.opened += 1;
            let schema = self.connection.as_str();
            let opened = Table::open(db, &self.ledger, schema, stream, self.opened)?;
            self.tables.insert(stream.name.clone(), opened);
        }
        let Some((table, converter)) = self.tables.get_mut(&stream.name) else {
            return Err(Error::bug("a table was not opened before loading"));
        };
        converter.learn(&stream.fields);
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        let work = Work {
            db,
            ledger: &self.ledger,
            table,
            clock: &*self.clock,
            received,
            direct: Pending::default(),
            waiting: Pending::default(),
            active: Vec::new(),
            written: Written::default(),
        };
        let cancel = &self.cancel;
        let (converted, written) = thread::scope(|scope| {
            let writer = thread::Builder::new()
                .name("postgres".to_owned())
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
                .unwrap_or_else(|_| Err(Error::bug("the thread that writes to PostgreSQL died")));
            (converted, written)
        });
        let written = written?;
        converted?;
        let loaded = LoadedSegment {
            segment: segment.clone(),
            loaded: written.loaded,
            superseded: written.superseded,
            rejected: written.rejected,
        };
        Ok((loaded, written.sequence, written.changes))
    }

    /// After a commit whose answer was lost: whether the round is durable.
    fn was_committed(&mut self, segments: &[LoadedSegment]) -> Result<bool> {
        let Some(first) = segments.first() else { return Ok(false) };
        let (ledger, id) = (self.ledger.clone(), first.segment.id.clone());
        ledger.holds(self.db()?, &id)
    }
}

/// The writing half of a load.
struct Work<'a> {
    db: &'a mut Client,
    ledger: &'a Ledger,
    table: &'a mut Table,
    clock: &'a dyn Clock,
    received: Timestamp,
    /// Rows whose keys are new, on their way into the table.
    direct: Pending,
    /// Rows that may replace others, on their way into the temporary table.
    waiting: Pending,
    /// The positions of the columns that the rows hold.
    active: Vec<usize>,
    written: Written,
}

/// Rows that are encoded and not sent yet.
#[derive(Default)]
struct Pending {
    rows: Rows,
    /// Their records, for the case that a row is refused.
    records: Vec<Box<str>>,
}

#[derive(Default)]
struct Written {
    loaded: u64,
    superseded: u64,
    rejected: u64,
    sequence: Option<i64>,
    changes: Vec<String>,
}

impl Work<'_> {
    fn write(mut self, batches: &Receiver<Batch>) -> Result<Written> {
        let mut shape: Option<(Vec<usize>, Vec<Vec<usize>>)> = None;
        let mut waited = 0;
        for batch in batches {
            let batched = self.clock.now();
            self.written.rejected += batch.rejected.len() as u64;
            self.ledger.reject(self.db, &self.table.name, &batch.rejected, batched)?;
            self.written.superseded += batch.superseded;
            if batch.rows == 0 {
                continue;
            }
            if !self.table.exists() || !batch.new.is_empty() {
                waited += self.flush()?;
                let changes = self.table.grow(self.db, self.ledger, &batch)?;
                self.written.changes.extend(changes);
            }
            let covered = batch
                .columns
                .iter()
                .all(|(position, _)| self.active.binary_search(position).is_ok());
            if !covered {
                waited += self.flush()?;
                self.active.extend(batch.columns.iter().map(|(position, _)| position));
                self.active.sort_unstable();
                self.active.dedup();
            }
            self.encode(&batch, batched)?;
            self.written.sequence = self.written.sequence.max(batch.sequence.iter().copied().max());
            if self.direct.rows.bytes.len() + self.waiting.rows.bytes.len() >= COPY_BYTES {
                waited += self.flush()?;
            }
            shape = Some((batch.keys, batch.versions));
        }
        waited += self.flush()?;
        if waited > 0
            && let Some((keys, versions)) = shape
        {
            let moved = merge(self.db, self.table, &keys, &versions)?;
            self.written.loaded += moved;
            self.written.superseded += waited - moved;
        }
        let mended = self.direct.rows.mended + self.waiting.rows.mended;
        if mended > 0 {
            self.written.changes.push(format!(
                "{}: {mended} characters or numbers that PostgreSQL cannot hold were replaced (NUL \
                 became ␀)",
                self.table.name
            ));
        }
        Ok(self.written)
    }

    /// Encodes a batch's rows for where they go.
    fn encode(&mut self, batch: &Batch, batched: Timestamp) -> Result<()> {
        let mut fields = Vec::with_capacity(self.active.len());
        for &position in &self.active {
            let ty = self.table.column(position)?.ty;
            fields.push(Field::new(ty, batch.column(position))?);
        }
        let times = [self.received, batched].map(Timestamp::as_microsecond);
        let keys = (!batch.keys.is_empty()).then(|| batch.key_bytes());
        let texts = key::texts(batch);
        let mut unfit = Vec::new();
        for row in 0..batch.rows {
            if let Some(reason) = key::unfit(&texts, row) {
                let record = kept(batch.records.get(row).map_or("", |record| record));
                unfit.push(RejectedRow { reason, record });
                continue;
            }
            let replaces = match (&keys, &mut self.table.filter) {
                (None, _) => false,
                (Some(keys), Some(filter)) => filter.insert(keys.at(row)),
                (Some(_), None) => true,
            };
            let instants = [batch.extracted_at[row], times[0], times[1]];
            let pending = if replaces { &mut self.waiting } else { &mut self.direct };
            let numbers = [batch.sequence[row], TABLE_VERSION];
            pending.rows.push(&fields, row, instants, numbers);
            pending.records.extend(batch.records.get(row).cloned());
        }
        self.written.rejected += unfit.len() as u64;
        self.ledger.reject(self.db, &self.table.name, &unfit, batched)?;
        if self.table.filter.as_ref().is_some_and(bobbin_load::filter::KeyFilter::is_too_large) {
            self.table.filter = None;
        }
        Ok(())
    }

    /// Sends what is encoded; gives how many rows went into the temporary table.
    fn flush(&mut self) -> Result<u64> {
        let mut columns = Vec::with_capacity(self.active.len() + SYSTEM.len());
        for &position in &self.active {
            columns.push(sql::name(&self.table.column(position)?.name));
        }
        columns.extend(SYSTEM.iter().map(|(name, _)| (*name).to_owned()));
        let columns = columns.join(", ");
        if self.direct.rows.len() > 0 {
            let target = self.table.sql();
            let mut pending = std::mem::take(&mut self.direct);
            self.written.loaded += self.send(&target, &columns, &mut pending)?;
            self.direct = pending;
        }
        let mut waited = 0;
        if self.waiting.rows.len() > 0 {
            self.table.prepare_stage(self.db)?;
            let target = self.table.stage().to_owned();
            let mut pending = std::mem::take(&mut self.waiting);
            waited = self.send(&target, &columns, &mut pending)?;
            self.waiting = pending;
        }
        Ok(waited)
    }

    /// Copies rows; those that PostgreSQL refuses are set aside alone. Gives how many arrived.
    fn send(&mut self, target: &str, columns: &str, pending: &mut Pending) -> Result<u64> {
        let Pending { rows, records } = pending;
        let statement = format!("COPY {target} ({columns}) FROM STDIN (FORMAT binary)");
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
                        refused.push(RejectedRow {
                            reason: error::of_row(&error),
                            record: kept(records.get(part.start).map_or("", |record| record)),
                        });
                    } else {
                        let middle = part.start + part.len() / 2;
                        parts.push(middle..part.end);
                        parts.push(part.start..middle);
                    }
                }
                Err(error) => {
                    return Err(error::postgres("cannot write to the table", &error)
                        .with("table", &self.table.name));
                }
            }
        }
        self.written.rejected += refused.len() as u64;
        self.ledger.reject(self.db, &self.table.name, &refused, self.clock.now())?;
        rows.clear();
        records.clear();
        Ok(arrived)
    }
}

/// The front of a record, as far as rejected records are kept.
fn kept(record: &str) -> String {
    let most = bobbin_load::shape::convert::REJECTED_BYTES;
    if record.len() <= most {
        return record.to_owned();
    }
    let end = (0..=most).rev().find(|&at| record.is_char_boundary(at)).unwrap_or(0);
    format!("{}… ({} bytes in all)", &record[..end], record.len())
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

impl Loader for PostgresLoader {
    fn recover(&mut self) -> Result<Recovered> {
        let ledger = self.ledger.clone();
        let (state, sequence) = ledger.state(self.db()?)?;
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
        self.begin()?;
        let outcome = self.load_lines(stream, segment, lines);
        let Some(round) = &mut self.round else { return Err(Error::bug("a round got lost")) };
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
        let Some(db) = &mut self.db else {
            return Err(Error::bug("a round is open without a connection"));
        };
        let recorded = self
            .ledger
            .commit(db, &entry)
            .and_then(|()| if self.trimmed { Ok(()) } else { self.ledger.trim(db) });
        bobbin_core::crash::point("rows-written");
        if let Err(error) = recorded {
            self.round = Some(Round { broken: true, ..round });
            self.rollback()?;
            return Err(error);
        }
        if let Err(error) = db.batch_execute("COMMIT") {
            let lost = db.is_closed();
            let error = error::postgres("cannot commit the round", &error);
            // The answer may be lost and the round durable all the same (`failures.md` 4.2).
            if !(lost && self.was_committed(&round.segments)?) {
                self.round = Some(Round { broken: true, ..round });
                self.rollback()?;
                return Err(error);
            }
            self.tables.clear();
        }
        self.trimmed = true;
        self.durable.extend(round.segments.into_iter().map(|loaded| loaded.segment.id));
        Ok(())
    }

    fn rollback(&mut self) -> Result<()> {
        if self.round.take().is_none() {
            return Ok(());
        }
        // What the converters learnt in this round may name columns that are not there now.
        self.tables.clear();
        let Some(db) = &mut self.db else { return Ok(()) };
        if db.batch_execute("ROLLBACK").is_err() {
            // The server rolls back what a lost connection left; the next round makes a new one.
            self.db = None;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.rollback()
    }
}
