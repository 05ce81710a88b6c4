//! The first page: every connection, whether it is complete, and what needs somebody.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use bobbin_core::id::ConnectionId;
use bobbin_engine::ledger::{JobHead, Ledger};
use bobbin_engine::service::Seen;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::show::{Ago, Count, Spark, State as Shown, When};
use super::{Frame, Place, Visit, shown};
use crate::api::Answer;
use crate::{Api, Described};

/// Days of rows that are drawn.
const DAYS: i64 = 30;

#[derive(Template)]
#[template(path = "connections.html")]
struct ConnectionsPage {
    frame: Frame,
    rows: Vec<Row>,
    /// How many of them need somebody.
    needy: usize,
    complete: usize,
    today: Count,
    broken: Vec<(String, String)>,
}

struct Row {
    id: ConnectionId,
    described: Described,
    state: Shown,
    paused: bool,
    is_running: bool,
    complete: Option<Ago>,
    today: Count,
    spark: Spark,
    next: Option<When>,
    notices: Vec<String>,
}

pub(super) async fn list(State(api): State<Arc<Api>>, visit: Visit) -> Response {
    shown(api, visit, Place::Connections, |api, frame| {
        let (ledger, now) = (api.engine.ledger()?, Timestamp::now());
        let described = api.program.connections();
        let mut told: BTreeMap<ConnectionId, Vec<String>> = BTreeMap::new();
        for notice in ledger.notices(false, 1000)? {
            told.entry(notice.connection).or_default().push(notice.message);
        }
        let mut rows = Vec::new();
        for seen in api.control.look()? {
            let Some(described) = described.get(&seen.connection) else { continue };
            let notices = told.remove(&seen.connection).unwrap_or_default();
            rows.push(row(&*ledger, &seen, described.clone(), notices, now)?);
        }
        rows.sort_by_cached_key(|row| {
            (row.notices.is_empty(), row.described.display_name.to_lowercase())
        });
        let needy = rows.iter().filter(|row| !row.notices.is_empty()).count();
        let complete = rows.iter().filter(|row| row.state.tone == "good").count();
        let today = Count(rows.iter().map(|row| row.today.0).sum());
        let broken = api.program.broken().into_iter();
        let broken = broken.map(|(thing, name, why)| (format!("{} {name}", thing.word()), why));
        Ok(ConnectionsPage {
            frame: frame.titled("Connections"),
            rows,
            needy,
            complete,
            today,
            broken: broken.collect(),
        })
    })
    .await
}

fn row(
    ledger: &dyn Ledger,
    seen: &Seen,
    described: Described,
    notices: Vec<String>,
    now: Timestamp,
) -> Answer<Row> {
    let id = seen.connection.clone();
    let days = days(ledger, &id, now)?;
    let last = ledger.last_whole(&id)?;
    Ok(Row {
        state: state(seen, last.as_ref(), described.configured),
        paused: seen.paused && described.configured,
        is_running: seen.running_since.is_some() || seen.waiting,
        complete: ledger.last_complete(&id)?.map(Ago),
        today: Count(days.last().copied().unwrap_or(0)),
        spark: Spark(days),
        next: seen.next.map(When),
        notices,
        described,
        id,
    })
}

/// What a connection does, or how its last job ended that was no backfill.
pub(super) fn state(seen: &Seen, last: Option<&JobHead>, configured: bool) -> Shown {
    match (seen.running_since, seen.waiting, last) {
        (Some(_), ..) => Shown::new("busy", "Running"),
        (None, true, _) => Shown::new("busy", "Waiting for its turn"),
        _ if !configured => Shown::new("warn", "Not set up"),
        (None, false, None) => Shown::new("", "Not yet run"),
        (None, false, Some(job)) => Shown::of(job.status),
    }
}

/// Rows of each of the last days, oldest first, today last.
pub(super) fn days(ledger: &dyn Ledger, id: &ConnectionId, now: Timestamp) -> Answer<Vec<u64>> {
    let today = TimeZone::UTC.to_datetime(now).date();
    let mut days = vec![0; DAYS as usize];
    for (day, rows) in ledger.rows_of_days(id, now, DAYS)? {
        let Ok(day) = day.parse::<Date>() else { continue };
        let ago = today.duration_since(day).as_hours() / 24;
        let at = usize::try_from(DAYS - 1 - ago).ok();
        if let Some(sum) = at.and_then(|at| days.get_mut(at)) {
            *sum += rows;
        }
    }
    Ok(days)
}
