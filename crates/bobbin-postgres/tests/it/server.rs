//! A PostgreSQL server of the test's own: fresh, in a directory of its own, on a socket there and, if
//! asked, on an address of its own.
#![allow(dead_code, reason = "each test program uses a part")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A running server; it stops when this is dropped.
pub(crate) struct Server {
    directory: tempfile::TempDir,
    programs: PathBuf,
    /// Who the server runs as, when we are root: it refuses to be.
    user: Option<(u32, u32)>,
    options: String,
    address: SocketAddr,
}

/// How a server differs from others.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// Whether it listens on an address, too.
    pub(crate) tcp: bool,
    /// Lines of `pg_hba.conf` before the usual ones.
    pub(crate) rules: &'a str,
    /// Settings as `name=value`.
    pub(crate) settings: &'a [&'a str],
    /// A certificate and its key, in PEM form: the server then has TLS.
    pub(crate) certificate: Option<(&'a str, &'a str)>,
}

impl Server {
    /// Starts one. Its superuser `boss` needs no password; nobody else is there.
    pub(crate) fn start() -> Self {
        Self::with(&Setup::default())
    }

    /// Starts one that is special.
    pub(crate) fn with(setup: &Setup<'_>) -> Self {
        let directory = tempfile::Builder::new().prefix("bobbin-pg-").tempdir_in("/tmp").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let user = rustix::process::geteuid().is_root().then(other_user);
        if let Some((uid, gid)) = user {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut server = Self {
            directory,
            programs: programs(),
            user,
            options: String::new(),
            address: address(),
        };
        server.command("initdb", &["-A", "trust", "-U", "boss", "-N", "-E", "UTF8", "--locale=C"]);
        // Passwords count for all others, so that wrong ones can be tried.
        let rules = "local all boss trust\nhost all boss 127.0.0.0/8 trust\n\
                     local all all scram-sha-256\nhost all all 127.0.0.0/8 scram-sha-256\n";
        server.write("pg_hba.conf", &format!("{}\n{rules}", setup.rules));
        let listen = if setup.tcp { server.address.ip().to_string() } else { String::new() };
        let mut options = format!(
            "-k {} -c listen_addresses='{listen}' -c fsync=off -c max_wal_size=4GB",
            server.host()
        );
        for setting in setup.settings {
            options += &format!(" -c {setting}");
        }
        if let Some((certificate, key)) = setup.certificate {
            server.write("server.crt", certificate);
            server.write("server.key", key);
            options += " -c ssl=on";
        }
        server.options = options;
        server.go_on();
        server
    }

    /// Starts the stopped server again.
    pub(crate) fn go_on(&self) {
        self.command("pg_ctl", &["-w", "-o", &self.options, "-l", "/dev/null", "start"]);
    }

    /// Where it listens, if it does.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file among its data, readable by the server alone.
    fn write(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((uid, gid)) = self.user {
            chown(&path, Some(uid), Some(gid)).unwrap();
        }
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

/// An address of this machine that no other server of a test has: port 5432 of a loopback address
/// made from the process and a number within it.
fn address() -> SocketAddr {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed) % 4;
    let process = std::process::id() % (1 << 22);
    let [_, a, b, c] = ((number << 22) | process).to_be_bytes();
    SocketAddr::from(([127, a, b, c], 5432))
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
