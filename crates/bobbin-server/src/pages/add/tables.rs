//! What is replicated; with it the connection is complete and its first job begins.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bobbin_core::tap::Discovery;

use super::Draft;
use crate::Api;
use crate::api::Answer;
use crate::pages::field::{self, Entered, Pairs, Refused, Wrongs};
use crate::pages::selection::{self, Tables};
use crate::pages::steps::Step;
use crate::pages::{Frame, Place, Said, Visit};
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "add_tables.html")]
struct TablesPage {
    frame: Frame,
    steps: Vec<Step>,
    id: String,
    wrong: Option<String>,
    tables: Tables,
    /// Whether its first job waits until somebody resumes it.
    paused: bool,
}

fn found(api: &Api, draft: &Draft) -> Answer<Discovery> {
    let found = api.engine.ledger()?.catalog(&draft.id)?.filter(|_| draft.is_readable());
    found.map(|(found, _)| found).ok_or_else(|| {
        let detail = "the key was not tried yet, or in vain: go back to the check";
        Problem::new(StatusCode::CONFLICT, detail)
    })
}

/// Whether somebody paused it. The service has whatever has no tables yet stand still, too.
fn is_paused(api: &Api, draft: &Draft) -> Answer<bool> {
    let own = draft.body.get("schedule").and_then(|schedule| schedule.get("paused"));
    Ok(own == Some(&true.into()) || api.engine.ledger()?.is_paused(&draft.id)?)
}

fn page(
    api: &Api,
    frame: Frame,
    name: &str,
    entered: Option<&Entered>,
    wrongs: &Wrongs,
) -> Answer<TablesPage> {
    let draft = Draft::of(api, name)?;
    let found = found(api, &draft)?;
    Ok(TablesPage {
        frame: frame.titled("Tables and columns"),
        steps: draft.steps("tables"),
        id: draft.id.to_string(),
        wrong: wrongs.beside(&[]),
        paused: is_paused(api, &draft)?,
        tables: Tables::of(&found, &draft.body, None, entered),
    })
}

pub(in crate::pages) async fn tables(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
) -> Response {
    field::form((api, visit, Place::Connections), name, page).await
}

/// Completes the setup: the first job begins at once, unless it is paused.
pub(in crate::pages) async fn finish(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    let act = |api: &Api, of: &str, entered: &Entered| {
        if selection::looks(entered) {
            return Ok(None);
        }
        let said = Said::good(if keep(api, of, entered)? {
            "It is set up, and paused: its first job begins once it is resumed."
        } else {
            "It is set up. The first job begins."
        });
        Ok(Some((format!("/connections/{of}"), Some(said))))
    };
    field::sent_of((api, visit, Place::Connections), (name, pairs), act, page).await
}

/// Keeps the choice; tells whether the connection is paused.
fn keep(api: &Api, name: &str, entered: &Entered) -> Result<bool, Refused> {
    let draft = Draft::of(api, name)?;
    let found = found(api, &draft)?;
    let mut body = draft.body.clone();
    selection::write(&mut body, &found, entered).map_err(Refused::Wrong)?;
    api.program.change(&[draft.put_connection(body)]).map_err(|error| Refused::by(&error, &[]))?;
    Ok(is_paused(api, &draft)?)
}
