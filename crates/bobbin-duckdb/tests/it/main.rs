//! The loader against real DuckDB files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test may"
)]

mod file;
mod rounds;
mod subtables;
mod support;
mod tables;
mod upsert;
mod versions;
