//! Columns that must not be stored as they are: hashed, masked or dropped between the tap and the
//! spool, before anything touches the disk.
//!
//! What waits on a disk when the rules change goes through those of now before it is loaded. A hash is
//! not made twice of a value: a segment's manifest tells what its lines went through. Where that is not
//! known (lines of an earlier release, records set aside in the destination), 64 hexadecimal digits are
//! taken for a hash.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::json::{JsonError, Peek, Reader, Text, write_string};
use bobbin_core::record::{Records, Rejected};
use bobbin_core::selection::{MASK, Selection, Treated, Treatment};
use bobbin_core::state::State;
use bobbin_core::tap::Output;
use bobbin_core::{Error, Result};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Paths whose treatment is remembered; beyond that many they are looked up anew.
const MOST_PATHS: usize = 10_000;

/// Bytes of treated lines that are held before they are read.
const BUFFER: usize = 64 << 10;

/// What is kept of a record set aside whose values must not be stored: it may be in a form of the source
/// in which columns have other names.
const WITHHELD: &str = "{\"withheld\":\"columns of this table are hashed, masked or dropped\"}";

/// The fields that lead a segment's line.
const LEAD: [&str; 2] = ["_sdc_extracted_at", "_sdc_sequence"];

/// What is done to columns, and with which key.
#[derive(Debug)]
pub(crate) struct Rules {
    selection: Selection,
    hash: Option<Hmac<Sha256>>,
    /// Tells keys apart and gives none away.
    key: Option<String>,
}

/// What the lines of a segment went through.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Passed {
    treated: Treated,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Rules {
    /// # Errors
    /// When columns are to be hashed and there is no key.
    pub(crate) fn of(selection: &Selection) -> Result<Arc<Self>> {
        let hash: Option<Hmac<Sha256>> = match &selection.hash_key {
            Some(key) => {
                Some(Hmac::new_from_slice(key.reveal().as_bytes()).map_err(|error| {
                    Error::config("the hash_key cannot be used").caused_by(error)
                })?)
            }
            None if selection.hashes() => {
                return Err(Error::config("columns are to be hashed, but there is no hash_key")
                    .hint("write hash_key = { env = \"NAME\" } at the top of the file; whoever has it can try out what a hash stands for"));
            }
            None => None,
        };
        // No value of a record hashes to this: it is no text.
        let key = hash.as_ref().map(|hash| hex(hash, b"\xffbobbin")[..16].to_owned());
        Ok(Arc::new(Self { selection: selection.clone(), hash, key }))
    }

    /// What lines of a stream have gone through once they are in the spool.
    pub(crate) fn passed(&self, stream: &Stream) -> Passed {
        let treated = self.selection.of(stream);
        let key = self.key.clone().filter(|_| treated.hashes());
        Passed { treated, key }
    }

    /// What is still to be done to lines of a stream that went through `before`, or nobody knows through
    /// what; none when that is nothing.
    pub(crate) fn again(&self, stream: &Stream, before: Option<&Passed>) -> Option<Again<'_>> {
        let now = self.selection.of(stream);
        let before = match before {
            _ if now.is_empty() => return None,
            None => Before::Unknown,
            Some(before) => {
                let same_key = before.key == self.key;
                if before.treated.covers(&now) && (same_key || !now.hashes()) {
                    return None;
                }
                Before::Known(before.treated.clone(), same_key)
            }
        };
        let veil = Veil { now, before, paths: HashMap::new() };
        Some(Again { veil, hash: self.hash.as_ref() })
    }
}

fn hex(hash: &Hmac<Sha256>, bytes: &[u8]) -> String {
    let code = hash.clone().chain_update(bytes).finalize().into_bytes();
    let mut shown = String::with_capacity(64);
    for byte in code {
        // Writing to a string cannot fail.
        let _ = write!(shown, "{byte:02x}");
    }
    shown
}

/// An output that sees only what may be stored.
pub(crate) struct Treating<'a> {
    onward: &'a mut dyn Output,
    rules: &'a Rules,
    /// Of each stream that was announced; none where nothing is done.
    streams: HashMap<StreamName, Option<Veil>>,
    text: Vec<u8>,
}

/// What is done to one stream.
struct Veil {
    now: Treated,
    before: Before,
    paths: HashMap<String, Fate>,
}

/// What was done before.
enum Before {
    Nothing,
    /// And whether hashes are of the same key.
    Known(Treated, bool),
    Unknown,
}

/// What is done to a field, and what was done to it before.
#[derive(Clone, Copy, Default)]
struct Fate {
    now: Option<Treatment>,
    before: Option<Treatment>,
}

impl<'a> Treating<'a> {
    pub(crate) fn new(onward: &'a mut dyn Output, rules: &'a Rules) -> Self {
        Self { onward, rules, streams: HashMap::new(), text: Vec::new() }
    }
}

fn unannounced(stream: &StreamName) -> Error {
    Error::bug("records came before their schema").with("stream", stream)
}

impl Output for Treating<'_> {
    fn schema(&mut self, stream: &Stream) -> Result<()> {
        let now = self.rules.selection.of(stream);
        // What is excluded alone, the tap leaves out.
        let veil =
            now.has_rules().then(|| Veil { now, before: Before::Nothing, paths: HashMap::new() });
        self.streams.insert(stream.name.clone(), veil);
        self.onward.schema(&self.rules.selection.prune(stream))
    }

    fn records(&mut self, stream: &StreamName, records: Records<'_>) -> Result<()> {
        let known = self.streams.get_mut(stream).ok_or_else(|| unannounced(stream))?;
        let Some(veil) = known else { return self.onward.records(stream, records) };
        self.text.clear();
        for line in records.text.split_inclusive(|&byte| byte == b'\n') {
            let before = self.text.len();
            let hash = self.rules.hash.as_ref();
            let mut pen = Pen { veil, hash, out: &mut self.text, path: String::new() };
            pen.line(line).map_err(|error| {
                Error::bug("a record of a tap is not what it must be")
                    .with("stream", stream)
                    .caused_by(error)
            })?;
            if self.text.len() == before + 2 {
                // A line of ours holds at least one field.
                self.text.truncate(before);
                self.text.extend_from_slice(b"{\"_sdc_empty\":null}");
            }
            self.text.push(b'\n');
        }
        self.onward.records(stream, Records { text: &self.text, ..records })
    }

    fn rejected(&mut self, stream: &StreamName, rejected: &Rejected) -> Result<()> {
        let known = self.streams.get(stream).ok_or_else(|| unannounced(stream))?;
        if known.as_ref().is_none_or(|veil| !veil.now.is_secret()) {
            return self.onward.rejected(stream, rejected);
        }
        let withheld = Rejected { record: WITHHELD.to_owned(), ..rejected.clone() };
        self.onward.rejected(stream, &withheld)
    }

    fn activate(&mut self, stream: &StreamName, version: i64) -> Result<()> {
        self.onward.activate(stream, version)
    }

    fn state(&mut self, state: &State) -> Result<()> {
        self.onward.state(state)
    }
}

/// Treats lines of a segment that were written under other rules.
pub(crate) struct Again<'a> {
    veil: Veil,
    hash: Option<&'a Hmac<Sha256>>,
}

impl<'a> Again<'a> {
    /// The lines as they may be loaded.
    pub(crate) fn lines(&mut self, lines: &[u8]) -> Result<Vec<u8>, JsonError> {
        let mut out = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            self.line(line, &mut out)?;
        }
        Ok(out)
    }

    /// The same while they are read.
    pub(crate) fn reader<'r>(&'r mut self, lines: &'r mut dyn BufRead) -> AgainReader<'r, 'a> {
        AgainReader { again: self, lines, line: Vec::new(), out: Vec::new(), at: 0 }
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
        let mut pen = Pen { veil: &mut self.veil, hash: self.hash, out, path: String::new() };
        pen.stored_line(line)?;
        out.push(b'\n');
        Ok(())
    }
}

pub(crate) struct AgainReader<'r, 'a> {
    again: &'r mut Again<'a>,
    lines: &'r mut dyn BufRead,
    line: Vec<u8>,
    out: Vec<u8>,
    /// How much of `out` was read.
    at: usize,
}

impl BufRead for AgainReader<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.out.len() {
            self.out.clear();
            self.at = 0;
            while self.out.len() < BUFFER {
                self.line.clear();
                if self.lines.read_until(b'\n', &mut self.line)? == 0 {
                    break;
                }
                self.again
                    .line(&self.line, &mut self.out)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            }
        }
        Ok(&self.out[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for AgainReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// Writes one record anew.
struct Pen<'a> {
    veil: &'a mut Veil,
    hash: Option<&'a Hmac<Sha256>>,
    out: &'a mut Vec<u8>,
    /// Where in the record we are.
    path: String,
}

impl Pen<'_> {
    fn line(&mut self, line: &[u8]) -> Result<(), JsonError> {
        let mut reader = Reader::from_bytes(line)?;
        self.object(&mut reader, Fate::default())?;
        reader.end()
    }

    /// A line of a segment: two fields of ours, then those of the record.
    fn stored_line(&mut self, line: &[u8]) -> Result<(), JsonError> {
        let mut reader = Reader::from_bytes(line)?;
        reader.object()?;
        self.out.push(b'{');
        let (mut led, mut written) = (0, 0);
        while let Some(key) = reader.key()? {
            let start = self.out.len();
            if written > 0 {
                self.out.push(b',');
            }
            let kept = if LEAD.get(led) == Some(&key.raw) {
                led += 1;
                self.name(key);
                self.out.extend_from_slice(reader.skip()?.as_bytes());
                true
            } else if led == LEAD.len() && key.raw == "_sdc_rejected" {
                self.name(key);
                self.set_aside(&mut reader)?;
                true
            } else {
                self.field(&mut reader, key, Fate::default())?
            };
            if kept {
                written += 1;
            } else {
                self.out.truncate(start);
            }
        }
        if written == led {
            self.out.extend_from_slice(if led == 0 { b"" } else { b"," });
            self.out.extend_from_slice(b"\"_sdc_empty\":null");
        }
        self.out.push(b'}');
        reader.end()
    }

    /// A record that the tap could not take.
    fn set_aside(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        let withheld = match &self.veil.before {
            Before::Known(before, _) => before.is_secret(),
            Before::Nothing | Before::Unknown => false,
        };
        let withholds = self.veil.now.is_secret() && !withheld;
        reader.object()?;
        self.out.push(b'{');
        let mut first = true;
        while let Some(key) = reader.key()? {
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            self.name(key);
            let text = reader.skip()?;
            if withholds && key.raw == "record" {
                write_string(self.out, WITHHELD);
            } else {
                self.out.extend_from_slice(text.as_bytes());
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    fn name(&mut self, key: Text<'_>) {
        self.out.push(b'"');
        self.out.extend_from_slice(key.raw.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn object(&mut self, reader: &mut Reader<'_>, above: Fate) -> Result<(), JsonError> {
        reader.object()?;
        self.out.push(b'{');
        let mut first = true;
        while let Some(key) = reader.key()? {
            let start = self.out.len();
            if !first {
                self.out.push(b',');
            }
            if self.field(reader, key, above)? {
                first = false;
            } else {
                self.out.truncate(start);
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// A field whose name was read; false when it is left out.
    fn field(
        &mut self,
        reader: &mut Reader<'_>,
        key: Text<'_>,
        above: Fate,
    ) -> Result<bool, JsonError> {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        key.decode_into(&mut self.path);
        let fate = self.fate(above);
        let left_out = fate.now >= Some(Treatment::Exclude);
        if left_out {
            reader.skip()?;
        } else {
            self.name(key);
            self.value(reader, fate)?;
        }
        self.path.truncate(length);
        Ok(!left_out)
    }

    /// A value; what is done to it is done to whatever it holds, and an array's items have its path.
    fn value(&mut self, reader: &mut Reader<'_>, fate: Fate) -> Result<(), JsonError> {
        match reader.peek()? {
            Peek::Object => self.object(reader, fate),
            Peek::Array => {
                reader.array()?;
                self.out.push(b'[');
                let mut first = true;
                while reader.item()? {
                    if !std::mem::take(&mut first) {
                        self.out.push(b',');
                    }
                    self.value(reader, fate)?;
                }
                self.out.push(b']');
                Ok(())
            }
            Peek::String => {
                let text = reader.string()?;
                match self.left_to_do(fate).filter(|how| !self.is_done(*how, text.raw)) {
                    Some(how) => self.scalar(&text.decode(), how),
                    None => {
                        self.out.push(b'"');
                        self.out.extend_from_slice(text.raw.as_bytes());
                        self.out.push(b'"');
                    }
                }
                Ok(())
            }
            Peek::Number | Peek::Bool => {
                let text = reader.skip()?;
                match self.left_to_do(fate) {
                    Some(how) => self.scalar(text, how),
                    None => self.out.extend_from_slice(text.as_bytes()),
                }
                Ok(())
            }
            Peek::Null => {
                self.out.extend_from_slice(reader.skip()?.as_bytes());
                Ok(())
            }
        }
    }

    /// What is done to a value, after what was done to it before.
    fn left_to_do(&self, fate: Fate) -> Option<Treatment> {
        let same_key = matches!(self.veil.before, Before::Known(_, true));
        match (fate.before, fate.now?) {
            (Some(Treatment::Hash), Treatment::Hash) if same_key => None,
            // A mask says no less than a hash of it.
            (Some(Treatment::Mask), Treatment::Hash | Treatment::Mask) => None,
            (_, now) => Some(now),
        }
    }

    /// Whether a text looks like what would become of it, where nobody knows what was done to it.
    fn is_done(&self, how: Treatment, text: &str) -> bool {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        matches!(self.veil.before, Before::Unknown)
            && how == Treatment::Hash
            && (text == MASK || (text.len() == 64 && text.bytes().all(digit)))
    }

    fn scalar(&mut self, text: &str, how: Treatment) {
        match self.hash.filter(|_| how == Treatment::Hash) {
            Some(hash) => write_string(self.out, &hex(hash, text.as_bytes())),
            None => write_string(self.out, MASK),
        }
    }

    /// What is done to the field we are at, which lies in one with the fate `above`: what makes that
    /// unreadable is done to all of it.
    fn fate(&mut self, above: Fate) -> Fate {
        let own = match self.veil.paths.get(self.path.as_str()) {
            Some(known) => *known,
            None => {
                let before = match &self.veil.before {
                    Before::Known(before, _) => before.by(&self.path),
                    Before::Nothing | Before::Unknown => None,
                };
                let found = Fate { now: self.veil.now.by(&self.path), before };
                if self.veil.paths.len() >= MOST_PATHS {
                    self.veil.paths.clear();
                }
                self.veil.paths.insert(self.path.clone(), found);
                found
            }
        };
        Fate { now: above.now.or(own.now), before: above.before.or(own.before) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use bobbin_core::schema::{Kind, Object, Schema};
    use bobbin_core::secret::Secret;
    use bobbin_core::selection::{ColumnRule, Pattern};
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Default)]
    struct Seen {
        schemas: Vec<Stream>,
        lines: Vec<Value>,
        rejected: Vec<String>,
    }

    impl Output for Seen {
        fn schema(&mut self, stream: &Stream) -> Result<()> {
            self.schemas.push(stream.clone());
            Ok(())
        }

        fn records(&mut self, _: &StreamName, records: Records<'_>) -> Result<()> {
            let text = std::str::from_utf8(records.text).unwrap();
            assert_eq!(text.lines().count() as u64, records.count);
            assert!(text.ends_with('\n'));
            self.lines
                .extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
            Ok(())
        }

        fn rejected(&mut self, _: &StreamName, rejected: &Rejected) -> Result<()> {
            self.rejected.push(rejected.record.clone());
            Ok(())
        }

        fn activate(&mut self, _: &StreamName, _: i64) -> Result<()> {
            Ok(())
        }

        fn state(&mut self, _: &State) -> Result<()> {
            Ok(())
        }
    }

    fn stream(name: &str) -> Stream {
        Stream {
            name: name.into(),
            fields: Object {
                properties: vec![
                    ("id".into(), Schema::of(Kind::Text).required()),
                    ("age".into(), Schema::of(Kind::Integer)),
                ],
                open: true,
            },
            key: vec!["id".into()],
            replication_key: None,
            version_fields: Vec::new(),
            description: None,
        }
    }

    fn rules(rules: &[(&str, &str, Treatment)], key: &str) -> Arc<Rules> {
        let rule = |(stream, path, treatment): &(&str, &str, Treatment)| ColumnRule {
            stream: Pattern::new(*stream),
            path: Pattern::new(*path),
            treatment: *treatment,
        };
        let selection = Selection {
            treatments: rules.iter().map(rule).collect(),
            hash_key: Some(Secret::new(key)),
            ..Selection::all()
        };
        Rules::of(&selection).unwrap()
    }

    fn treated(of: &[(&str, &str, Treatment)], name: &str, lines: &[Value]) -> Seen {
        let rules = rules(of, "key");
        let mut seen = Seen::default();
        let mut out = Treating::new(&mut seen, &rules);
        out.schema(&stream(name)).unwrap();
        let mut text = String::new();
        for line in lines {
            text += &format!("{line}\n");
        }
        let records = Records {
            text: text.as_bytes(),
            count: lines.len() as u64,
            extracted_at: Timestamp::UNIX_EPOCH,
            version: None,
        };
        out.records(&name.into(), records).unwrap();
        let rejected = Rejected {
            reason: "bad".into(),
            record: "{\"attributes\":{\"email\":\"secret\"}}".into(),
            extracted_at: Timestamp::UNIX_EPOCH,
        };
        out.rejected(&name.into(), &rejected).unwrap();
        seen
    }

    /// Worked out with `printf a@b.c | openssl dgst -sha256 -hmac key`.
    const HASHED: &str = "39ae49c50426b2bd08543508b376ed900cccf8729da709864ff1e0ef842c25b6";

    #[test]
    fn values_are_hashed_masked_and_dropped_wherever_they_are() {
        let rules = [
            ("users", "*email", Treatment::Hash),
            ("*", "phones.number", Treatment::Mask),
            ("users", "age", Treatment::Mask),
            ("users", "custom.note*", Treatment::Drop),
            ("*", "id", Treatment::Drop),
        ];
        let seen = treated(
            &rules,
            "users",
            &[
                json!({"id": "1", "email": "a@b.c", "age": 7, "custom": {"noteTxt": "x", "n": 1.50},
                       "phones": [{"number": "5", "kind": "home"}, {"number": null}]}),
                json!({"id": "2", "custom": {"email": ["a@b.c", {"x": "a@b.c"}]}, "age": null}),
            ],
        );
        assert_eq!(
            seen.lines,
            [
                json!({"id": "1", "email": HASHED, "age": "***", "custom": {"n": 1.50},
                       "phones": [{"number": "***", "kind": "home"}, {"number": null}]}),
                json!({"id": "2", "custom": {"email": [HASHED, {"x": HASHED}]}, "age": null}),
            ]
        );
        assert_eq!(seen.schemas[0].fields.property("age").unwrap().kind, Kind::Text);
        assert!(!seen.rejected[0].contains("secret"), "{:?}", seen.rejected);
    }

    #[test]
    fn other_streams_stay_as_they_are_and_no_line_is_empty() {
        let rules = [("users", "*", Treatment::Drop)];
        let line = json!({"id": "1", "email": "a@b.c"});
        let other = treated(&rules, "teams", std::slice::from_ref(&line));
        assert_eq!((&other.lines[..], other.rejected[0].contains("secret")), (&[line][..], true));
        let seen = treated(&rules, "users", &[json!({"email": "a"})]);
        assert_eq!(seen.lines, [json!({"_sdc_empty": null})]);
    }

    #[test]
    fn hashing_needs_a_key() {
        let rule = ColumnRule {
            stream: Pattern::new("users"),
            path: Pattern::new("email"),
            treatment: Treatment::Hash,
        };
        let selection = Selection { treatments: vec![rule], ..Selection::all() };
        let error = Rules::of(&selection).err().unwrap();
        assert!(error.report().contains("hash_key"), "{error:?}");
    }

    #[test]
    fn what_comes_before_its_schema_does_not_pass() {
        let rules = rules(&[("users", "email", Treatment::Drop)], "key");
        let mut seen = Seen::default();
        let mut out = Treating::new(&mut seen, &rules);
        let extracted_at = Timestamp::UNIX_EPOCH;
        let text = b"{\"email\":\"a@b.c\"}\n";
        let records = Records { text, count: 1, extracted_at, version: None };
        let rejected = Rejected { reason: "bad".into(), record: "a@b.c".into(), extracted_at };
        let name = "users".into();
        for result in [out.records(&name, records), out.rejected(&name, &rejected)] {
            assert_eq!(result.unwrap_err().kind(), bobbin_core::ErrorKind::Bug);
        }
        assert!(seen.lines.is_empty() && seen.rejected.is_empty());
    }

    const STORED: &str =
        "\"_sdc_extracted_at\":\"2026-01-01T00:00:00.000000Z\",\"_sdc_sequence\":7";

    /// Of lines that went through `before`, what becomes of one with these fields.
    fn again(before: Option<&Rules>, now: &Rules, fields: &str) -> Option<String> {
        let passed = before.map(|rules| rules.passed(&stream("users")));
        let mut again = now.again(&stream("users"), passed.as_ref())?;
        let line = format!("{{{STORED},{fields}}}\n");
        let lines = again.lines(line.as_bytes()).unwrap();
        // While they are read it comes to the same.
        let mut read = Vec::new();
        let twice = format!("{line}{line}");
        again.reader(&mut twice.as_bytes()).read_to_end(&mut read).unwrap();
        assert_eq!(read, [&lines[..], &lines[..]].concat());
        let text = String::from_utf8(lines).unwrap();
        let fields = text.strip_prefix(&format!("{{{STORED},")).unwrap();
        Some(fields.strip_suffix("}\n").unwrap().to_owned())
    }

    #[test]
    fn lines_of_fewer_rules_go_through_the_others_and_no_hash_is_made_twice() {
        use Treatment::{Drop, Hash, Mask};
        let none = rules(&[], "key");
        let hashed = rules(&[("users", "email", Hash)], "key");
        let more = rules(&[("users", "email", Hash), ("users", "note", Drop)], "key");
        assert_eq!(again(Some(&more), &more, ""), None, "nothing is left to do");
        assert_eq!(again(Some(&more), &hashed, ""), None);
        assert_eq!(again(None, &none, ""), None);
        let plain = r#""id":"1","email":"a@b.c","note":"x""#;
        let done = format!(r#""id":"1","email":"{HASHED}""#);
        let noted = format!(r#"{done},"note":"x""#);
        assert_eq!(again(Some(&none), &more, plain), Some(done.clone()));
        assert_eq!(again(Some(&hashed), &more, &noted), Some(done.clone()));
        // Nobody knows through what it went: what looks like a hash is one.
        assert_eq!(again(None, &more, plain), Some(done.clone()));
        assert_eq!(again(None, &more, &noted), Some(done.clone()));
        // Another key: whoever has the old one is not to try it out.
        let rekeyed = rules(&[("users", "email", Hash)], "other");
        let twice = again(Some(&hashed), &rekeyed, &done).unwrap();
        assert!(!twice.contains(HASHED) && twice.len() == done.len(), "{twice}");
        assert_eq!(rekeyed.passed(&stream("users")).key.unwrap().len(), 16);
        // A mask stays one; a hash may be masked.
        let masked = rules(&[("users", "email", Mask)], "key");
        let starred = r#""id":"1","email":"***""#.to_owned();
        assert_eq!(again(Some(&masked), &hashed, &starred), Some(starred.clone()));
        assert_eq!(again(Some(&hashed), &masked, &done), Some(starred));

        // Rules of a whole object beside those of a part of it.
        let part = rules(&[("users", "sms.email", Hash)], "key");
        let whole = rules(&[("users", "sms", Hash)], "key");
        let first = format!(r#""id":"1","sms":[{{"email":"{HASHED}","n":1,"z":null}}]"#);
        let second = again(Some(&part), &whole, &first).unwrap();
        assert!(second.contains(HASHED) && !second.contains(":1,"), "{second}");
        assert_eq!(again(Some(&whole), &part, &second), Some(second));
        // What leads a line stays; what the tap could not take is withheld.
        let all = rules(&[("*", "*", Drop)], "key");
        assert_eq!(again(Some(&none), &all, plain), Some(r#""id":"1""#.to_owned()));
        let aside = r#""_sdc_rejected":{"reason":"bad","record":"{\"e\":\"a@b.c\"}"}"#;
        let withheld = again(Some(&none), &all, aside).unwrap();
        assert!(withheld.contains("bad") && !withheld.contains("a@b.c"), "{withheld}");
        assert_eq!(again(Some(&hashed), &all, &withheld), Some(withheld));
    }
}
