//! The HTTP API of a running service: its connections, jobs, logs and slots, as JSON.
//!
//! Async lives here and nowhere else of ours; no business rule does.

mod api;
mod connect;
mod gate;
mod guests;
mod problem;
pub mod token;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bobbin_core::id::ConnectionId;
use bobbin_core::secret::Secret;
use bobbin_core::selection::Selection;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_engine::Engine;
use bobbin_engine::service::Control;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::guests::Door;

/// A connection, as the file has it.
#[derive(Clone, Debug, Serialize)]
pub struct Described {
    /// Its name in the file.
    pub name: String,
    /// The schema of its tables.
    pub schema: String,
    /// What it reads from, for example `kustomer`.
    pub source: String,
    /// What it writes to, for example `postgres`.
    pub destination: String,
    /// The destination's name in the file.
    #[serde(skip)]
    pub destination_name: String,
}

/// What of the running program the API cannot know by itself.
pub trait Program: Send + Sync {
    /// The connections as they are now.
    fn connections(&self) -> BTreeMap<ConnectionId, Described>;

    /// What is chosen of a connection's source.
    fn selection(&self, connection: &ConnectionId) -> Option<Selection>;

    /// How the file differs from what runs; with `make` what runs is made so.
    ///
    /// # Errors
    /// When the file is wrong; then nothing is changed.
    fn apply(&self, make: bool) -> Result<Vec<Difference>>;
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
    /// What every request must carry.
    pub token: Secret,
}

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
            .max_blocking_threads(8)
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
                    let serving = axum::serve(Door::new(listener), router)
                        .with_graceful_shutdown(asked(stop.clone()));
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
                        _ = serving => {}
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
