//! The DuckDB destination, alone with its native library.
//!
//! [`DuckDb`] is the entry. A connection's tables live in a schema of its own in one database
//! file; rows, rejected rows, the ledger of segments and the state become durable in one
//! transaction. How records become typed columns is `bobbin-load`'s; what is here is what only
//! DuckDB needs: opening and locking the file, DDL, appending, replacing older versions.

mod config;
mod database;
mod destination;
mod error;
mod family;
mod found;
mod held;
mod ledger;
mod loader;
mod merge;
mod plan;
pub mod query;
mod rejected;
mod replace;
mod sql;
mod table;
mod work;
mod writer;

pub use config::Config;
pub use destination::DuckDb;
