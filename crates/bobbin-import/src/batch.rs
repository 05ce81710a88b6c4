//! Records of one table as a request brought them.

use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::schema::{Kind, Object, Schema};
use jiff::Timestamp;

use crate::names::{ID, SEQUENCE};

/// Lines of a file that are no record begin with one of these.
pub(crate) const TIME: u8 = b'@';
pub(crate) const ACTIVATE: u8 = b'^';

/// Messages of one table, checked, in their order.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// The table's shape: as the client's schema says, or the names of the fields that were met.
    pub(crate) stream: Stream,
    /// Whether the client sent a schema.
    pub(crate) declared: bool,
    /// The version of the table that the records belong to, when it is read whole.
    pub(crate) version: Option<i64>,
    pub(crate) rows: u64,
    pub(crate) activations: u64,
    /// A record a line, each led by its sequence. A line `@TIME` says when the records after it were
    /// extracted (`@` alone: when the request came), `^` that the version is whole.
    pub(crate) lines: Vec<u8>,
    /// The last `@`.
    time: Option<Timestamp>,
}

impl Batch {
    /// A batch without messages.
    pub(crate) fn new(stream: Stream, declared: bool, version: Option<i64>) -> Self {
        Self { stream, declared, version, rows: 0, activations: 0, lines: Vec::new(), time: None }
    }

    /// The table.
    pub fn table(&self) -> &StreamName {
        &self.stream.name
    }

    /// How many records there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes a record: the text of an object that has `members`.
    pub(crate) fn record(
        &mut self,
        text: &str,
        members: bool,
        sequence: i64,
        time: Option<Timestamp>,
    ) {
        if time != self.time {
            self.time = time;
            self.lines.push(TIME);
            if let Some(time) = time {
                self.lines.extend_from_slice(time.to_string().as_bytes());
            }
            self.lines.push(b'\n');
        }
        self.lines.extend_from_slice(b"{\"_import_sequence\":");
        self.lines.extend_from_slice(sequence.to_string().as_bytes());
        if members {
            self.lines.push(b',');
        }
        let start = self.lines.len();
        self.lines.extend_from_slice(&text.as_bytes()[1..]);
        // Within the text of a value a line break is white space: strings have none.
        if memchr::memchr2(b'\n', b'\r', &self.lines[start..]).is_some() {
            for byte in &mut self.lines[start..] {
                if matches!(byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
        }
        self.lines.push(b'\n');
        self.rows += 1;
    }

    /// Takes the word that the version is whole.
    pub(crate) fn activate(&mut self) {
        self.lines.extend_from_slice(&[ACTIVATE, b'\n']);
        self.activations += 1;
    }
}

/// A table as the loader is to see it.
///
/// Its versions are told apart by the client's sequence (`stitch-behaviour.md` 9.7). A table without
/// keys gets [`ID`] as its key. What orders changes is the first bookmark, else the sequence; a table
/// that is read whole without bookmarks has nothing.
pub(crate) fn stream(
    table: &str,
    mut fields: Object,
    mut key: Vec<String>,
    bookmarks: &[String],
    version: Option<i64>,
) -> Stream {
    for name in &key {
        if fields.property(name).is_none() {
            fields.properties.push((name.clone(), Schema::of(Kind::Any)));
        }
    }
    let first = bookmarks.first().filter(|name| fields.property(name).is_some()).cloned();
    let replication_key = first.or_else(|| version.is_none().then(|| SEQUENCE.to_owned()));
    let mut ours = vec![(SEQUENCE.to_owned(), Schema::of(Kind::Integer).required())];
    if key.is_empty() {
        ours.push((ID.to_owned(), Schema::of(Kind::Text).required()));
        key.push(ID.to_owned());
    }
    fields.properties.splice(0..0, ours);
    // What a client did not declare is data all the same; where its schema forbids it, it was refused.
    fields.open = true;
    Stream {
        name: table.into(),
        fields,
        key,
        replication_key,
        version_fields: vec![SEQUENCE.to_owned()],
        description: None,
    }
}

/// Whether the table's records are told apart by [`ID`].
pub(crate) fn has_no_key(stream: &Stream) -> bool {
    stream.key.first().is_some_and(|key| key == ID)
}
