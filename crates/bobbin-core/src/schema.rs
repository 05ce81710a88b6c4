//! The subset of JSON Schema bobbin understands: what a stream's fields are, never inferred from
//! data here. The JSON text form belongs to `bobbin-singer`.

use serde::{Deserialize, Serialize};

/// What one value may be. `null` is always allowed unless `required` says otherwise.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Schema {
    /// The shape of a value that is not null.
    pub kind: Kind,
    /// True when null is not allowed (keys).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// What it means, in the source's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The shape of a value.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Anything; loaders type it by the first value they see.
    Any,
    /// `true` or `false`.
    Boolean,
    /// A whole number of any size.
    Integer,
    /// A number with or without a fraction.
    Number,
    /// Text.
    Text,
    /// An instant as RFC 3339 text.
    DateTime,
    /// An object.
    Object(Object),
    /// An array with items of one shape.
    Array(Box<Schema>),
    /// One of several shapes.
    Union(Vec<Schema>),
}

/// An object's fields.
///
/// With declared `properties` it is a structure (destinations may flatten it); without any it is
/// a map whose keys are data, and is never turned into columns.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Object {
    /// Declared fields in their order.
    pub properties: Vec<(String, Schema)>,
    /// True when fields that are not declared are kept.
    pub open: bool,
}

impl Schema {
    /// A nullable value of this shape.
    pub fn of(kind: Kind) -> Self {
        Self { kind, required: false, description: None }
    }

    /// The same, not null.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same with a description.
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// A map: an object whose keys are data.
    pub fn map() -> Self {
        Self::of(Kind::Object(Object { properties: Vec::new(), open: true }))
    }

    /// An array of `items`.
    pub fn array(items: Schema) -> Self {
        Self::of(Kind::Array(Box::new(items)))
    }

    /// The declared fields, when this is an object.
    pub fn object(&self) -> Option<&Object> {
        match &self.kind {
            Kind::Object(object) => Some(object),
            _ => None,
        }
    }
}

impl Object {
    /// A declared field by name.
    pub fn property(&self, name: &str) -> Option<&Schema> {
        self.properties.iter().find(|(n, _)| n == name).map(|(_, schema)| schema)
    }

    /// Whether a field with this dotted path is declared; fields of an array's objects have the
    /// array's path before theirs.
    pub fn has(&self, path: &str) -> bool {
        let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
        self.property(first).is_some_and(|schema| {
            let inner = match &schema.kind {
                Kind::Array(items) => items.object(),
                _ => schema.object(),
            };
            rest.is_none_or(|rest| inner.is_some_and(|object| object.has(rest)))
        })
    }

    /// Whether the field at a dotted path is declared as an object with declared fields, or an array of
    /// those.
    pub fn has_structure(&self, path: &str) -> bool {
        let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
        let inner = self.property(first).and_then(|schema| match &schema.kind {
            Kind::Array(items) => items.object(),
            _ => schema.object(),
        });
        inner.is_some_and(|inner| match rest {
            Some(rest) => inner.has_structure(rest),
            None => !inner.is_map(),
        })
    }

    /// Whether any declared field's dotted path is wanted; as for [`Object::has`].
    pub fn any_path(&self, wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        self.any_below("", wanted)
    }

    fn any_below(&self, above: &str, wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        self.properties.iter().any(|(name, schema)| {
            let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            let inner = match &schema.kind {
                Kind::Array(items) => items.object(),
                _ => schema.object(),
            };
            wanted(&path) || inner.is_some_and(|object| object.any_below(&path, wanted))
        })
    }

    /// True when this is a map whose keys are data.
    pub fn is_map(&self) -> bool {
        self.properties.is_empty()
    }
}
