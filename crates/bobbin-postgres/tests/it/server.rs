//! A PostgreSQL server of the test's own: fresh, in a directory of its own, on a socket there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A running server; it stops when this is dropped.
pub(crate) struct Server {
    directory: tempfile::TempDir,
    programs: PathBuf,
    /// Who the server runs as, when we are root: it refuses to be.
    user: Option<(u32, u32)>,
}

impl Server {
    /// Starts one. Its superuser `boss` needs no password; nobody else is there.
    pub(crate) fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("bobbin-pg-").tempdir_in("/tmp").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let user = rustix::process::geteuid().is_root().then(other_user);
        if let Some((uid, gid)) = user {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let server = Self { directory, programs: programs(), user };
        server.command("initdb", &["-A", "trust", "-U", "boss", "-N", "-E", "UTF8", "--locale=C"]);
        // Passwords count for all others, so that wrong ones can be tried.
        let rules = "local all boss trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(server.data().join("pg_hba.conf"), rules).unwrap();
        server.go_on();
        server
    }

    /// Starts the stopped server again.
    pub(crate) fn go_on(&self) {
        let options =
            format!("-k {} -c listen_addresses='' -c fsync=off -c max_wal_size=4GB", self.host());
        self.command("pg_ctl", &["-w", "-o", &options, "-l", "/dev/null", "start"]);
    }

    /// Stops it as a crash would.
    pub(crate) fn crash(&self) {
        self.command("pg_ctl", &["-m", "immediate", "-w", "stop"]);
    }

    /// The directory of its socket.
    pub(crate) fn host(&self) -> &str {
        self.directory.path().to_str().unwrap()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-D").arg(self.data()).args(arguments);
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        // The server would keep a pipe open.
        let told = self.directory.path().join(format!("{program}.log"));
        let file = fs::File::create(&told).unwrap();
        let status = command
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .status()
            .unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
        assert!(status.success(), "{program}: {}", fs::read_to_string(told).unwrap());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            self.crash();
        }
    }
}

/// Where Debian, or the path, has the server's programs.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path));
    found
        .into_iter()
        .find(|directory| directory.join("initdb").exists())
        .expect("no PostgreSQL server programs: scripts/setup --with-tools installs them")
}

/// The user `postgres`, or else `nobody`.
fn other_user() -> (u32, u32) {
    let users = fs::read_to_string(Path::new("/etc/passwd")).unwrap();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut parts = line.split(':').skip(2);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).unwrap_or((65_534, 65_534))
}
