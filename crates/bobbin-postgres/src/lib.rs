//! The PostgreSQL destination.
//!
//! [`Postgres`] is the entry. A connection's tables live in a schema of their own; rows, rejected
//! rows, the ledger of segments and the state become durable in one transaction. How records become
//! typed columns is `bobbin-load`'s; what is here is what only PostgreSQL needs: connecting, DDL,
//! `COPY … BINARY`, replacing older versions, and what its errors mean to a person.

mod client;
mod config;
mod copy;
mod destination;
mod error;
mod family;
mod found;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod held;
mod jsonb;
mod ledger;
mod loader;
mod merge;
mod patience;
mod plan;
mod rejected;
mod replace;
mod rights;
mod sql;
mod table;
mod tunnel;
mod work;

pub use config::{Config, Guard, Ssh, Tls};
pub use destination::Postgres;
