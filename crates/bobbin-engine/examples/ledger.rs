//! Measures the ledger with a long history, and deciding slots for many connections.
//!
//! `ledger DIRECTORY LOADS`: makes a ledger of that many loads in 600 tables of 10 connections over 60
//! days, with an hour's job each, then asks as the API does: opening it anew for each question.
//! `ledger DIRECTORY LOADS LOG_BYTES [CONNECTIONS]` makes the same with a log of so many bytes for each job,
//! of another number of connections, and asks nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement may end at once")]

use std::path::Path;
use std::time::{Duration, Instant};

use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::id::{ConnectionId, JobId};
use bobbin_core::schedule::{Schedule, Settings};
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_core::tap::Discovery;
use bobbin_engine::ledger::{Catalogs as _, Jobs as _, Ledger, SqliteLedger};
use bobbin_engine::timetable::{Missed, Overlap, Plan, Timetable};
use bobbin_engine::{Outcome, RunReport, TableReport};
use jiff::{SignedDuration, Timestamp};

const CONNECTIONS: usize = 10;
const TABLES: usize = 60;
const DAYS: i64 = 60;
const TIMES: usize = 300;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("ledger DIRECTORY LOADS");
    let loads: usize =
        arguments.next().and_then(|n| n.parse().ok()).expect("ledger DIRECTORY LOADS");
    let path = Path::new(&directory).join("ledger.sqlite");
    let now = Timestamp::now();
    let bytes = arguments.next().and_then(|n| n.parse().ok());
    let connections = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(CONNECTIONS);
    fill(&path, loads, connections, now);
    if let Some(bytes) = bytes {
        return write_logs(Path::new(&directory), &path, connections, bytes);
    }
    let size = std::fs::metadata(&path).unwrap().len();
    println!(
        "\nA ledger of {loads} loads and {} jobs ({} MB)\n",
        jobs(CONNECTIONS),
        size / 1_000_000
    );
    println!("| question | median ms | 99th percentile ms |\n| --- | ---: | ---: |");
    let one: ConnectionId = "connection_3".into();
    let newest = SqliteLedger::open(&path).unwrap().jobs(&one, None, 1).unwrap().remove(0).id;
    ask("opening alone", &path, |_| {});
    ask("the last 100 jobs of a connection", &path, |ledger| {
        assert_eq!(ledger.jobs(&one, None, 100).unwrap().len(), 100);
    });
    ask("one job", &path, |ledger| {
        ledger.job(&one, &newest).unwrap().unwrap();
    });
    ask("the last 100 loads of a connection", &path, |ledger| {
        assert_eq!(ledger.loads(&one, None, None, 100).unwrap().len(), 100);
    });
    ask("the last 100 loads of a table", &path, |ledger| {
        assert_eq!(ledger.loads(&one, Some(&"table_7".into()), None, 100).unwrap().len(), 100);
    });
    ask("the report of all 60 tables of a connection", &path, |ledger| {
        assert_eq!(ledger.loaded_tables(&one, now).unwrap().len(), TABLES);
    });
    ask("rows per day and table, 30 days", &path, |ledger| {
        ledger.rows_by_day(&one, now, 30).unwrap();
    });
    ask("notices", &path, |ledger| {
        ledger.notices(false, 100).unwrap();
    });
    tick();
}

fn jobs(connections: usize) -> usize {
    connections * DAYS as usize * 24
}

/// Columns of each table, as many as all of Kustomer's tables have together.
const COLUMNS: usize = 13;

/// What a source offers: the tables that were loaded.
fn discovery() -> Discovery {
    let text = |n| (format!("column_{n}"), Schema::of(Kind::Text));
    let stream = |n| Stream {
        name: format!("table_{n}").as_str().into(),
        fields: Object { properties: (0..COLUMNS).map(text).collect(), open: true },
        key: vec!["column_0".to_owned()],
        replication_key: Some("column_1".to_owned()),
        version_fields: Vec::new(),
        description: Some("What such a record is, in a line".to_owned()),
    };
    Discovery {
        catalog: Catalog { streams: (0..TABLES).map(stream).collect() },
        ..Discovery::default()
    }
}

/// A history as it comes to be, put there at once.
fn fill(path: &Path, loads: usize, connections: usize, now: Timestamp) {
    let ledger = SqliteLedger::open(path).unwrap();
    for n in 0..connections {
        ledger.save_catalog(&format!("connection_{n}").into(), &discovery(), now).unwrap();
    }
    drop(ledger);
    let mut sqlite = rusqlite::Connection::open(path).unwrap();
    let transaction = sqlite.transaction().unwrap();
    let start = (now - SignedDuration::from_hours(24 * DAYS)).as_second();
    let hours = DAYS * 24;
    let report = serde_json::to_string(&report("job".into(), "connection".into(), now)).unwrap();
    transaction
        .execute(
            "WITH RECURSIVE slots(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM slots WHERE n + 1 < ?1)
             INSERT INTO jobs (connection, id, started, ended, outcome, report, trigger)
             SELECT 'connection_' || (n % ?2),
                    strftime('%Y%m%dT%H%M%S.000000Z', ?3 + n / ?2 * 3600, 'unixepoch'),
                    strftime('%Y-%m-%dT%H:%M:%SZ', ?3 + n / ?2 * 3600, 'unixepoch'),
                    strftime('%Y-%m-%dT%H:%M:%SZ', ?3 + n / ?2 * 3600 + 300, 'unixepoch'),
                    'complete', ?4, 'schedule'
             FROM slots",
            rusqlite::params![jobs(connections), connections, start, report],
        )
        .unwrap();
    let at = "strftime('%Y-%m-%dT%H:%M:%S.000000000Z', ?3 + n * ?4 / ?1 * 3600 + ?5, 'unixepoch')";
    let at = |seconds: &str| at.replace("?5", seconds);
    transaction
        .execute(
            &format!(
                "WITH RECURSIVE slots(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM slots WHERE n + 1 < ?1)
                 INSERT INTO loads (connection, job, stream, started, ended, rows, unchanged, rejected,
                     removed, bytes, replication_key, bookmark, extracted, subtables, table_name)
                 SELECT 'connection_' || (n % ?2), strftime('%Y%m%dT%H%M%S.000000Z', ?3 + n * ?4 / ?1 * 3600, 'unixepoch'),
                        'table_' || (n / ?2 % {TABLES}), {}, {}, 500, 20, 0, 0, 700000, 'updated_at',
                        '{{\"min\":\"2026-05-01T00:00:00Z\",\"max\":\"2026-05-01T01:00:00Z\"}}', {},
                        '{{\"items_1\":900,\"items_2\":900,\"items_3\":900}}', 'table'
                 FROM slots",
                at("0"),
                at("2"),
                at("0")
            ),
            rusqlite::params![loads, connections, start, hours],
        )
        .unwrap();
    transaction
        .execute_batch(
            "INSERT INTO loaded_tables (connection, stream, bookmark, loaded, replication_key)
             SELECT connection, stream, '\"2026-05-01T01:00:00Z\"', max(ended), 'updated_at'
             FROM loads GROUP BY connection, stream;
             INSERT INTO loaded_rows (connection, day, stream, subtable, rows)
             SELECT connection, substr(ended, 1, 10), stream, items.name, sum(rows) FROM loads
             CROSS JOIN (SELECT '' AS name UNION SELECT 'items_1' UNION SELECT 'items_2' UNION SELECT 'items_3') AS items
             GROUP BY connection, substr(ended, 1, 10), stream, items.name;
             INSERT INTO loaded_days (connection, day, rows)
             SELECT connection, day, sum(rows) FROM loaded_rows GROUP BY connection, day",
        )
        .unwrap();
    transaction.commit().unwrap();
}

/// A log for each job, of lines as a job writes them.
fn write_logs(home: &Path, ledger: &Path, connections: usize, bytes: usize) {
    let ledger = SqliteLedger::open(ledger).unwrap();
    for n in 0..connections {
        let connection = ConnectionId::from(format!("connection_{n}"));
        std::fs::create_dir_all(home.join("logs").join(connection.as_str())).unwrap();
        for job in ledger.jobs(&connection, None, u32::MAX).unwrap() {
            let path = bobbin_engine::job_log::path(home, &connection, &job.id);
            std::fs::write(path, log(&job.id, &connection, job.started, bytes)).unwrap();
        }
    }
}

fn log(job: &JobId, connection: &ConnectionId, started: Timestamp, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 1000);
    let mut at = started;
    let mut add = |text: &mut String, event: serde_json::Value| {
        let mut event = event;
        event["at"] = format!("{at:.3}").into();
        text.push_str(&event.to_string());
        text.push('\n');
        at += SignedDuration::from_millis(41);
    };
    let begins = serde_json::json!({
        "event": "job_started", "job": job, "connection": connection, "tap": "kustomer",
        "destination": "duckdb", "version": "0.1.0",
    });
    add(&mut text, begins);
    let mut number = 0;
    while text.len() < bytes {
        number += 1;
        let table = format!("table_{}", number / 90 % TABLES);
        let event = match number % 12 {
            0 => serde_json::json!({
                "event": "window", "stream": table, "from": "2026-05-01T00:00:00Z",
                "to": "2026-05-01T01:00:00Z", "expected": 5200 + number, "received": 5200 + number,
                "calls": 11, "verified": true,
            }),
            5 => serde_json::json!({
                "event": "sealed", "segment": { "job": job, "number": number }, "stream": table,
                "records": 5000, "bytes": 4_812_331 + number,
            }),
            6 => serde_json::json!({
                "event": "loaded", "segment": { "job": job, "number": number }, "stream": table,
                "rows": 5000, "rejected": 0,
            }),
            7 => serde_json::json!({
                "event": "bookmark", "stream": table, "bookmark": "2026-05-01T01:00:00Z",
            }),
            _ => serde_json::json!({
                "event": "call", "stream": table, "endpoint": "POST /v1/customers/search",
                "status": 200, "seconds": 0.3, "usable": true,
            }),
        };
        add(&mut text, event);
    }
    let ends = serde_json::json!({ "event": "job_ended", "outcome": "complete", "error": null });
    add(&mut text, ends);
    text
}

fn report(job: JobId, connection: ConnectionId, at: Timestamp) -> RunReport {
    let table = |n| TableReport {
        stream: format!("table_{n}"),
        extracted: 520,
        loaded: 500,
        unchanged: 20,
        calls: 9,
        bytes: 700_000,
        seconds: 3.2,
        expected: Some(520),
        outcome: "complete".to_owned(),
        reached: Some(at),
        ..TableReport::default()
    };
    RunReport {
        job,
        connection,
        started: at,
        ended: at + SignedDuration::from_mins(5),
        outcome: Outcome::Complete,
        tables: (0..TABLES).map(table).collect(),
        calls: 540,
        calls_wasted: 0,
        rate_wait_seconds: 12.0,
        bytes: 42_000_000,
        resumed_segments: 0,
        changes: Vec::new(),
        notices: Vec::new(),
        error: None,
        failed_in: None,
        failure: None,
    }
}

fn ask(what: &str, path: &Path, question: impl Fn(&dyn Ledger)) {
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let since = Instant::now();
            question(&SqliteLedger::open(path).unwrap());
            since.elapsed()
        })
        .collect();
    times.sort_unstable();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    println!("| {what} | {:.2} | {:.2} |", ms(TIMES / 2), ms(TIMES * 99 / 100));
}

/// Decides the slots of an hour, second by second.
fn tick() {
    const MANY: usize = 10_000;
    let mut timetable = Timetable::default();
    let start: Timestamp = "2026-05-01T00:00:00Z".parse().unwrap();
    for n in 0..MANY {
        let settings = match n % 3 {
            0 => Settings { frequency_minutes: Some(30), ..Settings::default() },
            1 => {
                Settings { frequency_minutes: Some(60), anchor: Some(start), ..Settings::default() }
            }
            _ => Settings { cron: Some("0 0/15 * ? * MON-FRI".to_owned()), ..Settings::default() },
        };
        let plan = Plan {
            schedule: Schedule::of(&settings).unwrap(),
            base: start + SignedDuration::from_secs((n * 7 % 3600) as i64),
            overlap: Overlap::Skip,
            missed: Missed::RunOnce,
            paused: false,
        };
        timetable.set(&format!("connection_{n}").into(), plan, start);
    }
    let mut times = Vec::new();
    let mut decided = 0;
    for second in 1..=3600 {
        let now = start + SignedDuration::from_secs(second);
        let since = Instant::now();
        let decisions = timetable.tick(now);
        times.push(since.elapsed());
        decided += decisions.len();
    }
    let all: Duration = times.iter().sum();
    let most = times.iter().max().unwrap();
    println!("\nAn hour of {MANY} connections, second by second: {decided} slots decided\n");
    println!("| | ms |\n| --- | ---: |");
    println!("| a tick, on average | {:.4} |", all.as_secs_f64() * 1e3 / 3600.0);
    println!(
        "| the longest tick (a quarter past, thousands of slots at once) | {:.2} |",
        most.as_secs_f64() * 1e3
    );
}
