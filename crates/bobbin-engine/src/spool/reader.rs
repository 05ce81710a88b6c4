//! Reading a sealed segment, remembering whether the file itself was at fault.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use bobbin_core::{Error, Result};

use super::Sealed;
use crate::sealed::In;

/// The text of a sealed segment. Frame checksums are verified while reading.
pub struct SegmentReader {
    lines: BufReader<Watched>,
}

struct Watched {
    inner: zstd::Decoder<'static, BufReader<In>>,
    fault: Option<String>,
}

impl SegmentReader {
    /// Opens a segment.
    pub fn open(sealed: &Sealed) -> Result<Self> {
        let failed =
            |error| Error::io("cannot open a segment", error).with("path", sealed.data.display());
        let file = File::open(&sealed.data).map_err(failed)?;
        // HOME/spool/CONNECTION/JOB/FILE
        let home = sealed.data.ancestors().nth(4).unwrap_or(Path::new("."));
        let opened = In::begin(file, home).map_err(failed)?;
        let inner = zstd::Decoder::new(opened).map_err(failed)?;
        Ok(Self { lines: BufReader::with_capacity(1 << 20, Watched { inner, fault: None }) })
    }

    /// The reason, when a read failed because the file is damaged.
    pub fn fault(&self) -> Option<&str> {
        self.lines.get_ref().fault.as_deref()
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.fault = Some(error.to_string());
            }
        })
    }
}

impl Read for SegmentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lines.read(buffer)
    }
}

impl BufRead for SegmentReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.lines.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.lines.consume(amount);
    }
}
