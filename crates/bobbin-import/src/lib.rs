//! Records that clients send by HTTP, until a job loads them: what is beneath Stitch's Import API.
//!
//! [`request::Requests`] reads a body and refuses what cannot be taken; [`inbox::Inbox`] makes it durable
//! before the client is answered; [`tap::ImportTap`] gives it to a job, exactly once. Nothing here knows
//! HTTP, and nothing is async.

mod batch;
pub mod inbox;
mod names;
pub mod request;
pub mod tap;

pub use batch::Batch;
pub use names::{ID, SEQUENCE};
