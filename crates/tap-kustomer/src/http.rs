//! Calls to a JSON API over HTTP: paced, retried, counted.
//!
//! Nothing here knows a word of Kustomer but the names of its rate headers, so that it can move
//! out when a second REST tap comes.

pub mod client;
mod desk;
pub mod pace;
pub mod pages;
mod refusal;
pub mod retry;

pub use client::{Answer, Call, Client, Failure, Flaw, Got};
