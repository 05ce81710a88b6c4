//! Destinations: which there are, how each is set up, whether it can be written.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bobbin_engine::ledger::{Checked, Side, Thing};
use serde::Deserialize;

use super::field::{self, Entered, Field, Pairs, Refused, Wrongs};
use super::show::{Ago, Lasting, State as Shown, Told, between};
use super::{Frame, Place, Said, Visit, gone_to, part, shown, shown_as};
use crate::api::{Answer, asked};
use crate::names;
use crate::problem::Problem;
use crate::{Api, Edit, Managed, Part, Type};

/// What types are called by people.
const KINDS: [(&str, &str, &str); 2] = [
    ("duckdb", "DuckDB file", "A file on the machine where bobbin runs. Nothing else is needed."),
    ("postgres", "PostgreSQL", "A database on a server of yours, version 13 or newer."),
];

/// What a type is called.
pub(super) fn kind_name(kind: &str) -> &str {
    KINDS.iter().find(|(known, ..)| *known == kind).map_or(kind, |(_, name, _)| name)
}

/// What a destination is called.
pub(super) fn name_of(part: &Part) -> String {
    part.labels.get("display_name").cloned().unwrap_or_else(|| part.name.clone())
}

/// The form of a destination. Put `{{ form }}` between `<form>` and its button.
#[derive(Template, Clone)]
#[template(path = "parts/destination.html")]
pub(super) struct DestinationForm {
    kind: String,
    what: String,
    wrong: Option<String>,
    fields: Vec<Field>,
}

impl askama::filters::HtmlSafe for DestinationForm {}

impl DestinationForm {
    /// The form of a type: as it was entered, or else as the destination is.
    ///
    /// # Errors
    /// When there is no such type.
    pub(super) fn of(
        api: &Api,
        kind: &str,
        known: Option<&Part>,
        entered: Option<&Entered>,
        wrongs: &Wrongs,
    ) -> Answer<Self> {
        let of = type_of(api, kind)?;
        let mut fields = Vec::new();
        let name = match (entered, known) {
            (Some(entered), _) => entered.get("display_name").to_owned(),
            (None, Some(part)) => name_of(part),
            (None, None) => "Warehouse".to_owned(),
        };
        fields.push(Field::text("display_name", "Name", name).needed().wrong(wrongs));
        for mut field in field::fields(&of, known, entered, wrongs) {
            if field.name == "path" {
                if known.is_none() && entered.is_none() {
                    "warehouse.duckdb".clone_into(&mut field.value);
                }
                "Below the directory of bobbin's file; it is made when missing."
                    .clone_into(&mut field.help);
            }
            fields.push(field);
        }
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let wrong = wrongs.beside(&names);
        let what = KINDS.iter().find(|(known, ..)| *known == kind);
        Ok(Self {
            kind: kind.to_owned(),
            what: what.map_or_else(String::new, |(_, _, what)| (*what).to_owned()),
            wrong,
            fields,
        })
    }

    fn plain(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| !field.advanced)
    }

    fn advanced(&self) -> Vec<&Field> {
        self.fields.iter().filter(|field| field.advanced).collect()
    }

    /// Whether something is set or wrong among what is folded away.
    fn is_open(&self) -> bool {
        self.advanced().iter().any(|field| field.wrong.is_some() || !field.value.is_empty())
    }
}

fn type_of(api: &Api, kind: &str) -> Answer<Type> {
    let mut types = api.program.types().into_iter();
    types
        .find(|of| of.side == "destination" && of.name == kind)
        .ok_or_else(|| Problem::not_found("type of destination"))
}

/// Begins a check of what was just kept; tells why none began, which harms nothing.
pub(super) fn begin_check(api: &Api, side: Side, name: &str) -> Option<String> {
    api.program.check(side, name).err().map(|error| Told::line(&error.report()))
}

/// What is said after something was kept, with why it is not checked.
pub(super) fn kept(good: &str, unbegun: Option<String>) -> Said {
    match unbegun {
        None => Said::good(good),
        Some(why) => {
            Said { tone: "warn", text: format!("{good} Its check could not begin: {why}") }
        }
    }
}

/// Makes or changes a destination as entered, and begins its check; gives its name, and why no check began.
pub(super) fn save(
    api: &Api,
    known: Option<&Part>,
    entered: &Entered,
) -> Result<(String, Option<String>), Refused> {
    let kind = known.map_or_else(|| entered.get("type").to_owned(), |part| part.kind.clone());
    let of = type_of(api, &kind)?;
    let mut body = field::settings(&of, entered).map_err(Refused::Wrong)?;
    let called = entered.get("display_name");
    let name = match known {
        Some(part) => part.name.clone(),
        None => names::slug(called, |name| names::is_destination(api, name))?.ok_or_else(|| {
            Refused::Wrong(Wrongs::of("display_name", "A name has letters or digits."))
        })?,
    };
    for (label, text) in known.iter().flat_map(|part| &part.labels) {
        body.insert(label.clone(), text.as_str().into());
    }
    body.insert("type".to_owned(), kind.into());
    body.insert("display_name".to_owned(), called.into());
    let wish = Edit {
        thing: Thing::Destination,
        name: name.clone(),
        body: Some(body),
        new: known.is_none(),
    };
    let words: Vec<(String, &str)> =
        of.properties.iter().map(|known| (format!("`{}`", known.name), known.name)).collect();
    let mut words: Vec<(&str, &str)> =
        words.iter().map(|(word, at)| (word.as_str(), *at)).collect();
    words.extend([("has no path", "path"), ("the host of", "host"), ("the path of", "path")]);
    words.extend([("has no database", "database"), ("has no user", "user")]);
    api.program.change(&[wish]).map_err(|error| Refused::by(&error, &words))?;
    let unbegun = begin_check(api, Side::Destination, &name);
    Ok((name, unbegun))
}

#[derive(Template)]
#[template(path = "destinations.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
}

struct Row {
    part: Part,
    called: String,
    kind: String,
    place: String,
    users: Vec<User>,
    state: Shown,
    checked: Option<Ago>,
}

/// A connection that uses a destination.
struct User {
    id: String,
    name: String,
}

pub(super) async fn list(State(api): State<Arc<Api>>, visit: Visit) -> Response {
    shown(api, visit, Place::Destinations, |api, frame| {
        let parts = api.program.parts(Thing::Destination).into_iter();
        let rows = parts.map(|part| row(api, part)).collect::<Answer<Vec<_>>>()?;
        Ok(ListPage { frame: frame.titled("Destinations"), rows })
    })
    .await
}

fn row(api: &Api, part: Part) -> Answer<Row> {
    let check = api.engine.ledger()?.check(Side::Destination, &part.name)?;
    Ok(Row {
        called: name_of(&part),
        kind: kind_name(&part.kind).to_owned(),
        place: place_of(&part),
        users: users(api, &part.name),
        state: state(check.as_ref()),
        checked: check.and_then(|check| check.ended_at).map(Ago),
        part,
    })
}

fn users(api: &Api, name: &str) -> Vec<User> {
    let connections = api.program.connections().into_iter();
    let own = connections.filter(|(_, described)| described.destination_name == name);
    own.map(|(id, described)| User { id: id.to_string(), name: described.display_name }).collect()
}

/// Where a destination is, without what is secret about it.
fn place_of(part: &Part) -> String {
    let text = |key: &str| part.settings.get(key).map(field::plain);
    match (text("path"), text("database")) {
        (Some(path), _) => path,
        (None, Some(database)) => {
            format!("{} on {}", database, text("host").unwrap_or_else(|| "localhost".to_owned()))
        }
        (None, None) => String::new(),
    }
}

/// How a check stands.
pub(super) fn state(check: Option<&Checked>) -> Shown {
    match check.map(Checked::status) {
        None => Shown::new("", "Not checked"),
        Some("running") => Shown::new("busy", "Checking"),
        Some("succeeded") => Shown::new("good", "Works"),
        Some(_) => Shown::new("bad", "Failed"),
    }
}

#[derive(Deserialize)]
pub(super) struct Chosen {
    #[serde(default, rename = "type")]
    kind: String,
}

#[derive(Template)]
#[template(path = "destination_add.html")]
struct AddPage {
    frame: Frame,
    form: Option<DestinationForm>,
}

impl AddPage {
    #[allow(clippy::unused_self, reason = "templates ask the page")]
    fn kinds(&self) -> [(&'static str, &'static str, &'static str); 2] {
        KINDS
    }
}

/// The form of a new destination, once its type is chosen.
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Query(chosen): Query<Chosen>,
) -> Response {
    shown(api, visit, Place::Destinations, move |api, frame| {
        let none = Wrongs::default();
        let form = |kind: &str| DestinationForm::of(api, kind, None, None, &none);
        let form = Some(&*chosen.kind).filter(|kind| !kind.is_empty()).map(form).transpose()?;
        Ok(AddPage { frame: frame.titled("Add a destination"), form })
    })
    .await
}

pub(super) async fn make(State(api): State<Arc<Api>>, visit: Visit, pairs: Pairs) -> Response {
    let act = |api: &Api, entered: &Entered| {
        let (name, unbegun) = save(api, None, entered)?;
        Ok(Some((format!("/destinations/{name}"), Some(kept("It is set up.", unbegun)))))
    };
    let again = |api: &Api, frame: Frame, entered: &Entered, wrongs: &Wrongs| {
        let form = DestinationForm::of(api, entered.get("type"), None, Some(entered), wrongs)?;
        Ok(AddPage { frame: frame.titled("Add a destination"), form: Some(form) })
    };
    field::sent((api, visit, Place::Destinations), pairs, act, again).await
}

#[derive(Template)]
#[template(path = "destination.html")]
struct OnePage {
    frame: Frame,
    row: Row,
    form: DestinationForm,
    /// Settings as they are, for those who may not change them.
    settings: Vec<(String, String)>,
    checked: CheckedPart,
    /// The file that has it, if one has.
    file: bool,
    /// What was wrong with a wish to delete it.
    kept: Option<String>,
}

/// How a check goes, asked for again until it is over.
#[derive(Template)]
#[template(path = "parts/checked.html")]
pub(crate) struct CheckedPart {
    /// Where it is asked for.
    address: String,
    running: bool,
    state: Shown,
    ended: Option<Ago>,
    lasted: Option<Lasting>,
    error: Option<Told>,
}

impl askama::filters::HtmlSafe for CheckedPart {}

impl CheckedPart {
    pub(super) fn of_destination(api: &Api, name: &str) -> Answer<Self> {
        Self::of(api, Side::Destination, name, format!("/destinations/{name}/checked"))
    }

    /// Of the source of a connection.
    pub(super) fn of_source(api: &Api, name: &str) -> Answer<Self> {
        Self::of(api, Side::Source, name, format!("/connections/{name}/checked"))
    }

    fn of(api: &Api, side: Side, name: &str, address: String) -> Answer<Self> {
        let check = api.engine.ledger()?.check(side, name)?;
        let ended = check.as_ref().and_then(|check| check.ended_at);
        let begun = check.as_ref().map(|check| check.started_at);
        Ok(Self {
            address,
            running: check.is_some() && ended.is_none(),
            state: state(check.as_ref()),
            ended: ended.map(Ago),
            lasted: begun.zip(ended).map(|(begun, ended)| between(begun, ended)),
            error: check.and_then(|check| check.error).map(Told),
        })
    }
}

fn find(api: &Api, name: &str) -> Answer<Part> {
    let mut parts = api.program.parts(Thing::Destination).into_iter();
    parts.find(|part| part.name == name).ok_or_else(|| Problem::not_found("destination"))
}

fn page(
    api: &Api,
    frame: Frame,
    name: &str,
    entered: Option<&Entered>,
    wrongs: &Wrongs,
) -> Answer<OnePage> {
    let found = find(api, name)?;
    let form = match type_of(api, &found.kind) {
        Ok(_) => DestinationForm::of(api, &found.kind, Some(&found), entered, wrongs)?,
        // Only the file can have such a one.
        Err(_) => DestinationForm {
            kind: found.kind.clone(),
            what: String::new(),
            wrong: wrongs.beside(&[]),
            fields: Vec::new(),
        },
    };
    let mut settings: Vec<(String, String)> = found
        .settings
        .iter()
        .map(|(key, value)| (field::label(key), field::plain(value)))
        .collect();
    settings.extend(found.secrets.iter().map(|key| (field::label(key), "set".to_owned())));
    let file = found.managed_by == Managed::File;
    let row = row(api, found)?;
    Ok(OnePage {
        frame: frame.titled(row.called.clone()),
        checked: CheckedPart::of_destination(api, name)?,
        row,
        form,
        settings,
        file,
        kept: None,
    })
}

pub(super) async fn one(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
) -> Response {
    field::form((api, visit, Place::Destinations), name, page).await
}

pub(super) async fn checked(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
) -> Response {
    let made = part(api, visit.gzip, move |api| {
        find(api, &name)?;
        CheckedPart::of_destination(api, &name)
    });
    match made.await {
        Ok(body) => body.into_response(),
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn check(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Response {
    let to = format!("/destinations/{name}");
    match asked(api, move |api| Ok(api.program.check(Side::Destination, &name)?)).await {
        Ok(()) => gone_to(&to, None),
        Err(problem) if problem.status() == StatusCode::SERVICE_UNAVAILABLE => {
            gone_to(&to, Some(&Said::bad(Told::line(problem.detail()))))
        }
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn change(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    let act = |api: &Api, of: &str, entered: &Entered| {
        let (name, unbegun) = save(api, Some(&find(api, of)?), entered)?;
        let said = kept("Saved. The next job uses it.", unbegun);
        Ok(Some((format!("/destinations/{name}"), Some(said))))
    };
    field::sent_of((api, visit, Place::Destinations), (name, pairs), act, page).await
}

/// Removes a destination whose name was typed and that no connection uses.
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    Form(pairs): Pairs,
) -> Response {
    let entered = Entered::new(pairs);
    let of = name.clone();
    let done = asked(Arc::clone(&api), move |api| {
        let found = find(api, &of)?;
        if entered.get("name") != name_of(&found) {
            return Ok(Err("Type the name as it stands above. Nothing was deleted.".to_owned()));
        }
        let wish = Edit { thing: Thing::Destination, name: of, body: None, new: false };
        match api.program.change(&[wish]) {
            Ok(()) => Ok(Ok(())),
            Err(error) => match Refused::by(&error, &[]) {
                Refused::Wrong(_) => Ok(Err(Told::line(&error.report()))),
                Refused::Else(problem) => Err(problem),
            },
        }
    });
    match done.await {
        Ok(Ok(())) => gone_to(
            "/destinations",
            Some(&Said::good("The destination is removed. What it holds stays.")),
        ),
        Ok(Err(kept)) => {
            let make = move |api: &Api, frame: Frame| {
                let page = page(api, frame, &name, None, &Wrongs::default())?;
                Ok(OnePage { kept: Some(kept), ..page })
            };
            shown_as(StatusCode::UNPROCESSABLE_ENTITY, api, visit, Place::Destinations, make).await
        }
        Err(problem) => problem.into_response(),
    }
}
