//! `bobbin jobs`: the last jobs, of one connection or of all.

use bobbin_core::Result;
use clap::Args;
use serde_json::json;

use super::{Format, Session, status};
use crate::exit;
use crate::out::println;

/// List the last jobs
#[derive(Args)]
#[command(
    after_help = "Example: bobbin jobs --last 50; what happened in one: bobbin logs --job JOB"
)]
pub(super) struct Jobs {
    /// The connection; every one unless given
    connection: Option<String>,

    /// How many of each
    #[arg(long, default_value_t = 10, value_name = "N")]
    last: u32,
}

impl Jobs {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let ledger = config.engine().ledger()?;
        let connections = match &self.connection {
            Some(name) => vec![config.connection(Some(name))?],
            None => config.connections.values().collect(),
        };
        let last = self.last.clamp(1, 1000);
        for connection in connections {
            let jobs = ledger.jobs(&connection.id, None, last)?;
            if session.format == Format::Json {
                for job in jobs {
                    println!(
                        "{}",
                        json!({
                            "connection": connection.name,
                            "job": job.id,
                            "trigger": job.trigger,
                            "status": job.status(),
                            "started": job.started,
                            "report": job.report,
                        })
                    );
                }
                continue;
            }
            println!("{} into schema {}", connection.name, connection.schema);
            if jobs.is_empty() {
                println!("no job yet. Start one: bobbin run {}", connection.name);
            } else {
                println!("{}", status::jobs(&jobs));
            }
        }
        Ok(exit::OK)
    }
}
