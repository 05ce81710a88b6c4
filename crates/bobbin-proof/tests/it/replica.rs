//! What both destinations have in common for a test: load, commit, start again, read back.

use std::collections::BTreeMap;
use std::io::Cursor;

use bobbin_core::Result;
use bobbin_core::catalog::Stream;
use bobbin_core::destination::Loader;
use bobbin_core::id::SegmentId;
use bobbin_core::receipt::Receipt;
use bobbin_core::segment::Segment;
use bobbin_load::shape::layout::Arrays;
use bobbin_proof::check::{Found, Rules};
use bobbin_proof::whole::Whole;

/// A way in which a destination can be set up. Every test of the corpus and the properties runs in
/// each of them: add a mode to [`MODES`], with what may change in it as its rules. Where a mode keeps
/// arrays in tables of their own, [`Replica::read`] puts them together again, as one
/// [`Cell::List`](bobbin_proof::check::Cell) for the path of each outermost array.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    /// Part of the snapshots' names.
    pub(crate) name: &'static str,
    pub(crate) duckdb: fn(&mut bobbin_duckdb::Config),
    pub(crate) postgres: fn(&mut bobbin_postgres::Config),
    pub(crate) rules: fn(Rules) -> Rules,
}

/// The modes.
pub(crate) const MODES: &[Mode] = &[
    Mode {
        name: "lists",
        duckdb: |_| (),
        postgres: |config| config.layout.arrays = Arrays::Columns,
        rules: |rules| rules,
    },
    Mode {
        name: "tables",
        duckdb: |config| config.layout.arrays = Arrays::Tables,
        postgres: |config| config.layout.arrays = Arrays::Tables,
        rules: |rules| Rules { items_are_rows: true, ..rules },
    },
];

/// A table as it was read back, with the items of its arrays.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Table {
    /// The rows by sequence; a sequence that occurs twice is an error of its own.
    pub(crate) rows: BTreeMap<i64, Vec<Found>>,
    /// Sequences in the table more often than once.
    pub(crate) twice: Vec<i64>,
    /// Rows of arrays' tables that are no record's, or not in their place.
    pub(crate) strays: Vec<String>,
    /// Records set aside: reason and record.
    pub(crate) rejected: Vec<(String, String)>,
}

impl Table {
    pub(crate) fn new(whole: Whole, rejected: Vec<(String, String)>) -> Self {
        Self { rows: whole.rows, twice: whole.twice, strays: whole.strays, rejected }
    }
}

/// A destination of the test's own.
pub(crate) trait Replica {
    /// Part of the snapshots' names.
    fn name(&self) -> &'static str;
    /// What it may change in a value.
    fn rules(&self) -> Rules;
    /// Empty, as if nothing had ever been loaded.
    fn renew(&mut self);
    /// From the next session on set up in another way, with what is there.
    fn choose(&mut self, mode: Mode);
    /// Does what a person may do. Call it without an open session.
    fn execute(&self, sql: &str);
    /// The first column, as text, of what a person asks. Call it without an open session.
    fn query(&self, sql: &str) -> Vec<String>;
    /// A session.
    fn open(&self, job: &str) -> Box<dyn Loader>;
    /// What a stream's table holds. Call it without an open session.
    fn read(&self, stream: &str) -> Table;
}

/// Both destinations in every mode.
pub(crate) fn each(mut run: impl FnMut(&mut dyn Replica, Mode)) {
    for mode in MODES {
        run(&mut crate::duckdb::File::new(*mode), *mode);
        run(&mut crate::postgres::Base::new(*mode), *mode);
    }
}

/// Loads lines as one segment of the open round.
pub(crate) fn load(
    loader: &mut Box<dyn Loader>,
    stream: &Stream,
    job: &str,
    number: u64,
    lines: &[Vec<u8>],
) -> Result<Receipt> {
    load_version(loader, stream, (job, number), (None, false), lines)
}

/// The same of a version, which may be whole with it.
pub(crate) fn load_version(
    loader: &mut Box<dyn Loader>,
    stream: &Stream,
    (job, number): (&str, u64),
    (version, activates): (Option<i64>, bool),
    lines: &[Vec<u8>],
) -> Result<Receipt> {
    let mut text = lines.join(&b'\n');
    if !lines.is_empty() {
        text.push(b'\n');
    }
    let segment = Segment {
        id: SegmentId { job: job.into(), number },
        stream: stream.name.clone(),
        records: lines.len() as u64,
        rejected: 0,
        bytes: text.len() as u64,
        weight: text.len() as u64,
        version,
        activates,
        state: None,
    };
    loader.load(stream, &segment, &mut Cursor::new(text))
}
