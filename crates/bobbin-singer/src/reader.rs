//! Messages, as a target reads them (`singer.md` 3).

use std::collections::HashSet;

use bobbin_core::catalog::Stream;
use bobbin_core::json::{JsonError, Peek, Reader};
use jiff::Timestamp;
use serde_json::Value;

use crate::batch::Batch;
use crate::schema;

/// One line of a tap.
#[derive(Debug)]
pub enum Message<'a> {
    /// What a stream's records look like.
    Schema(Box<Stream>),
    /// A record.
    Record {
        /// Whose.
        stream: String,
        /// The object.
        record: RecordText<'a>,
        /// When the tap got it.
        extracted: Option<Timestamp>,
        /// The table version it belongs to.
        version: Option<i64>,
    },
    /// Everything before this line is covered by this value, which only the tap understands.
    State(&'a str),
    /// Rows of other versions of the stream are to go.
    ActivateVersion {
        /// Whose.
        stream: String,
        /// The version that holds.
        version: i64,
    },
    /// Records in files.
    Batch(Batch),
    /// Something else, by its type.
    Other(String),
}

/// A record's text as the tap wrote it.
#[derive(Clone, Copy, Debug)]
pub enum RecordText<'a> {
    /// An object that every other part can read.
    Good(&'a str),
    /// Something else; the line around it is whole. To be set aside with the reason.
    Bad(&'a str, JsonError),
}

/// Reads a line. What stands in `record` is cut out by its brackets alone and judged by itself, so
/// that a record that cannot be read harms no other.
///
/// # Errors
/// What is wrong with it, as a lowercase fragment without values.
pub fn parse(line: &str) -> Result<Message<'_>, String> {
    let json = |error: JsonError| format!("is not JSON: {error}");
    let mut r = Reader::new(line);
    if r.peek().map_err(json)? != Peek::Object {
        return Err("is not a JSON object".to_owned());
    }
    r.object().map_err(json)?;
    let mut texts = Texts::default();
    let (mut record, mut schema, mut value, mut version) = (None, None, None, None);
    let (mut keys, mut bookmarks) = (None, None);
    let (mut encoding, mut manifest) = (None, None);
    while let Some(key) = r.key().map_err(json)? {
        let key = key.decode();
        if let Some(place) = texts.place(&key)
            && r.peek().map_err(json)? == Peek::String
        {
            *place = Some(r.string().map_err(json)?.decode().into_owned());
            continue;
        }
        // Of a key that stands twice the last counts.
        if let Some(place) = texts.place(&key) {
            *place = None;
        }
        let span = r.skip_unchecked().map_err(json)?;
        if key == "record" {
            // Only the one that counts may be set aside alone.
            record.replace(span).map_or(Ok(()), check).map_err(json)?;
            continue;
        }
        check(span).map_err(json)?;
        match &*key {
            "schema" => schema = Some(span),
            "value" => value = Some(span),
            "version" => version = Some(span),
            "key_properties" => keys = Some(span),
            "bookmark_properties" => bookmarks = Some(span),
            "encoding" => encoding = Some(span),
            "manifest" => manifest = Some(span),
            _ => {}
        }
    }
    r.end().map_err(json)?;
    let Texts { kind, stream, time, filepath, format, compression } = texts;
    let kind = kind.ok_or("has no type")?;
    let named = |stream: Option<String>| stream.ok_or(format!("is a {kind} without a stream"));
    let version = version.filter(|span| *span != "null").map(|span| {
        span.parse::<i64>().map_err(|_| format!("is a {kind} whose version is no whole number"))
    });
    let version = version.transpose()?;
    let extracted = time.and_then(|time| time.parse().ok());
    let upper = kind.to_ascii_uppercase();
    if upper != "RECORD" {
        record.map_or(Ok(()), check).map_err(json)?;
    }
    match upper.as_str() {
        "RECORD" => {
            let stream = named(stream)?;
            let record = record.filter(|record| record.starts_with('{'));
            let record = record.ok_or("is a RECORD without a record that is an object")?;
            Ok(Message::Record { stream, record: judge(record), extracted, version })
        }
        "SCHEMA" => {
            let stream = named(stream)?;
            let wrong = || "is a SCHEMA without a schema that is an object".to_owned();
            let schema: Value =
                serde_json::from_str(schema.ok_or_else(wrong)?).map_err(|_| wrong())?;
            if !schema.is_object() {
                return Err(wrong());
            }
            let fields = schema::object_from_json(&schema);
            let mut key = names(keys).ok_or("has key_properties that are no list of names")?;
            let mut seen = HashSet::new();
            key.retain(|name| seen.insert(name.clone()));
            if let Some(missing) = key.iter().find(|key| fields.property(key).is_none()) {
                return Err(format!(
                    "is a SCHEMA of `{stream}` whose key `{missing}` is not among its properties"
                ));
            }
            let replication_key = names(bookmarks).unwrap_or_default().into_iter().next();
            Ok(Message::Schema(Box::new(Stream {
                name: stream.into(),
                fields,
                key,
                replication_key,
                // The order of arrival decides (`singer.md` 3).
                version_fields: Vec::new(),
                description: schema
                    .get("description")
                    .and_then(Value::as_str)
                    .map(ToOwned::to_owned),
            })))
        }
        "STATE" => Ok(Message::State(value.ok_or("is a STATE without a value")?)),
        "ACTIVATE_VERSION" => {
            let stream = named(stream)?;
            let version = version.ok_or("is an ACTIVATE_VERSION without a version")?;
            Ok(Message::ActivateVersion { stream, version })
        }
        "BATCH" => {
            let stream = named(stream)?;
            let batch = Batch { stream, files: Vec::new(), compression, version, extracted };
            Ok(Message::Batch(batch.found(encoding, manifest, filepath, format)?))
        }
        _ => Ok(Message::Other(kind)),
    }
}

/// The members of a message that are texts.
#[derive(Default)]
struct Texts {
    kind: Option<String>,
    stream: Option<String>,
    time: Option<String>,
    filepath: Option<String>,
    format: Option<String>,
    compression: Option<String>,
}

impl Texts {
    fn place(&mut self, key: &str) -> Option<&mut Option<String>> {
        Some(match key {
            "type" => &mut self.kind,
            "stream" => &mut self.stream,
            "time_extracted" => &mut self.time,
            "filepath" => &mut self.filepath,
            "format" => &mut self.format,
            "compression" => &mut self.compression,
            _ => return None,
        })
    }
}

/// Whether a record's text is one that every other part can read.
pub(crate) fn judge(record: &str) -> RecordText<'_> {
    match check(record) {
        Ok(()) => RecordText::Good(record),
        Err(error) => RecordText::Bad(record, error),
    }
}

fn check(span: &str) -> Result<(), JsonError> {
    let mut r = Reader::new(span);
    r.skip()?;
    r.end()
}

/// A list of names; none when absent, a bare name counts as a list of one.
fn names(span: Option<&str>) -> Option<Vec<String>> {
    let Some(span) = span else { return Some(Vec::new()) };
    match serde_json::from_str(span).ok()? {
        Value::Null => Some(Vec::new()),
        Value::String(name) => Some(vec![name]),
        Value::Array(items) => {
            items.into_iter().map(|item| item.as_str().map(ToOwned::to_owned)).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_in_any_order_and_case() {
        let line = r#" {"record":{"a":1.50, "b":"é"},"stream":"s\u0074","x":[],"type":"record","time_extracted":"2026-01-02T03:04:05Z"} "#;
        let Message::Record { stream, record: RecordText::Good(record), extracted, version } =
            parse(line).unwrap()
        else {
            panic!("not a record")
        };
        assert_eq!(version, None);
        assert_eq!((stream.as_str(), record), ("st", r#"{"a":1.50, "b":"é"}"#));
        assert_eq!(extracted.unwrap().to_string(), "2026-01-02T03:04:05Z");
        let Message::State(value) = parse(r#"{"type":"STATE","value":{"any":[1.0]}}"#).unwrap()
        else {
            panic!("not a state")
        };
        assert_eq!(value, r#"{"any":[1.0]}"#);
        let schema = r#"{"type":"SCHEMA","stream":"s","schema":{"properties":{"id":{"type":"string"}}},"key_properties":"id","bookmark_properties":["u"]}"#;
        let Message::Schema(stream) = parse(schema).unwrap() else { panic!("not a schema") };
        assert_eq!(stream.key, ["id"]);
        assert_eq!(stream.replication_key.as_deref(), Some("u"));
        assert!(matches!(parse(r#"{"type":"HELLO"}"#), Ok(Message::Other(_))));
        let active = r#"{"type":"ACTIVATE_VERSION","stream":"s","version":1767323045678}"#;
        assert!(matches!(
            parse(active),
            Ok(Message::ActivateVersion { version: 1_767_323_045_678, .. })
        ));
    }

    #[test]
    fn a_record_is_judged_by_itself() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(127), "]".repeat(127));
        let deeper = format!("{{\"a\":{}{}}}", "[".repeat(128), "]".repeat(128));
        for (record, good) in [
            (r#"{"a":1e308}"#, true),
            (&deep, true),
            (&deeper, false),
            (r#"{"a":1e400}"#, false),
            (r#"{"a":NaN}"#, false),
            (r#"{"a":"\ud800"}"#, false),
            (r#"{"a":}"#, false),
        ] {
            let line = format!(r#"{{"type":"RECORD","record":{record},"version":7,"stream":"s"}}"#);
            let Message::Record { record: text, version, .. } = parse(&line).unwrap() else {
                panic!("not a record")
            };
            assert_eq!(version, Some(7));
            match text {
                RecordText::Good(text) => assert!(good && text == record, "{record}"),
                RecordText::Bad(text, _) => assert!(!good && text == record, "{record}"),
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, words) in [
            ("", "not JSON"),
            ("INFO hello", "not JSON"),
            ("[1]", "not a JSON object"),
            (r#"{"type":"RECORD","stream":"s","record":{}"#, "not JSON"),
            (r#"{"type":"RECORD","stream":"s","record":{}} x"#, "not JSON"),
            (r#"{"stream":"s"}"#, "no type"),
            (r#"{"type":"RECORD","record":{}}"#, "without a stream"),
            (r#"{"type":"RECORD","stream":"s","record":[1]}"#, "record that is an object"),
            (r#"{"type":"SCHEMA","stream":"s","schema":7}"#, "schema that is an object"),
            (r#"{"type":"SCHEMA","stream":"s","schema":{},"key_properties":["id"]}"#, "`id`"),
            (r#"{"type":"SCHEMA","stream":"s","schema":{},"key_properties":[1]}"#, "list of names"),
            (r#"{"type":"STATE"}"#, "without a value"),
            (r#"{"type":"STATE","value":{"a":NaN}}"#, "not JSON"),
            (r#"{"type":"ACTIVATE_VERSION","stream":"s"}"#, "without a version"),
            (r#"{"type":"RECORD","stream":"s","record":{},"version":"x"}"#, "no whole number"),
            (r#"{"type":"BATCH","stream":"s"}"#, "names no file"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
