//! A foreign target as a destination.
//!
//! A round is confirmed when the child has printed a state that covers it, or has ended with
//! status 0 after it. What a target had taken before a failure it gets once more: at least once.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bobbin_core::catalog::Stream;
use bobbin_core::crash;
use bobbin_core::destination::{Destination, Loader, Recovered};
use bobbin_core::id::{JobId, SchemaName, SegmentId, StreamName};
use bobbin_core::receipt::Receipt;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::report::{Event, JobLog, Level, NoLog};
use bobbin_core::segment::Segment;
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::{Check, Context, Output};
use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Program;
use super::child::{GLANCE, Running, Seen};
use super::files::Files;
use super::memo::Keeper;
use crate::writer::MessageWriter;

/// The stream of records that were set aside.
const REJECTED: &str = "rejected_records";

/// Bytes of messages that are gathered for a write.
const MOST_WAITING: usize = 256 << 10;

/// When a round counts as durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitBy {
    /// When the target prints a state that covers it; a target that does not do so in time is ended
    /// by the end of its input, which makes every target flush.
    State,
    /// When the target has ended with status 0: each round has a child of its own.
    Exit,
}

/// What a foreign target is told.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// The program.
    pub program: Program,
    /// When a round counts as durable.
    pub commit_by: CommitBy,
    /// How long a state is awaited before the input is ended instead.
    pub state_wait: Duration,
    /// Records per round.
    pub rows_per_commit: u64,
    /// Whether ACTIVATE_VERSION is sent: some old targets fail on it.
    pub activate_version: bool,
    /// Where what was confirmed is kept.
    pub directory: PathBuf,
}

/// A child program as a [`Destination`].
pub struct ProcessTarget {
    config: TargetConfig,
    log: Arc<dyn JobLog>,
}

impl ProcessTarget {
    /// A destination that starts the program when asked; what it says goes to `log`.
    pub fn new(config: TargetConfig, log: Arc<dyn JobLog>) -> Self {
        Self { config, log }
    }
}

impl Destination for ProcessTarget {
    fn name(&self) -> &'static str {
        "singer"
    }

    /// Starts the program with no input: it reads its config and has nothing to write.
    fn replaces(&self) -> bool {
        self.config.activate_version
    }

    fn check(&self, cx: &Context<'_>, _schema: &SchemaName) -> Result<Check> {
        let program = &self.config.program;
        let path = program.find()?.display().to_string();
        let mut running = program.start(Files::new()?, &[], false)?;
        let stop = || cx.cancel.is_cancelled();
        let status = running.follow(cx.log, &mut |_, _| Ok(()), &stop);
        let status = status.inspect_err(|_| running.dismiss(cx.log))?;
        cx.cancel.check()?;
        match running.failure(status) {
            Some(error) => Err(error),
            None => Ok(Check { facts: vec![("program".into(), path)], streams: Vec::new() }),
        }
    }

    fn rows_per_commit(&self) -> u64 {
        self.config.rows_per_commit
    }

    fn open(
        &self,
        _cx: &Context<'_>,
        schema: &SchemaName,
        _job: &JobId,
    ) -> Result<Box<dyn Loader>> {
        self.config.program.find()?;
        Ok(Box::new(ProcessLoader {
            keeper: Keeper::open(&self.config.directory, schema)?,
            by_exit: self.config.commit_by == CommitBy::Exit,
            config: self.config.clone(),
            log: Arc::clone(&self.log),
            feed: None,
            segments: Vec::new(),
            streams: BTreeSet::new(),
            sequence: None,
        }))
    }
}

/// One child, and what it was sent.
struct Feed {
    running: Running,
    writer: MessageWriter<'static, Vec<u8>>,
    heard: Heard,
}

/// The states a child printed.
#[derive(Default)]
struct Heard {
    /// The last whole one.
    last: Option<Value>,
    partial: Vec<u8>,
}

struct ProcessLoader {
    config: TargetConfig,
    log: Arc<dyn JobLog>,
    keeper: Keeper,
    /// Whether rounds are confirmed by the child's end: as told, or learned.
    by_exit: bool,
    feed: Option<Feed>,
    /// Of the open round.
    segments: Vec<SegmentId>,
    streams: BTreeSet<StreamName>,
    sequence: Option<i64>,
}

static ALL: LazyLock<Selection> = LazyLock::new(Selection::all);

impl Feed {
    fn start(program: &Program) -> Result<Self> {
        Ok(Self {
            running: program.start(Files::new()?, &[], true)?,
            writer: MessageWriter::new(Vec::new(), &ALL, REJECTED, &NoLog),
            heard: Heard::default(),
        })
    }

    /// Hands over what was written.
    fn send(&mut self, log: &dyn JobLog) -> Result<()> {
        let waiting = std::mem::take(self.writer.get_mut());
        let Self { running, heard, .. } = self;
        running.feed(&waiting, log, &mut |block| heard.block(block))
    }

    fn send_much(&mut self, log: &dyn JobLog) -> Result<()> {
        if self.writer.get_mut().len() >= MOST_WAITING { self.send(log) } else { Ok(()) }
    }

    /// Ends the input and waits for the child's end.
    fn end(&mut self, log: &dyn JobLog) -> Result<()> {
        self.running.close();
        self.running.awake();
        let Self { running, heard, .. } = self;
        let mut take = |_: &mut Running, block: Vec<u8>| heard.block(&block);
        let status = running.follow(log, &mut take, &|| false)?;
        if let Some(error) = running.failure(status) {
            return Err(error);
        }
        heard.end()
    }
}

impl Heard {
    fn block(&mut self, block: &[u8]) -> Result<()> {
        for line in block.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(line);
            if line.last() == Some(&b'\n') {
                self.end()?;
            }
        }
        Ok(())
    }

    /// Takes the line that is there.
    fn end(&mut self) -> Result<()> {
        let line = std::mem::take(&mut self.partial);
        let line = line.trim_ascii();
        if !line.is_empty() {
            let state = serde_json::from_slice(line).map_err(|error| {
                Error::protocol("a target printed a line that is no state")
                    .hint("stdout of a target is for states alone; its logs belong on stderr")
                    .caused_by(error)
            })?;
            self.last = Some(state);
        }
        Ok(())
    }

    /// Whether the last state covers a round of these streams. Targets that flush streams one by one
    /// print states in which only some bookmarks are new.
    fn covers(&self, round: u64, streams: &BTreeSet<StreamName>) -> bool {
        let Some(state) = &self.last else { return false };
        let reached = |value: Option<&Value>| value.and_then(Value::as_u64) >= Some(round);
        reached(state["bobbin"].get("round"))
            || (!streams.is_empty()
                && streams
                    .iter()
                    .all(|stream| reached(state["bookmarks"][stream.as_str()].get("round"))))
    }
}

impl ProcessLoader {
    fn feed(&mut self) -> Result<&mut Feed> {
        if self.feed.is_none() {
            self.feed = Some(Feed::start(&self.config.program)?);
        }
        self.feed.as_mut().ok_or_else(|| Error::bug("a child was started and is not there"))
    }

    /// Waits for a state that covers the round; false when it does not come in time.
    fn await_state(&mut self, round: u64) -> Result<bool> {
        let Some(feed) = &mut self.feed else { return Ok(true) };
        feed.running.awake();
        let until = Instant::now() + self.config.state_wait;
        loop {
            if feed.heard.covers(round, &self.streams) {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            match feed.running.look(GLANCE, &*self.log)? {
                Seen::Out(block) => feed.heard.block(&block)?,
                Seen::Nothing => {}
                // How it ended is seen when its end is awaited.
                Seen::Ended => return Ok(false),
            }
        }
    }

    /// Ends the child and asks whether that covers the round.
    fn await_exit(&mut self, round: u64) -> Result<()> {
        let Some(mut feed) = self.feed.take() else { return Ok(()) };
        if let Err(error) = feed.end(&*self.log) {
            feed.running.dismiss(&*self.log);
            return Err(error);
        }
        let silent = feed.heard.last.is_none() && self.config.commit_by == CommitBy::Exit;
        if silent || feed.heard.covers(round, &self.streams) {
            return Ok(());
        }
        let name = feed.running.name();
        Err(Error::protocol(match feed.heard.last {
            None => format!("`{name}` ended with status 0 and printed no state"),
            Some(_) => {
                format!("`{name}` ended, and its last state does not cover what it was sent")
            }
        })
        .hint("if its exit status alone can be trusted, set commit_by = \"exit\""))
    }

    /// The STATE at a round's end. Beside bobbin's own it looks as Singer's do, for targets that
    /// look inside.
    fn marker(&self, round: u64, state: Option<&State>) -> State {
        let mut marker = State::default();
        for stream in &self.streams {
            marker.bookmarks.insert(stream.clone(), json!({ "round": round }));
        }
        let mut own = Map::new();
        own.insert("round".into(), round.into());
        own.insert("state".into(), serde_json::to_value(state).unwrap_or_default());
        marker.notes.insert("bobbin".into(), own.into());
        marker
    }
}

impl Loader for ProcessLoader {
    fn recover(&mut self) -> Result<Recovered> {
        Ok(self.keeper.recovered())
    }

    fn load(
        &mut self,
        stream: &Stream,
        segment: &Segment,
        lines: &mut dyn BufRead,
    ) -> Result<Receipt> {
        if self.keeper.holds(&segment.id) {
            return Ok(Receipt::default());
        }
        let log = Arc::clone(&self.log);
        let activates = segment.activates && self.config.activate_version;
        let feed = self.feed()?;
        let mut sequence = None;
        feed.writer.schema(stream)?;
        let mut run = Run::new(segment.version);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines
                .read_until(b'\n', &mut line)
                .map_err(|error| Error::io("cannot read a segment", error))?;
            if read == 0 {
                break;
            }
            let lead = Lead::of(&line)?;
            sequence = sequence.max(Some(lead.sequence));
            if let Some(rejected) = lead.rejected()? {
                run.hand_on(&stream.name, &mut feed.writer)?;
                feed.writer.rejected(&stream.name, &rejected)?;
            } else {
                if run.extracted_at != Some(lead.extracted_at) || run.text.len() >= MOST_WAITING {
                    run.hand_on(&stream.name, &mut feed.writer)?;
                    run.extracted_at = Some(lead.extracted_at);
                }
                run.add(lead.rest);
            }
            feed.send_much(&*log)?;
        }
        run.hand_on(&stream.name, &mut feed.writer)?;
        if let Some(version) = segment.version.filter(|_| activates) {
            feed.writer.activate(&stream.name, version)?;
        }
        feed.send(&*log)?;
        self.sequence = self.sequence.max(sequence);
        self.segments.push(segment.id.clone());
        self.streams.insert(stream.name.clone());
        Ok(Receipt { loaded: segment.records, rejected: segment.rejected, ..Receipt::default() })
    }

    fn commit(&mut self, state: Option<&State>) -> Result<()> {
        if self.feed.is_some() && !self.segments.is_empty() {
            self.keeper.memo.round += 1;
            let round = self.keeper.memo.round;
            let marker = self.marker(round, state);
            let log = Arc::clone(&self.log);
            let feed = self.feed()?;
            feed.writer.state(&marker)?;
            feed.send(&*log)?;
            if self.by_exit {
                self.await_exit(round)?;
            } else if !self.await_state(round)? {
                // Learned once; the rounds after it do not wait in vain.
                self.by_exit = true;
                let seconds = self.config.state_wait.as_secs_f64();
                log.event(Event::Notice {
                    level: Level::Info,
                    stream: None,
                    message: format!(
                        "`{}` printed no state within {seconds:.1} s: from now on each round ends \
                         its input and starts it anew",
                        self.config.program.name()
                    ),
                });
                self.await_exit(round)?;
            }
        }
        crash::point("rows-written");
        self.keeper.note(state, &self.segments, self.sequence)?;
        self.segments.clear();
        self.streams.clear();
        Ok(())
    }

    fn rollback(&mut self) -> Result<()> {
        self.segments.clear();
        self.streams.clear();
        if let Some(mut feed) = self.feed.take() {
            feed.running.dismiss(&*self.log);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let Some(mut feed) = self.feed.take() else { return Ok(()) };
        let ended = feed.end(&*self.log);
        if ended.is_err() {
            feed.running.dismiss(&*self.log);
        }
        ended
    }
}

/// Records of one extraction time on their way.
struct Run {
    text: Vec<u8>,
    count: u64,
    extracted_at: Option<Timestamp>,
    version: Option<i64>,
}

impl Run {
    fn new(version: Option<i64>) -> Self {
        Self { text: Vec::new(), count: 0, extracted_at: None, version }
    }

    fn add(&mut self, rest: &[u8]) {
        self.text.push(b'{');
        self.text.extend_from_slice(rest);
        self.count += 1;
    }

    fn hand_on(&mut self, stream: &StreamName, out: &mut dyn Output) -> Result<()> {
        if let Some(extracted_at) = self.extracted_at.filter(|_| self.count > 0) {
            let Self { text, count, version, .. } = self;
            out.records(stream, Records { text, count: *count, extracted_at, version: *version })?;
        }
        self.text.clear();
        self.count = 0;
        Ok(())
    }
}

/// A segment's line (`segment.rs` of the core): its lead, and what follows.
struct Lead<'a> {
    extracted_at: Timestamp,
    sequence: i64,
    /// Behind the comma after the lead, with the newline.
    rest: &'a [u8],
}

const AT: &[u8] = b"{\"_sdc_extracted_at\":\"";
const SEQUENCE: &[u8] = b"\",\"_sdc_sequence\":";
const ASIDE: &[u8] = b"\"_sdc_rejected\":";

impl<'a> Lead<'a> {
    fn of(line: &'a [u8]) -> Result<Self> {
        let parts = || {
            let rest = line.strip_prefix(AT)?;
            let (at, rest) = rest.split_at_checked(memchr::memchr(b'"', rest)?)?;
            let rest = rest.strip_prefix(SEQUENCE)?;
            let (number, rest) = rest.split_at_checked(memchr::memchr(b',', rest)?)?;
            let text = |bytes| std::str::from_utf8(bytes).ok();
            Some(Self {
                extracted_at: text(at)?.parse().ok()?,
                sequence: text(number)?.parse().ok()?,
                rest: &rest[1..],
            })
        };
        parts().ok_or_else(|| {
            Error::new(ErrorKind::InvalidData, "a segment's line does not begin as it must")
        })
    }

    fn rejected(&self) -> Result<Option<Rejected>> {
        #[derive(Deserialize)]
        struct Aside {
            reason: String,
            record: String,
        }
        let Some(aside) = self.rest.strip_prefix(ASIDE) else { return Ok(None) };
        let aside = aside.trim_ascii_end();
        let aside: Aside = serde_json::from_slice(&aside[..aside.len().saturating_sub(1)])
            .map_err(|error| {
                Error::new(ErrorKind::InvalidData, "a rejected record of a segment cannot be read")
                    .caused_by(error)
            })?;
        let Aside { reason, record } = aside;
        Ok(Some(Rejected { reason, record, extracted_at: self.extracted_at }))
    }
}
