//! Connecting, and what is said when it fails. F-88.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use bobbin_core::ErrorKind;
use bobbin_core::secret::Secret;
use bobbin_postgres::{Config, Guard, Tls};

use crate::server::{Server, Setup};
use crate::support::Place;

#[test]
fn what_is_wrong_is_told_apart() {
    let place = Place::new();
    place.by_hand("CREATE ROLE loader LOGIN PASSWORD 'right'");
    place.by_hand("CREATE DATABASE warehouse");
    let config = |password: Option<&str>| {
        let mut config = Config::new(place.server.host(), "warehouse", "loader");
        config.password = password.map(|text| Secret::new(text.to_owned()));
        config
    };
    let fails = |config: &Config, kind: ErrorKind, words: &[&str]| {
        let error = Place::check(config).unwrap_err();
        let report = error.report();
        assert_eq!(error.kind(), kind, "{report}");
        for word in words {
            assert!(report.contains(word), "`{word}` is not in:\n{report}");
        }
        assert!(!report.contains("wrong") && !report.contains("right"), "{report}");
    };
    fails(&config(Some("wrong")), ErrorKind::Auth, &["password is not accepted", "loader"]);
    fails(&config(None), ErrorKind::Auth, &["asks for a password"]);
    let mut other = config(Some("right"));
    other.user = "stranger".to_owned();
    fails(&other, ErrorKind::Auth, &["stranger"]);
    let mut other = config(Some("right"));
    other.database = "nowhere".to_owned();
    fails(&other, ErrorKind::Config, &["does not exist", "CREATE DATABASE"]);
    let mut other = config(Some("right"));
    other.tls = Tls::Require;
    fails(&other, ErrorKind::Config, &["tls = \"off\""]);
    fails(
        &config(Some("right")),
        ErrorKind::Permission,
        &["GRANT CREATE ON DATABASE \"warehouse\" TO \"loader\""],
    );
    let error = Place::try_open(&config(Some("right")), "1").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(error.report().contains("GRANT CREATE"), "{}", error.report());

    place.by_hand("GRANT CREATE ON DATABASE warehouse TO loader");
    let check = Place::check(&config(Some("right"))).unwrap();
    assert!(check.facts.iter().any(|(_, fact)| fact.starts_with("PostgreSQL 1")), "{check:?}");
    place.by_hand("ALTER DATABASE warehouse SET default_transaction_read_only = on");
    fails(&config(Some("right")), ErrorKind::Permission, &["read-only"]);

    place.server.crash();
    fails(&config(Some("right")), ErrorKind::Unavailable, &["socket", "server runs"]);
    place.server.go_on();
    fails(
        &Config { tls: Tls::Off, ..Config::new("127.0.0.1", "warehouse", "loader") },
        ErrorKind::Unavailable,
        &["refuses connections"],
    );
    fails(
        &Config::new("no-such-host.invalid", "warehouse", "loader"),
        ErrorKind::Unavailable,
        &["name is not known"],
    );
}

/// How often names were looked up, and where they led the first and every other time.
static ASKED: AtomicU32 = AtomicU32::new(0);
static TRAP: AtomicU16 = AtomicU16::new(0);
static SERVER: OnceLock<SocketAddr> = OnceLock::new();

/// A name whose owner changes what it leads to after it was judged.
fn rebinding(_: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
    Ok(vec![match ASKED.fetch_add(1, Ordering::SeqCst) {
        0 => *SERVER.get().unwrap(),
        _ => SocketAddr::from(([127, 0, 0, 1], TRAP.load(Ordering::SeqCst))),
    }])
}

/// What a name leads to is judged, and what was judged is what is connected to.
#[test]
fn a_name_leads_where_its_guard_allows_and_is_looked_up_once() {
    // Nobody but the guard knows the name: another look-up would fail.
    let server = Server::with(&Setup { tcp: true, ..Setup::default() });
    SERVER.set(server.address()).unwrap();
    let mut config = Config::new("warehouse.invalid", "postgres", "boss");
    config.tls = Tls::Off;
    config.port = server.address().port();
    config.guard = Some(Guard {
        resolve: |_, port| {
            // The first does not answer, as one of several may not.
            let silent = SocketAddr::from(([127, 255, 255, 254], port));
            Ok(vec![silent, *SERVER.get().unwrap()])
        },
        allows: |_| true,
    });
    Place::check(&config).unwrap();

    let refused = |config: &Config, trap: &TcpListener| {
        let error = Place::check(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{}", error.report());
        assert!(error.report().contains("allow_local"), "{}", error.report());
        trap.set_nonblocking(true).unwrap();
        assert!(trap.accept().is_err(), "it was connected to");
    };
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    config.port = trap.local_addr().unwrap().port();
    TRAP.store(config.port, Ordering::SeqCst);
    // It leads to the server when it is asked first, and to the trap from then on.
    config.port = server.address().port();
    let judged = |address: IpAddr| address == SERVER.get().unwrap().ip();
    config.guard = Some(Guard { resolve: rebinding, allows: judged });
    Place::check(&config).unwrap();
    assert_eq!(ASKED.load(Ordering::SeqCst), 1);
    config.port = trap.local_addr().unwrap().port();
    refused(&config, &trap);
    let world = |address: IpAddr| !address.is_loopback();
    // One that hides behind another.
    let both = |_: &str, port| {
        let known = |octets| SocketAddr::from((octets, port));
        Ok(vec![known([192, 0, 2, 1]), known([127, 0, 0, 1])])
    };
    config.guard = Some(Guard { resolve: both, allows: world });
    refused(&config, &trap);
    // As the system looks names up.
    config.host = "localhost".to_owned();
    config.guard = Some(Guard::new(world));
    refused(&config, &trap);
    config.host = "no-such-host.invalid".to_owned();
    let error = Place::check(&config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.report().contains("name is not known"), "{}", error.report());
}

#[test]
fn a_schema_somebody_else_made_is_enough() {
    let place = Place::new();
    place.by_hand(
        "CREATE ROLE loader LOGIN PASSWORD 'x'; CREATE SCHEMA crm;
         GRANT USAGE, CREATE ON SCHEMA crm TO loader",
    );
    let mut config = Config::new(place.server.host(), "postgres", "loader");
    config.password = Some(Secret::new("x".to_owned()));
    let check = Place::check(&config).unwrap();
    assert!(
        check.facts.contains(&("schema".to_owned(), "crm, may be written".to_owned())),
        "{check:?}"
    );
    Place::try_open(&config, "1").unwrap();
    // And again, with everything there.
    Place::try_open(&config, "2").unwrap();
}
