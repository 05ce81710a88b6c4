//! `bobbin target postgres` under a name of its own, for runners that want a program.

#[path = "../beside.rs"]
mod beside;

fn main() -> std::process::ExitCode {
    beside::target("postgres")
}
