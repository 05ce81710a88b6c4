//! Exit statuses. Documented in `bobbin help` and the README; a script may rely on them.

use bobbin_core::{ErrorKind, Party};
use bobbin_engine::{Outcome, RunReport};

/// Everything asked for was done; a run is complete.
pub(crate) const OK: u8 = 0;
/// A fault in bobbin itself.
pub(crate) const BUG: u8 = 1;
/// The command line, the file or a setting is wrong.
pub(crate) const CONFIG: u8 = 2;
/// The run ended in order but something is missing, and is named.
pub(crate) const INCOMPLETE: u8 = 3;
/// Kustomer does not accept the key, or the key may not read something.
pub(crate) const AUTH: u8 = 4;
/// The source cannot be reached or answers wrongly.
pub(crate) const SOURCE: u8 = 5;
/// The destination cannot be opened or written.
pub(crate) const DESTINATION: u8 = 6;
/// A file or directory of this machine, or a full disk.
pub(crate) const LOCAL: u8 = 7;
/// Another job, or another program, holds what is needed.
pub(crate) const BUSY: u8 = 8;
/// Stopped by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// The table in `bobbin help`.
pub(crate) const HELP: &str = "Exit status:
    0  done; a run is complete (also: stopped in order by SIGTERM)
    1  a fault in bobbin
    2  the command line, the file or a setting is wrong
    3  the run ended in order, but something is missing and is named
    4  Kustomer refuses the key, or the key may not read this
    5  Kustomer cannot be reached, or answers wrongly
    6  the destination cannot be opened or written
    7  a file or directory of this machine, or a full disk
    8  another job or program holds what is needed
  130  stopped by Ctrl-C; what was committed is good";

/// The status for an error of this kind on this side.
pub(crate) fn status(kind: ErrorKind, party: Party) -> u8 {
    match kind {
        ErrorKind::Cancelled => INTERRUPTED,
        ErrorKind::Conflict => BUSY,
        ErrorKind::DiskFull => LOCAL,
        ErrorKind::Bug => BUG,
        _ if party == Party::Destination => DESTINATION,
        ErrorKind::Config | ErrorKind::NotFound => CONFIG,
        ErrorKind::Auth | ErrorKind::Permission => AUTH,
        ErrorKind::RateLimited
        | ErrorKind::Unavailable
        | ErrorKind::Timeout
        | ErrorKind::Protocol
        | ErrorKind::InvalidData => SOURCE,
        ErrorKind::SchemaConflict => DESTINATION,
        ErrorKind::Io => LOCAL,
        _ => BUG,
    }
}

/// The status for a run.
pub(crate) fn of_run(report: &RunReport, terminated: bool) -> u8 {
    match report.outcome {
        Outcome::Complete => OK,
        Outcome::Incomplete => INCOMPLETE,
        Outcome::Interrupted if terminated => OK,
        Outcome::Interrupted => INTERRUPTED,
        Outcome::Failed => report.failure.map_or(BUG, |(kind, party)| status(kind, party)),
    }
}
