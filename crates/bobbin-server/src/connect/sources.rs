//! Sources: set up, changed, checked, started, stopped, removed.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use bobbin_core::ErrorKind;
use bobbin_engine::ledger::{Ledger, Side, Thing};
use serde_json::{Map, Value, json};

use super::forms::Form;
use super::jobs::{Statuses, job_name};
use super::{PLATFORM, Source, card, destinations, forms, is_of_file, kind_of, removed};
use crate::api::{Answer, Given, asked, setup};
use crate::problem::Problem;
use crate::{Api, Edit, Type, names};

pub(super) type Body = Given<Json<Map<String, Value>>, JsonRejection>;

/// Every type of source with its form.
pub(super) async fn types(State(api): State<Arc<Api>>) -> Json<Value> {
    let types = api.program.types();
    let sources = types.iter().filter(|of| of.side == "source");
    Json(sources.map(told).collect())
}

pub(super) async fn of_type(
    State(api): State<Arc<Api>>,
    Path(kind): Path<String>,
) -> Answer<Json<Value>> {
    let name = kind.strip_prefix(PLATFORM).unwrap_or(&kind);
    let found = kind_of(&api.program.types(), "source", name);
    found.map(|of| Json(told(&of))).ok_or_else(|| Problem::not_found("source type"))
}

fn told(of: &Type) -> Value {
    let kind = format!("{PLATFORM}{}", of.name);
    let mut told = card(&kind, 1, forms::of_source(of, |_| false));
    // `stitch-behaviour.md` 2.4.
    told["details"] = json!({
        "pricing_tier": "standard",
        "pipeline_state": "released",
        "default_start_date": "-1 year",
        "default_scheduling_interval": 60,
        "protocol": kind,
        "access": true,
    });
    told
}

/// All sources, those that were removed among them.
pub(super) async fn all(State(api): State<Arc<Api>>) -> Answer<Json<Value>> {
    let all = asked(api, |api| {
        let ledger = api.engine.ledger()?;
        let all = Source::all(api, &*ledger)?;
        let all = all.iter().map(|source| source.object(api, &*ledger));
        let mut all = all.collect::<Answer<Vec<_>>>()?;
        for gone in ledger.removed_connections()? {
            all.push(removed(&*ledger, &gone)?);
        }
        Ok(all)
    });
    Ok(Json(all.await?.into()))
}

pub(super) async fn one(State(api): State<Arc<Api>>, Path(id): Path<i64>) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let gone = ledger.removed_connections()?.into_iter().map(|gone| removed(&*ledger, &gone));
        for gone in gone {
            let gone = gone?;
            if gone["id"] == id {
                return Ok(Json(gone));
            }
        }
        Ok(Json(Source::find(api, &*ledger, id)?.object(api, &*ledger)?))
    })
    .await
}

/// Makes a source and checks it, if its form is complete.
pub(super) async fn create(State(api): State<Arc<Api>>, body: Body) -> Answer<Json<Value>> {
    let Json(body) = body.map_err(Problem::unread)?;
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let wrong = |what: &str| Problem::refused("InvalidDisplayName", what);
        let name = body.get("display_name").and_then(Value::as_str).map_or("", str::trim);
        names::free(api, name, None).map_err(wrong)?;
        let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
        let plain = kind.strip_prefix(PLATFORM).unwrap_or(kind);
        let of = kind_of(&api.program.types(), "source", plain).ok_or_else(|| {
            let detail =
                format!("there is no source type `{kind}`; GET /v4/source-types lists them");
            Problem::refused("InvalidType", detail)
        })?;
        let mut form = Form::default();
        form.take(&properties(&body)?, &of)?;
        let destination = destination(api, &*ledger, body.get("destination_id"))?;
        let id = names::slug(name, |name| names::is_taken(api, &*ledger, name))?
            .ok_or_else(|| wrong("`display_name` has no letter or digit"))?;
        form.settings.insert("type".to_owned(), of.name.into());
        let mut connection = json!({
            "source": id,
            "destination": destination,
            "display_name": name,
            "schema": id,
            "tables": [],
            "schedule": form.schedule,
        });
        if of.properties.is_empty() {
            // There is nothing to choose from before something was pushed, so all of it is chosen.
            connection["tables"] = Value::Null;
        }
        let edits = [
            put(Thing::Source, &id, form.settings, true),
            put(Thing::Connection, &id, connection.as_object().cloned().unwrap_or_default(), true),
        ];
        let refused = |error| Problem::of(&error, "InvalidProperties");
        api.program.change(&edits).map_err(refused)?;
        let made = find(api, &*ledger, &id)?;
        check_if_complete(api, &made)?;
        Ok(Json(made.object(api, &*ledger)?))
    })
    .await
}

/// Changes what is given and leaves the rest. Any `paused_at` but null pauses at once, also one in the
/// future (`stitch-behaviour.md` 1.5).
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Path(id): Path<i64>,
    body: Body,
) -> Answer<Json<Value>> {
    let Json(body) = body.map_err(Problem::unread)?;
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &*ledger, id)?;
        const KNOWN: [&str; 4] = ["display_name", "properties", "paused_at", "destination_id"];
        if let Some(other) = body.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(Problem::refused("InvalidBody", format!("`{other}` cannot be changed")));
        }
        if body.keys().any(|key| key != "paused_at") {
            rewrite(api, &*ledger, &found, &body)?;
        }
        if let Some(paused) = body.get("paused_at") {
            api.control.pause(found.connection(), !paused.is_null())?;
        }
        Ok(Json(Source::find(api, &*ledger, id)?.object(api, &*ledger)?))
    })
    .await
}

fn rewrite(
    api: &Api,
    ledger: &dyn Ledger,
    found: &Source,
    body: &Map<String, Value>,
) -> Answer<()> {
    let mut connection = found.written(api)?;
    if let Some(name) = body.get("display_name") {
        let name = name.as_str().map_or("", str::trim);
        let wrong = |what: &str| Problem::refused("InvalidDisplayName", what);
        names::free(api, name, Some(found.connection())).map_err(wrong)?;
        connection.insert("display_name".to_owned(), name.into());
    }
    if body.contains_key("destination_id") {
        let destination = destination(api, ledger, body.get("destination_id"))?;
        connection.insert("destination".to_owned(), destination.into());
    }
    let mut edits = Vec::new();
    if let Some(properties) = body.get("properties") {
        if is_of_file(found.part.managed_by) {
            let detail = "the properties of this source are managed by the service's file";
            return Err(Problem::refused("InvalidProperties", detail));
        }
        let Value::Object(properties) = properties else {
            return Err(Problem::refused("InvalidBody", "`properties` is no object"));
        };
        let of = kind_of(&api.program.types(), "source", &found.described.source)
            .ok_or_else(|| Problem::not_found("source type"))?;
        let schedule = connection.get("schedule").and_then(Value::as_object).cloned();
        let mut form =
            Form { settings: found.part.settings.clone(), schedule: schedule.unwrap_or_default() };
        form.take(properties, &of)?;
        form.settings.insert("type".to_owned(), of.name.into());
        connection.insert("schedule".to_owned(), form.schedule.into());
        edits.push(put(Thing::Source, &found.part.name, form.settings, false));
    }
    edits.push(put(Thing::Connection, found.connection().as_str(), connection, false));
    let refused = |error| Problem::of(&error, "InvalidProperties");
    api.program.change(&edits).map_err(refused)?;
    if body.contains_key("properties") {
        check_if_complete(api, &find(api, ledger, found.connection().as_str())?)?;
    }
    Ok(())
}

/// Removes a source; its job ends, what it loaded stays (`stitch-behaviour.md` 10.5).
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Path(id): Path<i64>,
) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &*ledger, id)?;
        found.written(api)?;
        let edits = setup::removal(api, found.connection(), &found.part);
        api.program.change(&edits)?;
        let all = ledger.removed_connections()?;
        let last = all.into_iter().find(|gone| gone.connection == *found.connection());
        let last = last.ok_or_else(|| Problem::not_found("source"))?;
        Ok(Json(removed(&*ledger, &last)?))
    })
    .await
}

/// The last connection check; where there was none, every job begins with one.
pub(super) async fn check(State(api): State<Arc<Api>>, Path(id): Path<i64>) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &*ledger, id)?;
        let name = found.connection().as_str();
        let last = ledger.last_ended(found.connection())?;
        let last = last.and_then(|job| Some((job.id, job.report?)));
        let last = last.map(|(job, report)| (job, report.ended, Statuses::of(&report).discovery));
        let check = ledger.check(Side::Source, name)?;
        let (job, running, failed, message) = match (check, last) {
            (Some(check), last)
                if last.as_ref().is_none_or(|(_, ended, _)| check.started_at > *ended) =>
            {
                let job = format!("{}.{id}.check.{}", super::CLIENT, check.number);
                (job, check.ended_at.is_none(), check.error.is_some(), check.error)
            }
            (_, Some((job, _, (status, message)))) => {
                (job_name(id, job.as_str()), false, status == Some(1), message)
            }
            (_, None) => return Err(Problem::not_found("connection check")),
        };
        let status = (!running).then_some(i32::from(failed));
        Ok(Json(json!({
            "id": id,
            "mode": "check",
            "name": job,
            "status": match (running, failed) {
                (true, _) => "running",
                (false, true) => "failed",
                (false, false) => "succeeded",
            },
            "error": failed,
            "check_exit_status": status,
            "discovery_exit_status": status,
            "discovery_error_message": message,
            "tap_exit_status": null,
            "tap_error_message": null,
            "target_exit_status": null,
            "target_error_message": null,
        })))
    })
    .await
}

pub(super) async fn start(State(api): State<Arc<Api>>, Path(id): Path<i64>) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &*ledger, id)?;
        setup::configured(api, found.connection())?;
        match api.control.run(found.connection()) {
            Ok(job) => Ok(Json(json!({ "job_name": job_name(id, job.as_str()) }))),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(Json(json!({
                "error": { "type": "already_running", "message": error.to_string() }
            }))),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

pub(super) async fn stop(State(api): State<Arc<Api>>, Path(id): Path<i64>) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &*ledger, id)?;
        match api.control.stop(found.connection()) {
            Ok(()) => Ok(Json(json!({ "status": 200 }))),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(Json(json!({
                "error": { "type": "not_running", "message": error.to_string() }
            }))),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

fn find(api: &Api, ledger: &dyn Ledger, id: &str) -> Answer<Source> {
    let found = Source::all(api, ledger)?;
    let found = found.into_iter().find(|source| source.connection().as_str() == id);
    found.ok_or_else(|| Problem::not_found("source"))
}

/// Once the form is complete, the check begins by itself (`stitch-behaviour.md` 1.4).
fn check_if_complete(api: &Api, source: &Source) -> Answer<()> {
    let of = kind_of(&api.program.types(), "source", &source.described.source);
    let part = &source.part;
    let complete = of.is_some_and(|of| {
        of.properties.iter().filter(|property| property.required).all(|property| {
            part.settings.contains_key(property.name)
                || part.secrets.iter().any(|secret| secret == property.name)
        })
    });
    if complete {
        api.program.check(Side::Source, source.connection().as_str())?;
    }
    Ok(())
}

pub(super) fn properties(body: &Map<String, Value>) -> Answer<Map<String, Value>> {
    match body.get("properties") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(properties)) => Ok(properties.clone()),
        Some(_) => Err(Problem::refused("InvalidBody", "`properties` is no object")),
    }
}

pub(super) fn put(thing: Thing, name: &str, body: Map<String, Value>, new: bool) -> Edit {
    Edit { thing, name: name.to_owned(), body: Some(body), new }
}

/// The name of a destination by its number; the only one there is, where none is given.
pub(super) fn destination(
    api: &Api,
    ledger: &dyn Ledger,
    number: Option<&Value>,
) -> Answer<String> {
    let wrong = |what: String| Problem::refused("InvalidProperties", what);
    let all = destinations::numbered(api, ledger)?;
    let number = match number {
        None | Some(Value::Null) => None,
        Some(Value::Number(n)) => n.as_i64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => Some(0),
    };
    match (number, all.as_slice()) {
        (Some(number), all) => all
            .iter()
            .find(|(id, _, _)| *id == number)
            .map(|(_, _, part)| part.name.clone())
            .ok_or_else(|| wrong(format!("destination_id: there is no destination {number}"))),
        (None, [(_, _, only)]) => Ok(only.name.clone()),
        (None, []) => Err(wrong(
            "there is no destination yet: make one with POST /v4/destinations first".to_owned(),
        )),
        (None, _) => Err(wrong("destination_id: which of the destinations?".to_owned())),
    }
}
