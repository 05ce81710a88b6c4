//! The files of an inbox: where they are, what their names say, how they become durable.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bobbin_core::{Error, Result};
use jiff::Timestamp;

/// How the name of a request's file ends.
const ENDING: &str = ".ndjson.zst";

/// How the name of a file ends that is not whole yet.
const PARTIAL: &str = ".partial";

/// Where the files of an inbox are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    root: PathBuf,
}

/// A request's file, by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Named {
    /// Its place in the order of requests, from 1.
    pub(crate) number: u64,
    /// When it came.
    pub(crate) received: Timestamp,
    pub(crate) rows: u64,
    /// Of the file.
    pub(crate) bytes: u64,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn requests(&self) -> PathBuf {
        self.root.join("requests")
    }

    pub(crate) fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    /// Makes the directories, durably.
    pub(crate) fn make(&self) -> Result<()> {
        let failed =
            |error| Error::io("cannot make the inbox", error).with("path", self.root.display());
        fs::create_dir_all(self.requests()).map_err(failed)?;
        sync_directory(&self.root).map_err(failed)?;
        match self.root.parent() {
            Some(above) if !above.as_os_str().is_empty() => sync_directory(above).map_err(failed),
            _ => Ok(()),
        }
    }

    /// The requests that are there, in their order.
    pub(crate) fn waiting(&self) -> Result<Vec<Named>> {
        list(&self.requests())
    }

    /// The requests that are there, without any before which one may be missing. A directory that is
    /// listed while files come may show a later one and not an earlier one. But whatever comes before a
    /// number was there before it was seen; so what is listed after that is complete up to it.
    pub(crate) fn settled(&self) -> Result<Vec<Named>> {
        let Some(last) = self.waiting()?.last().map(|file| file.number) else {
            return Ok(Vec::new());
        };
        let mut files = self.waiting()?;
        files.retain(|file| file.number <= last);
        Ok(files)
    }

    /// Those that were set aside.
    pub(crate) fn set_aside(&self) -> Result<Vec<Named>> {
        list(&self.damaged())
    }

    /// Where a file is written before it has a number.
    pub(crate) fn partial(&self) -> Result<PathBuf> {
        Ok(self.requests().join(format!("{}{PARTIAL}", random()?)))
    }

    /// Deletes what a crash left half written. Only for who holds the lock of the writer.
    pub(crate) fn sweep(&self) -> Result<()> {
        let directory = self.requests();
        let failed =
            |error| Error::io("cannot clear the inbox", error).with("path", directory.display());
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().ends_with(PARTIAL) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Puts a file out of the way, for a person to look at.
    pub(crate) fn put_aside(&self, file: &Named) -> Result<PathBuf> {
        let directory = self.damaged();
        let failed = |error| {
            Error::io("cannot set a damaged request aside", error).with("path", file.path.display())
        };
        fs::create_dir_all(&directory).map_err(failed)?;
        let aside = directory.join(file.path.file_name().unwrap_or_default());
        fs::rename(&file.path, &aside).map_err(failed)?;
        sync_directory(&directory).and_then(|()| sync_directory(&self.root)).map_err(failed)?;
        Ok(aside)
    }
}

impl Named {
    /// The file of a request, `000000000042-20261128T093000.123456Z-500r-20480b.ndjson.zst`: what
    /// waits can be counted without opening anything.
    pub(crate) fn new(
        place: &Place,
        number: u64,
        received: Timestamp,
        (rows, bytes): (u64, u64),
    ) -> Self {
        let at = received.strftime("%Y%m%dT%H%M%S%.6fZ");
        let name = format!("{number:012}-{at}-{rows}r-{bytes}b{ENDING}");
        Self { number, received, rows, bytes, path: place.requests().join(name) }
    }

    fn read(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(ENDING)?;
        let mut parts = name.split('-');
        let number = parts.next()?.parse().ok()?;
        let received = parts.next()?.parse().ok()?;
        let rows = parts.next()?.strip_suffix('r')?.parse().ok()?;
        let bytes = parts.next()?.strip_suffix('b')?.parse().ok()?;
        parts.next().is_none().then_some(Self { number, received, rows, bytes, path })
    }
}

fn list(directory: &Path) -> Result<Vec<Named>> {
    let failed =
        |error| Error::io("cannot list the inbox", error).with("path", directory.display());
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        files.extend(Named::read(entry.map_err(failed)?.path()));
    }
    files.sort_by_key(|file| file.number);
    Ok(files)
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Replaces a file, durably: whoever reads it sees the old text or the new one.
pub(crate) fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let failed = |error| Error::io("cannot write to the inbox", error).with("path", path.display());
    // One name is enough: each of these files has one writer at a time.
    let temporary = path.with_extension("partial");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(failed(error));
    }
    path.parent().map_or(Ok(()), sync_directory).map_err(failed)
}

/// The text of a file; nothing when it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Error::io("cannot read from the inbox", error).with("path", path.display()))
        }
    }
}

/// 64 bits nobody else has, in hexadecimal digits.
pub(crate) fn random() -> Result<String> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::io("the system gives no random numbers", io::Error::other(error.to_string()))
    })?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}
