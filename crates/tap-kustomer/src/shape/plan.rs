//! What is known about each key of each object: its field's name and what to do with its value.
//! Worked out when a key is met for the first time, then kept.

use bobbin_core::catalog::Stream;
use bobbin_core::json::Text;
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_core::selection::{Selection, Treated};
use rustc_hash::FxHashMap;

use super::{infer, name};
use crate::streams::{self, ReferenceColumns, Resource};

/// The node of the document itself.
pub(super) const DOCUMENT: usize = 0;
/// The node of its `attributes`.
pub(super) const ATTRIBUTES: usize = 1;
/// The node of its `relationships`.
pub(super) const RELATIONSHIPS: usize = 2;

/// No member.
pub(super) const NONE: u32 = u32::MAX;

/// Everything learned about one stream's documents.
pub(super) struct Plan {
    /// One node per structure.
    pub(super) nodes: Vec<Node>,
    /// Fields met that are not in the schema.
    pub(super) discovered: Vec<(String, Schema)>,
    /// Working memory of [`super::walk::value`]: keys seen per level.
    pub(super) levels: Vec<[u64; 4]>,
    /// Who owns each name at the top of the record, where three objects of the document meet.
    columns: Names,
    treated: Treated,
    links: FxHashMap<(u32, bool), Link>,
    /// Relationships that are declared, by key: whether they link to many.
    many: FxHashMap<&'static str, bool>,
}

/// Names in use and the key each belongs to.
type Names = FxHashMap<String, (Part, String)>;

/// Which part of the document a name comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Document,
    Attributes,
    Relationships,
    /// The bare id of a relationship.
    Keys,
    /// A structure below the top.
    Nested,
}

/// One structure of the document.
pub(super) struct Node {
    path: String,
    part: Part,
    declared: Object,
    custom: bool,
    reference: bool,
    names: Names,
    index: FxHashMap<Box<str>, u32>,
    /// The keys met so far.
    pub(super) members: Vec<Member>,
    /// The member that came first the last time.
    pub(super) first: u32,
    /// Counts visits, so that a key that stands twice in one of them is noticed.
    pub(super) visit: u64,
}

/// One key of a structure.
pub(super) struct Member {
    /// The key, decoded.
    key: Box<str>,
    /// The field's name.
    name: Box<str>,
    /// `"key":`, as it most likely stands in the text.
    pub(super) quoted: Box<[u8]>,
    /// `,"name":`, to be written before the value.
    pub(super) out: Box<[u8]>,
    /// What to do with the value.
    pub(super) action: Action,
    /// Whether the value is wanted for more than the line.
    pub(super) capture: Capture,
    /// True until the schema knows the field.
    pub(super) unknown: bool,
    /// The member that followed it the last time.
    pub(super) next: u32,
    /// The visit it was last met in.
    pub(super) seen: u64,
}

/// What to do with a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Write it as it stands.
    Copy,
    /// Check it and leave it out.
    Drop,
    /// An object with keys to rename, by node.
    Structure(usize),
    /// An array of such objects.
    List(usize),
    /// The attributes, whose fields go to the top.
    Attributes,
    /// The relationships.
    Relationships,
    /// One relationship.
    Reference,
}

/// What else a value is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Capture {
    Nothing,
    Id,
    UpdatedAt,
    Rev,
    /// The id of the object a relationship points to.
    Target,
}

/// How a relationship's data is written.
pub(super) struct Link {
    /// `,"x":`, unless left out.
    pub(super) value: Option<Box<[u8]>>,
    /// `,"x_id":`, unless left out or taken by an attribute.
    pub(super) key: Option<Box<[u8]>>,
    /// The node of `{type, id}`.
    pub(super) node: usize,
    /// Working memory for several ids.
    pub(super) keys: Vec<u8>,
    /// Fields to announce.
    unknown: Vec<(String, Schema)>,
}

impl Plan {
    pub(super) fn new(stream: &Stream, resource: &'static Resource, selection: &Selection) -> Self {
        let mut plan = Self {
            nodes: Vec::new(),
            discovered: Vec::new(),
            levels: vec![[0; 4]; bobbin_core::json::MAX_DEPTH as usize + 1],
            columns: Names::default(),
            treated: selection.of(stream),
            links: FxHashMap::default(),
            many: resource.relationships.iter().map(|link| (link.name, link.many)).collect(),
        };
        for (relationship, columns) in streams::reference_columns(resource) {
            let key = relationship.name.to_owned();
            plan.columns.insert(columns.value, (Part::Relationships, key.clone()));
            if let Some(column) = columns.key {
                plan.columns.insert(column, (Part::Keys, key));
            }
        }
        for name in ["id", "type", "links"] {
            plan.columns.insert(name.to_owned(), (Part::Document, name.to_owned()));
        }
        for (name, schema) in &stream.fields.properties {
            let key = infer::marked(schema).map_or_else(|| name::camel(name), str::to_owned);
            plan.columns.entry(name.clone()).or_insert((Part::Attributes, key));
        }
        for part in [Part::Document, Part::Attributes, Part::Relationships] {
            plan.add_node(String::new(), part, stream.fields.clone());
        }
        plan
    }

    fn add_node(&mut self, path: String, part: Part, declared: Object) -> usize {
        let mut names = Names::default();
        if part == Part::Nested {
            for (name, schema) in &declared.properties {
                let key = infer::marked(schema).map_or_else(|| name::camel(name), str::to_owned);
                names.insert(name.clone(), (part, key));
            }
        }
        self.nodes.push(Node {
            custom: path == "custom",
            path,
            part,
            declared,
            reference: false,
            names,
            index: FxHashMap::default(),
            members: Vec::new(),
            first: NONE,
            visit: 0,
        });
        self.nodes.len() - 1
    }

    /// The member for a key.
    pub(super) fn find(&mut self, node: usize, key: Text<'_>) -> u32 {
        let key = key.decode();
        match self.nodes[node].index.get(&*key) {
            Some(&at) => at,
            None => self.learn(node, &key),
        }
    }

    /// A key that was not met before.
    fn learn(&mut self, node: usize, key: &str) -> u32 {
        let member = match (self.nodes[node].part, key) {
            (Part::Document, "attributes") => Member::new(key, key, Action::Attributes),
            (Part::Document, "relationships") => Member::new(key, key, Action::Relationships),
            (Part::Relationships, _) => Member::new(key, key, Action::Reference),
            _ => self.field(node, key),
        };
        let node = &mut self.nodes[node];
        let at = node.members.len() as u32;
        node.members.push(member);
        node.index.insert(key.into(), at);
        at
    }

    fn field(&mut self, node: usize, key: &str) -> Member {
        let part = self.nodes[node].part;
        let names = match part {
            Part::Nested => &mut self.nodes[node].names,
            _ => &mut self.columns,
        };
        let name = own_name(names, part, key);
        let path = self.nodes[node].join(&name);
        let declared = self.nodes[node].declared.property(&name).cloned();
        let mut member = Member::new(key, &name, Action::Copy);
        member.capture = match (part, key) {
            (Part::Document, "id") => Capture::Id,
            (Part::Attributes, "updatedAt") => Capture::UpdatedAt,
            (Part::Attributes, "rev") => Capture::Rev,
            (Part::Nested, "id") if self.nodes[node].reference => Capture::Target,
            _ => Capture::Nothing,
        };
        if self.treated.excludes(&path) {
            member.action = Action::Drop;
            return member;
        }
        member.unknown = declared.is_none();
        let structure = |schema: &Schema| {
            schema.object().filter(|object| !object.is_map() || path == "custom").cloned()
        };
        member.action = match declared.as_ref().map(|schema| (&schema.kind, structure(schema))) {
            Some((_, Some(object))) => Action::Structure(self.add_node(path, Part::Nested, object)),
            Some((Kind::Array(items), None)) => match structure(items) {
                Some(object) => Action::List(self.add_node(path, Part::Nested, object)),
                None => Action::Copy,
            },
            _ => Action::Copy,
        };
        member
    }

    /// Announces a member's field with the schema its first value suggests.
    #[cold]
    pub(super) fn discover(&mut self, node: usize, member: u32, value: &str) {
        let node = &mut self.nodes[node];
        let at = member as usize;
        node.members[at].unknown = false;
        let member = &node.members[at];
        let schema = if node.custom {
            infer::custom(&member.key, value)
        } else {
            infer::attribute(&member.key, name::camel(&member.name) == *member.key, value)
        };
        self.discovered.push((node.join(&member.name), schema));
    }

    /// Whether a relationship without data is one of the declared ones that link to many.
    pub(super) fn declared_many(&self, member: u32) -> bool {
        let key = &*self.nodes[RELATIONSHIPS].members[member as usize].key;
        self.many.get(key).copied().unwrap_or(false)
    }

    /// Takes out how a relationship is written; give it back with [`Plan::put_link`].
    pub(super) fn take_link(&mut self, member: u32, many: bool) -> Link {
        let slot = (member, many);
        self.links.remove(&slot).unwrap_or_else(|| self.link(member, many))
    }

    /// Keeps how a relationship is written for the next time.
    pub(super) fn put_link(&mut self, member: u32, many: bool, link: Link) {
        self.links.insert((member, many), link);
    }

    /// How a relationship is written, worked out at its first data.
    fn link(&mut self, member: u32, many: bool) -> Link {
        let key = self.nodes[RELATIONSHIPS].members[member as usize].key.to_string();
        let columns = ReferenceColumns::of(&key, many);
        let owner = (Part::Relationships, key.clone());
        let free = |names: &Names, name: &str| names.get(name).is_none_or(|taken| *taken == owner);
        let mut column = columns.value.clone();
        if !free(&self.columns, &column) {
            column = columns.clashing();
        }
        while !free(&self.columns, &column) {
            column = name::distinct(&column, &key);
        }
        self.columns.insert(column.clone(), owner);
        let owner = (Part::Keys, key);
        let key_column = match self.columns.get(&columns.key) {
            Some(taken) if *taken != owner => None,
            _ => {
                self.columns.insert(columns.key.clone(), owner);
                Some(columns.key)
            }
        };
        let declared = &self.nodes[DOCUMENT].declared;
        let object = match declared.property(&column).map(|schema| &schema.kind) {
            Some(Kind::Object(object)) => Some(object.clone()),
            Some(Kind::Array(items)) => items.object().cloned(),
            _ => None,
        };
        let object = object.or_else(|| streams::reference_schema(false).object().cloned());
        let mut unknown = Vec::new();
        let mut announce = |name: &String, schema: Schema| {
            if self.treated.excludes(name) {
                return None;
            }
            if declared.property(name).is_none() {
                unknown.push((name.clone(), schema));
            }
            Some(prefix(name))
        };
        let value = announce(&column, streams::reference_schema(many));
        let key = key_column.and_then(|name| announce(&name, streams::key_schema(many)));
        let node = self.add_node(column, Part::Nested, object.unwrap_or_default());
        self.nodes[node].reference = true;
        Link { value, key, node, keys: Vec::new(), unknown }
    }

    /// Announces a relationship's fields at its first target.
    pub(super) fn discover_link(&mut self, link: &mut Link) {
        self.discovered.append(&mut link.unknown);
    }
}

impl Node {
    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

impl Member {
    fn new(key: &str, name: &str, action: Action) -> Self {
        Self {
            key: key.into(),
            name: name.into(),
            quoted: prefix(key)[1..].into(),
            out: prefix(name),
            action,
            capture: Capture::Nothing,
            unknown: false,
            next: NONE,
            seen: 0,
        }
    }
}

/// `,"name":`
fn prefix(name: &str) -> Box<[u8]> {
    let mut out = vec![b','];
    bobbin_core::json::write_string(&mut out, name);
    out.push(b':');
    out.into()
}

/// The name of a key, which no other key of the same object has. It depends on the key and on
/// what is declared, not on the order of arrival: a key takes its plain snake_case name if that
/// was declared for it or if it is the one key that snake_case and back gives; every other
/// spelling gets a hash. Members of the document itself that nobody knows make way for attributes
/// as `document_…`. What remains (names made to collide) is told apart by a further hash.
fn own_name(names: &mut Names, part: Part, key: &str) -> String {
    let owner = (part, key.to_owned());
    let mut plain = name::snake(key);
    if part == Part::Document && names.get(&plain) != Some(&owner) {
        plain.insert_str(0, "document_");
    }
    let mut name = match names.get(&plain) {
        Some(taken) if *taken == owner => return plain,
        None if name::is_canonical(key) => plain,
        _ => name::distinct(&plain, key),
    };
    loop {
        match names.get(&name) {
            Some(taken) if *taken == owner => return name,
            Some(_) => name = name::distinct(&name, key),
            None => {
                names.insert(name.clone(), owner);
                return name;
            }
        }
    }
}
