//! `bobbin backfill`: a part of a table, read again.

use std::io::IsTerminal;
use std::sync::Arc;

use bobbin_core::Result;
use bobbin_core::id::StreamName;
use bobbin_engine::ledger::Trigger;
use clap::Args;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Format, Session, Stop};
use crate::job::{self, Backfill as Part};
use crate::out::{print, println};
use crate::progress::Progress;
use crate::{exit, print};

/// Read records again that changed in a part of time; bookmarks stay where they are
#[derive(Args)]
#[command(after_help = concat!(
    "Example: bobbin backfill --table notes --from 2026-03-01 --until 2026-04-01\n",
    "\n",
    "Rows are overwritten by key where the source has a newer version, and added where there were none; with\n",
    "load_mode = \"append\" all that is read is added. A\n",
    "date is its first instant in UTC; 2026-03-01T06:00:00Z is more exact.",
))]
pub(super) struct Backfill {
    /// The connection, when there are several
    connection: Option<String>,

    /// The table; may be given more than once
    #[arg(long = "table", value_name = "NAME", required = true)]
    tables: Vec<String>,

    /// The first instant of change to read
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Timestamp,

    /// The first instant not to read
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Timestamp,
}

/// An instant, or a date's first one in UTC.
pub(super) fn instant(text: &str) -> std::result::Result<Timestamp, String> {
    let date = |text: &str| TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    text.parse()
        .ok()
        .or_else(|| date(text))
        .ok_or_else(|| "write 2026-03-01 or 2026-03-01T06:00:00Z".to_owned())
}

impl Backfill {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        let tables = self.tables.iter().map(|table| StreamName::from(table.as_str())).collect();
        let part = Part::new(tables, self.from, self.until)?;
        let stop = Stop::on_signals();
        let progress = Arc::new(Progress::new(session.format, true));
        let how = (Trigger::Manual, Some(&part));
        let report = job::run(connection, &config.engine(), how, &stop.cancel, &progress);
        progress.finish();
        let report = report?;
        match session.format {
            Format::Json => println!("{}", json!({ "event": "report", "report": report })),
            Format::Text => print!("{}", print::summary(&report, std::io::stdout().is_terminal())),
        }
        Ok(exit::of_run(&report, stop.was_terminated()))
    }
}
