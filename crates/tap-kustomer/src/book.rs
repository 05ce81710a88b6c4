//! Who was received: so that a window can be counted and no version is handed over twice.

use rustc_hash::FxHashMap;

use crate::page::{NONE, Row};

/// Most entries kept beyond the window being read.
const MOST: usize = 400_000;

#[derive(Clone, Copy, Debug)]
struct Entry {
    updated: i64,
    rev: i64,
    window: u32,
    attempt: u32,
}

/// Ids received in the window being read and around its edges.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: FxHashMap<Box<str>, Entry>,
    windows: u32,
}

/// What is new about a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Admitted {
    /// Not received before in this attempt at the window.
    pub(crate) in_attempt: bool,
    /// Not received before in any attempt since `base`.
    pub(crate) in_union: bool,
    /// A version that was not handed over yet, and not an older one.
    pub(crate) emit: bool,
}

impl Book {
    /// A number for a window that begins.
    pub(crate) fn window(&mut self) -> u32 {
        self.windows += 1;
        self.windows
    }

    /// Notes a record received in `attempt` (from 1) at `window`; earlier attempts than `base`
    /// do not count.
    pub(crate) fn admit(&mut self, row: &Row, window: u32, attempt: u32, base: u32) -> Admitted {
        let fresh = Entry { updated: row.updated, rev: row.rev, window, attempt };
        let Some(entry) = self.entries.get_mut(&row.id) else {
            self.entries.insert(row.id.clone(), fresh);
            return Admitted { in_attempt: true, in_union: true, emit: true };
        };
        let same_window = entry.window == window;
        let in_attempt = !(same_window && entry.attempt == attempt);
        let in_union = !(same_window && entry.attempt >= base);
        let same = entry.rev == row.rev && entry.updated == row.updated;
        let older = (entry.rev != NONE && row.rev != NONE && row.rev < entry.rev)
            || (entry.rev == row.rev && row.updated < entry.updated);
        entry.window = window;
        entry.attempt = attempt;
        let emit = !same && !older;
        if emit {
            entry.updated = row.updated;
            entry.rev = row.rev;
        }
        Admitted { in_attempt, in_union, emit }
    }

    /// Forgets what lies before `floor`: it will not come again.
    pub(crate) fn forget_before(&mut self, floor: i64) {
        if self.entries.len() > 2_000 {
            self.entries.retain(|_, entry| entry.updated >= floor);
            if self.entries.len() > MOST {
                self.entries.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, updated: i64, rev: i64) -> Row {
        Row { id: id.into(), updated, rev, end: 0, rejected: false }
    }

    #[test]
    fn a_version_is_handed_over_once_and_never_after_a_newer_one() {
        let mut book = Book::default();
        assert!(book.admit(&row("a", 10, 1), 1, 1, 1).emit);
        assert!(!book.admit(&row("a", 10, 1), 2, 1, 1).emit);
        assert!(book.admit(&row("a", 12, 2), 2, 1, 1).emit);
        assert!(!book.admit(&row("a", 10, 1), 2, 1, 1).emit);
        assert!(book.admit(&row("b", 10, NONE), 2, 1, 1).emit);
        assert!(book.admit(&row("b", 11, NONE), 2, 1, 1).emit);
        assert!(!book.admit(&row("b", 10, NONE), 2, 1, 1).emit);
    }

    #[test]
    fn attempts_are_counted_alone_and_together() {
        let mut book = Book::default();
        let a = row("a", 1, 1);
        assert_eq!(
            book.admit(&a, 7, 1, 1),
            Admitted { in_attempt: true, in_union: true, emit: true }
        );
        assert_eq!(
            book.admit(&a, 7, 1, 1),
            Admitted { in_attempt: false, in_union: false, emit: false }
        );
        assert_eq!(
            book.admit(&a, 7, 2, 1),
            Admitted { in_attempt: true, in_union: false, emit: false }
        );
        assert_eq!(
            book.admit(&a, 7, 3, 3),
            Admitted { in_attempt: true, in_union: true, emit: false }
        );
    }
}
