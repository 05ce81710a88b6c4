//! Form properties: what Stitch calls a source's and a destination's settings, and what they are here
//! (`stitch-behaviour.md` 2.4, 9.5).

use bobbin_core::schedule::{Schedule, Settings};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::Answer;
use crate::problem::Problem;
use crate::{Part, Type};

/// Properties of a Kustomer source that Stitch has and that are its schedule here.
const SCHEDULE: [&str; 3] = ["frequency_in_minutes", "anchor_time", "cron_expression"];

/// The one property that nobody sets.
const VERSION: &str = "image_version";

/// Stitch's names of a PostgreSQL destination's settings, and ours.
const POSTGRES: [(&str, &str); 1] = [("username", "user")];

/// The settings of a source and the schedule of its connection, as they are after a change.
#[derive(Clone, Default)]
pub(super) struct Form {
    /// The source's settings, in the words of the file.
    pub(super) settings: Map<String, Value>,
    /// The schedule, likewise.
    pub(super) schedule: Map<String, Value>,
}

impl Form {
    /// Takes properties as Stitch names them; those that are null are given up.
    pub(super) fn take(&mut self, properties: &Map<String, Value>, of: &Type) -> Answer<()> {
        let mut bad = Vec::new();
        for (name, value) in properties {
            let known = of.properties.iter().find(|property| property.name == name);
            let taken = match (name.as_str(), known) {
                (VERSION, _) => Ok(()),
                (name, _) if SCHEDULE.contains(&name) => self.time(name, value),
                (_, None) => Err("there is no such property".to_owned()),
                (name, Some(property)) => typed(value, property.kind).map(|value| {
                    match value {
                        None => self.settings.remove(name),
                        Some(value) => self.settings.insert(name.to_owned(), value),
                    };
                }),
            };
            if let Err(why) = taken {
                bad.push((name.clone(), why));
            }
        }
        if bad.is_empty() {
            return self.is_due();
        }
        Err(bad_properties(&bad))
    }

    fn time(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let ours = match name {
            "frequency_in_minutes" => "frequency_minutes",
            "anchor_time" => "anchor",
            _ => "cron",
        };
        let kind = if ours == "frequency_minutes" { "integer" } else { "string" };
        let value = typed(value, kind)?.filter(|value| value.as_str() != Some(""));
        if ours == "frequency_minutes"
            && value.as_ref().is_some_and(|value| value.as_u64().is_none_or(|n| n == 0))
        {
            return Err("it is no whole number of minutes, 1 or more".to_owned());
        }
        match value {
            None => self.schedule.remove(ours),
            Some(value) => self.schedule.insert(ours.to_owned(), value),
        };
        Ok(())
    }

    /// Whether the schedule is one.
    fn is_due(&self) -> Answer<()> {
        let text = |key: &str| self.schedule.get(key).and_then(Value::as_str);
        let anchor = text("anchor").map(str::parse::<Timestamp>).transpose().map_err(|_| {
            bad_properties(&[("anchor_time".to_owned(), "it is no instant".to_owned())])
        })?;
        let frequency = self.schedule.get("frequency_minutes").and_then(Value::as_u64);
        let settings = Settings {
            frequency_minutes: frequency.and_then(|minutes| u32::try_from(minutes).ok()),
            anchor,
            cron: text("cron").map(str::to_owned),
            time_zone: text("time_zone").map(str::to_owned),
        };
        match Schedule::of(&settings) {
            Ok(_) => Ok(()),
            Err(error) if settings.cron.is_some() => {
                Err(Problem::refused("InvalidCronExpression", error.report()))
            }
            Err(error) => {
                Err(bad_properties(&[("frequency_in_minutes".to_owned(), error.to_string())]))
            }
        }
    }
}

fn bad_properties(bad: &[(String, String)]) -> Problem {
    let told: Vec<String> = bad.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    let all: Map<String, Value> =
        bad.iter().map(|(name, why)| (name.clone(), why.as_str().into())).collect();
    Problem::refused("InvalidProperties", told.join("; ")).with("bad_properties", all)
}

/// A value as a property of that type has it; Stitch gives numbers and truth values as text. None gives
/// the property up.
fn typed(value: &Value, kind: &str) -> Result<Option<Value>, String> {
    let number = |text: &str| text.trim().parse::<serde_json::Number>().ok();
    let found = match (kind, value) {
        (_, Value::Null) => return Ok(None),
        ("integer", Value::Number(n)) => n.is_i64().then(|| value.clone()),
        ("integer", Value::String(text)) => {
            number(text).filter(serde_json::Number::is_i64).map(Value::Number)
        }
        ("number", Value::Number(_)) => Some(value.clone()),
        ("number", Value::String(text)) => number(text).map(Value::Number),
        ("boolean", Value::Bool(_)) => Some(value.clone()),
        ("boolean", Value::String(text)) => text.trim().parse().ok().map(Value::Bool),
        ("string" | "date-time", Value::String(_)) => Some(value.clone()),
        ("string", Value::Number(n)) => Some(n.to_string().into()),
        _ => None,
    };
    found.map(Some).ok_or_else(|| format!("it is no {kind}"))
}

/// A destination's settings out of the properties Stitch has for it.
pub(super) fn destination(
    properties: &Map<String, Value>,
    of: &Type,
) -> Answer<Map<String, Value>> {
    let mut settings = Map::new();
    let mut bad = Vec::new();
    for (name, value) in properties {
        let ours = POSTGRES.iter().find(|(theirs, _)| of.name == "postgres" && theirs == name);
        let ours = ours.map_or(name.as_str(), |(_, ours)| *ours);
        let taken = if name == "ssl" && of.name == "postgres" {
            typed(value, "boolean").map(|value| {
                let tls = value.map(|ssl| if ssl == true { "require" } else { "off" });
                settings.insert("tls".to_owned(), tls.into());
            })
        } else if name == "encryption_type" && (value == "none" || value.is_null()) {
            Ok(())
        } else {
            match of.properties.iter().find(|property| property.name == ours) {
                None => Err("there is no such property".to_owned()),
                Some(property) => typed(value, property.kind).map(|value| {
                    settings.insert(ours.to_owned(), value.unwrap_or_default());
                }),
            }
        };
        if let Err(why) = taken {
            bad.push((name.clone(), why));
        }
    }
    if bad.is_empty() { Ok(settings) } else { Err(bad_properties(&bad)) }
}

/// One property of a form (`stitch-behaviour.md` 9.5).
fn property(
    name: &str,
    kind: &str,
    (required, credential): (bool, bool),
    who: &str,
    provided: bool,
) -> Value {
    let mut schema = match kind {
        "date-time" => json!({ "type": "string", "format": "date-time" }),
        kind => json!({ "type": kind }),
    };
    match name {
        "start_date" => schema["pattern"] = r"^\d{4}-\d{2}-\d{2}T00:00:00Z$".into(),
        "frequency_in_minutes" => schema["pattern"] = r"^[1-9]\d*$".into(),
        _ => {}
    }
    json!({
        "name": name,
        "is_required": required,
        "is_credential": credential,
        "system_provided": who == "read_only",
        "property_type": who,
        "json_schema": schema,
        "provided": provided,
        "tap_mutable": false,
    })
}

/// The properties of a source's form, with what of them is provided.
pub(super) fn of_source(of: &Type, provided: impl Fn(&str) -> bool) -> Vec<Value> {
    let mut all = vec![property(VERSION, "string", (false, false), "read_only", true)];
    all.extend(SCHEDULE.iter().map(|name| {
        let kind = if *name == "anchor_time" { "date-time" } else { "string" };
        property(name, kind, (false, false), "user_provided", provided(name))
    }));
    all.extend(of.properties.iter().map(|known| {
        // Stitch has a start date in every form; without one it is a year back here.
        let plain = known.required || known.name == "start_date";
        let who = if plain { "user_provided" } else { "user_provided_advanced" };
        let flags = (known.required, known.credential);
        property(known.name, known.kind, flags, who, provided(known.name))
    }));
    all
}

/// The properties of a destination's form.
pub(super) fn of_destination(of: &Type, part: Option<&Part>) -> Vec<Value> {
    let provided = |name: &str| {
        part.is_some_and(|part| {
            part.settings.contains_key(name) || part.secrets.iter().any(|secret| secret == name)
        })
    };
    let theirs = |name: &'static str| {
        let found = POSTGRES.iter().find(|(_, ours)| of.name == "postgres" && *ours == name);
        found.map_or(name, |(theirs, _)| *theirs)
    };
    let all = of.properties.iter().map(|known| {
        let who = if known.required { "user_provided" } else { "user_provided_advanced" };
        let flags = (known.required, known.credential);
        property(theirs(known.name), known.kind, flags, who, provided(known.name))
    });
    all.collect()
}

/// A source's properties as Stitch shows them: no credentials.
pub(super) fn shown_source(settings: &Map<String, Value>, schedule: &Map<String, Value>) -> Value {
    let mut shown = settings.clone();
    shown.insert(VERSION.to_owned(), env!("CARGO_PKG_VERSION").into());
    for (theirs, ours) in [
        ("frequency_in_minutes", "frequency_minutes"),
        ("anchor_time", "anchor"),
        ("cron_expression", "cron"),
    ] {
        let value = schedule.get(ours).map(|value| match value {
            Value::Number(n) => n.to_string().into(),
            other => other.clone(),
        });
        shown.insert(theirs.to_owned(), value.unwrap_or_default());
    }
    shown.into()
}

/// A destination's properties as Stitch shows them.
pub(super) fn shown_destination(part: &Part) -> Value {
    let mut shown = Map::new();
    for (ours, value) in &part.settings {
        let found = POSTGRES.iter().find(|(_, known)| part.kind == "postgres" && known == ours);
        shown.insert(found.map_or(ours.as_str(), |(theirs, _)| *theirs).to_owned(), value.clone());
    }
    shown.into()
}
