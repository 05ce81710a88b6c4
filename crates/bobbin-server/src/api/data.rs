//! What the destination holds of a connection, for looking at it.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use bobbin_core::held::{HeldTable, Relation, Sample, relations};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Given, asked, given, known};
use crate::Api;
use crate::gate::Watch;

/// The most rows of a sample.
const MOST_ROWS: usize = 200;

/// Rows of a sample, unless asked for fewer or more.
const ROWS: usize = 50;

/// The tables with their columns, and how they belong together.
pub(crate) async fn look(
    api: Arc<Api>,
    watch: &Watch,
    connection: String,
) -> Answer<(Vec<HeldTable>, Vec<Relation>)> {
    let turn = watch.turn_to_ask().await?;
    asked(api, move |api| {
        let _turn = turn;
        let tables = api.program.held(&known(api, &connection)?)?;
        let related = relations(&tables);
        Ok((tables, related))
    })
    .await
}

/// The first rows of a table.
pub(crate) async fn first_rows(
    api: Arc<Api>,
    watch: &Watch,
    (connection, table): (String, String),
    rows: Option<usize>,
) -> Answer<Sample> {
    let turn = watch.turn_to_ask().await?;
    asked(api, move |api| {
        let _turn = turn;
        let most = rows.unwrap_or(ROWS).clamp(1, MOST_ROWS);
        Ok(api.program.sample(&known(api, &connection)?, &table, most)?)
    })
    .await
}

pub(super) async fn tables(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path(connection): Path<String>,
) -> Answer<Json<Value>> {
    let (tables, related) = look(api, &watch, connection).await?;
    Ok(Json(json!({ "data": tables, "relations": related })))
}

#[derive(Deserialize)]
pub(super) struct Rows {
    limit: Option<usize>,
}

pub(super) async fn rows(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path(of): Path<(String, String)>,
    query: Given<Query<Rows>, QueryRejection>,
) -> Answer<Json<Sample>> {
    let Query(query) = given(query)?;
    Ok(Json(first_rows(api, &watch, of, query.limit).await?))
}
