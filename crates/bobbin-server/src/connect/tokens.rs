//! Tokens of the Import API, as Stitch gives them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use bobbin_engine::ledger::Token;
use serde_json::{Value, json};

use super::{Source, second};
use crate::api::{Answer, asked};
use crate::problem::Problem;
use crate::{Api, token};

fn told(token: &Token) -> Value {
    json!({
        "id": token.id,
        "type": "import_api",
        "last_characters": token.ending,
        "created_at": second(token.made_at),
    })
}

pub(super) async fn all(State(api): State<Arc<Api>>, Path(id): Path<i64>) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &*ledger, id)?;
        Ok(Json(ledger.tokens(found.connection())?.iter().map(told).collect()))
    })
    .await
}

pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Path(id): Path<i64>,
) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &*ledger, id)?;
        let refused = |error| Problem::of(&error, "InvalidType");
        api.program.inbox(found.connection()).map_err(refused)?;
        let made = token::make_token(&*ledger, found.connection());
        let (text, token) = made.map_err(|error| Problem::of(&error, "InvalidBody"))?;
        let mut told = told(&token);
        told["access_token"] = text.reveal().into();
        Ok(Json(told))
    })
    .await
}

pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Path((id, token)): Path<(i64, i64)>,
) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &*ledger, id)?;
        if ledger.delete_token(found.connection(), token)? {
            Ok(Json(json!({ "status": 200 })))
        } else {
            Err(Problem::not_found("token"))
        }
    })
    .await
}
