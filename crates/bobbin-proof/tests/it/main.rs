//! Hostile records, properties and fuzz targets against the real loaders: a DuckDB file and a
//! PostgreSQL server of the test's own.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod corpus;
mod deletes;
mod duckdb;
mod meddling;
mod postgres;
mod properties;
mod replica;
#[path = "../../../bobbin-postgres/tests/it/server.rs"]
mod server;
mod smoke;
