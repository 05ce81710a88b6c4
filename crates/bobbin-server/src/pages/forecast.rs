//! From when on records are read, and how much that is.

use std::sync::Arc;

use askama::Template;
use bobbin_core::forecast::{Counted, Forecast};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::field::{Field, Wrongs};
use super::show::{Bytes, Count, Lasting, Told};
use crate::Api;
use crate::api::{Answer, forecast as counts};
use crate::gate::Watch;

/// The field of a source's `start_date`: as it was entered, else as it is set, else one year before today
/// (`stitch-behaviour.md` 2.5).
pub(crate) fn start_field(set: Option<&str>, entered: &str, wrongs: &Wrongs) -> Field {
    let date = match (entered, set) {
        ("", Some(set)) => set.chars().take(10).collect(),
        ("", None) => {
            let today = TimeZone::UTC.to_datetime(Timestamp::now()).date();
            today.saturating_sub(1.year()).to_string()
        }
        (entered, _) => entered.to_owned(),
    };
    Field::text("start_date", "Read what was changed since", date)
        .needed()
        .kind("date")
        .help(
            "The first instant of this day in UTC. Users, teams, tags and shortcuts are read \
             whole. An earlier day can be set later.",
        )
        .wrong(wrongs)
}

/// The start date that was entered.
///
/// # Errors
/// When it is none, or still to come.
pub(crate) fn read_start(date: &str) -> Result<Timestamp, Wrongs> {
    let start = counts::start(date)
        .map_err(|problem| Wrongs::of("start_date", Told::line(problem.detail())))?;
    if start > Timestamp::now() {
        return Err(Wrongs::of("start_date", "This day is still to come."));
    }
    Ok(start)
}

/// What a first run would read, or why that cannot be told now.
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
    /// Asks a source how much there is from a day on; as it is set, where that is empty. Takes some seconds.
    pub(crate) async fn ask(api: &Arc<Api>, watch: &Watch, source: String, date: &str) -> Self {
        let start = Some(date.trim()).filter(|date| !date.is_empty()).map(counts::start);
        Self::of(match start.transpose() {
            Ok(start) => counts::ask(api, watch, source, start).await,
            Err(problem) => Err(problem),
        })
    }

    fn of(forecast: Answer<Forecast>) -> Self {
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
