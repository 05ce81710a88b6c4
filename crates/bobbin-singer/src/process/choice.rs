//! A foreign catalog: kept word for word, but for what was chosen (`singer.md` 4).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::id::StreamName;
use bobbin_core::selection::Selection;
use bobbin_core::{Error, Result};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::catalog;

/// An object whose members stay in order and as they were written.
#[derive(Clone, Debug, Default)]
struct Words(Vec<(String, Box<RawValue>)>);

impl Words {
    fn get(&self, key: &str) -> Option<&RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }

    fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?.get()).ok()
    }

    fn set(&mut self, key: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Words;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Words, A::Error> {
                let mut words = Words::default();
                while let Some(member) = map.next_entry()? {
                    words.0.push(member);
                }
                Ok(words)
            }
        }
        from.deserialize_map(Members)
    }
}

impl Serialize for Words {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// A catalog as its program wrote it.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    whole: Words,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    words: Words,
    /// Names that messages may use for it.
    names: Vec<String>,
    stream: Stream,
    metadata: Vec<Value>,
    /// Whether the file itself allows it, and what it leaves out.
    allowed: bool,
    excluded: BTreeSet<String>,
}

impl Choice {
    /// Reads what `--discover` printed, or a file (`chosen`: what it leaves out stays out).
    ///
    /// # Errors
    /// When it is not a catalog.
    pub(super) fn read(text: &str, chosen: bool) -> Result<Self> {
        let not = |error: serde_json::Error| Error::protocol("no catalog").caused_by(error);
        let value: Value = serde_json::from_str(text).map_err(not)?;
        let streams = catalog::from_json(&value)?.streams;
        let choices = catalog::selection(&value)?.streams;
        // A file fresh from --discover chooses nothing: then it is only a list.
        let chosen = chosen && choices.values().any(|choice| choice.selected);
        let whole: Words = serde_json::from_str(text).map_err(not)?;
        let list = whole.get("streams").map_or("[]", RawValue::get);
        let words: Vec<Words> = serde_json::from_str(list).map_err(not)?;
        let mut entries: Vec<Entry> = Vec::new();
        for (words, mut stream) in words.into_iter().zip(streams) {
            let id = stream.name.to_string();
            let names: Vec<String> = ["stream_alias", "stream", "tap_stream_id"]
                .iter()
                .filter_map(|key| words.text(key))
                .collect();
            let metadata: Vec<Value> = words
                .get("metadata")
                .and_then(|raw| serde_json::from_str(raw.get()).ok())
                .unwrap_or_default();
            let choice = choices.get(&stream.name).filter(|_| chosen);
            // The order of arrival decides (`singer.md` 3).
            stream.version_fields.clear();
            stream.name = names.first().map_or(id.as_str(), String::as_str).into();
            let unsupported = inclusion(&metadata, &[]) == Some("unsupported");
            entries.push(Entry {
                allowed: !unsupported && choice.is_none_or(|choice| choice.selected),
                excluded: choice.map(|choice| choice.excluded.clone()).unwrap_or_default(),
                words,
                names,
                stream,
                metadata,
            });
        }
        // Two entries of one name (tables of two schemas): only their identity tells them apart.
        let mut uses: BTreeMap<StreamName, u32> = BTreeMap::new();
        for entry in &entries {
            *uses.entry(entry.stream.name.clone()).or_default() += 1;
        }
        for entry in &mut entries {
            if uses[&entry.stream.name] > 1
                && let Some(id) = entry.words.text("tap_stream_id")
            {
                entry.stream.name = id.as_str().into();
                entry.names = vec![id];
            }
        }
        Ok(Self { whole, entries })
    }

    /// What is on offer.
    pub(super) fn catalog(&self) -> Catalog {
        let entries = self.entries.iter().filter(|entry| entry.allowed);
        Catalog { streams: entries.map(|entry| entry.stream.clone()).collect() }
    }

    /// The stream that a message means; a name nobody announced is its own.
    pub(super) fn stream(&self, name: &str) -> StreamName {
        let known = self.entries.iter().find(|entry| entry.names.iter().any(|known| known == name));
        known.map_or_else(|| name.into(), |entry| entry.stream.name.clone())
    }

    /// The catalog with what was chosen: `selected` on every stream and property, as Meltano writes
    /// it; with `legacy` in the schemas, too, where old programs look.
    pub(super) fn chosen(&self, selection: &Selection, legacy: bool) -> Result<Vec<u8>> {
        let mut list = Vec::new();
        for entry in &self.entries {
            let mut words = entry.words.clone();
            let selected = entry.allowed && selection.contains(&entry.stream.name);
            let mut metadata = entry.metadata.clone();
            mark(&mut metadata, &[], selected);
            let mut schema: Value = words
                .get("schema")
                .and_then(|raw| serde_json::from_str(raw.get()).ok())
                .unwrap_or_default();
            entry.fields(&mut schema, selection, &mut Vec::new(), "", &mut metadata);
            words.set("metadata", raw(&metadata)?);
            if legacy && let Some(object) = schema.as_object_mut() {
                object.insert("selected".into(), selected.into());
                words.set("schema", raw(&schema)?);
            }
            list.push(words);
        }
        let mut whole = self.whole.clone();
        whole.set("streams", raw(&list)?);
        serde_json::to_vec_pretty(&whole)
            .map_err(|error| Error::bug("a catalog cannot be written").caused_by(error))
    }
}

impl Entry {
    /// Marks the fields of an object or of an array's objects, and writes the same into `schema`.
    fn fields(
        &self,
        schema: &mut Value,
        selection: &Selection,
        crumbs: &mut Vec<String>,
        path: &str,
        metadata: &mut Vec<Value>,
    ) {
        if let Some(items) = schema.get_mut("items").filter(|items| items.is_object()) {
            crumbs.push("items".to_owned());
            self.fields(items, selection, crumbs, path, metadata);
            crumbs.pop();
        }
        let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
            return;
        };
        for (name, field) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            crumbs.extend(["properties".to_owned(), name.clone()]);
            let excluded = self.excluded.contains(&path) || selection.excludes(&self.stream, &path);
            let selected = match inclusion(metadata, crumbs) {
                Some("automatic") => true,
                Some("unsupported") => false,
                _ => !excluded,
            };
            mark(metadata, crumbs, selected);
            self.fields(field, selection, crumbs, &path, metadata);
            if let Some(object) = field.as_object_mut() {
                object.insert("selected".into(), selected.into());
            }
            crumbs.truncate(crumbs.len() - 2);
        }
    }
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(value)
        .map_err(|error| Error::bug("a catalog cannot be written").caused_by(error))
}

fn at<'a>(metadata: &'a [Value], crumbs: &[String]) -> Option<&'a Value> {
    metadata.iter().find(|item| item["breadcrumb"] == json!(crumbs))
}

fn inclusion<'a>(metadata: &'a [Value], crumbs: &[String]) -> Option<&'a str> {
    at(metadata, crumbs)?.get("metadata")?.get("inclusion")?.as_str()
}

/// Sets `selected`; everything else that is said of the place stays.
fn mark(metadata: &mut Vec<Value>, crumbs: &[String], selected: bool) {
    let crumb = json!(crumbs);
    let place = metadata.iter_mut().find(|item| item["breadcrumb"] == crumb);
    match place.and_then(|item| item.get_mut("metadata")).and_then(Value::as_object_mut) {
        Some(words) => {
            words.insert("selected".into(), selected.into());
        }
        None => {
            let mut words = Map::new();
            words.insert("selected".into(), selected.into());
            metadata.push(json!({"breadcrumb": crumb, "metadata": words}));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use bobbin_core::selection::StreamSelection;

    use super::*;

    const CATALOG: &str = r#"{"version": 1.50, "streams": [
        {"tap_stream_id": "db-users", "stream": "users", "key_properties": ["id"], "x": 1.0e4,
         "schema": {"type": "object", "properties": {"id": {"type": "integer", "maximum": 99999999999999999999999},
            "secret": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {}, "b": {}}}}}},
         "metadata": [{"breadcrumb": [], "metadata": {"inclusion": "available", "sql": "x"}},
            {"breadcrumb": ["properties", "id"], "metadata": {"inclusion": "automatic"}}]},
        {"tap_stream_id": "views", "schema": {"type": "object", "properties": {}},
         "metadata": [{"breadcrumb": [], "metadata": {"inclusion": "unsupported"}}]},
        {"tap_stream_id": "tags", "stream": "tags", "schema": {"type": "object", "properties": {}}}]}"#;

    fn selection() -> Selection {
        let excluded = ["id", "secret", "list.b"].map(str::to_owned).into();
        let mut selection = Selection::all();
        selection.streams.insert("users".into(), StreamSelection { selected: true, excluded });
        selection.streams.insert("tags".into(), StreamSelection::default());
        selection
    }

    #[test]
    fn what_was_chosen_is_written_in_and_everything_else_stays() {
        let choice = Choice::read(CATALOG, false).unwrap();
        let names: Vec<_> = choice.catalog().streams.into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["users".into(), "tags".into()]);
        assert_eq!(choice.stream("db-users"), "users".into());
        assert_eq!(choice.stream("new"), "new".into());
        let text = String::from_utf8(choice.chosen(&selection(), false).unwrap()).unwrap();
        for kept in ["1.50", "1.0e4", "99999999999999999999999"] {
            assert!(text.contains(kept), "{kept} is not in {text}");
        }
        let chosen = catalog::selection(&serde_json::from_str(&text).unwrap()).unwrap();
        assert!(chosen.contains(&"db-users".into()));
        assert!(!chosen.contains(&"tags".into()) && !chosen.contains(&"views".into()));
        let excluded: Vec<_> = chosen.streams[&"db-users".into()].excluded.iter().collect();
        assert_eq!(excluded, ["list.b", "secret"]);
        assert!(!text.contains("\"type\": \"object\", \"selected\""));
        let old = String::from_utf8(choice.chosen(&selection(), true).unwrap()).unwrap();
        let old: Value = serde_json::from_str(&old).unwrap();
        assert_eq!(old["streams"][0]["schema"]["selected"], true);
        assert_eq!(old["streams"][0]["schema"]["properties"]["secret"]["selected"], false);
        assert_eq!(old["streams"][2]["schema"]["selected"], false);
    }

    #[test]
    fn a_file_that_chooses_is_believed() {
        let text = CATALOG.replace(r#""inclusion": "available""#, r#""selected": true"#);
        let choice = Choice::read(&text, true).unwrap();
        let names: Vec<_> = choice.catalog().streams.into_iter().map(|s| s.name).collect();
        // "tags" has no metadata at all: chosen by itself.
        assert_eq!(names, ["users".into(), "tags".into()]);
        let choice = Choice::read(&text.replace("}]}", "}], \"x\": 1}"), true);
        assert!(choice.is_ok());
        assert!(Choice::read("[]", false).is_err());
        assert!(Choice::read("Traceback", false).is_err());
    }
}
