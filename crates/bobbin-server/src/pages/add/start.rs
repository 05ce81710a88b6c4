//! From when on records are read, with what that means.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Form};
use bobbin_core::forecast::{Counted, Forecast};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;

use super::{Draft, setting};
use crate::Api;
use crate::api::{Answer, asked, forecast as counts};
use crate::gate::Watch;
use crate::pages::field::{Entered, Field, Refused, Wrongs};
use crate::pages::show::{Bytes, Count, Lasting, Told};
use crate::pages::steps::Step;
use crate::pages::{Frame, Place, Visit, gone_to, part, shown, shown_as};

#[derive(Template)]
#[template(path = "add_start.html")]
struct StartPage {
    frame: Frame,
    steps: Vec<Step>,
    id: String,
    field: Field,
    wrong: Option<String>,
    /// As it was asked for without a script.
    told: Option<ForecastPart>,
}

/// What a first run would read. [`forecast`] and others make it of what a source counted.
#[derive(Template)]
#[template(path = "parts/forecast.html")]
pub(crate) struct ForecastPart {
    rows: Vec<Row>,
    all: Option<Row>,
    start: String,
    unreadable: Vec<(String, String)>,
    wrong: Option<Told>,
}

impl askama::filters::HtmlSafe for ForecastPart {}

struct Row {
    name: String,
    /// What stands before the number of records.
    about: &'static str,
    records: Count,
    calls: Count,
    bytes: Bytes,
    lasting: Option<Lasting>,
}

impl ForecastPart {
    pub(crate) fn of(forecast: Answer<Forecast>) -> Self {
        let forecast = match forecast {
            Ok(forecast) => forecast,
            Err(problem) => {
                return Self {
                    rows: Vec::new(),
                    all: None,
                    start: String::new(),
                    unreadable: Vec::new(),
                    wrong: Some(Told(problem.detail().to_owned())),
                };
            }
        };
        let row = |name: &str, counted, (records, calls, bytes), minutes: Option<f64>| Row {
            name: name.to_owned(),
            about: match counted {
                Counted::Exactly => "",
                Counted::Estimated => "about ",
                Counted::AtLeast => "at least ",
            },
            records: Count(records),
            calls: Count(calls),
            bytes: Bytes(bytes),
            lasting: minutes.map(|minutes| Lasting(minutes * 60.0)),
        };
        let rows = forecast.streams.iter().map(|told| {
            let numbers = (told.records, told.calls, told.bytes);
            row(told.stream.as_str(), told.counted, numbers, told.minutes)
        });
        let numbers = (forecast.records(), forecast.calls(), forecast.bytes());
        let unreadable = forecast.unreadable.iter();
        Self {
            rows: rows.collect(),
            all: Some(row("In all", forecast.counted(), numbers, forecast.minutes)),
            start: TimeZone::UTC.to_datetime(forecast.start).date().to_string(),
            unreadable: unreadable.map(|(name, why)| (name.to_string(), why.clone())).collect(),
            wrong: None,
        }
    }
}

#[derive(Deserialize)]
pub(in crate::pages) struct Asked {
    #[serde(default)]
    start_date: String,
    #[serde(default)]
    forecast: String,
}

/// One year before today (`stitch-behaviour.md` 2.5).
fn a_year_ago() -> String {
    let today = TimeZone::UTC.to_datetime(Timestamp::now()).date();
    today.saturating_sub(1.year()).to_string()
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
    let known = || setting(&draft, "start_date").map(|text| text.chars().take(10).collect());
    let date = match date {
        "" => known().unwrap_or_else(a_year_ago),
        date => date.to_owned(),
    };
    let field = Field::text("start_date", "Read what was changed since", date)
        .needed()
        .kind("date")
        .help("The first instant of this day in UTC. Users, teams, tags and shortcuts are read whole. An earlier day can be set later.")
        .wrong(wrongs);
    Ok(StartPage {
        frame: frame.titled("How far back?"),
        steps: draft.steps("start"),
        id: draft.id.to_string(),
        wrong: wrongs.beside(&["start_date"]),
        field,
        told,
    })
}

pub(in crate::pages) async fn start(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    visit: Visit,
    Path(name): Path<String>,
    Query(query): Query<Asked>,
) -> Response {
    let told = match &*query.forecast {
        "" => None,
        _ => Some(ForecastPart::of(ask(&api, &watch, name.clone(), &query.start_date).await)),
    };
    shown(api, visit, Place::Connections, move |api, frame| {
        page(api, frame, &name, &query.start_date, &Wrongs::default(), told)
    })
    .await
}

async fn ask(api: &Arc<Api>, watch: &Watch, name: String, date: &str) -> Answer<Forecast> {
    let start = Some(date.trim()).filter(|date| !date.is_empty()).map(counts::start).transpose()?;
    let source = asked(Arc::clone(api), move |api| Ok(Draft::of(api, &name)?.source.name)).await?;
    counts::ask(api, watch, source, start).await
}

/// What there is from a day on, as a part of a page.
pub(in crate::pages) async fn forecast(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    visit: Visit,
    Path(name): Path<String>,
    Query(query): Query<Asked>,
) -> Response {
    let told = ask(&api, &watch, name, &query.start_date).await;
    match part(api, visit.gzip, move |_| Ok(ForecastPart::of(told))).await {
        Ok(body) => body.into_response(),
        Err(problem) => problem.into_response(),
    }
}

pub(in crate::pages) async fn set_start(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Response {
    let entered = Entered::new(pairs);
    let date = entered.get("start_date").to_owned();
    if entered.get("act") == "forecast" {
        let date: String = form_urlencoded::byte_serialize(date.as_bytes()).collect();
        return gone_to(&format!("/add/{name}/start?forecast=yes&start_date={date}"), None);
    }
    let (of, given) = (name.clone(), date.clone());
    let done = asked(Arc::clone(&api), move |api| Ok(keep(api, &of, &given)));
    match done.await.unwrap_or_else(|problem| Err(problem.into())) {
        Ok(to) => gone_to(&to, None),
        Err(Refused::Else(problem)) => problem.into_response(),
        Err(Refused::Wrong(wrongs)) => {
            let make = move |api: &Api, frame| page(api, frame, &name, &date, &wrongs, None);
            shown_as(StatusCode::UNPROCESSABLE_ENTITY, api, visit, Place::Connections, make).await
        }
    }
}

fn keep(api: &Api, name: &str, date: &str) -> Result<String, Refused> {
    let draft = Draft::of(api, name)?;
    let start = counts::start(date).map_err(|problem| {
        Refused::Wrong(Wrongs::of("start_date", Told::line(problem.detail())))
    })?;
    if start > Timestamp::now() {
        return Err(Refused::Wrong(Wrongs::of("start_date", "This day is still to come.")));
    }
    let mut settings = draft.settings();
    settings.insert("start_date".to_owned(), start.to_string().into());
    let edit = draft.put_source(settings);
    api.program.change(&[edit]).map_err(|error| Refused::by(&error, &[]))?;
    Ok(draft.address("schedule"))
}
