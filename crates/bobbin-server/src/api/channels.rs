//! Who is told of notices and of loads (F-92 to F-96): listed, made, changed, removed, told or not.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bobbin_engine::ledger::Thing;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::setup::{self, Body};
use super::{Answer, Given, asked, given};
use crate::problem::Problem;
use crate::{Api, Channel, Edit};

pub(super) async fn channels(State(api): State<Arc<Api>>) -> Json<Value> {
    let of_channels = |(thing, _, _): &(Thing, String, String)| *thing == Thing::Channel;
    let broken: Vec<Value> = api
        .program
        .broken()
        .into_iter()
        .filter(of_channels)
        .map(|(_, name, reason)| json!({ "name": name, "reason": reason }))
        .collect();
    Json(json!({ "data": api.program.channels(), "broken": broken }))
}

pub(super) async fn channel(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Answer<Json<Channel>> {
    Ok(Json(find(&api, &name)?))
}

/// One of them by its name.
pub(crate) fn find(api: &Api, name: &str) -> Answer<Channel> {
    let mut channels = api.program.channels().into_iter();
    channels.find(|channel| channel.name == name).ok_or_else(|| Problem::not_found("channel"))
}

pub(super) async fn make(
    State(api): State<Arc<Api>>,
    body: Body,
) -> Answer<(StatusCode, Json<Channel>)> {
    let (name, body) = setup::named(body, Thing::Channel)?;
    let body = with_state(body, None)?;
    put(&api, &name, body, true).await?;
    Ok((StatusCode::CREATED, Json(find(&api, &name)?)))
}

/// Has a channel be as given; whether it is told stays, unless that is given, too.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    body: Body,
) -> Answer<Json<Channel>> {
    let Json(body) = given(body)?;
    let known = find(&api, &name);
    let broken = api.program.broken();
    let is_broken = broken.iter().any(|(thing, of, _)| *thing == Thing::Channel && *of == name);
    let known = match known {
        Err(problem) if !is_broken => return Err(problem),
        known => known.ok(),
    };
    let body = with_state(body, known.as_ref())?;
    put(&api, &name, body, false).await?;
    Ok(Json(find(&api, &name)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    enabled: bool,
}

/// Lets a channel be told or not.
pub(super) async fn enable(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    told: Given<Json<Told>, JsonRejection>,
) -> Answer<Json<Channel>> {
    let Json(told) = given(told)?;
    asked(api, move |api| {
        let channel = find(api, &name)?;
        switch(api, &channel, told.enabled)?;
        Ok(Json(find(api, &name)?))
    })
    .await
}

pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    let gone = Edit { thing: Thing::Channel, name, body: None, new: false };
    asked(api, move |api| Ok(api.program.change(&[gone])?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a channel be told or not; everything else of it stays.
pub(crate) fn switch(api: &Api, channel: &Channel, enabled: bool) -> bobbin_core::Result<()> {
    let since = channel.disabled_at.unwrap_or_else(Timestamp::now);
    let channel = Channel { disabled_at: (!enabled).then_some(since), ..channel.clone() };
    let body = kept(&channel, channel.settings.clone());
    let name = channel.name.clone();
    api.program.change(&[Edit { thing: Thing::Channel, name, body: Some(body), new: false }])
}

/// These settings in the words of the file, for a channel that stays what it is, on or off.
pub(crate) fn kept(channel: &Channel, mut settings: Map<String, Value>) -> Map<String, Value> {
    settings.insert("type".to_owned(), channel.kind.into());
    if let Some(since) = channel.disabled_at {
        settings.insert(DISABLED.to_owned(), since.to_string().into());
    }
    settings
}

/// What says in a body since when nobody is told.
const DISABLED: &str = "disabled_at";

/// A body in which `enabled` is since when nobody is told.
fn with_state(
    mut body: Map<String, Value>,
    before: Option<&Channel>,
) -> Answer<Map<String, Value>> {
    let wrong = |detail: &str| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    if body.contains_key(DISABLED) {
        return wrong("`disabled_at` is not given but told: set `enabled`");
    }
    let disabled = before.and_then(|before| before.disabled_at);
    let disabled = match body.remove("enabled") {
        None => disabled,
        Some(Value::Bool(true)) => None,
        Some(Value::Bool(false)) => Some(disabled.unwrap_or_else(Timestamp::now)),
        Some(_) => return wrong("`enabled` is true or false"),
    };
    if let Some(since) = disabled {
        body.insert(DISABLED.to_owned(), since.to_string().into());
    }
    Ok(body)
}

async fn put(api: &Arc<Api>, name: &str, body: Map<String, Value>, new: bool) -> Answer<()> {
    let wish = Edit { thing: Thing::Channel, name: name.to_owned(), body: Some(body), new };
    asked(Arc::clone(api), move |api| Ok(api.program.change(&[wish])?)).await
}
