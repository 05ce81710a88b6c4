//! The loader against a real server of the test's own.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod connect;
mod rounds;
mod server;
mod subtables;
mod support;
mod tables;
mod upsert;
mod versions;
