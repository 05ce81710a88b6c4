//! Chores of the repository: `cargo xtask check`, `bench`, `fire` and `day`.

mod bench;
mod check;
mod day;
mod fire;
mod rehearsal;

use std::process::ExitCode;

const HELP: &str =
    "cargo xtask check            the picture of the crates, long files, missing READMEs
cargo xtask bench [ARGS]     the benchmarks; `cargo xtask bench --help` for more
cargo xtask fire [ARGS]      the crash matrix; `cargo xtask fire --help` for more
cargo xtask day [ARGS]       a day of the service in minutes; `cargo xtask day --help` for more";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("check") => check::run(),
        Some("bench") => bench::run(&arguments[1..]),
        Some("fire") => fire::run(&arguments[1..]),
        Some("day") => day::run(&arguments[1..]),
        _ => Err(HELP.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
