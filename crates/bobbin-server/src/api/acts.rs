//! What else can be known of a connection and done with it: its summary, records set aside, a reset.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use bobbin_core::id::StreamName;
use bobbin_core::rejected::RejectedQuery;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Given, asked, given, known};
use crate::Api;
use crate::gate::Watch;
use crate::problem::Problem;

/// What Stitch shows in its three cards (`stitch-behaviour.md` 6.5, F-63), and what needs somebody.
pub(super) async fn summary(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let id = known(api, &connection)?;
        let (ledger, now) = (api.engine.ledger()?, Timestamp::now());
        let seen = api.control.look()?.into_iter().find(|seen| seen.connection == id);
        let seen = seen.ok_or_else(|| Problem::not_found("connection"))?;
        let last = ledger.jobs(&id, None, 1)?.into_iter().next();
        let tables = ledger.loaded_tables(&id, now)?;
        let newest = tables.iter().filter(|table| table.loaded_at.is_some());
        let newest = newest.max_by_key(|table| table.loaded_at);
        let today = TimeZone::UTC.to_datetime(now).date().to_string();
        let days = ledger.rows_by_day(&id, now, 1)?;
        let rows: u64 = days.iter().filter(|(day, _, _)| *day == today).map(|(_, _, n)| n).sum();
        let waiting = api.engine.waiting(&id)?;
        let pushed = api.program.inbox(&id).ok().map(|inbox| {
            let state = ledger.state(&id)?.unwrap_or_default();
            inbox.waiting(&state)
        });
        let pushed = pushed.transpose()?.unwrap_or_default();
        let notices = ledger.notices(false, 1000)?;
        let notices = notices.iter().filter(|notice| notice.connection == id).count();
        let status = match (seen.running_since, seen.paused) {
            (Some(_), _) => "in_progress",
            (None, true) => "not_syncing",
            (None, false) if seen.waiting || last.is_none() => "pending",
            (None, false) => "idle",
        };
        Ok(Json(json!({
            "extracted": {
                "last_started_at": last.as_ref().map(|job| job.started),
                "last_completed_at": ledger.last_complete(&id)?,
                "status": status,
                "next_at": seen.next,
            },
            "preparing": {
                "rows": waiting.values().map(|stream| stream.rows).sum::<u64>() + pushed.rows,
                "tables": waiting.len(),
                "pushed_requests": pushed.requests,
            },
            "loaded": {
                "rows_today": rows,
                "last_table": newest.map(|table| &table.stream),
                "last_loaded_at": newest.and_then(|table| table.loaded_at),
            },
            "open_notices": notices,
        })))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reset {
    /// Only these; every table when there are none.
    #[serde(default)]
    tables: Vec<StreamName>,
    #[serde(default)]
    mode: Mode,
}

/// What becomes of the rows that are there (`stitch-behaviour.md` 3.3).
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// They stay and are overwritten by key.
    #[default]
    Overwrite,
    /// What is read takes their place once it is whole.
    Replace,
}

/// Lets the next job read from the start date again (F-34, F-35).
pub(super) async fn reset(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path(connection): Path<String>,
    body: Given<Json<Reset>, JsonRejection>,
) -> Answer<Json<Value>> {
    let Json(reset) = given(body)?;
    let turn = watch.turn_to_ask().await?;
    asked(api, move |api| {
        let _turn = turn;
        let id = known(api, &connection)?;
        let replace = reset.mode == Mode::Replace;
        Ok(Json(json!({ "streams": api.program.reset(&id, &reset.tables, replace)? })))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    tables: Vec<StreamName>,
    from: Timestamp,
    until: Timestamp,
}

/// Begins a job that reads a part of tables again; bookmarks stay where they are.
pub(super) async fn backfill(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
    body: Given<Json<Part>, JsonRejection>,
) -> Answer<(StatusCode, Json<Value>)> {
    let Json(part) = given(body)?;
    asked(api, move |api| {
        let id = known(api, &connection)?;
        let job = api.program.backfill(&id, part.tables, (part.from, part.until))?;
        Ok((StatusCode::ACCEPTED, Json(json!({ "status": "accepted", "job": job }))))
    })
    .await
}

#[derive(Deserialize)]
pub(super) struct RejectedPage {
    table: Option<String>,
    limit: Option<u64>,
    /// Also the records' text.
    #[serde(default)]
    records: bool,
}

/// The records that were set aside, counted and the newest one by one.
pub(super) async fn rejected(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path(connection): Path<String>,
    query: Given<Query<RejectedPage>, QueryRejection>,
) -> Answer<Json<Value>> {
    let Query(page) = given(query)?;
    let turn = watch.turn_to_ask().await?;
    asked(api, move |api| {
        let _turn = turn;
        let id = known(api, &connection)?;
        let most = page.limit.unwrap_or(20).min(1000);
        let query = RejectedQuery { table: page.table, most, text: page.records };
        let list = api.program.rejected(&id, &query)?;
        Ok(Json(json!({ "groups": list.groups, "data": list.records })))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Only those of this table.
    table: Option<String>,
}

/// Loads what was set aside again.
pub(super) async fn retry(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path(connection): Path<String>,
    body: Given<Json<Retry>, JsonRejection>,
) -> Answer<Json<Value>> {
    let Json(retry) = given(body)?;
    let turn = watch.turn_to_ask().await?;
    asked(api, move |api| {
        let _turn = turn;
        let id = known(api, &connection)?;
        Ok(Json(json!({ "data": api.program.retry(&id, retry.table.as_deref())? })))
    })
    .await
}
