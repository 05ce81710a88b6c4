//! Is it complete, since when, and what is late.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use bobbin_core::id::JobId;
use bobbin_engine::RunReport;
use bobbin_engine::ledger::{JobRow, LoadedTable};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Head, Tab};
use crate::Api;
use crate::api::Answer;
use crate::pages::connections::days;
use crate::pages::show::{Ago, Count, State as Shown, When};
use crate::pages::{Frame, Place, Visit, shown};

#[derive(Template)]
#[template(path = "connection/summary.html")]
struct SummaryPage {
    frame: Frame,
    head: Head,
    verdict: Verdict,
    notices: Vec<Told>,
    complete: Option<Ago>,
    last: Option<Last>,
    next: Option<When>,
    waiting: Count,
    waiting_tables: usize,
    today: Count,
    newest: Option<(String, Ago)>,
    chart: String,
    by_day: Vec<(String, Count)>,
    sum: Count,
    tables: Vec<Table>,
}

/// The one sentence.
struct Verdict {
    tone: &'static str,
    text: String,
    more: String,
}

struct Told {
    tone: &'static str,
    message: String,
    detail: Option<String>,
    since: Ago,
    times: u32,
}

struct Last {
    id: JobId,
    started: Ago,
    state: Shown,
    /// Unless its process died.
    rows: Option<Count>,
}

struct Table {
    name: String,
    /// In the last job; none where it was not in it.
    state: Option<Shown>,
    whole: bool,
    reason: Option<String>,
    rows: Count,
    rejected: u64,
    reached: Option<When>,
    loaded: Option<Ago>,
}

pub(in crate::pages) async fn summary(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
    visit: Visit,
) -> Response {
    shown(api, visit, Place::Connections, move |api, frame| page(api, frame, &connection)).await
}

fn page(api: &Api, frame: Frame, connection: &str) -> Answer<SummaryPage> {
    let (ledger, now) = (api.engine.ledger()?, Timestamp::now());
    let head = Head::of(api, &*ledger, connection, Tab::Summary)?;
    let id = &head.id;
    let last = ledger.last_whole(id)?.map(|job| ledger.job(id, &job.id)).transpose()?.flatten();
    let report = last.as_ref().and_then(|job| job.report.as_ref());
    let loaded = ledger.loaded_tables(id, now)?;
    let newest = loaded.iter().filter_map(|table| Some((table, table.loaded_at?)));
    let newest = newest.max_by_key(|(_, at)| *at);
    let newest = newest.map(|(table, at)| (table.stream.to_string(), Ago(at)));
    let complete = ledger.last_complete(id)?;
    let notices = ledger.notices(false, 1000)?.into_iter();
    let notices: Vec<Told> = notices
        .filter(|notice| notice.connection == *id)
        .map(|notice| Told {
            tone: if notice.kind.is_critical() { "bad" } else { "warn" },
            message: notice.message,
            detail: notice.detail,
            since: Ago(notice.raised_at),
            times: notice.times,
        })
        .collect();
    let rows = days(&*ledger, id, now)?;
    let today = TimeZone::UTC.to_datetime(now).date();
    let dated = rows.iter().rev().enumerate().map(|(ago, rows)| {
        let day = today.checked_sub(SignedDuration::from_hours(24 * ago as i64));
        (day.unwrap_or(today), *rows)
    });
    let dated: Vec<_> = dated.collect();
    let at = dated
        .iter()
        .rev()
        .map(|(day, _)| TimeZone::UTC.to_timestamp(day.to_datetime(jiff::civil::Time::midnight())));
    let at: Vec<i64> = at.map(|at| at.map_or(0, Timestamp::as_second)).collect();
    let waiting = api.engine.waiting(id)?;
    let set_aside = ledger.has_set_aside(id)?;
    Ok(SummaryPage {
        verdict: verdict(&head, last.as_ref(), (complete.is_some(), set_aside), &notices),
        complete: complete.map(Ago),
        last: last.as_ref().map(|job| Last {
            id: job.id.clone(),
            started: Ago(job.started),
            state: Shown::of(job.status()),
            rows: report.map(|all| Count(all.tables.iter().map(|table| table.loaded).sum())),
        }),
        next: head.seen.next.map(When),
        waiting: Count(waiting.values().map(|stream| stream.rows).sum()),
        waiting_tables: waiting.len(),
        today: Count(rows.last().copied().unwrap_or(0)),
        newest,
        chart: json!({ "label": "Rows loaded", "at": at, "rows": rows }).to_string(),
        sum: Count(rows.iter().sum()),
        by_day: dated.iter().map(|(day, rows)| (day.to_string(), Count(*rows))).collect(),
        tables: tables(loaded, report),
        frame: frame.titled(head.described.display_name.clone()),
        notices,
        head,
    })
}

fn verdict(
    head: &Head,
    last: Option<&JobRow>,
    (was_complete, set_aside): (bool, bool),
    notices: &[Told],
) -> Verdict {
    if !head.described.configured {
        let text = "Its setup is not finished: no tables are chosen yet.".to_owned();
        return Verdict { tone: "warn", text, more: String::new() };
    }
    let Some(last) = last else {
        let (text, more) = if head.is_running {
            ("Its first job is running.", "What it has read so far is on its page.")
        } else if head.seen.waiting {
            ("Its first job waits for its turn.", "Others run, and only so many run at once.")
        } else if head.paused {
            ("It has not run yet.", "Its first job comes once it is resumed, or now.")
        } else {
            ("It has not run yet.", "Its first job comes by its schedule, or now.")
        };
        return Verdict { tone: "busy", text: text.to_owned(), more: more.to_owned() };
    };
    let tables = last.report.iter().flat_map(|report| &report.tables);
    let ended = Ended {
        status: last.status(),
        rejected: tables.map(|table| table.rejected).sum(),
        set_aside,
        is_needy: notices.iter().any(|notice| notice.tone == "bad"),
        was_complete,
        is_counted: head.described.source == "kustomer",
    };
    ended.verdict()
}

/// What is known once a job that was no backfill has ended.
#[derive(Clone, Copy)]
struct Ended {
    /// As [`JobRow::status`] says.
    status: &'static str,
    /// Records that the last job set aside.
    rejected: u64,
    /// Whether any job before did, too.
    set_aside: bool,
    /// Whether a critical notice is open.
    is_needy: bool,
    was_complete: bool,
    /// Whether the source says how many records a window has.
    is_counted: bool,
}

impl Ended {
    fn verdict(self) -> Verdict {
        let onward = "The next job goes on from there.";
        let (tone, text, more) = match (self.status, self.rejected) {
            ("complete", _) if self.is_needy => (
                "bad",
                "The last job was complete, but something needs somebody.",
                "What, is told below.",
            ),
            ("complete", 0) if self.set_aside => (
                "good",
                "Complete: everything that the last job found is in the destination.",
                "Records that were set aside before, and are not loaded since, are told under \
                 Rejected.",
            ),
            ("complete", 0) => (
                "good",
                "Complete: everything the source had when the last job looked is in the \
                 destination.",
                if self.is_counted {
                    "Every window was counted at the source and again here."
                } else {
                    ""
                },
            ),
            ("complete", rejected) => {
                let records = if rejected == 1 { "record" } else { "records" };
                let text = format!(
                    "The last job was complete but for {rejected} {records} that were set aside."
                );
                let more = "Everything else the source had when it looked is in the destination; \
                            which of these are still missing, and why, is told under Rejected.";
                return Verdict { tone: "warn", text, more: more.to_owned() };
            }
            ("failed", _) => (
                "bad",
                "The last job failed. What was committed before is good, and nothing was lost.",
                onward,
            ),
            ("incomplete", _) => (
                "warn",
                "The last job ended in order, but some tables are not complete.",
                "Which, and why, is told below.",
            ),
            ("abrupt", _) => (
                "warn",
                "The last job ended abruptly: its process died. What was committed is good.",
                onward,
            ),
            _ if self.was_complete => {
                ("warn", "The last job was interrupted. What was committed is good.", onward)
            }
            _ => ("warn", "No job was complete yet.", "The next job goes on from what is there."),
        };
        Verdict { tone, text: text.to_owned(), more: more.to_owned() }
    }
}

/// Tables by name: what is loaded, and what the last job said of them.
fn tables(loaded: Vec<LoadedTable>, report: Option<&RunReport>) -> Vec<Table> {
    let mut all: BTreeMap<String, Table> = BTreeMap::new();
    let none = |name: &str| Table {
        name: name.to_owned(),
        state: None,
        whole: false,
        reason: None,
        rows: Count(0),
        rejected: 0,
        reached: None,
        loaded: None,
    };
    for table in loaded {
        let name = table.stream.to_string();
        let row = all.entry(name.clone()).or_insert_with(|| none(&name));
        row.rows = Count(table.rows.period);
        row.whole = table.replication_key.is_none();
        row.loaded = table.loaded_at.map(Ago);
    }
    for table in report.into_iter().flat_map(|report| &report.tables) {
        let row = all.entry(table.stream.clone()).or_insert_with(|| none(&table.stream));
        row.state = Some(Shown::of(&table.outcome));
        row.reason.clone_from(&table.reason);
        row.rejected = table.rejected;
        row.reached = table.reached.map(When);
    }
    let mut rows: Vec<Table> = all.into_values().collect();
    rows.sort_by_key(|row| row.state.as_ref().is_none_or(|state| state.tone == "good"));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_sentence_is_true() {
        let good = Ended {
            status: "complete",
            rejected: 0,
            set_aside: false,
            is_needy: false,
            was_complete: true,
            is_counted: true,
        };
        let needy = Ended { is_needy: true, ..good };
        for (ended, tone, text) in [
            (good, "good", "Complete: everything the source had"),
            (
                Ended { set_aside: true, ..good },
                "good",
                "Complete: everything that the last job found",
            ),
            (needy, "bad", "The last job was complete, but something needs somebody"),
            (Ended { rejected: 1, ..needy }, "bad", "The last job was complete, but"),
            (
                Ended { rejected: 2, ..good },
                "warn",
                "The last job was complete but for 2 records that were set",
            ),
            (Ended { status: "abrupt", ..good }, "warn", "The last job ended abruptly"),
            (Ended { status: "failed", ..good }, "bad", "The last job failed"),
            (Ended { status: "incomplete", ..good }, "warn", "The last job ended in order, but"),
            (Ended { status: "interrupted", ..good }, "warn", "The last job was interrupted"),
            (
                Ended { status: "interrupted", was_complete: false, ..good },
                "warn",
                "No job was complete yet",
            ),
        ] {
            let told = ended.verdict();
            assert!(
                told.tone == tone && told.text.starts_with(text),
                "{}: {}",
                told.tone,
                told.text
            );
        }
        assert!(good.verdict().more.contains("counted"));
        assert_eq!(Ended { is_counted: false, ..good }.verdict().more, "");
    }
}
