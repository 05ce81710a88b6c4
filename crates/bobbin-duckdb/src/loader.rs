//! A session: rounds of segments, each one transaction.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Stream;
use bobbin_core::clock::Clock;
use bobbin_core::destination::{Loader, Recovered};
use bobbin_core::id::{JobId, SchemaName, SegmentId, StreamName};
use bobbin_core::receipt::Receipt;
use bobbin_core::rejected::Taken;
use bobbin_core::segment::Segment;
use bobbin_core::state::State;
use bobbin_core::{Error, Result};
use bobbin_load::feed::feed;
use bobbin_load::shape::convert::Converter;
use bobbin_load::shape::layout::Layout;
use duckdb::Connection;
use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::database::Database;
use crate::error::Doing;
use crate::family::{Family, Registry, capabilities};
use crate::found;
use crate::ledger::{Entry, Ledger, LoadedSegment};
use crate::merge::{self, Touched};
use crate::rejected;
use crate::replace;
use crate::table::Place;
use crate::work::{Work, Written, lost_table};

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
    connection: SchemaName,
    job: JobId,
    token: i64,
    clock: Arc<dyn Clock>,
    cancel: Cancel,
    durable: FxHashSet<SegmentId>,
    layout: Layout,
    registry: Option<Registry>,
    tables: FxHashMap<StreamName, (Family, Converter)>,
    round: Option<Round>,
    trimmed: bool,
    /// Rows loaded since the file was opened.
    rows: u64,
    /// Memory the open round was given for tables, by stream.
    room_kib: FxHashMap<StreamName, u64>,
    /// Columns of the widest table written to.
    widest: usize,
    /// Whether the open round has its rows held.
    holds: bool,
    /// What failed after the last round was durable.
    untidy: Option<Error>,
    /// Streams whose table was not there when that was asked.
    lost: Option<FxHashSet<StreamName>>,
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
        layout: Layout,
        connection: &SchemaName,
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
            layout,
            registry: None,
            tables: FxHashMap::default(),
            round: None,
            trimmed: false,
            rows: 0,
            room_kib: FxHashMap::default(),
            widest: 0,
            holds: false,
            untidy: None,
            lost: None,
        })
    }

    /// The open round, begun if there is none.
    fn begin(&mut self) -> Result<&mut Round> {
        if let Some(error) = self.untidy.take() {
            return Err(error);
        }
        if self.round.is_none() {
            self.db.execute_batch("BEGIN").doing("cannot begin a transaction")?;
            self.round = Some(Round::default());
        }
        match &mut self.round {
            Some(round) if !round.broken => Ok(round),
            _ => Err(Error::bug("a round that failed was used again without a rollback")),
        }
    }

    /// Opens a stream's tables, unless they are open. One that fails leaves the round usable.
    fn open_family(&mut self, stream: &Stream) -> Result<()> {
        if let Some((_, converter)) = self.tables.get(&stream.name) {
            if converter.fits(stream) {
                return Ok(());
            }
            let mut segments = self.round.iter().flat_map(|round| &round.segments);
            if segments.any(|loaded| loaded.segment.stream == stream.name) {
                return Err(Error::bug("a round has records of a stream with two keys"));
            }
            self.tables.remove(&stream.name);
            self.registry = None;
        }
        let registry = match &mut self.registry {
            Some(registry) => registry,
            empty => {
                let place = (self.database.catalog(), self.connection.as_str());
                empty.insert(Registry::read(&self.db, &self.ledger, place, self.layout)?)
            }
        };
        let opened = registry.open(&self.db, &self.ledger, stream)?;
        let own = opened.0.tables.first().filter(|own| own.recorded && !own.exists);
        if let (Some(own), Some(lost)) = (own, &self.lost)
            && !lost.contains(&stream.name)
        {
            return Err(found::dropped_meanwhile(&own.place));
        }
        self.tables.insert(stream.name.clone(), opened);
        Ok(())
    }

    fn take(&mut self, stream: &Stream, before: Timestamp, most: u64) -> Result<Taken> {
        self.open_family(stream)?;
        let (catalog, schema) = (self.database.catalog(), self.connection.as_str());
        let (family, _) = self.tables.get_mut(&stream.name).ok_or_else(lost_table)?;
        let tables: Vec<&str> =
            family.tables.iter().map(|table| table.place.table.as_str()).collect();
        let taken = rejected::take(&self.db, catalog, schema, &tables, before, most)?;
        rejected::forget_rows(&self.db, family, &taken)?;
        Ok(taken)
    }

    fn load_lines(
        &mut self,
        stream: &Stream,
        segment: &Segment,
        lines: &mut dyn BufRead,
    ) -> Result<(LoadedSegment, Written)> {
        let received = self.clock.now();
        let Some(registry) = &mut self.registry else { return Err(lost_table()) };
        let (family, converter) = self.tables.get_mut(&stream.name).ok_or_else(lost_table)?;
        converter.learn(&stream.fields);
        let turn = replace::begin(&self.db, family, segment.version)?;
        // Columns that only outdated records have are not made, so nobody may remember them.
        let mut apart = turn.outdated.then(|| {
            Converter::arranged(stream, Vec::new(), capabilities(self.layout), self.layout)
        });
        let converter = apart.as_mut().unwrap_or(converter);
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        let work = Work {
            ledger: &self.ledger,
            registry,
            family,
            stream,
            database: &self.database,
            room_kib: &mut self.room_kib,
            widest: &mut self.widest,
            holds: &mut self.holds,
            clock: &*self.clock,
            received,
            turn,
            touched: Touched::default(),
            written: Written::default(),
        };
        let (db, cancel) = (&mut self.db, &self.cancel);
        let (converted, written) = thread::scope(|scope| {
            let writer = thread::Builder::new()
                .name("duckdb".to_owned())
                .spawn_scoped(scope, move || work.write(db, &batches))
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
        let mut written = written?;
        converted?;
        if segment.activates && turn.whole {
            let (family, converter) = self.tables.get_mut(&stream.name).ok_or_else(lost_table)?;
            if let Some(own) =
                family.tables.first().filter(|_| family.standing().marks(self.layout))
            {
                self.database.hold_rows_of(&self.db, own, &mut self.holds)?;
                let at = self.clock.now();
                written.changes.extend(replace::mark(
                    &self.db,
                    &self.ledger,
                    (family, converter),
                    turn.version,
                    at,
                )?);
            } else {
                written.removed += replace::activate(&self.db, &self.ledger, family, turn.version)?;
            }
        }
        let loaded = LoadedSegment {
            segment: segment.clone(),
            loaded: written.rows - written.superseded_later,
            superseded: written.superseded_early + written.superseded_later,
            rejected: written.rejected,
        };
        Ok((loaded, written))
    }
}

impl Loader for DuckDbLoader {
    fn recover(&mut self) -> Result<Recovered> {
        let (state, sequence) = self.ledger.state(&self.db)?;
        let mut segments: Vec<SegmentId> = self.durable.iter().cloned().collect();
        segments.sort_unstable();
        let mut lost = Vec::new();
        for own in self.ledger.tables(&self.db)?.into_iter().filter(|known| known.sub.is_own()) {
            let place = Place {
                catalog: self.database.catalog().to_owned(),
                schema: self.connection.to_string(),
                table: own.name,
            };
            if found::columns(&self.db, &place)?.is_empty() {
                lost.push(own.stream.into());
            }
        }
        self.lost = Some(lost.iter().cloned().collect());
        Ok(Recovered { state, segments, sequence, lost })
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
        self.open_family(stream)?;
        let outcome = self.load_lines(stream, segment, lines);
        let round = self.begin()?;
        match outcome {
            Ok((loaded, written)) => {
                let receipt = Receipt {
                    loaded: loaded.loaded,
                    superseded: loaded.superseded,
                    rejected: loaded.rejected,
                    removed: written.removed,
                    changes: written.changes,
                    table: written.table,
                    subtables: written.subtables,
                    span: written.span,
                    fill: written.fill,
                    extracted_at: written
                        .extracted_at
                        .and_then(|at| Timestamp::from_microsecond(at).ok()),
                };
                round.segments.push(loaded);
                round.sequence = round.sequence.max(written.sequence);
                Ok(receipt)
            }
            Err(error) => {
                round.broken = true;
                Err(error.with("stream", &stream.name).with("segment", &segment.id))
            }
        }
    }

    fn take_rejected(&mut self, stream: &Stream, before: Timestamp, most: u64) -> Result<Taken> {
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
        let appended = |(family, _): &(Family, Converter)| {
            family.tables.iter().map(|table| table.open.appended as u64).sum::<u64>()
        };
        let rows = self.tables.values().map(appended).sum::<u64>();
        let replaced = self
            .tables
            .values_mut()
            .try_for_each(|(family, _)| merge::finish(&self.db, &mut family.tables, self.layout));
        let recorded = replaced
            .and_then(|()| self.ledger.commit(&self.db, &entry))
            .and_then(|()| if self.trimmed { Ok(()) } else { self.ledger.trim(&self.db) });
        bobbin_core::crash::point("rows-written");
        let done = recorded
            .and_then(|()| self.release())
            .and_then(|()| self.db.execute_batch("COMMIT").doing("cannot commit the round"));
        if let Err(error) = done {
            self.round = Some(Round { broken: true, ..round });
            self.rollback()?;
            return Err(error);
        }
        self.trimmed = true;
        self.rows += rows;
        // First of all: whatever fails from here on, these are not to be loaded again.
        self.durable.extend(round.segments.into_iter().map(|loaded| loaded.segment.id));
        // The round is durable whatever comes now; what fails is told when the next one begins.
        self.untidy = self.tidy_up().err();
        Ok(())
    }

    fn rollback(&mut self) -> Result<()> {
        if self.round.take().is_none() {
            return Ok(());
        }
        let ended = self.end_transaction();
        self.release()?;
        self.give_room_back()?;
        ended
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.rollback()?;
        if let Some(error) = self.untidy.take() {
            return Err(error);
        }
        self.tables.clear();
        self.database.checkpoint(&self.db, self.widest)
    }
}

impl DuckDbLoader {
    /// Gives back what a round took.
    fn tidy_up(&mut self) -> Result<()> {
        let fits = self.give_room_back()?;
        if self.rows >= REOPEN_ROWS {
            self.rows = 0;
            self.database.reopen(&self.db, self.widest)
        } else if !fits || self.database.wal_bytes() > WAL_BYTES {
            self.database.checkpoint(&self.db, self.widest)
        } else {
            Ok(())
        }
    }

    fn end_transaction(&mut self) -> Result<()> {
        // What the converters learnt in this round may name columns that are not there now.
        self.tables.clear();
        self.registry = None;
        match self.db.execute_batch("ROLLBACK") {
            // A failed commit has ended the transaction itself.
            Err(error) if error.to_string().contains("no transaction is active") => Ok(()),
            result => result.doing("cannot roll the round back"),
        }
    }

    fn release(&mut self) -> Result<()> {
        if std::mem::take(&mut self.holds) { self.database.release_rows(&self.db) } else { Ok(()) }
    }

    fn give_room_back(&mut self) -> Result<bool> {
        let kib = self.room_kib.drain().map(|(_, kib)| kib).sum();
        self.database.change_room(&self.db, kib, 0)
    }
}

impl Drop for DuckDbLoader {
    fn drop(&mut self) {
        // Others in this process may go on with the same file.
        let _ = self.release();
        let _ = self.give_room_back();
    }
}
