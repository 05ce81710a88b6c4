//! How a connection's tables are to look: what a person may choose.
//!
//! The rules are those of `stitch-behaviour.md` section 7; where its documents contradict
//! themselves, section 12 decides, and the decision's name (C6, C21 …) stands beside the rule.

/// The choices for one connection's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Where arrays go.
    pub arrays: Arrays,
    /// How columns and tables get their names, and what becomes of what has none.
    pub naming: Naming,
    /// What a record does to an earlier one of the same key.
    pub loading: Loading,
    /// What a column is called once a second type arrives for it (C6).
    pub split: Split,
    /// What happens to a table whose stream has another key than the table (C23).
    pub key_change: KeyChange,
    /// What becomes of the rows of records that are gone in the source.
    pub deletes: Deletes,
    /// Most columns of a table, or the destination's own number. Undeclared fields beyond it go to one
    /// JSON column; declared ones always have theirs.
    pub max_columns: Option<usize>,
}

/// Where arrays go (`stitch-behaviour.md` 7.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrays {
    /// Into a column of the record's own row: a list of scalars, or JSON.
    Columns,
    /// Into a table of their own, one row an item (F-70).
    Tables,
}

/// How names are given (`stitch-behaviour.md` 7.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naming {
    /// Every field gets a column: what is too long or taken ends in a short hash.
    Bobbin,
    /// As Stitch does: special characters go; what is then too long, taken or reserved is rejected
    /// with its reason (F-74 to F-79).
    Stitch,
}

/// What a record does to an earlier one of the same key (`stitch-behaviour.md` 7.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loading {
    /// The newest version replaces the others.
    Upsert,
    /// Each version stays; the newest has the greatest `_sdc_sequence` (F-68).
    Append,
}

/// What the first column is called once a second type arrives for a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Split {
    /// As before: `age` beside `age__st`.
    KeepsName,
    /// `age` becomes `age__bi` beside `age__st`, as Stitch does in PostgreSQL.
    Renames,
}

/// What happens to a table whose stream has another key than the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyChange {
    /// The table stops with a message.
    Stops,
    /// From then on each version is a row, as in [`Loading::Append`].
    Appends,
}

/// What becomes of the rows of records that are gone in the source: those that a tap marks
/// (`_sdc_deleted_at`), and those that a version which is whole no longer has (`singer.md` 10; the
/// setting `hard_delete`). Only tables with keys know the difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deletes {
    /// What is marked stays, with its mark; what a version no longer has goes.
    AsTold,
    /// Both go.
    Remove,
    /// Both stay, with a mark.
    Mark,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            arrays: Arrays::Columns,
            naming: Naming::Bobbin,
            loading: Loading::Upsert,
            split: Split::KeepsName,
            key_change: KeyChange::Stops,
            deletes: Deletes::AsTold,
            max_columns: None,
        }
    }
}
