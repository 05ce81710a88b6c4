//! Adding a connection to Kustomer, step by step (`stitch-behaviour.md` 10.3). What was entered is kept as a
//! connection without tables, which runs nothing: whoever leaves comes back to where they were.

mod start;
mod tables;
mod timing;

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bobbin_core::id::ConnectionId;
use bobbin_engine::ledger::{Checked, Side, Thing};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::destinations::CheckedPart;
use super::field::{self, Entered, Field, Pairs, Refused, Wrongs, plain};
use super::show::{Ago, State as Shown, Told};
use super::steps::Step;
use super::{Frame, Place, Said, Visit, destinations, gone_to, part, shown};
use crate::api::{Answer, asked, known, setup};
use crate::names;
use crate::problem::Problem;
use crate::{Api, Described, Edit, Managed, Part};

pub(super) use start::{forecast, set_start, start, start_forecast};
pub(super) use tables::{finish, tables};
pub(super) use timing::{set_timing, timing};

/// The type of source that is set up here.
const KIND: &str = "kustomer";

/// Settings of a source that the first step has, beside its key.
const PLACES: [&str; 3] = ["organization", "region", "api_url"];

/// A connection that is being set up.
struct Draft {
    id: ConnectionId,
    described: Described,
    /// In the words of the file.
    body: Map<String, Value>,
    source: Part,
    /// Other connections of the source.
    shared: Vec<String>,
    check: Option<Checked>,
}

impl Draft {
    /// # Errors
    /// When there is none of that name, or it is set up.
    fn of(api: &Api, name: &str) -> Answer<Self> {
        let id = known(api, name)?;
        let described = api.program.connections().remove(&id);
        let described = described.ok_or_else(|| Problem::not_found("connection"))?;
        let body = api.program.written(&id);
        let (Some(body), Managed::Api, false) = (body, described.managed_by, described.configured)
        else {
            let detail = "this connection is set up; its own pages change it";
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        };
        let mut sources = api.program.parts(Thing::Source).into_iter();
        let source = sources.find(|part| part.name == described.source_name);
        let source = source.ok_or_else(|| Problem::not_found("source"))?;
        let check = api.engine.ledger()?.check(Side::Source, id.as_str())?;
        let shared = setup::sharers(api, &source.name, &id);
        Ok(Self { id, described, body, source, shared, check })
    }

    fn is_readable(&self) -> bool {
        self.check.as_ref().is_some_and(|check| check.status() == "succeeded")
    }

    /// Whether the file has the source, and with it the key and the start.
    fn is_of_file(&self) -> bool {
        self.source.managed_by == Managed::File
    }

    fn has_key(&self) -> bool {
        self.is_of_file() || self.source.secrets.iter().any(|secret| secret == "api_token")
    }

    fn has_start(&self) -> bool {
        self.is_of_file() || self.source.settings.contains_key("start_date")
    }

    fn has_schedule(&self) -> bool {
        let schedule = self.body.get("schedule").and_then(Value::as_object);
        schedule.is_some_and(|schedule| !schedule.is_empty())
    }

    fn address(&self, step: &str) -> String {
        format!("/add/{}/{step}", self.id)
    }

    /// Where it goes on.
    fn next(&self) -> String {
        let step = match () {
            () if !self.has_key() => "key",
            () if !self.is_readable() => "check",
            () if !self.has_start() => "start",
            () if !self.has_schedule() => "schedule",
            () => "tables",
        };
        self.address(step)
    }

    fn steps(&self, here: &str) -> Vec<Step> {
        let readable = self.is_readable();
        let all = [
            ("key", "Key", true, true),
            ("check", "Check", true, readable),
            ("start", "Start", readable, self.has_start()),
            ("schedule", "Schedule", readable, self.has_schedule()),
            ("tables", "Tables", readable, false),
        ];
        let step = |(step, name, open, done): (&str, &'static str, bool, bool)| Step {
            name,
            href: open.then(|| self.address(step)),
            done,
            here: step == here,
        };
        all.into_iter().map(step).collect()
    }

    fn put_source(&self, settings: Map<String, Value>) -> Edit {
        let name = self.source.name.clone();
        Edit { thing: Thing::Source, name, body: Some(settings), new: false }
    }

    fn put_connection(&self, body: Map<String, Value>) -> Edit {
        let name = self.id.to_string();
        Edit { thing: Thing::Connection, name, body: Some(body), new: false }
    }
}

#[derive(Template)]
#[template(path = "add_key.html")]
struct KeyPage {
    frame: Frame,
    steps: Vec<Step>,
    /// Where it is sent.
    action: String,
    wrong: Option<String>,
    fields: Vec<Field>,
    places: Vec<Field>,
    /// Other connections of the source.
    shared: Vec<String>,
    is_of_file: bool,
    /// Once there is something that can be given up.
    discard: Option<String>,
    /// How the only destination was checked, until there are connections.
    checked: Option<(String, String, CheckedPart)>,
}

impl KeyPage {
    fn is_open(&self) -> bool {
        self.places.iter().any(|field| field.wrong.is_some() || !field.value.is_empty())
    }
}

fn key_page(
    api: &Api,
    frame: Frame,
    draft: Option<&Draft>,
    entered: Option<&Entered>,
    wrongs: &Wrongs,
) -> KeyPage {
    let text = |name: &str, known: Option<String>| match entered {
        Some(entered) => entered.get(name).to_owned(),
        None => known.unwrap_or_default(),
    };
    let known = draft.map(|draft| draft.described.display_name.clone());
    let mut fields = vec![
        Field::text("display_name", "Name", text("display_name", known))
            .needed()
            .help("What you call it, for example Acme Kustomer.")
            .wrong(wrongs),
        Field::text("schema", "Schema", text("schema", draft.map(|d| d.described.schema.clone())))
            .help("The schema that its tables are made in: a-z, 0-9 and _. Made of the name, unless given.")
            .wrong(wrongs),
    ];
    let secret = Field::text("api_token", "API key", "").needed().kind("password").wrong(wrongs);
    let kept = draft.is_some_and(Draft::has_key);
    let is_of_file = draft.is_some_and(Draft::is_of_file);
    if !is_of_file {
        fields.push(Field { kept, ..secret });
    }
    let all = api.program.parts(Thing::Destination);
    if all.len() > 1 {
        let known = draft.map(|draft| draft.described.destination_name.clone());
        let options = all.iter().map(|part| (part.name.clone(), destinations::name_of(part)));
        let field = Field::text("destination", "Destination", text("destination", known))
            .needed()
            .choice(options.collect());
        fields.push(field.wrong(wrongs));
    }
    let types = api.program.types();
    let of = types.iter().find(|of| of.side == "source" && of.name == KIND);
    let places = of.map(|of| field::fields(of, draft.map(|draft| &draft.source), entered, wrongs));
    let mut places = places.unwrap_or_default();
    places.retain(|field| !is_of_file && PLACES.contains(&field.name.as_str()));
    let names = ["display_name", "schema", "api_token", "destination"];
    let wrong = wrongs.beside(&[&names[..], &PLACES[..]].concat());
    let (action, discard) = match draft {
        None => ("/add".to_owned(), None),
        Some(draft) => (draft.address("key"), Some(draft.address("discard"))),
    };
    let steps = match draft {
        Some(draft) => draft.steps("key"),
        None => ["Key", "Check", "Start", "Schedule", "Tables"]
            .into_iter()
            .map(|name| Step { name, href: None, done: false, here: name == "Key" })
            .collect(),
    };
    KeyPage {
        frame: frame.titled("Add Kustomer"),
        steps,
        action,
        wrong,
        fields,
        places,
        shared: draft.map(|draft| draft.shared.clone()).unwrap_or_default(),
        is_of_file,
        discard,
        checked: None,
    }
}

/// The first step, empty.
pub(super) async fn begin(State(api): State<Arc<Api>>, visit: Visit) -> Response {
    if api.program.parts(Thing::Destination).is_empty() {
        return gone_to("/welcome/destination", None);
    }
    let page = |api: &Api, frame| {
        let mut page = key_page(api, frame, None, None, &Wrongs::default());
        let destinations = api.program.parts(Thing::Destination);
        if let [only] = &destinations[..]
            && api.program.connections().is_empty()
        {
            let checked = CheckedPart::of_destination(api, &only.name)?;
            page.checked = Some((only.name.clone(), destinations::name_of(only), checked));
        }
        Ok(page)
    };
    shown(api, visit, Place::Connections, page).await
}

/// Where somebody left it.
pub(super) async fn resume(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Response {
    let next = asked(api, move |api| {
        let described = api.program.connections().remove(&known(api, &name)?);
        if described.is_some_and(|described| described.configured) {
            return Ok(format!("/connections/{name}"));
        }
        Ok(Draft::of(api, &name)?.next())
    });
    match next.await {
        Ok(next) => gone_to(&next, None),
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn key(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
) -> Response {
    shown(api, visit, Place::Connections, move |api, frame| {
        let draft = Draft::of(api, &name)?;
        Ok(key_page(api, frame, Some(&draft), None, &Wrongs::default()))
    })
    .await
}

/// Keeps a new connection and begins its check.
pub(super) async fn make(State(api): State<Arc<Api>>, visit: Visit, pairs: Pairs) -> Response {
    kept(api, visit, None, pairs).await
}

/// Keeps what was changed of the first step and begins another check.
pub(super) async fn set_key(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    kept(api, visit, Some(name), pairs).await
}

async fn kept(api: Arc<Api>, visit: Visit, name: Option<String>, pairs: Pairs) -> Response {
    let of = name.clone();
    let act = move |api: &Api, entered: &Entered| {
        let draft = of.as_deref().map(|name| Draft::of(api, name)).transpose()?;
        let (id, unbegun) = keep(api, draft.as_ref(), entered)?;
        Ok(Some((format!("/add/{id}/check"), unbegun)))
    };
    let again = move |api: &Api, frame, entered: &Entered, wrongs: &Wrongs| {
        let draft = name.as_deref().map(|name| Draft::of(api, name)).transpose()?;
        Ok(key_page(api, frame, draft.as_ref(), Some(entered), wrongs))
    };
    field::sent((api, visit, Place::Connections), pairs, act, again).await
}

/// Keeps what was entered, and begins a check; gives the connection, and what is to be said if none began.
fn keep(
    api: &Api,
    draft: Option<&Draft>,
    entered: &Entered,
) -> Result<(String, Option<Said>), Refused> {
    let called = entered.get("display_name");
    let own = draft.map(|draft| &draft.id);
    if names::free(api, called, own).is_err() {
        let why = if called.is_empty() {
            "Give it a name."
        } else {
            "Another connection has this name, or it is longer than 200 bytes."
        };
        return Err(Refused::Wrong(Wrongs::of("display_name", why)));
    }
    let ledger = api.engine.ledger()?;
    let id =
        match draft {
            Some(draft) => draft.id.to_string(),
            None => names::slug(called, |name| names::is_taken(api, &*ledger, name))?.ok_or_else(
                || Refused::Wrong(Wrongs::of("display_name", "A name has letters or digits.")),
            )?,
        };
    let mut settings = draft.map(|draft| draft.source.written()).unwrap_or_default();
    settings.insert("type".to_owned(), KIND.into());
    for place in PLACES {
        match entered.get(place) {
            "" => drop(settings.remove(place)),
            text => drop(settings.insert(place.to_owned(), text.into())),
        }
    }
    let has_key = draft.is_some_and(Draft::has_key);
    let is_of_file = draft.is_some_and(Draft::is_of_file);
    match entered.get("api_token") {
        "" if has_key => {}
        "" => return Err(Refused::Wrong(Wrongs::of("api_token", "Paste the key here."))),
        text => drop(settings.insert("api_token".to_owned(), text.into())),
    }
    let all = api.program.parts(Thing::Destination);
    let destination = match (entered.get("destination"), &all[..]) {
        ("", [only]) => only.name.clone(),
        ("", _) => draft.map_or_else(String::new, |draft| draft.described.destination_name.clone()),
        (name, _) => name.to_owned(),
    };
    let mut body = draft.map(|draft| draft.body.clone()).unwrap_or_default();
    let schema = match entered.get("schema") {
        "" => id.clone(),
        schema => schema.to_owned(),
    };
    for (key, value) in [
        ("source", draft.map_or(&id, |draft| &draft.source.name).as_str().into()),
        ("destination", destination.into()),
        ("display_name", called.into()),
        ("schema", schema.into()),
        ("tables", json!([])),
    ] {
        body.insert(key.to_owned(), value);
    }
    let edits = match draft {
        Some(draft) if is_of_file => vec![draft.put_connection(body)],
        Some(draft) => vec![draft.put_source(settings), draft.put_connection(body)],
        None => vec![
            Edit { thing: Thing::Source, name: id.clone(), body: Some(settings), new: true },
            Edit { thing: Thing::Connection, name: id.clone(), body: Some(body), new: true },
        ],
    };
    let fields = [
        ("schema", "schema"),
        ("api_token", "api_token"),
        ("api_url", "api_url"),
        ("region is", "region"),
        ("organization", "organization"),
        ("destination", "destination"),
    ];
    api.program.change(&edits).map_err(|error| Refused::by(&error, &fields))?;
    let unbegun = destinations::begin_check(api, Side::Source, &id);
    let unbegun = unbegun.map(|why| Said {
        tone: "warn",
        text: format!("It is kept, but its check could not begin: {why} Check again in a moment."),
    });
    Ok((id, unbegun))
}

#[derive(Template)]
#[template(path = "add_check.html")]
struct CheckPage {
    frame: Frame,
    steps: Vec<Step>,
    name: String,
    found: FoundPart,
}

/// How the check goes and what it found, asked for again until it is over.
#[derive(Template)]
#[template(path = "parts/found.html")]
struct FoundPart {
    id: ConnectionId,
    csrf: String,
    running: bool,
    begun: Option<Ago>,
    error: Option<Told>,
    /// Tables, and why each may not be read.
    tables: Vec<(String, Option<String>)>,
    readable: usize,
    state: Shown,
}

impl askama::filters::HtmlSafe for FoundPart {}

impl FoundPart {
    fn of(api: &Api, draft: &Draft, csrf: &str) -> Answer<Self> {
        let running = draft.check.as_ref().is_some_and(|check| check.ended_at.is_none());
        let mut tables = Vec::new();
        if draft.is_readable()
            && let Some((found, _)) = api.engine.ledger()?.catalog(&draft.id)?
        {
            let readable = found.catalog.streams.iter();
            tables.extend(readable.map(|stream| (stream.name.to_string(), None)));
            let missing = found.unreadable.into_iter();
            tables.extend(missing.map(|(name, why)| (name.to_string(), Some(why))));
        }
        let readable = tables.iter().filter(|(_, why)| why.is_none()).count();
        Ok(Self {
            id: draft.id.clone(),
            csrf: csrf.to_owned(),
            running,
            begun: draft.check.as_ref().map(|check| Ago(check.started_at)),
            error: draft.check.as_ref().and_then(|check| check.error.clone()).map(Told),
            readable,
            tables,
            state: destinations::state(draft.check.as_ref()),
        })
    }
}

pub(super) async fn check(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
) -> Response {
    shown(api, visit, Place::Connections, move |api, frame| {
        let draft = Draft::of(api, &name)?;
        let found = FoundPart::of(api, &draft, frame.csrf())?;
        Ok(CheckPage {
            frame: frame.titled("The key is tried"),
            steps: draft.steps("check"),
            name: draft.described.display_name,
            found,
        })
    })
    .await
}

pub(super) async fn checked(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
) -> Response {
    let gzip = visit.gzip;
    let frame = Frame::alone(visit, "");
    let made =
        part(api, gzip, move |api| FoundPart::of(api, &Draft::of(api, &name)?, frame.csrf()));
    match made.await {
        Ok(body) => body.into_response(),
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn check_again(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Response {
    let begun = asked(api, move |api| {
        let draft = Draft::of(api, &name)?;
        api.program.check(Side::Source, draft.id.as_str())?;
        Ok(draft.address("check"))
    });
    match begun.await {
        Ok(to) => gone_to(&to, None),
        Err(problem) => problem.into_response(),
    }
}

/// Gives up what was entered.
pub(super) async fn discard(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Response {
    let done = asked(api, move |api| {
        let draft = Draft::of(api, &name)?;
        let edits = setup::removal(api, &draft.id, &draft.source);
        Ok(api.program.change(&edits)?)
    });
    match done.await {
        Ok(()) => gone_to("/", Some(&Said::good("What was entered is deleted."))),
        Err(problem) => problem.into_response(),
    }
}

#[derive(Deserialize)]
pub(super) struct Naming {
    #[serde(default)]
    display_name: String,
}

/// What a connection of that name would be called elsewhere, while it is typed.
#[derive(Template)]
#[template(path = "parts/naming.html")]
struct NamingPart {
    schema: Option<String>,
    wrong: bool,
}

pub(super) async fn naming(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Query(asked): Query<Naming>,
) -> Response {
    let made = part(api, visit.gzip, move |api| {
        let called = asked.display_name.trim();
        let ledger = api.engine.ledger()?;
        Ok(NamingPart {
            schema: names::slug(called, |name| names::is_taken(api, &*ledger, name))?,
            wrong: !called.is_empty() && names::free(api, called, None).is_err(),
        })
    });
    match made.await {
        Ok(body) => body.into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// A setting of the source as text.
fn setting(draft: &Draft, name: &str) -> Option<String> {
    draft.source.settings.get(name).map(plain)
}
