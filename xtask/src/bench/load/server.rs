//! A PostgreSQL server for measuring: fresh, on a socket in a directory of its own, durable as a
//! real one.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bench::process::{Cost, measure};

/// As on a small server; vacuuming is done at set places, so that it does not happen while something
/// is measured.
const SETTINGS: &str = "-c listen_addresses='' -c fsync=on -c synchronous_commit=on \
    -c full_page_writes=on -c shared_buffers=256MB -c max_wal_size=4GB -c checkpoint_timeout=30min \
    -c autovacuum=off";

/// A running server; it stops when this is dropped.
pub(super) struct Server {
    directory: PathBuf,
    programs: PathBuf,
    /// Who the server runs as, when we are root: it refuses to be.
    user: Option<(u32, u32)>,
}

impl Server {
    pub(super) fn start() -> Result<Self, String> {
        let text = |error: std::io::Error| format!("cannot prepare a server: {error}");
        // A socket's path has to be short, and others than us must get there.
        let directory = std::env::temp_dir().join(format!("bobbin-bench-{}", std::process::id()));
        fs::create_dir(&directory).map_err(text)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).map_err(text)?;
        let root = fs::metadata(&directory).map_err(text)?.uid() == 0;
        let user = root.then(other_user);
        if let Some((uid, gid)) = user {
            chown(&directory, Some(uid), Some(gid)).map_err(text)?;
        }
        let server = Self { programs: programs()?, directory, user };
        server.command("initdb", &["-A", "trust", "-U", "boss", "-E", "UTF8", "--locale=C"])?;
        server.control("start")?;
        Ok(server)
    }

    /// Starts it again, so that its buffers hold nothing, of a large table as of a small one.
    pub(super) fn restart(&self) -> Result<(), String> {
        self.control("restart")
    }

    fn control(&self, what: &str) -> Result<(), String> {
        let options = format!("-k {} {SETTINGS}", self.host());
        let log = self.directory.join("server.log");
        self.command("pg_ctl", &["-w", "-o", &options, "-l", &log.to_string_lossy(), what])
    }

    /// The directory of its socket.
    pub(super) fn host(&self) -> String {
        self.directory.to_string_lossy().into_owned()
    }

    /// Runs statements, or psql's commands, and tells what that cost and printed.
    pub(super) fn psql(&self, script: &str) -> Result<Cost, String> {
        let file = self.directory.join("script.sql");
        fs::write(&file, script).map_err(|error| error.to_string())?;
        self.psql_file(&file)
    }

    pub(super) fn psql_file(&self, file: &Path) -> Result<Cost, String> {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", &self.host()]);
        command.args(["-U", "boss", "-d", "postgres", "-f"]).arg(file);
        measure(&mut command, true)
    }

    /// Puts the server at rest: no page of before has to be written while something is measured.
    pub(super) fn rest(&self) -> Result<(), String> {
        self.psql("CHECKPOINT").map(drop)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-D").arg(self.directory.join("data")).args(arguments);
        command.current_dir(&self.directory).stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        // The server would keep a pipe open.
        let told = self.directory.join(format!("{program}.log"));
        let file = fs::File::create(&told).map_err(|error| error.to_string())?;
        let copy = file.try_clone().map_err(|error| error.to_string())?;
        let status = command.stdout(copy).stderr(file).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let told = fs::read_to_string(told).unwrap_or_default();
                Err(format!("{program} ended with {status}: {told}"))
            }
            Err(error) => Err(format!("cannot start {program}: {error}")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.command("pg_ctl", &["-m", "immediate", "-w", "stop"]);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Where Debian, or the path, has the server's programs.
fn programs() -> Result<PathBuf, String> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path));
    found.into_iter().find(|directory| directory.join("initdb").exists()).ok_or_else(|| {
        "no PostgreSQL server programs: scripts/setup --with-tools installs them".to_owned()
    })
}

/// The user `postgres`, or else `nobody`.
fn other_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut parts = line.split(':').skip(2);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).unwrap_or((65_534, 65_534))
}
