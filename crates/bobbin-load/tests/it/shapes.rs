//! Streams of all shapes, and for each a record that has every field it declares.
#![allow(dead_code, reason = "each test program uses a part")]

use bobbin_core::catalog::Stream;
use bobbin_core::schema::{Kind, Object, Schema};
use proptest::prelude::*;

/// Streams with a text key and up to six more fields, some with names that clash.
pub(crate) fn streams() -> impl Strategy<Value = Stream> {
    object(schema()).prop_map(|mut fields| {
        fields.properties.retain(|(name, _)| name != "id");
        fields.properties.insert(0, ("id".to_owned(), Schema::of(Kind::Text).required()));
        Stream {
            name: "things".into(),
            fields,
            key: vec!["id".to_owned()],
            replication_key: None,
            version_fields: Vec::new(),
            description: None,
        }
    })
}

fn schema() -> impl Strategy<Value = Schema> {
    let scalar = prop_oneof![
        Just(Kind::Any),
        Just(Kind::Boolean),
        Just(Kind::Integer),
        Just(Kind::Number),
        Just(Kind::Text),
        Just(Kind::DateTime),
        Just(Kind::Union(vec![Schema::of(Kind::Text), Schema::of(Kind::Integer)])),
        Just(Kind::Object(Object { properties: Vec::new(), open: true })),
    ];
    scalar.prop_map(Schema::of).prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            object(inner.clone()).prop_map(|object| Schema::of(Kind::Object(object))),
            inner.prop_map(Schema::array),
        ]
    })
}

fn object(inner: impl Strategy<Value = Schema>) -> impl Strategy<Value = Object> {
    let name = prop_oneof!["[ab]", "[aAbB]_{0,2}[ab]?", "_sdc_x|value|a__st|x{70}|é!", "things"];
    proptest::collection::vec((name, inner), 1..6).prop_map(|mut properties| {
        let mut seen = std::collections::BTreeSet::new();
        properties.retain(|(name, _)| seen.insert(name.clone()));
        Object { properties, open: true }
    })
}

/// A record with every declared field, in their order; arrays have one item.
pub(crate) fn whole(fields: &Object) -> String {
    let members: Vec<String> = fields
        .properties
        .iter()
        .map(|(name, schema)| format!("{}:{}", serde_json::to_string(name).unwrap(), value(schema)))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn value(schema: &Schema) -> String {
    match &schema.kind {
        Kind::Any | Kind::Text | Kind::Union(_) => "\"text\"".to_owned(),
        Kind::Boolean => "true".to_owned(),
        Kind::Integer => "1".to_owned(),
        Kind::Number => "1.5".to_owned(),
        Kind::DateTime => "\"2026-01-01T00:00:00Z\"".to_owned(),
        Kind::Object(object) => whole(object),
        Kind::Array(items) => format!("[{}]", value(items)),
    }
}
