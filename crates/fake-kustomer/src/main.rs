//! The program `fake-kustomer`.

use std::process::ExitCode;

use clap::Parser;
use fake_kustomer::SimulateArgs;

#[derive(Parser)]
#[command(name = "fake-kustomer", version)]
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
