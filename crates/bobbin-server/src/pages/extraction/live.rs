//! A running job's page as it goes on: one renderer for all who look at it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use askama::Template;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bobbin_core::Error;
use bobbin_engine::job_reader::LinesQuery;
use futures_core::Stream;
use tokio::sync::mpsc;

use super::coverage::CoveragePart;
use super::log::{LineShown, NewLines};
use super::parts::{BudgetPart, HeadPart, TablesPart, TroublesPart};
use super::{LATER, Seen};
use crate::Api;
use crate::api::{Answer, asked, job_row, known};
use crate::gate::Watch;
use crate::guests::Seat;
use crate::live::{Live, Parts, Pulse, Which, locked};

/// Lines that are sent at once; those before them are asked for by whoever wants to see them.
const MOST_LINES: usize = 200;

/// After so long a viewer comes anew, so that one who may not look any more does not.
const STAY: Duration = Duration::from_mins(10);

/// What happens in a running job, as parts of its page, until it has ended (server-sent events).
pub(in super::super) async fn follow(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Extension(guest): Extension<Seat>,
    Path((connection, job)): Path<(String, String)>,
) -> Answer<Response> {
    let seat = watch.live.seat()?;
    let (live, question) = (Arc::clone(&watch.live), Arc::clone(&api));
    let which = asked(question, move |api| {
        let which: Which = (known(api, &connection)?, job.as_str().into());
        Ok(job_row(api, &which.0, &which.1)?.map(|_| which))
    })
    .await?;
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONNECTION, "close"),
    ];
    // A page that waits for it asks until it is told: the service may have been started anew meanwhile.
    let Some(which) = which else {
        let gone = text(&Gone { begun: false })?;
        let events = format!("event: head\ndata: {gone}\n\nevent: gone\ndata: gone\n\n");
        return Ok((headers, events).into_response());
    };
    let renderer = Renderer {
        api,
        live: Arc::clone(&live),
        which: which.clone(),
        told: AtomicU64::new(0),
        begun: AtomicBool::new(false),
        waiting: Mutex::default(),
    };
    let mut pulses = live.watch(&which, move || renderer.parts());
    if pulses.borrow().number > 0 {
        // Whoever comes later does not wait for the next one.
        pulses.mark_changed();
    }
    guest.leave();
    let (sender, parts) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        let _seat = seat;
        let mut seen = 0;
        let stay = tokio::time::sleep(STAY);
        tokio::pin!(stay);
        loop {
            let changed = tokio::select! {
                changed = pulses.changed() => changed,
                () = sender.closed() => return,
                () = &mut stay => return,
            };
            if changed.is_err() {
                return;
            }
            let Pulse { number, whole, news } = pulses.borrow_and_update().clone();
            // Whoever was too slow for one gets all of it.
            let text = if number == seen + 1 && seen > 0 { news } else { whole };
            seen = number;
            if sender.send(text).await.is_err() {
                return;
            }
        }
    });
    Ok((headers, axum::body::Body::from_stream(Sent(parts))).into_response())
}

struct Sent(mpsc::Receiver<Bytes>);

impl Stream for Sent {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|part| part.map(Ok))
    }
}

/// What is told of a job that is not known any more.
#[derive(Template)]
#[template(
    ext = "html",
    source = "<div class=\"note\">{% if begun %}<h2>Its connection was deleted</h2>\
              <p>What it had extracted until then is loaded.</p>{% else %}\
              <h2>It was taken out before its turn came</h2><p>Somebody stopped it or deleted its connection, or the \
              service was started anew. Nothing was read.</p>{% endif %}</div>"
)]
struct Gone {
    begun: bool,
}

/// Makes the parts of one job's page.
struct Renderer {
    api: Arc<Api>,
    live: Arc<Live>,
    which: Which,
    /// Lines that were told.
    told: AtomicU64,
    /// Whether it was ever seen to run.
    begun: AtomicBool,
    /// Whether the end was seen once: what is written down then is shown the next time.
    waiting: Mutex<bool>,
}

impl Renderer {
    fn parts(&self) -> Answer<Parts> {
        let names = (self.which.0.as_str(), self.which.1.as_str());
        let seen = match Seen::of(&self.api, &self.live, names, LATER) {
            // Somebody stopped it before its turn came, and nothing is written down of it.
            Err(problem) if problem.status() == StatusCode::NOT_FOUND => {
                let begun = self.begun.load(Ordering::Relaxed);
                return Ok(Parts {
                    lasting: vec![("head", text(&Gone { begun })?)],
                    passing: Vec::new(),
                    end: Some("gone"),
                });
            }
            seen => seen?,
        };
        self.begun.fetch_or(!seen.waits, Ordering::Relaxed);
        let lasting = vec![
            ("head", text(&HeadPart::of(&seen))?),
            ("troubles", text(&TroublesPart::of(&seen))?),
            ("budget", text(&BudgetPart::of(&seen.view))?),
            ("tables", text(&TablesPart::of(&self.api, &seen)?)?),
            ("coverage", text(&CoveragePart::of(&seen))?),
        ];
        let mut passing = Vec::new();
        if let Some(lines) = self.lines(&seen)? {
            passing.push(("log", lines));
        }
        let mut waiting = locked(&self.waiting);
        let over = std::mem::replace(&mut *waiting, !seen.is_running()) && !seen.is_running();
        Ok(Parts { lasting, passing, end: over.then_some("ended") })
    }

    /// The lines that nobody was told yet.
    fn lines(&self, seen: &Seen) -> Answer<Option<String>> {
        let total = seen.view.lines;
        let told = self.told.swap(total, Ordering::Relaxed);
        if told == 0 || told >= total {
            return Ok(None);
        }
        let first = (told + 1).max((total + 1).saturating_sub(MOST_LINES as u64));
        let query = LinesQuery { line: first, most: MOST_LINES, ..LinesQuery::default() };
        let reader = self.live.reader(&self.api.engine, &self.which)?;
        let found = locked(&reader).lines(&query, Instant::now() + LATER)?;
        // Another look may have read on since.
        let found = found.lines.into_iter().filter(|(number, _)| *number <= total);
        let lines = found.map(LineShown::of).collect();
        text(&NewLines { address: seen.address.clone(), lines }).map(Some)
    }
}

fn text<T: Template>(part: &T) -> Answer<String> {
    let bug = |error: askama::Error| Error::bug("a page cannot be shown").caused_by(error);
    Ok(part.render().map_err(bug)?)
}
