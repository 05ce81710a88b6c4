//! Keys of the API beside the first one: only an administrator sees and changes them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bobbin_engine::ledger::{Key, Role};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Given, asked, given};
use crate::problem::Problem;
use crate::replay::Unkept;
use crate::{Api, token};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    description: String,
    role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyChange {
    enabled: bool,
}

pub(super) async fn keys(State(api): State<Arc<Api>>) -> Answer<Json<Value>> {
    let keys: Vec<Key> = asked(api, |api| Ok(api.engine.ledger()?.keys()?)).await?;
    Ok(Json(json!({ "data": keys })))
}

/// The only answer in which the key's text ever stands.
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    unkept: Unkept,
    body: Given<Json<NewKey>, JsonRejection>,
) -> Answer<Response> {
    let Json(NewKey { description, role }) = given(body)?;
    let made = asked(api, move |api| {
        let (text, key) = token::make_key(&*api.engine.ledger()?, &description, role)?;
        let mut told = json!(key);
        told["key"] = text.reveal().into();
        Ok(told)
    });
    Ok(unkept.told((StatusCode::CREATED, Json(made.await?))))
}

pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Path(key): Path<i64>,
    body: Given<Json<KeyChange>, JsonRejection>,
) -> Answer<Json<Value>> {
    let Json(KeyChange { enabled }) = given(body)?;
    let there = asked(api, move |api| {
        Ok(api.engine.ledger()?.enable_key(key, enabled, Timestamp::now())?)
    });
    answer(there.await?)
}

pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Path(key): Path<i64>,
) -> Answer<Json<Value>> {
    let there = asked(api, move |api| Ok(api.engine.ledger()?.delete_key(key)?));
    answer(there.await?)
}

fn answer(there: bool) -> Answer<Json<Value>> {
    if there { Ok(Json(json!({ "status": "ok" }))) } else { Err(Problem::not_found("key")) }
}
