//! How a span of time is cut into windows that fit under the cap. Pure: no clock, no calls.
//!
//! A query reaches 10,000 rows at most (kustomer-api 4.7). The planner aims each window a little
//! below that, by the density of the records it has seen so far. Being wrong is cheap: the first
//! page of a window is in order and comes from one moment, so that everything before its last
//! instant is there, whatever the window's total; that much is kept, and planning goes on behind
//! it with a better measure.

/// Instants in milliseconds, both inclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First.
    pub from: i64,
    /// Last.
    pub to: i64,
}

impl Span {
    /// How many milliseconds it holds.
    pub fn width(self) -> u64 {
        self.to.abs_diff(self.from) + 1
    }

    /// Whether it is one instant.
    pub fn is_instant(self) -> bool {
        self.from == self.to
    }

    /// Its halves, the first one ending at `at` if that is inside; `None` for an instant.
    pub fn halves(self, at: Option<i64>) -> Option<(Self, Self)> {
        if self.is_instant() {
            return None;
        }
        let middle = self.from + (self.width() / 2) as i64 - 1;
        let cut = at.filter(|at| (self.from..self.to).contains(at)).unwrap_or(middle);
        Some((Self { from: self.from, to: cut }, Self { from: cut + 1, to: self.to }))
    }

    /// What lies before `instant`, the instant itself, and what lies behind it.
    pub fn around(self, instant: i64) -> Vec<Self> {
        let parts = [
            Self { from: self.from, to: instant - 1 },
            Self { from: instant, to: instant },
            Self { from: instant + 1, to: self.to },
        ];
        parts.into_iter().filter(|part| part.from <= part.to).collect()
    }

    /// Even pieces, as many as asked for if there are that many milliseconds.
    pub fn pieces(self, count: u64) -> Vec<Self> {
        let count = count.clamp(1, self.width());
        let edge = |n: u64| {
            self.from + (u128::from(self.width()) * u128::from(n) / u128::from(count)) as i64
        };
        (0..count).map(|n| Self { from: edge(n), to: edge(n + 1) - 1 }).collect()
    }
}

/// What a query's `total` is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// As many as there are.
    Exact(u64),
    /// This many or more: the API stopped counting.
    AtLeast(u64),
    /// The API does not count.
    Unknown,
}

impl Count {
    /// Reads `meta.total`: exactly 10,000 may mean "10,000 or more" (kustomer-api 4.6).
    pub fn of(total: Option<u64>) -> Self {
        match total {
            None => Self::Unknown,
            Some(10_000) => Self::AtLeast(10_000),
            Some(total) => Self::Exact(total),
        }
    }
}

/// Plans windows from the front of a span to its end.
#[derive(Clone, Debug)]
pub struct Planner {
    next: i64,
    end: i64,
    cap: u64,
    /// Records in everything that is not observed yet, as far as known.
    rest: Option<u64>,
    /// Milliseconds that are planned but not observed yet.
    pending: u64,
    /// Records per millisecond, as last seen.
    density: Option<f64>,
    /// Width of the last window that was empty or nearly so.
    last_width: u64,
    exact: bool,
}

impl Planner {
    /// A plan for `span` with windows of at most `cap` records.
    pub fn new(span: Span, cap: u64) -> Self {
        Self {
            next: span.from,
            end: span.to,
            cap,
            rest: None,
            pending: 0,
            density: None,
            last_width: 0,
            exact: true,
        }
    }

    /// The cap turned out to be lower.
    pub fn limit(&mut self, cap: u64) {
        self.cap = self.cap.min(cap).max(1);
    }

    /// How many records a window should hold.
    pub fn aim(&self) -> u64 {
        let part = if self.exact { 0.94 } else { 0.75 };
        ((self.cap as f64 * part) as u64).max(1)
    }

    /// Whether everything is planned.
    pub fn is_done(&self) -> bool {
        self.next > self.end
    }

    /// Whether anything is known to plan by.
    pub fn is_informed(&self) -> bool {
        self.density.is_some()
    }

    /// The first instant that is not planned yet.
    pub fn frontier(&self) -> i64 {
        self.next
    }

    /// The next window, or `None` when all is planned.
    pub fn plan(&mut self) -> Option<Span> {
        if self.is_done() {
            return None;
        }
        let whole = Span { from: self.next, to: self.end };
        let free = self
            .rest
            .map(|rest| (rest as f64 - self.density.unwrap_or(0.0) * self.pending as f64).max(0.0));
        let fits = free.is_some_and(|free| free <= self.cap as f64 * 0.98);
        let to = match self.density {
            Some(density) if !fits => {
                let average = free.map_or(0.0, |free| free / whole.width() as f64);
                let density = density.max(average * 0.1).max(1e-12);
                let width = (self.aim() as f64 / density).max(1.0);
                // Where little was, there may soon be more: grow fourfold at most.
                let width = if self.last_width > 0 {
                    width.min(self.last_width as f64 * 4.0)
                } else {
                    width
                };
                let width = width.min(whole.width() as f64) as u64;
                (i128::from(self.next) + i128::from(width.max(1)) - 1).min(i128::from(self.end))
                    as i64
            }
            _ => self.end,
        };
        let window = Span { from: whole.from, to };
        self.next = to + 1;
        self.pending += window.width();
        Some(window)
    }

    /// Takes in how many records a window held that is kept as planned.
    pub fn observe(&mut self, span: Span, count: Count) {
        self.pending = self.pending.saturating_sub(span.width());
        match count {
            Count::Exact(records) => {
                if let Some(rest) = &mut self.rest {
                    *rest = rest.saturating_sub(records);
                }
                self.last_width = if records < self.aim() / 4 { span.width() } else { 0 };
                self.density = Some(records as f64 / span.width() as f64);
            }
            Count::AtLeast(_) => self.exact = false,
            Count::Unknown => {}
        }
    }

    /// Goes back to `next`, since `window`, the last one planned, is kept only up to there with
    /// `kept` records. `left` records lie behind, as far as known; else `density` tells.
    pub fn resume(&mut self, next: i64, window: Span, kept: u64, left: Count, density: f64) {
        self.pending = self.pending.saturating_sub(window.width());
        let width = Span { from: next, to: window.to.max(next) }.width() as f64;
        match left {
            Count::Exact(records) => {
                self.density = Some((records as f64 / width).max(1e-12));
                self.rest = if window.to == self.end {
                    Some(records)
                } else {
                    self.rest.map(|rest| rest.saturating_sub(kept))
                };
            }
            Count::AtLeast(_) => {
                self.exact = false;
                self.density = Some(density);
                self.rest = None;
            }
            Count::Unknown => {
                self.density = Some(density);
                self.rest = None;
            }
        }
        self.last_width = 0;
        self.next = next;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use proptest::prelude::*;

    use super::*;

    fn span(from: i64, to: i64) -> Span {
        Span { from, to }
    }

    #[test]
    fn halves_and_pieces_cover_without_overlap() {
        assert_eq!(span(0, 9).halves(None), Some((span(0, 4), span(5, 9))));
        assert_eq!(span(0, 1).halves(Some(7)), Some((span(0, 0), span(1, 1))));
        assert_eq!(span(0, 9).halves(Some(2)), Some((span(0, 2), span(3, 9))));
        assert_eq!(span(4, 4).halves(None), None);
        assert_eq!(span(0, 2).pieces(9), [span(0, 0), span(1, 1), span(2, 2)]);
        assert_eq!(span(0, 9).pieces(3), [span(0, 2), span(3, 5), span(6, 9)]);
    }

    #[test]
    fn what_fits_is_one_window() {
        let mut planner = Planner::new(span(0, 1_000_000), 10_000);
        assert_eq!(planner.plan(), Some(span(0, 1_000_000)));
        assert_eq!(planner.plan(), None);
    }

    #[test]
    fn after_an_overflow_windows_follow_the_density() {
        let mut planner = Planner::new(span(0, 999_999), 10_000);
        planner.plan();
        // 100,000 records, evenly; the first page reached to 4,999.
        planner.resume(4_999, span(0, 999_999), 500, Count::Exact(99_500), 0.1);
        let window = planner.plan().unwrap();
        assert_eq!(window.from, 4_999);
        assert!((9_300..9_500).contains(&(window.width() / 10)), "{window:?}");
    }

    #[test]
    fn ten_thousand_may_be_more() {
        assert_eq!(Count::of(Some(10_000)), Count::AtLeast(10_000));
        assert_eq!(Count::of(Some(9_999)), Count::Exact(9_999));
        assert_eq!(Count::of(None), Count::Unknown);
    }

    proptest! {
        /// Whatever is observed, windows follow each other without a gap and reach the end.
        #[test]
        fn windows_cover_the_span(
            width in 1_i64..5_000_000,
            counts in prop::collection::vec((0_u64..30_000, 0.0_f64..1.0), 1..60),
        ) {
            let end = width - 1;
            let mut planner = Planner::new(span(0, end), 10_000);
            let mut covered = 0;
            let mut turn = 0;
            while let Some(window) = planner.plan() {
                prop_assert_eq!(window.from, covered);
                prop_assert!(window.to >= window.from && window.to <= end);
                let (count, part) = counts[turn % counts.len()];
                turn += 1;
                if count > 10_000 && window.width() > 1 && turn < 200 {
                    let kept = ((window.width() - 1) as f64 * part) as i64;
                    covered = window.from + kept.max(1).min(window.width() as i64 - 1);
                    planner.resume(covered, window, 500, Count::Exact(count), 0.1);
                } else {
                    planner.observe(window, Count::Exact(count));
                    covered = window.to + 1;
                }
                prop_assert!(turn < 100_000);
            }
            prop_assert_eq!(covered, end + 1);
        }
    }
}
