//! Takes fields that were left out of the selection out of a record's text, for sources that send them all
//! the same.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{JsonError, Peek, Reader};

/// The record without the fields at `paths` (dotted; fields of an array's objects have the array's
/// path before theirs). Every other character stays as it is.
///
/// # Errors
/// When the text is not the JSON we accept.
pub fn strip<'a>(record: &'a str, paths: &BTreeSet<String>) -> Result<Cow<'a, str>, JsonError> {
    let mut stripper = Stripper { text: record, paths, out: String::new(), from: 0 };
    let mut r = Reader::new(record);
    stripper.value(&mut r, &mut String::new())?;
    if stripper.from == 0 {
        return Ok(Cow::Borrowed(record));
    }
    stripper.out.push_str(&record[stripper.from..]);
    Ok(Cow::Owned(stripper.out))
}

struct Stripper<'a> {
    text: &'a str,
    paths: &'a BTreeSet<String>,
    out: String,
    /// Up to here the text was copied or left out.
    from: usize,
}

impl Stripper<'_> {
    fn value(&mut self, r: &mut Reader<'_>, path: &mut String) -> Result<(), JsonError> {
        match r.peek()? {
            Peek::Object => self.object(r, path),
            Peek::Array => {
                r.array()?;
                while r.item()? {
                    self.value(r, path)?;
                }
                Ok(())
            }
            _ => r.skip().map(|_| ()),
        }
    }

    fn object(&mut self, r: &mut Reader<'_>, path: &mut String) -> Result<(), JsonError> {
        r.object()?;
        // Where the text that stays ends: behind the brace, or behind the last member that stays.
        let mut stays = r.offset();
        let mut kept = false;
        let mut dropped = false;
        loop {
            let before = r.offset();
            let Some(key) = r.key()? else { break };
            let length = path.len();
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&key.decode());
            if self.paths.contains(path.as_str()) {
                r.skip()?;
                if !dropped {
                    dropped = true;
                    stays = before;
                }
            } else {
                if dropped {
                    self.leave_out(stays, before);
                    dropped = false;
                    // The comma before this member goes when nothing stands before it.
                    if !kept && self.text[before..].trim_start().starts_with(',') {
                        let comma = before + self.text[before..].find(',').unwrap_or(0);
                        self.leave_out(before, comma + 1);
                    }
                }
                kept = true;
                self.value(r, path)?;
            }
            path.truncate(length);
        }
        if dropped {
            // `r` stands behind the brace.
            self.leave_out(stays, r.offset() - 1);
        }
        Ok(())
    }

    fn leave_out(&mut self, from: usize, to: usize) {
        self.out.push_str(&self.text[self.from..from]);
        self.from = to;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn fields_go_and_the_rest_stays() {
        for (record, paths, expected) in [
            (r#"{"a":1,"b":2,"c":3}"#, "", r#"{"a":1,"b":2,"c":3}"#),
            (r#"{"a":1,"b":2,"c":3}"#, "a", r#"{"b":2,"c":3}"#),
            (r#"{"a":1, "b":2,"c":3.10}"#, "b", r#"{"a":1,"c":3.10}"#),
            (r#"{"a":1,"b":2 , "c":3}"#, "c", r#"{"a":1,"b":2}"#),
            (r#"{"a":1,"b":2,"c":3}"#, "a b", r#"{"c":3}"#),
            (r#"{"a":1,"b":2,"c":3}"#, "a c", r#"{"b":2}"#),
            (r#"{ "a":1 }"#, "a", "{}"),
            (r#"{"a":{"x":"}","y":[1]},"b":2}"#, "a.x", r#"{"a":{"y":[1]},"b":2}"#),
            (r#"{"a":[{"x":1,"y":2},3,{"x":1}]}"#, "a.x", r#"{"a":[{"y":2},3,{}]}"#),
            (r#"{"a":{"b":1},"c":{"d":1,"e":2}}"#, "a c.d", r#"{"c":{"e":2}}"#),
            (r#"{"\u0061":1,"b":2}"#, "a", r#"{"b":2}"#),
        ] {
            let paths: BTreeSet<String> = paths.split_whitespace().map(str::to_owned).collect();
            let stripped = strip(record, &paths).unwrap();
            let same: serde_json::Value = serde_json::from_str(&stripped).unwrap();
            assert_eq!(same, serde_json::from_str::<serde_json::Value>(expected).unwrap());
            assert_eq!(
                stripped.replace(", ", ",").replace(" }", "}").replace("{ ", "{").replace(' ', ""),
                expected,
                "{record}"
            );
        }
        assert!(strip("{\"a\"}", &BTreeSet::new()).is_err());
    }
}
