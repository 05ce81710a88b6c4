//! `bobbin init`: a file to fill in.

use std::fs::File;
use std::io::Write;

use bobbin_core::{Error, Result};
use clap::Args;

use super::Session;
use crate::exit;
use crate::out::{print, println};

/// Write a configuration file to fill in
#[derive(Args)]
#[command(after_help = "Example: bobbin init && export KUSTOMER_API_TOKEN=… && bobbin check")]
pub(super) struct Init {
    /// Print the file instead of writing it
    #[arg(long)]
    print: bool,
}

const FILE: &str = include_str!("init.toml");

impl Init {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        if self.print {
            print!("{FILE}");
            return Ok(exit::OK);
        }
        let path = &session.config;
        let mut file = File::create_new(path).map_err(|error| {
            let there = error.kind() == std::io::ErrorKind::AlreadyExists;
            let error = Error::config("cannot write the configuration file")
                .with("path", path.display())
                .caused_by(error);
            if there {
                error.hint("it is left as it is; `bobbin init --print` shows a fresh one")
            } else {
                error
            }
        })?;
        file.write_all(FILE.as_bytes()).map_err(|error| {
            Error::io("cannot write the configuration file", error).with("path", path.display())
        })?;
        println!("wrote {}\n", path.display());
        println!("Next:");
        println!(
            "  1. make an API key in Kustomer: Settings > Security > API Keys, with the roles"
        );
        println!(
            "     the file names, and put it into the environment: export KUSTOMER_API_TOKEN=…"
        );
        println!("  2. bobbin check    tries the key and the destination");
        println!("  3. bobbin run      replicates");
        Ok(exit::OK)
    }
}
