//! Files that nobody reads who has only the disk (F-103): segments of the spool, and what was pushed and
//! waits.
//!
//! A file begins with [`MAGIC`] and a key of its own, sealed with that of [`crate::vault`]; then come chunks,
//! each with its length before it, under AES-256-GCM and their number as nonce. The last one is empty and
//! says so, so that a file that was cut short is told from a whole one. A file without the beginning is
//! plain, as earlier versions wrote it.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use bobbin_core::{Error, ErrorKind, Result};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::vault::Vault;

/// What sealed files begin with.
pub const MAGIC: &[u8; 16] = b"bobbin sealed 1\n";

/// What the keys of files belong to.
const WHAT: &str = "spool";

/// Bytes of a key, and of what it becomes in the file.
const KEY: usize = 32;
const SEALED_KEY: usize = NONCE_LEN + KEY + TAG;

/// Bytes of plain text in a chunk, at most, and of what is added to it.
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// The last chunk is bound to being it.
fn aad(last: bool) -> Aad<&'static [u8]> {
    Aad::from(if last { b"last" } else { b"" })
}

fn key(bytes: &[u8]) -> Result<LessSafeKey> {
    let key = UnboundKey::new(&AES_256_GCM, bytes);
    key.map(LessSafeKey::new).map_err(|_| Error::bug("a key of a sealed file has another length"))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// A file being written, sealed or plain.
pub enum Out {
    /// Plain.
    Plain(File),
    /// Sealed.
    Sealed(Box<Sealing>),
}

/// A sealed file being written.
pub struct Sealing {
    file: File,
    key: LessSafeKey,
    number: u64,
    buffer: Vec<u8>,
}

impl Out {
    /// Begins a file, sealed where there is a vault.
    ///
    /// # Errors
    /// When the system gives no random numbers, or the file cannot be written.
    pub fn begin(mut file: File, vault: Option<&Vault>) -> Result<Self> {
        let Some(vault) = vault else { return Ok(Self::Plain(file)) };
        let mut bytes = [0; KEY];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Error::new(ErrorKind::Io, "the system gives no random numbers"))?;
        let sealed = vault.seal(WHAT, &bytes)?;
        file.write_all(MAGIC)
            .and_then(|()| file.write_all(&sealed))
            .map_err(|error| Error::io("cannot write a sealed file", error))?;
        let buffer = Vec::with_capacity(CHUNK + TAG);
        Ok(Self::Sealed(Box::new(Sealing { file, key: key(&bytes)?, number: 0, buffer })))
    }

    /// Ends it; what was not ended reads as damaged.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> io::Result<File> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Sealed(mut sealing) => {
                if !sealing.buffer.is_empty() {
                    sealing.chunk(false)?;
                }
                sealing.chunk(true)?;
                Ok(sealing.file)
            }
        }
    }
}

impl Sealing {
    fn chunk(&mut self, last: bool) -> io::Result<()> {
        self.key
            .seal_in_place_append_tag(nonce(self.number), aad(last), &mut self.buffer)
            .map_err(|_| broken("a chunk cannot be sealed"))?;
        self.number += 1;
        // A chunk has at most 64 KiB and its tag.
        self.file.write_all(&(self.buffer.len() as u32).to_le_bytes())?;
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Sealed(sealing) => {
                let taken = bytes.len().min(CHUNK - sealing.buffer.len());
                sealing.buffer.extend_from_slice(&bytes[..taken]);
                if sealing.buffer.len() == CHUNK {
                    sealing.chunk(false)?;
                }
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            // What fills no chunk yet is written at the end.
            Self::Sealed(sealing) => sealing.file.flush(),
        }
    }
}

/// A file being read, sealed or plain.
pub enum In {
    /// Plain.
    Plain(io::Chain<io::Cursor<Vec<u8>>, Source>),
    /// Sealed.
    Sealed(Box<Opening>),
    /// It cannot be opened, for this reason.
    Closed(String),
}

/// Where the bytes of a file come from.
type Source = BufReader<Box<dyn Read + Send>>;

/// A sealed file being read.
pub struct Opening {
    file: Source,
    key: LessSafeKey,
    number: u64,
    buffer: Vec<u8>,
    /// Of the buffer, what is read.
    from: usize,
    until: usize,
    over: bool,
}

impl In {
    /// Begins to read a file that was sealed with the key of `home`, or is plain. One whose key is not there any
    /// more reads as damaged.
    ///
    /// # Errors
    /// When its beginning cannot be read.
    pub fn begin(file: impl Read + Send + 'static, home: &Path) -> io::Result<Self> {
        let mut file: Source = BufReader::with_capacity(CHUNK, Box::new(file));
        let mut head = Vec::new();
        Read::by_ref(&mut file).take(MAGIC.len() as u64).read_to_end(&mut head)?;
        if head != MAGIC {
            return Ok(Self::Plain(io::Cursor::new(head).chain(file)));
        }
        let mut sealed = [0; SEALED_KEY];
        if file.read_exact(&mut sealed).is_err() {
            return Ok(Self::Closed("it ends in its key".to_owned()));
        }
        let opened = Vault::open(home, false).and_then(|vault| vault.unseal(WHAT, &sealed));
        match opened.and_then(|bytes| key(&bytes)) {
            Err(error) => Ok(Self::Closed(error.to_string())),
            Ok(key) => Ok(Self::Sealed(Box::new(Opening {
                file,
                key,
                number: 0,
                buffer: Vec::new(),
                from: 0,
                until: 0,
                over: false,
            }))),
        }
    }
}

/// Whether the key of `home` opens a file; none where it is not sealed.
///
/// # Errors
/// When its beginning cannot be read.
pub fn opens(path: &Path, home: &Path) -> io::Result<Option<bool>> {
    Ok(match In::begin(File::open(path)?, home)? {
        In::Plain(_) => None,
        In::Sealed(_) => Some(true),
        In::Closed(_) => Some(false),
    })
}

impl Opening {
    fn chunk(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.file.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if !(TAG..=CHUNK + TAG).contains(&length) {
            return Err(broken("a chunk has a wrong length"));
        }
        let last = length == TAG;
        self.buffer.resize(length, 0);
        self.file.read_exact(&mut self.buffer)?;
        let opened = self.key.open_in_place(nonce(self.number), aad(last), &mut self.buffer);
        let plain = opened.map_err(|_| broken("a chunk was altered"))?.len();
        self.number += 1;
        (self.from, self.until, self.over) = (0, plain, last);
        Ok(())
    }
}

impl Read for In {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(bytes),
            Self::Closed(why) => Err(broken(why)),
            Self::Sealed(opening) => {
                if opening.from == opening.until && !opening.over {
                    opening.chunk()?;
                }
                let taken = bytes.len().min(opening.until - opening.from);
                let from = opening.from;
                bytes[..taken].copy_from_slice(&opening.buffer[from..from + taken]);
                opening.from += taken;
                Ok(taken)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn read(path: &Path, home: &Path) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        In::begin(File::open(path)?, home)?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn what_is_sealed_opens_whole_with_its_key_and_else_reads_as_damaged() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("segment");
        let vault = Vault::open(home.path(), true).unwrap();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7] {
            let text: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            for vault in [Some(&vault), None] {
                let mut out = Out::begin(File::create(&path).unwrap(), vault).unwrap();
                out.write_all(&text).unwrap();
                out.finish().unwrap();
                assert_eq!(read(&path, home.path()).unwrap(), text, "{length}");
            }
        }
        let mut out = Out::begin(File::create(&path).unwrap(), Some(&vault)).unwrap();
        out.write_all(&vec![b'x'; 2 * CHUNK]).unwrap();
        out.finish().unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert!(!whole.windows(8).any(|bytes| bytes == b"xxxxxxxx"));
        // Cut short anywhere, also between chunks, or altered.
        let chunk = 4 + CHUNK + TAG;
        let head = MAGIC.len() + SEALED_KEY;
        for cut in [head - 1, head, head + 2, head + chunk, head + 2 * chunk, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path, home.path()).is_err(), "{cut}");
        }
        for at in [MAGIC.len() + 3, head + 9, whole.len() - 1] {
            let mut altered = whole.clone();
            altered[at] ^= 1;
            std::fs::write(&path, &altered).unwrap();
            assert!(read(&path, home.path()).is_err(), "{at}");
        }
        std::fs::write(&path, &whole).unwrap();
        let other = tempfile::tempdir().unwrap();
        assert!(read(&path, other.path()).is_err());
        Vault::open(other.path(), true).unwrap();
        assert!(read(&path, other.path()).is_err());
    }
}
