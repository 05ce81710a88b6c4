//! The words of bobbin and its two seams.
//!
//! A [`tap::Tap`] extracts and writes to an [`tap::Output`] (seam A); a
//! [`destination::Loader`] takes sealed segments and makes rows and bookmarks durable together
//! (seam B). Everything else here is the vocabulary both sides share. This crate opens no file,
//! no socket and no thread, and knows no SQL and no Singer field name.

pub mod cancel;
pub mod catalog;
pub mod clock;
pub mod crash;
pub mod destination;
pub mod error;
pub mod forecast;
pub mod held;
pub mod id;
pub mod json;
pub mod plan;
pub mod receipt;
pub mod record;
pub mod rejected;
pub mod report;
pub mod schedule;
pub mod schema;
pub mod secret;
pub mod segment;
pub mod selection;
pub mod state;
pub mod tap;

pub use error::{Error, ErrorKind, Party, Result};
