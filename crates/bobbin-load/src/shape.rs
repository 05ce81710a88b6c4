//! From a stream's schema and its records' text to typed columns.
//!
//! [`convert::Converter`] is the entry; it walks each record once, along a tree of fields that
//! grows with the data. The other modules each own one decision: which type ([`types`],
//! [`number`], [`time`]), which name ([`name`]), which of two versions is newer ([`version`]).

pub mod batch;
pub mod capabilities;
pub mod column;
pub mod convert;
pub mod course;
mod envelope;
pub mod layout;
pub mod map;
pub mod name;
pub mod number;
pub mod plan;
pub mod sheet;
pub mod time;
pub mod tree;
pub mod types;
pub mod version;
