//! Tokens with which programs push records into a connection (`stitch-behaviour.md` 9.4, 9.7, F-100).

use bobbin_core::id::ConnectionId;
use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::SqliteLedger;
use super::slots::{instant, text};

/// The most tokens of a connection at a time.
pub const MOST_TOKENS: u32 = 2;

/// A token, without its text: that is shown once and not kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// The last four characters of its text.
    pub ending: String,
    /// Since when there is it.
    pub made_at: Timestamp,
}

/// Tokens for pushing, by the hashes of their texts.
pub trait Tokens {
    /// Keeps a token by the hash of its text.
    ///
    /// # Errors
    /// Of kind `Conflict` when the connection has as many as it may.
    fn add_token(
        &self,
        connection: &ConnectionId,
        hash_and_ending: (&str, &str),
        now: Timestamp,
    ) -> Result<Token>;

    /// The tokens of a connection, oldest first.
    fn tokens(&self, connection: &ConnectionId) -> Result<Vec<Token>>;

    /// The connection into which the token of this hash pushes.
    fn connection_of_token(&self, hash: &str) -> Result<Option<ConnectionId>>;

    /// Forgets a token. False when the connection has none of that number.
    fn delete_token(&self, connection: &ConnectionId, id: i64) -> Result<bool>;
}

impl Tokens for SqliteLedger {
    fn add_token(
        &self,
        connection: &ConnectionId,
        (hash, ending): (&str, &str),
        now: Timestamp,
    ) -> Result<Token> {
        let added = self
            .sqlite
            .execute(
                "INSERT INTO tokens (connection, hash, ending, made) SELECT ?1, ?2, ?3, ?4
                 WHERE (SELECT count(*) FROM tokens WHERE connection = ?1) < ?5",
                params![connection.as_str(), hash, ending, text(now), MOST_TOKENS],
            )
            .map_err(|error| self.error("cannot keep a token", error))?;
        if added == 0 {
            return Err(Error::new(ErrorKind::Conflict, format!("there are {MOST_TOKENS} tokens"))
                .hint("delete one that no program uses any more"));
        }
        let id = self.sqlite.last_insert_rowid();
        Ok(Token { id, ending: ending.to_owned(), made_at: now })
    }

    fn tokens(&self, connection: &ConnectionId) -> Result<Vec<Token>> {
        let failed = |error| self.error("cannot read the tokens", error);
        let mut statement = self
            .sqlite
            .prepare("SELECT id, ending, made FROM tokens WHERE connection = ?1 ORDER BY id")
            .map_err(failed)?;
        let rows = statement
            .query_map(params![connection.as_str()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })
            .map_err(failed)?;
        let mut tokens = Vec::new();
        for row in rows {
            let (id, ending, made) = row.map_err(failed)?;
            tokens.push(Token { id, ending, made_at: instant(&made)? });
        }
        Ok(tokens)
    }

    fn connection_of_token(&self, hash: &str) -> Result<Option<ConnectionId>> {
        let found: Option<String> = self
            .sqlite
            .query_row("SELECT connection FROM tokens WHERE hash = ?1", params![hash], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|error| self.error("cannot read the tokens", error))?;
        Ok(found.map(ConnectionId::from))
    }

    fn delete_token(&self, connection: &ConnectionId, id: i64) -> Result<bool> {
        let deleted = self
            .sqlite
            .execute(
                "DELETE FROM tokens WHERE connection = ?1 AND id = ?2",
                params![connection.as_str(), id],
            )
            .map_err(|error| self.error("cannot delete a token", error))?;
        Ok(deleted > 0)
    }
}
