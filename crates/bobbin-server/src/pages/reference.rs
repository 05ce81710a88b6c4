//! The API's operations, for people who write programs: the document of `/api/v1/openapi.json` as a page.

use std::sync::{Arc, LazyLock};

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::{Frame, Place, Visit, shown};
use crate::Api;
use crate::api::DOCUMENT;

#[derive(Template)]
#[template(path = "reference.html")]
struct ReferencePage {
    frame: Frame,
    about: &'static str,
    groups: &'static [Group],
}

/// Operations of one noun.
struct Group {
    id: &'static str,
    name: &'static str,
    operations: Vec<Operation>,
}

struct Operation {
    method: String,
    path: String,
    summary: String,
    /// The least role that may; none where none is asked for.
    role: Option<String>,
    /// What its address and its body may hold: where, name, type, what it is, and whether it must be there.
    given: Vec<Given>,
    /// Its answers by their status.
    answers: Vec<(String, String)>,
}

struct Given {
    place: &'static str,
    name: String,
    kind: String,
    what: String,
    required: bool,
}

struct Document {
    about: String,
    groups: Vec<Group>,
}

/// Where operations belong, by the beginning of their path; the first that fits.
const GROUPS: [(&str, &str, &[&str]); 9] = [
    ("connections", "Connections", &["/api/v1/connections"]),
    ("sources", "Sources", &["/api/v1/sources"]),
    ("destinations", "Destinations", &["/api/v1/destinations", "/api/v1/types"]),
    ("notices", "Notices and who is told", &["/api/v1/notices", "/api/v1/channels"]),
    (
        "people",
        "Users, keys and sessions",
        &["/api/v1/users", "/api/v1/keys", "/api/v1/me", "/api/v1/session", "/api/v1/audit"],
    ),
    ("stitch-connect", "As Stitch\u{2019}s Connect API", &["/v4/"]),
    ("stitch-import", "As Stitch\u{2019}s Import API", &["/v2/"]),
    ("stitch-notifications", "As Stitch\u{2019}s notifications", &["/notifications/"]),
    ("service", "The service", &["/"]),
];

static READ: LazyLock<Document> =
    LazyLock::new(|| read(&serde_json::from_str(DOCUMENT).unwrap_or_default()));

pub(super) async fn page(State(api): State<Arc<Api>>, visit: Visit) -> Response {
    shown(api, visit, Place::Else, |_, frame| {
        let frame = frame.titled("API reference");
        Ok(ReferencePage { frame, about: &READ.about, groups: &READ.groups })
    })
    .await
}

fn read(document: &Value) -> Document {
    let mut groups: Vec<Group> = Vec::new();
    for (id, name, _) in GROUPS {
        groups.push(Group { id, name, operations: Vec::new() });
    }
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        let at =
            GROUPS.iter().position(|(_, _, begins)| begins.iter().any(|b| path.starts_with(b)));
        let Some(group) = at.and_then(|at| groups.get_mut(at)) else { continue };
        for (method, told) in operations.as_object().into_iter().flatten() {
            group.operations.push(operation(document, path, method, told));
        }
    }
    let about = text(&document["info"]["description"]);
    Document { about, groups }
}

fn operation(document: &Value, path: &str, method: &str, told: &Value) -> Operation {
    let parameters = told["parameters"].as_array().into_iter().flatten();
    let parameters = parameters.map(|parameter| resolved(document, parameter)).map(|told| Given {
        place: match told["in"].as_str() {
            Some("path") => "path",
            Some("query") => "query",
            _ => "header",
        },
        name: text(&told["name"]),
        kind: kind(document, &told["schema"]),
        what: text(&told["description"]),
        required: told["required"] == true,
    });
    let mut given: Vec<Given> = parameters.collect();
    let contents = told["requestBody"]["content"].as_object();
    if let Some(body) = contents.and_then(|contents| contents.values().next()) {
        let before = given.len();
        members(document, &body["schema"], &mut given);
        if given.len() == before {
            given.push(Given {
                place: "body",
                name: "the body".to_owned(),
                kind: kind(document, &body["schema"]),
                what: text(&body["schema"]["description"]),
                required: true,
            });
        }
    }
    let answers = told["responses"].as_object().into_iter().flatten();
    Operation {
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&told["summary"]),
        role: told["x-role"].as_str().map(str::to_owned),
        given,
        answers: answers
            .map(|(status, told)| (status.clone(), text(&told["description"])))
            .collect(),
    }
}

/// The members of a body, those of all its parts together.
fn members(document: &Value, schema: &Value, given: &mut Vec<Given>) {
    let schema = resolved(document, schema);
    for list in ["allOf", "oneOf"] {
        for part in schema[list].as_array().into_iter().flatten() {
            members(document, part, given);
        }
    }
    let required = schema["required"].as_array();
    for (name, told) in schema["properties"].as_object().into_iter().flatten() {
        if given.iter().any(|known| known.place == "body" && known.name == *name) {
            continue;
        }
        given.push(Given {
            place: "body",
            name: name.clone(),
            kind: kind(document, told),
            what: text(&resolved(document, told)["description"]),
            required: required.is_some_and(|names| names.iter().any(|one| one == name)),
        });
    }
}

/// A type in words, for example `list of string` or `viewer, operator or administrator`.
fn kind(document: &Value, schema: &Value) -> String {
    let schema = resolved(document, schema);
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(text).collect();
        return match values.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        };
    }
    match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect::<Vec<_>>().join(" or "),
        told if told == "array" => format!("list of {}", kind(document, &schema["items"])),
        told => text(told),
    }
}

/// What a reference leads to; anything else is what it is.
fn resolved<'a>(document: &'a Value, told: &'a Value) -> &'a Value {
    let to = told["$ref"].as_str().and_then(|to| document.pointer(to.trim_start_matches('#')));
    to.unwrap_or(told)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_the_document_is_there() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let paths = document["paths"].as_object().unwrap().values();
        let all: usize = paths.map(|operations| operations.as_object().unwrap().len()).sum();
        let shown: usize = READ.groups.iter().map(|group| group.operations.len()).sum();
        assert_eq!(all, shown);
        assert!(READ.groups.iter().all(|group| !group.operations.is_empty()));

        let connections = READ.groups[0].operations.iter();
        let mut reset = connections.filter(|one| one.path.ends_with("/reset"));
        let reset = reset.next().unwrap();
        assert_eq!((&*reset.method, reset.role.as_deref()), ("POST", Some("operator")));
        let given = |name: &str| reset.given.iter().find(|given| given.name == name).unwrap();
        assert_eq!((given("tables").place, &*given("tables").kind), ("body", "list of string"));
        assert_eq!(given("mode").kind, "overwrite or replace");
        assert!(given("connection").required && given("connection").place == "path");
        for group in &READ.groups {
            let pushes = group.operations.iter().filter(|one| one.path.starts_with("/v2/import/"));
            for one in pushes.filter(|one| one.method == "POST") {
                assert!(one.given.iter().any(|given| given.place == "body"), "{}", one.path);
            }
        }
        assert!(reset.answers.iter().any(|(status, _)| status == "409"));
    }
}
