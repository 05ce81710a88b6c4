//! Records in motion: JSON text, never values. Text is what rests in the spool, what Singer
//! speaks, and what decodes into columns fastest.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A run of records of one stream, in order: newline-delimited JSON objects in UTF-8.
///
/// Every line ends with `\n`, holds one valid JSON object at least one field wide, and no raw
/// newline. Field names are the stream's, at most 128 levels deep; numbers are the source's own
/// digits, finite as a double.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// The lines.
    pub text: &'a [u8],
    /// How many lines there are.
    pub count: u64,
    /// When the source answered with them.
    pub extracted_at: Timestamp,
    /// The table version they belong to, when the stream is read whole and replaces what was there
    /// (`stitch-behaviour.md` 7.9); none for streams that only change.
    pub version: Option<i64>,
}

/// A record that could not be taken, kept with its reason.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rejected {
    /// Why, as a sentence that names path and types but no value.
    pub reason: String,
    /// The record as it came, as far as it can be shown as text.
    pub record: String,
    /// When the source answered with it.
    pub extracted_at: Timestamp,
}
