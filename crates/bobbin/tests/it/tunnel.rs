//! PostgreSQL behind an SSH host: a real `sshd` of the test's own. F-89.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fake_kustomer::{Running, Simulator};
use postgres::{Client, NoTls};

use crate::proxy::{Fault, Proxy};
use crate::server::{Server, Setup};
use crate::support::{Desk, FAST, Told, assert_rows, tiny};
use crate::tls::Authority;

/// An SSH server that lets in who has `key`; it stops when this is dropped.
struct Sshd {
    directory: tempfile::TempDir,
    address: SocketAddr,
    process: Child,
}

impl Sshd {
    /// Starts one beside a PostgreSQL server, with more lines of configuration.
    fn start(server: &Server, settings: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["host", "key", "other"] {
            make_key(&path(name));
        }
        fs::copy(path("key.pub"), path("authorized")).unwrap();
        // An address that no other test has; PostgreSQL has another port of it.
        let address = SocketAddr::new(server.address().ip(), 2222);
        let public = fs::read_to_string(path("host.pub")).unwrap();
        fs::write(path("known"), format!("[{}]:{} {public}", address.ip(), address.port()))
            .unwrap();
        fs::write(path("none"), "").unwrap();
        let place = directory.path().display();
        fs::write(
            path("config"),
            format!(
                "ListenAddress {address}\nHostKey {place}/host\nPidFile none\nUsePAM no\n\
                 AuthorizedKeysFile {place}/authorized\nStrictModes no\nPermitRootLogin yes\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\n{settings}\n"
            ),
        )
        .unwrap();
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let log = fs::File::create(path("log")).unwrap();
        let process = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path("config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("no sshd: scripts/setup --with-tools installs it");
        let sshd = Self { directory, address, process };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            let log = fs::read_to_string(sshd.path("log")).unwrap();
            assert!(started.elapsed() < Duration::from_secs(20), "sshd does not start: {log}");
            thread::sleep(Duration::from_millis(10));
        }
        sshd
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The settings of a destination that goes through it.
    fn settings(&self, key: &str, known: &str) -> String {
        format!(
            "ssh_host = \"{}\"\nssh_port = {}\nssh_key_file = \"{}\"\nssh_known_hosts_file = \"{}\"",
            self.address.ip(),
            self.address.port(),
            self.path(key).display(),
            self.path(known).display(),
        )
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn make_key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o77, 0);
}

fn desk(sim: &Running, host: &str, port: u16, settings: &str) -> Desk {
    let desk = Desk::new(sim);
    let source = format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url());
    let destination = format!(
        "type = \"postgres\"\nhost = \"{host}\"\nport = {port}\nuser = \"boss\"\n\
         database = \"postgres\"\n{settings}"
    );
    desk.write_with(&source, &destination, "");
    desk
}

/// The processes that carry a tunnel to this port.
fn tunnels(host: &str, port: u16) -> Vec<String> {
    let wanted = format!("ssh\0-W\0{host}:{port}\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            command.starts_with(wanted.as_bytes())
        })
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn wait_until(mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_mins(1), "it never happened");
        thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn assert_exact(server: &Server, sim: &Running) {
    let mut config = Client::configure();
    let mut client =
        config.host(server.host()).user("boss").dbname("postgres").connect(NoTls).unwrap();
    assert_rows(sim, None, |table| {
        let sql = format!(
            "SELECT id, (extract(epoch FROM updated_at) * 1000)::bigint FROM kustomer.{table}"
        );
        let rows = client.query(&sql, &[]).ok()?;
        Some(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    });
}

#[test]
fn f89_an_ssh_tunnel_with_tls_inside() {
    let authority = Authority::new("authority");
    let (certificate, key) = authority.certificate(&["localhost"], false);
    let setup = Setup { tcp: true, certificate: Some((&certificate, &key)), ..Setup::default() };
    let server = Server::with(&setup);
    let door = Proxy::start(server.address(), Fault::Slices(1 << 20));
    let sshd = Sshd::start(&server, "");
    let sim = Simulator::start(tiny(1)).unwrap();
    let settings = format!("{}\nca_file = \"ca.pem\"", sshd.settings("key", "known"));
    let desk = desk(&sim, "localhost", door.port(), &settings);
    fs::write(desk.path("ca.pem"), authority.pem()).unwrap();
    let way = format!("tunnel: by way of {}", sshd.address.ip());
    desk.run(&["check"]).assert(0, &["PostgreSQL 1", "encrypted: yes", &way]);
    desk.run(&["run"]).assert(0, &["complete"]);
    assert_exact(&server, &sim);
    wait_until(|| tunnels("localhost", door.port()).is_empty());
    // The certificate is compared with the server's name, not with the tunnel's end.
    let desk = self::desk(&sim, "127.0.0.1", door.port(), &settings);
    fs::write(desk.path("ca.pem"), authority.pem()).unwrap();
    desk.run(&["check"]).assert(6, &["certificate is for another name", "localhost"]);
}

#[test]
fn what_is_wrong_with_a_tunnel_is_told_apart() {
    let server = Server::with(&Setup { tcp: true, ..Setup::default() });
    let mut sshd = Sshd::start(&server, "");
    let sim = Simulator::start(tiny(1)).unwrap();
    let (ip, port) = (server.address().ip().to_string(), server.address().port());
    let check =
        |host: &str, port: u16, settings: &str| desk(&sim, host, port, settings).run(&["check"]);
    let good = sshd.settings("key", "known");
    check(&ip, port, &good).assert(0, &["PostgreSQL 1"]);

    check(&ip, port, &sshd.settings("other", "known"))
        .assert(6, &["SSH host does not accept the key", "authorized_keys", "ssh_host"]);
    check(&ip, port, &sshd.settings("key", "none"))
        .assert(6, &["SSH host's key is not the one", "ssh-keyscan -p 2222", "known_hosts"]);
    check(&ip, 1, &good).assert(6, &["SSH host cannot reach PostgreSQL", "from the SSH host"]);
    check("no-such-host.invalid", port, &good).assert(6, &["SSH host cannot reach PostgreSQL"]);
    check(&ip, port, "ssh_port = 22").assert(2, &["ssh_port, but no ssh_host"]);
    check(&ip, port, "ssh_host = \"x\"\nssh_key_file = \"gone\"").assert(2, &["names no file"]);
    check("/tmp", port, &good).assert(6, &["does not lead to a Unix socket"]);
    // What the server itself says comes through.
    let wrong = desk(&sim, &ip, port, &good);
    let text = fs::read_to_string(wrong.path("bobbin.toml")).unwrap();
    fs::write(wrong.path("bobbin.toml"), text.replace("\"postgres\"\nssh", "\"gone\"\nssh"))
        .unwrap();
    wrong.run(&["check"]).assert(6, &["database does not exist"]);

    let without = desk(&sim, &ip, port, &good);
    let told = without.command(&["check"]).env("PATH", without.path("")).output().unwrap();
    Told::of(told).assert(6, &["ssh cannot be started", "openssh-client"]);

    sshd.process.kill().unwrap();
    sshd.process.wait().unwrap();
    check(&ip, port, &good).assert(6, &["SSH host cannot be reached", "ssh_port"]);
    let strict = Sshd::start(&server, "AllowTcpForwarding no");
    check(&ip, port, &strict.settings("key", "known"))
        .assert(6, &["SSH host forbids the tunnel", "AllowTcpForwarding"]);
}

#[test]
fn a_tunnel_that_breaks_costs_no_row_and_outlives_nobody() {
    let server = Server::with(&Setup { tcp: true, ..Setup::default() });
    let sshd = Sshd::start(&server, "");
    let mut config = tiny(2).with_count("message", 5_000);
    config.latency_ms = 20;
    let sim = Simulator::start(config).unwrap();
    let (ip, port) = (server.address().ip().to_string(), server.address().port());
    let settings = format!("{}\nrows_per_commit = 200", sshd.settings("key", "known"));
    let desk = desk(&sim, &ip, port, &settings);
    let start = || {
        let mut command = desk.command(&["run"]);
        let pipes = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = pipes.spawn().unwrap();
        wait_until(|| !tunnels(&ip, port).is_empty());
        child
    };
    // bobbin is killed: ssh ends by itself.
    let mut child = start();
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(|| tunnels(&ip, port).is_empty());
    // ssh is killed, while the source still has most of its pages to give.
    let child = start();
    let enough = sim.control().stats().requests + 10;
    wait_until(|| sim.control().stats().requests >= enough);
    for process in tunnels(&ip, port) {
        assert!(Command::new("kill").args(["-9", &process]).status().unwrap().success());
    }
    Told::of(child.wait_with_output().unwrap()).assert(0, &["complete"]);
    assert_exact(&server, &sim);
    wait_until(|| tunnels(&ip, port).is_empty());
}
