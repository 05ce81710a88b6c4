//! States: bookmarks as Singer keeps them (`singer.md` 6). What a bookmark looks like inside is
//! the tap's matter; forms of other taps pass through untouched.

use bobbin_core::id::StreamName;
use bobbin_core::state::State;
use bobbin_core::{Error, Result};
use serde_json::{Map, Value};

/// Reads a state file. An empty file is an empty state; a whole STATE message is taken for its
/// value; other keys than bookmarks and `currently_syncing` are the tap's notes.
///
/// # Errors
/// When it is not a state.
pub fn parse(text: &str) -> Result<State> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Ok(State::default());
    }
    let value: Value = serde_json::from_str(text).map_err(|error| {
        Error::config("the state is not JSON")
            .hint("keep the last whole line of what the target printed")
            .caused_by(error)
    })?;
    from_json(value)
}

/// The state a JSON value holds.
///
/// # Errors
/// When it is not a state.
pub fn from_json(value: Value) -> Result<State> {
    let mut map = match value {
        Value::Null => return Ok(State::default()),
        Value::Object(map) => map,
        _ => return Err(Error::config("the state is not a JSON object")),
    };
    if map.get("type").and_then(Value::as_str).is_some_and(|t| t.eq_ignore_ascii_case("STATE"))
        && let Some(inner) = map.remove("value")
    {
        return from_json(inner);
    }
    // Meltano's own form around it.
    if !map.contains_key("bookmarks")
        && let Some(inner) = map.remove("singer_state")
    {
        return from_json(inner);
    }
    let bookmarks = match map.remove("bookmarks") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(bookmarks)) => bookmarks,
        Some(_) => return Err(Error::config("`bookmarks` of the state is not a JSON object")),
    };
    let currently_syncing =
        map.remove("currently_syncing").and_then(|stream| stream.as_str().map(StreamName::from));
    Ok(State {
        bookmarks: bookmarks
            .into_iter()
            .map(|(stream, bookmark)| (StreamName::from(stream), bookmark))
            .collect(),
        currently_syncing,
        notes: map,
    })
}

/// The value of a STATE message.
pub fn to_json(state: &State) -> Value {
    let mut map = state.notes.clone();
    if let Some(stream) = &state.currently_syncing {
        map.insert("currently_syncing".into(), stream.as_str().into());
    }
    let bookmarks: Map<String, Value> = state
        .bookmarks
        .iter()
        .map(|(stream, bookmark)| (stream.as_str().to_owned(), bookmark.clone()))
        .collect();
    map.insert("bookmarks".into(), bookmarks.into());
    Value::Object(map)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn states_of_all_kinds_are_read() {
        for (text, expected) in [
            ("", r#"{"bookmarks":{}}"#),
            (" \n", r#"{"bookmarks":{}}"#),
            ("{}", r#"{"bookmarks":{}}"#),
            ("null", r#"{"bookmarks":{}}"#),
            (
                r#"{"bookmarks":{"users":"2026-01-02T03:04:05.000000Z"},"currently_syncing":null}"#,
                r#"{"bookmarks":{"users":"2026-01-02T03:04:05.000000Z"}}"#,
            ),
            (
                r#"{"currently_syncing":"tags","bookmarks":{"users":{"updated_at":"2026-01-02"},"orders":{"offset":{"page":3}}}}"#,
                r#"{"currently_syncing":"tags","bookmarks":{"orders":{"offset":{"page":3}},"users":{"updated_at":"2026-01-02"}}}"#,
            ),
            (
                r#"{"type":"STATE","value":{"bookmarks":{"a":{"replication_key":"updated_at","replication_key_value":"x"}}}}"#,
                r#"{"bookmarks":{"a":{"replication_key":"updated_at","replication_key_value":"x"}}}"#,
            ),
            (r#"{"singer_state":{"bookmarks":{"a":1}}}"#, r#"{"bookmarks":{"a":1}}"#),
        ] {
            assert_eq!(to_json(&parse(text).unwrap()).to_string(), expected, "{text}");
        }
        for bad in ["[]", "{", r#"{"bookmarks":[]}"#, "3"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
