//! `tap-kustomer` as a program beside `bobbin`: the ecosystem's own checker accepts what it
//! writes, and its records are the oracle's.

use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fake_kustomer::{Bounds, Running, Simulator};
use serde_json::{Value, json};

use crate::support::{TABLES, tiny};

/// The tap beside our own program: both are built for a test of the whole workspace.
fn tap() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_bobbin")).with_file_name("tap-kustomer");
    assert!(path.exists(), "{} is not built; run the tests of the whole workspace", path.display());
    path
}

/// Where `scripts/setup --with-tools` puts a program.
fn tool(name: &str) -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| PathBuf::from(env::var_os("HOME").unwrap()).join(".cache"), PathBuf::from);
    let path = cache.join("bobbin/tools").join(name);
    assert!(path.exists(), "{} is missing; run scripts/setup --with-tools", path.display());
    path
}

/// The checker of the Singer ecosystem.
fn checker() -> PathBuf {
    tool("singer/bin/singer-check-tap")
}

/// A target from PyPI.
pub(crate) fn target_jsonl() -> PathBuf {
    tool("target-jsonl/bin/target-jsonl")
}

/// Stitch's own target.
pub(crate) fn target_stitch() -> PathBuf {
    tool("target-stitch/bin/target-stitch")
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

/// Through a pipe into a target from PyPI: every record once, and the last state comes out.
#[test]
fn a_foreign_target_takes_what_the_tap_writes() {
    let sim = Simulator::start(tiny(10)).unwrap();
    let directory = settings(&sim);
    let place = directory.path();
    let config = json!({"destination_path": place.join("rows"), "do_timestamp_file": false});
    fs::write(place.join("target.json"), config.to_string()).unwrap();
    let mut messages = Command::new(tap())
        .arg("--config")
        .arg(place.join("config.json"))
        .stdout(Stdio::piped())
        .stderr(File::create(place.join("tap.log")).unwrap())
        .spawn()
        .unwrap();
    let output = Command::new(target_jsonl())
        .arg("--config")
        .arg(place.join("target.json"))
        .stdin(messages.stdout.take().unwrap())
        .output()
        .unwrap();
    let log = fs::read_to_string(place.join("tap.log")).unwrap();
    assert!(messages.wait().unwrap().success(), "{log}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let state: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(state["bookmarks"]["conversations"].is_string(), "{state}");
    for (table, stream) in TABLES {
        let held = sim.oracle().held(stream, Bounds::all()).unwrap();
        let mut wanted: Vec<String> = held.iter().map(|record| record.id.clone()).collect();
        let text =
            fs::read_to_string(place.join(format!("rows/{table}.jsonl"))).unwrap_or_default();
        let mut found: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|record| record["id"].as_str().unwrap().to_owned())
            .collect();
        wanted.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, wanted, "{table}");
    }
}

/// Meltano's definitions say what the programs say of themselves.
#[test]
fn the_definitions_for_meltano_are_true() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../meltano");
    for program in ["tap-kustomer", "target-bobbin-duckdb", "target-bobbin-postgres"] {
        let text = fs::read_to_string(folder.join(format!("{program}.yml"))).unwrap();
        let path = PathBuf::from(env!("CARGO_BIN_EXE_bobbin")).with_file_name(program);
        let output = Command::new(path).args(["--about", "--format", "json"]).output().unwrap();
        let about: Value = serde_json::from_slice(&output.stdout).unwrap();
        let said = |lead: &str, from: &str, to: &str| -> Vec<String> {
            let part = text.split_once(from).unwrap().1;
            let part = part.split_once(to).map_or(part, |(part, _)| part);
            let item = |line: &str| line.strip_prefix(lead).map(str::to_owned);
            part.lines().filter_map(item).collect()
        };
        let words = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(said("- ", "capabilities:\n", "\nsettings"), words(&about["capabilities"]));
        let properties = about["settings"]["properties"].as_object().unwrap();
        let names: Vec<String> = properties.keys().cloned().collect();
        assert_eq!(said("- name: ", "\nsettings:\n", "\nkeywords:"), names, "{program}");
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
