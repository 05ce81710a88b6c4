//! The command line, shared by `fake-kustomer` and `bobbin simulate`.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, Token};
use crate::fault::{Fault, FaultRule};
use crate::mutation::{Activity, Mutation, Pick};
use crate::simulator::{Running, Simulator};

/// Serves a pretend Kustomer organisation of any size.
///
/// Data is generated from the seed as it is asked for: a large organisation starts as fast as a
/// small one and needs no more memory.
#[derive(Args, Clone, Debug, Default)]
pub struct SimulateArgs {
    /// A JSON file with everything; options given here win over it
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Port to listen on [default: 8080]
    #[arg(long)]
    pub port: Option<u16>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<String>,
    /// Decides all data and all chance
    #[arg(long)]
    pub seed: Option<u64>,
    /// The token that may read everything [default: sim-token]
    #[arg(long)]
    pub token: Option<String>,
    /// How many customers
    #[arg(long, value_name = "N")]
    pub customers: Option<u64>,
    /// How many conversations
    #[arg(long, value_name = "N")]
    pub conversations: Option<u64>,
    /// How many messages
    #[arg(long, value_name = "N")]
    pub messages: Option<u64>,
    /// How many notes
    #[arg(long, value_name = "N")]
    pub notes: Option<u64>,
    /// How many custom objects
    #[arg(long, value_name = "N")]
    pub kobjects: Option<u64>,
    /// How many days of past the data covers
    #[arg(long, value_name = "DAYS")]
    pub history_days: Option<u32>,
    /// Let the organisation grow with the clock
    #[arg(long)]
    pub live: bool,
    /// Records changed per simulated minute, of each large stream
    #[arg(long, value_name = "N")]
    pub updates_per_minute: Option<f64>,
    /// Simulated seconds per real second
    #[arg(long, value_name = "FACTOR")]
    pub clock_factor: Option<f64>,
    /// Time every answer takes at least
    #[arg(long, value_name = "MS")]
    pub latency_ms: Option<u64>,
    /// Multiplies the request budgets of 1000, and 100 searches, per minute; 0 lifts them
    #[arg(long, value_name = "FACTOR")]
    pub rate_factor: Option<f64>,
    /// Chance that a request meets a fault a client should outlive
    #[arg(long, value_name = "CHANCE")]
    pub fault_rate: Option<f64>,
    /// Longest time until search shows a change
    #[arg(long, value_name = "MS")]
    pub max_lag_ms: Option<u64>,
}

impl SimulateArgs {
    /// The configuration these options mean.
    pub fn to_config(&self) -> Result<Config, String> {
        let mut config = match &self.scenario {
            None => Config { port: 8080, ..Config::default() },
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                Config::from_json(&text)?
            }
        };
        let counts = [
            ("customer", self.customers),
            ("conversation", self.conversations),
            ("message", self.messages),
            ("note", self.notes),
            ("kobject", self.kobjects),
        ];
        for (stream, count) in counts {
            if let Some(count) = count {
                config.counts.insert(stream.to_owned(), count);
            }
        }
        config.port = self.port.unwrap_or(config.port);
        config.seed = self.seed.unwrap_or(config.seed);
        config.bind = self.bind.clone().unwrap_or(config.bind);
        config.history_days = self.history_days.unwrap_or(config.history_days);
        config.live |= self.live;
        config.clock.factor = self.clock_factor.unwrap_or(config.clock.factor);
        config.latency_ms = self.latency_ms.unwrap_or(config.latency_ms);
        config.rate.factor = self.rate_factor.unwrap_or(config.rate.factor);
        config.search.max_lag_ms = self.max_lag_ms.unwrap_or(config.search.max_lag_ms);
        if let Some(token) = &self.token {
            config.tokens = vec![Token::all_roles(token)];
        }
        if let Some(chance) = self.fault_rate {
            config.faults.push(FaultRule::random(chance, config.seed, Fault::transient()));
        }
        if let Some(per_minute) = self.updates_per_minute {
            for stream in ["customer", "conversation", "message", "note"] {
                let mutation = Mutation::update(stream, Pick::Random(1));
                config.activity.push(Activity { per_minute, mutation });
            }
        }
        Ok(config)
    }

    /// Starts the server these options mean, says where it is, and serves until stopped.
    pub fn run(&self) -> Result<(), String> {
        let config = self.to_config()?;
        let running = Simulator::start(config).map_err(|error| error.to_string())?;
        println!("{}", greeting(&running));
        running.wait();
        Ok(())
    }
}

/// What a user needs to know first.
fn greeting(running: &Running) -> String {
    let config = running.config();
    let url = running.url();
    let token = running.token();
    let rate = if config.rate.factor > 0.0 {
        let searches = config.rate.search_per_minute as f64 * config.rate.factor;
        format!("{searches} searches a minute (lift with --rate-factor 0)")
    } else {
        "no request budgets".to_owned()
    };
    format!(
        "A pretend Kustomer organisation is listening.\n\n  \
         URL    {url}\n  token  {token}\n  seed   {}, {rate}\n\n\
         Try:\n  curl -s -H 'Authorization: Bearer {token}' {url}/v1/users?pageSize=1\n  \
         curl -s -H 'Authorization: Bearer {token}' -d '{{\"queryContext\":\"conversation\"}}' \
         '{url}/v1/customers/search?pageSize=1'\n  \
         curl -s {url}/_sim/oracle/conversation/summary\n\n\
         Stop with Ctrl-C.",
        config.seed
    )
}
