//! Answers that are given again to whoever asks again with the same key.

use bobbin_core::Result;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::SqliteLedger;
use super::slots::text;

/// How long an answer is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// The most answers that are kept; with one more the oldest goes.
const MOST: u32 = 10_000;

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// The type of its body.
    pub content_type: Option<String>,
    /// Its body; none where that was too long to keep.
    pub body: Option<Vec<u8>>,
}

/// Answers to requests that may be asked twice.
pub trait Replies {
    /// The answer to what somebody asked with this key, and what of the request it is known by.
    fn reply(&self, who: &str, key: &str, now: Timestamp) -> Result<Option<(String, Reply)>>;

    /// Keeps the answer to what somebody asked with this key; those that are old go.
    fn keep_reply(
        &self,
        who_and_key: (&str, &str),
        request: &str,
        reply: &Reply,
        now: Timestamp,
    ) -> Result<()>;
}

impl Replies for SqliteLedger {
    fn reply(&self, who: &str, key: &str, now: Timestamp) -> Result<Option<(String, Reply)>> {
        self.sqlite
            .query_row(
                "SELECT request, status, content_type, body FROM replies
                 WHERE who = ?1 AND key = ?2 AND at > ?3",
                params![who, key, old(now)],
                |row| {
                    let reply =
                        Reply { status: row.get(1)?, content_type: row.get(2)?, body: row.get(3)? };
                    Ok((row.get(0)?, reply))
                },
            )
            .optional()
            .map_err(|error| self.error("cannot read the answers that are kept", error))
    }

    fn keep_reply(
        &self,
        (who, key): (&str, &str),
        request: &str,
        reply: &Reply,
        now: Timestamp,
    ) -> Result<()> {
        let failed = |error| self.error("cannot keep an answer", error);
        self.atomically("cannot keep an answer", || {
            self.sqlite
                .execute(
                    "INSERT OR REPLACE INTO replies (who, key, request, at, status, content_type, body)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        who,
                        key,
                        request,
                        text(now),
                        reply.status,
                        reply.content_type,
                        reply.body
                    ],
                )
                .map_err(failed)?;
            self.sqlite
                .execute(
                    "DELETE FROM replies WHERE at <= ?1 OR rowid IN (
                         SELECT rowid FROM replies ORDER BY at DESC LIMIT -1 OFFSET ?2)",
                    params![old(now), MOST],
                )
                .map_err(failed)?;
            Ok(())
        })
    }
}

fn old(now: Timestamp) -> String {
    text(now.checked_sub(KEPT).unwrap_or(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_for_a_day() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&directory.path().join("ledger.sqlite")).unwrap();
        let at = |hours: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1_000 + hours);
        let reply = Reply { status: 201, content_type: None, body: Some(b"x".to_vec()) };
        ledger.keep_reply(("user 1", "k"), "r", &reply, at(0)).unwrap();
        assert_eq!(
            ledger.reply("user 1", "k", at(23)).unwrap(),
            Some(("r".to_owned(), reply.clone()))
        );
        assert_eq!(ledger.reply("user 2", "k", at(0)).unwrap(), None);
        assert_eq!(ledger.reply("user 1", "l", at(0)).unwrap(), None);
        assert_eq!(ledger.reply("user 1", "k", at(24)).unwrap(), None);
        ledger.keep_reply(("user 1", "l"), "r", &reply, at(24)).unwrap();
        let left: i64 =
            ledger.sqlite.query_row("SELECT count(*) FROM replies", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 1);
    }
}
