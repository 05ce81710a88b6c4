//! When a connection that is being set up will be replicated.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Draft;
use crate::Api;
use crate::api::Answer;
use crate::pages::field::{self, Entered, Pairs, Refused, Wrongs};
use crate::pages::schedule::ScheduleForm;
use crate::pages::steps::Step;
use crate::pages::{Frame, Place, Visit};

#[derive(Template)]
#[template(path = "add_schedule.html")]
struct TimingPage {
    frame: Frame,
    steps: Vec<Step>,
    id: String,
    wrong: Option<String>,
    schedule: ScheduleForm,
}

fn page(
    api: &Api,
    frame: Frame,
    name: &str,
    entered: Option<&Entered>,
    wrongs: &Wrongs,
) -> Answer<TimingPage> {
    let draft = Draft::of(api, name)?;
    let schedule = match entered {
        Some(entered) => ScheduleForm::entered(entered, wrongs, None),
        None => ScheduleForm::of(draft.body.get("schedule"), None),
    };
    Ok(TimingPage {
        frame: frame.titled("How often?"),
        steps: draft.steps("schedule"),
        id: draft.id.to_string(),
        wrong: wrongs.beside(&["every", "anchor", "cron", "time_zone"]),
        schedule,
    })
}

pub(in crate::pages) async fn timing(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
) -> Response {
    field::form((api, visit, Place::Connections), name, page).await
}

pub(in crate::pages) async fn set_timing(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    let act = |api: &Api, of: &str, entered: &Entered| {
        let looks = entered.get("act") == "preview";
        Ok(keep(api, of, entered, looks)?.map(|to| (to, None)))
    };
    field::sent_of((api, visit, Place::Connections), (name, pairs), act, page).await
}

/// Keeps the schedule and tells where to go on; none where somebody only wants to see it.
fn keep(api: &Api, name: &str, entered: &Entered, looks: bool) -> Result<Option<String>, Refused> {
    let draft = Draft::of(api, name)?;
    let schedule =
        ScheduleForm::take(entered, draft.body.get("schedule")).map_err(Refused::Wrong)?;
    if looks {
        return Ok(None);
    }
    let mut body = draft.body.clone();
    body.insert("schedule".to_owned(), schedule.into());
    api.program.change(&[draft.put_connection(body)]).map_err(|error| Refused::by(&error, &[]))?;
    Ok(Some(draft.address("tables")))
}
