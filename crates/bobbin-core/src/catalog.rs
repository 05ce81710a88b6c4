//! What a tap offers.

use std::collections::BTreeSet;

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

/// A column that a field becomes, where nested objects are flattened.
#[derive(Clone, Debug)]
pub struct Column<'a> {
    /// The field's dotted path.
    pub path: String,
    /// What its values are.
    pub schema: &'a Schema,
}

impl Stream {
    /// The columns its declared fields become.
    pub fn columns(&self) -> Vec<Column<'_>> {
        let mut all = Vec::new();
        flatten(&self.fields, "", &mut all);
        all
    }

    /// The dotted paths of its declared fields that hold values. Fields of an array's objects have the
    /// array's path before theirs.
    pub fn paths(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        paths(&self.fields, "", &mut all);
        all
    }
}

fn paths(object: &Object, above: &str, all: &mut BTreeSet<String>) {
    for (name, schema) in &object.properties {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let inner = match &schema.kind {
            Kind::Array(items) => items.object(),
            _ => schema.object(),
        };
        match inner.filter(|inner| !inner.is_map()) {
            Some(inner) => paths(inner, &path, all),
            None => {
                all.insert(path);
            }
        }
    }
}

fn flatten<'a>(object: &'a Object, above: &str, all: &mut Vec<Column<'a>>) {
    for (name, schema) in &object.properties {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match &schema.kind {
            Kind::Object(inner) if !inner.is_map() => flatten(inner, &path, all),
            _ => all.push(Column { path, schema }),
        }
    }
}

impl Column<'_> {
    /// Its name, before a destination's rules for names.
    pub fn name(&self) -> String {
        self.path.replace('.', "__")
    }

    /// Its type, in words.
    pub fn kind(&self) -> String {
        kind(self.schema)
    }
}

fn kind(schema: &Schema) -> String {
    match &schema.kind {
        Kind::Any => "by first value".into(),
        Kind::Boolean => "boolean".into(),
        Kind::Integer => "integer".into(),
        Kind::Number => "number".into(),
        Kind::Text => "text".into(),
        Kind::DateTime => "date-time".into(),
        Kind::Object(_) => "json".into(),
        Kind::Array(items) => match &items.kind {
            Kind::Object(_) | Kind::Array(_) | Kind::Any | Kind::Union(_) => "json".into(),
            _ => format!("list of {}", kind(items)),
        },
        Kind::Union(options) => options.iter().map(kind).collect::<Vec<_>>().join(" or "),
    }
}
