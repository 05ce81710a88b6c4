//! Peak memory with very long and very wide records in the mix.

use std::fs;

use super::server::Server;
use super::{Bench, Cost};

/// Records; ten of them 10 MB large, a hundred of them 5,000 fields wide.
const RECORDS: u64 = 20_000;

pub(super) fn run(bench: &Bench<'_>) -> Result<(), String> {
    bench.make("segment", "large.ndjson", RECORDS, &["--large"])?;
    bench.make("singer", "large.singer", RECORDS, &["--large"])?;
    println!(
        "\nPeak memory: {RECORDS} records, among them 10 of 10 MB and 100 of 5,000 fields more\n"
    );
    println!("| | seconds | peak MiB |");
    println!("| --- | ---: | ---: |");
    let tell = |name: &str, cost: &Cost| {
        println!("| {name} | {:.2} | {:.0} |", cost.wall, cost.peak_mib);
    };
    let server = Server::start()?;
    let scratch = bench.place.fresh("peak")?;
    let config = scratch.join("target.json");
    let write = |settings: serde_json::Value| {
        fs::write(&config, settings.to_string()).map_err(|error| error.to_string())
    };
    let host = server.host();
    let to = ["postgres", &host, "postgres", "bobbin", "tables"];
    tell("bobbin's loader into PostgreSQL", &bench.load(&to, "large.ndjson")?);
    write(serde_json::json!({ "host": host, "database": "postgres", "user": "boss" }))?;
    let cost = bench.target("postgres", &config, "large.singer")?;
    tell("`bobbin target postgres`", &cost);
    let path = scratch.join("ours.duckdb").to_string_lossy().into_owned();
    let cost = bench.load(&["duckdb", &path, "bobbin"], "large.ndjson")?;
    tell("bobbin's loader into DuckDB", &cost);
    write(serde_json::json!({ "path": scratch.join("target.duckdb") }))?;
    let cost = bench.target("duckdb", &config, "large.singer")?;
    tell("`bobbin target duckdb`", &cost);
    Ok(())
}
