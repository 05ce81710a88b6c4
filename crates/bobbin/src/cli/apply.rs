//! `bobbin apply`: the running service goes on as the file says now.

use std::path::Path;

use bobbin_core::{Error, Result};
use bobbin_server::{Change, Difference};
use clap::Args;
use serde::Deserialize;
use serde_json::json;

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
        let mut compared = Compared::ask(&remote, "GET")?;
        let meant = std::path::absolute(&config.path).unwrap_or_else(|_| config.path.clone());
        if Path::new(&compared.file) != meant {
            return Err(Error::config("the service runs by another file")
                .with("file", compared.file)
                .with("given", meant.display())
                .hint("name that one with --config, or start the service with this one"));
        }
        if !self.dry_run {
            compared = Compared::ask(&remote, "POST")?;
        }
        if session.format == Format::Json {
            for difference in compared.data {
                println!("{}", json!(difference));
            }
            for setting in compared.settings {
                println!("{}", json!({ "setting": setting, "change": "changed" }));
            }
            return Ok(exit::OK);
        }
        let lines = compared.lines();
        if lines.is_empty() {
            println!("the service runs as the file says");
        }
        for line in &lines {
            println!("{line}");
        }
        if self.dry_run && !lines.is_empty() {
            println!("nothing was changed; bobbin apply makes it so");
        }
        Ok(exit::OK)
    }
}

/// How the file differs from what the service runs.
#[derive(Deserialize)]
pub(super) struct Compared {
    data: Vec<Difference>,
    settings: Vec<String>,
    file: String,
}

impl Compared {
    /// Asks a running service; `POST` also lets it go on as the file says.
    pub(super) fn ask(remote: &Remote, method: &str) -> Result<Self> {
        let answer = remote.ask(method, "/api/v1/apply")?;
        serde_json::from_value(answer)
            .map_err(|error| Error::bug("the service's answer is not understood").caused_by(error))
    }

    /// A line for each.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.data.iter().map(line).collect();
        if !self.settings.is_empty() {
            lines.push(format!("~ for all connections: {}", self.settings.join(", ")));
        }
        lines
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
