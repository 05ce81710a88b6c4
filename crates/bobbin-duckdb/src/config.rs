//! What a person may set.

use std::path::PathBuf;

use bobbin_load::shape::layout::Layout;
use serde::Deserialize;

/// Where the database file is, and how much of the machine DuckDB may use.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The database file; made when it is missing, its directory is not.
    pub path: PathBuf,
    /// Mebibytes DuckDB may keep in its buffers while loading. The process needs some 100 more.
    #[serde(default = "memory_limit_mb")]
    pub memory_limit_mb: u32,
    /// Threads DuckDB may use beside the one that converts.
    #[serde(default = "threads")]
    pub threads: u32,
    /// Rows per commit. The default is one row group, which goes straight into the file; other
    /// numbers are slower and cost more memory.
    #[serde(default = "rows_per_commit")]
    pub rows_per_commit: u64,
    /// How tables look. Default: arrays are columns.
    #[serde(skip)]
    pub layout: Layout,
}

impl Config {
    /// The defaults, with the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            memory_limit_mb: memory_limit_mb(),
            threads: threads(),
            rows_per_commit: rows_per_commit(),
            layout: Layout::default(),
        }
    }
}

fn memory_limit_mb() -> u32 {
    72
}

fn threads() -> u32 {
    1
}

fn rows_per_commit() -> u64 {
    16_384
}
