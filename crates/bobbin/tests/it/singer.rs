//! `tap-kustomer` as a program beside `bobbin`: the ecosystem's own checker accepts what it
//! writes, and its records are the oracle's.

use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use fake_kustomer::{Bounds, Running, Simulator};
use serde_json::{Value, json};
use wait_timeout::ChildExt;

use crate::support::{TABLES, tiny};

/// The checker reads pipes on threads and waits for ever when one of them dies.
const PATIENCE: Duration = Duration::from_secs(120);

/// The tap beside our own program: both are built for a test of the whole workspace.
fn tap() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_bobbin")).with_file_name("tap-kustomer");
    assert!(path.exists(), "{} is not built; run the tests of the whole workspace", path.display());
    path
}

/// Where `scripts/setup --with-tools` puts the checker.
fn checker() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap()).join(".cache"),
        PathBuf::from,
    );
    let path = cache.join("bobbin/tools/singer/bin/singer-check-tap");
    assert!(path.exists(), "{} is missing; run scripts/setup --with-tools", path.display());
    path
}

/// A directory with settings for the tap, everything at full pace.
fn settings(sim: &Running) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let settings = json!({
        "api_token": sim.token(),
        "api_url": sim.url(),
        "start_date": "2015-01-01T00:00:00Z",
        "search_per_minute": "0",
        "organization_per_minute": 0,
    });
    fs::write(directory.path().join("config.json"), settings.to_string()).unwrap();
    directory
}

/// Runs the checker on the tap; what it printed, standard error after standard output.
fn check(sim: &Running) -> String {
    let directory = settings(sim);
    let (out, err) = (directory.path().join("out"), directory.path().join("err"));
    let mut child = Command::new(checker())
        .arg("--tap")
        .arg(tap())
        .arg("--config")
        .arg(directory.path().join("config.json"))
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let ended = child.wait_timeout(PATIENCE).unwrap();
    let text = fs::read_to_string(out).unwrap() + &fs::read_to_string(err).unwrap();
    let Some(status) = ended else {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("the checker did not end:\n{text}");
    };
    assert!(status.success(), "{status}:\n{text}");
    text
}

#[test]
fn the_checker_accepts_all_of_it_and_counts_what_the_oracle_holds() {
    let sim = Simulator::start(tiny(9)).unwrap();
    let text = check(&sim);
    assert!(text.contains("The output is valid."), "{text}");
    // It prints a table: stream, messages, schemas, …
    for (table, stream) in TABLES {
        let held = sim.oracle().summary(stream, Bounds::all()).unwrap().count;
        let row = text.lines().find(|line| {
            line.trim_start_matches('|').trim_start().split(' ').next() == Some(table)
        });
        assert!(row.is_some_and(|row| row.split(' ').any(|cell| cell == held.to_string())), "{table}: {held} is not in {row:?}\n{text}");
    }
}

#[test]
fn the_counts_are_the_oracles() {
    let sim = Simulator::start(tiny(9)).unwrap();
    let directory = settings(&sim);
    let config = directory.path().join("config.json");
    let output = Command::new(tap()).arg("--config").arg(&config).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("INFO METRIC: {"), "{stderr}");

    let mut counts: HashMap<String, u64> = HashMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        if message["type"] == "RECORD" {
            *counts.entry(message["stream"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    for (table, stream) in TABLES {
        let held = sim.oracle().summary(stream, Bounds::all()).unwrap().count;
        assert_eq!(counts.get(table).copied().unwrap_or(0), held, "{table}");
    }
}
