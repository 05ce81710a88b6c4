//! Loading beside what each database's own means take for the same rows: first load, upsert, growth,
//! memory.

mod duckdb;
mod growth;
mod peak;
mod postgres;
mod server;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Cost, measure, measure_fed, median};
use super::{Place, Plan};

/// The stream that is loaded.
const TABLE: &str = "conversations";

/// Of how many records one is changed in an increment.
const STEP: u64 = 10;

/// All parts, or the one that `what` names.
pub(super) fn run(plan: &Plan, place: &Place, what: &str) -> Result<(), String> {
    let records = plan.records.unwrap_or(300_000);
    let bench = Bench { place, runs: plan.runs(), records, files: place.fresh("load")? };
    let part = |name: &str| what == "load" || what == format!("load-{name}");
    if part("postgres") || part("duckdb") {
        bench.prepare()?;
    }
    if part("postgres") {
        postgres::run(&bench)?;
    }
    if part("duckdb") {
        duckdb::run(&bench)?;
    }
    if part("growth") {
        growth::run(&bench)?;
    }
    if part("memory") {
        peak::run(&bench)?;
    }
    Ok(())
}

/// What all parts share: the input files.
struct Bench<'a> {
    place: &'a Place,
    runs: usize,
    records: u64,
    files: PathBuf,
}

impl Bench<'_> {
    /// Writes the input of first loads and upserts.
    fn prepare(&self) -> Result<(), String> {
        self.make("segment", "first.ndjson", self.records, &[])?;
        self.make("singer", "first.singer", self.records, &[])?;
        for run in 0..self.runs {
            let (first, step, rev) = (run.to_string(), STEP.to_string(), (run + 2).to_string());
            let options = ["--first", &first, "--step", &step, "--rev", &rev];
            self.make("segment", &changed(run), self.records / STEP, &options)?;
            self.make("singer", &format!("{run}.singer"), self.records / STEP, &options)?;
        }
        Ok(())
    }

    /// Writes a file of records.
    fn make(&self, form: &str, file: &str, count: u64, options: &[&str]) -> Result<(), String> {
        let mut command = Command::new(self.place.example("make_records"));
        command.arg(form).arg(count.to_string()).args(options);
        let to = File::create(self.file(file)).map_err(|error| error.to_string())?;
        let status = command.stdout(to).status().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}")) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.join(name)
    }

    /// Runs the loader on a file; `to` says where it loads into.
    fn load(&self, to: &[&str], file: &str) -> Result<Cost, String> {
        measure(Command::new(self.place.example("load")).args(to).arg(self.file(file)), true)
    }

    /// Runs `bobbin target` on a file of Singer messages.
    fn target(&self, kind: &str, config: &Path, file: &str) -> Result<Cost, String> {
        let mut command = Command::new(self.place.program("bobbin"));
        command.args(["target", kind, "--config"]).arg(config);
        let input = File::open(self.file(file)).map_err(|error| error.to_string())?;
        measure_fed(&mut command, input.into(), true)
    }
}

/// The file of the records that change in a run.
fn changed(run: usize) -> String {
    format!("{run}.ndjson")
}

/// One row of a table: what was measured, run by run.
struct Measured {
    name: String,
    costs: Vec<Cost>,
}

impl Measured {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), costs: Vec::new() }
    }

    fn wall(&self) -> f64 {
        median(self.costs.iter().map(|cost| cost.wall).collect())
    }
}

/// Prints rows as Markdown; the first is what the others are compared with.
fn table(title: &str, records: u64, rows: &[&Measured]) {
    println!("\n{title}\n");
    println!("| | seconds | rows/s | CPU s | peak MiB | ratio |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let Some(floor) = rows.first().map(|row| row.wall()) else { return };
    for row in rows {
        let middle = |of: fn(&Cost) -> f64| median(row.costs.iter().map(of).collect());
        println!(
            "| {} | {:.2} | {:.0} | {:.2} | {:.0} | {:.2} |",
            row.name,
            row.wall(),
            records as f64 / row.wall(),
            middle(|cost| cost.cpu),
            middle(|cost| cost.peak_mib),
            row.wall() / floor
        );
    }
}
