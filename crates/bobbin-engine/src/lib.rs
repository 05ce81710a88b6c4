//! Jobs: extract, spool, load, commit, remember.
//!
//! [`Engine::run`] drives one job of a connection from a tap to a destination. The engine knows
//! neither Kustomer nor any destination by name, neither Arrow nor HTTP.

pub mod choice;
pub mod engine;
pub mod job_log;
pub mod job_reader;
pub mod job_view;
pub mod ledger;
pub mod rejected;
pub mod report;
pub mod reset;
pub mod sealed;
pub mod service;
pub mod spool;
pub mod timetable;
pub mod vault;

mod columns;
mod course;
mod extract;
mod habit;
mod hold;
mod journal;
mod load;
mod treat;

pub use engine::{Engine, RunRequest};
pub use rejected::{Retried, RetryRequest};
pub use report::{Outcome, Phase, RunReport, TableReport};
pub use reset::ResetRequest;
