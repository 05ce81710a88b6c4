//! One request: who asks, what for, what goes wrong, and the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use crate::clock::http_date;
use crate::config::{ErrorShape, RateHeaders, Token};
use crate::fault::{Call, Fault, FaultBody};
use crate::out::quoted;
use crate::page::PageFaults;
use crate::rate::{Budget, reset_text};
use crate::route::Route;
use crate::state::Shared;
use crate::wire::{Wire, WireFault};

const BODY_LIMIT: usize = 1 << 20;
const HTML: &str = "<!DOCTYPE html><html><head><title>Service unavailable</title></head>\
    <body><h1>Service unavailable</h1><p>Please try again later.</p></body></html>";

/// An answer in the making.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) records: u64,
}

impl Reply {
    pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            content_type: "application/json; charset=utf-8",
            headers: Vec::new(),
            records: 0,
        }
    }
}

/// A refusal, before it has a shape.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: 400, code: "bad_request", message: message.into() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { status: 404, code: "not_found", message: message.into() }
    }
}

/// An error body in the organisation's shape.
fn error(shape: ErrorShape, refusal: &Refusal) -> Reply {
    let message = quoted(&refusal.message);
    let Refusal { status, code, .. } = refusal;
    let text = match shape {
        ErrorShape::Short => {
            format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":{message},\"meta\":{{}}}}]}}")
        }
        ErrorShape::Long => format!(
            "{{\"errors\":[{{\"status\":\"{status}\",\"code\":\"{code}\",\"title\":{message},\
             \"detail\":{message},\"source\":{{\"parameters\":\"\"}},\"meta\":{{}},\"links\":{{}}}}]}}"
        ),
    };
    Reply::json(*status, text)
}

/// Answers every request that is not for `/_sim`.
pub(crate) async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    if parts.uri.path().starts_with("/_sim") {
        let query = parts.uri.query().unwrap_or("");
        return crate::control::serve(&shared, &parts.method, parts.uri.path(), query, &body).await;
    }
    let authorization = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    let route =
        Route::parse(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or(""), &body);
    let call = Call {
        endpoint: route.endpoint(),
        stream: route.stream().to_owned(),
        page: route.page(),
        path: parts.uri.path().to_owned(),
        ordinal: begin(&shared, &route),
    };
    let delay = Duration::from_millis(shared.config.latency_ms);
    let (mut response, more, cut) = answer(&shared, &wire, authorization, &route, &call);
    if !cut {
        let status = response.status().as_u16();
        *shared.stats().by_status.entry(status).or_default() += 1;
    }
    if !(delay + more).is_zero() {
        tokio::time::sleep(delay + more).await;
    }
    if parts.method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}

/// Counts the request; its ordinal.
fn begin(shared: &Shared, route: &Route) -> u64 {
    let mut stats = shared.stats();
    stats.requests += 1;
    let kind = format!("{} {}", route.endpoint(), route.stream());
    *stats.by_kind.entry(kind.trim_end().to_owned()).or_default() += 1;
    stats.requests
}

/// The answer, how late it is, and whether no status ever arrives.
fn answer(
    shared: &Shared,
    wire: &Wire,
    authorization: Option<&str>,
    route: &Route,
    call: &Call,
) -> (Response<Body>, Duration, bool) {
    let now = shared.clock.now();
    let faults = shared.faults().strike(call, now);
    let mut budget = None;
    let mut reply = match admit(shared, authorization, route, now) {
        Err(refusal) => error(shared.config.errors, &refusal),
        Ok(()) => {
            let search = matches!(call.endpoint, "search" | "archive");
            budget = shared.rate().take(&shared.config.rate, now, search);
            if budget.is_some_and(|budget| budget.refused) {
                too_many(shared, budget, now)
            } else {
                let page_faults = PageFaults::new(&faults);
                match crate::list::respond(shared, route, call, &page_faults) {
                    Ok(reply) => reply,
                    Err(refusal) => error(shared.config.errors, &refusal),
                }
            }
        }
    };
    rate_headers(shared, &mut reply, budget, now);
    let mut date = now;
    let mut delay = Duration::ZERO;
    let mut cut = false;
    for fault in &faults {
        apply(shared, wire, fault, &mut reply, &mut date, &mut delay, &mut cut);
    }
    {
        let mut stats = shared.stats();
        if cut {
            *stats.by_status.entry(0).or_default() += 1;
        }
        stats.records += reply.records;
        stats.bytes += reply.body.len() as u64;
    }
    shared.follow(call);
    (finish(reply, date), delay, cut)
}

/// Token and roles.
fn admit(
    shared: &Shared,
    authorization: Option<&str>,
    route: &Route,
    now: i64,
) -> Result<(), Refusal> {
    let config = &shared.config;
    if config.tokens.is_empty() {
        return Ok(());
    }
    let denied =
        |message: &str| Refusal { status: 401, code: "unauthorized", message: message.to_owned() };
    let bearer = authorization.and_then(|value| value.strip_prefix("Bearer "));
    let Some(bearer) = bearer else { return Err(denied("Missing authorization token")) };
    let token = config.tokens.iter().find(|token| token.token == bearer.trim());
    let Some(token) = token else { return Err(denied("Invalid token")) };
    if token.expires.is_some_and(|at| at.resolve(shared.clock.origin()) <= now) {
        return Err(denied("Expired token"));
    }
    if let Some(pod) = token.pod.as_ref().filter(|pod| **pod != config.pod) {
        return Err(denied(&format!(
            "Token associated with pod {pod} but request is being handled by {}",
            config.pod
        )));
    }
    let wanted = route.roles();
    if wanted.is_empty() || wanted.iter().any(|role| holds(token, role)) {
        return Ok(());
    }
    Err(Refusal {
        status: 403,
        code: "forbidden",
        message: format!("Missing role: one of {} is required", wanted.join(", ")),
    })
}

/// Whether a token has a role, by itself or by a prefix ending in `*`.
fn holds(token: &Token, wanted: &str) -> bool {
    token.roles.iter().any(|role| match role.strip_suffix('*') {
        Some(prefix) => wanted.starts_with(prefix),
        None => role == wanted,
    })
}

fn too_many(shared: &Shared, budget: Option<Budget>, now: i64) -> Reply {
    let refusal =
        Refusal { status: 429, code: "rate_limited", message: "Too many requests".to_owned() };
    let mut reply = error(shared.config.errors, &refusal);
    if let Some(budget) = budget.filter(|_| shared.config.rate.retry_after) {
        let seconds = (budget.reset_ms - now + 999).div_euclid(1000);
        reply.headers.push(("retry-after", seconds.to_string()));
    }
    reply
}

fn rate_headers(shared: &Shared, reply: &mut Reply, budget: Option<Budget>, now: i64) {
    let config = &shared.config.rate;
    let Some(budget) = budget.filter(|_| config.headers != RateHeaders::Absent) else { return };
    reply.headers.push(("x-ratelimit-limit", budget.limit.to_string()));
    reply.headers.push(("x-ratelimit-remaining", budget.remaining.to_string()));
    reply.headers.push(("x-ratelimit-reset", reset_text(config.reset, budget.reset_ms, now)));
}

fn set_header(reply: &mut Reply, name: &'static str, value: Option<String>) {
    reply.headers.retain(|(present, _)| *present != name);
    if let Some(value) = value {
        reply.headers.push((name, value));
    }
}

/// Faults of the answer as a whole; those of its rows were done when it was written.
fn apply(
    shared: &Shared,
    wire: &Wire,
    fault: &Fault,
    reply: &mut Reply,
    date: &mut i64,
    delay: &mut Duration,
    cut: &mut bool,
) {
    let part = |reply: &Reply, at: f64| (reply.body.len() as f64 * at.clamp(0.0, 1.0)) as u64;
    const JSON: &str = "application/json; charset=utf-8";
    match fault {
        Fault::Status { status, body, retry_after } => {
            let refusal = Refusal {
                status: *status,
                code: if *status == 429 { "rate_limited" } else { "simulated_fault" },
                message: format!("Simulated status {status}"),
            };
            match body {
                FaultBody::Json => {
                    replace(reply, *status, JSON, error(shared.config.errors, &refusal).body);
                }
                FaultBody::Html => {
                    replace(reply, *status, "text/html", Bytes::from_static(HTML.as_bytes()));
                }
                FaultBody::Empty => replace(reply, *status, JSON, Bytes::new()),
                FaultBody::Text => {
                    replace(
                        reply,
                        *status,
                        "text/plain",
                        Bytes::from_static(b"upstream request failed"),
                    );
                }
            }
            set_header(reply, "retry-after", retry_after.clone());
        }
        Fault::CutBeforeResponse => {
            wire.arm(WireFault::CutHead(0));
            *cut = true;
        }
        Fault::CutInHeaders => {
            wire.arm(WireFault::CutHead(40));
            *cut = true;
        }
        Fault::CutInBody { at } => {
            wire.arm(WireFault::CutBody(
                part(reply, *at).min(reply.body.len().saturating_sub(1) as u64),
            ));
        }
        Fault::StallBody { at, ms } => {
            wire.arm(WireFault::Stall(part(reply, *at), Duration::from_millis(*ms)));
        }
        Fault::Drip { bytes, ms } => wire.arm(WireFault::Drip(*bytes, Duration::from_millis(*ms))),
        Fault::Slow { ms } => *delay += Duration::from_millis(*ms),
        Fault::Html => replace(reply, 200, "text/html", Bytes::from_static(HTML.as_bytes())),
        Fault::Empty => replace(reply, 200, JSON, Bytes::new()),
        Fault::BadGzip => {
            replace(
                reply,
                200,
                JSON,
                Bytes::from_static(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03not deflate"),
            );
            set_header(reply, "content-encoding", Some("gzip".to_owned()));
        }
        Fault::NotJson => {
            replace(reply, 200, "text/plain", Bytes::from_static(b"upstream connect error"));
        }
        Fault::TruncatedJson { at } => {
            let end = part(reply, *at) as usize;
            reply.body = reply.body.slice(..end);
        }
        Fault::ErrorsIn200 => {
            let refusal = Refusal {
                status: 200,
                code: "internal",
                message: "Something went wrong".to_owned(),
            };
            replace(reply, 200, JSON, error(shared.config.errors, &refusal).body);
        }
        Fault::RemainingZero => {
            set_header(reply, "x-ratelimit-remaining", Some("0".to_owned()));
            if !reply.headers.iter().any(|(name, _)| *name == "x-ratelimit-reset") {
                let now = shared.clock.now();
                let reset = reset_text(shared.config.rate.reset, now + 1000, now);
                set_header(reply, "x-ratelimit-reset", Some(reset));
            }
        }
        Fault::RateHeaders { limit, remaining, reset } => {
            set_header(reply, "x-ratelimit-limit", limit.clone());
            set_header(reply, "x-ratelimit-remaining", remaining.clone());
            set_header(reply, "x-ratelimit-reset", reset.clone());
        }
        Fault::SkewedDate { seconds } => *date += seconds * 1000,
        Fault::TrailingHtml => {
            reply.body = [&reply.body[..], HTML.as_bytes()].concat().into();
        }
        Fault::Bom => reply.body = [b"\xef\xbb\xbf", &reply.body[..]].concat().into(),
        // Done to the rows.
        Fault::NoData
        | Fault::NullData
        | Fault::TimedOut { .. }
        | Fault::DuplicateInPage
        | Fault::DuplicateAcrossPages
        | Fault::MissingRows { .. }
        | Fault::Unsorted
        | Fault::WrongTotal { .. }
        | Fault::ShrinkingTotal { .. }
        | Fault::NextLoop
        | Fault::NextMissing
        | Fault::RepeatPage
        | Fault::Poison { .. } => {}
    }
}

fn replace(reply: &mut Reply, status: u16, kind: &'static str, body: impl Into<Bytes>) {
    reply.status = status;
    reply.content_type = kind;
    reply.body = body.into();
    reply.records = 0;
}

fn finish(reply: Reply, date: i64) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static(reply.content_type));
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("date", &http_date(date));
    for (name, value) in &reply.headers {
        put(name, value);
    }
    response
}
