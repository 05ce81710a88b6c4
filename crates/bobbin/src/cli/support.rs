//! `bobbin support`: a file for whoever helps.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use bobbin_core::{Error, Result};
use clap::Args;
use serde_json::json;

use super::{Format, Session};
use crate::out::println;
use crate::{exit, support, time};

/// Write a file for whoever helps: versions, settings, jobs and logs, without secrets and records
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin support\n",
    "  bobbin support --out bundle.tar.gz --jobs 100\n",
    "\n",
    "No token, password, key or address of a hook is in it, and nothing of a record; names of tables,\n",
    "columns, connections and hosts are. README.txt in it says what each file tells.",
))]
pub(super) struct Support {
    /// Where to; there must be none yet. Default: bobbin-support-TIME.tar.gz here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// How many jobs of each connection
    #[arg(long, default_value_t = support::JOBS, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    jobs: u32,
}

impl Support {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let (config, now) = (session.config()?, time::now());
        let bundle = support::bundle(&config, self.jobs, now)?;
        let path = self
            .out
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("{}.tar.gz", support::name(now))));
        let written = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(&bundle));
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::config("the file is there already")
                .with("path", path.display())
                .hint("name one that is not: --out FILE"),
            _ => Error::io("cannot write the support bundle", error).with("path", path.display()),
        })?;
        match session.format {
            Format::Json => {
                println!("{}", json!({ "file": path, "size_bytes": bundle.len() }));
            }
            Format::Text => println!(
                "{} ({} bytes): no secret and no record is in it; look before you give it away",
                path.display(),
                bundle.len()
            ),
        }
        Ok(exit::OK)
    }
}
