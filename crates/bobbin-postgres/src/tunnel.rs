//! An SSH tunnel to the server (`stitch-behaviour.md` F-89), carried by OpenSSH's own client.
//!
//! Each connection has an `ssh -W` of its own, whose input and output are the other end of the
//! connection. So no port of this machine stays open, and the tunnel ends when the connection does,
//! however bobbin ends. What ssh(1) is configured to do for a host (jumps, agents) holds here, too.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bobbin_core::{Error, ErrorKind, Result};

use crate::config::{Config, Ssh};
use crate::error;

/// How long ssh may take to end once its connection has broken.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Bytes that are kept of what ssh says.
const MOST_WORDS: usize = 4096;

/// A tunnel that waits for its one connection.
pub(crate) struct Tunnel {
    entrance: SocketAddr,
    failed: Receiver<Failure>,
}

/// How ssh failed.
enum Failure {
    /// It could not be started.
    Missing(io::Error),
    /// It ended with this on its lips.
    Ended(String),
}

impl Tunnel {
    /// A tunnel to the server of `config` by way of `ssh`.
    pub(crate) fn new(ssh: &Ssh, config: &Config) -> Result<Self> {
        if config.host.starts_with('/') {
            return Err(Error::config("a tunnel does not lead to a Unix socket")
                .with("host", &config.host)
                .hint("set host to the server's name or address as the SSH host sees it"));
        }
        let failed = |error| Error::io("cannot open a port of this machine for the tunnel", error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let entrance = listener.local_addr().map_err(failed)?;
        let command = command(ssh, config);
        let patience = config.connect_timeout;
        let (sender, failed) = sync_channel(1);
        thread::Builder::new()
            .name("tunnel".to_owned())
            .spawn(move || {
                // When nobody came there is nothing to carry.
                if let Ok(Some(connection)) = accept(listener, patience) {
                    carry(connection, command, &sender);
                }
            })
            .map_err(|error| Error::io("cannot start a thread", error))?;
        Ok(Self { entrance, failed })
    }

    /// Where to connect instead of the server.
    pub(crate) fn entrance(&self) -> SocketAddr {
        self.entrance
    }

    /// What was wrong with the tunnel, if it was the tunnel that failed.
    pub(crate) fn fault(&self, ssh: &Ssh) -> Option<Error> {
        let failure = self.failed.recv_timeout(LAST_WORDS).ok()?;
        let out = match failure {
            Failure::Missing(error) => Error::config("ssh cannot be started")
                .hint("install OpenSSH's client (Debian: openssh-client)")
                .caused_by(error),
            Failure::Ended(words) => explain(&words, ssh),
        };
        Some(out.with("ssh_host", &ssh.host))
    }
}

/// The one connection, if it comes in time.
fn accept(listener: TcpListener, patience: Duration) -> io::Result<Option<TcpStream>> {
    listener.set_nonblocking(true)?;
    let until = Instant::now() + patience;
    while Instant::now() < until {
        match listener.accept() {
            Ok((connection, _)) => {
                connection.set_nonblocking(false)?;
                connection.set_nodelay(true)?;
                return Ok(Some(connection));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Lets ssh carry the connection, and tells how it ended unless that was well.
fn carry(connection: TcpStream, mut command: Command, failed: &SyncSender<Failure>) {
    let Ok(input) = connection.try_clone() else { return };
    command.stdin(OwnedFd::from(input)).stdout(OwnedFd::from(connection)).stderr(Stdio::piped());
    let spawned = command.spawn();
    // It holds the connection, too; that has to end with ssh.
    drop(command);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let _ = failed.try_send(Failure::Missing(error));
            return;
        }
    };
    let mut words = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        let mut some = [0; 512];
        while let Ok(length @ 1..) = stderr.read(&mut some) {
            words.extend_from_slice(&some[..length]);
            let surplus = words.len().saturating_sub(MOST_WORDS);
            words.drain(..surplus);
        }
    }
    if !child.wait().is_ok_and(|status| status.success()) {
        let words = String::from_utf8_lossy(&words).into_owned();
        let _ = failed.try_send(Failure::Ended(words));
    }
}

fn command(ssh: &Ssh, config: &Config) -> Command {
    let mut command = Command::new("ssh");
    // An address with colons goes into brackets.
    let host = match config.host.parse() {
        Ok(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        _ => config.host.clone(),
    };
    command.arg("-W").arg(format!("{host}:{}", config.port));
    // Before our own patience ends, so that it is ssh that says what is wrong.
    let seconds = config.connect_timeout.as_secs().saturating_sub(3).max(1);
    // Nobody is there to be asked; a master of someone else's would outlive us.
    for option in [
        "BatchMode=yes",
        "ControlPath=none",
        "PermitLocalCommand=no",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=4",
        &format!("ConnectTimeout={seconds}"),
    ] {
        command.arg("-o").arg(option);
    }
    if let Some(port) = ssh.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(user) = &ssh.user {
        command.arg("-l").arg(user);
    }
    if let Some(key) = &ssh.key_file {
        command.arg("-i").arg(key).args(["-o", "IdentitiesOnly=yes"]);
    }
    if let Some(file) = &ssh.known_hosts_file {
        command.arg("-o").arg(format!("UserKnownHostsFile=\"{}\"", file.display()));
    }
    command.arg("--").arg(&ssh.host);
    // A Ctrl-C is for bobbin, which may have a commit under way.
    command.process_group(0);
    command
}

/// What ssh's last words mean to a person.
fn explain(words: &str, ssh: &Ssh) -> Error {
    let (kind, message, hint) = if words.contains("verification failed") {
        let port = ssh.port.unwrap_or(22);
        (
            ErrorKind::Config,
            "the SSH host's key is not the one that is known, or none is known",
            format!(
                "compare what `ssh-keyscan -p {port} {} | ssh-keygen -lf -` prints with what the \
                 host's owner says, then add the scanned line to known_hosts (or to \
                 ssh_known_hosts_file)",
                ssh.host
            ),
        )
    } else if words.contains("Permission denied") {
        (
            ErrorKind::Auth,
            "the SSH host does not accept the key",
            "check ssh_user and ssh_key_file; the public half belongs into authorized_keys of that \
             user on the SSH host, and a key with a passphrase into an agent"
                .to_owned(),
        )
    } else if words.contains("prohibited") {
        (
            ErrorKind::Permission,
            "the SSH host forbids the tunnel",
            "its sshd must allow it for this user and place: AllowTcpForwarding, PermitOpen"
                .to_owned(),
        )
    } else if words.contains("open failed") {
        (
            ErrorKind::Unavailable,
            "the SSH host cannot reach PostgreSQL",
            "check host and port, which are looked up and reached from the SSH host".to_owned(),
        )
    } else {
        (
            ErrorKind::Unavailable,
            "the SSH host cannot be reached",
            "check ssh_host and ssh_port; `ssh` by hand, with the same user and key, has to work"
                .to_owned(),
        )
    };
    let said: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = said[said.len().saturating_sub(3)..].join(" / ");
    Error::new(kind, message).hint(hint).caused_by(error::Cause::said(format!("ssh: {last}")))
}
