//! `bobbin run`: one job.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use bobbin_core::{Error, Result};
use bobbin_engine::ledger::Trigger;
use bobbin_engine::{Outcome, RunReport};
use clap::Args;
use serde_json::json;

use super::{Format, Session, Stop};
use crate::config::Config;
use crate::out::{eprintln, print, println};
use crate::progress::Progress;
use crate::time::Wall;
use crate::{exit, job, print};

/// Replicate once
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin run\n",
    "  bobbin run --format json > run.jsonl     events, then the report, one object a line\n",
    "  bobbin run --verbose                     every window and call as a line\n",
))]
pub(super) struct Run {
    /// The connection, when the file has several
    connection: Option<String>,

    /// Show every window, call and table change as a line
    #[arg(long, short)]
    verbose: bool,
}

impl Run {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        let progress = Arc::new(Progress::new(session.format, self.verbose));
        let stop = Stop::on_signals();
        let report = job::run(
            connection,
            &config.engine(),
            (Trigger::Manual, None),
            &stop.cancel,
            &progress,
        );
        progress.finish();
        if let Ok(report) = &report {
            tell(&config, &stop, report);
        }
        let report = report?;
        match session.format {
            Format::Text => {
                print!("{}", print::summary(&report, std::io::stdout().is_terminal()));
            }
            Format::Json => println!("{}", json!({ "event": "report", "report": report })),
        }
        Ok(exit::of_run(&report, stop.was_terminated()))
    }
}

/// How long a run waits at its end for those who are to be told; the next one goes on with them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whom the file names is told, also where no service runs.
fn tell(config: &Config, stop: &Stop, report: &RunReport) {
    let warn = |error: &Error| eprintln!("warning: {}", error.report());
    if report.outcome == Outcome::Interrupted {
        return;
    }
    match config.notifier() {
        Ok(notifier) => notifier.finish(&Wall, &stop.cancel, &warn, PATIENCE),
        Err(error) => warn(&error),
    }
}
