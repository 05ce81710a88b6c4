//! `tap-kustomer` as a program beside `bobbin`: its records are the oracle's.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use fake_kustomer::{Bounds, Simulator};
use serde_json::{Value, json};

use crate::support::{TABLES, tiny};

/// The tap beside our own program: both are built for a test of the whole workspace.
fn tap() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_bobbin")).with_file_name("tap-kustomer");
    assert!(path.exists(), "{} is not built; run the tests of the whole workspace", path.display());
    path
}

#[test]
fn the_counts_are_the_oracles() {
    let sim = Simulator::start(tiny(9)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.json");
    let settings = json!({
        "api_token": sim.token(),
        "api_url": sim.url(),
        "start_date": "2015-01-01T00:00:00Z",
        "search_per_minute": "0",
        "organization_per_minute": 0,
    });
    fs::write(&config, settings.to_string()).unwrap();
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
