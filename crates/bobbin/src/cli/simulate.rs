//! `bobbin simulate`: the pretend Kustomer.

use bobbin_core::{Error, Result};
use clap::Args;

use super::Session;
use crate::exit;

/// Start a simulated Kustomer to try things on
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin simulate --port 8080 --conversations 100000\n",
    "  bobbin simulate --live --clock-factor 60 --updates-per-minute 120\n",
    "  bobbin simulate --fault-rate 0.05 --seed 42\n",
    "  curl -s -H 'Authorization: Bearer sim-token' http://127.0.0.1:8080/v1/users\n",
    "  curl -s http://127.0.0.1:8080/_sim/oracle/conversation/summary\n\n",
    "In bobbin.toml: api_url = \"http://127.0.0.1:8080\", with the token in KUSTOMER_API_TOKEN."
))]
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
