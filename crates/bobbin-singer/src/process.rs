//! Foreign Singer programs as parts of bobbin: [`ProcessTap`] makes a child program a
//! [`bobbin_core::tap::Tap`], [`ProcessTarget`] makes one a
//! [`bobbin_core::destination::Destination`]. Nothing else in bobbin starts programs.
//!
//! A child leads a process group of its own and never outlives us: it is ended when its part is
//! dropped, and on Linux the kernel ends it when bobbin is killed ([`leash`]).

mod child;
mod choice;
mod files;
mod follow;
pub mod leash;
mod memo;
mod stderr;
mod tap;
mod target;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bobbin_core::secret::Secret;
use bobbin_core::{Error, Result};
use serde_json::Value;

pub use tap::{ProcessTap, TapConfig};
pub use target::{CommitBy, ProcessTarget, TargetConfig};

/// A program to start, and what every start of it has in common.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name or path.
    pub executable: PathBuf,
    /// Arguments before those that Singer asks for.
    pub arguments: Vec<String>,
    /// Where it runs, and where relative paths start from.
    pub base: PathBuf,
    /// Its settings.
    pub settings: Settings,
    /// Values that must not be shown, whatever the program prints.
    pub secrets: Vec<Secret>,
    /// How long it may print nothing while we wait for it.
    pub idle: Duration,
    /// How children are tied to this process, if they can be.
    pub leash: Option<leash::Leash>,
}

/// What `--config` gets.
#[derive(Clone, Debug)]
pub enum Settings {
    /// Written into a private file that lives as long as the child.
    Inline(Value),
    /// The person's own file, so that a program which writes new credentials into it (`singer.md` 2)
    /// finds them again.
    File(PathBuf),
}

/// How long a child may take to end after it was asked to.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

impl Program {
    /// What to call it in messages.
    pub(crate) fn name(&self) -> String {
        let name = self.executable.file_name().unwrap_or(self.executable.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// Where it is: a path is taken from `base`, a bare name is looked up in `PATH`.
    pub(crate) fn find(&self) -> Result<PathBuf> {
        let executable = &self.executable;
        if executable.components().count() > 1 {
            // A relative path would be looked up once more from the directory it runs in.
            let path = std::path::absolute(self.base.join(executable))
                .map_err(|error| Error::io("cannot find the directory of the file", error))?;
            if runs(&path) {
                return Ok(path);
            }
            return Err(Error::config(format!("cannot start `{}`", self.name()))
                .with("path", path.display())
                .hint(
                    "executable names no program that may be run; check the path and its rights",
                ));
        }
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders)
            .map(|folder| folder.join(executable))
            .find(|path| runs(path))
            .ok_or_else(|| {
                Error::config(format!("there is no program `{}`", executable.display()))
                    .hint("install it, or give its path: executable = \"venv/bin/NAME\"")
            })
    }
}

fn runs(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
