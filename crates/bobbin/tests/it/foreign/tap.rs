//! A foreign tap as a source.

use std::fs;

use serde_json::Value;

use super::Bench;

/// Two streams; goes on from its state; says what it was given.
const TAP: &str = r#"
if "--discover" in args:
    say({"streams": [
        {"tap_stream_id": "users", "stream": "users", "key_properties": ["id"], "schema": {
            "type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": ["null", "string"]},
            "secret": {"type": ["null", "string"]}, "at": {"type": ["null", "string"], "format": "date-time"}}},
         "metadata": [{"breadcrumb": [], "metadata": {"inclusion": "available"}}]},
        {"tap_stream_id": "tags", "stream": "tags", "key_properties": ["id"],
         "schema": {"type": "object", "properties": {"id": {"type": "string"}}}, "metadata": []},
        {"tap_stream_id": "noise", "stream": "noise", "key_properties": [],
         "schema": {"type": "object", "properties": {"id": {"type": "string"}}}, "metadata": []}]})
    sys.exit(0)
catalog = load("--catalog") if "--catalog" in args else load("--properties")
note("given.jsonl", json.dumps({"flags": sorted(args), "catalog": catalog, "config": config,
    "mode": oct(os.stat(args["--config"]).st_mode & 0o777), "cwd": os.getcwd()}))
first = 1
if "--state" in args:
    note("states.txt", open(args["--state"]).read())
    first = load("--state")["any"]["next"]
log("INFO starting with token " + config.get("token", ""))
log("WARNING beware")
log('INFO METRIC: {"type": "counter", "metric": "record_count", "value": 3}')
by = {entry["stream"]: entry for entry in catalog["streams"]}
say({"type": "SCHEMA", "stream": "users", "key_properties": ["id"], "schema": by["users"]["schema"]})
for n in range(first, first + 3):
    say({"type": "RECORD", "stream": "users", "time_extracted": "2026-01-02T03:04:05.600000Z",
         "record": {"id": n, "name": "n%d" % n, "secret": "hidden", "at": "2026-01-02T00:00:00Z"}})
sys.stdout.write('{"type": "STATE", "value": {"any": {"next": %d}, "exact": 1.50, "big": 123456789012345678901234567890}}\n' % (first + 3))
say({"type": "SCHEMA", "stream": "tags", "key_properties": ["id"], "schema": by["tags"]["schema"]})
say({"type": "RECORD", "stream": "tags", "record": {"id": "a"}})
say({"type": "SCHEMA", "stream": "noise", "key_properties": [], "schema": by["noise"]["schema"]})
say({"type": "RECORD", "stream": "noise", "record": {"id": "a"}})
"#;

/// The same `users` with a column more once `new.txt` is there.
const GROWING: &str = r#"
new = os.path.exists(here("new.txt"))
fields = {"id": {"type": "integer"}, "name": {"type": ["null", "string"]}}
record = {"id": 2 if new else 1, "name": "n"}
if new:
    fields["extra"] = {"type": ["null", "string"]}
    record["extra"] = "later"
    record["undeclared"] = "later"
if "--discover" in args:
    say({"streams": [{"tap_stream_id": "users", "stream": "users", "key_properties": ["id"],
        "schema": {"type": "object", "properties": fields}, "metadata": []}]})
    sys.exit(0)
note("given.jsonl", json.dumps(load("--catalog")))
say({"type": "SCHEMA", "stream": "users", "key_properties": ["id"],
     "schema": {"type": "object", "properties": fields}})
say({"type": "RECORD", "stream": "users", "record": record})
say({"type": "STATE", "value": {"n": record["id"]}})
"#;

/// A tap that sends what it was not asked for makes no column of it either.
#[test]
fn f49_a_foreign_taps_new_columns_wait_until_they_are_chosen() {
    let bench = Bench::new();
    bench.script("tap", GROWING);
    bench.tap_file("", "new_columns = \"off\"");
    bench.run().assert(0, &["complete"]);
    fs::write(bench.path("new.txt"), "").unwrap();
    bench.run().assert(0, &["complete"]);
    let columns =
        "select column_name from duckdb_columns() where schema_name = 'c' and table_name = 'users'
                   and column_name not like '\\_sdc%' escape '\\' order by 1";
    assert_eq!(bench.query(columns), ["id", "name"]);
    let given = bench.read("given.jsonl");
    let asked: Value = serde_json::from_str(given.lines().last().unwrap()).unwrap();
    let metadata = asked["streams"][0]["metadata"].as_array().unwrap();
    let of = |field: &str| {
        let crumbs = serde_json::json!(["properties", field]);
        metadata.iter().find(|entry| entry["breadcrumb"] == crumbs).unwrap()["metadata"]["selected"]
            .clone()
    };
    assert_eq!((of("name"), of("extra")), (true.into(), false.into()));
    bench.tap_file("", "new_columns = \"off\"\ninclude = [\"users.extra\"]");
    bench.run().assert(0, &["complete"]);
    assert_eq!(bench.query(columns), ["extra", "id", "name"]);
    assert_eq!(bench.query("select id, extra from c.users order by id"), ["1 | null", "2 | later"]);
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.script("tap", TAP);
    fs::write(bench.path("token.txt"), "very-secret-token\n").unwrap();
    bench.tap_file(
        "config = { token = { file = \"token.txt\" }, nested = { n = 1, list = [\"x\"] } }",
        "exclude = [\"noise\", \"users.secret\"]",
    );
    bench
}

#[test]
fn streams_arrive_and_the_state_comes_back_word_for_word() {
    let bench = bench();
    let told = bench.run();
    told.assert(0, &["tap: beware", "complete", "tap: starting with token ***"]);
    assert!(!format!("{told:?}").contains("very-secret-token"));
    assert_eq!(
        bench.query("select id, name, _sdc_extracted_at::varchar from c.users order by id"),
        [
            "1 | n1 | 2026-01-02 03:04:05.6+00",
            "2 | n2 | 2026-01-02 03:04:05.6+00",
            "3 | n3 | 2026-01-02 03:04:05.6+00"
        ]
    );
    assert_eq!(bench.query("select id from c.tags"), ["a"]);
    bench.run().assert(0, &["complete"]);
    assert_eq!(bench.query("select count(*), max(id) from c.users"), ["6 | 6"]);
    assert_eq!(
        bench.read("states.txt"),
        "{\"any\": {\"next\": 4}, \"exact\": 1.50, \"big\": 123456789012345678901234567890}\n"
    );
    // What was excluded is nowhere although the tap sent it.
    let tables = bench.query(
        "select table_name, column_name from duckdb_columns() where schema_name = 'c'
         and (column_name like '%secret%' or table_name = 'noise')",
    );
    assert!(tables.is_empty(), "{tables:?}");
}

#[test]
fn what_the_program_is_given() {
    let bench = bench();
    bench.run().assert(0, &[]);
    let given: Value = serde_json::from_str(bench.read("given.jsonl").trim()).unwrap();
    assert_eq!(given["flags"], serde_json::json!(["--catalog", "--config"]));
    assert_eq!(
        given["config"],
        serde_json::json!({"token": "very-secret-token", "nested": {"n": 1, "list": ["x"]}})
    );
    assert_eq!(given["mode"], "0o600");
    assert_eq!(
        fs::canonicalize(given["cwd"].as_str().unwrap()).unwrap(),
        fs::canonicalize(bench.directory.path()).unwrap()
    );
    let streams = given["catalog"]["streams"].as_array().unwrap();
    let selected = |stream: usize, crumb: Value| {
        let metadata = streams[stream]["metadata"].as_array().unwrap();
        metadata.iter().find(|item| item["breadcrumb"] == crumb).unwrap()["metadata"]["selected"]
            .clone()
    };
    let root = || serde_json::json!([]);
    assert_eq!((selected(0, root()), selected(2, root())), (true.into(), false.into()));
    assert_eq!(selected(0, serde_json::json!(["properties", "secret"])), false);
    assert_eq!(selected(0, serde_json::json!(["properties", "name"])), true);
    // Nothing of it is left.
    assert_eq!(fs::read_dir(bench.scratch()).unwrap().count(), 0);

    bench.tap_file("catalog_flag = \"properties\"", "");
    bench.run().assert(0, &[]);
    let given: Value =
        serde_json::from_str(bench.read("given.jsonl").lines().last().unwrap()).unwrap();
    assert_eq!(given["flags"], serde_json::json!(["--config", "--properties", "--state"]));
    assert_eq!(given["catalog"]["streams"][0]["schema"]["selected"], true);
}

#[test]
fn check_and_discover_ask_the_program() {
    let bench = bench();
    let ask =
        |arguments: &[&str]| crate::support::Told::of(bench.command(arguments).output().unwrap());
    ask(&["check"]).assert(0, &["in (singer)", "streams: 3", "users"]);
    ask(&["discover"]).assert(0, &["users", "tags", "noise"]);
    ask(&["discover", "--table", "users"]).assert(0, &["secret"]);
    bench.tap_file("tabel = 1", "");
    ask(&["run"]).assert(2, &["unknown setting `tabel`", "catalog_flag"]);
    bench.file(
        "type = \"singer\"\nexecutable = \"no-such-tap\"",
        "type = \"duckdb\"\npath = \"out.duckdb\"",
        "",
    );
    ask(&["run"]).assert(2, &["there is no program `no-such-tap`", "install it"]);
}

#[test]
fn a_catalog_file_takes_the_place_of_discovery() {
    let bench = Bench::new();
    bench.script(
        "tap",
        &TAP.replace("if \"--discover\" in args:", "if \"--discover\" in args:\n    sys.exit(3)"),
    );
    fs::write(
        bench.path("catalog.json"),
        r#"{"streams":[{"tap_stream_id":"users","stream":"users","key_properties":["id"],
            "schema":{"properties":{"id":{},"name":{}}},"metadata":[{"breadcrumb":[],"metadata":{"selected":true}},
            {"breadcrumb":["properties","name"],"metadata":{"selected":false}}]},
            {"tap_stream_id":"tags","stream":"tags","schema":{"properties":{"id":{}}},"metadata":[{"breadcrumb":[],"metadata":{"selected":false}}]},
            {"tap_stream_id":"noise","stream":"noise","schema":{"properties":{"id":{}}},"metadata":[{"breadcrumb":[],"metadata":{"selected":true}}]}]}"#,
    )
    .unwrap();
    bench.tap_file("", "");
    bench.run().assert(5, &["ended with status 3", "catalog_file"]);
    bench.tap_file("catalog_file = \"catalog.json\"", "");
    bench.run().assert(0, &["complete"]);
    let given: Value = serde_json::from_str(bench.read("given.jsonl").trim()).unwrap();
    let name = &given["catalog"]["streams"][0]["metadata"][1]["metadata"];
    assert_eq!(name["selected"], false);
}

/// Each of these lines holds a record that no part of bobbin could read; it is kept with its
/// reason, and its neighbours come through.
#[test]
fn records_that_cannot_be_read_are_set_aside() {
    let bench = Bench::new();
    bench.script(
        "tap",
        r#"
if "--discover" in args:
    say({"streams": [{"tap_stream_id": "s", "stream": "s", "key_properties": ["id"],
        "schema": {"properties": {"id": {"type": "integer"}}}, "metadata": []},
        {"tap_stream_id": "empty", "stream": "empty", "key_properties": [],
        "schema": {"properties": {"n": {"type": ["null", "integer"]}}}, "metadata": []}]})
    sys.exit(0)
say({"type": "schema", "stream": "s", "key_properties": ["id"], "schema": {"properties": {"id": {"type": "integer"}}}})
say({"type": "SCHEMA", "stream": "empty", "key_properties": [], "schema": {"properties": {"n": {"type": ["null", "integer"]}}}})
out = sys.stdout.buffer
for n, bad in enumerate([b'1e400', b'NaN', b'"\\ud800"', b'[' * 200 + b']' * 200, b'"\xff"', b'']):
    out.write(b'{"type":"RECORD","stream":"s","record":{"id":%d}}\n' % n)
    out.write(b'{"type":"RECORD","stream":"s","record":{"id":%d,"x":%s}}\n' % (100 + n, bad))
out.write(b'{"type":"RECORD","stream":"empty","record":{ }}\r\n\n')
out.write(b'{"type":"RECORD","stream":"s","record":{"id":50,"x":12345678901234567890.1234567890}}')
"#,
    );
    bench.tap_file("", "");
    bench.run().assert(0, &["complete"]);
    assert_eq!(bench.query("select id from c.s order by id"), ["0", "1", "2", "3", "4", "5", "50"]);
    assert_eq!(bench.query("select count(*) from c.empty"), ["1"]);
    let aside = bench.query("select reason from c._sdc_rejected");
    assert_eq!(aside.len(), 6, "{aside:?}");
    for words in ["range of a double", "malformed number", "surrogate", "levels deep", "UTF-8"] {
        assert!(aside.iter().any(|reason| reason.contains(words)), "{words}: {aside:?}");
    }
}

#[test]
fn records_in_files_come_as_if_inline() {
    let bench = Bench::new();
    bench.script(
        "tap",
        r#"
import gzip
schema = {"properties": {"id": {"type": "integer"}}}
if "--discover" in args:
    say({"streams": [{"tap_stream_id": "s", "stream": "s", "key_properties": ["id"], "schema": schema, "metadata": []}]})
    sys.exit(0)
say({"type": "SCHEMA", "stream": "s", "key_properties": ["id"], "schema": schema})
with gzip.open(here("a 1.json.gz"), "wt") as file:
    file.write('{"id":1}\n{"id":2}\n')
with open(here("b.jsonl"), "w") as file:
    file.write('{"id":3}\n\n{"id":4,"x":1e999}\n{"id":5}')
url = "file://" + here("a 1.json.gz").replace(" ", "%20")
say({"type": "BATCH", "stream": "s", "encoding": {"format": "jsonl", "compression": "gzip"}, "manifest": [url]})
say({"type": "BATCH", "stream": "s", "filepath": here("b.jsonl"), "format": "jsonl"})
say({"type": "STATE", "value": 1})
if "bad" in config:
    say({"type": "BATCH", "stream": "s", "encoding": {"format": "parquet"}, "manifest": [url]})
"#,
    );
    bench.tap_file("", "");
    bench.run().assert(0, &["complete"]);
    assert_eq!(bench.query("select id from c.s order by id"), ["1", "2", "3", "5"]);
    assert_eq!(bench.query("select count(*) from c._sdc_rejected"), ["1"]);
    assert!(bench.path("a 1.json.gz").exists() && bench.path("b.jsonl").exists());
    bench.tap_file("config = { bad = true }", "");
    bench.run().assert(5, &["line 5", "parquet", "batch_config"]);
}
