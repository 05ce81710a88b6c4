//! Keys that PostgreSQL's primary key cannot hold. Other values are mended or found by the server;
//! a key must be known beforehand: mended it would be another record's, and too long for the index
//! it would go into the temporary table and fail the merge for all its neighbours.

use arrow::array::{AsArray, StringArray};
use bobbin_load::shape::batch::Batch;

/// Bytes of all texts of a key: an index holds 2,704 with all that goes with them.
const MOST_BYTES: usize = 2_600;

/// The key columns that hold text.
pub(crate) fn texts(batch: &Batch) -> Vec<&StringArray> {
    let columns = batch.keys.iter().filter_map(|&position| batch.column(position));
    columns.filter_map(|column| column.as_string_opt()).collect()
}

/// Why a row's key cannot be held, if it cannot.
pub(crate) fn unfit(texts: &[&StringArray], row: usize) -> Option<String> {
    let bytes: usize = texts.iter().map(|text| text.value(row).len()).sum();
    if bytes > MOST_BYTES {
        return Some(format!(
            "PostgreSQL cannot hold the key: it is {bytes} bytes long, its indexes take {MOST_BYTES}"
        ));
    }
    texts
        .iter()
        .any(|text| text.value(row).as_bytes().contains(&0))
        .then(|| "PostgreSQL cannot hold the key: the character NUL is in it".to_owned())
}
