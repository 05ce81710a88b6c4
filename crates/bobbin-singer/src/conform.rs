//! Keeps a stream's SCHEMA true to its RECORDs (`singer.md` 3: a record validates against the
//! newest schema before it).
//!
//! A source may contradict what it declares: text in a number's place, a list of one value as the
//! bare value. Targets and `singer-check-tap` refuse such records. So every record is compared
//! with what was announced, and before a record that contradicts it the schema is widened at that
//! one place, never narrowed: a type is added, or the promise `format: date-time` taken back.

use std::collections::BTreeMap;
use std::mem;

use bobbin_core::json::{JsonError, Peek, Reader, write_string};
use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};

/// The types of JSON Schema, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Types(u8);

const NULL: u8 = 1;
const BOOLEAN: u8 = 2;
const INTEGER: u8 = 4;
const NUMBER: u8 = 8;
const STRING: u8 = 16;
const OBJECT: u8 = 32;
const ARRAY: u8 = 64;
const NAMES: [(u8, &str); 7] = [
    (NULL, "null"),
    (BOOLEAN, "boolean"),
    (INTEGER, "integer"),
    (NUMBER, "number"),
    (STRING, "string"),
    (OBJECT, "object"),
    (ARRAY, "array"),
];

/// No member, no node.
const NONE: u32 = u32::MAX;

/// Keys of one object that are remembered; those beyond are looked at but not learned.
const REMEMBERED_KEYS: usize = 4096;

/// How a place was widened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Widened {
    /// Types added.
    types: u8,
    /// Whether `format` was taken away.
    any_format: bool,
}

/// A stream's JSON Schema as it is announced, and the comparison with its records.
pub(crate) struct Conform {
    schema: Value,
    nodes: Vec<Node>,
    /// What records have asked for, by JSON pointer; holds for later schemas of the stream, too.
    widened: BTreeMap<String, Widened>,
}

/// One place of the schema.
struct Node {
    pointer: String,
    types: Types,
    date_time: bool,
    items: u32,
    /// Declared and met keys; empty for a map.
    members: Vec<Member>,
    index: FxHashMap<Box<str>, u32>,
    /// Whether there are declared keys to compare.
    structure: bool,
    /// The member that came first the last time.
    first: u32,
}

/// A key of an object.
struct Member {
    /// `"key":`, as it most likely stands in the text.
    quoted: Box<[u8]>,
    /// The node of its value; none for a key that is not declared.
    node: u32,
    /// The member that followed it the last time.
    next: u32,
}

impl Conform {
    /// For a stream of which `schema` is to be announced.
    pub(crate) fn new(schema: Value) -> Self {
        let mut conform = Self { schema: Value::Null, nodes: Vec::new(), widened: BTreeMap::new() };
        conform.announce(schema);
        conform
    }

    /// Takes a newer schema of the same stream; what was widened stays widened.
    pub(crate) fn announce(&mut self, schema: Value) {
        self.schema = schema;
        for (pointer, widened) in &self.widened {
            widen(&mut self.schema, pointer, widened);
        }
        self.nodes.clear();
        let schema = mem::take(&mut self.schema);
        self.add(&schema, String::new());
        self.schema = schema;
    }

    /// The schema that every record looked at so far obeys.
    pub(crate) fn schema(&self) -> &Value {
        &self.schema
    }

    /// Compares a record; true when the schema had to be widened for it. The text must be JSON
    /// that was checked before; what is not is left to the reader of the message.
    pub(crate) fn admit(&mut self, record: &str) -> bool {
        let mut changes = Vec::new();
        let walked = self.value(0, &mut Reader::new(record), &mut changes);
        debug_assert!(walked.is_ok(), "a record is checked before it gets here");
        for (node, change) in &changes {
            let pointer = &self.nodes[*node as usize].pointer;
            widen(&mut self.schema, pointer, change);
            let all = self.widened.entry(pointer.clone()).or_default();
            all.types |= change.types;
            all.any_format |= change.any_format;
        }
        !changes.is_empty()
    }

    /// Adds the node of a place, and those below it.
    fn add(&mut self, schema: &Value, pointer: String) -> u32 {
        let at = self.nodes.len();
        self.nodes.push(Node {
            types: types_of(schema),
            date_time: schema.get("format").is_some_and(|format| format == "date-time"),
            items: NONE,
            members: Vec::new(),
            index: FxHashMap::default(),
            structure: false,
            first: 0,
            pointer: pointer.clone(),
        });
        if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
            self.nodes[at].items = self.add(items, format!("{pointer}/items"));
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (key, inner) in properties {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                let node = self.add(inner, format!("{pointer}/properties/{escaped}"));
                self.nodes[at].learn(key, node);
            }
            self.nodes[at].structure = !properties.is_empty();
        }
        at as u32
    }

    fn value(
        &mut self,
        at: u32,
        reader: &mut Reader<'_>,
        changes: &mut Vec<(u32, Widened)>,
    ) -> Result<(), JsonError> {
        let node = &mut self.nodes[at as usize];
        let peek = reader.peek()?;
        let found = match peek {
            Peek::Null => NULL,
            Peek::Bool => BOOLEAN,
            Peek::Number => NUMBER,
            Peek::String => STRING,
            Peek::Object => OBJECT,
            Peek::Array => ARRAY,
        };
        if node.types.0 & found == 0 {
            // An integer is looked at below.
            if peek != Peek::Number || node.types.0 & INTEGER == 0 {
                node.types.0 |= found;
                changes.push((at, Widened { types: found, any_format: false }));
            }
        }
        match peek {
            Peek::Number if node.types.0 & NUMBER == 0 => {
                if reader.skip_unchecked()?.contains(['.', 'e', 'E']) {
                    node.types.0 |= NUMBER;
                    changes.push((at, Widened { types: NUMBER, any_format: false }));
                }
                Ok(())
            }
            Peek::String if node.date_time => {
                let text = reader.skip_unchecked()?;
                if !is_date_time(text.trim_matches('"')) {
                    node.date_time = false;
                    changes.push((at, Widened { types: 0, any_format: true }));
                }
                Ok(())
            }
            Peek::Array if node.items != NONE => {
                let items = node.items;
                reader.array()?;
                while reader.item()? {
                    self.value(items, reader, changes)?;
                }
                Ok(())
            }
            Peek::Object if node.structure => self.members(at, reader, changes),
            _ => reader.skip_unchecked().map(|_| ()),
        }
    }

    fn members(
        &mut self,
        at: u32,
        reader: &mut Reader<'_>,
        changes: &mut Vec<(u32, Widened)>,
    ) -> Result<(), JsonError> {
        reader.object()?;
        let mut guess = self.nodes[at as usize].first;
        let mut previous = NONE;
        loop {
            let node = &mut self.nodes[at as usize];
            let member = match node.members.get(guess as usize) {
                Some(member) if reader.key_if(&member.quoted) => guess,
                _ => {
                    let Some(key) = reader.key()? else { return Ok(()) };
                    let member = node.find(&key.decode());
                    match node.members.get_mut(previous as usize) {
                        Some(member_before) => member_before.next = member,
                        None => node.first = member,
                    }
                    member
                }
            };
            previous = member;
            let (inner, next) =
                node.members.get(member as usize).map_or((NONE, NONE), |m| (m.node, m.next));
            guess = next;
            if inner == NONE {
                reader.skip_unchecked()?;
            } else {
                self.value(inner, reader, changes)?;
            }
        }
    }
}

impl Node {
    fn find(&mut self, key: &str) -> u32 {
        match self.index.get(key) {
            Some(&at) => at,
            None if self.members.len() < REMEMBERED_KEYS => self.learn(key, NONE),
            None => NONE,
        }
    }

    fn learn(&mut self, key: &str, node: u32) -> u32 {
        let at = self.members.len() as u32;
        let mut quoted = Vec::new();
        write_string(&mut quoted, key);
        quoted.push(b':');
        self.members.push(Member { quoted: quoted.into(), node, next: at + 1 });
        self.index.insert(key.into(), at);
        at
    }
}

/// The types a place allows; all of them where it does not say.
fn types_of(schema: &Value) -> Types {
    let by_name = |name: &str| {
        let bits = NAMES.iter().find(|(_, known)| *known == name).map_or(0, |(bit, _)| *bit);
        if bits == NUMBER { NUMBER | INTEGER } else { bits }
    };
    if let Some(members) = schema.get("anyOf").and_then(Value::as_array) {
        return Types(members.iter().fold(0, |bits, member| bits | types_of(member).0));
    }
    Types(match schema.get("type") {
        Some(Value::String(name)) => by_name(name),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).fold(0, |bits, name| bits | by_name(name))
        }
        _ => u8::MAX,
    })
}

/// Whether text is a `date-time` of RFC 3339 to the letter, as strict readers want it.
fn is_date_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let (Some(head), Some(tail)) = (text.get(..FORM.len()), text.get(FORM.len()..)) else {
        return false;
    };
    let fits = |form: &[u8], text: &str| {
        form.len() == text.len()
            && form.iter().zip(text.bytes()).all(|(form, byte)| match form {
                b'0' => byte.is_ascii_digit(),
                form => byte == *form,
            })
    };
    let zone = tail.strip_prefix('.').map_or(tail, |tail| {
        let rest = tail.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() == tail.len() { "" } else { rest }
    });
    fits(FORM, head)
        && head.get(17..).is_some_and(|second| second != "60")
        && (zone == "Z" || fits(b"+00:00", zone) || fits(b"-00:00", zone))
        && text.parse::<Timestamp>().is_ok()
}

fn widen(schema: &mut Value, pointer: &str, widened: &Widened) {
    let Some(place) = schema.pointer_mut(pointer).and_then(Value::as_object_mut) else { return };
    if widened.any_format {
        place.remove("format");
    }
    for (bit, name) in NAMES {
        if widened.types & bit == 0 || types_of(&Value::Object(place.clone())).0 & bit != 0 {
            continue;
        }
        if let Some(members) = place.get_mut("anyOf").and_then(Value::as_array_mut) {
            members.push(json!({ "type": name }));
            continue;
        }
        match place.get_mut("type") {
            Some(Value::Array(names)) => names.push(name.into()),
            Some(only) => *only = json!([only.take(), name]),
            None => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "properties": {
            "id": {"type": "string"},
            "n": {"type": ["null", "integer"]},
            "at": {"type": ["null", "string"], "format": "date-time"},
            "tags": {"type": ["null", "array"], "items": {"type": ["null", "string"]}},
            "any": {},
            "map": {"type": ["null", "object"], "additionalProperties": true},
            "either": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            "deep": {"type": ["null", "object"], "properties": {"a/b~": {"type": "number"}}},
        }, "additionalProperties": true})
    }

    #[test]
    fn what_obeys_changes_nothing() {
        let mut conform = Conform::new(schema());
        for record in [
            json!({"id": "a", "n": -3, "at": "2026-01-02T03:04:05Z", "tags": ["x", null]}),
            json!({"n": null, "id": "b", "at": null, "tags": null, "new": [1], "any": 1.5}),
            json!({"any": "x", "map": {"k": 1}, "either": true, "deep": {"a/b~": 1, "z": "?"}}),
            json!({"deep": {"a/b~": 1.5}, "either": null, "any": null, "id": "c"}),
        ] {
            assert!(!conform.admit(&record.to_string()), "{record}");
        }
        assert_eq!(conform.schema(), &schema());
    }

    #[test]
    fn date_times_are_strict() {
        for good in ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456789+05:30"] {
            assert!(is_date_time(good), "{good}");
        }
        for bad in [
            "",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:60Z",
            "2026-02-30T03:04:05Z",
            "2026-01-02T03:04:05+0530",
            "2026-01-02T03:04:05Z[UTC]",
            "+002026-01-02T03:04:05Z",
        ] {
            assert!(!is_date_time(bad), "{bad}");
        }
    }

    #[test]
    fn each_contradiction_widens_its_place_once() {
        for (record, pointer, expected) in [
            (json!({"id": 1}), "/id", json!({"type": ["string", "number"]})),
            (json!({"n": 1.5}), "/n", json!({"type": ["null", "integer", "number"]})),
            (json!({"n": "1"}), "/n", json!({"type": ["null", "integer", "string"]})),
            (json!({"at": "soon"}), "/at", json!({"type": ["null", "string"]})),
            (
                json!({"at": 5}),
                "/at",
                json!({"type": ["null", "string", "number"], "format": "date-time"}),
            ),
            (
                json!({"tags": "x"}),
                "/tags",
                json!({"type": ["null", "array", "string"], "items": {"type": ["null", "string"]}}),
            ),
            (json!({"tags": [{}]}), "/tags/items", json!({"type": ["null", "string", "object"]})),
            (
                json!({"map": []}),
                "/map",
                json!({"type": ["null", "object", "array"], "additionalProperties": true}),
            ),
            (
                json!({"either": 0}),
                "/either",
                json!({"anyOf": [{"type": "boolean"}, {"type": "null"}, {"type": "number"}]}),
            ),
            (
                json!({"deep": {"a/b~": null}}),
                "/deep/properties/a~1b~0",
                json!({"type": ["number", "null"]}),
            ),
        ] {
            let mut conform = Conform::new(schema());
            assert!(conform.admit(&record.to_string()), "{record}");
            assert!(!conform.admit(&record.to_string()), "{record} again");
            let pointer = format!("/properties{pointer}");
            assert_eq!(conform.schema().pointer(&pointer), Some(&expected), "{record}");
            // A newer schema of the stream does not take it back.
            conform.announce(schema());
            assert!(!conform.admit(&record.to_string()), "{record} after a new schema");
            assert_eq!(conform.schema().pointer(&pointer), Some(&expected), "{record}");
        }
    }
}
