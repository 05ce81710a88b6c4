//! The tree of a table's fields: which columns a field has, and where its members are.

use bobbin_core::json::write_string;
use bobbin_core::schema::{Kind, Object};
use rustc_hash::FxHashMap;

use super::types::ColumnType;

/// A column of a table, as it is remembered between runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// The field's path in the record; empty for the overflow column.
    pub path: Vec<String>,
    /// Its type.
    pub ty: ColumnType,
    /// Its name in the destination.
    pub name: String,
    /// True for the field's own column, false for a sibling that holds values of another type.
    pub primary: bool,
    /// What the field means, in the source's words.
    pub description: Option<String>,
}

/// A field, in an arena; the root is 0.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) path: Vec<String>,
    pub(super) description: Option<String>,
    /// The type of its own column; `None` until the first value decides, and for a structure.
    pub(super) primary: Option<ColumnType>,
    /// Its columns by type, as positions among the table's.
    pub(super) columns: Vec<(ColumnType, usize)>,
    /// Its members, when it is flattened.
    pub(super) fields: Option<Fields>,
    /// Whether the schema knows it.
    pub(super) declared: bool,
    /// The row it was last met in, plus one.
    pub(super) met: usize,
}

/// The members of a flattened object.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) children: Vec<Child>,
    pub(super) index: FxHashMap<Box<str>, usize>,
    /// Whether members the schema does not know are kept.
    pub(super) open: bool,
}

#[derive(Debug)]
pub(super) struct Child {
    /// The key as it stands before a value: `"key":`.
    pub(super) quoted: Box<[u8]>,
    pub(super) node: usize,
    /// The member that followed it last time.
    pub(super) next: usize,
}

impl Fields {
    fn new(open: bool) -> Self {
        Self { children: Vec::new(), index: FxHashMap::default(), open }
    }
}

/// Builds the arena for a stream's fields.
pub(super) fn plant(fields: &Object) -> Vec<Node> {
    let mut nodes = vec![Node {
        path: Vec::new(),
        description: None,
        primary: None,
        columns: Vec::new(),
        fields: Some(Fields::new(fields.open)),
        declared: true,
        met: 0,
    }];
    grow(&mut nodes, 0, fields);
    nodes
}

fn grow(nodes: &mut Vec<Node>, owner: usize, object: &Object) {
    for (name, schema) in &object.properties {
        let node = child(nodes, owner, name, true);
        nodes[node].description.clone_from(&schema.description);
        match &schema.kind {
            Kind::Object(inner) if !inner.is_map() => {
                nodes[node].fields = Some(Fields::new(inner.open));
                grow(nodes, node, inner);
            }
            _ => nodes[node].primary = ColumnType::declared(schema),
        }
    }
}

/// The member `key` of `owner`, made if it is not there.
pub(super) fn child(nodes: &mut Vec<Node>, owner: usize, key: &str, declared: bool) -> usize {
    let new = nodes.len();
    let mut path = nodes[owner].path.clone();
    let Some(fields) = &mut nodes[owner].fields else {
        return owner;
    };
    if let Some(&at) = fields.index.get(key) {
        return fields.children[at].node;
    }
    let at = fields.children.len();
    let mut quoted = Vec::with_capacity(key.len() + 3);
    write_string(&mut quoted, key);
    quoted.push(b':');
    fields.children.push(Child { quoted: quoted.into(), node: new, next: at + 1 });
    fields.index.insert(key.into(), at);
    path.push(key.to_owned());
    nodes.push(Node {
        path,
        description: None,
        primary: None,
        columns: Vec::new(),
        fields: None,
        declared,
        met: 0,
    });
    new
}

/// The field at `path`, made if it is not there; `None` when a field on the way is not flattened.
pub(super) fn seek(nodes: &mut Vec<Node>, path: &[String]) -> Option<usize> {
    let mut at = 0;
    for key in path {
        nodes[at].fields.as_ref()?;
        at = child(nodes, at, key, false);
    }
    Some(at)
}
