//! Asking the service that runs on this machine.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bobbin_core::secret::Secret;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_engine::Engine;
use bobbin_server::token;
use serde_json::Value;

/// Where a service says that its API is.
fn address_file(home: &Path) -> PathBuf {
    home.join("api-address")
}

/// Writes down where the API is; gone again with what is given back.
pub(crate) fn announce(home: &Path, address: SocketAddr) -> Result<Announced> {
    let file = address_file(home);
    fs::write(&file, format!("{address}\n")).map_err(|error| {
        Error::io("cannot write down where the API is", error).with("path", file.display())
    })?;
    Ok(Announced(file))
}

/// The address that was written down.
pub(crate) struct Announced(PathBuf);

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A running service.
pub(crate) struct Remote {
    address: SocketAddr,
    token: Secret,
}

impl Remote {
    /// The service of this directory; none when none runs or it has no API.
    pub(crate) fn find(home: &Path) -> Option<Self> {
        // One that was killed leaves its address behind, where by now somebody else may listen.
        if !Engine::new(home).is_served() {
            return None;
        }
        let address: SocketAddr =
            fs::read_to_string(address_file(home)).ok()?.trim().parse().ok()?;
        let token = fs::read_to_string(token::path(home)).ok()?;
        let remote = Self { address, token: Secret::new(token.trim()) };
        remote.ask("GET", "/health").is_ok().then_some(remote)
    }

    /// The same, for verbs that need one.
    pub(crate) fn need(home: &Path) -> Result<Self> {
        Self::find(home).ok_or_else(|| {
            Error::config("no service runs for this directory, or it has no API")
                .with("home", home.display())
                .hint("start one: bobbin serve")
        })
    }

    /// Asks; gives the answer's body.
    ///
    /// # Errors
    /// With the words of the service.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Result<Value> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(40)))
            .proxy(None)
            .build()
            .into();
        let failed = |error: ureq::Error| {
            Error::new(ErrorKind::Unavailable, "the service does not answer").caused_by(error)
        };
        let bug = |error: ureq::http::Error| Error::bug("a wrong request").caused_by(error);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("Authorization", format!("Bearer {}", self.token.reveal()))
            .body(())
            .map_err(bug)?;
        let mut answer = agent.run(request).map_err(failed)?;
        let status = answer.status();
        let body = answer.body_mut().read_to_string().map_err(failed)?;
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let kind = match status.as_u16() {
            409 => ErrorKind::Conflict,
            503 => ErrorKind::Unavailable,
            400..500 => ErrorKind::Config,
            _ => ErrorKind::Io,
        };
        let words = body["detail"].as_str().unwrap_or("the service refuses");
        Err(Error::new(kind, words.to_owned()))
    }
}
