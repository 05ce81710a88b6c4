//! Records to tables: planning, naming, typing and conversion to columns.
//!
//! Everything here is pure: text in, Arrow arrays out. No connection, no SQL, no file. What is
//! particular to one destination (its types' names, its merge, its transaction) lives with that
//! destination; see `bobbin-duckdb`.

pub mod feed;
pub mod filter;
pub mod lines;
pub mod shape;
