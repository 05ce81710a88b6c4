//! What time it is for this program: this machine's, or one that a rehearsal chose.

use std::sync::OnceLock;

use bobbin_core::clock::{Clock, FastClock, SystemClock};
use jiff::{SignedDuration, Timestamp};

static CHOSEN: OnceLock<FastClock> = OnceLock::new();

/// The clock of everything a job and a schedule depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        CHOSEN.get().map_or_else(|| SystemClock.now(), Clock::now)
    }

    fn real(&self, duration: SignedDuration) -> std::time::Duration {
        match CHOSEN.get() {
            Some(clock) => clock.real(duration),
            None => SystemClock.real(duration),
        }
    }
}

/// The present instant.
pub(crate) fn now() -> Timestamp {
    Wall.now()
}

/// Lets time go fast for this process. The form of `order` is `SHOWN AT FACTOR`: the clock shows the
/// first instant when this machine's shows the second, and goes so many times as fast. Processes
/// that are given the same words have the same time, whenever they start. Gives false where it
/// cannot be understood.
///
/// The program takes it from `BOBBIN_TEST_CLOCK`, in debug builds alone: `cargo xtask day` has it go
/// through a day in minutes.
pub(crate) fn rehearse(order: &str) -> bool {
    let mut words = order.split_whitespace();
    let mut word = || words.next();
    let (Some(shown), Some(at), Some(factor), None) = (word(), word(), word(), word()) else {
        return false;
    };
    let instant = |text: &str| text.parse::<Timestamp>().ok();
    let (Some(shown), Some(at)) = (instant(shown), instant(at)) else { return false };
    let Some(factor) = factor.parse::<u32>().ok().filter(|factor| *factor > 0) else {
        return false;
    };
    let passed = SystemClock.now().duration_since(at).checked_mul(factor.cast_signed());
    let start = passed.and_then(|passed| shown.checked_add(passed).ok());
    start.is_some_and(|start| CHOSEN.set(FastClock::new(start, factor)).is_ok())
}
