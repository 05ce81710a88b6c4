//! Who may ask: whoever has the token, by a name of this machine, from no web page.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use bobbin_engine::ledger::Role;

use crate::api::{Answer, asked};
use crate::problem::Problem;
use crate::{Api, import, token};

/// What the gate knows.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) api: Arc<Api>,
    pub(crate) address: SocketAddr,
}

/// What is told to whoever asks: nothing of anybody's data.
const OPEN: [&str; 4] = ["/health", "/ready", "/api/v1/openapi.json", "/api/v1/docs"];

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The same where a body of many megabytes is on its way, or the destination is written.
const LONG_LIMIT: Duration = Duration::from_mins(5);

/// Ends of addresses that write into the destination before they answer.
const LONG: [&str; 2] = ["/reset", "/retry"];

pub(crate) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = async {
        match gate.check(&method, &path, request.headers()).await {
            Ok(()) => next.run(request).await,
            Err(problem) => problem.into_response(),
        }
    };
    let long = path.starts_with(import::ROOT) || LONG.iter().any(|end| path.ends_with(end));
    let limit = if long { LONG_LIMIT } else { LIMIT };
    let response = match tokio::time::timeout(limit, answer).await {
        Ok(response) => response,
        Err(_) => {
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "the answer took too long").into_response()
        }
    };
    in_form(response, &path).await
}

/// An error in the form of the interface that was asked, whoever gave it.
async fn in_form(response: Response, path: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let formed = |problem: Problem| match path {
        path if path.starts_with("/v4/") => problem.for_stitch(),
        path if path.starts_with(import::ROOT) => problem.for_import(),
        _ => problem.into_response(),
    };
    if let Some(problem) = response.extensions().get::<Problem>() {
        return formed(problem.clone());
    }
    // What cannot be read of a request is told as plain text.
    let kind = response.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        return response;
    }
    let text = axum::body::to_bytes(response.into_body(), MOST_TEXT).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    formed(Problem::new(status, text))
}

/// Bytes of an error told as plain text.
const MOST_TEXT: usize = 4096;

/// Ends of the addresses with which jobs are started and stopped and connections checked; anything else
/// that is no look sets something up.
const OPERATED: [&str; 7] = ["/jobs", "/stop", "/check", "/sync", "/reset", "/retry", "/backfill"];

/// What somebody must be allowed to do for a request.
fn needed(method: &Method, path: &str) -> Role {
    let looks = *method == Method::GET || *method == Method::HEAD;
    // What the file would change is told in its words, which are not for everybody.
    if path.starts_with("/api/v1/keys") || path == "/api/v1/apply" {
        return Role::Administrator;
    }
    if looks {
        return Role::Viewer;
    }
    let operates = OPERATED.iter().any(|end| path.ends_with(end))
        || *method == Method::PATCH
        || path.ends_with("/dismiss");
    if operates { Role::Operator } else { Role::Administrator }
}

impl Gate {
    async fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Answer<()> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        if self.address.ip().is_loopback() && !is_here(host) {
            let detail = "this service answers to names of its own machine only";
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
        }
        if headers.contains_key(header::ORIGIN) {
            let detail = "requests of web pages are not answered";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        // Who pushes has a token of its own.
        if OPEN.contains(&path) || path.starts_with(import::ROOT) {
            return Ok(());
        }
        let Some(role) = self.role(headers).await? else {
            let detail = "a token is needed: Authorization: Bearer …; the first stands in the file \
                          api-token in bobbin's directory, bobbin key create makes others";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        };
        let needed = needed(method, path);
        if role < needed {
            let detail = format!(
                "that needs a key of the role {}, this one is of a {}",
                needed.word(),
                role.word()
            );
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        Ok(())
    }

    /// What whoever asks may do; none where the token is none.
    async fn role(&self, headers: &HeaderMap) -> Answer<Option<Role>> {
        let Some(given) = bearer(headers) else { return Ok(None) };
        if same(given, self.api.token.reveal()) {
            return Ok(Some(Role::Administrator));
        }
        if !given.starts_with("bobbin_") {
            return Ok(None);
        }
        let hash = token::hash(given);
        asked(Arc::clone(&self.api), move |api| Ok(api.engine.ledger()?.role_of_key(&hash)?)).await
    }
}

/// The token that a request carries.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok())?;
    let (scheme, given) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| given.trim())
}

/// Whether a `Host` names this machine.
fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Compares in a time that tells nothing about where two texts differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_told_from_others() {
        for here in
            ["localhost", "LOCALHOST:8087", "127.0.0.1:1", "127.9.9.9", "[::1]:8087", "[::1]"]
        {
            assert!(is_here(here), "{here}");
        }
        for there in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1:8087",
            "[::2]",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_here(there), "{there}");
        }
        assert!(same("abc", "abc") && !same("abc", "abd") && !same("abc", "ab"));
    }
}
