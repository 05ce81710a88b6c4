//! The benchmarks: real programs, side by side in one run, medians and ratios.

mod import;
mod latency;
mod load;
mod logs;
mod memory;
mod pages;
mod process;
mod throughput;

use std::path::PathBuf;
use std::process::Command;

const HELP: &str = "cargo xtask bench [WHAT...] [--records N] [--runs N]

  throughput   records/s into DuckDB beside the floors (default: 100,000 of each stream, 3 runs)
  latency      wall time and calls with rate buckets on and 300 ms latency
  memory       peak memory at 300,000 and at 3 million records
  load         loading beside what PostgreSQL and DuckDB do themselves (default: 300,000 records, 3 runs);
               load-postgres, load-duckdb, load-growth, load-memory: its parts
  import       records pushed with the Import API (--records, --runs)
  ledger       questions to a ledger of a million loads (--records), slots of 10,000 connections
  log-cost     extraction with and without the job's log, in pairs (default: 7; --runs)
  logs         the API of a running service with a million loads (--records) and 10 GB of logs
  pages        pages of 100 connections with a million loads (--records) and 10 GB of logs, in a browser, too
  pages-live   what 200 viewers (--records) of a running job's page cost the service

Without WHAT: throughput, latency, memory.";

/// What was asked for.
pub(crate) struct Plan {
    what: Vec<String>,
    records: Option<u64>,
    runs: Option<usize>,
}

impl Plan {
    /// How often each thing is measured.
    fn runs(&self) -> usize {
        self.runs.unwrap_or(3)
    }
}

/// Where the release programs and scratch files are.
pub(crate) struct Place {
    programs: PathBuf,
    scratch: PathBuf,
}

impl Place {
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    pub(crate) fn example(&self, name: &str) -> PathBuf {
        self.programs.join("examples").join(name)
    }

    /// A fresh directory for one measurement.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.scratch.join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)
            .map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        Ok(path)
    }
}

/// Builds what is measured, then measures.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let plan = parse(arguments)?;
    let place = build()?;
    for what in &plan.what {
        match what.as_str() {
            "throughput" => throughput::run(&plan, &place)?,
            "latency" => latency::run(&place)?,
            "memory" => memory::run(&place)?,
            "load" | "load-postgres" | "load-duckdb" | "load-growth" | "load-memory" => {
                load::run(&plan, &place, what)?;
            }
            "import" => import::run(&plan, &place)?,
            "ledger" => {
                let directory = place.fresh("ledger")?;
                let loads = plan.records.unwrap_or(1_000_000).to_string();
                let status =
                    Command::new(place.example("ledger")).arg(directory).arg(loads).status();
                if !status.is_ok_and(|status| status.success()) {
                    return Err("the ledger could not be measured".to_owned());
                }
            }
            "log-cost" => logs::cost(&plan, &place)?,
            "pages" => pages::asked(&plan, &place)?,
            "pages-live" => pages::live(&plan, &place)?,
            "logs" => logs::questions(&plan, &place)?,
            other => return Err(format!("unknown benchmark {other}\n\n{HELP}")),
        }
    }
    let _ = std::fs::remove_dir_all(&place.scratch);
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Plan, String> {
    let mut plan = Plan { what: Vec::new(), records: None, runs: None };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut number = || {
            arguments
                .next()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| format!("{argument} wants a number\n\n{HELP}"))
        };
        match argument.as_str() {
            "--records" => plan.records = Some(number()?),
            "--runs" => plan.runs = Some(number()? as usize),
            "--help" | "-h" => return Err(HELP.to_owned()),
            what => plan.what.push(what.to_owned()),
        }
    }
    if plan.what.is_empty() {
        plan.what = ["throughput", "latency", "memory"].map(str::to_owned).to_vec();
    }
    Ok(plan)
}

fn build() -> Result<Place, String> {
    let cargo = |arguments: &[&str]| {
        let status = Command::new("cargo").args(arguments).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("cargo {} ended with {status}", arguments.join(" "))),
            Err(error) => Err(format!("cannot run cargo: {error}")),
        }
    };
    // One command, so that features are unified once and nothing is built twice.
    cargo(&[
        "build",
        "--release",
        "--bins",
        "--example",
        "download",
        "--example",
        "floor",
        "--example",
        "duck",
        "--example",
        "load",
        "--example",
        "make_records",
        "--example",
        "ledger",
        "--example",
        "extraction",
        "-p",
        "bobbin-engine",
        "-p",
        "bobbin",
        "-p",
        "tap-kustomer",
        "-p",
        "fake-kustomer",
        "-p",
        "bobbin-duckdb",
    ])?;
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let target = PathBuf::from(metadata["target_directory"].as_str().unwrap_or("target"));
    Ok(Place { programs: target.join("release"), scratch: target.join("bench") })
}
