//! A replica in memory, and its comparison with what a perfect replica would hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::clock::SystemClock;
use bobbin_core::id::StreamName;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::report::{Event, JobLog};
use bobbin_core::selection::{Selection, StreamSelection};
use bobbin_core::state::State;
use bobbin_core::tap::{Completeness, Context, Output, StreamOutcome, SyncRequest, Tap};
use bobbin_core::{Error, Result};
use fake_kustomer::{Bounds, Running, Simulator};
use serde_json::{Value, json};
use tap_kustomer::config::Config;
use tap_kustomer::metadata::CustomAttributes;
use tap_kustomer::streams;
use tap_kustomer::tap::KustomerTap;

/// One version of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) rev: i64,
    pub(crate) updated_at: String,
}

/// What a destination would hold: by stream and id the newest version.
#[derive(Default)]
pub(crate) struct Replica {
    pub(crate) rows: BTreeMap<String, BTreeMap<String, Version>>,
    pub(crate) rejected: Vec<(String, Rejected)>,
    pub(crate) schemas: BTreeMap<String, Stream>,
    pub(crate) states: Vec<State>,
    /// The same version of a record came twice.
    pub(crate) doubled: Vec<String>,
    /// A record came with a field that no schema had announced.
    pub(crate) unannounced: BTreeSet<String>,
    /// Lines received.
    pub(crate) received: u64,
    /// Stop after so many lines.
    pub(crate) break_after: Option<u64>,
}

impl Output for Replica {
    fn schema(&mut self, stream: &Stream) -> Result<()> {
        self.schemas.insert(stream.name.to_string(), stream.clone());
        Ok(())
    }

    fn records(&mut self, stream: &StreamName, records: Records<'_>) -> Result<()> {
        let text = std::str::from_utf8(records.text).expect("records are UTF-8");
        assert!(text.ends_with('\n'));
        let schema = self.schemas.get(stream.as_str()).expect("a schema comes first");
        let mut count = 0;
        for line in text.lines() {
            count += 1;
            let record: Value = serde_json::from_str(line).expect("a line is JSON");
            for key in record.as_object().expect("a line is an object").keys() {
                if schema.fields.property(key).is_none() {
                    self.unannounced.insert(format!("{stream}.{key}"));
                }
            }
            let id = record["id"].as_str().expect("an id").to_owned();
            let version = Version {
                rev: record["rev"].as_i64().unwrap_or(-1),
                updated_at: record["updated_at"].as_str().unwrap_or_default().to_owned(),
            };
            let rows = self.rows.entry(stream.to_string()).or_default();
            match rows.get(&id) {
                Some(held) if *held == version => self.doubled.push(format!("{stream}/{id}")),
                Some(held) if (held.rev, &held.updated_at) > (version.rev, &version.updated_at) => {
                }
                _ => {
                    rows.insert(id, version);
                }
            }
        }
        assert_eq!(count, records.count);
        self.received += count;
        if self.break_after.is_some_and(|most| self.received >= most) {
            return Err(Error::new(bobbin_core::ErrorKind::Io, "the destination is gone"));
        }
        Ok(())
    }

    fn rejected(&mut self, stream: &StreamName, rejected: &Rejected) -> Result<()> {
        self.rejected.push((stream.to_string(), rejected.clone()));
        Ok(())
    }

    fn state(&mut self, state: &State) -> Result<()> {
        // No bookmark ever moves back, unless the start does.
        if let Some(before) = self.states.last().filter(|before| before.notes == state.notes) {
            for (stream, value) in &before.bookmarks {
                let now = state.bookmarks.get(stream).expect("a bookmark does not vanish");
                assert!(instant(now) >= instant(value), "{stream}: {value} to {now}");
            }
        }
        self.states.push(state.clone());
        Ok(())
    }
}

pub(crate) fn instant(bookmark: &Value) -> jiff::Timestamp {
    bookmark.as_str().expect("a bare bookmark").parse().expect("an instant")
}

/// Events of a run.
#[derive(Default)]
pub(crate) struct Events(pub(crate) Mutex<Vec<Event>>);

impl JobLog for Events {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) outcomes: Result<Vec<StreamOutcome>>,
    pub(crate) events: Vec<Event>,
}

impl Ran {
    /// How a stream ended, in a word and its reason.
    pub(crate) fn ended(&self, stream: &str) -> (&'static str, String) {
        let outcomes = self.outcomes.as_ref().unwrap_or_else(|error| panic!("{}", error.report()));
        let outcome = outcomes
            .iter()
            .find(|outcome| outcome.stream.as_str() == stream)
            .unwrap_or_else(|| panic!("no outcome for {stream}"));
        match &outcome.completeness {
            Completeness::Complete => ("complete", String::new()),
            Completeness::Incomplete { reason } => ("incomplete", reason.clone()),
            Completeness::Unreadable { reason } => ("unreadable", reason.clone()),
            Completeness::Failed(error) => ("failed", error.report()),
        }
    }

    pub(crate) fn all_complete(&self) {
        let outcomes = self.outcomes.as_ref().unwrap_or_else(|error| panic!("{}", error.report()));
        for outcome in outcomes {
            let (word, reason) = self.ended(outcome.stream.as_str());
            assert_eq!(word, "complete", "{}: {reason}", outcome.stream);
        }
    }

    pub(crate) fn error(&self) -> String {
        match &self.outcomes {
            Ok(_) => panic!("the run did not fail"),
            Err(error) => error.report(),
        }
    }

    /// Calls made, by a part of their endpoint.
    pub(crate) fn calls(&self, part: &str) -> usize {
        self.events
            .iter()
            .filter(
                |event| matches!(event, Event::Call { endpoint, .. } if endpoint.contains(part)),
            )
            .count()
    }

    /// Calls made for a stream.
    pub(crate) fn calls_of(&self, wanted: &str) -> usize {
        let of = |event: &&Event| matches!(event, Event::Call { stream: Some(stream), .. } if stream.as_str() == wanted);
        self.events.iter().filter(of).count()
    }

    pub(crate) fn with_status(&self, wanted: u16) -> usize {
        self.events
            .iter()
            .filter(|event| matches!(event, Event::Call { status: Some(status), .. } if *status == wanted))
            .count()
    }
}

/// A simulated organisation, a replica of it, and the state between runs.
pub(crate) struct Bench {
    pub(crate) sim: Running,
    pub(crate) settings: Value,
    pub(crate) replica: Replica,
    pub(crate) state: State,
    pub(crate) streams: Vec<&'static str>,
}

/// Streams with their name in the simulator.
pub(crate) const STREAMS: [(&str, &str); 9] = [
    ("users", "user"),
    ("teams", "team"),
    ("tags", "tag"),
    ("shortcuts", "shortcut"),
    ("customers", "customer"),
    ("conversations", "conversation"),
    ("messages", "message"),
    ("notes", "note"),
    ("kobjects", "kobject"),
];

impl Bench {
    pub(crate) fn new(config: fake_kustomer::Config) -> Self {
        let sim = Simulator::start(config).expect("the simulator starts");
        let settings = json!({
            "api_url": sim.url(), "api_token": sim.token(), "start_date": "2020-01-01T00:00:00Z",
            "search_per_minute": 0, "organization_per_minute": 0,
            "retry_base_ms": 2, "read_timeout_seconds": 5,
        });
        Self {
            sim,
            settings,
            replica: Replica::default(),
            state: State::default(),
            streams: STREAMS.iter().map(|(name, _)| *name).collect(),
        }
    }

    /// Only these streams.
    pub(crate) fn only(mut self, streams: &[&'static str]) -> Self {
        self.streams = streams.to_vec();
        self
    }

    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.settings[key] = value.into();
        self
    }

    pub(crate) fn tap(&self) -> KustomerTap {
        KustomerTap::new(Config::from_json(&self.settings).expect("good settings"))
    }

    /// One run, from the state the run before left.
    pub(crate) fn run(&mut self) -> Ran {
        self.run_until(&Cancel::new())
    }

    pub(crate) fn run_until(&mut self, cancel: &Cancel) -> Ran {
        let events = Events::default();
        let cx = Context { clock: &SystemClock, cancel, log: &events };
        let catalog = Catalog {
            streams: streams::resources()
                .iter()
                .map(|resource| streams::stream(resource, &CustomAttributes::default()))
                .collect(),
        };
        let mut selection = Selection::default();
        for stream in &self.streams {
            selection.streams.insert(
                StreamName::from(*stream),
                StreamSelection { selected: true, ..StreamSelection::default() },
            );
        }
        let request = SyncRequest { catalog: &catalog, selection: &selection, state: &self.state };
        let outcomes = self.tap().sync(&cx, &request, &mut self.replica);
        if let Some(state) = self.replica.states.last() {
            self.state = state.clone();
        }
        Ran { outcomes, events: events.0.into_inner().unwrap() }
    }

    /// The instant up to which the last run read.
    pub(crate) fn reached(&self, stream: &str) -> i64 {
        instant(&self.state.bookmarks[&StreamName::from(stream)]).as_millisecond()
    }

    /// Nothing lost, doubled or stale, in the streams chosen.
    pub(crate) fn compare(&self) {
        self.compare_but(&[]);
        assert!(self.replica.doubled.is_empty(), "doubled: {:?}", &self.replica.doubled);
        assert!(
            self.replica.unannounced.is_empty(),
            "unannounced: {:?}",
            &self.replica.unannounced
        );
    }

    /// Nothing lost or stale but in these streams; rejected records count as received.
    pub(crate) fn compare_but(&self, streams: &[&str]) {
        self.compare_within(i64::MIN, streams);
    }

    /// Nothing lost or stale of what was updated from `from` on.
    pub(crate) fn compare_from(&self, from: i64) {
        self.compare_within(from, &[]);
    }

    fn compare_within(&self, from: i64, streams: &[&str]) {
        let empty = BTreeMap::new();
        for (stream, name) in STREAMS {
            if !self.streams.contains(&stream) || streams.contains(&stream) {
                continue;
            }
            // A stream without a bookmark claims nothing.
            if !self.state.bookmarks.contains_key(&StreamName::from(stream)) {
                continue;
            }
            let until = self.reached(stream) + 1;
            let list = ["users", "teams", "tags", "shortcuts"].contains(&stream);
            let from_ms = if list { None } else { Some(from) };
            let bounds = Bounds { from_ms, until_ms: Some(until) };
            let held = self.sim.oracle().held(name, bounds).unwrap();
            let rows = self.replica.rows.get(stream).unwrap_or(&empty);
            let rejected: Vec<&Rejected> = self
                .replica
                .rejected
                .iter()
                .filter(|(of, _)| of == stream)
                .map(|(_, rejected)| rejected)
                .collect();
            let mut lost = 0;
            let mut stale = 0;
            let mut first = None;
            for record in &held {
                match rows.get(&record.id) {
                    None if rejected.iter().any(|r| r.record.contains(&record.id)) => {}
                    // Its next version lies beyond the bookmark.
                    None if record.superseded || record.gone_ms.is_some() => {}
                    None => {
                        lost += 1;
                        first.get_or_insert(record.clone());
                    }
                    Some(version) => {
                        let older = version.updated_at.as_str() < record.updated_at.as_str();
                        stale += usize::from(older && !record.superseded);
                        if older && !record.superseded {
                            first.get_or_insert(record.clone());
                        }
                    }
                }
            }
            assert_eq!(
                (lost, stale),
                (0, 0),
                "{stream}: of {} records lost and stale; first {first:?}; reached {until}",
                held.len()
            );
            let all = self.sim.oracle().held(name, Bounds::all()).unwrap();
            let known: BTreeSet<&str> = all.iter().map(|record| record.id.as_str()).collect();
            let strange = rows
                .iter()
                .filter(|(id, version)| {
                    !known.contains(id.as_str())
                        && version
                            .updated_at
                            .parse::<jiff::Timestamp>()
                            .is_ok_and(|at| at.as_millisecond() < until)
                })
                .count();
            assert_eq!(strange, 0, "{stream}: records that do not exist");
        }
    }

    pub(crate) fn count(&self, stream: &str) -> usize {
        self.replica.rows.get(stream).map_or(0, BTreeMap::len)
    }
}
