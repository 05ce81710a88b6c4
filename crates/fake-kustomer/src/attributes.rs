//! What can be searched for: the published attributes and where records keep their values.

use serde_json::Value;

/// Names Kustomer publishes, per object; `archive` names are taken by the archive search only.
const CUSTOMER: &str = "any_text name gender presence email shared_email phone shared_phone urls \
    address locale activity_at last_seen_at signed_up_at last_message_sent_at \
    last_message_out_sent_at last_message_unresponded_to_sent_at last_message_at externalId \
    shared_externalId created_at updated_at modified_at created_by modified_by \
    satisfaction_avg_score satisfaction_avg_rating conversations_count status progressive_status \
    active_users watchers tags sentiment social_type social_userid social_username \
    shared_social_type shared_social_userid shared_social_username default_lang imported_at imported";
const COMPANY: &str = "any_text name tags default_lang imported_at imported updated_at created_at";
const MESSAGE: &str = "any_text body channel size direction sent_at created_at updated_at \
    created_by modified_by sentiment customer_id status error_at error_title external_id \
    direction_type created_by_teams redacted redacted_at imported_at imported recipients sender \
    shortcuts subject source attachment_count auto lang";
const NOTE: &str = "any_text body created_at modified_at updated_at created_by modified_by deleted \
    user_mentions team_mentions attachment_count external_id customer_id conversation_id lang \
    imported_at imported";
const CONVERSATION: &str = "any_text name sentiment status sub_status created_at updated_at \
    modified_at modified_by message_count note_count satisfaction_survey_id satisfaction_sent_by \
    satisfaction_sent_by_teams satisfaction_created_at satisfaction_score satisfaction_rating \
    satisfaction_status channels satisfaction priority tags assigned_users assigned_teams \
    last_message_sent_at last_message_out_sent_at last_message_unresponded_to_sent_at \
    last_message_at first_response_sent_at first_response_time first_response_created_by \
    last_response_created_by last_message_direction direction outbound_message_count customer_id \
    campaign_id first_message_in_sent_at first_message_in_direction_type first_message_in_channel \
    first_message_out_sent_at first_message_out_direction_type first_message_out_channel \
    default_lang sla_status sla_version_id sla_id sla_breached sla_breach_at sla_satisfied_at \
    sla_breach_metric first_done_created_by last_done_created_at last_done_created_by \
    last_done_created_by_teams reply_channel queue external_queue ended ended_at ended_reason \
    imported_at imported";
const KOBJECT: &str = "any_text created_at updated_at imported_at imported";

const ARCHIVE: [(&str, &str); 5] = [
    ("conversation", "id created_at updated_at customer_id any_text deleted"),
    ("customer", "id companyId created_at updated_at deleted any_text_new"),
    ("message", "id created_at updated_at conversation_id any_text"),
    ("kobject", "id created_at updated_at customer_id company_id any_text"),
    ("company", "created_at updated_at"),
];

const OBJECTS: [(&str, &str); 6] = [
    ("customer", CUSTOMER),
    ("company", COMPANY),
    ("message", MESSAGE),
    ("note", NOTE),
    ("conversation", CONVERSATION),
    ("kobject", KOBJECT),
];

/// Which names a search takes.
#[derive(Clone, Copy)]
pub(crate) struct Vocabulary<'a> {
    pub(crate) archive: bool,
    pub(crate) ids: bool,
    pub(crate) klass_forms: bool,
    pub(crate) klasses: &'a [crate::world::Klass],
}

/// A criterion's left side, understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attribute {
    /// `customer`, `conversation`, and so on.
    pub(crate) object: &'static str,
    /// The class, when the name has one.
    pub(crate) klass: Option<String>,
    /// The rest: `updated_at`, `custom_fooStr`.
    pub(crate) name: String,
}

impl Attribute {
    /// Reads `conversation_updated_at` and the like.
    pub(crate) fn parse(text: &str, vocabulary: Vocabulary<'_>) -> Option<Self> {
        let (object, published) = OBJECTS.into_iter().find(|(object, _)| {
            text.strip_prefix(object).is_some_and(|rest| rest.starts_with('_'))
        })?;
        let rest = &text[object.len() + 1..];
        if rest.starts_with("time_") {
            return None;
        }
        if object == "kobject" {
            let custom = rest.strip_prefix("custom_");
            for klass in vocabulary.klasses {
                let after = |text: &str| {
                    text.strip_prefix(&*klass.name)?.strip_prefix('_').map(str::to_owned)
                };
                if let Some(name) = custom.and_then(after) {
                    let name = format!("custom_{name}");
                    return Some(Self { object, klass: Some(klass.name.clone()), name });
                }
                if let Some(name) = after(rest)
                    && (vocabulary.archive || vocabulary.klass_forms)
                    && (known(object, KOBJECT, &name, vocabulary)
                        || matches!(&*name, "customer_id" | "company_id" | "id"))
                {
                    return Some(Self { object, klass: Some(klass.name.clone()), name });
                }
            }
        }
        let fits = rest.strip_prefix("custom_").is_some_and(|name| !name.is_empty())
            || known(object, published, rest, vocabulary);
        fits.then(|| Self { object, klass: None, name: rest.to_owned() })
    }
}

fn known(object: &str, published: &str, name: &str, vocabulary: Vocabulary<'_>) -> bool {
    let listed = |list: &str| list.split_whitespace().any(|known| known == name);
    if vocabulary.archive {
        return ARCHIVE.iter().any(|(of, list)| *of == object && listed(list));
    }
    listed(published) || (name == "id" && vocabulary.ids)
}

/// The values a record holds under a search name.
pub(crate) fn values(record: &Value, name: &str) -> Vec<Value> {
    let attributes = &record["attributes"];
    let related = |relation: &str| vec![record["relationships"][relation]["data"]["id"].clone()];
    let each = |list: &str, member: &str| -> Vec<Value> {
        let items = attributes[list].as_array();
        items.into_iter().flatten().map(|item| item[member].clone()).collect()
    };
    let inside = |object: &str, rest: &str| vec![attributes[object][camel(rest)].clone()];
    let found = match name {
        "id" => vec![record["id"].clone()],
        "customer_id" => related("customer"),
        "conversation_id" => related("conversation"),
        "company_id" | "companyId" => related("company"),
        "created_by" => related("createdBy"),
        "modified_by" => related("modifiedBy"),
        "queue" => related("queue"),
        "sla_id" => related("sla"),
        "sla_version_id" => related("slaVersion"),
        "email" => each("emails", "email"),
        "phone" => each("phones", "phone"),
        "address" => each("locations", "address"),
        "urls" => each("urls", "url"),
        "social_type" => each("socials", "type"),
        "social_userid" => each("socials", "userid"),
        "social_username" => each("socials", "username"),
        "externalId" | "external_id" => vec![attributes["externalId"].clone()],
        "activity_at" => vec![attributes["lastActivityAt"].clone()],
        "any_text" | "any_text_new" => vec![Value::from(attributes.to_string())],
        "body" if attributes.get("body").is_none() => vec![attributes["preview"].clone()],
        "imported" => vec![Value::from(!attributes["importedAt"].is_null())],
        "conversations_count" => vec![attributes["conversationCounts"]["all"].clone()],
        "satisfaction" => vec![attributes["satisfaction"].clone()],
        _ => {
            if let Some(custom) = name.strip_prefix("custom_") {
                vec![attributes["custom"][custom].clone()]
            } else if let Some(rest) = name.strip_prefix("satisfaction_") {
                inside("satisfactionLevel", rest)
            } else if let Some(rest) = name.strip_prefix("sla_") {
                inside("sla", rest)
            } else if let Some(rest) = name.strip_prefix("first_response_") {
                inside("firstResponse", rest)
            } else if let Some(rest) = name.strip_prefix("first_message_in_") {
                inside("firstMessageIn", rest)
            } else if let Some(rest) = name.strip_prefix("first_message_out_") {
                inside("firstMessageOut", rest)
            } else if let Some(rest) = name.strip_prefix("last_done_") {
                inside("lastDone", rest)
            } else {
                vec![attributes[camel(name)].clone()]
            }
        }
    };
    let mut flat = Vec::new();
    for value in found {
        match value {
            Value::Array(items) => flat.extend(items),
            Value::Null => {}
            value => flat.push(value),
        }
    }
    flat
}

/// `last_seen_at` as `lastSeenAt`.
fn camel(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        if letter == '_' {
            upper = true;
        } else if upper {
            text.extend(letter.to_uppercase());
            upper = false;
        } else {
            text.push(letter);
        }
    }
    text
}
