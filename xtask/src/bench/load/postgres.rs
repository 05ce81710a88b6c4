//! First loads and upserts into PostgreSQL, beside COPY and a merge written by hand.

use std::fmt::Write as _;
use std::fs;

use super::server::Server;
use super::{Bench, Measured, TABLE, changed, table};

/// Rows a transaction: bobbin's for PostgreSQL, and those of the bare COPY.
const COMMIT: u64 = 50_000;

/// What a sequence of `make_records` begins with, and what a revision adds.
const SEQUENCES: u64 = 1_764_000_000_000_000_000;
const REVISION: u64 = 100_000_000_000;

/// The least `_sdc_sequence` of a revision's rows.
pub(super) fn first_sequence(revision: u64) -> u64 {
    SEQUENCES + revision * REVISION
}

pub(super) fn run(bench: &Bench<'_>) -> Result<(), String> {
    for arrays in ["columns", "tables"] {
        let server = Server::start()?;
        Side { bench, server: &server, arrays }.run()?;
    }
    Ok(())
}

struct Side<'a> {
    bench: &'a Bench<'a>,
    server: &'a Server,
    arrays: &'a str,
}

impl Side<'_> {
    fn run(&self) -> Result<(), String> {
        let (bench, server) = (self.bench, self.server);
        let mut copied = Measured::new("`COPY … (FORMAT csv)` of the same rows (floor)");
        let mut loaded = Measured::new("bobbin's loader, from NDJSON");
        let mut target = Measured::new("`bobbin target postgres`, from Singer messages");
        let mut by_hand = Measured::new("COPY to a temporary table and merge by hand (floor)");
        let mut merged = Measured::new("bobbin's loader, from NDJSON");
        let mut target_merged = Measured::new("`bobbin target postgres`, from Singer messages");
        let config = bench.file("target.json");
        let settings = serde_json::json!({
            "host": server.host(), "database": "postgres", "user": "boss", "arrays": self.arrays,
            "default_target_schema": "target",
        });
        fs::write(&config, settings.to_string()).map_err(|error| error.to_string())?;
        let host = server.host();
        let to = ["postgres", &host, "postgres", "bobbin", self.arrays];
        for run in 0..bench.runs {
            server.psql(
                "DROP SCHEMA IF EXISTS bobbin CASCADE; DROP SCHEMA IF EXISTS target CASCADE;
                 DROP SCHEMA IF EXISTS floor CASCADE;",
            )?;
            server.rest()?;
            loaded.costs.push(bench.load(&to, "first.ndjson")?);
            let tables = self.tables()?;
            if run == 0 {
                self.export(&tables, "first", 1, bench.records)?;
            }
            let mut equal = "CREATE SCHEMA floor;\n".to_owned();
            for (name, _) in &tables {
                let _ = writeln!(
                    equal,
                    "CREATE TABLE floor.{name} (LIKE bobbin.{name} INCLUDING ALL);"
                );
            }
            server.psql(&equal)?;
            server.rest()?;
            copied.costs.push(server.psql(&self.copies(&tables))?);
            server.rest()?;
            target.costs.push(bench.target("postgres", &config, "first.singer")?);

            server.psql("VACUUM ANALYZE")?;
            server.rest()?;
            merged.costs.push(bench.load(&to, &changed(run))?);
            self.export(&tables, "changed", run as u64 + 2, bench.records)?;
            server.rest()?;
            by_hand.costs.push(server.psql(&self.merge(&tables))?);
            self.compare(&tables)?;
            server.rest()?;
            target_merged.costs.push(bench.target(
                "postgres",
                &config,
                &format!("{run}.singer"),
            )?);
        }
        let (all, some) = (bench.records, bench.records / super::STEP);
        let arrays = self.arrays;
        table(
            &format!("PostgreSQL, arrays as {arrays}: first load of {all} records"),
            all,
            &[&copied, &loaded, &target],
        );
        table(
            &format!("PostgreSQL, arrays as {arrays}: {some} changed records among {all}"),
            some,
            &[&by_hand, &merged, &target_merged],
        );
        Ok(())
    }

    /// The tables that bobbin made, the records' own first, with their columns.
    fn tables(&self) -> Result<Vec<(String, String)>, String> {
        let told = self.server.psql(&format!(
            "SELECT quote_ident(relname), string_agg(quote_ident(attname), ', ' ORDER BY attnum)
             FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
                 AND NOT attisdropped
             WHERE relnamespace = 'bobbin'::regnamespace AND relkind = 'r' AND relname LIKE '{TABLE}%'
             GROUP BY relname ORDER BY relname"
        ))?;
        let pairs = told.stdout.lines().filter_map(|line| line.split_once('|'));
        Ok(pairs.map(|(name, columns)| (name.to_owned(), columns.to_owned())).collect())
    }

    /// Writes the rows of one revision as CSV, one file for each table and transaction.
    fn export(
        &self,
        tables: &[(String, String)],
        name: &str,
        revision: u64,
        records: u64,
    ) -> Result<(), String> {
        let mut script = String::new();
        let base = first_sequence(revision);
        let one = if revision == 1 { COMMIT } else { records };
        for (part, from) in (0..records).step_by(one as usize).enumerate() {
            for (table, columns) in tables {
                let _ = writeln!(
                    script,
                    "\\copy (SELECT {columns} FROM bobbin.{table} WHERE _sdc_sequence >= {} AND \
                     _sdc_sequence < {} ORDER BY _sdc_sequence) TO '{}' (FORMAT csv)",
                    base + from,
                    base + from + one,
                    self.csv(name, table, part),
                );
            }
        }
        self.server.psql(&script).map(drop)
    }

    fn csv(&self, name: &str, table: &str, part: usize) -> String {
        let table = table.trim_matches('"');
        self.bench.file(&format!("{name}-{table}-{part}.csv")).to_string_lossy().into_owned()
    }

    /// psql's script of the bare COPY.
    fn copies(&self, tables: &[(String, String)]) -> String {
        let mut script = String::new();
        for part in 0..self.bench.records.div_ceil(COMMIT) {
            script += "BEGIN;\n";
            for (table, columns) in tables {
                let file = self.csv("first", table, part as usize);
                let _ =
                    writeln!(script, "\\copy floor.{table} ({columns}) FROM '{file}' (FORMAT csv)");
            }
            script += "COMMIT;\n";
        }
        script
    }

    /// psql's script of the merge by hand.
    fn merge(&self, tables: &[(String, String)]) -> String {
        let mut script = "BEGIN;\n".to_owned();
        for (n, (table, columns)) in tables.iter().enumerate() {
            let file = self.csv("changed", table, 0);
            let _ = writeln!(
                script,
                "CREATE TEMP TABLE stage_{n} (LIKE floor.{table}) ON COMMIT DROP;\n\
                 \\copy stage_{n} ({columns}) FROM '{file}' (FORMAT csv)"
            );
        }
        script += &merge_from("stage", "floor", tables);
        script + "COMMIT;\n"
    }

    /// Both sides have to hold the same rows, or something else was measured.
    fn compare(&self, tables: &[(String, String)]) -> Result<(), String> {
        for (table, _) in tables {
            let count = |schema: &str| {
                self.server.psql(&format!(
                    "SELECT count(*), sum(_sdc_sequence::numeric) FROM {schema}.{table}"
                ))
            };
            let (ours, floor) = (count("bobbin")?.stdout, count("floor")?.stdout);
            if ours != floor {
                return Err(format!("{table}: bobbin has {ours}, the floor {floor}"));
            }
        }
        Ok(())
    }
}

/// The merge by hand: tables `STAGE_0`, `STAGE_1` … into those of `schema`, the records' own first.
pub(super) fn merge_from(stage: &str, schema: &str, tables: &[(String, String)]) -> String {
    let mut script = String::new();
    for (n, (table, columns)) in tables.iter().enumerate() {
        if n == 0 {
            let set: Vec<String> =
                columns.split(", ").map(|c| format!("{c} = excluded.{c}")).collect();
            let _ = writeln!(
                script,
                "INSERT INTO {schema}.{table} ({columns}) SELECT {columns} FROM {stage}_{n}
                 ON CONFLICT (id) DO UPDATE SET {};",
                set.join(", ")
            );
        } else {
            let _ = writeln!(
                script,
                "DELETE FROM {schema}.{table} USING {stage}_0 AS stage
                 WHERE _sdc_source_key_id = stage.id;
                 INSERT INTO {schema}.{table} ({columns}) SELECT {columns} FROM {stage}_{n};"
            );
        }
    }
    script
}
