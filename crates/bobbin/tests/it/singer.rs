//! `tap-kustomer` as a program beside `bobbin`: the ecosystem's own checker accepts what it
//! writes, and its records are the oracle's.

use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use fake_kustomer::{Bounds, Running, Simulator};
use serde_json::{Value, json};

use crate::support::{TABLES, tiny};

/// The tap beside our own program: both are built for a test of the whole workspace.
fn tap() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_bobbin")).with_file_name("tap-kustomer");
    assert!(path.exists(), "{} is not built; run the tests of the whole workspace", path.display());
    path
}

/// Where `scripts/setup --with-tools` puts the checker.
fn checker() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| PathBuf::from(env::var_os("HOME").unwrap()).join(".cache"), PathBuf::from);
    let path = cache.join("bobbin/tools/singer/bin/singer-check-tap");
    assert!(path.exists(), "{} is missing; run scripts/setup --with-tools", path.display());
    path
}

/// A directory with settings for the tap, everything at full pace.
pub(crate) fn settings(sim: &Running) -> tempfile::TempDir {
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

/// Runs the tap with its messages going to a file.
pub(crate) fn run_tap(directory: &Path) -> PathBuf {
    let messages = directory.join("messages.jsonl");
    let output = Command::new(tap())
        .arg("--config")
        .arg(directory.join("config.json"))
        .stdout(File::create(&messages).unwrap())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("INFO METRIC: {"), "{stderr}");
    messages
}

#[test]
fn the_checker_accepts_every_record_and_counts_what_the_oracle_holds() {
    let sim = Simulator::start(tiny(9)).unwrap();
    let directory = settings(&sim);
    let messages = run_tap(directory.path());
    // From a file: started as its child, the tap's last records race with the checker's summary.
    let output = Command::new(checker())
        .current_dir(directory.path())
        .stdin(File::open(messages).unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{stderr}");
    assert!(text.contains("The output is valid."), "{text}");
    // A table of stream, records, schemas.
    let rows: HashMap<&str, &str> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            Some((cells.next()?, cells.next()?))
        })
        .collect();
    for (table, stream) in TABLES {
        let held = sim.oracle().summary(stream, Bounds::all()).unwrap().count;
        assert_eq!(rows.get(table), Some(&held.to_string().as_str()), "{table}\n{text}");
    }
}

#[test]
fn the_counts_are_the_oracles() {
    let sim = Simulator::start(tiny(9)).unwrap();
    let directory = settings(&sim);
    let messages = run_tap(directory.path());
    let mut counts: HashMap<String, u64> = HashMap::new();
    for line in fs::read_to_string(messages).unwrap().lines() {
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
