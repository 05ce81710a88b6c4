//! Messages on the wire (`singer.md` 3): one line of JSON each.
//!
//! Records are spliced, not parsed: their text goes between a head and a tail.

use bobbin_core::catalog::Stream;
use bobbin_core::json::write_string;
use bobbin_core::state::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::state;

/// A SCHEMA message.
#[derive(Serialize)]
struct SchemaMessage<'a> {
    r#type: &'static str,
    stream: &'a str,
    schema: &'a Value,
    key_properties: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark_properties: Option<[&'a str; 1]>,
}

/// A STATE message.
#[derive(Serialize)]
struct StateMessage {
    r#type: &'static str,
    value: Value,
}

/// The line of a SCHEMA message, with its newline, for a stream whose fields `schema` describes.
pub fn schema_line(stream: &Stream, schema: &Value) -> Vec<u8> {
    line(&SchemaMessage {
        r#type: "SCHEMA",
        stream: stream.name.as_str(),
        schema,
        key_properties: &stream.key,
        bookmark_properties: stream.replication_key.as_deref().map(|key| [key]),
    })
}

/// The line of a STATE message, with its newline.
pub fn state_line(state: &State) -> Vec<u8> {
    line(&StateMessage { r#type: "STATE", value: state::to_json(state) })
}

/// What stands before a record's text in a RECORD message.
pub fn record_head(stream: &str) -> Vec<u8> {
    let mut head = b"{\"type\":\"RECORD\",\"stream\":".to_vec();
    write_string(&mut head, stream);
    head.extend_from_slice(b",\"record\":");
    head
}

/// What stands after a record's text, with the newline.
pub fn record_tail(extracted_at: Timestamp, version: Option<i64>) -> Vec<u8> {
    let version = version.map(|version| format!(",\"version\":{version}")).unwrap_or_default();
    format!(",\"time_extracted\":\"{}\"{version}}}\n", instant(extracted_at)).into_bytes()
}

/// The line of an ACTIVATE_VERSION message, with its newline.
pub fn activate_line(stream: &str, version: i64) -> Vec<u8> {
    let mut text = b"{\"type\":\"ACTIVATE_VERSION\",\"stream\":".to_vec();
    write_string(&mut text, stream);
    text.extend_from_slice(format!(",\"version\":{version}}}\n").as_bytes());
    text
}

/// An instant as singer-python prints it: UTC, always microseconds.
pub fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn line<T: Serialize>(message: &T) -> Vec<u8> {
    // Maps with text keys and plain values always serialise.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}
