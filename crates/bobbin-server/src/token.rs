//! The key that every request carries.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bobbin_core::id::ConnectionId;
use bobbin_core::secret::Secret;
use bobbin_core::{Error, Result};
use bobbin_engine::engine::make_home;
use bobbin_engine::ledger::{Key, Ledger, Role, Token};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// Where it is kept below bobbin's directory.
pub fn path(home: &Path) -> PathBuf {
    home.join("api-token")
}

/// Reads the token; makes one at the first start, in a file that only this user can read.
pub fn read_or_make(home: &Path) -> Result<Secret> {
    let path = path(home);
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= 32 => return Ok(Secret::new(text.trim())),
        Ok(_) => {
            return Err(Error::config("the API's token is too short")
                .with("path", path.display())
                .hint("delete the file, and the next start makes a new one"));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(
                Error::io("cannot read the API's token", error).with("path", path.display())
            );
        }
    }
    let failed =
        |error| Error::io("cannot make the API's token", error).with("path", path.display());
    make_home(home)?;
    let text = random().map_err(|error| error.with("path", path.display()))?;
    let mut file: File =
        File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(Secret::new(text))
}

/// Makes a further key; its text is given here and kept nowhere.
///
/// # Errors
/// When there are as many as there may be.
pub fn make_key(ledger: &dyn Ledger, description: &str, role: Role) -> Result<(Secret, Key)> {
    let description = description.trim();
    if description.is_empty() || description.len() > 200 {
        return Err(
            Error::config("a key needs a description of 1 to 200 bytes").hint("say what it is for")
        );
    }
    let text = format!("bobbin_{}", random()?);
    let ending = &text[text.len() - 4..];
    let key = ledger.add_key((description, role), (&hash(&text), ending), Timestamp::now())?;
    Ok((Secret::new(text), key))
}

/// Makes a token that pushes into a connection; its text is given here and kept nowhere.
///
/// # Errors
/// When the connection has as many as it may.
pub fn make_token(ledger: &dyn Ledger, connection: &ConnectionId) -> Result<(Secret, Token)> {
    let text = format!("push_{}", random()?);
    let ending = &text[text.len() - 4..];
    let token = ledger.add_token(connection, (&hash(&text), ending), Timestamp::now())?;
    Ok((Secret::new(text), token))
}

/// What is kept of a key. Its text is random and long, so that one round of SHA-256 is enough.
pub(crate) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// 256 random bits as text.
pub(crate) fn random() -> Result<String> {
    Ok(hex(&random_bytes::<32>()?))
}

pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::io("the system gives no random numbers", std::io::Error::other(error.to_string()))
    })?;
    Ok(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
