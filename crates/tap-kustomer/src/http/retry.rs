//! When to try again, and how often at most.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::Limits;

/// The pause before repetition `n` (from 1) with `chance` in 0..1: doubling, with full jitter, but
/// never less than a tenth of the step.
pub fn pause(limits: &Limits, n: u32, chance: f64) -> Duration {
    let step = limits.base.saturating_mul(1 << n.saturating_sub(1).min(16)).min(limits.longest);
    step.mul_f64(0.1 + 0.9 * chance)
}

/// How many repetitions a run has left: a floor, and a part of its calls.
#[derive(Debug)]
pub struct RetryBudget {
    floor: u64,
    share: f64,
    calls: AtomicU64,
    repeats: AtomicU64,
}

impl RetryBudget {
    /// Nothing used yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            floor: u64::from(limits.retry_floor),
            share: limits.retry_share,
            calls: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
        }
    }

    /// Counts a call that is made for the first time.
    pub fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks for a repetition; false when the run has used up its share.
    pub fn repeat(&self) -> bool {
        let used = self.repeats.fetch_add(1, Ordering::Relaxed);
        let calls = self.calls.load(Ordering::Relaxed) as f64;
        used < self.floor.max((calls * self.share) as u64)
    }

    /// Repetitions so far.
    pub fn repeats(&self) -> u64 {
        self.repeats.load(Ordering::Relaxed)
    }
}

/// A number in 0..1 that differs from thread to thread and call to call; good enough for jitter.
pub fn chance() -> f64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(seed());
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        (x >> 11) as f64 / (1_u64 << 53) as f64
    })
}

fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_are_jittered() {
        let limits = Limits::default();
        assert_eq!(pause(&limits, 1, 1.0), Duration::from_millis(250));
        assert_eq!(pause(&limits, 4, 1.0), Duration::from_secs(2));
        assert_eq!(pause(&limits, 40, 1.0), Duration::from_secs(20));
        assert_eq!(pause(&limits, 4, 0.0), Duration::from_millis(200));
    }

    #[test]
    fn a_run_repeats_a_floor_or_a_part_of_its_calls() {
        let limits = Limits { retry_floor: 3, retry_share: 0.5, ..Limits::default() };
        let budget = RetryBudget::new(&limits);
        assert!((0..3).all(|_| budget.repeat()));
        assert!(!budget.repeat());
        for _ in 0..20 {
            budget.call();
        }
        assert!(budget.repeat());
    }

    #[test]
    fn chance_stays_between_zero_and_one() {
        assert!((0..1000).all(|_| (0.0..1.0).contains(&chance())));
    }
}
