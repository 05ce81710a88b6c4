//! Connecting.

use std::sync::Arc;
use std::time::Duration;

use bobbin_core::{Error, ErrorKind, Result};
use postgres::config::SslMode;
use postgres::{Client, NoTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{Config, Tls};
use crate::error::{self, Doing};

/// How long to wait for a server to answer at all.
const CONNECT: Duration = Duration::from_secs(15);

/// A connection whose session is set up: UTC, limits of time, no surprises from the role's settings.
pub(crate) fn connect(config: &Config) -> Result<Client> {
    let mut target = postgres::Config::new();
    target
        .host(&config.host)
        .port(config.port)
        .dbname(&config.database)
        .user(&config.user)
        .application_name("bobbin")
        .connect_timeout(CONNECT)
        .keepalives_idle(Duration::from_secs(30))
        .ssl_mode(match config.tls {
            Tls::Off => SslMode::Disable,
            Tls::Require => SslMode::Require,
        });
    if let Some(password) = &config.password {
        target.password(password.reveal());
    }
    let connected = match config.tls {
        Tls::Off => target.connect(NoTls),
        Tls::Require => target.connect(MakeRustlsConnect::new(trust(config)?)),
    };
    let mut client = connected.map_err(|error| {
        error::connecting(&error)
            .with("host", &config.host)
            .with("port", config.port)
            .with("database", &config.database)
            .with("user", &config.user)
    })?;
    client
        .batch_execute(&format!(
            "SET TIME ZONE 'UTC'; SET statement_timeout = {}; SET lock_timeout = {};
             SET idle_in_transaction_session_timeout = 0; SET client_min_messages = warning;
             SET search_path = pg_catalog; SET standard_conforming_strings = on;",
            config.statement_timeout.as_millis(),
            config.lock_timeout.as_millis(),
        ))
        .doing("cannot set up the session")?;
    Ok(client)
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
