//! Requests into an [`Output`], table by table.

use std::collections::{BTreeSet, HashMap};

use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::json::strip;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::report::{Event, Level};
use bobbin_core::selection::Selection;
use bobbin_core::tap::{Context, Output};
use bobbin_core::{Error, Result};
use jiff::Timestamp;

use crate::batch::{ACTIVATE, TIME, has_no_key};
use crate::inbox::{Content, Section, Tables, grown};

/// Bytes of records handed on at once.
const MOST_RUN: usize = 1 << 20;

/// Calls the output.
pub(super) struct Sender<'a> {
    cx: Context<'a>,
    selection: &'a Selection,
    tables: &'a Tables,
    known: HashMap<StreamName, Known>,
    /// Records of tables that were not chosen.
    left_out: HashMap<StreamName, u64>,
    /// Tables that something was sent of, in order.
    pub(super) started: Vec<StreamName>,
    buffer: Vec<u8>,
}

/// A table that something was sent of.
struct Known {
    /// Its shape as it was sent last.
    stream: Stream,
    excluded: BTreeSet<String>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(cx: Context<'a>, selection: &'a Selection, tables: &'a Tables) -> Self {
        Self {
            cx,
            selection,
            tables,
            known: HashMap::new(),
            left_out: HashMap::new(),
            started: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Sends requests, all that is of one table after the other: a change of the table ends a segment.
    /// Tables know nothing of each other, and of each the order stays.
    pub(super) fn send(&mut self, requests: &[Content], out: &mut dyn Output) -> Result<()> {
        let mut order: Vec<&StreamName> = Vec::new();
        let mut parts: HashMap<&StreamName, Vec<(&Content, &Section)>> = HashMap::new();
        for request in requests {
            for section in &request.sections {
                let parts = parts.entry(&section.stream.name).or_default();
                if parts.is_empty() {
                    order.push(&section.stream.name);
                }
                parts.push((request, section));
            }
        }
        for name in order {
            let parts = parts.remove(name).unwrap_or_default();
            if self.selection.contains(name) {
                self.table(name, &parts, out)?;
            } else {
                self.leave_out(name, &parts);
            }
        }
        Ok(())
    }

    /// What was not chosen is not kept: the state that follows covers it.
    fn leave_out(&mut self, name: &StreamName, parts: &[(&Content, &Section)]) {
        let first = !self.left_out.contains_key(name);
        let sum = self.left_out.entry(name.clone()).or_default();
        *sum += parts.iter().map(|(_, section)| section.rows).sum::<u64>();
        if first {
            self.cx.log.event(Event::Notice {
                level: Level::Info,
                stream: None,
                message: format!("{name}: sent although it was not chosen; left out"),
            });
        }
    }

    fn table(
        &mut self,
        name: &StreamName,
        parts: &[(&Content, &Section)],
        out: &mut dyn Output,
    ) -> Result<()> {
        let (mut records, mut bytes) = (0, 0);
        for (request, section) in parts {
            self.schema(section, out)?;
            let mut pen = Pen {
                out: &mut *out,
                stream: name,
                version: section.version,
                time: request.received,
                id: has_no_key(&section.stream).then_some(request.mark.as_str()),
                excluded: self.known.get(name).map(|known| &known.excluded),
                buffer: &mut self.buffer,
                cx: self.cx,
                records: 0,
                bytes: 0,
            };
            pen.lines(request.lines(section), request.received)?;
            records += pen.records;
            bytes += pen.bytes;
        }
        self.cx.log.event(Event::Extracted { stream: name.clone(), records, bytes });
        Ok(())
    }

    /// Tells a table's shape, when that is not what was told before.
    fn schema(&mut self, section: &Section, out: &mut dyn Output) -> Result<()> {
        let name = &section.stream.name;
        let stream = match self.tables.get(name.as_str()) {
            Some(known) if !section.declared => grown(known, &section.stream),
            _ => section.stream.clone(),
        };
        let before = self.known.get(name);
        if before.is_some_and(|known| known.stream == stream) {
            return Ok(());
        }
        if before.is_none() {
            let (from, until) = (None, None);
            self.cx.log.event(Event::StreamStarted { stream: name.clone(), from, until });
            self.started.push(name.clone());
        }
        let choice = self.selection.streams.get(name);
        let excluded = choice.map(|choice| choice.excluded.clone()).unwrap_or_default();
        let excluded = excluded.into_iter().filter(|path| self.selection.excludes(&stream, path));
        let known = Known { excluded: excluded.collect(), stream };
        out.schema(&self.selection.prune(&known.stream))?;
        self.known.insert(name.clone(), known);
        Ok(())
    }
}

/// Writes the lines of one table of a request.
struct Pen<'a, 'b> {
    out: &'a mut (dyn Output + 'b),
    stream: &'a StreamName,
    version: Option<i64>,
    time: Timestamp,
    /// What the ids of its records begin with, where they have no key.
    id: Option<&'a str>,
    excluded: Option<&'a BTreeSet<String>>,
    buffer: &'a mut Vec<u8>,
    cx: Context<'a>,
    records: u64,
    bytes: u64,
}

impl Pen<'_, '_> {
    fn lines(&mut self, mut rest: &[u8], received: Timestamp) -> Result<()> {
        while let Some(first) = rest.first() {
            let end = match first {
                b'{' => self.run(rest)?,
                _ => {
                    let end = line_end(rest);
                    self.word(&rest[..end - 1], received)?;
                    end
                }
            };
            rest = &rest[end..];
        }
        Ok(())
    }

    /// A line that is no record.
    fn word(&mut self, line: &[u8], received: Timestamp) -> Result<()> {
        let bug = || Error::bug("a line of a request cannot be understood");
        let (first, rest) = line.split_first().ok_or_else(bug)?;
        let rest = std::str::from_utf8(rest).map_err(|error| bug().caused_by(error))?;
        match (*first, rest) {
            (TIME, "") => self.time = received,
            (TIME, time) => self.time = time.parse().map_err(|error| bug().caused_by(error))?,
            (ACTIVATE, "") => {
                self.out.activate(self.stream, self.version.ok_or_else(bug)?)?;
            }
            _ => return Err(bug()),
        }
        Ok(())
    }

    /// Sends the records up to the next line that is none; gives where that begins.
    fn run(&mut self, lines: &[u8]) -> Result<usize> {
        let excluded = self.excluded.filter(|excluded| !excluded.is_empty());
        if self.id.is_none() && excluded.is_none() {
            let (mut from, mut at, mut count) = (0, 0, 0);
            while lines.get(at) == Some(&b'{') {
                at += line_end(&lines[at..]);
                count += 1;
                if at - from >= MOST_RUN {
                    self.records(&lines[from..at], count)?;
                    (from, count) = (at, 0);
                }
            }
            self.records(&lines[from..at], count)?;
            return Ok(at);
        }
        let (mut at, mut count) = (0, 0);
        let mut buffer = std::mem::take(self.buffer);
        buffer.clear();
        while lines.get(at) == Some(&b'{') {
            let end = at + line_end(&lines[at..]);
            let line = &lines[at..end - 1];
            at = end;
            let before = buffer.len();
            if let Some(mark) = self.id {
                let place = self.records + count + 1;
                buffer
                    .extend_from_slice(format!("{{\"_import_id\":\"{mark}-{place}\",").as_bytes());
            }
            if let Err(reason) = shaped(&mut buffer, line, excluded, self.id.is_some()) {
                buffer.truncate(before);
                self.records(&buffer, count)?;
                buffer.clear();
                count = 0;
                self.reject(line, reason)?;
                continue;
            }
            buffer.push(b'\n');
            count += 1;
            if buffer.len() >= MOST_RUN {
                self.records(&buffer, count)?;
                buffer.clear();
                count = 0;
            }
        }
        self.records(&buffer, count)?;
        *self.buffer = buffer;
        Ok(at)
    }

    fn records(&mut self, text: &[u8], count: u64) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.records += count;
        self.bytes += text.len() as u64;
        let records = Records { text, count, extracted_at: self.time, version: self.version };
        self.out.records(self.stream, records)
    }

    fn reject(&mut self, line: &[u8], reason: String) -> Result<()> {
        // Counted, so that no later record gets its id.
        self.records += 1;
        let stream = self.stream.clone();
        self.cx.log.event(Event::SetAside { stream, reason: reason.clone() });
        let record = String::from_utf8_lossy(line).into_owned();
        self.out.rejected(self.stream, &Rejected { reason, record, extracted_at: self.time })
    }
}

/// Appends a record, without what is left out, and without its brace where an id leads it.
fn shaped(
    buffer: &mut Vec<u8>,
    line: &[u8],
    excluded: Option<&BTreeSet<String>>,
    led: bool,
) -> Result<(), String> {
    let start = buffer.len();
    match excluded {
        Some(excluded) => {
            let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
            let text = strip(text, excluded);
            let text = text.map_err(|error| format!("the record cannot be read: {error}"))?;
            buffer.extend_from_slice(text.as_bytes());
        }
        None => buffer.extend_from_slice(line),
    }
    if led {
        buffer.remove(start);
    }
    Ok(())
}

/// The offset behind the line's break.
fn line_end(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |end| end + 1)
}
