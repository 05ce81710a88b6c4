//! A job as its log tells it: a fold from one line to the next, without any I/O. It shows a running job as
//! far as it is, and an ended one with the windows that its report leaves out.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use bobbin_core::id::SegmentId;
use jiff::Timestamp;
use serde::Deserialize;

mod coverage;

pub use coverage::{Coverage, Stretch};

/// Windows of one table that are kept apart; beyond that, neighbours that agree are told as one.
const MOST_WINDOWS: usize = 50_000;

/// Warnings and errors that are kept, the first ones.
const MOST_TROUBLES: usize = 100;

/// Seconds of calls that are counted one by one.
const MINUTE: i64 = 60;

/// A job, as far as its log tells.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct JobView {
    /// Lines of the log so far.
    pub lines: u64,
    /// When the latest of them was written.
    pub latest: Option<Timestamp>,
    /// bobbin's version.
    pub version: String,
    /// What it reads from, for example `kustomer`.
    pub tap: String,
    /// What it writes to, for example `postgres`.
    pub destination: String,
    /// How it ended.
    pub ended: Option<Ended>,
    /// Its tables, in the order of their extraction.
    pub tables: Vec<TableView>,
    /// Calls made to the source.
    pub calls: u64,
    /// Those whose answers could not be used.
    pub calls_wasted: u64,
    /// Seconds spent waiting for the source's rate limit, summed over calls that waited.
    pub rate_wait_seconds: f64,
    /// What the source last said of its rate limits, by their names.
    pub budgets: BTreeMap<String, Budget>,
    /// Warnings and errors, each with its line.
    pub troubles: Vec<Trouble>,
    /// Calls of the last minute: the second, searches, all.
    recent: VecDeque<(i64, u32, u32)>,
}

/// An end of a job or of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// `complete`, `incomplete`, …
    pub outcome: String,
    /// Why, if something went wrong.
    pub reason: Option<String>,
    /// The line that says so.
    pub line: u64,
}

/// A rate limit of the source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Budget {
    /// Calls granted a minute.
    pub limit: u64,
    /// Those that this job made in the last minute.
    pub ours: u64,
    /// Those that others with the same budget must have made, as far as the source counts.
    pub others: u64,
    /// Those that are left.
    pub free: u64,
}

/// A warning or an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// Its line.
    pub line: u64,
    /// Whether it needs a person.
    pub is_error: bool,
    /// What it says.
    pub message: String,
}

/// A stream and its table.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TableView {
    /// The stream.
    pub name: String,
    /// When its extraction began.
    pub began: Option<Timestamp>,
    /// The first instant asked for, if windows are read.
    pub from: Option<Timestamp>,
    /// The instant up to which it is read.
    pub until: Option<Timestamp>,
    /// Records that the source has for this job, as far as it said.
    pub total: Option<u64>,
    /// Records extracted.
    pub extracted: u64,
    /// Bytes of their text.
    pub bytes: u64,
    /// Calls made for it.
    pub calls: u64,
    /// Rows that became durable.
    pub loaded: u64,
    /// When the latest did.
    pub loaded_at: Option<Timestamp>,
    /// The windows that were walked to their end, by their beginning.
    pub windows: Vec<WindowView>,
    /// How its extraction ended.
    pub ended: Option<Ended>,
    set_aside: u64,
    rejected: u64,
    /// Segments in the order of sealing that follow what is loaded: number, records, whether loaded.
    sealed: VecDeque<(u64, u64, bool)>,
    /// Records in the segments that are loaded, up to the first that is not.
    durable: u64,
    /// Whether the source told a total before.
    counted: bool,
}

/// A window of time that was read to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowView {
    /// Its first instant.
    pub from: Timestamp,
    /// Its last instant.
    pub to: Timestamp,
    /// Records the source said there are; none where it cannot say.
    pub expected: Option<u64>,
    /// Distinct records received.
    pub received: u64,
    /// Calls it took.
    pub calls: u64,
    /// Whether the numbers agree.
    pub verified: bool,
    /// How many windows it stands for: 1 unless there are very many.
    pub parts: u32,
    /// The line that tells of it.
    pub line: u64,
    /// The table's records extracted up to its end.
    records: u64,
}

/// A line of a log, as far as it matters here.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    at: Timestamp,
    stream: Option<String>,
    version: Option<String>,
    tap: Option<String>,
    destination: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    until: Option<Timestamp>,
    #[serde(default)]
    total: u64,
    #[serde(default)]
    records: u64,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    rows: u64,
    #[serde(default)]
    rejected: u64,
    expected: Option<u64>,
    #[serde(default)]
    received: u64,
    #[serde(default)]
    calls: u64,
    #[serde(default)]
    verified: bool,
    #[serde(default)]
    usable: bool,
    #[serde(default)]
    seconds: f64,
    outcome: Option<String>,
    reason: Option<String>,
    error: Option<String>,
    bucket: Option<String>,
    #[serde(default)]
    limit: u64,
    #[serde(default)]
    remaining: u64,
    endpoint: Option<String>,
    segment: Option<SegmentId>,
    level: Option<String>,
    message: Option<String>,
}

impl JobView {
    /// Takes the next line of the log. What is no event counts as a line and tells nothing.
    pub fn take(&mut self, text: &str) {
        self.lines += 1;
        let Ok(told) = serde_json::from_str::<Told<'_>>(text) else { return };
        self.latest = Some(told.at);
        match (&*told.event, &told.stream) {
            ("job_started", _) => {
                self.version = told.version.unwrap_or_default();
                self.tap = told.tap.unwrap_or_default();
                self.destination = told.destination.unwrap_or_default();
            }
            ("job_ended", _) => {
                let outcome = told.outcome.unwrap_or_default();
                let (at, line) = (told.at, self.lines);
                self.ended = Some(Ended { at, outcome, reason: told.error, line });
            }
            ("call", _) => self.call(&told),
            ("rate_wait", _) => self.rate_wait_seconds += told.seconds,
            ("rate_limit", _) => self.limit(&told),
            ("notice", _) => self.notice(&told),
            (event, Some(stream)) => {
                let line = self.lines;
                if event == "set_aside" {
                    let why = told.reason.as_deref().unwrap_or("?");
                    self.trouble(false, format!("{stream}: a record was set aside: {why}"));
                }
                if event == "stream_ended" && told.outcome.as_deref() != Some("complete") {
                    let outcome = told.outcome.as_deref().unwrap_or("not complete");
                    let why =
                        told.reason.as_deref().map_or_else(String::new, |why| format!(": {why}"));
                    self.trouble(true, format!("{stream}: {outcome}{why}"));
                }
                self.table(stream).take(event, &told, line);
            }
            _ => {}
        }
    }

    /// The table of a stream.
    fn table(&mut self, stream: &str) -> &mut TableView {
        let place = self.tables.iter().position(|table| table.name == stream);
        let place = place.unwrap_or_else(|| {
            self.tables.push(TableView { name: stream.to_owned(), ..TableView::default() });
            self.tables.len() - 1
        });
        &mut self.tables[place]
    }

    fn call(&mut self, told: &Told<'_>) {
        self.calls += 1;
        self.calls_wasted += u64::from(!told.usable);
        if let Some(stream) = &told.stream {
            self.table(stream).calls += 1;
        }
        let second = told.at.as_second();
        let search = told.endpoint.as_deref().is_some_and(|endpoint| endpoint.contains("search"));
        match self.recent.back_mut() {
            Some(last) if last.0 == second => {
                last.1 += u32::from(search);
                last.2 += 1;
            }
            _ => self.recent.push_back((second, u32::from(search), 1)),
        }
        while self.recent.front().is_some_and(|first| first.0 <= second - MINUTE) {
            self.recent.pop_front();
        }
    }

    fn limit(&mut self, told: &Told<'_>) {
        let Some(bucket) = &told.bucket else { return };
        let since = told.at.as_second() - MINUTE;
        let recent = self.recent.iter().filter(|(second, ..)| *second > since);
        let searches = bucket == "search";
        let made = recent.map(|(_, search, all)| u64::from(if searches { *search } else { *all }));
        let limit = told.limit.max(told.remaining);
        let used = limit - told.remaining;
        // The source counts in windows of its own: what it does not count any more is not ours either.
        let ours = made.sum::<u64>().min(used);
        let budget = Budget { limit, ours, others: used - ours, free: told.remaining };
        self.budgets.insert(bucket.clone(), budget);
    }

    fn notice(&mut self, told: &Told<'_>) {
        let message = told.message.as_deref().unwrap_or("");
        let message = match &told.stream {
            Some(stream) => format!("{stream}: {message}"),
            None => message.to_owned(),
        };
        match told.level.as_deref() {
            Some("error") => self.trouble(true, message),
            Some("warn") => self.trouble(false, message),
            _ => {}
        }
    }

    fn trouble(&mut self, is_error: bool, message: String) {
        if self.troubles.len() < MOST_TROUBLES {
            self.troubles.push(Trouble { line: self.lines, is_error, message });
        }
    }
}

impl TableView {
    fn take(&mut self, event: &str, told: &Told<'_>, line: u64) {
        match event {
            "stream_started" => {
                self.began = Some(told.at);
                (self.from, self.until) = (told.from, told.until);
            }
            "stream_total" => {
                // A stream that is read in several walks tells the total of each when it begins.
                let before = if self.counted { self.extracted } else { 0 };
                (self.total, self.counted) = (Some(before + told.total), true);
            }
            "extracted" => {
                self.extracted += told.records;
                self.bytes += told.bytes;
            }
            "set_aside" => self.set_aside += 1,
            "window" => self.window(told, line),
            "stream_ended" => {
                let outcome = told.outcome.clone().unwrap_or_default();
                let reason = told.reason.clone();
                self.ended = Some(Ended { at: told.at, outcome, reason, line });
            }
            "sealed" => {
                let Some(segment) = &told.segment else { return };
                self.sealed.push_back((segment.number, told.records, false));
            }
            "loaded" => self.load(told),
            _ => {}
        }
    }

    fn window(&mut self, told: &Told<'_>, line: u64) {
        let (Some(from), Some(to)) = (told.from, told.to) else { return };
        let window = WindowView {
            from,
            to,
            expected: told.expected,
            received: told.received,
            calls: told.calls,
            verified: told.verified,
            parts: 1,
            line,
            records: self.extracted,
        };
        // They nearly always come in the order of time.
        let place = self.windows.partition_point(|other| other.from <= from);
        self.windows.insert(place, window);
        if self.windows.len() > MOST_WINDOWS {
            self.merge_windows();
        }
    }

    /// Tells neighbours that agree as one. One whose numbers differ stays by itself, and so does what no
    /// window covers.
    fn merge_windows(&mut self) {
        let mut merged: Vec<WindowView> = Vec::with_capacity(self.windows.len() / 2 + 1);
        let mut pair = false;
        for window in &self.windows {
            let join = merged.last_mut().filter(|last| {
                pair && last.verified
                    && window.verified
                    && last.expected.is_some() == window.expected.is_some()
                    && next_to(last, window)
            });
            if let Some(last) = join {
                last.to = window.to;
                last.expected = last.expected.zip(window.expected).map(|(a, b)| a + b);
                last.received += window.received;
                last.calls += window.calls;
                last.parts += window.parts;
                last.records = last.records.max(window.records);
                pair = false;
            } else {
                merged.push(*window);
                pair = true;
            }
        }
        self.windows = merged;
    }

    fn load(&mut self, told: &Told<'_>) {
        self.loaded += told.rows;
        self.rejected += told.rejected;
        self.loaded_at = Some(told.at);
        let Some(segment) = &told.segment else { return };
        // Segments of an earlier job are not among them.
        if let Some(sealed) = self.sealed.iter_mut().find(|sealed| sealed.0 == segment.number) {
            sealed.2 = true;
        }
        while self.sealed.front().is_some_and(|first| first.2) {
            self.durable += self.sealed.pop_front().map_or(0, |first| first.1);
        }
    }

    /// Records that were set aside, by tap and destination.
    pub fn set_aside(&self) -> u64 {
        // What the tap set aside is also told when it becomes durable.
        self.set_aside.max(self.rejected)
    }

    /// Whether everything that was extracted is durable.
    pub fn is_loaded(&self) -> bool {
        self.is_released() && self.durable >= self.extracted
    }

    /// Whether everything that was sealed is durable.
    fn is_released(&self) -> bool {
        self.sealed.is_empty()
    }

    /// The part of the extraction that is done, from 0 to 1: by records where the source told how many there
    /// are, else by the time that windows cover; none where neither is known.
    pub fn share(&self) -> Option<f64> {
        if let Some(total) = self.total.filter(|total| *total > 0 && *total >= self.extracted) {
            return Some(self.extracted as f64 / total as f64);
        }
        let (from, until) = self.from.zip(self.until).filter(|(from, until)| from < until)?;
        let reached = self.windows.last().map_or(from, |window| window.to.clamp(from, until));
        let seconds = |to: Timestamp| to.duration_since(from).as_secs_f64();
        Some(seconds(reached) / seconds(until))
    }

    /// Seconds until all of it is extracted, if the pace stays; none where that cannot be told.
    pub fn left_seconds(&self, now: Timestamp) -> Option<f64> {
        let (share, began) = (self.share()?, self.began?);
        let seconds = now.duration_since(began).as_secs_f64();
        if self.ended.is_some() || self.extracted == 0 || share <= 0.0 || seconds < 2.0 {
            return None;
        }
        Some((1.0 - share) * seconds / share)
    }
}

/// Whether one window begins where another ends.
fn next_to(before: &WindowView, after: &WindowView) -> bool {
    after.from.as_millisecond() <= before.to.as_millisecond() + 1
}

#[cfg(test)]
mod tests;
