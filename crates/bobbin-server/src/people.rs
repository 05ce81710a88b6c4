//! Names and passwords of people: what may be one, what is kept of one, whether it is the right one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use bobbin_core::secret::Secret;
use bobbin_core::{Error, Result};
use bobbin_engine::ledger::{Role, User};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::token;

/// Characters of a password.
const SHORTEST: usize = 12;
const LONGEST: usize = 200;

/// Characters of a name.
const LONGEST_NAME: usize = 64;

/// Memory and rounds of argon2id, as OWASP has them (Password Storage Cheat Sheet, 2024).
const MEMORY_KIB: u32 = 19 << 10;
const ROUNDS: u32 = 2;

/// Passwords that are compared at once; each takes its memory.
const AT_ONCE: usize = 2;

/// What is compared where there is no user, so that it takes as long: of a random text that nobody has.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$\
                      Ym9iYmluIG5vYm9keSEhIQ$FZDJdZhtHWlVyIDIXTlT3pcOKDnAYURuAUSYFgiE9Ww";

/// Whether a name may be given to a user.
///
/// # Errors
/// When it may not, with what may.
pub fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && name.len() <= LONGEST_NAME && name.chars().all(good) {
        return Ok(());
    }
    Err(Error::config("that can be no user's name").hint(format!(
        "up to {LONGEST_NAME} letters and digits without accents, `.`, `_`, `-`, `@`, `+`; a letter or \
         digit first"
    )))
}

/// What is kept of a password: argon2id with a random salt, as a PHC string.
///
/// # Errors
/// When it may be no password of that user.
pub fn keep(name: &str, password: &Secret) -> Result<String> {
    let text = password.reveal();
    let length = text.chars().count();
    if !(SHORTEST..=LONGEST).contains(&length) {
        return Err(Error::config(format!(
            "a password has {SHORTEST} to {LONGEST} characters, this one {length}"
        ))
        .hint("a few words in a row are long and easy to remember"));
    }
    if text.to_lowercase() == name.to_lowercase() {
        return Err(Error::config("the password is the user's name")
            .hint("choose one that nobody can guess"));
    }
    let salt = token::random_bytes::<16>()?;
    let kept = hasher()?.hash_password_with_salt(text.as_bytes(), &salt);
    Ok(kept
        .map_err(|error| Error::bug("cannot hash a password").caused_by(text_of(error)))?
        .to_string())
}

/// What to tell when no user is an administrator any more. It is no error: the first token is one, always.
pub fn lacks_administrator(users: &[User]) -> Option<&'static str> {
    let is = |user: &User| user.role == Role::Administrator && user.disabled_at.is_none();
    (!users.is_empty() && !users.iter().any(is))
        .then_some("no user is an administrator now; whoever has the file api-token still is")
}

/// Whether it is the password of which `kept` is kept. Takes as long where nothing is.
pub(crate) fn is(password: &Secret, kept: Option<&str>) -> Result<bool> {
    let given = password.reveal().as_bytes();
    // Nobody's password is longer; what is longer is not worth the while.
    let given = &given[..given.len().min(4 * LONGEST + 1)];
    let same = hasher()?.verify_password(given, kept.unwrap_or(NOBODY)).is_ok();
    Ok(same && kept.is_some())
}

fn hasher() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, ROUNDS, 1, None)
        .map_err(|error| Error::bug("wrong parameters of argon2").caused_by(text_of(error)))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn text_of(error: impl std::fmt::Display) -> std::io::Error {
    std::io::Error::other(error.to_string())
}

/// How often a name may be tried from one address.
const TRIES: usize = 5;

/// The same from all addresses together: whoever tries other people's names should not lock them out.
const TRIES_OF_ALL: usize = 50;

/// Wrong tokens and names of nobody that are written down for one address.
const WRITTEN: usize = 50;

/// In what time.
const WITHIN: Duration = Duration::from_mins(15);

/// Names and addresses that are remembered; beyond, the one that was tried longest ago is forgotten.
const NAMES: usize = 10_000;

/// Who was tried with a wrong password, from where, and when. It is forgotten with the process.
pub(crate) struct Tries {
    of: Mutex<HashMap<[u8; 32], Tried>>,
    turns: Arc<Semaphore>,
}

/// How a name, or a name from an address, was tried.
#[derive(Default)]
struct Tried {
    at: Vec<Instant>,
    /// When a refusal was last to be written down.
    told: Option<Instant>,
}

impl Tried {
    /// Forgets what is over; gives the time to wait when there are `most` left.
    fn wait(&mut self, most: usize, now: Instant) -> Option<Duration> {
        self.at.retain(|at| now.duration_since(*at) < WITHIN);
        let since = now.duration_since(*self.at.first().filter(|_| self.at.len() >= most)?);
        Some(WITHIN.saturating_sub(since))
    }
}

/// A name that was tried too often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooOften {
    /// The time after which it may be tried again.
    pub(crate) wait: Duration,
    /// Whether it is the first refusal of that name for long, which is written down.
    pub(crate) first: bool,
}

impl Tries {
    pub(crate) fn new() -> Self {
        Self { of: Mutex::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Lets a name be tried from an address, whether there is such a user or not. It counts as failed until
    /// [`Tries::succeeded`].
    ///
    /// # Errors
    /// When it was too often.
    pub(crate) fn begin(
        &self,
        name: &str,
        address: &str,
        now: Instant,
    ) -> std::result::Result<(), TooOften> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, here) = (key(name, ""), key(name, address));
        let of_all = remembered(&mut of, all, now).wait(TRIES_OF_ALL, now);
        let of_here = remembered(&mut of, here, now).wait(TRIES, now);
        if let Some(wait) = of_all.max(of_here) {
            let told = &mut remembered(&mut of, all, now).told;
            let first = told.is_none_or(|at| now.duration_since(at) >= WITHIN);
            if first {
                *told = Some(now);
            }
            return Err(TooOften { wait, first });
        }
        for key in [all, here] {
            remembered(&mut of, key, now).at.push(now);
        }
        Ok(())
    }

    /// The password was right.
    pub(crate) fn succeeded(&self, name: &str, address: &str) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.remove(&key(name, address));
        // What others tried elsewhere still counts.
        if let Some(all) = of.get_mut(&key(name, "")) {
            all.at.pop();
        }
    }

    /// Whether one more failure of nobody that is known is written down for an address.
    pub(crate) fn is_written(&self, address: &str, now: Instant) -> bool {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        // No name has a space.
        let tried = remembered(&mut of, key(" written", address), now);
        let room = tried.wait(WRITTEN, now).is_none();
        if room {
            tried.at.push(now);
        }
        room
    }

    /// Waits for a turn to compare or hash a password.
    pub(crate) async fn turn(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        // Nobody closes the semaphore.
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }
}

/// What is remembered under a key. There is room for it: what is over goes, or else what was tried longest
/// ago.
fn remembered(of: &mut HashMap<[u8; 32], Tried>, key: [u8; 32], now: Instant) -> &mut Tried {
    if of.len() >= NAMES && !of.contains_key(&key) {
        of.retain(|_, tried| tried.at.iter().any(|at| now.duration_since(*at) < WITHIN));
        if of.len() >= NAMES {
            let oldest = of.iter().min_by_key(|(_, tried)| tried.at.last().copied());
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                of.remove(&oldest);
            }
        }
    }
    of.entry(key).or_default()
}

/// Names are kept as hashes: they may be long, or passwords typed into the wrong field.
fn key(name: &str, address: &str) -> [u8; 32] {
    let name = Sha256::digest(name.to_ascii_lowercase().as_bytes());
    Sha256::new().chain_update(name).chain_update(address.as_bytes()).finalize().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_tells_the_right_password_from_wrong_ones() {
        let right = Secret::new("correct horse battery");
        let kept = keep("anna", &right).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(kept, keep("anna", &right).unwrap(), "a salt of its own");
        assert!(is(&right, Some(&kept)).unwrap());
        assert!(!is(&Secret::new("correct horse batterz"), Some(&kept)).unwrap());
        assert!(!is(&right, None).unwrap() && !is(&right, Some("")).unwrap());
        // It costs as much to be nobody.
        let parsed = argon2::password_hash::phc::PasswordHash::new(NOBODY).unwrap();
        let params = Params::try_from(&parsed).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (MEMORY_KIB, ROUNDS, 1));
    }

    #[test]
    fn what_may_be_a_name_and_a_password() {
        for (name, good) in [
            ("anna", true),
            ("anna.b+c@example.com", true),
            ("7", true),
            ("", false),
            ("-anna", false),
            ("an na", false),
            ("änna", false),
            ("a/b", false),
            (&*"a".repeat(65), false),
        ] {
            assert_eq!(check_name(name).is_ok(), good, "{name}");
        }
        for (password, good) in [
            ("elevenchars", false),
            ("twelve chars", true),
            ("Anna-the-user", false),
            ("anna-the-user and much more", true),
            (&*"ü".repeat(200), true),
            (&*"x".repeat(201), false),
        ] {
            let kept = keep("anna-the-user", &Secret::new(password));
            assert_eq!(kept.is_ok(), good, "{password}: {kept:?}");
            assert!(!kept.err().is_some_and(|error| error.report().contains(password)));
        }
    }

    #[test]
    fn a_name_is_tried_five_times_in_fifteen_minutes() {
        let (tries, start) = (Tries::new(), Instant::now());
        let at = |minutes: u64| start + Duration::from_mins(minutes);
        let refused = |minutes, first| Err(TooOften { wait: Duration::from_mins(minutes), first });
        for minute in 0..5 {
            assert_eq!(tries.begin("Anna", "a", at(minute)), Ok(()));
        }
        assert_eq!(tries.begin("anna", "a", at(5)), refused(10, true));
        assert_eq!(tries.begin("anna", "a", at(5)), refused(10, false), "once is enough");
        assert_eq!(tries.begin("bert", "a", at(5)), Ok(()));
        assert_eq!(tries.begin("anna", "b", at(5)), Ok(()), "it is somebody else");
        assert_eq!(tries.begin("anna", "a", at(15)), Ok(()), "the first is over");
        assert_eq!(tries.begin("anna", "a", at(15)), refused(1, false));
        tries.succeeded("ANNA", "a");
        assert_eq!(tries.begin("anna", "a", at(15)), Ok(()));
        for n in 0..NAMES + 10 {
            let _ = tries.begin(&n.to_string(), "a", at(16));
        }
        assert!(tries.of.lock().unwrap().len() <= NAMES);
    }

    #[test]
    fn a_name_is_tried_fifty_times_from_everywhere() {
        let (tries, now) = (Tries::new(), Instant::now());
        for n in 0..TRIES_OF_ALL {
            assert_eq!(tries.begin("anna", &format!("a{n}"), now), Ok(()));
        }
        let refused = |first| Err(TooOften { wait: WITHIN, first });
        assert_eq!(tries.begin("anna", "b", now), refused(true));
        assert_eq!(tries.begin("anna", "c", now), refused(false));
        // Whoever comes in takes back their own try, no other one.
        tries.succeeded("anna", "a0");
        assert_eq!(tries.begin("anna", "b", now), Ok(()));
        assert_eq!(tries.begin("anna", "b", now), refused(false));
        // A refusal is written down again once a period is over.
        let later = now + WITHIN;
        for _ in 0..TRIES {
            assert_eq!(tries.begin("anna", "b", later), Ok(()));
        }
        assert_eq!(tries.begin("anna", "b", later), refused(true));
    }

    #[test]
    fn so_many_failures_of_nobody_are_written_down() {
        let (tries, now) = (Tries::new(), Instant::now());
        assert_eq!((0..200).filter(|_| tries.is_written("a", now)).count(), WRITTEN);
        assert!(tries.is_written("b", now) && tries.is_written("a", now + WITHIN));
    }
}
