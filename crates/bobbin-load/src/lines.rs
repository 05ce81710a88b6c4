//! Lines of a segment, one at a time, none of them longer than what memory is meant to hold.

use std::io::{self, BufRead};

/// Bytes of the longest line taken (20 MB as in Stitch, `stitch-behaviour.md` 7.11 and C3).
pub const MAX_LINE_BYTES: usize = 20 << 20;

/// What the next line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line without its line break.
    Whole(&'a [u8]),
    /// A line longer than the limit: its beginning, and its length in all.
    Long {
        /// The first bytes, as many as the caller asked to keep.
        start: &'a [u8],
        /// Bytes in all.
        bytes: u64,
    },
}

/// Reads lines into one buffer that is used again.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next line, or nothing at the end. A line longer than `limit` is read past, keeping
    /// `keep` bytes.
    pub fn next<'a>(
        &'a mut self,
        from: &mut dyn BufRead,
        limit: usize,
        keep: usize,
    ) -> io::Result<Option<Line<'a>>> {
        self.buffer.clear();
        if self.buffer.capacity() > 1 << 20 {
            // One huge record must not hold its memory for ever.
            self.buffer.shrink_to(1 << 20);
        }
        let mut total = 0u64;
        let mut ended = false;
        while !ended {
            let available = match from.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                if total == 0 {
                    return Ok(None);
                }
                break;
            }
            let (used, part) = match memchr::memchr(b'\n', available) {
                Some(at) => {
                    ended = true;
                    (at + 1, &available[..at])
                }
                None => (available.len(), available),
            };
            total += part.len() as u64;
            if total <= limit as u64 {
                self.buffer.extend_from_slice(part);
            } else if self.buffer.len() < keep {
                let room = (keep - self.buffer.len()).min(part.len());
                self.buffer.extend_from_slice(&part[..room]);
            }
            from.consume(used);
            if used == 1 && total == 0 {
                break;
            }
        }
        if total <= limit as u64 {
            return Ok(Some(Line::Whole(&self.buffer)));
        }
        self.buffer.truncate(keep);
        Ok(Some(Line::Long { start: &self.buffer, bytes: total }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use std::io::{BufReader, Cursor};

    use super::*;

    fn all(text: &str, limit: usize, keep: usize) -> Vec<String> {
        let mut from = BufReader::with_capacity(3, Cursor::new(text.as_bytes().to_vec()));
        let mut lines = Lines::new();
        let mut out = Vec::new();
        while let Some(line) = lines.next(&mut from, limit, keep).unwrap() {
            out.push(match line {
                Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                Line::Long { start, bytes } => {
                    format!("{}+{bytes}", String::from_utf8_lossy(start))
                }
            });
        }
        out
    }

    #[test]
    fn lines_come_whole_and_long_ones_are_cut() {
        assert_eq!(all("a\nbcd\n\nefghij\nk", 10, 2), ["a", "bcd", "", "efghij", "k"]);
        assert_eq!(all("a\nbcdefghij\nk\n", 5, 3), ["a", "bcd+9", "k"]);
        assert_eq!(all("", 5, 3), Vec::<String>::new());
    }
}
