//! Tokens with which programs push records into a connection.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{Answer, asked, known};
use crate::problem::Problem;
use crate::replay::Unkept;
use crate::{Api, token};

pub(super) async fn tokens(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
) -> Answer<Json<Value>> {
    asked(api, move |api| {
        let id = known(api, &connection)?;
        Ok(Json(json!({ "data": api.engine.ledger()?.tokens(&id)? })))
    })
    .await
}

/// Makes a token; its text is told here and kept nowhere.
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    unkept: Unkept,
    Path(connection): Path<String>,
) -> Answer<Response> {
    let made = asked(api, move |api| {
        let id = known(api, &connection)?;
        api.program.inbox(&id)?;
        let (text, token) = token::make_token(&*api.engine.ledger()?, &id)?;
        let mut told = json!(token);
        told["token"] = text.reveal().into();
        Ok(told)
    });
    Ok(unkept.told((StatusCode::CREATED, Json(made.await?))))
}

pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Path((connection, token)): Path<(String, i64)>,
) -> Answer<StatusCode> {
    asked(api, move |api| {
        let id = known(api, &connection)?;
        if api.engine.ledger()?.delete_token(&id, token)? {
            Ok(StatusCode::NO_CONTENT)
        } else {
            Err(Problem::not_found("token"))
        }
    })
    .await
}
