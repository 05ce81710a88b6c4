//! Named points at which a rehearsal may end the process at once, as a power cut would.
//!
//! Nothing happens unless the program was armed (the `bobbin` program does so from
//! `BOBBIN_CRASH_AT`); then the process aborts without unwinding, flushing or cleaning up. The
//! tests use this to prove that no point between sealing a segment and saving the state can
//! lose or double a row.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Every point there is, in the order a segment passes them.
pub const POINTS: &[&str] = &[
    "segment-written",
    "segment-synced",
    "segment-sealed",
    "segment-loaded",
    "before-commit",
    "rows-written",
    "after-commit",
    "state-saved",
    "segment-released",
];

static ARMED: OnceLock<(String, AtomicU32)> = OnceLock::new();

/// Arms one point: the process ends when it is passed for the `nth` time (from 1). The form of
/// `order` is `name` or `name:nth`. Gives false when the name is unknown or the number is none.
pub fn arm(order: &str) -> bool {
    let (name, nth) = order.split_once(':').unwrap_or((order, "1"));
    match nth.parse() {
        Ok(nth) if nth > 0 && POINTS.contains(&name) => {
            ARMED.set((name.to_owned(), AtomicU32::new(nth))).is_ok()
        }
        _ => false,
    }
}

/// Passes a point.
pub fn point(name: &'static str) {
    debug_assert!(POINTS.contains(&name), "{name} is not in the list of points");
    if let Some((armed, left)) = ARMED.get()
        && armed == name
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}
