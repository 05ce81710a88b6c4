//! A foreign tap's messages into an [`Output`].

use std::collections::{BTreeSet, HashMap, HashSet};

use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::json::strip;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::report::{Event, Level};
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::{Context, Output};
use bobbin_core::{Error, Result};
use jiff::Timestamp;

use super::choice::Choice;
use crate::batch::Batch;
use crate::lines::MOST_LINE;
use crate::reader::{self, Message, RecordText};

/// Under this name the state of a foreign tap stands in ours: its text, word for word.
pub(super) const STATE: &str = "singer_state";

/// Bytes of records handed on at once.
const MOST_RUN: usize = 1 << 20;

const NOT_UTF8: &str = "the record holds bytes that are not UTF-8";

/// Reads lines, calls the output.
pub(super) struct Follower<'a> {
    cx: Context<'a>,
    out: &'a mut dyn Output,
    choice: &'a Choice,
    selection: &'a Selection,
    /// By the name that messages use.
    streams: HashMap<String, Known>,
    run: Run,
    line: u64,
    /// Records and bytes since the last event, by stream in order of first coming.
    counts: Vec<(StreamName, u64, u64)>,
    /// Streams that were started, in order.
    pub(super) started: Vec<StreamName>,
    told: HashSet<String>,
    now: Timestamp,
}

struct Known {
    name: StreamName,
    /// As announced, for comparison.
    announced: Stream,
    excluded: BTreeSet<String>,
    /// A field that an empty record gets as null: a line of ours holds at least one.
    first: Option<String>,
    chosen: bool,
}

/// Records of one stream, version and time, not yet handed on.
#[derive(Default)]
struct Run {
    stream: Option<StreamName>,
    version: Option<i64>,
    extracted: Timestamp,
    text: Vec<u8>,
    count: u64,
}

impl<'a> Follower<'a> {
    pub(super) fn new(
        cx: Context<'a>,
        out: &'a mut dyn Output,
        choice: &'a Choice,
        selection: &'a Selection,
    ) -> Self {
        Self {
            cx,
            out,
            choice,
            selection,
            streams: HashMap::new(),
            run: Run::default(),
            line: 0,
            counts: Vec::new(),
            started: Vec::new(),
            told: HashSet::new(),
            now: cx.clock.now(),
        }
    }

    /// Takes whole lines.
    pub(super) fn block(&mut self, block: &[u8]) -> Result<()> {
        self.now = self.cx.clock.now();
        let read = self.lines(block);
        // What stood before a line that is wrong is good.
        let flushed = self.flush();
        for (stream, records, bytes) in std::mem::take(&mut self.counts) {
            self.cx.log.event(Event::Extracted { stream, records, bytes });
        }
        read.and(flushed)
    }

    fn lines(&mut self, block: &[u8]) -> Result<()> {
        for line in block.split_inclusive(|byte| *byte == b'\n') {
            self.line += 1;
            if line.len() > MOST_LINE {
                return Err(self.refused(&format!("has {} bytes", line.len())));
            }
            match std::str::from_utf8(line) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => self.message(text)?,
                Err(error) => self.no_text(line, error.valid_up_to())?,
            }
        }
        Ok(())
    }

    fn refused(&self, what: &str) -> Error {
        Error::protocol(format!("line {} of what it printed {what}", self.line))
    }

    fn message(&mut self, line: &str) -> Result<()> {
        match reader::parse(line).map_err(|what| self.refused(&what))? {
            Message::Record { stream, record, extracted, version } => {
                self.record(&stream, record, extracted, version)
            }
            Message::Schema(stream) => self.schema(*stream),
            Message::State(value) => {
                self.flush()?;
                let mut state = State::default();
                state.notes.insert(STATE.to_owned(), value.into());
                self.out.state(&state)
            }
            Message::ActivateVersion { stream, version } => {
                self.flush()?;
                let known = self.known(&stream, "an ACTIVATE_VERSION")?;
                let (name, chosen) = (known.name.clone(), known.chosen);
                if chosen { self.out.activate(&name, version) } else { Ok(()) }
            }
            Message::Batch(batch) => self.batch(&batch),
            Message::Other(kind) => {
                self.tell_once(Level::Warn, format!("messages of type {kind} are ignored"));
                Ok(())
            }
        }
    }

    fn tell_once(&mut self, level: Level, message: String) {
        if self.told.insert(message.clone()) {
            self.cx.log.event(Event::Notice { level, stream: None, message });
        }
    }

    /// A line that is not UTF-8: a record of a known stream is set aside, anything else refused.
    fn no_text(&mut self, line: &[u8], at: usize) -> Result<()> {
        match reader::parse(&String::from_utf8_lossy(line)) {
            Ok(Message::Record { stream, record, extracted, .. }) => {
                let (RecordText::Good(record) | RecordText::Bad(record, _)) = record;
                self.set_aside(&stream, record, NOT_UTF8.to_owned(), extracted)
            }
            _ => Err(self.refused(&format!("is not UTF-8 at byte {at}"))),
        }
    }

    fn known(&self, stream: &str, what: &str) -> Result<&Known> {
        self.streams
            .get(stream)
            .ok_or_else(|| self.refused(&format!("is {what} of `{stream}` before its SCHEMA")))
    }

    fn schema(&mut self, announced: Stream) -> Result<()> {
        let message_name = announced.name.to_string();
        let before = self.streams.get(&message_name);
        if before.is_some_and(|known| known.announced == announced) {
            return Ok(());
        }
        if before.is_some_and(|known| known.announced.key != announced.key) {
            return Err(self.refused(&format!(
                "is a SCHEMA of `{message_name}` with other key_properties than before"
            )));
        }
        self.flush()?;
        let name = self.choice.stream(&message_name);
        let chosen = self.selection.contains(&name);
        let mut stream = Stream { name: name.clone(), ..announced.clone() };
        stream = self.selection.prune(&stream);
        let choice = self.selection.streams.get(&name);
        let excluded = choice.map(|choice| choice.excluded.clone()).unwrap_or_default();
        let excluded = excluded.into_iter().filter(|path| self.selection.excludes(&stream, path));
        let known = Known {
            name: name.clone(),
            announced,
            excluded: excluded.collect(),
            first: stream.fields.properties.first().map(|(name, _)| name.clone()),
            chosen,
        };
        if self.streams.insert(message_name, known).is_none() {
            if chosen {
                let (from, until) = (None, None);
                self.cx.log.event(Event::StreamStarted { stream: name.clone(), from, until });
                self.started.push(name.clone());
            } else {
                self.tell_once(
                    Level::Info,
                    format!("{name}: sent although it was not chosen; left out"),
                );
            }
        }
        if chosen { self.out.schema(&stream) } else { Ok(()) }
    }

    fn batch(&mut self, batch: &Batch) -> Result<()> {
        let stream = &batch.stream;
        batch.read(&mut |line| match std::str::from_utf8(line) {
            Ok(text) if text.starts_with('{') => {
                self.record(stream, reader::judge(text), batch.extracted, batch.version)
            }
            Ok(_) => Err(self.refused("is a BATCH with a file that holds no JSON objects")),
            Err(_) => {
                let text = String::from_utf8_lossy(line);
                self.set_aside(stream, &text, NOT_UTF8.to_owned(), batch.extracted)
            }
        })
    }

    fn record(
        &mut self,
        stream: &str,
        record: RecordText<'_>,
        extracted: Option<Timestamp>,
        version: Option<i64>,
    ) -> Result<()> {
        let bad = |error| format!("the record cannot be read: {error}");
        let record = match record {
            RecordText::Good(record) => record,
            RecordText::Bad(record, error) => {
                return self.set_aside(stream, record, bad(error), extracted);
            }
        };
        let extracted = extracted.unwrap_or(self.now);
        let known = self.known(stream, "a RECORD")?;
        if !known.chosen {
            return Ok(());
        }
        let text = if known.excluded.is_empty() {
            record.into()
        } else {
            match strip(record, &known.excluded) {
                Ok(text) => text,
                Err(error) => return self.set_aside(stream, record, bad(error), Some(extracted)),
            }
        };
        if text[1..].trim_start().starts_with('}') {
            // An empty object; a line of ours holds at least one field.
            let Some(first) = known.first.clone() else {
                let reason = "the record and the stream's schema have no fields".to_owned();
                return self.set_aside(stream, record, reason, Some(extracted));
            };
            let mut text = b"{".to_vec();
            bobbin_core::json::write_string(&mut text, &first);
            text.extend_from_slice(b":null}");
            let name = known.name.clone();
            return self.push(name, &text, extracted, version);
        }
        let name = known.name.clone();
        self.push(name, text.as_bytes(), extracted, version)
    }

    fn push(
        &mut self,
        name: StreamName,
        text: &[u8],
        extracted: Timestamp,
        version: Option<i64>,
    ) -> Result<()> {
        let run = &self.run;
        let same = run.stream.as_ref() == Some(&name)
            && run.version == version
            && run.extracted == extracted
            && run.text.len() < MOST_RUN;
        if !same {
            self.flush()?;
            self.run.stream = Some(name);
            self.run.version = version;
            self.run.extracted = extracted;
        }
        self.run.text.extend_from_slice(text);
        self.run.text.push(b'\n');
        self.run.count += 1;
        Ok(())
    }

    fn set_aside(
        &mut self,
        stream: &str,
        record: &str,
        reason: String,
        extracted: Option<Timestamp>,
    ) -> Result<()> {
        let known = self.known(stream, "a RECORD")?;
        let (name, chosen) = (known.name.clone(), known.chosen);
        if !chosen {
            return Ok(());
        }
        self.flush()?;
        self.cx.log.event(Event::SetAside { stream: name.clone(), reason: reason.clone() });
        let extracted_at = extracted.unwrap_or(self.now);
        self.out.rejected(&name, &Rejected { reason, record: record.to_owned(), extracted_at })
    }

    fn flush(&mut self) -> Result<()> {
        let run = &mut self.run;
        let Some(stream) = run.stream.as_ref().filter(|_| run.count > 0) else { return Ok(()) };
        let records = Records {
            text: &run.text,
            count: run.count,
            extracted_at: run.extracted,
            version: run.version,
        };
        self.out.records(stream, records)?;
        let bytes = run.text.len() as u64;
        match self.counts.iter_mut().find(|(name, _, _)| name == stream) {
            Some((_, count, sum)) => {
                *count += run.count;
                *sum += bytes;
            }
            None => self.counts.push((stream.clone(), run.count, bytes)),
        }
        run.text.clear();
        run.count = 0;
        Ok(())
    }
}
