//! One answer made into record lines, on the thread that received it.
//!
//! Every record of the page gets a [`Row`], also one that cannot be shaped: it is set aside with
//! its reason, and still counts toward its window's total.

use bobbin_core::json::{Peek, Reader};
use bobbin_core::record::Rejected;
use bobbin_core::schema::Schema;
use jiff::Timestamp;

use crate::http::pages::{Next, cut, decode_lossy, without_mark};
use crate::http::{Answer, Flaw};
use crate::shape::Shaper;

/// Stands for an `updatedAt` or `rev` that is missing.
pub(crate) const NONE: i64 = i64::MIN;

/// How many answers out of order are asked for again before one is taken as it is.
const PATIENCE: u32 = 2;

/// What to look for in a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadSpec {
    /// `updatedAt` in milliseconds, both inclusive, that the query asked for; records are then
    /// also expected in order.
    pub(crate) bounds: Option<(i64, i64)>,
    /// Keep only records whose `updatedAt` lies in here (lists that cannot be asked to).
    pub(crate) keep: Option<(i64, i64)>,
    /// An attribute with an instant to note of every record, for example `createdAt`.
    pub(crate) axis: Option<&'static str>,
}

/// One record of a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    /// Its id; for a record set aside without one, something made from its text.
    pub(crate) id: Box<str>,
    /// `updatedAt` in milliseconds, or [`NONE`].
    pub(crate) updated: i64,
    /// `rev`, or [`NONE`].
    pub(crate) rev: i64,
    /// Where its line ends in the page's text.
    pub(crate) end: usize,
    /// Whether it was set aside: it has no line then, and is the next of `rejected`.
    pub(crate) rejected: bool,
}

/// A page, ready to be handed over.
#[derive(Debug)]
pub(crate) struct PageData {
    /// The lines.
    pub(crate) text: Vec<u8>,
    /// The records, in the order of the page.
    pub(crate) rows: Vec<Row>,
    /// Records set aside, in the order of the page.
    pub(crate) rejected: Vec<Rejected>,
    /// Fields met for the first time.
    pub(crate) discovered: Vec<(String, Schema)>,
    /// The query's total, when the API counts.
    pub(crate) total: Option<u64>,
    /// The page size the API used.
    pub(crate) page_size: Option<u32>,
    /// The link to the next page.
    pub(crate) next: Next,
    /// When the answer was here.
    pub(crate) at: Timestamp,
    /// How many records the answer held, also those that `keep` left out.
    pub(crate) received: usize,
    /// Whether all records are in bounds, in order and different.
    pub(crate) ordered: bool,
    /// The noted attribute of every record that has it, in milliseconds.
    pub(crate) axis: Vec<i64>,
}

/// Reads an answer. `text` is an empty buffer to write lines to.
///
/// # Errors
/// When the answer is not a page, or its records are not what was asked for.
pub(crate) fn read(
    answer: &Answer<'_>,
    spec: &ReadSpec,
    shaper: &mut Shaper,
    mut text: Vec<u8>,
) -> Result<PageData, Flaw> {
    text.clear();
    let decoded;
    let (body, replaced): (&str, Vec<usize>) = match std::str::from_utf8(answer.bytes) {
        Ok(body) => (without_mark(body), Vec::new()),
        Err(_) if answer.lossy => {
            let (lossy, replaced) = decode_lossy(answer.bytes);
            decoded = lossy;
            let body = without_mark(&decoded);
            let mark = decoded.len() - body.len();
            (body, replaced.into_iter().map(|at| at.saturating_sub(mark)).collect())
        }
        Err(_) => return Err(Flaw::Encoding),
    };
    let cut = cut(body)?;
    // Lines are about as long as what they are made of; growing would double it.
    text.reserve(body.len());
    let mut page = PageData {
        text,
        rows: Vec::with_capacity(cut.records.len()),
        rejected: Vec::new(),
        discovered: Vec::new(),
        total: cut.total,
        page_size: cut.page_size,
        next: cut.next,
        at: answer.at,
        received: cut.records.len(),
        ordered: true,
        axis: Vec::new(),
    };
    let mut outside = 0;
    let mut last = NONE;
    for range in cut.records {
        let raw = &body[range.clone()];
        let before = page.text.len();
        let shaped = if replaced.iter().any(|at| range.contains(at)) {
            Err("it holds bytes that are not UTF-8".to_owned())
        } else {
            shaper.shape(raw, &mut page.text)
        };
        let row = match shaped {
            Ok(shaped) => Row {
                id: shaped.id,
                updated: shaped.updated_at.map_or(NONE, Timestamp::as_millisecond),
                rev: shaped.rev.unwrap_or(NONE),
                end: page.text.len(),
                rejected: false,
            },
            Err(reason) => {
                page.text.truncate(before);
                let row = lenient(raw, before);
                if keeps(spec, row.updated) {
                    page.rejected.push(Rejected {
                        reason,
                        record: raw.to_owned(),
                        extracted_at: answer.at,
                    });
                }
                row
            }
        };
        if !keeps(spec, row.updated) {
            page.text.truncate(before);
            continue;
        }
        if let Some((from, to)) = spec.bounds
            && row.updated != NONE
        {
            if row.updated < from || row.updated > to {
                outside += 1;
            } else if row.updated < last {
                page.ordered = false;
            } else {
                last = row.updated;
            }
        }
        if let Some(axis) = spec.axis
            && let Some(instant) = attribute_instant(raw, axis)
        {
            page.axis.push(instant);
        }
        page.rows.push(row);
    }
    page.discovered = shaper.take_discovered();
    // A buffer that served larger pages before would weigh more than it holds.
    if page.text.capacity() > page.text.len() * 3 / 2 + (64 << 10) {
        page.text.shrink_to_fit();
    }
    page.ordered &= outside == 0;
    if !page.ordered && answer.flawed < PATIENCE {
        return Err(Flaw::Contract("records are out of order or out of bounds".to_owned()));
    }
    // A single record that says something else about itself than the index does is no reason to
    // stop; an API that does not honour the bounds is.
    if outside > 2 + page.rows.len() / 50 {
        return Err(Flaw::Contract(
            "the API answers with records outside the time span that was asked for".to_owned(),
        ));
    }
    Ok(page)
}

fn keeps(spec: &ReadSpec, updated: i64) -> bool {
    spec.keep.is_none_or(|(from, to)| updated == NONE || (updated >= from && updated <= to))
}

/// What can be told of a record that cannot be shaped.
fn lenient(raw: &str, end: usize) -> Row {
    let id = member(raw, "id")
        .and_then(|text| text.strip_prefix('"')?.strip_suffix('"'))
        .filter(|id| !id.is_empty())
        .map_or_else(|| fingerprint(raw), Box::from);
    let attributes = member(raw, "attributes");
    let instant = |name| attributes.and_then(|text| parse_instant(member(text, name)?));
    let rev = attributes.and_then(|text| member(text, "rev")?.parse().ok());
    Row {
        id,
        updated: instant("updatedAt").unwrap_or(NONE),
        rev: rev.unwrap_or(NONE),
        end,
        rejected: true,
    }
}

/// A name for a record without one: the same text has the same name.
fn fingerprint(raw: &str) -> Box<str> {
    use std::hash::Hasher;
    let mut first = rustc_hash::FxHasher::default();
    first.write(raw.as_bytes());
    let mut second = rustc_hash::FxHasher::default();
    second.write_usize(raw.len());
    second.write(raw.as_bytes());
    format!("?{:016x}{:016x}", first.finish(), second.finish()).into()
}

/// An attribute's instant in milliseconds.
fn attribute_instant(raw: &str, name: &str) -> Option<i64> {
    parse_instant(member(member(raw, "attributes")?, name)?)
}

fn parse_instant(text: &str) -> Option<i64> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    inner.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// The text of an object's member, found by brackets and quotes alone.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut reader = Reader::new(object);
    if reader.peek().ok()? != Peek::Object {
        return None;
    }
    reader.object().ok()?;
    while let Ok(Some(key)) = reader.key() {
        let value = reader.skip_unchecked().ok()?;
        if key.raw == name {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_told_of_a_broken_record_is_told() {
        let raw = r#"{"type":"note","id":"n1","attributes":{"body":"\ud800","updatedAt":"2026-01-01T00:00:00.250Z","rev":7}}"#;
        let row = lenient(raw, 0);
        assert_eq!((&*row.id, row.updated, row.rev), ("n1", 1_767_225_600_250, 7));
        let row = lenient(r#"{"attributes":5}"#, 0);
        assert!(row.id.starts_with('?'));
        assert_eq!(row, lenient(r#"{"attributes":5}"#, 0));
        assert_ne!(row.id, lenient(r#"{"attributes":6}"#, 0).id);
    }
}
