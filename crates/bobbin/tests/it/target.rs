//! `bobbin target`: Singer messages in, states out, on both destinations.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use fake_kustomer::Simulator;
use postgres::{Client, NoTls};
use serde_json::{Value, json};

use crate::server::Server;
use crate::singer;
use crate::support::{Told, assert_exact, assert_rows, tiny};

/// A place with settings for a target.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn duckdb() -> Self {
        Self::with(&json!({ "filepath": "out.duckdb", "default_target_schema": "kustomer" }))
    }

    fn with(settings: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("target.json"), settings.to_string()).unwrap();
        Self { directory }
    }

    fn command(&self, kind: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bobbin"));
        command.current_dir(self.directory.path());
        command.args(["target", kind, "--config", "target.json"]);
        command
    }

    /// Loads lines.
    fn load(&self, lines: &[&str]) -> Told {
        fs::write(self.directory.path().join("in"), lines.join("\n")).unwrap();
        Told::of(self.command("duckdb").args(["--input", "in"]).output().unwrap())
    }

    fn query(&self, sql: &str) -> Vec<String> {
        let path = self.directory.path().join("out.duckdb");
        let answer = bobbin_duckdb::query::query(&path, sql, 1000).unwrap();
        let cell = |cell: &Option<String>| cell.clone().unwrap_or("null".to_owned());
        answer.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" | ")).collect()
    }
}

const SCHEMA: &str = r#"{"type":"SCHEMA","stream":"s","schema":{"properties":{"id":{"type":"integer"},"at":{"type":["null","string"],"format":"date-time"}}},"key_properties":["id"]}"#;

#[test]
fn what_the_tap_writes_arrives_in_both_destinations() {
    let sim = Simulator::start(tiny(11)).unwrap();
    let settings = singer::settings(&sim);
    let messages = singer::run_tap(settings.path());
    let last_state = fs::read_to_string(&messages)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .rfind(|message| message["type"] == "STATE")
        .unwrap()["value"]
        .clone();

    let bench = Bench::duckdb();
    let mut command = bench.command("duckdb");
    let told = Told::of(command.arg("--input").arg(&messages).output().unwrap());
    told.assert(0, &["INFO"]);
    let state: Value = serde_json::from_str(told.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(state, last_state);
    assert_exact(&bench.directory.path().join("out.duckdb"), &sim, None);

    let server = Server::start();
    let bench = Bench::with(&json!({
        "host": server.host(), "user": "boss", "dbname": "postgres", "port": "5432",
        "default_target_schema": "kustomer", "rows_per_commit": 500,
    }));
    let mut command = bench.command("postgres");
    let told = Told::of(command.arg("--input").arg(&messages).output().unwrap());
    told.assert(0, &[]);
    let states: Vec<&str> = told.stdout.lines().collect();
    assert!(states.len() > 3, "{states:?}");
    assert_eq!(serde_json::from_str::<Value>(states[states.len() - 1]).unwrap(), last_state);
    let mut client = Client::configure()
        .host(server.host())
        .user("boss")
        .dbname("postgres")
        .connect(NoTls)
        .unwrap();
    assert_rows(&sim, None, |table| {
        let sql = format!(
            "SELECT id, (extract(epoch FROM updated_at) * 1000)::bigint FROM kustomer.{table}"
        );
        let rows = client.query(&sql, &[]).ok()?;
        Some(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    });
}

#[test]
fn the_last_of_equal_keys_wins_and_keyless_streams_only_grow() {
    let bench = Bench::duckdb();
    let keyless = r#"{"type":"SCHEMA","stream":"events","schema":{"properties":{"n":{}}},"key_properties":[]}"#;
    let lines = [
        SCHEMA,
        keyless,
        r#"{"type":"RECORD","stream":"s","record":{"id":1,"at":"2026-01-02T03:04:05Z","x":1.10}}"#,
        r#"{"type":"RECORD","stream":"events","record":{"n":1}}"#,
        r#"{"type":"RECORD","stream":"s","record":{"id":1,"at":"2020-01-01T00:00:00Z"}}"#,
        r#"{"type":"RECORD","stream":"events","record":{ }}"#,
        r#"{"type":"RECORD","stream":"s","record":{"id":null}}"#,
        r#"{"type":"STATE","value":{"bookmarks":{"s":1}}}"#,
        r#"{"type":"STATE","value":{"bookmarks":{"s":2}}}"#,
    ];
    let told = bench.load(&lines);
    told.assert(0, &["1 records were set aside"]);
    assert_eq!(told.stdout, "{\"bookmarks\":{\"s\":2}}\n");
    bench.load(&lines).assert(0, &[]);
    assert_eq!(
        bench.query("select id, \"at\"::varchar, x from kustomer.s"),
        ["1 | 2020-01-01 00:00:00+00 | null"]
    );
    assert_eq!(bench.query("select count(*) from kustomer.events"), ["4"]);
    assert_eq!(bench.query("select distinct reason from kustomer._sdc_rejected").len(), 1);
}

#[test]
fn a_schema_may_change_midway() {
    let bench = Bench::duckdb();
    let wider = SCHEMA
        .replace("\"id\":{", "\"due\":{\"type\":\"string\",\"format\":\"date-time\"},\"id\":{");
    bench
        .load(&[
            SCHEMA,
            r#"{"type":"RECORD","stream":"s","record":{"id":1}}"#,
            &wider,
            r#"{"type":"RECORD","stream":"s","record":{"id":2,"due":"2026-01-02T03:04:05Z"}}"#,
        ])
        .assert(0, &[]);
    assert_eq!(
        bench.query("select id, typeof(due), due is null from kustomer.s order by id"),
        ["1 | TIMESTAMP WITH TIME ZONE | true", "2 | TIMESTAMP WITH TIME ZONE | false"]
    );
}

/// A line that is none is told by its number; what stood before it is kept, and its state printed.
#[test]
fn malformed_input_is_refused_by_line_and_what_came_before_is_kept() {
    for (bad, words) in [
        ("INFO I am a log line", "line 4 of the input is not JSON"),
        ("{\"type\":\"RECORD\",\"stream\":\"s\"", "line 4 of the input is not JSON"),
        (r#"{"type":"RECORD","stream":"t","record":{"id":1}}"#, "before its SCHEMA"),
        (r#"{"type":"RECORD","stream":"s","record":7}"#, "record that is an object"),
        (
            r#"{"type":"BATCH","stream":"s","encoding":{"format":"parquet"},"manifest":[]}"#,
            "batch_config",
        ),
        (r#"{"type":"ACTIVATE_VERSION","stream":"t","version":1}"#, "before its SCHEMA"),
    ] {
        let bench = Bench::duckdb();
        let told = bench.load(&[
            SCHEMA,
            r#"{"type":"RECORD","stream":"s","record":{"id":1}}"#,
            r#"{"type":"STATE","value":1}"#,
            bad,
            r#"{"type":"RECORD","stream":"s","record":{"id":2}}"#,
            r#"{"type":"STATE","value":2}"#,
        ]);
        told.assert(1, &["CRITICAL", words]);
        assert_eq!(told.stdout, "1\n", "{told:?}");
        assert_eq!(bench.query("select id from kustomer.s"), ["1"]);
    }
}

#[test]
fn settings_that_are_wrong_are_told() {
    let bench = Bench::with(&json!({ "password": "hidden" }));
    let told = bench.load(&[]);
    told.assert(1, &["CRITICAL", "has no path"]);
    let told = Told::of(bench.command("postgres").output().unwrap());
    told.assert(1, &["CRITICAL", "has no"]);
    assert!(!told.stderr.contains("hidden"));
    let told = Told::of(bench.command("oracle").output().unwrap());
    told.assert(1, &["there is no destination `oracle`", "duckdb, postgres"]);
}

/// A stop in order: what was received becomes durable although the input goes on.
#[test]
fn sigterm_flushes_and_prints_the_state() {
    let bench = Bench::duckdb();
    let mut child = bench
        .command("duckdb")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut states = BufReader::new(child.stdout.take().unwrap()).lines();
    // The first state is printed at once: nothing has to become durable before it.
    writeln!(input, "{{\"type\":\"STATE\",\"value\":0}}\n{SCHEMA}").unwrap();
    assert_eq!(states.next().unwrap().unwrap(), "0");
    writeln!(input, r#"{{"type":"RECORD","stream":"s","record":{{"id":1}}}}"#).unwrap();
    writeln!(input, r#"{{"type":"STATE","value":1}}"#).unwrap();
    writeln!(input, r#"{{"type":"HELLO"}}"#).unwrap();
    // Once it wonders about the last line it has taken those before.
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(told.any(|line| line.unwrap().contains("HELLO")));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(states.next().unwrap().unwrap(), "1");
    assert!(child.wait().unwrap().success());
    assert_eq!(bench.query("select id from kustomer.s"), ["1"]);
}

/// Records in files count as if they had come inline, between the states around them.
#[test]
fn batches_are_read_from_their_files() {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    let bench = Bench::duckdb();
    let path = |name: &str| bench.directory.path().join(name);
    let packed = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    // Two members, as from programs that append.
    let gzip = [packed("{\"id\":1,\"x\":\"old\"}\n{\"id\":2}\n"), packed("{\"id\":3}\n")].concat();
    fs::write(path("a.json.gz"), gzip).unwrap();
    fs::write(path("b.json"), "{\"id\":1,\"x\":\"new\"}\n\n{\"id\":4,\"x\":1e999}\n{\"id\":5}")
        .unwrap();
    let url = format!("file://{}", path("a.json.gz").display());
    let plain = path("b.json").display().to_string();
    let batch = json!({"type": "BATCH", "stream": "s", "version": null,
        "encoding": {"format": "jsonl", "compression": "gzip"}, "manifest": [url]});
    let none = json!({"type": "BATCH", "stream": "s",
        "encoding": {"format": "jsonl", "compression": "none"}, "manifest": [plain]});
    let pipelinewise = json!({"type": "BATCH", "stream": "s", "filepath": path("a.json.gz"),
        "format": "jsonl", "batch_size": 3, "time_extracted": "2026-01-02T03:04:05.000006Z"});
    let told = bench.load(&[
        SCHEMA,
        r#"{"type":"STATE","value":0}"#,
        &batch.to_string(),
        r#"{"type":"STATE","value":1}"#,
        &none.to_string(),
        r#"{"type":"STATE","value":2}"#,
    ]);
    told.assert(0, &["1 records were set aside"]);
    assert_eq!(told.stdout.lines().last(), Some("2"));
    assert_eq!(
        bench.query("select id, x from kustomer.s order by id"),
        ["1 | new", "2 | null", "3 | null", "5 | null"]
    );
    bench.load(&[SCHEMA, &pipelinewise.to_string()]).assert(0, &[]);
    assert_eq!(
        bench.query("select x, _sdc_extracted_at::varchar from kustomer.s where id = 1"),
        ["old | 2026-01-02 03:04:05.000006+00"]
    );
    assert!(path("a.json.gz").exists(), "the files are not ours to delete");
    // What was read before a file that is missing stays, its state is told, and not the next one.
    let gone = none.to_string().replace("b.json", "c.json");
    let told = bench.load(&[
        SCHEMA,
        r#"{"type":"RECORD","stream":"s","record":{"id":6}}"#,
        r#"{"type":"STATE","value":3}"#,
        &gone,
        r#"{"type":"STATE","value":4}"#,
    ]);
    told.assert(1, &["cannot read a file of a BATCH", "c.json"]);
    assert_eq!(told.stdout, "3\n");
    assert_eq!(bench.query("select id from kustomer.s where id = 6"), ["6"]);
    let remote = batch.to_string().replace("file://", "s3://");
    bench.load(&[SCHEMA, &remote]).assert(1, &["line 2", "not on this machine"]);
}

#[test]
fn records_that_cannot_be_read_are_set_aside() {
    let bench = Bench::duckdb();
    let mut text = format!("{SCHEMA}\n").into_bytes();
    for bad in [&b"1e400"[..], b"NaN", b"\"\\ud800\"", b"\"\xff\"", b""] {
        text.extend_from_slice(
            b"{\"type\":\"RECORD\",\"stream\":\"s\",\"record\":{\"id\":9,\"x\":",
        );
        text.extend_from_slice(bad);
        text.extend_from_slice(
            b"}}\n{\"type\":\"RECORD\",\"stream\":\"s\",\"record\":{\"id\":1}}\n",
        );
    }
    text.extend_from_slice(b"{\"type\":\"STATE\",\"value\":1}\n");
    fs::write(bench.directory.path().join("in"), text).unwrap();
    let told = Told::of(bench.command("duckdb").args(["--input", "in"]).output().unwrap());
    told.assert(0, &["5 records were set aside"]);
    assert_eq!(told.stdout, "1\n");
    assert_eq!(bench.query("select id from kustomer.s"), ["1"]);
    assert_eq!(bench.query("select count(*) from kustomer._sdc_rejected"), ["5"]);
}

/// Versions and their activation reach the loader with the records between them.
#[test]
fn versions_are_taken_in_the_order_of_messages() {
    let bench = Bench::duckdb();
    let record = |id: u32, version: u32| {
        format!(r#"{{"type":"RECORD","stream":"s","record":{{"id":{id}}},"version":{version}}}"#)
    };
    let activate =
        |version: u32| format!(r#"{{"type":"ACTIVATE_VERSION","stream":"s","version":{version}}}"#);
    let told = bench.load(&[
        SCHEMA,
        &activate(1),
        &record(1, 1),
        r#"{"type":"STATE","value":1}"#,
        &record(2, 2),
        r#"{"type":"STATE","value":2}"#,
        &activate(2),
        r#"{"type":"STATE","value":3}"#,
    ]);
    told.assert(0, &[]);
    // A record of another version makes what waits durable first; so does the activation.
    assert_eq!(told.stdout, "1\n2\n3\n");
    assert_eq!(
        bench.query("select id from kustomer.s"),
        ["2"],
        "rows of other versions are no more"
    );
}

/// As programs of their own, with what Meltano asks of a loader.
#[test]
fn the_targets_have_programs_and_describe_themselves() {
    let bench = Bench::duckdb();
    let path = bench.directory.path();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(path).args(arguments).env("TARGET_BOBBIN_DUCKDB_PATH", "env.duckdb");
        Told::of(command.output().unwrap())
    };
    let duckdb = env!("CARGO_BIN_EXE_target-bobbin-duckdb");
    let postgres = env!("CARGO_BIN_EXE_target-bobbin-postgres");
    run(duckdb, &["--version"]).assert(0, &["target-bobbin-duckdb v"]);
    let about = run(postgres, &["--about", "--format", "json"]);
    let about: Value = serde_json::from_str(&about.stdout).unwrap();
    assert_eq!(about["name"], "target-bobbin-postgres");
    assert_eq!(about["settings"]["required"], json!(["database", "user"]));
    assert_eq!(about["settings"]["properties"]["password"]["secret"], true);
    run(duckdb, &["--about", "--format=markdown"])
        .assert(0, &["# `target-bobbin-duckdb`", "| path |"]);
    run(duckdb, &["--about"]).assert(0, &["path (required)"]);
    run(duckdb, &["--help"]).assert(0, &["--config", "Examples"]);
    run(duckdb, &["--frobnicate"]).assert(2, &["--frobnicate"]);

    fs::write(path.join("in"), format!("{SCHEMA}\n{{\"type\":\"STATE\",\"value\":1}}\n")).unwrap();
    fs::write(path.join("a.json"), r#"{"path": "a.duckdb", "rows_per_commit": "5"}"#).unwrap();
    fs::write(path.join("b.json"), r#"{"path": "b.duckdb"}"#).unwrap();
    let load = |configs: &[&str]| {
        let configs = configs.iter().flat_map(|config| ["--config", config]);
        let arguments: Vec<&str> = configs.chain(["--input", "in"]).collect();
        let told = run(duckdb, &arguments);
        told.assert(0, &[]);
        assert_eq!(told.stdout, "1\n");
    };
    load(&["a.json", "b.json"]);
    assert!(path.join("b.duckdb").exists() && !path.join("a.duckdb").exists());
    load(&["ENV", "a.json"]);
    assert!(path.join("env.duckdb").exists() && !path.join("a.duckdb").exists());
}

#[test]
fn a_setting_that_means_nothing_is_told() {
    let bench = Bench::with(&json!({
        "path": "out.duckdb", "hard_delte": true, "default_target_schema": "A.b",
    }));
    let told = bench.load(&[SCHEMA]);
    told.assert(0, &[]);
    assert!(told.stderr.contains("`hard_delte` is not known"), "{told:?}");
    assert!(told.stderr.contains("`A.b` is written as `ab`"), "{told:?}");
}
