//! Ties a child to this process: on Linux the kernel kills it when we are gone, however that came.
//!
//! A process asks for that itself (`PR_SET_PDEATHSIG`), between being made and becoming the other
//! program. So bobbin starts itself, ties itself, and turns into the program. What the program
//! starts in turn is not tied; it meets a closed pipe. On other systems a child that bobbin could
//! not end notices so, too.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// The first argument that asks for [`hold`].
pub const WORD: &str = "__leash";

/// How a program calls [`hold`] in a copy of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leash(PathBuf);

impl Leash {
    /// For a program whose `main` calls [`hold`] when its first argument is [`WORD`]. None where
    /// the system cannot tie processes.
    pub fn of_this_program() -> Option<Self> {
        // The running program, even if its file was replaced meanwhile.
        cfg!(target_os = "linux").then(|| Self("/proc/self/exe".into()))
    }

    /// A command that becomes `program`, tied to us.
    pub(super) fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new(&self.0);
        command.arg(WORD).arg(std::process::id().to_string()).arg(program);
        command
    }
}

/// Ties this process to its parent and becomes the program that `arguments` (those after [`WORD`])
/// name. Gives what went wrong; returns only then.
pub fn hold(arguments: impl IntoIterator<Item = OsString>) -> String {
    use std::os::unix::process::CommandExt;
    let mut arguments = arguments.into_iter();
    let parent = arguments.next().and_then(|text| text.to_str()?.parse::<i32>().ok());
    let (Some(parent), Some(program)) = (parent, arguments.next()) else {
        return "this is for bobbin's own use".to_owned();
    };
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
        let tied = set_parent_process_death_signal(Some(Signal::KILL));
        // The parent may have gone before we were tied to it.
        if tied.is_err() || getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(parent) {
            return "the program that started this is gone".to_owned();
        }
    }
    let _ = parent;
    let name = program.to_string_lossy().into_owned();
    let error = Command::new(program).args(arguments).exec();
    format!("cannot start {name}: {error}")
}
