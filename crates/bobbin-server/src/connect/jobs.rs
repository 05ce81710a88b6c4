//! Extractions and loads as Stitch lists them (`stitch-behaviour.md` 6.2, 6.4).

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bobbin_engine::{Outcome, Phase, RunReport};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{CLIENT, Source, second};
use crate::Api;
use crate::api::{Answer, asked};
use crate::problem::Problem;

/// Entries of a page.
const PAGE: usize = 100;

/// Days that lists look back (`stitch-behaviour.md` 6.2).
const DAYS: i64 = 60;

fn since() -> Timestamp {
    Timestamp::now().checked_sub(SignedDuration::from_hours(24 * DAYS)).unwrap_or(Timestamp::MIN)
}

#[derive(Deserialize)]
pub(super) struct Page {
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
pub(super) struct Statuses {
    pub(super) discovery: (Option<i32>, Option<String>),
    tap: (Option<i32>, Option<String>),
    target: (Option<i32>, Option<String>),
}

impl Statuses {
    /// `stitch-behaviour.md` 1.5 and 6.2: a job that was stopped has no status and the word
    /// `Terminated` three times.
    pub(super) fn of(report: &RunReport) -> Self {
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

pub(super) fn job_name(source: i64, job: &str) -> String {
    format!("{CLIENT}.{source}.sync.{job}")
}

/// The last extraction of each source that has ended (F-64).
pub(super) async fn extractions(
    State(api): State<Arc<Api>>,
    Path(client): Path<i64>,
    Query(page): Query<Page>,
) -> Answer<Json<Value>> {
    let all = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let mut all = Vec::new();
        for source in Source::all(api, &*ledger)? {
            let last = ledger.last_ended(source.connection())?;
            let Some((job, report)) = last.and_then(|job| Some((job.id, job.report?))) else {
                continue;
            };
            if report.ended < since() {
                continue;
            }
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
pub(super) async fn extraction(
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
        let found = Source::find(api, &*api.engine.ledger()?, source)?;
        let known = job.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
        if !known {
            return Err(Problem::not_found("extraction"));
        }
        Ok(format!("/api/v1/connections/{}/jobs/{job}/log", found.connection()))
    });
    Ok((StatusCode::FOUND, [(header::LOCATION, place.await?)]).into_response())
}

/// The last load of each table (F-64).
pub(super) async fn loads(
    State(api): State<Arc<Api>>,
    Path(client): Path<i64>,
    Query(page): Query<Page>,
) -> Answer<Json<Value>> {
    let all = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let mut all = Vec::new();
        for source in Source::all(api, &*ledger)? {
            let selection = api.program.selection(source.connection()).unwrap_or_default();
            for table in ledger.loaded_tables(source.connection(), Timestamp::now())? {
                // A table that nobody replicates any more has no state to tell.
                let recent = table.loaded_at.is_some_and(|loaded| loaded >= since());
                if !recent && (table.error.is_none() || !selection.contains(&table.stream)) {
                    continue;
                }
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
