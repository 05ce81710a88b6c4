//! Loading again what was set aside.
//!
//! Records leave `_sdc_rejected` in the very transaction that makes them rows, or sets them aside
//! anew with the reason they have now. Whatever ends the process in between, each of them is in
//! one of the places.

use std::io::Cursor;

use bobbin_core::catalog::Stream;
use bobbin_core::crash;
use bobbin_core::destination::{Destination, Loader};
use bobbin_core::id::{ConnectionId, JobId, SchemaName, SegmentId};
use bobbin_core::report::Event;
use bobbin_core::segment::Segment;
use bobbin_core::selection::Selection;
use bobbin_core::tap::{Context, Tap};
use bobbin_core::{Error, ErrorKind, Party, Result};
use jiff::Timestamp;
use serde::Serialize;

use crate::columns::informed;
use crate::course::not_replaced;
use crate::engine::{Engine, job_id};
use crate::hold::Hold;
use crate::ledger::Ledger;
use crate::treat::{Again, Rules};

/// Records of one round. None is longer than 64 KiB, which bounds the memory.
const ROUND: u64 = 500;

/// What to load again.
pub struct RetryRequest<'a> {
    /// Whose records.
    pub connection: &'a ConnectionId,
    /// Where in the destination its tables are.
    pub schema: &'a SchemaName,
    /// Tells the streams' schemas.
    pub tap: &'a dyn Tap,
    /// Where they were set aside.
    pub destination: &'a dyn Destination,
    /// What was chosen.
    pub selection: &'a Selection,
    /// Only the stream with this table.
    pub table: Option<&'a str>,
}

/// What became of one stream's records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Retried {
    /// The stream.
    pub stream: String,
    /// Records taken back.
    pub tried: u64,
    /// Of these, rows now.
    pub loaded: u64,
    /// Of these, older than what the table holds by now.
    pub unchanged: u64,
    /// Of these, set aside again.
    pub rejected: u64,
    /// Why the stream's tables cannot be loaded; its records stay set aside.
    pub stopped: Option<String>,
}

impl Engine {
    /// Loads again the records that the destination set aside and kept whole; those refused again
    /// are set aside again with their new reason. Streams with nothing to try are left out.
    ///
    /// # Errors
    /// When another job of the connection is running, the source cannot be asked for its schemas, or
    /// the destination fails; what was committed by then stays good.
    pub fn retry_rejected(
        &self,
        cx: Context<'_>,
        request: &RetryRequest<'_>,
    ) -> Result<Vec<Retried>> {
        // As for a job: nobody else may write these tables meanwhile.
        let hold = Hold::take(self, request.connection, cx.clock.now())?;
        hold.keep(cx.clock, || retry_all(cx, request, &*hold.ledger))?
    }
}

/// Streams one by one, with the connection in hand.
fn retry_all(
    cx: Context<'_>,
    request: &RetryRequest<'_>,
    ledger: &dyn Ledger,
) -> Result<Vec<Retried>> {
    let catalog = request.tap.discover(&cx)?.catalog;
    let mut streams: Vec<&Stream> = catalog.streams.iter().collect();
    streams.retain(|stream| request.selection.contains(&stream.name));
    if let Some(table) = request.table {
        streams = vec![stream_of(&streams, table)?];
    }
    let started = cx.clock.now();
    let job = job_id(started);
    let destinations = |error: Error| error.of(Party::Destination);
    let mut loader = request.destination.open(&cx, request.schema, &job).map_err(destinations)?;
    let recovered = loader.recover().map_err(destinations)?;
    let state = recovered.state.as_ref();
    let selection = informed(ledger, request.connection, request.selection, state)?;
    let rules = Rules::of(&selection)?;
    let lost = recovered.lost;
    if let Some(state) = &recovered.state {
        not_replaced(state, streams.iter().map(|stream| &stream.name))?;
    }
    let mut retry = Retry { cx, loader: &mut *loader, job, started, number: 0 };
    let mut all = Vec::new();
    for stream in streams {
        if lost.contains(&stream.name) {
            // Made anew by this, it would look as if all of it were there.
            all.push(Retried {
                stopped: Some(
                    "its table is not there any more; run first, which makes it again".to_owned(),
                ),
                ..Retried::of(stream)
            });
            continue;
        }
        let again = rules.again(stream, None);
        let stream = selection.prune(stream);
        let retried = retry.stream(&stream, again).map_err(destinations)?;
        if retried.tried > 0 || retried.stopped.is_some() {
            all.push(retried);
        }
    }
    loader.finish().map_err(destinations)?;
    Ok(all)
}

impl Retried {
    /// Nothing tried yet.
    fn of(stream: &Stream) -> Self {
        let stream = stream.name.to_string();
        Self { stream, tried: 0, loaded: 0, unchanged: 0, rejected: 0, stopped: None }
    }
}

/// The stream that a table belongs to: its own, or one of its arrays.
fn stream_of<'a>(streams: &[&'a Stream], table: &str) -> Result<&'a Stream> {
    let belongs = |stream: &&&Stream| {
        let rest = table.strip_prefix(stream.name.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("__"))
    };
    let found = streams.iter().filter(belongs).max_by_key(|stream| stream.name.as_str().len());
    found.copied().ok_or_else(|| {
        let known: Vec<_> = streams.iter().map(|stream| stream.name.as_str()).collect();
        Error::config(format!("there is no table `{table}` among those chosen"))
            .hint(format!("there are: {}", known.join(", ")))
    })
}

struct Retry<'a> {
    cx: Context<'a>,
    loader: &'a mut dyn Loader,
    job: JobId,
    started: Timestamp,
    number: u64,
}

impl Retry<'_> {
    /// What was set aside may be from before the rules of now: `again` is what those do.
    fn stream(&mut self, stream: &Stream, mut again: Option<Again<'_>>) -> Result<Retried> {
        let mut retried = Retried::of(stream);
        // Even with a clock that is set back nothing is tried twice.
        let mut all = None;
        while all.is_none_or(|all| retried.tried < all) {
            self.cx.cancel.check()?;
            match self.round(stream, again.as_mut(), &mut retried) {
                Ok((0, _)) => break,
                Ok((tried, left)) => {
                    all.get_or_insert(tried + left);
                }
                Err(error) => {
                    self.loader.rollback()?;
                    if error.kind() != ErrorKind::SchemaConflict {
                        return Err(error);
                    }
                    retried.stopped = Some(error.report());
                    break;
                }
            }
        }
        Ok(retried)
    }

    /// One transaction: gives how many records it tried, and how many are left.
    fn round(
        &mut self,
        stream: &Stream,
        again: Option<&mut Again<'_>>,
        retried: &mut Retried,
    ) -> Result<(u64, u64)> {
        let mut taken = self.loader.take_rejected(stream, self.started, ROUND)?;
        if let Some(again) = again {
            taken.lines = again.lines(&taken.lines).map_err(|error| {
                Error::new(ErrorKind::InvalidData, "a record set aside cannot be read any more")
                    .with("stream", &stream.name)
                    .hint("its text was altered: delete it, or take the rules for columns out")
                    .caused_by(error)
            })?;
        }
        if taken.records == 0 {
            self.loader.rollback()?;
            return Ok((0, 0));
        }
        self.number += 1;
        let segment = Segment {
            id: SegmentId { job: self.job.clone(), number: self.number },
            stream: stream.name.clone(),
            records: taken.records,
            rejected: 0,
            bytes: taken.lines.len() as u64,
            weight: taken.lines.len() as u64,
            version: None,
            activates: false,
            state: None,
        };
        let receipt = self.loader.load(stream, &segment, &mut Cursor::new(&taken.lines))?;
        let told = receipt.loaded + receipt.superseded + receipt.rejected;
        if told != taken.records {
            return Err(Error::bug("a loader did not account for every record")
                .with("segment", &segment.id)
                .with("records", taken.records)
                .with("accounted", told));
        }
        crash::point("segment-loaded");
        crash::point("before-commit");
        self.loader.commit(None)?;
        crash::point("after-commit");
        for change in receipt.changes {
            self.cx.log.event(Event::TableChanged { change });
        }
        retried.tried += taken.records;
        retried.loaded += receipt.loaded;
        retried.unchanged += receipt.superseded;
        retried.rejected += receipt.rejected;
        Ok((taken.records, taken.left))
    }
}
