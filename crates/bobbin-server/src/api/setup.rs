//! Sources, destinations and connections as they are set up: made, changed and removed where the file
//! does not have them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bobbin_core::id::ConnectionId;
use bobbin_engine::ledger::{Checked, Side, Thing};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Connection, Given, asked, given, known};
use crate::problem::Problem;
use crate::{Api, CloneOf, Edit, Managed, Part, names};

pub(super) type Body = Given<Json<Map<String, Value>>, JsonRejection>;

/// What can be set up, and what each needs.
pub(super) async fn types(State(api): State<Arc<Api>>) -> Json<Value> {
    Json(json!({ "data": api.program.types() }))
}

pub(super) async fn sources(State(api): State<Arc<Api>>) -> Json<Value> {
    Json(json!({ "data": api.program.parts(Thing::Source) }))
}

pub(super) async fn destinations(State(api): State<Arc<Api>>) -> Json<Value> {
    Json(json!({ "data": api.program.parts(Thing::Destination) }))
}

pub(super) async fn source(api: State<Arc<Api>>, name: Path<String>) -> Answer<Json<Part>> {
    part(api, name, Thing::Source)
}

pub(super) async fn destination(api: State<Arc<Api>>, name: Path<String>) -> Answer<Json<Part>> {
    part(api, name, Thing::Destination)
}

fn part(State(api): State<Arc<Api>>, Path(name): Path<String>, thing: Thing) -> Answer<Json<Part>> {
    let mut parts = api.program.parts(thing).into_iter();
    let found = parts.find(|part| part.name == name);
    found.map(Json).ok_or_else(|| Problem::not_found(thing.word()))
}

pub(super) async fn make_source(
    api: State<Arc<Api>>,
    body: Body,
) -> Answer<(StatusCode, Json<Part>)> {
    make_part(api, body, Thing::Source).await
}

pub(super) async fn make_destination(
    api: State<Arc<Api>>,
    body: Body,
) -> Answer<(StatusCode, Json<Part>)> {
    make_part(api, body, Thing::Destination).await
}

async fn make_part(
    State(api): State<Arc<Api>>,
    body: Body,
    thing: Thing,
) -> Answer<(StatusCode, Json<Part>)> {
    let (name, body) = named(body, thing)?;
    edit(&api, Edit { thing, name: name.clone(), body: Some(body), new: true }).await?;
    let part = part(State(api), Path(name), thing)?;
    Ok((StatusCode::CREATED, part))
}

pub(super) async fn change_source(
    api: State<Arc<Api>>,
    name: Path<String>,
    body: Body,
) -> Answer<Json<Part>> {
    change_part(api, name, body, Thing::Source).await
}

pub(super) async fn change_destination(
    api: State<Arc<Api>>,
    name: Path<String>,
    body: Body,
) -> Answer<Json<Part>> {
    change_part(api, name, body, Thing::Destination).await
}

async fn change_part(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    body: Body,
    thing: Thing,
) -> Answer<Json<Part>> {
    let Json(body) = given(body)?;
    let _there = part(State(Arc::clone(&api)), Path(name.clone()), thing)?;
    edit(&api, Edit { thing, name: name.clone(), body: Some(body), new: false }).await?;
    part(State(api), Path(name), thing)
}

pub(super) async fn remove_source(api: State<Arc<Api>>, name: Path<String>) -> Answer<StatusCode> {
    remove(api, name, Thing::Source).await
}

pub(super) async fn remove_destination(
    api: State<Arc<Api>>,
    name: Path<String>,
) -> Answer<StatusCode> {
    remove(api, name, Thing::Destination).await
}

pub(super) async fn remove_connection(
    api: State<Arc<Api>>,
    name: Path<String>,
) -> Answer<StatusCode> {
    remove(api, name, Thing::Connection).await
}

async fn remove(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    thing: Thing,
) -> Answer<StatusCode> {
    edit(&api, Edit { thing, name, body: None, new: false }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What other connections of a source are called.
pub(crate) fn sharers(api: &Api, source: &str, own: &ConnectionId) -> Vec<String> {
    let others = api.program.connections().into_iter();
    let sharing = others.filter(|(id, other)| id != own && other.source_name == source);
    sharing.map(|(_, other)| other.display_name).collect()
}

/// What removes a connection, and with it its source, unless that is another's, too, or of the file.
pub(crate) fn removal(api: &Api, connection: &ConnectionId, source: &Part) -> Vec<Edit> {
    let gone = |thing, name: &str| Edit { thing, name: name.to_owned(), body: None, new: false };
    let mut edits = vec![gone(Thing::Connection, connection.as_str())];
    if source.managed_by == Managed::Api && sharers(api, &source.name, connection).is_empty() {
        edits.push(gone(Thing::Source, &source.name));
    }
    edits
}

/// A connection in the words of the file, made out of a source and a destination there are.
pub(super) async fn make_connection(
    State(api): State<Arc<Api>>,
    body: Body,
) -> Answer<(StatusCode, Json<Value>)> {
    let (name, body) = named(body, Thing::Connection)?;
    let wish = Edit { thing: Thing::Connection, name: name.clone(), body: Some(body), new: true };
    edit(&api, wish).await?;
    Ok((StatusCode::CREATED, definition(State(api), Path(name)).await?))
}

pub(super) async fn change_connection(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    body: Body,
) -> Answer<Json<Value>> {
    let Json(body) = given(body)?;
    known(&api, &name)?;
    let wish = Edit { thing: Thing::Connection, name: name.clone(), body: Some(body), new: false };
    edit(&api, wish).await?;
    definition(State(api), Path(name)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloneWish {
    pub(crate) display_name: String,
    pub(crate) schema: Option<String>,
    pub(crate) destination: Option<String>,
    #[serde(default = "yes")]
    pub(crate) keep_selection: bool,
}

fn yes() -> bool {
    true
}

/// Another connection that is as one there is (F-10).
pub(super) async fn clone_connection(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
    body: Given<Json<CloneWish>, JsonRejection>,
) -> Answer<(StatusCode, Json<Connection>)> {
    let Json(wish) = given(body)?;
    let made = asked(Arc::clone(&api), move |api| clone_of(api, &connection, wish));
    let made = super::connection(State(api), Path(made.await?)).await?;
    Ok((StatusCode::CREATED, made))
}

/// Clones a connection; gives the name of the other one.
pub(crate) fn clone_of(api: &Api, connection: &str, wish: CloneWish) -> Answer<String> {
    let connection = known(api, connection)?;
    let display_name = wish.display_name.trim().to_owned();
    let wrong = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    if display_name.is_empty() || display_name.len() > names::LONGEST {
        return Err(wrong("`display_name` is a text of 1 to 200 bytes"));
    }
    let ledger = api.engine.ledger()?;
    let name = names::slug(&display_name, |name| names::is_taken(api, &*ledger, name))?
        .ok_or_else(|| wrong("`display_name` has no letter or digit"))?;
    api.program.clone_connection(&CloneOf {
        connection,
        name: name.clone(),
        display_name,
        schema: wish.schema,
        destination: wish.destination,
        keep_selection: wish.keep_selection,
    })?;
    Ok(name)
}

/// How a connection was set up, in the words of the file; what the file has is read there.
pub(super) async fn definition(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Answer<Json<Value>> {
    let id = known(&api, &name)?;
    let body = api.program.written(&id);
    Ok(Json(json!({ "name": name, "definition": body })))
}

/// Begins a check of a connection's source.
pub(super) async fn check_source(
    api: State<Arc<Api>>,
    name: Path<String>,
) -> Answer<(StatusCode, Json<Value>)> {
    begin(api, name, Side::Source).await
}

/// Begins a check of a destination.
pub(super) async fn check_destination(
    api: State<Arc<Api>>,
    name: Path<String>,
) -> Answer<(StatusCode, Json<Value>)> {
    begin(api, name, Side::Destination).await
}

async fn begin(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    side: Side,
) -> Answer<(StatusCode, Json<Value>)> {
    let told = asked(api, move |api| {
        api.program.check(side, &name)?;
        Ok(told(api.engine.ledger()?.check(side, &name)?.as_ref()))
    });
    Ok((StatusCode::ACCEPTED, Json(told.await?)))
}

pub(super) async fn source_check(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Answer<Json<Value>> {
    known(&api, &name)?;
    checked(api, name, Side::Source).await
}

pub(super) async fn destination_check(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Answer<Json<Value>> {
    let _there = part(State(Arc::clone(&api)), Path(name.clone()), Thing::Destination)?;
    checked(api, name, Side::Destination).await
}

async fn checked(api: Arc<Api>, name: String, side: Side) -> Answer<Json<Value>> {
    asked(api, move |api| Ok(Json(told(api.engine.ledger()?.check(side, &name)?.as_ref())))).await
}

/// A check as it is told; `none` before the first.
fn told(check: Option<&Checked>) -> Value {
    json!({
        "status": check.map_or("none", Checked::status),
        "started_at": check.map(|check| check.started_at),
        "ended_at": check.and_then(|check| check.ended_at),
        "error": check.and_then(|check| check.error.as_deref()),
    })
}

/// A body with the name that is in it.
pub(super) fn named(body: Body, thing: Thing) -> Answer<(String, Map<String, Value>)> {
    let Json(mut body) = given(body)?;
    let Some(Value::String(name)) = body.remove("name") else {
        let detail = format!("the {} has no `name`, or it is no text", thing.word());
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    };
    Ok((name, body))
}

async fn edit(api: &Arc<Api>, edit: Edit) -> Answer<()> {
    asked(Arc::clone(api), move |api| Ok(api.program.change(&[edit])?)).await
}

/// What was set up through the API and cannot be used.
pub(super) fn broken(api: &Api) -> Vec<Value> {
    let broken = api.program.broken().into_iter();
    let told = |(thing, name, reason): (Thing, String, String)| json!({ "kind": thing.word(), "name": name, "reason": reason });
    broken.map(told).collect()
}

/// Lets a connection that is not configured run nothing.
pub(crate) fn configured(api: &Api, connection: &ConnectionId) -> Answer<()> {
    let described = api.program.connections().remove(connection);
    if described.is_some_and(|described| described.configured) {
        return Ok(());
    }
    let detail = "no tables are chosen yet: PUT the connection with `tables`";
    Err(Problem::new(StatusCode::CONFLICT, detail))
}
