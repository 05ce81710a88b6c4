//! Jobs as traces, for whoever collects those with OpenTelemetry: a span for the job, below it one for what
//! the source has to offer, one for each table's extraction with its windows, and one for each round of loading
//! with its commit. They are made of the events that a job tells anyway.
//!
//! Where they go says the environment, as OpenTelemetry has it: `OTEL_EXPORTER_OTLP_ENDPOINT` and what goes with
//! it. Without it nothing is traced. Traces that cannot be sent harm no job; it is told once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::env;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use bobbin_core::id::StreamName;
use bobbin_core::report::{Event, JobLog, Level};
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::trace::{SpanBuilder, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::out::eprintln;

/// How long the last spans may take to be sent when the program ends.
const LAST: Duration = Duration::from_secs(10);

/// How long one request may take, unless the environment says otherwise: OpenTelemetry's own default.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read.
const MOST_ANSWER: u64 = 64 << 10;

static PROVIDER: OnceLock<Option<SdkTracerProvider>> = OnceLock::new();

/// The value of one of OpenTelemetry's variables: the one for traces, or the one for everything.
fn said(variable: &str) -> Option<String> {
    let names =
        [format!("OTEL_EXPORTER_OTLP_TRACES_{variable}"), format!("OTEL_EXPORTER_OTLP_{variable}")];
    names.iter().filter_map(|name| env::var(name).ok()).find(|value| !value.trim().is_empty())
}

fn is(variable: &str, value: &str) -> bool {
    env::var(variable).is_ok_and(|text| text.trim().eq_ignore_ascii_case(value))
}

fn provider() -> Option<&'static SdkTracerProvider> {
    let made = PROVIDER.get_or_init(|| {
        let endpoint = said("ENDPOINT")?;
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return None;
        }
        let timeout = said("TIMEOUT").and_then(|text| text.trim().parse().ok());
        let client = Client::new(&endpoint, timeout.map_or(PATIENCE, Duration::from_millis));
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
        let Ok(exporter) = exporter else {
            // What it says may hold the address, and that a password.
            eprintln!("warning: traces are not sent: the OTEL_EXPORTER_OTLP variables cannot be understood");
            return None;
        };
        let named = env::var("OTEL_SERVICE_NAME").is_ok()
            || env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|text| text.contains("service.name="));
        let resource = Resource::builder()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = if named { resource } else { resource.with_service_name("bobbin") };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Some(provider)
    });
    made.as_ref()
}

/// Sends what is not sent yet; to be called once, when the program ends.
pub(crate) fn finish() {
    if let Some(Some(provider)) = PROVIDER.get() {
        // What went wrong was told by the client.
        let _ = provider.shutdown_with_timeout(LAST);
    }
}

/// Posts spans with the client that the rest of the program uses.
struct Client {
    agent: ureq::Agent,
    /// Beyond it nothing of the address is shown.
    host: String,
    told: AtomicBool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client(of {})", self.host)
    }
}

impl Client {
    fn new(endpoint: &str, timeout: Duration) -> Self {
        let uri = endpoint.trim().parse::<ureq::http::Uri>().ok();
        let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or("the collector").to_owned();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .http_status_as_error(false)
            .build();
        Self { agent: config.into(), host, told: AtomicBool::new(false) }
    }

    fn tell(&self, what: &str) {
        if !self.told.swap(true, Ordering::Relaxed) {
            eprintln!("warning: traces cannot be sent to {}: {what}", self.host);
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    /// It blocks: the thread that sends spans does nothing else.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.agent.run(request.map(|body| body.to_vec()));
        let mut answer = answer.map_err(|_| {
            self.tell("it cannot be reached, or does not answer in time");
            // The error's own words may hold the address.
            HttpError::from("the collector cannot be reached")
        })?;
        let status = answer.status();
        if !status.is_success() {
            self.tell(&format!("it answered with status {status}"));
        }
        let body = answer.body_mut().with_config().limit(MOST_ANSWER).read_to_vec();
        Ok(answer.map(|_| Bytes::from(body.unwrap_or_default())))
    }
}

/// A job's log that makes spans of what goes through it.
pub(crate) struct Traced {
    onward: Arc<dyn JobLog>,
    tracer: Option<SdkTracer>,
    job: Mutex<Option<Job>>,
}

/// The spans of a job that are open.
struct Job {
    cx: Context,
    connection: String,
    streams: HashMap<StreamName, Stream>,
}

struct Stream {
    cx: Context,
    /// When its last window ended.
    since: SystemTime,
    records: u64,
    bytes: u64,
}

impl Traced {
    pub(crate) fn new(onward: Arc<dyn JobLog>) -> Self {
        let tracer = provider().map(|provider| provider.tracer("bobbin"));
        Self { onward, tracer, job: Mutex::new(None) }
    }

    fn note(&self, tracer: &SdkTracer, event: &Event) {
        let now = SystemTime::now();
        let mut open = self.job.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::JobStarted { job, connection, tap, destination, version } = event {
            let span = begun(tracer, "job", now).with_attributes([
                text("bobbin.connection", connection),
                text("bobbin.job", job),
                text("bobbin.tap", tap),
                text("bobbin.destination", destination),
                text("bobbin.version", version),
            ]);
            let span = span.start_with_context(tracer, &Context::new());
            let cx = Context::new().with_span(span);
            let connection = connection.to_string();
            *open = Some(Job { cx, connection, streams: HashMap::new() });
            return;
        }
        if let Event::JobEnded { outcome, error } = event {
            if let Some(job) = open.take() {
                job.end(now, outcome, error.as_deref());
            }
            return;
        }
        if let Some(job) = open.as_mut() {
            job.note(tracer, event, now);
        }
    }
}

impl JobLog for Traced {
    fn event(&self, event: Event) {
        if let Some(tracer) = &self.tracer {
            self.note(tracer, &event);
        }
        self.onward.event(event);
    }
}

impl Job {
    fn note(&mut self, tracer: &SdkTracer, event: &Event, now: SystemTime) {
        match event {
            Event::Discovered { streams, duration } => {
                let span = begun(tracer, "discover", before(now, *duration));
                let span = span.with_attributes([self.whose(), count("bobbin.tables", *streams)]);
                span.start_with_context(tracer, &self.cx).end_with_timestamp(now);
            }
            Event::StreamStarted { stream, .. } => {
                let span = begun(tracer, format!("extract {stream}"), now);
                let span = span.with_attributes([self.whose(), text("bobbin.table", stream)]);
                let cx = self.cx.with_span(span.start_with_context(tracer, &self.cx));
                let begun = Stream { cx, since: now, records: 0, bytes: 0 };
                self.streams.insert(stream.clone(), begun);
            }
            Event::Extracted { stream, records, bytes } => {
                if let Some(stream) = self.streams.get_mut(stream) {
                    stream.records += records;
                    stream.bytes += bytes;
                }
            }
            Event::Window { stream, from, to, received, calls, verified, .. } => {
                let whose = self.whose();
                let Some(open) = self.streams.get_mut(stream) else { return };
                // Windows come one after the other; each takes the time since the one before.
                let span = begun(tracer, "window", open.since).with_attributes([
                    whose,
                    text("bobbin.table", stream),
                    text("bobbin.from", from),
                    text("bobbin.to", to),
                    count("bobbin.records", *received),
                    count("bobbin.calls", u64::from(*calls)),
                    KeyValue::new("bobbin.verified", *verified),
                ]);
                span.start_with_context(tracer, &open.cx).end_with_timestamp(now);
                open.since = now;
            }
            Event::StreamEnded { stream, outcome, reason } => {
                if let Some(stream) = self.streams.remove(stream) {
                    stream.end(now, outcome, reason.as_deref());
                }
            }
            Event::Committed { stream, table, rows, rejected, bytes, loading, committing } => {
                let committed = before(now, *committing);
                let span = begun(tracer, format!("load {table}"), before(committed, *loading));
                let span = span.with_attributes([
                    self.whose(),
                    text("bobbin.stream", stream),
                    text("bobbin.table", table),
                    count("bobbin.rows", *rows),
                    count("bobbin.rejected", *rejected),
                    count("bobbin.bytes", *bytes),
                ]);
                let round = self.cx.with_span(span.start_with_context(tracer, &self.cx));
                let span = begun(tracer, "commit", committed)
                    .with_attributes([self.whose(), text("bobbin.table", table)]);
                span.start_with_context(tracer, &round).end_with_timestamp(now);
                round.span().end_with_timestamp(now);
            }
            Event::Notice { level, stream, message } if *level >= Level::Warn => {
                let stream = stream.as_ref().and_then(|stream| self.streams.get(stream));
                let cx = stream.map_or(&self.cx, |stream| &stream.cx);
                let told = vec![text("bobbin.message", message)];
                cx.span().add_event_with_timestamp("warning", now, told);
            }
            _ => {}
        }
    }

    fn whose(&self) -> KeyValue {
        text("bobbin.connection", &self.connection)
    }

    /// Ends it, with what of it did not end.
    fn end(self, now: SystemTime, outcome: &str, error: Option<&str>) {
        for stream in self.streams.into_values() {
            stream.end(now, "not finished", None);
        }
        let span = self.cx.span();
        span.set_attribute(text("bobbin.outcome", outcome));
        if outcome == "failed" {
            span.set_status(Status::error(error.unwrap_or(outcome).to_owned()));
        }
        span.end_with_timestamp(now);
    }
}

impl Stream {
    fn end(self, now: SystemTime, outcome: &str, reason: Option<&str>) {
        let span = self.cx.span();
        span.set_attributes([
            text("bobbin.outcome", outcome),
            count("bobbin.records", self.records),
            count("bobbin.bytes", self.bytes),
        ]);
        if outcome != "complete" {
            span.set_status(Status::error(reason.unwrap_or(outcome).to_owned()));
        }
        span.end_with_timestamp(now);
    }
}

fn begun(tracer: &SdkTracer, name: impl Into<Cow<'static, str>>, at: SystemTime) -> SpanBuilder {
    tracer.span_builder(name).with_kind(SpanKind::Internal).with_start_time(at)
}

fn before(instant: SystemTime, duration: Duration) -> SystemTime {
    instant.checked_sub(duration).unwrap_or(instant)
}

fn text(key: &'static str, value: impl ToString) -> KeyValue {
    KeyValue::new(key, value.to_string())
}

fn count(key: &'static str, value: u64) -> KeyValue {
    KeyValue::new(key, i64::try_from(value).unwrap_or(i64::MAX))
}
