//! Who may ask for what: whoever is known, by a name of this service, from no web page but its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bobbin_core::Error;
use bobbin_engine::ledger::Role;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Api;
use crate::api::Answer;
use crate::audit::Asked;
use crate::guests::Peer;
use crate::live::Live;
use crate::pages::{self, Visit};
use crate::people::Tries;
use crate::problem::Problem;
use crate::replay::{self, Running};
use crate::who::{CSRF, Who, bearer, same};
use crate::{connect, import};

/// What the gate knows.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) api: Arc<Api>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) address: SocketAddr,
}

/// What requests share beside the ledger, as long as the process lives.
pub(crate) struct Watch {
    pub(crate) tries: Tries,
    /// Logs that are followed at once.
    followers: Arc<Semaphore>,
    /// What asks a destination at once.
    asking: Arc<Semaphore>,
    /// Jobs that are looked at.
    pub(crate) live: Arc<Live>,
    /// What is being done and must not be done twice.
    pub(crate) running: Running,
    /// Whether the service is for this machine alone.
    pub(crate) is_local: bool,
}

/// Logs that are followed at once; each takes a connection for long.
const MOST_FOLLOWERS: usize = 16;

/// Requests that ask a destination at once. A destination may hang, and of the threads for what blocks
/// ([`crate::BLOCKING`]) most must be left for whatever needs none.
const MOST_ASKING: usize = 3;
const _: () = assert!(2 * MOST_ASKING < crate::BLOCKING);

/// How long a request waits for that.
const PATIENCE: Duration = Duration::from_secs(5);

impl Watch {
    /// A turn to ask a destination, held until it has answered.
    ///
    /// # Errors
    /// When none is free for a while.
    pub(crate) async fn turn_to_ask(&self) -> Answer<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.asking).acquire_owned();
        if let Ok(Ok(turn)) = tokio::time::timeout(PATIENCE, turn).await {
            return Ok(turn);
        }
        let detail = "other requests wait for answers of sources and destinations; try again later";
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(10))
    }

    /// A seat of one who follows something without end.
    ///
    /// # Errors
    /// When none is free.
    pub(crate) fn seat(&self, instead: &str) -> Answer<OwnedSemaphorePermit> {
        Arc::clone(&self.followers).try_acquire_owned().map_err(|_| {
            let detail = format!("too many follow what happens; {instead}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(10)
        })
    }

    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            tries: Tries::new(),
            followers: Arc::new(Semaphore::new(MOST_FOLLOWERS)),
            asking: Arc::new(Semaphore::new(MOST_ASKING)),
            live: Arc::default(),
            running: Running::default(),
            is_local: address.ip().is_loopback(),
        }
    }
}

/// What is told to whoever asks: nothing of anybody's data.
const OPEN: [&str; 3] = ["/health", "/ready", "/api/v1/openapi.json"];

/// Where a session begins.
const LOGIN: &str = "/api/v1/session";

/// What a browser may do with an answer, unless that says so itself: show it, within no other page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The same where a body of many megabytes is on its way, or the destination is written.
const LONG_LIMIT: Duration = Duration::from_mins(5);

/// Ends of addresses that write into the destination or ask the source before they answer.
const LONG: [&str; 3] = ["/forecast", "/reset", "/retry"];

pub(crate) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let long = path.starts_with(import::ROOT) || LONG.iter().any(|end| path.ends_with(end));
    let limit = if long { LONG_LIMIT } else { LIMIT };
    let (parts, body) = request.into_parts();
    let changing = !is_look(&parts.method);
    let mut visit = Visit::of(&parts);
    let request = Request::from_parts(parts, body);
    let answer = gate.answer(&path, request, next, &mut visit.who);
    let response = match tokio::time::timeout(limit, answer).await {
        Ok(response) => response,
        Err(_) => {
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "the answer took too long").into_response()
        }
    };
    let mut response = in_form(response, &path, visit, changing).await;
    // A browser keeps nothing, takes nothing for what it is not, and gives nothing to other pages.
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// An error in the form of the interface that was asked, whoever gave it.
async fn in_form(response: Response, path: &str, visit: Visit, changing: bool) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let formed = |problem: Problem| match path {
        path if connect::ROOTS.iter().any(|root| path.starts_with(root)) => problem.for_stitch(),
        path if path.starts_with(import::ROOT) => problem.for_import(),
        path if pages::is_page(path) => pages::problem(&problem, visit, changing),
        _ => problem.into_response(),
    };
    if let Some(problem) = response.extensions().get::<Problem>() {
        return formed(problem.clone());
    }
    // What cannot be read of a request is told as plain text.
    let kind = response.headers().get(header::CONTENT_TYPE);
    let good = [&b"application/json"[..], b"application/problem+json", b"text/html"];
    if kind.is_some_and(|kind| good.iter().any(|form| kind.as_bytes().starts_with(form))) {
        return response;
    }
    let text = axum::body::to_bytes(response.into_body(), MOST_TEXT).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    formed(Problem::new(status, text))
}

/// Bytes of an error told as plain text.
const MOST_TEXT: usize = 4096;

/// Ends of the addresses with which jobs are started and stopped, connections checked and notices dismissed;
/// anything else that is no look sets something up.
const OPERATED: [&str; 10] = [
    "/jobs",
    "/stop",
    "/check",
    "/sync",
    "/reset",
    "/retry",
    "/backfill",
    "/dismiss",
    "/pause",
    "/enable",
];

/// Beginnings of the addresses that only an administrator may so much as look at.
const GOVERNED: [&str; 10] = [
    "/api/v1/keys",
    "/api/v1/users",
    "/api/v1/audit",
    "/api/v1/apply",
    "/api/v1/support",
    "/keys",
    "/users",
    "/audit",
    "/add",
    "/welcome",
];

/// End of the addresses that make many calls to a source, of which it grants so many.
const ASKS_THE_SOURCE: &str = "/forecast";

/// Addresses of what is everybody's own.
const OWN: [&str; 6] =
    ["/api/v1/session", "/api/v1/me", "/api/v1/me/password", "/me/password", "/logout", "/theme"];

/// Whether a request changes nothing.
fn is_look(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// What somebody must be allowed to do for a request.
fn needed(method: &Method, path: &str) -> Role {
    // What the file would change is told in its words, which are not for everybody.
    if GOVERNED.iter().any(|begin| path.starts_with(begin)) {
        return Role::Administrator;
    }
    if is_look(method) && path.ends_with(ASKS_THE_SOURCE) {
        return Role::Operator;
    }
    if is_look(method) || OWN.contains(&path) {
        return Role::Viewer;
    }
    // By its method, too: a source may be called `check`, and only an administrator removes it.
    let operates = *method == Method::PATCH
        || *method == Method::POST && OPERATED.iter().any(|end| path.ends_with(end))
        || *method == Method::DELETE && path.starts_with("/v4/") && path.ends_with("/sync");
    if operates { Role::Operator } else { Role::Administrator }
}

/// Somebody at the gate.
struct Entry {
    /// None at what is open to everybody.
    who: Option<Who>,
    /// Why they may not, though they are known.
    refused: Option<Problem>,
}

impl Gate {
    async fn answer(
        self,
        path: &str,
        mut request: Request,
        next: Next,
        seen: &mut Option<Who>,
    ) -> Response {
        let method = request.method().clone();
        let is_page = pages::is_page(path);
        if is_page && !is_look(&method) {
            request = match pages::with_csrf(request).await {
                Ok(request) => request,
                Err(problem) => return problem.into_response(),
            };
        }
        let mut entry = match self.enter(&method, path, request.headers()).await {
            Ok(entry) => entry,
            Err(problem) if is_page && problem.status() == StatusCode::UNAUTHORIZED => {
                let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
                return pages::to_login(&method, asked, request.headers());
            }
            Err(problem) => return problem.into_response(),
        };
        seen.clone_from(&entry.who);
        if let Some(who) = &entry.who {
            request.extensions_mut().insert(who.clone());
        }
        if is_look(&method) {
            return match entry.refused {
                Some(problem) => problem.into_response(),
                None => next.run(request).await,
            };
        }
        let peer = request.extensions().get::<Peer>().copied();
        let asked = Asked::of(&method, path, request.headers(), peer);
        let key = match replay::key(path, request.headers()) {
            Ok(key) => key,
            Err(problem) => {
                entry.refused = entry.refused.or(Some(problem));
                None
            }
        };
        // A change goes on to its end and is written down, though whoever asked for it has left.
        let done = tokio::spawn(async move {
            let response = match (entry.refused, &entry.who, key) {
                (Some(problem), _, _) => problem.into_response(),
                (None, Some(who), Some(key)) => replay::once(&self, who, key, request, next).await,
                (None, _, _) => next.run(request).await,
            };
            // Who logs in is written down there.
            if let Some(who) = entry.who {
                let status = response.status().as_u16();
                asked.write_down(&self.api, who.kind(), who.name(), status).await;
            }
            response
        });
        let panicked = |_| Problem::from(Error::bug("a request panicked")).into_response();
        done.await.unwrap_or_else(panicked)
    }

    /// Lets in whoever is known and what is open; says what of it is refused nevertheless.
    async fn enter(&self, method: &Method, path: &str, headers: &HeaderMap) -> Answer<Entry> {
        self.named(headers)?;
        from_own_page(method, headers)?;
        // Who pushes has a token of its own.
        let pushes = path.starts_with(import::ROOT);
        let logs_in = path == LOGIN && *method == Method::POST;
        if OPEN.contains(&path) || pushes || logs_in || pages::is_open(path) {
            return Ok(Entry { who: None, refused: None });
        }
        let Some(who) = Who::find(&self.api, headers).await? else {
            let detail = "a token is needed: Authorization: Bearer …; the first stands in the file \
                          api-token in bobbin's directory, bobbin key create makes others; or a \
                          session that is not over";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        };
        let refused = may(&who, method, path, headers).err();
        Ok(Entry { who: Some(who), refused })
    }

    /// Whether the service is asked for by a name of its own, so that a page in a browser cannot reach it
    /// under another name, which leads here (DNS rebinding).
    fn named(&self, headers: &HeaderMap) -> Answer<()> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        let name = name_of(host);
        let allowed = self.api.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
        // Nobody else's name is an address. On this machine only its own ones count.
        let is_address = || !self.address.ip().is_loopback() && name.parse::<IpAddr>().is_ok();
        if allowed || is_here(name) || is_address() {
            return Ok(());
        }
        let detail = "this service does not answer to that name; bobbin serve --allow-host NAME \
                      lets it";
        Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail))
    }
}

/// Refuses requests of web pages but for the service's own.
fn from_own_page(method: &Method, headers: &HeaderMap) -> Answer<()> {
    let refused = || {
        let detail = "requests of web pages of other places are not answered";
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-site") {
        Some("cross-site") => return refused(),
        // Another port or a name beside: somebody may come by a link from there.
        Some("same-site") if !is_look(method) || text("sec-fetch-mode") != Some("navigate") => {
            return refused();
        }
        _ => {}
    }
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    // No page has a token.
    let own = text("origin").is_some_and(|origin| origin.eq_ignore_ascii_case(&origin_of(headers)));
    if own && bearer(headers).is_none() { Ok(()) } else { refused() }
}

/// The origin of this service's pages, as whoever asks sees it.
fn origin_of(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    format!("{}://{host}", if is_encrypted(headers) { "https" } else { "http" })
}

/// Whether a proxy before the service says that it was asked with TLS. Whoever says so without one harms
/// only themselves: no page can say it of a browser's request.
pub(crate) fn is_encrypted(headers: &HeaderMap) -> bool {
    let told = headers.get_all("x-forwarded-proto").iter().next_back();
    let told = told.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    told.is_some_and(|told| told.trim().eq_ignore_ascii_case("https"))
}

/// Whether somebody may do that, by what they are and, in a session, by what only its own page knows.
fn may(who: &Who, method: &Method, path: &str, headers: &HeaderMap) -> Answer<()> {
    if let Some(session) = who.session.as_ref().filter(|_| !is_look(method)) {
        let given = headers.get(CSRF).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !same(given, &session.csrf) {
            let detail =
                "a session's changes carry the header X-Bobbin-CSRF, as GET /api/v1/me says";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
    }
    let needed = needed(method, path);
    if who.role() >= needed {
        return Ok(());
    }
    let detail = format!("that needs the role {}, this is a {}", needed.word(), who.role().word());
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

/// The name in a `Host`, without its port.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    }
}

/// Whether a name is one of this machine.
fn is_here(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_told_from_others() {
        for here in
            ["localhost", "LOCALHOST:8087", "127.0.0.1:1", "127.9.9.9", "[::1]:8087", "[::1]"]
        {
            assert!(is_here(name_of(here)), "{here}");
        }
        for there in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1:8087",
            "[::2]",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_here(name_of(there)), "{there}");
        }
    }

    #[test]
    fn a_name_gives_nobody_a_right() {
        use Role::{Administrator, Operator, Viewer};
        for (method, path, role) in [
            ("GET", "/api/v1/connections", Viewer),
            ("PUT", "/api/v1/me/password", Viewer),
            ("POST", "/api/v1/connections/c/jobs", Operator),
            ("POST", "/api/v1/notices/1/dismiss", Operator),
            ("PATCH", "/api/v1/connections/c", Operator),
            ("DELETE", "/v4/sources/1/sync", Operator),
            ("DELETE", "/api/v1/sources/sync", Administrator),
            ("DELETE", "/api/v1/connections/jobs", Administrator),
            ("PUT", "/api/v1/destinations/check", Administrator),
            ("PUT", "/api/v1/connections/dismiss", Administrator),
            ("PATCH", "/api/v1/users/anna", Administrator),
            ("PATCH", "/api/v1/channels/team", Operator),
            ("POST", "/api/v1/channels", Administrator),
            ("GET", "/api/v1/audit", Administrator),
            ("GET", "/connections/c/rejected/download", Viewer),
            ("POST", "/connections/c/rejected/retry", Operator),
            ("POST", "/connections/c/extractions/1/stop", Operator),
            ("GET", "/connections/c/extractions/1/live", Viewer),
        ] {
            let method = Method::try_from(method).unwrap();
            assert_eq!(needed(&method, path), role, "{method} {path}");
        }
    }

    #[test]
    fn only_pages_of_ones_own_are_answered() {
        let host = ("host", "b.example:8087");
        type Case = (&'static str, &'static [(&'static str, &'static str)], bool);
        let cases: [Case; 17] = [
            ("POST", &[], true),
            ("POST", &[("origin", "http://b.example:8087")], true),
            ("POST", &[("origin", "HTTP://B.example:8087")], true),
            ("POST", &[("origin", "https://b.example:8087")], false),
            ("POST", &[("origin", "https://b.example:8087"), ("x-forwarded-proto", "https")], true),
            ("POST", &[("origin", "http://b.example:8087"), ("x-forwarded-proto", "https")], false),
            ("GET", &[("origin", "http://b.example")], false),
            ("GET", &[("origin", "http://b.example:8087.evil.example")], false),
            ("GET", &[("origin", "null")], false),
            ("GET", &[("origin", "")], false),
            ("GET", &[("origin", "http://b.example:8087"), ("authorization", "Bearer x")], false),
            ("GET", &[("sec-fetch-site", "cross-site")], false),
            ("GET", &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], false),
            ("GET", &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate")], true),
            ("POST", &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate")], false),
            ("GET", &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")], false),
            ("POST", &[("sec-fetch-site", "same-origin")], true),
        ];
        for (method, more, good) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in more.iter().chain([&host]) {
                let name = HeaderName::try_from(*name).unwrap();
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
            let method = Method::try_from(method).unwrap();
            assert_eq!(from_own_page(&method, &headers).is_ok(), good, "{method} {more:?}");
        }
    }
}
