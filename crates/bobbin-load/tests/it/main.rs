//! Records to columns, seen from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test may"
)]

mod convert;
mod hostile;
mod subtables;
mod support;
