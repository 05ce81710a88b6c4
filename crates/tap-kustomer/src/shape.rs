//! From an API document to a record line, as text, in one pass.
//!
//! `{type, id, attributes, relationships, links}` becomes one flat object with snake_case names:
//! attributes at the top, each relationship as `{id, type}` and as a bare `_id`. Keys of declared
//! structures are renamed; everything else is copied as it stands, digit by digit. Nothing that
//! is in the document is left out, but for what the selection excludes, the paths inside
//! `relationships`, and relationships without data.
//!
//! Speed comes from a plan per object that learns: a key is looked for where it stood in the
//! record before, and what was worked out about it once (its field name, what to do with its
//! value) is kept. Fields are typed and turned into columns by others.

pub mod name;

pub(crate) mod infer;
mod plan;
#[cfg(test)]
mod tests;
mod time;
mod walk;

use bobbin_core::catalog::Stream;
use bobbin_core::json::{JsonError, Peek, Reader, Text};
use bobbin_core::schema::Schema;
use bobbin_core::selection::Selection;
use jiff::Timestamp;

use self::plan::Plan;
use self::walk::Found;
use crate::streams::Resource;

/// What the tap needs to know of a record it passes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shaped {
    /// Its id.
    pub id: Box<str>,
    /// Its `updatedAt`; `None` when that is missing, null or no instant.
    pub updated_at: Option<Timestamp>,
    /// Its revision; `None` when that is missing or no 64-bit integer.
    pub rev: Option<i64>,
}

/// Turns documents of one stream into record lines. One per thread: it learns as it goes.
pub struct Shaper {
    plan: Plan,
}

/// Why a walk stopped.
enum Stop {
    /// Not the JSON we accept.
    Json(JsonError),
    /// A key stands twice in one object.
    Twice,
    /// Not the document we expect.
    Odd(String),
}

impl From<JsonError> for Stop {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl Shaper {
    /// A shaper for one stream. `stream` is the whole stream, before pruning; fields that
    /// `selection` excludes are left out of the lines.
    pub fn new(stream: &Stream, resource: &'static Resource, selection: &Selection) -> Self {
        Self { plan: Plan::new(stream, resource, selection) }
    }

    /// Appends one line (a JSON object and `\n`) to `out`. On an error nothing is appended; the
    /// reason names place and problem, never a value.
    pub fn shape(&mut self, raw: &str, out: &mut Vec<u8>) -> Result<Shaped, String> {
        let start = out.len();
        let result = match self.document(raw, out) {
            // Rare: write the document again with only the last of equal keys.
            Err(Stop::Twice) => {
                out.truncate(start);
                let text = walk::without_duplicates(raw).map_err(|error| reason(raw, error))?;
                self.document(&text, out)
            }
            // What is odd may stand there once more, and then the last counts.
            Err(Stop::Odd(reason)) => match walk::without_duplicates(raw) {
                Ok(text) => {
                    out.truncate(start);
                    self.document(&text, out)
                }
                Err(_) => Err(Stop::Odd(reason)),
            },
            result => result,
        };
        match result {
            Ok(shaped) => Ok(shaped),
            Err(stop) => {
                out.truncate(start);
                Err(match stop {
                    Stop::Json(error) => reason(raw, error),
                    Stop::Odd(text) => text,
                    Stop::Twice => "a key stands twice in one object".to_owned(),
                })
            }
        }
    }

    /// Fields that nobody declared and that were met since the last call: dotted path and schema,
    /// so that the stream can grow ([`crate::streams::grow`]) before the records are sent.
    pub fn take_discovered(&mut self) -> Vec<(String, Schema)> {
        std::mem::take(&mut self.plan.discovered)
    }

    fn document(&mut self, raw: &str, out: &mut Vec<u8>) -> Result<Shaped, Stop> {
        let mut reader = Reader::new(raw);
        if reader.peek()? != Peek::Object {
            // Broken text is reported as such, not by its first character.
            let kind = infer::kind_name(reader.peek()?);
            reader.skip()?;
            return Err(Stop::Odd(format!("the record is {kind}, not an object")));
        }
        let start = out.len();
        let mut found = Found::default();
        out.push(b'{');
        walk::members(&mut self.plan, plan::DOCUMENT, &mut reader, raw, out, &mut found)?;
        reader.end()?;
        out.extend_from_slice(b"}\n");
        if memchr::memchr2(b'\n', b'\r', raw.as_bytes()).is_some() {
            // Strings cannot hold raw line breaks, so these stand between values.
            let line = out.len() - 1;
            for byte in &mut out[start..line] {
                if matches!(byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
        }
        let id = match found.id {
            Some(value) if value.starts_with('"') => {
                let inner = &value[1..value.len() - 1];
                Text { raw: inner, escaped: inner.contains('\\') }.decode()
            }
            Some(value) => {
                let kind = infer::kind_of(value);
                return Err(Stop::Odd(format!("`id` is {kind}, not text")));
            }
            None => return Err(Stop::Odd("`id` is missing".to_owned())),
        };
        if id.is_empty() {
            return Err(Stop::Odd("`id` is empty".to_owned()));
        }
        Ok(Shaped {
            id: id.into(),
            updated_at: found.updated_at.and_then(time::parse),
            rev: found.rev.and_then(|digits| digits.parse().ok()),
        })
    }
}

/// A reason that says where in the document the problem is.
fn reason(raw: &str, error: JsonError) -> String {
    let place = walk::path_to(raw, error.offset);
    if place.is_empty() {
        format!("{} at byte {}", error.problem, error.offset)
    } else {
        format!("`{place}`: {} at byte {}", error.problem, error.offset)
    }
}
