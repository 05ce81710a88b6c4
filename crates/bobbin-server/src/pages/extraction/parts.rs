//! Head, budget and tables of an extraction.

use std::collections::BTreeSet;

use askama::Template;
use bobbin_core::id::StreamName;
use bobbin_engine::TableReport;
use bobbin_engine::job_view::{Budget, JobView, TableView, Trouble};
use bobbin_engine::report::{Phase, RunReport};
use jiff::Timestamp;

use super::super::show::{Bytes, Count, Lasting, State, When, between};
use super::Seen;
use crate::Api;
use crate::api::Answer;

/// How the job is, and why.
#[derive(Template)]
#[template(path = "extraction_head.html")]
pub(super) struct HeadPart {
    pub(super) job: String,
    connection: String,
    address: String,
    state: State,
    trigger: &'static str,
    pub(super) began: When,
    lasted: Lasting,
    running: bool,
    pub(super) waits: bool,
    pub(super) is_backfill: bool,
    version: String,
    from: String,
    into: String,
    extracted: Count,
    loaded: Count,
    rejected: Count,
    calls: Count,
    wasted: Count,
    bytes: Bytes,
    why: Option<Why>,
}

/// Its first warnings and errors. They stand for themselves, so that whoever reads them is not disturbed by
/// what is counted each second.
#[derive(Template)]
#[template(path = "extraction_troubles.html")]
pub(super) struct TroublesPart {
    address: String,
    running: bool,
    troubles: Vec<Trouble>,
    more_troubles: usize,
}

impl TroublesPart {
    pub(super) fn of(seen: &Seen) -> Self {
        let all = &seen.view.troubles;
        Self {
            address: seen.address.clone(),
            running: seen.is_running(),
            troubles: all.iter().take(MOST_TROUBLES).cloned().collect(),
            more_troubles: all.len().saturating_sub(MOST_TROUBLES),
        }
    }
}

/// Why a job did not complete.
struct Why {
    tone: &'static str,
    heading: String,
    text: String,
    next: &'static str,
    /// The line of the log that says so.
    line: Option<u64>,
}

/// Warnings and errors that are shown before the log itself is.
const MOST_TROUBLES: usize = 5;

impl HeadPart {
    pub(super) fn of(seen: &Seen) -> Self {
        let (row, view) = (&seen.row, &seen.view);
        let running = seen.is_running();
        let report = row.report.as_ref();
        let ended = report.map(|report| report.ended);
        let ended = if running { Some(Timestamp::now()) } else { ended.or(view.latest) };
        let sum = |pick: fn(&TableView) -> u64| view.tables.iter().map(pick).sum::<u64>();
        let told = |pick: fn(&TableReport) -> u64| {
            report.map(|report| report.tables.iter().map(pick).sum::<u64>())
        };
        let counted = |told: Option<u64>, seen: u64| Count(told.unwrap_or(seen));
        Self {
            job: seen.which.1.to_string(),
            connection: seen.which.0.to_string(),
            address: seen.address.clone(),
            state: if seen.waits {
                State::new("busy", "Waiting to begin")
            } else {
                State::of(row.status())
            },
            trigger: match row.trigger.as_str() {
                "schedule" => "By its schedule",
                "backfill" => "To read a part again",
                _ => "By somebody",
            },
            began: When(row.started),
            lasted: between(row.started, ended.unwrap_or(row.started)),
            running,
            waits: seen.waits,
            is_backfill: row.is_backfill(),
            version: view.version.clone(),
            from: view.tap.clone(),
            into: view.destination.clone(),
            extracted: counted(told(|table| table.extracted), sum(|table| table.extracted)),
            loaded: counted(told(|table| table.loaded), sum(|table| table.loaded)),
            rejected: counted(told(|table| table.rejected), sum(TableView::set_aside)),
            calls: counted(report.map(|report| report.calls), view.calls),
            wasted: counted(report.map(|report| report.calls_wasted), view.calls_wasted),
            bytes: Bytes(report.map_or_else(|| sum(|table| table.bytes), |report| report.bytes)),
            why: why(seen),
        }
    }
}

/// What follows for a backfill that did not read all: no other job asks for the rest.
const ASK_AGAIN: &str =
    "What was committed is good. What was not read has to be asked for again, in the settings.";

fn why(seen: &Seen) -> Option<Why> {
    let line = seen.view.ended.as_ref().map(|ended| ended.line);
    let why = |tone, heading: &str, text: &str, next| {
        let next = if seen.row.is_backfill() { ASK_AGAIN } else { next };
        Some(Why { tone, heading: heading.to_owned(), text: text.to_owned(), next, line })
    };
    let text = |report: &RunReport| report.error.clone().unwrap_or_default();
    match (seen.row.status(), &seen.row.report) {
        ("abrupt", _) => why(
            "bad",
            "It ended without a word",
            "The process or its machine was stopped in the middle of it.",
            "Nothing is lost: what was committed is good, and the next job goes on from there.",
        ),
        ("interrupted", _) => why(
            "warn",
            "It was stopped",
            "",
            "What was committed is good; the next job goes on from there.",
        ),
        ("failed", Some(report)) => {
            let heading = match report.failed_in {
                Some(Phase::Discovery) => "It failed before anything was read",
                Some(Phase::Target) => "It failed while rows were loaded",
                Some(Phase::Tap) | None => "It failed while records were extracted",
            };
            let next = "What was committed is good. Once the reason is mended, the next job goes on from there.";
            why("bad", heading, &text(report), next)
        }
        ("incomplete", Some(report)) => {
            let tables = report.tables.iter().filter(|table| table.outcome != "complete");
            let lines = tables.map(|table| {
                let why =
                    table.reason.as_deref().map_or_else(String::new, |why| format!(": {why}"));
                format!("{}: {}{why}", table.stream, table.outcome)
            });
            let text = lines.collect::<Vec<_>>().join("\n");
            let next =
                "Everything else is loaded. What is missing is asked for again by the next job.";
            why("warn", "Something is missing", &text, next)
        }
        _ => None,
    }
}

/// What the source allows, and who uses it.
#[derive(Template)]
#[template(path = "extraction_budget.html")]
pub(super) struct BudgetPart {
    budgets: Vec<Gauge>,
    waited: Option<Lasting>,
}

struct Gauge {
    name: String,
    budget: Budget,
    /// Of 1,000 of the gauge's length.
    ours: u64,
    others: u64,
}

impl BudgetPart {
    pub(super) fn of(view: &JobView) -> Self {
        let gauge = |(name, budget): (&String, &Budget)| {
            let part = |calls: u64| (calls * 1000).checked_div(budget.limit).unwrap_or(0).min(1000);
            let name = match name.as_str() {
                "search" => "Searches of this key".to_owned(),
                "organisation" => "All calls of the organisation".to_owned(),
                other => other.to_owned(),
            };
            Gauge { name, budget: *budget, ours: part(budget.ours), others: part(budget.others) }
        };
        let waited = Some(Lasting(view.rate_wait_seconds));
        Self {
            budgets: view.budgets.iter().map(gauge).collect(),
            waited: waited.filter(|waited| waited.0 > 0.0),
        }
    }
}

/// How far each table is.
#[derive(Template)]
#[template(path = "extraction_tables.html")]
pub(super) struct TablesPart {
    address: String,
    running: bool,
    waits: bool,
    rows: Vec<TableRow>,
    done: usize,
}

struct TableRow {
    name: String,
    state: State,
    reason: Option<String>,
    line: Option<u64>,
    extracted: Count,
    total: Option<Count>,
    percent: Option<u64>,
    left: Option<Lasting>,
    loaded: Count,
    unchanged: Option<Count>,
    rejected: Count,
    calls: Count,
    bytes: Bytes,
}

impl TablesPart {
    pub(super) fn of(api: &Api, seen: &Seen) -> Answer<Self> {
        let mut rows: Vec<TableRow> = match &seen.row.report {
            Some(report) => {
                report.tables.iter().map(|table| TableRow::told(table, &seen.view)).collect()
            }
            None => {
                // In the order of extraction; what was only asked for comes then.
                let selection = api.program.selection(&seen.which.0);
                let is_wanted = |table: &&TableView| {
                    // Tables that are not replicated are only asked whether they can be read.
                    let chosen = selection.as_ref().is_none_or(|selection| {
                        selection.contains(&StreamName::from(table.name.as_str()))
                    });
                    chosen || table.began.is_some() || table.extracted > 0
                };
                let mut tables: Vec<&TableView> =
                    seen.view.tables.iter().filter(is_wanted).collect();
                tables.sort_by_key(|table| (table.began.is_none(), table.began));
                tables.into_iter().map(|table| TableRow::seen(table, seen)).collect()
            }
        };
        if seen.is_running() && !seen.row.is_backfill() {
            let there: BTreeSet<String> = rows.iter().map(|row| row.name.clone()).collect();
            let found = api.engine.ledger()?.catalog(&seen.which.0)?;
            let selection = api.program.selection(&seen.which.0).unwrap_or_default();
            let streams = found.into_iter().flat_map(|(found, _)| found.catalog.streams);
            let waiting = streams
                .filter(|stream| selection.contains(&stream.name))
                .filter(|stream| !there.contains(stream.name.as_str()));
            rows.extend(waiting.map(|stream| TableRow::waiting(stream.name.as_str())));
        }
        let done = rows.iter().filter(|row| row.state.tone == "good").count();
        Ok(Self {
            address: seen.address.clone(),
            running: seen.is_running(),
            waits: seen.waits,
            rows,
            done,
        })
    }
}

impl TableRow {
    fn seen(table: &TableView, seen: &Seen) -> Self {
        let ended = table.ended.as_ref();
        let state = match ended {
            Some(ended) if ended.outcome == "complete" && table.is_loaded() => {
                State::of("complete")
            }
            Some(ended) if ended.outcome == "complete" && seen.is_running() => {
                State::new("busy", "Loading")
            }
            Some(ended) if ended.outcome == "complete" => State::of("not loaded"),
            Some(ended) => State::of(&ended.outcome),
            None if !seen.is_running() => State::of("not finished"),
            None if table.began.is_some() => State::new("busy", "Extracting"),
            None => State::new("", "Waiting"),
        };
        let complete = ended.is_some_and(|ended| ended.outcome == "complete");
        let total =
            table.total.filter(|total| ended.is_none() && *total > 0 && *total >= table.extracted);
        let share = table.share().filter(|_| ended.is_none() && table.began.is_some());
        let percent = match share {
            _ if complete => Some(100),
            // All of it is there once it is complete.
            share => share.map(|share| ((share * 100.0) as u64).min(99)),
        };
        Self {
            name: table.name.clone(),
            state,
            reason: ended.and_then(|ended| ended.reason.clone()),
            line: ended.filter(|ended| ended.reason.is_some()).map(|ended| ended.line),
            extracted: Count(table.extracted),
            total: total.map(Count),
            percent,
            left: table.left_seconds(Timestamp::now()).map(Lasting),
            loaded: Count(table.loaded),
            unchanged: None,
            rejected: Count(table.set_aside()),
            calls: Count(table.calls),
            bytes: Bytes(table.bytes),
        }
    }

    fn told(table: &TableReport, view: &JobView) -> Self {
        let seen = view.tables.iter().find(|seen| seen.name == table.stream);
        let ended = seen.and_then(|seen| seen.ended.as_ref());
        Self {
            name: table.stream.clone(),
            state: State::of(&table.outcome),
            reason: table.reason.clone(),
            line: ended.filter(|ended| ended.reason.is_some()).map(|ended| ended.line),
            extracted: Count(table.extracted),
            total: None,
            percent: None,
            left: None,
            loaded: Count(table.loaded),
            unchanged: Some(Count(table.unchanged)),
            rejected: Count(table.rejected),
            calls: Count(table.calls),
            bytes: Bytes(table.bytes),
        }
    }

    fn waiting(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: State::new("", "Waiting"),
            reason: None,
            line: None,
            extracted: Count(0),
            total: None,
            percent: None,
            left: None,
            loaded: Count(0),
            unchanged: None,
            rejected: Count(0),
            calls: Count(0),
            bytes: Bytes(0),
        }
    }
}
