//! Between [`Schema`] and JSON Schema as Singer uses it (`singer.md` 3 and 9).

use bobbin_core::catalog::Stream;
use bobbin_core::schema::{Kind, Object, Schema};
use serde_json::{Map, Value, json};

/// A stream's fields as JSON Schema: an object at the root, keys not null.
pub fn of_stream(stream: &Stream) -> Value {
    let mut root = Map::new();
    root.insert("type".into(), "object".into());
    if let Some(text) = &stream.description {
        root.insert("description".into(), text.clone().into());
    }
    let mut fields = stream.fields.clone();
    for (name, schema) in &mut fields.properties {
        schema.required |= stream.key.contains(name);
    }
    root.insert("properties".into(), properties(&fields));
    root.insert("additionalProperties".into(), fields.open.into());
    Value::Object(root)
}

/// One value's schema as JSON Schema.
pub fn to_json(schema: &Schema) -> Value {
    let mut out = Map::new();
    let typed = |out: &mut Map<String, Value>, name: &str| {
        let value = if schema.required { Value::from(name) } else { json!(["null", name]) };
        out.insert("type".into(), value);
    };
    match &schema.kind {
        Kind::Any => {}
        Kind::Boolean => typed(&mut out, "boolean"),
        Kind::Integer => typed(&mut out, "integer"),
        Kind::Number => typed(&mut out, "number"),
        Kind::Text => typed(&mut out, "string"),
        Kind::DateTime => {
            typed(&mut out, "string");
            out.insert("format".into(), "date-time".into());
        }
        Kind::Object(object) => {
            typed(&mut out, "object");
            if !object.is_map() {
                out.insert("properties".into(), properties(object));
            }
            out.insert("additionalProperties".into(), object.open.into());
        }
        Kind::Array(items) => {
            typed(&mut out, "array");
            out.insert("items".into(), to_json(items));
        }
        Kind::Union(members) => {
            let mut any_of: Vec<Value> = members.iter().map(to_json).collect();
            if !schema.required && members.iter().all(|member| member.required) {
                any_of.push(json!({"type": "null"}));
            }
            out.insert("anyOf".into(), any_of.into());
        }
    }
    if let Some(text) = &schema.description {
        out.insert("description".into(), text.clone().into());
    }
    Value::Object(out)
}

fn properties(object: &Object) -> Value {
    object.properties.iter().map(|(name, schema)| (name.clone(), to_json(schema))).collect()
}

/// The schema a JSON Schema describes, as far as Singer programs use it. What is not understood
/// allows anything.
pub fn from_json(value: &Value) -> Schema {
    let mut schema = shape(value);
    if let Some(text) = value.get("description").and_then(Value::as_str) {
        schema = schema.describe(text);
    }
    schema
}

/// The fields of an object's JSON Schema.
pub fn object_from_json(value: &Value) -> Object {
    let properties = value.get("properties").and_then(Value::as_object);
    Object {
        properties: properties
            .into_iter()
            .flatten()
            .map(|(name, schema)| (name.clone(), from_json(schema)))
            .collect(),
        open: value.get("additionalProperties") != Some(&Value::Bool(false)),
    }
}

fn shape(value: &Value) -> Schema {
    for word in ["anyOf", "oneOf"] {
        if let Some(members) = value.get(word).and_then(Value::as_array) {
            let null = |member: &&Value| member.get("type").is_some_and(|t| t == "null");
            let shapes: Vec<Schema> =
                members.iter().filter(|member| !null(member)).map(from_json).collect();
            let required =
                !members.iter().any(|member| null(&member)) && shapes.iter().all(|s| s.required);
            return match <[Schema; 1]>::try_from(shapes) {
                Ok([only]) => Schema { required, ..only },
                Err(shapes) if shapes.is_empty() => Schema::of(Kind::Any),
                Err(shapes) => Schema { required, ..Schema::of(Kind::Union(shapes)) },
            };
        }
    }
    let types: Vec<&str> = match value.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ if value.get("properties").is_some() => vec!["null", "object"],
        _ => return Schema::of(Kind::Any),
    };
    let required = !types.contains(&"null");
    let mut kinds: Vec<Kind> = types
        .iter()
        .filter_map(|name| {
            Some(match *name {
                "boolean" => Kind::Boolean,
                "integer" => Kind::Integer,
                "number" => Kind::Number,
                "string" if value.get("format").is_some_and(|format| format == "date-time") => {
                    Kind::DateTime
                }
                "string" => Kind::Text,
                "object" => Kind::Object(object_from_json(value)),
                "array" => {
                    let items = value.get("items").map_or(Schema::of(Kind::Any), from_json);
                    Kind::Array(Box::new(items))
                }
                _ => return None,
            })
        })
        .collect();
    // Every integer is a number.
    if kinds.contains(&Kind::Number) {
        kinds.retain(|kind| *kind != Kind::Integer);
    }
    let kind = match <[Kind; 1]>::try_from(kinds) {
        Ok([only]) => only,
        Err(kinds) if kinds.is_empty() => Kind::Any,
        Err(kinds) => {
            let member = |kind| Schema { required: true, ..Schema::of(kind) };
            Kind::Union(kinds.into_iter().map(member).collect())
        }
    };
    Schema { required, ..Schema::of(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_survive_the_way_out_and_back() {
        let text = || Schema::of(Kind::Text);
        for schema in [
            Schema::of(Kind::Any),
            text().required(),
            Schema::of(Kind::DateTime).describe("when"),
            Schema::of(Kind::Integer),
            Schema::of(Kind::Number),
            Schema::of(Kind::Boolean),
            Schema::map(),
            Schema::array(text()),
            Schema::array(Schema::of(Kind::Any)).required(),
            Schema::of(Kind::Object(Object {
                properties: vec![("a".into(), text()), ("b".into(), Schema::map())],
                open: true,
            })),
            Schema::of(Kind::Object(Object {
                properties: vec![("a".into(), text())],
                open: false,
            })),
            Schema::of(Kind::Union(vec![text().required(), Schema::of(Kind::Boolean).required()])),
        ] {
            assert_eq!(from_json(&to_json(&schema)), schema, "{}", to_json(&schema));
        }
    }

    #[test]
    fn foreign_schemas_are_understood() {
        for (foreign, expected) in [
            (json!({"type": "string"}), Schema::of(Kind::Text).required()),
            (json!({"type": ["string", "null"]}), Schema::of(Kind::Text)),
            (json!({"type": ["null", "integer", "number"]}), Schema::of(Kind::Number)),
            (json!({}), Schema::of(Kind::Any)),
            (json!({"type": "null"}), Schema::of(Kind::Any)),
            (
                json!({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]}),
                Schema::array(Schema::of(Kind::Text).required()),
            ),
            (
                json!({"type": ["null", "string", "boolean"]}),
                Schema::of(Kind::Union(vec![
                    Schema::of(Kind::Text).required(),
                    Schema::of(Kind::Boolean).required(),
                ])),
            ),
            (json!({"type": ["null", "array"]}), Schema::array(Schema::of(Kind::Any))),
            (json!({"$ref": "#/definitions/x"}), Schema::of(Kind::Any)),
        ] {
            let mut read = from_json(&foreign);
            if foreign == json!({"type": "null"}) {
                read.required = false;
            }
            assert_eq!(read, expected, "{foreign}");
        }
    }
}
