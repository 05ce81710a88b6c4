//! Idempotency keys: what is asked again with the same key is not done again, but answered as it was.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bobbin_core::{Error, Result};
use bobbin_engine::ledger::Reply;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use crate::api::{Answer, MOST_BODY_BYTES, asked};
use crate::gate::Gate;
use crate::problem::Problem;
use crate::token;
use crate::who::Who;

/// The header with the key.
const KEY: &str = "idempotency-key";

/// Characters of a key.
const LONGEST: usize = 255;

/// Bytes of an answer's body that are kept.
const MOST_KEPT: u64 = 64 << 10;

/// What a handler asks for whose answer holds a secret, which is kept nowhere: a request with a key is
/// refused before anything is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unkept(());

impl Unkept {
    /// The answer, marked so that nothing is kept of it.
    pub(crate) fn told(self, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Unkept {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let unkept = Self(());
        if parts.headers.contains_key(KEY) {
            let detail = "the answer holds a secret and is not kept: ask without Idempotency-Key";
            return Err(unkept.told(Problem::new(StatusCode::BAD_REQUEST, detail)));
        }
        Ok(unkept)
    }
}

/// Requests with a key that are being done, by whom and key.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<HashSet<(String, String)>>>);

/// One of them, as long as this is there.
struct Place {
    running: Running,
    of: (String, String),
}

impl Running {
    fn enter(&self, who: &str, key: &str) -> Option<Place> {
        let of = (who.to_owned(), key.to_owned());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(of.clone()).then(|| Place { running: self.clone(), of })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.of);
    }
}

/// The key of a changing request, if it has one.
///
/// # Errors
/// When that is no key.
pub(crate) fn key(path: &str, headers: &HeaderMap) -> Answer<Option<String>> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(key) = keys.next().filter(|_| path.starts_with("/api/v1/")) else { return Ok(None) };
    match key.to_str() {
        Ok(key)
            if (1..=LONGEST).contains(&key.len())
                && key.bytes().all(|byte| byte.is_ascii_graphic())
                && keys.next().is_none() =>
        {
            Ok(Some(key.to_owned()))
        }
        _ => {
            let detail = "Idempotency-Key is given once, as 1 to 255 visible ASCII characters";
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

/// Does what is asked for, or answers as before.
pub(crate) async fn once(
    gate: &Gate,
    who: &Who,
    key: String,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST_BODY_BYTES).await else {
        let detail = "the body is too long, or did not arrive";
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
    };
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let known = print(gate.api.token.reveal(), &[head.method.as_str(), target], &body);
    let known = match known {
        Ok(known) => known,
        Err(error) => return Problem::from(error).into_response(),
    };
    let who = who.number();
    let Some(place) = gate.watch.running.enter(&who, &key) else {
        let detail = "what was asked with this Idempotency-Key is still being done";
        return Problem::new(StatusCode::CONFLICT, detail).after(1).into_response();
    };
    let (of, by) = (who.clone(), key.clone());
    let before = asked(Arc::clone(&gate.api), move |api| {
        Ok(api.engine.ledger()?.reply(&of, &by, Timestamp::now())?)
    });
    match before.await {
        Ok(None) => {}
        Ok(Some((request, reply))) if request == known => return again(reply),
        Ok(Some(_)) => {
            let detail = "this Idempotency-Key was used for something else: take another one";
            return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).into_response();
        }
        Err(problem) => return problem.into_response(),
    }
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    // What failed here, or was too often, may be tried again; a secret is kept nowhere.
    let status = response.status();
    let unkept = response.extensions().get::<Unkept>().is_some();
    if unkept || status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return response;
    }
    let (response, reply) = kept(response).await;
    let warned = gate.api.warned;
    let done = asked(Arc::clone(&gate.api), move |api| {
        let _place = place;
        let ledger = api.engine.ledger();
        let kept = ledger
            .and_then(|ledger| ledger.keep_reply((&who, &key), &known, &reply, Timestamp::now()));
        if let Err(error) = kept {
            warned(&error);
        }
        Ok(())
    });
    // A thread that panicked has said so.
    let _ = done.await;
    response
}

/// What a request is known by. It may hold a password, and a plain hash of that could be guessed: so it is
/// one with a key that is not in the ledger.
fn print(token: &str, words: &[&str], body: &[u8]) -> Result<String> {
    let mut print = Hmac::<Sha256>::new_from_slice(token.as_bytes())
        .map_err(|error| Error::bug("a token that is no key").caused_by(error))?;
    for word in words {
        print.update(word.as_bytes());
        print.update(&[0]);
    }
    print.update(body);
    Ok(token::hex(&print.finalize().into_bytes()))
}

/// An answer, and what is kept of it.
async fn kept(response: Response) -> (Response, Reply) {
    let status = response.status().as_u16();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let content_type = kind.map(str::to_owned);
    let short = response.body().size_hint().upper().is_some_and(|bytes| bytes <= MOST_KEPT);
    if !short {
        return (response, Reply { status, content_type: None, body: None });
    }
    let (head, body) = response.into_parts();
    // It is in memory already.
    let bytes = to_bytes(body, MOST_KEPT as usize).await.unwrap_or_default();
    let reply = Reply { status, content_type, body: Some(bytes.to_vec()) };
    (Response::from_parts(head, Body::from(bytes)), reply)
}

fn again(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let mut response = (status, reply.body.unwrap_or_default()).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    if let Some(kind) = reply.content_type.and_then(|kind| HeaderValue::from_str(&kind).ok()) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}
