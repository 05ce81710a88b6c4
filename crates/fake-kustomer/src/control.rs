//! `/_sim`: the simulator's own endpoints, which need no token.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use http_body::Frame;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::clock::When;
use crate::fault::{FaultHit, FaultRule, Hook};
use crate::hostile::Hostile;
use crate::mutation::{Mutation, Outcome};
use crate::oracle::{Bounds, Oracle, Place, Summary};
use crate::out::timestamp;
use crate::route::Query;
use crate::state::{Shared, Stats};

/// Moves and changes a running organisation; cheap to clone.
#[derive(Clone)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
}

impl Control {
    /// Makes a change now.
    pub fn mutate(&self, mutation: &Mutation) -> Result<Outcome, String> {
        self.shared.mutate(mutation)
    }

    /// The simulated time, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.shared.clock.now()
    }

    /// Moves the clock forward.
    pub fn advance(&self, by_ms: i64) {
        self.shared.clock.advance(by_ms);
    }

    /// Sets the clock.
    pub fn set_clock(&self, to_ms: i64) {
        self.shared.clock.set(to_ms);
    }

    /// Stops the clock, or lets it run again.
    pub fn freeze(&self, frozen: bool) {
        self.shared.clock.freeze(frozen);
    }

    /// Sets how many simulated seconds pass per real one.
    pub fn set_factor(&self, factor: f64) {
        self.shared.clock.set_factor(factor);
    }

    /// Adds a fault rule.
    pub fn add_fault(&self, rule: FaultRule) {
        self.shared.faults().push(rule);
    }

    /// Adds a change that follows a request.
    pub fn add_hook(&self, hook: Hook) {
        self.shared.faults().push_hook(hook);
    }

    /// Removes all fault rules and hooks; the log of faults stays.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// The faults that befell requests, in order.
    pub fn fault_log(&self) -> Vec<FaultHit> {
        self.shared.faults().hits.clone()
    }

    /// Makes a record's bytes what `hostile` says, from now on.
    pub fn add_hostile(&self, hostile: &Hostile) -> Result<(), String> {
        let mut world = self.shared.world_mut();
        let mut map = std::mem::take(&mut world.hostile);
        let added = map.add(&world, hostile);
        world.hostile = map;
        added
    }

    /// Requests served so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats().clone()
    }

    /// Starts counting requests anew. Ordinals of faults start anew with it.
    pub fn reset_stats(&self) {
        *self.shared.stats() = Stats::default();
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockChange {
    set: Option<When>,
    advance_ms: Option<i64>,
    factor: Option<f64>,
    frozen: Option<bool>,
}

/// One thing, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    fn list(self) -> Vec<T> {
        match self {
            Self::Many(list) => list,
            Self::One(one) => vec![one],
        }
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the body: {error}"))
}

/// Reads one or several; the error is that of the one thing meant.
fn read_list<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<Vec<T>, String> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return read::<Vec<T>>(body);
    }
    read::<T>(body).map(|one| OneOrMany::One(one).list())
}

/// Answers a request to `/_sim`.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    method: &Method,
    path: &str,
    query: &str,
    body: &Bytes,
) -> Response<Body> {
    let query = Query::parse(query);
    let parts: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
    let oracle = Oracle { shared: Arc::clone(shared) };
    if let (&Method::GET, ["oracle", stream]) = (method, parts.as_slice()) {
        return match bounds(&query, shared) {
            Ok(bounds) => stream_oracle(oracle, (*stream).to_owned(), bounds),
            Err(error) => answer(Err::<Value, _>(error)),
        };
    }
    if let (&Method::GET, ["oracle", stream, "summary"]) = (method, parts.as_slice()) {
        let stream = (*stream).to_owned();
        let bounds = bounds(&query, shared);
        let work = move || bounds.and_then(|bounds| oracle.summary(&stream, bounds));
        let summary: Result<Summary, String> =
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()));
        return answer(summary);
    }
    let control = Control { shared: Arc::clone(shared) };
    answer(change(&control, &oracle, method, &parts, body))
}

fn change(
    control: &Control,
    oracle: &Oracle,
    method: &Method,
    parts: &[&str],
    body: &[u8],
) -> Result<Value, String> {
    let shared = &control.shared;
    let done = || json!({"ok": true});
    Ok(match (method, parts) {
        (&Method::GET, [] | [""]) => json!({
            "streams": shared.world().streams.iter().map(|s| s.name.clone()).collect::<Vec<_>>(),
            "clock": clock(shared),
        }),
        (&Method::GET, ["config"]) => to_value(&shared.config),
        (&Method::GET, ["clock"]) => clock(shared),
        (&Method::POST, ["clock"]) => {
            let change: ClockChange = read(body)?;
            if let Some(frozen) = change.frozen {
                control.freeze(frozen);
            }
            if let Some(factor) = change.factor {
                control.set_factor(factor);
            }
            if let Some(to) = change.set {
                control.set_clock(to.resolve(shared.clock.origin()));
            }
            if let Some(by) = change.advance_ms {
                control.advance(by);
            }
            clock(shared)
        }
        (&Method::POST, ["mutate"]) => {
            let mut outcomes = Vec::new();
            for mutation in read_list::<Mutation>(body)? {
                outcomes.push(control.mutate(&mutation)?);
            }
            json!({"outcomes": to_value(&outcomes)})
        }
        (&Method::GET, ["faults"]) => json!({
            "rules": to_value(&shared.faults().rules()),
            "hits": to_value(&control.fault_log()),
        }),
        (&Method::POST, ["faults"]) => {
            for rule in read_list::<FaultRule>(body)? {
                control.add_fault(rule);
            }
            done()
        }
        (&Method::DELETE, ["faults"]) => {
            control.clear_faults();
            done()
        }
        (&Method::POST, ["hooks"]) => {
            for hook in read_list::<Hook>(body)? {
                control.add_hook(hook);
            }
            done()
        }
        (&Method::POST, ["hostile"]) => {
            for hostile in read_list::<Hostile>(body)? {
                control.add_hostile(&hostile)?;
            }
            done()
        }
        (&Method::GET, ["stats"]) => to_value(&control.stats()),
        (&Method::DELETE, ["stats"]) => {
            control.reset_stats();
            done()
        }
        (&Method::GET, ["record", stream, id]) => {
            oracle.record(stream, id).ok_or_else(|| format!("no {stream} {id}"))?
        }
        (&Method::GET, ["versions", stream, id]) => to_value(&oracle.versions(stream, id)),
        _ => return Err(format!("no such endpoint: {method} /_sim/{}", parts.join("/"))),
    })
}

fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn clock(shared: &Shared) -> Value {
    let now = shared.clock.now();
    json!({
        "now": timestamp(now),
        "now_ms": now,
        "factor": shared.clock.factor(),
        "frozen": shared.clock.is_frozen(),
    })
}

fn answer<T: Serialize>(result: Result<T, String>) -> Response<Body> {
    let (status, text) = match result {
        Ok(value) => (StatusCode::OK, serde_json::to_string(&value).unwrap_or_default()),
        Err(error) => (StatusCode::BAD_REQUEST, json!({"error": error}).to_string()),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

fn bounds(query: &Query, shared: &Shared) -> Result<Bounds, String> {
    let instant = |name: &str| {
        let text = query.get(name).filter(|text| !text.is_empty());
        let parsed = text.map(|text| match text.parse::<i64>() {
            Ok(ms) if !text.starts_with(['+', '-']) => Ok(ms),
            _ => text.parse::<When>().map(|when| when.resolve(shared.clock.origin())),
        });
        parsed.transpose()
    };
    Ok(Bounds { from_ms: instant("from")?, until_ms: instant("until")? })
}

/// A body fed line by line from another thread.
struct Lines(mpsc::Receiver<Bytes>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn stream_oracle(oracle: Oracle, stream: String, bounds: Bounds) -> Response<Body> {
    if let Err(error) = oracle.shared.world().streams_of(&stream) {
        return answer(Err::<Value, _>(error));
    }
    let (sender, receiver) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let mut place = Place::default();
        loop {
            let mut lines = Vec::new();
            let next = oracle.some(&stream, bounds, place, 1000, |held, _| {
                lines.extend_from_slice(serde_json::to_string(held).unwrap_or_default().as_bytes());
                lines.push(b'\n');
            });
            if !lines.is_empty() && sender.blocking_send(lines.into()).is_err() {
                return;
            }
            match next {
                Ok(Some(next)) => place = next,
                _ => return,
            }
        }
    });
    let mut response = Response::new(Body::new(Lines(receiver)));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/x-ndjson"));
    response
}
