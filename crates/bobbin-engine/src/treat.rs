//! Columns that must not be stored as they are: hashed, masked or dropped between the tap and the
//! spool, before anything touches the disk.

use std::fmt::Write as _;

use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::json::{JsonError, Peek, Reader, write_string};
use bobbin_core::record::{Records, Rejected};
use bobbin_core::secret::Secret;
use bobbin_core::selection::{MASK, Selection, Treated, Treatment};
use bobbin_core::state::State;
use bobbin_core::tap::Output;
use bobbin_core::{Error, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashMap;

/// Paths whose treatment is remembered; beyond that many they are looked up anew.
const MOST_PATHS: usize = 10_000;

/// An output that sees only what may be stored.
pub(crate) struct Treating<'a> {
    onward: &'a mut dyn Output,
    selection: &'a Selection,
    hash: Option<Hmac<Sha256>>,
    streams: HashMap<StreamName, Veil>,
    text: Vec<u8>,
}

/// What is done to one stream.
struct Veil {
    treated: Treated,
    paths: HashMap<String, Option<Treatment>>,
}

impl<'a> Treating<'a> {
    /// # Errors
    /// When columns are to be hashed and there is no key.
    pub(crate) fn new(onward: &'a mut dyn Output, selection: &'a Selection) -> Result<Self> {
        let hash = match &selection.hash_key {
            Some(key) => Some(keyed(key)?),
            None if selection.hashes() => {
                return Err(Error::config("columns are to be hashed, but there is no hash_key")
                    .hint("write hash_key = { env = \"NAME\" } at the top of the file; whoever has it can try out what a hash stands for"));
            }
            None => None,
        };
        Ok(Self { onward, selection, hash, streams: HashMap::new(), text: Vec::new() })
    }
}

fn keyed(key: &Secret) -> Result<Hmac<Sha256>> {
    Hmac::new_from_slice(key.reveal().as_bytes())
        .map_err(|error| Error::config("the hash_key cannot be used").caused_by(error))
}

impl Output for Treating<'_> {
    fn schema(&mut self, stream: &Stream) -> Result<()> {
        let treated = self.selection.of(stream);
        if treated.has_rules() {
            let veil = Veil { treated, paths: HashMap::new() };
            self.streams.insert(stream.name.clone(), veil);
        }
        self.onward.schema(&self.selection.prune(stream))
    }

    fn records(&mut self, stream: &StreamName, records: Records<'_>) -> Result<()> {
        let Some(veil) = self.streams.get_mut(stream) else {
            return self.onward.records(stream, records);
        };
        self.text.clear();
        for line in records.text.split_inclusive(|&byte| byte == b'\n') {
            let before = self.text.len();
            let mut pen =
                Pen { veil, hash: self.hash.as_ref(), out: &mut self.text, path: String::new() };
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
        if self.streams.get(stream).is_none_or(|veil| !veil.treated.is_secret()) {
            return self.onward.rejected(stream, rejected);
        }
        // It may be in a form of the source in which columns have other names.
        let record = "{\"withheld\":\"columns of this table are hashed, masked or dropped\"}";
        let withheld = Rejected { record: record.to_owned(), ..rejected.clone() };
        self.onward.rejected(stream, &withheld)
    }

    fn activate(&mut self, stream: &StreamName, version: i64) -> Result<()> {
        self.onward.activate(stream, version)
    }

    fn state(&mut self, state: &State) -> Result<()> {
        self.onward.state(state)
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
        self.object(&mut reader)?;
        reader.end()
    }

    fn object(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        reader.object()?;
        self.out.push(b'{');
        let above = self.path.len();
        let mut first = true;
        while let Some(key) = reader.key()? {
            if above > 0 {
                self.path.push('.');
            }
            key.decode_into(&mut self.path);
            let treatment = self.treatment();
            if treatment >= Some(Treatment::Exclude) {
                reader.skip()?;
            } else {
                if !std::mem::take(&mut first) {
                    self.out.push(b',');
                }
                self.out.push(b'"');
                self.out.extend_from_slice(key.raw.as_bytes());
                self.out.extend_from_slice(b"\":");
                match treatment {
                    Some(treatment) => self.veiled(reader, treatment)?,
                    None => self.value(reader)?,
                }
            }
            self.path.truncate(above);
        }
        self.out.push(b'}');
        Ok(())
    }

    /// A value that may hold others that are treated; an array's items have its path.
    fn value(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        match reader.peek()? {
            Peek::Object => self.object(reader),
            Peek::Array => self.items(reader, Self::value),
            _ => {
                self.out.extend_from_slice(reader.skip()?.as_bytes());
                Ok(())
            }
        }
    }

    /// A value of which nothing may stay readable.
    fn veiled(&mut self, reader: &mut Reader<'_>, how: Treatment) -> Result<(), JsonError> {
        match reader.peek()? {
            Peek::Null => {
                self.out.extend_from_slice(reader.skip()?.as_bytes());
                Ok(())
            }
            Peek::Array => self.items(reader, |pen, reader| pen.veiled(reader, how)),
            Peek::Object => {
                reader.object()?;
                self.out.push(b'{');
                let mut first = true;
                while let Some(key) = reader.key()? {
                    if !std::mem::take(&mut first) {
                        self.out.push(b',');
                    }
                    self.out.push(b'"');
                    self.out.extend_from_slice(key.raw.as_bytes());
                    self.out.extend_from_slice(b"\":");
                    self.veiled(reader, how)?;
                }
                self.out.push(b'}');
                Ok(())
            }
            Peek::String => {
                let text = reader.string()?.decode();
                self.scalar(&text, how);
                Ok(())
            }
            Peek::Number | Peek::Bool => {
                let text = reader.skip()?;
                self.scalar(text, how);
                Ok(())
            }
        }
    }

    fn items<'t>(
        &mut self,
        reader: &mut Reader<'t>,
        mut each: impl FnMut(&mut Self, &mut Reader<'t>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        reader.array()?;
        self.out.push(b'[');
        let mut first = true;
        while reader.item()? {
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            each(self, reader)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn scalar(&mut self, text: &str, how: Treatment) {
        match self.hash.filter(|_| how == Treatment::Hash) {
            Some(hash) => {
                let code = hash.clone().chain_update(text.as_bytes()).finalize().into_bytes();
                let mut shown = String::with_capacity(64);
                for byte in code {
                    // Writing to a string cannot fail.
                    let _ = write!(shown, "{byte:02x}");
                }
                write_string(self.out, &shown);
            }
            None => write_string(self.out, MASK),
        }
    }

    fn treatment(&mut self) -> Option<Treatment> {
        if let Some(known) = self.veil.paths.get(self.path.as_str()) {
            return *known;
        }
        let found = self.veil.treated.by(&self.path);
        if self.veil.paths.len() >= MOST_PATHS {
            self.veil.paths.clear();
        }
        self.veil.paths.insert(self.path.clone(), found);
        found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use bobbin_core::schema::{Kind, Object, Schema};
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

    fn treated(rules: &[(&str, &str, Treatment)], name: &str, lines: &[Value]) -> Seen {
        let rule = |(stream, path, treatment): &(&str, &str, Treatment)| ColumnRule {
            stream: Pattern::new(*stream),
            path: Pattern::new(*path),
            treatment: *treatment,
        };
        let selection = Selection {
            treatments: rules.iter().map(rule).collect(),
            hash_key: Some(Secret::new("key")),
            ..Selection::all()
        };
        let mut seen = Seen::default();
        let mut out = Treating::new(&mut seen, &selection).unwrap();
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
        let mut seen = Seen::default();
        let error = Treating::new(&mut seen, &selection).err().unwrap();
        assert!(error.report().contains("hash_key"), "{error:?}");
    }
}
