//! An [`Output`] that writes Singer messages.

use std::collections::HashMap;
use std::io::{ErrorKind as IoErrorKind, Write};
use std::sync::Arc;

use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::json::write_string;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::report::{Event, JobLog, Level};
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::Output;
use bobbin_core::{Error, ErrorKind, Result};

use crate::conform::Conform;
use crate::{message, schema};

/// Bytes gathered before a write: a pipe takes 64 KiB at a time.
const BUFFER: usize = 256 * 1024;

/// Writes messages to `W`, flushing after every page, schema and state.
///
/// Schemas are pruned to the selection and repeated only when they changed: when the tap says so,
/// and before a record that contradicts what was announced. Rejected records are
/// never dropped: they become records of one extra stream, with the reason, and a warning.
pub struct MessageWriter<'a, W: Write> {
    out: W,
    buffer: Vec<u8>,
    selection: &'a Selection,
    rejected_stream: &'a str,
    rejected_announced: bool,
    log: &'a dyn JobLog,
    announced: HashMap<StreamName, Announced>,
    heads: HashMap<StreamName, Arc<[u8]>>,
    last_state: Option<Vec<u8>>,
    reader_gone: bool,
}

/// What was said of a stream.
struct Announced {
    /// Pruned to the selection.
    stream: Stream,
    conform: Conform,
    /// The last SCHEMA.
    line: Vec<u8>,
}

impl<'a, W: Write> MessageWriter<'a, W> {
    /// A writer for what `selection` chose; rejected records go to the stream `rejected_stream`.
    pub fn new(
        out: W,
        selection: &'a Selection,
        rejected_stream: &'a str,
        log: &'a dyn JobLog,
    ) -> Self {
        Self {
            out,
            buffer: Vec::with_capacity(BUFFER + 64 * 1024),
            selection,
            rejected_stream,
            rejected_announced: false,
            log,
            announced: HashMap::new(),
            heads: HashMap::new(),
            last_state: None,
            reader_gone: false,
        }
    }

    /// Where messages go.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Whether the other end of the pipe went away: stop, and say nothing.
    pub fn reader_is_gone(&self) -> bool {
        self.reader_gone
    }

    /// Writes the last STATE once more, or `otherwise` if there was none: the word to go by when
    /// the messages end early.
    pub fn last_word(&mut self, otherwise: &State) -> Result<()> {
        match self.last_state.take() {
            Some(line) => {
                self.buffer.extend_from_slice(&line);
                self.last_state = Some(line);
                self.flush()
            }
            None => self.state(otherwise),
        }
    }

    /// Whether any STATE was written.
    pub fn wrote_state(&self) -> bool {
        self.last_state.is_some()
    }

    fn flush(&mut self) -> Result<()> {
        let result = spill(&mut self.out, &mut self.buffer).and_then(|()| self.out.flush());
        result.map_err(|error| failed(&mut self.reader_gone, error))
    }
}

impl Announced {
    fn schema_line(&self) -> Vec<u8> {
        message::schema_line(&self.stream, self.conform.schema())
    }
}

fn spill(out: &mut impl Write, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    let result = out.write_all(buffer);
    buffer.clear();
    result
}

fn failed(reader_gone: &mut bool, error: std::io::Error) -> Error {
    if error.kind() == IoErrorKind::BrokenPipe {
        *reader_gone = true;
        return Error::new(ErrorKind::Io, "the reader of the messages is gone").caused_by(error);
    }
    Error::io("cannot write the messages", error)
}

impl<W: Write> Output for MessageWriter<'_, W> {
    fn schema(&mut self, stream: &Stream) -> Result<()> {
        let stream = self.selection.prune(stream);
        let wire = schema::of_stream(&stream);
        match self.announced.get_mut(&stream.name) {
            Some(announced) => {
                announced.conform.announce(wire);
                announced.stream = stream;
                let line = announced.schema_line();
                if line == announced.line {
                    return Ok(());
                }
                self.buffer.extend_from_slice(&line);
                announced.line = line;
            }
            None => {
                let name = stream.name.clone();
                let conform = Conform::new(wire);
                let mut announced = Announced { stream, conform, line: Vec::new() };
                announced.line = announced.schema_line();
                self.buffer.extend_from_slice(&announced.line);
                self.announced.insert(name, announced);
            }
        }
        self.flush()
    }

    fn records(&mut self, stream: &StreamName, records: Records<'_>) -> Result<()> {
        let head = self
            .heads
            .entry(stream.clone())
            .or_insert_with(|| message::record_head(stream.as_str()).into())
            .clone();
        let tail = message::record_tail(records.extracted_at, records.version);
        let text = std::str::from_utf8(records.text).map_err(|error| {
            Error::new(ErrorKind::Bug, format!("records of {stream} are no text")).caused_by(error)
        })?;
        let mut announced = self.announced.get_mut(stream);
        // Every line ends with a newline.
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', records.text) {
            let line = &text[from..end];
            from = end + 1;
            if let Some(announced) = &mut announced
                && announced.conform.admit(line)
            {
                announced.line = announced.schema_line();
                self.buffer.extend_from_slice(&announced.line);
            }
            self.buffer.extend_from_slice(&head);
            self.buffer.extend_from_slice(line.as_bytes());
            self.buffer.extend_from_slice(&tail);
            if self.buffer.len() >= BUFFER {
                spill(&mut self.out, &mut self.buffer)
                    .map_err(|error| failed(&mut self.reader_gone, error))?;
            }
        }
        self.flush()
    }

    fn activate(&mut self, stream: &StreamName, version: i64) -> Result<()> {
        self.buffer.extend_from_slice(&message::activate_line(stream.as_str(), version));
        self.flush()
    }

    fn rejected(&mut self, stream: &StreamName, rejected: &Rejected) -> Result<()> {
        self.log.event(Event::Notice {
            level: Level::Warn,
            stream: Some(stream.clone()),
            message: format!(
                "a record of {stream} was set aside in {}: {}",
                self.rejected_stream, rejected.reason
            ),
        });
        if !self.rejected_announced {
            self.rejected_announced = true;
            let stream = rejected_schema(self.rejected_stream);
            let wire = schema::of_stream(&stream);
            self.buffer.extend_from_slice(&message::schema_line(&stream, &wire));
        }
        self.buffer.extend_from_slice(&message::record_head(self.rejected_stream));
        let mut field = |name: &str, text: &str| {
            self.buffer.extend_from_slice(name.as_bytes());
            write_string(&mut self.buffer, text);
        };
        field("{\"id\":", &identity(stream, rejected));
        field(",\"stream\":", stream.as_str());
        field(",\"reason\":", &rejected.reason);
        field(",\"record\":", &rejected.record);
        field(",\"rejected_at\":", &message::instant(rejected.extracted_at));
        self.buffer.push(b'}');
        self.buffer.extend_from_slice(&message::record_tail(rejected.extracted_at, None));
        self.flush()
    }

    fn state(&mut self, state: &State) -> Result<()> {
        let line = message::state_line(state);
        if self.last_state.as_ref() == Some(&line) {
            return Ok(());
        }
        self.buffer.extend_from_slice(&line);
        self.flush()?;
        self.last_state = Some(line);
        Ok(())
    }
}

/// The stream of rejected records. Its key depends on the record alone, so that meeting the same
/// one in every run leaves one row.
fn rejected_schema(name: &str) -> Stream {
    let text = |about: &str| Schema::of(Kind::Text).describe(about);
    Stream {
        name: name.into(),
        fields: Object {
            properties: vec![
                ("id".into(), text("Hash of stream and record").required()),
                ("stream".into(), text("The stream it belongs to")),
                ("reason".into(), text("Why it could not be taken")),
                ("record".into(), text("The record as it came")),
                (
                    "rejected_at".into(),
                    Schema::of(Kind::DateTime).describe("When it came from the source"),
                ),
            ],
            open: true,
        },
        key: vec!["id".into()],
        replication_key: None,
        version_fields: Vec::new(),
        description: Some("Records that could not be taken, with the reason.".into()),
    }
}

/// FNV-1a, 128 bits, over stream and record.
fn identity(stream: &StreamName, rejected: &Rejected) -> String {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in stream.as_str().bytes().chain([0]).chain(rejected.record.bytes()) {
        hash ^= u128::from(byte);
        hash = hash.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    format!("{hash:032x}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use bobbin_core::report::NoLog;
    use bobbin_core::selection::StreamSelection;
    use serde_json::{Value, json};

    use super::*;

    fn stream() -> Stream {
        let text = || Schema::of(Kind::Text);
        Stream {
            name: "users".into(),
            fields: Object {
                properties: vec![
                    ("id".into(), text()),
                    ("updated_at".into(), Schema::of(Kind::DateTime)),
                    ("secret".into(), text()),
                ],
                open: true,
            },
            key: vec!["id".into()],
            replication_key: Some("updated_at".into()),
            version_fields: vec![],
            description: None,
        }
    }

    fn records(text: &str) -> Records<'_> {
        Records {
            text: text.as_bytes(),
            count: text.lines().count() as u64,
            extracted_at: "2026-01-02T03:04:05.6789Z".parse().unwrap(),
            version: None,
        }
    }

    #[test]
    fn messages_in_order_with_every_digit() {
        let mut selection = Selection::all();
        selection.streams.insert(
            "users".into(),
            StreamSelection { selected: true, excluded: ["secret".to_owned()].into() },
        );
        let mut out = Vec::new();
        let mut writer = MessageWriter::new(&mut out, &selection, "rejected_records", &NoLog);
        let name: StreamName = "users".into();
        writer.schema(&stream()).unwrap();
        writer.schema(&stream()).unwrap();
        writer
            .records(
                &name,
                records("{\"id\":\"a\",\"n\":12345678901234567890.1234567890}\n{\"id\":\"é\"}\n"),
            )
            .unwrap();
        writer.records(&name, records("")).unwrap();
        let mut state = State::default();
        state.bookmarks.insert(name.clone(), json!({"updated_at": "2026-01-01T00:00:00Z"}));
        writer.last_word(&State::default()).unwrap();
        writer.state(&state).unwrap();
        writer.state(&state).unwrap();
        writer.last_word(&State::default()).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        {"type":"SCHEMA","stream":"users","schema":{"type":"object","properties":{"id":{"type":"string"},"updated_at":{"type":["null","string"],"format":"date-time"}},"additionalProperties":true},"key_properties":["id"],"bookmark_properties":["updated_at"]}
        {"type":"RECORD","stream":"users","record":{"id":"a","n":12345678901234567890.1234567890},"time_extracted":"2026-01-02T03:04:05.678900Z"}
        {"type":"RECORD","stream":"users","record":{"id":"é"},"time_extracted":"2026-01-02T03:04:05.678900Z"}
        {"type":"STATE","value":{"bookmarks":{}}}
        {"type":"STATE","value":{"bookmarks":{"users":{"updated_at":"2026-01-01T00:00:00Z"}}}}
        {"type":"STATE","value":{"bookmarks":{"users":{"updated_at":"2026-01-01T00:00:00Z"}}}}
        "#);
    }

    #[test]
    fn a_record_that_contradicts_its_schema_comes_after_a_wider_one() {
        let selection = Selection::all();
        let mut out = Vec::new();
        let mut writer = MessageWriter::new(&mut out, &selection, "rejected_records", &NoLog);
        let name: StreamName = "users".into();
        writer.schema(&stream()).unwrap();
        let text = "{\"id\":\"a\"}\n{\"id\":\"b\",\"secret\":[1]}\n{\"id\":\"c\",\"secret\":[]}\n";
        writer.records(&name, records(text)).unwrap();
        writer.schema(&stream()).unwrap();
        let kinds: Vec<Value> = out
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice::<Value>(line).unwrap())
            .map(|line| match line["type"].as_str() {
                Some("SCHEMA") => line["schema"]["properties"]["secret"]["type"].clone(),
                _ => line["record"]["id"].clone(),
            })
            .collect();
        let (narrow, wide) = (json!(["null", "string"]), json!(["null", "string", "array"]));
        assert_eq!(kinds, [narrow, json!("a"), wide, json!("b"), json!("c")]);
    }

    #[test]
    fn rejected_records_are_kept_and_told() {
        let said = Mutex::new(Vec::new());
        let log = |event: Event| {
            if let Event::Notice { message, .. } = event {
                said.lock().unwrap().push(message);
            }
        };
        let selection = Selection::all();
        let mut out = Vec::new();
        let mut writer = MessageWriter::new(&mut out, &selection, "rejected_records", &log);
        let rejected = Rejected {
            reason: "id is missing".into(),
            record: "{\"a\":\"\\ud800\"}\u{1}".into(),
            extracted_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        };
        writer.rejected(&"users".into(), &rejected).unwrap();
        writer.rejected(&"users".into(), &rejected).unwrap();
        insta::assert_snapshot!(String::from_utf8(out.clone()).unwrap(), @r#"
        {"type":"SCHEMA","stream":"rejected_records","schema":{"type":"object","description":"Records that could not be taken, with the reason.","properties":{"id":{"type":"string","description":"Hash of stream and record"},"stream":{"type":["null","string"],"description":"The stream it belongs to"},"reason":{"type":["null","string"],"description":"Why it could not be taken"},"record":{"type":["null","string"],"description":"The record as it came"},"rejected_at":{"type":["null","string"],"format":"date-time","description":"When it came from the source"}},"additionalProperties":true},"key_properties":["id"]}
        {"type":"RECORD","stream":"rejected_records","record":{"id":"d65908b49ec431b2bc82ce1871418bb0","stream":"users","reason":"id is missing","record":"{\"a\":\"\\ud800\"}\u0001","rejected_at":"2026-01-02T03:04:05.000000Z"},"time_extracted":"2026-01-02T03:04:05.000000Z"}
        {"type":"RECORD","stream":"rejected_records","record":{"id":"d65908b49ec431b2bc82ce1871418bb0","stream":"users","reason":"id is missing","record":"{\"a\":\"\\ud800\"}\u0001","rejected_at":"2026-01-02T03:04:05.000000Z"},"time_extracted":"2026-01-02T03:04:05.000000Z"}
        "#);
        assert_eq!(said.lock().unwrap().len(), 2);
        for line in out.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let value: Value = serde_json::from_slice(line).unwrap();
            if value["type"] == "RECORD" {
                assert_eq!(value["record"]["record"], rejected.record.as_str());
            }
        }
    }

    #[test]
    fn a_reader_that_left_is_noticed() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let selection = Selection::all();
        let mut writer = MessageWriter::new(Gone, &selection, "rejected_records", &NoLog);
        let error = writer.records(&"users".into(), records("{\"id\":\"a\"}\n")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(writer.reader_is_gone() && !writer.wrote_state());
    }
}
