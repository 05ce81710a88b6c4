//! The spool: sealed segments on disk between extraction and loading.
//!
//! A directory one can read with `ls` and `zstdcat`:
//!
//! ```text
//! spool/CONNECTION/lock                                 held while a job runs
//! spool/CONNECTION/JOB/000001-users.ndjson.zst          records, zstd frames with checksums
//! spool/CONNECTION/JOB/000001-users.json                its manifest; a segment is sealed when
//!                                                       this file is there, by rename
//! spool/CONNECTION/JOB/000002-users.ndjson.zst.partial  being written
//! ```
//!
//! A segment is released (deleted) once the destination holds it. What a crash leaves behind is
//! found by [`Spool::recover`]: sealed segments are loaded by the next job, partial ones were
//! never covered by a state and are deleted. No loading happens here.

mod manifest;
mod reader;
mod writer;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bobbin_core::id::{ConnectionId, JobId, StreamName};
use bobbin_core::state::State;
use bobbin_core::{Error, ErrorKind, Result};

use crate::treat::Rules;
use crate::vault::Vault;

pub use manifest::Sealed;
pub use reader::SegmentReader;
pub use writer::{Limits, SpoolWriter};

/// The spool of one connection, locked against other jobs while it is held.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    _lock: File,
}

/// What an earlier job left.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Sealed segments in the order they were sealed.
    pub sealed: Vec<Sealed>,
    /// Manifests that could not be read, with the reason; their windows are extracted again.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Records of a stream that wait to be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WaitingRows {
    /// How many.
    pub rows: u64,
    /// Bytes of their text.
    pub bytes: u64,
}

/// What waits in the spool of a connection below `root`, by stream. A job may go on meanwhile; what it
/// seals or loads while this looks may be in it or not.
pub(crate) fn waiting(
    root: &Path,
    connection: &ConnectionId,
) -> Result<BTreeMap<StreamName, WaitingRows>> {
    let mut all: BTreeMap<StreamName, WaitingRows> = BTreeMap::new();
    let directory = root.join(connection.as_str());
    if !directory.is_dir() {
        return Ok(all);
    }
    for job in sorted_entries(&directory)?.into_iter().filter(|job| job.is_dir()) {
        for path in sorted_entries(&job).unwrap_or_default() {
            if path.extension().is_some_and(|extension| extension == "json")
                && let Ok(sealed) = Sealed::read(&path)
            {
                let stream = all.entry(sealed.segment.stream).or_default();
                stream.rows += sealed.segment.records;
                stream.bytes += sealed.segment.bytes;
            }
        }
    }
    Ok(all)
}

impl Spool {
    /// Opens the spool of `connection` below `root` and takes its lock.
    ///
    /// Fails with [`ErrorKind::Conflict`] when another job of the connection is running.
    pub fn open(root: &Path, connection: &ConnectionId) -> Result<Self> {
        let directory = root.join(connection.as_str());
        fs::create_dir_all(&directory).map_err(|error| {
            Error::io("cannot make the spool directory", error)
                .with("path", directory.display())
                .hint("choose a directory that can be written with `home` in the file or --home")
        })?;
        let path = directory.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(
            |error| Error::io("cannot open the spool's lock", error).with("path", path.display()),
        )?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::Conflict, "another job of this connection is running")
                    .with("connection", connection)
                    .with("lock", path.display())
                    .hint(
                        "wait for it to end, or stop it; two jobs must not write the same tables",
                    ))
            }
            Err(fs::TryLockError::Error(error)) => {
                Err(Error::io("cannot lock the spool", error).with("path", path.display()))
            }
        }
    }

    /// Where this connection's segments are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts writing the segments of `job`, which goes on from `base`; their lines have gone through
    /// `rules`.
    pub(crate) fn writer(
        &self,
        job: &JobId,
        first_sequence: i64,
        limits: Limits,
        base: State,
        rules: Arc<Rules>,
        vault: Option<Arc<Vault>>,
    ) -> Result<SpoolWriter> {
        SpoolWriter::new(&self.directory, job.clone(), first_sequence, limits, base, rules, vault)
    }

    /// Finds what earlier jobs left and deletes what they had not sealed.
    pub fn recover(&self) -> Result<Leftovers> {
        let mut leftovers = Leftovers::default();
        for job in sorted_entries(&self.directory)? {
            if !job.is_dir() {
                continue;
            }
            // Segments of the job that are set aside, or are to be: their names sort by number.
            let mut missing: Vec<PathBuf> = Vec::new();
            for path in sorted_entries(&job)? {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("json") => match Sealed::read(&path) {
                        Ok(mut sealed) => {
                            for damaged in &missing {
                                sealed.goes_on_after(damaged);
                            }
                            leftovers.sealed.push(sealed);
                        }
                        Err(error) => {
                            missing.push(path.clone());
                            leftovers.unreadable.push((path, error.report()));
                        }
                    },
                    Some("corrupt") => missing.push(path),
                    Some("partial" | "tmp") => remove(&path)?,
                    _ => {}
                }
            }
        }
        leftovers.sealed.sort_by(|a, b| a.segment.id.cmp(&b.segment.id));
        Ok(leftovers)
    }

    /// Deletes a segment the destination holds. Its job's directory stays, even when empty: the
    /// job may be about to write the next segment into it ([`Spool::sweep`] deletes it).
    pub fn release(&self, sealed: &Sealed) -> Result<()> {
        // The manifest goes first: without it the data file is just a remnant.
        remove(&sealed.manifest)?;
        remove(&sealed.data)
    }

    /// Deletes all that waits, if part of it is of a job before `oldest`: later segments go on from earlier
    /// ones. No state that covers them is committed, so the source is asked for their records again (but for
    /// those of a backfill). Gives how many went of which job. What was set aside as damaged stays.
    pub(crate) fn erase(&self, oldest: &JobId) -> Result<Vec<(JobId, u64)>> {
        let is_manifest = |file: &PathBuf| file.extension().is_some_and(|is| is == "json");
        let mut waiting = Vec::new();
        for job in sorted_entries(&self.directory)?.into_iter().filter(|job| job.is_dir()) {
            let manifests: Vec<PathBuf> =
                sorted_entries(&job)?.into_iter().filter(is_manifest).collect();
            let name = job.file_name().map(|name| JobId::from(name.to_string_lossy().as_ref()));
            if let Some(name) = name.filter(|_| !manifests.is_empty()) {
                waiting.push((name, manifests));
            }
        }
        if !waiting.iter().any(|(job, _)| job.as_str() < oldest.as_str()) {
            return Ok(Vec::new());
        }
        let mut erased = Vec::new();
        // The newest first: should this break off, none is left that goes on from one that is gone.
        for (job, manifests) in waiting.into_iter().rev() {
            for manifest in manifests.iter().rev() {
                remove(manifest)?;
                remove(&manifest::data_path(manifest))?;
            }
            erased.push((job, manifests.len() as u64));
        }
        self.sweep()?;
        Ok(erased)
    }

    /// Puts a segment that cannot be read out of the way, for a person to look at.
    pub fn quarantine(&self, manifest: &Path) -> Result<PathBuf> {
        let mut aside = manifest.as_os_str().to_owned();
        aside.push(".corrupt");
        let aside = PathBuf::from(aside);
        fs::rename(manifest, &aside).map_err(|error| {
            Error::io("cannot set the corrupt segment aside", error)
                .with("path", manifest.display())
        })?;
        Ok(aside)
    }

    /// Deletes job directories in which nothing but data without a manifest is left. Only before
    /// a job writes or after it has written.
    pub fn sweep(&self) -> Result<()> {
        for job in sorted_entries(&self.directory)? {
            if !job.is_dir() {
                continue;
            }
            let files = sorted_entries(&job)?;
            let kept = files.iter().any(|file| {
                let name = file.to_string_lossy();
                name.ends_with(".json") || name.ends_with(".corrupt")
            });
            if !kept {
                for file in files {
                    remove(&file)?;
                }
                let _ = fs::remove_dir(&job);
            }
        }
        Ok(())
    }
}

fn sorted_entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed =
        |error| Error::io("cannot list the spool", error).with("path", directory.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("cannot delete a spool file", error).with("path", path.display()))
        }
        _ => Ok(()),
    }
}
