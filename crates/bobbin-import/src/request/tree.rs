//! A record as the validator of schemas sees it: borrowed from the request's text, every number with
//! its own digits.
//!
//! `serde_json`'s values round what no double holds, so that an integer of 25 digits would be no
//! integer to a schema, and cost a hash table per record.

use std::borrow::Cow;
use std::slice::Iter;

use bobbin_core::json::{JsonError, Peek, Reader};
use jsonschema::JsonType;
use jsonschema::json::{Array, Json, JsonNumber, Node, NodeIdentity, Object};
use serde_json::{Number, Value};

/// Members from which an object has an index: below, looking at each is faster.
const INDEXED: usize = 24;

/// One value.
#[derive(Default)]
pub(super) enum Tree<'t> {
    #[default]
    Null,
    Bool(bool),
    Number(Literal<'t>),
    Text(Cow<'t, str>),
    Array(Vec<Tree<'t>>),
    Object(Members<'t>),
}

/// A number as it was written.
#[derive(Clone, Copy)]
pub(super) struct Literal<'t>(pub(super) &'t str);

/// The members of an object in their order.
pub(super) struct Members<'t> {
    list: Vec<(Cow<'t, str>, Tree<'t>)>,
    /// Positions in the list by name, where it is long.
    index: Vec<u32>,
}

/// How much was read.
#[derive(Clone, Copy, Default)]
pub(super) struct Extent {
    /// Values that are neither objects nor arrays.
    pub(super) points: usize,
    /// Levels of objects and arrays, the deepest.
    pub(super) levels: usize,
    /// Those we are in.
    within: usize,
}

impl<'t> Tree<'t> {
    /// Reads the next value.
    pub(super) fn read(r: &mut Reader<'t>, extent: &mut Extent) -> Result<Self, JsonError> {
        let peek = r.peek()?;
        if !matches!(peek, Peek::Array | Peek::Object) {
            extent.points += 1;
            return Self::leaf(r, peek);
        }
        extent.within += 1;
        extent.levels = extent.levels.max(extent.within);
        let tree = if peek == Peek::Array {
            r.array()?;
            let mut items = Vec::new();
            while r.item()? {
                items.push(Self::read(r, extent)?);
            }
            Self::Array(items)
        } else {
            r.object()?;
            let mut list = Vec::with_capacity(8);
            while let Some(key) = r.key()? {
                list.push((key.decode(), Self::read(r, extent)?));
            }
            Self::Object(Members::new(list))
        };
        extent.within -= 1;
        Ok(tree)
    }

    fn leaf(r: &mut Reader<'t>, peek: Peek) -> Result<Self, JsonError> {
        Ok(match peek {
            Peek::Bool => Self::Bool(r.bool()?),
            Peek::Number => Self::Number(Literal(r.number()?)),
            Peek::String => Self::Text(r.string()?.decode()),
            Peek::Null | Peek::Array | Peek::Object => {
                r.null()?;
                Self::Null
            }
        })
    }
}

impl<'t> Members<'t> {
    fn new(list: Vec<(Cow<'t, str>, Tree<'t>)>) -> Self {
        let mut index = Vec::new();
        if list.len() >= INDEXED {
            index.extend(0..list.len() as u32);
            // Stable: of members with one name the last stays last.
            index.sort_by(|a, b| list[*a as usize].0.cmp(&list[*b as usize].0));
        }
        Self { list, index }
    }

    /// The last member of this name, which is the one that counts.
    pub(super) fn get(&self, name: &str) -> Option<&Tree<'t>> {
        if self.index.is_empty() {
            return self.list.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value);
        }
        let end = self.index.partition_point(|at| *self.list[*at as usize].0 <= *name);
        let (key, value) = &self.list[*self.index.get(end.checked_sub(1)?)? as usize];
        (key == name).then_some(value)
    }

    /// The names, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|(name, _)| name.as_ref())
    }
}

/// This representation of JSON.
pub(super) struct Borrowed;

impl Json for Borrowed {
    type Node<'a> = &'a Tree<'a>;
    type PreparedKey = String;
    type StringBuffer = ();

    const KEYS_PER_LOOKUP: usize = 2;
    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>((): &mut (), string: &str, f: impl FnOnce(Self::Node<'_>) -> T) -> T {
        f(&Tree::Text(Cow::Borrowed(string)))
    }
}

impl JsonNumber for Literal<'_> {
    fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    fn as_f64(&self) -> Option<f64> {
        self.0.parse().ok()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0)
    }

    fn to_number(&self) -> Cow<'_, Number> {
        Cow::Owned(serde_json::from_str(self.0).unwrap_or_else(|_| Number::from(0)))
    }

    fn is_integer(&self) -> bool {
        self.is_written_as_integer() || self.as_f64().is_some_and(|value| value.fract() == 0.0)
    }

    fn is_written_as_integer(&self) -> bool {
        !self.0.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
    }
}

impl<'a> Node<'a, Borrowed> for &'a Tree<'a> {
    type Object = &'a Members<'a>;
    type Array = &'a [Tree<'a>];
    type Number = Literal<'a>;

    fn as_object(&self) -> Option<Self::Object> {
        match self {
            Tree::Object(members) => Some(members),
            _ => None,
        }
    }

    fn as_array(&self) -> Option<Self::Array> {
        match self {
            Tree::Array(items) => Some(items),
            _ => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        match self {
            Tree::Text(text) => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    fn as_number(&self) -> Option<Self::Number> {
        match self {
            Tree::Number(literal) => Some(*literal),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self {
            Tree::Bool(value) => Some(*value),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Tree::Null)
    }

    fn json_type(&self) -> JsonType {
        match self {
            Tree::Null => JsonType::Null,
            Tree::Bool(_) => JsonType::Boolean,
            Tree::Number(_) => JsonType::Number,
            Tree::Text(_) => JsonType::String,
            Tree::Array(_) => JsonType::Array,
            Tree::Object(_) => JsonType::Object,
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(match self {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(literal) => Value::Number(literal.to_number().into_owned()),
            Tree::Text(text) => Value::String(text.as_ref().to_owned()),
            Tree::Array(items) => items.iter().map(|item| item.to_value().into_owned()).collect(),
            Tree::Object(members) => (members.list.iter())
                .map(|(name, value)| (name.as_ref().to_owned(), value.to_value().into_owned()))
                .collect(),
        })
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(std::ptr::from_ref::<Tree<'_>>(self).addr()))
    }
}

impl<'a> Object<'a, Borrowed> for &'a Members<'a> {
    type Node = &'a Tree<'a>;
    type MemberName = &'a str;
    type MembersIter = MembersIter<'a>;

    fn len(&self) -> usize {
        self.list.len()
    }

    fn get(&self, key: &String) -> Option<&'a Tree<'a>> {
        Members::get(self, key)
    }

    fn members(&self) -> MembersIter<'a> {
        MembersIter(self.list.iter())
    }
}

/// Goes through the members of an object.
pub(super) struct MembersIter<'a>(Iter<'a, (Cow<'a, str>, Tree<'a>)>);

impl<'a> Iterator for MembersIter<'a> {
    type Item = (&'a str, &'a Tree<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (name.as_ref(), value))
    }
}

impl<'a> Array<'a, Borrowed> for &'a [Tree<'a>] {
    type Node = &'a Tree<'a>;
    type ElementsIter = Iter<'a, Tree<'a>>;

    fn len(&self) -> usize {
        <[Tree<'a>]>::len(self)
    }

    fn elements(&self) -> Self::ElementsIter {
        self.iter()
    }
}
