//! The program `fake-kustomer`.

use std::process::ExitCode;

use clap::Parser;
use fake_kustomer::SimulateArgs;

const EXAMPLES: &str = "\
Examples:
  fake-kustomer
  fake-kustomer --port 8080 --conversations 2000000 --messages 8000000
  fake-kustomer --live --clock-factor 60 --updates-per-minute 120
  fake-kustomer --fault-rate 0.05 --seed 42
  fake-kustomer --scenario org.json
  curl -s -H 'Authorization: Bearer sim-token' http://127.0.0.1:8080/v1/users
  curl -s http://127.0.0.1:8080/_sim/oracle/conversation/summary";

#[derive(Parser)]
#[command(name = "fake-kustomer", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(flatten)]
    simulate: SimulateArgs,
}

fn main() -> ExitCode {
    match Arguments::parse().simulate.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
