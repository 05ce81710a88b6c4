//! Bookmarks: how far a stream got, in the forms that Kustomer taps have used.

use bobbin_core::id::StreamName;
use bobbin_core::state::State;
use bobbin_core::{Error, Result};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// The form we write: RFC 3339 with microseconds, as the singer-io tap does, so that either may
/// take over from the other.
pub fn write(instant: Timestamp) -> Value {
    Value::String(format!("{instant:.6}"))
}

/// Reads a bookmark: bare text, `{"updated_at": …}`, or the Meltano SDK's
/// `{"replication_key_value": …}`. `None` when there is none.
///
/// # Errors
/// When there is one that is no instant: starting over without a word would be a surprise.
pub fn read(stream: &str, value: Option<&Value>) -> Result<Option<Timestamp>> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(Value::Object(map)) => {
            let found = ["updated_at", "replication_key_value", "starting_replication_value"]
                .iter()
                .find_map(|key| map.get(*key).filter(|value| !value.is_null()));
            match found {
                Some(Value::String(text)) => text,
                None => return Ok(None),
                Some(_) => return Err(unreadable(stream)),
            }
        }
        Some(_) => return Err(unreadable(stream)),
    };
    let text = text.trim();
    text.parse::<Timestamp>()
        .or_else(|_| {
            // Some write no zone and mean UTC.
            text.parse::<jiff::civil::DateTime>()
                .and_then(|date| jiff::tz::TimeZone::UTC.to_timestamp(date))
        })
        .map(Some)
        .map_err(|_| unreadable(stream))
}

/// The key of a state's notes that says, per stream, from when on it was read.
const STARTS: &str = "started_from";

/// From when on a stream was read, as far as the state knows.
pub fn start(state: &State, stream: &StreamName) -> Option<Timestamp> {
    state.notes.get(STARTS)?.get(stream.as_str())?.as_str()?.parse().ok()
}

/// Notes from when on a stream is read.
pub fn write_start(state: &mut State, stream: &StreamName, start: Timestamp) {
    let starts = state.notes.entry(STARTS).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(starts) = starts {
        starts.insert(stream.to_string(), write(start));
    }
}

/// The key of a state's notes that names the organisation.
const ORGANIZATION: &str = "organization";

/// Notes whose state this is.
///
/// # Errors
/// When it is another organisation's: to go on from its bookmarks would leave out all that is older
/// than they are.
pub fn of_organization(state: &mut State, organization: &str) -> Result<()> {
    match state.notes.get(ORGANIZATION).and_then(Value::as_str) {
        Some(known) if known != organization => {
            Err(Error::config("the saved state is of another Kustomer organisation")
                .with("state_of", known)
                .with("key_of", organization)
                .hint(
                    "give each organisation a connection with a schema of its own, or use a key \
                     of the first organisation",
                ))
        }
        _ => {
            state.notes.insert(ORGANIZATION.into(), organization.into());
            Ok(())
        }
    }
}

fn unreadable(stream: &str) -> Error {
    Error::config("the state holds a bookmark that is no instant")
        .with("stream", stream)
        .hint("repair the bookmark, or remove it to read the stream from start_date again")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use serde_json::json;

    use super::*;

    #[test]
    fn every_known_form_is_read_and_one_is_written() {
        for form in [
            json!("2026-01-02T03:04:05.678000Z"),
            json!("2026-01-02T04:04:05.678+01:00"),
            json!("2026-01-02T03:04:05.678"),
            json!({"updated_at": "2026-01-02T03:04:05.678Z"}),
            json!({"replication_key": "updated_at",
                   "replication_key_value": "2026-01-02T03:04:05.678Z"}),
        ] {
            let instant = read("users", Some(&form)).unwrap().unwrap();
            assert_eq!(write(instant), json!("2026-01-02T03:04:05.678000Z"));
        }
    }

    #[test]
    fn no_bookmark_is_none_and_a_bad_one_an_error() {
        for form in [json!(null), json!({})] {
            assert_eq!(read("users", Some(&form)).unwrap(), None);
        }
        for form in [json!("yesterday"), json!(7), json!({"updated_at": 7})] {
            assert!(read("users", Some(&form)).is_err());
        }
    }
}
