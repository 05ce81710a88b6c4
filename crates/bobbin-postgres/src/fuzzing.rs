//! An entry for fuzzing: rows as COPY sends them. Only there with the feature `fuzzing`, which no
//! program turns on.

use bobbin_core::Result;
use bobbin_load::shape::batch::Batch;
use bobbin_load::shape::types::ColumnType;

use crate::copy::{Field, Rows};

/// Encoded rows.
#[derive(Debug)]
pub struct Encoded {
    /// The rows, without header and trailer.
    pub bytes: Vec<u8>,
    /// Where each row ends.
    pub ends: Vec<usize>,
    /// Characters and numbers that were replaced.
    pub mended: u64,
}

/// Encodes all rows of a batch; `types` are those of its columns.
///
/// # Errors
/// When an array is not of its type.
pub fn encode(batch: &Batch, types: &[ColumnType]) -> Result<Encoded> {
    let fields = batch
        .columns
        .iter()
        .zip(types)
        .map(|((_, array), ty)| Field::new(*ty, Some(array)))
        .collect::<Result<Vec<_>>>()?;
    let mut rows = Rows::default();
    for row in 0..batch.rows {
        let extracted = batch.extracted_at[row];
        rows.push(&fields, row, [extracted; 3], [batch.sequence[row], 1]);
    }
    Ok(Encoded { bytes: rows.bytes, ends: rows.ends, mended: rows.mended })
}
