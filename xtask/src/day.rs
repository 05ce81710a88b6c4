//! A day of the service in simulated time: twenty connections, restarts, kills, dead destinations.
//!
//! The work is done by a test of the `bobbin` crate; this builds it, runs it and writes its table into
//! DAY.md.

use std::path::Path;
use std::process::Command;

const HELP: &str = "cargo xtask day [--speed N] [--minutes N]

Runs the real `bobbin serve` through 24 hours of simulated time and accounts for every slot, job and
row. Prints a Markdown table and, after a whole day, puts it into DAY.md in place of the last one. Fails
when anything is wrong.

  --speed N     how many times as fast as life (default 240: six minutes)
  --minutes N   how much of the day (default 1440)";

/// What follows is written anew.
const MARK: &str = "<!-- The last run: -->";

/// Runs it.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (mut speed, mut minutes) = (240_u32, 1440_u32);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let number = match argument.as_str() {
            "--speed" => &mut speed,
            "--minutes" => &mut minutes,
            _ => return Err(HELP.to_owned()),
        };
        let given = arguments.next().and_then(|text| text.parse().ok()).filter(|n| *n > 0);
        *number = given.ok_or_else(|| format!("{argument} wants a number\n\n{HELP}"))?;
    }
    let out = std::env::temp_dir().join(format!("bobbin-day-{}.md", std::process::id()));
    let output = Command::new("cargo")
        .args(["test", "--quiet", "--package", "bobbin", "--test", "it", "--"])
        .args(["--ignored", "--exact", "day::twenty_four_hours"])
        .env("BOBBIN_DAY_SPEED", speed.to_string())
        .env("BOBBIN_DAY_MINUTES", minutes.to_string())
        .env("BOBBIN_DAY_OUT", &out)
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    let table = std::fs::read_to_string(&out);
    let _ = std::fs::remove_file(&out);
    if let Ok(table) = &table {
        print!("{table}");
    }
    match table {
        Ok(table) if output.status.success() => {
            if minutes == 1440 {
                write(&table)?;
            }
            Ok(())
        }
        _ => Err(format!(
            "the day went wrong:\n{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

fn write(table: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("DAY.md");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    let (before, _) = text.split_once(MARK).ok_or("DAY.md has no place for the table")?;
    std::fs::write(&path, format!("{before}{MARK}\n\n{table}")).map_err(failed)
}
