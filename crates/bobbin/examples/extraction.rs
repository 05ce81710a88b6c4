//! How fast a job extracts into its spool when nothing else holds it up, with and without its log.
//!
//! `extraction HOME SETTINGS log|none` runs a job of the Kustomer tap with these settings (JSON) whose
//! destination takes everything and keeps nothing. `none` leaves a job no place for its log. Prints
//! what came, how long it took, and how large the log is.
#![allow(missing_docs, reason = "a measuring aid")]

#[path = "../src/memory.rs"]
mod memory;

use std::error::Error;
use std::fs;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use bobbin_core::Result;
use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Stream;
use bobbin_core::clock::SystemClock;
use bobbin_core::destination::{Destination, Loader, Recovered};
use bobbin_core::id::{ConnectionId, JobId, SchemaName};
use bobbin_core::receipt::Receipt;
use bobbin_core::report::NoLog;
use bobbin_core::segment::Segment;
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::{Check, Context};
use bobbin_engine::ledger::Trigger;
use bobbin_engine::{Engine, RunRequest, job_log};
use tap_kustomer::config::Config;
use tap_kustomer::tap::KustomerTap;

/// Takes everything and keeps nothing.
struct Nowhere;

impl Destination for Nowhere {
    fn name(&self) -> &'static str {
        "nowhere"
    }

    fn check(&self, _: &Context<'_>, _: &SchemaName) -> Result<Check> {
        Ok(Check::default())
    }

    fn open(&self, _: &Context<'_>, _: &SchemaName, _: &JobId) -> Result<Box<dyn Loader>> {
        Ok(Box::new(Self))
    }
}

impl Loader for Nowhere {
    fn recover(&mut self) -> Result<Recovered> {
        Ok(Recovered::default())
    }

    fn load(&mut self, _: &Stream, segment: &Segment, _: &mut dyn BufRead) -> Result<Receipt> {
        let (loaded, rejected) = (segment.records, segment.rejected);
        Ok(Receipt { loaded, rejected, ..Receipt::default() })
    }

    fn commit(&mut self, _: Option<&State>) -> Result<()> {
        Ok(())
    }

    fn rollback(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    memory::give_back();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [home, settings, log] = arguments.as_slice() else {
        return Err("usage: extraction HOME SETTINGS log|none".into());
    };
    let home = Path::new(home);
    fs::create_dir_all(home)?;
    if log == "none" {
        fs::write(home.join("logs"), "")?;
    }
    let mut tap = KustomerTap::new(Config::from_json(&serde_json::from_str(settings)?)?);
    let connection = ConnectionId::from("kustomer");
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    let since = Instant::now();
    let report = Engine::new(home).run(
        cx,
        RunRequest {
            connection: &connection,
            schema: &"kustomer".into(),
            tap: &mut tap,
            destination: &Nowhere,
            selection: &Selection::all(),
            trigger: Trigger::Manual,
            part: None,
        },
    )?;
    let seconds = since.elapsed().as_secs_f64();
    let written = fs::read_to_string(job_log::path(home, &connection, &report.job));
    let written = written.unwrap_or_default();
    let records: u64 = report.tables.iter().map(|table| table.extracted).sum();
    println!(
        "{}",
        serde_json::json!({
            "outcome": report.outcome.word(),
            "error": report.error,
            "records": records,
            "calls": report.calls,
            "seconds": seconds,
            "log_lines": written.lines().count(),
            "log_bytes": written.len(),
        })
    );
    Ok(())
}
