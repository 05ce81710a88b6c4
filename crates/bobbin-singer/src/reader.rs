//! Messages, as a target reads them (`singer.md` 3).

use bobbin_core::catalog::Stream;
use bobbin_core::json::{Peek, Reader};
use jiff::Timestamp;
use serde_json::Value;

use crate::schema;

/// One line of a tap.
#[derive(Debug)]
pub enum Message<'a> {
    /// What a stream's records look like.
    Schema(Box<Stream>),
    /// A record: its text as the tap wrote it.
    Record {
        /// Whose.
        stream: String,
        /// The object.
        record: &'a str,
        /// When the tap got it.
        extracted: Option<Timestamp>,
    },
    /// Everything before this line is covered by this value, which only the tap understands.
    State(&'a str),
    /// Rows of other versions of the stream are to go.
    ActivateVersion(String),
    /// Records in files.
    Batch(String),
    /// Something else, by its type.
    Other(String),
}

/// Reads a line.
///
/// # Errors
/// What is wrong with it, as a lowercase fragment without values.
pub fn parse(line: &str) -> Result<Message<'_>, String> {
    let json = |error: bobbin_core::json::JsonError| format!("is not JSON: {error}");
    let mut r = Reader::new(line);
    if r.peek().map_err(json)? != Peek::Object {
        return Err("is not a JSON object".to_owned());
    }
    r.object().map_err(json)?;
    let (mut kind, mut stream, mut time) = (None, None, None);
    let (mut record, mut schema, mut value) = (None, None, None);
    let (mut keys, mut bookmarks) = (None, None);
    while let Some(key) = r.key().map_err(json)? {
        let key = key.decode();
        let text = matches!(&*key, "type" | "stream" | "time_extracted");
        if text && r.peek().map_err(json)? == Peek::String {
            let found = Some(r.string().map_err(json)?.decode().into_owned());
            match &*key {
                "type" => kind = found,
                "stream" => stream = found,
                _ => time = found,
            }
            continue;
        }
        let span = r.skip().map_err(json)?;
        match &*key {
            // Of a key that stands twice the last counts.
            "type" => kind = None,
            "stream" => stream = None,
            "time_extracted" => time = None,
            "record" => record = Some(span),
            "schema" => schema = Some(span),
            "value" => value = Some(span),
            "key_properties" => keys = Some(span),
            "bookmark_properties" => bookmarks = Some(span),
            _ => {}
        }
    }
    r.end().map_err(json)?;
    let kind = kind.ok_or("has no type")?;
    let named = |stream: Option<String>| stream.ok_or(format!("is a {kind} without a stream"));
    match kind.to_ascii_uppercase().as_str() {
        "RECORD" => {
            let stream = named(stream)?;
            let record = record.filter(|record| record.starts_with('{'));
            let record = record.ok_or("is a RECORD without a record that is an object")?;
            let extracted = time.and_then(|time| time.parse().ok());
            Ok(Message::Record { stream, record, extracted })
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
            let key = names(keys).ok_or("has key_properties that are no list of names")?;
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
        "ACTIVATE_VERSION" => Ok(Message::ActivateVersion(named(stream)?)),
        "BATCH" => Ok(Message::Batch(named(stream)?)),
        _ => Ok(Message::Other(kind)),
    }
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
        let Message::Record { stream, record, extracted } = parse(line).unwrap() else {
            panic!("not a record")
        };
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
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
