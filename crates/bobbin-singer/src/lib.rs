//! Singer text: catalogs, states and messages, in and out, and the program a tap becomes.
//!
//! Everything that knows a Singer field name is here (`singer.md` is the law); what is extracted,
//! and how, is the tap's. A tap crate needs [`program::Program`] and nothing else to be a Singer
//! tap; [`target::Target`] makes any destination a Singer target.

pub mod about;
pub mod batch;
pub mod catalog;
pub mod cli;
pub mod config;
mod conform;
mod lines;
pub mod logs;
pub mod message;
pub mod process;
pub mod program;
pub mod reader;
pub mod schema;
pub mod state;
pub mod target;
mod waiting;
pub mod writer;
