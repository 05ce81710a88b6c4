//! A Singer target over any destination: messages in, states out for what is durable.
//!
//! Records wait in memory until there are enough of them, until they are old, until the input ends
//! or a stop is asked for; then all of them become durable in one transaction, and the latest state
//! before them is printed. So no printed state ever runs ahead, and nothing is kept on disk.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Stream;
use bobbin_core::destination::{Destination, Loader};
use bobbin_core::id::{ConnectionId, JobId, SegmentId, StreamName};
use bobbin_core::report::{Event, Level};
use bobbin_core::segment::Segment;
use bobbin_core::tap::Context;
use bobbin_core::{Error, Party, Result};
use jiff::Timestamp;

use crate::message;
use crate::reader::{self, Message};

/// Bytes of waiting records after which they are made durable.
const MOST_BYTES: usize = 48 << 20;

/// How old a waiting record may get.
const MOST_AGE: Duration = Duration::from_mins(1);

/// Bytes of one line that are too many for any record.
const MOST_LINE: usize = 256 << 20;

/// Attempts at making records durable, with longer and longer waits between.
const ATTEMPTS: u32 = 5;

/// Bytes handed from the reading thread at once.
const BLOCK: usize = 256 << 10;

/// Where messages go.
pub struct Target<'a> {
    /// The destination.
    pub destination: &'a dyn Destination,
    /// The schema in it.
    pub connection: ConnectionId,
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
        let (sender, blocks) = sync_channel(4);
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
    let mut input = BufReader::with_capacity(BLOCK, input);
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        let whole = loop {
            match input.read_until(b'\n', &mut block) {
                Err(error) => break Err(Error::io("cannot read the input", error)),
                Ok(0) => break Ok(false),
                // Do not wait for more than is there.
                Ok(_) if block.len() >= BLOCK || input.buffer().is_empty() => break Ok(true),
                Ok(_) => {}
            }
        };
        let (sent, more) = match whole {
            Err(error) => (blocks.send(Err(error)), false),
            Ok(more) => (blocks.send(Ok(block)), more),
        };
        if sent.is_err() || !more {
            return;
        }
    }
}

/// One stream's waiting records.
struct Waiting {
    stream: Stream,
    lines: Vec<u8>,
    records: u64,
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
    bytes: usize,
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
            bytes: 0,
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
            if line.len() > MOST_LINE {
                return Err(self.refused(format!("has {} bytes", line.len())));
            }
            let text = std::str::from_utf8(line).map_err(|error| {
                self.refused(format!("is not UTF-8 at byte {}", error.valid_up_to()))
            })?;
            if !text.trim().is_empty() {
                self.message(text)?;
            }
        }
        Ok(())
    }

    fn refused(&self, what: impl AsRef<str>) -> Error {
        Error::protocol(format!("line {} of the input {}", self.line, what.as_ref()))
            .hint("a target reads Singer messages, one a line, and nothing else; see the tap's log")
    }

    fn message(&mut self, line: &str) -> Result<()> {
        match reader::parse(line).map_err(|what| self.refused(what))? {
            Message::Record { stream, record, extracted } => {
                self.record(&stream.into(), record, extracted)
            }
            Message::Schema(stream) => self.schema(*stream),
            Message::State(value) => {
                self.state = Some(value.to_owned());
                // A state with nothing before it is durable already.
                if self.records == 0 { self.print_state() } else { Ok(()) }
            }
            Message::ActivateVersion(stream) => {
                self.warn_once(format!(
                    "{stream}: ACTIVATE_VERSION is not carried out; rows that are gone in the \
                     source stay"
                ));
                Ok(())
            }
            Message::Batch(stream) => Err(self.refused(format!(
                "is a BATCH of `{stream}`, which cannot be read; take batch_config out of the \
                 tap's settings"
            ))),
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
        self.streams.insert(name, Waiting { stream, lines: Vec::new(), records: 0 });
        Ok(())
    }

    fn record(
        &mut self,
        stream: &StreamName,
        record: &str,
        extracted: Option<Timestamp>,
    ) -> Result<()> {
        let Some(waiting) = self.streams.get_mut(stream) else {
            return Err(self.refused(format!("is a RECORD of `{stream}` before its SCHEMA")));
        };
        let extracted = extracted.unwrap_or_else(|| self.cx.clock.now());
        let lines = &mut waiting.lines;
        let start = lines.len();
        lines.extend_from_slice(b"{\"_sdc_extracted_at\":\"");
        lines.extend_from_slice(message::instant(extracted).as_bytes());
        lines.extend_from_slice(format!("\",\"_sdc_sequence\":{}", self.sequence).as_bytes());
        let rest = record[1..].trim_start();
        if !rest.starts_with('}') {
            lines.push(b',');
        }
        lines.extend_from_slice(rest.as_bytes());
        lines.push(b'\n');
        waiting.records += 1;
        self.sequence += 1;
        self.records += 1;
        self.summary.received += 1;
        self.bytes += lines.len() - start;
        self.since.get_or_insert_with(Instant::now);
        let most = self.target.destination.rows_per_commit().max(1);
        if self.bytes >= MOST_BYTES || self.records >= most { self.flush() } else { Ok(()) }
    }

    /// Makes everything that waits durable and prints the state that covers it.
    fn flush(&mut self) -> Result<()> {
        if self.records > 0 {
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
                        self.forget();
                        self.state = None;
                        return Err(destinations(error));
                    }
                }
            }
            self.forget();
        }
        self.print_state()
    }

    fn load(&mut self) -> Result<()> {
        let mut now = Summary::default();
        let mut notices = Vec::new();
        for name in &self.order {
            let Some(waiting) = self.streams.get(name).filter(|waiting| waiting.records > 0) else {
                continue;
            };
            self.segments += 1;
            let segment = Segment {
                id: SegmentId { job: self.job.clone(), number: self.segments },
                stream: name.clone(),
                records: waiting.records,
                rejected: 0,
                bytes: waiting.lines.len() as u64,
                version: None,
                activates: false,
                state: None,
            };
            let mut lines = Cursor::new(waiting.lines.as_slice());
            let receipt = self.loader.load(&waiting.stream, &segment, &mut lines)?;
            now.loaded += receipt.loaded;
            now.superseded += receipt.superseded;
            now.rejected += receipt.rejected;
            notices.extend(receipt.changes.into_iter().map(|change| (Level::Info, change)));
            if receipt.rejected > 0 {
                notices.push((
                    Level::Warn,
                    format!(
                        "{name}: {} records were set aside; {}._sdc_rejected says why",
                        receipt.rejected, self.target.connection
                    ),
                ));
            }
        }
        self.loader.commit(None)?;
        self.summary.loaded += now.loaded;
        self.summary.superseded += now.superseded;
        self.summary.rejected += now.rejected;
        for (level, message) in notices {
            self.cx.log.event(Event::Notice { level, stream: None, message });
        }
        Ok(())
    }

    fn forget(&mut self) {
        for waiting in self.streams.values_mut() {
            waiting.lines.clear();
            waiting.records = 0;
        }
        self.bytes = 0;
        self.records = 0;
        self.since = None;
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
    target.destination.open(&cx, &target.connection, job).map_err(destinations)
}

fn destinations(error: Error) -> Error {
    error.of(Party::Destination)
}
