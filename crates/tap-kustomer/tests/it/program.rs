//! The program as a runner sees it: flags, lines, exit status.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use fake_kustomer::{Config, Running, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Program {
    sim: Running,
    folder: TempDir,
}

impl Program {
    fn new(config: Config) -> Self {
        let sim = Simulator::start(config).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let program = Self { sim, folder };
        program.file(
            "config.json",
            &json!({
                "api_url": program.sim.url(), "api_token": program.sim.token(),
                "start_date": "2020-01-01T00:00:00Z", "search_per_minute": "0",
                "organization_per_minute": 0, "retry_base_ms": 2, "date_window_size": "60",
            }),
        );
        program
    }

    fn file(&self, name: &str, value: &Value) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, value.to_string()).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = tap();
        command.current_dir(self.folder.path()).args(["--config", "config.json"]).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        Run::of(self.command(args).output().unwrap())
    }
}

fn tap() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tap-kustomer"));
    command.env_remove("LOGLEVEL").env_remove("TAP_KUSTOMER_LOGLEVEL");
    command
}

struct Run {
    status: Option<i32>,
    out: String,
    log: String,
}

impl Run {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), out: text(output.stdout), log: text(output.stderr) }
    }

    fn messages(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn records(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for message in self.messages().iter().filter(|message| message["type"] == "RECORD") {
            *counts.entry(message["stream"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        counts
    }

    fn last_state(&self) -> Value {
        self.messages().into_iter().rfind(|message| message["type"] == "STATE").unwrap()["value"]
            .take()
    }

    fn says(&self, start: &str) -> bool {
        self.log.lines().any(|line| line.starts_with(start))
    }
}

#[test]
fn discovery_needs_nothing_and_is_always_the_same() {
    let run = |args: &[&str]| Run::of(tap().args(args).output().unwrap());
    let bare = run(&["--discover"]);
    assert_eq!(bare.status, Some(0), "{}", bare.log);
    assert!(bare.says("WARNING the catalog holds only"), "{}", bare.log);
    assert_eq!(bare.out, run(&["-d"]).out);
    let catalog: Value = serde_json::from_str(&bare.out).unwrap();
    let names: Vec<&str> = catalog["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| stream["tap_stream_id"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "users",
            "teams",
            "tags",
            "shortcuts",
            "customers",
            "conversations",
            "messages",
            "notes",
            "kobjects"
        ]
    );
    // With a key, the organisation's own fields come too.
    let program = Program::new(Config::tiny(1));
    let own = program.run(&["--discover"]);
    assert_eq!(own.status, Some(0), "{}", own.log);
    assert_eq!(own.out, program.run(&["--discover"]).out);
    let catalog: Value = serde_json::from_str(&own.out).unwrap();
    let custom = &catalog["streams"][5]["schema"]["properties"]["custom"]["properties"];
    assert!(custom.as_object().unwrap().len() > 3, "{custom}");
}

#[test]
fn a_run_without_catalog_brings_all_and_the_next_goes_on() {
    let program = Program::new(Config::tiny(2));
    let first = program.run(&[]);
    assert_eq!(first.status, Some(0), "{}", first.log);
    let messages = first.messages();
    assert_eq!(messages.last().unwrap()["type"], "STATE");
    let mut announced = std::collections::BTreeSet::new();
    for message in &messages {
        match message["type"].as_str().unwrap() {
            "SCHEMA" => {
                announced.insert(message["stream"].clone().to_string());
                assert_eq!(message["key_properties"], json!(["id"]));
            }
            "RECORD" => {
                assert!(announced.contains(&message["stream"].to_string()));
                let time = message["time_extracted"].as_str().unwrap();
                assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
            }
            kind => assert_eq!(kind, "STATE"),
        }
    }
    assert_eq!(announced.len(), 9);
    // The counters add up to the records.
    let mut counted = BTreeMap::<String, usize>::new();
    for line in first.log.lines().filter_map(|line| line.strip_prefix("INFO METRIC: ")) {
        let metric: Value = serde_json::from_str(line).unwrap();
        if metric["metric"] == "record_count" {
            let stream = metric["tags"]["endpoint"].as_str().unwrap().to_owned();
            *counted.entry(stream).or_default() += metric["value"].as_u64().unwrap() as usize;
        }
    }
    assert_eq!(counted, first.records());
    assert!(!first.log.contains(program.sim.token()), "the key is in the log");

    program.file("state.json", &first.last_state());
    let second = program.run(&["--state", "state.json"]);
    assert_eq!(second.status, Some(0), "{}", second.log);
    assert_eq!(second.records().get("messages"), None);
}

#[test]
fn a_catalog_chooses_streams_and_fields() {
    let program = Program::new(Config::tiny(3));
    let mut catalog: Value = serde_json::from_str(&program.run(&["--discover"]).out).unwrap();
    for stream in catalog["streams"].as_array_mut().unwrap() {
        let chosen = stream["stream"] == "tags" || stream["stream"] == "notes";
        for item in stream["metadata"].as_array_mut().unwrap() {
            let left_out = ["body", "customer", "id"]
                .iter()
                .any(|name| item["breadcrumb"] == json!(["properties", name]));
            item["metadata"]["selected"] =
                json!(if chosen && !left_out { "true" } else { "false" });
        }
    }
    program.file("catalog.json", &catalog);
    for flag in ["--catalog", "--properties"] {
        let run = program.run(&[flag, "catalog.json"]);
        assert_eq!(run.status, Some(0), "{}", run.log);
        assert_eq!(run.records().keys().collect::<Vec<_>>(), ["notes", "tags"]);
        for message in run.messages() {
            let fields = match message["type"].as_str().unwrap() {
                "SCHEMA" => &message["schema"]["properties"],
                "RECORD" => &message["record"],
                _ => continue,
            };
            assert!(fields.get("id").is_some(), "keys cannot be left out");
            assert!(fields.get("body").is_none() && fields.get("customer").is_none());
        }
    }
}

#[test]
fn failures_are_critical_and_say_what_to_do() {
    let missing = Run::of(tap().output().unwrap());
    assert_eq!(missing.status, Some(1));
    assert!(missing.says("CRITICAL api_token is missing"), "{}", missing.log);
    assert!(missing.out.is_empty());

    let program = Program::new(Config::tiny(4));
    program.file("wrong.json", &json!({"api_token": "no-such-key"}));
    let wrong = program.run(&["--config", "wrong.json"]);
    assert_eq!(wrong.status, Some(1));
    assert!(wrong.says("CRITICAL"), "{}", wrong.log);
    assert!(!wrong.log.contains("no-such-key"), "{}", wrong.log);
    for args in [["--state", "nowhere.json"], ["--catalog", "nowhere.json"]] {
        let run = program.run(&args);
        assert_eq!(run.status, Some(1));
        assert!(run.says("CRITICAL cannot read the"), "{}", run.log);
    }
    assert_eq!(program.run(&["--frobnicate"]).status, Some(1));
}

#[test]
fn a_test_prints_one_record_of_each_stream() {
    let program = Program::new(Config::tiny(5));
    let test = program.run(&["--test"]);
    assert_eq!(test.status, Some(0), "{}", test.log);
    let records = test.records();
    assert_eq!(records.len(), 9, "{records:?}");
    assert!(records.values().all(|&count| count == 1), "{records:?}");
    let schemas = program.run(&["--test=schema"]);
    assert_eq!(schemas.status, Some(0), "{}", schemas.log);
    assert_eq!(schemas.out.lines().count(), 9);
    assert!(schemas.records().is_empty());
}

#[test]
fn settings_come_from_the_environment() {
    let program = Program::new(Config::tiny(6));
    let run = Run::of(
        tap()
            .current_dir(program.folder.path())
            .args(["--config", "ENV", "--test=schema"])
            .env("TAP_KUSTOMER_API_TOKEN", program.sim.token())
            .env("TAP_KUSTOMER_API_URL", program.sim.url())
            .output()
            .unwrap(),
    );
    assert_eq!(run.status, Some(0), "{}", run.log);
    assert_eq!(run.out.lines().count(), 9);
}

#[test]
fn about_tells_what_can_be_set() {
    let about = Run::of(tap().args(["--about", "--format", "json"]).output().unwrap());
    let about: Value = serde_json::from_str(&about.out).unwrap();
    assert_eq!(about["name"], "tap-kustomer");
    assert_eq!(about["settings"]["required"], json!(["api_token"]));
    assert_eq!(about["settings"]["properties"]["api_token"]["secret"], true);
    let version = Run::of(tap().arg("--version").output().unwrap());
    assert_eq!(version.out, format!("tap-kustomer v{}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_signal_ends_the_run_well_with_its_last_state() {
    let mut config = Config::tiny(7);
    config.latency_ms = 50;
    let program = Program::new(config);
    let mut child =
        program.command(&[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.by_ref().find(|line| line.as_ref().unwrap().contains("\"RECORD\"")).unwrap();
    let mut last = first.unwrap();
    for signal in ["-TERM", "-INT"] {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
    for line in lines {
        last = line.unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["type"], "STATE");
    assert!(last["value"]["bookmarks"].get("kobjects").is_none(), "it was stopped early: {last}");
}

#[test]
fn when_the_reader_leaves_the_tap_goes_quietly() {
    let program = Program::new(Config::tiny(8));
    let mut child =
        program.command(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(
        !log.lines().any(|line| line.starts_with("CRITICAL") || line.contains("panic")),
        "{log}"
    );
}
