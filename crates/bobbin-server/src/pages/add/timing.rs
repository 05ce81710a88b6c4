//! When a connection that is being set up will be replicated.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Draft;
use crate::Api;
use crate::api::asked;
use crate::pages::field::{Entered, Refused, Wrongs};
use crate::pages::schedule::ScheduleForm;
use crate::pages::steps::Step;
use crate::pages::{Frame, Place, Visit, gone_to, shown, shown_as};

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
    Form(pairs): Form<Vec<(String, String)>>,
) -> Response {
    let entered = Entered::new(pairs);
    let (of, given) = (name.clone(), entered.clone());
    let looks = entered.get("act") == "preview";
    let done = asked(Arc::clone(&api), move |api| Ok(keep(api, &of, &given, looks)));
    let (status, wrongs) = match done.await.unwrap_or_else(|problem| Err(problem.into())) {
        Ok(Some(to)) => return gone_to(&to, None),
        Ok(None) => (StatusCode::OK, Wrongs::default()),
        Err(Refused::Else(problem)) => return problem.into_response(),
        Err(Refused::Wrong(wrongs)) => (StatusCode::UNPROCESSABLE_ENTITY, wrongs),
    };
    let make = move |api: &Api, frame| {
        let draft = Draft::of(api, &name)?;
        let schedule = ScheduleForm::entered(&entered, &wrongs, None);
        Ok(page(frame, &draft, schedule, &wrongs))
    };
    shown_as(status, api, visit, Place::Connections, make).await
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
