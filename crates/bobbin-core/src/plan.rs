//! What a run would change in a destination, as data.

use serde::Serialize;

use crate::id::StreamName;

/// One table of a stream, as loading would leave it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TablePlan {
    /// The stream whose records, or whose records' items, it holds.
    pub stream: StreamName,
    /// Its name, exactly as loading gives it.
    pub table: String,
    /// Whether it is there.
    #[serde(flatten)]
    pub state: TableState,
    /// The columns that tell its rows apart; none in a table that only grows.
    pub key: Vec<String>,
    /// Its columns, in their order.
    pub columns: Vec<ColumnPlan>,
}

impl TablePlan {
    /// Whether its stream cannot be loaded.
    pub fn stops(&self) -> bool {
        matches!(self.state, TableState::Stops { .. })
    }
}

/// Whether a table is there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TableState {
    /// It is made with its first row.
    Made,
    /// It is there.
    There,
    /// Nothing can be loaded into it until a person has acted.
    Stops {
        /// What loading would say.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// One column of a planned table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ColumnPlan {
    /// Its name, exactly as loading gives it; for a field without a name, the field.
    pub name: String,
    /// Its type in the destination's words; none until the first value decides.
    #[serde(rename = "type")]
    pub ty: Option<String>,
    /// Whether it is there.
    #[serde(flatten)]
    pub state: ColumnState,
}

/// Whether a column is there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ColumnState {
    /// It is there.
    There,
    /// It is made with its first value; a system column, with the table's first row.
    FirstValue,
    /// It was dropped by hand and is made again with its next value.
    ComesAgain,
    /// It is made with its first value, which also decides its type.
    TypeByFirstValue,
    /// Its field is new and is not replicated until it is chosen.
    NotChosen,
    /// Somebody else's; it is never written to.
    Yours,
    /// The field gets no column, and its values are set aside.
    Refused {
        /// Why, as in `_sdc_rejected`.
        reason: String,
    },
}
