//! JSON as values that keep every digit, read by `serde_json` and not by bobbin's own reader.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Levels a record may have (`bobbin_core::json::MAX_DEPTH`, written again).
pub const LEVELS: usize = 128;

/// A JSON value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number's own digits.
    Number(String),
    /// Text.
    Text(String),
    /// Items.
    Array(Vec<Value>),
    /// Members; of a key that stands twice the last.
    Object(BTreeMap<String, Value>),
}

/// A text that was read.
#[derive(Clone, PartialEq, Debug)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Members left out because their key stands again later in the same object.
    pub twice: usize,
}

/// Reads a text; `None` when it is not the JSON a record may be (RFC 8259, numbers finite as a
/// double, no half surrogate pairs, at most [`LEVELS`] levels).
pub fn parse(text: &str) -> Option<Document> {
    let mut twice = 0;
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let value = read(raw, 0, &mut twice)?;
    Some(Document { value, twice })
}

/// An object's members in their order, each as it stands.
pub fn members(text: &str) -> Option<Vec<(String, &RawValue)>> {
    serde_json::from_str(text).ok().map(|Members(members)| members)
}

/// The value of an object with these members.
pub fn object(members: &[(String, &RawValue)]) -> Option<Document> {
    let mut twice = 0;
    let mut object = BTreeMap::new();
    for (key, raw) in members {
        let value = read(raw, 1, &mut twice)?;
        twice += usize::from(object.insert(key.clone(), value).is_some());
    }
    Some(Document { value: Value::Object(object), twice })
}

fn read(raw: &RawValue, level: usize, twice: &mut usize) -> Option<Value> {
    let text = raw.get();
    let level_below = level + 1;
    Some(match text.as_bytes().first()? {
        b'{' | b'[' if level == LEVELS => return None,
        b'{' => {
            let mut object = BTreeMap::new();
            for (key, raw) in members(text)? {
                let value = read(raw, level_below, twice)?;
                *twice += usize::from(object.insert(key, value).is_some());
            }
            Value::Object(object)
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let items = items.into_iter().map(|item| read(item, level_below, twice));
            Value::Array(items.collect::<Option<_>>()?)
        }
        b'"' => Value::Text(serde_json::from_str(text).ok()?),
        b't' => Value::Bool(true),
        b'f' => Value::Bool(false),
        b'n' => Value::Null,
        _ => {
            text.parse::<f64>().ok().filter(|number| number.is_finite())?;
            Value::Number(text.to_owned())
        }
    })
}

/// An object's members as they stand.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Each)
    }
}

impl Value {
    /// Whether both say the same: numbers by value, members in any order.
    pub fn says(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Decimal::of(a) == Decimal::of(b),
            (Self::Array(a), Self::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.says(b))
            }
            (Self::Object(a), Self::Object(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && a.says(b))
            }
            _ => self == other,
        }
    }

    /// Every scalar in it as text, for looking them up elsewhere.
    pub fn scalars(&self, out: &mut Vec<String>) {
        match self {
            Self::Null | Self::Bool(_) => {}
            Self::Number(text) | Self::Text(text) => out.push(text.clone()),
            Self::Array(items) => items.iter().for_each(|item| item.scalars(out)),
            Self::Object(members) => members.values().for_each(|value| value.scalars(out)),
        }
    }
}

/// A decimal number by value: sign, digits without zeros at either end, power of ten of the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decimal {
    negative: bool,
    digits: String,
    power: i128,
}

impl Decimal {
    /// From a number's digits. Zero has no sign.
    pub fn of(literal: &str) -> Self {
        let lower = literal.to_ascii_lowercase();
        let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
        let far = if exponent.starts_with('-') { i128::from(i64::MIN) } else { i64::MAX.into() };
        let exponent = exponent.parse::<i128>().unwrap_or(far);
        let negative = mantissa.starts_with('-');
        let mantissa = mantissa.trim_start_matches(['-', '+']);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        let power = exponent - fraction.len() as i128 + (all.len() - digits.len()) as i128;
        let digits = digits.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Self { negative: false, digits, power: 0 };
        }
        Self { negative, digits, power }
    }
}

impl Decimal {
    /// Whether a decimal of 38 digits, 9 of them behind the point, holds it.
    pub fn fits(&self) -> bool {
        self.power >= -9 && self.digits.len() as i128 + self.power <= 29
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_by_value() {
        for (a, b, equal) in [
            ("1", "1.0", true),
            ("1e3", "1000", true),
            ("1E+3", "1000.00", true),
            ("-0", "0", true),
            ("0.1", "0.10000000000000001", false),
            ("12345678901234567890123", "12345678901234567890124", false),
            ("-1", "1", false),
            ("1e-400", "0", false),
        ] {
            assert_eq!(Decimal::of(a) == Decimal::of(b), equal, "{a} {b}");
        }
    }

    #[test]
    fn what_a_record_may_be_is_read_and_nothing_else() {
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&deep(128)).is_some() && parse(&deep(129)).is_none());
        for text in ["1e400", "NaN", r#""\ud800""#, "[1,]", "{} x", "", "\"\t\"", "01"] {
            assert!(parse(text).is_none(), "{text}");
        }
        let document = parse(r#"{"a":1,"a":{"b":2,"b":3}}"#).unwrap();
        assert_eq!(document.twice, 2);
        assert!(document.value.says(&parse(r#"{"a":{"b":3.0}}"#).unwrap().value));
    }
}
