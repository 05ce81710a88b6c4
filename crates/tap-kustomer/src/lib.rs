//! The Kustomer tap: library and Singer program.
//!
//! Kustomer's words end here: whoever uses this crate sees a [`bobbin_core::tap::Tap`] that offers
//! nine streams and promises that none of their records is lost or doubled. See `README.md`.

mod book;
pub mod bookmark;
pub mod cli;
pub mod config;
mod crew;
mod forecast;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod http;
mod lane;
mod lists;
pub mod metadata;
mod page;
pub mod shape;
pub mod streams;
mod sync;
pub mod tap;
mod together;
pub mod token;
mod walk;
pub mod window;
