//! A row against the record it came from.

use std::collections::BTreeMap;

use bobbin_core::schema::{Kind, Object, Schema};
use jiff::Unit;
use jiff::civil::{Date, Time};

use crate::exact::{Decimal, Value, parse};

/// A value as a table holds it.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A double.
    Double(f64),
    /// A decimal's digits.
    Decimal(String),
    /// Text.
    Text(String),
    /// Microseconds since 1970, UTC.
    Instant(i64),
    /// JSON text.
    Json(String),
    /// A list; `None` is null.
    List(Vec<Option<Cell>>),
    /// An object that is an array's item, by its members that have a value.
    Object(BTreeMap<String, Cell>),
}

/// A value that is not null and the field whose it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// The field's path; empty for the overflow column.
    pub path: Vec<String>,
    /// The column.
    pub column: String,
    /// The value.
    pub cell: Cell,
}

/// What a destination may change in a value, each documented in its README.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// NUL becomes `␀`.
    pub nul: bool,
    /// In JSON, a number that is too long becomes its text.
    pub long_numbers: bool,
    /// Items are rows of tables of their own: an empty array leaves nothing, and an item that is
    /// null, an empty array, or an object without any value leaves its place alone.
    pub items_are_rows: bool,
}

/// What became of a record that has a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is there, value by value.
    Same,
    /// It is there but for these documented changes.
    Mended(Vec<String>),
}

/// Compares a row with its record, an object of `fields`.
///
/// # Errors
/// What is missing, changed or too much, in words for the developer (values included).
pub fn row(
    record: &Value,
    fields: &Object,
    found: &[Found],
    rules: Rules,
) -> Result<Verdict, String> {
    let mut comparison = Comparison { cells: BTreeMap::new(), rules, notes: Vec::new() };
    for value in found {
        if value.path.is_empty() {
            comparison.spread(value)?;
        } else {
            comparison.put(value.path.clone(), value.cell.clone(), &value.column)?;
        }
    }
    let Value::Object(members) = record else { return Err("the record is no object".into()) };
    comparison.members(members, Some(fields), &mut Vec::new())?;
    if let Some((path, (column, cell))) = comparison.cells.pop_first() {
        return Err(format!("{column} ({path:?}) holds {cell:?}, which the record does not have"));
    }
    comparison.notes.dedup();
    Ok(if comparison.notes.is_empty() { Verdict::Same } else { Verdict::Mended(comparison.notes) })
}

/// What an overflow column holds, an object of dotted path to value: the values by path.
pub(crate) fn overflow(cell: &Cell) -> Result<Vec<(Vec<String>, Cell)>, String> {
    let Cell::Json(text) = cell else { return Err("overflow that is no JSON".into()) };
    let Some(Value::Object(members)) = parse(text).map(|document| document.value) else {
        return Err("overflow that is no object".into());
    };
    let at = |dotted: &str| {
        let mut path = vec![String::new()];
        let mut characters = dotted.chars();
        while let Some(character) = characters.next() {
            let last = path.len() - 1;
            match character {
                '.' => path.push(String::new()),
                '\\' => path[last].extend(characters.next()),
                other => path[last].push(other),
            }
        }
        path
    };
    Ok(members.iter().map(|(dotted, value)| (at(dotted), Cell::Json(write(value)))).collect())
}

struct Comparison {
    /// By path; what was compared is taken out.
    cells: BTreeMap<Vec<String>, (String, Cell)>,
    rules: Rules,
    notes: Vec<String>,
}

impl Comparison {
    fn put(&mut self, path: Vec<String>, cell: Cell, column: &str) -> Result<(), String> {
        match self.cells.insert(path.clone(), (column.to_owned(), cell)) {
            None => Ok(()),
            Some((other, _)) => Err(format!("{path:?} has values in both {other} and {column}")),
        }
    }

    /// The overflow column.
    fn spread(&mut self, found: &Found) -> Result<(), String> {
        for (path, cell) in overflow(&found.cell)? {
            self.put(path, cell, &found.column)?;
        }
        Ok(())
    }

    fn members(
        &mut self,
        members: &BTreeMap<String, Value>,
        fields: Option<&Object>,
        path: &mut Vec<String>,
    ) -> Result<(), String> {
        for (key, value) in members {
            let declared = fields.and_then(|fields| fields.property(key));
            path.push(key.clone());
            if fields.is_some_and(|fields| !fields.open) && declared.is_none() {
                self.note("a field the schema shuts out is left out");
            } else {
                let nul = self.rules.nul && key.contains('\0') && !self.cells.contains_key(path);
                if nul {
                    // A key of the overflow column.
                    let last = path.len() - 1;
                    path[last] = key.replace('\0', "␀");
                    self.note("NUL became ␀");
                    if members.contains_key(&path[last]) {
                        self.note("two keys became one");
                        path.pop();
                        continue;
                    }
                }
                self.value(value, declared, path)?;
            }
            path.pop();
        }
        Ok(())
    }

    fn value(
        &mut self,
        value: &Value,
        declared: Option<&Schema>,
        path: &mut Vec<String>,
    ) -> Result<(), String> {
        if *value == Value::Null {
            return Ok(());
        }
        let Some((column, cell)) = self.cells.remove(path) else {
            return match value {
                // Flattened: its members have columns.
                Value::Object(members) => {
                    self.members(members, declared.and_then(Schema::object), path)
                }
                Value::Array(items) if items.is_empty() && self.rules.items_are_rows => {
                    self.note("an empty array leaves nothing");
                    Ok(())
                }
                _ => Err(format!("{path:?} is lost: {}", short(&write(value)))),
            };
        };
        if self.same(value, &cell, declared)? {
            return Ok(());
        }
        Err(format!("{column} holds {} for {}", short(&format!("{cell:?}")), short(&write(value))))
    }

    fn same(
        &mut self,
        value: &Value,
        cell: &Cell,
        declared: Option<&Schema>,
    ) -> Result<bool, String> {
        Ok(match (value, cell) {
            (_, Cell::Json(text)) => {
                let held = parse(text).ok_or("a JSON column holds no JSON")?.value;
                value.says(&held) || self.mended(value).says(&held)
            }
            (Value::Array(items), Cell::List(cells)) => {
                if items.len() != cells.len() {
                    return Ok(false);
                }
                let declared = declared.and_then(|schema| match &schema.kind {
                    Kind::Array(items) => Some(&**items),
                    _ => None,
                });
                for (item, cell) in items.iter().zip(cells) {
                    let same = match cell {
                        None => self.is_null(item, declared),
                        Some(cell) => self.same(item, cell, declared)?,
                    };
                    if !same {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Object(members), Cell::Object(cells)) => {
                self.same_members(members, cells, declared)?
            }
            (Value::Bool(a), Cell::Bool(b)) => a == b,
            (Value::Number(literal), Cell::Int(held)) => equal(literal, &held.to_string()),
            (Value::Number(literal), Cell::Double(held)) => equal(literal, &format!("{held:e}")),
            (Value::Number(literal), Cell::Decimal(held)) => equal(literal, held),
            (Value::Number(literal), Cell::Text(held)) => literal == held,
            (Value::Text(text), Cell::Instant(held)) => instant(text) == Some(*held),
            (Value::Text(text), Cell::Text(held)) if text == held => true,
            (Value::Text(_), Cell::Text(held)) => self.mended(value) == Value::Text(held.clone()),
            _ => false,
        })
    }

    /// Compares an object that is an array's item with the members its row holds.
    fn same_members(
        &mut self,
        members: &BTreeMap<String, Value>,
        cells: &BTreeMap<String, Cell>,
        declared: Option<&Schema>,
    ) -> Result<bool, String> {
        let fields = declared.and_then(columns);
        let mut met = 0;
        for (key, value) in members {
            let below = fields.and_then(|fields| fields.property(key));
            if fields.is_some_and(|fields| !fields.open) && below.is_none() {
                self.note("a field the schema shuts out is left out");
                continue;
            }
            let same = match cells.get(key) {
                Some(cell) => {
                    met += 1;
                    self.same(value, cell, below)?
                }
                None => self.is_missing(value, below),
            };
            if !same {
                return Ok(false);
            }
        }
        Ok(met == cells.len())
    }

    /// Whether an item may be held as null: the rows of arrays cannot tell what is empty from it.
    fn is_null(&mut self, item: &Value, declared: Option<&Schema>) -> bool {
        let null = match item {
            Value::Null => return true,
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => self.are_null(members, declared),
            _ => false,
        };
        let null = null && self.rules.items_are_rows;
        if null {
            self.note("an empty item is null");
        }
        null
    }

    /// Whether a member of an item may have no value.
    fn is_missing(&mut self, value: &Value, declared: Option<&Schema>) -> bool {
        match value {
            Value::Null => true,
            Value::Array(items) if items.is_empty() => {
                self.note("an empty array leaves nothing");
                true
            }
            // One whose members have columns; others are JSON, be they empty.
            Value::Object(members) if declared.and_then(columns).is_some() => {
                self.are_null(members, declared)
            }
            _ => false,
        }
    }

    fn are_null(&mut self, members: &BTreeMap<String, Value>, declared: Option<&Schema>) -> bool {
        let fields = declared.and_then(columns);
        members.iter().all(|(key, value)| {
            let below = fields.and_then(|fields| fields.property(key));
            let shut_out = fields.is_some_and(|fields| !fields.open) && below.is_none();
            shut_out || self.is_missing(value, below)
        })
    }

    /// The value as the rules let the destination hold it.
    fn mended(&mut self, value: &Value) -> Value {
        match value {
            Value::Text(text) if self.rules.nul && text.contains('\0') => {
                self.note("NUL became ␀");
                Value::Text(text.replace('\0', "␀"))
            }
            Value::Number(literal) if self.rules.long_numbers && is_long(literal) => {
                self.note("a number too long became its text");
                Value::Text(literal.clone())
            }
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.mended(item)).collect())
            }
            Value::Object(members) => {
                let mut out = BTreeMap::new();
                for (key, value) in members {
                    let key = if self.rules.nul && key.contains('\0') {
                        self.note("NUL became ␀");
                        key.replace('\0', "␀")
                    } else {
                        key.clone()
                    };
                    out.insert(key, self.mended(value));
                }
                Value::Object(out)
            }
            other => other.clone(),
        }
    }

    fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }
}

/// The fields of an object that has a column for each.
fn columns(schema: &Schema) -> Option<&Object> {
    schema.object().filter(|fields| !fields.is_map())
}

fn equal(literal: &str, held: &str) -> bool {
    Decimal::of(literal) == Decimal::of(held)
}

/// More than 16,000 characters, or a power of ten beyond 8,000.
fn is_long(literal: &str) -> bool {
    let exponent = literal.split_once(['e', 'E']).map_or("0", |(_, exponent)| exponent);
    literal.len() > 16_000 || exponent.parse::<i64>().map_or(true, |power| power.abs() > 8_000)
}

/// The instant a text denotes: RFC 3339 and what is close to it, by jiff's calendar.
pub fn instant(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let date: Date = has_form(date, "0000-00-00").then(|| date.parse().ok())??;
    if rest.is_empty() {
        return micros(date, Time::midnight(), 0);
    }
    let (clock, rest) = rest.strip_prefix(['T', 't', ' '])?.split_at_checked(8)?;
    if !has_form(clock, "00:00:00") {
        return None;
    }
    let part = |at: usize| clock[at..at + 2].parse::<i8>().ok();
    let (hour, minute, second) = (part(0)?, part(3)?, part(6)?);
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest.split_at(end)
        }
        None => ("0", rest),
    };
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    let time = Time::new(hour, minute, second, nanos).ok()?;
    if nanos % 1_000 != 0 {
        return None;
    }
    let seconds = match zone.as_bytes() {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), ..] => {
            let offset = &zone[1..];
            if !["00:00", "0000", "00"].iter().any(|form| has_form(offset, form)) {
                return None;
            }
            let digits = format!("{:0<4}", offset.replace(':', ""));
            let (hours, minutes): (i64, i64) =
                (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -60 } else { 60 }
        }
        _ => return None,
    };
    micros(date, time, seconds)
}

/// Whether a text is of a form in which `0` stands for any digit.
fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

fn micros(date: Date, time: Time, offset_seconds: i64) -> Option<i64> {
    // By days, because jiff's instants end before the year 9999 does.
    let days = i64::from(jiff::civil::date(1970, 1, 1).until((Unit::Day, date)).ok()?.get_days());
    let of_day =
        i64::from(time.hour()) * 3_600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    let seconds = days * 86_400 + of_day - offset_seconds;
    Some(seconds * 1_000_000 + i64::from(time.subsec_nanosecond()) / 1_000)
}

fn short(text: &str) -> String {
    if text.len() <= 300 {
        text.to_owned()
    } else {
        format!("{}… ({} bytes)", text.chars().take(200).collect::<String>(), text.len())
    }
}

/// JSON text of a value.
pub fn write(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(literal) => literal.clone(),
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(write).collect::<Vec<_>>().join(","))
        }
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| {
                format!("{}:{}", serde_json::Value::from(key.as_str()), write(value))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
    }
}
