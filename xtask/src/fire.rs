//! The crash matrix: every named point, every fault, every destination, many seeds.
//!
//! The work is done by a test of the `bobbin` crate, which has the servers, the proxy and the oracle
//! at hand ([`crate::rehearsal`]).

use crate::rehearsal::Rehearsal;

const HELP: &str = "cargo xtask fire [--seeds N] [--first N]

For each crash point, random kills of bobbin and of the server, and each fault of the network:
run, change, run again until complete, and compare with the oracle. Prints a Markdown table and
fails when anything is lost, doubled, stale, invented or altered.

  --seeds N   how many seeds (default 3; each takes about three minutes)
  --first N   the first seed (default 1)";

/// Runs it.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let fire = Rehearsal {
        test: "fire::the_whole_matrix",
        prefix: "BOBBIN_FIRE",
        failed: "the fire was not survived",
        help: HELP,
    };
    fire.run(arguments, [("--seeds", "SEEDS", 3), ("--first", "FIRST", 1)]).map(drop)
}
