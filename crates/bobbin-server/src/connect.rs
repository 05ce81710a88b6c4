//! Stitch's Connect API (`/v4`), as far as a service that is set up by its file can answer it: what
//! automation polls and starts needs another host and token, nothing else (`stitch-behaviour.md` 5.6,
//! 6.2, 6.4, 9.4).
//!
//! A *source* is what Stitch calls a connection with its source. What only the file can change is
//! refused with the error that Stitch gives for wrong properties.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bobbin_core::ErrorKind;
use bobbin_core::catalog::Stream;
use bobbin_core::id::{ConnectionId, StreamName};
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_core::selection::Treated;
use bobbin_core::tap::Discovery;
use bobbin_engine::ledger::Ledger;
use bobbin_engine::service::Seen;
use bobbin_engine::{Outcome, Phase, RunReport};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{Answer, Given, asked};
use crate::problem::Problem;
use crate::{Api, Described};

/// The number of the one account there is.
const CLIENT: i64 = 1;

/// Entries of a page.
const PAGE: usize = 100;

pub(crate) fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/v4/sources", get(sources))
        .route("/v4/sources/{source}", get(source).put(change))
        .route("/v4/sources/{source}/last-connection-check", get(check))
        .route("/v4/sources/{source}/streams", get(streams))
        .route("/v4/sources/{source}/streams/{stream_id}", get(stream))
        .route("/v4/sources/{source}/sync", axum::routing::post(start).delete(stop))
        .route("/v4/destinations", get(destinations))
        .route("/v4/{client}/extractions", get(extractions))
        .route("/v4/{client}/extractions/{job_name}", get(extraction))
        .route("/v4/{client}/loads", get(loads))
}

/// A connection with what there is to say of it.
struct Source {
    id: i64,
    made: Timestamp,
    seen: Seen,
    described: Described,
}

impl Source {
    /// All, by number.
    fn all(api: &Api, ledger: &Ledger) -> Answer<Vec<Self>> {
        let (now, mut described) = (Timestamp::now(), api.program.connections());
        let mut all = Vec::new();
        for seen in api.control.look()? {
            let Some(described) = described.remove(&seen.connection) else { continue };
            let (id, made) = ledger.number("source", seen.connection.as_str(), now)?;
            all.push(Self { id, made, seen, described });
        }
        all.sort_by_key(|source| source.id);
        Ok(all)
    }

    fn find(api: &Api, ledger: &Ledger, id: i64) -> Answer<Self> {
        let found = Self::all(api, ledger)?.into_iter().find(|source| source.id == id);
        found.ok_or_else(|| Problem::not_found("source"))
    }

    fn connection(&self) -> &ConnectionId {
        &self.seen.connection
    }

    fn kind(&self) -> String {
        format!("platform.{}", self.described.source)
    }

    fn object(&self, api: &Api, ledger: &Ledger) -> Answer<Value> {
        let catalog = ledger.catalog(self.connection())?;
        let selection = api.program.selection(self.connection()).unwrap_or_default();
        let chosen = catalog.as_ref().is_some_and(|(found, _)| {
            found.catalog.streams.iter().any(|stream| selection.contains(&stream.name))
        });
        let current = match (&catalog, chosen) {
            (None, _) => 2,
            (Some(_), false) => 3,
            (Some(_), true) => 4,
        };
        let steps = ["form", "discover_schema", "field_selection", "fully_configured"];
        let card = json!({
            "type": self.kind(),
            "current_step": current,
            "current_step_type": steps[current - 1],
            "steps": steps.map(|step| json!({ "type": step, "properties": [] })),
        });
        let schedule = self.seen.next.map(|next| {
            let cron = self.seen.schedule.cron();
            json!({
                "type": if cron.is_some() { "cron" } else { "interval" },
                "unit": cron.is_none().then_some("minute"),
                "interval": self.seen.schedule.frequency_minutes().map(f64::from),
                "cron_expression": cron,
                "next_fire_time": second(next),
            })
        });
        Ok(json!({
            "id": self.id,
            "stitch_client_id": CLIENT,
            "type": self.kind(),
            "name": self.described.schema,
            "display_name": self.described.name,
            "properties": {
                "image_version": env!("CARGO_PKG_VERSION"),
                "frequency_in_minutes":
                    self.seen.schedule.frequency_minutes().map(|minutes| minutes.to_string()),
                "cron_expression": self.seen.schedule.cron(),
            },
            "schedule": schedule,
            "report_card": card,
            "check_job_name": null,
            "created_at": second(self.made),
            "updated_at": second(self.made),
            "paused_at": self.seen.paused.then(|| second(self.made)),
            "system_paused_at": null,
            "deleted_at": null,
        }))
    }
}

fn second(at: Timestamp) -> String {
    format!("{at:.0}")
}

async fn sources(State(api): State<Arc<Api>>) -> Answer<Json<Value>> {
    let all = asked(api, |api| {
        let ledger = api.engine.ledger()?;
        let all = Source::all(api, &ledger)?;
        all.iter().map(|source| source.object(api, &ledger)).collect::<Answer<Vec<_>>>()
    });
    Ok(Json(all.await?.into()))
}

async fn source(State(api): State<Arc<Api>>, Path(id): Path<i64>) -> Answer<Json<Value>> {
    let found = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        Source::find(api, &ledger, id)?.object(api, &ledger)
    });
    Ok(Json(found.await?))
}

/// Any `paused_at` but null pauses at once, also one in the future (`stitch-behaviour.md` 1.5).
async fn change(
    State(api): State<Arc<Api>>,
    Path(id): Path<i64>,
    body: Given<Json<Map<String, Value>>, JsonRejection>,
) -> Answer<Response> {
    let Ok(Json(body)) = body else {
        return Ok(refused("InvalidBody", "the body is no JSON object"));
    };
    let others: Vec<&str> =
        body.keys().map(String::as_str).filter(|key| *key != "paused_at").collect();
    if !others.is_empty() {
        let message = format!(
            "{} can be changed in the service's file only, which bobbin apply brings into effect",
            others.join(", ")
        );
        return Ok(refused("InvalidProperties", &message));
    }
    let object = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &ledger, id)?;
        if let Some(paused) = body.get("paused_at") {
            api.control.pause(found.connection(), !paused.is_null())?;
        }
        Source::find(api, &ledger, id)?.object(api, &ledger)
    });
    Ok(Json(object.await?).into_response())
}

fn refused(kind: &str, message: &str) -> Response {
    let body = json!({ "error": { "type": kind, "message": message } });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// The state of the last check: every job begins with one.
async fn check(State(api): State<Arc<Api>>, Path(id): Path<i64>) -> Answer<Json<Value>> {
    let told = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &ledger, id)?;
        let last = ledger.last_ended(found.connection())?;
        let statuses = last.as_ref().and_then(|job| job.report.as_ref()).map(Statuses::of);
        let failed = statuses.as_ref().is_some_and(|s| s.discovery.0 == Some(1));
        let running = last.is_none();
        let discovery = statuses.map_or((None, None), |statuses| statuses.discovery);
        Ok(json!({
            "id": id,
            "mode": "check",
            "name": last.map(|job| job_name(id, job.id.as_str())),
            "status": match (running, failed) {
                (true, _) => "running",
                (false, true) => "failed",
                (false, false) => "succeeded",
            },
            "error": failed,
            "check_exit_status": (!running).then_some(i32::from(failed)),
            "discovery_exit_status": discovery.0,
            "discovery_error_message": discovery.1,
            "tap_exit_status": null,
            "tap_error_message": null,
            "target_exit_status": null,
            "target_error_message": null,
        }))
    });
    Ok(Json(told.await?))
}

async fn start(State(api): State<Arc<Api>>, Path(id): Path<i64>) -> Answer<Json<Value>> {
    let told = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &ledger, id)?;
        match api.control.run(found.connection()) {
            // Its own name is known once it has begun.
            Ok(()) => Ok(json!({ "job_name": job_name(id, "next") })),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(json!({
                "error": { "type": "already_running", "message": error.to_string() }
            })),
            Err(error) => Err(error.into()),
        }
    });
    Ok(Json(told.await?))
}

async fn stop(State(api): State<Arc<Api>>, Path(id): Path<i64>) -> Answer<Json<Value>> {
    let told = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &ledger, id)?;
        match api.control.stop(found.connection()) {
            Ok(()) => Ok(json!({ "status": 200 })),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(json!({
                "error": { "type": "not_running", "message": error.to_string() }
            })),
            Err(error) => Err(error.into()),
        }
    });
    Ok(Json(told.await?))
}

async fn streams(State(api): State<Arc<Api>>, Path(id): Path<i64>) -> Answer<Json<Value>> {
    let told = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &ledger, id)?;
        let Some((Discovery { catalog, .. }, _)) = ledger.catalog(found.connection())? else {
            return Ok(Value::from(Vec::<Value>::new()));
        };
        let selection = api.program.selection(found.connection()).unwrap_or_default();
        let mut all = Vec::new();
        for stream in &catalog.streams {
            let selected = selection.contains(&stream.name);
            all.push(json!({
                "stream_id": stream_number(&ledger, &found, &stream.name)?,
                "stream_name": stream.name,
                "tap_stream_id": stream.name,
                "selected": selected,
                "metadata": {
                    "selected": selected,
                    "forced-replication-method": method(stream),
                    "table-key-properties": stream.key,
                    "valid-replication-keys": stream.replication_key.as_slice(),
                    "replication-method": null,
                    "replication-key": null,
                    "is-view": false,
                    "row-count": null,
                    "database-name": null,
                    "schema-name": null,
                    "view-key-properties": null,
                },
            }));
        }
        Ok(all.into())
    });
    Ok(Json(told.await?))
}

fn method(stream: &Stream) -> &'static str {
    if stream.replication_key.is_some() { "INCREMENTAL" } else { "FULL_TABLE" }
}

fn stream_number(ledger: &Ledger, source: &Source, stream: &StreamName) -> Answer<i64> {
    let name = format!("{}/{stream}", source.connection());
    Ok(ledger.number("stream", &name, Timestamp::now())?.0)
}

async fn stream(
    State(api): State<Arc<Api>>,
    Path((id, number)): Path<(i64, i64)>,
) -> Answer<Json<Value>> {
    let told = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &ledger, id)?;
        let catalog = ledger.catalog(found.connection())?;
        for stream in catalog.iter().flat_map(|(found, _)| &found.catalog.streams) {
            if stream_number(&ledger, &found, &stream.name)? != number {
                continue;
            }
            let selection = api.program.selection(found.connection()).unwrap_or_default();
            let own = json!({
                "inclusion": "available",
                "selected": selection.contains(&stream.name),
                "table-key-properties": stream.key,
                "forced-replication-method": method(stream),
                "valid-replication-keys": stream.replication_key.as_slice(),
            });
            let mut metadata = vec![json!({ "breadcrumb": [], "metadata": own })];
            let treated = selection.of(stream);
            describe(&stream.fields, &treated, &mut Vec::new(), "", &mut metadata);
            return Ok(json!({
                "schema": schema(&Schema::of(Kind::Object(stream.fields.clone()))).to_string(),
                "metadata": metadata,
                "non-discoverable-metadata-keys":
                    ["selected", "replication-method", "replication-key", "view-key-properties"],
            }));
        }
        Err(Problem::not_found("stream"))
    });
    Ok(Json(told.await?))
}

/// What is said of each field, with its place.
fn describe(
    object: &Object,
    treated: &Treated,
    crumbs: &mut Vec<String>,
    above: &str,
    metadata: &mut Vec<Value>,
) {
    for (name, schema) in &object.properties {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        crumbs.extend(["properties".to_owned(), name.clone()]);
        let automatic = treated.is_automatic(&path);
        metadata.push(json!({
            "breadcrumb": crumbs,
            "metadata": {
                "inclusion": if automatic { "automatic" } else { "available" },
                "selected": if automatic { Value::Null } else { (!treated.excludes(&path)).into() },
                "selected-by-default": true,
            },
        }));
        if let Kind::Object(inner) = &schema.kind {
            describe(inner, treated, crumbs, &path, metadata);
        }
        crumbs.truncate(crumbs.len() - 2);
    }
}

fn schema(of: &Schema) -> Value {
    let mut value = match &of.kind {
        Kind::Any => json!({}),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer => json!({ "type": "integer" }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Text => json!({ "type": "string" }),
        Kind::DateTime => json!({ "type": "string", "format": "date-time" }),
        Kind::Array(items) => json!({ "type": "array", "items": schema(items) }),
        Kind::Object(object) => {
            let properties = object.properties.iter();
            let properties: Map<String, Value> =
                properties.map(|(name, of)| (name.clone(), schema(of))).collect();
            json!({ "type": "object", "properties": properties })
        }
        Kind::Union(options) => {
            json!({ "anyOf": options.iter().map(schema).collect::<Vec<_>>() })
        }
    };
    if let Some(text) = &of.description {
        value["description"] = text.as_str().into();
    }
    value
}

async fn destinations(State(api): State<Arc<Api>>) -> Answer<Json<Value>> {
    let told = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let mut names: Vec<(String, String)> = api
            .program
            .connections()
            .into_values()
            .map(|described| (described.destination_name, described.destination))
            .collect();
        names.sort();
        names.dedup();
        let mut all = Vec::new();
        for (name, kind) in names {
            let (id, made) = ledger.number("destination", &name, Timestamp::now())?;
            all.push(json!({
                "id": id,
                "stitch_client_id": CLIENT,
                "type": kind,
                "name": name,
                "description": null,
                "properties": {},
                "created_at": second(made),
                "updated_at": second(made),
                "deleted_at": null,
            }));
        }
        Ok(all)
    });
    Ok(Json(told.await?.into()))
}

#[derive(Deserialize)]
struct Page {
    page: Option<usize>,
}

/// One page of a list, in Stitch's form.
fn paged(all: Vec<Value>, page: &Page, path: &str) -> Value {
    let (total, number) = (all.len(), page.page.unwrap_or(1).max(1));
    let from = (number - 1).saturating_mul(PAGE);
    let link = |number: usize| format!("{path}?page={number}");
    let mut links = Map::new();
    if total > PAGE {
        if from + PAGE < total {
            links.insert("next".to_owned(), link(number + 1).into());
        }
        if number > 1 {
            links.insert("previous".to_owned(), link(number - 1).into());
        }
    }
    let data: Vec<Value> = all.into_iter().skip(from).take(PAGE).collect();
    json!({ "data": data, "page": number, "total": total, "links": links })
}

/// How the three steps of a job ended, with why.
struct Statuses {
    discovery: (Option<i32>, Option<String>),
    tap: (Option<i32>, Option<String>),
    target: (Option<i32>, Option<String>),
}

impl Statuses {
    /// `stitch-behaviour.md` 1.5 and 6.2: a job that was stopped has no status and the word
    /// `Terminated` three times.
    fn of(report: &RunReport) -> Self {
        let fine = || (Some(0), None);
        let failed = |why: String| (Some(1), Some(why));
        let mut statuses = Self { discovery: fine(), tap: fine(), target: fine() };
        let why = || report.error.clone().unwrap_or_default();
        match (report.outcome, report.failed_in) {
            (Outcome::Complete, _) => {}
            (Outcome::Interrupted, _) => {
                let ended = || (None, Some("Terminated".to_owned()));
                statuses = Self { discovery: ended(), tap: ended(), target: ended() };
            }
            (Outcome::Failed, Some(Phase::Discovery)) => statuses.discovery = failed(why()),
            (Outcome::Failed, Some(Phase::Target)) => statuses.target = failed(why()),
            (Outcome::Failed, _) => statuses.tap = failed(why()),
            (Outcome::Incomplete, _) => {
                let missing = report.tables.iter().filter_map(|table| {
                    Some(format!("{}: {}", table.stream, table.reason.as_ref()?))
                });
                statuses.tap = failed(missing.collect::<Vec<_>>().join("\n"));
            }
        }
        statuses
    }
}

fn job_name(source: i64, job: &str) -> String {
    format!("{CLIENT}.{source}.sync.{job}")
}

/// The last extraction of each source that has ended (F-64).
async fn extractions(
    State(api): State<Arc<Api>>,
    Path(client): Path<i64>,
    Query(page): Query<Page>,
) -> Answer<Json<Value>> {
    let all = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let mut all = Vec::new();
        for source in Source::all(api, &ledger)? {
            let last = ledger.last_ended(source.connection())?;
            let Some((job, report)) = last.and_then(|job| Some((job.id, job.report?))) else {
                continue;
            };
            let Statuses { discovery, tap, target } = Statuses::of(&report);
            let name = format!("tap-{}", source.described.source);
            all.push(json!({
                "job_name": job_name(source.id, job.as_str()),
                "stitch_client_id": CLIENT,
                "source_id": source.id,
                "source_type": name,
                "tap_name": name,
                "start_time": second(report.started),
                "completion_time": second(report.ended),
                "discovery_exit_status": discovery.0,
                "discovery_description": discovery.1,
                "tap_exit_status": tap.0,
                "tap_description": tap.1,
                "target_exit_status": target.0,
                "target_description": target.1,
            }));
        }
        Ok(all)
    });
    Ok(Json(paged(all.await?, &page, &format!("/v4/{client}/extractions"))))
}

/// Leads to the log of an extraction.
async fn extraction(
    State(api): State<Arc<Api>>,
    Path((_, name)): Path<(i64, String)>,
) -> Answer<Response> {
    let place = asked(api, move |api| {
        let mut parts = name.splitn(4, '.');
        let source = parts.nth(1).and_then(|source| source.parse().ok());
        let job = parts.nth(1);
        let (Some(source), Some(job)) = (source, job) else {
            return Err(Problem::not_found("extraction"));
        };
        let found = Source::find(api, &api.engine.ledger()?, source)?;
        let known = job.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
        if !known {
            return Err(Problem::not_found("extraction"));
        }
        Ok(format!("/api/v1/connections/{}/jobs/{job}/log", found.connection()))
    });
    Ok((StatusCode::FOUND, [(header::LOCATION, place.await?)]).into_response())
}

/// The last load of each table (F-64).
async fn loads(
    State(api): State<Arc<Api>>,
    Path(client): Path<i64>,
    Query(page): Query<Page>,
) -> Answer<Json<Value>> {
    let all = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let mut all = Vec::new();
        for source in Source::all(api, &ledger)? {
            for table in ledger.loaded_tables(source.connection(), Timestamp::now())? {
                let error = table.error.as_ref().map(|error| {
                    let line = error.lines().next().unwrap_or_default();
                    json!({
                        "notification_data": {
                            "message": line,
                            "exception_message": error,
                            "warehouse_error_code": null,
                            "error": "LOADER_WAREHOUSE_ERROR",
                            "status": "ERROR",
                            "warehouse_sql_state": null,
                            "action": "load",
                            "warehouse_message": error,
                            "column": null,
                            "new_column": null,
                        },
                        "exception_chain": [
                            { "class": "bobbin", "message": line, "chain_sequence_num": 0, "action": "load" }
                        ],
                    })
                });
                let healthy = table.loaded_at.filter(|_| error.is_none());
                all.push(json!({
                    "stitch_client_id": CLIENT,
                    "source_name": source.described.schema,
                    "stream_name": table.stream,
                    "last_batch_loaded_at": healthy.map(second),
                    "error_state": error,
                }));
            }
        }
        // C25: by the table's name.
        all.sort_by(|a, b| a["stream_name"].as_str().cmp(&b["stream_name"].as_str()));
        Ok(all)
    });
    Ok(Json(paged(all.await?, &page, &format!("/v4/{client}/loads"))))
}
