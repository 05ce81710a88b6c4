//! What becomes of a tap's states and versions on their way to the spool, where a job is no plain one.
//!
//! A table that is *replaced* (F-35, `stitch-behaviour.md` 3.3) is read anew under a version of its own, over
//! as many jobs as it takes; once it is whole, that version takes the place of what was there. Which streams
//! these are stands in the destination's state, so it moves in the transaction of their rows.
//!
//! A *backfill* reads a part again and leaves the bookmarks where they are: every state of the tap becomes
//! the one the job began with.

use std::collections::BTreeMap;

use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::id::StreamName;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::{Completeness, Output, StreamOutcome};
use bobbin_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

/// Under this name the streams being replaced stand in a state, each with its version. Taps do not see it.
const NOTE: &str = "bobbin_replacing";

/// Stands for all streams, where the source keeps no bookmark for each.
const ALL: &str = "*";

/// The streams being replaced, with their versions, and the latest versions of those that were.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Replaced {
    on_their_way: BTreeMap<StreamName, i64>,
    whole: BTreeMap<StreamName, i64>,
}

impl Replaced {
    /// Takes what is being replaced out of a state.
    pub(crate) fn take(state: &mut State) -> Self {
        let note = state.notes.remove(NOTE).unwrap_or_default();
        let versions = |key: &str| {
            let versions = note.get(key).and_then(Value::as_object).into_iter().flatten();
            versions
                .filter_map(|(stream, version)| Some((stream.as_str().into(), version.as_i64()?)))
                .collect()
        };
        Self { on_their_way: versions("on_their_way"), whole: versions("whole") }
    }

    /// Streams are to be replaced from now on; all of them, if none is named. Their version is greater than
    /// any they had here, also where the clock was set back.
    pub(crate) fn add(&mut self, streams: &[StreamName], now: i64) {
        let all = [StreamName::from(ALL)];
        let streams = if streams.is_empty() { &all } else { streams };
        let known = self.on_their_way.values().chain(self.whole.values()).max();
        let version = known.map_or(now, |known| now.max(known + 1));
        self.on_their_way.extend(streams.iter().map(|stream| (stream.clone(), version)));
    }

    /// Whether a stream is on its way to take the place of what is there.
    pub(crate) fn has(&self, stream: &StreamName) -> bool {
        self.on_their_way.contains_key(stream)
            || self.on_their_way.contains_key(&StreamName::from(ALL))
    }

    /// Writes them into a state.
    pub(crate) fn put(&self, state: &mut State) {
        let text = |versions: &BTreeMap<StreamName, i64>| -> Map<String, Value> {
            versions
                .iter()
                .map(|(stream, version)| (stream.to_string(), (*version).into()))
                .collect()
        };
        if *self == Self::default() {
            state.notes.remove(NOTE);
            return;
        }
        let note = json!({ "on_their_way": text(&self.on_their_way), "whole": text(&self.whole) });
        state.notes.insert(NOTE.to_owned(), note);
    }

    /// The streams by name, of those that are chosen.
    fn among(mut self, catalog: &Catalog, selection: &Selection) -> Self {
        if let Some(version) = self.on_their_way.remove(&StreamName::from(ALL)) {
            for stream in &catalog.streams {
                if selection.contains(&stream.name) {
                    self.on_their_way.entry(stream.name.clone()).or_insert(version);
                }
            }
        }
        self
    }

    /// A stream takes the place of what was there.
    fn conclude(&mut self, stream: &StreamName) -> Option<i64> {
        let version = self.on_their_way.remove(stream)?;
        self.whole.insert(stream.clone(), version);
        Some(version)
    }
}

/// A job that reads a part again must not meet a table that is being replaced: what it loads would go with
/// the rest, once the new version is whole.
///
/// # Errors
/// Of kind `Conflict` when one of the streams is.
pub(crate) fn not_replaced<'a>(
    state: &State,
    mut streams: impl Iterator<Item = &'a StreamName>,
) -> Result<()> {
    let replaced = Replaced::take(&mut state.clone());
    match streams.find(|stream| replaced.has(stream)) {
        None => Ok(()),
        Some(stream) => Err(Error::new(
            ErrorKind::Conflict,
            format!("`{stream}` is being replaced and is not whole yet"),
        )
        .hint("let jobs run until one is complete, then ask again")),
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
                && let Some(version) = self.replaced.conclude(&outcome.stream)
            {
                self.onward.activate(&outcome.stream, version)?;
                whole = true;
            }
        }
        if whole { self.tell() } else { Ok(()) }
    }

    /// A tap that gives versions of its own replaces the table by itself, and with none of ours.
    fn versions_itself(&mut self, stream: &StreamName) {
        self.replaced.on_their_way.remove(stream);
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
        if records.version.is_some() {
            self.versions_itself(stream);
        }
        let own = self.replaced.on_their_way.get(stream).filter(|_| self.pinned.is_none());
        let version = records.version.or(own.copied());
        self.onward.records(stream, Records { version, ..records })
    }

    fn rejected(&mut self, stream: &StreamName, rejected: &Rejected) -> Result<()> {
        self.onward.rejected(stream, rejected)
    }

    fn activate(&mut self, stream: &StreamName, version: i64) -> Result<()> {
        self.versions_itself(stream);
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use jiff::Timestamp;

    use super::*;

    /// What came onward.
    #[derive(Default)]
    struct Seen {
        versions: Vec<(String, Option<i64>)>,
        activated: Vec<(String, i64)>,
        states: Vec<State>,
    }

    impl Output for Seen {
        fn schema(&mut self, _: &Stream) -> Result<()> {
            Ok(())
        }

        fn records(&mut self, stream: &StreamName, records: Records<'_>) -> Result<()> {
            self.versions.push((stream.to_string(), records.version));
            Ok(())
        }

        fn rejected(&mut self, _: &StreamName, _: &Rejected) -> Result<()> {
            Ok(())
        }

        fn activate(&mut self, stream: &StreamName, version: i64) -> Result<()> {
            self.activated.push((stream.to_string(), version));
            Ok(())
        }

        fn state(&mut self, state: &State) -> Result<()> {
            self.states.push(state.clone());
            Ok(())
        }
    }

    fn records(version: Option<i64>) -> Records<'static> {
        let extracted_at = Timestamp::UNIX_EPOCH;
        Records { text: b"{\"a\":1}\n", count: 1, extracted_at, version }
    }

    fn outcome(stream: &str, completeness: Completeness) -> StreamOutcome {
        StreamOutcome { stream: stream.into(), completeness, reached: None }
    }

    /// A table whose tap versions it is left to the tap; one that is not whole goes on with the next job.
    #[test]
    fn what_is_whole_takes_its_place_and_what_versions_itself_does_so_itself() {
        let mut state = State::default();
        let mut replaced = Replaced::default();
        replaced.add(&["plain".into(), "own".into(), "torn".into()], 100);
        replaced.put(&mut state);
        let (catalog, all) = (Catalog::default(), Selection::all());
        let mut seen = Seen::default();
        let (mut course, begin) = Course::new(&mut seen, &state, (&catalog, &all), false);
        assert_eq!(begin, State::default(), "the tap does not see the note");
        course.records(&"plain".into(), records(None)).unwrap();
        course.records(&"own".into(), records(Some(7))).unwrap();
        course.records(&"torn".into(), records(None)).unwrap();
        course.records(&"other".into(), records(None)).unwrap();
        course.activate(&"own".into(), 7).unwrap();
        let mut told = State::default();
        told.bookmarks.insert("plain".into(), 5.into());
        course.state(&told).unwrap();
        let torn = Completeness::Incomplete { reason: String::new() };
        let ends = [
            outcome("plain", Completeness::Complete),
            outcome("own", Completeness::Complete),
            outcome("torn", torn),
        ];
        course.conclude(&ends).unwrap();
        let versions: Vec<_> = seen.versions.iter().map(|(_, version)| *version).collect();
        assert_eq!(versions, [Some(100), Some(7), Some(100), None]);
        assert_eq!(seen.activated, [("own".to_owned(), 7), ("plain".to_owned(), 100)]);
        let mut last = seen.states.last().unwrap().clone();
        assert_eq!(last.bookmarks, told.bookmarks);
        let left = Replaced::take(&mut last);
        assert!(left.has(&"torn".into()) && !left.has(&"plain".into()) && !left.has(&"own".into()));
    }

    /// Also where the clock was set back, a version is greater than those before it.
    #[test]
    fn a_later_replacement_has_a_greater_version() {
        let mut replaced = Replaced::default();
        replaced.add(&["a".into()], 100);
        assert_eq!(replaced.conclude(&"a".into()), Some(100));
        let mut state = State::default();
        replaced.put(&mut state);
        let mut again = Replaced::take(&mut state);
        again.add(&[], 50);
        let catalog = Catalog::default();
        assert!(again.has(&"anything".into()));
        let again = again.among(&catalog, &Selection::all());
        assert!(!again.has(&"anything".into()), "there is no such stream");
        let mut third = again.clone();
        third.add(&["a".into()], 99);
        assert_eq!(third.conclude(&"a".into()), Some(101));
    }

    /// A backfill moves nothing and replaces nothing.
    #[test]
    fn a_backfill_leaves_the_state_as_it_is() {
        let mut state = State::default();
        state.bookmarks.insert("a".into(), 9.into());
        let mut replaced = Replaced::default();
        replaced.add(&["b".into()], 100);
        replaced.put(&mut state);
        let (catalog, all) = (Catalog::default(), Selection::all());
        let mut seen = Seen::default();
        let (mut course, begin) = Course::new(&mut seen, &state, (&catalog, &all), true);
        assert_eq!(begin, State::default());
        course.records(&"a".into(), records(None)).unwrap();
        course.state(&State::default()).unwrap();
        course.conclude(&[outcome("a", Completeness::Complete)]).unwrap();
        assert_eq!((seen.versions[0].1, seen.activated.len()), (None, 0));
        assert_eq!(seen.states, [state.clone()]);
        assert!(not_replaced(&state, [&"a".into()].into_iter()).is_ok());
        assert!(not_replaced(&state, [&"b".into()].into_iter()).is_err());
    }
}
