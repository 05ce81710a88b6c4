//! One window of a walk: its pages, its counts, its attempts.

use super::query::{Filter, Query};
use crate::page::{NONE, PageData, ReadSpec};
use crate::window::{Count, Span};

/// How a window is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// By its total.
    Counted,
    /// It is one page, in order, from one moment: complete by its make.
    Snapshot,
    /// It cannot be counted down; as much as can be reached is read.
    Reach,
}

/// One page's place.
#[derive(Debug)]
pub(super) enum Slot {
    Wanted,
    Asked,
    Here(Box<PageData>),
    Done,
}

/// What an attempt came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Verified,
    Differs,
    /// Another attempt would bring nothing.
    Hopeless,
}

/// A window being walked.
#[derive(Debug)]
pub(super) struct Window {
    /// Names this attempt in calls.
    pub(super) unit: u64,
    pub(super) span: Span,
    /// Further criteria, when an instant had to be taken apart.
    pub(super) filters: Vec<Filter>,
    pub(super) kind: Kind,
    pub(super) page_size: u32,
    /// From 1.
    pub(super) attempt: u32,
    /// The first attempt that counts toward the union.
    pub(super) base: u32,
    /// Read one page at a time, each a snapshot.
    pub(super) chase: bool,
    pub(super) pages: Vec<Slot>,
    /// Pages handed over.
    pub(super) handed: usize,
    pub(super) count: Count,
    /// The total as its very first page told it.
    pub(super) first_total: Option<u64>,
    /// The total as the latest page told it.
    last_total: Option<u64>,
    /// Whether all pages of this attempt told the same.
    agreed: bool,
    /// The total when the union began.
    union_total: Option<u64>,
    /// Distinct records of this attempt.
    pub(super) distinct: u64,
    /// Distinct records of all attempts that count.
    pub(super) union: u64,
    pub(super) calls: u32,
    /// The union as the attempt before left it.
    union_before: u64,
    /// Attempts in a row that brought nothing new, and whether the order changes.
    stagnant: u32,
    shuffled: bool,
    /// Its number in the book.
    pub(super) number: Option<u32>,
    /// The noted attribute's instants on a page.
    pub(super) samples: Vec<i64>,
    /// What the first page looks like.
    first: First,
}

#[derive(Clone, Copy, Debug, Default)]
struct First {
    records: u64,
    ordered: bool,
    last: i64,
    before_last: u64,
}

impl Window {
    pub(super) fn new(unit: u64, span: Span, page_size: u32) -> Self {
        Self {
            unit,
            span,
            filters: Vec::new(),
            kind: Kind::Counted,
            page_size,
            attempt: 1,
            base: 1,
            chase: false,
            pages: vec![Slot::Wanted],
            handed: 0,
            count: Count::Unknown,
            first_total: None,
            last_total: None,
            agreed: true,
            union_total: None,
            distinct: 0,
            union: 0,
            calls: 0,
            union_before: 0,
            stagnant: 0,
            shuffled: false,
            number: None,
            samples: Vec::new(),
            first: First::default(),
        }
    }

    /// The same, read one page at a time.
    pub(super) fn chasing(mut self) -> Self {
        self.chase = true;
        self
    }

    /// The same window from the start with other pages.
    pub(super) fn afresh(&self, unit: u64, page_size: u32) -> Self {
        Self {
            filters: self.filters.clone(),
            kind: if self.kind == Kind::Snapshot { Kind::Counted } else { self.kind },
            chase: self.chase,
            calls: self.calls,
            attempt: self.attempt + 1,
            base: self.attempt + 1,
            number: self.number,
            ..Self::new(unit, self.span, page_size)
        }
    }

    /// The next page to ask for, which is then taken as asked.
    pub(super) fn ask(&mut self) -> Option<u32> {
        let index = self.pages.iter().position(|slot| matches!(slot, Slot::Wanted))?;
        self.pages[index] = Slot::Asked;
        self.calls += 1;
        Some(index as u32 + 1)
    }

    /// How many pages are still to be asked for.
    pub(super) fn wanted(&self) -> usize {
        self.pages.iter().filter(|slot| matches!(slot, Slot::Wanted)).count()
    }

    /// The page was not answered and is wanted still.
    pub(super) fn ask_again(&mut self, page: u32) {
        if let Some(slot @ Slot::Asked) = self.pages.get_mut(page as usize - 1) {
            *slot = Slot::Wanted;
        }
    }

    /// Whether it is known how many pages there are.
    pub(super) fn is_sized(&self) -> bool {
        !matches!(self.pages.first(), Some(Slot::Wanted | Slot::Asked))
    }

    pub(super) fn spec(&self) -> ReadSpec {
        ReadSpec {
            bounds: Some((self.span.from, self.span.to)),
            keep: None,
            axis: match self.filters.last() {
                Some(filter) => Query::attribute(filter.axis()),
                None if self.span.is_instant() => Query::attribute(0),
                None => None,
            },
        }
    }

    /// Takes a page in. True when it is the first one and the window should be sized up.
    pub(super) fn take(&mut self, page: u32, data: PageData, cap: u64) -> bool {
        let index = page as usize - 1;
        if !matches!(self.pages.get(index), Some(Slot::Asked)) {
            return false;
        }
        let records = data.received as u64;
        let full = records >= u64::from(self.page_size);
        if page == 1 {
            self.count = Count::of(data.total);
            self.first_total = self.first_total.or(data.total);
            self.first = First::of(&data);
        }
        if self.last_total.is_some() && self.last_total != data.total {
            self.agreed = false;
        }
        self.last_total = data.total.or(self.last_total);
        if self.samples.len() < 2_000 {
            self.samples.extend_from_slice(&data.axis);
        }
        let most = if self.chase { 1 } else { (cap / u64::from(self.page_size)).max(1) as usize };
        let needed = match Count::of(data.total) {
            Count::Exact(total) | Count::AtLeast(total) => {
                total.div_ceil(u64::from(self.page_size)).max(1) as usize
            }
            // Without a total only a short page tells the end.
            Count::Unknown => index + 1 + usize::from(full),
        };
        let repeats = self.repeats(index, &data);
        self.pages[index] = Slot::Here(Box::new(data));
        if self.kind != Kind::Snapshot && !repeats {
            while self.pages.len() < needed.min(most) {
                self.pages.push(Slot::Wanted);
            }
        }
        page == 1 || (self.count == Count::Unknown && self.is_full_to(cap))
    }

    /// Whether an uncounted page is the page before once more: then there are no further ones.
    fn repeats(&self, index: usize, data: &PageData) -> bool {
        let Some(Slot::Here(before)) = index.checked_sub(1).and_then(|n| self.pages.get(n)) else {
            return false;
        };
        self.count == Count::Unknown
            && !data.rows.is_empty()
            && before.rows.len() == data.rows.len()
            && before.rows.iter().zip(&data.rows).all(|(a, b)| a.id == b.id)
    }

    /// Whether an uncounted window filled every page up to the cap.
    pub(super) fn is_full_to(&self, cap: u64) -> bool {
        self.count == Count::Unknown
            && (self.pages.len() as u64) * u64::from(self.page_size) >= cap
            && !matches!(self.pages.last(), Some(Slot::Wanted | Slot::Asked))
            && match self.pages.last() {
                Some(Slot::Here(page)) => page.received as u64 >= u64::from(self.page_size),
                _ => false,
            }
    }

    /// The last instant of the first page and the number of records before it, if the page is
    /// full, in order, and reaches beyond the window's first instant.
    pub(super) fn snapshot(&self) -> Option<(i64, u64)> {
        let first = self.first;
        let usable = self.filters.is_empty()
            && self.handed == 0
            && matches!(self.pages.first(), Some(Slot::Here(_)))
            && first.ordered
            && first.records >= u64::from(self.page_size)
            && first.last > self.span.from;
        usable.then_some((first.last, first.before_last))
    }

    /// Whether the first page ends at the window's first instant.
    pub(super) fn first_page_is_one_instant(&self) -> bool {
        self.first.ordered && self.first.records > 0 && self.first.last == self.span.from
    }

    /// Makes the window end at `to`, with its first page alone.
    pub(super) fn keep_snapshot(&mut self, to: i64) {
        self.kind = Kind::Snapshot;
        self.span.to = to;
        self.pages.truncate(1);
    }

    /// The last instant of the last page, if it is here and in order.
    pub(super) fn last_instant(&self) -> Option<i64> {
        match self.pages.last() {
            Some(Slot::Here(page)) if page.ordered => {
                page.rows.last().map(|row| row.updated).filter(|ms| *ms != NONE)
            }
            _ => None,
        }
    }

    /// Makes the window end at `to`, with all its pages.
    pub(super) fn end_at(&mut self, to: i64) {
        self.kind = Kind::Snapshot;
        self.span.to = to;
    }

    /// The latest total.
    pub(super) fn said(&self) -> Option<u64> {
        self.last_total
    }

    /// Judges an attempt, all of whose pages were handed over.
    pub(super) fn judge(&mut self) -> Verdict {
        if self.kind == Kind::Snapshot {
            return Verdict::Verified;
        }
        if self.kind == Kind::Reach {
            // All of it may come together in time, as long as the order keeps changing.
            if self.last_total.is_some_and(|total| total == self.union) {
                return Verdict::Verified;
            }
            // Where no record comes twice the order stands still, and nothing new will come.
            let reach = self.pages.len() as u64 * u64::from(self.page_size);
            self.shuffled |= self.distinct < self.last_total.unwrap_or(0).min(reach);
            let grew = self.union > self.union_before;
            self.union_before = self.union;
            self.stagnant = if grew { 0 } else { self.stagnant + 1 };
            if self.stagnant >= if self.shuffled { 12 } else { 1 } {
                return Verdict::Hopeless;
            }
            return Verdict::Differs;
        }
        let Some(total) = self.last_total else { return Verdict::Verified };
        if self.agreed && self.distinct == total {
            self.union = self.distinct;
            return Verdict::Verified;
        }
        if !self.agreed {
            // Something left or came while the pages were read: begin a new union.
            self.base = self.attempt + 1;
            self.union_total = None;
        } else if self.union_total.is_some_and(|known| total < known) {
            self.base = self.attempt;
            self.union = self.distinct;
            self.union_total = Some(total);
        } else {
            self.union_total = Some(total);
            if self.union == total {
                return Verdict::Verified;
            }
        }
        Verdict::Differs
    }

    /// Begins another attempt with as many pages as the latest total asks for.
    pub(super) fn again(&mut self, unit: u64) {
        self.unit = unit;
        self.attempt += 1;
        if self.base == self.attempt {
            self.union = 0;
        }
        self.distinct = 0;
        self.handed = 0;
        self.agreed = true;
        let pages = match self.last_total {
            Some(total) => total.div_ceil(u64::from(self.page_size)).max(1) as usize,
            None => 1,
        };
        let pages = pages.clamp(1, self.pages.len().max(1));
        self.last_total = None;
        self.pages = std::iter::repeat_with(|| Slot::Wanted).take(pages).collect();
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.pages
            .iter()
            .map(|slot| match slot {
                Slot::Here(page) => page.text.capacity(),
                _ => 0,
            })
            .sum()
    }
}

impl First {
    fn of(page: &PageData) -> Self {
        let last = page.rows.last().map_or(NONE, |row| row.updated);
        let dated = page.rows.iter().all(|row| row.updated != NONE);
        let mut ids: Vec<&str> = page.rows.iter().map(|row| &*row.id).collect();
        ids.sort_unstable();
        ids.dedup();
        Self {
            records: page.received as u64,
            ordered: page.ordered && dated && ids.len() == page.received,
            last,
            before_last: page.rows.iter().filter(|row| row.updated < last).count() as u64,
        }
    }
}
