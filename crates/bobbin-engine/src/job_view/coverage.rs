//! Which part of a table's time was read, compared and loaded. What is drawn of it never looks better than
//! the worst of what it stands for.

use jiff::Timestamp;

use super::{JobView, TableView, WindowView};

/// How far a part of time is, from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Coverage {
    /// It is durable in the destination.
    Loaded,
    /// It was read, and the source counts as many records as came.
    Verified,
    /// It was read to its end; the source gave no count to compare with.
    Fetched,
    /// It is still to be read.
    Planned,
    /// It was read, but the numbers differ; or its turn did not come before the end.
    Incomplete,
}

impl Coverage {
    /// The word for people, also a class of a drawing.
    pub fn word(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Verified => "verified",
            Self::Fetched => "fetched",
            Self::Planned => "planned",
            Self::Incomplete => "incomplete",
        }
    }
}

/// A part of a drawing of which everything is alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// The first of its cells.
    pub first: usize,
    /// How many cells.
    pub cells: usize,
    /// The worst of what is in it.
    pub coverage: Coverage,
}

impl JobView {
    /// How far a window is.
    pub fn coverage(&self, table: &TableView, window: &WindowView) -> Coverage {
        if !window.verified {
            return Coverage::Incomplete;
        }
        if window.records <= table.durable || self.is_settled(table) {
            return Coverage::Loaded;
        }
        if window.expected.is_some() { Coverage::Verified } else { Coverage::Fetched }
    }

    /// Whether a table's job has ended in order and everything it extracted is durable.
    fn is_settled(&self, table: &TableView) -> bool {
        let in_order = |outcome: &str| outcome == "complete" || outcome == "incomplete";
        self.ended.as_ref().is_some_and(|ended| in_order(&ended.outcome)) && table.is_released()
    }

    /// How far that is which no window covers.
    fn uncovered(&self, table: &TableView) -> Coverage {
        match &table.ended {
            // Where a source has no windows it is read from a list, which is complete as a whole.
            Some(ended) if ended.outcome == "complete" => {
                if table.is_loaded() || self.is_settled(table) {
                    Coverage::Loaded
                } else {
                    Coverage::Fetched
                }
            }
            Some(_) => Coverage::Incomplete,
            None if self.ended.is_some() => Coverage::Incomplete,
            None => Coverage::Planned,
        }
    }

    /// How far a table is that is read whole, without windows.
    pub fn whole(&self, table: &TableView) -> Coverage {
        self.uncovered(table)
    }

    /// A part of a table's time in so many cells of equal length, those alike together. A cell is as the
    /// worst of what touches it.
    pub fn strip(
        &self,
        table: &TableView,
        (from, until): (Timestamp, Timestamp),
        cells: usize,
    ) -> Vec<Stretch> {
        let (start, end) = (from.as_millisecond(), until.as_millisecond());
        if end <= start || cells == 0 {
            return Vec::new();
        }
        let mut found: Vec<Option<Coverage>> = vec![None; cells];
        let mut mark = |from: i64, until: i64, coverage: Coverage| {
            let (from, until) = (from.max(start), until.min(end));
            if until <= from {
                return;
            }
            let cell = |at: i64| {
                let place = i128::from(at - start) * cells as i128 / i128::from(end - start);
                usize::try_from(place).unwrap_or(0).min(cells - 1)
            };
            for cell in &mut found[cell(from)..=cell(until - 1)] {
                *cell = Some(cell.map_or(coverage, |there| there.max(coverage)));
            }
        };
        let uncovered = self.uncovered(table);
        // Everything before this is covered by some window.
        let mut covered = start;
        for window in &table.windows {
            let (from, until) = (window.from.as_millisecond(), window.to.as_millisecond() + 1);
            mark(covered, from, uncovered);
            covered = covered.max(until);
            mark(from, until, self.coverage(table, window));
        }
        mark(covered, end, uncovered);
        let mut stretches: Vec<Stretch> = Vec::new();
        for (first, coverage) in found.into_iter().enumerate() {
            let coverage = coverage.unwrap_or(uncovered);
            match stretches.last_mut().filter(|last| last.coverage == coverage) {
                Some(last) => last.cells += 1,
                None => stretches.push(Stretch { first, cells: 1, coverage }),
            }
        }
        stretches
    }
}
