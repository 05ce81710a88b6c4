//! bobbin: replicates a company's Kustomer data into its warehouse.
//!
//! This crate is the program: it says what was asked (`cli`), what the file means (`config`),
//! which taps and destinations there are (`registry`), and how things look to a person or a
//! program (`print`, `progress`).

mod cli;
mod config;
mod exit;
mod job;
mod memory;
mod out;
mod print;
mod progress;
mod registry;
mod remote;
mod served;
mod support;
mod time;
#[cfg(feature = "otel")]
mod trace;
mod verify;

use std::process::ExitCode;

use bobbin_singer::process::leash;
use clap::Parser;

use crate::out::eprintln;

fn main() -> ExitCode {
    memory::give_back();
    if std::env::args_os().nth(1).is_some_and(|word| word == leash::WORD) {
        // A child of ours on its way to becoming a foreign program.
        eprintln!("CRITICAL {}", leash::hold(std::env::args_os().skip(2)));
        return ExitCode::from(exit::BUG);
    }
    if let Ok(order) = std::env::var("BOBBIN_CRASH_AT")
        && !bobbin_core::crash::arm(&order)
    {
        eprintln!(
            "error: BOBBIN_CRASH_AT names no crash point; there are: {}",
            bobbin_core::crash::POINTS.join(", ")
        );
        return ExitCode::from(exit::CONFIG);
    }
    if cfg!(debug_assertions)
        && let Ok(order) = std::env::var("BOBBIN_TEST_CLOCK")
        && !time::rehearse(&order)
    {
        eprintln!("error: BOBBIN_TEST_CLOCK is not `SHOWN AT FACTOR`: two instants and a number");
        return ExitCode::from(exit::CONFIG);
    }
    let arguments = cli::Arguments::parse();
    let ended = cli::run(arguments);
    #[cfg(feature = "otel")]
    trace::finish();
    match ended {
        Ok(code) => match out::failure() {
            None => ExitCode::from(code),
            Some(error) => {
                print::error(&error);
                ExitCode::from(exit::LOCAL)
            }
        },
        Err(error) => {
            print::error(&error);
            ExitCode::from(exit::status(error.kind(), error.party()))
        }
    }
}
