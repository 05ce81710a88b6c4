//! Bookmarks: how far a stream got, in the forms that Kustomer taps have used.

use bobbin_core::{Error, Result};
use jiff::Timestamp;
use serde_json::Value;

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
