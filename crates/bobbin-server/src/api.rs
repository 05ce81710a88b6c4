//! `/api/v1`: a resource each for connections, their jobs and their slots.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router, middleware};
use bobbin_core::Error;
use bobbin_core::id::{ConnectionId, JobId, StreamName};
use bobbin_engine::RunReport;
use bobbin_engine::ledger::{JobRow, Load, SlotRow, Trigger};
use bobbin_engine::service::Seen;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::gate::{self, Gate, Watch};
use crate::problem::Problem;
use crate::{Api, Described};

mod acts;
pub(crate) mod channels;
pub(crate) mod data;
pub(crate) mod forecast;
mod keys;
mod log;
mod metrics;
pub(crate) mod people;
pub(crate) mod session;
pub(crate) mod setup;
mod streams;
mod support;
mod tokens;

pub(crate) type Answer<T> = Result<T, Problem>;

/// What a request carries, or why it cannot be read.
pub(crate) type Given<T, R> = Result<T, R>;

fn given<T>(given: Given<T, impl Refusal>) -> Answer<T> {
    given.map_err(|error| Problem::new(error.status(), error.to_string()))
}

/// Why something cannot be read of a request.
trait Refusal: std::fmt::Display {
    fn status(&self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }
}

impl Refusal for QueryRejection {}

impl Refusal for JsonRejection {
    fn status(&self) -> StatusCode {
        match JsonRejection::status(self) {
            StatusCode::PAYLOAD_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Bytes that a request's body may have.
pub(crate) const MOST_BODY_BYTES: usize = 64 << 10;

/// Entries of a list, unless asked for fewer or more, and at most.
const PAGE: u32 = 100;
const MOST_ENTRIES: u32 = 1000;

/// The API's document, OpenAPI 3.1; [`crate::pages`] show it to people.
pub(crate) const DOCUMENT: &str = include_str!("../openapi.json");

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

pub(crate) fn router(api: Arc<Api>, address: SocketAddr) -> Router {
    let watch = Arc::new(Watch::new(address));
    let gate = Gate { api: Arc::clone(&api), watch: Arc::clone(&watch), address };
    let of = |rest: &str| format!("/api/v1/connections/{{connection}}{rest}");
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/openapi.json", get(document))
        .route("/api/v1/types", get(setup::types))
        .route("/api/v1/sources", get(setup::sources).post(setup::make_source))
        .route(
            "/api/v1/sources/{name}",
            get(setup::source).put(setup::change_source).delete(setup::remove_source),
        )
        .route("/api/v1/sources/{name}/forecast", get(forecast::forecast))
        .route("/api/v1/destinations", get(setup::destinations).post(setup::make_destination))
        .route(
            "/api/v1/destinations/{name}",
            get(setup::destination)
                .put(setup::change_destination)
                .delete(setup::remove_destination),
        )
        .route(
            "/api/v1/destinations/{name}/check",
            get(setup::destination_check).post(setup::check_destination),
        )
        .route("/api/v1/channels", get(channels::channels).post(channels::make))
        .route(
            "/api/v1/channels/{name}",
            get(channels::channel)
                .put(channels::change)
                .patch(channels::enable)
                .delete(channels::remove),
        )
        .route("/api/v1/connections", get(connections).post(setup::make_connection))
        .route(
            &of(""),
            get(connection)
                .patch(change)
                .put(setup::change_connection)
                .delete(setup::remove_connection),
        )
        .route(&of("/definition"), get(setup::definition))
        .route(&of("/clone"), post(setup::clone_connection))
        .route("/api/v1/events", get(crate::events::events))
        .route(&of("/summary"), get(acts::summary))
        .route(&of("/reset"), post(acts::reset))
        .route(&of("/backfill"), post(acts::backfill))
        .route(&of("/rejected"), get(acts::rejected))
        .route(&of("/rejected/retry"), post(acts::retry))
        .route(&of("/tokens"), get(tokens::tokens).post(tokens::create))
        .route(&of("/tokens/{token}"), axum::routing::delete(tokens::delete))
        .route(&of("/check"), get(setup::source_check).post(setup::check_source))
        .route(&of("/jobs"), get(jobs).post(run))
        .route(&of("/jobs/{job}"), get(job))
        .route(&of("/jobs/{job}/log"), get(log::log))
        .route(&of("/streams"), get(streams::streams))
        .route(&of("/streams/{stream}"), get(streams::stream))
        .route(&of("/data"), get(data::tables))
        .route(&of("/data/{table}"), get(data::rows))
        .route(&of("/tables"), get(tables))
        .route(&of("/loads"), get(loads))
        .route(&of("/stop"), post(stop))
        .route(&of("/slots"), get(slots))
        .route("/api/v1/apply", get(differences).post(apply))
        .route("/api/v1/system", get(support::system))
        .route("/api/v1/support", get(support::bundle))
        .route("/api/v1/keys", get(keys::keys).post(keys::create))
        .route("/api/v1/keys/{key}", axum::routing::patch(keys::change).delete(keys::delete))
        .route("/api/v1/users", get(people::users).post(people::create))
        .route("/api/v1/users/{user}", axum::routing::patch(people::change).delete(people::remove))
        .route("/api/v1/me", get(people::me))
        .route("/api/v1/me/password", axum::routing::put(people::password))
        .route("/api/v1/session", post(session::begin).delete(session::end))
        .route("/api/v1/audit", get(audit))
        .route("/api/v1/notices", get(notices))
        .route("/api/v1/notices/{notice}/dismiss", post(dismiss))
        .merge(crate::connect::router())
        .merge(crate::pages::router())
        .with_state(Arc::clone(&api))
        .merge(crate::import::router(api))
        .fallback(async || Problem::not_found("address"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this cannot be done with it")
        })
        .layer(middleware::from_fn_with_state(gate, gate::pass))
        .layer(Extension(watch))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// Whether jobs can run: the service answers, the ledger can be read.
async fn ready(State(api): State<Arc<Api>>) -> Answer<Json<Value>> {
    let looked = asked(api, |api| {
        api.control.look()?;
        api.engine.ledger()?;
        Ok(())
    });
    // Anybody may ask, so why not is not told.
    let unready = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not ready");
    looked.await.map_err(unready)?;
    Ok(Json(json!({ "status": "ready" })))
}

/// A connection and what it does now.
#[derive(Serialize)]
pub(crate) struct Connection {
    id: ConnectionId,
    #[serde(flatten)]
    described: Described,
    schedule: String,
    /// When its next job is due; none while it is paused.
    next_job_at: Option<Timestamp>,
    paused: bool,
    /// `running`, `waiting` or `idle`.
    status: &'static str,
    running_since: Option<Timestamp>,
}

impl Connection {
    fn of(seen: Seen, described: &BTreeMap<ConnectionId, Described>) -> Option<Self> {
        let described = described.get(&seen.connection)?.clone();
        let configured = described.configured;
        let status = match (seen.running_since, seen.waiting) {
            (Some(_), _) => "running",
            (None, true) => "waiting",
            (None, false) => "idle",
        };
        Some(Self {
            id: seen.connection,
            described,
            schedule: seen.schedule.to_string(),
            next_job_at: seen.next,
            // What is not configured waits for its tables, not for somebody who paused it.
            paused: seen.paused && configured,
            status,
            running_since: seen.running_since,
        })
    }
}

/// A job.
#[derive(Serialize)]
struct Job {
    id: JobId,
    trigger: String,
    started_at: Timestamp,
    /// As [`JobRow::status`] says.
    status: &'static str,
    report: Option<RunReport>,
}

impl Job {
    fn of(row: JobRow) -> Self {
        let (status, started_at) = (row.status(), row.started);
        Self { id: row.id, trigger: row.trigger, started_at, status, report: row.report }
    }
}

/// Many of something; written as it is, without a tree of values first, where it is large.
#[derive(Serialize)]
struct Listed<T> {
    data: Vec<T>,
    /// Where the next page begins; none at the end.
    next_before: Option<JobId>,
}

#[derive(Deserialize)]
struct Page {
    limit: Option<u32>,
}

impl Page {
    fn limit(&self) -> u32 {
        self.limit.unwrap_or(PAGE).clamp(1, MOST_ENTRIES)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    paused: bool,
}

#[derive(Deserialize)]
struct JobsQuery {
    /// The job after which the page begins, as `next_before` of the page before says.
    before: Option<String>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
struct LoadsQuery {
    table: Option<String>,
    /// The load after which the page begins, as `next_before` of the page before says.
    before: Option<i64>,
    limit: Option<u32>,
}

/// A load with its number, by which pages go on.
#[derive(Serialize)]
struct Numbered {
    id: i64,
    #[serde(flatten)]
    load: Load,
}

#[derive(Deserialize)]
struct AuditQuery {
    /// The row after which the page begins, as `next_before` of the page before says.
    before: Option<i64>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
struct NoticesQuery {
    /// Also those that are over or dismissed.
    #[serde(default)]
    all: bool,
    limit: Option<u32>,
}

async fn connections(State(api): State<Arc<Api>>) -> Answer<Json<Value>> {
    let all = asked(api, |api| {
        let (seen, described) = (api.control.look()?, api.program.connections());
        let all = seen.into_iter().filter_map(|seen| Connection::of(seen, &described));
        Ok((all.collect::<Vec<_>>(), setup::broken(api)))
    });
    let (data, broken) = all.await?;
    Ok(Json(json!({ "data": data, "broken": broken })))
}

async fn connection(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
) -> Answer<Json<Connection>> {
    let found = asked(api, move |api| {
        let id = known(api, &connection)?;
        let seen = api.control.look()?.into_iter().find(|seen| seen.connection == id);
        seen.and_then(|seen| Connection::of(seen, &api.program.connections()))
            .ok_or_else(|| Problem::not_found("connection"))
    });
    Ok(Json(found.await?))
}

async fn change(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    change: Given<Json<Change>, JsonRejection>,
) -> Answer<Json<Connection>> {
    let Json(change) = given(change)?;
    let (asked_api, asked_id) = (Arc::clone(&api), id.clone());
    asked(asked_api, move |api| Ok(api.control.pause(&known(api, &asked_id)?, change.paused)?))
        .await?;
    connection(State(api), Path(id)).await
}

async fn run(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
) -> Answer<(StatusCode, Json<Value>)> {
    let begun = asked(api, move |api| {
        let id = known(api, &connection)?;
        setup::configured(api, &id)?;
        Ok(api.control.run(&id)?)
    });
    Ok((StatusCode::ACCEPTED, Json(json!({ "status": "accepted", "job": begun.await? }))))
}

async fn stop(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
) -> Answer<(StatusCode, Json<Value>)> {
    asked(api, move |api| Ok(api.control.stop(&known(api, &connection)?)?)).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "status": "accepted" }))))
}

async fn jobs(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
    query: Given<Query<JobsQuery>, QueryRejection>,
) -> Answer<Json<Listed<Job>>> {
    let Query(query) = given(query)?;
    let limit = Page { limit: query.limit }.limit();
    let data: Vec<Job> = asked(api, move |api| {
        let before = query.before.as_deref().map(JobId::from);
        let ledger = api.engine.ledger()?;
        let rows = ledger.jobs(&known(api, &connection)?, before.as_ref(), limit)?;
        Ok(rows.into_iter().map(Job::of).collect())
    })
    .await?;
    let next = data.last().filter(|_| data.len() == limit as usize).map(|last| last.id.clone());
    Ok(Json(Listed { data, next_before: next }))
}

async fn job(
    State(api): State<Arc<Api>>,
    Path((connection, job)): Path<(String, String)>,
) -> Answer<Json<Job>> {
    let row = asked(api, move |api| {
        let row = job_row(api, &known(api, &connection)?, &job.as_str().into())?;
        row.map(Job::of).ok_or_else(|| Problem::not_found("job"))
    });
    Ok(Json(row.await?))
}

/// A job as the ledger knows it, or as it will: one that somebody asked for has a name before it has begun, and
/// whoever was told that name finds it running.
pub(crate) fn job_row(api: &Api, connection: &ConnectionId, job: &JobId) -> Answer<Option<JobRow>> {
    let ledger = api.engine.ledger()?;
    if let Some(row) = ledger.job(connection, job)? {
        return Ok(Some(row));
    }
    let seen = api.control.look()?.into_iter().find(|seen| seen.connection == *connection);
    let trigger = seen.and_then(|seen| seen.trigger);
    // It may have begun, and even ended, since.
    if let Some(row) = ledger.job(connection, job)? {
        return Ok(Some(row));
    }
    Ok(match trigger {
        Some(trigger @ Trigger::Asked(at)) if trigger.job().as_ref() == Some(job) => Some(JobRow {
            id: job.clone(),
            started: at,
            trigger: trigger.word().to_owned(),
            ended: false,
            report: None,
        }),
        _ => None,
    })
}

/// The tables into which rows were loaded, with their counts (F-59).
async fn tables(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
) -> Answer<Json<Value>> {
    let tables = asked(api, move |api| {
        Ok(api.engine.ledger()?.loaded_tables(&known(api, &connection)?, Timestamp::now())?)
    });
    Ok(Json(json!({ "data": tables.await? })))
}

/// Loads, newest first, all or those of a table (F-60).
async fn loads(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
    query: Given<Query<LoadsQuery>, QueryRejection>,
) -> Answer<Json<Value>> {
    let Query(query) = given(query)?;
    let limit = Page { limit: query.limit }.limit();
    let loads = asked(api, move |api| {
        let table = query.table.map(StreamName::from);
        let ledger = api.engine.ledger()?;
        Ok(ledger.loads(&known(api, &connection)?, table.as_ref(), query.before, limit)?)
    });
    let loads: Vec<Numbered> =
        loads.await?.into_iter().map(|(id, load)| Numbered { id, load }).collect();
    let next = loads.last().filter(|_| loads.len() == limit as usize).map(|last| last.id);
    Ok(Json(json!({ "data": loads, "next_before": next })))
}

/// Who did what, newest first.
async fn audit(
    State(api): State<Arc<Api>>,
    query: Given<Query<AuditQuery>, QueryRejection>,
) -> Answer<Json<Value>> {
    let Query(query) = given(query)?;
    let limit = Page { limit: query.limit }.limit();
    let deeds = asked(api, move |api| Ok(api.engine.ledger()?.deeds(query.before, limit)?));
    let deeds = deeds.await?;
    let next = deeds.last().filter(|_| deeds.len() == limit as usize).map(|last| last.id);
    Ok(Json(json!({ "data": deeds, "next_before": next })))
}

/// How the file differs from what runs.
async fn differences(State(api): State<Arc<Api>>) -> Answer<Json<Value>> {
    compared(api, false).await
}

/// Makes what runs as the file says.
async fn apply(State(api): State<Arc<Api>>) -> Answer<Json<Value>> {
    compared(api, true).await
}

async fn compared(api: Arc<Api>, make: bool) -> Answer<Json<Value>> {
    let compared = asked(api, move |api| Ok(api.program.apply(make)?)).await?;
    Ok(Json(json!({
        "data": compared.connections,
        "settings": compared.settings,
        "file": compared.file,
        "applied": make,
    })))
}

/// What needs somebody's attention (F-91).
async fn notices(
    State(api): State<Arc<Api>>,
    query: Given<Query<NoticesQuery>, QueryRejection>,
) -> Answer<Json<Value>> {
    let Query(query) = given(query)?;
    let limit = Page { limit: query.limit }.limit();
    let notices = asked(api, move |api| Ok(api.engine.ledger()?.notices(query.all, limit)?));
    Ok(Json(json!({ "data": notices.await? })))
}

async fn dismiss(State(api): State<Arc<Api>>, Path(notice): Path<i64>) -> Answer<Json<Value>> {
    let there =
        asked(api, move |api| Ok(api.engine.ledger()?.dismiss(notice, Timestamp::now())?));
    if there.await? {
        Ok(Json(json!({ "status": "dismissed" })))
    } else {
        Err(Problem::not_found("notice"))
    }
}

async fn slots(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
    page: Given<Query<Page>, QueryRejection>,
) -> Answer<Json<Value>> {
    let Query(page) = given(page)?;
    let rows = asked(api, move |api| {
        let rows: Vec<SlotRow> =
            api.engine.ledger()?.slots(&known(api, &connection)?, page.limit())?;
        Ok(rows)
    });
    Ok(Json(json!({ "data": rows.await? })))
}

pub(crate) fn known(api: &Api, connection: &str) -> Answer<ConnectionId> {
    let id = ConnectionId::from(connection);
    if api.program.connections().contains_key(&id) {
        Ok(id)
    } else {
        Err(Problem::not_found("connection"))
    }
}

/// Runs what blocks where it may.
pub(crate) async fn asked<T: Send + 'static>(
    api: Arc<Api>,
    question: impl FnOnce(&Api) -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let answer = tokio::task::spawn_blocking(move || question(&api)).await;
    answer.unwrap_or_else(|_| Err(Error::bug("a request's thread panicked").into()))
}
