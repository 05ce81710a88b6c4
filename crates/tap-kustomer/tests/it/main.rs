//! The tap against a pretend Kustomer, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod calm;
mod faults;
mod forecast;
mod incumbent;
mod keys;
mod program;
mod random;
mod rate;
mod standin;
mod support;
mod ties;
mod weather;
