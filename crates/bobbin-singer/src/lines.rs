//! Whole lines out of a pipe, many at once.

use std::io::{self, BufRead, BufReader, Read};

/// Bytes of one line that are too many for any record.
pub(crate) const MOST_LINE: usize = 256 << 20;

/// Bytes handed over at once.
const BLOCK: usize = 256 << 10;

/// Reads to the end and hands over blocks of whole lines; only the last one may lack its newline.
/// What is there is handed over without waiting for more. A false from `take` ends the reading.
pub(crate) fn blocks(input: impl Read, mut take: impl FnMut(Vec<u8>) -> bool) -> io::Result<()> {
    let mut input = BufReader::with_capacity(BLOCK, input);
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        let ended = loop {
            let most = MOST_LINE as u64 + 1;
            let start = block.len();
            match input.by_ref().take(most).read_until(b'\n', &mut block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(0) => break true,
                Ok(_) if block.len() - start > MOST_LINE => {
                    let kind = io::ErrorKind::InvalidData;
                    return Err(io::Error::new(kind, format!("a line has over {MOST_LINE} bytes")));
                }
                Ok(_) if block.len() >= BLOCK || input.buffer().is_empty() => break false,
                Ok(_) => {}
            }
        };
        if (!block.is_empty() && !take(block)) || ended {
            return Ok(());
        }
    }
}
