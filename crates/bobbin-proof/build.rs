//! The same as for the tests of bobbin-duckdb: where tests find the DuckDB library.

#[path = "../bobbin-duckdb/build.rs"]
mod link;

fn main() {
    link::main();
}
