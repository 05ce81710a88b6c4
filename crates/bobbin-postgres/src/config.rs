//! What a person may set.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use bobbin_core::secret::Secret;
use bobbin_load::shape::layout::{Arrays, Layout};

/// How the connection is encrypted. A certificate is always verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tls {
    /// Not at all.
    Off,
    /// Always; a server that cannot is refused.
    Require,
}

/// The host of an SSH tunnel to the server. What is not set is left to ssh(1) and its configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ssh {
    /// Its name, its address or its alias in ssh's configuration.
    pub host: String,
    /// The port of its SSH server.
    pub port: Option<u16>,
    /// Who logs in there.
    pub user: Option<String>,
    /// The private key, in a file that is readable by its owner alone.
    pub key_file: Option<PathBuf>,
    /// The keys of hosts that are trusted, in place of `~/.ssh/known_hosts`.
    pub known_hosts_file: Option<PathBuf>,
}

/// What looks a host's name up, and which addresses it may lead to. These alone are connected to: there is no
/// second look-up that could lead elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// Gives the addresses of a name and port, as [`std::net::ToSocketAddrs`] does.
    pub resolve: fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
    /// Whether an address may be connected to.
    pub allows: fn(IpAddr) -> bool,
}

impl Guard {
    /// Looks names up as the system does.
    pub fn new(allows: fn(IpAddr) -> bool) -> Self {
        let resolve = |host: &str, port| Ok((host, port).to_socket_addrs()?.collect());
        Self { resolve, allows }
    }
}

/// Where the database is, and how patient bobbin is with it.
#[derive(Clone, Debug)]
pub struct Config {
    /// A host name, an address, or the directory of a Unix socket.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database; it must exist.
    pub database: String,
    /// The role to connect as.
    pub user: String,
    /// Its password, where the server asks for one.
    pub password: Option<Secret>,
    /// Default: required, but off on this machine (a socket or a loopback address).
    pub tls: Tls,
    /// A file of PEM certificates to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Rows per commit.
    pub rows_per_commit: u64,
    /// The tunnel to go through. `host` and `port` are then as the tunnel's host sees them.
    pub ssh: Option<Ssh>,
    /// What is asked before connecting. Default: nothing. Through a tunnel the host is looked up where that ends.
    pub guard: Option<Guard>,
    /// How tables look. Default: arrays are tables of their own.
    pub layout: Layout,
    /// How long connecting may take, with TLS and log-in.
    pub connect_timeout: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// How long a statement may wait for somebody else's lock.
    pub lock_timeout: Duration,
}

impl Config {
    /// The defaults.
    pub fn new(
        host: impl Into<String>,
        database: impl Into<String>,
        user: impl Into<String>,
    ) -> Self {
        let host = host.into();
        let local = host.starts_with('/')
            || host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        Self {
            tls: if local { Tls::Off } else { Tls::Require },
            host,
            port: 5432,
            database: database.into(),
            user: user.into(),
            password: None,
            ca_file: None,
            rows_per_commit: 50_000,
            ssh: None,
            guard: None,
            layout: Layout { arrays: Arrays::Tables, ..Layout::default() },
            connect_timeout: Duration::from_secs(15),
            statement_timeout: Duration::from_mins(30),
            lock_timeout: Duration::from_mins(1),
        }
    }
}
