//! The floor of every extraction: fetches all pages of the given search contexts and drops them,
//! or keeps the records as newline-delimited JSON with `--save DIRECTORY`.
//!
//! `download URL TOKEN [--save DIRECTORY] CONTEXT...` prints records, bytes and seconds as JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a measuring aid")]

use std::io::{BufWriter, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;

const DAY_MS: i64 = 86_400_000;

struct Api {
    agent: ureq::Agent,
    url: String,
    token: String,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Head {
    meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    total: u64,
}

impl Api {
    fn fetch(&self, window: &Window, page: u64, page_size: u64, body: &mut Vec<u8>) {
        let key = format!("{}_updated_at", window.context);
        let ask = serde_json::json!({
            "queryContext": window.context,
            "and": [{ &key: { "gte": stamp(window.from) } }, { &key: { "lte": stamp(window.to) } }],
            "sort": [{ &key: "asc" }],
        });
        body.clear();
        let url = format!("{}/v1/customers/search?page={page}&pageSize={page_size}", self.url);
        self.agent
            .post(url)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .send(ask.to_string())
            .expect("an answer")
            .into_body()
            .into_reader()
            .read_to_end(body)
            .expect("a whole body");
    }

    /// Windows of at most 10,000 records.
    fn plan(&self, window: Window, windows: &mut Vec<Window>) {
        let mut body = Vec::new();
        self.fetch(&window, 1, 1, &mut body);
        let total = serde_json::from_slice::<Head>(&body).expect("an envelope").meta.total;
        if total <= 9_500 {
            windows.push(Window { total, ..window });
            return;
        }
        let middle = i64::midpoint(window.from, window.to);
        self.plan(Window { to: middle, ..window.clone() }, windows);
        self.plan(Window { from: middle + 1, ..window }, windows);
    }
}

#[derive(Clone)]
struct Window {
    context: String,
    from: i64,
    to: i64,
    total: u64,
}

fn stamp(ms: i64) -> String {
    let instant = jiff::Timestamp::from_millisecond(ms).expect("an instant");
    format!("{instant:.3}")
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("a URL");
    let token = arguments.next().expect("a token");
    let mut contexts: Vec<String> = arguments.collect();
    let mut save = None;
    if contexts.first().is_some_and(|first| first == "--save") {
        save = Some(contexts[1].clone());
        contexts.drain(..2);
    }
    let api = Api { agent: ureq::Agent::new_with_defaults(), url, token };
    let now = jiff::Timestamp::now().as_millisecond();
    let mut windows = Vec::new();
    for context in &contexts {
        let whole =
            Window { context: context.clone(), from: now - 729 * DAY_MS, to: now, total: 0 };
        api.plan(whole, &mut windows);
    }
    let pages: Vec<(&Window, u64)> = windows
        .iter()
        .flat_map(|window| (1..=window.total.div_ceil(500)).map(move |page| (window, page)))
        .collect();
    let files: Vec<Mutex<BufWriter<std::fs::File>>> = match &save {
        None => Vec::new(),
        Some(directory) => contexts
            .iter()
            .map(|context| {
                let path = format!("{directory}/{context}.ndjson");
                Mutex::new(BufWriter::new(std::fs::File::create(path).expect("a file")))
            })
            .collect(),
    };
    let started = Instant::now();
    let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut body = Vec::new();
                while let Some((window, page)) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
                    api.fetch(window, *page, 500, &mut body);
                    bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
                    if save.is_some() {
                        let page: Page<'_> = serde_json::from_slice(&body).expect("a page");
                        let file = contexts.iter().position(|context| context == &window.context);
                        let mut file = files[file.expect("its file")].lock().expect("no panic");
                        for record in page.data {
                            file.write_all(record.get().as_bytes()).expect("room");
                            file.write_all(b"\n").expect("room");
                        }
                    }
                }
            });
        }
    });
    let records: u64 = windows.iter().map(|window| window.total).sum();
    println!(
        "{}",
        serde_json::json!({
            "records": records,
            "bytes": bytes.into_inner(),
            "seconds": started.elapsed().as_secs_f64(),
        })
    );
}
