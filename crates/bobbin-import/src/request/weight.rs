//! How much a schema is once its references are followed, and how deep.
//!
//! Forty definitions that each refer twice to the next are a few lines, and 2⁴⁰ comparisons for a
//! validator. One that refers to itself costs nothing of that kind, since each turn goes a level deeper into
//! the record; but the validator calls itself for each level of either, and its stack has an end.

use rustc_hash::FxHashMap;
use serde_json::Value;

/// Values in a schema, references followed. A table of 10,000 columns has some 60,000.
const MOST: u64 = 200_000;

/// Levels of a schema, references followed.
const MOST_DEEP: usize = 250;

/// Levels of a schema times those of a record, where the schema refers to itself. On a stack of 2 MiB
/// some 10,000 are possible, without optimisation some 2,600 (measured with `jsonschema` 0.61).
const MOST_TURNS: usize = 2_000;

/// Words whose value refers to a schema.
const REFERENCES: [&str; 3] = ["$ref", "$recursiveRef", "$dynamicRef"];

/// How many levels a record may have.
///
/// # Errors
/// Why the schema is not used, if it is too much or refers to something outside itself.
pub(super) fn most_levels(schema: &Value) -> Result<usize, String> {
    let mut scales = Scales { schema, known: FxHashMap::default(), circular: false, deep: 0 };
    let (weight, levels) = scales.weigh(schema)?;
    if weight > MOST {
        return Err(format!(
            "has more than {MOST} parts when its references are followed; give fewer alternatives"
        ));
    }
    Ok(if scales.circular { MOST_TURNS / levels } else { usize::MAX })
}

struct Scales<'a> {
    schema: &'a Value,
    /// Weight and levels by reference; none while it is being weighed.
    known: FxHashMap<&'a str, Option<(u64, usize)>>,
    /// Whether it refers to itself.
    circular: bool,
    /// Levels we are in.
    deep: usize,
}

impl<'a> Scales<'a> {
    /// The weight of a part, and its levels.
    fn weigh(&mut self, part: &'a Value) -> Result<(u64, usize), String> {
        if self.deep == MOST_DEEP {
            return Err(too_deep());
        }
        self.deep += 1;
        let (mut weight, mut levels) = (1_u64, 0);
        let mut add = |(more, below): (u64, usize)| {
            weight = weight.saturating_add(more);
            levels = levels.max(below);
        };
        match part {
            Value::Array(items) => {
                for item in items {
                    add(self.weigh(item)?);
                }
            }
            Value::Object(members) => {
                for (name, value) in members {
                    add(match value {
                        Value::String(to) if REFERENCES.contains(&name.as_str()) => {
                            self.follow(to)?
                        }
                        value => self.weigh(value)?,
                    });
                }
            }
            _ => {}
        }
        self.deep -= 1;
        Ok((weight, levels + 1))
    }

    fn follow(&mut self, to: &'a str) -> Result<(u64, usize), String> {
        if let Some(known) = self.known.get(to) {
            self.circular |= known.is_none();
            let known = known.unwrap_or_default();
            return if self.deep + known.1 > MOST_DEEP { Err(too_deep()) } else { Ok(known) };
        }
        let pointer = to.strip_prefix('#').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let Some(pointer) = pointer else {
            return Err("has a $ref that is not of the form #/…, within the schema".to_owned());
        };
        // One that leads nowhere is the validator's to refuse.
        let Some(target) = self.schema.pointer(&decoded(pointer)) else { return Ok((0, 0)) };
        self.known.insert(to, None);
        let weighed = self.weigh(target)?;
        self.known.insert(to, Some(weighed));
        Ok(weighed)
    }
}

fn too_deep() -> String {
    format!("has more than {MOST_DEEP} levels when its references are followed")
}

/// A pointer without the escapes that an address has.
fn decoded(pointer: &str) -> String {
    let mut bytes = Vec::with_capacity(pointer.len());
    let mut rest = pointer.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.get(..2)).flatten();
        let byte = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn doubling(levels: usize) -> Value {
        let mut definitions = Map::new();
        for n in 0..levels {
            let next = json!({"$ref": format!("#/definitions/a{}", n + 1)});
            definitions.insert(format!("a{n}"), json!({"anyOf": [next, next]}));
        }
        definitions.insert(format!("a{levels}"), json!({"type": "string"}));
        json!({"definitions": definitions, "$ref": "#/definitions/a0"})
    }

    #[test]
    fn what_multiplies_is_refused_and_what_goes_round_is_not() {
        let chain = |length: usize| {
            let definitions: Map<String, Value> = (0..length)
                .map(|n| (format!("a{n}"), json!({"$ref": format!("#/definitions/a{}", n + 1)})))
                .collect();
            json!({"definitions": definitions, "$ref": "#/definitions/a0"})
        };
        let pairs =
            json!({"properties": {"a b": {"type": "string"}, "c": {"$ref": "#/properties/a%20b"}}});
        for (schema, expected) in [
            (json!({"type": "object"}), Ok(usize::MAX)),
            (doubling(8), Ok(usize::MAX)),
            (doubling(40), Err("200000 parts")),
            (pairs, Ok(usize::MAX)),
            (json!({"properties": {"child": {"$ref": "#"}, "other": {"$ref": "#"}}}), Ok(333)),
            (json!({"properties": {"$ref": {"type": "string"}}}), Ok(usize::MAX)),
            (json!({"$ref": "http://example.com/schema"}), Err("not of the form #/")),
            (chain(100), Ok(usize::MAX)),
            (chain(2000), Err("250 levels")),
        ] {
            match (most_levels(&schema), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{schema}"),
                (Err(found), Err(words)) => assert!(found.contains(words), "{found}"),
                (found, expected) => assert_eq!(format!("{found:?}"), format!("{expected:?}")),
            }
        }
    }
}
