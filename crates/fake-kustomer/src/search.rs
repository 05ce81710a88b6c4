//! The search language: from a request body to the rows it means.

use std::cell::OnceCell;

use serde_json::Value;

use crate::attributes::{Attribute, Vocabulary, values};
use crate::data::render;
use crate::out::Out;
use crate::overlay::Rec;
use crate::select::{Hit, Key, Selection, Window};
use crate::timeline::Id;
use crate::world::{COMPANY, CONVERSATION, CUSTOMER, KOBJECT, MESSAGE, NOTE, World};

/// A search body, understood.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) streams: Vec<usize>,
    criteria: Criterion,
    window: Window,
    sort: Sort,
    pub(crate) descending: bool,
    include_deleted: bool,
}

#[derive(Debug)]
enum Sort {
    Time(Key),
    Value(Attribute),
}

#[derive(Debug)]
enum Criterion {
    All(Vec<Criterion>),
    Any(Vec<Criterion>),
    Not(Box<Criterion>),
    Leaf { attribute: Attribute, test: Test },
}

#[derive(Debug)]
enum Test {
    Equals(Value),
    Contains(String),
    In(Vec<Value>),
    Compare { operator: Compare, bound: Bound },
    NotSet,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Compare {
    Gte,
    Gt,
    Lte,
    Lt,
}

#[derive(Debug)]
enum Bound {
    /// An instant, in milliseconds.
    Time(i64),
    Number(f64),
    Text(String),
}

impl Search {
    /// Reads a body. An error is a message for a 400.
    pub(crate) fn parse(
        world: &World,
        body: &Value,
        vocabulary: Vocabulary<'_>,
    ) -> Result<Self, String> {
        let Some(body) = body.as_object() else { return Err("The body must be an object.".into()) };
        const KEYS: [&str; 10] = [
            "queryContext",
            "and",
            "or",
            "not",
            "sort",
            "timeZone",
            "includeDeleted",
            "fields",
            "aggs",
            "searchHash",
        ];
        if let Some(odd) = body.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("Unknown property {odd}."));
        }
        let Some(context) = body.get("queryContext").and_then(Value::as_str) else {
            return Err("queryContext is required.".into());
        };
        let streams = match context {
            "customer" => vec![CUSTOMER],
            "conversation" => vec![CONVERSATION],
            "message" => vec![MESSAGE],
            "note" if !vocabulary.archive => vec![NOTE],
            "company" => vec![COMPANY],
            "kobject" => (KOBJECT..world.streams.len()).collect(),
            _ if context.starts_with("kobject_") => {
                let stream = world.streams.iter().position(|stream| stream.name == context);
                vec![stream.ok_or_else(|| format!("Unknown queryContext {context}."))?]
            }
            _ => return Err(format!("Unknown queryContext {context}.")),
        };
        let zone = match body.get("timeZone") {
            None | Some(Value::Null) => jiff::tz::TimeZone::UTC,
            Some(name) => name
                .as_str()
                .and_then(|name| jiff::tz::TimeZone::get(name).ok())
                .ok_or("Invalid timeZone.")?,
        };
        let reader = Reader { vocabulary, zone };
        let mut parts = reader.list(body.get("and"))?;
        let any = reader.list(body.get("or"))?;
        if !any.is_empty() {
            parts.push(Criterion::Any(any));
        }
        for not in reader.list(body.get("not"))? {
            parts.push(Criterion::Not(Box::new(not)));
        }
        let object = context.split('_').next().unwrap_or(context);
        let klass = context.strip_prefix("kobject_");
        let mut window = Window::default();
        parts.retain(|part| !narrow(&mut window, object, klass, part));
        let (sort, descending) = sort_of(body.get("sort"), object, vocabulary)?;
        let include_deleted = match body.get("includeDeleted") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(yes)) => *yes,
            Some(_) => return Err("includeDeleted must be a boolean.".into()),
        };
        Ok(Self {
            streams,
            criteria: Criterion::All(parts),
            window,
            sort,
            descending,
            include_deleted,
        })
    }

    /// The rows this search means at `now`, updated in `seen` (low inclusive, high exclusive).
    pub(crate) fn select<'w>(&self, world: &'w World, now: i64, seen: (i64, i64)) -> Selection<'w> {
        let mut window = self.window.clone();
        window.updated.0 = window.updated.0.max(seen.0);
        window.updated.1 = window.updated.1.min(seen.1);
        let key = match self.sort {
            Sort::Time(key) => key,
            Sort::Value(_) => Key::Updated,
        };
        let rows = Selection::index(world, &self.streams, key, &window, self.include_deleted, now);
        let trivial = matches!(&self.criteria, Criterion::All(parts) if parts.is_empty());
        if trivial && matches!(self.sort, Sort::Time(_)) {
            return rows;
        }
        let keep = |hit: Hit| {
            let stream = &world.streams[hit.stream];
            stream.found(hit.number).is_some_and(|rec| {
                self.criteria.holds(&Probe {
                    world,
                    stream: hit.stream,
                    rec,
                    parsed: OnceCell::new(),
                })
            })
        };
        let Sort::Value(attribute) = &self.sort else { return rows.filtered(keep, None) };
        let order = |hit: Hit| {
            let rec = world.streams[hit.stream].found(hit.number);
            rec.map_or_else(String::new, |rec| {
                let probe = Probe { world, stream: hit.stream, rec, parsed: OnceCell::new() };
                let value = values(probe.record(), &attribute.name).into_iter().next();
                value.map_or_else(String::new, |value| text_of(&value))
            })
        };
        rows.filtered(keep, Some(&order))
    }
}

fn sort_of(
    sort: Option<&Value>,
    object: &str,
    vocabulary: Vocabulary<'_>,
) -> Result<(Sort, bool), String> {
    let first = match sort {
        None | Some(Value::Null) => return Ok((Sort::Time(Key::Updated), true)),
        Some(Value::Array(keys)) => match keys.first() {
            None => return Ok((Sort::Time(Key::Updated), true)),
            Some(first) => first,
        },
        Some(one) => one,
    };
    let entry = first.as_object().filter(|entry| entry.len() == 1);
    let Some((name, direction)) = entry.and_then(|entry| entry.iter().next()) else {
        return Err("Each sort key must be an object with one member.".into());
    };
    let descending = match direction.as_str() {
        Some("asc") => false,
        Some("desc") => true,
        _ => return Err(format!("Invalid sort direction for {name}.")),
    };
    let vocabulary = Vocabulary { ids: true, ..vocabulary };
    let attribute = Attribute::parse(name, vocabulary).filter(|found| found.object == object);
    let Some(attribute) = attribute else { return Err(format!("Cannot sort by {name}.")) };
    let sort = match &*attribute.name {
        "updated_at" => Sort::Time(Key::Updated),
        "created_at" | "id" => Sort::Time(Key::Created),
        _ if object == "customer" => Sort::Value(attribute),
        _ => return Err(format!("Cannot sort by {name}.")),
    };
    Ok((sort, descending))
}

/// Takes a criterion into the window when it is a plain bound on the context's own times or id.
fn narrow(window: &mut Window, object: &str, klass: Option<&str>, part: &Criterion) -> bool {
    let Criterion::Leaf { attribute, test } = part else { return false };
    let own = attribute.object == object
        && (attribute.klass.is_none() || attribute.klass.as_deref() == klass);
    let Test::Compare { operator, bound } = test else { return false };
    if !own {
        return false;
    }
    if attribute.name == "id" {
        let Bound::Text(text) = bound else { return false };
        let Some(id) = Id::parse_bound(text) else { return false };
        match operator {
            Compare::Gte => window.id.0 = window.id.0.max(Some(id)),
            Compare::Gt => window.id.0 = window.id.0.max(Some(id.next())),
            Compare::Lte => window.id.1 = least(window.id.1, id.next()),
            Compare::Lt => window.id.1 = least(window.id.1, id),
        }
        return true;
    }
    let range = match &*attribute.name {
        "updated_at" => &mut window.updated,
        "created_at" => &mut window.created,
        _ => return false,
    };
    let Bound::Time(ms) = *bound else { return false };
    match operator {
        Compare::Gte => range.0 = range.0.max(ms),
        Compare::Gt => range.0 = range.0.max(ms + 1),
        Compare::Lte => range.1 = range.1.min(ms + 1),
        Compare::Lt => range.1 = range.1.min(ms),
    }
    true
}

fn least(present: Option<Id>, id: Id) -> Option<Id> {
    Some(present.map_or(id, |present| present.min(id)))
}

struct Reader<'a> {
    vocabulary: Vocabulary<'a>,
    zone: jiff::tz::TimeZone,
}

impl Reader<'_> {
    /// An array of criteria, or one.
    fn list(&self, value: Option<&Value>) -> Result<Vec<Criterion>, String> {
        let mut criteria = Vec::new();
        match value {
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => {
                for item in items {
                    criteria.extend(self.criterion(item)?);
                }
            }
            Some(one) => criteria.extend(self.criterion(one)?),
        }
        Ok(criteria)
    }

    fn criterion(&self, value: &Value) -> Result<Vec<Criterion>, String> {
        let Some(members) = value.as_object() else {
            return Err("Each criterion must be an object.".into());
        };
        let mut criteria = Vec::new();
        for (name, tests) in members {
            match name.as_str() {
                "and" => criteria.push(Criterion::All(self.list(Some(tests))?)),
                "or" => criteria.push(Criterion::Any(self.list(Some(tests))?)),
                "not" => {
                    let inner = Criterion::All(self.list(Some(tests))?);
                    criteria.push(Criterion::Not(Box::new(inner)));
                }
                _ => {
                    let attribute = Attribute::parse(name, self.vocabulary)
                        .ok_or_else(|| format!("Unknown attribute {name}."))?;
                    let Some(tests) = tests.as_object().filter(|tests| !tests.is_empty()) else {
                        return Err(format!("The criterion on {name} needs an operator."));
                    };
                    for (operator, operand) in tests {
                        let test = self.test(name, operator, operand)?;
                        criteria.push(Criterion::Leaf { attribute: attribute.clone(), test });
                    }
                }
            }
        }
        Ok(criteria)
    }

    fn test(&self, name: &str, operator: &str, operand: &Value) -> Result<Test, String> {
        let invalid = || format!("Invalid value for {name} {operator}.");
        Ok(match operator {
            "equals" => Test::Equals(operand.clone()),
            "contains" => Test::Contains(operand.as_str().ok_or_else(invalid)?.to_lowercase()),
            "in" => Test::In(operand.as_array().ok_or_else(invalid)?.clone()),
            "not_set" => match operand {
                Value::Bool(true) => Test::NotSet,
                Value::String(text) if text.is_empty() => Test::NotSet,
                _ => return Err(invalid()),
            },
            "gte" | "gt" | "lte" | "lt" => {
                let compare = match operator {
                    "gte" => Compare::Gte,
                    "gt" => Compare::Gt,
                    "lte" => Compare::Lte,
                    _ => Compare::Lt,
                };
                let end_of_day = matches!(compare, Compare::Gt | Compare::Lte);
                let timed = name.ends_with("_at") || name.ends_with("At");
                let bound = match operand {
                    Value::Number(number) if !timed => {
                        Bound::Number(number.as_f64().ok_or_else(invalid)?)
                    }
                    Value::String(text) if timed => {
                        Bound::Time(self.instant(text, end_of_day).ok_or_else(invalid)?)
                    }
                    Value::String(text) => Bound::Text(text.clone()),
                    _ => return Err(invalid()),
                };
                Test::Compare { operator: compare, bound }
            }
            _ => return Err(format!("Unknown operator {operator}.")),
        })
    }

    /// A full timestamp as it is, a date as a local day's start or last millisecond.
    fn instant(&self, text: &str, end_of_day: bool) -> Option<i64> {
        if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
            return Some(timestamp.as_millisecond());
        }
        let date: jiff::civil::Date = text.parse().ok()?;
        let date = if end_of_day { date.tomorrow().ok()? } else { date };
        let start = date.to_zoned_datetime(self.zone.clone()).ok()?.timestamp().as_millisecond();
        Some(if end_of_day { start - 1 } else { start })
    }
}

/// A record under examination; parsed only when a criterion asks for more than its times.
struct Probe<'a> {
    world: &'a World,
    stream: usize,
    rec: Rec<'a>,
    parsed: OnceCell<Value>,
}

impl Probe<'_> {
    fn record(&self) -> &Value {
        self.parsed.get_or_init(|| {
            let mut out = Out::default();
            render(&mut out, self.world, self.stream, &self.rec);
            serde_json::from_slice(&out.buf).unwrap_or(Value::Null)
        })
    }

    fn object(&self) -> &'static str {
        crate::data::type_of(self.stream)
    }

    /// The record's parent of another type.
    fn parent(&self, object: &str) -> Option<Probe<'_>> {
        let stream = match object {
            "customer" => CUSTOMER,
            "conversation" => CONVERSATION,
            "company" => COMPANY,
            _ => return None,
        };
        let id = self.record()["relationships"][object]["data"]["id"].as_str()?;
        let number = self.world.streams[stream].find(Id::parse(id)?, i64::MAX)?;
        let rec = self.world.streams[stream].found(number)?;
        Some(Probe { world: self.world, stream, rec, parsed: OnceCell::new() })
    }

    /// The conversations, messages or other children of a customer.
    fn children(&self, object: &str) -> Vec<Probe<'_>> {
        let streams = match object {
            _ if self.stream != CUSTOMER => return Vec::new(),
            "conversation" => vec![CONVERSATION],
            "message" => vec![MESSAGE],
            "note" => vec![NOTE],
            "kobject" => (KOBJECT..self.world.streams.len()).collect(),
            _ => return Vec::new(),
        };
        let mut probes = Vec::new();
        for stream in streams {
            for number in self.world.children(self.rec.number, stream, i64::MAX) {
                if let Some(rec) = self.world.streams[stream].found(number) {
                    let world = self.world;
                    probes.push(Probe { world, stream, rec, parsed: OnceCell::new() });
                }
            }
        }
        probes
    }
}

impl Criterion {
    fn holds(&self, probe: &Probe<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(probe)),
            Self::Any(parts) => parts.is_empty() || parts.iter().any(|part| part.holds(probe)),
            Self::Not(part) => !part.holds(probe),
            Self::Leaf { attribute, test } => {
                if attribute.object == probe.object() {
                    return leaf(attribute, test, probe);
                }
                if let Some(parent) = probe.parent(attribute.object) {
                    return leaf(attribute, test, &parent);
                }
                probe.children(attribute.object).iter().any(|child| leaf(attribute, test, child))
            }
        }
    }
}

fn leaf(attribute: &Attribute, test: &Test, probe: &Probe<'_>) -> bool {
    if let Some(wanted) = &attribute.klass {
        let klass = probe.world.klass_of(probe.stream);
        if klass.is_none_or(|klass| klass.name != *wanted) {
            return false;
        }
    }
    if let Test::Compare { operator, bound: Bound::Time(bound) } = test {
        let own = match &*attribute.name {
            "updated_at" => Some(probe.rec.updated),
            "created_at" => Some(probe.rec.created),
            _ => None,
        };
        if let Some(ms) = own {
            return compares(ms.cmp(bound), *operator);
        }
    }
    let held = match &*attribute.name {
        "deleted" => vec![Value::from(probe.rec.deleted)],
        "id" => vec![Value::from(probe.rec.id.to_string())],
        name => values(probe.record(), name),
    };
    match test {
        Test::NotSet => held.is_empty(),
        Test::Equals(wanted) => held.iter().any(|value| same(value, wanted)),
        Test::In(wanted) => held.iter().any(|value| wanted.iter().any(|one| same(value, one))),
        Test::Contains(part) => {
            held.iter().any(|value| text_of(value).to_lowercase().contains(part))
        }
        Test::Compare { operator, bound } => held.iter().any(|value| {
            let order = match bound {
                Bound::Time(bound) => value
                    .as_str()
                    .and_then(|text| text.parse::<jiff::Timestamp>().ok())
                    .map(|time| time.as_millisecond().cmp(bound)),
                Bound::Number(bound) => value.as_f64().and_then(|v| v.partial_cmp(bound)),
                Bound::Text(bound) => value.as_str().map(|text| text.cmp(bound)),
            };
            order.is_some_and(|order| compares(order, *operator))
        }),
    }
}

fn compares(order: std::cmp::Ordering, operator: Compare) -> bool {
    match operator {
        Compare::Gte => order.is_ge(),
        Compare::Gt => order.is_gt(),
        Compare::Lte => order.is_le(),
        Compare::Lt => order.is_lt(),
    }
}

/// Equality as a search index sees it: case does not count, nor does a number's writing.
fn same(value: &Value, wanted: &Value) -> bool {
    match (value.as_f64(), wanted.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => text_of(value).to_lowercase() == text_of(wanted).to_lowercase(),
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
