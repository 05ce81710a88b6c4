//! The HTTP API of a running service: its connections, jobs, logs and slots, as JSON.
//!
//! Async lives here and nowhere else of ours; no business rule does.

mod api;
mod audit;
mod connect;
mod events;
mod gate;
mod guests;
mod import;
mod live;
mod names;
mod pages;
pub mod people;
mod problem;
mod replay;
pub mod token;
mod who;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bobbin_core::forecast::Forecast;
use bobbin_core::held::{HeldTable, Sample};
use bobbin_core::id::{ConnectionId, JobId, StreamName};
use bobbin_core::rejected::{RejectedList, RejectedQuery};
use bobbin_core::secret::Secret;
use bobbin_core::selection::Selection;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_engine::ledger::{Side, Thing};
use bobbin_engine::service::Control;
use bobbin_engine::{Engine, Retried};
use bobbin_import::inbox::Inbox;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

pub use crate::events::Events;

/// Where a thing was written, and so can be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Managed {
    /// In the file.
    File,
    /// Through this API.
    Api,
}

/// A connection, as it is set up.
#[derive(Clone, Debug, Serialize)]
pub struct Described {
    /// Its name in the file; its identity, if it was set up through this API.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// Where it can be changed.
    pub managed_by: Managed,
    /// Whether tables are chosen; without, nothing is replicated.
    pub configured: bool,
    /// The schema of its tables.
    pub schema: String,
    /// What it reads from, for example `kustomer`.
    pub source: String,
    /// What it writes to, for example `postgres`.
    pub destination: String,
    /// The source's name.
    pub source_name: String,
    /// The destination's name.
    pub destination_name: String,
}

/// A source or destination, without its secrets.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// What it is, for example `kustomer`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it can be changed.
    pub managed_by: Managed,
    /// Its settings but for secrets.
    pub settings: Map<String, Value>,
    /// What people call it and say of it: `display_name`, `description`.
    pub labels: BTreeMap<String, String>,
    /// The names of the secrets it has.
    pub secrets: Vec<String>,
    /// Since when there is it, if it was set up through this API.
    pub made_at: Option<Timestamp>,
    /// When it was last changed, likewise.
    pub changed_at: Option<Timestamp>,
}

/// Somebody who is told of notices, or a program that is told of loads, without its secrets.
#[derive(Clone, Debug, Serialize)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// `email`, `slack` or `webhook`, which are told of notices, or `post_load`, which is told of loads.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where it can be changed.
    pub managed_by: Managed,
    /// Since when nobody is told by it; none while somebody is.
    pub disabled_at: Option<Timestamp>,
    /// The host of its URL or its mail server.
    pub host: Option<String>,
    /// Its settings but for secrets.
    pub settings: Map<String, Value>,
    /// The names of the secrets it has.
    pub secrets: Vec<&'static str>,
    /// Since when there is it, if it was set up through this API.
    pub made_at: Option<Timestamp>,
    /// When it was last changed, likewise.
    pub changed_at: Option<Timestamp>,
}

impl Part {
    /// It in the words of the file, as a change of it is said; what is secret is left out and so stays.
    pub fn written(&self) -> Map<String, Value> {
        let mut words = self.settings.clone();
        for (label, text) in &self.labels {
            words.insert(label.clone(), text.as_str().into());
        }
        words.insert("type".to_owned(), self.kind.as_str().into());
        words
    }
}

/// A type of sources or destinations, and what one of it needs.
#[derive(Clone, Debug, Serialize)]
pub struct Type {
    /// `source` or `destination`.
    pub side: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// Its settings.
    pub properties: Vec<Property>,
}

/// One setting of a type.
#[derive(Clone, Debug, Serialize)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub description: &'static str,
    /// `string`, `date-time`, `integer`, `number` or `boolean`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// Whether it is a secret, which is never given back.
    pub credential: bool,
    /// What holds unless it is given.
    pub default: Option<Value>,
}

/// A wish to make, change or remove something.
#[derive(Clone)]
pub struct Edit {
    /// What.
    pub thing: Thing,
    /// Its name; of a connection, its identity.
    pub name: String,
    /// How it is to be, in the words of the file; none removes it. A secret that is left out stays as it was.
    pub body: Option<Map<String, Value>>,
    /// Whether there must be none of that name yet.
    pub new: bool,
}

/// Of what it is to be only the names: there are secrets in it.
impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.body.as_ref().map(|body| body.keys().collect::<Vec<_>>());
        f.debug_struct("Edit")
            .field("thing", &self.thing)
            .field("name", &self.name)
            .field("body", &names)
            .field("new", &self.new)
            .finish()
    }
}

/// A wish for another connection that is as one there is (F-10).
#[derive(Clone, Debug)]
pub struct CloneOf {
    /// The one there is.
    pub connection: ConnectionId,
    /// The identity of the other one.
    pub name: String,
    /// What people call that.
    pub display_name: String,
    /// The schema of its tables; its identity unless given.
    pub schema: Option<String>,
    /// The name of its destination; the same one unless given.
    pub destination: Option<String>,
    /// Whether the same tables and fields are chosen; none are otherwise.
    pub keep_selection: bool,
}

/// What of the running program the API cannot know by itself.
pub trait Program: Send + Sync {
    /// The connections as they are now.
    fn connections(&self) -> BTreeMap<ConnectionId, Described>;

    /// What is chosen of a connection's source.
    fn selection(&self, connection: &ConnectionId) -> Option<Selection>;

    /// The sources or the destinations.
    fn parts(&self, thing: Thing) -> Vec<Part>;

    /// Who is told of notices and of loads.
    fn channels(&self) -> Vec<Channel>;

    /// A connection that was set up through the API, in the words in which it was; none for another.
    fn written(&self, connection: &ConnectionId) -> Option<Map<String, Value>>;

    /// What was set up through the API and cannot be used, with the reason.
    fn broken(&self) -> Vec<(Thing, String, String)>;

    /// Makes, changes and removes things, all or none. They are in effect with the next job.
    ///
    /// # Errors
    /// Of kind `Config` when something is wrong with them, `Conflict` when the file has them or others need
    /// them, `NotFound` when what is to be removed is not there.
    fn change(&self, edits: &[Edit]) -> Result<()>;

    /// Makes another connection that is as one there is, wherever that was set up: of the same source, paused,
    /// with nothing read yet (`stitch-behaviour.md` 10.4).
    ///
    /// # Errors
    /// Of kind `NotFound` when there is no such connection, `Conflict` when a name or the schema is taken or
    /// nothing is chosen that could be kept, `Config` when something is wrong with it or its records are pushed.
    fn clone_connection(&self, wish: &CloneOf) -> Result<()>;

    /// What can be set up.
    fn types(&self) -> Vec<Type>;

    /// Begins a connection check: of the source of a connection, or of a destination. How it goes stands in
    /// the ledger.
    ///
    /// # Errors
    /// Of kind `NotFound` when there is no such thing, `Unavailable` when too many run.
    fn check(&self, side: Side, name: &str) -> Result<()>;

    /// Tells by a source's own counts how much a first run would read, from `start` or as it is set.
    ///
    /// # Errors
    /// Of kind `NotFound` when there is no such source, `Config` when it does not count; others as the source
    /// gives them.
    fn forecast(&self, source: &str, start: Option<Timestamp>) -> Result<Forecast>;

    /// Lets the next job read streams, or everything, from the start date again; gives which. With `replace`
    /// that takes the place of what was there once it is whole.
    ///
    /// # Errors
    /// Of kind `Conflict` while a job runs.
    fn reset(
        &self,
        connection: &ConnectionId,
        streams: &[StreamName],
        replace: bool,
    ) -> Result<Vec<StreamName>>;

    /// Begins a job that reads records again that changed in a part of time, and moves no bookmark; gives
    /// what it is called.
    ///
    /// # Errors
    /// Of kind `Config` when that cannot be read, `Conflict` while a job runs.
    fn backfill(
        &self,
        connection: &ConnectionId,
        tables: Vec<StreamName>,
        part: (Timestamp, Timestamp),
    ) -> Result<JobId>;

    /// The records that a connection's destination has set aside.
    fn rejected(&self, connection: &ConnectionId, query: &RejectedQuery) -> Result<RejectedList>;

    /// The tables that a connection's destination holds of it.
    fn held(&self, connection: &ConnectionId) -> Result<Vec<HeldTable>>;

    /// The first rows of one of them.
    fn sample(&self, connection: &ConnectionId, table: &str, most: usize) -> Result<Sample>;

    /// Loads them again, all or those of a table.
    ///
    /// # Errors
    /// Of kind `Conflict` while a job runs.
    fn retry(&self, connection: &ConnectionId, table: Option<&str>) -> Result<Vec<Retried>>;

    /// Where a connection's pushed records wait.
    ///
    /// # Errors
    /// Of kind `Config` when nobody pushes into it.
    fn inbox(&self, connection: &ConnectionId) -> Result<Arc<Inbox>>;

    /// Something was pushed into a connection and waits to be loaded.
    fn pushed(&self, connection: &ConnectionId);

    /// What whoever helps has to know, as a compressed archive without secrets and records; with what it is
    /// called.
    ///
    /// # Errors
    /// When the archive cannot be written.
    fn support(&self) -> Result<(String, Vec<u8>)>;

    /// The machine and what bobbin takes of it, as the support bundle tells it.
    fn about(&self) -> Value;

    /// How the file differs from what runs; with `make` what runs is made so.
    ///
    /// # Errors
    /// When the file is wrong; then nothing is changed.
    fn apply(&self, make: bool) -> Result<Compared>;
}

/// How the file differs from what runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compared {
    /// Where the file is.
    pub file: String,
    /// The connections that are different.
    pub connections: Vec<Difference>,
    /// Which of the settings for all of them are different, for example `notify`.
    pub settings: Vec<String>,
}

/// How the file differs from what runs, in one connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// The connection's name.
    pub connection: String,
    /// What becomes of it.
    pub change: Change,
    /// Which of its parts differ, for example `schedule`; never a value, which may be a secret.
    pub parts: Vec<String>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is taken out: its tables stay, and so does what is known of it.
    Removed,
    /// Its next job is another one.
    Changed,
}

/// What the API speaks for.
#[derive(Clone)]
pub struct Api {
    /// Asks the running service.
    pub control: Control,
    /// Keeps ledger and logs.
    pub engine: Engine,
    /// Knows the connections.
    pub program: Arc<dyn Program>,
    /// What a request must carry, if not the key of somebody or their session.
    pub token: Secret,
    /// Tells those who watch what happens.
    pub events: Events,
    /// Further names by which the service may be asked for, for example that of a proxy.
    pub hosts: Vec<String>,
    /// Hears what could not be done beside an answer.
    pub warned: fn(&Error),
}

/// Threads for what blocks.
const BLOCKING: usize = 8;

/// How long answers on their way have once the server is to stop.
const PARTING: Duration = Duration::from_secs(3);

/// A server that listens until it is dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on an address.
    ///
    /// # Errors
    /// Of kind `Conflict` when another program listens there, `Io` when it cannot be had.
    pub fn start(address: SocketAddr, api: Api) -> Result<Self> {
        let refused = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::AddrInUse => ErrorKind::Conflict,
                _ => ErrorKind::Io,
            };
            Error::new(kind, "cannot listen for requests")
                .with("address", address)
                .hint("choose another one with --listen, or --listen none for no API")
                .caused_by(error)
        };
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING)
            .build()
            .map_err(refused)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let router = api::router(Arc::new(api), address);
        let thread = std::thread::Builder::new()
            .name("api".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                    let (stopping, stop) = tokio::sync::watch::channel(());
                    let asked = |mut stop: tokio::sync::watch::Receiver<()>| async move {
                        let _ = stop.changed().await;
                    };
                    let serving = guests::serve(listener, router, stop.clone());
                    let late = async {
                        asked(stop).await;
                        tokio::time::sleep(PARTING).await;
                    };
                    let heard = async {
                        // A sender that is gone means the same.
                        let _ = stopped.await;
                        let _ = stopping.send(());
                        std::future::pending::<()>().await;
                    };
                    tokio::select! {
                        () = serving => {}
                        () = late => {}
                        () = heard => {}
                    }
                });
                // A client that is slow holds nobody up.
                runtime.shutdown_background();
            })
            .map_err(refused)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_shown_without_its_secrets() {
        let body = [("password".to_owned(), Value::from("canary"))];
        let body = Some(body.into_iter().collect());
        let edit = Edit { thing: Thing::Destination, name: "out".to_owned(), body, new: true };
        let shown = format!("{edit:?}");
        assert!(shown.contains("password") && !shown.contains("canary"), "{shown}");
    }
}
