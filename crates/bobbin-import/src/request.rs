//! The bodies of requests, as Stitch's Import API has them (`stitch-behaviour.md` 9.7), and what is
//! refused (7.11).
//!
//! A request is taken whole or not at all. Records stay text: they are checked as they stand and no
//! character of a value is written anew.

mod members;
mod schemas;
mod tree;
mod weight;

use std::fmt;

use bobbin_core::json::{JsonError, Problem, Reader};
use bobbin_core::schema::{Kind, Object, Schema};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::batch::{self, Batch};
use crate::names;
use members::{Action, Message, Record};
use schemas::{Compiled, Schemas};
use tree::{Members, Tree};

/// Bytes of a body. Stitch says 20 MB and not of which kind; these are the greater ones.
pub const MOST_BODY_BYTES: usize = 20 << 20;

/// Messages in a request; there is at least one.
pub const MOST_MESSAGES: usize = 20_000;

/// Values in a record that are neither objects nor arrays.
pub const MOST_DATA_POINTS: usize = 10_000;

/// Characters of a text that is a key, and one more.
pub const KEY_CHARACTERS: usize = 256;

/// Fields that the catalog lists of a table whose client sends no schema.
const MOST_FIELDS: usize = 10_000;

/// Why a request is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusedKind {
    /// There is more in it than a request may have (HTTP 413).
    TooLarge,
    /// It is not what it should be (HTTP 400).
    Invalid,
}

/// A request that is not taken. No value of a record stands in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Whether it is its size.
    pub kind: RefusedKind,
    /// What is wrong, where, and what the limit is, for a person.
    pub message: String,
    /// The place among the messages, from 0, if it is one of them.
    pub index: Option<usize>,
    /// The place in that message's record, a JSON pointer.
    pub path: Option<String>,
}

impl Refused {
    pub(crate) fn invalid(message: String) -> Self {
        Self { kind: RefusedKind::Invalid, message, index: None, path: None }
    }

    fn too_large(message: String) -> Self {
        Self { kind: RefusedKind::TooLarge, ..Self::invalid(message) }
    }

    /// The same of a message.
    fn at(self, index: usize) -> Self {
        let message = format!("message {index}: {}", self.message);
        Self { message, index: Some(index), ..self }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

/// Reads bodies. One serves all threads; it knows the schemas met last.
#[derive(Default)]
pub struct Requests {
    schemas: Schemas,
}

impl Requests {
    /// Reads the body of `/v2/import/batch`: messages of one table, and its schema.
    ///
    /// # Errors
    /// When any part of it cannot be taken.
    pub fn batch(&self, body: &[u8]) -> Result<Vec<Batch>, Refused> {
        let body = utf8(body)?;
        let whole = members::envelope(&mut Reader::new(body))?;
        let table = table_name(whole.table.as_deref())?;
        let schema = whole.schema.ok_or_else(|| missing("schema"))?;
        let schema = self.schemas.compile(schema)?;
        let key = key_names(whole.keys)?;
        let fields = schema.fields.clone();
        let stream = batch::stream(table, fields, key.clone(), &whole.bookmarks, whole.version);
        let mut batch = Batch::new(stream, true, whole.version);
        let mut messages = whole.messages.ok_or_else(|| missing("messages"))?;
        let mut take = |message: Message<'_>| match message.action()? {
            Action::Upsert => {
                let record = message.record()?;
                check(&record, &key, Some(&schema))?;
                let named = record.members.names().next().is_some();
                batch.record(record.text, named, message.sequence()?, message.time()?);
                Ok(())
            }
            Action::Activate => {
                message.sequence()?;
                if batch.version.is_none() {
                    return Err(Refused::invalid(
                        "activate_version needs the table_version of the request".to_owned(),
                    ));
                }
                batch.activate();
                Ok(())
            }
        };
        let count = members::each(body, &mut messages, "messages", &mut take)?;
        not_empty(count)?;
        Ok(vec![batch])
    }

    /// Reads the body of `/v2/import/push`: messages of any tables, without schemas. Gives a batch for
    /// each table, in the order they first come.
    ///
    /// # Errors
    /// When any part of it cannot be taken.
    pub fn push(&self, body: &[u8]) -> Result<Vec<Batch>, Refused> {
        let body = utf8(body)?;
        let mut tables: FxHashMap<String, usize> = FxHashMap::default();
        let mut pushed: Vec<Pushed> = Vec::new();
        let mut index = 0;
        let mut take = |message: Message<'_>| {
            let table = table_name(message.table.as_deref())?;
            if message.action()? == Action::Activate {
                return Err(Refused::invalid(
                    "activate_version is for /v2/import/batch; here the action is upsert"
                        .to_owned(),
                ));
            }
            if message.version.is_some() {
                return Err(Refused::invalid("table_version is for /v2/import/batch".to_owned()));
            }
            let at = match tables.get(table) {
                Some(at) => *at,
                None => {
                    let as_sent = message.keys.clone().unwrap_or_default();
                    let key = key_names(message.keys.clone())?;
                    tables.insert(table.to_owned(), pushed.len());
                    pushed.push(Pushed::new(table, key, as_sent, index));
                    pushed.len() - 1
                }
            };
            let pushed = &mut pushed[at];
            if message.keys.as_deref().unwrap_or_default() != pushed.as_sent {
                return Err(Refused::invalid(format!(
                    "its key_names are not those of message {}, which is of the same table",
                    pushed.first
                )));
            }
            let record = message.record()?;
            check(&record, &pushed.key, None)?;
            let named = record.members.names().next().is_some();
            pushed.meet(record.members);
            pushed.batch.record(record.text, named, message.sequence()?, message.time()?);
            index += 1;
            Ok(())
        };
        let mut r = Reader::new(body);
        let count = members::each(body, &mut r, "the body", &mut take)?;
        r.end().map_err(unreadable)?;
        not_empty(count)?;
        Ok(pushed.into_iter().map(Pushed::into_batch).collect())
    }
}

/// A table of a push.
struct Pushed {
    key: Vec<String>,
    /// The key as its first message has it.
    as_sent: Vec<String>,
    /// The first message of it.
    first: usize,
    fields: Vec<String>,
    known: FxHashSet<String>,
    batch: Batch,
}

impl Pushed {
    fn new(table: &str, key: Vec<String>, as_sent: Vec<String>, first: usize) -> Self {
        let stream = batch::stream(table, Object::default(), Vec::new(), &[], None);
        let batch = Batch::new(stream, false, None);
        Self { key, as_sent, first, fields: Vec::new(), known: FxHashSet::default(), batch }
    }

    fn meet(&mut self, record: &Members<'_>) {
        for name in record.names() {
            if !self.known.contains(name) && self.fields.len() < MOST_FIELDS {
                self.known.insert(name.to_owned());
                self.fields.push(name.to_owned());
            }
        }
    }

    fn into_batch(self) -> Batch {
        let any = |name: String| (name, Schema::of(Kind::Any));
        let properties = self.fields.into_iter().map(any).collect();
        let fields = Object { properties, open: true };
        let table = self.batch.stream.name.as_str();
        let stream = batch::stream(table, fields, self.key, &[], None);
        let mut batch = self.batch;
        batch.stream = stream;
        batch
    }
}

/// Checks a record.
fn check(
    Record { tree, members: record, extent, .. }: &Record<'_, '_>,
    key: &[String],
    schema: Option<&Compiled>,
) -> Result<(), Refused> {
    if extent.points > MOST_DATA_POINTS {
        return Err(Refused::too_large(format!(
            "the record has {} data points; at most {MOST_DATA_POINTS} are taken",
            extent.points
        )));
    }
    if let Some(name) = record.names().find(|name| names::is_ours(name)) {
        return Err(Refused {
            path: Some(format!("/{name}")),
            ..Refused::invalid(format!("the record has a field `{name}`, a name that is reserved"))
        });
    }
    for name in key {
        let fault = match record.get(name) {
            None => "is missing",
            Some(Tree::Null) => "is null",
            Some(Tree::Array(_) | Tree::Object(_)) => "is an object or array",
            Some(Tree::Text(text))
                if text.len() >= KEY_CHARACTERS && text.chars().count() >= KEY_CHARACTERS =>
            {
                "has 256 characters or more; fewer are taken"
            }
            Some(_) => continue,
        };
        return Err(Refused {
            path: Some(pointer(name)),
            ..Refused::invalid(format!("the key `{}` {fault}", shortened(name, 100)))
        });
    }
    if let Some(most) = schema.map(|schema| schema.most_levels).filter(|m| extent.levels > *m) {
        return Err(Refused::invalid(format!(
            "the record has {} levels; with a schema that refers to itself as this one does, at most {most} are taken",
            extent.levels
        )));
    }
    let Some((path, what)) = schema.and_then(|schema| schema.fault(tree)) else { return Ok(()) };
    let place = if path.is_empty() { "the record".to_owned() } else { shortened(&path, 200) };
    let refused = Refused::invalid(format!("{place} is not as the schema says: {what}"));
    Err(Refused { path: Some(path), ..refused })
}

/// A name as a JSON pointer.
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn table_name(name: Option<&str>) -> Result<&str, Refused> {
    let name = name.ok_or_else(|| missing("table_name"))?;
    match names::fault(name) {
        None => Ok(name),
        Some(fault) => Err(Refused::invalid(format!("table_name {fault}"))),
    }
}

/// The key, each name once.
fn key_names(names: Option<Vec<String>>) -> Result<Vec<String>, Refused> {
    let mut names = names.unwrap_or_default();
    let mut seen = FxHashSet::default();
    names.retain(|name| seen.insert(name.clone()));
    match names.iter().find(|name| name.is_empty() || names::is_ours(name)) {
        Some(name) if name.is_empty() => {
            Err(Refused::invalid("key_names has an empty name".to_owned()))
        }
        Some(name) => {
            Err(Refused::invalid(format!("key_names has `{name}`, a name that is reserved")))
        }
        None => Ok(names),
    }
}

fn not_empty(count: usize) -> Result<(), Refused> {
    if count > 0 {
        return Ok(());
    }
    Err(Refused::invalid(format!("there are no messages; a request has 1 to {MOST_MESSAGES}")))
}

fn missing(what: &str) -> Refused {
    Refused::invalid(format!("{what} is missing"))
}

fn utf8(body: &[u8]) -> Result<&str, Refused> {
    std::str::from_utf8(body).map_err(|error| {
        unreadable(JsonError { problem: Problem::Utf8, offset: error.valid_up_to() })
    })
}

fn unreadable(error: JsonError) -> Refused {
    Refused::invalid(format!("the body cannot be read: {error}"))
}

/// The front of a text, with `…` where that is not all of it.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
