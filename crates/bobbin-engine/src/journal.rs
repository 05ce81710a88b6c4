//! What is written down with each round: the load, how far the bookmarks are, in the ledger and in
//! the job's log.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;

use bobbin_core::Result;
use bobbin_core::id::{ConnectionId, JobId, SegmentId};
use bobbin_core::receipt::{Change, Fill};
use bobbin_core::report::{Event, Level};
use bobbin_core::state::State;
use bobbin_core::tap::Context;
use jiff::Timestamp;

use crate::hold::Hold;
use crate::ledger::{Ledger, Load};
use crate::spool::Sealed;

/// Writes down what a job loads. The rows are durable by then: what cannot be written down is told,
/// tried again with what comes next, and never fails the job.
pub(crate) struct Journal<'a> {
    cx: Context<'a>,
    hold: &'a Hold<'a>,
    ledger: &'a dyn Ledger,
    connection: &'a ConnectionId,
    job: &'a JobId,
    saved: RefCell<State>,
    unwritten: RefCell<Vec<Entry>>,
}

/// A load as it is written down.
struct Entry {
    load: Load,
    segments: Vec<SegmentId>,
    state: Option<State>,
}

/// Loads that are kept until they can be written down.
const MOST_UNWRITTEN: usize = 1000;

impl<'a> Journal<'a> {
    pub(crate) fn new(cx: Context<'a>, hold: &'a Hold<'a>, job: &'a JobId) -> Result<Self> {
        let (ledger, connection) = (&*hold.ledger, &hold.lease.connection);
        let saved = RefCell::new(ledger.state(connection)?.unwrap_or_default());
        Ok(Self { cx, hold, ledger, connection, job, saved, unwritten: RefCell::default() })
    }

    pub(crate) fn job(&self) -> &JobId {
        self.job
    }

    /// Fails once another bobbin has taken the connection over.
    pub(crate) fn check(&self) -> Result<()> {
        self.hold.check()
    }

    /// A round of these segments became durable, and the state with it.
    pub(crate) fn loaded(&self, load: Load, segments: Vec<SegmentId>, state: Option<&State>) {
        if let Some(state) = state {
            self.tell(state);
        }
        self.write(Entry { load, segments, state: state.cloned() });
    }

    fn write(&self, entry: Entry) {
        let mut unwritten = self.unwritten.borrow_mut();
        if unwritten.len() < MOST_UNWRITTEN {
            unwritten.push(entry);
        }
        drop(unwritten);
        self.catch_up();
    }

    /// Writes down what could not be written down so far.
    pub(crate) fn catch_up(&self) {
        let mut unwritten = self.unwritten.borrow_mut();
        let put = |entry: &Entry| {
            let (load, state) = (&entry.load, entry.state.as_ref());
            self.ledger.loaded_of(&self.hold.lease, load, &entry.segments, state)
        };
        let failed =
            unwritten.iter().enumerate().find_map(|(n, entry)| Some((n, put(entry).err()?)));
        let written = failed.as_ref().map_or(unwritten.len(), |(n, _)| *n);
        unwritten.drain(..written);
        if let (Some((_, error)), Some(entry)) = (failed, unwritten.first()) {
            self.warn(&entry.load, &error);
        }
    }

    /// A round was given up. Whoever cannot write that down has the error itself to tell.
    pub(crate) fn failed(&self, load: &Load) {
        if let Err(error) = self.ledger.loaded(&self.hold.lease, load, None) {
            self.warn(load, &error);
        }
    }

    fn warn(&self, load: &Load, error: &bobbin_core::Error) {
        self.cx.log.event(Event::Notice {
            level: Level::Warn,
            stream: Some(load.stream.clone()),
            message: error.report(),
        });
    }

    /// A state became durable without rows.
    pub(crate) fn saved(&self, state: &State) {
        self.tell(state);
        let now = self.cx.clock.now();
        if let Err(error) = self.ledger.save_state(&self.hold.lease, state, now) {
            let message = error.report();
            self.cx.log.event(Event::Notice { level: Level::Warn, stream: None, message });
        }
    }

    /// Segments that an earlier job left are durable, with `state`: its process ended before it said so.
    /// What was not written down of them is written now, as far as their manifests know it.
    pub(crate) fn made_up(&self, durable: &[Sealed], state: Option<&State>) -> Result<()> {
        let mut known: HashSet<SegmentId> =
            self.ledger.loaded_segments(self.connection)?.into_iter().collect();
        known.retain(|id| durable.iter().any(|sealed| sealed.segment.id == *id));
        let new: Vec<&Sealed> =
            durable.iter().filter(|sealed| !known.contains(&sealed.segment.id)).collect();
        let same = |a: &&Sealed, b: &&Sealed| {
            a.stream.name == b.stream.name && a.segment.id.job == b.segment.id.job
        };
        for round in new.chunk_by(same) {
            let Some(load) = self.approximate(round)? else { continue };
            // None of them is released yet.
            known.extend(round.iter().map(|sealed| sealed.segment.id.clone()));
            self.write(Entry { load, segments: known.iter().cloned().collect(), state: None });
        }
        match state {
            Some(state) if !new.is_empty() => self.saved(state),
            _ => {}
        }
        Ok(())
    }

    /// What is known of a round that nobody told of; none where it held no record.
    fn approximate(&self, round: &[&Sealed]) -> Result<Option<Load>> {
        let sum = |pick: fn(&Sealed) -> u64| round.iter().map(|sealed| pick(sealed)).sum::<u64>();
        let (rows, rejected) =
            (sum(|sealed| sealed.segment.records), sum(|sealed| sealed.segment.rejected));
        let Some(first) = round.first().filter(|_| rows + rejected > 0) else { return Ok(None) };
        let (stream, now) = (&first.stream, self.cx.clock.now());
        let table = self.ledger.table_of(self.connection, &stream.name)?;
        let table = table.unwrap_or_else(|| stream.name.to_string());
        let words = "loaded just before its job ended abruptly: rows are counted as they were \
                     extracted, and what was changed is not known";
        // It was loaded at some time after it was sealed.
        let sealed = fs::metadata(&first.manifest).and_then(|file| file.modified()).ok();
        let sealed = sealed.and_then(|at| Timestamp::try_from(at).ok());
        Ok(Some(Load {
            job: first.segment.id.job.clone(),
            stream: stream.name.clone(),
            changes: vec![Change::told(&table, words)],
            table,
            version: round.iter().rev().find_map(|sealed| sealed.segment.version),
            replaced: round.iter().any(|sealed| sealed.segment.activates),
            started: sealed.map_or(now, |sealed| sealed.min(now)),
            ended: now,
            rows,
            unchanged: 0,
            rejected,
            removed: 0,
            bytes: sum(|sealed| sealed.segment.bytes),
            replication_key: stream.replication_key.clone(),
            bookmark: None,
            extracted_at: None,
            subtables: std::collections::BTreeMap::new(),
            fill: Fill::default(),
            error: None,
        }))
    }

    fn tell(&self, state: &State) {
        let before = self.saved.replace(state.clone());
        for (stream, bookmark) in &state.bookmarks {
            if before.bookmarks.get(stream) != Some(bookmark) {
                let (stream, bookmark) = (stream.clone(), bookmark.clone());
                self.cx.log.event(Event::Bookmark { stream, bookmark });
            }
        }
    }
}
