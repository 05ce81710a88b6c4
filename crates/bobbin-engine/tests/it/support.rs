//! A tap that follows a script, and a destination in memory with scripted faults.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::clock::{Clock, SystemClock};
use bobbin_core::destination::{Destination, Loader, Recovered};
use bobbin_core::id::{JobId, SchemaName, SegmentId, StreamName};
use bobbin_core::receipt::Receipt;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::rejected::Taken;
use bobbin_core::report::NoLog;
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_core::segment::Segment;
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::{
    Check, Completeness, Context, Discovery, Output, StreamOutcome, SyncRequest, Tap,
};
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_engine::ledger::Trigger;
use bobbin_engine::{Engine, RunReport, RunRequest};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) fn stream(name: &str) -> Stream {
    Stream {
        name: name.into(),
        fields: Object {
            properties: vec![("id".into(), Schema::of(Kind::Text).required())],
            open: true,
        },
        key: vec!["id".into()],
        replication_key: Some("updated_at".into()),
        version_fields: vec!["rev".into()],
        description: None,
    }
}

/// One thing the tap does.
#[derive(Clone)]
pub(crate) enum Step {
    Records(&'static str, std::ops::Range<u64>),
    /// One record, with these fields beside its own.
    Record(&'static str, &'static str),
    /// The stream as a whole, in version 7.
    Whole(&'static str, std::ops::Range<u64>),
    Rejected(&'static str),
    State(u64),
    /// Waits until the destination has made this many rounds durable and let go of their segments.
    Committed(u64),
    /// Changes the ledger behind the job's back.
    Ledger(&'static str),
    Incomplete(&'static str),
    Fail(ErrorKind),
}

/// Does its steps from the first one that the request's state does not cover.
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) memory: Memory,
    pub(crate) spool: PathBuf,
}

impl Tap for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn check(&self, _: &Context<'_>) -> Result<Check> {
        Ok(Check::default())
    }

    fn discover(&self, _: &Context<'_>) -> Result<Discovery> {
        let catalog = Catalog { streams: vec![stream("a"), stream("b")] };
        Ok(Discovery { catalog, unreadable: Vec::new() })
    }

    fn sync(
        &self,
        cx: &Context<'_>,
        request: &SyncRequest<'_>,
        out: &mut dyn Output,
    ) -> Result<Vec<StreamOutcome>> {
        let bookmark = request.state.bookmarks.get(&StreamName::from("a"));
        let mut skip = bookmark.and_then(Value::as_u64).unwrap_or(0);
        let mut incomplete = Vec::new();
        for step in &self.steps {
            if let Step::State(n) = step
                && *n <= skip
            {
                if *n == skip {
                    skip = 0;
                }
                continue;
            }
            if skip > 0 && !matches!(step, Step::Fail(_)) {
                continue;
            }
            cx.cancel.check()?;
            match step {
                Step::Records(name, ids) | Step::Whole(name, ids) => {
                    let version = matches!(step, Step::Whole(..)).then_some(7);
                    let mut text = String::new();
                    for id in ids.clone() {
                        writeln!(text, "{{\"id\":\"{id}\",\"rev\":1}}").unwrap();
                    }
                    out.schema(&stream(name))?;
                    out.records(
                        &(*name).into(),
                        Records {
                            text: text.as_bytes(),
                            count: ids.end - ids.start,
                            extracted_at: Timestamp::UNIX_EPOCH,
                            version,
                        },
                    )?;
                    if let Some(version) = version {
                        out.activate(&(*name).into(), version)?;
                    }
                }
                Step::Record(name, fields) => {
                    let text = format!("{{\"id\":\"x\",\"rev\":1,{fields}}}\n");
                    out.schema(&stream(name))?;
                    let extracted_at = Timestamp::UNIX_EPOCH;
                    let (text, version) = (text.as_bytes(), None);
                    out.records(
                        &(*name).into(),
                        Records { text, count: 1, extracted_at, version },
                    )?;
                }
                Step::Ledger(sql) => alter(self.spool.parent().unwrap(), sql),
                Step::Rejected(name) => out.rejected(
                    &(*name).into(),
                    &Rejected {
                        reason: "half a \"pair\"".into(),
                        record: "{\"x\":\"\\ud800\"}".into(),
                        extracted_at: Timestamp::UNIX_EPOCH,
                    },
                )?,
                Step::State(n) => {
                    let mut state = State::default();
                    state.bookmarks.insert("a".into(), json!(n));
                    out.state(&state)?;
                }
                Step::Committed(n) => {
                    let since = Instant::now();
                    while self.memory.durable.lock().unwrap().commits < *n
                        || !spool_files(&self.spool).is_empty()
                    {
                        assert!(since.elapsed() < Duration::from_mins(1), "no round {n}");
                        cx.cancel.sleep(Duration::from_millis(1))?;
                    }
                }
                Step::Incomplete(name) => incomplete.push(*name),
                Step::Fail(kind) => return Err(Error::new(*kind, "as scripted")),
            }
        }
        Ok(["a", "b"]
            .into_iter()
            .map(|name| StreamOutcome {
                stream: name.into(),
                completeness: if incomplete.contains(&name) {
                    Completeness::Incomplete { reason: "as scripted".into() }
                } else {
                    Completeness::Complete
                },
                reached: None,
            })
            .collect())
    }
}

/// What survives a crash of the destination's client.
#[derive(Clone, Default, Debug)]
pub(crate) struct Durable {
    /// Per stream and id: how often the row was inserted as new.
    pub(crate) rows: BTreeMap<(String, String), u64>,
    pub(crate) rejected: u64,
    /// The records as they came.
    pub(crate) lines: Vec<Value>,
    /// Records set aside that were kept whole.
    pub(crate) set_aside: Vec<String>,
    pub(crate) segments: Vec<SegmentId>,
    pub(crate) state: Option<State>,
    pub(crate) commits: u64,
    /// Per activated version: how many rows of the stream there were.
    pub(crate) activated: Vec<usize>,
}

/// A fault the destination shows once, when its count comes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Fault {
    /// Loading segment number `n` (from 1) fails.
    Load(u64, ErrorKind),
    /// Commit number `n` fails and nothing is durable.
    Commit(u64, ErrorKind),
    /// Commit number `n` fails although everything is durable.
    CommitAnswer(u64, ErrorKind),
}

#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(crate) durable: Arc<Mutex<Durable>>,
    pub(crate) faults: Arc<Mutex<Vec<Fault>>>,
    pub(crate) loads: Arc<Mutex<u64>>,
    pub(crate) commits: Arc<Mutex<u64>>,
}

impl Destination for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn check(&self, _: &Context<'_>, _: &SchemaName) -> Result<Check> {
        Ok(Check::default())
    }

    fn open(&self, _: &Context<'_>, _: &SchemaName, _: &JobId) -> Result<Box<dyn Loader>> {
        let open = self.durable.lock().unwrap().clone();
        Ok(Box::new(Session { memory: self.clone(), open }))
    }
}

struct Session {
    memory: Memory,
    open: Durable,
}

impl Session {
    fn fault(&self, hit: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut faults = self.memory.faults.lock().unwrap();
        let at = faults.iter().position(hit)?;
        Some(faults.remove(at))
    }
}

impl Loader for Session {
    fn recover(&mut self) -> Result<Recovered> {
        Ok(Recovered {
            state: self.open.state.clone(),
            segments: self.open.segments.clone(),
            sequence: None,
            lost: Vec::new(),
        })
    }

    fn load(
        &mut self,
        stream: &Stream,
        segment: &Segment,
        lines: &mut dyn BufRead,
    ) -> Result<Receipt> {
        if self.open.segments.contains(&segment.id) {
            return Ok(Receipt::default());
        }
        *self.memory.loads.lock().unwrap() += 1;
        let n = *self.memory.loads.lock().unwrap();
        if let Some(Fault::Load(_, kind)) =
            self.fault(|fault| matches!(fault, Fault::Load(at, _) if *at == n))
        {
            return Err(Error::new(kind, "load fails as scripted"));
        }
        let mut receipt = Receipt::default();
        for line in lines.lines() {
            let line = line
                .map_err(|error| Error::new(ErrorKind::InvalidData, "bad text").caused_by(error))?;
            let value: Value = serde_json::from_str(&line).unwrap();
            assert!(value["_sdc_sequence"].as_i64().unwrap() > 0);
            if value.get("_sdc_rejected").is_some() {
                assert_eq!(value["_sdc_rejected"]["record"], "{\"x\":\"\\ud800\"}");
                self.open.rejected += 1;
                receipt.rejected += 1;
            } else {
                let key = (stream.name.to_string(), value["id"].as_str().unwrap().to_owned());
                *self.open.rows.entry(key).or_default() += 1;
                self.open.lines.push(value);
                receipt.loaded += 1;
            }
        }
        if segment.activates {
            let own = |(name, _): &&(String, String)| name == stream.name.as_str();
            self.open.activated.push(self.open.rows.keys().filter(own).count());
        }
        self.open.segments.push(segment.id.clone());
        Ok(receipt)
    }

    fn take_rejected(&mut self, _: &Stream, _: Timestamp, _: u64) -> Result<Taken> {
        let mut taken = Taken::default();
        for text in std::mem::take(&mut self.open.set_aside) {
            taken.push(&text);
        }
        Ok(taken)
    }

    fn commit(&mut self, state: Option<&State>) -> Result<()> {
        *self.memory.commits.lock().unwrap() += 1;
        let n = *self.memory.commits.lock().unwrap();
        let fault = self.fault(
            |fault| matches!(fault, Fault::Commit(at, _) | Fault::CommitAnswer(at, _) if *at == n),
        );
        if let Some(Fault::Commit(_, kind)) = fault {
            return Err(Error::new(kind, "commit fails as scripted"));
        }
        if let Some(state) = state {
            self.open.state = Some(state.clone());
        }
        self.open.commits += 1;
        *self.memory.durable.lock().unwrap() = self.open.clone();
        match fault {
            Some(Fault::CommitAnswer(_, kind)) => Err(Error::new(kind, "answer lost as scripted")),
            _ => Ok(()),
        }
    }

    fn rollback(&mut self) -> Result<()> {
        self.open = self.memory.durable.lock().unwrap().clone();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// The spool's files but for its lock, sorted.
pub(crate) fn spool_files(spool: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![spool.join("test")];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().unwrap() != "lock" {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// An engine in a fresh directory, with small segments and rounds.
pub(crate) fn engine(directory: &tempfile::TempDir) -> Engine {
    let mut engine = Engine::new(directory.path());
    engine.rows_per_commit = Some(4);
    engine.rounds.retry_wait = Duration::from_millis(1);
    engine
}

pub(crate) fn run(engine: &Engine, steps: &[Step], memory: &Memory) -> RunReport {
    try_run(engine, steps, memory).unwrap()
}

pub(crate) fn try_run(engine: &Engine, steps: &[Step], memory: &Memory) -> Result<RunReport> {
    run_at(&SystemClock, engine, steps, memory)
}

pub(crate) fn run_at(
    clock: &dyn Clock,
    engine: &Engine,
    steps: &[Step],
    memory: &Memory,
) -> Result<RunReport> {
    run_chosen(clock, engine, steps, memory, &Selection::all())
}

/// Does something to the ledger below `home`.
pub(crate) fn alter(home: &Path, sql: &str) {
    let sqlite = rusqlite::Connection::open(home.join("ledger.sqlite")).unwrap();
    sqlite.busy_timeout(Duration::from_secs(10)).unwrap();
    sqlite.execute_batch(sql).unwrap();
}

pub(crate) fn run_chosen(
    clock: &dyn Clock,
    engine: &Engine,
    steps: &[Step],
    memory: &Memory,
    selection: &Selection,
) -> Result<RunReport> {
    let cancel = Cancel::new();
    let cx = Context { clock, cancel: &cancel, log: &NoLog };
    engine.run(
        cx,
        RunRequest {
            connection: &"test".into(),
            schema: &"test".into(),
            tap: &mut Script {
                steps: steps.to_vec(),
                memory: memory.clone(),
                spool: engine.home().join("spool"),
            },
            destination: memory,
            selection,
            trigger: Trigger::Manual,
            part: None,
        },
    )
}
