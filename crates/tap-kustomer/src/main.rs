//! `tap-kustomer`: the Kustomer tap as a Singer program.

use std::process::ExitCode;

fn main() -> ExitCode {
    bobbin_singer::program::run(&tap_kustomer::cli::program())
}
