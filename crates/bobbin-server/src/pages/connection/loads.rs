//! What was loaded: per table, and load by load.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use bobbin_core::id::StreamName;
use bobbin_engine::ledger::{Load, LoadedTable, Rows};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Head, Tab};
use crate::Api;
use crate::api::Answer;
use crate::pages::show::{Ago, Bytes, Count, Lasting, When, between};
use crate::pages::{Frame, Place, Visit, shown};

/// Loads of a page.
const PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "connection/loads.html")]
struct LoadsPage {
    frame: Frame,
    head: Head,
    range: Range,
    tables: Vec<Table>,
    sum: Count,
    /// The table whose loads are listed; none for all.
    table: Option<String>,
    loads: Vec<Line>,
    older: Option<i64>,
    is_first: bool,
}

/// Of which time rows are counted (F-59).
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Range {
    #[default]
    Day,
    Period,
    Before,
}

impl Range {
    fn all(self) -> [(&'static str, &'static str, bool); 3] {
        [
            ("day", "Last 24 hours", self == Self::Day),
            ("period", "Last 30 days", self == Self::Period),
            ("before", "The 30 days before", self == Self::Before),
        ]
    }

    fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Period => "period",
            Self::Before => "before",
        }
    }

    fn of(self, rows: Rows) -> u64 {
        match self {
            Self::Day => rows.day,
            Self::Period => rows.period,
            Self::Before => rows.period_before,
        }
    }
}

struct Table {
    name: String,
    rows: Count,
    subtables: Vec<(String, Count)>,
    key: Option<String>,
    mark: Option<String>,
    extracted: Option<When>,
    loaded: Option<Ago>,
    error: Option<String>,
}

struct Line {
    table: String,
    ended: When,
    lasted: Lasting,
    rows: Count,
    unchanged: Count,
    rejected: u64,
    removed: u64,
    bytes: Bytes,
    subtables: Vec<(String, Count)>,
    mark: Option<String>,
    changes: Vec<String>,
    error: Option<String>,
    job: String,
    replaced: bool,
}

#[derive(Deserialize)]
pub(in crate::pages) struct Wanted {
    #[serde(default)]
    range: Range,
    table: Option<String>,
    before: Option<i64>,
}

pub(in crate::pages) async fn list(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
    Query(wanted): Query<Wanted>,
    visit: Visit,
) -> Response {
    shown(api, visit, Place::Connections, move |api, frame| page(api, frame, &connection, wanted))
        .await
}

fn page(api: &Api, frame: Frame, connection: &str, wanted: Wanted) -> Answer<LoadsPage> {
    let (ledger, now) = (api.engine.ledger()?, Timestamp::now());
    let head = Head::of(api, &*ledger, connection, Tab::Loads)?;
    let range = wanted.range;
    let tables = ledger.loaded_tables(&head.id, now)?.into_iter();
    let tables: Vec<Table> = tables.map(|table| of_table(table, range)).collect();
    let table = wanted.table.filter(|table| !table.is_empty());
    let stream = table.as_deref().map(StreamName::from);
    let loads = ledger.loads(&head.id, stream.as_ref(), wanted.before, PAGE)?;
    let older = loads.last().filter(|_| loads.len() == PAGE as usize).map(|(id, _)| *id);
    let title = format!("Loads of {}", head.described.display_name);
    let of_subtables = |table: &Table| table.subtables.iter().map(|(_, rows)| rows.0).sum::<u64>();
    Ok(LoadsPage {
        sum: Count(tables.iter().map(|table| table.rows.0 + of_subtables(table)).sum()),
        frame: frame.titled(title),
        range,
        tables,
        table,
        loads: loads.into_iter().map(|(_, load)| of_load(load)).collect(),
        older,
        is_first: wanted.before.is_none(),
        head,
    })
}

fn of_table(table: LoadedTable, range: Range) -> Table {
    let subtables = table.subtables.into_iter();
    Table {
        name: table.stream.to_string(),
        rows: Count(range.of(table.rows)),
        subtables: subtables.map(|(name, rows)| (name, Count(range.of(rows)))).collect(),
        key: table.replication_key,
        mark: table.bookmark.map(|mark| mark.to_string()),
        extracted: table.extracted_at.map(When),
        loaded: table.loaded_at.map(Ago),
        error: table.error,
    }
}

fn of_load(load: Load) -> Line {
    let subtables = load.subtables.into_iter();
    Line {
        table: load.stream.to_string(),
        ended: When(load.ended),
        lasted: between(load.started, load.ended),
        rows: Count(load.rows),
        unchanged: Count(load.unchanged),
        rejected: load.rejected,
        removed: load.removed,
        bytes: Bytes(load.bytes),
        subtables: subtables.map(|(name, rows)| (name, Count(rows))).collect(),
        mark: load.bookmark.map(|span| span.max.to_string()),
        changes: load.changes.iter().map(ToString::to_string).collect(),
        error: load.error,
        job: load.job.to_string(),
        replaced: load.replaced,
    }
}
