//! A sealed segment's manifest: what it is, the shape of its stream, how large its file is.

use std::fs;
use std::path::{Path, PathBuf};

use bobbin_core::catalog::Stream;
use bobbin_core::segment::Segment;
use bobbin_core::state::State;
use bobbin_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::treat::Passed;

/// The version of the manifest's form. A newer one is refused.
const FORM: u32 = 1;

/// A sealed segment on disk.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// What it is.
    pub segment: Segment,
    /// Its stream's shape when it was written.
    pub stream: Stream,
    /// The state of its job before it: what its own state goes on from.
    pub after: Option<State>,
    /// What its lines went through; none where an earlier release wrote it, which did not say.
    pub(crate) passed: Option<Passed>,
    /// Its data file.
    pub data: PathBuf,
    /// Its manifest file.
    pub manifest: PathBuf,
    /// The data file's size in bytes.
    pub size_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    form: u32,
    segment: Segment,
    size_bytes: u64,
    stream: Stream,
    #[serde(default)]
    after: Option<State>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passed: Option<Passed>,
}

impl Sealed {
    /// Reads a manifest and checks that its data file is whole as far as its size tells.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bad = |what: &str| {
            Error::new(ErrorKind::InvalidData, what.to_owned()).with("path", path.display())
        };
        let text = fs::read(path).map_err(|error| {
            Error::io("cannot read a segment's manifest", error).with("path", path.display())
        })?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| bad("a segment's manifest cannot be understood").caused_by(error))?;
        if manifest.form > FORM {
            return Err(bad("the segment was written by a newer bobbin")
                .with("form", manifest.form)
                .hint("run it with that version, or a newer one"));
        }
        let data = data_path(path);
        let size = fs::metadata(&data).map(|meta| meta.len()).unwrap_or(0);
        if size != manifest.size_bytes {
            return Err(bad("the segment's data file is not as long as it was when sealed")
                .with("expected_bytes", manifest.size_bytes)
                .with("found_bytes", size));
        }
        Ok(Self {
            segment: manifest.segment,
            stream: manifest.stream,
            after: manifest.after,
            passed: manifest.passed,
            data,
            manifest: path.to_owned(),
            size_bytes: size,
        })
    }

    /// Keeps of the segment's state what goes on from where the destination is, `current`, and moves
    /// that on. A destination that is new, was restored, or lost a table is not where the segment's job
    /// began: there a bookmark of it would claim rows that nobody loads.
    pub(crate) fn fit(&mut self, current: &mut State) {
        let (state, after) = (self.segment.state.take(), self.after.take());
        let Some(after) = after else { return };
        // Nor is a version whole of which earlier segments went elsewhere.
        let stream = &self.segment.stream;
        self.segment.activates &= current.bookmarks.get(stream) == after.bookmarks.get(stream)
            && current.notes == after.notes;
        let Some(state) = state else { return };
        let before = current.clone();
        for (stream, bookmark) in state.bookmarks {
            if current.bookmarks.get(&stream) == after.bookmarks.get(&stream) {
                current.bookmarks.insert(stream, bookmark);
            }
        }
        if current.notes == after.notes {
            current.notes = state.notes;
        }
        current.currently_syncing = state.currently_syncing;
        if *current != before {
            self.segment.state = Some(current.clone());
        }
    }

    /// Takes from the segment what would claim that `damaged`, the manifest of an earlier segment of its
    /// job, is in the destination: its state and, of the same stream, that a version is whole.
    pub(super) fn goes_on_after(&mut self, damaged: &Path) {
        self.segment.state = None;
        if stream_part(&self.manifest) == stream_part(damaged) {
            self.segment.activates = false;
        }
    }

    /// The manifest's text.
    pub(super) fn to_text(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&Manifest {
            form: FORM,
            segment: self.segment.clone(),
            size_bytes: self.size_bytes,
            stream: self.stream.clone(),
            after: self.after.clone(),
            passed: self.passed.clone(),
        })
        .map_err(|error| Error::bug("cannot write a manifest as JSON").caused_by(error))
    }
}

/// The part of a manifest's file name that tells the stream, also where it is set aside.
fn stream_part(manifest: &Path) -> Option<&str> {
    let name = manifest.file_name()?.to_str()?;
    let (_, stream) = name.strip_suffix(".corrupt").unwrap_or(name).split_once('-')?;
    stream.strip_suffix(".json")
}

/// The data file beside a manifest.
pub(super) fn data_path(manifest: &Path) -> PathBuf {
    manifest.with_extension("ndjson.zst")
}
