//! The support bundle, for whoever helps.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::{Answer, asked};
use crate::Api;

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
