//! Custom attributes: what an organisation added to Kustomer's objects, asked from
//! `/v1/metadata/{resource}` (`kustomer-api.md` 9), so that their columns exist with the right
//! type before the first value comes.

use std::collections::{BTreeMap, BTreeSet};

use bobbin_core::Result;
use bobbin_core::report::{Event, Level};
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_core::tap::Context;
use serde_json::{Map, Value};

use crate::http::{Client, Got};
use crate::shape::{infer, name};
use crate::together::together;

/// Custom attributes by metadata resource (`customer`, `conversation`, …; `kobject` holds those
/// of all classes).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CustomAttributes {
    resources: BTreeMap<String, BTreeMap<String, Schema>>,
}

/// Resources with custom attributes besides the classes.
const RESOURCES: [&str; 5] = ["customer", "conversation", "message", "note", "user"];

/// The states a class may be in; a list without one leaves out all but the first.
const CLASS_STATUSES: [&str; 3] = ["enabled", "disabled", "existing_only"];

/// Asks Kustomer for the custom attributes of all objects and classes. What may not be read is
/// told in one notice; its types then come from name suffixes and data.
///
/// # Errors
/// When the API cannot be reached or does not accept the key.
pub fn fetch_custom(client: &Client, cx: &Context<'_>) -> Result<CustomAttributes> {
    let (custom, unreadable) = fetch(|path| client.get_json(cx, path))?;
    if !unreadable.is_empty() {
        let shown = unreadable.len().min(6);
        let more = match unreadable.len() - shown {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        cx.log.event(Event::Notice {
            level: Level::Warn,
            stream: None,
            message: format!(
                "definitions of custom attributes cannot be read ({}{more}): columns appear when \
                 their first value comes; grant the key org.permission.metadata.read and \
                 org.permission.klass.read to have them from the start",
                unreadable[..shown].join(", ")
            ),
        });
    }
    Ok(custom)
}

/// The attributes, and the resources that could not be read.
fn fetch(get: impl Fn(&str) -> Result<Got> + Sync) -> Result<(CustomAttributes, Vec<String>)> {
    let mut custom = CustomAttributes::default();
    let mut unreadable = Vec::new();
    // The definitions of resources and the lists of classes wait for nothing; those of the
    // classes for the lists.
    enum Ask {
        Properties(&'static str),
        Classes(&'static str),
    }
    enum Answer {
        Properties(&'static str, Option<Map<String, Value>>),
        Classes(&'static str, BTreeSet<String>, bool),
    }
    let first: Vec<Ask> = RESOURCES
        .map(Ask::Properties)
        .into_iter()
        .chain(CLASS_STATUSES.map(Ask::Classes))
        .collect();
    let answers = together(&first, |ask| {
        Ok(match ask {
            Ask::Properties(resource) => Answer::Properties(resource, properties(&get, resource)?),
            Ask::Classes(status) => {
                let (names, whole) = classes(&get, status)?;
                Answer::Classes(status, names, whole)
            }
        })
    })?;
    let mut names = BTreeSet::new();
    for answer in answers {
        match answer {
            Answer::Properties(resource, Some(definitions)) => custom.add(resource, &definitions),
            Answer::Properties(resource, None) => unreadable.push(resource.to_owned()),
            Answer::Classes(status, some, whole) => {
                names.extend(some);
                if !whole {
                    unreadable.push(format!("klasses {status}"));
                }
            }
        }
    }
    let resources: Vec<String> =
        names.into_iter().map(|class| format!("kobject.{class}")).collect();
    let definitions = together(&resources, |resource| properties(&get, resource))?;
    for (resource, definitions) in resources.into_iter().zip(definitions) {
        match definitions {
            Some(definitions) => custom.add("kobject", &definitions),
            None => unreadable.push(resource),
        }
    }
    Ok((custom, unreadable))
}

fn properties(
    get: &impl Fn(&str) -> Result<Got>,
    resource: &str,
) -> Result<Option<Map<String, Value>>> {
    match get(&format!("/v1/metadata/{}", encode(resource)))? {
        Got::Refused(_) => Ok(None),
        Got::Json(mut answer) => {
            match answer.pointer_mut("/data/attributes/properties").map(Value::take) {
                Some(Value::Object(properties)) => Ok(Some(properties)),
                // An organisation without custom attributes.
                _ => Ok(Some(Map::new())),
            }
        }
    }
}

/// Names of the classes in one state, and whether all pages could be read.
fn classes(get: &impl Fn(&str) -> Result<Got>, status: &str) -> Result<(BTreeSet<String>, bool)> {
    const PAGE_SIZE: usize = 100;
    let mut names = BTreeSet::new();
    for page in 1.. {
        let path = format!("/v1/klasses?status={status}&page={page}&pageSize={PAGE_SIZE}");
        let Got::Json(answer) = get(&path)? else { return Ok((names, false)) };
        let records = answer["data"].as_array().map_or(&[][..], Vec::as_slice);
        let before = names.len();
        names.extend(
            records
                .iter()
                .filter_map(|class| class["attributes"]["name"].as_str())
                .map(str::to_owned),
        );
        // The last page is short; a server that ignores `page` brings nothing new.
        if records.len() < PAGE_SIZE || names.len() == before {
            break;
        }
    }
    Ok((names, true))
}

/// Percent-encodes a path segment.
fn encode(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

impl CustomAttributes {
    /// Adds a resource's definitions, as `data.attributes.properties` holds them. Deleted ones
    /// stay: old records still have values. Classes may disagree about a name; then anything goes.
    pub fn add(&mut self, resource: &str, definitions: &Map<String, Value>) {
        let attributes = self.resources.entry(resource.to_owned()).or_default();
        for (key, definition) in definitions {
            let schema = schema_of(key, definition);
            attributes
                .entry(key.clone())
                .and_modify(|known| {
                    if known.kind != schema.kind {
                        known.kind = Kind::Any;
                    }
                })
                .or_insert(schema);
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.resources.values().all(BTreeMap::is_empty)
    }

    /// The schema of a resource's `custom` object. A key whose plain snake_case name another key
    /// has a better claim to gets a name with a hash ([`name::distinct`]).
    pub(crate) fn schema(&self, resource: &str) -> Schema {
        let mut object = Object { properties: Vec::new(), open: true };
        let Some(attributes) = self.resources.get(resource) else {
            return described(Schema::of(Kind::Object(object)));
        };
        let mut plain: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for key in attributes.keys() {
            plain.entry(name::snake(key)).or_default().push(key);
        }
        for (key, schema) in attributes {
            let snake = name::snake(key);
            let alone = plain[&snake].len() == 1;
            let name =
                if alone || name::is_canonical(key) { snake } else { name::distinct(&snake, key) };
            if object.property(&name).is_none() {
                object.properties.push((name, schema.clone()));
            }
        }
        described(Schema::of(Kind::Object(object)))
    }
}

fn described(schema: Schema) -> Schema {
    schema.describe("Attributes the organisation added")
}

/// The schema of one definition: by the name's suffix, which Kustomer enforces, else by `type`.
fn schema_of(key: &str, definition: &Value) -> Schema {
    let kind = infer::by_suffix(key).unwrap_or_else(|| match definition["type"].as_str() {
        Some("string" | "tree" | "text" | "uri") => Kind::Text,
        Some("number" | "integer") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        Some("date-time" | "date") => Kind::DateTime,
        _ => Kind::Any,
    });
    let multi =
        definition["multi"] == Value::Bool(true) || definition["array"] == Value::Bool(true);
    let schema = Schema::of(kind);
    let schema = if multi { Schema::array(schema) } else { schema };
    let label = definition["displayName"].as_str();
    let text = infer::mark(label, key);
    let deleted = definition["deletedAt"].is_string();
    schema.describe(if deleted { format!("Deleted: {text}") } else { text })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;

    fn definitions() -> Value {
        serde_json::from_str(include_str!("../tests/documents/metadata.json")).unwrap()
    }

    fn described(custom: &CustomAttributes, resource: &str) -> String {
        let schema = custom.schema(resource);
        let fields = schema.object().unwrap().properties.iter().map(|(name, schema)| {
            format!("{name} {:?} {}", schema.kind, schema.description.as_deref().unwrap())
        });
        fields.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn definitions_become_columns() {
        let (custom, unreadable) = fetch(|path| {
            Ok(match path {
                "/v1/metadata/conversation" => Got::Json(definitions()),
                path if path.starts_with("/v1/klasses") => Got::Json(json!({"data": []})),
                _ => Got::Json(json!({"data": {"attributes": {}}})),
            })
        })
        .unwrap();
        assert!(unreadable.is_empty() && !custom.is_empty());
        insta::assert_snapshot!(described(&custom, "conversation"), @r#"
        contact_reason_tree Text Contact reason (contactReasonTree)
        old_flag_bool Boolean Deleted: Old flag (oldFlagBool)
        order_number_str Text Order number (orderNumberStr)
        refund_reason_str Array(Schema { kind: Text, required: false, description: None }) Refund reason (refundReasonStr)
        related_orders_id Array(Schema { kind: Text, required: false, description: None }) Related orders (relatedOrdersId)
        "#);
        assert!(custom.schema("customer").object().unwrap().is_map());
    }

    #[test]
    fn types_come_from_suffixes_then_from_the_definition() {
        let mut custom = CustomAttributes::default();
        let odd = json!({
            "aXyz": {"type": "number"}, "bXyz": {"type": "who knows"}, "cXyz": null,
            "dNum": {"type": "string"}, "eBool": {"array": true, "displayName": " "},
            "sameIDStr": {}, "sameIdStr": {}, "URLStr": {"displayName": "Web (address)"},
            "twiceNum": {},
        });
        custom.add("kobject", odd.as_object().unwrap());
        custom.add("kobject", json!({"twiceNum": {"multi": true}}).as_object().unwrap());
        insta::assert_snapshot!(described(&custom, "kobject"), @r#"
        url_str Text Web (address) (URLStr)
        a_xyz Number (aXyz)
        b_xyz Any (bXyz)
        c_xyz Any (cXyz)
        d_num Number (dNum)
        e_bool Array(Schema { kind: Boolean, required: false, description: None }) (eBool)
        same_id_str_dabd37 Text (sameIDStr)
        same_id_str Text (sameIdStr)
        twice_num Any (twiceNum)
        "#);
    }

    #[test]
    fn classes_in_every_state_and_on_every_page_are_asked() {
        let asked = Mutex::new(Vec::new());
        let class = |n: usize| json!({"attributes": {"name": format!("class/{n:03}")}});
        let (custom, unreadable) = fetch(|path| {
            asked.lock().unwrap().push(path.to_owned());
            Ok(match path.split_once("?status=") {
                Some((_, "enabled&page=1&pageSize=100")) => {
                    Got::Json(json!({"data": (0..100).map(class).collect::<Vec<_>>()}))
                }
                Some((_, "enabled&page=2&pageSize=100")) => {
                    Got::Json(json!({"data": [class(100)]}))
                }
                Some((_, query)) if query.starts_with("disabled") => {
                    Got::Json(json!({"data": [class(101), class(3)]}))
                }
                Some(_) => Got::Refused(400),
                None if path.ends_with("class%2F101") => Got::Json(definitions()),
                None => Got::Refused(403),
            })
        })
        .unwrap();
        let asked = asked.into_inner().unwrap();
        assert_eq!(asked.iter().filter(|path| path.contains("/kobject.class%2F")).count(), 102);
        assert_eq!(asked.iter().filter(|path| path.contains("klasses")).count(), 4);
        assert_eq!(unreadable.len(), 5 + 1 + 101);
        assert_eq!(custom.schema("kobject").object().unwrap().properties.len(), 5);
    }
}
