//! How many records a second are read, checked, written and read again, on one core:
//! `cargo run --release -p bobbin-import --example rate`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::fmt::Write as _;
use std::time::Instant;

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::clock::SystemClock;
use bobbin_core::id::StreamName;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::report::NoLog;
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::{Context, Output, SyncRequest, Tap as _};
use bobbin_import::inbox::{Inbox, Limits};
use bobbin_import::request::Requests;
use bobbin_import::tap::ImportTap;
use jiff::Timestamp;

const REQUESTS: usize = 50;
const RECORDS: usize = 10_000;

struct Count(u64);

impl Output for Count {
    fn schema(&mut self, _: &Stream) -> bobbin_core::Result<()> {
        Ok(())
    }
    fn records(&mut self, _: &StreamName, records: Records<'_>) -> bobbin_core::Result<()> {
        self.0 += records.count;
        Ok(())
    }
    fn rejected(&mut self, _: &StreamName, _: &Rejected) -> bobbin_core::Result<()> {
        Ok(())
    }
    fn state(&mut self, _: &State) -> bobbin_core::Result<()> {
        Ok(())
    }
}

fn body(from: usize, schema: &str) -> String {
    let mut text = format!(r#"{{"table_name":"orders",{schema}"key_names":["id"],"messages":["#);
    for n in from..from + RECORDS {
        let comma = if n == from { "" } else { ", " };
        let _ = write!(
            text,
            r#"{comma}{{"action": "upsert", "data": {{"id": {n}, "name": "Customer number {n}", "email": "customer.{n}@example.com", "created_at": "2026-11-28T09:30:00.{n:06}Z", "updated_at": "2026-11-28T09:30:00.{n:06}Z", "total": {n}.25, "paid": true, "tags": ["red", "green"], "note": "a line of text with some words", "address": {{"city": "Ghent", "zip": "9000"}}}}, "sequence": 17643210000{n:08}, "time_extracted": "2026-11-28T09:30:00.000000Z"}}"#
        );
    }
    text.push_str("]}");
    text
}

fn main() {
    let text = r#"{"type": ["null", "string"]}"#;
    let time = r#"{"type": ["null", "string"], "format": "date-time"}"#;
    let schema = format!(
        r#""schema": {{"type": "object", "properties": {{"id": {{"type": "integer"}}, "name": {text}, "email": {text}, "created_at": {time}, "updated_at": {time}, "total": {{"type": ["null", "number"]}}, "paid": {{"type": "boolean"}}, "tags": {{"type": "array", "items": {text}}}, "note": {text}, "address": {{"type": "object", "properties": {{"city": {text}, "zip": {text}}}}}}}}}, "#
    );
    let bodies: Vec<String> = (0..REQUESTS).map(|n| body(n * RECORDS, &schema)).collect();
    let bytes: usize = bodies.iter().map(String::len).sum();
    let directory = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(directory.path(), Limits::default(), None).unwrap();
    let requests = Requests::default();
    let all = (REQUESTS * RECORDS) as f64;
    let told = |what: &str, since: Instant| {
        let seconds = since.elapsed().as_secs_f64();
        println!("{what}: {:.0} records/s", all / seconds);
    };
    println!("{} bytes a message", bytes / (REQUESTS * RECORDS));
    let since = Instant::now();
    for body in &bodies {
        requests.batch(body.as_bytes()).unwrap();
    }
    told("read and checked", since);
    let since = Instant::now();
    for body in &bodies {
        let batches = requests.batch(body.as_bytes()).unwrap();
        inbox.accept(&batches, Timestamp::now()).unwrap();
    }
    told("read, checked and durable", since);
    let (cancel, state, selection) = (Cancel::new(), State::default(), Selection::all());
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    let catalog = Catalog::default();
    let request = SyncRequest { catalog: &catalog, selection: &selection, state: &state };
    let mut count = Count(0);
    let since = Instant::now();
    ImportTap::new(directory.path(), directory.path()).sync(&cx, &request, &mut count).unwrap();
    assert_eq!(count.0, all as u64);
    told("read again", since);
}
