//! Starting and stopping the server from ordinary, blocking code.

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::control::Control;
use crate::oracle::Oracle;
use crate::state::Shared;
use crate::wire::{FaultListener, Wire};

/// Starts organisations.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Starts a server on a thread of its own and returns once it listens.
    pub fn start(config: Config) -> io::Result<Running> {
        let shared = Arc::new(Shared::new(config).map_err(io::Error::other)?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(shared.config.threads.max(1))
            .thread_name("fake-kustomer")
            .enable_all()
            .build()?;
        let (ready, listening) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("fake-kustomer".to_owned()).spawn(move || {
                runtime.block_on(async move {
                    let address = (server.config.bind.as_str(), server.config.port);
                    let listener = match tokio::net::TcpListener::bind(address).await {
                        Ok(listener) => listener,
                        Err(error) => {
                            let _ = ready.send(Err(error));
                            return;
                        }
                    };
                    let _ = ready.send(listener.local_addr());
                    tokio::select! {
                        _ = axum::serve(FaultListener(listener), service(server)) => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_background();
            })?;
        let address = listening.recv().map_err(io::Error::other)??;
        Ok(Running {
            shared,
            url: format!("http://{address}"),
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

fn service(shared: Arc<Shared>) -> IntoMakeServiceWithConnectInfo<Router, Wire> {
    Router::new()
        .fallback(crate::api::serve)
        .with_state(shared)
        .into_make_service_with_connect_info::<Wire>()
}

/// A running server. It stops when dropped.
pub struct Running {
    shared: Arc<Shared>,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Where it listens, as `http://127.0.0.1:40123`, without `/v1`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A token that works, or nothing when none is asked for.
    pub fn token(&self) -> &str {
        self.shared.config.tokens.first().map_or("", |token| &token.token)
    }

    /// The configuration it was started with.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// What a perfect replica holds.
    pub fn oracle(&self) -> Oracle {
        Oracle { shared: Arc::clone(&self.shared) }
    }

    /// Clock, changes, faults, statistics.
    pub fn control(&self) -> Control {
        Control { shared: Arc::clone(&self.shared) }
    }

    /// Waits for ever; for programs.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take()
            && self.thread.is_some()
        {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
