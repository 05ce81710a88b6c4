//! `bobbin logs`: what happened in a job.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use bobbin_core::id::{ConnectionId, JobId};
use bobbin_core::{Error, Result};
use bobbin_engine::{Engine, job_log};
use clap::Args;
use serde_json::json;

use super::{Format, Session, Stop};
use crate::exit;
use crate::out::println;

/// Show what happened in a job, line by line
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin logs                            the latest job\n",
    "  bobbin logs --follow                   the running one, as it goes on\n",
    "  bobbin logs --list\n",
    "  bobbin logs --job 20260501T060000.000000Z --search conversations\n",
    "  bobbin logs --format json > job.jsonl\n",
    "\n",
    "Lines have Stitch's form: time, main, tap or target, level, message."
))]
pub(super) struct Logs {
    /// The connection, when the file has several
    connection: Option<String>,

    /// Which job; the latest unless given
    #[arg(long, value_name = "JOB")]
    job: Option<String>,

    /// List the jobs that have a log
    #[arg(long, conflicts_with_all = ["job", "follow", "search"])]
    list: bool,

    /// Go on until the job has ended
    #[arg(long, short)]
    follow: bool,

    /// Only lines that hold this text
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,

    /// Also lines of level DEBUG: every call, every segment
    #[arg(long, short)]
    verbose: bool,
}

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);

impl Logs {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        let jobs = job_log::jobs(&config.home, &connection.id)?;
        if self.list {
            for job in jobs {
                match session.format {
                    Format::Text => println!("{job}"),
                    Format::Json => println!("{}", json!({ "job": job })),
                }
            }
            return Ok(exit::OK);
        }
        let job = match &self.job {
            Some(job) => JobId::from(job.as_str()),
            None => jobs.first().cloned().ok_or_else(|| {
                Error::config(format!("{} has no log yet", connection.name))
                    .hint("run a job: bobbin run")
            })?,
        };
        self.show(session, &config.home, &connection.id, &job)
    }

    fn show(
        &self,
        session: &Session,
        home: &Path,
        connection: &ConnectionId,
        job: &JobId,
    ) -> Result<u8> {
        let stop = Stop::on_signals();
        let mut log = BufReader::new(job_log::open(home, connection, job)?);
        let mut text = String::new();
        let mut over = !self.follow;
        loop {
            let read = log
                .read_line(&mut text)
                .map_err(|error| Error::io("cannot read the job's log", error))?;
            if text.ends_with('\n') {
                self.print(session.format, text.trim_end());
                text.clear();
            } else if read == 0 {
                // A line that is not whole is still being written, or never will be.
                if over || stop.cancel.sleep(LOOK).is_err() {
                    return Ok(exit::OK);
                }
                // Whatever was written until then is read once more.
                over = ended(home, connection, job)?;
            }
        }
    }

    fn print(&self, format: Format, text: &str) {
        let Some(line) = job_log::line(text) else { return };
        let debug = line.contains(" - DEBUG ");
        let hidden = debug && !self.verbose && format == Format::Text;
        if hidden || self.search.as_ref().is_some_and(|wanted| !line.contains(wanted)) {
            return;
        }
        match format {
            Format::Text => println!("{line}"),
            Format::Json => println!("{text}"),
        }
    }
}

/// Whether nothing more can come.
fn ended(home: &Path, connection: &ConnectionId, job: &JobId) -> Result<bool> {
    let jobs = Engine::new(home).ledger()?.jobs(connection, None, 1000)?;
    Ok(jobs.iter().find(|row| row.id == *job).is_none_or(|row| row.ended))
}
