//! What a destination's tables can be like.

/// The limits of a destination. The default is for one that hardly has any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Longest name of a table or column, in bytes.
    pub name_bytes: usize,
    /// Longest name of a column under Stitch's naming, which leaves room for a suffix
    /// (`stitch-behaviour.md` 8.2).
    pub stitch_column_bytes: usize,
    /// Most columns of a table. Undeclared fields beyond it go to one JSON column.
    pub columns: usize,
    /// Names no column may have.
    pub reserved: &'static [&'static str],
    /// Whether two names that differ in case alone are two names.
    pub case_sensitive: bool,
    /// Longest key, in bytes of its values together; for destinations that keep an index.
    pub key_bytes: Option<usize>,
    /// Whether a key's text may hold the character NUL.
    pub nul_in_keys: bool,
    /// Whether a batch keeps its records' text: for destinations that may refuse single rows.
    pub keep_records: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            name_bytes: 255,
            stitch_column_bytes: 251,
            columns: 1_600,
            reserved: &[],
            case_sensitive: false,
            key_bytes: None,
            nul_in_keys: true,
            keep_records: false,
        }
    }
}
