//! `bobbin serve` and `bobbin schedule`, as a person runs them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use fake_kustomer::{Mutation, Simulator};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Desk, FAST, tiny};

pub(crate) fn source(sim: &fake_kustomer::Running) -> String {
    format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url())
}

/// The next object that the service prints of this kind.
pub(crate) fn next(
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
    event: &str,
) -> Value {
    loop {
        let line = lines.next().expect("the service ended").unwrap();
        let object: Value = serde_json::from_str(&line).unwrap();
        if object["event"] == event {
            return object;
        }
        assert_ne!(object["event"], "refused", "{object}");
    }
}

pub(crate) fn terminate(child: &mut Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}

#[test]
fn a_service_replicates_at_once_and_by_schedule_and_ends_in_order() {
    let sim = Simulator::start(tiny(31)).unwrap();
    let desk = Desk::new(&sim);
    desk.write(&source(&sim), "path = \"out.duckdb\"", "schedule = { frequency_minutes = 1 }");
    let serve = ["serve", "--format", "json", "--listen", "127.0.0.1:0"];
    let mut child = desk.command(&serve).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(next(&mut lines, "slot")["slot"]["outcome"], "started");
    let report = next(&mut lines, "job")["report"].clone();
    assert_eq!(report["outcome"], "complete", "{report}");
    desk.assert_exact(&sim, None);
    // The second one comes a minute after the first.
    sim.control().mutate(&Mutation::add("message", 20)).unwrap();
    sim.control().advance(3_600_000);
    assert_eq!(next(&mut lines, "slot")["slot"]["outcome"], "started");
    assert_eq!(next(&mut lines, "job")["report"]["outcome"], "complete");
    terminate(&mut child);
    next(&mut lines, "stopped");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    desk.assert_exact(&sim, None);

    let told = desk.run(&["schedule", "history", "--format", "json"]);
    let slots: Vec<Value> =
        told.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(slots.len(), 2, "{told:?}");
    for slot in &slots {
        assert_eq!(slot["slot"]["outcome"], "started");
        assert!(slot["slot"]["job"].is_string(), "{slot}");
    }
    desk.run(&["schedule", "history"]).assert(0, &["started", "what became of it"]);
    desk.run(&["status"]).assert(0, &["complete"]);
}

#[test]
fn a_stop_saves_what_is_on_its_way_and_a_job_by_hand_does_not_disturb() {
    let mut config = tiny(32);
    config.latency_ms = 300;
    let sim = Simulator::start(config).unwrap();
    let desk = Desk::new(&sim);
    desk.write(&source(&sim), "path = \"out.duckdb\"", "schedule = { frequency_minutes = 5 }");
    let serve = ["serve", "--format", "json", "--listen", "127.0.0.1:0"];
    let mut child = desk.command(&serve).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(next(&mut lines, "slot")["slot"]["outcome"], "started");
    let since = Instant::now();
    while !desk.run(&["status"]).stdout.contains("running") {
        assert!(since.elapsed() < Duration::from_mins(1), "no job began");
        std::thread::sleep(Duration::from_millis(20));
    }
    desk.run(&["run"]).assert(8, &["another job of this connection is running"]);
    terminate(&mut child);
    assert_eq!(next(&mut lines, "job")["report"]["outcome"], "interrupted");
    next(&mut lines, "stopped");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    desk.run(&["run"]).assert(0, &["complete"]);
    desk.assert_exact(&sim, None);
}

#[test]
fn f25_a_preview_tells_the_next_times_and_a_wrong_rule_is_told() {
    let sim = Simulator::start(tiny(33)).unwrap();
    let desk = Desk::new(&sim);
    let with = |schedule: &str| {
        desk.write(&source(&sim), "path = \"out.duckdb\"", &format!("schedule = {{ {schedule} }}"));
        desk.run(&["schedule", "preview", "--next", "4"])
    };
    let told = with("cron = \"0 30 6 ? * MON-FRI\", time_zone = \"Europe/Berlin\"");
    told.assert(0, &["cron 0 30 6 ? * MON-FRI (Europe/Berlin)", " 06:30:00 ", "Europe/Berlin"]);
    assert_eq!(told.stdout.lines().filter(|line| line.contains("06:30:00")).count(), 4);
    with("frequency_minutes = 360, anchor = \"2018-04-30T03:30:00Z\"")
        .assert(0, &["every 6 hours from 2018-04-30T03:30:00Z", "T03:30:00Z", "T21:30:00Z"]);
    with("").assert(0, &["every hour"]);
    with("paused = true").assert(0, &["paused"]);
    with("cron = \"0 0 0 31 2 ?\"").assert(0, &["never due again"]);
    with("cron = \"0 0 3 ? * TUE-THUR\"")
        .assert(2, &["`THUR`", "schedule of connection `kustomer`"]);
    with("cron = \"0 0 3 * * *\"").assert(2, &["exactly one of day of month and day of week"]);
    with("frequency_minutes = 0").assert(2, &["0 minutes", "1 or more"]);
    with("anchor = \"tomorrow\"").assert(2, &["the anchor `tomorrow` is no instant"]);
    with("time_zone = \"Moon\"").assert(2, &["there is no time zone `Moon`"]);
}

/// An answer: its status and body.
pub(crate) fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
    let body = answer.body_mut().read_to_vec().unwrap();
    (answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn f98_the_api_tells_and_does_for_whoever_has_the_token() {
    let sim = Simulator::start(tiny(34)).unwrap();
    let desk = Desk::new(&sim);
    desk.write(&source(&sim), "path = \"out.duckdb\"", "schedule = { frequency_minutes = 60 }");
    let serve = ["serve", "--format", "json", "--listen", "127.0.0.1:0"];
    let mut child = desk.command(&serve).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = next(&mut lines, "serving")["api"].as_str().unwrap().to_owned();
    next(&mut lines, "job");
    let file = desk.path(".bobbin/api-token");
    let token = fs::read_to_string(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let bearer = format!("Bearer {}", token.trim());
    let key = [("Authorization", bearer.as_str())];
    let url = |path: &str| format!("http://{address}{path}");
    let get = |path: &str| {
        let (status, body) = ask("GET", &url(path), &key, "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str::<Value>(&body).unwrap()
    };

    // Who may ask.
    let list = url("/api/v1/connections");
    assert_eq!(ask("GET", &url("/health"), &[], "").0, 200);
    let (status, body) = ask("GET", &list, &[], "");
    assert_eq!(status, 401);
    assert!(body.contains("a token is needed") && body.contains("\"status\":401"), "{body}");
    assert_eq!(ask("GET", &list, &[("Authorization", "Bearer wrong")], "").0, 401);
    assert_eq!(ask("POST", &format!("{list}/kustomer/jobs"), &[], "").0, 401);
    let page = [key[0], ("Origin", "http://evil.example")];
    assert_eq!(ask("GET", &list, &page, "").0, 403);
    assert_eq!(ask("GET", &list, &[key[0], ("Host", "evil.example")], "").0, 421);
    assert_eq!(ask("GET", &url("/elsewhere"), &key, "").0, 404);

    // What there is.
    let all = get("/api/v1/connections");
    assert_eq!(all["data"][0]["id"], "kustomer");
    assert_eq!(all["data"][0]["schedule"], "every hour");
    assert_eq!(all["data"][0]["status"], "idle");
    assert_eq!(all["data"][0]["destination"], "duckdb");
    let jobs = get("/api/v1/connections/kustomer/jobs?limit=5");
    assert_eq!(jobs["data"].as_array().unwrap().len(), 1);
    assert_eq!(jobs["data"][0]["status"], "complete");
    assert_eq!(jobs["data"][0]["trigger"], "schedule");
    let job = jobs["data"][0]["id"].as_str().unwrap();
    let one = get(&format!("/api/v1/connections/kustomer/jobs/{job}"));
    assert_eq!(one["report"]["tables"].as_array().unwrap().len(), 9);
    let log = format!("/api/v1/connections/kustomer/jobs/{job}/log");
    let (status, text) = ask("GET", &url(&log), &key, "");
    assert!(status == 200 && text.contains("main - INFO the job is complete"), "{text}");
    let last: Vec<&str> = text.lines().rev().take(2).collect();
    let (status, end) = ask("GET", &url(&format!("{log}?last=2")), &key, "");
    assert_eq!((status, end.lines().rev().collect::<Vec<_>>()), (200, last));
    assert!(!text.contains(sim.token()) && !text.contains(token.trim()));
    assert!(ask("GET", &url(&format!("{log}?format=json")), &key, "").1.starts_with('{'));
    let elsewhere = url("/api/v1/connections/kustomer/jobs/..%2F..%2Fx/log");
    assert_eq!(ask("GET", &elsewhere, &key, "").0, 404);
    let tables = get("/api/v1/connections/kustomer/tables");
    assert_eq!(tables["data"].as_array().unwrap().len(), 9);
    let mut before = String::new();
    let mut seen = Vec::new();
    loop {
        let page = get(&format!("/api/v1/connections/kustomer/loads?limit=4{before}"));
        for load in page["data"].as_array().unwrap() {
            assert_eq!((&load["job"], &load["error"]), (&jobs["data"][0]["id"], &Value::Null));
            seen.push(load["id"].as_i64().unwrap());
        }
        let Some(next) = page["next_before"].as_i64() else { break };
        before = format!("&before={next}");
    }
    assert!(seen.len() >= 9 && seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
    let notes = get("/api/v1/connections/kustomer/loads?table=notes");
    assert!(notes["data"].as_array().unwrap().iter().all(|load| load["stream"] == "notes"));
    assert_eq!(get("/api/v1/connections/kustomer/slots")["data"][0]["outcome"], "started");
    assert_eq!(ask("GET", &url("/api/v1/connections/other/jobs"), &key, "").0, 404);

    // What it does.
    let patch = |body: &str| {
        let json = [key[0], ("Content-Type", "application/json")];
        ask("PATCH", &url("/api/v1/connections/kustomer"), &json, body)
    };
    let (status, body) = patch("{\"paused\":true}");
    assert!(status == 200 && body.contains("\"paused\":true"), "{body}");
    assert_eq!(get("/api/v1/connections/kustomer")["next_job_at"], Value::Null);
    for wrong in ["{\"pause\":true}", "{", ""] {
        let (status, body) = patch(wrong);
        assert!(status == 400 && body.contains("\"status\":400"), "{status}: {body}");
    }
    let limit = url("/api/v1/connections/kustomer/jobs?limit=many");
    assert_eq!(ask("GET", &limit, &key, "").0, 400);
    let (status, body) = ask("DELETE", &url("/api/v1/connections/kustomer"), &key, "");
    assert!(status == 409 && body.contains("managed by the file"), "{body}");
    let (status, body) = ask("DELETE", &url("/api/v1/connections/kustomer/jobs"), &key, "");
    assert!(status == 405 && body.contains("\"status\":405"), "{body}");
    sim.control().mutate(&Mutation::add("note", 7)).unwrap();
    sim.control().advance(3_600_000);
    assert_eq!(ask("POST", &format!("{list}/kustomer/jobs"), &key, "").0, 202);
    assert_eq!(next(&mut lines, "job")["report"]["outcome"], "complete");
    desk.assert_exact(&sim, None);
    let jobs = get("/api/v1/connections/kustomer/jobs");
    assert_eq!(jobs["data"][0]["trigger"], "manual");
    assert_eq!(ask("POST", &format!("{list}/kustomer/stop"), &key, "").0, 409);
    assert_eq!(patch("{\"paused\":false}").0, 200);
    assert!(get("/api/v1/connections/kustomer")["next_job_at"].is_string());

    // A client that is slow holds nobody up.
    let mut slow = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut slow, b"GET /h").unwrap();
    // Another one cannot have the same address.
    let second = desk.run(&["serve", "--listen", &address]);
    second.assert(8, &["cannot listen", "--listen"]);
    terminate(&mut child);
    next(&mut lines, "stopped");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
