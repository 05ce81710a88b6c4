//! Takes fields that were left out of the selection out of a record's text.

use std::collections::BTreeSet;

use bobbin_core::json::{JsonError, Peek, Reader};

/// Appends to `out` the record without the fields at `paths` (dotted; fields of an array's objects have
/// the array's path before theirs). Every other character stays as it is.
///
/// # Errors
/// When the text is not the JSON we accept.
pub(crate) fn strip(
    out: &mut Vec<u8>,
    record: &str,
    paths: &BTreeSet<String>,
) -> Result<(), JsonError> {
    let mut stripper = Stripper { paths, path: String::new(), out };
    stripper.value(&mut Reader::new(record))
}

struct Stripper<'a> {
    paths: &'a BTreeSet<String>,
    /// Where in the record we are.
    path: String,
    out: &'a mut Vec<u8>,
}

impl Stripper<'_> {
    fn value(&mut self, r: &mut Reader<'_>) -> Result<(), JsonError> {
        match r.peek()? {
            Peek::Object => self.object(r),
            Peek::Array => {
                r.array()?;
                self.out.push(b'[');
                let mut first = true;
                while r.item()? {
                    if !std::mem::take(&mut first) {
                        self.out.push(b',');
                    }
                    self.value(r)?;
                }
                self.out.push(b']');
                Ok(())
            }
            _ => {
                self.out.extend_from_slice(r.skip()?.as_bytes());
                Ok(())
            }
        }
    }

    fn object(&mut self, r: &mut Reader<'_>) -> Result<(), JsonError> {
        r.object()?;
        self.out.push(b'{');
        let mut first = true;
        while let Some(key) = r.key()? {
            let above = self.path.len();
            if above > 0 {
                self.path.push('.');
            }
            key.decode_into(&mut self.path);
            if self.paths.contains(&self.path) {
                r.skip()?;
            } else {
                if !std::mem::take(&mut first) {
                    self.out.push(b',');
                }
                self.out.push(b'"');
                self.out.extend_from_slice(key.raw.as_bytes());
                self.out.extend_from_slice(b"\":");
                self.value(r)?;
            }
            self.path.truncate(above);
        }
        self.out.push(b'}');
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn fields_go_and_the_rest_stays() {
        for (record, paths, expected) in [
            (r#"{"a":1,"b":2,"c":3.10}"#, "", r#"{"a":1,"b":2,"c":3.10}"#),
            (r#"{"a":1,"b":2,"c":3}"#, "a", r#"{"b":2,"c":3}"#),
            (r#"{"a":1, "b":2,"c":1e5}"#, "b", r#"{"a":1,"c":1e5}"#),
            (r#"{"a":1,"b":2,"c":3}"#, "a b c", "{}"),
            (r#"{"a":{"x":"}","y":[1, 2]},"b":2}"#, "a.x", r#"{"a":{"y":[1,2]},"b":2}"#),
            (r#"{"a":[{"x":1,"y":2},3,{"x":1}]}"#, "a.x", r#"{"a":[{"y":2},3,{}]}"#),
            (r#"{"\u0061":1,"\u0062":"\u0063"}"#, "a", r#"{"\u0062":"\u0063"}"#),
        ] {
            let paths: BTreeSet<String> = paths.split_whitespace().map(str::to_owned).collect();
            let mut out = Vec::new();
            strip(&mut out, record, &paths).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{record}");
        }
        assert!(strip(&mut Vec::new(), "{\"a\"}", &BTreeSet::new()).is_err());
    }
}
