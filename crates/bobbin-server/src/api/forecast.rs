//! How much a source has, before anything of it is read.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use bobbin_core::ErrorKind;
use bobbin_core::forecast::Forecast;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Given, asked, given};
use crate::Api;
use crate::gate::Watch;
use crate::problem::Problem;

#[derive(Deserialize)]
pub(super) struct From {
    start_date: Option<String>,
}

/// What a first run would read, by table.
pub(super) async fn forecast(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path(name): Path<String>,
    query: Given<Query<From>, QueryRejection>,
) -> Answer<Json<Value>> {
    let Query(from) = given(query)?;
    let start = from.start_date.as_deref().map(start).transpose()?;
    Ok(Json(told(&ask(&api, &watch, name, start).await?)))
}

/// Asks a source.
pub(crate) async fn ask(
    api: &Arc<Api>,
    watch: &Watch,
    name: String,
    start: Option<Timestamp>,
) -> Answer<Forecast> {
    let turn = watch.turn_to_ask().await?;
    asked(Arc::clone(api), move |api| {
        let _turn = turn;
        api.program.forecast(&name, start).map_err(|error| match error.kind() {
            // It is not whoever asks that is refused.
            ErrorKind::Auth | ErrorKind::Permission => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.report())
            }
            ErrorKind::RateLimited => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.report()).after(60)
            }
            _ => error.into(),
        })
    })
    .await
}

/// A day, from its first instant in UTC, or an instant.
///
/// # Errors
/// When it is neither.
pub(crate) fn start(text: &str) -> Answer<Timestamp> {
    let text = text.trim();
    let day = || TimeZone::UTC.to_timestamp(text.parse::<Date>().ok()?.into()).ok();
    text.parse().ok().or_else(day).ok_or_else(|| {
        let detail = "the start date is no date: write it like 2026-01-31, or with its time";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })
}

fn told(forecast: &Forecast) -> Value {
    let unreadable = forecast.unreadable.iter();
    json!({
        "start_date": forecast.start,
        "counted_at": forecast.counted_at,
        "records": forecast.records(),
        "counted": forecast.counted(),
        "calls": forecast.calls(),
        "size_bytes": forecast.bytes(),
        "minutes": forecast.minutes,
        "data": forecast.streams.iter().map(|stream| json!({
            "stream": stream.stream,
            "records": stream.records,
            "counted": stream.counted,
            "calls": stream.calls,
            "size_bytes": stream.bytes,
            "minutes": stream.minutes,
        })).collect::<Vec<_>>(),
        "unreadable": unreadable.map(|(stream, reason)| json!({ "stream": stream, "reason": reason }))
            .collect::<Vec<_>>(),
    })
}
