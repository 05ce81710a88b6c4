//! Singer lines: what is a message is read as it stands, what is none is refused.

use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_singer::reader::{Message, RecordText, parse};
use bobbin_singer::schema;
use serde_json::value::RawValue;

use crate::corpus::Theme;
use crate::exact::{self, Value};

/// The body: every line by itself.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    text.split('\n').for_each(line);
}

fn line(line: &str) {
    let document = exact::parse(line).map(|document| document.value);
    let parsed = parse(line);
    let Some(Value::Object(members)) = document else {
        // A record that cannot be read harms no line that is whole around it.
        // Nor is anything read of a message of a kind that is not known.
        let bad = matches!(&parsed, Ok(Message::Record { record: RecordText::Bad(..), .. }));
        if bad || matches!(&parsed, Ok(Message::Other(_))) {
            return;
        }
        // A record in a message may have as many levels as one alone, so its line has one more.
        if let Ok(Message::Record { record: RecordText::Good(record), .. }) = &parsed {
            let json = serde_json::from_str::<&RawValue>(line).is_ok();
            assert!(json && exact::parse(record).is_some(), "a good record in a line that is none");
            return;
        }
        assert!(parsed.is_err(), "a line that is no JSON object is a message");
        return;
    };
    let text = |name: &str| match members.get(name) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let kind = text("type").map(str::to_ascii_uppercase);
    match parsed {
        Ok(Message::Record { stream, record, .. }) => {
            assert_eq!(kind.as_deref(), Some("RECORD"));
            assert_eq!(text("stream"), Some(stream.as_str()));
            let RecordText::Good(record) = record else { return };
            let record = exact::parse(record).expect("a record is JSON").value;
            assert!(members["record"].says(&record), "the record is another");
        }
        Ok(Message::State(value)) => {
            assert_eq!(kind.as_deref(), Some("STATE"));
            let value = exact::parse(value).expect("a state is JSON").value;
            assert!(members["value"].says(&value), "the state is another");
        }
        Ok(Message::Schema(stream)) => {
            assert_eq!(kind.as_deref(), Some("SCHEMA"));
            for key in &stream.key {
                assert!(stream.fields.property(key).is_some(), "a key that is no field");
            }
            // Written out and read again it stays what it is.
            let written = schema::of_stream(&stream);
            let fields = schema::object_from_json(&written);
            assert_eq!(fields.open, stream.fields.open);
            assert_eq!(fields.properties.len(), stream.fields.properties.len());
            for ((name, found), (expected, field)) in
                fields.properties.iter().zip(&stream.fields.properties)
            {
                assert_eq!(name, expected, "another field");
                let (mut found, mut field) = (plain(found), plain(field));
                if stream.key.contains(name) {
                    // Keys are written as not null.
                    (found.required, field.required) = (true, true);
                }
                assert_eq!(found, field, "a schema changes on its way out and back");
            }
        }
        Ok(Message::ActivateVersion { stream, .. }) => {
            assert_eq!(text("stream"), Some(stream.as_str()));
        }
        Ok(Message::Batch(batch)) => assert_eq!(text("stream"), Some(batch.stream.as_str())),
        Ok(Message::Other(other)) => assert_eq!(text("type"), Some(other.as_str())),
        Err(reason) => {
            assert!(!reason.is_empty());
            let good = kind.as_deref() == Some("RECORD")
                && text("stream").is_some()
                && matches!(members.get("record"), Some(Value::Object(_)));
            assert!(!good, "a good record is refused: {reason}");
        }
    }
}

/// The same schema without what JSON Schema has no way to say: that a value of any shape is not null.
fn plain(schema: &Schema) -> Schema {
    let mut schema = schema.clone();
    match &mut schema.kind {
        Kind::Any => schema.required = false,
        Kind::Array(items) => **items = plain(items),
        Kind::Union(members) => {
            for member in members.iter_mut() {
                *member = plain(member);
            }
            // Whether it may be null is said by its members.
            schema.required = members.iter().all(|member| member.required);
        }
        Kind::Object(Object { properties, .. }) => {
            for (_, field) in properties {
                *field = plain(field);
            }
        }
        _ => {}
    }
    schema
}

/// Messages around the corpus' records and schemas.
pub fn seeds(themes: &[Theme]) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        r#"{"type":"STATE","value":{"bookmarks":{"a":1.0}}}"#,
        r#"{"type":"ACTIVATE_VERSION","stream":"s","version":1}"#,
        r#"{"type":"BATCH","stream":"s","encoding":{"format":"jsonl"},"manifest":["file:///x"]}"#,
        r#"{"type":"SCHEMA","stream":"s","schema":{"properties":{"id":{"anyOf":[{"type":"string","format":"date-time"},{"type":["integer","null"]},{"type":"object","additionalProperties":false}]},"l":{"type":"array","items":{"oneOf":[]}}}},"key_properties":"id","bookmark_properties":["u"]}"#,
        r#"{"type":"hello"}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    for theme in themes {
        let mut root = schema::of_stream(&theme.stream("things"));
        root["description"] = "what it is".into();
        let message = serde_json::json!({
            "type": "SCHEMA", "stream": "things", "schema": root, "key_properties": theme.key,
        });
        seeds.push(message.to_string().into_bytes());
        for case in &theme.cases {
            let mut line = br#"{"type":"RECORD","stream":"things","record":"#.to_vec();
            line.extend_from_slice(&case.bytes);
            line.extend_from_slice(br#","time_extracted":"2026-01-02T03:04:05Z"}"#);
            seeds.push(line);
        }
    }
    seeds
}
