//! `bobbin serve` and `bobbin schedule`, as a person runs them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use fake_kustomer::{Mutation, Simulator};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Desk, FAST, tiny};

fn source(sim: &fake_kustomer::Running) -> String {
    format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url())
}

/// The next object that the service prints of this kind.
fn next(lines: &mut impl Iterator<Item = std::io::Result<String>>, event: &str) -> Value {
    loop {
        let line = lines.next().expect("the service ended").unwrap();
        let object: Value = serde_json::from_str(&line).unwrap();
        if object["event"] == event {
            return object;
        }
    }
}

fn terminate(child: &mut Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}

#[test]
fn a_service_replicates_at_once_and_by_schedule_and_ends_in_order() {
    let sim = Simulator::start(tiny(31)).unwrap();
    let desk = Desk::new(&sim);
    desk.write(&source(&sim), "path = \"out.duckdb\"", "schedule = { frequency_minutes = 1 }");
    let serve = ["serve", "--format", "json"];
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
    let serve = ["serve", "--format", "json"];
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
