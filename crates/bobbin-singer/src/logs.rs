//! Logs and metrics on stderr, in singer-python's form (`singer.md` 8): `LEVEL message`, and
//! `INFO METRIC: {…}` for counters and timers.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bobbin_core::Error;
use bobbin_core::id::StreamName;
use bobbin_core::report::{Event, JobLog, Level};
use serde_json::json;

/// How often running counters are written.
const INTERVAL: Duration = Duration::from_mins(1);

/// A log on stderr, or on anything else that can be written to.
pub struct SingerLog {
    threshold: Level,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    began: Instant,
    written: Instant,
    /// Records since the last counter line, by stream.
    counts: BTreeMap<StreamName, u64>,
}

impl SingerLog {
    /// A log on stderr that leaves out what is below `threshold`.
    pub fn stderr(threshold: Level) -> Self {
        Self::new(Box::new(std::io::stderr()), threshold)
    }

    /// A log on `out`.
    pub fn new(out: Box<dyn Write + Send>, threshold: Level) -> Self {
        let now = Instant::now();
        let state = State { out, began: now, written: now, counts: BTreeMap::new() };
        Self { threshold, state: Mutex::new(state) }
    }

    /// The level that `NAME_LOGLEVEL` or `LOGLEVEL` ask for; `Info` otherwise.
    pub fn level_from_env(program: &str) -> Level {
        let own = format!("{}_LOGLEVEL", program.to_uppercase().replace('-', "_"));
        let word = std::env::var(own).or_else(|_| std::env::var("LOGLEVEL"));
        level_named(&word.unwrap_or_default())
    }

    /// One line, or several if the message has them.
    pub fn say(&self, level: Level, message: &str) {
        if level < self.threshold {
            return;
        }
        let word = match level {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARNING",
            Level::Error => "ERROR",
        };
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lines(word, message);
    }

    /// Why the program fails: one `CRITICAL` line for each line of the report.
    pub fn critical(&self, error: &Error) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lines("CRITICAL", &error.report());
    }

    /// Writes what counters still hold, and how long the job took.
    pub fn finish(&self, job_type: &str, succeeded: bool) {
        if self.threshold > Level::Info {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.counters(None);
        let status = if succeeded { "succeeded" } else { "failed" };
        let seconds = state.began.elapsed().as_secs_f64();
        state.metric(&json!({"type": "timer", "metric": "job_duration", "value": seconds,
            "tags": {"job_type": job_type, "status": status}}));
    }
}

impl JobLog for SingerLog {
    fn event(&self, event: Event) {
        if let Some((level, message)) = line(&event) {
            self.say(level, &message);
        }
        if self.threshold > Level::Info {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Extracted { stream, records, .. } => {
                *state.counts.entry(stream).or_default() += records;
                if state.written.elapsed() >= INTERVAL {
                    state.counters(None);
                }
            }
            Event::StreamEnded { stream, .. } => state.counters(Some(&stream)),
            Event::Call { stream, endpoint, status, duration, usable } => {
                let mut tags = json!({"endpoint": endpoint,
                    "status": if usable { "succeeded" } else { "failed" }});
                if let Some(status) = status {
                    tags["http_status_code"] = status.into();
                }
                if let Some(stream) = stream {
                    tags["stream"] = stream.as_str().into();
                }
                state.metric(&json!({"type": "timer", "metric": "http_request_duration",
                    "value": duration.as_secs_f64(), "tags": tags}));
            }
            _ => {}
        }
    }
}

impl State {
    fn lines(&mut self, word: &str, message: &str) {
        let mut text = String::new();
        for line in message.lines() {
            text.push_str(word);
            text.push(' ');
            text.push_str(line);
            text.push('\n');
        }
        // A log that cannot be written must not stop the job.
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }

    fn metric(&mut self, metric: &serde_json::Value) {
        self.lines("INFO", &format!("METRIC: {metric}"));
    }

    /// Counter lines for one stream or all.
    fn counters(&mut self, only: Option<&StreamName>) {
        let due: Vec<StreamName> = match only {
            Some(stream) => vec![stream.clone()],
            None => self.counts.keys().cloned().collect(),
        };
        for stream in due {
            if let Some(count) = self.counts.remove(&stream) {
                self.metric(&json!({"type": "counter", "metric": "record_count", "value": count,
                    "tags": {"endpoint": stream.as_str()}}));
            }
        }
        if only.is_none() {
            self.written = Instant::now();
        }
    }
}

fn level_named(word: &str) -> Level {
    match word.to_ascii_uppercase().as_str() {
        "DEBUG" | "NOTSET" => Level::Debug,
        "WARNING" | "WARN" => Level::Warn,
        "ERROR" | "CRITICAL" | "FATAL" => Level::Error,
        _ => Level::Info,
    }
}

/// What an event says to a person, if anything.
fn line(event: &Event) -> Option<(Level, String)> {
    Some(match event {
        Event::StreamStarted { stream, from: Some(from), until: Some(until) } => {
            (Level::Info, format!("{stream}: reading from {from} up to {until}"))
        }
        Event::StreamStarted { stream, .. } => (Level::Info, format!("{stream}: reading")),
        Event::StreamTotal { stream, total } => {
            (Level::Info, format!("{stream}: {total} records to read"))
        }
        Event::Window { stream, from, to, received, verified, .. } => {
            let level = if *verified { Level::Debug } else { Level::Info };
            let note = if *verified { "" } else { ", not verified" };
            (level, format!("{stream}: {received} records from {from} to {to}{note}"))
        }
        Event::StreamEnded { stream, outcome, reason } => match reason {
            Some(reason) => (Level::Warn, format!("{stream}: {outcome}: {reason}")),
            None => (Level::Info, format!("{stream}: {outcome}")),
        },
        Event::RateWait { bucket, duration } => (
            Level::Info,
            format!("waiting {:.1} s for the {bucket} rate limit", duration.as_secs_f64()),
        ),
        Event::TableChanged { change } => (Level::Info, change.to_string()),
        Event::Notice { level, message, .. } => (*level, message.clone()),
        // A rejected record is told where it is kept; the rest is in the metrics.
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::sync::Arc;

    use bobbin_core::ErrorKind;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(threshold: Level, write: impl FnOnce(&SingerLog)) -> String {
        let out = Shared::default();
        write(&SingerLog::new(Box::new(out.clone()), threshold));
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn story(log: &SingerLog) {
        let stream = || StreamName::from("users");
        log.event(Event::StreamStarted { stream: stream(), from: None, until: None });
        log.event(Event::Extracted { stream: stream(), records: 100, bytes: 9 });
        log.event(Event::Extracted { stream: stream(), records: 20, bytes: 9 });
        log.event(Event::Call {
            stream: Some(stream()),
            endpoint: "GET /v1/users".into(),
            status: Some(200),
            duration: Duration::from_millis(1230),
            usable: true,
        });
        log.event(Event::Notice { level: Level::Warn, stream: None, message: "two\nlines".into() });
        log.event(Event::StreamEnded { stream: stream(), outcome: "complete", reason: None });
        log.critical(
            &Error::new(ErrorKind::Auth, "the key is not accepted").hint("make a new one"),
        );
    }

    #[test]
    fn lines_and_metrics_as_singer_python_writes_them() {
        insta::assert_snapshot!(logged(Level::Info, story), @r#"
        INFO users: reading
        INFO METRIC: {"type":"timer","metric":"http_request_duration","value":1.23,"tags":{"endpoint":"GET /v1/users","status":"succeeded","http_status_code":200,"stream":"users"}}
        WARNING two
        WARNING lines
        INFO users: complete
        INFO METRIC: {"type":"counter","metric":"record_count","value":120,"tags":{"endpoint":"users"}}
        CRITICAL the key is not accepted
        CRITICAL   hint: make a new one
        "#);
    }

    #[test]
    fn the_level_decides_but_never_about_critical() {
        insta::assert_snapshot!(logged(Level::Error, story), @r#"
        CRITICAL the key is not accepted
        CRITICAL   hint: make a new one
        "#);
        for (word, level) in [
            ("debug", Level::Debug),
            ("INFO", Level::Info),
            ("Warning", Level::Warn),
            ("CRITICAL", Level::Error),
            ("", Level::Info),
            ("loud", Level::Info),
        ] {
            assert_eq!(level_named(word), level, "{word}");
        }
    }
}
