//! The hostile records of `corpus/`, by theme. The form of the files is told in `corpus/README.md`.

use std::fs;
use std::path::{Path, PathBuf};

use bobbin_core::catalog::Stream;
use bobbin_core::schema::{Kind, Object, Schema};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::check::instant;
use crate::exact::{Decimal, Document, Value, members, object, parse};

/// Bytes of the longest line a destination takes (`stitch-behaviour.md` 7.11 and C3).
const MOST_BYTES: usize = 20 << 20;

/// Stands in a record for the case's name.
const ID: &str = "__ID__";

/// Stands in a line for its sequence.
const SEQUENCE: &str = "__SEQUENCE__";

/// Cases of one kind and the stream they are records of.
#[derive(Clone, Debug)]
pub struct Theme {
    /// The file's name.
    pub name: String,
    /// The stream's key.
    pub key: Vec<String>,
    /// The stream's fields.
    pub fields: Object,
    /// A good record, with `{n}` for its number.
    pub neighbour: String,
    /// The cases.
    pub cases: Vec<Case>,
}

/// One hostile record.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, unique in the theme.
    pub name: String,
    /// What is hostile about it.
    pub note: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether the bytes are a segment's whole line rather than a record.
    pub is_line: bool,
}

/// What must become of a case wherever it is loaded.
#[derive(Clone, PartialEq, Debug)]
pub enum Fate {
    /// A row that says the same as this. Only the destination itself may refuse it.
    Row(Document),
    /// A rejected record.
    Rejected,
}

#[derive(Deserialize)]
struct About {
    key_properties: Vec<String>,
    schema: serde_json::Value,
    neighbour: String,
}

#[derive(Deserialize)]
struct Written {
    case: String,
    note: String,
    /// A record as it stands.
    record: Option<Box<RawValue>>,
    /// A record as text, for one that is not JSON.
    text: Option<String>,
    /// A record's bytes, for one that is not text.
    hex: Option<String>,
    /// A record made by a rule.
    rule: Option<Vec<Part>>,
    /// A segment's whole line as text.
    line: Option<String>,
}

/// A part of a record made by a rule.
#[derive(Deserialize)]
#[serde(untagged)]
enum Part {
    /// Text as it is.
    Text(String),
    /// Text so many times, `{n}` being 0, 1, … and `between` put in between.
    Repeated {
        repeat: String,
        times: usize,
        #[serde(default)]
        between: String,
    },
}

/// The corpus' directory.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus")
}

/// Every theme, by name.
pub fn themes() -> Vec<Theme> {
    let mut names: Vec<String> = fs::read_dir(directory())
        .expect("the corpus is there")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".ndjson").map(str::to_owned))
        .collect();
    names.sort();
    names.iter().map(|name| theme(name)).collect()
}

/// One theme.
pub fn theme(name: &str) -> Theme {
    let read = |ending: &str| {
        let path = directory().join(format!("{name}.{ending}"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let about: About = serde_json::from_str(&read("schema.json"))
        .unwrap_or_else(|error| panic!("{name}.schema.json: {error}"));
    let cases: Vec<Case> = read("ndjson")
        .lines()
        .enumerate()
        .map(|(n, line)| {
            let written: Written = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{name}.ndjson, line {}: {error}", n + 1));
            written.case()
        })
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    for case in &cases {
        assert!(seen.insert(&case.name), "{name}.ndjson has two cases `{}`", case.name);
    }
    Theme {
        name: name.to_owned(),
        key: about.key_properties,
        fields: bobbin_singer::schema::object_from_json(&about.schema),
        neighbour: about.neighbour,
        cases,
    }
}

impl Written {
    fn case(self) -> Case {
        let is_line = self.line.is_some();
        let text = self.record.map(|record| record.get().to_owned()).or(self.text).or(self.line);
        let bytes = match (text, self.hex, self.rule) {
            (Some(text), None, None) => text.replace(ID, &self.case).into_bytes(),
            (None, Some(hex), None) => (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal"))
                .collect(),
            (None, None, Some(rule)) => {
                let parts: String = rule.iter().map(Part::text).collect();
                parts.replace(ID, &self.case).into_bytes()
            }
            _ => panic!("case `{}` needs one of record, text, hex, rule, line", self.case),
        };
        assert!(!bytes.contains(&b'\n'), "case `{}` is more than one line", self.case);
        Case { name: self.case, note: self.note, bytes, is_line }
    }
}

impl Part {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Repeated { repeat, times, between } if !repeat.contains("{n}") => {
                vec![repeat.as_str(); *times].join(between)
            }
            Self::Repeated { repeat, times, between } => {
                let each = (0..*times).map(|n| repeat.replace("{n}", &n.to_string()));
                each.collect::<Vec<_>>().join(between)
            }
        }
    }
}

impl Theme {
    /// The stream, under a name of its own.
    pub fn stream(&self, name: &str) -> Stream {
        Stream {
            name: name.into(),
            fields: self.fields.clone(),
            key: self.key.clone(),
            replication_key: None,
            version_fields: Vec::new(),
            description: None,
        }
    }

    /// The good record of that number.
    pub fn good(&self, n: usize) -> String {
        self.neighbour.replace("{n}", &n.to_string())
    }

    /// What must become of a case.
    pub fn fate(&self, case: &Case) -> Fate {
        let Some(document) = case.document() else { return Fate::Rejected };
        let Value::Object(members) = &document.value else { return Fate::Rejected };
        let named = |field: &String| {
            let value = members.get(field)?;
            names(value, self.fields.property(field)).then_some(())
        };
        if self.key.iter().all(|field| named(field).is_some()) {
            Fate::Row(document)
        } else {
            Fate::Rejected
        }
    }
}

/// Whether a value can be a key of that declared shape.
fn names(value: &Value, schema: Option<&Schema>) -> bool {
    let kind = schema.map_or(&Kind::Any, |schema| &schema.kind);
    match (kind, value) {
        (Kind::Text, Value::Text(_)) | (Kind::Boolean, Value::Bool(_)) => true,
        (Kind::DateTime, Value::Text(text)) => instant(text).is_some(),
        (Kind::Integer, Value::Number(literal)) => literal.parse::<i64>().is_ok(),
        (Kind::Number, Value::Number(literal)) => is_double(literal),
        // No column of numbers holds it, so it is text, also as a key.
        (Kind::Text, Value::Number(literal)) => {
            let whole = !literal.contains(['.', 'e', 'E']);
            let held = if whole { literal.parse::<i64>().is_ok() } else { is_double(literal) };
            !(held || Decimal::of(literal).fits())
        }
        _ => false,
    }
}

fn is_double(literal: &str) -> bool {
    let near: f64 = literal.parse().expect("a number");
    Decimal::of(literal) == Decimal::of(&format!("{near:e}"))
}

impl Case {
    /// The record, when it is one that can be read.
    pub fn document(&self) -> Option<Document> {
        if self.bytes.len() > MOST_BYTES {
            return None;
        }
        let text = std::str::from_utf8(&self.bytes).ok()?;
        if !self.is_line {
            return parse(text);
        }
        // The two fields in front are the envelope's.
        let text = text.replace(SEQUENCE, "1");
        let all = members(&text)?;
        let [(first, at), (second, sequence), rest @ ..] = &all[..] else { return None };
        if first != "_sdc_extracted_at" || second != "_sdc_sequence" {
            return None;
        }
        let at: String = serde_json::from_str(at.get()).ok()?;
        if instant(&at).is_none() && at.parse::<jiff::Timestamp>().is_err() {
            return None;
        }
        sequence.get().parse::<i64>().ok()?;
        let document = object(rest)?;
        if let [(name, inner)] = rest
            && name == "_sdc_rejected"
            && let Some(Value::Object(inner)) = parse(inner.get()).map(|inner| inner.value)
            && inner.len() == 2
            && let (Some(Value::Text(_)), Some(Value::Text(_))) =
                (inner.get("reason"), inner.get("record"))
        {
            return None;
        }
        Some(document)
    }

    /// The case as a segment's line, without its line break.
    pub fn line(&self, sequence: i64) -> Vec<u8> {
        if self.is_line {
            let text = String::from_utf8_lossy(&self.bytes);
            return text.replace(SEQUENCE, &sequence.to_string()).into_bytes();
        }
        line(sequence, &self.bytes)
    }
}

/// A record as a segment's line, as the spool writes it.
pub fn line(sequence: i64, record: &[u8]) -> Vec<u8> {
    let rest = record.strip_prefix(b"{").unwrap_or(record);
    let empty = rest.trim_ascii_start().first() == Some(&b'}');
    let mut out = format!(
        "{{\"_sdc_extracted_at\":\"2026-01-01T00:00:00.5Z\",\"_sdc_sequence\":{sequence}{}",
        if empty { "" } else { "," }
    )
    .into_bytes();
    out.extend_from_slice(rest);
    out
}
