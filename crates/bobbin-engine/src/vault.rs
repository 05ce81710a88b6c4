//! What nobody may read who has only the ledger: secrets are sealed before they are written there, with
//! a key that is not in it (F-103).
//!
//! ChaCha20-Poly1305 (RFC 8439) with a random nonce for each text; a sealed text belongs to its name and
//! opens under no other. So few are written that nonces do not repeat.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use bobbin_core::{Error, ErrorKind, Result};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::engine::make_home;
use crate::sealed::MAGIC;

/// The variable that holds the key in place of the file.
pub const VARIABLE: &str = "BOBBIN_STORE_KEY";

/// Bytes of the key.
const KEY: usize = 32;

/// Where the key is kept below bobbin's directory, unless the variable holds it.
pub fn path(home: &Path) -> PathBuf {
    home.join("store-key")
}

/// Seals and opens.
pub struct Vault {
    key: LessSafeKey,
    /// Where the key came from, for messages.
    from: String,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault(of {})", self.from)
    }
}

impl Vault {
    /// With the key of `home`; one is made where there is none and `make` is set.
    ///
    /// # Errors
    /// When there is none, or it is no key.
    pub fn open(home: &Path, make: bool) -> Result<Self> {
        if let Ok(text) = std::env::var(VARIABLE) {
            return Self::of(&text, format!("the variable {VARIABLE}"));
        }
        let path = path(home);
        let from = format!("the file {}", path.display());
        match fs::read_to_string(&path) {
            Ok(text) => Self::of(&text, from),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && make => {
                // With a new key, what its client was promised would be as good as gone.
                if let Some(waits) = sealed_push(home) {
                    return Err(missing(&path, error).with("waiting", waits.display()));
                }
                make_home(home)?;
                let failed = |error| {
                    Error::io("cannot make the key of what is stored", error)
                        .with("path", path.display())
                };
                keep(&path, &random::<KEY>()?).map_err(failed)?;
                let text = fs::read_to_string(&path).map_err(failed)?;
                Self::of(&text, from)
            }
            Err(error) => Err(missing(&path, error)),
        }
    }

    fn of(text: &str, from: String) -> Result<Self> {
        let text = text.trim();
        let digits = text.is_ascii() && text.len() == 2 * KEY;
        let bytes: Option<Vec<u8>> = (0..KEY)
            .map(|n| u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok())
            .collect::<Option<_>>()
            .filter(|_| digits);
        let key = bytes.and_then(|bytes| UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok());
        let key = key.ok_or_else(|| {
            Error::config(format!("{from} holds no key"))
                .hint("a key is 64 hexadecimal digits, for example of `openssl rand -hex 32`")
        })?;
        Ok(Self { key: LessSafeKey::new(key), from })
    }

    /// Seals a text that belongs to `name`.
    pub fn seal(&self, name: &str, text: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0_u8; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| Error::new(ErrorKind::Io, "the system gives no random numbers"))?;
        let mut sealed = text.to_vec();
        let (unique, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(name.as_bytes()));
        self.key
            .seal_in_place_append_tag(unique, aad, &mut sealed)
            .map_err(|_| Error::bug("cannot seal a text"))?;
        sealed.splice(0..0, nonce);
        Ok(sealed)
    }

    /// Opens what was sealed for `name`.
    ///
    /// # Errors
    /// When it was sealed with another key, or for another name, or was altered.
    pub fn unseal(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let opened = sealed.split_first_chunk::<NONCE_LEN>().and_then(|(nonce, sealed)| {
            let mut text = sealed.to_vec();
            let (unique, aad) = (Nonce::assume_unique_for_key(*nonce), Aad::from(name.as_bytes()));
            let length = self.key.open_in_place(unique, aad, &mut text).ok()?.len();
            text.truncate(length);
            Some(text)
        });
        opened.ok_or_else(|| {
            Error::config(format!("{name} is stored, but {} does not open it", self.from)).hint(
                "put the key back with which it was stored, or set it up again through the API",
            )
        })
    }
}

fn missing(path: &Path, error: std::io::Error) -> Error {
    Error::config("the key of what is stored cannot be read")
        .with("path", path.display())
        .hint(format!(
            "put the file back, or set {VARIABLE}; without the key, what was set up through the API has \
             to be set up again, and what was pushed and waits has to be moved away and sent again"
        ))
        .caused_by(error)
}

/// A sealed file that was pushed and waits to be loaded, if there is one.
fn sealed_push(home: &Path) -> Option<PathBuf> {
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
    let inboxes = entries(&home.join("inbox")).map(|inbox| inbox.path().join("requests"));
    let mut files =
        inboxes.flat_map(|requests| entries(&requests).map(|file| file.path()).collect::<Vec<_>>());
    files.find(|file| {
        let mut head = [0; MAGIC.len()];
        File::open(file).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == *MAGIC
    })
}

/// Makes a file of one line that only this user reads. After a loss of power it is there whole or not at all;
/// one that is there already stays.
pub(crate) fn keep(path: &Path, text: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
    writeln!(file, "{text}")?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error.error);
        }
        _ => {}
    }
    File::open(directory)?.sync_all()
}

/// Random bytes as hexadecimal digits.
pub(crate) fn random<const N: usize>() -> Result<String> {
    let mut bytes = [0_u8; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::new(ErrorKind::Io, "the system gives no random numbers"))?;
    Ok(bytes.map(|byte| format!("{byte:02x}")).concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_with_its_key_under_its_name_only() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(Vault::open(one.path(), false).is_err());
        let vault = Vault::open(one.path(), true).unwrap();
        let sealed = vault.seal("source k", b"canary").unwrap();
        assert_ne!(sealed, vault.seal("source k", b"canary").unwrap());
        assert!(!sealed.windows(6).any(|bytes| bytes == b"canary"));
        let again = Vault::open(one.path(), false).unwrap();
        assert_eq!(again.unseal("source k", &sealed).unwrap(), b"canary");
        let other = Vault::open(two.path(), true).unwrap();
        let mut altered = sealed.clone();
        altered[20] ^= 1;
        for (vault, name, sealed) in [
            (&other, "source k", &sealed),
            (&again, "source j", &sealed),
            (&again, "source k", &altered),
            (&again, "source k", &Vec::new()),
        ] {
            let error = vault.unseal(name, sealed).unwrap_err().report();
            assert!(error.contains("does not open it"), "{error}");
        }
    }

    #[test]
    fn no_key_is_made_while_something_waits_that_another_one_sealed() {
        let home = tempfile::tempdir().unwrap();
        let requests = home.path().join("inbox/c/requests");
        fs::create_dir_all(&requests).unwrap();
        fs::write(requests.join("1"), b"plain").unwrap();
        fs::write(requests.join("2"), [MAGIC.as_slice(), b"and more"].concat()).unwrap();
        let error = Vault::open(home.path(), true).map(|_| ()).unwrap_err().report();
        assert!(error.contains("cannot be read") && error.contains("requests/2"), "{error}");
        assert!(!path(home.path()).exists());
        fs::remove_file(requests.join("2")).unwrap();
        Vault::open(home.path(), true).unwrap();
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        for wrong in ["", "12", &"x".repeat(64), &"é".repeat(32)] {
            let home = tempfile::tempdir().unwrap();
            fs::write(path(home.path()), wrong).unwrap();
            let error = Vault::open(home.path(), true).map(|_| ()).unwrap_err().report();
            assert!(error.contains("holds no key"), "{error}");
        }
    }
}
