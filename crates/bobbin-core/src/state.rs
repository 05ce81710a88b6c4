//! How far each stream got.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::StreamName;

/// All bookmarks of a connection. A bookmark's form belongs to the tap that made it; nobody else
/// looks inside.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// One bookmark per stream.
    pub bookmarks: BTreeMap<StreamName, Value>,
    /// The stream that was being extracted, if the extraction had not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currently_syncing: Option<StreamName>,
    /// Whatever else the tap wants to find again.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub notes: Map<String, Value>,
}
