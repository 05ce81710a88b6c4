//! How fast calls may follow each other.
//!
//! Two budgets apply (kustomer-api 6): searches of this key, and all calls of the organisation. A
//! search counts in both. Calls are spread evenly, which suits a fixed window as well as a leaky
//! bucket, with a small allowance to catch up after a late start; nothing is saved up beyond it.
//! The answers' headers correct the picture, a 429 holds everybody back until the window ends.
//!
//! [`Budget`] is pure: the instant is always an argument. [`Pace`] shares two of them among
//! threads.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bobbin_core::{Error, Result};

use crate::config::RateConfig;

/// The organisation's calls per minute while no header has told: the smallest plan's.
const SMALLEST_PLAN: f64 = 300.0;
/// The part of a budget that is used even with a share of all: the rest is for answers that bunch
/// up on their way.
const MOST_SHARE: f64 = 0.98;
/// A held budget is released between these two (kustomer-api 15, line 12).
const LEAST_HOLD: Duration = Duration::from_secs(1);
const LONGEST_HOLD: Duration = Duration::from_mins(2);

/// Which budget a call draws on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bucket {
    /// Searches; they draw on the organisation's too.
    Search,
    /// Everything else.
    Organization,
}

impl Bucket {
    /// The name in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Organization => "organisation",
        }
    }
}

/// What an answer's headers say about the rate.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct RateHeaders {
    /// `x-ratelimit-limit`: calls per window.
    pub limit: Option<f64>,
    /// `x-ratelimit-remaining`: calls left in this window.
    pub remaining: Option<f64>,
    /// How long until the window ends, by `Retry-After`, else by `x-ratelimit-reset` and the
    /// server's own clock.
    pub reset: Option<Duration>,
}

/// Understands `x-ratelimit-reset` in whatever unit (kustomer-api 6): seconds from now, epoch
/// seconds or epoch milliseconds, told apart by their size. `now` is the server's clock.
pub fn until_reset(value: f64, now_seconds: Option<f64>) -> Option<Duration> {
    if !value.is_finite() || value < 0.0 {
        return None;
    }
    let seconds = if value < 1e9 {
        value
    } else {
        let at = if value > 1e12 { value / 1000.0 } else { value };
        at - now_seconds?
    };
    Some(Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0)))
}

/// One budget of calls.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Calls per minute the other side grants everyone; `None`: no limit.
    limit: Option<f64>,
    share: f64,
    /// How many of the other side's windows pass in a minute.
    windows: f64,
    /// 1 in fair weather; less after refusals.
    slow: f64,
    /// When the next call is due by even spacing.
    due: Option<Instant>,
    held_until: Option<Instant>,
    slowed_at: Option<Instant>,
}

impl Budget {
    /// A budget of which `share` is ours.
    pub fn new(limit: Option<f64>, share: f64) -> Self {
        Self { limit, share, windows: 1.0, slow: 1.0, due: None, held_until: None, slowed_at: None }
    }

    /// The same where a window passes `windows` times in a minute.
    pub fn with_windows(mut self, windows: f64) -> Self {
        self.windows = windows.max(1.0);
        self
    }

    /// Calls per minute that are ours; `None`: no limit. Even with a share of all, a little is
    /// left for answers that bunch up on their way.
    pub fn granted(&self) -> Option<f64> {
        self.limit.map(|limit| (limit * self.share.min(MOST_SHARE) * self.slow).max(1.0))
    }

    fn interval(&self) -> Option<Duration> {
        self.granted().map(|granted| Duration::from_secs_f64(60.0 / granted))
    }

    /// How many calls may be made up for at once.
    fn allowance(&self) -> f64 {
        let spare = (1.0 - self.share.min(MOST_SHARE)) / 2.0;
        self.limit.map_or(0.0, |limit| (limit / self.windows * spare.min(0.1)).clamp(1.0, 50.0))
    }

    /// When the next call may go: now or later.
    pub fn ready_at(&self, now: Instant) -> Instant {
        let spaced = match (self.due, self.interval()) {
            (Some(due), Some(interval)) => {
                due.checked_sub(interval.mul_f64(self.allowance())).unwrap_or(now)
            }
            _ => now,
        };
        spaced.max(self.held_until.unwrap_or(now)).max(now)
    }

    /// Counts a call that goes now.
    pub fn take(&mut self, now: Instant) {
        if let Some(interval) = self.interval() {
            self.due = Some(self.due.map_or(now, |due| due.max(now)) + interval);
        }
    }

    /// Learns the limit.
    pub fn learn(&mut self, limit: f64) {
        if limit >= 1.0 {
            self.limit = Some(limit);
        }
    }

    /// Nobody goes before `until`; afterwards calls start evenly spaced again.
    pub fn hold(&mut self, until: Instant) {
        self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
        let allowance = self.interval().map_or(Duration::ZERO, |i| i.mul_f64(self.allowance()));
        let start = until + allowance;
        self.due = Some(self.due.map_or(start, |due| due.max(start)));
    }

    /// Slows down after a refusal, once per window.
    pub fn refuse(&mut self, now: Instant) {
        if self.slowed_at.is_none_or(|at| now.duration_since(at) > Duration::from_secs(5)) {
            self.slow = (self.slow * 0.75).max(0.05);
            self.slowed_at = Some(now);
        }
    }

    /// Recovers a little with every good answer.
    pub fn recover(&mut self) {
        if self.slow < 1.0 {
            self.slow = (self.slow + 0.002).min(1.0);
        }
    }
}

struct State {
    search: Budget,
    organization: Budget,
    /// Whether a header told the organisation's limit.
    learned: bool,
    in_flight: usize,
    /// Whether the other side's clock runs `factor` times as fast as ours.
    fast: bool,
}

/// Both budgets, shared by all threads.
pub struct Pace {
    state: Mutex<State>,
    factor: f64,
    search_limit: f64,
    /// The organisation's limit as it was set, not to be gone beyond.
    organization_limit: Option<f64>,
}

/// What became of an observation.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Observed {
    /// A budget's headers to report: which, its limit, what remains.
    pub headers: Option<(Bucket, u32, u32)>,
    /// A budget is held for this long.
    pub held: Option<(Bucket, Duration)>,
}

impl Pace {
    /// Two fresh budgets.
    pub fn new(config: &RateConfig) -> Self {
        let factor = config.factor;
        let positive = |limit: f64| (limit > 0.0).then_some(limit * factor);
        Self {
            state: Mutex::new(State {
                search: Budget::new(positive(config.search_per_minute), config.search_share)
                    .with_windows(factor),
                organization: Budget::new(
                    positive(config.organization_per_minute.unwrap_or(SMALLEST_PLAN)),
                    config.organization_share,
                )
                .with_windows(factor),
                learned: config.organization_per_minute.is_some(),
                in_flight: 0,
                fast: false,
            }),
            factor,
            search_limit: config.search_per_minute * factor,
            organization_limit: config.organization_per_minute.map(|limit| limit * factor),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a call of `bucket` if one may go now; else says when to ask again.
    pub fn try_take(&self, bucket: Bucket, now: Instant) -> Result<(), Instant> {
        let mut state = self.lock();
        let mut ready = state.organization.ready_at(now);
        if bucket == Bucket::Search {
            ready = ready.max(state.search.ready_at(now));
        }
        if ready > now {
            return Err(ready);
        }
        state.organization.take(now);
        if bucket == Bucket::Search {
            state.search.take(now);
        }
        state.in_flight += 1;
        Ok(())
    }

    /// Waits for a call of `bucket`, by `sleep`.
    pub fn take(
        &self,
        bucket: Bucket,
        mut sleep: impl FnMut(Duration) -> Result<()>,
    ) -> Result<()> {
        loop {
            let now = Instant::now();
            match self.try_take(bucket, now) {
                Ok(()) => return Ok(()),
                // Slept in pieces, since a budget may grow meanwhile.
                Err(at) => {
                    sleep(at.saturating_duration_since(now).min(Duration::from_millis(250)))?;
                }
            }
        }
    }

    /// Calls per minute of a bucket that are ours, if limited.
    pub fn per_minute(&self, bucket: Bucket) -> Option<f64> {
        let state = self.lock();
        let organization = state.organization.granted();
        match (bucket, state.search.granted(), organization) {
            (Bucket::Organization, _, organization) => organization,
            (Bucket::Search, Some(a), Some(b)) => Some(a.min(b)),
            (Bucket::Search, a, b) => a.or(b),
        }
    }

    /// Calls per second of searches that are ours, if limited.
    pub fn searches_per_second(&self) -> Option<f64> {
        self.per_minute(Bucket::Search).map(|per_minute| per_minute / 60.0)
    }

    /// The other side's clock gained so much on ours since we began, both in seconds. A stand-in of
    /// the API whose minute is short tells limits and times by its own clock.
    pub fn watch_clock(&self, theirs: f64, ours: f64) {
        if self.factor > 1.0 && ours > 0.2 {
            self.lock().fast = theirs / ours > self.factor / 2.0;
        }
    }

    /// A call that was taken has ended without an answer.
    pub fn lost(&self) {
        let mut state = self.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
    }

    /// Takes in what an answer says; `refused` for a 429.
    pub fn observe(
        &self,
        bucket: Bucket,
        refused: bool,
        headers: RateHeaders,
        now: Instant,
    ) -> Observed {
        let mut observed = Observed::default();
        let mut state = self.lock();
        let speed = if state.fast { self.factor } else { 1.0 };
        let headers = RateHeaders {
            limit: headers.limit.map(|limit| limit * speed),
            remaining: headers.remaining.map(|left| left * speed),
            reset: headers.reset.map(|reset| reset.div_f64(speed)),
        };
        state.in_flight = state.in_flight.saturating_sub(1);
        // On a search the headers may speak of either budget. A limit near the search budget's
        // own is the search budget's (the smallest plan has three times as many calls).
        let about = match (bucket, headers.limit) {
            (Bucket::Search, Some(limit))
                if self.search_limit > 0.0 && limit <= self.search_limit * 1.5 =>
            {
                Bucket::Search
            }
            (Bucket::Search, None) if refused || headers.remaining.is_some() => Bucket::Search,
            _ => Bucket::Organization,
        };
        let in_flight = state.in_flight as f64;
        if !refused {
            state.organization.recover();
            if bucket == Bucket::Search {
                state.search.recover();
            }
        }
        if let Some(limit) = headers.limit.filter(|limit| *limit >= 1.0) {
            match about {
                Bucket::Search => {
                    let ours = self.search_limit.min(limit);
                    state.search.learn(ours);
                }
                Bucket::Organization => {
                    if !state.learned || state.organization.limit.is_some() {
                        let most = self.organization_limit.unwrap_or(limit);
                        state.organization.learn(limit.min(most));
                        state.learned = true;
                    }
                }
            }
            observed.headers =
                Some((about, limit as u32, headers.remaining.unwrap_or(0.0).max(0.0) as u32));
        }
        let held_bucket = if refused { bucket } else { about };
        let budget = match held_bucket {
            Bucket::Search => &mut state.search,
            Bucket::Organization => &mut state.organization,
        };
        let exhausted = headers.remaining.is_some_and(|left| left < 1.0)
            || headers.remaining.is_some_and(|left| {
                headers.limit.is_some_and(|limit| left <= in_flight && left < limit * 0.05)
            });
        if refused {
            budget.refuse(now);
        }
        if refused || exhausted {
            let wait = headers
                .reset
                .unwrap_or(Duration::from_secs_f64((if refused { 5.0 } else { 2.0 }) / self.factor))
                .clamp(LEAST_HOLD.div_f64(self.factor.max(1.0)), LONGEST_HOLD);
            // Spread the return a little, so that clients that share a budget do not meet again.
            let wait = wait.mul_f64(1.0 + 0.05 * crate::http::retry::chance());
            if budget.held_until.is_none_or(|until| until < now + wait) {
                budget.hold(now + wait);
                observed.held = Some((held_bucket, wait));
            }
            // A refused search may have met the organisation's limit as well as its own.
            if refused && bucket == Bucket::Search && about == Bucket::Organization {
                state.organization.hold(now + wait);
            }
        }
        observed
    }
}

/// The error for a budget that stays closed for longer than a call may take.
pub fn refused_for_long() -> Error {
    Error::new(bobbin_core::ErrorKind::RateLimited, "the API went on refusing calls as too many")
        .hint("other integrations use the same budget; lower organization_share or run at another time")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    fn seconds(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    /// Calls that go in a minute when everyone is always ready.
    fn calls_in(budget: &mut Budget, start: Instant, span: Duration) -> usize {
        let mut now = start;
        let mut calls = 0;
        loop {
            now = budget.ready_at(now);
            if now >= start + span {
                return calls;
            }
            budget.take(now);
            calls += 1;
        }
    }

    #[test]
    fn a_minute_holds_what_is_granted_and_never_more_than_the_limit() {
        let start = Instant::now();
        for (limit, share) in [(100.0, 0.8), (100.0, 1.0), (1000.0, 0.5), (10_000.0, 0.8)] {
            let mut budget = Budget::new(Some(limit), share);
            let first = calls_in(&mut budget, start, seconds(60.0)) as f64;
            assert!(first <= limit, "{first} of {limit}");
            assert!(first >= limit * share * 0.95, "{first} of {limit}");
            let next = calls_in(&mut budget, start + seconds(60.0), seconds(60.0)) as f64;
            assert!(next <= limit && next >= limit * share * 0.95, "{next} of {limit}");
        }
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let start = Instant::now();
        let mut budget = Budget::new(Some(100.0), 0.8);
        budget.take(start);
        let later = start + seconds(300.0);
        assert!(calls_in(&mut budget, later, seconds(1.0)) <= 13);
    }

    #[test]
    fn late_calls_are_made_up_for() {
        let start = Instant::now();
        let mut budget = Budget::new(Some(6000.0), 0.8);
        // A thread that always wakes 5 ms late still gets 80 calls a second.
        let mut now = start;
        let mut calls = 0;
        while now < start + seconds(10.0) {
            now = budget.ready_at(now) + Duration::from_millis(5);
            budget.take(now);
            calls += 1;
            // and whoever else is ready goes with it
            while budget.ready_at(now) == now {
                budget.take(now);
                calls += 1;
            }
        }
        assert!(calls >= 780, "{calls}");
    }

    #[test]
    fn a_held_budget_waits_and_starts_evenly() {
        let start = Instant::now();
        let mut budget = Budget::new(Some(100.0), 0.8);
        budget.hold(start + seconds(10.0));
        assert_eq!(budget.ready_at(start), start + seconds(10.0));
        assert!(calls_in(&mut budget, start, seconds(11.0)) <= 3);
    }

    #[test]
    fn a_reset_is_understood_in_any_unit() {
        let now = Some(1_772_600_000.0);
        for value in [30.0, 1_772_600_030.0, 1_772_600_030_000.0] {
            assert_eq!(until_reset(value, now), Some(seconds(30.0)));
        }
        assert_eq!(until_reset(1_772_500_000.0, now), Some(Duration::ZERO));
        assert_eq!(until_reset(1_772_600_030.0, None), None);
        assert_eq!(until_reset(f64::NAN, now), None);
    }

    #[test]
    fn an_answer_with_nothing_left_holds_its_budget_but_no_other() {
        let pace = Pace::new(&RateConfig::default());
        let now = Instant::now();
        let headers =
            RateHeaders { limit: Some(100.0), remaining: Some(0.0), reset: Some(seconds(20.0)) };
        let observed = pace.observe(Bucket::Search, false, headers, now);
        assert!(matches!(observed.held, Some((Bucket::Search, wait)) if wait >= seconds(20.0)));
        assert!(pace.try_take(Bucket::Organization, now).is_ok());
        assert!(pace.try_take(Bucket::Search, now).unwrap_err() >= now + seconds(20.0));
    }

    #[test]
    fn a_refusal_holds_and_slows_and_good_answers_heal() {
        let pace = Pace::new(&RateConfig::default());
        let now = Instant::now();
        let before = pace.searches_per_second().unwrap();
        let observed = pace.observe(Bucket::Search, true, RateHeaders::default(), now);
        assert!(matches!(observed.held, Some((Bucket::Search, _))));
        assert!(pace.searches_per_second().unwrap() < before);
        for _ in 0..200 {
            pace.observe(Bucket::Search, false, RateHeaders::default(), now);
        }
        assert!((pace.searches_per_second().unwrap() - before).abs() < 1e-9);
    }

    #[test]
    fn the_organisations_limit_is_learned_from_headers() {
        let pace = Pace::new(&RateConfig { search_per_minute: 0.0, ..RateConfig::default() });
        assert!((pace.searches_per_second().unwrap() - 2.5).abs() < 1e-9);
        let headers = RateHeaders { limit: Some(2000.0), remaining: Some(1999.0), reset: None };
        pace.observe(Bucket::Search, false, headers, Instant::now());
        assert!((pace.searches_per_second().unwrap() * 60.0 - 1000.0).abs() < 1e-6);
    }
}
