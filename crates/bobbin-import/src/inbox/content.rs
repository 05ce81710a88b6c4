//! What a request's file holds: one zstd frame with a checksum over everything, sealed or plain
//! (`bobbin_engine::sealed`).
//!
//! Its first line is the [`Header`]; then come the lines of its tables, each table's after the other's
//! (`Batch::lines`). One can read a plain one with `zstdcat`.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::path::Path;

use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_engine::sealed::{In, MAGIC, Out};
use bobbin_engine::vault::Vault;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::Batch;

/// The version of the form. A newer one is refused.
const FORM: u32 = 1;

/// Bytes of text in a file; a body's 20 MB come nowhere near it.
const MOST_TEXT: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
struct Header {
    form: u32,
    /// 64 random bits: what tells its records apart in tables without a key.
    mark: String,
    received: Timestamp,
    tables: Vec<Table>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Table {
    stream: Stream,
    declared: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    rows: u64,
    activations: u64,
    bytes: usize,
}

/// A request as it was read again.
pub(crate) struct Content {
    pub(crate) mark: String,
    pub(crate) received: Timestamp,
    pub(crate) sections: Vec<Section>,
    text: Vec<u8>,
}

/// One table of it.
pub(crate) struct Section {
    pub(crate) stream: Stream,
    /// Whether the client sent a schema.
    pub(crate) declared: bool,
    pub(crate) version: Option<i64>,
    pub(crate) rows: u64,
    lines: Range<usize>,
}

/// Why a file gives no request.
pub(crate) enum Fault {
    /// The file is damaged: why, and the tables in it as far as they can be made out.
    Damaged(String, Vec<StreamName>),
    /// It cannot be read now.
    Failed(Error),
}

/// Writes a request to `path`, durably but for its directory; gives the file's size.
pub(super) fn write(
    (path, vault): (&Path, Option<&Vault>),
    batches: &[Batch],
    mark: String,
    received: Timestamp,
) -> Result<u64> {
    let tables = batches.iter().map(|batch| Table {
        stream: batch.stream.clone(),
        declared: batch.declared,
        version: batch.version,
        rows: batch.rows,
        activations: batch.activations,
        bytes: batch.lines.len(),
    });
    let header = Header { form: FORM, mark, received, tables: tables.collect() };
    let mut header = serde_json::to_vec(&header)
        .map_err(|error| Error::bug("cannot write a request's header").caused_by(error))?;
    header.push(b'\n');
    let failed = |error| {
        Error::io("cannot write a request to the inbox", error).with("path", path.display())
    };
    let out = Out::begin(File::create_new(path).map_err(failed)?, vault)?;
    let write = || -> io::Result<u64> {
        let mut encoder = zstd::Encoder::new(out, 1)?;
        encoder.include_checksum(true)?;
        encoder.write_all(&header)?;
        for batch in batches {
            encoder.write_all(&batch.lines)?;
        }
        let file = encoder.finish()?.finish()?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    };
    write().map_err(failed)
}

impl Content {
    /// Reads a file whole and checks it, before anyone takes anything of it. One that is sealed opens with the
    /// key of `home`; while there is no key, no file is called damaged for that.
    pub(crate) fn read(path: &Path, home: &Path) -> Result<Self, Fault> {
        let failed = |error| {
            let error = Error::io("cannot read a request of the inbox", error);
            Fault::Failed(error.with("path", path.display()))
        };
        let file = match fs::read(path) {
            Ok(file) => file,
            // The disk itself cannot give it back: no later try will.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                return Err(Fault::Damaged(error.to_string(), Vec::new()));
            }
            Err(error) => return Err(failed(error)),
        };
        if file.starts_with(MAGIC) {
            Vault::open(home, false)
                .map_err(|error| Fault::Failed(error.with("path", path.display())))?;
        }
        let mut text = Vec::with_capacity(file.len() * 6);
        let decoded = In::begin(io::Cursor::new(file), home)
            .and_then(zstd::Decoder::new)
            .and_then(|decoder| decoder.take(MOST_TEXT).read_to_end(&mut text));
        let header = header(&text);
        if let Err(error) = decoded {
            let tables = header.map(|(header, _)| header.tables).unwrap_or_default();
            let tables = tables.into_iter().map(|table| table.stream.name).collect();
            return Err(Fault::Damaged(error.to_string(), tables));
        }
        let Some((header, mut at)) = header else {
            return Err(match form(&text) {
                Some(form) if form > FORM => Fault::Failed(
                    Error::new(ErrorKind::InvalidData, "a request was written by a newer bobbin")
                        .with("path", path.display())
                        .with("form", form)
                        .hint("run it with that version, or a newer one"),
                ),
                _ => Fault::Damaged("its header cannot be read".to_owned(), Vec::new()),
            });
        };
        let mut sections = Vec::new();
        for table in header.tables {
            let Table { stream, declared, version, rows, bytes, .. } = table;
            let lines = at..at.saturating_add(bytes);
            at = lines.end;
            sections.push(Section { stream, declared, version, rows, lines });
        }
        if at != text.len() {
            let tables = sections.into_iter().map(|section| section.stream.name).collect();
            return Err(Fault::Damaged("its header does not fit its lines".to_owned(), tables));
        }
        Ok(Self { mark: header.mark, received: header.received, sections, text })
    }

    /// The lines of a table.
    pub(crate) fn lines(&self, section: &Section) -> &[u8] {
        &self.text[section.lines.clone()]
    }

    /// Bytes of text.
    pub(crate) fn size(&self) -> usize {
        self.text.len()
    }
}

fn first_line(text: &[u8]) -> Option<&[u8]> {
    memchr::memchr(b'\n', text).map(|end| &text[..end])
}

/// The header and where the lines begin.
fn header(text: &[u8]) -> Option<(Header, usize)> {
    let line = first_line(text)?;
    let header: Header = serde_json::from_slice(line).ok()?;
    (header.form == FORM).then_some((header, line.len() + 1))
}

fn form(text: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Form {
        form: u32,
    }
    let form: Form = serde_json::from_slice(first_line(text)?).ok()?;
    Some(form.form)
}
