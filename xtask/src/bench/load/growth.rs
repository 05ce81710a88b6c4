//! What a row costs when the table already holds many: increments of one size into tables that grow.

use std::fs;

use super::duckdb::sql;
use super::postgres::{first_sequence, merge_from};
use super::server::Server;
use super::{Bench, TABLE};
use crate::bench::process::{Cost, median};

/// Rows in the tables.
const SIZES: [u64; 4] = [100_000, 300_000, 1_000_000, 3_000_000];

/// Records of an increment, half of them new.
const INCREMENT: u64 = 20_000;

/// Of which rows in the table an increment changes some.
const SHARES: [(&str, u64); 2] = [("the latest 50,000", 50_000), ("all", u64::MAX)];

pub(super) fn run(bench: &Bench<'_>) -> Result<(), String> {
    println!(
        "\nIncrements of {INCREMENT} records, half new, half changed, into tables that grow\n"
    );
    println!(
        "| | changed among | rows in the table | seconds | µs/row | ratio | merge by hand, s | × |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    postgres(bench)?;
    duckdb(bench)
}

fn postgres(bench: &Bench<'_>) -> Result<(), String> {
    let server = Server::start()?;
    let host = server.host();
    let to = ["postgres", &host, "postgres", "bobbin", "tables"];
    bench.make("segment", "seed.ndjson", INCREMENT, &[])?;
    bench.load(&to, "seed.ndjson")?;
    // Rows as they are loaded, to make others of.
    let tables = server.psql(&format!(
        "SELECT quote_ident(relname), CASE relname WHEN '{TABLE}' THEN 'id' ELSE '_sdc_source_key_id' END,
             string_agg(quote_ident(attname), ', ' ORDER BY attnum) FILTER
                 (WHERE attname NOT IN ('id', '_sdc_source_key_id', '_sdc_sequence'))
         FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
         WHERE relnamespace = 'bobbin'::regnamespace AND relkind = 'r' AND relname LIKE '{TABLE}%'
         GROUP BY relname ORDER BY relname"
    ))?;
    let mut seed = String::new();
    for line in tables.stdout.lines() {
        let table = line.split('|').next().unwrap_or_default();
        seed += &format!("CREATE TABLE public.{table} AS SELECT * FROM bobbin.{table};\n");
    }
    server.psql(&seed)?;
    let named: Vec<(String, String)> = tables
        .stdout
        .lines()
        .filter_map(|line| {
            let (table, columns) = line.split_once('|')?;
            Some((table.to_owned(), format!("_sdc_sequence, {}", columns.replacen('|', ", ", 1))))
        })
        .collect();
    let mut rounds = Rounds::new("PostgreSQL");
    let mut copies = 1;
    for size in SIZES {
        let mut fill = String::new();
        let wanted = size / INCREMENT;
        for line in tables.stdout.lines() {
            let parts: Vec<&str> = line.split('|').collect();
            let [table, key, columns] = parts[..] else { return Err("unreadable tables".into()) };
            // Keys that grow: those of copy after copy, each above all before.
            fill += &format!(
                "INSERT INTO bobbin.{table} ({key}, _sdc_sequence, {columns})
                 SELECT lpad(to_hex(x'60000000'::int + copy), 8, '0') || substr({key}, 1, 16),
                     _sdc_sequence - 1000000000, {columns}
                 FROM generate_series({copies}, {wanted} - 1) AS copy, public.{table}
                 ORDER BY copy;\n"
            );
        }
        copies = wanted;
        server.psql(&format!("SET synchronous_commit = off;\n{fill}\nVACUUM ANALYZE"))?;
        for (share, latest) in SHARES {
            let (mut costs, mut by_hand) = (Vec::new(), Vec::new());
            // The first leaves gaps for the others, as increments before it have in any table.
            for run in 0..=bench.runs {
                let latest = latest.min(size);
                let keys = server.psql(&format!(
                    "SELECT setseed(0.{run}5);
                     SELECT id FROM (SELECT id FROM bobbin.{TABLE} WHERE id LIKE '6%'
                         ORDER BY id DESC LIMIT {latest}) AS latest
                     ORDER BY random() LIMIT {}",
                    INCREMENT / 2
                ))?;
                rounds.make(bench, &keys.stdout)?;
                server.psql("VACUUM")?;
                server.restart()?;
                costs.push(bench.load(&to, "increment.ndjson")?);
                by_hand.push(merge_by_hand(&server, &named, rounds.rev - 1)?);
            }
            rounds.tell(size, share, &costs[1..], &by_hand[1..]);
        }
    }
    Ok(())
}

/// The rows of the last increment once more, merged by SQL from tables that hold them already: no
/// conversion, no COPY, and no row is new. It shows what of the growth is the server's.
fn merge_by_hand(
    server: &Server,
    tables: &[(String, String)],
    revision: u64,
) -> Result<Cost, String> {
    let mut stage = String::new();
    for (n, (table, _)) in tables.iter().enumerate() {
        stage += &format!(
            "DROP TABLE IF EXISTS public.stage_{n};
             CREATE TABLE public.stage_{n} AS SELECT * FROM bobbin.{table}
                 WHERE _sdc_sequence >= {};\n",
            first_sequence(revision)
        );
    }
    server.psql(&stage)?;
    server.psql("VACUUM ANALYZE")?;
    server.restart()?;
    server.psql(&format!("BEGIN;\n{}COMMIT;\n", merge_from("public.stage", "bobbin", tables)))
}

fn duckdb(bench: &Bench<'_>) -> Result<(), String> {
    let scratch = bench.place.fresh("growth")?;
    let database = scratch.join("growth.duckdb");
    let path = database.to_string_lossy();
    let to = ["duckdb", &path, "bobbin"];
    bench.load(&to, "seed.ndjson")?;
    sql(
        bench,
        &database,
        &format!("CREATE SCHEMA seed; CREATE TABLE seed.{TABLE} AS FROM bobbin.{TABLE}"),
    )?;
    let mut rounds = Rounds::new("DuckDB");
    let mut copies = 1;
    for size in SIZES {
        let wanted = size / INCREMENT;
        sql(
            bench,
            &database,
            &format!(
                "INSERT INTO bobbin.{TABLE} BY NAME
                 SELECT seed.* REPLACE (format('{{:08x}}', 1610612736 + copy) || substr(id, 1, 16) AS id,
                     _sdc_sequence - 1000000000 AS _sdc_sequence)
                 FROM range({copies}, {wanted}) AS copies(copy), seed.{TABLE} AS seed ORDER BY copy;
                 CHECKPOINT;"
            ),
        )?;
        copies = wanted;
        for (share, latest) in SHARES {
            let mut costs = Vec::new();
            for run in 0..bench.runs {
                let latest = latest.min(size);
                let keys = sql(
                    bench,
                    &database,
                    &format!(
                        "SELECT string_agg(id, chr(10)) FROM (SELECT id FROM
                             (SELECT id FROM bobbin.{TABLE} WHERE id LIKE '6%' ORDER BY id DESC LIMIT {latest})
                         ORDER BY hash(id || '{run}') LIMIT {})",
                        INCREMENT / 2
                    ),
                )?;
                rounds.make(bench, &keys.stdout)?;
                costs.push(bench.load(&to, "increment.ndjson")?);
            }
            rounds.tell(size, share, &costs, &[]);
        }
    }
    Ok(())
}

/// Increments one after the other, each with records no other had.
struct Rounds {
    name: &'static str,
    /// The next new record, and the next revision.
    next: u64,
    rev: u64,
    /// What a row costs in the smallest table, by what is changed.
    first: Vec<(&'static str, f64)>,
}

impl Rounds {
    fn new(name: &'static str) -> Self {
        // New keys above all that were filled in: `make_records` counts four to one of a key's front.
        Self { name, next: 4 * 0x0200_0000, rev: 10, first: Vec::new() }
    }

    fn make(&mut self, bench: &Bench<'_>, keys: &str) -> Result<(), String> {
        let keys: Vec<&str> = keys.split_whitespace().collect();
        if keys.len() as u64 != INCREMENT / 2 {
            return Err(format!("{} keys to change, not {}", keys.len(), INCREMENT / 2));
        }
        let ids = bench.file("ids");
        fs::write(&ids, keys.join("\n")).map_err(|error| error.to_string())?;
        let (next, rev) = (self.next.to_string(), self.rev.to_string());
        let ids = ids.to_string_lossy();
        let options = ["--ids", &ids, "--first", &next, "--rev", &rev];
        self.next += INCREMENT;
        self.rev += 1;
        bench.make("segment", "increment.ndjson", INCREMENT, &options)
    }

    fn tell(&mut self, size: u64, share: &'static str, costs: &[Cost], by_hand: &[Cost]) {
        let seconds = |cost: &Cost| {
            let told: serde_json::Value = serde_json::from_str(&cost.stdout).unwrap_or_default();
            told["seconds"].as_f64().unwrap_or(f64::NAN)
        };
        let seconds = median(costs.iter().map(seconds).collect());
        let first = match self.first.iter().find(|(of, _)| *of == share) {
            Some((_, first)) => *first,
            None => {
                self.first.push((share, seconds));
                seconds
            }
        };
        let by_hand = if by_hand.is_empty() {
            "– | –".to_owned()
        } else {
            let wall = median(by_hand.iter().map(|cost| cost.wall).collect());
            format!("{wall:.2} | {:.2}", seconds / wall)
        };
        println!(
            "| {} | {share} | {size} | {seconds:.2} | {:.1} | {:.2} | {by_hand} |",
            self.name,
            seconds * 1e6 / INCREMENT as f64,
            seconds / first
        );
    }
}
