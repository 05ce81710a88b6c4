//! A job's log: as lines, as objects, or as events that go on while it runs. It is never read whole.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bobbin_core::id::{ConnectionId, JobId};
use bobbin_core::{Error, Result};
use bobbin_engine::{Engine, job_log};
use futures_core::Stream;
use serde::Deserialize;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::Instant;

use super::{Answer, Given, asked, given, known};
use crate::Api;
use crate::gate::Watch;
use crate::problem::Problem;

/// Bytes of text that are sent at once.
const CHUNK: usize = 64 << 10;

/// The most lines that are given from a log's end.
const MOST_LAST: usize = 10_000;

/// How often a log that goes on is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// How often it is asked whether the job has ended.
const ASK: Duration = Duration::from_secs(2);

/// After so many looks without a line something is sent, so that nobody takes it for dead.
const QUIET_LOOKS: u32 = 50;

#[derive(Deserialize)]
pub(super) struct LogQuery {
    /// `text` (lines in Stitch's form), `json` (an object a line) or `events` (server-sent events,
    /// which go on until the job has ended).
    format: Option<String>,
    /// Only lines that hold this text.
    search: Option<String>,
    /// Only the last so many of them, and what comes then.
    last: Option<usize>,
    /// Without lines of level DEBUG.
    #[serde(default)]
    brief: bool,
    /// As a file to keep.
    #[serde(default)]
    download: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Events,
}

pub(super) async fn log(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path((connection, job)): Path<(String, String)>,
    query: Given<Query<LogQuery>, QueryRejection>,
) -> Answer<Response> {
    let Query(query) = given(query)?;
    let form = match query.format.as_deref() {
        None | Some("text") => Form::Text,
        Some("json") => Form::Json,
        Some("events") => Form::Events,
        Some(_) => {
            let detail = "format is neither text, json nor events";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
    };
    let seat = match form {
        Form::Events => Some(watch.seat("close one, or ask without format=events")?),
        Form::Text | Form::Json => None,
    };
    let engine = api.engine.clone();
    let cursor = asked(api, move |api| {
        let (connection, job) = (known(api, &connection)?, JobId::from(job.as_str()));
        let file = job_log::open(engine.home(), &connection, &job)?;
        let (lines, partial) = (BufReader::new(file), String::new());
        let last = None;
        let mut cursor = Cursor { engine, connection, job, lines, partial, last, query, form };
        cursor.skip()?;
        Ok(cursor)
    });
    let cursor = cursor.await?;
    let (kind, extension) = match form {
        Form::Text => ("text/plain; charset=utf-8", "log"),
        Form::Json => ("application/x-ndjson", "jsonl"),
        Form::Events => ("text/event-stream", "events"),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if cursor.query.download {
        let name = format!("attachment; filename=\"{}.{extension}\"", cursor.job);
        if let Ok(name) = HeaderValue::from_str(&name) {
            headers.insert(header::CONTENT_DISPOSITION, name);
        }
    }
    let (sender, chunks) = channel(4);
    tokio::spawn(async move {
        let _seat = seat;
        send(cursor, sender).await;
    });
    Ok((headers, Body::from_stream(Chunks(chunks))).into_response())
}

/// Sends a log to whoever listens.
async fn send(mut cursor: Cursor, sender: tokio::sync::mpsc::Sender<Result<Bytes>>) {
    let (mut quiet, mut over) = (0, cursor.form != Form::Events);
    let mut asked = None;
    // Who has left is noticed though there is nothing to send.
    while !sender.is_closed() {
        let read = tokio::task::spawn_blocking(move || {
            let chunk = cursor.read();
            (cursor, chunk)
        });
        let Ok((back, chunk)) = read.await else { return };
        cursor = back;
        let text = match chunk {
            Ok(Some(text)) => text,
            Ok(None) if over => {
                if cursor.form == Form::Events {
                    let _ = sender.send(Ok(Bytes::from_static(b"event: end\ndata:\n\n"))).await;
                }
                return;
            }
            Ok(None) => {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = sender.closed() => return,
                }
                if asked.is_none_or(|at: Instant| at.elapsed() >= ASK) {
                    let ended = tokio::task::spawn_blocking(move || {
                        let ended = cursor.ended();
                        (cursor, ended)
                    });
                    let Ok((back, ended)) = ended.await else { return };
                    cursor = back;
                    // Whatever was written until then is read once more.
                    over = ended;
                    asked = Some(Instant::now());
                }
                quiet += 1;
                if quiet < QUIET_LOOKS {
                    continue;
                }
                ":\n\n".to_owned()
            }
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        quiet = 0;
        if !text.is_empty() && sender.send(Ok(Bytes::from(text))).await.is_err() {
            return;
        }
    }
}

/// How far a log was read.
struct Cursor {
    engine: Engine,
    connection: ConnectionId,
    job: JobId,
    lines: BufReader<File>,
    /// A line that is still being written.
    partial: String,
    /// Lines from the end, which come first.
    last: Option<String>,
    query: LogQuery,
    form: Form,
}

impl Cursor {
    /// Goes to the end, if only the last lines are wanted.
    fn skip(&mut self) -> Result<()> {
        let Some(most) = self.query.last else { return Ok(()) };
        let mut file = self.lines.get_ref().try_clone().map_err(failed)?;
        let most = most.clamp(1, MOST_LAST);
        let lines = job_log::last_lines(&mut file, most, |object| {
            let mut text = String::new();
            self.show(object, &mut text);
            (!text.is_empty()).then_some(text)
        })?;
        // Both names of the file stand at the same place.
        self.last = Some(lines.concat());
        Ok(())
    }

    /// The next lines, as they are shown; nothing at the end of what is written by now.
    fn read(&mut self) -> Result<Option<String>> {
        if let Some(last) = self.last.take() {
            return Ok(Some(last));
        }
        let mut text = String::new();
        let mut bytes = 0;
        while bytes < CHUNK {
            let read = self.lines.read_line(&mut self.partial).map_err(failed)?;
            if read == 0 || !self.partial.ends_with('\n') {
                return Ok((bytes > 0).then_some(text));
            }
            bytes += self.partial.len();
            let line = std::mem::take(&mut self.partial);
            self.show(line.trim_end(), &mut text);
        }
        Ok(Some(text))
    }

    fn show(&self, object: &str, text: &mut String) {
        let Some(line) = job_log::line(object) else { return };
        let wanted = self.query.search.as_ref().is_none_or(|wanted| line.contains(wanted));
        if !wanted || (self.query.brief && line.contains(" - DEBUG ")) {
            return;
        }
        match self.form {
            Form::Text => text.push_str(&line),
            Form::Json => text.push_str(object),
            Form::Events => {
                text.push_str("data: ");
                text.push_str(&line);
                text.push('\n');
            }
        }
        text.push('\n');
    }

    /// Whether nothing more can come.
    fn ended(&self) -> bool {
        let job = self.engine.ledger().and_then(|ledger| ledger.job(&self.connection, &self.job));
        job.is_ok_and(|job| job.is_none_or(|job| job.ended))
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("cannot read the job's log", error)
}

/// What was sent, as a body.
struct Chunks(Receiver<Result<Bytes>>);

impl Stream for Chunks {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.0.poll_recv(cx)
    }
}
