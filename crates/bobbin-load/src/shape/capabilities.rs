//! What a destination's tables can be like.

/// The limits of a destination. The default is for one that hardly has any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Longest name of a table or column, in bytes.
    pub name_bytes: usize,
    /// Most columns of a table. Undeclared fields beyond it go to one JSON column.
    pub columns: usize,
    /// Names no column may have.
    pub reserved: &'static [&'static str],
    /// Whether a batch keeps its records' text: for destinations that may refuse single rows.
    pub keep_records: bool,
}

impl Default for Capabilities {
    /// Tables get slow to read and write beyond some thousand columns.
    fn default() -> Self {
        Self { name_bytes: 255, columns: 1_600, reserved: &[], keep_records: false }
    }
}
