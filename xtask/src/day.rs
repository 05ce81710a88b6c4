//! A day of the service in simulated time: twenty connections, restarts, kills, dead destinations.
//!
//! The work is done by a test of the `bobbin` crate ([`crate::rehearsal`]); its table goes into DAY.md.

use std::path::Path;

use crate::rehearsal::Rehearsal;

const HELP: &str = "cargo xtask day [--speed N] [--minutes N]

Runs the real `bobbin serve` through 24 hours of simulated time and accounts for every slot, job and
row. Prints a Markdown table and, after a whole day, puts it into DAY.md in place of the last one. Fails
when anything is wrong.

  --speed N     how many times as fast as life (default 240: six minutes)
  --minutes N   how much of the day (default 1440)";

/// What follows is written anew.
const MARK: &str = "<!-- The last run: -->";

/// Minutes of a whole day.
const DAY: u64 = 1440;

/// Runs it.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let day = Rehearsal {
        test: "day::twenty_four_hours",
        prefix: "BOBBIN_DAY",
        failed: "the day went wrong",
        help: HELP,
    };
    let numbers = [("--speed", "SPEED", 240), ("--minutes", "MINUTES", DAY)];
    let (table, [_, minutes]) = day.run(arguments, numbers)?;
    if minutes == DAY { write(&table) } else { Ok(()) }
}

fn write(table: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("DAY.md");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    let (before, _) = text.split_once(MARK).ok_or("DAY.md has no place for the table")?;
    std::fs::write(&path, format!("{before}{MARK}\n\n{table}")).map_err(failed)
}
