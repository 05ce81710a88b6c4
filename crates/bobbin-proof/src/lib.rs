//! Proof that the loading path loses, doubles and bends nothing.
//!
//! [`corpus`] reads the hostile records of `corpus/`; [`check`] compares a row with the record it
//! came from, with a JSON reader, a notion of numbers and a calendar of its own ([`exact`]), so that
//! it cannot share the loaders' errors; [`target`] holds the bodies of the fuzz targets as plain
//! functions, which libFuzzer (`fuzz/`) and the ordinary tests call alike; [`whole`] puts arrays in
//! tables of their own together again. No part of the program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what is proven wrong here ends a test or a fuzz run by a panic"
)]

pub mod cells;
pub mod check;
pub mod corpus;
pub mod exact;
pub mod mutate;
pub mod target;
pub mod whole;
