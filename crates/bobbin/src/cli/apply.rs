//! `bobbin apply`: the running service goes on as the file says now.

use std::path::Path;

use bobbin_core::{Error, Result};
use bobbin_server::{Change, Difference};
use clap::Args;
use serde_json::{Value, json};

use super::{Format, Session};
use crate::exit;
use crate::out::println;
use crate::remote::Remote;

/// Let the running service go on as the file says now
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin apply --dry-run      what is different; change nothing\n",
    "  bobbin apply\n",
    "\n",
    "What runs is left alone: a job goes on as it began, the next one is as the file says. A file that is\n",
    "wrong changes nothing.",
))]
pub(super) struct Apply {
    /// Show what is different; change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Apply {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let remote = Remote::need(&config.home)?;
        let mut answer = remote.ask("GET", "/api/v1/apply")?;
        let meant = std::path::absolute(&config.path).unwrap_or_else(|_| config.path.clone());
        if answer["file"].as_str().is_some_and(|file| Path::new(file) != meant) {
            return Err(Error::config("the service runs by another file")
                .with("file", answer["file"].as_str().unwrap_or_default())
                .with("given", meant.display())
                .hint("name that one with --config, or start the service with this one"));
        }
        if !self.dry_run {
            answer = remote.ask("POST", "/api/v1/apply")?;
        }
        let settings: Vec<&str> =
            answer["settings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let differences: Vec<Difference> =
            serde_json::from_value(answer["data"].clone()).map_err(|error| {
                Error::bug("the service's answer is not understood").caused_by(error)
            })?;
        if session.format == Format::Json {
            for difference in differences {
                println!("{}", json!(difference));
            }
            for setting in settings {
                println!("{}", json!({ "setting": setting, "change": "changed" }));
            }
            return Ok(exit::OK);
        }
        if differences.is_empty() && settings.is_empty() {
            println!("the service runs as the file says");
        }
        for difference in &differences {
            println!("{}", line(difference));
        }
        if !settings.is_empty() {
            println!("~ for all connections: {}", settings.join(", "));
        }
        if self.dry_run && !(differences.is_empty() && settings.is_empty()) {
            println!("nothing was changed; bobbin apply makes it so");
        }
        Ok(exit::OK)
    }
}

fn line(difference: &Difference) -> String {
    let name = &difference.connection;
    match difference.change {
        Change::Added => format!("+ {name}"),
        Change::Removed => format!("- {name} (its tables stay)"),
        Change::Changed => format!("~ {name}: {}", difference.parts.join(", ")),
    }
}
