//! Who is logged in: sessions of users, and of whoever showed the first token (F-101).
//!
//! Only hashes of their texts are kept.

use bobbin_core::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::SqliteLedger;
use super::slots::{instant, text};
use super::users::{USER_COLUMNS, User, user};

/// How long a session may go without a request.
pub const SESSION_IDLE: SignedDuration = SignedDuration::from_hours(12);

/// How long a session lasts at most.
pub const SESSION_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The most sessions of one user; with one more the oldest ends.
const MOST_SESSIONS: u32 = 20;

/// How exactly it is known when a session was used last.
const TOUCH: SignedDuration = SignedDuration::from_mins(1);

/// Whose a session is.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// A user's, by number.
    User(i64),
    /// That of whoever showed the token of this hash. It ends when there is another token.
    Token(&'a str),
}

/// A session that goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Whose; none for that of the token.
    pub user: Option<User>,
    /// When it ends at the latest.
    pub ends_at: Timestamp,
}

/// Who is logged in, by the hashes of what browsers hold.
pub trait Sessions {
    /// Begins a session by the hash of its text. Sessions that are over are forgotten.
    fn begin_session(&self, hash: &str, owner: Owner<'_>, now: Timestamp) -> Result<()>;

    /// The session of this hash, if it goes on; `token` is the hash of the token that there is now. That it
    /// was used is noted.
    fn session(&self, hash: &str, token: &str, now: Timestamp) -> Result<Option<Session>>;

    /// Ends a session.
    fn end_session(&self, hash: &str) -> Result<()>;
}

impl Sessions for SqliteLedger {
    fn begin_session(&self, hash: &str, owner: Owner<'_>, now: Timestamp) -> Result<()> {
        let failed = |error| self.error("cannot begin a session", error);
        let (user, token) = match owner {
            Owner::User(id) => (Some(id), None),
            Owner::Token(hash) => (None, Some(hash)),
        };
        self.atomically("cannot begin a session", || {
            self.sqlite
                .execute(
                    "INSERT INTO sessions (hash, user, token, made, seen)
                     VALUES (?1, ?2, ?3, ?4, ?4)",
                    params![hash, user, token, text(now)],
                )
                .map_err(failed)?;
            self.sqlite
                .execute(
                    "DELETE FROM sessions WHERE made < ?1 OR seen < ?2 OR rowid IN (
                         SELECT rowid FROM sessions WHERE user IS ?3
                         ORDER BY made DESC, rowid DESC LIMIT -1 OFFSET ?4)",
                    params![
                        text(before(now, SESSION_LIFE)),
                        text(before(now, SESSION_IDLE)),
                        user,
                        MOST_SESSIONS
                    ],
                )
                .map_err(failed)?;
            Ok(())
        })
    }

    fn session(&self, hash: &str, token: &str, now: Timestamp) -> Result<Option<Session>> {
        let failed = |error| self.error("cannot read the sessions", error);
        let found = self
            .sqlite
            .query_row(
                &format!(
                    "SELECT {USER_COLUMNS}, sessions.made, sessions.seen, sessions.token
                     FROM sessions LEFT JOIN users ON users.id = sessions.user
                     WHERE sessions.hash = ?1"
                ),
                params![hash],
                |row| {
                    let is_user = row.get::<_, Option<i64>>(0)?.is_some();
                    let user = if is_user { Some(user(row)?) } else { None };
                    let (made, seen): (String, String) = (row.get(6)?, row.get(7)?);
                    Ok((user, made, seen, row.get::<_, Option<String>>(8)?))
                },
            )
            .optional()
            .map_err(failed)?;
        let Some((user, made, seen, of_token)) = found else { return Ok(None) };
        let (user, made, seen) = (user.transpose()?, instant(&made)?, instant(&seen)?);
        let let_in = match (&user, of_token) {
            (Some(user), _) => user.disabled_at.is_none(),
            (None, Some(of_token)) => of_token == token,
            (None, None) => false,
        };
        let idle = now.duration_since(seen);
        if !let_in || now.duration_since(made) >= SESSION_LIFE || idle >= SESSION_IDLE {
            return Ok(None);
        }
        if idle >= TOUCH {
            self.sqlite
                .execute("UPDATE sessions SET seen = ?2 WHERE hash = ?1", params![hash, text(now)])
                .map_err(failed)?;
        }
        let ends_at = made
            .checked_add(SESSION_LIFE)
            .map_err(|error| Error::bug("a session without an end").caused_by(error))?;
        Ok(Some(Session { user, ends_at }))
    }

    fn end_session(&self, hash: &str) -> Result<()> {
        let ended = self.sqlite.execute("DELETE FROM sessions WHERE hash = ?1", params![hash]);
        ended.map_err(|error| self.error("cannot end a session", error))?;
        Ok(())
    }
}

impl SqliteLedger {
    /// Ends the sessions of a user but for one.
    pub(super) fn end_sessions_of(&self, user: i64, but: Option<&str>) -> Result<()> {
        self.sqlite
            .execute("DELETE FROM sessions WHERE user = ?1 AND hash IS NOT ?2", params![user, but])
            .map_err(|error| self.error("cannot end a user's sessions", error))?;
        Ok(())
    }
}

fn before(now: Timestamp, time: SignedDuration) -> Timestamp {
    now.checked_sub(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::ledger::{Role, UserChange};

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1_000 + hours)
    }

    #[test]
    fn a_session_ends_when_it_should() {
        let directory = tempfile::tempdir().unwrap();
        let ledger: &dyn Ledger =
            &SqliteLedger::open(&directory.path().join("ledger.sqlite")).unwrap();
        let anna = ledger.add_user("anna", Role::Viewer, "kept", at(0)).unwrap();
        let begin = |hash: &str, hour: i64| {
            ledger.begin_session(hash, Owner::User(anna.id), at(hour)).unwrap();
        };
        let goes_on =
            |hash: &str, hour: i64| ledger.session(hash, "t", at(hour)).unwrap().is_some();
        // Used every eleven hours it lasts a week, and no longer.
        begin("used", 0);
        begin("idle", 0);
        assert!(!goes_on("other", 0));
        for hour in (11..168).step_by(11) {
            assert!(goes_on("used", hour), "{hour}");
        }
        assert!(!goes_on("used", 168));
        assert!(!goes_on("idle", 12));
        // Another role, no entrance, another password: all but one's own end.
        let changes = [
            UserChange { role: Some(Role::Operator), ..UserChange::default() },
            UserChange { password: Some("other".to_owned()), ..UserChange::default() },
            UserChange { enabled: Some(false), ..UserChange::default() },
        ];
        for change in changes {
            begin("own", 200);
            begin("elsewhere", 200);
            ledger.change_user("ANNA", &change, Some("own"), at(200)).unwrap().unwrap();
            assert!(!goes_on("elsewhere", 200), "{change:?}");
            assert_eq!(goes_on("own", 200), change.enabled.is_none(), "{change:?}");
            ledger.end_session("own").unwrap();
            assert!(!goes_on("own", 200));
        }
        let change = UserChange { enabled: Some(true), ..UserChange::default() };
        ledger.change_user("anna", &change, None, at(200)).unwrap();
        begin("last", 200);
        assert_eq!(
            ledger.session("last", "t", at(200)).unwrap().unwrap().user.unwrap().role,
            Role::Operator
        );
        assert!(ledger.remove_user("Anna").unwrap() && !ledger.remove_user("anna").unwrap());
        assert!(!goes_on("last", 200));
        let again = ledger.add_user("anna", Role::Viewer, "kept", at(200)).unwrap();
        assert_ne!(again.id, anna.id, "nobody inherits sessions");
        // That of a token ends with the token.
        ledger.begin_session("first", Owner::Token("t"), at(300)).unwrap();
        assert!(ledger.session("first", "t", at(300)).unwrap().unwrap().user.is_none());
        assert!(ledger.session("first", "other", at(300)).unwrap().is_none());
        // There are never more than some.
        for n in 0..MOST_SESSIONS + 5 {
            ledger.begin_session(&format!("many{n}"), Owner::Token("t"), at(301)).unwrap();
        }
        assert!(!goes_on("first", 301) && !goes_on("many4", 301) && goes_on("many5", 301));
    }
}
