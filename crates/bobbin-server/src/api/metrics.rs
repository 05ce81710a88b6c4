//! `/metrics` in Prometheus' text form.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bobbin_engine::ledger::NoticeKind;
use jiff::Timestamp;

use super::{Answer, asked};
use crate::Api;

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Answer<Response> {
    let text = asked(api, text).await?;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// A page of metrics.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Begins one; its samples follow.
    fn gauge(&mut self, name: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP bobbin_{name} {help}\n# TYPE bobbin_{name} gauge");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.0, "bobbin_{name}{{");
        for (at, (label, value)) in labels.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{comma}{label}=\"{value}\"");
        }
        let _ = writeln!(self.0, "}} {value}");
    }
}

fn text(api: &Api) -> Answer<String> {
    let ledger = api.engine.ledger()?;
    let now = Timestamp::now();
    let seen = api.control.look()?;
    let mut page = Page::default();
    page.gauge("info", "Which bobbin runs.");
    page.sample("info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge("running", "Whether a job of the connection runs.");
    for seen in &seen {
        let of = [("connection", seen.connection.as_str())];
        page.sample("running", &of, u8::from(seen.running_since.is_some()));
    }
    page.gauge("paused", "Whether the connection's schedule is paused.");
    for seen in &seen {
        page.sample("paused", &[("connection", seen.connection.as_str())], u8::from(seen.paused));
    }
    page.gauge("next_job_seconds", "When the next job is due, in seconds since 1970.");
    for seen in &seen {
        if let Some(next) = seen.next {
            let of = [("connection", seen.connection.as_str())];
            page.sample("next_job_seconds", &of, next.as_second());
        }
    }
    page.gauge("last_complete_seconds", "When a job was complete last, in seconds since 1970.");
    for seen in &seen {
        if let Some(at) = ledger.last_complete(&seen.connection)? {
            let of = [("connection", seen.connection.as_str())];
            page.sample("last_complete_seconds", &of, at.as_second());
        }
    }
    page.gauge("jobs", "Jobs in the history that is kept, by how they ended.");
    for seen in &seen {
        for (outcome, count) in ledger.outcomes(&seen.connection)? {
            let of = [("connection", seen.connection.as_str()), ("outcome", outcome.as_str())];
            page.sample("jobs", &of, count);
        }
    }
    page.gauge("rows_loaded_day", "Rows loaded in the last 24 hours, sub-tables with their table.");
    for seen in &seen {
        for table in ledger.loaded_tables(&seen.connection, now)? {
            let of = [("connection", seen.connection.as_str()), ("table", table.stream.as_str())];
            let items: u64 = table.subtables.values().map(|rows| rows.day).sum();
            page.sample("rows_loaded_day", &of, table.rows.day + items);
        }
    }
    page.gauge("notices", "Whether something needs attention.");
    let open = ledger.notices(false, 10_000)?;
    for seen in &seen {
        for kind in NoticeKind::ALL {
            let is = |notice: &&bobbin_engine::ledger::Notice| {
                notice.kind == kind && notice.connection == seen.connection
            };
            let of = [("connection", seen.connection.as_str()), ("kind", kind.word())];
            page.sample("notices", &of, open.iter().filter(is).count());
        }
    }
    Ok(page.0)
}
