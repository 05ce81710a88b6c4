//! Jobs as traces: a collector that speaks OTLP over HTTP, as much of it as is needed to read spans.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::SystemTime;

use fake_kustomer::{Mutation, Pick, Simulator};

use crate::support::{Desk, tiny};

/// What a collector was sent: the head and the body of each request.
type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Listens for as long as the test runs, and answers each request with `status`.
fn collector(status: &'static str) -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Requests::default();
    let kept = Arc::clone(&requests);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while stream.read_line(&mut head).unwrap() > 2 {
                let line = head.lines().last().unwrap().to_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            kept.lock().unwrap().push((head, body));
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (format!("http://{address}"), requests)
}

/// The fields of a protobuf message: number, and value or bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (first, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            shift += 7;
            if first & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let (value, length) = match key & 7 {
            0 => (varint(&mut bytes), 0),
            1 => (u64::from_le_bytes(bytes[..8].try_into().unwrap()), 8),
            2 => (0, varint(&mut bytes) as usize),
            5 => (0, 4),
            other => panic!("wire type {other}"),
        };
        let (content, rest) = bytes.split_at(length);
        all.push((key >> 3, value, content));
        bytes = rest;
    }
    all
}

fn within(bytes: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(bytes).into_iter().filter(move |field| field.0 == number).map(|field| field.2)
}

#[derive(Debug)]
struct Span {
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    start: u64,
    end: u64,
    attributes: HashMap<String, String>,
    failed: bool,
}

/// Numbers are those of opentelemetry/proto/trace/v1/trace.proto.
fn span(bytes: &[u8]) -> Span {
    let part = |number| within(bytes, number).next().unwrap_or_default().to_vec();
    let number = |wanted| fields(bytes).iter().find(|field| field.0 == wanted).unwrap().1;
    Span {
        trace: part(1),
        id: part(2),
        parent: part(4),
        name: String::from_utf8(part(5)).unwrap(),
        start: number(7),
        end: number(8),
        attributes: within(bytes, 9).map(attribute).collect(),
        failed: fields(&part(15)).iter().any(|field| field.0 == 3 && field.1 == 2),
    }
}

fn attribute(bytes: &[u8]) -> (String, String) {
    let key = within(bytes, 1).next().unwrap();
    let value = within(bytes, 2).next().unwrap();
    let (number, plain, content) = fields(value)[0];
    let value =
        if number == 1 { String::from_utf8(content.to_vec()).unwrap() } else { plain.to_string() };
    (String::from_utf8(key.to_vec()).unwrap(), value)
}

fn spans(requests: &Requests) -> Vec<Span> {
    let mut all = Vec::new();
    for (_, body) in requests.lock().unwrap().iter() {
        for resource in within(body, 1) {
            let scopes: Vec<&[u8]> = within(resource, 2).collect();
            all.extend(scopes.iter().flat_map(|scope| within(scope, 2)).map(span));
        }
    }
    all
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn a_job_is_a_trace_with_its_phases_tables_and_rounds() {
    let sim = Simulator::start(tiny(81)).unwrap();
    let desk = Desk::new(&sim);
    let (address, requests) = collector("200 OK");
    let traced = || {
        let mut command = desk.command(&["run"]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &address);
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme");
        command
    };
    let before = now();
    assert!(traced().output().unwrap().status.success());
    let after = now();
    let all = spans(&requests);
    {
        let requests = requests.lock().unwrap();
        let (head, body) = &requests[0];
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("x-tenant: acme"), "{head}");
        let resource = within(within(body, 1).next().unwrap(), 1).next().unwrap();
        let resource: HashMap<_, _> = within(resource, 1).map(attribute).collect();
        assert_eq!(resource["service.name"], "bobbin");
        for (_, body) in requests.iter() {
            let held = |text: &str| body.windows(text.len()).any(|w| w == text.as_bytes());
            assert!(held("kustomer") && !held(sim.token()), "the token was sent");
        }
    }
    let root: Vec<&Span> = all.iter().filter(|span| span.parent.is_empty()).collect();
    assert_eq!(root.len(), 1, "{root:?}");
    let job = root[0];
    assert_eq!((job.name.as_str(), job.failed), ("job", false));
    assert_eq!(job.attributes["bobbin.outcome"], "complete");
    assert_eq!(job.attributes["bobbin.connection"], "kustomer");
    let jobs = desk.run(&["jobs"]);
    jobs.assert(0, &[&job.attributes["bobbin.job"]]);
    let by_id: HashMap<&[u8], &Span> = all.iter().map(|span| (&span.id[..], span)).collect();
    for span in &all {
        assert_eq!(span.trace, job.trace);
        assert!(before <= span.start && span.start <= span.end && span.end <= after, "{span:?}");
        assert_eq!(span.attributes["bobbin.connection"], "kustomer");
        if span.parent.is_empty() {
            continue;
        }
        let parent = by_id[&span.parent[..]];
        assert!(parent.start <= span.start && span.end <= parent.end, "{span:?} in {parent:?}");
        let (name, above) = (span.name.as_str(), parent.name.as_str());
        let fits = match name {
            "discover" => above == "job",
            "window" => above.starts_with("extract "),
            "commit" => above.starts_with("load "),
            _ => above == "job" && (name.starts_with("extract ") || name.starts_with("load ")),
        };
        assert!(fits, "{name} in {above}");
    }
    let named = |name: &str| all.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    assert_eq!(named("discover")[0].attributes["bobbin.tables"], "9");
    for table in ["customers", "messages", "tags"] {
        let extracted = named(&format!("extract {table}"));
        let loaded = named(&format!("load {table}"));
        assert_eq!((extracted.len(), loaded.is_empty()), (1, false), "{table}");
        let rows = loaded.iter().map(|span| span.attributes["bobbin.rows"].parse::<u64>().unwrap());
        let records: u64 = extracted[0].attributes["bobbin.records"].parse().unwrap();
        assert_eq!(rows.sum::<u64>(), records, "{table}");
        assert_eq!(extracted[0].attributes["bobbin.outcome"], "complete");
    }
    assert_eq!(named("commit").len(), all.iter().filter(|s| s.name.starts_with("load ")).count());
    assert!(!named("window").is_empty());

    // What fails is told so, with its reason, and takes no secret along.
    requests.lock().unwrap().clear();
    let url = sim.url().to_owned();
    desk.write(
        &format!("api_token = \"wrong-canary\"\napi_url = \"{url}\""),
        "path = \"out.duckdb\"",
        "",
    );
    assert_eq!(traced().output().unwrap().status.code(), Some(4));
    let failed = spans(&requests);
    assert!(failed.iter().any(|span| span.name == "job" && span.failed), "{failed:?}");
    for (_, body) in requests.lock().unwrap().iter() {
        assert!(!body.windows(12).any(|window| window == b"wrong-canary"));
    }
}

/// A collector that refuses, or is not there, costs a line and no job; without an address nothing is sent.
#[test]
fn traces_that_cannot_be_sent_harm_no_job() {
    let sim = Simulator::start(tiny(82)).unwrap();
    let desk = Desk::new(&sim);
    let (refusing, _) = collector("403 Forbidden");
    // A port that nobody listens on.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, told) in
        [(refusing, "403"), (format!("http://user:pass-canary@{free}"), "cannot be reached")]
    {
        sim.control().mutate(&Mutation::update("user", Pick::Random(3))).unwrap();
        let mut command = desk.command(&["run"]);
        let output = command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &address).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches("traces cannot be sent").count(), 1, "{said}");
        assert!(said.contains(told) && !said.contains("pass-canary"), "{said}");
    }
    let (address, requests) = collector("200 OK");
    for (variable, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let mut command = desk.command(&["run"]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &address).env(variable, value);
        assert!(command.output().unwrap().status.success());
    }
    desk.run(&["run"]).assert(0, &["complete"]);
    assert!(requests.lock().unwrap().is_empty());
}
