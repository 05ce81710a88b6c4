//! What a child reads, in a directory that only this user can enter, for as long as it runs.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use bobbin_core::{Error, Result};
use tempfile::TempDir;

/// The directory; it goes with this value.
#[derive(Debug)]
pub(super) struct Files(TempDir);

impl Files {
    pub(super) fn new() -> Result<Self> {
        tempfile::Builder::new()
            .prefix("bobbin-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map(Self)
            .map_err(|error| {
                Error::io("cannot make a private directory for a program's files", error)
                    .hint("set TMPDIR to a directory that can be written")
            })
    }

    /// Writes a file that only this user can read.
    pub(super) fn write(&self, name: &str, text: &[u8]) -> Result<PathBuf> {
        let path = self.0.path().join(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(&path).and_then(|mut file| file.write_all(text)).map_err(|error| {
            Error::io("cannot write a file for a program", error).with("path", path.display())
        })?;
        Ok(path)
    }
}
