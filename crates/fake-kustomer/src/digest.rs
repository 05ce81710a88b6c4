//! A digest of JSON values that does not depend on key order or number spelling.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::random::{mix, mix2};

/// The digest of a value, for comparing what a replica holds with the oracle.
///
/// Objects are compared without regard to key order, and `12`, `12.0` and `1.2e1` are the same.
pub fn digest(value: &Value) -> u64 {
    match value {
        Value::Null => NULL,
        Value::Bool(yes) => boolean(*yes),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), ..) => integer(whole),
            (_, Some(whole), _) => unsigned(whole),
            (_, _, Some(float)) => decimal(float),
            _ => text(&number.to_string()),
        },
        Value::String(string) => text(string),
        Value::Array(items) => items.iter().fold(ARRAY, |sum, item| next_item(sum, digest(item))),
        Value::Object(members) => {
            members.iter().fold(OBJECT, |sum, (key, value)| member(sum, key, digest(value)))
        }
    }
}

/// The digest of the `attributes` of a whole record.
pub fn digest_attributes(record: &Value) -> u64 {
    digest(&record["attributes"])
}

/// The same straight from bytes; bytes that are no JSON have the digest of the bytes.
pub(crate) fn digest_record_bytes(bytes: &[u8]) -> u64 {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let found = Attributes.deserialize(&mut deserializer);
    found.unwrap_or_else(|_| hash_bytes(bytes))
}

const NULL: u64 = 0x1d8a_f066_0c6b_5a1b;
const ARRAY: u64 = 0x3c79_ac49_2ba7_b653;
const OBJECT: u64 = 0x1c69_b3f7_4ac4_ae35;

fn boolean(yes: bool) -> u64 {
    mix(2 + u64::from(yes))
}

fn integer(whole: i64) -> u64 {
    mix2(11, whole as u64)
}

fn unsigned(whole: u64) -> u64 {
    i64::try_from(whole).map_or_else(|_| mix2(12, whole), integer)
}

fn decimal(float: f64) -> u64 {
    // Whole numbers up to 2^53 are exact, and equal to the integer of that value.
    if float.trunc().to_bits() == float.to_bits() && float.abs() < 9_007_199_254_740_992.0 {
        return integer(float as i64);
    }
    mix2(13, float.to_bits())
}

fn text(string: &str) -> u64 {
    hash_bytes(string.as_bytes())
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = mix2(17, bytes.len() as u64);
    for word in words {
        sum = mix2(sum, u64::from_le_bytes(*word));
    }
    let mut last = [0_u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix2(sum, u64::from_le_bytes(last))
}

fn next_item(sum: u64, item: u64) -> u64 {
    mix2(sum, item)
}

/// Adding makes the order of members irrelevant.
fn member(sum: u64, key: &str, value: u64) -> u64 {
    sum.wrapping_add(mix2(text(key), value))
}

/// Reads `{"attributes": x, ..}` and yields the digest of `x`.
struct Attributes;

impl<'de> DeserializeSeed<'de> for Attributes {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Attributes {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u64, A::Error> {
        let mut found = NULL;
        while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            if key == "attributes" {
                found = map.next_value_seed(Any)?;
            } else {
                map.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct Any;

impl<'de> DeserializeSeed<'de> for Any {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<u64, E> {
        Ok(NULL)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<u64, E> {
        Ok(boolean(yes))
    }

    fn visit_i64<E>(self, whole: i64) -> Result<u64, E> {
        Ok(integer(whole))
    }

    fn visit_u64<E>(self, whole: u64) -> Result<u64, E> {
        Ok(unsigned(whole))
    }

    fn visit_f64<E>(self, float: f64) -> Result<u64, E> {
        Ok(decimal(float))
    }

    fn visit_str<E>(self, string: &str) -> Result<u64, E> {
        Ok(text(string))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u64, A::Error> {
        let mut sum = ARRAY;
        while let Some(item) = items.next_element_seed(Any)? {
            sum = next_item(sum, item);
        }
        Ok(sum)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<u64, A::Error> {
        // Later members of the same name win, as they do in a parsed value.
        let mut seen: Vec<(u64, u64)> = Vec::new();
        while let Some(key) = members.next_key_seed(Any)? {
            let value = members.next_value_seed(Any)?;
            seen.push((key, value));
        }
        let mut sum = OBJECT;
        let mut latest: std::collections::HashSet<u64> = std::collections::HashSet::new();
        let few = seen.len() <= 64;
        for (place, (key, value)) in seen.iter().enumerate().rev() {
            let newer = if few {
                seen[place + 1..].iter().any(|(other, _)| other == key)
            } else {
                !latest.insert(*key)
            };
            if !newer {
                sum = sum.wrapping_add(mix2(*key, *value));
            }
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_bytes_agree() {
        let texts = [
            r#"{"id":"x","attributes":{"a":1,"b":[true,null,"x\n"],"c":{"d":1.5,"e":12.0}},"z":[]}"#,
            r#"{"attributes":{"c":{"e":12,"d":1.5},"b":[true,null,"x\n"],"a":1}}"#,
            r#"{"attributes":{"a":7,"c":{"e":12,"d":1.5},"b":[true,null,"x\n"],"a":1}}"#,
        ];
        let values = texts.map(|text| digest_record_bytes(text.as_bytes()));
        assert_eq!(values[0], values[1]);
        assert_eq!(values[0], values[2]);
        for (text, value) in texts.iter().zip(values) {
            let parsed: Value = serde_json::from_str(text).unwrap_or_default();
            assert_eq!(digest_attributes(&parsed), value);
        }
        let other = digest_record_bytes(br#"{"attributes":{"a":2}}"#);
        assert_ne!(values[0], other);
    }
}
