//! From when on records are read, with what that means.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{Draft, setting};
use crate::Api;
use crate::api::{Answer, asked};
use crate::gate::Watch;
use crate::pages::field::{self, Entered, Field, Pairs, Refused, Wrongs};
use crate::pages::forecast::{ForecastPart, read_start, start_field};
use crate::pages::steps::Step;
use crate::pages::{Frame, Place, Visit, part, shown};

#[derive(Template)]
#[template(path = "add_start.html")]
struct StartPage {
    frame: Frame,
    steps: Vec<Step>,
    id: String,
    field: Field,
    wrong: Option<String>,
    /// Other connections of the source.
    shared: Vec<String>,
    is_of_file: bool,
    /// As it was asked for without a script.
    told: Option<ForecastPart>,
}

#[derive(Deserialize)]
pub(in crate::pages) struct Asked {
    #[serde(default)]
    start_date: String,
}

fn page(
    api: &Api,
    frame: Frame,
    name: &str,
    date: &str,
    wrongs: &Wrongs,
    told: Option<ForecastPart>,
) -> Answer<StartPage> {
    let draft = Draft::of(api, name)?;
    let field = start_field(setting(&draft, "start_date").as_deref(), date, wrongs);
    Ok(StartPage {
        frame: frame.titled("How far back?"),
        steps: draft.steps("start"),
        id: draft.id.to_string(),
        is_of_file: draft.is_of_file(),
        shared: draft.shared,
        wrong: wrongs.beside(&["start_date"]),
        field,
        told,
    })
}

pub(in crate::pages) async fn start(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    Query(query): Query<Asked>,
) -> Response {
    shown(api, visit, Place::Connections, move |api, frame| {
        page(api, frame, &name, &query.start_date, &Wrongs::default(), None)
    })
    .await
}

/// The same with what there is from that day on, for whoever has no script. The end of its address gives
/// it the time that asking a source takes.
pub(in crate::pages) async fn start_forecast(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    visit: Visit,
    Path(name): Path<String>,
    Query(query): Query<Asked>,
) -> Response {
    let told = match source(&api, name.clone()).await {
        Ok(source) => Some(ForecastPart::ask(&api, &watch, source, &query.start_date).await),
        Err(problem) => return problem.into_response(),
    };
    shown(api, visit, Place::Connections, move |api, frame| {
        page(api, frame, &name, &query.start_date, &Wrongs::default(), told)
    })
    .await
}

async fn source(api: &Arc<Api>, name: String) -> Answer<String> {
    asked(Arc::clone(api), move |api| Ok(Draft::of(api, &name)?.source.name)).await
}

/// What there is from a day on, as a part of a page.
pub(in crate::pages) async fn forecast(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    visit: Visit,
    Path(name): Path<String>,
    Query(query): Query<Asked>,
) -> Response {
    let told = match source(&api, name).await {
        Ok(source) => ForecastPart::ask(&api, &watch, source, &query.start_date).await,
        Err(problem) => return problem.into_response(),
    };
    match part(api, visit.gzip, move |_| Ok(told)).await {
        Ok(body) => body.into_response(),
        Err(problem) => problem.into_response(),
    }
}

pub(in crate::pages) async fn set_start(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    let of = name.clone();
    let act = move |api: &Api, entered: &Entered| {
        let date = entered.get("start_date");
        if entered.get("act") == "forecast" {
            let date: String = form_urlencoded::byte_serialize(date.as_bytes()).collect();
            return Ok(Some((format!("/add/{of}/start/forecast?start_date={date}"), None)));
        }
        Ok(Some((keep(api, &of, date)?, None)))
    };
    let again = move |api: &Api, frame, entered: &Entered, wrongs: &Wrongs| {
        page(api, frame, &name, entered.get("start_date"), wrongs, None)
    };
    field::sent((api, visit, Place::Connections), pairs, act, again).await
}

fn keep(api: &Api, name: &str, date: &str) -> Result<String, Refused> {
    let draft = Draft::of(api, name)?;
    if draft.is_of_file() {
        return Ok(draft.address("schedule"));
    }
    let start = read_start(date).map_err(Refused::Wrong)?;
    let mut settings = draft.source.written();
    settings.insert("start_date".to_owned(), start.to_string().into());
    let edit = draft.put_source(settings);
    api.program.change(&[edit]).map_err(|error| Refused::by(&error, &[]))?;
    Ok(draft.address("schedule"))
}
