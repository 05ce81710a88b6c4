//! `bobbin status`: the last jobs, and how far each table got.

use std::io::IsTerminal;

use bobbin_core::Result;
use bobbin_engine::ledger::JobRow;
use bobbin_engine::{Outcome, RunReport, TableReport};
use clap::Args;
use serde_json::json;

use super::{Format, Session};
use crate::out::{print, println};
use crate::{exit, print};

/// Show the last jobs and how far each table got
#[derive(Args)]
#[command(after_help = "Example: bobbin status --jobs 3")]
pub(super) struct Status {
    /// The connection, when the file has several
    connection: Option<String>,

    /// How many jobs to list
    #[arg(long, default_value_t = 10, value_name = "N")]
    jobs: u32,
}

impl Status {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        let ledger = config.engine().ledger()?;
        let jobs = ledger.jobs(&connection.id, None, self.jobs.max(1))?;
        if session.format == Format::Json {
            for job in &jobs {
                println!(
                    "{}",
                    json!({ "job": job.id, "started": job.started, "report": job.report })
                );
            }
            return Ok(exit::OK);
        }
        let terminal = std::io::stdout().is_terminal();
        if jobs.is_empty() {
            println!("{}: no job yet. Start one: bobbin run", connection.name);
            return Ok(exit::OK);
        }
        println!("{} into schema {}", connection.name, connection.schema);
        println!("{}", self::jobs(&jobs));
        if let Some(report) = jobs.iter().find_map(|job| job.report.as_ref()) {
            println!("\nThe last finished job:");
            print!("{}", print::summary(report, terminal));
            for notice in &report.notices {
                println!("  {} {notice}", print::paint("note:", print::DIM, terminal));
            }
        }
        Ok(exit::OK)
    }
}

/// Jobs as a table.
pub(super) fn jobs(jobs: &[JobRow]) -> String {
    let lines = jobs.iter().map(|job| {
        let mut line = vec![job.id.to_string(), job.trigger.clone(), format!("{:.0}", job.started)];
        let Some(report) = &job.report else {
            let word = if job.ended { "ended abruptly" } else { "running, or ended abruptly" };
            line.push(word.to_owned());
            return line;
        };
        let sum =
            |pick: fn(&TableReport) -> u64| print::number(report.tables.iter().map(pick).sum());
        line.extend([
            report.outcome.word().to_owned(),
            print::seconds(report.ended.duration_since(report.started).as_secs_f64()),
            sum(|table| table.extracted),
            sum(|table| table.loaded),
            sum(|table| table.rejected),
            print::number(report.calls),
            why(report),
        ]);
        line
    });
    let heading = [
        "job",
        "trigger",
        "started",
        "result",
        "took",
        "extracted",
        "loaded",
        "rejected",
        "calls",
        "why",
    ];
    print::table(&heading, &[4, 5, 6, 7, 8], lines.collect())
}

/// What kept a job from being complete, in a line.
fn why(report: &RunReport) -> String {
    let line = |text: &String| text.lines().next().unwrap_or_default().to_owned();
    match &report.error {
        Some(error) => line(error),
        None if report.outcome == Outcome::Complete => String::new(),
        None => report.notices.first().map(line).unwrap_or_default(),
    }
}
