//! A segment's lines, through the converter, as batches.

use std::io::BufRead;

use bobbin_core::cancel::Cancel;
use bobbin_core::{Error, Result};

use crate::lines::{Line, Lines, MAX_LINE_BYTES};
use crate::shape::batch::Batch;
use crate::shape::convert::{Converter, REJECTED_BYTES};

/// Reads a segment's lines and hands over batches until the end, an error, or nobody takes them.
///
/// # Errors
/// When the lines cannot be read, and on a stop.
pub fn feed(
    converter: &mut Converter,
    from: &mut dyn BufRead,
    cancel: &Cancel,
    mut send: impl FnMut(Batch) -> bool,
) -> Result<()> {
    let mut lines = Lines::new();
    loop {
        let line = lines
            .next(from, MAX_LINE_BYTES, REJECTED_BYTES)
            .map_err(|error| Error::io("cannot read the segment", error))?;
        match line {
            Some(Line::Whole(line)) => converter.line(line),
            Some(Line::Long { start, bytes }) => converter.reject(
                format!("the record is {bytes} bytes long, more than {MAX_LINE_BYTES}"),
                &String::from_utf8_lossy(start),
            ),
            None => break,
        }
        if converter.is_full() {
            cancel.check()?;
            if let Some(batch) = converter.finish()
                && !send(batch)
            {
                return Ok(());
            }
        }
    }
    if let Some(batch) = converter.finish() {
        send(batch);
    }
    Ok(())
}
