//! The one error type: what kind, whose to mend, what was being done, and what to try.
//!
//! A message is a lowercase fragment that does not repeat its cause; [`Error::report`] walks the
//! chain and adds the hints. Values from records, tokens and URLs with credentials never go in.

use std::error::Error as StdError;
use std::fmt;

/// The result of anything that can fail in bobbin.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is. The program's exit status and the retry policy depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is missing, malformed or contradicts another.
    Config,
    /// The other side does not accept who we are (a key is wrong, expired or of another region).
    Auth,
    /// The other side knows who we are and does not allow this (a missing role or grant).
    Permission,
    /// Too many requests.
    RateLimited,
    /// The other side cannot be reached or answers that it is out of order.
    Unavailable,
    /// The other side took too long.
    Timeout,
    /// The other side broke the contract of its interface.
    Protocol,
    /// Data that cannot be read as what it should be.
    InvalidData,
    /// A table does not fit the stream and changing it would lose data.
    SchemaConflict,
    /// Nothing is called that.
    NotFound,
    /// Someone else changed the same thing, or holds it.
    Conflict,
    /// Asked to stop.
    Cancelled,
    /// A file or directory of this machine.
    Io,
    /// No room is left on a disk.
    DiskFull,
    /// Something that bobbin should have made impossible.
    Bug,
}

/// Who has to act, or on whose side it happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    /// The person who runs bobbin.
    Operator,
    /// The source (Kustomer).
    Source,
    /// The destination.
    Destination,
    /// Us.
    Bobbin,
}

/// An error with everything a person needs; cheap to move, opaque to match on but for its kind.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    party: Option<Party>,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A new error: a kind and a lowercase message that says what failed.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            party: None,
            message: message.into(),
            context: Vec::new(),
            hint: None,
            source: None,
        }))
    }

    /// A setting is missing or wrong.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// The other side broke its contract.
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    /// Something bobbin should have made impossible.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, message)
            .hint("this is a fault in bobbin; please report it with the lines above")
    }

    /// A stop that was asked for.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "stopped as asked")
    }

    /// A failed file operation; a full disk gets its own kind.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        let full = matches!(
            source.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        );
        let error = if full {
            Self::new(ErrorKind::DiskFull, what)
                .hint("free some space on that disk and run again; nothing that was saved is lost")
        } else {
            Self::new(ErrorKind::Io, what)
        };
        error.caused_by(source)
    }

    /// Adds the cause.
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds a fact: `stream`, `table`, `path`, `url`, `status`, …
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Adds what to try. The last one given is shown.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Says on whose side it happened, where the kind alone would mislead: a key refused by the
    /// destination is not a matter of the source.
    pub fn of(mut self, party: Party) -> Self {
        self.0.party = Some(party);
        self
    }

    /// Wraps this error as the cause of a new message of the same kind; the hint moves outward.
    pub fn wrap(mut self, message: impl Into<String>) -> Self {
        let hint = self.0.hint.take();
        let mut outer = Self::new(self.0.kind, message);
        outer.0.hint = hint;
        outer.0.party = self.0.party;
        outer.caused_by(self)
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The outermost message, without causes.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to try, if something is known to help.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Who has to act on it: as was said, else by its kind.
    pub fn party(&self) -> Party {
        self.0.party.unwrap_or(match self.0.kind {
            ErrorKind::Config
            | ErrorKind::NotFound
            | ErrorKind::Auth
            | ErrorKind::Permission
            | ErrorKind::Io
            | ErrorKind::DiskFull
            | ErrorKind::Conflict
            | ErrorKind::Cancelled => Party::Operator,
            ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::Protocol
            | ErrorKind::InvalidData => Party::Source,
            ErrorKind::SchemaConflict => Party::Destination,
            ErrorKind::Bug => Party::Bobbin,
        })
    }

    /// True when trying the same again may well succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self.0.kind, ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Timeout)
    }

    /// The whole story on several lines: message, causes, hint. Ends without a newline.
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause: Option<&(dyn StdError + 'static)> = self.source();
        let mut last = text.clone();
        while let Some(error) = cause {
            let line = error.to_string();
            if line != last {
                text.push_str("\n  caused by: ");
                text.push_str(&line);
            }
            last = line;
            cause = error.source();
        }
        if let Some(hint) = &self.0.hint {
            text.push_str("\n  hint: ");
            text.push_str(hint);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if !self.0.context.is_empty() {
            f.write_str(" (")?;
            for (n, (key, value)) in self.0.context.iter().enumerate() {
                if n > 0 {
                    f.write_str(", ")?;
                }
                write!(f, "{key}: {value}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.report())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_walks_the_chain_and_ends_with_the_hint() {
        let error = Error::io("cannot write the segment", std::io::ErrorKind::StorageFull.into())
            .with("path", "/spool/1")
            .wrap("the extraction stopped");
        insta::assert_snapshot!(error.report(), @r"
        the extraction stopped
          caused by: cannot write the segment (path: /spool/1)
          caused by: no storage space
          hint: free some space on that disk and run again; nothing that was saved is lost
        ");
        assert_eq!(error.kind(), ErrorKind::DiskFull);
        assert_eq!(error.party(), Party::Operator);
        assert_eq!(error.of(Party::Destination).wrap("so").party(), Party::Destination);
    }
}
