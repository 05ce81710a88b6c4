//! The crash matrix: every named point, every fault, every destination, many seeds.
//!
//! The work is done by a test of the `bobbin` crate, which has the servers, the proxy and the oracle
//! at hand; this builds it, runs it and shows its table.

use std::process::Command;

const HELP: &str = "cargo xtask fire [--seeds N] [--first N]

For each crash point, random kills of bobbin and of the server, and each fault of the network:
run, change, run again until complete, and compare with the oracle. Prints a Markdown table and
fails when anything is lost, doubled, stale, invented or altered.

  --seeds N   how many seeds (default 3; each takes about three minutes)
  --first N   the first seed (default 1)";

/// Runs it.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (mut seeds, mut first) = (3_u64, 1_u64);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let number = match argument.as_str() {
            "--seeds" => &mut seeds,
            "--first" => &mut first,
            _ => return Err(HELP.to_owned()),
        };
        let given = arguments.next().and_then(|text| text.parse().ok()).filter(|n| *n > 0);
        *number = given.ok_or_else(|| format!("{argument} wants a number\n\n{HELP}"))?;
    }
    let out = std::env::temp_dir().join(format!("bobbin-fire-{}.md", std::process::id()));
    let output = Command::new("cargo")
        .args(["test", "--quiet", "--package", "bobbin", "--test", "it", "--"])
        .args(["--ignored", "--exact", "fire::the_whole_matrix"])
        .env("BOBBIN_FIRE_SEEDS", seeds.to_string())
        .env("BOBBIN_FIRE_FIRST", first.to_string())
        .env("BOBBIN_FIRE_OUT", &out)
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    let table = std::fs::read_to_string(&out);
    let _ = std::fs::remove_file(&out);
    if let Ok(table) = &table {
        print!("{table}");
    }
    if output.status.success() && table.is_ok() {
        return Ok(());
    }
    Err(format!(
        "the fire was not survived:\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}
