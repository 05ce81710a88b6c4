//! Where the time comes from, so that tests can choose it.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// A wall clock. Durations and sleeps use the monotonic clock of [`crate::cancel::Cancel`].
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// How long something takes by the monotonic clock that takes so long by this one.
    fn real(&self, duration: SignedDuration) -> Duration {
        duration.try_into().unwrap_or_default()
    }
}

/// The clock of this machine.
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still, for tests.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// A clock that goes faster than time, for rehearsals and tests.
#[derive(Clone, Copy, Debug)]
pub struct FastClock {
    start: Timestamp,
    since: Instant,
    factor: u32,
}

impl FastClock {
    /// A clock that shows `start` now, and `factor` seconds more each second.
    pub fn new(start: Timestamp, factor: u32) -> Self {
        Self { start, since: Instant::now(), factor: factor.max(1) }
    }
}

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.since.elapsed() * self.factor);
        passed.ok().and_then(|passed| self.start.checked_add(passed).ok()).unwrap_or(Timestamp::MAX)
    }

    fn real(&self, duration: SignedDuration) -> Duration {
        Duration::try_from(duration).unwrap_or_default() / self.factor
    }
}
