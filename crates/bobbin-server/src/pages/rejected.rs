//! The records of a connection that were set aside: why, how many, the newest one by one, and loading
//! them again.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Form};
use bobbin_core::Error;
use bobbin_core::rejected::{RejectedGroup, RejectedList, RejectedQuery, RejectedRecord};
use bobbin_engine::Retried;
use serde::Deserialize;

use super::connection::{Head, Tab};
use super::show::{Ago, Bytes, Count, grouped};
use super::{Frame, Place, Said, Visit, gone_to, shown};
use crate::Api;
use crate::api::{Answer, asked, known};
use crate::gate::Watch;

/// Records that are shown one by one, and with their text.
const MOST_SHOWN: u64 = 100;
const MOST_TEXTS: u64 = 20;

/// Bytes of a record's text that a page shows; a download has all that was kept.
const MOST_TEXT_BYTES: usize = 8 << 10;

/// Records of a download. Each is of 64 KiB at most, which bounds the memory.
const MOST_DOWNLOADED: u64 = 1000;

#[derive(Template)]
#[template(path = "rejected.html")]
struct RejectedPage {
    frame: Frame,
    head: Head,
    connection: String,
    groups: Vec<Group>,
    tables: Vec<Table>,
    records: Vec<Record>,
    all: Count,
    whole: Count,
    /// The table they are of, where only those are shown.
    table: String,
    texts: bool,
    /// The query of the same with the records' text, of a table's download.
    with_texts: String,
    download: String,
    most: u64,
}

struct Group {
    group: RejectedGroup,
    count: Count,
    raw: Count,
    latest: Ago,
    query: String,
}

/// What can be loaded again of a table.
struct Table {
    name: String,
    whole: Count,
}

struct Record {
    record: RejectedRecord,
    at: Ago,
    bytes: Bytes,
    text: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Look {
    table: String,
    texts: String,
}

impl Look {
    fn table(&self) -> Option<String> {
        (!self.table.is_empty()).then(|| self.table.clone())
    }
}

pub(super) async fn page(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path(connection): Path<String>,
    Query(look): Query<Look>,
    visit: Visit,
) -> Response {
    let turn = match watch.turn_to_ask().await {
        Ok(turn) => turn,
        Err(problem) => return problem.into_response(),
    };
    shown(api, visit, Place::Connections, move |api, frame| {
        let _turn = turn;
        let head = Head::of(api, &*api.engine.ledger()?, &connection, Tab::Rejected)?;
        let texts = !look.texts.is_empty();
        let most = if texts { MOST_TEXTS } else { MOST_SHOWN };
        let query = RejectedQuery { table: look.table(), most, text: texts };
        let list = api.program.rejected(&head.id, &query)?;
        let title = format!("Records set aside of {}", head.described.display_name);
        Ok(RejectedPage::of(frame.titled(title), head, look, list, most))
    })
    .await
}

impl RejectedPage {
    fn of(frame: Frame, head: Head, look: Look, list: RejectedList, most: u64) -> Self {
        let sum = |pick: fn(&RejectedGroup) -> u64| Count(list.groups.iter().map(pick).sum());
        let mut tables: Vec<Table> = Vec::new();
        for group in &list.groups {
            match tables.iter_mut().find(|table| table.name == group.table) {
                Some(table) => table.whole.0 += group.whole,
                None => {
                    tables.push(Table { name: group.table.clone(), whole: Count(group.whole) });
                }
            }
        }
        tables.retain(|table| table.whole.0 > 0);
        let download = query(&[("table", &look.table)]);
        let with_texts = query(&[("table", &look.table), ("texts", "yes")]);
        Self {
            frame,
            connection: head.id.to_string(),
            head,
            all: sum(|group| group.records),
            whole: sum(|group| group.whole),
            tables,
            groups: list.groups.into_iter().map(Group::of).collect(),
            records: list.records.into_iter().map(Record::of).collect(),
            texts: !look.texts.is_empty(),
            table: look.table,
            with_texts,
            download,
            most,
        }
    }
}

/// A query of what is not empty.
fn query(pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    query.finish()
}

impl Group {
    fn of(group: RejectedGroup) -> Self {
        Self {
            count: Count(group.records),
            raw: Count(group.raw()),
            latest: Ago(group.latest),
            query: query(&[("table", &group.table)]),
            group,
        }
    }
}

impl Record {
    fn of(mut record: RejectedRecord) -> Self {
        let text = record.record.take().map(|mut text| {
            let end = text.floor_char_boundary(MOST_TEXT_BYTES);
            if end < text.len() {
                text.truncate(end);
                text.push_str(" … (cut here; the download has all that was kept)");
            }
            bobbin_engine::job_log::printable(&text).into_owned()
        });
        Self { at: Ago(record.at), bytes: Bytes(record.bytes), text, record }
    }
}

/// The newest of them with their text, as JSON lines in a file.
pub(super) async fn download(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path(connection): Path<String>,
    Query(look): Query<Look>,
) -> Answer<Response> {
    let turn = watch.turn_to_ask().await?;
    let lines = asked(api, move |api| {
        let _turn = turn;
        let id = known(api, &connection)?;
        let query = RejectedQuery { table: look.table(), most: MOST_DOWNLOADED, text: true };
        let mut lines = Vec::new();
        for record in api.program.rejected(&id, &query)?.records {
            let bug = |error| Error::bug("cannot write a record as JSON").caused_by(error);
            serde_json::to_writer(&mut lines, &record).map_err(bug)?;
            lines.push(b'\n');
        }
        Ok(lines)
    });
    let mut response = (StatusCode::OK, lines.await?).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"rejected.jsonl\""),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Retry {
    table: String,
}

/// Loads them again, all or those of a table.
pub(super) async fn retry(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path(connection): Path<String>,
    Form(retry): Form<Retry>,
) -> Answer<Response> {
    let turn = watch.turn_to_ask().await?;
    let to = format!("/connections/{connection}/rejected");
    let retried = asked(api, move |api| {
        let _turn = turn;
        let id = known(api, &connection)?;
        let table = Some(retry.table.as_str()).filter(|table| !table.is_empty());
        Ok(api.program.retry(&id, table)?)
    });
    match retried.await {
        Ok(retried) => Ok(gone_to(&to, Some(&said(&retried)))),
        // A job runs: the page is there as before.
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            Ok(gone_to(&to, Some(&Said::bad(problem.detail()))))
        }
        Err(problem) => Err(problem),
    }
}

/// What became of them.
fn said(retried: &[Retried]) -> Said {
    let sum = |pick: fn(&Retried) -> u64| retried.iter().map(pick).sum::<u64>();
    let (tried, loaded) = (sum(|one| one.tried), sum(|one| one.loaded));
    let (unchanged, rejected) = (sum(|one| one.unchanged), sum(|one| one.rejected));
    let stopped = retried.iter().filter_map(|one| {
        one.stopped.as_deref().map(|why| format!("{} cannot be loaded: {why}", one.stream))
    });
    let stopped: Vec<String> = stopped.collect();
    if tried == 0 && stopped.is_empty() {
        return Said::good("There was nothing that can be loaded again.");
    }
    let mut text = format!("{} tried again: {} loaded", grouped(tried), grouped(loaded));
    for (number, what) in
        [(unchanged, "older than what the table holds"), (rejected, "set aside again")]
    {
        if number > 0 {
            text.push_str(&format!(", {} {what}", grouped(number)));
        }
    }
    text.push('.');
    for why in &stopped {
        text.push(' ');
        text.push_str(why);
    }
    if rejected > 0 || !stopped.is_empty() { Said::bad(text) } else { Said::good(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_them_is_told() {
        let one = |loaded, unchanged, rejected, stopped: Option<&str>| Retried {
            stream: "notes".to_owned(),
            tried: loaded + unchanged + rejected,
            loaded,
            unchanged,
            rejected,
            stopped: stopped.map(str::to_owned),
        };
        assert_eq!(said(&[]), Said::good("There was nothing that can be loaded again."));
        assert_eq!(said(&[one(1200, 0, 0, None)]), Said::good("1,200 tried again: 1,200 loaded."));
        let both = [one(1, 2, 3, None), one(0, 0, 0, Some("no table"))];
        let text = "6 tried again: 1 loaded, 2 older than what the table holds, 3 set aside again. \
                    notes cannot be loaded: no table";
        assert_eq!(said(&both), Said::bad(text));
    }
}
