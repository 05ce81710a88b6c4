//! Cutting an answer into its records without reading them.
//!
//! The envelope is read; each record stays the piece of text it is. So a record that no parser
//! takes (a lone surrogate, `1e400`, 200 levels) does not take its neighbours with it.

use std::ops::Range;

use bobbin_core::json::{JsonError, Peek, Reader};

use super::client::Flaw;

/// An answer's envelope.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Page {
    /// Where each record stands in the text.
    pub records: Vec<Range<usize>>,
    /// `meta.total`, when the API counts.
    pub total: Option<u64>,
    /// `meta.pageSize`: what the API made of the page size asked for.
    pub page_size: Option<u32>,
    /// `links.next`.
    pub next: Next,
}

/// What an answer says about a next page.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Next {
    /// Nothing.
    #[default]
    Absent,
    /// That there is none.
    Null,
    /// Where it is: a path.
    Link(String),
}

/// Text out of an answer's bytes, with the places where bytes that are not UTF-8 were replaced.
pub fn decode_lossy(bytes: &[u8]) -> (String, Vec<usize>) {
    let mut text = String::with_capacity(bytes.len() + 16);
    let mut replaced = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            replaced.push(text.len());
            text.push('\u{FFFD}');
        }
    }
    (text, replaced)
}

/// The text without a byte order mark.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{FEFF}').unwrap_or(text)
}

/// Cuts an answer that should hold records.
///
/// # Errors
/// `Transport` when the text is no complete JSON object (HTML, cut off, empty, something behind
/// it), `Contract` when it is one of the wrong make.
pub fn cut(text: &str) -> Result<Page, Flaw> {
    let mut reader = Reader::new(text);
    let mut page = Page::default();
    if reader.peek().map_err(broken)? != Peek::Object {
        return Err(Flaw::Transport("the answer is not a JSON object".to_owned()));
    }
    reader.object().map_err(broken)?;
    let mut data = false;
    let mut complaint = None;
    while let Some(key) = reader.key().map_err(broken)? {
        match key.raw {
            "data" => {
                data = records(&mut reader, &mut page.records)?;
            }
            "meta" => meta(reader.skip_unchecked().map_err(broken)?, &mut page)?,
            "links" => links(reader.skip_unchecked().map_err(broken)?, &mut page),
            "errors" => {
                let errors = reader.skip_unchecked().map_err(broken)?;
                if !matches!(errors, "[]" | "null") {
                    complaint = Some(super::refusal::complaint(errors));
                }
            }
            _ => {
                reader.skip_unchecked().map_err(broken)?;
            }
        }
    }
    reader.end().map_err(broken)?;
    if let Some(complaint) = complaint {
        return Err(Flaw::Contract(format!("the answer holds errors: {complaint}")));
    }
    if data { Ok(page) } else { Err(Flaw::Contract("the answer holds no data".to_owned())) }
}

fn broken(error: JsonError) -> Flaw {
    Flaw::Transport(format!("the answer is not complete JSON: {error}"))
}

/// The array of records; a single object counts as one record.
fn records(reader: &mut Reader<'_>, out: &mut Vec<Range<usize>>) -> Result<bool, Flaw> {
    match reader.peek().map_err(broken)? {
        Peek::Array => {
            reader.array().map_err(broken)?;
            while reader.item().map_err(broken)? {
                let record = reader.skip_unchecked().map_err(broken)?;
                let end = reader.offset();
                out.push(end - record.len()..end);
            }
            Ok(true)
        }
        Peek::Object => {
            let record = reader.skip_unchecked().map_err(broken)?;
            let end = reader.offset();
            out.push(end - record.len()..end);
            Ok(true)
        }
        _ => {
            reader.skip_unchecked().map_err(broken)?;
            Ok(false)
        }
    }
}

fn meta(text: &str, page: &mut Page) -> Result<(), Flaw> {
    let Ok(serde_json::Value::Object(meta)) = serde_json::from_str(text) else { return Ok(()) };
    let number = |key: &str| match meta.get(key)? {
        serde_json::Value::Number(number) => number.as_u64(),
        serde_json::Value::String(text) => text.parse().ok(),
        _ => None,
    };
    page.total = number("total");
    page.page_size = number("pageSize").and_then(|n| u32::try_from(n).ok());
    if meta.get("timed_out") == Some(&serde_json::Value::Bool(true)) {
        return Err(Flaw::Transport("the search timed out and is partial".to_owned()));
    }
    Ok(())
}

fn links(text: &str, page: &mut Page) {
    if let Ok(serde_json::Value::Object(links)) = serde_json::from_str(text) {
        page.next = match links.get("next") {
            None => Next::Absent,
            Some(next) => next.as_str().map_or(Next::Null, |link| Next::Link(link.to_owned())),
        };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    fn kind(text: &str) -> &'static str {
        match cut(text) {
            Ok(_) => "page",
            Err(Flaw::Transport(_)) => "transport",
            Err(Flaw::Contract(_)) => "contract",
            Err(Flaw::Encoding) => "encoding",
        }
    }

    #[test]
    fn a_page_is_cut_where_its_records_are() {
        let text = r#"{"meta":{"page":1,"pageSize":"100","total":3},"data":[{"id":"a"}, {"id":"\ud800","x":1e400},
            {"id":"c"}],"links":{"next":null}}"#;
        let page = cut(text).unwrap();
        assert_eq!(page.total, Some(3));
        assert_eq!(page.page_size, Some(100));
        assert_eq!(page.next, Next::Null);
        let records: Vec<&str> = page.records.iter().map(|range| &text[range.clone()]).collect();
        assert_eq!(records, [r#"{"id":"a"}"#, r#"{"id":"\ud800","x":1e400}"#, r#"{"id":"c"}"#]);
    }

    #[test]
    fn what_is_missing_is_told_from_what_is_wrong() {
        assert_eq!(kind(r#"{"data":[]}"#), "page");
        assert_eq!(kind(r#"{"data":{"id":"a"}}"#), "page");
        assert_eq!(kind(r#"{"data":[],"errors":[]}"#), "page");
        assert_eq!(kind(""), "transport");
        assert_eq!(kind("<html></html>"), "transport");
        assert_eq!(kind(r#"{"data":[{"id":"a"}"#), "transport");
        assert_eq!(kind(r#"{"data":[{"id":"a"},{"id":"#), "transport");
        assert_eq!(kind(r#"{"data":[]}<html>"#), "transport");
        assert_eq!(kind(r#"{"data":[],"meta":{"timed_out":true}}"#), "transport");
        assert_eq!(kind("[]"), "transport");
        assert_eq!(kind("{}"), "contract");
        assert_eq!(kind(r#"{"data":null}"#), "contract");
        assert_eq!(kind(r#"{"errors":[{"code":"x"}],"data":[]}"#), "contract");
    }

    #[test]
    fn replaced_bytes_are_known_by_their_place() {
        let (text, replaced) = decode_lossy(b"ab\xffc\xef\xbf\xbd");
        assert_eq!(text, "ab\u{FFFD}c\u{FFFD}");
        assert_eq!(replaced, [2]);
    }
}
