//! What PostgreSQL's errors mean to a person.

use bobbin_core::{Error, ErrorKind};
use postgres::error::{DbError, SqlState};
use rustls::CertificateError;

use crate::config::Config;
use crate::sql;

/// What to do about a server that takes no changes.
pub(crate) const READ_ONLY: &str = "connect to the primary, not to a standby; if it is the primary, \
    look at default_transaction_read_only of the server, the database and the user";

/// An error of the server or the connection while doing `what`. Statements, values and details
/// stay out of it.
pub(crate) fn postgres(what: &str, error: &postgres::Error) -> Error {
    let Some(server) = error.as_db_error() else {
        return Error::new(ErrorKind::Unavailable, what)
            .hint("the connection to PostgreSQL broke; see whether the server runs")
            .caused_by(Cause { text: chain(error), code: None });
    };
    let code = server.code();
    let kind = classify(code);
    let mut out = Error::new(kind, what);
    out = match kind {
        ErrorKind::DiskFull => out.hint(
            "free some space on the server's disk and run again; nothing that was saved is lost",
        ),
        ErrorKind::Unavailable if *code == SqlState::LOCK_NOT_AVAILABLE => out.hint(
            "another session holds a lock on the table for long; look at pg_stat_activity, or \
             raise lock_timeout_seconds",
        ),
        ErrorKind::Unavailable if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
            out.hint(READ_ONLY)
        }
        ErrorKind::SchemaConflict if !code.code().starts_with("42") => out.hint(
            "a constraint or an index that is not bobbin's refuses what the source sends: drop it, \
             or let a column of your own be NULL; nothing that was extracted is lost",
        ),
        ErrorKind::SchemaConflict => out.hint(
            "somebody dropped or changed bobbin's tables while it wrote; run again, and what can \
             be made anew is made anew",
        ),
        ErrorKind::Timeout => out
            .hint("raise statement_timeout_seconds, or find out in pg_stat_activity what is slow"),
        _ => out,
    };
    // Of data errors PostgreSQL quotes the value.
    let text = match code.code().get(..2) {
        Some("22" | "23" | "54") => {
            // Names of what was made by people; no values.
            let named = [
                ("constraint", server.constraint()),
                ("column", server.column()),
                ("table", server.table()),
            ];
            let named = named.into_iter().filter_map(|(what, name)| Some((what, name?)));
            let named = named.map(|(what, name)| format!(", {what} {}", sql::name(name)));
            format!("SQLSTATE {}{}", code.code(), named.collect::<Vec<_>>().concat())
        }
        _ => format!("{} (SQLSTATE {})", server.message(), code.code()),
    };
    out.caused_by(Cause { text, code: Some(code.clone()) })
}

/// A table went since the session told which are there: whoever made it again now would hide that what
/// it held is to be read again.
pub(crate) fn dropped_meanwhile(table: &str) -> Error {
    Error::new(ErrorKind::SchemaConflict, "the table was dropped while bobbin ran")
        .with("table", table)
        .hint("run again: its stream is read again from the start date then")
}

/// Why no connection could be made.
pub(crate) fn connecting(error: &postgres::Error, config: &Config) -> Error {
    let out = match error.as_db_error() {
        Some(server) => refused(server, config),
        None => unreachable(error, config),
    };
    at(out, config)
}

/// Connecting took longer than it may: TCP, TLS and log-in together.
pub(crate) fn connecting_took_too_long(config: &Config) -> Error {
    let out = Error::new(ErrorKind::Unavailable, "connecting took too long").hint(
        "check host and port: a firewall may swallow the packets, or what listens there is not \
         PostgreSQL; a slow network may need a larger connect_timeout_seconds",
    );
    at(out.with("seconds", config.connect_timeout.as_secs()), config)
}

/// Adds where the server is.
pub(crate) fn at(error: Error, config: &Config) -> Error {
    error
        .with("host", &config.host)
        .with("port", config.port)
        .with("database", &config.database)
        .with("user", &config.user)
}

/// The server answered, with a refusal.
fn refused(server: &DbError, config: &Config) -> Error {
    let (database, user) = (sql::name(&config.database), sql::name(&config.user));
    let code = server.code();
    let (kind, message, hint) = if *code == SqlState::INVALID_PASSWORD {
        (ErrorKind::Auth, "the password is not accepted", "check user and password".to_owned())
    } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        (
            ErrorKind::Auth,
            "the user may not connect",
            "check user, and the server's pg_hba.conf: it must allow this user, database, address \
             and kind of encryption"
                .to_owned(),
        )
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        (
            ErrorKind::Config,
            "the database does not exist",
            format!("check database, or make it: CREATE DATABASE {database} OWNER {user}"),
        )
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        (
            ErrorKind::Permission,
            "the user may not connect to the database",
            format!(
                "as a superuser: GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {user}"
            ),
        )
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        (
            ErrorKind::Unavailable,
            "the server has no connection left",
            "see in pg_stat_activity who holds them; raise max_connections, or the user's \
             CONNECTION LIMIT; bobbin needs one, and a second to explain an error"
                .to_owned(),
        )
    } else {
        (
            ErrorKind::Unavailable,
            "the server does not take connections now",
            "see the server's log; bobbin goes on from where it stopped once it is back".to_owned(),
        )
    };
    Error::new(kind, message).hint(hint).caused_by(Cause {
        text: format!("{} (SQLSTATE {})", server.message(), code.code()),
        code: Some(code.clone()),
    })
}

/// The server could not be asked.
fn unreachable(error: &postgres::Error, config: &Config) -> Error {
    let cause = Cause { text: chain(error), code: None };
    if let Some(fault) = tls_fault(error) {
        return secured(fault, config).caused_by(cause);
    }
    let lower = cause.text.to_lowercase();
    let (kind, message, hint) = if lower.contains("connection refused") {
        (
            ErrorKind::Unavailable,
            "PostgreSQL refuses connections",
            "check host and port, that the server runs, and that listen_addresses has this address",
        )
    } else if lower.contains("lookup address") || lower.contains("name or service") {
        (
            ErrorKind::Unavailable,
            "the host's name is not known",
            "check host, and this machine's DNS",
        )
    } else if lower.contains("timed out") || lower.contains("timeout") {
        return connecting_took_too_long(config).caused_by(cause);
    } else if lower.contains("does not support tls") {
        (
            ErrorKind::Config,
            "the server has no TLS",
            "set `ssl = on` and a certificate at the server; or, in a network that you trust, \
             tls = \"off\"",
        )
    } else if lower.contains("no hostname provided") {
        (ErrorKind::Config, "a Unix socket has no TLS", "set tls = \"off\" and no ca_file")
    } else if lower.contains("no such file") {
        (
            ErrorKind::Unavailable,
            "there is no socket of a server",
            "check host and port, and that the server runs",
        )
    } else if lower.contains("password missing") {
        (
            ErrorKind::Auth,
            "PostgreSQL asks for a password",
            "set password = { env = \"…\" } in the destination",
        )
    } else {
        (
            ErrorKind::Unavailable,
            "PostgreSQL cannot be reached",
            "check host and port, and that the server runs",
        )
    };
    Error::new(kind, message).hint(hint).caused_by(cause)
}

/// What TLS has against the connection. Only what trying again cannot mend is a matter of settings.
fn secured(fault: &rustls::Error, config: &Config) -> Error {
    let rustls::Error::InvalidCertificate(certificate) = fault else {
        return match fault {
            rustls::Error::PeerIncompatible(_) => {
                Error::config("the server's TLS is too old or too different")
                    .hint("the server must offer TLS 1.2 or later")
            }
            _ => Error::new(ErrorKind::Unavailable, "no secure connection could be made")
                .hint("run again; if it stays, something between here and the server alters bytes"),
        };
    };
    let host = &config.host;
    let (message, hint) = match certificate {
        // Of an authority with the right name and another key the signature is bad.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "the server's certificate is signed by nobody who is trusted",
            match &config.ca_file {
                Some(file) => format!(
                    "ca_file ({}) is not the authority that signed the server's certificate: ask \
                     who runs the server for the right one, in PEM form",
                    file.display()
                ),
                None => "set ca_file to the certificate of the server's own authority, in PEM form"
                    .to_owned(),
            },
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "the server's certificate has expired",
            "have it renewed by who runs the server; check this machine's clock, too".to_owned(),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("the server's certificate is not valid yet", "check this machine's clock".to_owned())
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "the server's certificate is for another name",
            format!("set host to a name of the certificate, or have `{host}` put into it"),
        ),
        _ => (
            "the server's certificate is not accepted",
            "set ca_file to the certificate of the server's own authority (not the server's own), \
             in PEM form"
                .to_owned(),
        ),
    };
    Error::config(message).hint(hint)
}

/// The fault of TLS below an error of the connection, if that is what it is.
fn tls_fault(error: &postgres::Error) -> Option<&rustls::Error> {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(fault) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(fault);
        }
        next = cause.source();
    }
    None
}

/// The server's code for an error, wherever in the chain it is.
pub(crate) fn code(error: &Error) -> Option<&SqlState> {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(Cause { code, .. }) = cause.downcast_ref() {
            return code.as_ref();
        }
        next = cause.source();
    }
    None
}

/// Whether the rows sent are to blame, so that leaving some out helps.
pub(crate) fn is_data(error: &postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        code.code().starts_with("22")
            || *code == SqlState::PROGRAM_LIMIT_EXCEEDED
            || *code == SqlState::STATEMENT_TOO_COMPLEX
            || *code == SqlState::TOO_MANY_COLUMNS
    })
}

/// What is wrong with a row, without its values.
pub(crate) fn of_row(error: &postgres::Error) -> String {
    let Some(server) = error.as_db_error() else { return "PostgreSQL refuses it".to_owned() };
    match server.code().code().get(..2) {
        Some("22") => format!("PostgreSQL refuses a value (SQLSTATE {})", server.code().code()),
        _ => format!("PostgreSQL refuses the row: {}", server.message()),
    }
}

fn classify(code: &SqlState) -> ErrorKind {
    match code.code() {
        "53100" => ErrorKind::DiskFull,
        "42501" => ErrorKind::Permission,
        "57014" => ErrorKind::Timeout,
        // Deadlocks and serialisation failures pass, and so do locks of others; a session that idled
        // for too long (25P03) is made anew.
        "40001" | "40P01" | "55P03" | "25006" | "25P03" => ErrorKind::Unavailable,
        // A table, schema, column or key that was there is gone, or one appeared.
        "42P01" | "3F000" | "42703" | "42704" | "42P07" | "42701" | "42P10" | "42P16" => {
            ErrorKind::SchemaConflict
        }
        code => match &code[..2] {
            // The connection; resources; somebody intervened; the server's own system.
            "08" | "53" | "57" | "58" => ErrorKind::Unavailable,
            "22" => ErrorKind::InvalidData,
            // A constraint refuses a row, or a limit such as the size of an index's entry.
            "23" | "54" => ErrorKind::SchemaConflict,
            "28" => ErrorKind::Auth,
            _ => ErrorKind::Bug,
        },
    }
}

/// An error and its causes on one line.
fn chain(error: &postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let line = error.to_string();
        if !text.contains(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        cause = error.source();
    }
    text
}

/// What the server or the client said, without values, and the server's code.
#[derive(Debug)]
pub(crate) struct Cause {
    text: String,
    code: Option<SqlState>,
}

impl Cause {
    /// What some other program said.
    pub(crate) fn said(text: String) -> Self {
        Self { text, code: None }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Cause {}

/// Adds what was being done to a result of PostgreSQL.
pub(crate) trait Doing<T> {
    /// Says what failed, as a lowercase fragment.
    fn doing(self, what: &str) -> bobbin_core::Result<T>;
}

impl<T> Doing<T> for Result<T, postgres::Error> {
    fn doing(self, what: &str) -> bobbin_core::Result<T> {
        self.map_err(|error| postgres(what, &error))
    }
}
