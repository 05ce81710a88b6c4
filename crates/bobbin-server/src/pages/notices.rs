//! What somebody should know.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

use super::connection::acts::told;
use super::show::{Ago, When};
use super::{Frame, Place, Visit, shown};
use crate::Api;
use crate::api::asked;
use crate::problem::Problem;

/// Notices of a page.
const MOST: u32 = 200;

#[derive(Template)]
#[template(path = "notices.html")]
struct NoticesPage {
    frame: Frame,
    open: Vec<Line>,
    over: Vec<Line>,
    all: bool,
}

struct Line {
    id: i64,
    tone: &'static str,
    level: &'static str,
    kind: &'static str,
    /// The connection's address and what people call it, while there is it.
    connection: Option<(String, String)>,
    about: String,
    message: String,
    detail: Option<String>,
    raised: Ago,
    seen: When,
    times: u32,
    over: Option<When>,
    dismissed: Option<When>,
}

#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    all: String,
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(which): Query<Which>,
    visit: Visit,
) -> Response {
    shown(api, visit, Place::Notices, move |api, frame| {
        let all = which.all == "yes";
        let described = api.program.connections();
        let notices = api.engine.ledger()?.notices(all, MOST)?.into_iter();
        let lines = notices.map(|notice| {
            let called = described.get(&notice.connection).map(|told| told.display_name.clone());
            let about = notice.connection.to_string();
            Line {
                id: notice.id,
                tone: if notice.kind.is_critical() { "bad" } else { "warn" },
                level: if notice.kind.is_critical() { "Critical" } else { "Warning" },
                kind: notice.kind.word(),
                connection: called.map(|called| (about.clone(), called)),
                about,
                message: notice.message,
                detail: notice.detail,
                raised: Ago(notice.raised_at),
                seen: When(notice.seen_at),
                times: notice.times,
                over: notice.recovered_at.map(When),
                dismissed: notice.dismissed_at.map(When),
            }
        });
        let (open, over) =
            lines.partition(|line: &Line| line.over.is_none() && line.dismissed.is_none());
        Ok(NoticesPage { frame: frame.titled("Notices"), open, over, all })
    })
    .await
}

pub(super) async fn dismiss(State(api): State<Arc<Api>>, Path(notice): Path<i64>) -> Response {
    let done = asked(api, move |api| {
        let there = api.engine.ledger()?.dismiss(notice, Timestamp::now())?;
        if there { Ok(()) } else { Err(Problem::not_found("notice")) }
    });
    told(done.await, "/notices", "Dismissed for everybody, until it is over and happens again.")
}
