//! Who is told, by Stitch's calls: people by mail, programs by post-load hooks (`stitch-behaviour.md` 9.3, 9.4).
//!
//! Those of the file are listed, too, and only the file changes them. A hook's URL may be a secret, so that
//! only its host is told.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use bobbin_engine::ledger::{Ledger, Thing};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::sources::{Body, destination, put};
use super::{CLIENT, second};
use crate::api::channels::switch;
use crate::api::{Answer, asked};
use crate::problem::Problem;
use crate::{Api, Channel, Edit, names};

/// The version of what hooks are sent.
const VERSION: i64 = 1;

/// Somebody who is told, with its number and since when it has it.
struct Told {
    id: i64,
    made: Timestamp,
    channel: Channel,
    /// The address, of somebody who is told by mail.
    address: Option<String>,
}

impl Told {
    /// Everybody who is told by mail: of a channel with several addresses each.
    fn emails(api: &Api, ledger: &dyn Ledger) -> Answer<Vec<Self>> {
        let mut all = Vec::new();
        for channel in of_kind(api, "email") {
            let to = channel.settings.get("to").and_then(Value::as_array).cloned();
            for address in to.iter().flatten().filter_map(Value::as_str) {
                let (id, made) = ledger.number("email", address, Timestamp::now())?;
                let (channel, address) = (channel.clone(), Some(address.to_owned()));
                all.push(Self { id, made, channel, address });
            }
        }
        all.sort_by_key(|told| told.id);
        Ok(all)
    }

    fn hooks(api: &Api, ledger: &dyn Ledger) -> Answer<Vec<Self>> {
        let mut all = Vec::new();
        for channel in of_kind(api, "post_load") {
            let (id, made) = ledger.number(HOOK, &channel.name, Timestamp::now())?;
            all.push(Self { id, made, channel, address: None });
        }
        all.sort_by_key(|told| told.id);
        Ok(all)
    }

    fn object(&self) -> Value {
        let made = self.channel.made_at.unwrap_or(self.made);
        let changed = self.channel.changed_at.unwrap_or(made);
        let mut object = json!({ "id": self.id, "client_id": CLIENT });
        match &self.address {
            Some(address) => object["email_address"] = address.as_str().into(),
            None => {
                let host = self.channel.host.as_deref().unwrap_or("…");
                object["type"] = "post_load".into();
                object["version"] = VERSION.into();
                object["config"] = json!({ "url": format!("https://{host}/…") });
            }
        }
        object["created_at"] = second(made).into();
        object["modified_at"] = second(changed).into();
        object["disabled_at"] = self.channel.disabled_at.map(second).into();
        object
    }

    fn switch(&self, api: &Api, enabled: bool) -> Answer<()> {
        switch(api, &self.channel, enabled).map_err(|error| Problem::of(&error, "InvalidBody"))
    }

    fn remove(self, api: &Api) -> Answer<()> {
        let gone = Edit { thing: Thing::Channel, name: self.channel.name, body: None, new: false };
        api.program.change(&[gone]).map_err(|error| Problem::of(&error, "InvalidId"))
    }
}

/// What hooks are called where things have numbers.
const HOOK: &str = "hook";

fn of_kind(api: &Api, kind: &str) -> Vec<Channel> {
    let mut channels = api.program.channels();
    channels.retain(|channel| channel.kind == kind);
    channels
}

fn pick(all: Vec<Told>, id: i64, what: &str) -> Answer<Told> {
    all.into_iter().find(|told| told.id == id).ok_or_else(|| Problem::not_found(what))
}

/// A name that no channel has.
fn free_name(api: &Api, text: &str, used: impl Fn(&str) -> Answer<bool>) -> Answer<String> {
    let channels = api.program.channels();
    let broken = api.program.broken();
    let name = names::slug(text, |name| {
        Ok(channels.iter().any(|channel| channel.name == name)
            || broken.iter().any(|(thing, of, _)| *thing == Thing::Channel && of == name)
            || used(name)?)
    })?;
    name.ok_or_else(|| Problem::refused("InvalidBody", "it has no letter or digit"))
}

pub(super) async fn emails(State(api): State<Arc<Api>>) -> Answer<Json<Value>> {
    asked(api, |api| {
        let all = Told::emails(api, &*api.engine.ledger()?)?;
        Ok(Json(all.iter().map(Told::object).collect()))
    })
    .await
}

pub(super) async fn add_email(State(api): State<Arc<Api>>, body: Body) -> Answer<Json<Value>> {
    let Json(body) = body.map_err(Problem::unread)?;
    asked(api, move |api| {
        let address = body.get("email_address").and_then(Value::as_str).map(str::trim);
        let address = address.filter(|address| !address.is_empty()).ok_or_else(|| {
            Problem::refused("InvalidBody", "`email_address` is not given, or it is no text")
        })?;
        let name = free_name(api, address, |_| Ok(false))?;
        let body = object(json!({ "type": "email", "to": [address] }));
        let refused = |error| Problem::of(&error, "InvalidBody");
        api.program.change(&[put(Thing::Channel, &name, body, true)]).map_err(refused)?;
        let all = Told::emails(api, &*api.engine.ledger()?)?;
        let made = all.iter().find(|told| told.channel.name == name);
        Ok(Json(made.ok_or_else(|| Problem::not_found("custom email"))?.object()))
    })
    .await
}

/// Any `disabled_at` but null disables at once.
pub(super) async fn change_email(
    State(api): State<Arc<Api>>,
    Path(id): Path<i64>,
    body: Body,
) -> Answer<Json<Value>> {
    let Json(body) = body.map_err(Problem::unread)?;
    asked(api, move |api| {
        let disabled = body.get("disabled_at").ok_or_else(|| {
            Problem::refused("InvalidBody", "`disabled_at` is not given: a time, or null")
        })?;
        let ledger = api.engine.ledger()?;
        pick(Told::emails(api, &*ledger)?, id, EMAIL)?.switch(api, disabled.is_null())?;
        let told = pick(Told::emails(api, &*ledger)?, id, EMAIL)?;
        Ok(Json(json!({ "disabled_at": told.channel.disabled_at.map(second) })))
    })
    .await
}

const EMAIL: &str = "custom email";

pub(super) async fn remove_email(
    State(api): State<Arc<Api>>,
    Path(id): Path<i64>,
) -> Answer<Json<Value>> {
    asked(api, move |api| {
        pick(Told::emails(api, &*api.engine.ledger()?)?, id, EMAIL)?.remove(api)?;
        // How many there were of it.
        Ok(Json(json!([1])))
    })
    .await
}

pub(super) async fn hooks(State(api): State<Arc<Api>>) -> Answer<Json<Value>> {
    asked(api, |api| {
        let all = Told::hooks(api, &*api.engine.ledger()?)?;
        Ok(Json(json!({ "post_load": all.iter().map(Told::object).collect::<Vec<_>>() })))
    })
    .await
}

/// Makes a hook for the loads into a destination, or into any where none is given.
pub(super) async fn add_hook(State(api): State<Arc<Api>>, body: Body) -> Answer<Json<Value>> {
    let Json(body) = body.map_err(Problem::unread)?;
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        if body.get("type").and_then(Value::as_str) != Some("post_load") {
            return Err(Problem::refused("InvalidType", "`type` is post_load"));
        }
        let url = body.get("config").and_then(|config| config.get("url"));
        let url = url.and_then(Value::as_str).ok_or_else(|| {
            Problem::refused("InvalidBody", "`config.url` is not given, or it is no text")
        })?;
        let into = body.get("destination_id").filter(|id| !id.is_null());
        let into = into.map(|id| destination(api, &*ledger, Some(id))).transpose()?;
        // One that is gone keeps its number.
        let name = free_name(api, HOOK, |name| Ok(ledger.has_number(HOOK, name)?))?;
        let body = object(json!({ "type": "post_load", "url": url, "destination": into }));
        let refused = |error| Problem::of(&error, "InvalidBody");
        api.program.change(&[put(Thing::Channel, &name, body, true)]).map_err(refused)?;
        let all = Told::hooks(api, &*ledger)?;
        let made = all.iter().find(|told| told.channel.name == name);
        Ok(Json(made.ok_or_else(|| Problem::not_found(HOOK))?.object()))
    })
    .await
}

pub(super) async fn change_hook(
    State(api): State<Arc<Api>>,
    Path(id): Path<i64>,
    body: Body,
) -> Answer<Json<Value>> {
    let Json(body) = body.map_err(Problem::unread)?;
    asked(api, move |api| {
        let enable = body.get("enable").and_then(Value::as_bool).ok_or_else(|| {
            Problem::refused("InvalidBody", "`enable` is not given: true or false")
        })?;
        let ledger = api.engine.ledger()?;
        pick(Told::hooks(api, &*ledger)?, id, HOOK)?.switch(api, enable)?;
        Ok(Json(pick(Told::hooks(api, &*ledger)?, id, HOOK)?.object()))
    })
    .await
}

pub(super) async fn remove_hook(
    State(api): State<Arc<Api>>,
    Path(id): Path<i64>,
) -> Answer<Json<Value>> {
    asked(api, move |api| {
        pick(Told::hooks(api, &*api.engine.ledger()?)?, id, HOOK)?.remove(api)?;
        Ok(Json(Value::Null))
    })
    .await
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
