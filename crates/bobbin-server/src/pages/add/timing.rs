//! When a connection that is being set up will be replicated.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Draft;
use crate::Api;
use crate::pages::field::{self, Entered, Pairs, Refused, Wrongs};
use crate::pages::schedule::ScheduleForm;
use crate::pages::steps::Step;
use crate::pages::{Frame, Place, Visit, shown};

#[derive(Template)]
#[template(path = "add_schedule.html")]
struct TimingPage {
    frame: Frame,
    steps: Vec<Step>,
    id: String,
    wrong: Option<String>,
    schedule: ScheduleForm,
}

fn page(frame: Frame, draft: &Draft, schedule: ScheduleForm, wrongs: &Wrongs) -> TimingPage {
    TimingPage {
        frame: frame.titled("How often?"),
        steps: draft.steps("schedule"),
        id: draft.id.to_string(),
        wrong: wrongs.beside(&["every", "anchor", "cron", "time_zone"]),
        schedule,
    }
}

pub(in crate::pages) async fn timing(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
) -> Response {
    shown(api, visit, Place::Connections, move |api, frame| {
        let draft = Draft::of(api, &name)?;
        let schedule = ScheduleForm::of(draft.body.get("schedule"), None);
        Ok(page(frame, &draft, schedule, &Wrongs::default()))
    })
    .await
}

pub(in crate::pages) async fn set_timing(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    let of = name.clone();
    let act = move |api: &Api, entered: &Entered| {
        let looks = entered.get("act") == "preview";
        Ok(keep(api, &of, entered, looks)?.map(|to| (to, None)))
    };
    let again = move |api: &Api, frame, entered: &Entered, wrongs: &Wrongs| {
        let draft = Draft::of(api, &name)?;
        Ok(page(frame, &draft, ScheduleForm::entered(entered, wrongs, None), wrongs))
    };
    field::sent((api, visit, Place::Connections), pairs, act, again).await
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
