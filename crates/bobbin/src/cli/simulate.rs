//! `bobbin simulate`: the pretend Kustomer.

use bobbin_core::{Error, Result};
use clap::Args;

use super::Session;
use crate::exit;

/// Start a simulated Kustomer to try things on
#[derive(Args)]
pub(super) struct Simulate {
    #[command(flatten)]
    simulate: fake_kustomer::SimulateArgs,
}

impl Simulate {
    pub(super) fn run(&self, _session: &Session) -> Result<u8> {
        self.simulate
            .clone()
            .run()
            .map_err(|error| Error::config("the simulator cannot start").caused_by(error))?;
        Ok(exit::OK)
    }
}
