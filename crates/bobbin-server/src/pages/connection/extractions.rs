//! The jobs of a connection, day by day, with the slots of its schedule that came to nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use bobbin_core::id::JobId;
use bobbin_engine::ledger::{JobRow, SlotRow};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{Head, Tab};
use crate::Api;
use crate::api::Answer;
use crate::pages::show::{Count, Lasting, State as Shown, When, between};
use crate::pages::{Frame, Place, Visit, shown};

/// Jobs of a page.
const PAGE: u32 = 50;

/// Slots that came to nothing, at most, of a page.
const SLOTS: u32 = 2000;

#[derive(Template)]
#[template(path = "connection/extractions.html")]
struct ExtractionsPage {
    frame: Frame,
    head: Head,
    days: Vec<Day>,
    older: Option<JobId>,
    is_first: bool,
}

struct Day {
    date: String,
    strip: Strip,
    entries: Vec<Entry>,
}

/// Something that happened, or did not.
struct Entry {
    at: Timestamp,
    when: When,
    state: Shown,
    job: Option<JobId>,
    what: String,
    /// The last of several slots.
    until: Option<When>,
    lasted: Option<Lasting>,
    rows: Option<Count>,
    calls: Option<Count>,
    waited: Option<Lasting>,
    rejected: u64,
    why: Option<String>,
}

#[derive(Deserialize)]
pub(in crate::pages) struct Before {
    before: Option<String>,
}

pub(in crate::pages) async fn list(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
    Query(query): Query<Before>,
    visit: Visit,
) -> Response {
    let before = query.before.map(|job| JobId::from(job.as_str()));
    shown(api, visit, Place::Connections, move |api, frame| page(api, frame, &connection, before))
        .await
}

fn page(
    api: &Api,
    frame: Frame,
    connection: &str,
    before: Option<JobId>,
) -> Answer<ExtractionsPage> {
    let (ledger, now) = (api.engine.ledger()?, Timestamp::now());
    let head = Head::of(api, &*ledger, connection, Tab::Extractions)?;
    let jobs = ledger.jobs(&head.id, before.as_ref(), PAGE)?;
    let older = jobs.last().filter(|_| jobs.len() == PAGE as usize).map(|job| job.id.clone());
    // Slots of the time that this page is about.
    let from = older.as_ref().and(jobs.last()).map(|job| job.started);
    let until = match &before {
        Some(job) => ledger.job(&head.id, job)?.map(|job| job.started),
        None => None,
    };
    let slots = ledger.idle_slots(&head.id, from, until, SLOTS)?.into_iter();
    let mut days: BTreeMap<Date, Vec<Entry>> = BTreeMap::new();
    for entry in jobs.into_iter().map(|job| of_job(job, now)).chain(slots.map(of_slot)) {
        let date = TimeZone::UTC.to_datetime(entry.at).date();
        days.entry(date).or_default().push(entry);
    }
    let days = days.into_iter().rev().map(|(date, mut entries)| {
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.at));
        Day { date: date.to_string(), strip: Strip::of(date, &entries), entries }
    });
    let title = format!("Extractions of {}", head.described.display_name);
    Ok(ExtractionsPage {
        days: days.collect(),
        frame: frame.titled(title),
        head,
        older,
        is_first: before.is_none(),
    })
}

fn of_job(job: JobRow, now: Timestamp) -> Entry {
    let state = Shown::of(job.status());
    let what = match &*job.trigger {
        "manual" => "Asked for",
        "backfill" => "Part read again",
        _ => "By schedule",
    };
    let report = job.report.as_ref();
    let ended = report.map(|report| report.ended).or((!job.ended).then_some(now));
    let tables = report.map(|report| &report.tables);
    let why = report.and_then(|report| {
        let incomplete = report.tables.iter().filter(|table| table.outcome == "incomplete");
        let incomplete: Vec<&str> = incomplete.map(|table| table.stream.as_str()).collect();
        let named =
            (!incomplete.is_empty()).then(|| format!("not complete: {}", incomplete.join(", ")));
        report.error.clone().or(named)
    });
    let why = why.or((job.ended && report.is_none()).then(|| {
        "its process ended without a word; the next job went on from what was committed".to_owned()
    }));
    Entry {
        at: job.started,
        when: When(job.started),
        state,
        what: what.to_owned(),
        until: None,
        lasted: ended.map(|ended| between(job.started, ended)),
        rows: tables.map(|all| Count(all.iter().map(|table| table.loaded).sum())),
        calls: report.map(|report| Count(report.calls)),
        waited: report.map(|report| Lasting(report.rate_wait_seconds)).filter(|s| s.0 >= 1.0),
        rejected: tables.map_or(0, |all| all.iter().map(|table| table.rejected).sum()),
        why: why.map(|why| first_line(&why)),
        job: Some(job.id),
    }
}

fn of_slot(slot: SlotRow) -> Entry {
    let what = match slot.count {
        1 => "Slot of the schedule".to_owned(),
        count => format!("{count} slots of the schedule"),
    };
    Entry {
        at: slot.slot,
        when: When(slot.slot),
        state: Shown::of(slot.outcome.word()),
        job: None,
        what,
        until: (slot.count > 1).then_some(When(slot.last)),
        lasted: None,
        rows: None,
        calls: None,
        waited: None,
        rejected: 0,
        why: slot.reason,
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("").to_owned()
}

/// A day as a strip: when jobs ran, and how they ended.
struct Strip {
    bars: Vec<(i64, i64, &'static str)>,
    told: String,
}

impl Strip {
    fn of(date: Date, entries: &[Entry]) -> Self {
        const MINUTES: i64 = 24 * 60;
        let begin = TimeZone::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight()));
        let begin = begin.unwrap_or(Timestamp::UNIX_EPOCH);
        let jobs = entries.iter().filter(|entry| entry.job.is_some());
        let bars = jobs.clone().map(|entry| {
            let from = (entry.at.as_second() - begin.as_second()) / 60;
            let length = entry.lasted.map_or(0, |lasted| (lasted.0 / 60.0).ceil() as i64);
            let tone = if entry.state.tone.is_empty() { "none" } else { entry.state.tone };
            (from, length.clamp(4, (MINUTES - from).max(4)), tone)
        });
        let good = jobs.clone().filter(|entry| entry.state.tone == "good").count();
        let all = jobs.count();
        Self { bars: bars.collect(), told: format!("{all} jobs, {good} of them complete") }
    }
}

impl fmt::Display for Strip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<svg class=\"strip\" role=\"img\" viewBox=\"0 0 1440 24\" preserveAspectRatio=\"none\" \
             aria-label=\"{}\"><rect class=\"ground\" width=\"1440\" height=\"24\"/>",
            self.told
        )?;
        for (x, width, tone) in &self.bars {
            write!(f, "<rect class=\"{tone}\" x=\"{x}\" width=\"{width}\" height=\"24\"/>")?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Strip {}
