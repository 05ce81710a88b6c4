//! Records that were set aside, as a destination tells of them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::json::Reader;

/// What to tell of the records set aside.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RejectedQuery {
    /// Only those of this table.
    pub table: Option<String>,
    /// Most records to give one by one, newest first.
    pub most: u64,
    /// Whether their text is wanted.
    pub text: bool,
}

/// The records set aside of one connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RejectedList {
    /// All of them, counted.
    pub groups: Vec<RejectedGroup>,
    /// The newest one by one.
    pub records: Vec<RejectedRecord>,
}

/// Records set aside of one table for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RejectedGroup {
    /// The table they were meant for.
    pub table: String,
    /// Why, without any value.
    pub reason: String,
    /// What the reason tells of a field.
    #[serde(flatten)]
    pub fault: Fault,
    /// How many.
    pub records: u64,
    /// When the latest was set aside.
    pub latest: Timestamp,
    /// How many of them were kept whole and can be loaded again.
    pub whole: u64,
    /// How many were too long to be kept whole.
    pub cut: u64,
}

/// What a reason tells of a field, for lists that have a column for it. Reasons name a field in backticks and then
/// what it is: ``the key `id` is a number where the table has text``, `` `id` is null, not text``,
/// `` `attributes.n`: malformed number``.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Fault {
    /// Its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

impl Fault {
    /// What `reason` tells; nothing where it speaks of no field.
    pub fn of(reason: &str) -> Self {
        let field = reason.split_once('`').and_then(|(_, rest)| rest.split_once('`'));
        let Some((field, rest)) = field else { return Self::default() };
        // A record may have several faults; the first stands for it.
        let rest = rest.split("; ").next().unwrap_or_default();
        let told = rest.strip_prefix(" is ").or_else(|| rest.strip_prefix(": ")).map(|told| {
            let both =
                told.split_once(" where the table has ").or_else(|| told.split_once(", not "));
            both.map_or((told, None), |(found, expected)| (found, Some(expected)))
        });
        Self {
            field: Some(field.to_owned()),
            found: told.map(|(found, _)| found.to_owned()),
            expected: told.and_then(|(_, expected)| expected).map(str::to_owned),
        }
    }
}

impl RejectedGroup {
    /// How many are as the source sent them, because the tap could not read them.
    pub fn raw(&self) -> u64 {
        self.records.saturating_sub(self.whole + self.cut)
    }
}

/// A record set aside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RejectedRecord {
    /// When it was set aside.
    pub at: Timestamp,
    /// The table it was meant for.
    pub table: String,
    /// Why, without any value.
    pub reason: String,
    /// Bytes of text that were kept.
    pub bytes: u64,
    /// Its text, when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
}

/// Records that [`crate::destination::Loader::take_rejected`] took back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// A segment's lines.
    pub lines: Vec<u8>,
    /// How many lines.
    pub records: u64,
    /// How many more could be taken.
    pub left: u64,
    /// The sequences so far: a record may be set aside for two reasons.
    seen: BTreeSet<i64>,
}

impl Taken {
    /// Adds a record's text as a line, unless it is there already.
    pub fn push(&mut self, text: &str) {
        if sequence(text).is_some_and(|sequence| !self.seen.insert(sequence)) {
            return;
        }
        // Somebody may have edited it; in JSON a line break is as good as a space.
        self.lines.extend(text.bytes().map(|byte| if byte == b'\n' { b' ' } else { byte }));
        self.lines.push(b'\n');
        self.records += 1;
    }

    /// The `_sdc_sequence` of each line that has one.
    pub fn sequences(&self) -> Vec<i64> {
        let lines = self.lines.split(|&byte| byte == b'\n');
        lines.filter_map(|line| sequence(std::str::from_utf8(line).ok()?)).collect()
    }
}

/// The sequence of a segment's line, its second field.
fn sequence(line: &str) -> Option<i64> {
    let mut reader = Reader::new(line);
    reader.object().ok()?;
    reader.key().ok()??;
    reader.skip().ok()?;
    let key = reader.key().ok()??;
    if key.raw != "_sdc_sequence" {
        return None;
    }
    reader.number().ok()?.parse().ok()
}

/// How the text of a record begins that can be loaded again: as a segment's line
/// ([`crate::segment::Segment`]).
pub const WHOLE_BEGINS: &str = "{\"_sdc_extracted_at\"";

/// How it ends.
pub const WHOLE_ENDS: &str = "}";

/// How the text of a record ends that was too long to be kept whole.
pub const CUT_ENDS: &str = " bytes in all)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_tells_of_a_field() {
        let told = |reason: &str| {
            let Fault { field, found, expected } = Fault::of(reason);
            [field, found, expected].map(Option::unwrap_or_default)
        };
        assert_eq!(
            told("the key `id` is a number where the table has text"),
            ["id", "a number", "text"]
        );
        assert_eq!(told("`id` is null, not text"), ["id", "null", "text"]);
        assert_eq!(told("`id` is missing"), ["id", "missing", ""]);
        assert_eq!(
            told("`a.b`: malformed number at byte 5"),
            ["a.b", "malformed number at byte 5", ""]
        );
        assert_eq!(told("the whole number `a.b` is beyond 64 bits"), ["a.b", "beyond 64 bits", ""]);
        assert_eq!(
            told("the name of `_` has no letter; the name of `?` has no letter"),
            ["_", "", ""]
        );
        for reason in ["not readable as JSON: a `", "bytes that are not UTF-8 at byte 7", ""] {
            assert_eq!(Fault::of(reason), Fault::default(), "{reason}");
        }
    }

    #[test]
    fn taken_records_are_lines_with_their_sequences() {
        let mut taken = Taken::default();
        taken.push(
            "{\"_sdc_extracted_at\":\"2026-01-01T00:00:00Z\",\"_sdc_sequence\":7,\n\"id\":1}",
        );
        taken.push("{\"_sdc_extracted_at\":\"2026-01-01T00:00:00Z\",\"id\":1}");
        assert_eq!(taken.records, 2);
        assert_eq!(taken.lines.split(|&byte| byte == b'\n').count(), 3);
        assert_eq!(taken.sequences(), [7]);
        taken.push("{\"_sdc_extracted_at\":\"2026-01-01T00:00:00Z\",\"_sdc_sequence\":7,\"id\":1}");
        assert_eq!(taken.records, 2, "set aside twice, tried once");
    }
}
