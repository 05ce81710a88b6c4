//! What an answer other than success means, and what it means when there is none.

use bobbin_core::{Error, ErrorKind};
use serde_json::Value;

/// What to do about it.
#[derive(Debug)]
pub(super) enum Meaning {
    /// Try again; `held` when it was one call too many for the budget, which is no failure.
    Again { error: Error, held: bool },
    /// This call will never be answered.
    Refused(Error),
    /// No call will be answered.
    Stop(Error),
}

/// What a status other than success means. `call` names the call, `token` must not be shown.
pub(super) fn of_status(status: u16, body: &[u8], call: &str, host: &str, token: &str) -> Meaning {
    let said = complaint_in(body).filter(|said| token.len() < 8 || !said.contains(token));
    let again = |kind, message: &str, held| Meaning::Again {
        error: Error::new(kind, message.to_owned()).with("status", status),
        held,
    };
    match status {
        429 => again(ErrorKind::RateLimited, "too many calls", true),
        408 => again(ErrorKind::Timeout, "the API gave up waiting", false),
        425 | 500.. => again(ErrorKind::Unavailable, "the API is out of order", false),
        300..=399 => Meaning::Refused(
            Error::protocol("the API answers with a redirection")
                .with("status", status)
                .with("host", host)
                .hint("set api_url, region or organization to the API's own host"),
        ),
        401 => Meaning::Stop(unauthorized(status, host, said.as_deref())),
        403 if pods(said.as_deref().unwrap_or_default()).is_some() => {
            Meaning::Stop(unauthorized(status, host, said.as_deref()))
        }
        403 => Meaning::Refused(
            with_said(Error::new(ErrorKind::Permission, "the API key may not do this"), said)
                .with("call", call),
        ),
        _ => Meaning::Refused(
            with_said(Error::protocol("the API refuses the call"), said)
                .with("status", status)
                .with("call", call),
        ),
    }
}

/// The error for a key that is not accepted.
fn unauthorized(status: u16, host: &str, said: Option<&str>) -> Error {
    let said = said.unwrap_or_default();
    if let Some((key, pod)) = pods(said) {
        return Error::new(
            ErrorKind::Auth,
            format!("the API key belongs to region {key}, and {host} serves {pod}"),
        )
        .with("status", status)
        .hint(format!("set region to {key}, or organization to your organisation's name"));
    }
    let expired = said.to_ascii_lowercase().contains("expired");
    let message = if expired { "the API key has expired" } else { "the API key is not accepted" };
    Error::new(ErrorKind::Auth, message).with("status", status).with("host", host).hint(
        "make a new key in Kustomer under Settings > Security > API Keys, without an expiry, \
         and set api_token to it; if the key is right, check region or organization",
    )
}

/// What a broken connection means.
pub(super) fn of_transport(host: &str, error: ureq::Error) -> Error {
    let (kind, message, hint) = match &error {
        ureq::Error::HostNotFound => (
            ErrorKind::Unavailable,
            "the host's name is not known",
            "check organization, region or api_url, and this machine's DNS",
        ),
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => (
            ErrorKind::Timeout,
            "connecting took too long",
            "check that this machine may reach the API; a firewall may swallow the packets",
        ),
        ureq::Error::Timeout(_) => (
            ErrorKind::Timeout,
            "the API took too long to answer",
            "if it happens often, lower page_size_limit",
        ),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => (
            ErrorKind::Unavailable,
            "a secure connection could not be made",
            "check this machine's clock and certificates; a proxy may be in between",
        ),
        ureq::Error::Io(io) => match io.kind() {
            std::io::ErrorKind::ConnectionRefused => (
                ErrorKind::Unavailable,
                "the host refuses connections",
                "check organization, region or api_url",
            ),
            std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => (
                ErrorKind::Timeout,
                "the API took too long to answer",
                "if it happens often, lower page_size_limit",
            ),
            _ if io.to_string().contains("lookup address") => (
                ErrorKind::Unavailable,
                "the host's name is not known",
                "check organization, region or api_url, and this machine's DNS",
            ),
            _ if tls(io) => (
                ErrorKind::Unavailable,
                "a secure connection could not be made",
                "check this machine's clock and certificates; a proxy may be in between",
            ),
            _ => (
                ErrorKind::Unavailable,
                "the connection broke",
                "check the network between this machine and the API",
            ),
        },
        _ => (
            ErrorKind::Unavailable,
            "the answer did not arrive whole",
            "check the network between this machine and the API",
        ),
    };
    Error::new(kind, message).with("host", host).hint(hint).caused_by(error)
}

fn tls(error: &std::io::Error) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    text.contains("certificate") || text.contains("tls") || text.contains("handshake")
}

fn with_said(error: Error, said: Option<String>) -> Error {
    match said {
        Some(said) => error.with("the API says", said),
        None => error,
    }
}

/// What an error answer says, in either shape (kustomer-api 7), shortened.
fn complaint_in(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let errors = value.get("errors").or_else(|| value.get("error")).unwrap_or(&value);
    Some(complaint_of(errors)).filter(|text| !text.is_empty())
}

/// What a piece of JSON with errors says, shortened.
pub(super) fn complaint(errors: &str) -> String {
    serde_json::from_str(errors).map(|value| complaint_of(&value)).unwrap_or_default()
}

fn complaint_of(errors: &Value) -> String {
    let first = match errors {
        Value::Array(list) => list.first().unwrap_or(&Value::Null),
        other => other,
    };
    let text = ["message", "detail", "title", "code"]
        .iter()
        .find_map(|key| first.get(*key).and_then(Value::as_str))
        .or_else(|| first.as_str())
        .unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(160).collect()
}

/// The two regions of "token associated with pod A but request is being handled by B".
fn pods(said: &str) -> Option<(String, String)> {
    if !said.contains("pod") {
        return None;
    }
    let mut found = said
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| {
            word.strip_prefix("prod")
                .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
        .map(str::to_owned);
    Some((found.next()?, found.next()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    #[test]
    fn the_two_regions_are_found_in_the_message() {
        assert_eq!(
            pods("token associated with pod prod2 but request is being handled by prod1"),
            Some(("prod2".to_owned(), "prod1".to_owned()))
        );
        assert_eq!(pods("token is bad"), None);
    }

    #[test]
    fn both_error_shapes_are_understood() {
        let short = br#"{"errors":[{"code":"bad_request","message":"Invalid value.","meta":{}}]}"#;
        let long = br#"{"errors":[{"status":"404","code":"not_found","title":"Not found.","detail":"No such id."}]}"#;
        assert_eq!(complaint_in(short).unwrap(), "Invalid value.");
        assert_eq!(complaint_in(long).unwrap(), "No such id.");
        assert_eq!(complaint_in(b"<html>"), None);
        assert_eq!(complaint_in(b""), None);
    }
}
