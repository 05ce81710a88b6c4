//! `bobbin audit`: who did what.

use bobbin_core::Result;
use bobbin_engine::ledger::{Act, Ledger};
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::{Format, Session};
use crate::out::{eprintln, println};
use crate::{exit, print};

/// Show who changed what, and who logged in or tried to
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin audit\n",
    "  bobbin audit --limit 1000 --format json\n",
))]
pub(super) struct Audit {
    /// How many, the latest first
    #[arg(long, default_value_t = 30, value_name = "N")]
    limit: u32,
}

impl Audit {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let deeds = session.config()?.engine().ledger()?.deeds(None, self.limit)?;
        if session.format == Format::Json {
            for deed in deeds {
                println!("{}", json!(deed));
            }
            return Ok(exit::OK);
        }
        if deeds.is_empty() {
            println!("nothing was changed yet, nobody logged in");
            return Ok(exit::OK);
        }
        let lines = deeds.into_iter().map(|deed| {
            vec![
                format!("{:.0}", deed.at),
                format!("{} {}", deed.act.kind, deed.act.name),
                format!("{} {}", deed.act.method, deed.act.path),
                deed.act.status.map_or_else(String::new, |status| status.to_string()),
                deed.act.address.unwrap_or_default(),
            ]
        });
        let heading = ["when", "who", "what", "answer", "from"];
        println!("{}", print::table(&heading, &[], lines.collect()));
        Ok(exit::OK)
    }
}

/// Writes down what was done on the command line. That it cannot be is told, and fails nothing.
pub(super) fn note(ledger: &dyn Ledger, words: &str) {
    let act = Act {
        kind: "cli".to_owned(),
        name: format!("uid {}", rustix::process::getuid().as_raw()),
        method: "bobbin".to_owned(),
        path: words.to_owned(),
        status: None,
        address: None,
    };
    if let Err(error) = ledger.write_down(&act, Timestamp::now()) {
        eprintln!("warning: {}", error.report().replace('\n', "\n  "));
    }
}
