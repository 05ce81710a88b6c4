//! The loading side of a job: sealed segments become rows, rounds become durable, segments are
//! released.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bobbin_core::catalog::Stream;
use bobbin_core::crash;
use bobbin_core::destination::Loader;
use bobbin_core::id::StreamName;
use bobbin_core::receipt::Receipt;
use bobbin_core::report::{Event, Level};
use bobbin_core::segment::MOST_WEIGHT;
use bobbin_core::state::State;
use bobbin_core::tap::Context;
use bobbin_core::{Error, Party, Result};
use jiff::Timestamp;

use crate::journal::Journal;
use crate::ledger::Load;
use crate::spool::{Sealed, SegmentReader, Spool};
use crate::treat::Rules;

/// When a round is committed.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// After this many records.
    pub records: u64,
    /// After this weight (`bobbin_core::segment::weight`).
    pub weight: u64,
    /// After this long since its first segment.
    pub age: Duration,
    /// Wait before a round is tried again after a passing fault; doubled for each further try.
    pub retry_wait: Duration,
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            records: 50_000,
            weight: MOST_WEIGHT,
            age: Duration::from_secs(20),
            retry_wait: Duration::from_secs(1),
        }
    }
}

/// What loading did, per stream.
#[derive(Default, Debug)]
pub(crate) struct Loaded {
    pub(crate) streams: HashMap<StreamName, Receipt>,
    pub(crate) corrupt: Vec<PathBuf>,
}

impl Loaded {
    fn entry(&mut self, stream: &StreamName) -> &mut Receipt {
        self.streams.entry(stream.clone()).or_default()
    }

    /// Takes in what another loading did.
    pub(crate) fn absorb(&mut self, other: Self) {
        for (stream, receipt) in other.streams {
            self.entry(&stream).add(receipt);
        }
        self.corrupt.extend(other.corrupt);
    }
}

/// Loads segments in rounds.
pub(crate) struct Loading<'a> {
    pub(crate) loader: &'a mut dyn Loader,
    pub(crate) spool: &'a Spool,
    pub(crate) cx: Context<'a>,
    pub(crate) rounds: Rounds,
    pub(crate) held_bytes: Option<&'a AtomicU64>,
    pub(crate) journal: &'a Journal<'a>,
    /// What lines must have gone through; none where they were written under the rules of now.
    pub(crate) rules: Option<&'a Rules>,
    pub(crate) loaded: Loaded,
    round: Vec<(Sealed, Receipt)>,
    round_weight: u64,
    round_records: u64,
    since: Option<Instant>,
    started: Timestamp,
    /// Streams of segments that turned out to be damaged: no later state may be committed in this job,
    /// since it would claim what such a segment held, and no version of the stream is whole.
    damaged: HashSet<StreamName>,
}

/// How long loading goes on after a stop was asked for; what is left stays sealed for the next
/// job.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// Attempts at a round before loading gives up for this job.
const ATTEMPTS: u32 = 4;

impl<'a> Loading<'a> {
    pub(crate) fn new(
        loader: &'a mut dyn Loader,
        spool: &'a Spool,
        cx: Context<'a>,
        rounds: Rounds,
        journal: &'a Journal<'a>,
    ) -> Self {
        Self {
            loader,
            spool,
            cx,
            rounds,
            held_bytes: None,
            journal,
            rules: None,
            loaded: Loaded::default(),
            round: Vec::new(),
            round_weight: 0,
            round_records: 0,
            since: None,
            started: Timestamp::UNIX_EPOCH,
            damaged: HashSet::new(),
        }
    }

    /// Loads segments until the sender is gone, then commits the last round.
    pub(crate) fn follow(&mut self, sealed: &Receiver<Sealed>) -> Result<()> {
        let mut cancelled: Option<Instant> = None;
        loop {
            if self.cx.cancel.is_cancelled()
                && cancelled.get_or_insert_with(Instant::now).elapsed() > GRACE
            {
                return self.commit();
            }
            let wait = match self.since {
                Some(since) => self.rounds.age.saturating_sub(since.elapsed()),
                None => Duration::from_hours(1),
            };
            match sealed.recv_timeout(wait) {
                Ok(segment) => self.add(segment)?,
                Err(RecvTimeoutError::Timeout) => self.commit()?,
                Err(RecvTimeoutError::Disconnected) => return self.commit(),
            }
        }
    }

    /// Adds one segment to the round, and commits when the round is large or old enough. A round
    /// holds one stream only, with one key: what a destination must keep in memory for a table's open
    /// transaction is then there once.
    pub(crate) fn add(&mut self, sealed: Sealed) -> Result<()> {
        let other = |(first, _): &(Sealed, Receipt)| {
            let (a, b) = (&first.stream, &sealed.stream);
            a.name != b.name || a.key != b.key || a.version_fields != b.version_fields
        };
        if self.round.first().is_some_and(other) {
            self.commit()?;
        }
        if self.since.is_none() {
            self.since = Some(Instant::now());
            self.started = self.cx.clock.now();
        }
        // Segments of an earlier release tell none.
        self.round_weight += sealed.segment.weight.max(sealed.segment.bytes);
        self.round_records += sealed.segment.records;
        self.load(sealed, 1)?;
        let old = self.since.is_some_and(|since| since.elapsed() >= self.rounds.age);
        let full =
            self.round_records >= self.rounds.records || self.round_weight >= self.rounds.weight;
        if full || old { self.commit() } else { Ok(()) }
    }

    /// Loads one segment into the open round; on a passing fault the whole round is repeated.
    fn load(&mut self, mut sealed: Sealed, attempt: u32) -> Result<()> {
        sealed.segment.activates &= !self.damaged.contains(&sealed.segment.stream);
        let mut reader = SegmentReader::open(&sealed)?;
        let (stream, segment) = (&sealed.stream, &sealed.segment);
        let again = self.rules.and_then(|rules| rules.again(stream, sealed.passed.as_ref()));
        let loaded = match again {
            None => self.loader.load(stream, segment, &mut reader),
            Some(mut again) => self.loader.load(stream, segment, &mut again.reader(&mut reader)),
        };
        match loaded {
            Ok(receipt) => {
                let told = receipt.loaded + receipt.superseded + receipt.rejected;
                let held = sealed.segment.records + sealed.segment.rejected;
                if told != held && told != 0 {
                    return Err(Error::bug("a loader did not account for every record")
                        .with("segment", &sealed.segment.id)
                        .with("records", held)
                        .with("accounted", told));
                }
                crash::point("segment-loaded");
                self.round.push((sealed, receipt));
                Ok(())
            }
            Err(error) => {
                let mut again: Vec<Sealed> =
                    std::mem::take(&mut self.round).into_iter().map(|(sealed, _)| sealed).collect();
                self.loader.rollback()?;
                if let Some(fault) = reader.fault() {
                    self.set_aside(&sealed, fault)?;
                } else if error.is_transient() && attempt < ATTEMPTS {
                    self.wait_to_repeat(&error, attempt)?;
                    again.push(sealed);
                } else {
                    return Err(self.failed(&sealed.stream, error));
                }
                for sealed in again {
                    self.load(sealed, attempt + 1)?;
                }
                Ok(())
            }
        }
    }

    /// A segment whose file is damaged: kept for a person, its window is extracted again.
    fn set_aside(&mut self, sealed: &Sealed, fault: &str) -> Result<()> {
        let aside = self.spool.quarantine(&sealed.manifest)?;
        self.damaged.insert(sealed.segment.stream.clone());
        self.release_bytes(sealed);
        self.cx.log.event(Event::Notice {
            level: Level::Error,
            stream: Some(sealed.segment.stream.clone()),
            message: format!(
                "segment {} is damaged ({fault}) and was set aside as {}; its records are extracted again",
                sealed.segment.id,
                aside.display()
            ),
        });
        self.loaded.corrupt.push(aside);
        Ok(())
    }

    fn wait_to_repeat(&self, error: &Error, attempt: u32) -> Result<()> {
        let wait = self.rounds.retry_wait * (1 << (attempt - 1));
        self.cx.log.event(Event::Notice {
            level: Level::Warn,
            stream: None,
            message: format!("loading is tried again in {:.0} s: {error}", wait.as_secs_f64()),
        });
        self.cx.cancel.sleep(wait)
    }

    /// Makes the round durable and releases its segments.
    pub(crate) fn commit(&mut self) -> Result<()> {
        if self.round.is_empty() {
            // What it held was set aside.
            self.round_weight = 0;
            self.round_records = 0;
            self.since = None;
            return Ok(());
        }
        crash::point("before-commit");
        self.journal.check()?;
        let loading = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        let began = Instant::now();
        let mut attempt = 1;
        let state = loop {
            // Worked out anew each time: a segment of the round may be set aside in between.
            let state = self.round_state();
            let Err(error) = self.loader.commit(state.as_ref()) else { break state };
            self.loader.rollback()?;
            if !error.is_transient() || attempt == ATTEMPTS {
                let stream = self.round.first().map(|(sealed, _)| &sealed.stream);
                return Err(match stream {
                    Some(stream) => self.failed(stream, error),
                    None => error.of(Party::Destination),
                });
            }
            self.wait_to_repeat(&error, attempt)?;
            attempt += 1;
            for (sealed, receipt) in std::mem::take(&mut self.round) {
                let id = sealed.segment.id.clone();
                self.load(sealed, attempt)?;
                // Skipped, because the commit had gone through: then what it said still holds.
                if let Some((last, told)) = self.round.last_mut()
                    && last.segment.id == id
                    && *told == Receipt::default()
                {
                    *told = receipt;
                }
            }
        };
        let committing = began.elapsed();
        crash::point("after-commit");
        let round = std::mem::take(&mut self.round);
        let mut sum = Receipt::default();
        let mut bytes = 0;
        for (sealed, receipt) in &round {
            for change in &receipt.changes {
                self.cx.log.event(Event::TableChanged { change: change.clone() });
            }
            self.cx.log.event(Event::Loaded {
                segment: sealed.segment.id.clone(),
                stream: sealed.segment.stream.clone(),
                rows: receipt.loaded,
                rejected: receipt.rejected,
            });
            sum.add(receipt.clone());
            bytes += sealed.segment.bytes;
            let rejected = receipt.rejected.saturating_sub(sealed.segment.rejected);
            self.loaded.entry(&sealed.segment.stream).add(Receipt { rejected, ..receipt.clone() });
        }
        if let Some((sealed, _)) = round.first() {
            let mut load = self.told(&sealed.stream, sum, bytes);
            load.version = round.iter().rev().find_map(|(sealed, _)| sealed.segment.version);
            load.replaced = round.iter().any(|(sealed, _)| sealed.segment.activates);
            self.cx.log.event(Event::Committed {
                stream: load.stream.clone(),
                table: load.table.clone(),
                rows: load.rows,
                rejected: load.rejected,
                bytes,
                loading,
                committing,
            });
            let segments = round.iter().map(|(sealed, _)| sealed.segment.id.clone()).collect();
            self.journal.loaded(load, segments, state.as_ref());
        }
        crash::point("state-saved");
        for (sealed, _) in round {
            self.spool.release(&sealed)?;
            self.release_bytes(&sealed);
            crash::point("segment-released");
        }
        self.round_weight = 0;
        self.round_records = 0;
        self.since = None;
        Ok(())
    }

    /// What the open round did, for the ledger.
    fn told(&self, stream: &Stream, receipt: Receipt, bytes: u64) -> Load {
        Load {
            job: self.journal.job().clone(),
            stream: stream.name.clone(),
            table: receipt.table.unwrap_or_else(|| stream.name.to_string()),
            version: None,
            replaced: false,
            started: self.started,
            ended: self.cx.clock.now(),
            rows: receipt.loaded,
            unchanged: receipt.superseded,
            rejected: receipt.rejected,
            removed: receipt.removed,
            bytes,
            replication_key: stream.replication_key.clone(),
            bookmark: receipt.span,
            extracted_at: receipt.extracted_at,
            subtables: receipt.subtables,
            changes: receipt.changes,
            fill: receipt.fill,
            error: None,
        }
    }

    /// Gives a round up.
    fn failed(&self, stream: &Stream, error: Error) -> Error {
        let error = error.of(Party::Destination);
        let mut load = self.told(stream, Receipt::default(), 0);
        load.error = Some(error.report());
        self.journal.failed(&load);
        error
    }

    /// The bookmark that the round's rows reach; none when something of the job was set aside.
    fn round_state(&self) -> Option<State> {
        let mut states = self.round.iter().rev().map(|(sealed, _)| sealed.segment.state.clone());
        states.find_map(|state| state).filter(|_| self.damaged.is_empty())
    }

    fn release_bytes(&self, sealed: &Sealed) {
        if let Some(held) = self.held_bytes {
            held.fetch_sub(sealed.size_bytes, Ordering::Relaxed);
        }
    }
}
