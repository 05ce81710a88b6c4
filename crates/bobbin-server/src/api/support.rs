//! The support bundle, for whoever helps.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use serde_json::Value;

use super::{Answer, asked};
use crate::Api;

/// The machine and what bobbin takes of it.
pub(super) async fn system(State(api): State<Arc<Api>>) -> Answer<Json<Value>> {
    Ok(Json(asked(api, |api| Ok(api.program.about())).await?))
}

pub(super) async fn bundle(State(api): State<Arc<Api>>) -> Answer<Response> {
    let (name, bundle) = asked(api, |api| Ok(api.program.support()?)).await?;
    // The name is a time's and holds nothing that would have to be quoted.
    let disposition = format!("attachment; filename=\"{name}.tar.gz\"");
    let headers = [
        (header::CONTENT_TYPE, "application/gzip".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, bundle).into_response())
}
