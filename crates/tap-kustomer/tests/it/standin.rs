//! The plainest stand-in of the API: search, lists and the current user; no `Date`, no totals, no
//! links, no rate headers, and no patience for anything it does not know.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::Bench;

/// The first record's time: some months ago.
fn first() -> i64 {
    static FIRST: OnceLock<i64> = OnceLock::new();
    *FIRST.get_or_init(|| jiff::Timestamp::now().as_millisecond() - 200 * 86_400_000)
}

fn record(kind: &str, n: usize) -> Value {
    let at = jiff::Timestamp::from_millisecond(first() + n as i64 * 60_000).unwrap();
    json!({
        "type": kind, "id": format!("{kind}{n:06}"),
        "attributes": { "name": format!("{kind} {n}"), "updatedAt": format!("{at:.3}"),
            "createdAt": format!("{at:.3}"), "rev": 1 },
    })
}

fn count(kind: &str) -> usize {
    match kind {
        "message" => 23_456,
        "conversation" => 3_000,
        "customer" => 500,
        "user" => 150,
        "tag" => 7,
        _ => 0,
    }
}

fn serve(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut parts = line.split_whitespace();
        let (method, target) = (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned());
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, answer) = answer(&method, &target, &body);
        let text = answer.to_string();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", text.len());
        if writer.write_all(head.as_bytes()).is_err() || writer.write_all(text.as_bytes()).is_err()
        {
            return;
        }
    }
}

fn answer(method: &str, target: &str, body: &[u8]) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameter = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    let page: usize = parameter("page").unwrap_or(1);
    let size: usize = parameter("pageSize").unwrap_or(100);
    let rows = |records: Vec<Value>| {
        let rows: Vec<Value> = records.into_iter().skip((page - 1) * size).take(size).collect();
        (200, json!({ "data": rows }))
    };
    match (method, path) {
        ("GET", "/v1/users/current") => (200, json!({"data": record("user", 0)})),
        ("GET", "/v1/users" | "/v1/teams" | "/v1/tags" | "/v1/shortcuts") => {
            // It knows page and pageSize; any other question is a mistake.
            if query.split('&').any(|pair| !pair.starts_with("page")) {
                return (400, json!({"errors": [{"code": "bad_request"}]}));
            }
            let kind = path.trim_start_matches("/v1/").trim_end_matches('s');
            rows((0..count(kind)).map(|n| record(kind, n)).collect())
        }
        ("POST", "/v1/customers/search") => {
            let body: Value = serde_json::from_slice(body).unwrap();
            let known = ["queryContext", "and", "or", "sort"];
            if body.as_object().unwrap().keys().any(|key| !known.contains(&key.as_str())) {
                return (400, json!({"errors": [{"code": "bad_request"}]}));
            }
            let context = body["queryContext"].as_str().unwrap();
            let bound = |operator: &str| {
                body["and"].as_array().unwrap().iter().find_map(|criterion| {
                    criterion[format!("{context}_updated_at")][operator].as_str().map(str::to_owned)
                })
            };
            let (low, high) = (bound("gte").unwrap(), bound("lte").unwrap());
            if page * size > 10_000 {
                return (400, json!({"errors": [{"code": "bad_request"}]}));
            }
            let inside = |record: &Value| {
                let at = record["attributes"]["updatedAt"].as_str().unwrap();
                at >= low.as_str() && at <= high.as_str()
            };
            rows((0..count(context)).map(|n| record(context, n)).filter(inside).collect())
        }
        _ => (404, json!({"errors": [{"code": "not_found"}]})),
    }
}

#[test]
fn search_lists_and_the_current_user_are_enough() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            std::thread::spawn(move || serve(stream));
        }
    });
    let mut bench = Bench::new(fake_kustomer::Config::tiny(1))
        .set("api_url", url)
        .set("start_date", "")
        .only(&["users", "tags", "teams", "customers", "conversations", "messages", "kobjects"]);
    let ran = bench.run();
    for (stream, kind) in [
        ("users", "user"),
        ("tags", "tag"),
        ("customers", "customer"),
        ("conversations", "conversation"),
        ("messages", "message"),
    ] {
        assert_eq!(bench.count(stream), count(kind), "{stream}: {:?}", ran.ended(stream));
    }
    assert!(bench.replica.doubled.is_empty());
    ran.all_complete();
    assert!(ran.calls("search") < 150, "{}", ran.calls("search"));
}
