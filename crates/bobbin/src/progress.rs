//! What a run shows while it runs: bars on a terminal, lines elsewhere, or JSON events.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bobbin_core::id::StreamName;
use bobbin_core::report::{Event, JobLog, Level};
use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use jiff::Timestamp;

use crate::cli::Format;
use crate::out::eprintln;
use crate::print;

/// Shows events as they come.
pub(crate) struct Progress {
    view: View,
}

enum View {
    Bars(Mutex<Bars>),
    Lines(Mutex<Lines>),
    Json,
}

impl Progress {
    /// Bars when stderr is a terminal, lines when not, JSON events on stdout when asked for.
    pub(crate) fn new(format: Format, verbose: bool) -> Self {
        let view = match format {
            Format::Json => View::Json,
            Format::Text if std::io::stderr().is_terminal() && !verbose => {
                View::Bars(Mutex::new(Bars::new()))
            }
            Format::Text => View::Lines(Mutex::new(Lines {
                verbose,
                last: Instant::now(),
                counts: HashMap::new(),
            })),
        };
        Self { view }
    }

    /// Takes the bars away, so that the summary stands alone.
    pub(crate) fn finish(&self) {
        if let View::Bars(bars) = &self.view {
            let bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
            for bar in bars.streams.values().chain([&bars.calls]) {
                bar.finish_and_clear();
            }
            let _ = bars.all.clear();
        }
    }
}

impl JobLog for Progress {
    fn event(&self, event: Event) {
        match &self.view {
            View::Bars(bars) => bars.lock().unwrap_or_else(PoisonError::into_inner).event(&event),
            View::Lines(lines) => {
                lines.lock().unwrap_or_else(PoisonError::into_inner).event(&event);
            }
            View::Json => json(&event),
        }
    }
}

fn json(event: &Event) {
    if let Ok(mut value) = serde_json::to_value(event) {
        if let Some(object) = value.as_object_mut() {
            object.insert("ts".into(), Timestamp::now().to_string().into());
        }
        let _ = writeln!(std::io::stdout().lock(), "{value}");
    }
}

/// One bar per stream and a line about calls.
struct Bars {
    all: MultiProgress,
    streams: HashMap<StreamName, ProgressBar>,
    calls: ProgressBar,
    made: u64,
    limits: BTreeMap<&'static str, (u32, u32)>,
    loaded: u64,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let calls = all.add(ProgressBar::new_spinner());
        calls.set_style(style("  {spinner} {msg}"));
        calls.enable_steady_tick(Duration::from_millis(200));
        Self { all, streams: HashMap::new(), calls, made: 0, limits: BTreeMap::new(), loaded: 0 }
    }

    fn bar(&mut self, stream: &StreamName) -> &ProgressBar {
        self.streams.entry(stream.clone()).or_insert_with(|| {
            let bar = self.all.insert_before(&self.calls, ProgressBar::new(0));
            bar.set_style(style(
                "  {prefix:<14} {bar:28.green/dim} {human_pos:>10} / {human_len:<10} {speed:>12}  {left}",
            ));
            bar.set_prefix(stream.to_string());
            bar
        })
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::StreamStarted { stream, .. } => {
                self.bar(stream);
            }
            Event::StreamTotal { stream, total } => self.bar(stream).set_length(*total),
            Event::Extracted { stream, records, .. } => {
                let bar = self.bar(stream);
                bar.inc(*records);
                if bar.length().unwrap_or(0) < bar.position() {
                    bar.set_length(bar.position());
                }
            }
            Event::StreamEnded { stream, outcome, .. } => {
                let bar = self.bar(stream);
                bar.set_style(style("  {prefix:<14} {bar:28.green/dim} {msg}"));
                let records = print::number(bar.position());
                // A bar of length 0 would look as if nothing had happened.
                bar.set_length(1);
                bar.set_position(1);
                bar.finish_with_message(format!("{records:>10} records    {outcome}"));
            }
            Event::Call { .. } => {
                self.made += 1;
                self.tell();
            }
            Event::RateLimit { bucket, limit, remaining } => {
                self.limits.insert(bucket, (*limit, *remaining));
                self.tell();
            }
            Event::Loaded { rows, .. } => {
                self.loaded += rows;
                self.tell();
            }
            Event::Notice { level, stream, message } if *level >= Level::Info => {
                let line = notice(*level, stream.as_ref(), message);
                let _ = self.all.println(line);
            }
            _ => {}
        }
    }

    fn tell(&self) {
        let mut text = format!(
            "{} calls, {} rows durable",
            print::number(self.made),
            print::number(self.loaded)
        );
        for (bucket, (limit, remaining)) in &self.limits {
            text.push_str(&format!(", {bucket}: {remaining} of {limit} calls left this minute"));
        }
        self.calls.set_message(text);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("speed", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = write!(out, "{}/s", print::number(state.per_sec() as u64));
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn fmt::Write| {
            // Without a total nothing can be said.
            if state.len().is_some_and(|total| total > state.pos()) {
                let _ = write!(out, "ETA {}", HumanDuration(state.eta()));
            }
        })
        .progress_chars("━╸─")
}

/// Plain lines: what begins, what ends, and now and then how far it is.
struct Lines {
    verbose: bool,
    last: Instant,
    counts: HashMap<StreamName, (u64, Option<u64>)>,
}

impl Lines {
    fn event(&mut self, event: &Event) {
        match event {
            Event::StreamStarted { stream, from, until } => {
                let span = match (from, until) {
                    (Some(from), Some(until)) => format!(" from {from:.0} until {until:.0}"),
                    _ => String::new(),
                };
                line(&format!("{stream}: extracting{span}"));
            }
            Event::StreamTotal { stream, total } => {
                let (count, all) = self.counts.entry(stream.clone()).or_default();
                *all = Some(all.map_or(0, |_| *count) + *total);
            }
            Event::Extracted { stream, records, .. } => {
                let (count, total) = self.counts.entry(stream.clone()).or_default();
                *count += records;
                if self.last.elapsed() >= Duration::from_secs(10) {
                    self.last = Instant::now();
                    let of = total
                        .map_or_else(String::new, |total| format!(" of {}", print::number(total)));
                    line(&format!("{stream}: {}{of} records so far", print::number(*count)));
                }
            }
            Event::StreamEnded { stream, outcome, .. } => {
                let count = self.counts.get(stream).map_or(0, |counts| counts.0);
                line(&format!("{stream}: {} records, {outcome}", print::number(count)));
            }
            Event::Notice { level, stream, message } if *level >= Level::Info || self.verbose => {
                line(&notice(*level, stream.as_ref(), message));
            }
            Event::Window { stream, from, to, expected, received, calls, verified }
                if self.verbose =>
            {
                let expected = expected.map_or_else(|| "?".into(), |expected| expected.to_string());
                let verdict = if *verified { "verified" } else { "NOT verified" };
                line(&format!(
                    "{stream}: window {from} .. {to}: {received} of {expected} records in {calls} calls, {verdict}"
                ));
            }
            Event::Call { endpoint, status, duration, usable, .. } if self.verbose => {
                let status = status.map_or_else(|| "no answer".into(), |status| status.to_string());
                let verdict = if *usable { "" } else { ", not usable" };
                line(&format!(
                    "{endpoint}: {status} in {:.0} ms{verdict}",
                    duration.as_secs_f64() * 1e3
                ));
            }
            Event::TableChanged { change } if self.verbose => line(&change.to_string()),
            _ => {}
        }
    }
}

fn line(text: &str) {
    let now = Timestamp::now();
    eprintln!("{now:.0} {text}");
}

fn notice(level: Level, stream: Option<&StreamName>, message: &str) -> String {
    let terminal = std::io::stderr().is_terminal();
    let lead = match level {
        Level::Error => print::paint("error: ", print::RED, terminal),
        Level::Warn => print::paint("warning: ", print::YELLOW, terminal),
        Level::Info | Level::Debug => String::new(),
    };
    match stream {
        Some(stream) => format!("{lead}{stream}: {message}"),
        None => format!("{lead}{message}"),
    }
}
