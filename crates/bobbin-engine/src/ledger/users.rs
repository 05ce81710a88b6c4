//! People who may use the API, with what is kept of their passwords (F-101).

use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;

use super::SqliteLedger;
use super::keys::{Role, role};
use super::slots::{instant, text};

/// The most users there may be, disabled ones among them.
pub const MOST_USERS: u32 = 100;

/// A person, without the password.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct User {
    /// Their number, which nobody else gets when they are removed.
    #[serde(skip)]
    pub id: i64,
    /// Their name; upper and lower case are the same.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Since when there are they.
    pub made_at: Timestamp,
    /// Since when the password is what it is.
    pub password_set_at: Timestamp,
    /// Since when they are not let in.
    pub disabled_at: Option<Timestamp>,
}

/// What is to be different of a user.
#[derive(Clone, Default, Debug)]
pub struct UserChange {
    /// What they may do.
    pub role: Option<Role>,
    /// Whether they are let in.
    pub enabled: Option<bool>,
    /// What is kept of the new password.
    pub password: Option<String>,
}

/// What [`user`] reads.
pub(super) const USER_COLUMNS: &str =
    "users.id, users.name, users.role, users.made, users.password_set, users.disabled";

/// The users.
pub trait Users {
    /// Keeps a user by what is kept of their password.
    ///
    /// # Errors
    /// Of kind `Conflict` when there is one of that name, or as many as there may be.
    fn add_user(&self, name: &str, role: Role, password: &str, now: Timestamp) -> Result<User>;

    /// All users, by name.
    fn users(&self) -> Result<Vec<User>>;

    /// The user of a name.
    fn user(&self, name: &str) -> Result<Option<User>>;

    /// The user of a name and what is kept of their password.
    fn password_of(&self, name: &str) -> Result<Option<(User, String)>>;

    /// Changes a user. Another role, another password and no entrance end their sessions, but for the one of
    /// the hash `but` if that may go on. None when there is none of that name.
    fn change_user(
        &self,
        name: &str,
        change: &UserChange,
        but: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<User>>;

    /// Removes a user. False when there is none of that name.
    fn remove_user(&self, name: &str) -> Result<bool>;
}

impl Users for SqliteLedger {
    fn add_user(&self, name: &str, role: Role, password: &str, now: Timestamp) -> Result<User> {
        let added = self
            .sqlite
            .execute(
                "INSERT OR IGNORE INTO users (name, role, password, made, password_set)
                 SELECT ?1, ?2, ?3, ?4, ?4 WHERE (SELECT count(*) FROM users) < ?5",
                params![name, role.word(), password, text(now), MOST_USERS],
            )
            .map_err(|error| self.error("cannot keep a user", error))?;
        if added == 0 {
            let conflict = |message| Error::new(ErrorKind::Conflict, message);
            return Err(match self.user(name)? {
                Some(user) => conflict(format!("there is a user `{}` already", user.name))
                    .hint("choose another name"),
                None => conflict(format!("there are {MOST_USERS} users"))
                    .hint("remove one that nobody is any more"),
            });
        }
        self.user(name)?.ok_or_else(|| Error::bug("a user that was kept is not there"))
    }

    fn users(&self) -> Result<Vec<User>> {
        let failed = |error| self.error("cannot read the users", error);
        let mut statement = self
            .sqlite
            .prepare(&format!("SELECT {USER_COLUMNS} FROM users ORDER BY name"))
            .map_err(failed)?;
        let rows = statement.query_map([], user).map_err(failed)?;
        rows.map(|row| row.map_err(failed)?).collect()
    }

    fn user(&self, name: &str) -> Result<Option<User>> {
        Ok(self.password_of(name)?.map(|(user, _)| user))
    }

    fn password_of(&self, name: &str) -> Result<Option<(User, String)>> {
        let found = self
            .sqlite
            .query_row(
                &format!("SELECT {USER_COLUMNS}, password FROM users WHERE name = ?1"),
                params![name],
                |row| Ok((user(row)?, row.get(6)?)),
            )
            .optional()
            .map_err(|error| self.error("cannot read the users", error))?;
        found.map(|(user, password)| Ok((user?, password))).transpose()
    }

    fn change_user(
        &self,
        name: &str,
        change: &UserChange,
        but: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<User>> {
        let failed = |error| self.error("cannot change a user", error);
        self.atomically("cannot change a user", || {
            let changed = self
                .sqlite
                .execute(
                    "UPDATE users SET
                     role = coalesce(?2, role),
                     disabled = CASE ?3 WHEN 1 THEN NULL WHEN 0 THEN coalesce(disabled, ?5)
                                ELSE disabled END,
                     password = coalesce(?4, password),
                     password_set = CASE WHEN ?4 IS NULL THEN password_set ELSE ?5 END
                 WHERE name = ?1",
                    params![
                        name,
                        change.role.map(Role::word),
                        change.enabled,
                        change.password,
                        text(now)
                    ],
                )
                .map_err(failed)?;
            if changed == 0 {
                return Ok(None);
            }
            let user = self.user(name)?.ok_or_else(|| Error::bug("a user is not there"))?;
            let is_else = change.role.is_some() || change.password.is_some();
            if is_else || user.disabled_at.is_some() {
                self.end_sessions_of(user.id, but.filter(|_| user.disabled_at.is_none()))?;
            }
            Ok(Some(user))
        })
    }

    fn remove_user(&self, name: &str) -> Result<bool> {
        let failed = |error| self.error("cannot remove a user", error);
        let removed = self.sqlite.execute("DELETE FROM users WHERE name = ?1", params![name]);
        let there = removed.map_err(failed)? > 0;
        // Their sessions are of nobody now.
        self.sqlite
            .execute(
                "DELETE FROM sessions WHERE user IS NOT NULL AND user NOT IN (SELECT id FROM users)",
                [],
            )
            .map_err(failed)?;
        Ok(there)
    }
}

/// A user out of [`USER_COLUMNS`].
pub(super) fn user(row: &Row<'_>) -> rusqlite::Result<Result<User>> {
    let word: String = row.get(2)?;
    let (made, set): (String, String) = (row.get(3)?, row.get(4)?);
    let disabled: Option<String> = row.get(5)?;
    let (id, name) = (row.get(0)?, row.get(1)?);
    let of = || {
        Ok(User {
            id,
            name,
            role: role(&word),
            made_at: instant(&made)?,
            password_set_at: instant(&set)?,
            disabled_at: disabled.as_deref().map(instant).transpose()?,
        })
    };
    Ok(of())
}
