//! A foreign target as a destination.

use std::collections::BTreeMap;
use std::fs;

use fake_kustomer::{Bounds, Simulator};
use serde_json::Value;

use super::{Bench, alive};
use crate::singer::target_jsonl;
use crate::support::{FAST, TABLES, tiny};

/// Appends records to `<stream>.out`, in batches of `batch`, and prints states as `mode` says.
const TARGET: &str = r#"
note("pids", str(os.getpid()))
mode = config.get("mode", "prompt")
waiting, state, seen = [], None, 0
def flush():
    for stream, record in waiting:
        note(stream + ".out", json.dumps(record, sort_keys=True))
    waiting.clear()
def tell():
    if state is not None:
        say(state)
for line in sys.stdin:
    message = json.loads(line)
    note("messages", json.dumps(message))
    if message["type"] == "RECORD":
        waiting.append((message["stream"], message["record"]))
        seen += 1
        if os.path.exists(here("die")):
            os.remove(here("die"))
            log("CRITICAL the disk is on fire")
            sys.exit(4)
    elif message["type"] == "STATE":
        state = message["value"]
        if mode == "prompt":
            flush()
            tell()
        elif mode == "streams":
            flush()
            say({"bookmarks": state["bookmarks"]})
        elif mode == "garbage":
            print("loaded!", flush=True)
        elif mode == "hang":
            note("hung", "x")
            time.sleep(600)
flush()
if mode == "end":
    tell()
elif mode == "stale":
    say({"bookmarks": {}})
if "status" in config:
    log("CRITICAL no room")
    sys.exit(config["status"])
"#;

/// Five records with a state, from a tap that goes on from it.
const TAP: &str = r#"
schema = {"type": "object", "properties": {"id": {"type": "integer"}, "x": {}}}
if "--discover" in args:
    say({"streams": [{"tap_stream_id": "s", "stream": "s", "key_properties": ["id"], "schema": schema, "metadata": []}]})
    sys.exit(0)
first = load("--state")["next"] if "--state" in args else 1
say({"type": "SCHEMA", "stream": "s", "key_properties": ["id"], "schema": schema})
for n in range(first, first + 5):
    say({"type": "RECORD", "stream": "s", "record": {"id": n, "x": [1.50]}, "version": 7, "time_extracted": "2026-01-02T03:04:05.000006Z"})
sys.stdout.write('{"type":"RECORD","stream":"s","record":{"id":99,"x":1e400}}\n')
say({"type": "ACTIVATE_VERSION", "stream": "s", "version": 7})
say({"type": "STATE", "value": {"next": first + 5}})
"#;

fn bench(settings: &str) -> Bench {
    let bench = Bench::new();
    bench.script("target", TARGET);
    bench.script("tap", TAP);
    configure(&bench, settings);
    bench
}

fn configure(bench: &Bench, settings: &str) {
    bench.file(
        "type = \"singer\"\nexecutable = \"./tap\"",
        &format!("type = \"singer\"\nexecutable = \"./target\"\n{settings}"),
        "",
    );
}

fn ids(bench: &Bench) -> Vec<u64> {
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap();
    bench.read("s.out").lines().map(id).collect()
}

#[test]
fn rounds_are_confirmed_by_states() {
    let bench = bench("");
    bench.run().assert(0, &["complete"]);
    assert_eq!(ids(&bench), [1, 2, 3, 4, 5]);
    assert_eq!(bench.read("s.out").lines().next(), Some("{\"id\": 1, \"x\": [1.5]}"));
    let messages: Vec<Value> =
        bench.read("messages").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let record = messages.iter().find(|message| message["type"] == "RECORD").unwrap();
    assert_eq!(record["version"], 7);
    assert_eq!(record["time_extracted"], "2026-01-02T03:04:05.000006Z");
    assert!(messages.iter().any(|m| m["type"] == "ACTIVATE_VERSION" && m["version"] == 7));
    let aside = bench.read("rejected_records.out");
    assert!(aside.contains("range of a double") && aside.contains("1e400"), "{aside}");
    // The state is kept on our side and holds for the next run.
    bench.run().assert(0, &["complete"]);
    assert_eq!(ids(&bench), (1..=10).collect::<Vec<_>>());
    assert_eq!(bench.read("pids").lines().count(), 2);
    assert_eq!(fs::read_dir(bench.scratch()).unwrap().count(), 0);
}

#[test]
fn targets_that_speak_only_at_the_end_are_ended_after_each_round() {
    for (settings, told) in [
        (
            "config = { mode = \"end\" }\nstate_wait_seconds = 0.2\nrows_per_commit = 2",
            "printed no state within",
        ),
        ("config = { mode = \"end\" }\ncommit_by = \"exit\"\nrows_per_commit = 2", "complete"),
        ("config = { mode = \"mute\" }\ncommit_by = \"exit\"\nrows_per_commit = 2", "complete"),
        ("config = { mode = \"streams\" }\nrows_per_commit = 2", "complete"),
    ] {
        let bench = bench(settings);
        bench.run().assert(0, &[told]);
        bench.run().assert(0, &["complete"]);
        assert_eq!(ids(&bench), (1..=10).collect::<Vec<_>>(), "{settings}");
        let children = bench.read("pids").lines().count();
        assert!(children == 2 || (!settings.contains("streams") && children > 2), "{children}");
    }
}

#[test]
fn what_is_not_confirmed_does_not_count() {
    for (settings, words) in [
        (
            "config = { mode = \"mute\" }\nstate_wait_seconds = 0.1",
            vec!["printed no state", "commit_by"],
        ),
        (
            "config = { mode = \"stale\" }\nstate_wait_seconds = 0.1",
            vec!["does not cover", "commit_by"],
        ),
        ("config = { mode = \"stale\" }\ncommit_by = \"exit\"", vec!["does not cover"]),
        ("config = { mode = \"garbage\" }", vec!["a line that is no state"]),
        (
            "config = { mode = \"hang\" }\nidle_timeout_minutes = 0.02\nstate_wait_seconds = 0.1",
            vec!["did nothing for"],
        ),
        (
            "config = { mode = \"end\", status = 9 }\ncommit_by = \"exit\"",
            vec!["ended with status 9: no room"],
        ),
    ] {
        let bench = bench(settings);
        bench.run().assert(6, &words);
        for pid in bench.read("pids").lines() {
            assert!(!alive(pid), "{settings}");
        }
        // The next run sends it again: at least once.
        configure(&bench, "");
        bench.run().assert(0, &["complete"]);
        let mut held = ids(&bench);
        held.sort_unstable();
        held.dedup();
        assert_eq!(held, (1..=10).collect::<Vec<_>>(), "{settings}");
    }
}

#[test]
fn a_target_that_dies_is_started_again() {
    let bench = bench("");
    fs::write(bench.path("die"), "").unwrap();
    bench.run().assert(0, &["complete", "ended with status 4: the disk is on fire"]);
    assert_eq!(ids(&bench), [1, 2, 3, 4, 5]);
}

/// Between the target's word and ours nothing is lost: it gets the round once more.
#[test]
fn a_crash_before_the_note_repeats_the_round_and_after_it_does_not() {
    for (point, copies) in [("rows-written", 2), ("after-commit", 1)] {
        let bench = bench("");
        let crashed = bench.command(&["run"]).env("BOBBIN_CRASH_AT", point).output().unwrap();
        assert_eq!(crashed.status.code(), None, "{crashed:?}");
        bench.run().assert(0, &["complete"]);
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for id in ids(&bench) {
            *counts.entry(id).or_default() += 1;
        }
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
        for id in 1..=5 {
            assert_eq!(counts[&id], copies, "{point}: {counts:?}");
        }
    }
}

#[test]
fn check_starts_the_target_without_input() {
    let bench = bench("");
    let ask = || crate::support::Told::of(bench.command(&["check"]).output().unwrap());
    ask().assert(0, &["out (singer)"]);
    assert_eq!(bench.read("messages"), "");
    configure(&bench, "config = { status = 3 }");
    ask().assert(6, &["ended with status 3: no room"]);
}

/// A real one, from PyPI, with everything the simulator has.
#[test]
fn target_jsonl_gets_every_record_once() {
    let sim = Simulator::start(tiny(21)).unwrap();
    let bench = Bench::new();
    bench.file(
        &format!(
            "type = \"kustomer\"\napi_token = \"{}\"\napi_url = \"{}\"\n{FAST}",
            sim.token(),
            sim.url()
        ),
        &format!(
            "type = \"singer\"\nexecutable = \"{}\"\nstate_wait_seconds = 0.5\n\
             config = {{ destination_path = \"rows\", do_timestamp_file = false }}",
            target_jsonl().display()
        ),
        "",
    );
    bench.run().assert(0, &["complete"]);
    for (table, stream) in TABLES {
        let held = sim.oracle().held(stream, Bounds::all()).unwrap();
        let mut wanted: Vec<String> = held.iter().map(|record| record.id.clone()).collect();
        let text =
            fs::read_to_string(bench.path(&format!("rows/{table}.jsonl"))).unwrap_or_else(|_| {
                assert!(wanted.is_empty(), "{table}");
                String::new()
            });
        let id = |line: &str| {
            serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
        };
        let mut found: Vec<String> = text.lines().map(id).collect();
        wanted.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, wanted, "{table}");
    }
}
