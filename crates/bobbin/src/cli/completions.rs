//! `bobbin completions`.

use bobbin_core::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::exit;

/// Print a completion script for a shell
#[derive(Args)]
#[command(after_help = "Example: bobbin completions bash > /etc/bash_completion.d/bobbin")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> Result<u8> {
        let mut command = super::Arguments::command();
        clap_complete::generate(self.shell, &mut command, "bobbin", &mut std::io::stdout());
        Ok(exit::OK)
    }
}
