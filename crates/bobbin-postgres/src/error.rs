//! What PostgreSQL's errors mean to a person.

use bobbin_core::{Error, ErrorKind};
use postgres::error::SqlState;

/// An error of the server or the connection while doing `what`. Statements, values and details
/// stay out of it.
pub(crate) fn postgres(what: &str, error: &postgres::Error) -> Error {
    let Some(server) = error.as_db_error() else {
        return Error::new(ErrorKind::Unavailable, what)
            .hint("the connection to PostgreSQL broke; see whether the server runs")
            .caused_by(Cause(chain(error)));
    };
    let code = server.code();
    let kind = classify(code);
    let mut out = Error::new(kind, what);
    out = match kind {
        ErrorKind::DiskFull => out.hint(
            "free some space on the server's disk and run again; nothing that was saved is lost",
        ),
        ErrorKind::Permission => out.hint(
            "as a superuser or the owner: GRANT CREATE ON DATABASE <database> TO <user>; where \
             the schema exists: GRANT USAGE, CREATE ON SCHEMA <schema> TO <user>, and make <user> \
             the owner of its tables",
        ),
        ErrorKind::Unavailable if *code == SqlState::LOCK_NOT_AVAILABLE => out.hint(
            "another session holds a lock on the table for long; look at pg_stat_activity, or \
             raise lock_timeout_seconds",
        ),
        ErrorKind::Timeout => out
            .hint("raise statement_timeout_seconds, or find out in pg_stat_activity what is slow"),
        _ => out,
    };
    // Of data errors PostgreSQL quotes the value.
    let text = match code.code().get(..2) {
        Some("22" | "23") => format!("SQLSTATE {}", code.code()),
        _ => format!("{} (SQLSTATE {})", server.message(), code.code()),
    };
    out.caused_by(Cause(text))
}

/// Why no connection could be made.
pub(crate) fn connecting(error: &postgres::Error) -> Error {
    let Some(server) = error.as_db_error() else {
        let text = chain(error);
        let lower = text.to_lowercase();
        let (message, hint) = if lower.contains("connection refused") {
            ("PostgreSQL refuses connections", "check host and port, and that the server runs")
        } else if lower.contains("lookup address") || lower.contains("name or service") {
            ("the host's name is not known", "check host, and this machine's DNS")
        } else if lower.contains("timed out") || lower.contains("timeout") {
            ("connecting took too long", "check host and port; a firewall may swallow the packets")
        } else if lower.contains("certificate") || lower.contains("tls") || lower.contains("ssl") {
            return Error::new(ErrorKind::Config, "no secure connection could be made")
                .hint(
                    "for a server with a certificate of its own set ca_file; for one without TLS \
                     in a network you trust set tls = \"off\"",
                )
                .caused_by(Cause(text));
        } else if lower.contains("no such file") {
            ("there is no socket of a server", "check host and port, and that the server runs")
        } else if lower.contains("password") {
            return Error::new(ErrorKind::Auth, "PostgreSQL asks for a password")
                .hint("set password = { env = \"…\" } in the destination");
        } else {
            ("PostgreSQL cannot be reached", "check host and port, and that the server runs")
        };
        return Error::new(ErrorKind::Unavailable, message).hint(hint).caused_by(Cause(text));
    };
    let code = server.code();
    let (kind, message, hint) = if *code == SqlState::INVALID_PASSWORD {
        (ErrorKind::Auth, "the password is not accepted", "check user and password")
    } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        (
            ErrorKind::Auth,
            "the user may not connect",
            "check user, and the server's pg_hba.conf (host, database, encryption)",
        )
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        (
            ErrorKind::Config,
            "the database does not exist",
            "check database, or make it: CREATE DATABASE <database> OWNER <user>",
        )
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        (
            ErrorKind::Permission,
            "the user may not connect to the database",
            "as a superuser: GRANT CONNECT, CREATE ON DATABASE <database> TO <user>",
        )
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        (
            ErrorKind::Unavailable,
            "the server has no connection left",
            "raise max_connections, or see in pg_stat_activity who holds them",
        )
    } else {
        (
            ErrorKind::Unavailable,
            "the server does not take connections now",
            "see the server's log; bobbin goes on from where it stopped once it is back",
        )
    };
    Error::new(kind, message).hint(hint).caused_by(Cause(format!(
        "{} (SQLSTATE {})",
        server.message(),
        code.code()
    )))
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
        // Deadlocks and serialisation failures pass, and so do locks of others.
        "40001" | "40P01" | "55P03" | "53200" | "53300" | "57P01" | "57P02" | "57P03" | "25006" => {
            ErrorKind::Unavailable
        }
        code => match &code[..2] {
            "08" => ErrorKind::Unavailable,
            "22" => ErrorKind::InvalidData,
            "23" => ErrorKind::SchemaConflict,
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

#[derive(Debug)]
struct Cause(String);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
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
