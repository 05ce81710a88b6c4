//! What happens in the service, as it happens, for whoever watches it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Sender, channel};
use tokio::sync::mpsc;

use crate::Api;
use crate::api::Answer;
use crate::gate::Watch;

/// Events that a slow listener may be behind; it is told of those it missed.
const BEHIND: usize = 256;

/// After so long without an event something is sent, so that nobody takes the stream for dead.
const QUIET: Duration = Duration::from_secs(15);

/// Where events go; clones are the same place. Nobody need listen.
#[derive(Clone, Debug)]
pub struct Events(Sender<Arc<str>>);

impl Default for Events {
    fn default() -> Self {
        Self(channel(BEHIND).0)
    }
}

impl Events {
    /// Tells everyone who listens now of an object with its kind under `event`.
    pub fn send(&self, object: &Value) {
        if self.0.receiver_count() == 0 {
            return;
        }
        let kind = object["event"].as_str().unwrap_or("event");
        // JSON has no line breaks but escaped ones.
        let _ = self.0.send(format!("event: {kind}\ndata: {object}\n\n").into());
    }
}

/// Events from now on, until the listener leaves (server-sent events).
pub(crate) async fn events(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
) -> Answer<Response> {
    let seat = watch.seat("close one")?;
    let mut heard = api.events.0.subscribe();
    let (sender, parts) = mpsc::channel::<Bytes>(4);
    tokio::spawn(async move {
        let _seat = seat;
        // So that a listener knows that it listens.
        let mut text = Bytes::from_static(b":\n\n");
        while sender.send(text).await.is_ok() {
            text = match tokio::time::timeout(QUIET, heard.recv()).await {
                Err(_) => Bytes::from_static(b":\n\n"),
                Ok(Ok(event)) => Bytes::copy_from_slice(event.as_bytes()),
                Ok(Err(RecvError::Lagged(missed))) => {
                    format!("event: missed\ndata: {{\"events\":{missed}}}\n\n").into()
                }
                Ok(Err(RecvError::Closed)) => return,
            };
        }
    });
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(Parts(parts))).into_response())
}

struct Parts(mpsc::Receiver<Bytes>);

impl Stream for Parts {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|part| part.map(Ok))
    }
}
