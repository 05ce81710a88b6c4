//! Writing segments: an output that compresses records to disk and seals runs of them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bobbin_core::catalog::Stream;
use bobbin_core::crash;
use bobbin_core::id::{JobId, SegmentId, StreamName};
use bobbin_core::record::{Records, Rejected};
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_core::segment::{MOST_WEIGHT, Segment, weight};
use bobbin_core::state::State;
use bobbin_core::tap::Output;
use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;

use super::Sealed;
use super::manifest::data_path;
use crate::sealed::Out;
use crate::treat::Rules;
use crate::vault::Vault;

/// Bounds on what the spool takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Records after which a segment is sealed.
    pub records: u64,
    /// The [`weight`] at which a segment is sealed.
    pub weight: u64,
    /// Disk the spool leaves free: the smaller of this many bytes and a twentieth of the disk.
    pub reserve_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 50_000, weight: MOST_WEIGHT, reserve_bytes: 1 << 30 }
    }
}

/// Writes the segments of one job and hands sealed ones to whoever loads them.
pub struct SpoolWriter {
    directory: PathBuf,
    job: JobId,
    limits: Limits,
    next_number: u64,
    next_sequence: i64,
    /// What lines have gone through that come here.
    rules: Arc<Rules>,
    /// Seals what is written, where it is to be.
    vault: Option<Arc<Vault>>,
    streams: HashMap<StreamName, Stream>,
    open: Option<OpenSegment>,
    /// A state that no segment carries yet.
    state: Option<State>,
    /// The last state that a segment carries, or what the job goes on from.
    last: State,
    sealed: Vec<Sealed>,
    buffer: Vec<u8>,
    /// The weight of the lines in the buffer.
    buffered: u64,
    /// Bytes on disk that nobody has released yet; whoever releases subtracts.
    pub(crate) held_bytes: Arc<AtomicU64>,
}

struct OpenSegment {
    stream: StreamName,
    partial: PathBuf,
    manifest: PathBuf,
    encoder: zstd::Encoder<'static, Out>,
    number: u64,
    records: u64,
    rejected: u64,
    bytes: u64,
    weight: u64,
    version: Option<i64>,
    activates: bool,
}

impl SpoolWriter {
    pub(super) fn new(
        spool: &Path,
        job: JobId,
        first_sequence: i64,
        limits: Limits,
        base: State,
        rules: Arc<Rules>,
        vault: Option<Arc<Vault>>,
    ) -> Result<Self> {
        let directory = spool.join(job.as_str());
        fs::create_dir_all(&directory).map_err(|error| {
            Error::io("cannot make the job's spool directory", error)
                .with("path", directory.display())
        })?;
        Ok(Self {
            directory,
            job,
            limits,
            next_number: 1,
            next_sequence: first_sequence,
            rules,
            streams: HashMap::new(),
            open: None,
            state: None,
            last: base,
            sealed: Vec::new(),
            buffer: Vec::new(),
            buffered: 0,
            held_bytes: Arc::default(),
            vault,
        })
    }

    /// Takes the segments sealed since the last call, in order.
    pub fn take_sealed(&mut self) -> Vec<Sealed> {
        std::mem::take(&mut self.sealed)
    }

    /// Seals what is open, with the last state if it is not yet on disk. Call it at the end of
    /// the extraction, however that ended.
    pub fn finish(&mut self) -> Result<()> {
        if self.open.is_none() && self.state.is_some() {
            // A state after which nothing came still has to reach the destination.
            let Some(stream) = self.streams.keys().min().cloned() else { return Ok(()) };
            self.begin(&stream, None)?;
        }
        self.seal()
    }

    /// The open segment, made if none is open that fits: a segment is of one stream and version.
    fn begin(&mut self, stream: &StreamName, version: Option<i64>) -> Result<&mut OpenSegment> {
        let other = |open: &OpenSegment| &open.stream != stream || open.version != version;
        if self.open.as_ref().is_some_and(other) {
            self.seal()?;
        }
        if self.open.is_none() {
            self.check_room()?;
            let number = self.next_number;
            self.next_number += 1;
            let manifest = self.directory.join(format!("{number:06}-{}.json", file_name(stream)));
            let mut partial = data_path(&manifest).into_os_string();
            partial.push(".partial");
            let partial = PathBuf::from(partial);
            let failed =
                |error| Error::io("cannot write a segment", error).with("path", partial.display());
            let file = File::create(&partial).map_err(failed)?;
            let out = Out::begin(file, self.vault.as_deref())?;
            let mut encoder = zstd::Encoder::new(out, 1).map_err(failed)?;
            encoder.include_checksum(true).map_err(failed)?;
            self.open = Some(OpenSegment {
                stream: stream.clone(),
                partial,
                manifest,
                encoder,
                number,
                records: 0,
                rejected: 0,
                bytes: 0,
                weight: 0,
                version,
                activates: false,
            });
        }
        self.open.as_mut().ok_or_else(|| Error::bug("a segment was opened and is not there"))
    }

    /// Refuses to go on before the disk is full, so that what runs beside us can still finish.
    fn check_room(&self) -> Result<()> {
        let Ok(stat) = rustix::fs::statvfs(&self.directory) else { return Ok(()) };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let whole = stat.f_blocks.saturating_mul(stat.f_frsize);
        let reserve = self.limits.reserve_bytes.min(whole / 20);
        if free >= reserve {
            return Ok(());
        }
        Err(Error::new(ErrorKind::DiskFull, "the spool's disk is nearly full")
            .with("path", self.directory.display())
            .with("free_bytes", free)
            .with("kept_free_bytes", reserve)
            .hint("free some space or move `home` to a larger disk, then run again: what was sealed is kept and nothing is lost"))
    }

    fn write(
        &mut self,
        stream: &StreamName,
        version: Option<i64>,
        records: u64,
        rejected: u64,
    ) -> Result<()> {
        if records + rejected == 0 {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        let (limits, weight) = (self.limits, std::mem::take(&mut self.buffered));
        let open = self.begin(stream, version)?;
        if let Err(error) = open.encoder.write_all(&buffer) {
            let error =
                Error::io("cannot write a segment", error).with("path", open.partial.display());
            self.give_up();
            return Err(error);
        }
        open.records += records;
        open.rejected += rejected;
        open.bytes += buffer.len() as u64;
        open.weight += weight;
        let full = open.records >= limits.records || open.weight >= limits.weight;
        self.buffer = buffer;
        self.buffer.clear();
        if full { self.seal() } else { Ok(()) }
    }

    fn seal(&mut self) -> Result<()> {
        let sealed = self.try_seal();
        if sealed.is_err() {
            self.give_up();
        }
        sealed
    }

    /// Forgets the open segment, part of which could not be written, and the state that covers it.
    fn give_up(&mut self) {
        self.open = None;
        self.state = None;
    }

    fn try_seal(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let failed =
            |error| Error::io("cannot seal a segment", error).with("path", open.partial.display());
        let file = open.encoder.finish().and_then(Out::finish).map_err(failed)?;
        crash::point("segment-written");
        file.sync_all().map_err(failed)?;
        let size_bytes = file.metadata().map_err(failed)?.len();
        drop(file);
        let data = data_path(&open.manifest);
        fs::rename(&open.partial, &data).map_err(failed)?;
        crash::point("segment-synced");
        let stream = self
            .streams
            .get(&open.stream)
            .ok_or_else(|| Error::bug("records came before their schema"))?;
        let sealed = Sealed {
            segment: Segment {
                id: SegmentId { job: self.job.clone(), number: open.number },
                stream: open.stream,
                records: open.records,
                rejected: open.rejected,
                bytes: open.bytes,
                weight: open.weight,
                version: open.version,
                activates: open.activates,
                state: self.state.take(),
            },
            stream: stream.clone(),
            passed: Some(self.rules.passed(stream)),
            after: Some(self.last.clone()),
            data,
            manifest: open.manifest,
            size_bytes,
        };
        let temporary = sealed.manifest.with_extension("tmp");
        let failed =
            |error| Error::io("cannot seal a segment", error).with("path", temporary.display());
        let mut file = File::create(&temporary).map_err(failed)?;
        file.write_all(&sealed.to_text()?).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        drop(file);
        fs::rename(&temporary, &sealed.manifest).map_err(failed)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        crash::point("segment-sealed");
        if let Some(state) = &sealed.segment.state {
            self.last.clone_from(state);
        }
        self.held_bytes.fetch_add(size_bytes, Ordering::Relaxed);
        self.sealed.push(sealed);
        Ok(())
    }

    /// Records in the segment that is open for this stream, and their weight.
    fn open(&self, stream: &StreamName) -> (u64, u64) {
        let open = self.open.as_ref().filter(|open| &open.stream == stream);
        open.map_or((0, 0), |open| (open.records, open.weight))
    }

    /// Starts a line in the buffer with the two fields every line has.
    fn lead(&mut self, extracted_at: &[u8]) {
        self.buffer.extend_from_slice(b"{\"_sdc_extracted_at\":\"");
        self.buffer.extend_from_slice(extracted_at);
        self.buffer.extend_from_slice(b"\",\"_sdc_sequence\":");
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = self.next_sequence.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.buffer.extend_from_slice(&digits[at..]);
        self.next_sequence += 1;
    }
}

impl Output for SpoolWriter {
    fn schema(&mut self, stream: &Stream) -> Result<()> {
        // A manifest holds one shape. What was written under the old one is sealed with it, unless
        // the new one merely extends it: then that serves for both.
        let extends = |old: &Stream| {
            old.key == stream.key
                && old.replication_key == stream.replication_key
                && old.version_fields == stream.version_fields
                && grown(&old.fields, &stream.fields)
        };
        if self.open.as_ref().is_some_and(|open| open.stream == stream.name)
            && self.streams.get(&stream.name).is_some_and(|old| !extends(old))
        {
            self.seal()?;
        }
        self.streams.insert(stream.name.clone(), stream.clone());
        Ok(())
    }

    fn records(&mut self, stream: &StreamName, records: Records<'_>) -> Result<()> {
        let extracted_at = stamp(records.extracted_at);
        let mut seen = 0;
        let mut unwritten = 0;
        let mut rest = records.text;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let line = &rest[..=end];
            rest = &rest[end + 1..];
            self.lead(extracted_at.as_bytes());
            self.buffer.push(b',');
            self.buffer.extend_from_slice(line.strip_prefix(b"{").unwrap_or(line));
            self.buffered += weight(line.len() as u64);
            seen += 1;
            unwritten += 1;
            let (records_open, weight_open) = self.open(stream);
            if records_open + unwritten >= self.limits.records
                || weight_open + self.buffered >= self.limits.weight
            {
                self.write(stream, records.version, unwritten, 0)?;
                unwritten = 0;
            }
        }
        if seen != records.count || !rest.is_empty() {
            return Err(Error::bug("a tap's count of records differs from its lines")
                .with("stream", stream)
                .with("count", records.count)
                .with("lines", seen));
        }
        self.write(stream, records.version, unwritten, 0)
    }

    fn rejected(&mut self, stream: &StreamName, rejected: &Rejected) -> Result<()> {
        let extracted_at = stamp(rejected.extracted_at);
        self.lead(extracted_at.as_bytes());
        self.buffer.extend_from_slice(b",\"_sdc_rejected\":{\"reason\":");
        bobbin_core::json::write_string(&mut self.buffer, &rejected.reason);
        self.buffer.extend_from_slice(b",\"record\":");
        bobbin_core::json::write_string(&mut self.buffer, &rejected.record);
        self.buffer.extend_from_slice(b"}}\n");
        self.buffered += weight(self.buffer.len() as u64);
        // It is no row, so its version does not matter: it goes where the stream's records go.
        let version = self.open.as_ref().filter(|open| &open.stream == stream);
        let version = version.and_then(|open| open.version);
        self.write(stream, version, 0, 1)
    }

    fn activate(&mut self, stream: &StreamName, version: i64) -> Result<()> {
        self.begin(stream, Some(version))?.activates = true;
        self.seal()
    }

    fn state(&mut self, state: &State) -> Result<()> {
        self.state = Some(state.clone());
        Ok(())
    }
}

/// Whether `new` declares everything that `old` does, in the same way.
fn grown(old: &Object, new: &Object) -> bool {
    old.properties.iter().all(|(name, old)| new.property(name).is_some_and(|new| same(old, new)))
}

fn same(old: &Schema, new: &Schema) -> bool {
    match (&old.kind, &new.kind) {
        (Kind::Object(old), Kind::Object(new)) => old.is_map() == new.is_map() && grown(old, new),
        (Kind::Array(old), Kind::Array(new)) => same(old, new),
        (old, new) => old == new,
    }
}

/// RFC 3339 in UTC with microseconds.
fn stamp(instant: Timestamp) -> String {
    format!("{instant:.6}")
}

/// A stream's name as a file name: anything unusual becomes `_` (the manifest has the real one).
fn file_name(stream: &StreamName) -> String {
    stream
        .as_str()
        .chars()
        .take(80)
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
        .collect()
}
