//! Connecting.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use bobbin_core::{Error, ErrorKind, Result};
use postgres::config::{SslMode, SslNegotiation};
use postgres::{Client, NoTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{Config, Guard, Tls};
use crate::error::{self, Doing};
use crate::patience::{Patiently, Plain};
use crate::tunnel::Tunnel;

/// How much longer than a statement may take its answer may be on the way.
const ON_THE_WAY: Duration = Duration::from_secs(10);

/// A connection whose session is set up: UTC, limits of time, no surprises from the role's settings.
pub(crate) fn connect(config: &Config) -> Result<Client> {
    let mut target = postgres::Config::new();
    target
        .dbname(&config.database)
        .user(&config.user)
        .application_name("bobbin")
        .connect_timeout(config.connect_timeout)
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3);
    if let Some(password) = &config.password {
        target.password(password.reveal());
    }
    let mut client = in_time(target, config)?;
    // A session that we lost may still hold locks: the server ends it when nobody answers, or
    // nothing is asked for long. A round is never idle for minutes.
    client
        .batch_execute(&format!(
            "SET TIME ZONE 'UTC'; SET statement_timeout = {}; SET lock_timeout = {};
             SET idle_in_transaction_session_timeout = '10min'; SET tcp_keepalives_idle = 30;
             SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
             SET client_min_messages = warning; SET search_path = pg_catalog;
             SET standard_conforming_strings = on;",
            config.statement_timeout.as_millis(),
            config.lock_timeout.as_millis(),
        ))
        .doing("cannot set up the session")?;
    Ok(client)
}

/// Connects within the time that is allowed for it. The client bounds the TCP connection only, not
/// the talk about TLS and the log-in that follows.
fn in_time(mut target: postgres::Config, config: &Config) -> Result<Client> {
    let most = config.statement_timeout + ON_THE_WAY;
    let tunnel =
        config.ssh.as_ref().map(|ssh| Tunnel::new(ssh, config).map(|tunnel| (ssh, tunnel)));
    let tunnel = tunnel.transpose()?;
    if let Some((_, tunnel)) = &tunnel {
        // The name stays the one that certificates are compared with.
        let entrance = tunnel.entrance();
        target.host(&config.host).hostaddr(entrance.ip()).port(entrance.port());
    } else {
        target.port(config.port);
        if config.guard.is_none() {
            target.host(&config.host);
        }
    }
    let guard = config.guard.filter(|_| tunnel.is_none());
    type Connecting = dyn FnOnce(postgres::Config) -> Result<Client, postgres::Error> + Send;
    let connecting: Box<Connecting> = match config.tls {
        // A Unix socket loses nothing on the way.
        Tls::Off if config.host.starts_with('/') => {
            target.ssl_mode(SslMode::Disable);
            Box::new(move |target| target.connect(NoTls))
        }
        Tls::Off => {
            target.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
            Box::new(move |target| target.connect(Patiently { inner: Plain, most }))
        }
        Tls::Require => {
            target.ssl_mode(SslMode::Require);
            let inner = MakeRustlsConnect::new(trust(config)?);
            Box::new(move |target| target.connect(Patiently { inner, most }))
        }
    };
    let (host, port) = (config.host.clone(), config.port);
    let (sender, connected) = sync_channel(1);
    // When it comes too late nobody takes what it sends, and the connection is closed.
    thread::Builder::new()
        .name("connect".to_owned())
        .spawn(move || {
            let found = guard.map_or(Ok(Vec::new()), |guard| found(guard, &host, port));
            let connected = found.map(|found| {
                for address in found {
                    // Beside the name, that certificates are compared with.
                    target.host(&host).hostaddr(address.ip());
                }
                connecting(target)
            });
            let _ = sender.send(connected);
        })
        .map_err(|error| Error::io("cannot start a thread", error))?;
    match connected.recv_timeout(config.connect_timeout) {
        Ok(Err(refused)) => Err(error::at(refused, config)),
        Ok(Ok(connected)) => connected.map_err(|error| {
            let tunnel = tunnel.filter(|_| error.as_db_error().is_none());
            match tunnel.and_then(|(ssh, tunnel)| tunnel.fault(ssh)) {
                Some(fault) => error::at(fault, config),
                None => error::connecting(&error, config),
            }
        }),
        Err(RecvTimeoutError::Timeout) => Err(error::connecting_took_too_long(config)),
        Err(RecvTimeoutError::Disconnected) => Err(Error::bug("the thread that connects died")),
    }
}

/// The addresses of a host, all of which the guard allows: of several, one that is not hides behind the others.
fn found(guard: Guard, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let found = (guard.resolve)(host, port).ok().filter(|found| !found.is_empty());
    let found = found.ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, "the host's name is not known")
            .hint("check host, and this machine's DNS")
    })?;
    if found.iter().all(|address| (guard.allows)(address.ip())) {
        return Ok(found);
    }
    Err(Error::config("the host's name leads to this machine, or beside it on the wire").hint(
        "through the API it leads to another machine; allow_local = true in [service] of the file allows any",
    ))
}

fn trust(config: &Config) -> Result<ClientConfig> {
    let what = |error: rustls::Error| {
        Error::new(ErrorKind::Config, "TLS cannot be set up").caused_by(error)
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(what)?;
    let builder = match &config.ca_file {
        None => builder.with_platform_verifier().map_err(what)?,
        Some(path) => {
            let wrong = |message: &str| {
                Error::config(message.to_owned())
                    .with("ca_file", path.display())
                    .hint("give a file of certificates in PEM form")
            };
            let mut roots = RootCertStore::empty();
            let certificates = CertificateDer::pem_file_iter(path)
                .map_err(|error| wrong("ca_file cannot be read").caused_by(error))?;
            for certificate in certificates {
                let certificate = certificate
                    .map_err(|error| wrong("ca_file cannot be read").caused_by(error))?;
                roots
                    .add(certificate)
                    .map_err(|error| wrong("ca_file holds a wrong certificate").caused_by(error))?;
            }
            if roots.is_empty() {
                return Err(wrong("ca_file holds no certificate"));
            }
            builder.with_root_certificates(roots)
        }
    };
    Ok(builder.with_no_client_auth())
}
