//! The floor of every load: DuckDB's own reader makes tables of newline-delimited JSON files.
//!
//! `floor DATABASE FILE...` prints rows and seconds as JSON. Two threads, a file as database, as
//! for bobbin; no limit on memory.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a measuring aid")]

use std::path::Path;
use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let database = arguments.next().expect("a database");
    let duckdb = duckdb::Connection::open(database).expect("a database");
    duckdb.execute_batch("SET threads = 2").expect("a setting");
    let started = Instant::now();
    let mut rows = 0;
    for file in arguments {
        let table = Path::new(&file).file_stem().expect("a name").to_string_lossy().into_owned();
        duckdb
            .execute_batch(&format!(
                "CREATE TABLE \"{table}\" AS SELECT * FROM \
                 read_json('{file}', format = 'newline_delimited', maximum_object_size = 67108864)"
            ))
            .expect("a table");
        rows += duckdb
            .query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get::<_, i64>(0))
            .expect("a count");
    }
    duckdb.execute_batch("CHECKPOINT").expect("a checkpoint");
    println!("{}", serde_json::json!({ "rows": rows, "seconds": started.elapsed().as_secs_f64() }));
}
