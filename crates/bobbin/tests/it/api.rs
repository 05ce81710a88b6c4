//! The HTTP API of a running service: its document, what it tells, changes of the file.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use fake_kustomer::{Running, Simulator};
use serde_json::Value;

use crate::serving::{ask, next, source, terminate};
use crate::support::{Desk, Told, tiny};

/// A running service.
struct Serving {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
    bearer: String,
}

impl Serving {
    fn start(desk: &Desk) -> Self {
        let serve = ["serve", "--format", "json", "--listen", "127.0.0.1:0"];
        let mut child = desk.command(&serve).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = next(&mut lines, "serving")["api"].as_str().unwrap().to_owned();
        let token = fs::read_to_string(desk.path(".bobbin/api-token")).unwrap();
        Self { child, lines, address, bearer: format!("Bearer {}", token.trim()) }
    }

    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let key = [("Authorization", self.bearer.as_str())];
        ask(method, &format!("http://{}{path}", self.address), &key, "")
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    fn stop(mut self) {
        terminate(&mut self.child);
        next(&mut self.lines, "stopped");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

fn served(desk: &Desk, sim: &Running, more: &str) {
    desk.write(
        &source(sim),
        "path = \"out.duckdb\"",
        &format!("tables = [\"tags\", \"users\"]\nschedule = {{ frequency_minutes = 60 }}\n{more}"),
    );
}

/// Every operation of the document is there and nothing is told or done without the token.
#[test]
fn f98_the_document_is_what_the_service_does() {
    let sim = Simulator::start(tiny(41)).unwrap();
    let desk = Desk::new(&sim);
    served(&desk, &sim, "");
    let mut serving = Serving::start(&desk);
    let job = next(&mut serving.lines, "job")["report"]["job"].as_str().unwrap().to_owned();
    let document = serving.get("/api/v1/openapi.json");
    let open = ["/health", "/ready", "/api/v1/openapi.json", "/api/v1/docs"];
    let mut count = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let address = path
            .replace("{connection}", "kustomer")
            .replace("{job}", &job)
            .replace("{stream}", "tags")
            .replace("{notice}", "1");
        for (method, operation) in operations.as_object().unwrap() {
            count += 1;
            let method = method.to_uppercase();
            let url = format!("http://{}{address}", serving.address);
            let (status, body) = ask(&method, &url, &[], "");
            let is_open = open.contains(&path.as_str());
            assert_eq!(status == 401, !is_open, "{method} {path}: {status} {body}");
            assert_eq!(operation["security"].is_array(), is_open, "{path}");
            let (status, body) = serving.ask(&method, &address);
            assert!(
                operation["responses"][status.to_string()].is_object(),
                "{method} {path}: {status} {body}"
            );
            assert!(!body.contains("no such address") && status != 405, "{method} {path}: {body}");
            for (_, answer) in operation["responses"].as_object().unwrap() {
                for (_, content) in answer["content"].as_object().into_iter().flatten() {
                    assert_described(&document, &content["schema"]);
                }
            }
        }
    }
    assert!(count >= 20, "{count}");
    let (status, page) = serving.ask("GET", "/api/v1/docs");
    assert!(status == 200 && page.contains("<code>/api/v1/connections</code>"), "{page}");
    for secret in [sim.token(), serving.bearer.trim_start_matches("Bearer ")] {
        assert!(!page.contains(secret) && !document.to_string().contains(secret));
    }
    serving.stop();
}

/// Every reference in a schema leads somewhere.
fn assert_described(document: &Value, schema: &Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(path)) = members.get("$ref") {
                let found = document.pointer(path.trim_start_matches('#'));
                assert!(found.is_some(), "{path} is nowhere");
            }
            members.values().for_each(|member| assert_described(document, member));
        }
        Value::Array(items) => items.iter().for_each(|item| assert_described(document, item)),
        _ => {}
    }
}

/// F-06, F-12, F-55: the catalog of the last job, its log as it goes on, metrics.
#[test]
fn f06_f12_f55_streams_logs_and_metrics_are_told() {
    let sim = Simulator::start(tiny(42)).unwrap();
    let desk = Desk::new(&sim);
    served(&desk, &sim, "mask = [\"users.email\"]\n");
    let mut serving = Serving::start(&desk);
    let job = next(&mut serving.lines, "job")["report"]["job"].as_str().unwrap().to_owned();
    let of = "/api/v1/connections/kustomer";
    let streams = serving.get(&format!("{of}/streams"));
    assert_eq!(streams["data"].as_array().unwrap().len(), 9);
    let chosen = streams["data"].as_array().unwrap().iter().filter(|s| s["selected"] == true);
    assert_eq!(chosen.count(), 2);
    let users = serving.get(&format!("{of}/streams/users"));
    let column = |name: &str| {
        let columns = users["columns"].as_array().unwrap();
        columns.iter().find(|column| column["name"] == name).unwrap().clone()
    };
    assert_eq!(column("email")["treatment"], "masked");
    assert_eq!(column("id")["automatic"], true);
    assert_eq!(serving.ask("GET", &format!("{of}/streams/zebra")).0, 404);

    let log = format!("{of}/jobs/{job}/log");
    let (_, all) = serving.ask("GET", &log);
    let (_, brief) = serving.ask("GET", &format!("{log}?brief=true&search=tags"));
    assert!(all.contains(" - DEBUG ") && !brief.contains(" - DEBUG "));
    assert!(brief.lines().count() > 0 && brief.lines().all(|line| line.contains("tags")));
    let (_, events) = serving.ask("GET", &format!("{log}?format=events"));
    let told: Vec<&str> = events.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(told, all.lines().collect::<Vec<_>>());
    assert!(events.ends_with("event: end\ndata:\n\n"), "{events}");
    assert_eq!(serving.ask("GET", &format!("{log}?format=pdf")).0, 400);

    let (_, metrics) = serving.ask("GET", "/metrics");
    for line in [
        "bobbin_running{connection=\"kustomer\"} 0",
        "bobbin_jobs{connection=\"kustomer\",outcome=\"complete\"} 1",
        "bobbin_notices{connection=\"kustomer\",kind=\"extraction\"} 0",
        "bobbin_rows_loaded_day{connection=\"kustomer\",table=\"tags\"} ",
        "bobbin_last_complete_seconds{connection=\"kustomer\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    serving.stop();
}

/// What changed in the file counts once it is applied; a file that is wrong changes nothing.
#[test]
fn a_changed_file_is_applied_to_the_running_service() {
    let sim = Simulator::start(tiny(43)).unwrap();
    let desk = Desk::new(&sim);
    served(&desk, &sim, "");
    desk.run(&["apply"]).assert(2, &["no service runs", "bobbin serve"]);
    let mut serving = Serving::start(&desk);
    next(&mut serving.lines, "job");
    desk.run(&["apply", "--dry-run"]).assert(0, &["the service runs as the file says"]);

    let more = "[connections.second]\nsource = \"kustomer\"\ndestination = \"warehouse\"\n\
                tables = [\"teams\"]\n";
    desk.write(
        &source(&sim),
        "path = \"out.duckdb\"",
        &format!("tables = [\"tags\"]\nschedule = {{ frequency_minutes = 30 }}\n{more}"),
    );
    let differences = ["+ second", "~ kustomer: selection, schedule"];
    desk.run(&["apply", "--dry-run"]).assert(0, &differences).assert(0, &["nothing was changed"]);
    assert_eq!(serving.get("/api/v1/connections")["data"].as_array().unwrap().len(), 1);
    desk.run(&["apply"]).assert(0, &differences);
    // The new one is due at once.
    let report = next(&mut serving.lines, "job")["report"].clone();
    assert_eq!((&report["connection"], &report["outcome"]), (&"second".into(), &"complete".into()));
    let all = serving.get("/api/v1/connections");
    let schedules: Vec<&Value> =
        all["data"].as_array().unwrap().iter().map(|connection| &connection["schedule"]).collect();
    assert_eq!(schedules, ["every 30 minutes", "every hour"]);
    assert_eq!(serving.ask("POST", "/api/v1/connections/kustomer/jobs").0, 202);
    let report = next(&mut serving.lines, "job")["report"].clone();
    assert_eq!(report["tables"].as_array().unwrap().len(), 1, "{report}");

    let told = |told: Told| assert_eq!(told.status, Some(2), "{told:?}");
    let file = fs::read_to_string(desk.path("bobbin.toml")).unwrap();
    fs::write(desk.path("bobbin.toml"), format!("{file}\nzebra = 1\n")).unwrap();
    let (status, body) = serving.ask("POST", "/api/v1/apply");
    assert!(status == 422 && body.contains("zebra"), "{status} {body}");
    told(desk.run(&["apply"]));
    assert_eq!(serving.get("/api/v1/connections")["data"].as_array().unwrap().len(), 2);

    served(&desk, &sim, "");
    desk.run(&["apply"]).assert(0, &["- second (its tables stay)"]);
    let all = serving.get("/api/v1/connections");
    assert_eq!(all["data"].as_array().unwrap().len(), 1, "{all}");
    assert_eq!(serving.ask("POST", "/api/v1/connections/second/jobs").0, 404);
    serving.stop();
    desk.run(&["query", "select count(*) from second.teams"]).assert(0, &[]);
}
