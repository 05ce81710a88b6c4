//! What a segment is; how it is stored belongs to the engine's spool.

use serde::{Deserialize, Serialize};

use crate::id::{SegmentId, StreamName};
use crate::state::State;

/// The weight at which a segment is sealed and a round committed, though it has few rows.
pub const MOST_WEIGHT: u64 = 128 << 20;

/// Bytes from which a line is long.
const LONG: u64 = 64 << 10;

/// What a line of so many bytes counts towards [`MOST_WEIGHT`].
///
/// A long one counts fourfold: while it is loaded there are several copies of it, and a database holds
/// what it cannot put aside until the round is committed. So a round may have many usual records and
/// no more than three of 10 MB.
pub fn weight(bytes: u64) -> u64 {
    if bytes < LONG { bytes } else { bytes.saturating_mul(4) }
}

/// One sealed run of records of one stream.
///
/// Its bytes are newline-delimited JSON as in [`crate::record::Records`], each object led by two
/// fields: `_sdc_extracted_at` (RFC 3339) and `_sdc_sequence` (a 64-bit integer that grows over
/// all segments of a connection). A rejected record is a line with the one further field
/// `_sdc_rejected`: an object of `reason` and `record`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Segment {
    /// Which.
    pub id: SegmentId,
    /// The stream.
    pub stream: StreamName,
    /// Lines that are records.
    pub records: u64,
    /// Lines that are rejected records.
    pub rejected: u64,
    /// Bytes of text before compression.
    pub bytes: u64,
    /// The [`weight`]s of its lines.
    #[serde(default)]
    pub weight: u64,
    /// The table version its records belong to ([`crate::record::Records::version`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Whether rows of other versions than `version` are no more once this segment is loaded
    /// ([`crate::tap::Output::activate`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub activates: bool,
    /// The state that may be committed once this segment and all before it are durable.
    pub state: Option<State>,
}
