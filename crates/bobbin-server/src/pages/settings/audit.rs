//! Who did what.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use bobbin_engine::ledger::Deed;
use serde::Deserialize;

use super::{TabLink, tabs};
use crate::Api;
use crate::pages::show::When;
use crate::pages::{Frame, Place, Visit, shown};

/// Deeds of a page.
const PAGE: u32 = 100;

#[derive(Template)]
#[template(path = "settings/audit.html")]
struct AuditPage {
    frame: Frame,
    tabs: Vec<TabLink>,
    deeds: Vec<Deed>,
    older: Option<i64>,
    is_first: bool,
}

impl AuditPage {
    fn when(at: &jiff::Timestamp) -> When {
        When(*at)
    }
}

#[derive(Deserialize)]
pub(in crate::pages) struct Before {
    before: Option<i64>,
}

pub(in crate::pages) async fn list(
    State(api): State<Arc<Api>>,
    Query(query): Query<Before>,
    visit: Visit,
) -> Response {
    shown(api, visit, Place::Settings, move |api, frame| {
        let deeds = api.engine.ledger()?.deeds(query.before, PAGE)?;
        Ok(AuditPage {
            tabs: tabs(&frame, "/audit"),
            frame: frame.titled("Audit trail"),
            older: deeds.last().filter(|_| deeds.len() == PAGE as usize).map(|deed| deed.id),
            deeds,
            is_first: query.before.is_none(),
        })
    })
    .await
}
