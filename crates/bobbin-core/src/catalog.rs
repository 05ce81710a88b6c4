//! What a tap offers.

use serde::{Deserialize, Serialize};

use crate::id::StreamName;
use crate::schema::Object;

/// One stream on offer: its shape, key and how changes are found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stream {
    /// Its name, also the table's.
    pub name: StreamName,
    /// The fields, an open object.
    pub fields: Object,
    /// The primary key's fields, top level; empty when there is none.
    pub key: Vec<String>,
    /// The field that orders changes.
    pub replication_key: Option<String>,
    /// Fields that tell which of two versions of one record is newer, most telling first (for
    /// Kustomer: `rev`, then `updated_at`). A version in which a field is absent is older than
    /// one that has it. After them the extraction sequence decides.
    pub version_fields: Vec<String>,
    /// What the stream is, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Everything on offer, in the order it is extracted.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// The streams.
    pub streams: Vec<Stream>,
}

impl Catalog {
    /// A stream by name.
    pub fn stream(&self, name: &StreamName) -> Option<&Stream> {
        self.streams.iter().find(|stream| &stream.name == name)
    }
}
