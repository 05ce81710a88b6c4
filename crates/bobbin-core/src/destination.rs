//! Seam B: a destination opens a loader; what a loader commits is durable.

use std::io::BufRead;

use jiff::Timestamp;

use crate::catalog::Stream;
use crate::held::{HeldTable, Sample};
use crate::id::{JobId, SchemaName, SegmentId, StreamName};
use crate::plan::TablePlan;
use crate::receipt::Receipt;
use crate::rejected::{RejectedList, RejectedQuery, Taken};
use crate::segment::Segment;
use crate::state::State;
use crate::tap::{Check, Context};
use crate::{Error, Result};

/// A place for tables.
pub trait Destination: Send + Sync {
    /// What it is, for example `duckdb`.
    fn name(&self) -> &str;

    /// Whether a version of a table that is whole takes the place of the others.
    fn replaces(&self) -> bool {
        true
    }

    /// Tests that it can be reached and that tables in `schema` can be written. Changes nothing
    /// that stays.
    fn check(&self, cx: &Context<'_>, schema: &SchemaName) -> Result<Check>;

    /// Rows per commit that suit the destination best. The engine seals segments of exactly this
    /// many records and commits as soon as it has them; smaller ones are gathered.
    fn rows_per_commit(&self) -> u64 {
        50_000
    }

    /// Opens a session that alone may write the tables in `schema` until it is dropped.
    fn open(&self, cx: &Context<'_>, schema: &SchemaName, job: &JobId) -> Result<Box<dyn Loader>>;

    /// What loading records of `streams` would change: every table with its columns, named as
    /// loading would name them. Changes nothing, also where nothing was ever loaded. A table that
    /// cannot be loaded is planned as [`crate::plan::TableState::Stops`] and keeps none of the
    /// others back.
    ///
    /// # Errors
    /// When the destination cannot be asked, or is a foreign program.
    fn plan(
        &self,
        cx: &Context<'_>,
        schema: &SchemaName,
        streams: &[Stream],
    ) -> Result<Vec<TablePlan>> {
        let _ = (cx, schema, streams);
        Err(Error::config("a foreign target says nothing about the tables it makes")
            .with("destination", self.name())
            .hint("bobbin plan works for destinations of type duckdb and postgres"))
    }

    /// The records that were set aside. Changes nothing; none where nothing was ever loaded.
    ///
    /// # Errors
    /// When the destination cannot be asked, or is a foreign program.
    fn rejected(
        &self,
        cx: &Context<'_>,
        schema: &SchemaName,
        query: &RejectedQuery,
    ) -> Result<RejectedList> {
        let _ = (cx, schema, query);
        Err(Error::config("a foreign target cannot be asked for the records set aside")
            .with("destination", self.name())
            .hint("they were sent to it as the stream rejected_records; look for them there"))
    }

    /// The tables in `schema` with their columns, by name; none where nothing was ever loaded. Changes nothing.
    ///
    /// # Errors
    /// When the destination cannot be asked, or is a foreign program.
    fn held(&self, cx: &Context<'_>, schema: &SchemaName) -> Result<Vec<HeldTable>> {
        let _ = (cx, schema);
        Err(unseen(self.name()))
    }

    /// The first rows of one of them, at most `most`, in no order, each value cut at [`MOST_CELL`]
    /// characters. Changes nothing.
    ///
    /// # Errors
    /// Of kind `NotFound` when there is no such table; else as for [`Destination::held`].
    fn sample(
        &self,
        cx: &Context<'_>,
        schema: &SchemaName,
        table: &str,
        most: usize,
    ) -> Result<Sample> {
        let _ = (cx, schema, table, most);
        Err(unseen(self.name()))
    }
}

/// Characters of a value that a [`Sample`] shows.
pub const MOST_CELL: usize = 300;

fn unseen(destination: &str) -> Error {
    Error::config("a foreign target cannot be looked into")
        .with("destination", destination)
        .hint("look at its tables with the tools of that warehouse")
}

/// A fenced session with a destination. Calls, in order: [`Loader::recover`] once, then any
/// number of rounds of [`Loader::load`] calls ended by one [`Loader::commit`], then
/// [`Loader::finish`].
pub trait Loader: Send {
    /// What the destination already holds for this connection. It wins over any local record.
    fn recover(&mut self) -> Result<Recovered>;

    /// Adds one segment's rows to the open round. Nothing is durable or visible yet. A segment
    /// that the destination already holds is skipped and gives a receipt of zeros. Records the
    /// destination cannot take become rejected rows of the same round, with their reason.
    fn load(
        &mut self,
        stream: &Stream,
        segment: &Segment,
        lines: &mut dyn BufRead,
    ) -> Result<Receipt>;

    /// Takes back, within the open round, records of the stream's tables that were set aside before
    /// `before` and kept whole: at most `most`, oldest first, as lines to be [loaded](Self::load) in
    /// the same round. They are gone from the records set aside once the round is committed, and
    /// still there when it is not.
    ///
    /// # Errors
    /// As for [`Loader::load`]; the round is then to be rolled back.
    fn take_rejected(&mut self, stream: &Stream, before: Timestamp, most: u64) -> Result<Taken> {
        let _ = (before, most);
        Err(Error::config("this destination cannot take records back that were set aside")
            .with("stream", &stream.name))
    }

    /// Makes the round durable: rows, rejected rows, the segments' names and `state` together or
    /// not at all. On an error the round is rolled back and may be repeated.
    fn commit(&mut self, state: Option<&State>) -> Result<()>;

    /// Drops the open round, if any.
    fn rollback(&mut self) -> Result<()>;

    /// Tidies up at the end of a job (for example writes a checkpoint).
    fn finish(self: Box<Self>) -> Result<()>;
}

/// What a destination holds of a connection.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The state committed with the latest rows.
    pub state: Option<State>,
    /// Segments that are durable, as far as they may still be in a spool.
    pub segments: Vec<SegmentId>,
    /// The greatest `_sdc_sequence` committed, so that the next job can start above it.
    pub sequence: Option<i64>,
    /// Streams whose table was made and is not there any more.
    pub lost: Vec<StreamName>,
}
