//! Walking a search stream: from planned windows to verified ones.
//!
//! A walk says which call it wants next, takes in what came of it in any order, and hands pages
//! over in the order of time. It makes no call itself and knows no thread. A window counts as
//! verified when the distinct records received equal the total that every one of its pages
//! reported; otherwise it is walked again, then read page by page, each page being of one moment,
//! and an instant that is more than a page is taken apart by other criteria ([`instant`]). What cannot be verified is named and blocks the
//! bookmark; it never ends in a loop.

mod instant;
mod query;
mod window;

use std::collections::VecDeque;

use bobbin_core::Error;
use bobbin_core::id::StreamName;
use bobbin_core::report::Event;

use self::instant::Group;
pub(crate) use self::query::Query;
use self::window::{Kind, Slot, Verdict, Window};
use crate::http::{Call, Failure};
use crate::lane::{Lane, Outlet, instant};
use crate::page::{NONE, PageData, ReadSpec};
use crate::window::{Count, Planner, Span};

/// Attempts at a window of several pages before it is split.
const TRIES: u32 = 3;
/// Attempts at a window of one page, which splitting would not help.
const TRIES_OF_ONE_PAGE: u32 = 8;
/// Attempts at what cannot be told apart, as long as each brings something new.
const TRIES_IN_REACH: u32 = 40;
/// Windows given up before counts are no longer insisted on with many calls.
const DISTRUST: usize = 3;

/// A call that a walk wants to be made.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Comes back with the answer.
    pub(crate) unit: u64,
    /// The page, from 1.
    pub(crate) page: u32,
    /// The call.
    pub(crate) call: Call,
    /// How to read the answer.
    pub(crate) spec: ReadSpec,
}

/// Why a walk cannot go on.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The whole run has to stop.
    Run(Error),
    /// This stream has to stop.
    Stream(Error),
    /// The key may not read this stream.
    Unreadable(Error),
    /// What the walk reads does not exist.
    Absent(Error),
}

impl From<Error> for Trouble {
    /// An error of the output or of ours: nothing else will work either.
    fn from(error: Error) -> Self {
        Self::Run(error)
    }
}

impl Trouble {
    /// What a failed call means when nothing special is known about it.
    pub(crate) fn of(failure: Failure) -> Self {
        match failure {
            Failure::Stop(error) => Self::Run(error),
            Failure::Refused { status: 403, error } => Self::Unreadable(error),
            Failure::Refused { status: 404 | 405 | 410, error } => Self::Absent(error),
            Failure::Refused { error, .. } | Failure::TooMuch(error) | Failure::GaveUp(error) => {
                Self::Stream(error)
            }
        }
    }
}

/// One way of reading a stream, or a part of it.
pub(crate) trait Walk {
    /// The next call worth making now. `lookahead` is how many calls should be known ahead, as
    /// many as are under way at a time.
    fn next(&mut self, lookahead: usize) -> Option<Ask>;

    /// Takes in what came of a call.
    fn arrive(
        &mut self,
        unit: u64,
        page: u32,
        result: Result<PageData, Failure>,
    ) -> Result<(), Trouble>;

    /// Hands over what is ready, in order. True when the walk is done.
    fn emit(&mut self, lane: &mut Lane, outlet: &mut Outlet<'_>) -> Result<bool, Trouble>;

    /// Whether the stream's next walk must not begin before this one is done.
    fn comes_first(&self) -> bool {
        false
    }

    /// Whether `unit` is one of its asks.
    fn owns(&self, unit: u64) -> bool;

    /// Bytes of pages that wait to be handed over.
    fn waiting_bytes(&self) -> usize;

    /// The first instant it reads, if it reads behind the horizon: an API without that leaves a
    /// gap that can be named.
    fn old_from(&self) -> Option<i64>;
}

enum Step {
    Window(Box<Window>),
    Close(Box<Group>),
}

/// A walk through a search context over a span of time.
pub(crate) struct SearchWalk {
    stream: StreamName,
    query: Query,
    span: Span,
    planner: Planner,
    steps: VecDeque<Step>,
    cap: u64,
    page_size: u32,
    /// Bookmarks of this walk end here at the latest.
    limit: i64,
    /// Records from here on may come again from another walk, or came from one before.
    keep_from: i64,
    /// It reads behind the horizon.
    old: bool,
    units: u64,
    /// The order among equal timestamps changes from call to call.
    unstable: bool,
    /// How often the instant was begun again.
    reopened: (i64, u32),
    given_up: usize,
    /// Records in all of the span, when its first window was asked for all of it.
    whole: Option<u64>,
    total_told: bool,
    uncounted_told: bool,
}

impl SearchWalk {
    /// A walk with `query` through `span`.
    ///
    /// `ordinal` tells the walks of one stream apart.
    pub(crate) fn new(
        stream: StreamName,
        ordinal: u32,
        query: Query,
        span: Span,
        cap: u64,
        page_size: u32,
    ) -> Self {
        let cap = cap.max(1);
        let page_size = u64::from(page_size).clamp(1, cap.min(500)) as u32;
        let cap = reachable(cap, page_size);
        Self {
            stream,
            query,
            span,
            planner: Planner::new(span, cap),
            steps: VecDeque::new(),
            cap,
            page_size,
            limit: i64::MAX,
            keep_from: i64::MAX,
            old: false,
            units: u64::from(ordinal) << 32,
            unstable: false,
            reopened: (NONE, 0),
            given_up: 0,
            whole: None,
            total_told: false,
            uncounted_told: false,
        }
    }

    /// What it reads says nothing about the bookmark yet, and may come again from another walk if
    /// it was updated at `instant` or later.
    pub(crate) fn without_bookmark(mut self, instant: i64) -> Self {
        self.limit = i64::MIN;
        self.keep_from = instant;
        self
    }

    /// It reads what no live search shows; records updated at `instant` or later may have come
    /// from another walk.
    pub(crate) fn behind_the_horizon(mut self, instant: i64) -> Self {
        self.old = true;
        self.keep_from = instant;
        self
    }

    fn unit(&mut self) -> u64 {
        self.units += 1;
        self.units
    }

    fn window(&mut self, span: Span) -> Window {
        let unit = self.unit();
        Window::new(unit, span, self.page_size)
    }

    fn position(&self, unit: u64) -> Option<usize> {
        self.steps.iter().position(|step| matches!(step, Step::Window(w) if w.unit == unit))
    }

    fn at(&mut self, index: usize) -> Option<&mut Window> {
        match self.steps.get_mut(index) {
            Some(Step::Window(window)) => Some(window),
            _ => None,
        }
    }

    /// Puts windows in place of the one at `index`.
    fn replace(&mut self, index: usize, windows: Vec<Window>) {
        self.steps.remove(index);
        for (n, window) in windows.into_iter().enumerate() {
            self.steps.insert(index + n, Step::Window(Box::new(window)));
        }
    }

    /// Whether the window at `index` is where planning stopped.
    fn is_frontier(&self, index: usize, span: Span) -> bool {
        index + 1 == self.steps.len() && self.planner.frontier() == span.to + 1
    }

    /// The first page of a window is here: is the window of the right size?
    fn size_up(&mut self, index: usize) {
        let frontier = match self.steps.get(index) {
            Some(Step::Window(window)) => self.is_frontier(index, window.span),
            _ => return,
        };
        let plannable = frontier && !self.planner.is_done();
        let aim = self.planner.aim();
        let cap = self.cap;
        let whole = self.span;
        let Some(window) = self.at(index) else { return };
        let span = window.span;
        let chase = window.chase;
        let all = window.first_total.filter(|_| span == whole && window.filters.is_empty());
        let (cap, frontier) =
            if chase { (u64::from(window.page_size), false) } else { (cap, frontier) };
        let plannable = plannable && frontier;
        let count = window.count;
        let over = match count {
            Count::Exact(total) => total > cap,
            Count::AtLeast(_) => true,
            Count::Unknown => window.is_full_to(cap),
        };
        let leaf = !window.filters.is_empty();
        self.whole = self.whole.or(all);
        let Some(window) = self.at(index) else { return };
        if leaf {
            if over && window.kind == Kind::Counted {
                self.split_leaf(index);
            }
            return;
        }
        if window.kind != Kind::Counted {
            return;
        }
        let (first_time, page_size) = (window.attempt == 1, u64::from(window.page_size));
        if over && !span.is_instant() && self.keep_uncounted(index, frontier) {
            // Reading goes on behind it.
        } else if over && span.is_instant() {
            self.open_group(index);
        } else if over {
            self.narrow(index, frontier);
        } else if let Count::Exact(total) = count
            && plannable
            && first_time
            && total > page_size
            && total < aim * 6 / 10
        {
            // Too small to be worth its last, partly filled page: keep the first page, plan wider.
            if !self.keep_first_page(index, true) {
                self.planner.observe(span, count);
            }
        } else if first_time && !chase {
            self.planner.observe(span, count);
        }
    }

    /// A window holds more than can be reached.
    fn narrow(&mut self, index: usize, frontier: bool) {
        if self.keep_first_page(index, frontier) {
            return;
        }
        let Some(window) = self.at(index) else { return };
        let span = window.span;
        let crowded = window.first_page_is_one_instant();
        let cut = if crowded { Some(span.from) } else { None };
        let Some((first, second)) = span.halves(cut) else { return };
        let count = window.count;
        let chase = window.chase;
        let page_by_page = chase && !first.is_instant();
        let first = self.window(first);
        let first = if page_by_page { first.chasing() } else { first };
        if frontier {
            let density = match count {
                Count::Exact(total) | Count::AtLeast(total) => total as f64 / span.width() as f64,
                Count::Unknown => self.cap as f64 / span.width() as f64,
            };
            self.planner.resume(second.from, span, 0, Count::AtLeast(0), density);
            self.replace(index, vec![first]);
        } else {
            let second = self.window(second);
            let second = if chase { second.chasing() } else { second };
            self.replace(index, vec![first, second]);
        }
    }

    /// Keeps the first page of a window as a window of its own: it comes from one moment and is in
    /// order, so that everything before its last instant is on it. False when that gains nothing.
    fn keep_first_page(&mut self, index: usize, frontier: bool) -> bool {
        let Some(window) = self.at(index) else { return false };
        let Some((last, kept)) = window.snapshot() else { return false };
        let span = window.span;
        let count = window.count;
        let left = match count {
            Count::Exact(total) => Count::Exact(total.saturating_sub(kept)),
            other => other,
        };
        let density = kept as f64 / (last - span.from).max(1) as f64;
        let chase = window.chase;
        window.keep_snapshot(last - 1);
        let rest = Span { from: last, to: span.to };
        if frontier {
            self.planner.resume(last, span, kept, left, density);
        } else {
            let pieces = match left {
                _ if chase => vec![rest],
                Count::Exact(records) => {
                    rest.pieces((records as f64 * 1.1 / self.cap as f64).ceil() as u64)
                }
                _ => rest.pieces(2),
            };
            for (n, piece) in pieces.into_iter().enumerate() {
                let window = if chase { self.window(piece).chasing() } else { self.window(piece) };
                self.steps.insert(index + 1 + n, Step::Window(Box::new(window)));
            }
        }
        true
    }

    /// Keeps all pages of a window that the API does not count and that is full up to the cap:
    /// reading goes on behind their last instant. There is nothing to check them by.
    fn keep_uncounted(&mut self, index: usize, frontier: bool) -> bool {
        let cap = self.cap;
        let Some(window) = self.at(index) else { return false };
        let span = window.span;
        let Some(last) = window.last_instant().filter(|last| *last > span.from) else {
            return false;
        };
        if window.count != Count::Unknown {
            return false;
        }
        window.end_at(last - 1);
        let rest = Span { from: last, to: span.to };
        if frontier {
            let density = cap as f64 / (last - span.from) as f64;
            self.planner.resume(last, span, cap, Count::Unknown, density);
        } else {
            let window = self.window(rest);
            self.steps.insert(index + 1, Step::Window(Box::new(window)));
        }
        true
    }

    /// What to do with the window at the front, all of whose pages were handed over.
    fn settle(&mut self, lane: &mut Lane, outlet: &mut Outlet<'_>) -> Result<(), Trouble> {
        let distrust = self.given_up >= DISTRUST;
        let Some(window) = self.at(0) else { return Ok(()) };
        let several = window.pages.len() > 1;
        let most = match (window.kind, several) {
            (Kind::Reach, _) => TRIES_IN_REACH,
            _ if distrust => 2,
            (_, true) => TRIES,
            (_, false) => TRIES_OF_ONE_PAGE,
        };
        match window.judge() {
            Verdict::Verified => return self.finish(lane, outlet),
            Verdict::Differs if window.attempt < most => {
                let unit = self.unit();
                if let Some(window) = self.at(0) {
                    window.again(unit);
                }
                return Ok(());
            }
            Verdict::Differs | Verdict::Hopeless => {}
        }
        let Some(window) = self.at(0) else { return Ok(()) };
        let counted = window.kind == Kind::Counted;
        let (span, leaf) = (window.span, !window.filters.is_empty());
        if several && (leaf || span.is_instant()) {
            self.unstable = true;
        }
        if several && leaf && counted {
            self.split_leaf(0);
        } else if several && span.is_instant() && counted {
            self.open_group(0);
        } else if several && !distrust && !leaf && !span.is_instant() {
            // Pages of one query do not fit together: records move, or equal timestamps change
            // their order. One page alone is of one moment, so go on from page to page.
            let window = self.window(span).chasing();
            self.replace(0, vec![window]);
        } else {
            self.give_up(lane, outlet)?;
        }
        Ok(())
    }

    /// The front window is verified.
    fn finish(&mut self, lane: &mut Lane, outlet: &mut Outlet<'_>) -> Result<(), Trouble> {
        let Some(Step::Window(window)) = self.steps.pop_front() else { return Ok(()) };
        if window.filters.is_empty() {
            if window.count == Count::Unknown
                && window.kind == Kind::Counted
                && !std::mem::replace(&mut self.uncounted_told, true)
            {
                outlet.notice(
                    bobbin_core::report::Level::Info,
                    &self.stream,
                    "the API does not say how many records there are; windows are read to their \
                     end but cannot be checked by count",
                );
            }
            report(&self.stream, outlet, &window, true)?;
            self.passed(lane, outlet, window.span.to)?;
        } else if let Some(group) = self.steps.iter_mut().find_map(|step| match step {
            Step::Close(group) => Some(group),
            Step::Window(_) => None,
        }) {
            group.add(&window);
        }
        Ok(())
    }

    /// The front window cannot be verified.
    fn give_up(&mut self, lane: &mut Lane, outlet: &mut Outlet<'_>) -> Result<(), Trouble> {
        let Some(Step::Window(window)) = self.steps.pop_front() else { return Ok(()) };
        self.given_up += 1;
        if let Some(group) = self.steps.iter_mut().find_map(|step| match step {
            Step::Close(group) if !window.filters.is_empty() || window.kind == Kind::Reach => {
                Some(group)
            }
            _ => None,
        }) {
            group.add(&window);
            group.unreachable = true;
            return Ok(());
        }
        report(&self.stream, outlet, &window, false)?;
        let problem = format!(
            "between {} and {} the API counts {} records and sent {}; they are read again in the \
             next run",
            instant(window.span.from)?,
            instant(window.span.to)?,
            window.said().map_or_else(|| "an unknown number of".to_owned(), |n| n.to_string()),
            window.union,
        );
        lane.block(window.span.from - 1, problem);
        self.passed(lane, outlet, window.span.to)
    }

    /// Everything up to `to` is done with.
    fn passed(&self, lane: &mut Lane, outlet: &mut Outlet<'_>, to: i64) -> Result<(), Trouble> {
        lane.book.forget_before(to.min(self.keep_from));
        lane.verified(outlet, to.min(self.limit))?;
        Ok(())
    }

    /// Answers are too large or too slow: ask for half as much.
    fn shrink(&mut self, index: usize, error: Error) -> Result<(), Trouble> {
        let Some(window) = self.at(index) else { return Ok(()) };
        if window.page_size <= 1 {
            return Err(Trouble::Stream(error));
        }
        let smaller = (window.page_size / 2).max(1);
        if smaller < self.page_size {
            self.page_size = smaller;
            self.cap = reachable(self.cap, smaller);
            self.planner.limit(self.cap);
        }
        let fresh = {
            let unit = self.unit();
            let page_size = self.page_size;
            let Some(window) = self.at(index) else { return Ok(()) };
            window.afresh(unit, page_size)
        };
        self.replace(index, vec![fresh]);
        Ok(())
    }
}

/// Rows that whole pages of this size reach: neither beyond `cap` nor beyond page 100.
fn reachable(cap: u64, page_size: u32) -> u64 {
    let page_size = u64::from(page_size.max(1));
    (cap / page_size).clamp(1, 100) * page_size
}

fn report(
    stream: &StreamName,
    outlet: &Outlet<'_>,
    window: &Window,
    verified: bool,
) -> Result<(), Error> {
    outlet.cx.log.event(Event::Window {
        stream: stream.clone(),
        from: instant(window.span.from)?,
        to: instant(window.span.to)?,
        expected: if window.kind == Kind::Snapshot { None } else { window.said() },
        received: window.distinct.max(window.union),
        calls: window.calls,
        verified,
    });
    Ok(())
}

impl Walk for SearchWalk {
    fn next(&mut self, lookahead: usize) -> Option<Ask> {
        // A window's size is known one answer after it was begun: begin the next one before the
        // pages of those that are known run out.
        let per_window = (self.planner.aim() / u64::from(self.page_size)).max(1) as usize;
        let mut ahead = 0;
        for step in &self.steps {
            let Step::Window(window) = step else { continue };
            ahead += if window.is_sized() { window.wanted() } else { per_window };
        }
        let early = self.planner.is_informed() && ahead < lookahead;
        if (early || self.steps.is_empty())
            && let Some(span) = self.planner.plan()
        {
            let window = self.window(span);
            self.steps.push_back(Step::Window(Box::new(window)));
            return self.ask(self.steps.len() - 1);
        }
        // In the order of time, so that what arrives can be handed over; behind a window whose
        // size is not known only first pages.
        let mut known = true;
        for index in 0..self.steps.len() {
            let Some(Step::Window(window)) = self.steps.get(index) else { continue };
            if window.wanted() > 0 && (known || !window.is_sized()) {
                return self.ask(index);
            }
            known &= window.is_sized();
        }
        None
    }

    fn arrive(
        &mut self,
        unit: u64,
        page: u32,
        result: Result<PageData, Failure>,
    ) -> Result<(), Trouble> {
        let Some(index) = self.position(unit) else { return Ok(()) };
        let query = &mut self.query;
        let Some(Step::Window(window)) = self.steps.get_mut(index) else { return Ok(()) };
        match result {
            Ok(data) => {
                query.works();
                if let Some(used) = data.page_size
                    && page == 1
                    && used > 0
                    && used < window.page_size
                {
                    // Silently cut down (kustomer-api 3): count pages by what is really used.
                    window.page_size = used;
                    self.page_size = self.page_size.min(used);
                    self.cap = reachable(self.cap, used);
                    self.planner.limit(self.cap);
                }
                let cap = self.cap;
                if window.take(page, data, cap) {
                    self.size_up(index);
                }
                Ok(())
            }
            Err(Failure::TooMuch(error)) => self.shrink(index, error),
            Err(Failure::Refused { status: 400, .. }) if query.retreat() => {
                window.ask_again(page);
                Ok(())
            }
            Err(Failure::Refused { status: 400 | 422, .. }) if !window.filters.is_empty() => {
                self.abandon_axis(index);
                Ok(())
            }
            Err(Failure::Refused { status: 400 | 422, error }) if query.is_unknown_archive() => {
                Err(Trouble::Absent(error))
            }
            Err(failure) => Err(Trouble::of(failure)),
        }
    }

    fn emit(&mut self, lane: &mut Lane, outlet: &mut Outlet<'_>) -> Result<bool, Trouble> {
        loop {
            match self.steps.front_mut() {
                None => return Ok(self.planner.is_done()),
                Some(Step::Close(_)) => self.close_group(lane, outlet)?,
                Some(Step::Window(window)) => {
                    if !self.total_told
                        && window.filters.is_empty()
                        && let Some(total) = self.whole.or(window.first_total)
                    {
                        self.total_told = true;
                        outlet
                            .cx
                            .log
                            .event(Event::StreamTotal { stream: self.stream.clone(), total });
                    }
                    let number = *window.number.get_or_insert_with(|| lane.book.window());
                    while let Some(Slot::Here(_)) = window.pages.get(window.handed) {
                        let slot = std::mem::replace(&mut window.pages[window.handed], Slot::Done);
                        window.handed += 1;
                        if let Slot::Here(page) = slot {
                            let tally =
                                lane.hand_over(outlet, *page, number, window.attempt, window.base)?;
                            window.distinct += tally.attempt;
                            window.union += tally.union;
                        }
                    }
                    if window.handed < window.pages.len() {
                        return Ok(false);
                    }
                    self.settle(lane, outlet)?;
                }
            }
        }
    }

    fn comes_first(&self) -> bool {
        self.limit == i64::MIN
    }

    fn owns(&self, unit: u64) -> bool {
        unit >> 32 == self.units >> 32
    }

    fn waiting_bytes(&self) -> usize {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Window(window) => window.waiting_bytes(),
                Step::Close(_) => 0,
            })
            .sum()
    }

    fn old_from(&self) -> Option<i64> {
        self.old.then_some(self.span.from)
    }
}

impl SearchWalk {
    /// Asks for the next page of the window at `index`.
    fn ask(&mut self, index: usize) -> Option<Ask> {
        let Some(Step::Window(window)) = self.steps.get_mut(index) else { return None };
        let page = window.ask()?;
        let (unit, spec) = (window.unit, window.spec());
        let call = self.query.call(&self.stream, window, page);
        Some(Ask { unit, page, call, spec })
    }
}
