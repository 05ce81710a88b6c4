//! One instant that holds more records than a query reaches, or whose order keeps changing.
//!
//! It is taken apart by when its records were created (every record was), and where that does not
//! help by other attributes together with "not set", so that the parts make up the whole. The
//! parts' records must add up to the instant's own total; what cannot be reached is named.

use super::window::{Kind, Slot, Window};
use super::{SearchWalk, Step, Trouble};
use crate::lane::{Lane, Outlet, instant};
use crate::walk::query::Filter;
use crate::window::{Count, Span};

/// Every instant an attribute may have: 1970 to 2100.
const EVER: Span = Span { from: 0, to: 4_102_444_800_000 };
/// How often an instant whose parts do not add up is begun again.
const REOPEN: u32 = 2;
/// Parts made at once.
const PARTS: u64 = 64;

/// The parts of one instant, taken together.
#[derive(Debug)]
pub(super) struct Group {
    instant: i64,
    /// What the instant's own query said, if that is exact.
    expected: Option<u64>,
    /// Whether records without a time of creation were looked for.
    sought_unset: bool,
    /// Distinct records received.
    received: u64,
    /// What the parts' queries said.
    counted: u64,
    calls: u32,
    /// A part could not be read to its end.
    pub(super) unreachable: bool,
}

impl Group {
    /// A part is done.
    pub(super) fn add(&mut self, part: &Window) {
        self.received += part.union.max(part.distinct);
        self.counted += part.said().unwrap_or(part.union);
        self.calls += part.calls;
    }
}

impl SearchWalk {
    /// Takes the instant at `index` apart.
    pub(super) fn open_group(&mut self, index: usize) {
        let Some(window) = self.at(index) else { return };
        let at = window.span.from;
        let group = Group {
            instant: at,
            expected: match window.count {
                Count::Exact(total) => Some(total),
                _ => None,
            },
            sought_unset: false,
            received: 0,
            counted: 0,
            calls: window.calls,
            unreachable: false,
        };
        let total = window.said();
        // Nothing is created after it was last changed; what claims to be is found all the same.
        let inner = Span {
            from: window.samples.iter().copied().min().unwrap_or(0).clamp(0, at.max(0)),
            to: at.max(0),
        };
        let mut spans = self.parts(index, inner, total);
        if inner.from > EVER.from {
            spans.insert(0, Span { from: EVER.from, to: inner.from - 1 });
        }
        spans.push(Span { from: inner.to + 1, to: EVER.to });
        let leaves =
            self.leaves(index, spans.into_iter().map(|span| Filter::Range { axis: 0, span }));
        let count = leaves.len();
        self.replace(index, leaves);
        self.steps.insert(index + count, Step::Close(Box::new(group)));
    }

    /// Parts of `span` that should each fit, judged by the samples of the window at `index`.
    fn parts(&mut self, index: usize, span: Span, total: Option<u64>) -> Vec<Span> {
        let room =
            if self.unstable { f64::from(self.page_size) * 0.7 } else { self.cap as f64 * 0.7 };
        let unstable = self.unstable;
        let Some(window) = self.at(index) else { return vec![span] };
        let total = total.unwrap_or(20_000);
        let count = ((total as f64 / room).ceil() as u64).clamp(2, PARTS);
        let mut samples: Vec<i64> = window
            .samples
            .iter()
            .copied()
            .filter(|ms| (span.from..=span.to).contains(ms))
            .collect();
        if samples.len() >= 20 && samples.iter().all(|ms| *ms == samples[0]) {
            return span.around(samples[0]);
        }
        // In order, the samples are only the beginning of what there is, and tell little.
        let scattered = unstable || !samples.is_sorted();
        samples.sort_unstable();
        if !scattered || samples.len() < 20 {
            return span.pieces(count);
        }
        let mut edges = Vec::new();
        let mut last = None;
        for n in 1..count {
            let edge = samples[(samples.len() as u64 * n / count) as usize];
            // A time that many share gets a part of its own.
            edges.push(if last == Some(edge) { edge + 1 } else { edge });
            last = Some(edge);
        }
        edges.dedup();
        let mut spans = Vec::new();
        let mut from = span.from;
        for edge in edges {
            if edge > from && edge <= span.to {
                spans.push(Span { from, to: edge - 1 });
                from = edge;
            }
        }
        spans.push(Span { from, to: span.to });
        if spans.len() == 1 { span.pieces(2) } else { spans }
    }

    /// Windows like the one at `index`, each with one more filter in place of its last.
    fn leaves(&mut self, index: usize, filters: impl Iterator<Item = Filter>) -> Vec<Window> {
        let Some(window) = self.at(index) else { return Vec::new() };
        let span = window.span;
        let mut outer = window.filters.clone();
        outer.pop();
        self.leaves_within(span, &outer, filters)
    }

    fn leaves_within(
        &mut self,
        span: Span,
        outer: &[Filter],
        filters: impl Iterator<Item = Filter>,
    ) -> Vec<Window> {
        filters
            .map(|filter| {
                let mut leaf = self.window(span);
                leaf.filters = outer.to_vec();
                leaf.filters.push(filter);
                leaf
            })
            .collect()
    }

    /// A part does not fit or does not add up: makes smaller ones of it.
    pub(super) fn split_leaf(&mut self, index: usize) {
        let Some(window) = self.at(index) else { return };
        let total = window.said();
        match window.filters.last().copied() {
            Some(Filter::Range { axis, span }) if !span.is_instant() => {
                let spans = self.parts(index, span, total);
                let filters = spans.into_iter().map(|span| Filter::Range { axis, span });
                let leaves = self.leaves(index, filters);
                self.replace(index, leaves);
            }
            Some(filter) => self.next_axis(index, filter.axis()),
            None => {}
        }
    }

    /// Tells the records of a part apart by the next attribute, or reads what can be reached.
    fn next_axis(&mut self, index: usize, axis: usize) {
        let axes = self.query.axes();
        let next = axes.iter().position(|a| *a == axis).and_then(|n| axes.get(n + 1)).copied();
        let Some(window) = self.at(index) else { return };
        let (span, outer) = (window.span, window.filters.clone());
        if let Some(axis) = next {
            let filters = [Filter::Range { axis, span: EVER }, Filter::NotSet { axis }];
            let leaves = self.leaves_within(span, &outer, filters.into_iter());
            self.replace(index, leaves);
            return;
        }
        let unit = self.unit();
        let page_size = self.page_size;
        let cap = self.cap;
        if let Some(window) = self.at(index) {
            let reachable = window.said().unwrap_or(cap).min(cap);
            let pages = reachable.div_ceil(u64::from(page_size)).max(1) as usize;
            let mut reach = window.afresh(unit, page_size);
            reach.kind = Kind::Reach;
            reach.pages = std::iter::repeat_with(|| Slot::Wanted).take(pages).collect();
            self.replace(index, vec![reach]);
        }
    }

    /// The API does not understand the attribute of the part at `index`: uses the next one in its
    /// place. The part's siblings by that attribute go with it.
    pub(super) fn abandon_axis(&mut self, index: usize) {
        let Some(window) = self.at(index) else { return };
        let span = window.span;
        let mut outer = window.filters.clone();
        let Some(filter) = outer.pop() else { return };
        let axis = filter.axis();
        let related = |step: &Step| match step {
            Step::Window(other) => {
                other.span == span
                    && other.filters.len() > outer.len()
                    && other.filters.starts_with(&outer)
                    && other.filters[outer.len()].axis() == axis
            }
            Step::Close(_) => false,
        };
        let first = (0..=index).rev().take_while(|n| related(&self.steps[*n])).last();
        let first = first.unwrap_or(index);
        while first + 1 < self.steps.len() && related(&self.steps[first + 1]) {
            self.steps.remove(first + 1);
        }
        if let Some(window) = self.at(first) {
            window.filters = outer;
        }
        self.next_axis(first, axis);
    }

    /// All parts of an instant are done: do they add up?
    pub(super) fn close_group(
        &mut self,
        lane: &mut Lane,
        outlet: &mut Outlet<'_>,
    ) -> Result<(), Trouble> {
        let Some(Step::Close(mut group)) = self.steps.pop_front() else { return Ok(()) };
        let at = group.instant;
        let span = Span { from: at, to: at };
        let complete =
            !group.unreachable && group.expected.is_none_or(|expected| group.received == expected);
        if !complete && !group.unreachable {
            if !group.sought_unset {
                group.sought_unset = true;
                let filters = [Filter::NotSet { axis: 0 }];
                let leaf = self.leaves_within(span, &[], filters.into_iter());
                self.steps.push_front(Step::Close(group));
                for leaf in leaf {
                    self.steps.push_front(Step::Window(Box::new(leaf)));
                }
                return Ok(());
            }
            let reopened = if self.reopened.0 == at { self.reopened.1 } else { 0 };
            if reopened < REOPEN {
                self.reopened = (at, reopened + 1);
                let window = self.window(span);
                self.steps.push_front(Step::Window(Box::new(window)));
                return Ok(());
            }
        }
        let said = group.expected.unwrap_or(group.counted).max(group.counted);
        outlet.cx.log.event(bobbin_core::report::Event::Window {
            stream: self.stream.clone(),
            from: instant(at)?,
            to: instant(at)?,
            expected: Some(said),
            received: group.received,
            calls: group.calls,
            verified: complete,
        });
        if !complete {
            let problem = format!(
                "instant over cap: {} holds {said} records, {} of them could be received; the API \
                 reaches {} per query and the rest cannot be told apart; they are tried again in \
                 the next run",
                instant(at)?,
                group.received,
                self.cap,
            );
            lane.block(at - 1, problem);
            self.given_up += 1;
        }
        self.passed(lane, outlet, at)
    }
}
