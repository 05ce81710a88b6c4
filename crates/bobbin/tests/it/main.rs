//! The real program against the simulator: what a person and a script see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod api;
mod browser;
mod bundle;
mod calm;
mod cloning;
mod columns;
mod connecting;
mod day;
mod fire;
mod forecast;
mod foreign;
mod grants;
mod into_postgres;
mod kill;
#[path = "../../../bobbin-notify/tests/it/listener.rs"]
#[allow(dead_code, reason = "mails are sent there")]
mod listener;
mod locks;
mod manners;
mod notifying;
mod pages;
mod pages_extraction;
mod pages_rejected;
mod pages_settings;
mod pages_wizard;
mod people;
mod plan;
mod proxy;
mod pushing;
mod sdk;
#[path = "../../../bobbin-postgres/tests/it/server.rs"]
mod server;
mod serving;
mod setup;
mod singer;
mod support;
mod target;
mod tls;
#[cfg(feature = "otel")]
mod traces;
mod trouble;
mod tunnel;
