//! `bobbin notices`: what somebody should know, until it is over.

use bobbin_core::{Error, Result};
use bobbin_engine::ledger::Notice;
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::{Format, Session};
use crate::out::println;
use crate::{exit, print};

/// Show what needs somebody's attention, until it is over or dismissed
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin notices\n",
    "  bobbin notices --all                 also those that are over\n",
    "  bobbin notices --dismiss 12          nobody is told of it until it is over and comes again\n",
    "\n",
    "Who is told stands in the file, [notify.NAME], or is set up through the API, /api/v1/channels.",
))]
pub(super) struct Notices {
    /// Also those that are over or dismissed
    #[arg(long)]
    all: bool,

    /// How many
    #[arg(long, default_value_t = 50, value_name = "N")]
    last: u32,

    /// Dismiss this one
    #[arg(long, value_name = "NUMBER", conflicts_with = "all")]
    dismiss: Option<i64>,
}

impl Notices {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let ledger = session.config()?.engine().ledger()?;
        if let Some(number) = self.dismiss {
            if !ledger.dismiss(number, Timestamp::now())? {
                return Err(Error::config(format!("there is no notice {number}"))
                    .hint("`bobbin notices --all` lists them"));
            }
            println!("dismissed {number}");
            return Ok(exit::OK);
        }
        let notices = ledger.notices(self.all, self.last.clamp(1, 1000))?;
        if session.format == Format::Json {
            for notice in notices {
                println!("{}", json!(notice));
            }
            return Ok(exit::OK);
        }
        if notices.is_empty() {
            println!("nothing needs attention");
            return Ok(exit::OK);
        }
        let line = |notice: &Notice| {
            let state = match (notice.recovered_at, notice.dismissed_at) {
                (Some(at), _) => format!("over since {at:.0}"),
                (None, Some(_)) => "dismissed".to_owned(),
                (None, None) => notice.level.to_owned(),
            };
            vec![
                notice.id.to_string(),
                notice.connection.to_string(),
                notice.kind.word().to_owned(),
                state,
                format!("{:.0}", notice.raised_at),
                print::number(notice.times.into()),
                notice.message.clone(),
            ]
        };
        let heading = ["number", "connection", "kind", "state", "since", "seen", "what"];
        println!("{}", print::table(&heading, &[5], notices.iter().map(line).collect()));
        for notice in notices.iter().filter(|notice| notice.recovered_at.is_none()) {
            if let Some(detail) = &notice.detail {
                println!("{}: {}", notice.id, detail.replace('\n', "\n  "));
            }
        }
        Ok(exit::OK)
    }
}
