//! Fields of forms: made of what a type can be set to, read back with what is wrong about each.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::Form;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bobbin_core::{Error, ErrorKind};
use serde_json::{Map, Value};

use super::show::Told;
use super::{Frame, Place, Said, Visit, gone_to, shown, shown_as};
use crate::api::{Answer, asked};
use crate::problem::Problem;
use crate::{Api, Part, Property, Type};

/// What somebody entered into a form, name by name.
#[derive(Clone, Default)]
pub(crate) struct Entered(Vec<(String, String)>);

impl Entered {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The text of a field without the blanks around it; empty where there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, text)| text.trim())
    }

    /// The text of a field as it was entered, as passwords are.
    pub(crate) fn raw(&self, name: &str) -> String {
        self.0.iter().find(|(known, _)| known == name).map_or_else(String::new, |(_, t)| t.clone())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Every pair.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

/// What is wrong with a form, by its fields; under no name what is wrong with all of it.
#[derive(Clone, Default, Debug)]
pub(crate) struct Wrongs(BTreeMap<String, String>);

impl Wrongs {
    pub(crate) fn of(field: &str, why: impl Into<String>) -> Self {
        let mut wrongs = Self::default();
        wrongs.add(field, why);
        wrongs
    }

    pub(crate) fn add(&mut self, field: &str, why: impl Into<String>) {
        self.0.entry(field.to_owned()).or_insert_with(|| why.into());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// What belongs to none of these fields.
    pub(crate) fn beside(&self, fields: &[&str]) -> Option<String> {
        let mut others = self.0.iter().filter(|(field, _)| !fields.contains(&field.as_str()));
        others.next().map(|(_, why)| why.clone())
    }
}

/// Why a form was not taken.
pub(crate) enum Refused {
    /// It is shown again.
    Wrong(Wrongs),
    /// Something else than the form is at fault.
    Else(Problem),
}

impl Refused {
    /// What a change was refused for, at the field whose name stands in the message.
    pub(crate) fn by(error: &Error, fields: &[(&str, &str)]) -> Self {
        if !matches!(error.kind(), ErrorKind::Config | ErrorKind::Conflict) {
            return Self::Else(Problem::told(error));
        }
        let report = error.report();
        let field = fields.iter().find(|(word, _)| report.contains(word));
        Self::Wrong(Wrongs::of(field.map_or("", |(_, field)| field), Told::line(&report)))
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Else(problem)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Else(error.into())
    }
}

/// The pairs of a form.
pub(crate) type Pairs = Form<Vec<(String, String)>>;

/// Does what a form asks for and goes where `act` says, with what is said there. The form is shown again as it was
/// filled in, by `again`, where something is wrong, or where `act` says nowhere since somebody only looks.
pub(crate) async fn sent<T: Template + Send + 'static>(
    (api, visit, place): (Arc<Api>, Visit, Place),
    Form(pairs): Pairs,
    act: impl FnOnce(&Api, &Entered) -> Result<Option<(String, Option<Said>)>, Refused> + Send + 'static,
    again: impl FnOnce(&Api, Frame, &Entered, &Wrongs) -> Answer<T> + Send + 'static,
) -> Response {
    let entered = Entered::new(pairs);
    let given = entered.clone();
    let done = asked(Arc::clone(&api), move |api| Ok(act(api, &given))).await;
    let (status, wrongs) = match done.unwrap_or_else(|problem| Err(problem.into())) {
        Ok(Some((to, said))) => return gone_to(&to, said.as_ref()),
        Ok(None) => (StatusCode::OK, Wrongs::default()),
        Err(Refused::Else(problem)) => return problem.into_response(),
        Err(Refused::Wrong(wrongs)) => (StatusCode::UNPROCESSABLE_ENTITY, wrongs),
    };
    let make = move |api: &Api, frame| again(api, frame, &entered, &wrongs);
    shown_as(status, api, visit, place, make).await
}

/// Makes the page that has the form of what is called so: as it is, or as it was filled in, with what is wrong.
type Made<T> = fn(&Api, Frame, &str, Option<&Entered>, &Wrongs) -> Answer<T>;

/// Shows a form as it is.
pub(crate) async fn form<T: Template + Send + 'static>(
    (api, visit, place): (Arc<Api>, Visit, Place),
    name: String,
    page: Made<T>,
) -> Response {
    let make = move |api: &Api, frame| page(api, frame, &name, None, &Wrongs::default());
    shown(api, visit, place, make).await
}

/// The same as [`sent`] of what is called so, which `page` shows again.
pub(crate) async fn sent_of<T: Template + Send + 'static>(
    at: (Arc<Api>, Visit, Place),
    (name, pairs): (String, Pairs),
    act: impl FnOnce(&Api, &str, &Entered) -> Result<Option<(String, Option<Said>)>, Refused>
    + Send
    + 'static,
    page: Made<T>,
) -> Response {
    let of = name.clone();
    let act = move |api: &Api, entered: &Entered| act(api, &of, entered);
    let again = move |api: &Api, frame, entered: &Entered, wrongs: &Wrongs| {
        page(api, frame, &name, Some(entered), wrongs)
    };
    sent(at, pairs, act, again).await
}

/// One field of a form, with its label, its help and what is wrong about it.
#[derive(Template, Clone, Debug, Default)]
#[template(path = "parts/field.html")]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) help: String,
    /// `text`, `number`, `password`, `date` or `datetime-local`.
    pub(crate) kind: &'static str,
    pub(crate) value: String,
    pub(crate) required: bool,
    /// Nothing is said of whether it may be left empty: that depends on other fields.
    pub(crate) depends: bool,
    /// A value and what it is called; a field with some is a choice.
    pub(crate) options: Vec<(String, String)>,
    /// There is a secret, which is not shown.
    pub(crate) kept: bool,
    pub(crate) wrong: Option<String>,
    pub(crate) complete: &'static str,
    /// The list of what may be meant, by its id.
    pub(crate) list: &'static str,
    /// Further fields, for few people.
    pub(crate) advanced: bool,
}

impl HtmlSafe for Field {}

impl Field {
    pub(crate) fn text(name: &str, label: &str, value: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            kind: "text",
            value: value.into(),
            complete: "off",
            ..Self::default()
        }
    }

    pub(crate) fn needed(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) fn depends(mut self) -> Self {
        self.depends = true;
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    pub(crate) fn kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn wrong(mut self, wrongs: &Wrongs) -> Self {
        self.wrong = wrongs.get(&self.name).map(str::to_owned);
        self
    }

    pub(crate) fn complete(mut self, complete: &'static str) -> Self {
        self.complete = complete;
        self
    }

    pub(crate) fn list(mut self, list: &'static str) -> Self {
        self.list = list;
        self
    }

    pub(crate) fn choice(mut self, options: Vec<(String, String)>) -> Self {
        self.options = options;
        self
    }

    /// What describes it to those who hear the page.
    fn described(&self) -> String {
        let mut ids = Vec::new();
        if !self.help.is_empty() {
            ids.push(format!("help-{}", self.name));
        }
        if self.wrong.is_some() {
            ids.push(format!("wrong-{}", self.name));
        }
        ids.join(" ")
    }
}

/// Settings that stand before the others.
const FIRST: [&str; 7] = ["path", "host", "port", "database", "user", "password", "tls"];

/// Settings of which there are only these values.
const CHOICES: [(&str, &[&str]); 5] = [
    ("tls", &["require", "off"]),
    ("arrays", &["columns", "tables"]),
    ("naming", &["bobbin", "stitch"]),
    ("load_mode", &["upsert", "append"]),
    ("on_key_change", &["stop", "append"]),
];

/// The fields of a type's settings: as they were entered, or else as they are.
pub(crate) fn fields(
    of: &Type,
    part: Option<&Part>,
    entered: Option<&Entered>,
    wrongs: &Wrongs,
) -> Vec<Field> {
    of.properties.iter().map(|property| field(property, part, entered, wrongs)).collect()
}

fn field(
    property: &Property,
    part: Option<&Part>,
    entered: Option<&Entered>,
    wrongs: &Wrongs,
) -> Field {
    let name = property.name;
    let known = part.and_then(|part| part.settings.get(name)).map(plain);
    let value = match entered {
        // A secret is not sent back to whoever gave it.
        _ if property.credential => String::new(),
        Some(entered) => entered.get(name).to_owned(),
        None => known.unwrap_or_default(),
    };
    let default = property.default.as_ref().map(plain);
    let mut options: Vec<(String, String)> = Vec::new();
    let choices = CHOICES.iter().find(|(known, _)| *known == name).map(|(_, values)| *values);
    let choices = if property.kind == "boolean" { Some(&["true", "false"][..]) } else { choices };
    if let Some(values) = choices {
        let unset =
            default.as_ref().map_or("as usual".to_owned(), |text| format!("{text} (usual)"));
        options.push((String::new(), unset));
        options.extend(values.iter().map(|value| ((*value).to_owned(), (*value).to_owned())));
    }
    let help = match &default {
        Some(default) if options.is_empty() => {
            format!("{} {default} unless given.", plain_help(property.description))
        }
        _ => plain_help(property.description),
    };
    Field {
        name: name.to_owned(),
        label: label(name),
        help,
        kind: match property.kind {
            _ if property.credential => "password",
            "integer" | "number" => "number",
            _ => "text",
        },
        value,
        required: property.required,
        depends: false,
        options,
        kept: property.credential
            && part.is_some_and(|part| part.secrets.iter().any(|secret| secret == name)),
        wrong: wrongs.get(name).map(str::to_owned),
        complete: if property.credential { "new-password" } else { "off" },
        list: "",
        advanced: !property.required && !FIRST.contains(&name),
    }
}

/// Descriptions are written for the terminal, too.
fn plain_help(text: &str) -> String {
    text.replace('`', "")
}

/// A setting's name for people.
pub(crate) fn label(name: &str) -> String {
    let known = match name {
        "api_token" => "API key",
        "api_url" => "Address of the API",
        "organization" => "Organisation",
        "tls" => "TLS",
        "path" => "File",
        "user" => "User",
        "memory_limit_mb" => "Memory (MB)",
        "connect_timeout_seconds" => "Time to connect (seconds)",
        "statement_timeout_seconds" => "Time of a statement (seconds)",
        "lock_timeout_seconds" => "Time to wait for a lock (seconds)",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// A value as text.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The settings that were entered, in the words of the file. What is left empty is not set; a secret stays.
///
/// # Errors
/// What is wrong, field by field.
pub(crate) fn settings(of: &Type, entered: &Entered) -> Result<Map<String, Value>, Wrongs> {
    let mut settings = Map::new();
    let mut wrongs = Wrongs::default();
    for property in &of.properties {
        let text = entered.get(property.name);
        if text.is_empty() {
            continue;
        }
        let value = match property.kind {
            "integer" => text.parse::<i64>().ok().map(Value::from),
            "number" => text.parse::<f64>().ok().map(Value::from),
            "boolean" => text.parse::<bool>().ok().map(Value::from),
            _ => Some(Value::from(text)),
        };
        match value {
            Some(value) => drop(settings.insert(property.name.to_owned(), value)),
            None => wrongs.add(property.name, format!("This is no {}.", property.kind)),
        }
    }
    if wrongs.is_empty() { Ok(settings) } else { Err(wrongs) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_at_its_field() {
        let property = |name, kind| Property {
            name,
            description: "",
            kind,
            required: false,
            credential: false,
            default: None,
        };
        let properties = vec![property("port", "integer"), property("host", "string")];
        let of = Type { side: "destination", name: "x", description: "", properties };
        let entered = |port: &str| {
            Entered::new(vec![("port".into(), port.into()), ("host".into(), " a ".into())])
        };
        let taken = settings(&of, &entered("5432")).unwrap();
        assert_eq!(Value::Object(taken), serde_json::json!({ "port": 5432, "host": "a" }));
        let wrongs = settings(&of, &entered("x")).unwrap_err();
        assert_eq!(wrongs.get("port"), Some("This is no integer."));
        let error = Error::config("`host` of destination `x` is a socket");
        let Refused::Wrong(wrongs) = Refused::by(&error, &[("`host`", "host")]) else {
            unreachable!()
        };
        assert!(wrongs.get("host").is_some() && wrongs.beside(&["host"]).is_none());
    }

    #[test]
    fn a_secret_is_never_in_a_field() {
        let field = Field { kept: true, ..Field::text("password", "Password", "") };
        let html = field.kind("password").render().unwrap();
        assert!(html.contains("leave empty to keep it") && html.contains("value=\"\""), "{html}");
        let html = Field::text("a", "A", "\"><script>").render().unwrap();
        assert!(!html.contains("<script>"), "{html}");
    }
}
