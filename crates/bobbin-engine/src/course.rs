//! What becomes of a tap's states and versions on their way to the spool, where a job is no plain one.
//!
//! A table that is *replaced* (F-35, `stitch-behaviour.md` 3.3) is read anew under a version of its own, over
//! as many jobs as it takes; once it is whole, that version takes the place of what was there. Which streams
//! these are stands in the destination's state, so it moves in the transaction of their rows.
//!
//! A *backfill* reads a part again and leaves the bookmarks where they are: every state of the tap becomes
//! the one the job began with.

use std::collections::BTreeMap;

use bobbin_core::Result;
use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::id::StreamName;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::{Completeness, Output, StreamOutcome};
use serde_json::{Map, Value};

/// Under this name the streams being replaced stand in a state, each with its version. Taps do not see it.
const NOTE: &str = "bobbin_replacing";

/// Stands for all streams, where the source keeps no bookmark for each.
const ALL: &str = "*";

/// The streams being replaced, with their versions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Replaced(BTreeMap<StreamName, i64>);

impl Replaced {
    /// Takes what is being replaced out of a state.
    pub(crate) fn take(state: &mut State) -> Self {
        let Some(Value::Object(note)) = state.notes.remove(NOTE) else { return Self::default() };
        let versions = note.iter();
        let versions = versions
            .filter_map(|(stream, version)| Some((stream.as_str().into(), version.as_i64()?)));
        Self(versions.collect())
    }

    /// Streams are to be replaced from now on; all of them, if none is named.
    pub(crate) fn add(&mut self, streams: &[StreamName], version: i64) {
        if streams.is_empty() {
            self.0.insert(ALL.into(), version);
        }
        self.0.extend(streams.iter().map(|stream| (stream.clone(), version)));
    }

    /// Writes them into a state.
    pub(crate) fn put(&self, state: &mut State) {
        if self.0.is_empty() {
            state.notes.remove(NOTE);
            return;
        }
        let note: Map<String, Value> = self
            .0
            .iter()
            .map(|(stream, version)| (stream.to_string(), (*version).into()))
            .collect();
        state.notes.insert(NOTE.to_owned(), note.into());
    }

    /// The streams by name, of those that are chosen.
    fn among(mut self, catalog: &Catalog, selection: &Selection) -> Self {
        if let Some(version) = self.0.remove(&StreamName::from(ALL)) {
            for stream in &catalog.streams {
                if selection.contains(&stream.name) {
                    self.0.entry(stream.name.clone()).or_insert(version);
                }
            }
        }
        self
    }
}

/// The output as the tap of such a job sees it.
pub(crate) struct Course<'a> {
    onward: &'a mut dyn Output,
    replaced: Replaced,
    /// The state that stands for all others, in a backfill.
    pinned: Option<State>,
    /// The latest state, without the note.
    last: State,
}

impl<'a> Course<'a> {
    /// A course that begins at `state`; gives the state the tap begins at, too.
    pub(crate) fn new(
        onward: &'a mut dyn Output,
        state: &State,
        (catalog, selection): (&Catalog, &Selection),
        backfill: bool,
    ) -> (Self, State) {
        let mut last = state.clone();
        let replaced = Replaced::take(&mut last).among(catalog, selection);
        let pinned = backfill.then(|| state.clone());
        let begin = if backfill { State::default() } else { last.clone() };
        (Self { onward, replaced, pinned, last }, begin)
    }

    /// Lets the versions that are whole take the place of what was there.
    pub(crate) fn conclude(&mut self, outcomes: &[StreamOutcome]) -> Result<()> {
        if self.pinned.is_some() {
            return Ok(());
        }
        let mut whole = false;
        for outcome in outcomes {
            if matches!(outcome.completeness, Completeness::Complete)
                && let Some(version) = self.replaced.0.remove(&outcome.stream)
            {
                self.onward.activate(&outcome.stream, version)?;
                whole = true;
            }
        }
        if whole { self.tell() } else { Ok(()) }
    }

    fn tell(&mut self) -> Result<()> {
        let mut state = self.last.clone();
        self.replaced.put(&mut state);
        self.onward.state(&state)
    }
}

impl Output for Course<'_> {
    fn schema(&mut self, stream: &Stream) -> Result<()> {
        self.onward.schema(stream)
    }

    fn records(&mut self, stream: &StreamName, records: Records<'_>) -> Result<()> {
        let own = self.replaced.0.get(stream).filter(|_| self.pinned.is_none()).copied();
        self.onward.records(stream, Records { version: records.version.or(own), ..records })
    }

    fn rejected(&mut self, stream: &StreamName, rejected: &Rejected) -> Result<()> {
        self.onward.rejected(stream, rejected)
    }

    fn activate(&mut self, stream: &StreamName, version: i64) -> Result<()> {
        self.onward.activate(stream, version)
    }

    fn state(&mut self, state: &State) -> Result<()> {
        match &self.pinned {
            Some(pinned) => self.onward.state(&pinned.clone()),
            None => {
                self.last = state.clone();
                self.tell()
            }
        }
    }
}
