//! First loads and upserts into DuckDB, beside its own reader and a merge written by hand.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Bench, Measured, STEP, TABLE, changed, table};
use crate::bench::process::{Cost, measure};

pub(super) fn run(bench: &Bench<'_>) -> Result<(), String> {
    let mut read = Measured::new("DuckDB reads the same rows as CSV (floor)");
    let mut loaded = Measured::new("bobbin's loader, from NDJSON");
    let mut target = Measured::new("`bobbin target duckdb`, from Singer messages");
    let mut by_hand = Measured::new("DuckDB reads CSV, deletes, inserts (floor)");
    let mut merged = Measured::new("bobbin's loader, from NDJSON");
    let mut target_merged = Measured::new("`bobbin target duckdb`, from Singer messages");
    for run in 0..bench.runs {
        let scratch = bench.place.fresh("load-duckdb")?;
        let (ours, floor) = (scratch.join("ours.duckdb"), scratch.join("floor.duckdb"));
        let config = scratch.join("target.json");
        let settings = serde_json::json!({ "path": scratch.join("target.duckdb") });
        fs::write(&config, settings.to_string()).map_err(|error| error.to_string())?;
        let path = ours.to_string_lossy();
        let to = ["duckdb", &path, "bobbin"];
        let csv = |name: &str| bench.file(&format!("{name}.duckdb.csv"));
        // Equal tables, and the rows as CSV.
        let export = |name: &str, revision: usize| {
            let file = csv(name);
            sql(
                bench,
                &ours,
                &format!(
                    "COPY (FROM bobbin.{TABLE} WHERE rev = {revision}) TO '{}' (FORMAT csv);",
                    file.display()
                ),
            )
        };

        loaded.costs.push(bench.load(&to, "first.ndjson")?);
        export("first", 1)?;
        sql(
            bench,
            &floor,
            &format!(
                "ATTACH '{path}' AS ours; CREATE TABLE {TABLE} AS FROM ours.bobbin.{TABLE} LIMIT 0;"
            ),
        )?;
        let first = csv("first");
        read.costs.push(sql(
            bench,
            &floor,
            &format!("COPY {TABLE} FROM '{}' (FORMAT csv); CHECKPOINT;", first.display()),
        )?);
        target.costs.push(bench.target("duckdb", &config, "first.singer")?);

        merged.costs.push(bench.load(&to, &changed(run))?);
        export("changed", run + 2)?;
        let changes = csv("changed");
        by_hand.costs.push(sql(
            bench,
            &floor,
            &format!(
                "BEGIN; CREATE TEMP TABLE stage AS FROM {TABLE} LIMIT 0;
                 COPY stage FROM '{}' (FORMAT csv);
                 DELETE FROM {TABLE} WHERE id IN (SELECT id FROM stage);
                 INSERT INTO {TABLE} FROM stage; COMMIT; CHECKPOINT;",
                changes.display()
            ),
        )?);
        target_merged.costs.push(bench.target("duckdb", &config, &format!("{run}.singer"))?);
        let count = |database: &Path, table: &str| -> Result<String, String> {
            let query =
                format!("SELECT count(*)::varchar || ' ' || sum(rev)::varchar FROM {table}");
            Ok(sql(bench, database, &query)?.stdout)
        };
        let counts = (count(&ours, &format!("bobbin.{TABLE}"))?, count(&floor, TABLE)?);
        if counts.0 != counts.1 {
            return Err(format!("bobbin has {}, the floor {}", counts.0, counts.1));
        }
        let _ = fs::remove_dir_all(scratch);
    }
    let (all, some) = (bench.records, bench.records / STEP);
    table(&format!("DuckDB: first load of {all} records"), all, &[&read, &loaded, &target]);
    table(
        &format!("DuckDB: {some} changed records among {all}"),
        some,
        &[&by_hand, &merged, &target_merged],
    );
    Ok(())
}

/// Runs statements; prints the one value of the last.
pub(super) fn sql(bench: &Bench<'_>, database: &Path, script: &str) -> Result<Cost, String> {
    measure(Command::new(bench.place.example("duck")).arg(database).arg(script), true)
}
