//! What happens during a job, as data. Formatting for a screen is somebody else's.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::id::{ConnectionId, JobId, SegmentId, StreamName};
use crate::receipt::Change;

/// Takes events. Recording cannot fail the job.
pub trait JobLog: Send + Sync {
    /// Takes one event; called from any thread, must return quickly.
    fn event(&self, event: Event);
}

/// How much an event matters to a person.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For whoever looks into a run.
    Debug,
    /// Normal progress.
    Info,
    /// Recovered, but worth knowing.
    Warn,
    /// Needs a person.
    Error,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A job began.
    JobStarted {
        /// Which.
        job: JobId,
        /// Of which connection.
        connection: ConnectionId,
        /// What it reads from, for example `kustomer`.
        tap: String,
        /// What it writes to, for example `postgres`.
        destination: String,
        /// Of bobbin.
        version: &'static str,
    },
    /// A job ended.
    JobEnded {
        /// `complete`, `incomplete`, `interrupted` or `failed`.
        outcome: &'static str,
        /// Why it failed, in full, when it did.
        error: Option<String>,
    },
    /// It is known what the source has to offer.
    Discovered {
        /// Streams that can be read.
        streams: u64,
        /// How long it took to find out.
        #[serde(serialize_with = "seconds", rename = "seconds")]
        duration: Duration,
    },
    /// A stream's bookmark became durable, with the rows that it covers.
    Bookmark {
        /// The stream.
        stream: StreamName,
        /// What the tap will go on from.
        bookmark: Value,
    },
    /// A stream's extraction began.
    StreamStarted {
        /// The stream.
        stream: StreamName,
        /// First instant asked for, if windows are read.
        from: Option<Timestamp>,
        /// Instant up to which this run reads (exclusive).
        until: Option<Timestamp>,
    },
    /// The source said how many records there are to come (estimate that may grow).
    StreamTotal {
        /// The stream.
        stream: StreamName,
        /// Records in the whole span.
        total: u64,
    },
    /// Records were handed to the output.
    Extracted {
        /// The stream.
        stream: StreamName,
        /// How many more.
        records: u64,
        /// Their text's size in bytes.
        bytes: u64,
    },
    /// A record was set aside by the tap.
    SetAside {
        /// The stream.
        stream: StreamName,
        /// Why.
        reason: String,
    },
    /// A window was walked to its end.
    Window {
        /// The stream.
        stream: StreamName,
        /// First instant, inclusive.
        from: Timestamp,
        /// Last instant, inclusive.
        to: Timestamp,
        /// Records the source said there are.
        expected: Option<u64>,
        /// Distinct records received.
        received: u64,
        /// Calls it took.
        calls: u32,
        /// Whether the numbers agree.
        verified: bool,
    },
    /// A stream's extraction ended.
    StreamEnded {
        /// The stream.
        stream: StreamName,
        /// `complete`, `incomplete`, `unreadable` or `failed`.
        outcome: &'static str,
        /// Why, unless complete.
        reason: Option<String>,
    },
    /// One call to the source was answered or given up.
    Call {
        /// The stream it was for, if any.
        stream: Option<StreamName>,
        /// What was called, without secrets: `POST /v1/customers/search`.
        endpoint: String,
        /// HTTP status, or none when the connection failed.
        status: Option<u16>,
        /// How long it took.
        #[serde(serialize_with = "seconds", rename = "seconds")]
        duration: Duration,
        /// Whether the answer could be used.
        usable: bool,
    },
    /// What the source's rate limit looks like now.
    RateLimit {
        /// `search` or `organisation`.
        bucket: &'static str,
        /// Calls granted per minute.
        limit: u32,
        /// Calls left in this window, as far as known.
        remaining: u32,
    },
    /// Waiting for the rate limit.
    RateWait {
        /// `search` or `organisation`.
        bucket: &'static str,
        /// For how long.
        #[serde(serialize_with = "seconds", rename = "seconds")]
        duration: Duration,
    },
    /// A segment was sealed in the spool.
    Sealed {
        /// Which.
        segment: SegmentId,
        /// The stream.
        stream: StreamName,
        /// Records in it.
        records: u64,
        /// Bytes of text.
        bytes: u64,
    },
    /// A segment became durable in the destination.
    Loaded {
        /// Which.
        segment: SegmentId,
        /// The stream.
        stream: StreamName,
        /// Rows written.
        rows: u64,
        /// Records set aside.
        rejected: u64,
    },
    /// A round of loading became durable, after its segments were told.
    Committed {
        /// The stream.
        stream: StreamName,
        /// Its table.
        table: String,
        /// Rows written.
        rows: u64,
        /// Records set aside.
        rejected: u64,
        /// Bytes of text.
        bytes: u64,
        /// From the round's first segment until its commit began.
        #[serde(serialize_with = "seconds", rename = "loading_seconds")]
        loading: Duration,
        /// How long the commit took, with what had to be repeated.
        #[serde(serialize_with = "seconds", rename = "commit_seconds")]
        committing: Duration,
    },
    /// A table was changed.
    TableChanged {
        /// What was done; written in words.
        #[serde(serialize_with = "words")]
        change: Change,
    },
    /// Anything else worth a line.
    Notice {
        /// How much it matters.
        level: Level,
        /// The stream concerned.
        stream: Option<StreamName>,
        /// One line that reads well alone.
        message: String,
    },
}

fn words<S: serde::Serializer>(change: &Change, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(change)
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// A log that forgets everything.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoLog;

impl JobLog for NoLog {
    fn event(&self, _event: Event) {}
}

impl<F: Fn(Event) + Send + Sync> JobLog for F {
    fn event(&self, event: Event) {
        self(event);
    }
}
