//! What DuckDB's errors mean to a person.

use std::path::Path;

use bobbin_core::{Error, ErrorKind};

/// An error of DuckDB while doing `what`. Statements and values stay out of it.
pub(crate) fn duckdb(what: &str, error: duckdb::Error) -> Error {
    let text = error.to_string();
    let kind = classify(&text);
    let mut out = Error::new(kind, what);
    out = match kind {
        ErrorKind::DiskFull => {
            out.hint("free some space on that disk and run again; nothing that was saved is lost")
        }
        ErrorKind::Conflict => out.hint(
            "another program changed the same rows at the same moment; run one bobbin per \
             connection, then run again",
        ),
        ErrorKind::Config if text.contains("Out of Memory") => {
            out.hint("give DuckDB more memory with `memory_limit_mb` (72 is the default)")
        }
        _ => out,
    };
    out.caused_by(Cause(first_line(&text)))
}

/// A failure to open the database file.
pub(crate) fn open(path: &Path, error: duckdb::Error) -> Error {
    let text = error.to_string();
    let out = if text.contains("Could not set lock") || text.contains("Conflicting lock") {
        Error::new(ErrorKind::Conflict, "the database file is open in another program").hint(
            "close it there (a DuckDB shell, a notebook, a BI tool, another bobbin) or let that \
             program open it read-only, then run again",
        )
    } else if text.contains("not a valid DuckDB database file")
        || text.contains("not a valid DuckDB")
    {
        Error::new(ErrorKind::Config, "the file is not a DuckDB database")
            .hint("choose another `path`; bobbin will not write over a file it does not know")
    } else if text.contains("newer version") || text.contains("version number") {
        Error::new(ErrorKind::Config, "the database file was written by a newer DuckDB").hint(
            "open it with that DuckDB and export it with an older storage version, or use a \
             newer bobbin",
        )
    } else if text.contains("Permission denied") || text.contains("read-only") {
        Error::new(ErrorKind::Io, "the database file cannot be written")
            .hint("give the user that runs bobbin the right to write the file and its directory")
    } else if classify(&text) == ErrorKind::DiskFull {
        Error::new(ErrorKind::DiskFull, "no room to open the database file")
            .hint("free some space on that disk and run again; nothing that was saved is lost")
    } else if text.to_lowercase().contains("corrupt") || text.contains("checksum") {
        Error::new(ErrorKind::InvalidData, "the database file is damaged").hint(
            "restore it from a backup, or move it away: bobbin then makes a new one, and a reset \
             of the connection fills it",
        )
    } else {
        Error::new(ErrorKind::Io, "the database file cannot be opened")
    };
    out.with("path", path.display()).caused_by(Cause(first_line(&text)))
}

fn classify(text: &str) -> ErrorKind {
    if text.contains("No space left") || text.contains("disk is full") || text.contains("quota") {
        ErrorKind::DiskFull
    } else if text.contains("onflict on ") || text.contains("write-write conflict") {
        ErrorKind::Conflict
    } else if text.contains("Out of Memory") {
        ErrorKind::Config
    } else if text.contains("IO Error") {
        ErrorKind::Io
    } else if text.contains("Constraint Error") || text.contains("has been altered") {
        ErrorKind::SchemaConflict
    } else {
        ErrorKind::Bug
    }
}

/// DuckDB's own words, without statement text or values that may follow on further lines.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    // A conversion error quotes the value.
    if line.contains("Conversion Error") {
        return "Conversion Error".to_owned();
    }
    line.chars().take(300).collect()
}

/// An error's text alone: behind it DuckDB only tells a number.
#[derive(Debug)]
pub(crate) struct Cause(pub(crate) String);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

/// Adds what was being done to a result of DuckDB.
pub(crate) trait Doing<T> {
    /// Says what failed, as a lowercase fragment.
    fn doing(self, what: &str) -> bobbin_core::Result<T>;
}

impl<T> Doing<T> for duckdb::Result<T> {
    fn doing(self, what: &str) -> bobbin_core::Result<T> {
        self.map_err(|error| duckdb(what, error))
    }
}
