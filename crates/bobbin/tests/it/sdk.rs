//! The Meltano SDK's test streams for targets, through `bobbin target` into both destinations.
//!
//! Each ends as the SDK expects, but for three, where we do better on purpose: a SCHEMA without
//! properties is a stream whose fields show themselves; one record without its key, or without a
//! required field, does not stop the others. What is set aside is kept with its reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use postgres::{Client, NoTls};
use serde_json::json;

use crate::server::Server;
use crate::support::Told;

/// Per stream file: whether it is taken, and how many rows its tables hold together afterwards.
const STREAMS: [(&str, bool, u64); 20] = [
    ("array_data", true, 4),
    ("camelcase", true, 2),
    ("camelcase_complex_schema", true, 0),
    ("duplicate_records", true, 2),
    ("encoded_string_data", true, 28),
    ("invalid_schema", true, 0),
    ("multiple_state_messages", true, 12),
    ("no_primary_keys", true, 3),
    ("no_primary_keys_append", true, 5),
    ("optional_attributes", true, 4),
    ("pk_updates", true, 2),
    ("record_before_schema", false, 0),
    ("record_missing_fields", true, 2),
    ("record_missing_key_property", true, 0),
    ("record_missing_required_property", true, 1),
    ("schema_no_properties", true, 4),
    ("schema_updates", true, 6),
    ("special_chars_in_attributes", true, 1),
    ("user_location_data", true, 11),
    // After the one before, into the same tables.
    ("user_location_upsert_data", true, 18),
];

/// Where `scripts/setup --with-tools` puts them.
fn streams() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| PathBuf::from(env::var_os("HOME").unwrap()).join(".cache"), PathBuf::from);
    let library = cache.join("bobbin/tools/singer-sdk/lib");
    let python = fs::read_dir(&library)
        .unwrap_or_else(|_| {
            panic!("{} is missing; run scripts/setup --with-tools", library.display())
        })
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("python3"))
        .unwrap();
    python.path().join("site-packages/singer_sdk/testing/target_test_streams")
}

fn load(directory: &Path, kind: &str, settings: &serde_json::Value, stream: &Path) -> Told {
    fs::write(directory.join("target.json"), settings.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bobbin"));
    command.current_dir(directory).args(["target", kind, "--config", "target.json", "--input"]);
    Told::of(command.arg(stream).output().unwrap())
}

#[test]
fn every_test_stream_of_the_sdk_ends_as_it_should() {
    let folder = streams();
    let found: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".singer")?.to_owned()))
        .collect();
    let known: BTreeMap<&str, (bool, u64)> =
        STREAMS.iter().map(|&(name, taken, rows)| (name, (taken, rows))).collect();
    assert_eq!(found.len(), known.len(), "{found:?}");
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    for name in found {
        let (taken, rows) = known[name.as_str()];
        let stream = folder.join(format!("{name}.singer"));
        let status = i32::from(!taken);
        let settings = json!({"path": format!("{name}.duckdb"), "default_target_schema": "sdk"});
        let before =
            (name == "user_location_upsert_data").then(|| folder.join("user_location_data.singer"));
        for stream in before.iter().chain([&stream]) {
            load(directory.path(), "duckdb", &settings, stream).assert(status, &[]);
        }
        let path = directory.path().join(format!("{name}.duckdb"));
        let tables = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'sdk'
                      AND NOT starts_with(table_name, '_')";
        let count: u64 = bobbin_duckdb::query::query(&path, tables, 100)
            .unwrap()
            .rows
            .iter()
            .map(|row| {
                let sql = format!("SELECT count(*) FROM sdk.\"{}\"", row[0].as_ref().unwrap());
                let answer = bobbin_duckdb::query::query(&path, &sql, 1).unwrap();
                answer.rows[0][0].as_ref().unwrap().parse::<u64>().unwrap()
            })
            .sum();
        assert_eq!(count, rows, "{name} in DuckDB");

        for arrays in ["columns", "tables"] {
            let schema = format!("{name}_{arrays}");
            let settings = json!({
                "host": server.host(), "user": "boss", "database": "postgres", "schema": schema,
                "arrays": arrays,
            });
            for stream in before.iter().chain([&stream]) {
                load(directory.path(), "postgres", &settings, stream).assert(status, &[]);
            }
            assert_eq!(rows_in_postgres(&server, &schema), rows, "{schema} in PostgreSQL");
        }
    }
}

/// Rows of the streams' own tables.
fn rows_in_postgres(server: &Server, schema: &str) -> u64 {
    let mut client = Client::configure()
        .host(server.host())
        .user("boss")
        .dbname("postgres")
        .connect(NoTls)
        .unwrap();
    let tables = format!("SELECT name FROM \"{schema}\"._bobbin_tables WHERE sub = '[]'");
    let tables = client.query(&tables, &[]).unwrap();
    let count = |row: &postgres::Row| -> i64 {
        let table: String = row.get(0);
        let sql = format!("SELECT count(*) FROM \"{schema}\".\"{table}\"");
        client.query_one(&sql, &[]).unwrap().get(0)
    };
    tables.iter().map(count).sum::<i64>() as u64
}
