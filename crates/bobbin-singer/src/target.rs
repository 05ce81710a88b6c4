//! A Singer target over any destination: messages in, states out for what is durable.
//!
//! Records wait until there are enough of them, until they are old, until the input ends or a stop is
//! asked for; then all of them become durable in one transaction, and the latest state before them is
//! printed. So no printed state ever runs ahead, and nothing outlives the process but what is loaded.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Stream;
use bobbin_core::destination::{Destination, Loader};
use bobbin_core::id::{JobId, SchemaName, SegmentId, StreamName};
use bobbin_core::json::write_string;
use bobbin_core::report::{Event, Level};
use bobbin_core::segment::{MOST_WEIGHT, Segment, weight};
use bobbin_core::tap::Context;
use bobbin_core::{Error, Party, Result};
use jiff::Timestamp;

use crate::batch::Batch;
use crate::lines;
use crate::message;
use crate::reader::{self, Message, RecordText};
use crate::waiting::Lines;

/// How old a waiting record may get.
const MOST_AGE: Duration = Duration::from_mins(1);

/// Attempts at making records durable, with longer and longer waits between.
const ATTEMPTS: u32 = 5;

/// Where messages go.
pub struct Target<'a> {
    /// The destination.
    pub destination: &'a dyn Destination,
    /// The schema in it.
    pub schema: SchemaName,
}

/// What came and what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Records received.
    pub received: u64,
    /// Rows inserted or replaced.
    pub loaded: u64,
    /// Records that a later one of the same key replaced before they were written.
    pub superseded: u64,
    /// Records set aside.
    pub rejected: u64,
    /// Rows of older table versions that were removed.
    pub removed: u64,
}

impl Target<'_> {
    /// Reads messages to the end, or until a stop is asked for, and writes states.
    ///
    /// # Errors
    /// When a line is no message (named by its number), or the destination fails for good. What
    /// came before is made durable, and its state printed, where that can be.
    pub fn run(
        &self,
        input: Box<dyn Read + Send>,
        output: &mut dyn Write,
        cx: &Context<'_>,
    ) -> Result<Summary> {
        let (sender, blocks) = sync_channel(1);
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || read(input, &sender))
            .map_err(|error| Error::io("cannot start a thread", error))?;
        let mut session = Session::new(self, output, *cx)?;
        let followed = session.follow(&blocks);
        let flushed = session.flush();
        followed.and(flushed)?;
        session.loader.finish().map_err(destinations)?;
        Ok(session.summary)
    }
}

/// Sends whole lines, many at once.
fn read(input: Box<dyn Read + Send>, blocks: &SyncSender<Result<Vec<u8>>>) {
    if let Err(error) = lines::blocks(input, |block| blocks.send(Ok(block)).is_ok()) {
        let _ = blocks.send(Err(Error::io("cannot read the input", error)));
    }
}

/// One stream's waiting records.
struct Waiting {
    stream: Stream,
    lines: Lines,
    weight: u64,
    records: u64,
    rejected: u64,
    /// Of all its records: those of another version wait until these are durable.
    version: Option<i64>,
    /// Whether rows of other versions are to go.
    activates: bool,
}

impl Waiting {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            lines: Lines::default(),
            weight: 0,
            records: 0,
            rejected: 0,
            version: None,
            activates: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.records + self.rejected == 0 && !self.activates
    }
}

struct Session<'a> {
    target: &'a Target<'a>,
    output: &'a mut dyn Write,
    cx: Context<'a>,
    job: JobId,
    loader: Box<dyn Loader>,
    streams: HashMap<StreamName, Waiting>,
    /// In the order they were first met.
    order: Vec<StreamName>,
    weight: u64,
    records: u64,
    since: Option<Instant>,
    segments: u64,
    sequence: i64,
    state: Option<String>,
    line: u64,
    told: Vec<String>,
    summary: Summary,
}

impl<'a> Session<'a> {
    fn new(target: &'a Target<'a>, output: &'a mut dyn Write, cx: Context<'a>) -> Result<Self> {
        let now = cx.clock.now();
        let job = JobId::from(now.strftime("%Y%m%dT%H%M%S%.6fZ").to_string());
        let mut loader = open(target, &cx, &job)?;
        let recovered = loader.recover().map_err(destinations)?;
        let now = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX / 2);
        Ok(Self {
            target,
            output,
            cx,
            job,
            loader,
            streams: HashMap::new(),
            order: Vec::new(),
            weight: 0,
            records: 0,
            since: None,
            segments: 0,
            sequence: recovered.sequence.map_or(now, |last| now.max(last + 1)),
            state: None,
            line: 0,
            told: Vec::new(),
            summary: Summary::default(),
        })
    }

    fn follow(&mut self, blocks: &Receiver<Result<Vec<u8>>>) -> Result<()> {
        loop {
            if self.cx.cancel.is_cancelled() {
                return Ok(());
            }
            match blocks.recv_timeout(Duration::from_millis(200)) {
                Ok(block) => self.block(&block?)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if self.since.is_some_and(|since| since.elapsed() > MOST_AGE) {
                self.flush()?;
            }
        }
    }

    fn block(&mut self, block: &[u8]) -> Result<()> {
        for line in block.split_inclusive(|byte| *byte == b'\n') {
            self.line += 1;
            match std::str::from_utf8(line) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => self.message(text)?,
                Err(error) => self.no_text(line, error.valid_up_to())?,
            }
        }
        Ok(())
    }

    /// A line that is not UTF-8: a record of a known stream is set aside, anything else refused.
    fn no_text(&mut self, line: &[u8], at: usize) -> Result<()> {
        let text = String::from_utf8_lossy(line);
        match reader::parse(&text) {
            Ok(Message::Record { stream, record, extracted, version }) => {
                let (RecordText::Good(record) | RecordText::Bad(record, _)) = record;
                let reason = "the record holds bytes that are not UTF-8";
                self.set_aside(&stream.into(), record, reason, extracted, version)
            }
            _ => Err(self.refused(format!("is not UTF-8 at byte {at}"))),
        }
    }

    fn refused(&self, what: impl AsRef<str>) -> Error {
        Error::protocol(format!("line {} of the input {}", self.line, what.as_ref()))
            .hint("a target reads Singer messages, one a line, and nothing else; see the tap's log")
    }

    fn message(&mut self, line: &str) -> Result<()> {
        match reader::parse(line).map_err(|what| self.refused(what))? {
            Message::Record { stream, record, extracted, version } => {
                self.record(&stream.into(), record, extracted, version)
            }
            Message::Schema(stream) => self.schema(*stream),
            Message::State(value) => {
                self.state = Some(value.to_owned());
                // A state with nothing before it is durable already.
                if self.records == 0 { self.print_state() } else { Ok(()) }
            }
            Message::ActivateVersion { stream, version } => self.activate(&stream.into(), version),
            Message::Batch(batch) => self.batch(&batch),
            Message::Other(kind) => {
                self.warn_once(format!("messages of type {kind} are ignored"));
                Ok(())
            }
        }
    }

    fn warn_once(&mut self, message: String) {
        if !self.told.contains(&message) {
            self.cx.log.event(Event::Notice {
                level: Level::Warn,
                stream: None,
                message: message.clone(),
            });
            self.told.push(message);
        }
    }

    fn schema(&mut self, stream: Stream) -> Result<()> {
        let before = self.streams.get(&stream.name).map(|waiting| &waiting.stream);
        if before == Some(&stream) {
            return Ok(());
        }
        let rekeyed = before.is_some_and(|before| before.key != stream.key);
        if before.is_some() {
            self.flush()?;
        } else {
            self.order.push(stream.name.clone());
        }
        if rekeyed {
            self.loader = open(self.target, &self.cx, &self.job)?;
        }
        let name = stream.name.clone();
        self.streams.insert(name, Waiting::new(stream));
        Ok(())
    }

    /// Records in files, as if they had come inline.
    fn batch(&mut self, batch: &Batch) -> Result<()> {
        let stream = StreamName::from(batch.stream.as_str());
        batch.read(&mut |line| match std::str::from_utf8(line) {
            Ok(text) if text.starts_with('{') => {
                self.record(&stream, reader::judge(text), batch.extracted, batch.version)
            }
            Ok(_) => Err(self.refused("is a BATCH with a file that holds no JSON objects")),
            Err(_) => self.set_aside(
                &stream,
                &String::from_utf8_lossy(line),
                "the record holds bytes that are not UTF-8",
                batch.extracted,
                batch.version,
            ),
        })
    }

    /// What waits becomes durable, and rows of other versions go with it.
    fn activate(&mut self, stream: &StreamName, version: i64) -> Result<()> {
        let waiting = self.waiting("n ACTIVATE_VERSION", stream, Some(version))?;
        waiting.version = Some(version);
        waiting.activates = true;
        self.flush()
    }

    /// What waits of a stream, with nothing of another version among it.
    fn waiting(
        &mut self,
        what: &str,
        stream: &StreamName,
        version: Option<i64>,
    ) -> Result<&mut Waiting> {
        let other = match self.streams.get(stream) {
            None => {
                return Err(self.refused(format!("is a{what} of `{stream}` before its SCHEMA")));
            }
            Some(waiting) => !waiting.is_empty() && waiting.version != version,
        };
        if other {
            self.flush()?;
        }
        self.streams.get_mut(stream).ok_or_else(|| Error::bug("a stream was there and is not"))
    }

    fn record(
        &mut self,
        stream: &StreamName,
        record: RecordText<'_>,
        extracted: Option<Timestamp>,
        version: Option<i64>,
    ) -> Result<()> {
        let record = match record {
            RecordText::Good(record) => record,
            RecordText::Bad(record, error) => {
                let reason = format!("the record cannot be read: {error}");
                return self.set_aside(stream, record, &reason, extracted, version);
            }
        };
        self.line_of(stream, extracted, version, |lines| {
            let rest = record[1..].trim_start();
            if !rest.starts_with('}') {
                lines.line().push(b',');
            }
            lines.append(rest.as_bytes())
        })?;
        self.waiting(" RECORD", stream, version)?.records += 1;
        self.flush_when_full()
    }

    /// A record that cannot be taken, with its reason.
    fn set_aside(
        &mut self,
        stream: &StreamName,
        record: &str,
        reason: &str,
        extracted: Option<Timestamp>,
        version: Option<i64>,
    ) -> Result<()> {
        self.line_of(stream, extracted, version, |lines| {
            let line = lines.line();
            line.extend_from_slice(b",\"_sdc_rejected\":{\"reason\":");
            write_string(line, reason);
            line.extend_from_slice(b",\"record\":");
            write_string(line, record);
            line.extend_from_slice(b"}}");
            Ok(())
        })?;
        self.waiting(" RECORD", stream, version)?.rejected += 1;
        self.flush_when_full()
    }

    /// Adds a line to those that wait (`segment.rs` of the core has its form).
    fn line_of(
        &mut self,
        stream: &StreamName,
        extracted: Option<Timestamp>,
        version: Option<i64>,
        rest: impl FnOnce(&mut Lines) -> Result<()>,
    ) -> Result<()> {
        let extracted = extracted.unwrap_or_else(|| self.cx.clock.now());
        let sequence = self.sequence;
        let waiting = self.waiting(" RECORD", stream, version)?;
        waiting.version = version;
        let lines = &mut waiting.lines;
        let start = lines.bytes();
        let line = lines.line();
        line.extend_from_slice(b"{\"_sdc_extracted_at\":\"");
        line.extend_from_slice(message::instant(extracted).as_bytes());
        line.extend_from_slice(format!("\",\"_sdc_sequence\":{sequence}").as_bytes());
        if let Err(error) = rest(lines).and_then(|()| lines.end_line()) {
            // The lines before it are whole, and can be loaded before the run ends.
            lines.cut(start);
            return Err(error);
        }
        let added = weight(lines.bytes() - start);
        waiting.weight += added;
        self.sequence += 1;
        self.records += 1;
        self.summary.received += 1;
        self.weight += added;
        self.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn flush_when_full(&mut self) -> Result<()> {
        let most = self.target.destination.rows_per_commit().max(1);
        let full = self.records >= most || self.weight >= MOST_WEIGHT;
        if full { self.flush() } else { Ok(()) }
    }

    /// Makes everything that waits durable and prints the state that covers it.
    fn flush(&mut self) -> Result<()> {
        if self.streams.values().any(|waiting| !waiting.is_empty()) {
            let mut attempt = 1;
            loop {
                match self.load() {
                    Ok(()) => break,
                    Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                        self.loader.rollback().map_err(destinations)?;
                        let wait = Duration::from_secs(1 << (attempt - 1));
                        self.cx.log.event(Event::Notice {
                            level: Level::Warn,
                            stream: None,
                            message: format!("loading is tried again in {wait:?}: {error}"),
                        });
                        thread::sleep(wait);
                        attempt += 1;
                    }
                    Err(error) => {
                        // What could not be written must not be tried again at the end.
                        self.forget()?;
                        self.state = None;
                        return Err(destinations(error));
                    }
                }
            }
            self.forget()?;
        }
        self.print_state()
    }

    fn load(&mut self) -> Result<()> {
        let mut now = Summary::default();
        let mut notices = Vec::new();
        // The same in each attempt: a commit whose answer was lost may be durable.
        let mut number = self.segments;
        for name in &self.order {
            let Some(waiting) = self.streams.get_mut(name).filter(|waiting| !waiting.is_empty())
            else {
                continue;
            };
            number += 1;
            let segment = Segment {
                id: SegmentId { job: self.job.clone(), number },
                stream: name.clone(),
                records: waiting.records,
                rejected: waiting.rejected,
                bytes: waiting.lines.bytes(),
                weight: waiting.weight,
                version: waiting.version,
                activates: waiting.activates,
                state: None,
            };
            let mut lines = waiting.lines.read()?;
            let receipt = self.loader.load(&waiting.stream, &segment, &mut lines)?;
            now.loaded += receipt.loaded;
            now.superseded += receipt.superseded;
            now.rejected += receipt.rejected;
            now.removed += receipt.removed;
            notices.extend(
                receipt.changes.into_iter().map(|change| (Level::Info, change.to_string())),
            );
            if receipt.rejected > 0 {
                notices.push((
                    Level::Warn,
                    format!(
                        "{name}: {} records were set aside; {}._sdc_rejected says why",
                        receipt.rejected, self.target.schema
                    ),
                ));
            }
        }
        self.loader.commit(None)?;
        self.segments = number;
        self.summary.loaded += now.loaded;
        self.summary.superseded += now.superseded;
        self.summary.rejected += now.rejected;
        self.summary.removed += now.removed;
        for (level, message) in notices {
            self.cx.log.event(Event::Notice { level, stream: None, message });
        }
        Ok(())
    }

    fn forget(&mut self) -> Result<()> {
        for waiting in self.streams.values_mut() {
            waiting.lines.clear()?;
            waiting.weight = 0;
            waiting.records = 0;
            waiting.rejected = 0;
            waiting.version = None;
            waiting.activates = false;
        }
        self.weight = 0;
        self.records = 0;
        self.since = None;
        Ok(())
    }

    fn print_state(&mut self) -> Result<()> {
        let Some(state) = self.state.take() else { return Ok(()) };
        writeln!(self.output, "{state}")
            .and_then(|()| self.output.flush())
            .map_err(|error| Error::io("cannot write the state", error))
    }
}

/// A session that a wish to stop does not break off: what waits is still made durable.
fn open(target: &Target<'_>, cx: &Context<'_>, job: &JobId) -> Result<Box<dyn Loader>> {
    let never = Cancel::new();
    let cx = Context { cancel: &never, ..*cx };
    target.destination.open(&cx, &target.schema, job).map_err(destinations)
}

fn destinations(error: Error) -> Error {
    error.of(Party::Destination)
}
