//! How a connection is set up, and what changes it for good.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bobbin_core::id::StreamName;
use bobbin_engine::ledger::{Side, Thing};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::tables::written;
use super::{Head, Tab};
use crate::api::forecast as counts;
use crate::api::setup::{CloneWish, clone_of, removal, sharers};
use crate::api::{Answer, known};
use crate::gate::Watch;
use crate::pages::destinations::{self, CheckedPart};
use crate::pages::field::{self, Entered, Field, Pairs, Refused, Wrongs};
use crate::pages::forecast::{read_start, start_field};
use crate::pages::schedule::ScheduleForm;
use crate::pages::{Frame, Place, Said, Visit, part, shown};
use crate::problem::Problem;
use crate::{Api, Edit, Managed, Part, names};

#[derive(Template)]
#[template(path = "connection/settings.html")]
struct SettingsPage {
    frame: Frame,
    head: Head,
    may_change: bool,
    /// The source can be changed here.
    may_change_source: bool,
    name: Field,
    schedule: ScheduleForm,
    start: Option<Field>,
    key: Option<Field>,
    checked: CheckedPart,
    /// Other connections of the same source.
    shared: Vec<String>,
    tables: Vec<Table>,
    /// Rows are replaced rather than overwritten.
    replaces: bool,
    reset: Field,
    from: Field,
    until: Field,
    clone: Vec<Field>,
    /// Whether there is a choice of tables to keep, and whether it is kept.
    has_selection: bool,
    keeps_selection: bool,
    delete: Field,
    /// Whether its source, with the key, goes with it.
    source_goes: bool,
    /// What is wrong with a form as a whole, and with which.
    wrong: Option<(String, String)>,
}

/// A table that is replicated, with the forms in which it is chosen.
struct Table {
    name: String,
    read_again: bool,
    reset: bool,
}

/// A form of the page as it was sent, to be shown again.
#[derive(Clone, Default)]
struct Again {
    form: &'static str,
    entered: Entered,
    wrongs: Wrongs,
}

fn source_of(api: &Api, head: &Head) -> Answer<Part> {
    let mut sources = api.program.parts(Thing::Source).into_iter();
    let source = sources.find(|part| part.name == head.described.source_name);
    source.ok_or_else(|| Problem::not_found("source"))
}

/// The start date that a source is set to; empty where it has none.
fn start_of(source: &Part) -> &str {
    source.settings.get("start_date").and_then(|date| date.as_str()).unwrap_or("")
}

/// The destinations that there are, with what they are called.
fn destinations(api: &Api) -> Vec<(String, String)> {
    let all = api.program.parts(Thing::Destination).into_iter();
    all.map(|part| {
        let called = part.labels.get("display_name").unwrap_or(&part.name).clone();
        (part.name, called)
    })
    .collect()
}

/// What is sent where a clone keeps the choice of tables.
const KEEPS: (&str, &str) = ("keep_selection", "yes");

fn page(api: &Api, frame: Frame, name: &str, again: &Again) -> Answer<SettingsPage> {
    let ledger = api.engine.ledger()?;
    let head = Head::of(api, &*ledger, name, Tab::Settings)?;
    let source = source_of(api, &head)?;
    let body = api.program.written(&head.id);
    let may_change = body.is_some() && frame.may_govern();
    let body = body.unwrap_or_default();
    let none = Wrongs::default();
    let of = |form: &str| if again.form == form { &again.wrongs } else { &none };
    let value = |form: &str, field: &str, known: &str| {
        if again.form == form { again.entered.get(field).to_owned() } else { known.to_owned() }
    };
    let called = head.described.display_name.clone();
    let start = start_of(&source);
    let shared = sharers(api, &source.name, &head.id);
    let catalog = ledger.catalog(&head.id)?.map(|(found, _)| found.catalog);
    let selection = api.program.selection(&head.id).unwrap_or_default();
    let streams = catalog.iter().flat_map(|catalog| &catalog.streams);
    let is_entered = |form: &str, pair: (&str, &str)| {
        again.form == form && again.entered.pairs().any(|entered| entered == pair)
    };
    let tables = streams.filter(|stream| selection.contains(&stream.name)).map(|stream| {
        let pair = ("table", stream.name.as_str());
        Table {
            name: stream.name.to_string(),
            read_again: is_entered("backfill", pair),
            reset: is_entered("reset", pair),
        }
    });
    let base = ledger.base(&head.id)?;
    let schedule = match again.form {
        "schedule" => ScheduleForm::entered(&again.entered, &again.wrongs, base),
        _ => ScheduleForm::of(body.get("schedule"), base),
    };
    let confirm = |form: &'static str| {
        Field::text(form, &format!("To confirm, enter {called}"), value(form, form, ""))
            .needed()
            .wrong(of(form))
    };
    let date = |name: &'static str, label: &str| {
        Field::text(name, label, value("backfill", name, ""))
            .needed()
            .kind("date")
            .wrong(of("backfill"))
    };
    let destination = value("clone", "clone_destination", &head.described.destination_name);
    Ok(SettingsPage {
        may_change,
        may_change_source: source.managed_by == Managed::Api && frame.may_govern(),
        name: Field::text("display_name", "Name", value("rename", "display_name", &called))
            .needed()
            .wrong(of("rename")),
        schedule: schedule.of_connection(head.id.as_str()),
        start: (source.kind == "kustomer").then(|| {
            let entered = if again.form == "start" { again.entered.get("start_date") } else { "" };
            start_field(Some(start), entered, of("start"))
        }),
        key: (source.kind == "kustomer").then(|| {
            Field::text("api_token", "API key", "")
                .needed()
                .kind("password")
                .help("The one there is is kept sealed and never shown.")
                .wrong(of("key"))
        }),
        checked: CheckedPart::of_source(api, name)?,
        source_goes: removal(api, &head.id, &source).len() > 1,
        shared,
        tables: tables.collect(),
        replaces: is_entered("reset", ("mode", "replace")),
        reset: confirm("reset"),
        from: date("from", "Changed since"),
        until: date("until", "And before"),
        clone: vec![
            Field::text("clone_name", "Name of the other one", value("clone", "clone_name", ""))
                .needed()
                .wrong(of("clone")),
            Field::text("clone_schema", "Schema", value("clone", "clone_schema", ""))
                .help("Made of the name, if it is left empty.")
                .wrong(of("clone")),
            Field::text("clone_destination", "Destination", destination)
                .needed()
                .choice(destinations(api))
                .wrong(of("clone")),
        ],
        has_selection: head.described.configured,
        keeps_selection: again.form != "clone" || is_entered("clone", KEEPS),
        delete: confirm("delete"),
        wrong: again
            .wrongs
            .beside(&[
                "display_name",
                "start_date",
                "api_token",
                "from",
                "until",
                "clone_name",
                "clone_schema",
                "clone_destination",
                "reset",
                "delete",
                "every",
                "anchor",
                "cron",
                "time_zone",
            ])
            .map(|why| (again.form.to_owned(), why)),
        frame: frame.titled(format!("Settings of {called}")),
        head,
    })
}

impl SettingsPage {
    /// What is wrong with a form as a whole.
    fn wrong_with(&self, form: &str) -> Option<&str> {
        self.wrong.as_ref().filter(|(of, _)| of == form).map(|(_, why)| why.as_str())
    }
}

pub(in crate::pages) async fn settings(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
) -> Response {
    let none = Again::default();
    shown(api, visit, Place::Connections, move |api, frame| page(api, frame, &name, &none)).await
}

/// Does what a form asks for and goes where that says, or shows the form again.
async fn done<S: Into<Said> + Send + 'static>(
    api: Arc<Api>,
    visit: Visit,
    (name, form): (String, &'static str),
    pairs: Pairs,
    act: impl FnOnce(&Api, &str, &Entered) -> Result<(String, S), Refused> + Send + 'static,
) -> Response {
    let of = name.clone();
    let act = move |api: &Api, entered: &Entered| {
        let (to, said) = act(api, &of, entered)?;
        Ok(Some((to, Some(said.into()))))
    };
    let again = move |api: &Api, frame, entered: &Entered, wrongs: &Wrongs| {
        let again = Again { form, entered: entered.clone(), wrongs: wrongs.clone() };
        page(api, frame, &name, &again)
    };
    field::sent((api, visit, Place::Connections), pairs, act, again).await
}

fn own(name: &str) -> String {
    format!("/connections/{name}/settings")
}

fn change(
    api: &Api,
    thing: Thing,
    name: &str,
    body: serde_json::Map<String, serde_json::Value>,
) -> bobbin_core::Result<()> {
    api.program.change(&[Edit { thing, name: name.to_owned(), body: Some(body), new: false }])
}

pub(in crate::pages) async fn rename(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    done(api, visit, (name, "rename"), pairs, |api, name, entered| {
        let called = entered.get("display_name");
        names::free(api, called, Some(&known(api, name)?))
            .map_err(|why| Wrongs::of("display_name", why))?;
        let mut body = written(api, name)?;
        body.insert("display_name".to_owned(), called.into());
        change(api, Thing::Connection, name, body)?;
        Ok((own(name), format!("It is called {called} now.")))
    })
    .await
}

pub(in crate::pages) async fn schedule(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    done(api, visit, (name, "schedule"), pairs, |api, name, entered| {
        let mut body = written(api, name)?;
        let schedule = ScheduleForm::take(entered, body.get("schedule"))?;
        body.insert("schedule".to_owned(), schedule.into());
        change(api, Thing::Connection, name, body).map_err(|error| Refused::by(&error, &[]))?;
        Ok((own(name), "The schedule is changed.".to_owned()))
    })
    .await
}

pub(in crate::pages) async fn start(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    done(api, visit, (name, "start"), pairs, |api, name, entered| {
        let start = read_start(entered.get("start_date"))?;
        let source = source(api, name)?;
        let before = counts::start(start_of(&source)).ok();
        let mut body = source.written();
        body.insert("start_date".to_owned(), start.to_string().into());
        change(api, Thing::Source, &source.name, body)
            .map_err(|error| Refused::by(&error, &[("start_date", "start_date")]))?;
        let day = TimeZone::UTC.to_datetime(start).date();
        let said = if before.is_some_and(|before| before <= start) {
            format!("Nothing is removed: {day} counts for what is read from the start.")
        } else {
            format!("The next job reads what was changed since {day}.")
        };
        Ok((own(name), said))
    })
    .await
}

pub(in crate::pages) async fn key(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    done(api, visit, (name, "key"), pairs, |api, name, entered| {
        let given = entered.get("api_token");
        if given.is_empty() {
            return Err(Wrongs::of("api_token", "Enter a key.").into());
        }
        let source = source(api, name)?;
        let mut body = source.written();
        body.insert("api_token".to_owned(), given.into());
        change(api, Thing::Source, &source.name, body)
            .map_err(|error| Refused::by(&error, &[("api_token", "api_token")]))?;
        let unbegun = destinations::begin_check(api, Side::Source, name);
        let good = match unbegun {
            None => "The key is changed, and is tried now.",
            Some(_) => "The key is changed.",
        };
        Ok((own(name), destinations::kept(good, unbegun)))
    })
    .await
}

/// How the key was tried, for a page that waits for it.
pub(in crate::pages) async fn checked(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
) -> Response {
    let made = part(api, visit.gzip, move |api| {
        known(api, &name)?;
        CheckedPart::of_source(api, &name)
    });
    match made.await {
        Ok(body) => body.into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// The source of a connection, which is to be changed.
fn source(api: &Api, name: &str) -> Answer<Part> {
    let head = Head::of(api, &*api.engine.ledger()?, name, Tab::Settings)?;
    let source = source_of(api, &head)?;
    match source.managed_by {
        Managed::Api => Ok(source),
        Managed::File => {
            let detail = "the file has this source: change it there";
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
    }
}

/// Fails unless somebody entered what a connection is called.
fn confirmed(api: &Api, name: &str, entered: &Entered, field: &str) -> Result<(), Refused> {
    let described = api.program.connections().remove(&known(api, name)?);
    let called = described.map(|described| described.display_name).unwrap_or_default();
    if entered.get(field) == called {
        return Ok(());
    }
    Err(Wrongs::of(field, format!("This is not {called}.")).into())
}

pub(in crate::pages) async fn reset(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    let turn = match watch.turn_to_ask().await {
        Ok(turn) => turn,
        Err(problem) => return problem.into_response(),
    };
    done(api, visit, (name, "reset"), pairs, move |api, name, entered| {
        let _turn = turn;
        confirmed(api, name, entered, "reset")?;
        let table = entered.get("table");
        let streams: Vec<StreamName> = Some(table)
            .filter(|table| !table.is_empty())
            .map(StreamName::from)
            .into_iter()
            .collect();
        let replace = entered.get("mode") == "replace";
        api.program
            .reset(&known(api, name)?, &streams, replace)
            .map_err(|error| Refused::by(&error, &[]))?;
        let what = if table.is_empty() { "Every table" } else { table };
        let said = format!("{what} is read from the start date again by the next job.");
        Ok((format!("/connections/{name}"), said))
    })
    .await
}

pub(in crate::pages) async fn backfill(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    done(api, visit, (name, "backfill"), pairs, |api, name, entered| {
        let day = |field: &str| -> Result<Timestamp, Wrongs> {
            let day = entered.get(field).parse::<Date>().ok();
            let at = day.and_then(|day| {
                TimeZone::UTC.to_timestamp(day.to_datetime(jiff::civil::Time::midnight())).ok()
            });
            at.ok_or_else(|| Wrongs::of(field, "This is no date."))
        };
        let part = (day("from")?, day("until")?);
        let chosen = entered.pairs().filter(|(name, _)| *name == "table");
        let tables: Vec<StreamName> = chosen.map(|(_, table)| table.into()).collect();
        if tables.is_empty() {
            return Err(Wrongs::of("", "Choose at least one table.").into());
        }
        let fields = [("from", "from"), ("until", "until")];
        let job = api.program.backfill(&known(api, name)?, tables, part);
        let job = job.map_err(|error| Refused::by(&error, &fields))?;
        Ok((format!("/connections/{name}/extractions/{job}"), "It begins.".to_owned()))
    })
    .await
}

pub(in crate::pages) async fn clone(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    done(api, visit, (name, "clone"), pairs, |api, name, entered| {
        let called = entered.get("clone_name");
        names::free(api, called, None).map_err(|why| Wrongs::of("clone_name", why))?;
        let schema = Some(entered.get("clone_schema")).filter(|schema| !schema.is_empty());
        let destination =
            Some(entered.get("clone_destination")).filter(|destination| !destination.is_empty());
        let wish = CloneWish {
            display_name: called.to_owned(),
            schema: schema.map(str::to_owned),
            destination: destination.map(str::to_owned),
            keep_selection: entered.pairs().any(|pair| pair == KEEPS),
        };
        let made = clone_of(api, name, wish).map_err(|problem| match problem.status() {
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT => {
                let schema = problem.detail().contains("schema");
                let field = if schema { "clone_schema" } else { "clone_name" };
                Refused::Wrong(Wrongs::of(field, problem.detail()))
            }
            _ => Refused::Else(problem),
        })?;
        let said = format!("{called} is made. It is paused until somebody resumes it.");
        Ok((format!("/connections/{made}"), said))
    })
    .await
}

pub(in crate::pages) async fn delete(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    done(api, visit, (name, "delete"), pairs, |api, name, entered| {
        confirmed(api, name, entered, "delete")?;
        let head = Head::of(api, &*api.engine.ledger()?, name, Tab::Settings)?;
        let edits = removal(api, &head.id, &source_of(api, &head)?);
        api.program.change(&edits).map_err(|error| Refused::by(&error, &[]))?;
        let said =
            format!("{} is deleted. Its tables stay in the destination.", entered.get("delete"));
        Ok(("/".to_owned(), said))
    })
    .await
}
