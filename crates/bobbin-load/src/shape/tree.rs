//! The tree of a table's fields: which columns a field has, and where its members are.

use bobbin_core::json::write_string;
use bobbin_core::schema::{Kind, Object, Schema};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::name::DELETED;
use super::types::ColumnType;

/// Which of a stream's tables: the paths of the arrays on the way to it, each counted from an item
/// of the one before. Empty for the table of the records themselves.
///
/// `orders.line_items[].tax_lines[]` is `[["line_items"], ["tax_lines"]]`; an array that is an item
/// of another has an empty path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sub(pub Vec<Vec<String>>);

impl Sub {
    /// Whether it is the table of the records themselves.
    pub fn is_own(&self) -> bool {
        self.0.is_empty()
    }

    /// How many arrays deep its rows are: the number of its `_sdc_level_N_id` columns.
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// The table of the array at `path` in this table's rows.
    pub fn of(&self, path: &[String]) -> Self {
        let mut arrays = self.0.clone();
        arrays.push(path.to_vec());
        Self(arrays)
    }

    /// The parts of the table's name after the stream's, to be joined by `__`.
    pub fn parts(&self) -> Vec<&str> {
        let mut parts = Vec::new();
        for path in &self.0 {
            if path.is_empty() {
                parts.push(ITEM);
            }
            parts.extend(path.iter().map(String::as_str));
        }
        parts
    }
}

/// The name of the column that holds items which are no objects (`stitch-behaviour.md` 7.4).
pub const ITEM: &str = "value";

/// A column of a table, as it is remembered between runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// The field's path in the record, or in an array's item; empty for the overflow column, and for
    /// items that are no objects.
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

impl Column {
    /// Whether it holds when a record was deleted in the source, as an instant.
    pub fn is_deleted_at(&self) -> bool {
        self.ty == ColumnType::DateTime && self.path == [DELETED]
    }
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
    /// The table its arrays go to, once there is one.
    pub(super) child: Option<usize>,
    /// What its arrays' items are, as far as declared.
    pub(super) items: Option<Schema>,
    /// Why it gets no column, under Stitch's naming.
    pub(super) refused: Option<Box<str>>,
    /// Whether several keys lead here, under Stitch's naming.
    pub(super) shared: bool,
}

impl Node {
    fn new(path: Vec<String>, declared: bool) -> Self {
        Self {
            path,
            description: None,
            primary: None,
            columns: Vec::new(),
            fields: None,
            declared,
            met: 0,
            child: None,
            items: None,
            refused: None,
            shared: false,
        }
    }
}

/// The members of a flattened object.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) children: Vec<Child>,
    pub(super) index: FxHashMap<Box<str>, usize>,
    /// By the name under Stitch's naming, where that is in use: keys that share it are one field.
    pub(super) canonical: FxHashMap<Box<str>, usize>,
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
        Self {
            children: Vec::new(),
            index: FxHashMap::default(),
            canonical: FxHashMap::default(),
            open,
        }
    }
}

/// Builds the arena for a table's fields. With `split_arrays` an array is no column.
pub(super) fn plant(fields: &Object, split_arrays: bool) -> Vec<Node> {
    let mut root = Node::new(Vec::new(), true);
    root.fields = Some(Fields::new(fields.open));
    let mut nodes = vec![root];
    grow(&mut nodes, 0, fields, split_arrays);
    nodes
}

/// Builds the arena for the items of an array: their members, or themselves.
pub(super) fn plant_items(items: Option<&Schema>) -> Vec<Node> {
    let open = Object { properties: Vec::new(), open: true };
    let fields = match items.and_then(Schema::object) {
        Some(object) if !object.is_map() => object,
        _ => &open,
    };
    let mut nodes = plant(fields, true);
    match items {
        Some(Schema { kind: Kind::Object(_), .. }) | None => {}
        Some(Schema { kind: Kind::Array(inner), .. }) => nodes[0].items = Some((**inner).clone()),
        Some(scalar) => nodes[0].primary = ColumnType::declared(scalar),
    }
    nodes
}

fn grow(nodes: &mut Vec<Node>, owner: usize, object: &Object, split_arrays: bool) {
    for (name, schema) in &object.properties {
        let node = child(nodes, owner, name, true);
        nodes[node].description.clone_from(&schema.description);
        match &schema.kind {
            Kind::Object(inner) if !inner.is_map() => {
                nodes[node].fields = Some(Fields::new(inner.open));
                grow(nodes, node, inner, split_arrays);
            }
            Kind::Array(items) if split_arrays => nodes[node].items = Some((**items).clone()),
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
    nodes.push(Node::new(path, declared));
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
