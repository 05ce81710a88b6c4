//! An inbox in a directory of its own, and an output that writes down what it is told.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Stream;
use bobbin_core::clock::SystemClock;
use bobbin_core::id::StreamName;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::report::{Event, Level};
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::{Completeness, Context, Output, StreamOutcome, SyncRequest, Tap as _};
use bobbin_core::{Error, Result};
use bobbin_engine::vault::Vault;
use bobbin_import::Batch;
use bobbin_import::inbox::{Accepted, Inbox, Limits};
use bobbin_import::request::Requests;
use bobbin_import::tap::ImportTap;
use jiff::Timestamp;
use tempfile::TempDir;

pub(crate) fn now() -> Timestamp {
    "2026-11-28T09:30:00Z".parse().unwrap()
}

pub(crate) fn batch(body: &str) -> Vec<Batch> {
    Requests::default().batch(body.as_bytes()).unwrap()
}

pub(crate) fn push(body: &str) -> Vec<Batch> {
    Requests::default().push(body.as_bytes()).unwrap()
}

/// A batch of upserts with integer ids, each with its sequence.
pub(crate) fn upserts(table: &str, records: &[(i64, i64)]) -> Vec<Batch> {
    let mut messages = String::new();
    for (id, sequence) in records {
        let comma = if messages.is_empty() { "" } else { "," };
        let data = format!(r#"{{"id":{id}}}"#);
        write!(messages, r#"{comma}{{"action":"upsert","sequence":{sequence},"data":{data}}}"#)
            .unwrap();
    }
    batch(&format!(
        r#"{{"table_name":"{table}","schema":{{"properties":{{"id":{{"type":"integer"}}}}}},"key_names":["id"],"messages":[{messages}]}}"#
    ))
}

pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("inbox")
    }

    pub(crate) fn open(&self) -> Inbox {
        Inbox::open(&self.path(), Limits { reserve_bytes: 0, ..Limits::default() }, None).unwrap()
    }

    /// Takes a request and seals it, with a key that lies in the inbox's own directory here.
    pub(crate) fn accept_sealed(&self, batches: &[Batch]) -> Accepted {
        let limits = Limits { reserve_bytes: 0, ..Limits::default() };
        let vault = Vault::open(&self.path(), true).unwrap();
        let inbox = Inbox::open(&self.path(), limits, Some(vault)).unwrap();
        inbox.accept(batches, now()).unwrap()
    }

    pub(crate) fn accept(&self, batches: &[Batch]) -> Accepted {
        self.open().accept(batches, now()).unwrap()
    }

    /// The names of the files below a directory of the inbox, in order.
    pub(crate) fn names(&self, below: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path().join(below)) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Where the only request that waits is.
    pub(crate) fn request(&self) -> PathBuf {
        let names = self.names("requests");
        assert_eq!(names.len(), 1, "{names:?}");
        self.path().join("requests").join(&names[0])
    }

    pub(crate) fn run(&self, state: &State) -> Ran {
        self.run_with(state, &Selection::all())
    }

    pub(crate) fn run_with(&self, state: &State, selection: &Selection) -> Ran {
        let ran = self.try_run(state, selection);
        ran.1.unwrap();
        ran.0
    }

    pub(crate) fn try_run(&self, state: &State, selection: &Selection) -> (Ran, Result<()>) {
        let notices = Mutex::new(Vec::new());
        let log = |event: Event| {
            if let Event::Notice { level, message, .. } = event {
                notices.lock().unwrap().push((level, message));
            }
        };
        let cancel = Cancel::new();
        let cx = Context { clock: &SystemClock, cancel: &cancel, log: &log };
        let tap = ImportTap::new(self.path(), self.path());
        let catalog = tap.discover(&cx).unwrap().catalog;
        let request = SyncRequest { catalog: &catalog, selection, state };
        let mut ran = Ran { state: state.clone(), ..Ran::default() };
        let outcomes = tap.sync(&cx, &request, &mut ran);
        ran.notices = notices.into_inner().unwrap();
        match outcomes {
            Ok(outcomes) => {
                ran.outcomes = outcomes;
                (ran, Ok(()))
            }
            Err(error) => (ran, Err(error)),
        }
    }
}

/// What an output was told.
#[derive(Default)]
pub(crate) struct Ran {
    /// One line a call or record.
    pub(crate) told: Vec<String>,
    pub(crate) streams: Vec<Stream>,
    /// The last state.
    pub(crate) state: State,
    pub(crate) outcomes: Vec<StreamOutcome>,
    pub(crate) notices: Vec<(Level, String)>,
    /// Records after which the output fails.
    pub(crate) fails_after: Option<u64>,
    pub(crate) count: u64,
}

impl Ran {
    /// The records' text, of all tables.
    pub(crate) fn records(&self) -> Vec<&str> {
        let told = self.told.iter().filter_map(|line| line.split_once(": "));
        told.filter(|(_, text)| text.starts_with('{')).map(|(_, text)| text).collect()
    }

    /// The ids of records of [`upserts`].
    pub(crate) fn ids(&self) -> Vec<i64> {
        let values = self.records().into_iter().map(|text| serde_json::from_str(text).unwrap());
        values.map(|value: serde_json::Value| value["id"].as_i64().unwrap()).collect()
    }

    pub(crate) fn text(&self) -> String {
        self.told.join("\n")
    }

    /// The tables that are not complete, with the reason.
    pub(crate) fn incomplete(&self) -> Vec<(String, String)> {
        let outcomes = self.outcomes.iter();
        let reasons = outcomes.filter_map(|outcome| match &outcome.completeness {
            Completeness::Incomplete { reason } => {
                Some((outcome.stream.to_string(), reason.clone()))
            }
            _ => None,
        });
        reasons.collect()
    }

    pub(crate) fn notice(&self, level: Level, words: &str) -> bool {
        self.notices.iter().any(|(l, message)| *l == level && message.contains(words))
    }
}

impl Output for Ran {
    fn schema(&mut self, stream: &Stream) -> Result<()> {
        let fields: Vec<&str> =
            stream.fields.properties.iter().map(|(name, _)| name.as_str()).collect();
        self.told.push(format!(
            "{} ({}) key {}",
            stream.name,
            fields.join(" "),
            stream.key.join(" ")
        ));
        self.streams.push(stream.clone());
        Ok(())
    }

    fn records(&mut self, stream: &StreamName, records: Records<'_>) -> Result<()> {
        let text = std::str::from_utf8(records.text).unwrap();
        assert_eq!(text.lines().count() as u64, records.count);
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
            let at = records.extracted_at;
            let version = records.version.map_or(String::new(), |v| format!(" v{v}"));
            self.told.push(format!("{stream}{version} {at}: {line}"));
            self.count += 1;
        }
        if self.fails_after.is_some_and(|most| self.count > most) {
            return Err(Error::bug("as the test wants"));
        }
        Ok(())
    }

    fn rejected(&mut self, stream: &StreamName, rejected: &Rejected) -> Result<()> {
        self.told.push(format!("{stream} rejected: {}", rejected.reason));
        Ok(())
    }

    fn activate(&mut self, stream: &StreamName, version: i64) -> Result<()> {
        self.told.push(format!("{stream} is whole in version {version}"));
        Ok(())
    }

    fn state(&mut self, state: &State) -> Result<()> {
        let number = &state.notes["import"]["number"];
        self.told.push(format!("state {number}"));
        self.state = state.clone();
        Ok(())
    }
}

/// A copy of a directory, as a backup would have it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
