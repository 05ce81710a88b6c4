//! What a job did, as data: the closing summary, kept in the ledger.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bobbin_core::id::{ConnectionId, JobId, StreamName};
use bobbin_core::report::{Event, JobLog, Level};
use bobbin_core::{ErrorKind, Party};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a job ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every chosen stream holds everything up to its bound, and it is durable.
    Complete,
    /// It ended in order, but something is missing and named.
    Incomplete,
    /// It was asked to stop; what was committed is good.
    Interrupted,
    /// It could not go on; what was committed is good.
    Failed,
}

impl Outcome {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

/// One job, told to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// Which job.
    pub job: JobId,
    /// Of which connection.
    pub connection: ConnectionId,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Per chosen stream, in the order of extraction.
    pub tables: Vec<TableReport>,
    /// Calls made to the source, answered or not.
    pub calls: u64,
    /// Calls whose answer could not be used and were made again or given up.
    pub calls_wasted: u64,
    /// Seconds spent waiting for the source's rate limit, summed over waiting calls.
    pub rate_wait_seconds: f64,
    /// Bytes of record text extracted.
    pub bytes: u64,
    /// Segments of earlier jobs that this job loaded first.
    pub resumed_segments: u64,
    /// Changes made to tables.
    pub changes: Vec<String>,
    /// Warnings and errors along the way, each a line.
    pub notices: Vec<String>,
    /// Why it failed, in full, when it did.
    pub error: Option<String>,
    /// Where it failed: `discovery`, `tap` or `target` (F-58).
    #[serde(default)]
    pub failed_in: Option<Phase>,
    /// The error's kind and on whose side it happened, for the exit status.
    #[serde(skip)]
    pub failure: Option<(ErrorKind, Party)>,
}

/// A step of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Asking the source what there is.
    Discovery,
    /// Extracting.
    Tap,
    /// Loading.
    Target,
}

/// One stream and its table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TableReport {
    /// The stream.
    pub stream: String,
    /// Records extracted in this job.
    pub extracted: u64,
    /// Rows written in this job (also from segments an earlier job left).
    pub loaded: u64,
    /// Records that were already there in this or a newer version.
    pub unchanged: u64,
    /// Records set aside, by tap and destination.
    pub rejected: u64,
    /// Rows removed because the source has them no more: it was read whole, or it said so.
    #[serde(default)]
    pub removed: u64,
    /// Calls made for it.
    pub calls: u64,
    /// Bytes of record text.
    pub bytes: u64,
    /// Seconds from the first call to the last record.
    pub seconds: f64,
    /// Records the source said there are, when it did.
    pub expected: Option<u64>,
    /// `complete`, `incomplete`, `unreadable`, `failed`, or `not started`.
    pub outcome: String,
    /// Why, unless complete.
    pub reason: Option<String>,
    /// The bookmark's instant after the job.
    pub reached: Option<Timestamp>,
}

/// Gathers events into numbers, and passes each on.
pub(crate) struct Tally<'a> {
    onward: &'a dyn JobLog,
    numbers: Mutex<Numbers>,
    clock: &'a dyn bobbin_core::clock::Clock,
}

/// The numbers of a running job.
#[derive(Default, Debug)]
pub(crate) struct Numbers {
    pub(crate) tables: BTreeMap<StreamName, Counted>,
    pub(crate) calls: u64,
    pub(crate) calls_wasted: u64,
    pub(crate) rate_wait_seconds: f64,
    pub(crate) notices: Vec<String>,
    pub(crate) changes: Vec<String>,
}

/// The numbers of one stream, and when it was busy.
#[derive(Default, Debug)]
pub(crate) struct Counted {
    pub(crate) report: TableReport,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

/// Notices kept in a report; a flood of them is counted, not stored.
const MOST_NOTICES: usize = 200;

impl<'a> Tally<'a> {
    pub(crate) fn new(onward: &'a dyn JobLog, clock: &'a dyn bobbin_core::clock::Clock) -> Self {
        Self { onward, numbers: Mutex::default(), clock }
    }

    pub(crate) fn into_numbers(self) -> Numbers {
        let mut numbers = self.numbers.into_inner().unwrap_or_else(PoisonError::into_inner);
        for counted in numbers.tables.values_mut() {
            if let (Some(first), Some(last)) = (counted.first, counted.last) {
                counted.report.seconds =
                    (last.as_millisecond() - first.as_millisecond()) as f64 / 1e3;
            }
        }
        numbers
    }
}

impl Numbers {
    fn notice(&mut self, line: String) {
        if self.notices.len() < MOST_NOTICES {
            self.notices.push(line);
        }
    }
}

impl JobLog for Tally<'_> {
    fn event(&self, event: Event) {
        {
            let now = self.clock.now();
            let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            let numbers = &mut *numbers;
            let mut busy = |stream: &StreamName, change: &mut dyn FnMut(&mut TableReport)| {
                let counted = numbers.tables.entry(stream.clone()).or_default();
                counted.first.get_or_insert(now);
                counted.last = Some(now);
                change(&mut counted.report);
            };
            match &event {
                Event::StreamStarted { stream, .. } => busy(stream, &mut |_| {}),
                Event::StreamTotal { stream, total } => {
                    // Of a stream that is read in several walks each tells its own.
                    busy(stream, &mut |table| {
                        let before = table.expected.map_or(0, |_| table.extracted);
                        table.expected = Some(before + *total);
                    });
                }
                Event::Extracted { stream, records, bytes } => busy(stream, &mut |table| {
                    table.extracted += records;
                    table.bytes += bytes;
                }),
                Event::SetAside { stream, reason } => {
                    busy(stream, &mut |table| table.rejected += 1);
                    numbers.notice(format!("{stream}: a record was set aside: {reason}"));
                }
                Event::Call { stream, usable, .. } => {
                    if let Some(stream) = stream {
                        busy(stream, &mut |table| table.calls += 1);
                    }
                    numbers.calls += 1;
                    numbers.calls_wasted += u64::from(!usable);
                }
                Event::RateWait { duration, .. } => {
                    numbers.rate_wait_seconds += duration.as_secs_f64();
                }
                Event::TableChanged { change } => numbers.changes.push(change.to_string()),
                Event::Notice { level, stream, message } if *level >= Level::Warn => {
                    numbers.notice(match stream {
                        Some(stream) => format!("{stream}: {message}"),
                        None => message.clone(),
                    });
                }
                _ => {}
            }
        }
        self.onward.event(event);
    }
}
