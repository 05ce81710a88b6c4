//! Foreign Singer programs, played by small Python scripts, on both sides of the real program.

mod bad_taps;
mod rejected;
mod tap;
mod target;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::Told;

/// What every script begins with: the flags as files read, and a way to write messages.
const PRELUDE: &str = r#"#!/usr/bin/env python3
import json, os, signal, sys, time
args = {}
flags = sys.argv[1:]
while flags:
    flag = flags.pop(0)
    args[flag] = flags.pop(0) if flags and not flags[0].startswith("--") else True
def load(flag):
    with open(args[flag]) as file:
        return json.load(file)
config = load("--config")
def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
def log(line):
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
def here(name):
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
def note(name, text):
    with open(here(name), "a") as file:
        file.write(text + "\n")
"#;

/// A directory with scripts and a `bobbin.toml`.
pub(super) struct Bench {
    pub(super) directory: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program that does what the Python text says.
    pub(super) fn script(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, format!("{PRELUDE}{text}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The file: settings of the source, of the destination, of the connection.
    pub(super) fn file(&self, source: &str, destination: &str, connection: &str) {
        let text = format!(
            "[sources.in]\n{source}\n[destinations.out]\n{destination}\n\
             [connections.c]\nsource = \"in\"\ndestination = \"out\"\n{connection}\n"
        );
        fs::write(self.path("bobbin.toml"), text).unwrap();
    }

    /// A file with a foreign tap into DuckDB.
    pub(super) fn tap_file(&self, more: &str, connection: &str) {
        self.file(
            &format!("type = \"singer\"\nexecutable = \"./tap\"\n{more}"),
            "type = \"duckdb\"\npath = \"out.duckdb\"",
            connection,
        );
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bobbin"));
        command.current_dir(self.directory.path()).args(arguments);
        // Private directories of children show up here.
        command.env("TMPDIR", self.scratch());
        for name in ["BOBBIN_CONFIG", "BOBBIN_HOME", "BOBBIN_CRASH_AT"] {
            command.env_remove(name);
        }
        command
    }

    pub(super) fn scratch(&self) -> PathBuf {
        let scratch = self.path("scratch");
        fs::create_dir_all(&scratch).unwrap();
        scratch
    }

    pub(super) fn run(&self) -> Told {
        Told::of(self.command(&["run"]).output().unwrap())
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(super) fn query(&self, sql: &str) -> Vec<String> {
        let answer = bobbin_duckdb::query::query(&self.path("out.duckdb"), sql, 100_000).unwrap();
        let cell = |cell: &Option<String>| cell.clone().unwrap_or("null".to_owned());
        answer.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" | ")).collect()
    }
}

/// Asks until it is so, or until far too long.
#[track_caller]
pub(super) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_mins(1);
    while !so() {
        assert!(Instant::now() < until, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process of that number is alive (not merely unburied).
pub(super) fn alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}
