//! Connecting, and what is said when it fails. F-88.

use bobbin_core::ErrorKind;
use bobbin_core::secret::Secret;
use bobbin_postgres::{Config, Tls};

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
