//! What is written down of who did what.

use std::sync::Arc;

use axum::http::{HeaderMap, Method};
use bobbin_engine::ledger::Act;
use jiff::Timestamp;

use crate::Api;
use crate::api::asked;
use crate::guests::Peer;

/// Characters of an address or a name that are kept.
const MOST: usize = 300;

/// A request, as far as it is written down: no query, no body, no header.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    method: String,
    path: String,
    address: Option<String>,
}

impl Asked {
    pub(crate) fn of(method: &Method, path: &str, headers: &HeaderMap, peer: Option<Peer>) -> Self {
        let address = peer.map(|peer| from(headers, peer));
        Self { method: method.to_string(), path: path.chars().take(MOST).collect(), address }
    }

    /// From where it comes, as far as that is known.
    pub(crate) fn address(&self) -> &str {
        self.address.as_deref().unwrap_or("")
    }

    /// Writes down that it was asked and answered. That it cannot be is told, and fails nothing.
    pub(crate) async fn write_down(self, api: &Arc<Api>, kind: &str, name: String, status: u16) {
        let act = Act {
            kind: kind.to_owned(),
            name: name.chars().take(MOST).collect(),
            method: self.method,
            path: self.path,
            status: Some(status),
            address: self.address,
        };
        let (warned, now) = (api.warned, Timestamp::now());
        let written = asked(Arc::clone(api), move |api| {
            let written = api.engine.ledger().and_then(|ledger| ledger.write_down(&act, now));
            if let Err(error) = written {
                warned(&error);
            }
            Ok(())
        });
        // A thread that panicked has said so.
        let _ = written.await;
    }
}

/// From where a request comes. A proxy on this machine says for whom it asks.
pub(crate) fn from(headers: &HeaderMap, Peer(peer): Peer) -> String {
    let told = headers.get_all("x-forwarded-for").iter().next_back();
    let told = told.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    let told = told.and_then(|text| text.trim().parse::<std::net::IpAddr>().ok());
    match told {
        Some(told) if peer.ip().is_loopback() => told.to_string(),
        _ => peer.ip().to_string(),
    }
}
