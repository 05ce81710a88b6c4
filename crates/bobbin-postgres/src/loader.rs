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
use jiff::Timestamp;
use postgres::Client;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::client::connect;
use crate::config::Config;
use crate::error::{self, Doing};
use crate::family::{Family, Registry};
use crate::found;
use crate::ledger::{Entry, Ledger, LoadedSegment};
use crate::rejected;
use crate::replace;
use crate::rights;
use crate::work::{Work, Written, lost_table};

/// Batches that may wait between the thread that converts and the one that writes.
const BATCHES_AHEAD: usize = 1;

/// A fenced session with one connection's tables.
pub(crate) struct PostgresLoader {
    config: Config,
    /// `None` after the connection was lost; the next round makes a new one.
    db: Option<Client>,
    ledger: Ledger,
    connection: SchemaName,
    job: JobId,
    token: i64,
    clock: Arc<dyn Clock>,
    cancel: Cancel,
    durable: FxHashSet<SegmentId>,
    /// Streams whose table was not there when that was asked.
    lost: Option<FxHashSet<StreamName>>,
    registry: Option<Registry>,
    tables: FxHashMap<StreamName, (Family, Converter)>,
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
        connection: &SchemaName,
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
            lost: None,
            registry: None,
            tables: FxHashMap::default(),
            round: None,
            trimmed: false,
        })
    }

    /// The connection, made anew when it was lost.
    fn db(&mut self) -> Result<&mut Client> {
        let lost = self.db.as_ref().is_none_or(Client::is_closed);
        if lost {
            self.db = None;
            let mut db = connect(&self.config)?;
            // A commit whose answer was lost with the old connection may be durable.
            self.durable.extend(self.ledger.segments(&mut db)?);
            self.db = Some(db);
            // Temporary tables went with the old connection.
            self.forget();
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

    /// Reads what is there for a stream, unless that was done.
    fn open_tables(&mut self, stream: &Stream) -> Result<()> {
        if self.tables.get(&stream.name).is_some_and(|(_, converter)| !converter.fits(stream)) {
            let mut segments = self.round.iter().flat_map(|round| &round.segments);
            if segments.any(|loaded| loaded.segment.stream == stream.name) {
                return Err(Error::bug("a round has records of a stream with two keys"));
            }
            self.forget();
        }
        let Some(db) = &mut self.db else {
            return Err(Error::bug("a round is open without a connection"));
        };
        let registry = match &mut self.registry {
            Some(registry) => registry,
            empty => {
                let schema = self.connection.as_str();
                empty.insert(Registry::read(db, &self.ledger, schema, self.config.layout)?)
            }
        };
        if !self.tables.contains_key(&stream.name) {
            let opened = registry.open(db, &self.ledger, stream)?;
            let own = opened.0.tables.first().filter(|own| own.recorded && !own.exists);
            if let (Some(own), Some(lost)) = (own, &self.lost)
                && !lost.contains(&stream.name)
            {
                return Err(error::dropped_meanwhile(&own.name));
            }
            self.tables.insert(stream.name.clone(), opened);
        }
        Ok(())
    }

    fn take(&mut self, stream: &Stream, before: Timestamp, most: u64) -> Result<Taken> {
        self.open_tables(stream)?;
        let Some(db) = &mut self.db else {
            return Err(Error::bug("a round is open without a connection"));
        };
        let (family, _) = self.tables.get(&stream.name).ok_or_else(lost_table)?;
        rejected::take(db, self.connection.as_str(), family, before, most)
    }

    fn load_lines(
        &mut self,
        stream: &Stream,
        segment: &Segment,
        lines: &mut dyn BufRead,
    ) -> Result<(LoadedSegment, Written)> {
        let received = self.clock.now();
        self.open_tables(stream)?;
        let (Some(db), Some(registry)) = (&mut self.db, &mut self.registry) else {
            return Err(Error::bug("a round is open without a connection"));
        };
        let Some((family, converter)) = self.tables.get_mut(&stream.name) else {
            return Err(lost_table());
        };
        converter.learn(&stream.fields);
        let turn = replace::begin(db, family, segment.version)?;
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        let work = Work {
            db,
            ledger: &self.ledger,
            registry,
            family,
            stream,
            clock: &*self.clock,
            received,
            version: turn.version,
            whole: segment.version.is_some(),
            outdated: turn.outdated,
            flows: Vec::new(),
            waiting: FxHashSet::default(),
            repeats: false,
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
        let mut written = written?;
        converted?;
        if segment.activates && !turn.outdated {
            let (family, converter) = self.tables.get_mut(&stream.name).ok_or_else(lost_table)?;
            if family.standing().marks(self.config.layout) {
                let at = self.clock.now();
                written.changes.extend(replace::mark(
                    db,
                    &self.ledger,
                    (family, converter),
                    turn.version,
                    at,
                )?);
            } else {
                written.removed += replace::activate(db, &self.ledger, family, turn.version)?;
            }
        }
        if turn.outdated {
            // The converter has learnt of columns that were not made.
            self.forget();
        }
        let loaded = LoadedSegment {
            segment: segment.clone(),
            loaded: written.loaded,
            superseded: written.superseded,
            rejected: written.rejected,
        };
        Ok((loaded, written))
    }

    /// Reads everything anew the next time.
    fn forget(&mut self) {
        self.tables.clear();
        self.registry = None;
    }

    /// After a commit whose answer was lost: whether the round is durable.
    fn was_committed(&mut self, segments: &[LoadedSegment]) -> Result<bool> {
        let Some(first) = segments.first() else { return Ok(false) };
        let (ledger, id) = (self.ledger.clone(), first.segment.id.clone());
        ledger.holds(self.db()?, &id)
    }
}

impl Loader for PostgresLoader {
    fn recover(&mut self) -> Result<Recovered> {
        let ledger = self.ledger.clone();
        let (state, sequence) = ledger.state(self.db()?)?;
        let mut segments: Vec<SegmentId> = self.durable.iter().cloned().collect();
        segments.sort_unstable();
        let known = ledger.tables(self.db()?)?;
        let schema = self.connection.clone();
        let mut lost = Vec::new();
        for own in known.into_iter().filter(|known| known.sub.is_own()) {
            if found::columns(self.db()?, schema.as_str(), &own.name)?.is_empty() {
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
        if in_round {
            return Ok(Receipt::default());
        }
        // First, since a new connection may tell of segments that are durable.
        self.begin()?;
        if self.durable.contains(&segment.id) {
            return Ok(Receipt::default());
        }
        let outcome = self.load_lines(stream, segment, lines);
        let Some(round) = &mut self.round else { return Err(Error::bug("a round got lost")) };
        match outcome {
            Ok((loaded, written)) => {
                let receipt = Receipt {
                    loaded: written.loaded,
                    superseded: written.superseded,
                    rejected: written.rejected,
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
                let error = rights::explain(&self.config, self.connection.as_str(), error);
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
            let error = rights::explain(&self.config, self.connection.as_str(), error);
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
            // The answer may be lost and the round durable all the same (`failures.md` 4.2). Where
            // that cannot be asked now, the next connection tells.
            if !(lost && self.was_committed(&round.segments).unwrap_or(false)) {
                self.round = Some(Round { broken: true, ..round });
                self.rollback()?;
                return Err(error);
            }
            self.forget();
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
        self.forget();
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
