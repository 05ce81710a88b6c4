//! Lines that wait to be loaded.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};

use bobbin_core::{Error, Result};

/// Bytes that wait in memory.
const IN_MEMORY: usize = 1 << 20;

/// Lines in the order they came: the latest in memory, what is more than a mebibyte in a file without a
/// name in the directory for temporary files, which goes when the process ends, however it does.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    latest: Vec<u8>,
    file: Option<File>,
    in_file: u64,
}

impl Lines {
    /// Bytes in all.
    pub(crate) fn bytes(&self) -> u64 {
        self.in_file + self.latest.len() as u64
    }

    /// Where the next line is written; [`end_line`](Self::end_line) ends it.
    pub(crate) fn line(&mut self) -> &mut Vec<u8> {
        &mut self.latest
    }

    /// Writes more of a line; a long piece is not copied.
    ///
    /// # Errors
    /// When the file cannot be made or written, as on a full disk.
    pub(crate) fn append(&mut self, piece: &[u8]) -> Result<()> {
        if piece.len() < IN_MEMORY {
            self.latest.extend_from_slice(piece);
            return Ok(());
        }
        self.put_aside()?;
        self.write(piece)
    }

    /// Ends a line.
    ///
    /// # Errors
    /// When the file cannot be made or written, as on a full disk.
    pub(crate) fn end_line(&mut self) -> Result<()> {
        self.latest.push(b'\n');
        if self.latest.len() < IN_MEMORY { Ok(()) } else { self.put_aside() }
    }

    /// Forgets everything after so many bytes: what is left of a line that could not be written.
    pub(crate) fn cut(&mut self, bytes: u64) {
        let in_memory = bytes.saturating_sub(self.in_file);
        self.in_file = self.in_file.min(bytes);
        self.latest.truncate(in_memory as usize);
    }

    /// Moves what is in memory to the file.
    fn put_aside(&mut self) -> Result<()> {
        let mut latest = std::mem::take(&mut self.latest);
        self.write(&latest)?;
        latest.clear();
        latest.shrink_to(2 * IN_MEMORY);
        self.latest = latest;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let failed = |error| {
            Error::io("cannot write waiting records to a temporary file", error)
                .with("directory", std::env::temp_dir().display())
                .hint("make room there, or set TMPDIR to a directory that has some")
        };
        let file = match &mut self.file {
            Some(file) => {
                // A reading may have left it elsewhere.
                file.seek(SeekFrom::Start(self.in_file)).map_err(failed)?;
                file
            }
            empty => empty.insert(tempfile::tempfile().map_err(failed)?),
        };
        file.write_all(bytes).map_err(failed)?;
        self.in_file += bytes.len() as u64;
        Ok(())
    }

    /// All lines, from the first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn read(&mut self) -> Result<impl BufRead + '_> {
        let failed = |error| Error::io("cannot read waiting records", error);
        let before: Box<dyn BufRead + '_> = match &mut self.file {
            Some(file) => {
                file.rewind().map_err(failed)?;
                Box::new(BufReader::with_capacity(256 << 10, file.take(self.in_file)))
            }
            None => Box::new(std::io::empty()),
        };
        Ok(before.chain(self.latest.as_slice()))
    }

    /// Forgets all lines.
    ///
    /// # Errors
    /// When the file cannot be emptied.
    pub(crate) fn clear(&mut self) -> Result<()> {
        self.latest.clear();
        self.in_file = 0;
        let Some(file) = &mut self.file else { return Ok(()) };
        file.rewind()
            .and_then(|()| file.set_len(0))
            .map_err(|error| Error::io("cannot empty the temporary file of waiting records", error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    #[test]
    fn lines_come_back_as_they_went_as_often_as_asked() {
        let mut lines = Lines::default();
        for round in 0..3 {
            let mut all = Vec::new();
            for n in 0..200 {
                let line =
                    vec![b'a' + n as u8 % 26; if n == 99 { 3 << 20 } else { n * 499 + round }];
                lines.line().push(b'>');
                lines.append(&line).unwrap();
                lines.end_line().unwrap();
                all.push(b'>');
                all.extend_from_slice(&line);
                all.push(b'\n');
                if n == 150 {
                    // A reading in between, as of an attempt that failed, changes nothing.
                    assert_eq!(lines.read().unwrap().split(b'\n').count(), n + 1);
                }
            }
            assert!(lines.in_file > 0 && !lines.latest.is_empty());
            assert_eq!(lines.bytes(), all.len() as u64);
            for _ in 0..2 {
                let mut back = Vec::new();
                lines.read().unwrap().read_to_end(&mut back).unwrap();
                assert!(back == all);
            }
            lines.line().extend_from_slice(b"half a line");
            lines.append(&vec![b'x'; 2 << 20]).unwrap();
            lines.cut(all.len() as u64);
            let mut back = Vec::new();
            lines.read().unwrap().read_to_end(&mut back).unwrap();
            assert!(back == all);
            lines.clear().unwrap();
            assert_eq!((lines.bytes(), lines.read().unwrap().lines().count()), (0, 0));
        }
    }
}
