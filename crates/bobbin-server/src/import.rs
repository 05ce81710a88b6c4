//! Stitch's Import API (`/v2/import`): programs push records into a connection (`stitch-behaviour.md` 9.7,
//! F-100). What is answered with 201 is durable; a job of the connection loads it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

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
use tokio::sync::Semaphore;

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

/// Bodies that are in memory at once.
const MOST_BODIES: usize = 8;

struct Import {
    api: Arc<Api>,
    requests: Requests,
    places: Semaphore,
}

pub(crate) fn router(api: Arc<Api>) -> Router {
    let import = Import { api, requests: Requests::default(), places: Semaphore::new(MOST_BODIES) };
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
    connection(&import, &parts.headers).await?;
    let _place = import.places.acquire().await.map_err(|_| stopping())?;
    let body = whole(&parts.headers, body).await?;
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
    let _place = import.places.acquire().await.map_err(|_| stopping())?;
    let body = whole(&parts.headers, body).await?;
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

/// A body, read to its end.
async fn whole(headers: &HeaderMap, body: Body) -> Answer<Vec<u8>> {
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
    while let Some(part) = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
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
    use bobbin_core::ErrorKind::{DiskFull, Io, Unavailable};
    match error.kind() {
        DiskFull | Io | Unavailable => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.report())
        }
        _ => error.into(),
    }
}

fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the service is stopping")
}
