//! The engine with a scripted tap and a destination in memory that can fail on order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod habit;
mod ledger;
mod loads;
mod run;
mod service;
mod support;
mod treatment;
