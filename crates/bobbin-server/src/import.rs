//! Stitch's Import API (`/v2/import`): programs push records into a connection (`stitch-behaviour.md` 9.7,
//! F-100). What is answered with 201 is durable; a job of the connection loads it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use bobbin_core::Error;
use bobbin_core::id::ConnectionId;
use bobbin_import::Batch;
use bobbin_import::request::{MOST_BODY_BYTES, Refused, RefusedKind, Requests};
use futures_core::Stream;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::api::Answer;
use crate::problem::Problem;
use crate::who::bearer;
use crate::{Api, token};

/// Where all its addresses begin.
pub(crate) const ROOT: &str = "/v2/import/";

/// The one address that needs no token.
pub(crate) const STATUS: &str = "/v2/import/status";

/// Bytes of a body that is too large that are read before the answer.
const MOST_UNREAD: usize = 4 * MOST_BODY_BYTES;

/// Bodies that are in memory at once, and how many of them are of one connection.
const MOST_BODIES: usize = 8;
const MOST_OF_ONE: usize = 4;

/// How long a request waits for a place of its connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Seconds after which whoever found none may come again.
const AGAIN: u16 = 10;

/// How fast a body must come: all of it in this time, and a second more for so many bytes that are there.
const PACE: Pace = Pace { first: Duration::from_mins(1), bytes_per_second: 100_000 };

struct Import {
    api: Arc<Api>,
    requests: Requests,
    places: Places,
}

/// Places for bodies.
struct Places {
    all: Arc<Semaphore>,
    of: Mutex<HashMap<ConnectionId, Arc<Semaphore>>>,
}

/// A place, as long as this is there.
type Place = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Places {
    fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(MOST_BODIES)), of: Mutex::default() }
    }

    /// A place for a body of a connection, which waits for its own ones before it takes anybody else's.
    async fn enter(&self, connection: &ConnectionId, patience: Duration) -> Answer<Place> {
        let of = {
            let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
            of.retain(|_, places| Arc::strong_count(places) > 1);
            let places = || Arc::new(Semaphore::new(MOST_OF_ONE));
            Arc::clone(of.entry(connection.clone()).or_insert_with(places))
        };
        let Ok(own) = tokio::time::timeout(patience, of.acquire_owned()).await else {
            let detail = format!(
                "{MOST_OF_ONE} requests of this connection are on their way; send fewer at once"
            );
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(AGAIN));
        };
        let any = Arc::clone(&self.all).acquire_owned().await;
        Ok((own.map_err(|_| stopping())?, any.map_err(|_| stopping())?))
    }
}

pub(crate) fn router(api: Arc<Api>) -> Router {
    let import = Import { api, requests: Requests::default(), places: Places::new() };
    Router::new()
        .route("/v2/import/batch", post(batch))
        .route("/v2/import/push", post(push))
        .route("/v2/import/validate", post(validate))
        .route(STATUS, get(status))
        .with_state(Arc::new(import))
}

async fn status() -> Json<Value> {
    Json(json!({ "name": "pipeline.gate", "status": "OK" }))
}

type Done = Answer<(StatusCode, Json<Value>)>;

async fn batch(State(import): State<Arc<Import>>, request: Request) -> Done {
    taken(import, request, |requests, body| requests.batch(body)).await
}

async fn push(State(import): State<Arc<Import>>, request: Request) -> Done {
    taken(import, request, |requests, body| requests.push(body)).await
}

/// Whether a body could be taken; nothing is kept.
async fn validate(State(import): State<Arc<Import>>, request: Request) -> Done {
    let (parts, body) = request.into_parts();
    let connection = connection(&import, &parts.headers).await?;
    let _place = import.places.enter(&connection, PATIENCE).await?;
    let body = whole(&parts.headers, body, PACE).await?;
    let checked = Arc::clone(&import);
    let check = move || {
        // An array is what is pushed, an object a batch.
        let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'[') {
            checked.requests.push(&body)
        } else {
            checked.requests.batch(&body)
        }
    };
    blocking(check).await?.map_err(refused)?;
    Ok((StatusCode::OK, Json(json!({ "status": "OK", "message": "Batch is valid!" }))))
}

async fn taken(
    import: Arc<Import>,
    request: Request,
    read: fn(&Requests, &[u8]) -> Result<Vec<Batch>, Refused>,
) -> Done {
    let (parts, body) = request.into_parts();
    let connection = connection(&import, &parts.headers).await?;
    let _place = import.places.enter(&connection, PATIENCE).await?;
    let body = whole(&parts.headers, body, PACE).await?;
    let taker = Arc::clone(&import);
    blocking(move || {
        let batches = read(&taker.requests, &body).map_err(refused)?;
        let program = &taker.api.program;
        program.inbox(&connection)?.accept(&batches, Timestamp::now()).map_err(unkept)?;
        program.pushed(&connection);
        Ok((StatusCode::CREATED, Json(json!({ "status": "OK", "message": "Batch accepted!" }))))
    })
    .await?
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Error::bug("a request's thread panicked").into())
}

/// The connection into which the token pushes.
async fn connection(import: &Import, headers: &HeaderMap) -> Answer<ConnectionId> {
    let given = bearer(headers).map(token::hash);
    let unknown = || {
        let detail = "a token of a connection is needed: Authorization: Bearer …; bobbin token \
                      create CONNECTION makes one";
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    };
    let hash = given.ok_or_else(unknown)?;
    let api = Arc::clone(&import.api);
    let found = blocking(move || api.engine.ledger()?.connection_of_token(&hash)).await??;
    let found = found.ok_or_else(unknown)?;
    if import.api.program.connections().contains_key(&found) { Ok(found) } else { Err(unknown()) }
}

/// How fast a body must come.
#[derive(Clone, Copy)]
struct Pace {
    /// The time it has in any case.
    first: Duration,
    /// Bytes that give it a second more.
    bytes_per_second: usize,
}

impl Pace {
    /// The time a body has of which so much is there.
    fn until(self, bytes: usize) -> Duration {
        self.first + Duration::from_secs((bytes / self.bytes_per_second) as u64)
    }
}

/// A body, read to its end.
async fn whole(headers: &HeaderMap, body: Body, pace: Pace) -> Answer<Vec<u8>> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let detail = "records are pushed as JSON: Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let large = || {
        let detail = format!("a request has at most {MOST_BODY_BYTES} bytes; send several");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let mut stream = body.into_data_stream();
    let (mut whole, mut length) = (Vec::new(), 0);
    let begun = Instant::now();
    loop {
        let part = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx));
        let Ok(part) = tokio::time::timeout_at(begun + pace.until(length), part).await else {
            let detail = "the body came too slowly; send it again, or less at once";
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
        };
        let Some(part) = part else { break };
        let part = part
            .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body ended before its end"))?;
        length += part.len();
        if length <= MOST_BODY_BYTES {
            whole.extend_from_slice(&part);
        } else {
            // Read on, or the client is cut off in the middle and never sees the answer.
            whole = Vec::new();
        }
        if length > MOST_UNREAD {
            break;
        }
    }
    if length > MOST_BODY_BYTES { Err(large()) } else { Ok(whole) }
}

fn refused(refused: Refused) -> Problem {
    let status = match refused.kind {
        RefusedKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusedKind::Invalid => StatusCode::BAD_REQUEST,
    };
    let mut problem = Problem::new(status, refused.message);
    if let Some(index) = refused.index {
        problem = problem.with("index", index);
    }
    if let Some(path) = refused.path {
        problem = problem.with("path", path);
    }
    problem
}

/// What could not be kept may be sent again later.
fn unkept(error: Error) -> Problem {
    use bobbin_core::ErrorKind::{Config, DiskFull, Io, Unavailable};
    match error.kind() {
        Config => Problem::new(StatusCode::BAD_REQUEST, error.report()),
        DiskFull | Io | Unavailable => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.report()).after(AGAIN)
        }
        _ => error.into(),
    }
}

fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the service is stopping")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::task::{Context, Poll};

    use axum::body::Bytes;
    use axum::http::HeaderValue;

    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    /// A body that gives a piece of so many bytes every so often, without end.
    struct Drops(tokio::time::Interval, usize);

    impl Stream for Drops {
        type Item = Result<Bytes, std::convert::Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            let size = self.1;
            self.0.poll_tick(cx).map(|_| Some(Ok(Bytes::from(vec![b'x'; size]))))
        }
    }

    #[test]
    fn a_body_that_trickles_is_given_up_and_one_that_flows_is_not() {
        run(async {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let pace = Pace { first: Duration::from_millis(300), bytes_per_second: 100_000 };
            let drops = |size| {
                let tick = tokio::time::interval(Duration::from_millis(20));
                Body::from_stream(Drops(tick, size))
            };
            let since = Instant::now();
            let slow = whole(&headers, drops(1), pace).await.unwrap_err();
            assert_eq!(slow.status(), StatusCode::REQUEST_TIMEOUT);
            assert!(since.elapsed() < Duration::from_secs(5));
            // Until it is too large.
            let fast = whole(&headers, drops(2 << 20), pace).await.unwrap_err();
            assert_eq!(fast.status(), StatusCode::PAYLOAD_TOO_LARGE);
        });
        // The largest one has minutes.
        assert!(PACE.until(MOST_BODY_BYTES) > Duration::from_mins(4));
    }

    #[test]
    fn a_connection_holds_half_of_the_places_at_most() {
        run(async {
            let (places, soon) = (Places::new(), Duration::from_millis(50));
            let (one, other) = (ConnectionId::from("one"), ConnectionId::from("other"));
            let mut held = Vec::new();
            for _ in 0..MOST_OF_ONE {
                held.push(places.enter(&one, soon).await.unwrap());
            }
            let refused = places.enter(&one, soon).await.unwrap_err();
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(refused.for_import().headers().contains_key(header::RETRY_AFTER));
            let theirs = places.enter(&other, soon).await.unwrap();
            held.pop();
            drop(places.enter(&one, soon).await.unwrap());
            drop((held, theirs));
            drop(places.enter(&other, soon).await.unwrap());
            assert_eq!(places.of.lock().unwrap().len(), 1, "who has left is forgotten");
        });
    }
}
