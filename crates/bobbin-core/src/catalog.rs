//! What a tap offers, and what was chosen of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::StreamName;
use crate::schema::{Kind, Object, Schema};

/// One stream on offer: its shape, key and how changes are found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stream {
    /// Its name, also the table's.
    pub name: StreamName,
    /// The fields, an open object.
    pub fields: Object,
    /// The primary key's fields, top level; empty when there is none.
    pub key: Vec<String>,
    /// The field that orders changes.
    pub replication_key: Option<String>,
    /// Fields that tell which of two versions of one record is newer, most telling first (for
    /// Kustomer: `rev`, then `updated_at`). A version in which a field is absent is older than
    /// one that has it. After them the extraction sequence decides.
    pub version_fields: Vec<String>,
    /// What the stream is, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Everything on offer, in the order it is extracted.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// The streams.
    pub streams: Vec<Stream>,
}

impl Catalog {
    /// A stream by name.
    pub fn stream(&self, name: &StreamName) -> Option<&Stream> {
        self.streams.iter().find(|stream| &stream.name == name)
    }
}

/// What was chosen: per stream whether it is replicated, and which fields are left out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// Choices made explicitly. A stream that is not here follows `others`.
    pub streams: BTreeMap<StreamName, StreamSelection>,
    /// Whether streams without a choice are replicated.
    pub others: bool,
}

/// The choice for one stream.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StreamSelection {
    /// Replicate it at all.
    pub selected: bool,
    /// Dotted paths of fields to leave out, for example `custom.notes_txt`. Keys and replication
    /// keys cannot be left out.
    pub excluded: BTreeSet<String>,
}

impl Selection {
    /// Everything on offer.
    pub fn all() -> Self {
        Self { streams: BTreeMap::new(), others: true }
    }

    /// Whether a stream was chosen.
    pub fn contains(&self, name: &StreamName) -> bool {
        self.streams.get(name).map_or(self.others, |choice| choice.selected)
    }

    /// Whether a field (dotted path) of a chosen stream is left out.
    pub fn excludes(&self, stream: &Stream, path: &str) -> bool {
        let automatic = stream.key.iter().chain(&stream.replication_key).any(|field| field == path);
        !automatic
            && self.streams.get(&stream.name).is_some_and(|choice| choice.excluded.contains(path))
    }

    /// The stream without the fields that were left out.
    pub fn prune(&self, stream: &Stream) -> Stream {
        let mut pruned = stream.clone();
        pruned.fields = self.prune_object(stream, &stream.fields, "");
        pruned
    }

    fn prune_object(&self, stream: &Stream, object: &Object, prefix: &str) -> Object {
        let mut kept = Object { properties: Vec::new(), open: object.open };
        for (name, schema) in &object.properties {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if self.excludes(stream, &path) {
                continue;
            }
            kept.properties.push((name.clone(), self.prune_schema(stream, schema, &path)));
        }
        kept
    }

    /// Fields of an array's objects have the array's path before theirs.
    fn prune_schema(&self, stream: &Stream, schema: &Schema, path: &str) -> Schema {
        let kind = match &schema.kind {
            Kind::Object(inner) if !inner.is_map() => {
                Kind::Object(self.prune_object(stream, inner, path))
            }
            Kind::Array(items) => Kind::Array(Box::new(self.prune_schema(stream, items, path))),
            other => other.clone(),
        };
        Schema { kind, ..schema.clone() }
    }
}
