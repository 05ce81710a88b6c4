//! The real program against the simulator: what a person and a script see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod calm;
mod kill;
mod singer;
mod support;
mod trouble;
