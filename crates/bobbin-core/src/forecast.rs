//! How much a first run will read, by a source's own counts, before anything is read.

use jiff::Timestamp;
use serde::Serialize;

use crate::id::StreamName;

/// What a run from a start date would read.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Forecast {
    /// The first instant that counts.
    pub start: Timestamp,
    /// When the source counted.
    pub counted_at: Timestamp,
    /// The streams that can be read, in the order they are.
    pub streams: Vec<StreamForecast>,
    /// The others, each with what is missing.
    pub unreadable: Vec<(StreamName, String)>,
    /// How long the calls take at the rate that is granted, in minutes; none where there is no limit.
    pub minutes: Option<f64>,
}

/// What a run would read of one stream.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StreamForecast {
    /// The stream.
    pub stream: StreamName,
    /// Records.
    pub records: u64,
    /// What that number is worth.
    pub counted: Counted,
    /// Calls that read them, about: windows are chosen by what is in them.
    pub calls: u64,
    /// Bytes of the answers, about: by the records of one page.
    pub bytes: u64,
    /// How long its calls alone take at the rate that is granted, in minutes; none where there is no limit.
    pub minutes: Option<f64>,
}

/// What a number of records is worth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// The source counted them all.
    Exactly,
    /// The source does not count so many; parts of the time were counted.
    Estimated,
    /// There are more.
    AtLeast,
}

impl Forecast {
    /// Records of all streams.
    pub fn records(&self) -> u64 {
        self.streams.iter().map(|stream| stream.records).sum()
    }

    /// Calls of all streams.
    pub fn calls(&self) -> u64 {
        self.streams.iter().map(|stream| stream.calls).sum()
    }

    /// Bytes of all streams.
    pub fn bytes(&self) -> u64 {
        self.streams.iter().map(|stream| stream.bytes).sum()
    }

    /// What the sum of records is worth.
    pub fn counted(&self) -> Counted {
        self.streams.iter().map(|stream| stream.counted).max().unwrap_or(Counted::Exactly)
    }
}
