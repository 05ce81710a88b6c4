//! Destinations.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use bobbin_engine::ledger::{Ledger, Side, Thing};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::sources::{Body, properties, put};
use super::{CLIENT, Source, forms, is_of_file, kind_of, second};
use crate::api::{Answer, asked};
use crate::problem::Problem;
use crate::{Api, Edit, Part, Type, names};

/// Every type of destination with its form.
pub(super) async fn types(State(api): State<Arc<Api>>) -> Json<Value> {
    let types = api.program.types();
    let destinations = types.iter().filter(|of| of.side == "destination");
    Json(destinations.map(|of| card(of, None)).collect())
}

pub(super) async fn of_type(
    State(api): State<Arc<Api>>,
    Path(kind): Path<String>,
) -> Answer<Json<Value>> {
    let found = kind_of(&api.program.types(), "destination", &kind);
    found.map(|of| Json(card(&of, None))).ok_or_else(|| Problem::not_found("destination type"))
}

/// A destination has a form and nothing else to do.
fn card(of: &Type, part: Option<&Part>) -> Value {
    let properties = forms::of_destination(of, part);
    let complete = properties.iter().all(|p| p["is_required"] != true || p["provided"] == true);
    let (current, step) = if complete { (2, "fully_configured") } else { (1, "form") };
    json!({
        "type": of.name,
        "current_step": current,
        "current_step_type": step,
        "steps": [
            { "type": "form", "properties": properties },
            { "type": "fully_configured", "properties": [] },
        ],
    })
}

/// All destinations with their numbers and since when they have them, by number.
pub(super) fn numbered(api: &Api, ledger: &dyn Ledger) -> Answer<Vec<(i64, Timestamp, Part)>> {
    let now = Timestamp::now();
    let mut all = Vec::new();
    for part in api.program.parts(Thing::Destination) {
        let (id, made) = ledger.number("destination", &part.name, now)?;
        all.push((id, made, part));
    }
    all.sort_by_key(|(id, _, _)| *id);
    Ok(all)
}

fn find(api: &Api, ledger: &dyn Ledger, id: i64) -> Answer<(i64, Timestamp, Part)> {
    let found = numbered(api, ledger)?.into_iter().find(|(number, _, _)| *number == id);
    found.ok_or_else(|| Problem::not_found("destination"))
}

fn object(api: &Api, ledger: &dyn Ledger, of: &(i64, Timestamp, Part)) -> Answer<Value> {
    let (id, made, part) = of;
    let check = ledger.check(Side::Destination, &part.name)?;
    let kind = kind_of(&api.program.types(), "destination", &part.kind);
    let text = |key: &str| part.labels.get(key).cloned();
    Ok(json!({
        "id": id,
        "stitch_client_id": CLIENT,
        "type": part.kind,
        "name": text("display_name").unwrap_or_else(|| part.name.clone()),
        "description": text("description"),
        "properties": forms::shown_destination(part),
        "report_card": kind.map(|kind| card(&kind, Some(part))),
        "check_job_name": check.map(|check| format!("{CLIENT}.{id}.check.{}", check.number)),
        "created_at": second(part.made_at.unwrap_or(*made)),
        "updated_at": second(part.changed_at.unwrap_or(*made)),
        "paused_at": null,
        "system_paused_at": null,
        "deleted_at": null,
    }))
}

#[derive(Deserialize)]
pub(super) struct Filter {
    source_id: Option<i64>,
    destination_id: Option<i64>,
}

pub(super) async fn all(
    State(api): State<Arc<Api>>,
    Query(filter): Query<Filter>,
) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let mut wanted = numbered(api, &*ledger)?;
        if let Some(id) = filter.destination_id {
            wanted.retain(|(number, _, _)| *number == id);
        }
        if let Some(id) = filter.source_id {
            let source = Source::find(api, &*ledger, id)?;
            wanted.retain(|(_, _, part)| part.name == source.described.destination_name);
        }
        let all = wanted.iter().map(|of| object(api, &*ledger, of)).collect::<Answer<Vec<_>>>()?;
        Ok(Json(all.into()))
    })
    .await
}

pub(super) async fn create(State(api): State<Arc<Api>>, body: Body) -> Answer<Json<Value>> {
    let Json(body) = body.map_err(Problem::unread)?;
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
        let of = kind_of(&api.program.types(), "destination", kind).ok_or_else(|| {
            let detail = format!(
                "there is no destination type `{kind}`; GET /v4/destination-types lists them"
            );
            Problem::refused("InvalidType", detail)
        })?;
        let name = body.get("name").and_then(Value::as_str).map_or(of.name, str::trim);
        let id = names::slug(name, |name| names::is_destination(api, name))?
            .filter(|_| name.len() <= names::LONGEST)
            .ok_or_else(|| Problem::refused("InvalidName", "`name` has no letter or digit"))?;
        let mut settings = forms::destination(&properties(&body)?, &of)?;
        settings.insert("type".to_owned(), of.name.into());
        settings.insert("display_name".to_owned(), name.into());
        describe(&body, &mut settings)?;
        let refused = |error| Problem::of(&error, "InvalidProperties");
        api.program.change(&[put(Thing::Destination, &id, settings, true)]).map_err(refused)?;
        api.program.check(Side::Destination, &id)?;
        let made = numbered(api, &*ledger)?.into_iter().find(|(_, _, part)| part.name == id);
        let made = made.ok_or_else(|| Problem::not_found("destination"))?;
        Ok(Json(object(api, &*ledger, &made)?))
    })
    .await
}

fn describe(body: &Map<String, Value>, settings: &mut Map<String, Value>) -> Answer<()> {
    match body.get("description") {
        None => {}
        Some(value @ (Value::String(_) | Value::Null)) => {
            settings.insert("description".to_owned(), value.clone());
        }
        Some(_) => return Err(Problem::refused("InvalidBody", "`description` is no text")),
    }
    Ok(())
}

/// Changes what is given; the type stays (`stitch-behaviour.md` 8.5).
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Path(id): Path<i64>,
    body: Body,
) -> Answer<Json<Value>> {
    let Json(body) = body.map_err(Problem::unread)?;
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let (_, _, part) = find(api, &*ledger, id)?;
        let of = kind_of(&api.program.types(), "destination", &part.kind)
            .filter(|_| !is_of_file(part.managed_by))
            .ok_or_else(|| {
                let detail = "this destination is managed by the service's file: change it there, \
                              and bobbin apply brings that into effect";
                Problem::refused("InvalidProperties", detail)
            })?;
        if body.get("type").is_some_and(|kind| kind != of.name) {
            return Err(Problem::refused("InvalidType", "the type of a destination stays"));
        }
        let mut settings = part.settings.clone();
        settings.extend(part.labels.iter().map(|(key, text)| (key.clone(), text.as_str().into())));
        settings.extend(forms::destination(&properties(&body)?, &of)?);
        settings.insert("type".to_owned(), of.name.into());
        if let Some(name) = body.get("name") {
            let name = name
                .as_str()
                .map(str::trim)
                .filter(|name| (1..=names::LONGEST).contains(&name.len()));
            let name = name.ok_or_else(|| {
                Problem::refused("InvalidName", "`name` is a text of 1 to 200 bytes")
            })?;
            settings.insert("display_name".to_owned(), name.into());
        }
        describe(&body, &mut settings)?;
        let refused = |error| Problem::of(&error, "InvalidProperties");
        api.program
            .change(&[put(Thing::Destination, &part.name, settings, false)])
            .map_err(refused)?;
        if body.contains_key("properties") {
            api.program.check(Side::Destination, &part.name)?;
        }
        Ok(Json(object(api, &*ledger, &find(api, &*ledger, id)?)?))
    })
    .await
}

/// Removes a destination that no source writes to.
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Path(id): Path<i64>,
) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let (_, _, part) = find(api, &*ledger, id)?;
        let edit = Edit { thing: Thing::Destination, name: part.name, body: None, new: false };
        api.program.change(&[edit]).map_err(|error| Problem::of(&error, "InvalidId"))?;
        Ok(Json(json!({ "status": 200 })))
    })
    .await
}

pub(super) async fn check(State(api): State<Arc<Api>>, Path(id): Path<i64>) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let (_, _, part) = find(api, &*ledger, id)?;
        let check = ledger.check(Side::Destination, &part.name)?;
        let check = check.ok_or_else(|| Problem::not_found("connection check"))?;
        let failed = check.error.is_some();
        let status = check.ended_at.map(|_| i32::from(failed));
        Ok(Json(json!({
            "id": id,
            "mode": "check",
            "name": format!("{CLIENT}.{id}.check.{}", check.number),
            "status": check.status(),
            "error": failed,
            "check_exit_status": status,
            "discovery_exit_status": null,
            "discovery_error_message": null,
            "tap_exit_status": null,
            "tap_error_message": null,
            "target_exit_status": status,
            "target_error_message": check.error,
        })))
    })
    .await
}
