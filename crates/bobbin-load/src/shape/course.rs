//! What becomes of rows that belong to a table version (F-86): the same in every destination.

use super::layout::{Deletes, Layout};

/// The version of rows that belong to none.
pub const TABLE_VERSION: i64 = 1;

/// The version of a table whose first version is on its way.
pub const NO_VERSION: i64 = 0;

/// A stream's own table, as it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The version that is whole there, if the table has versions.
    pub active: Option<i64>,
    /// Whether it is there.
    pub exists: bool,
    /// Whether rows are replaced by newer ones of the same key.
    pub keyed: bool,
}

/// What becomes of a version's rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Course {
    /// A later version is whole already: they are not taken.
    pub outdated: bool,
    /// They are the first rows ever, and show at once.
    pub first: bool,
    /// They gather beside the table until their version is whole.
    pub beside: bool,
}

impl Standing {
    /// The course of `version`.
    pub fn course(self, version: i64) -> Course {
        let Self { active, exists, keyed } = self;
        let outdated = active.is_some_and(|active| version < active);
        // Without a key, some may have gathered before the table was dropped.
        let first = !exists && (active.is_none() || keyed && !outdated);
        let beside = !keyed && !outdated && !first && active != Some(version);
        Course { outdated, first, beside }
    }

    /// Whether rows without a version may belong to one that is on its way, which then is the greatest in
    /// the table.
    pub fn may_be_on_the_way(self) -> bool {
        self.keyed && self.exists && self.active.is_some()
    }

    /// Whether rows that a whole version no longer has stay, with a mark.
    pub fn marks(self, layout: Layout) -> bool {
        layout.deletes == Deletes::Mark && self.keyed && self.exists
    }
}
