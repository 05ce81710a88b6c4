//! What a foreign target has confirmed, kept on our side: a small file per connection.
//!
//! It is written by rename after its data was synced, so that there is always a whole one.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use bobbin_core::destination::Recovered;
use bobbin_core::id::{SchemaName, SegmentId};
use bobbin_core::state::State;
use bobbin_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Segments that are remembered. A spool can only still hold those of the last round.
const MOST_SEGMENTS: usize = 10_000;

/// What was confirmed.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Memo {
    /// Rounds so far, of all jobs.
    pub(super) round: u64,
    state: Option<State>,
    segments: Vec<SegmentId>,
    sequence: Option<i64>,
}

/// The file, held by one job at a time.
pub(super) struct Keeper {
    path: PathBuf,
    pub(super) memo: Memo,
    _lock: File,
}

impl Keeper {
    /// Opens or makes the connection's file below `directory`.
    ///
    /// # Errors
    /// When another job holds it, or it cannot be read.
    pub(super) fn open(directory: &std::path::Path, connection: &SchemaName) -> Result<Self> {
        let failed = |what: &str, path: &std::path::Path, error| {
            Error::io(what, error).with("path", path.display())
        };
        fs::create_dir_all(directory)
            .map_err(|error| failed("cannot make the directory for targets", directory, error))?;
        let lock_path = directory.join(format!("{connection}.lock"));
        let lock = File::create(&lock_path)
            .map_err(|error| failed("cannot make a lock file", &lock_path, error))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                Error::new(ErrorKind::Conflict, "another job writes to this target")
                    .with("connection", connection)
                    .hint("wait for it to end")
            }
            fs::TryLockError::Error(error) => failed("cannot lock a file", &lock_path, error),
        })?;
        let path = directory.join(format!("{connection}.json"));
        let memo = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                Error::new(ErrorKind::InvalidData, "what a target confirmed cannot be read")
                    .with("path", path.display())
                    .hint("without that file everything is extracted and sent again")
                    .caused_by(error)
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Memo::default(),
            Err(error) => return Err(failed("cannot read what a target confirmed", &path, error)),
        };
        Ok(Self { path, memo, _lock: lock })
    }

    pub(super) fn recovered(&self) -> Recovered {
        Recovered {
            state: self.memo.state.clone(),
            segments: self.memo.segments.clone(),
            sequence: self.memo.sequence,
            lost: Vec::new(),
        }
    }

    pub(super) fn holds(&self, segment: &SegmentId) -> bool {
        self.memo.segments.contains(segment)
    }

    /// Notes that a round was confirmed. After this it is durable.
    pub(super) fn note(
        &mut self,
        state: Option<&State>,
        segments: &[SegmentId],
        sequence: Option<i64>,
    ) -> Result<()> {
        let memo = &mut self.memo;
        if let Some(state) = state {
            memo.state = Some(state.clone());
        }
        memo.segments.extend_from_slice(segments);
        let over = memo.segments.len().saturating_sub(MOST_SEGMENTS);
        memo.segments.drain(..over);
        memo.sequence = memo.sequence.max(sequence);
        let failed = |error| {
            Error::io("cannot keep what a target confirmed", error)
                .with("path", self.path.display())
        };
        let text = serde_json::to_vec(&self.memo)
            .map_err(|error| Error::bug("a memo cannot be written").caused_by(error))?;
        let temporary = self.path.with_extension("tmp");
        let mut file = File::create(&temporary).map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        drop(file);
        fs::rename(&temporary, &self.path).map_err(failed)?;
        let directory = self.path.parent().unwrap_or(std::path::Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }
}
