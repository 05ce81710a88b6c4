//! The simulator over real HTTP, against brute force.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panic")]

mod faults;
mod hostile;
mod limits;
mod lists;
mod oracle;
mod search;
mod support;
