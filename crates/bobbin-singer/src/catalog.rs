//! Catalogs: what `--discover` prints, and what a catalog given back chooses (`singer.md` 4).

use std::collections::{BTreeMap, BTreeSet};

use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::id::StreamName;
use bobbin_core::schema::{Kind, Object};
use bobbin_core::selection::{Selection, StreamSelection};
use bobbin_core::{Error, Result};
use serde_json::{Map, Value, json};

use crate::schema;

/// The catalog as discovery prints it. Same streams, same text.
pub fn to_json(catalog: &Catalog) -> Value {
    json!({"streams": catalog.streams.iter().map(entry).collect::<Vec<_>>()})
}

fn entry(stream: &Stream) -> Value {
    let method = if stream.replication_key.is_some() { "INCREMENTAL" } else { "FULL_TABLE" };
    let mut root = Map::new();
    root.insert("inclusion".into(), "available".into());
    root.insert("selected-by-default".into(), true.into());
    root.insert("table-key-properties".into(), json!(stream.key));
    if let Some(key) = &stream.replication_key {
        root.insert("valid-replication-keys".into(), json!([key]));
        root.insert("replication-key".into(), json!(key));
    }
    root.insert("forced-replication-method".into(), method.into());
    let mut metadata = vec![json!({"breadcrumb": [], "metadata": root})];
    fields(stream, &stream.fields, &mut Vec::new(), &mut metadata);
    json!({
        "tap_stream_id": stream.name,
        "stream": stream.name,
        "key_properties": stream.key,
        "replication_key": stream.replication_key,
        "replication_method": method,
        "schema": schema::of_stream(stream),
        "metadata": metadata,
    })
}

fn fields(stream: &Stream, object: &Object, crumbs: &mut Vec<String>, out: &mut Vec<Value>) {
    for (name, schema) in &object.properties {
        let automatic = crumbs.is_empty()
            && (stream.key.contains(name) || stream.replication_key.as_ref() == Some(name));
        crumbs.extend(["properties".to_owned(), name.clone()]);
        let metadata = if automatic {
            json!({"inclusion": "automatic"})
        } else {
            json!({"inclusion": "available", "selected-by-default": true})
        };
        out.push(json!({"breadcrumb": crumbs, "metadata": metadata}));
        if let Kind::Object(inner) = &schema.kind {
            fields(stream, inner, crumbs, out);
        }
        crumbs.truncate(crumbs.len() - 2);
    }
}

/// The streams a catalog describes.
///
/// # Errors
/// When it is not a catalog.
pub fn from_json(file: &Value) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    for entry in entries(file)? {
        let root = &metadata(entry).root;
        let key = strings(entry.get("key_properties"))
            .or_else(|| strings(root.get("table-key-properties")))
            .unwrap_or_default();
        let replication_key = entry
            .get("replication_key")
            .or_else(|| root.get("replication-key"))
            .and_then(Value::as_str)
            .map(str::to_owned)
            .or_else(|| strings(root.get("valid-replication-keys"))?.into_iter().next());
        catalog.streams.push(Stream {
            name: name(entry)?,
            fields: schema::object_from_json(&entry["schema"]),
            version_fields: replication_key.iter().cloned().collect(),
            key,
            replication_key,
            description: entry["schema"]["description"].as_str().map(str::to_owned),
        });
    }
    Ok(catalog)
}

/// What a catalog file chooses. Streams it does not name are not replicated.
///
/// A stream: `selected` decides (the older `schema.selected` too), else `selected-by-default`;
/// without any metadata it is replicated. A field: `selected: false` and `inclusion: unsupported`
/// leave it out, `inclusion: automatic` keeps it, and what nothing is said of stays.
///
/// # Errors
/// When it is not a catalog.
pub fn selection(file: &Value) -> Result<Selection> {
    let mut selection = Selection::default();
    for entry in entries(file)? {
        let metadata = metadata(entry);
        let mut excluded = BTreeSet::new();
        let mut automatic = BTreeSet::new();
        for (path, words) in &metadata.fields {
            match chosen(words) {
                Some(false) => excluded.insert(path.clone()),
                Some(true) => automatic.insert(path.clone()),
                None => false,
            };
        }
        legacy(&entry["schema"], "", &automatic, &mut excluded);
        let selected = chosen(&metadata.root)
            .filter(|_| metadata.root.contains_key("selected"))
            .or_else(|| flag(entry["schema"].get("selected")))
            .or_else(|| chosen(&metadata.root))
            .unwrap_or(metadata.root.is_empty() && metadata.fields.is_empty());
        selection.streams.insert(name(entry)?, StreamSelection { selected, excluded });
    }
    Ok(selection)
}

/// Whether metadata says yes or no, if anything.
fn chosen(words: &Map<String, Value>) -> Option<bool> {
    match words.get("inclusion").and_then(Value::as_str) {
        Some("automatic") => return Some(true),
        Some("unsupported") => return Some(false),
        _ => {}
    }
    flag(words.get("selected")).or_else(|| flag(words.get("selected-by-default")))
}

/// Fields that older catalogs leave out inside the schema.
fn legacy(schema: &Value, prefix: &str, kept: &BTreeSet<String>, excluded: &mut BTreeSet<String>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, field) in properties {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if flag(field.get("selected")) == Some(false) && !kept.contains(&path) {
            excluded.insert(path.clone());
        }
        legacy(field, &path, kept, excluded);
    }
}

/// A boolean, also as text: the specification's own example has it so.
fn flag(value: Option<&Value>) -> Option<bool> {
    match value? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

struct Metadata {
    root: Map<String, Value>,
    /// By dotted path.
    fields: BTreeMap<String, Map<String, Value>>,
}

fn metadata(entry: &Value) -> Metadata {
    let mut metadata = Metadata { root: Map::new(), fields: BTreeMap::new() };
    for item in entry.get("metadata").and_then(Value::as_array).into_iter().flatten() {
        let Some(words) = item.get("metadata").and_then(Value::as_object) else { continue };
        let Some(crumbs) = item.get("breadcrumb").and_then(Value::as_array) else { continue };
        if crumbs.is_empty() {
            metadata.root.extend(words.clone());
        } else if let Some(path) = path(crumbs) {
            metadata.fields.entry(path).or_default().extend(words.clone());
        }
    }
    metadata
}

/// `["properties", "a", "items", "properties", "b"]` is `a.b`.
fn path(crumbs: &[Value]) -> Option<String> {
    let mut path = String::new();
    let mut crumbs = crumbs.iter();
    while let Some(word) = crumbs.next() {
        match word.as_str()? {
            "items" => {}
            "properties" => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(crumbs.next()?.as_str()?);
            }
            _ => return None,
        }
    }
    Some(path).filter(|path| !path.is_empty())
}

fn entries(file: &Value) -> Result<&[Value]> {
    file.get("streams").and_then(Value::as_array).map(Vec::as_slice).ok_or_else(|| {
        Error::config("the catalog has no list `streams`")
            .hint("make one with --discover and give it back with --catalog")
    })
}

fn name(entry: &Value) -> Result<StreamName> {
    let name = entry.get("tap_stream_id").or_else(|| entry.get("stream")).and_then(Value::as_str);
    name.map(StreamName::from)
        .ok_or_else(|| Error::config("a stream of the catalog has no tap_stream_id"))
}

fn strings(value: Option<&Value>) -> Option<Vec<String>> {
    let list = value?.as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use bobbin_core::schema::Schema;

    use super::*;

    fn offered() -> Catalog {
        let text = || Schema::of(Kind::Text);
        Catalog {
            streams: vec![Stream {
                name: "users".into(),
                fields: Object {
                    properties: vec![
                        ("id".into(), text().required()),
                        ("updated_at".into(), Schema::of(Kind::DateTime)),
                        (
                            "custom".into(),
                            Schema::of(Kind::Object(Object {
                                properties: vec![("tier_str".into(), text().describe("Tier"))],
                                open: true,
                            })),
                        ),
                        ("tags".into(), Schema::array(text())),
                    ],
                    open: true,
                },
                key: vec!["id".into()],
                replication_key: Some("updated_at".into()),
                version_fields: vec!["updated_at".into()],
                description: Some("People.".into()),
            }],
        }
    }

    #[test]
    fn discovery_reads_like_singer() {
        let catalog = to_json(&offered());
        let metadata = catalog["streams"][0]["metadata"].as_array().unwrap();
        let lines: Vec<String> = metadata.iter().map(Value::to_string).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"breadcrumb":[],"metadata":{"inclusion":"available","selected-by-default":true,"table-key-properties":["id"],"valid-replication-keys":["updated_at"],"replication-key":"updated_at","forced-replication-method":"INCREMENTAL"}}
        {"breadcrumb":["properties","id"],"metadata":{"inclusion":"automatic"}}
        {"breadcrumb":["properties","updated_at"],"metadata":{"inclusion":"automatic"}}
        {"breadcrumb":["properties","custom"],"metadata":{"inclusion":"available","selected-by-default":true}}
        {"breadcrumb":["properties","custom","properties","tier_str"],"metadata":{"inclusion":"available","selected-by-default":true}}
        {"breadcrumb":["properties","tags"],"metadata":{"inclusion":"available","selected-by-default":true}}
        "#);
        insta::assert_snapshot!(to_json(&offered())["streams"][0]["schema"].to_string(), @r#"{"type":"object","description":"People.","properties":{"id":{"type":"string"},"updated_at":{"type":["null","string"],"format":"date-time"},"custom":{"type":["null","object"],"properties":{"tier_str":{"type":["null","string"],"description":"Tier"}},"additionalProperties":true},"tags":{"type":["null","array"],"items":{"type":["null","string"]}}},"additionalProperties":true}"#);
    }

    #[test]
    fn a_catalog_survives_the_way_out_and_back() {
        assert_eq!(from_json(&to_json(&offered())).unwrap(), offered());
    }

    #[test]
    fn everything_is_chosen_by_an_untouched_catalog() {
        let selection = selection(&to_json(&offered())).unwrap();
        assert!(selection.contains(&"users".into()));
        assert!(!selection.contains(&"teams".into()), "it is not in the catalog");
        assert_eq!(selection.prune(&offered().streams[0]), offered().streams[0]);
    }

    #[test]
    fn whether_a_stream_is_replicated() {
        for (root, schema, expected) in [
            (json!({"selected": true}), json!({}), true),
            (json!({"selected": "true"}), json!({}), true),
            (json!({"selected": false}), json!({}), false),
            (json!({"selected": "False"}), json!({}), false),
            (json!({"selected": false, "selected-by-default": true}), json!({}), false),
            (json!({"selected-by-default": true}), json!({}), true),
            (json!({"selected-by-default": false}), json!({}), false),
            (json!({"inclusion": "available"}), json!({}), false),
            (json!({"inclusion": "automatic"}), json!({}), true),
            (json!({"inclusion": "automatic", "selected": false}), json!({}), true),
            (json!({"inclusion": "unsupported", "selected": true}), json!({}), false),
            (json!({"inclusion": "available"}), json!({"selected": true}), true),
            (json!({"inclusion": "available"}), json!({"selected": "true"}), true),
            (json!({"selected": null, "selected-by-default": true}), json!({}), true),
            (json!({"selected-by-default": true}), json!({"selected": false}), false),
        ] {
            let file = json!({"streams": [{"tap_stream_id": "users", "stream": "users",
                "schema": schema, "metadata": [{"breadcrumb": [], "metadata": root}]}]});
            let selection = selection(&file).unwrap();
            assert_eq!(selection.contains(&"users".into()), expected, "{file}");
        }
        let bare = json!({"streams": [{"stream": "users", "schema": {}}]});
        assert!(selection(&bare).unwrap().contains(&"users".into()), "without any metadata");
        assert!(selection(&json!([])).is_err());
        assert!(selection(&json!({"streams": [{"schema": {}}]})).is_err());
    }

    #[test]
    fn whether_a_field_is_replicated() {
        for (words, expected) in [
            (json!({}), true),
            (json!({"inclusion": "available"}), true),
            (json!({"inclusion": "available", "selected": false}), false),
            (json!({"inclusion": "available", "selected": "false"}), false),
            (json!({"selected": false, "selected-by-default": true}), false),
            (json!({"selected": true, "selected-by-default": false}), true),
            (json!({"selected-by-default": false}), false),
            (json!({"inclusion": "unsupported", "selected": true}), false),
            (json!({"inclusion": "automatic", "selected": false}), true),
        ] {
            for crumbs in [
                json!(["properties", "tags"]),
                json!(["properties", "custom", "properties", "tier_str"]),
                json!(["properties", "list", "items", "properties", "x"]),
            ] {
                let path = path(crumbs.as_array().unwrap()).unwrap();
                let file = json!({"streams": [{"tap_stream_id": "users", "schema": {}, "metadata": [
                    {"breadcrumb": [], "metadata": {"selected": true}},
                    {"breadcrumb": crumbs, "metadata": words}]}]});
                let selection = selection(&file).unwrap();
                let excluded = selection.excludes(&offered().streams[0], &path);
                assert_eq!(!excluded, expected, "{file}");
            }
        }
    }

    #[test]
    fn keys_cannot_be_left_out_and_old_catalogs_leave_out_in_the_schema() {
        let file = json!({"streams": [{"tap_stream_id": "users", "metadata": [], "schema": {
            "selected": true, "properties": {
                "id": {"type": "string", "selected": false},
                "tags": {"type": "array", "selected": "false"},
                "custom": {"properties": {"tier_str": {"selected": false}}}}}}]});
        let selection = selection(&file).unwrap();
        let pruned = selection.prune(&offered().streams[0]);
        let names: Vec<&str> = pruned.fields.properties.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["id", "updated_at", "custom"]);
        assert!(pruned.fields.property("custom").unwrap().object().unwrap().properties.is_empty());
    }
}
