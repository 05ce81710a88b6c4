//! What a source had to offer when its last job looked, and what is chosen of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::selection::Selection;
use bobbin_core::tap::Discovery;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, asked, known};
use crate::Api;
use crate::problem::Problem;

/// All streams, without their columns.
pub(super) async fn streams(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
) -> Answer<Json<Value>> {
    let answer = asked(api, move |api| {
        let Some((found, seen, selection)) = look(api, &connection)? else {
            return Ok(json!({ "data": [], "seen_at": null }));
        };
        let mut data: Vec<Value> =
            found.catalog.streams.iter().map(|stream| told(stream, &selection)).collect();
        data.extend(found.unreadable.iter().map(|(name, reason)| {
            json!({
                "name": name,
                "readable": false,
                "reason": reason,
                "selected": selection.contains(name),
            })
        }));
        Ok(json!({ "data": data, "seen_at": seen }))
    });
    Ok(Json(answer.await?))
}

/// One stream with its columns.
pub(super) async fn stream(
    State(api): State<Arc<Api>>,
    Path((connection, stream)): Path<(String, String)>,
) -> Answer<Json<Value>> {
    let answer = asked(api, move |api| {
        let found = look(api, &connection)?;
        let (found, _, selection) = found.ok_or_else(|| Problem::not_found("stream"))?;
        let stream = found.catalog.stream(&StreamName::from(stream.as_str()));
        let stream = stream.ok_or_else(|| Problem::not_found("stream"))?;
        let treated = selection.of(stream);
        let fills = api.engine.ledger()?.fills(&known(api, &connection)?)?;
        let fill = fills.get(&stream.name);
        let columns: Vec<Value> = stream
            .columns()
            .into_iter()
            .map(|column| {
                json!({
                    "name": column.name(),
                    "path": column.path,
                    "type": column.kind(),
                    "description": column.schema.description,
                    "automatic": treated.is_automatic(&column.path),
                    "selected": !treated.excludes(&column.path),
                    "filled_percent": fill
.filter(|_| !treated.excludes(&column.path))
.and_then(|(_, fill)| fill.percent(&column.path)),
                    "new": treated.is_new(&column.path),
                    "treatment": treated.by(&column.path).map(|treatment| treatment.done()),
                })
            })
            .collect();
        let mut told = told(stream, &selection);
        told["columns"] = columns.into();
        told["fill"] = fill.map_or(
            Value::Null,
            |(since, fill)| json!({ "since": since, "records": fill.records }),
        );
        Ok(told)
    });
    Ok(Json(answer.await?))
}

fn look(api: &Api, connection: &str) -> Answer<Option<(Discovery, Timestamp, Selection)>> {
    let connection = known(api, connection)?;
    let selection = api.program.selection(&connection).unwrap_or_default();
    let found = api.engine.ledger()?.catalog(&connection)?;
    Ok(found.map(|(found, seen)| (found, seen, selection)))
}

fn told(stream: &Stream, selection: &Selection) -> Value {
    json!({
        "name": stream.name,
        "description": stream.description,
        "key": stream.key,
        "replication_key": stream.replication_key,
        "replication_method": match stream.replication_key {
            Some(_) => "INCREMENTAL",
            None => "FULL_TABLE",
        },
        "readable": true,
        "selected": selection.contains(&stream.name),
    })
}
