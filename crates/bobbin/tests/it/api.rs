//! The HTTP API of a running service: its document, what it tells, changes of the file.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use fake_kustomer::{Running, Simulator};
use serde_json::Value;

use crate::serving::{ask, next, source, terminate};
use crate::support::{Desk, Told, tiny};

/// A running service.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) lines: Lines<BufReader<ChildStdout>>,
    pub(crate) address: String,
    pub(crate) bearer: String,
}

/// A test that fails leaves nothing running.
impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    pub(crate) fn start(desk: &Desk) -> Self {
        Self::start_with(desk, &["--listen", "127.0.0.1:0"])
    }

    pub(crate) fn start_with(desk: &Desk, more: &[&str]) -> Self {
        let serve = [&["serve", "--format", "json"], more].concat();
        Self::of(desk, &mut desk.command(&serve))
    }

    pub(crate) fn of(desk: &Desk, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = next(&mut lines, "serving")["api"].as_str().unwrap().to_owned();
        let token = fs::read_to_string(desk.path(".bobbin/api-token")).unwrap();
        Self { child, lines, address, bearer: format!("Bearer {}", token.trim()) }
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let key = [("Authorization", self.bearer.as_str())];
        ask(method, &format!("http://{}{path}", self.address), &key, "")
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Asks with a body; gives the status and what was answered, null where that is nothing.
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let headers =
            [("Authorization", self.bearer.as_str()), ("Content-Type", "application/json")];
        let url = format!("http://{}{path}", self.address);
        let (status, text) = ask(method, &url, &headers, &body.to_string());
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Asks with a body for what must be done.
    #[track_caller]
    pub(crate) fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.send(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    pub(crate) fn stop(mut self) {
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
    let open = ["/health", "/ready", "/api/v1/openapi.json", "/v2/import/status"];
    let mut count = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let address = path
            .replace("{connection}", "kustomer")
            .replace("{job}", &job)
            .replace("{stream}", "tags")
            .replace("{notice}", "1")
            .replace("{name}", "none")
            .replace("{table}", "tags")
            .replace("{id}", "99")
            .replace("{type}", "none")
            .replace("{token}", "9")
            .replace("{destination}", "1")
            .replace("{source}", "1")
            .replace("{key}", "99")
            .replace("{user}", "none")
            .replace("{stream_id}", "2")
            .replace("{client}", "1")
            .replace("{job_name}", &format!("1.1.sync.{job}"));
        for (method, operation) in operations.as_object().unwrap() {
            count += 1;
            let method = method.to_uppercase();
            let url = format!("http://{}{address}", serving.address);
            let (status, body) = ask(&method, &url, &[], "");
            if path == "/api/v1/events" {
                // It does not end; a test of its own listens to it.
                assert_eq!(status, 401, "{body}");
                continue;
            }
            let is_login = path == "/api/v1/session" && method == "POST";
            let is_open = open.contains(&path.as_str()) || is_login;
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
    for secret in [sim.token(), serving.bearer.trim_start_matches("Bearer ")] {
        assert!(!document.to_string().contains(secret));
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

/// How filled a column is told to be is how filled it is in the table.
#[test]
fn columns_are_told_as_filled_as_they_are() {
    let sim = Simulator::start(tiny(47)).unwrap();
    let desk = Desk::new(&sim);
    let more = "tables = [\"customers\"]\nexclude = [\"customers.locale\"]\n\
                schedule = { frequency_minutes = 60 }\n";
    desk.write(&source(&sim), "path = \"out.duckdb\"", more);
    let mut serving = Serving::start(&desk);
    assert_eq!(next(&mut serving.lines, "job")["report"]["outcome"], "complete");
    let told = serving.get("/api/v1/connections/kustomer/streams/customers");
    serving.stop();
    let ask = |sql: &str| {
        let told = desk.run(&["query", "--format", "json", sql]);
        told.assert(0, &[]);
        let rows = told.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.map(|row| row["n"].clone()).collect::<Vec<_>>()
    };
    let held = |what: &str| {
        ask(&format!("select {what} as n from kustomer.customers"))[0].as_u64().unwrap()
    };
    let names = "select column_name as n from information_schema.columns \
                 where table_schema = 'kustomer' and table_name = 'customers'";
    let names: Vec<String> =
        ask(names).iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    let records = held("count(*)");
    assert_eq!(told["fill"]["records"], records);
    let (mut between, mut compared, mut left_out) = (0, 0, 0);
    for column in told["columns"].as_array().unwrap() {
        if column["selected"] == false {
            assert_eq!(column["filled_percent"], Value::Null, "{column}");
            left_out += 1;
            continue;
        }
        let filled = column["filled_percent"].as_u64().unwrap();
        // A field with values of several types has several columns: `tier` and `tier__st`.
        let name = column["name"].as_str().unwrap();
        let own = |held: &&String| {
            held.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.len() == 4)
        };
        let own: Vec<String> =
            names.iter().filter(own).map(|name| format!("\"{name}\" is not null")).collect();
        // A column that never had a value is not made.
        let exact = match own.as_slice() {
            [] => 0,
            own => held(&format!("count(*) filter (where {})", own.join(" or "))),
        };
        let percent = match exact {
            0 => 0,
            exact if exact == records => 100,
            exact => (exact * 100 / records).clamp(1, 99),
        };
        assert_eq!(filled, percent, "{column}: {exact} of {records}");
        compared += 1;
        between += usize::from(percent < 100);
    }
    assert!(
        compared > 10 && between > 0 && left_out == 1,
        "{left_out}, {compared} columns, {between} of them not full"
    );
}

/// F-63: the summary; a table is read again, records that were set aside are told; whoever listens hears of it.
#[test]
fn f63_a_summary_a_reset_and_events_over_http() {
    use std::io::{Read, Write};
    let sim = Simulator::start(tiny(46)).unwrap();
    let desk = Desk::new(&sim);
    served(&desk, &sim, "");
    let mut serving = Serving::start(&desk);
    next(&mut serving.lines, "job");
    let of = "/api/v1/connections/kustomer";
    let summary = serving.get(&format!("{of}/summary"));
    let tags = sim.oracle().held("tag", fake_kustomer::Bounds::all()).unwrap().len();
    let users = sim.oracle().held("user", fake_kustomer::Bounds::all()).unwrap().len();
    let today = summary["loaded"]["rows_today"].as_u64().unwrap();
    assert!(today >= (tags + users) as u64, "{summary}");
    assert_eq!(summary["extracted"]["status"], "idle");
    assert!(summary["extracted"]["last_completed_at"].is_string());
    assert_eq!(summary["preparing"]["rows"], 0);

    let mut stream = std::net::TcpStream::connect(&serving.address).unwrap();
    write!(
        stream,
        "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n\r\n",
        serving.bearer
    )
    .unwrap();
    let mut heard = [0; 1];
    stream.read_exact(&mut heard).unwrap();
    let reset = serde_json::json!({ "tables": ["tags"] });
    assert_eq!(serving.done("POST", &format!("{of}/reset"), &reset)["streams"][0], "tags");
    let wrong = serde_json::json!({ "tables": ["zebras"] });
    let (status, body) = serving.send("POST", &format!("{of}/reset"), &wrong);
    assert_eq!(status, 422, "{body}");
    serving.done("POST", &format!("{of}/jobs"), &Value::Null);
    let report = next(&mut serving.lines, "job")["report"].clone();
    let table = |name: &str| {
        let tables = report["tables"].as_array().unwrap();
        tables.iter().find(|table| table["stream"] == name).unwrap()["extracted"].as_u64().unwrap()
    };
    assert_eq!(table("tags"), tags as u64, "{report}");
    let mut text = String::new();
    while !text.contains("event: job\n") {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    let rejected = serving.get(&format!("{of}/rejected"));
    assert_eq!(rejected["groups"], serde_json::json!([]));
    assert_eq!(
        serving.done("POST", &format!("{of}/rejected/retry"), &serde_json::json!({}))["data"],
        serde_json::json!([])
    );
    let page = serving.get(&format!("{of}/jobs?limit=1"));
    let before = page["next_before"].as_str().unwrap();
    let older = serving.get(&format!("{of}/jobs?limit=1&before={before}"));
    assert!(older["data"][0]["id"].as_str() < page["data"][0]["id"].as_str());
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
    let text = fs::read_to_string(desk.path("bobbin.toml")).unwrap();
    fs::write(desk.path("bobbin.toml"), format!("keep_days = 90\n{text}")).unwrap();
    desk.run(&["apply", "--dry-run"]).assert(0, &["~ for all connections: keep_days"]);
    fs::write(desk.path("other.toml"), &text).unwrap();
    desk.run(&["apply", "--config", "other.toml"]).assert(2, &["another file", "bobbin.toml"]);
    fs::write(desk.path("bobbin.toml"), "").unwrap();
    desk.run(&["apply"]).assert(2, &["no connection any more"]);
    fs::write(desk.path("bobbin.toml"), text).unwrap();

    let more = "[connections.second]\nsource = \"kustomer\"\ndestination = \"warehouse\"\n\
                tables = [\"teams\"]\n";
    desk.write(
        &source(&sim),
        "path = \"out.duckdb\"",
        &format!("tables = [\"tags\"]\nschedule = {{ frequency_minutes = 30 }}\n{more}"),
    );
    let differences = ["+ second", "~ kustomer: selection, schedule"];
    desk.run(&["plan", "kustomer"]).assert(0, &["goes by an older file"]).assert(0, &differences);
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

/// F-31, F-52, F-58, F-64, F-98: what automation of Stitch's asks, in Stitch's shapes.
#[test]
fn f31_f52_f58_f64_f98_automation_of_stitch_finds_what_it_knows() {
    let sim = Simulator::start(tiny(44)).unwrap();
    let desk = Desk::new(&sim);
    served(&desk, &sim, "exclude = [\"users.email\"]\n");
    let mut serving = Serving::start(&desk);
    let job = next(&mut serving.lines, "job")["report"]["job"].as_str().unwrap().to_owned();
    let source = serving.get("/v4/sources")[0].clone();
    assert_eq!(source, serving.get("/v4/sources/1"));
    assert_eq!(source["type"], "platform.kustomer");
    assert_eq!(
        (&source["name"], &source["display_name"]),
        (&"kustomer".into(), &"kustomer".into())
    );
    assert_eq!(source["report_card"]["current_step_type"], "fully_configured");
    let schedule = &source["schedule"];
    assert_eq!((&schedule["type"], &schedule["interval"]), (&"interval".into(), &60.0.into()));
    assert!(schedule["next_fire_time"].as_str().unwrap().ends_with('Z'));
    assert!(!source.to_string().contains(sim.token()));
    assert_eq!(serving.get("/v4/sources/1/last-connection-check")["check_exit_status"], 0);

    // Streams and their metadata.
    let streams = serving.get("/v4/sources/1/streams");
    let users = streams.as_array().unwrap().iter().find(|s| s["stream_name"] == "users").unwrap();
    assert_eq!(users["metadata"]["table-key-properties"], serde_json::json!(["id"]));
    assert_eq!((&users["selected"], &users["tap_stream_id"]), (&true.into(), &"users".into()));
    let number = users["stream_id"].as_i64().unwrap();
    let users = serving.get(&format!("/v4/sources/1/streams/{number}"));
    let schema: Value = serde_json::from_str(users["schema"].as_str().unwrap()).unwrap();
    assert_eq!(schema["properties"]["updated_at"]["format"], "date-time");
    let said = |field: &str| {
        let crumb = serde_json::json!(["properties", field]);
        let all = users["metadata"].as_array().unwrap();
        all.iter().find(|entry| entry["breadcrumb"] == crumb).unwrap()["metadata"].clone()
    };
    assert_eq!(said("id")["inclusion"], "automatic");
    assert_eq!(
        (&said("email")["selected"], &said("name")["selected"]),
        (&false.into(), &true.into())
    );

    // Extractions, loads.
    let extractions = serving.get("/v4/1/extractions");
    assert_eq!((&extractions["total"], &extractions["links"]), (&1.into(), &serde_json::json!({})));
    let last = &extractions["data"][0];
    assert_eq!(last["job_name"], format!("1.1.sync.{job}"));
    assert_eq!(
        (&last["source_type"], &last["tap_name"]),
        (&"tap-kustomer".into(), &"tap-kustomer".into())
    );
    for step in ["discovery", "tap", "target"] {
        assert_eq!(last[format!("{step}_exit_status")], 0);
        assert_eq!(last[format!("{step}_description")], Value::Null);
    }
    assert_eq!(serving.ask("GET", &format!("/v4/1/extractions/1.1.sync.{job}")).0, 302);
    let (status, text) =
        serving.ask("GET", &format!("/api/v1/connections/kustomer/jobs/{job}/log"));
    assert!(status == 200 && text.contains("the job is complete"), "where that leads: {text}");
    let loads = serving.get("/v4/1/loads");
    let names: Vec<&str> = loads["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["stream_name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["tags", "users"]);
    assert!(loads["data"][0]["last_batch_loaded_at"].is_string());
    assert_eq!(loads["data"][0]["error_state"], Value::Null);

    // Pause, start, stop.
    let put = |body: &str| {
        let url = format!("http://{}/v4/sources/1", serving.address);
        let headers =
            [("Authorization", serving.bearer.as_str()), ("Content-Type", "application/json")];
        ask("PUT", &url, &headers, body)
    };
    let (status, body) = put("{\"paused_at\":\"2099-01-01T00:00:00Z\"}");
    assert_eq!(status, 200, "{body}");
    let paused = serving.get("/v4/sources/1");
    assert!(paused["schedule"].is_null() && paused["paused_at"].is_string(), "{paused}");
    let (status, body) = put("{\"display_name\":\"x\"}");
    assert!(status == 400 && body.contains("InvalidProperties"), "{body}");
    assert!(put("no").1.contains("InvalidBody"));
    assert_eq!(put("{\"paused_at\":null}").0, 200);
    assert!(serving.get("/v4/sources/1")["schedule"].is_object());
    assert_eq!(serving.ask("GET", "/v4/sources/9").0, 404);

    // F-58: a destination that fails is the target's status, a key that fails the discovery's.
    fs::remove_file(desk.path("out.duckdb")).unwrap();
    fs::create_dir(desk.path("out.duckdb")).unwrap();
    let (_, body) = serving.ask("POST", "/v4/sources/1/sync");
    let begun: Value = serde_json::from_str(&body).unwrap();
    next(&mut serving.lines, "job");
    let last = serving.get("/v4/1/extractions")["data"][0].clone();
    assert_eq!(last["job_name"], begun["job_name"]);
    assert_eq!((&last["target_exit_status"], &last["tap_exit_status"]), (&1.into(), &0.into()));
    assert!(last["target_description"].as_str().unwrap().contains("out.duckdb"), "{last}");
    fs::remove_dir(desk.path("out.duckdb")).unwrap();
    let text = fs::read_to_string(desk.path("bobbin.toml")).unwrap();
    fs::write(desk.path("bobbin.toml"), text.replace(sim.token(), "wrong")).unwrap();
    desk.run(&["apply"]).assert(0, &["~ kustomer: source"]);
    serving.ask("POST", "/v4/sources/1/sync");
    next(&mut serving.lines, "job");
    let last = serving.get("/v4/1/extractions")["data"][0].clone();
    assert_eq!(last["discovery_exit_status"], 1, "{last}");
    assert!(serving.get("/v4/sources/1/last-connection-check")["error"].as_bool().unwrap());
    assert!(serving.ask("DELETE", "/v4/sources/1/sync").1.contains("not_running"));
    serving.stop();
}

/// F-99, F-101: every operation by every role; keys are shown once, disabled, deleted, ten at most.
#[test]
fn f99_f101_each_role_may_what_it_may_and_no_more() {
    let sim = Simulator::start(tiny(45)).unwrap();
    let desk = Desk::new(&sim);
    served(&desk, &sim, "");
    let mut serving = Serving::start(&desk);
    next(&mut serving.lines, "job");
    let create = |name: &str, role: &str| -> Value {
        let told = desk.run(&["key", "create", name, "--role", role, "--format", "json"]);
        assert_eq!(told.status, Some(0), "{told:?}");
        serde_json::from_str(&told.stdout).unwrap()
    };
    let keys: Vec<(usize, String, i64)> = ["viewer", "operator", "administrator"]
        .iter()
        .enumerate()
        .map(|(rank, role)| {
            let key = create(role, role);
            (rank, key["key"].as_str().unwrap().to_owned(), key["id"].as_i64().unwrap())
        })
        .collect();
    let with = |key: &str, method: &str, path: &str, body: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        ask(method, &format!("http://{}{path}", serving.address), &headers, body)
    };
    let document = serving.get("/api/v1/openapi.json");
    let mut refused = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        // Names that there are not: who may not is told so before that is looked up.
        let address = path.replace("{connection}", "none").replace(['{', '}'], "");
        for (method, operation) in operations.as_object().unwrap() {
            let Some(needed) = operation["x-role"].as_str() else { continue };
            if path == "/api/v1/events" {
                continue;
            }
            let needed = ["viewer", "operator", "administrator"].iter().position(|r| *r == needed);
            for (rank, key, _) in &keys {
                let (status, body) = with(key, &method.to_uppercase(), &address, "");
                assert_eq!(
                    status == 403,
                    *rank < needed.unwrap(),
                    "{method} {path} {rank}: {status} {body}"
                );
                assert_ne!(status, 401, "{method} {path}");
                refused += u32::from(status == 403);
            }
        }
    }
    assert!(refused > 15, "{refused}");

    // Listed without its text, over HTTP as on the command line.
    let administrator = &keys[2].1;
    let (_, listed) = with(administrator, "GET", "/api/v1/keys", "");
    let told = desk.run(&["key", "list"]).stdout;
    for (_, key, _) in &keys {
        assert!(!listed.contains(key) && !told.contains(key));
        assert!(listed.contains(&key[key.len() - 4..]) && told.contains(&key[key.len() - 4..]));
        let ledger = fs::read(desk.path(".bobbin/ledger.sqlite")).unwrap();
        assert!(!ledger.windows(key.len()).any(|bytes| bytes == key.as_bytes()));
    }
    // Disabled, enabled, deleted.
    let (viewer, number) = (&keys[0].1, keys[0].2.to_string());
    desk.run(&["key", "disable", &number]).assert(0, &["not accepted any more"]);
    assert_eq!(with(viewer, "GET", "/api/v1/connections", "").0, 401);
    let path = format!("/api/v1/keys/{number}");
    assert_eq!(with(administrator, "PATCH", &path, "{\"enabled\":true}").0, 200);
    assert_eq!(with(viewer, "GET", "/api/v1/connections", "").0, 200);
    assert_eq!(with(administrator, "DELETE", &path, "").0, 200);
    assert_eq!(with(viewer, "GET", "/api/v1/connections", "").0, 401);
    desk.run(&["key", "delete", &number]).assert(2, &["there is no key"]);
    // Made over HTTP, ten at most.
    let body = "{\"description\":\"more\",\"role\":\"viewer\"}";
    for _ in 0..8 {
        let (status, told) = with(administrator, "POST", "/api/v1/keys", body);
        assert!(status == 201 && told.contains("\"key\":\"bobbin_"), "{status} {told}");
    }
    assert_eq!(with(administrator, "POST", "/api/v1/keys", body).0, 409);
    desk.run(&["key", "create", "x", "--role", "viewer"]).assert(8, &["there are 10 keys"]);
    for (wrong, status) in [
        ("{}", 400),
        ("{\"description\":\"\",\"role\":\"viewer\"}", 422),
        ("{\"description\":\"x\",\"role\":\"king\"}", 400),
    ] {
        assert_eq!(with(administrator, "POST", "/api/v1/keys", wrong).0, status, "{wrong}");
    }
    serving.stop();
}
