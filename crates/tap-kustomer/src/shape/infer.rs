//! Types for fields that nobody declared.

use bobbin_core::json::Peek;
use bobbin_core::schema::{Kind, Schema};

/// The type of a custom attribute by the suffix of its name (`kustomer-api.md` 9.1); `None` for a
/// suffix that is not known.
pub(crate) fn by_suffix(key: &str) -> Option<Kind> {
    const SUFFIXES: [(&str, Kind); 8] = [
        ("Str", Kind::Text),
        ("Txt", Kind::Text),
        ("Url", Kind::Text),
        ("Tree", Kind::Text),
        ("Num", Kind::Number),
        ("Bool", Kind::Boolean),
        ("At", Kind::DateTime),
        ("Id", Kind::Text),
    ];
    SUFFIXES
        .into_iter()
        .find(|(suffix, _)| key.len() > suffix.len() && key.ends_with(suffix))
        .map(|(_, kind)| kind)
}

/// The schema of a custom attribute by name and its first value that is not null.
pub(super) fn custom(key: &str, value: &str) -> Schema {
    let suffix = by_suffix(key);
    let schema = Schema::of(suffix.clone().unwrap_or(Kind::Any));
    let schema =
        if suffix.is_some() && value.starts_with('[') { Schema::array(schema) } else { schema };
    schema.describe(mark(None, key))
}

/// The schema of any other attribute by its first value.
pub(super) fn attribute(key: &str, plain: bool, value: &str) -> Schema {
    let schema = match value.as_bytes().first() {
        Some(b'"') => Schema::of(Kind::Text),
        Some(b't' | b'f') => Schema::of(Kind::Boolean),
        Some(b'[') => Schema::array(Schema::of(Kind::Any)),
        Some(b'{') => Schema::map(),
        Some(b'n') | None => Schema::of(Kind::Any),
        Some(_) => Schema::of(Kind::Number),
    };
    if plain { schema } else { schema.describe(mark(None, key)) }
}

/// A description that ends with the original name, so that a person finds the attribute again
/// and a later run knows whose field it is ([`marked`]).
pub(crate) fn mark(label: Option<&str>, key: &str) -> String {
    match label {
        Some(label) if !label.trim().is_empty() => format!("{} ({key})", label.trim()),
        _ => format!("({key})"),
    }
}

/// The name in a description made by [`mark`].
pub(super) fn marked(schema: &Schema) -> Option<&str> {
    let text = schema.description.as_deref()?.strip_suffix(')')?;
    text.rsplit_once('(').map(|(_, key)| key)
}

/// What a value is, in words.
pub(super) fn kind_name(peek: Peek) -> &'static str {
    match peek {
        Peek::Object => "an object",
        Peek::Array => "an array",
        Peek::String => "text",
        Peek::Number => "a number",
        Peek::Bool => "a boolean",
        Peek::Null => "null",
    }
}

/// The same for a value's text.
pub(super) fn kind_of(value: &str) -> &'static str {
    kind_name(match value.as_bytes().first() {
        Some(b'{') => Peek::Object,
        Some(b'[') => Peek::Array,
        Some(b'"') => Peek::String,
        Some(b't' | b'f') => Peek::Bool,
        Some(b'n') | None => Peek::Null,
        Some(_) => Peek::Number,
    })
}
