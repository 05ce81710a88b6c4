//! Taps that break down, hang, or must be stopped.

use std::fs;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::{Bench, alive, eventually};
use crate::support::Told;

/// One stream of one record with a state, then what the test wants.
fn bench(then: &str, settings: &str) -> Bench {
    let bench = Bench::new();
    bench.script(
        "tap",
        &format!(
            r#"
schema = {{"properties": {{"id": {{"type": "integer"}}}}}}
if "--discover" in args:
    say({{"streams": [{{"tap_stream_id": "s", "stream": "s", "key_properties": ["id"], "schema": schema, "metadata": []}}]}})
    sys.exit(0)
note("pid", str(os.getpid()))
def record(n):
    say({{"type": "RECORD", "stream": "s", "record": {{"id": n}}}})
def state(n):
    say({{"type": "STATE", "value": {{"n": n}}}})
say({{"type": "SCHEMA", "stream": "s", "key_properties": ["id"], "schema": schema}})
record(1)
state(1)
record(2)
{then}
"#
        ),
    );
    bench.tap_file(settings, "");
    bench
}

fn pid(bench: &Bench) -> String {
    bench.read("pid").lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_failing_tap_makes_the_run_fail_with_its_own_words_and_keeps_what_a_state_covers() {
    for (then, words) in [
        (
            "log('CRITICAL no such account')\nlog('INFO bye')\nsys.exit(1)",
            vec!["`tap` ended with status 1: no such account"],
        ),
        ("log('ValueError: x')\nsys.exit(7)", vec!["ended with status 7: ValueError: x"]),
        ("os.kill(os.getpid(), signal.SIGKILL)", vec!["was killed by SIGKILL", "by hand"]),
        (
            "log('INFO so far so good')\nprint('Traceback', flush=True)\ntime.sleep(60)",
            vec!["`tap` broke the Singer protocol", "line 5", "not JSON", "so far so good"],
        ),
        (
            "say({'type': 'RECORD', 'stream': 't', 'record': {'id': 1}})",
            vec!["line 5", "a RECORD of `t` before its SCHEMA"],
        ),
        ("say({'type': 'STATE'})", vec!["line 5", "a STATE without a value"]),
        (
            "say({'type': 'SCHEMA', 'stream': 's', 'key_properties': [], 'schema': schema})",
            vec!["line 5", "other key_properties"],
        ),
        // A line torn by the end is not what is wrong.
        ("sys.stdout.write('{\"type\":')\nsys.exit(2)", vec!["ended with status 2"]),
    ] {
        let bench = bench(then, "");
        let told = bench.run();
        told.assert(5, &words);
        assert!(told.stdout.contains("not finished"), "{told:?}");
        // What it had sent is kept; the state is its last one.
        assert_eq!(bench.query("select id from c.s order by id"), ["1", "2"], "{then}");
        assert!(!alive(&pid(&bench)));
        assert_eq!(fs::read_dir(bench.scratch()).unwrap().count(), 0);
    }
}

#[test]
fn a_tap_that_does_nothing_for_too_long_is_ended() {
    for then in [
        "time.sleep(600)",
        "signal.signal(signal.SIGTERM, lambda *_: note('term', 'x'))\nwhile True:\n    time.sleep(600)",
    ] {
        let bench = bench(then, "idle_timeout_minutes = 0.03");
        let told = bench.run();
        told.assert(5, &["`tap` did nothing for 1.8 seconds", "idle_timeout_minutes"]);
        assert!(!alive(&pid(&bench)));
        assert_eq!(bench.query("select id from c.s order by id"), ["1", "2"]);
    }
}

/// Asked to stop, the tap gets the signal and its last state counts.
#[test]
fn a_stop_reaches_the_tap_and_its_last_state_is_used() {
    let bench = bench(
        r#"
def stop(*_):
    state(2)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
log("INFO ready")
note("states", json.dumps(load("--state")) if "--state" in args else "none")
while True:
    time.sleep(600)
"#,
        "",
    );
    for before in ["none", "{\"n\": 2}"] {
        let mut child = bench.command(&["run"]).stderr(Stdio::null()).spawn().unwrap();
        let runs = bench.read("states").lines().count();
        eventually("the tap's readiness", || bench.read("states").lines().count() > runs);
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(bench.read("states").lines().last(), Some(before));
        assert!(!alive(&pid(&bench)));
        assert_eq!(bench.query("select id from c.s order by id"), ["1", "2"]);
    }
}

/// Killed, bobbin takes the tap along, although the tap would not notice by itself.
#[test]
#[cfg(target_os = "linux")]
fn a_tap_never_outlives_a_killed_bobbin() {
    let bench = bench(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nnote('up', 'x')\ntime.sleep(600)",
        "",
    );
    let mut child = bench.command(&["run"]).stderr(Stdio::null()).spawn().unwrap();
    eventually("the tap's start", || !bench.read("up").is_empty());
    assert!(alive(&pid(&bench)));
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the tap's end", || !alive(&pid(&bench)));
}

/// The tap is faster than the spool may take: it waits in its pipe, and nothing is lost.
#[test]
fn a_fast_tap_waits_for_a_slow_reader() {
    let bench = bench(
        r#"
for n in range(3, 60_000):
    sys.stdout.write('{"type":"RECORD","stream":"s","record":{"id":%d,"pad":"%s"}}\n' % (n, "x" * 500))
state(3)
"#,
        "",
    );
    let told = Told::of(bench.command(&["run"]).output().unwrap());
    told.assert(0, &["complete"]);
    assert_eq!(bench.query("select count(*), sum(id) from c.s"), ["59999 | 1799970000"]);
}
