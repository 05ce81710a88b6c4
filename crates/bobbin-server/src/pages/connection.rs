//! The pages of one connection.
