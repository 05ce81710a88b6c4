//! The `bobbin` that stands beside this program does the work.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Becomes `bobbin target KIND` with this program's arguments; returns only when that fails.
pub(crate) fn target(kind: &str) -> ExitCode {
    // Through a symbolic link, it is beside what that leads to.
    let own = std::env::current_exe().and_then(|path| path.canonicalize());
    let bobbin = match own {
        Ok(path) => path.with_file_name("bobbin"),
        Err(error) => {
            eprintln!("CRITICAL cannot find where this program is: {error}");
            return ExitCode::FAILURE;
        }
    };
    let arguments = std::env::args_os().skip(1);
    let error = Command::new(&bobbin).args(["target", kind]).args(arguments).exec();
    eprintln!("CRITICAL cannot start {}: {error}", bobbin.display());
    eprintln!("CRITICAL   hint: keep this program and `bobbin` in one directory");
    ExitCode::FAILURE
}
