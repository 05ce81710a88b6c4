//! The extraction log: what happened in a job, one JSON object a line, in
//! `logs/CONNECTION/JOB.jsonl`; for people as lines in Stitch's form (`stitch-behaviour.md` 6.1).
//!
//! Recording never breaks a job: a log that cannot be written is given up, the job goes on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bobbin_core::clock::Clock;
use bobbin_core::id::{ConnectionId, JobId, StreamName};
use bobbin_core::report::{Event, JobLog, Level};
use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use serde_json::Value;

/// Takes a job's events, writes them down, and passes each on.
pub(crate) struct Recorder<'a> {
    onward: &'a dyn JobLog,
    clock: &'a dyn Clock,
    file: Mutex<Option<Writer>>,
}

/// Counts and rate limits come with every page: they are written down together, once in so long.
const PULSE: Duration = Duration::from_secs(1);

/// A log that is being written, and what is not in it yet.
struct Writer {
    out: BufWriter<File>,
    /// Records and bytes of each stream since they were last written down.
    extracted: BTreeMap<StreamName, (u64, u64)>,
    /// The latest rate limits, where they changed.
    limits: BTreeMap<&'static str, (u32, u32)>,
    written: Timestamp,
}

impl<'a> Recorder<'a> {
    /// A log for the job below `home`. Deletes those of the connection from before `kept_since`.
    pub(crate) fn new(
        onward: &'a dyn JobLog,
        clock: &'a dyn Clock,
        (home, kept_since): (&Path, Timestamp),
        connection: &ConnectionId,
        job: &JobId,
    ) -> Self {
        let path = path(home, connection, job);
        let open = || {
            let directory = path.parent()?;
            fs::create_dir_all(directory).ok()?;
            forget(directory, kept_since);
            File::create(&path).ok()
        };
        let file = open().map(|file| Writer {
            out: BufWriter::new(file),
            extracted: BTreeMap::new(),
            limits: BTreeMap::new(),
            written: clock.now(),
        });
        let recorder = Self { onward, clock, file: Mutex::new(file) };
        if recorder.file.lock().is_ok_and(|file| file.is_none()) {
            onward.event(Event::Notice {
                level: Level::Warn,
                stream: None,
                message: format!("the job's log cannot be written: {}", path.display()),
            });
        }
        recorder
    }
}

impl JobLog for Recorder<'_> {
    fn event(&self, event: Event) {
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(writer) = file.as_mut()
                && writer.take(&event, self.clock.now()).is_err()
            {
                *file = None;
            }
        }
        self.onward.event(event);
    }
}

impl Writer {
    fn take(&mut self, event: &Event, now: Timestamp) -> std::io::Result<()> {
        match event {
            Event::Extracted { stream, records, bytes } => {
                let sum = self.extracted.entry(stream.clone()).or_default();
                *sum = (sum.0 + records, sum.1 + bytes);
            }
            Event::RateLimit { bucket, limit, remaining } => {
                self.limits.insert(bucket, (*limit, *remaining));
            }
            // What was extracted before these stands before them.
            Event::Window { .. } | Event::StreamEnded { .. } | Event::JobEnded { .. } => {
                self.pulse(now)?;
                return self.write(event, now);
            }
            _ => self.write(event, now)?,
        }
        if now.duration_since(self.written).unsigned_abs() >= PULSE {
            self.pulse(now)?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn pulse(&mut self, now: Timestamp) -> std::io::Result<()> {
        self.written = now;
        for (stream, (records, bytes)) in std::mem::take(&mut self.extracted) {
            self.write(&Event::Extracted { stream, records, bytes }, now)?;
        }
        for (bucket, (limit, remaining)) in std::mem::take(&mut self.limits) {
            self.write(&Event::RateLimit { bucket, limit, remaining }, now)?;
        }
        Ok(())
    }

    fn write(&mut self, event: &Event, now: Timestamp) -> std::io::Result<()> {
        let mut value = serde_json::to_value(event)?;
        if let Some(object) = value.as_object_mut() {
            object.insert("at".to_owned(), format!("{now:.3}").into());
        }
        writeln!(self.out, "{value}")?;
        // Whoever watches is interested in steps, not in every call.
        let step = !matches!(
            event,
            Event::Call { .. }
                | Event::Sealed { .. }
                | Event::RateWait { .. }
                | Event::Extracted { .. }
                | Event::RateLimit { .. }
        );
        if step { self.out.flush() } else { Ok(()) }
    }
}

/// Where a job's log is.
pub fn path(home: &Path, connection: &ConnectionId, job: &JobId) -> PathBuf {
    home.join("logs").join(connection.as_str()).join(format!("{job}.jsonl"))
}

/// The jobs of a connection that have a log, newest first.
pub fn jobs(home: &Path, connection: &ConnectionId) -> Result<Vec<JobId>> {
    let directory = home.join("logs").join(connection.as_str());
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Error::io("cannot list the logs", error).with("path", directory.display()));
        }
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let jobs = names.filter_map(|name| Some(JobId::from(name.strip_suffix(".jsonl")?)));
    let mut jobs: Vec<JobId> = jobs.collect();
    jobs.sort_unstable_by(|a, b| b.cmp(a));
    Ok(jobs)
}

/// Opens a job's log.
pub fn open(home: &Path, connection: &ConnectionId, job: &JobId) -> Result<File> {
    // A job's name is made by us; another could lead elsewhere.
    let plain = job.as_str().chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    let name = if plain { job.clone() } else { JobId::from("none") };
    let path = path(home, connection, &name);
    File::open(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, format!("there is no log of job `{job}`"))
                .with("path", path.display())
                .hint("logs are kept for `keep_days`; `bobbin logs --list` lists those there are")
        }
        _ => Error::io("cannot open the job's log", error).with("path", path.display()),
    })
}

/// Bytes of a log that are read at once from its end.
const BLOCK: u64 = 64 << 10;

/// The last lines of a log that are `wanted`, at most so many, oldest first; no more of it is read than
/// they need. `wanted` gives what is kept of a line. Then `log` stands where the last whole line ends.
pub fn last_lines<T>(
    log: &mut File,
    most: usize,
    mut wanted: impl FnMut(&str) -> Option<T>,
) -> Result<Vec<T>> {
    let failed = |error| Error::io("cannot read the job's log", error);
    let mut start = log.seek(SeekFrom::End(0)).map_err(failed)?;
    let mut found = Vec::new();
    // Bytes from `start` on that belong to a line whose beginning is not known yet.
    let mut open: Vec<u8> = Vec::new();
    let mut end = None;
    while start > 0 && found.len() < most {
        let length = start.min(BLOCK);
        start -= length;
        let mut block = Vec::new();
        log.seek(SeekFrom::Start(start)).map_err(failed)?;
        (&*log).take(length).read_to_end(&mut block).map_err(failed)?;
        block.append(&mut open);
        if end.is_none() {
            // What follows the last line's end is still being written.
            let Some(last) = block.iter().rposition(|byte| *byte == b'\n') else {
                open = block;
                continue;
            };
            block.truncate(last + 1);
            end = Some(start + last as u64 + 1);
        }
        let whole = match block.iter().position(|byte| *byte == b'\n') {
            _ if start == 0 => 0,
            Some(first) => first + 1,
            None => block.len(),
        };
        let lines = block[whole..].split_inclusive(|byte| *byte == b'\n').rev();
        let lines = lines.filter_map(|line| wanted(str::from_utf8(line).ok()?.trim_end()));
        found.extend(lines.take(most - found.len()));
        block.truncate(whole);
        open = block;
    }
    log.seek(SeekFrom::Start(end.unwrap_or(0))).map_err(failed)?;
    found.reverse();
    Ok(found)
}

/// Deletes logs of jobs that began too long ago; what cannot be deleted stays.
fn forget(directory: &Path, oldest: Timestamp) {
    let oldest = oldest.strftime("%Y%m%dT%H%M%S").to_string();
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let old = entry.file_name().into_string().is_ok_and(|name| name < oldest);
        if old {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A line of a log as people read it; none for what is no event.
///
/// `2026-05-01 16:44:41,159Z    tap - INFO conversations: complete`: the time, where it happened
/// (`main`, `tap` or `target`), how much it matters, and what.
pub fn line(text: &str) -> Option<String> {
    Some(Line::of(text)?.to_string())
}

/// A line of a log, in its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// When it happened.
    pub at: Timestamp,
    /// Where: `main`, `tap` or `target`.
    pub place: &'static str,
    /// `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    pub level: &'static str,
    /// What, on one line, without anything that acts on a terminal.
    pub message: String,
}

impl Line {
    /// The event of a log's line; none for what is no event.
    pub fn of(text: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(text).ok()?;
        let at: Timestamp = event["at"].as_str()?.parse().ok()?;
        let (place, level, message) = told(&event)?;
        let message = printable(&message.replace('\n', " | ")).into_owned();
        Some(Self { at, place, level, message })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, place, level, message } = self;
        let at = at.strftime("%Y-%m-%d %H:%M:%S,%3f");
        write!(f, "{at}Z {place:>6} - {level} {message}")
    }
}

/// Text as a terminal may get it: what would move its cursor, change its colours or turn the order of
/// letters round is shown and not done. Line breaks and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    let acts = |c: char| {
        (c.is_control() && c != '\t' && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

fn told(event: &Value) -> Option<(&'static str, &'static str, String)> {
    let text = |key: &str| event[key].as_str().unwrap_or("?");
    let number = |key: &str| event[key].as_u64().unwrap_or(0);
    let stream = text("stream");
    Some(match event["event"].as_str()? {
        "job_started" => (
            "main",
            "INFO",
            format!(
                "bobbin {}: job {} of {}, from {} into {}",
                text("version"),
                text("job"),
                text("connection"),
                text("tap"),
                text("destination")
            ),
        ),
        "job_ended" => match event["error"].as_str() {
            Some(error) => ("main", "CRITICAL", format!("{}: {error}", text("outcome"))),
            None => ("main", "INFO", format!("the job is {}", text("outcome"))),
        },
        "discovered" => {
            let took = event["seconds"].as_f64().unwrap_or(0.0);
            let streams = number("streams");
            ("tap", "INFO", format!("{streams} tables can be read, found in {took:.1} s"))
        }
        "committed" => (
            "target",
            "DEBUG",
            format!(
                "{stream}: a round of {} rows, {} bytes is committed, {:.1} s loading, {:.1} s committing",
                number("rows"),
                number("bytes"),
                event["loading_seconds"].as_f64().unwrap_or(0.0),
                event["commit_seconds"].as_f64().unwrap_or(0.0)
            ),
        ),
        "bookmark" => (
            "target",
            "INFO",
            format!("State update: adding bookmarks.{stream} = {}", event["bookmark"]),
        ),
        "stream_started" => {
            let span = match (event["from"].as_str(), event["until"].as_str()) {
                (Some(from), Some(until)) => format!(" from {from} until {until}"),
                _ => ", all of it".to_owned(),
            };
            ("tap", "INFO", format!("{stream}: extracting{span}"))
        }
        "stream_total" => {
            ("tap", "DEBUG", format!("{stream}: the source has {} records", number("total")))
        }
        "extracted" => (
            "tap",
            "DEBUG",
            format!("{stream}: {} more records, {} bytes", number("records"), number("bytes")),
        ),
        "rate_limit" => (
            "tap",
            "DEBUG",
            format!(
                "{} of {} calls of the {} budget are left",
                number("remaining"),
                number("limit"),
                text("bucket")
            ),
        ),
        "stream_ended" => {
            let why = event["reason"].as_str().map_or_else(String::new, |why| format!(": {why}"));
            let level = if text("outcome") == "complete" { "INFO" } else { "ERROR" };
            ("tap", level, format!("{stream}: {}{why}", text("outcome")))
        }
        "set_aside" => {
            ("tap", "WARNING", format!("{stream}: a record was set aside: {}", text("reason")))
        }
        "window" => {
            let verdict = if event["verified"] == true { "verified" } else { "NOT verified" };
            let of =
                event["expected"].as_u64().map_or_else(String::new, |all| format!(" of {all}"));
            (
                "tap",
                "INFO",
                format!(
                    "{stream}: {} to {}: {}{of} records in {} calls, {verdict}",
                    text("from"),
                    text("to"),
                    number("received"),
                    number("calls")
                ),
            )
        }
        "call" => {
            let unusable = if event["usable"] == true { "" } else { ", not usable" };
            let status = &event["status"];
            let took = event["seconds"].as_f64().unwrap_or(0.0) * 1e3;
            ("tap", "DEBUG", format!("{}: {status} in {took:.0} ms{unusable}", text("endpoint")))
        }
        "rate_wait" => {
            let took = event["seconds"].as_f64().unwrap_or(0.0);
            ("tap", "DEBUG", format!("waited {took:.1} s for the {} budget", text("bucket")))
        }
        "sealed" => (
            "tap",
            "DEBUG",
            format!(
                "{stream}: {} records, {} bytes are safe in the spool",
                number("records"),
                number("bytes")
            ),
        ),
        "loaded" => (
            "target",
            "INFO",
            format!(
                "{stream}: {} rows are durable, {} set aside",
                number("rows"),
                number("rejected")
            ),
        ),
        "table_changed" => ("target", "INFO", text("change").to_owned()),
        "notice" => {
            let level = match text("level") {
                "debug" => "DEBUG",
                "warn" => "WARNING",
                "error" => "ERROR",
                _ => "INFO",
            };
            match event["stream"].as_str() {
                Some(stream) => ("tap", level, format!("{stream}: {}", text("message"))),
                None => ("main", level, text("message").to_owned()),
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_those_at_the_end_of_the_whole_log() {
        let long = "x".repeat(2 * BLOCK as usize);
        let many: Vec<String> = (0..30_000).map(|n| format!("line {n}")).collect();
        let many = format!("{}\n", many.join("\n"));
        let texts = [
            "",
            "no end",
            "\n",
            "a\nb\nc\n",
            "a\nb\nis being written",
            &many,
            &format!("{many}{many}half"),
        ];
        let longs = [format!("{long}\n{long}\nb\n{long}"), format!("a\n{long}\n"), long.clone()];
        for text in texts.iter().copied().chain(longs.iter().map(String::as_str)) {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let whole = text.rfind('\n').map_or(0, |at| at + 1);
            for most in [0, 1, 2, 7000, 100_000] {
                let even = |line: &str| !line.ends_with(['1', '3', '5', '7', '9']);
                for wanted in [&even as &dyn Fn(&str) -> bool, &|_: &str| true] {
                    let keep = |line: &str| wanted(line).then(|| line.to_owned());
                    let told = last_lines(&mut file, most, keep).unwrap();
                    let mut lines: Vec<_> = text[..whole].lines().filter_map(keep).collect();
                    lines.drain(..lines.len().saturating_sub(most));
                    assert!(told == lines, "the last {most} of {} bytes", text.len());
                    let place = file.stream_position().unwrap();
                    assert_eq!(place, if most == 0 { 0 } else { whole as u64 });
                }
            }
        }
    }

    /// Counts come with every page and are written once a second, but before what they lead up to.
    #[test]
    fn counts_are_written_together_and_before_their_window() {
        struct At(Mutex<Timestamp>);
        impl Clock for At {
            fn now(&self) -> Timestamp {
                *self.0.lock().unwrap()
            }
        }
        let clock = At(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let home = tempfile::tempdir().unwrap();
        let (onward, connection, job) = (bobbin_core::report::NoLog, "c".into(), "1".into());
        let place = (home.path(), Timestamp::MIN);
        let recorder = Recorder::new(&onward, &clock, place, &connection, &job);
        let pass = |millis: i64| {
            *clock.0.lock().unwrap() += jiff::SignedDuration::from_millis(millis);
        };
        let page = |records: u64| {
            let stream = StreamName::from("notes");
            recorder.event(Event::Extracted { stream, records, bytes: 10 });
            recorder.event(Event::RateLimit { bucket: "search", limit: 100, remaining: 90 });
        };
        let window = Event::Window {
            stream: "notes".into(),
            from: Timestamp::UNIX_EPOCH,
            to: Timestamp::UNIX_EPOCH,
            expected: Some(3),
            received: 3,
            calls: 3,
            verified: true,
        };
        page(1);
        page(2);
        recorder.event(window.clone());
        page(4);
        pass(999);
        page(8);
        pass(1);
        page(16);
        page(32);
        recorder.event(Event::JobEnded { outcome: "complete", error: None });
        let text = fs::read_to_string(path(home.path(), &connection, &job)).unwrap();
        let told = text.lines().map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            format!("{}{}", event["event"].as_str().unwrap(), event["records"])
        });
        let told: Vec<String> = told.collect();
        let shown = ["extracted3", "rate_limitnull", "windownull", "extracted28", "rate_limitnull"];
        assert_eq!(told[..5], shown);
        assert_eq!(told[5..], ["extracted32", "rate_limitnull", "job_endednull"]);
    }

    #[test]
    fn f53_lines_have_stitchs_form() {
        let told = |text: &str| line(text).unwrap_or_default();
        assert_eq!(
            told(
                r#"{"at":"2026-05-01T16:44:41.159Z","event":"stream_started","stream":"users","from":null,"until":null}"#
            ),
            "2026-05-01 16:44:41,159Z    tap - INFO users: extracting, all of it"
        );
        assert_eq!(
            told(
                r#"{"at":"2026-05-01T16:44:41Z","event":"bookmark","stream":"users","bookmark":"2026-01-01T00:00:00Z"}"#
            ),
            "2026-05-01 16:44:41,000Z target - INFO State update: adding bookmarks.users = \"2026-01-01T00:00:00Z\""
        );
        assert_eq!(
            told(
                r#"{"at":"2026-05-01T16:44:41Z","event":"job_ended","outcome":"failed","error":"no\n  hint: yes"}"#
            ),
            "2026-05-01 16:44:41,000Z   main - CRITICAL failed: no |   hint: yes"
        );
        assert_eq!(
            told(
                r#"{"at":"2026-05-01T16:44:41Z","event":"notice","level":"warn","stream":null,"message":"\u001b[2Ja\tb\r\u0007\u009b1m\u202e\n\u007f"}"#
            ),
            "2026-05-01 16:44:41,000Z   main - WARNING \\u{1b}[2Ja\tb\\r\\u{7}\\u{9b}1m\\u{202e} | \\u{7f}"
        );
        assert_eq!(line("no JSON"), None);
        assert_eq!(line("{}"), None);
    }
}
