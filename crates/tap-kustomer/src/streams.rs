//! The nine streams: where each is read from, and what its records hold.
//!
//! One table ([`resources`]) that everything else reads; the fields of each family stand in its
//! own file below. Fields are those of `kustomer-api.md` 11, under the names the singer-io tap
//! gave them, so that a table loaded by it can be taken over. How a document becomes a record is
//! [`crate::shape`]'s matter.

mod conversations;
mod customers;
mod field;
mod kobjects;
mod lists;
mod messages;
mod notes;

use bobbin_core::catalog::Stream;
use bobbin_core::schema::{Kind, Object, Schema};

use crate::metadata::CustomAttributes;
use crate::shape::name;

/// A kind of object at Kustomer and the stream it becomes.
#[derive(Debug)]
pub struct Resource {
    /// The stream's name.
    pub name: &'static str,
    /// How it is read.
    pub reading: Reading,
    /// Roles of which any one allows reading it, for messages (`kustomer-api.md` 1.4).
    pub roles: &'static [&'static str],
    /// Its links to other objects.
    pub relationships: &'static [Relationship],
    /// The metadata resource that describes its custom attributes, if it has any. For `kobject`
    /// it is one per klass, `kobject.{klass}`.
    pub metadata: Option<&'static str>,
    /// What the stream is, in a sentence.
    pub description: &'static str,
    /// The attributes.
    fields: fn() -> Vec<field::Field>,
}

/// How a stream is read.
#[derive(Debug)]
pub enum Reading {
    /// `POST /v1/customers/search` in windows of `updated_at`.
    Search {
        /// The `queryContext`, for example `customer`.
        context: &'static str,
        /// Where records older than two years are.
        archive: Archive,
    },
    /// A list that is read whole.
    List {
        /// The path, for example `/v1/users`.
        path: &'static str,
        /// Largest page.
        page_size: u32,
        /// Queries to repeat the list with to see everything, for example `deleted=true`.
        variants: &'static [&'static str],
    },
}

/// Whether a stream has an archive search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Archive {
    /// `POST /v1/customers/archive/search`.
    Search,
    /// There is none (notes).
    None,
}

/// A link from one object to others, as `relationships.{name}` holds it.
#[derive(Clone, Copy, Debug)]
pub struct Relationship {
    /// Its name at Kustomer.
    pub name: &'static str,
    /// Whether it links to several objects.
    pub many: bool,
}

const fn one(name: &'static str) -> Relationship {
    Relationship { name, many: false }
}

const fn many(name: &'static str) -> Relationship {
    Relationship { name, many: true }
}

/// Roles that allow searching; every searched stream needs one besides its own.
pub const SEARCH_ROLES: &[&str] = &[
    "org.permission.search.create",
    "org.permission.search.update",
    "org.permission.search_global.create",
    "org.permission.search_preview.create",
    "org.user.search.read",
    "org.admin.search.read",
];

static RESOURCES: [Resource; 9] = [
    Resource {
        name: "users",
        reading: Reading::List { path: "/v1/users", page_size: 500, variants: &["deleted=true"] },
        roles: &["org.permission.user.read", "org.user.user.read", "org.user.read"],
        relationships: &[one("org"), one("createdBy"), one("modifiedBy")],
        metadata: Some("user"),
        description: "People and machines that work in the organisation, also former ones.",
        fields: lists::users,
    },
    Resource {
        name: "teams",
        reading: Reading::List { path: "/v1/teams", page_size: 500, variants: &["deleted=true"] },
        roles: &["org.permission.team.read", "org.user.team.read", "org.user.read"],
        relationships: &[one("org"), one("createdBy"), one("modifiedBy"), one("deletedBy")],
        metadata: None,
        description: "Groups of users that conversations are assigned to.",
        fields: lists::teams,
    },
    Resource {
        name: "tags",
        reading: Reading::List { path: "/v1/tags", page_size: 100, variants: &["deleted=true"] },
        roles: &["org.permission.tag.read", "org.user.tag.read"],
        relationships: &[one("org"), one("createdBy"), one("modifiedBy"), one("deletedBy")],
        metadata: None,
        description: "Labels for conversations, customers and messages.",
        fields: lists::tags,
    },
    Resource {
        name: "shortcuts",
        reading: Reading::List {
            path: "/v1/shortcuts",
            page_size: 100,
            variants: &["deleted=true"],
        },
        roles: &["org.permission.shortcut.read", "org.user.shortcut.read"],
        relationships: &[
            one("org"),
            one("createdBy"),
            one("modifiedBy"),
            one("parent"),
            many("accessUsers"),
            many("accessTeams"),
            many("attachments"),
        ],
        metadata: None,
        description: "Prepared answers and the changes they make to a conversation.",
        fields: lists::shortcuts,
    },
    Resource {
        name: "customers",
        reading: Reading::Search { context: "customer", archive: Archive::Search },
        roles: &["org.permission.customer.read", "org.user.customer.read"],
        relationships: &[one("org"), one("company"), one("createdBy"), one("modifiedBy")],
        metadata: Some("customer"),
        description: "People who wrote to the organisation, with their contact data.",
        fields: customers::fields,
    },
    Resource {
        name: "conversations",
        reading: Reading::Search { context: "conversation", archive: Archive::Search },
        roles: &["org.permission.conversation.read", "org.user.conversation.read"],
        relationships: &[
            one("org"),
            one("customer"),
            one("brand"),
            one("createdBy"),
            one("modifiedBy"),
            one("endedBy"),
            one("pinnedBy"),
            one("sla"),
            one("slaVersion"),
            one("queue"),
            one("subStatus"),
        ],
        metadata: Some("conversation"),
        description: "Threads of messages with one customer, with status, assignment and times.",
        fields: conversations::fields,
    },
    Resource {
        name: "messages",
        reading: Reading::Search { context: "message", archive: Archive::Search },
        roles: &["org.permission.message.read", "org.user.message.read"],
        relationships: &[
            one("org"),
            one("customer"),
            one("conversation"),
            one("createdBy"),
            one("modifiedBy"),
            many("shortcuts"),
            many("attachments"),
        ],
        metadata: Some("message"),
        description: "Single messages of conversations, in and out, on any channel.",
        fields: messages::fields,
    },
    Resource {
        name: "notes",
        reading: Reading::Search { context: "note", archive: Archive::None },
        roles: &["org.permission.note.read", "org.user.note.read"],
        relationships: &[
            one("org"),
            one("customer"),
            one("conversation"),
            one("createdBy"),
            one("modifiedBy"),
            one("deletedBy"),
            many("userMentions"),
            many("teamMentions"),
        ],
        metadata: Some("note"),
        description: "Internal remarks of users on conversations.",
        fields: notes::fields,
    },
    Resource {
        name: "kobjects",
        reading: Reading::Search { context: "kobject", archive: Archive::Search },
        roles: &["org.permission.kobject.read", "org.user.kobject.read"],
        relationships: &[one("org"), one("klass"), one("customer"), one("company"), one("queue")],
        metadata: Some("kobject"),
        description: "Objects of the organisation's own classes, such as orders.",
        fields: kobjects::fields,
    },
];

/// All streams in the order they are extracted: small lists first, so that what others point to
/// is there when they arrive.
pub fn resources() -> &'static [Resource] {
    &RESOURCES
}

/// The resource of a stream.
pub fn resource(name: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| resource.name == name)
}

/// The stream a resource becomes, with the custom attributes known for it.
pub fn stream(resource: &Resource, custom: &CustomAttributes) -> Stream {
    let mut properties: Vec<(String, Schema)> = vec![
        ("id".into(), Schema::of(Kind::Text).required().describe("Kustomer's id of the record")),
        ("type".into(), Schema::of(Kind::Text).describe("Kind of object, in Kustomer's words")),
    ];
    properties.extend((resource.fields)().into_iter().map(field::Field::into_property));
    if let Some(metadata) = resource.metadata {
        properties.push(("custom".into(), custom.schema(metadata)));
    }
    for (relationship, columns) in reference_columns(resource) {
        properties.push((columns.value, reference_schema(relationship.many)));
        if let Some(key) = columns.key {
            properties.push((key, key_schema(relationship.many)));
        }
    }
    properties.push((
        "links".into(),
        field::object("links", vec![field::text("self"), field::text("related")])
            .about("Paths of the record in Kustomer's API")
            .into_property()
            .1,
    ));
    Stream {
        name: resource.name.into(),
        fields: Object { properties, open: true },
        key: vec!["id".into()],
        replication_key: Some("updated_at".into()),
        version_fields: vec!["rev".into(), "updated_at".into()],
        description: Some(resource.description.into()),
    }
}

/// Adds a field that was met in the data to a stream, at a dotted path below declared objects or
/// arrays of objects. True when the stream changed.
pub fn grow(stream: &mut Stream, path: &str, schema: Schema) -> bool {
    grow_object(&mut stream.fields, path, schema)
}

fn grow_object(object: &mut Object, path: &str, schema: Schema) -> bool {
    if let Some((first, rest)) = path.split_once('.')
        && let Some((_, declared)) = object.properties.iter_mut().find(|(name, _)| name == first)
    {
        let inner = match &mut declared.kind {
            Kind::Object(inner) => Some(inner),
            Kind::Array(items) => match &mut items.kind {
                Kind::Object(inner) => Some(inner),
                _ => None,
            },
            _ => None,
        };
        if let Some(inner) = inner {
            return grow_object(inner, rest, schema);
        }
    }
    if object.property(path).is_some() {
        return false;
    }
    object.properties.push((path.to_owned(), schema));
    true
}

/// The columns a declared relationship becomes beside its stream's attributes.
pub(crate) struct DeclaredColumns {
    /// The `{id, type}` object, or the array of them.
    pub(crate) value: String,
    /// The bare id or ids, unless an attribute has that name.
    pub(crate) key: Option<String>,
}

/// The columns of each declared relationship.
pub(crate) fn reference_columns(
    resource: &Resource,
) -> Vec<(&'static Relationship, DeclaredColumns)> {
    let attributes = (resource.fields)();
    let taken = |name: &str| attributes.iter().any(|attribute| attribute.name() == name);
    let columns = |relationship: &'static Relationship| {
        let columns = ReferenceColumns::of(relationship.name, relationship.many);
        let value = if taken(&columns.value) { columns.clashing() } else { columns.value.clone() };
        let key = Some(columns.key).filter(|key| !taken(key));
        (relationship, DeclaredColumns { value, key })
    };
    resource.relationships.iter().map(columns).collect()
}

/// The columns a relationship becomes.
pub(crate) struct ReferenceColumns {
    /// The `{id, type}` object, or the array of them.
    pub(crate) value: String,
    /// The bare id or ids.
    pub(crate) key: String,
}

impl ReferenceColumns {
    /// `createdBy` is `created_by` and `created_by_id`; `userMentions` is `user_mentions` and
    /// `user_mention_ids`.
    pub(crate) fn of(name: &str, many: bool) -> Self {
        let value = name::snake(name);
        let key = if many {
            format!("{}_ids", value.strip_suffix('s').unwrap_or(&value))
        } else {
            format!("{value}_id")
        };
        Self { value, key }
    }

    /// The object's column where an attribute has its name: `sla_data`, as the singer-io tap
    /// calls it.
    pub(crate) fn clashing(&self) -> String {
        format!("{}_data", self.value)
    }
}

/// The schema of a relationship's `{id, type}` object or objects.
pub(crate) fn reference_schema(many: bool) -> Schema {
    let reference = Schema::of(Kind::Object(Object {
        properties: vec![
            ("id".into(), Schema::of(Kind::Text)),
            ("type".into(), Schema::of(Kind::Text)),
        ],
        open: true,
    }));
    if many { Schema::array(reference) } else { reference }
}

/// The schema of a relationship's bare id or ids.
pub(crate) fn key_schema(many: bool) -> Schema {
    let key = Schema::of(Kind::Text);
    if many { Schema::array(key) } else { key }
}
