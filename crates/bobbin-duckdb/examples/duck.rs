//! Runs statements on a DuckDB file and prints the first value of the last one.
//!
//! `duck DATABASE STATEMENTS`, with two threads and DuckDB's own limits, as in `floor`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a measuring aid")]

fn main() {
    let mut arguments = std::env::args().skip(1);
    let database = arguments.next().expect("a database");
    let statements = arguments.next().expect("statements");
    let duckdb = duckdb::Connection::open(database).expect("a database");
    duckdb.execute_batch("SET threads = 2").expect("a setting");
    let mut statements: Vec<&str> =
        statements.split(';').map(str::trim).filter(|text| !text.is_empty()).collect();
    let last = statements.pop().expect("a statement");
    for statement in statements {
        duckdb.execute_batch(statement).expect("a statement that runs");
    }
    if last.starts_with("SELECT") {
        let value: String = duckdb.query_row(last, [], |row| row.get(0)).expect("a value");
        println!("{value}");
    } else {
        duckdb.execute_batch(last).expect("a statement that runs");
    }
}
