//! Streams, their metadata, and the selection of both (`stitch-behaviour.md` 5.6).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::id::StreamName;
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_core::selection::{Selection, Treated};
use bobbin_core::tap::Discovery;
use bobbin_engine::ledger::{Ledger, Thing};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Source;
use crate::api::{Answer, Given, asked};
use crate::problem::Problem;
use crate::{Api, Edit};

pub(super) async fn streams(
    State(api): State<Arc<Api>>,
    Path(id): Path<i64>,
) -> Answer<Json<Value>> {
    let told = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &*ledger, id)?;
        let Some((Discovery { catalog, .. }, _)) = ledger.catalog(found.connection())? else {
            return Ok(Value::from(Vec::<Value>::new()));
        };
        let selection = api.program.selection(found.connection()).unwrap_or_default();
        let mut all = Vec::new();
        for stream in &catalog.streams {
            let selected = selection.contains(&stream.name);
            all.push(json!({
                "stream_id": stream_number(&*ledger, &found, &stream.name)?,
                "stream_name": stream.name,
                "tap_stream_id": stream.name,
                "selected": selected,
                "metadata": {
                    "selected": selected,
                    "forced-replication-method": method(stream),
                    "table-key-properties": stream.key,
                    "valid-replication-keys": stream.replication_key.as_slice(),
                    "replication-method": null,
                    "replication-key": null,
                    "is-view": false,
                    "row-count": null,
                    "database-name": null,
                    "schema-name": null,
                    "view-key-properties": null,
                },
            }));
        }
        Ok(all.into())
    });
    Ok(Json(told.await?))
}

fn method(stream: &Stream) -> &'static str {
    if stream.replication_key.is_some() { "INCREMENTAL" } else { "FULL_TABLE" }
}

fn stream_number(ledger: &dyn Ledger, source: &Source, stream: &StreamName) -> Answer<i64> {
    let name = format!("{}/{stream}", source.connection());
    Ok(ledger.number("stream", &name, Timestamp::now())?.0)
}

pub(super) async fn stream(
    State(api): State<Arc<Api>>,
    Path((id, number)): Path<(i64, i64)>,
) -> Answer<Json<Value>> {
    let told = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &*ledger, id)?;
        let catalog = ledger.catalog(found.connection())?;
        for stream in catalog.iter().flat_map(|(found, _)| &found.catalog.streams) {
            if stream_number(&*ledger, &found, &stream.name)? != number {
                continue;
            }
            let selection = api.program.selection(found.connection()).unwrap_or_default();
            let own = json!({
                "inclusion": "available",
                "selected": selection.contains(&stream.name),
                "table-key-properties": stream.key,
                "forced-replication-method": method(stream),
                "valid-replication-keys": stream.replication_key.as_slice(),
            });
            let mut metadata = vec![json!({ "breadcrumb": [], "metadata": own })];
            let treated = selection.of(stream);
            describe(&stream.fields, &treated, &mut Vec::new(), "", &mut metadata);
            return Ok(json!({
                "schema": schema(&Schema::of(Kind::Object(stream.fields.clone()))).to_string(),
                "metadata": metadata,
                "non-discoverable-metadata-keys":
                    ["selected", "replication-method", "replication-key", "view-key-properties"],
            }));
        }
        Err(Problem::not_found("stream"))
    });
    Ok(Json(told.await?))
}

/// What is said of each field, with its place.
fn describe(
    object: &Object,
    treated: &Treated,
    crumbs: &mut Vec<String>,
    above: &str,
    metadata: &mut Vec<Value>,
) {
    for (name, schema) in &object.properties {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        crumbs.extend(["properties".to_owned(), name.clone()]);
        let automatic = treated.is_automatic(&path);
        metadata.push(json!({
            "breadcrumb": crumbs,
            "metadata": {
                "inclusion": if automatic { "automatic" } else { "available" },
                "selected": if automatic { Value::Null } else { (!treated.excludes(&path)).into() },
                "selected-by-default": !treated.is_new(&path),
            },
        }));
        if let Kind::Object(inner) = &schema.kind {
            describe(inner, treated, crumbs, &path, metadata);
        }
        crumbs.truncate(crumbs.len() - 2);
    }
}

fn schema(of: &Schema) -> Value {
    let mut value = match &of.kind {
        Kind::Any => json!({}),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer => json!({ "type": "integer" }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Text => json!({ "type": "string" }),
        Kind::DateTime => json!({ "type": "string", "format": "date-time" }),
        Kind::Array(items) => json!({ "type": "array", "items": schema(items) }),
        Kind::Object(object) => {
            let properties = object.properties.iter();
            let properties: Map<String, Value> =
                properties.map(|(name, of)| (name.clone(), schema(of))).collect();
            json!({ "type": "object", "properties": properties })
        }
        Kind::Union(options) => {
            json!({ "anyOf": options.iter().map(schema).collect::<Vec<_>>() })
        }
    };
    if let Some(text) = &of.description {
        value["description"] = text.as_str().into();
    }
    value
}

/// What of a stream is to be replicated.
#[derive(Deserialize)]
pub(super) struct Wishes {
    streams: Vec<Wish>,
}

#[derive(Deserialize)]
struct Wish {
    tap_stream_id: String,
    #[serde(default)]
    metadata: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    breadcrumb: Vec<String>,
    metadata: Map<String, Value>,
}

/// Selects tables and columns; what is not named stays as it is.
pub(super) async fn select(
    State(api): State<Arc<Api>>,
    Path(id): Path<i64>,
    body: Given<Json<Wishes>, JsonRejection>,
) -> Answer<Json<Value>> {
    let Json(wishes) = body.map_err(Problem::unread)?;
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let found = Source::find(api, &*ledger, id)?;
        let mut body = found.written(api)?;
        let Some((discovery, _)) = ledger.catalog(found.connection())? else {
            let detail = "the source's connection check has not succeeded yet, so that there is \
                          nothing to select";
            return Err(Problem::refused("invalid_fields", detail));
        };
        let selection = api.program.selection(found.connection()).unwrap_or_default();
        let mut choice = Choice::of(&body, &discovery.catalog, selection);
        for wish in &wishes.streams {
            choice.take(wish, &discovery.catalog)?;
        }
        choice.write(&mut body);
        let edit = Edit {
            thing: Thing::Connection,
            name: found.connection().to_string(),
            body: Some(body),
            new: false,
        };
        let refused = |error| Problem::of(&error, "invalid_fields");
        api.program.change(&[edit]).map_err(refused)?;
        Ok(Json(json!({ "status": 200 })))
    })
    .await
}

/// Tables that are replicated, columns that are not, and new ones that are.
struct Choice {
    selection: Selection,
    tables: BTreeSet<String>,
    excluded: BTreeSet<String>,
    included: BTreeSet<String>,
}

impl Choice {
    fn of(body: &Map<String, Value>, catalog: &Catalog, selection: Selection) -> Self {
        let texts = |key: &str| {
            let texts = body.get(key).and_then(Value::as_array).into_iter().flatten();
            texts.filter_map(Value::as_str).map(str::to_owned)
        };
        let named = catalog.streams.iter().filter(|stream| selection.contains(&stream.name));
        // A table that is not on offer now is still wished for.
        let tables = named.map(|stream| stream.name.to_string()).chain(texts("tables")).collect();
        let (excluded, included) = (texts("exclude").collect(), texts("include").collect());
        Self { selection, tables, excluded, included }
    }

    fn take(&mut self, wish: &Wish, catalog: &Catalog) -> Answer<()> {
        let table = wish.tap_stream_id.as_str();
        let wrong = |what: String| Problem::refused("invalid_fields", format!("{table}: {what}"));
        let stream = catalog
            .stream(&StreamName::from(table))
            .ok_or_else(|| wrong("there is no such stream".to_owned()))?;
        for entry in &wish.metadata {
            let path = path(&entry.breadcrumb)
                .ok_or_else(|| wrong(format!("the breadcrumb {:?} is none", entry.breadcrumb)))?;
            if !path.is_empty() && !has(&stream.fields, &path) {
                return Err(wrong(format!("there is no field {}", path.join("."))));
            }
            for (key, value) in &entry.metadata {
                let selected = match (key.as_str(), value) {
                    ("selected", Value::Bool(selected)) => *selected,
                    ("selected", Value::Null) => continue,
                    // Kustomer's tables have one way to be replicated, which is told, not chosen.
                    (
                        "replication-method" | "replication-key" | "view-key-properties",
                        Value::Null,
                    ) => {
                        continue;
                    }
                    (key, _) => return Err(wrong(format!("`{key}` cannot be set so"))),
                };
                self.set(stream, &path, selected);
            }
        }
        Ok(())
    }

    fn set(&mut self, stream: &Stream, path: &[&str], selected: bool) {
        let table = stream.name.as_str();
        if path.is_empty() {
            // A choice that was written for the table as a whole gives way to this one.
            self.excluded.remove(table);
            if selected {
                self.tables.insert(table.to_owned());
            } else {
                self.tables.remove(table);
            }
            return;
        }
        let path = path.join(".");
        let column = format!("{table}.{path}");
        if !selected {
            self.included.remove(&column);
            self.excluded.insert(column);
            return;
        }
        self.excluded.remove(&column);
        if self.selection.of(stream).is_new(&path) {
            self.included.insert(column);
        }
    }

    fn write(self, body: &mut Map<String, Value>) {
        body.insert("tables".to_owned(), self.tables.into_iter().collect());
        body.insert("exclude".to_owned(), self.excluded.into_iter().collect());
        if !self.included.is_empty() || body.contains_key("include") {
            body.insert("include".to_owned(), self.included.into_iter().collect());
        }
    }
}

/// The names in a breadcrumb: `properties` and a name, any number of times.
fn path(breadcrumb: &[String]) -> Option<Vec<&str>> {
    breadcrumb
        .chunks(2)
        .map(|pair| match pair {
            [word, name] if word == "properties" => Some(name.as_str()),
            _ => None,
        })
        .collect()
}

fn has(object: &Object, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    let mut properties = object.properties.iter();
    properties.find(|(name, _)| name == first).is_some_and(|(_, schema)| match &schema.kind {
        Kind::Object(inner) => has(inner, rest),
        _ => rest.is_empty(),
    })
}
