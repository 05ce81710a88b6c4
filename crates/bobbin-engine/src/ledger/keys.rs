//! Keys of the API beside the first one, which stands in a file: who may do what (F-99, F-101).

use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::SqliteLedger;
use super::slots::{instant, text};

/// The most keys there may be, disabled ones among them (`stitch-behaviour.md` 9.6).
pub const MOST_KEYS: u32 = 10;

/// What somebody may do; each may what those before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Start, stop and pause jobs, dismiss notices.
    Operator,
    /// Change what runs, and keys.
    Administrator,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Administrator];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }
}

/// A key, without its text: that is shown once and not kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Key {
    /// Its number.
    pub id: i64,
    /// What it is for.
    pub description: String,
    /// What it may do.
    pub role: Role,
    /// The last four characters of its text.
    pub ending: String,
    /// Since when there is it.
    pub made_at: Timestamp,
    /// Since when it is not accepted.
    pub disabled_at: Option<Timestamp>,
}

/// Keys of the API, by the hashes of their texts.
pub trait Keys {
    /// Keeps a key by the hash of its text.
    ///
    /// # Errors
    /// Of kind `Conflict` when there are as many as there may be.
    fn add_key(
        &self,
        description_and_role: (&str, Role),
        hash_and_ending: (&str, &str),
        now: Timestamp,
    ) -> Result<Key>;

    /// All keys, oldest first.
    fn keys(&self) -> Result<Vec<Key>>;

    /// The key of this hash; none where there is no such key, or it is disabled.
    fn key_of(&self, hash: &str) -> Result<Option<Key>>;

    /// Lets a key be accepted or not. False when there is none of that number.
    fn enable_key(&self, id: i64, enabled: bool, now: Timestamp) -> Result<bool>;

    /// Deletes a key. False when there is none of that number.
    fn delete_key(&self, id: i64) -> Result<bool>;
}

impl Keys for SqliteLedger {
    fn add_key(
        &self,
        (description, role): (&str, Role),
        (hash, ending): (&str, &str),
        now: Timestamp,
    ) -> Result<Key> {
        let failed = |error| self.error("cannot keep a key", error);
        let added = self
            .sqlite
            .execute(
                "INSERT INTO keys (description, role, hash, ending, made)
                 SELECT ?1, ?2, ?3, ?4, ?5 WHERE (SELECT count(*) FROM keys) < ?6",
                params![description, role.word(), hash, ending, text(now), MOST_KEYS],
            )
            .map_err(failed)?;
        if added == 0 {
            return Err(Error::new(ErrorKind::Conflict, format!("there are {MOST_KEYS} keys"))
                .hint("delete one that nobody uses any more"));
        }
        let id = self.sqlite.last_insert_rowid();
        let key = self.keys()?.into_iter().find(|key| key.id == id);
        key.ok_or_else(|| Error::bug("a key that was kept is not there"))
    }

    fn keys(&self) -> Result<Vec<Key>> {
        let failed = |error| self.error("cannot read the keys", error);
        let mut statement = self
            .sqlite
            .prepare("SELECT id, description, role, ending, made, disabled FROM keys ORDER BY id")
            .map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let word: String = row.get(2).map_err(failed)?;
            let made: String = row.get(4).map_err(failed)?;
            let disabled: Option<String> = row.get(5).map_err(failed)?;
            keys.push(Key {
                id: row.get(0).map_err(failed)?,
                description: row.get(1).map_err(failed)?,
                role: role(&word),
                ending: row.get(3).map_err(failed)?,
                made_at: instant(&made)?,
                disabled_at: disabled.as_deref().map(instant).transpose()?,
            });
        }
        Ok(keys)
    }

    fn key_of(&self, hash: &str) -> Result<Option<Key>> {
        let id: Option<i64> = self
            .sqlite
            .query_row(
                "SELECT id FROM keys WHERE hash = ?1 AND disabled IS NULL",
                params![hash],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| self.error("cannot read the keys", error))?;
        let Some(id) = id else { return Ok(None) };
        // There are ten of them.
        Ok(self.keys()?.into_iter().find(|key| key.id == id))
    }

    fn enable_key(&self, id: i64, enabled: bool, now: Timestamp) -> Result<bool> {
        let disabled = (!enabled).then(|| text(now));
        let changed = self
            .sqlite
            .execute("UPDATE keys SET disabled = ?2 WHERE id = ?1", params![id, disabled]);
        Ok(changed.map_err(|error| self.error("cannot change a key", error))? > 0)
    }

    fn delete_key(&self, id: i64) -> Result<bool> {
        let deleted = self.sqlite.execute("DELETE FROM keys WHERE id = ?1", params![id]);
        Ok(deleted.map_err(|error| self.error("cannot delete a key", error))? > 0)
    }
}

/// A word that nobody knows may do the least.
pub(super) fn role(word: &str) -> Role {
    Role::ALL.into_iter().find(|role| role.word() == word).unwrap_or(Role::Viewer)
}
