//! From a request's body to a job's output.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod keeping;
mod loading;
mod random;
mod refusing;
mod restoring;
mod support;
