//! The file itself: missing, foreign, locked, damaged, full.

use bobbin_core::ErrorKind;
use bobbin_core::cancel::Cancel;
use bobbin_core::clock::SystemClock;
use bobbin_core::destination::Destination;
use bobbin_core::report::NoLog;
use bobbin_core::tap::Context;
use bobbin_duckdb::query::{query, table_counts};
use bobbin_duckdb::{Config, DuckDb};

use crate::support::{Place, job, load, numbered, stream};

fn opened(path: &std::path::Path) -> bobbin_core::Result<()> {
    opened_for(path, "crm")
}

fn opened_for(path: &std::path::Path, connection: &str) -> bobbin_core::Result<()> {
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    DuckDb::new(Config::new(path)).open(&cx, &connection.into(), &"1".into()).map(drop)
}

fn failure(path: &std::path::Path) -> bobbin_core::Error {
    opened(path).unwrap_err()
}

#[test]
fn a_path_that_cannot_be_used_says_why() {
    let place = Place::new();
    let directory = place.directory.path();
    let error = failure(&directory.join("missing/warehouse.duckdb"));
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.report().contains("missing") && error.hint_text().is_some(), "{error:?}");

    let error = failure(directory);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.report().contains("is a directory"), "{error:?}");

    let foreign = directory.join("notes.txt");
    std::fs::write(&foreign, "not a database ".repeat(1000)).unwrap();
    let error = failure(&foreign);
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.report().contains("not a DuckDB database"), "{error:?}");
    assert_eq!(std::fs::read(&foreign).unwrap().len(), 15_000, "left alone");
}

#[test]
fn a_file_of_a_newer_duckdb_or_a_damaged_one_is_refused() {
    let place = Place::new();
    job(&place, &stream(), "1", 1, &[r#"{"id":"a"}"#]);
    let good = std::fs::read(&place.path).unwrap();

    // The version number stands behind the checksum and the magic bytes.
    let mut newer = good.clone();
    newer[12..20].copy_from_slice(&9999u64.to_le_bytes());
    let path = place.directory.path().join("newer.duckdb");
    std::fs::write(&path, newer).unwrap();
    let error = failure(&path);
    assert!(matches!(error.kind(), ErrorKind::Config | ErrorKind::InvalidData), "{error:?}");
    assert!(error.hint_text().is_some(), "{error:?}");

    let mut damaged = good;
    for byte in &mut damaged[4096..4096 + 8192] {
        *byte ^= 0x55;
    }
    let path = place.directory.path().join("damaged.duckdb");
    std::fs::write(&path, damaged).unwrap();
    let error = failure(&path);
    assert!(error.hint_text().is_some() || error.kind() == ErrorKind::Io, "{error:?}");
}

/// Another program is this test's own binary, run again with this variable set.
const HOLDER: &str = "BOBBIN_TEST_HOLD";

#[test]
fn a_file_open_in_another_program_is_a_conflict() {
    use std::io::{BufRead, BufReader};
    if let Some(path) = std::env::var_os(HOLDER) {
        let _held = duckdb::Connection::open(path).unwrap();
        println!("held");
        let _ = std::io::stdin().lines().next();
        return;
    }
    let place = Place::new();
    job(&place, &stream(), "1", 1, &[r#"{"id":"a"}"#]);
    let mut other = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "file::a_file_open_in_another_program_is_a_conflict", "--nocapture"])
        .env(HOLDER, &place.path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("held")));
    let error = failure(&place.path);
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(
        error.report().contains("warehouse.duckdb") && error.report().contains("BI tool"),
        "{error:?}"
    );
    let error = query(&place.path, "SELECT 1", 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    drop(other.stdin.take());
    other.wait().unwrap();
    opened(&place.path).unwrap();
}

#[test]
fn a_check_changes_nothing() {
    let place = Place::new();
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    let destination = DuckDb::new(Config::new(&place.path));
    let check = destination.check(&cx, &"crm".into()).unwrap();
    assert!(check.facts.iter().any(|(label, value)| label == "duckdb" && value.starts_with('v')));
    assert_eq!(std::fs::read_dir(place.directory.path()).unwrap().count(), 0, "no file stays");
    job(&place, &stream(), "1", 1, &[r#"{"id":"a"}"#]);
    destination.check(&cx, &"crm".into()).unwrap();
    assert_eq!(
        place.one("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'bobbin_check'"),
        "0"
    );
    assert_eq!(place.one("SELECT count(*) FROM crm.things"), "1");
}

#[test]
fn queries_only_read_also_while_a_job_runs() {
    let place = Place::new();
    let stream = stream();
    assert_eq!(query(&place.path, "SELECT 1", 1).unwrap_err().kind(), ErrorKind::Config);
    job(&place, &stream, "1", 1, &[r#"{"id":"a","name":"A"}"#, r#"{"id":"b"}"#]);
    let answer = query(&place.path, "SELECT id, name FROM crm.things ORDER BY id", 1).unwrap();
    assert_eq!(answer.columns, ["id", "name"]);
    assert_eq!(answer.rows, [[Some("a".to_owned()), Some("A".to_owned())]]);
    assert!(answer.more);
    assert!(query(&place.path, "DELETE FROM crm.things", 1).is_err());
    assert!(query(&place.path, "SELECT nonsense", 1).is_err());
    let mut loader = place.open("2");
    load(&mut loader, &stream, "2", 1, &numbered(5, &[r#"{"id":"c"}"#])).unwrap();
    assert_eq!(
        place.one("SELECT count(*) FROM crm.things"),
        "2",
        "what is not committed is not seen"
    );
    assert!(query(&place.path, "DELETE FROM crm.things", 1).is_err());
    loader.commit(None).unwrap();
    assert_eq!(
        table_counts(&place.path, "crm").unwrap(),
        [("_sdc_rejected".to_owned(), 0), ("things".to_owned(), 3)]
    );
}

#[test]
fn a_file_called_like_its_schema_can_be_queried() {
    let place = Place::named("crm.duckdb");
    let stream = stream();
    let mut loader = place.open("1");
    load(&mut loader, &stream, "1", 1, &numbered(1, &[r#"{"id":"a"}"#])).unwrap();
    loader.commit(None).unwrap();
    assert_eq!(place.one("SELECT count(*) FROM crm.things"), "1");
    drop(loader);
    assert_eq!(place.one("SELECT count(*) FROM crm.things"), "1");
    job(&place, &stream, "2", 2, &[r#"{"id":"b"}"#]);
    assert_eq!(table_counts(&place.path, "crm").unwrap()[1], ("things".to_owned(), 2));
}

#[test]
fn a_file_may_be_closed_and_opened_by_many_at_once() {
    let place = Place::new();
    job(&place, &stream(), "1", 1, &[r#"{"id":"a"}"#]);
    std::thread::scope(|scope| {
        for connection in ["a", "b", "c", "d"] {
            let path = &place.path;
            scope.spawn(move || {
                for _ in 0..5 {
                    opened_for(path, connection).unwrap();
                }
            });
        }
    });
    assert_eq!(place.one("SELECT count(*) FROM crm.things"), "1");
}

#[test]
fn a_file_made_by_duckdb_itself_with_its_large_blocks_can_be_used() {
    let place = Place::new();
    place.by_hand("CREATE SCHEMA crm; CREATE TABLE crm.mine (a INTEGER);");
    let members: Vec<String> = (0..300).map(|n| format!("\"f{n}\":\"{n}\"")).collect();
    for day in 1..4i64 {
        let records: Vec<String> = (0..3000)
            .map(|n| format!("{{\"id\":\"{n}\",\"rev\":{day},{}}}", members.join(",")))
            .collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        let receipt = job(&place, &stream(), &day.to_string(), day * 10_000, &records);
        assert_eq!(receipt.loaded, 3000);
    }
    assert_eq!(place.one("SELECT count(*) FROM crm.things WHERE rev = 3"), "3000");
}

/// Ledger tables as bobbin made them before arrays could be tables and keys were recorded.
#[test]
fn a_file_of_format_1_is_brought_up_to_date() {
    let place = Place::new();
    place.by_hand(
        "CREATE SCHEMA crm;
         CREATE TABLE crm._bobbin_state (
             connection VARCHAR, format INTEGER, token BIGINT, state JSON, job VARCHAR,
             sequence BIGINT, updated_at TIMESTAMPTZ);
         INSERT INTO crm._bobbin_state VALUES ('crm', 1, 7, NULL, '1', 3, now());
         CREATE TABLE crm._bobbin_segments (
             job VARCHAR, number BIGINT, stream VARCHAR, records BIGINT, loaded BIGINT,
             superseded BIGINT, rejected BIGINT, bytes BIGINT, loaded_at TIMESTAMPTZ);
         CREATE TABLE crm._bobbin_columns (
             stream VARCHAR, path JSON, type VARCHAR, is_primary BOOLEAN, name VARCHAR);
         INSERT INTO crm._bobbin_columns VALUES
             ('things', '[\"id\"]', 'st', true, 'id'), ('things', '[\"rev\"]', 'bi', true, 'rev'),
             ('things', '[\"tags\"]', 'list_st', true, 'tags'), ('logs', '[\"line\"]', 'st', true, 'line');
         CREATE TABLE crm._sdc_rejected (
             _sdc_rejected_at TIMESTAMPTZ, table_name VARCHAR, reason VARCHAR, record VARCHAR);
         CREATE TABLE crm.things (
             id VARCHAR, rev BIGINT, _sdc_extracted_at TIMESTAMPTZ, _sdc_received_at TIMESTAMPTZ,
             _sdc_batched_at TIMESTAMPTZ, _sdc_sequence BIGINT, _sdc_table_version BIGINT);
         INSERT INTO crm.things VALUES ('a', 1, now(), now(), now(), 1, 1),
             ('b', 1, now(), now(), now(), 2, 1);
         CREATE TABLE crm.logs (
             line VARCHAR, _sdc_extracted_at TIMESTAMPTZ, _sdc_received_at TIMESTAMPTZ,
             _sdc_batched_at TIMESTAMPTZ, _sdc_sequence BIGINT, _sdc_table_version BIGINT);
         INSERT INTO crm.logs VALUES ('first', now(), now(), now(), 3, 1);",
    );
    let things = stream();
    let mut logs = stream();
    logs.name = "logs".into();
    logs.key = Vec::new();
    for name in ["2", "3"] {
        let mut loader = place.open(name);
        assert_eq!(loader.recover().unwrap().sequence, Some(if name == "2" { 3 } else { 11 }));
        let text = numbered(10, &[r#"{"id":"a","rev":2,"name":"A"}"#]);
        load(&mut loader, &things, name, 1, &text).unwrap();
        load(&mut loader, &logs, name, 2, &numbered(11, &[r#"{"line":"next"}"#])).unwrap();
        loader.commit(None).unwrap();
        loader.finish().unwrap();
    }
    assert_eq!(
        place.texts("SELECT id, rev, name FROM crm.things ORDER BY id"),
        ["a | 2 | A", "b | 1 | null"]
    );
    assert_eq!(
        place.texts("SELECT line, __sdc_primary_key IS NULL FROM crm.logs ORDER BY 1"),
        ["first | true", "next | false", "next | false"]
    );
    assert_eq!(
        place.texts("SELECT stream, sub, name, key FROM crm._bobbin_tables ORDER BY stream"),
        ["logs | [] | logs | null", "things | [] | things | [\"id\"]"]
    );
    assert_eq!(place.texts("SELECT format, token FROM crm._bobbin_state"), ["2 | 9"]);
    assert_eq!(place.one("SELECT count(*) FROM crm._bobbin_columns WHERE sub <> '[]'"), "0");
}
