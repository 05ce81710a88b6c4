//! The loader against a real server of the test's own.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod connect;
mod plan;
mod rounds;
mod server;
#[path = "../../../bobbin-load/tests/it/shapes.rs"]
mod shapes;
mod subtables;
mod support;
mod tables;
mod upsert;
mod versions;
