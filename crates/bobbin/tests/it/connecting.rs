//! What `bobbin check` and `bobbin run` say when PostgreSQL does not let them in: each cause by its
//! own words, with what to do. F-88.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use fake_kustomer::{Mutation, Pick, Running, Simulator};
use postgres::{Client, NoTls};

use crate::server::{Server, Setup};
use crate::support::{Desk, FAST, Told, assert_rows, tiny};

/// A server with a role `loader` that has a password and nothing else, and a database `warehouse`.
pub(crate) struct Place {
    pub(crate) server: Server,
    pub(crate) sim: Running,
}

impl Place {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let place = Self {
            server: Server::with(&Setup { tcp: true, ..*setup }),
            sim: Simulator::start(tiny(1)).unwrap(),
        };
        place.boss("postgres").batch_execute("CREATE ROLE loader LOGIN PASSWORD 'right'").unwrap();
        place.boss("postgres").batch_execute("CREATE DATABASE warehouse").unwrap();
        place
    }

    pub(crate) fn boss(&self, database: &str) -> Client {
        let mut config = Client::configure();
        config.host(self.server.host()).user("boss").dbname(database).connect(NoTls).unwrap()
    }

    /// Statements of a superuser in `warehouse`.
    pub(crate) fn sql(&self, sql: &str) {
        self.boss("warehouse").batch_execute(sql).unwrap();
    }

    /// A desk whose settings of the destination end with `settings`.
    pub(crate) fn desk(&self, settings: &str) -> Desk {
        let desk = Desk::new(&self.sim);
        let source = format!(
            "api_token = \"{}\"\napi_url = \"{}\"\n{FAST}",
            self.sim.token(),
            self.sim.url()
        );
        let usual = [
            ("host", format!("\"{}\"", self.server.address().ip())),
            ("port", "5432".to_owned()),
            ("database", "\"warehouse\"".to_owned()),
            ("user", "\"loader\"".to_owned()),
            ("password", "\"right\"".to_owned()),
        ];
        let mut destination = format!("type = \"postgres\"\n{settings}\n");
        for (key, value) in usual {
            if !settings.lines().any(|line| line.split(' ').next() == Some(key)) {
                destination += &format!("{key} = {value}\n");
            }
        }
        desk.write_with(&source, &destination.replace("password = \"\"\n", ""), "");
        desk
    }

    #[track_caller]
    pub(crate) fn assert_exact(&self) {
        let mut client = self.boss("warehouse");
        assert_rows(&self.sim, None, |table| {
            let sql = format!(
                "SELECT id, (extract(epoch FROM updated_at) * 1000)::bigint FROM kustomer.{table}"
            );
            let rows = client.query(&sql, &[]).ok()?;
            Some(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
        });
    }

    /// Runs the statements that a hint says a superuser should run.
    pub(crate) fn obey(&self, told: &Told) {
        let all = format!("{}\n{}", told.stdout, told.stderr);
        let hint = "as a superuser or the owner: ";
        let at = all.find(hint).unwrap_or_else(|| panic!("no statements in:\n{all}"));
        self.sql(all[at + hint.len()..].lines().next().unwrap());
    }
}

#[track_caller]
fn refused(desk: &Desk, words: &[&str]) -> Told {
    let told = desk.run(&["check"]);
    told.assert(6, &["failed", "hint"]).assert(6, words);
    assert!(!told.stdout.contains("right") && !told.stdout.contains("wrong"), "{told:?}");
    let run = desk.run(&["run"]);
    run.assert(6, &["hint"]);
    assert!(!run.stdout.contains("wrong") && !run.stderr.contains("wrong"), "{run:?}");
    told
}

#[test]
fn f88_a_server_that_is_not_there_is_told_from_a_host_that_is_not() {
    let place = Place::new(&Setup::default());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let desk = place.desk(&format!("host = \"127.0.0.1\"\nport = {free}"));
    refused(&desk, &["PostgreSQL refuses connections", "check host and port", &free.to_string()]);
    let desk = place.desk("host = \"no-such-host.invalid\"");
    refused(&desk, &["the host's name is not known", "no-such-host.invalid", "DNS"]);
    let desk = place.desk("host = \"/nowhere\"");
    refused(&desk, &["there is no socket of a server", "/nowhere"]);
}

/// A door that opens and says nothing, before and in the middle of the talk about TLS.
#[test]
fn f88_a_server_that_never_answers_is_given_up_in_time() {
    let place = Place::new(&Setup::default());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let halfway = TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = [&silent, &halfway].map(|listener| listener.local_addr().unwrap().port());
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut client in halfway.incoming().flatten() {
            // It wants TLS, but then its side of the handshake never comes.
            client.read_exact(&mut [0; 8]).unwrap();
            client.write_all(b"S").unwrap();
            kept.push(client);
        }
    });
    for (port, tls) in [(ports[0], "off"), (ports[0], "require"), (ports[1], "require")] {
        let desk = place.desk(&format!(
            "host = \"127.0.0.1\"\nport = {port}\ntls = \"{tls}\"\nconnect_timeout_seconds = 1"
        ));
        let started = Instant::now();
        refused(&desk, &["connecting took too long", "firewall", "connect_timeout_seconds"]);
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    }
}

#[test]
fn f88_a_log_in_that_fails_says_why() {
    let place = Place::new(&Setup {
        rules: "host all banned 127.0.0.0/8 reject\nhostssl all secret 127.0.0.0/8 trust",
        ..Setup::default()
    });
    place.sql("CREATE ROLE banned LOGIN; CREATE ROLE secret LOGIN");
    refused(
        &place.desk("password = \"wrong\""),
        &["the password is not accepted", "user: loader", "check user and password"],
    );
    refused(
        &place.desk("password = \"\""),
        &["PostgreSQL asks for a password", "password = { env = "],
    );
    refused(
        &place.desk("user = \"banned\""),
        &["the user may not connect", "pg_hba.conf", "banned"],
    );
    refused(&place.desk("user = \"stranger\""), &["stranger"]);
    refused(
        &place.desk("database = \"nowhere\""),
        &["the database does not exist", "CREATE DATABASE \"nowhere\" OWNER \"loader\""],
    );
    place.sql("REVOKE CONNECT ON DATABASE warehouse FROM PUBLIC");
    refused(
        &place.desk(""),
        &[
            "may not connect to the database",
            "GRANT CONNECT, CREATE, TEMPORARY ON DATABASE \"warehouse\" TO \"loader\"",
        ],
    );
    place
        .sql("GRANT CONNECT ON DATABASE warehouse TO loader; ALTER ROLE loader CONNECTION LIMIT 0");
    refused(
        &place.desk(""),
        &["the server has no connection left", "pg_stat_activity", "CONNECTION LIMIT"],
    );
}

#[test]
fn a_server_that_takes_no_changes_is_named() {
    let place = Place::new(&Setup::default());
    place.sql("GRANT CREATE ON DATABASE warehouse TO loader");
    place.sql("ALTER ROLE loader SET default_transaction_read_only = on");
    let desk = place.desk("");
    let words = ["read-only", "primary", "default_transaction_read_only"];
    refused(&desk, &words);
    desk.run(&["run"]).assert(6, &words);
}

/// Whatever is missing is told as statements; who runs them can go on.
#[test]
fn f88_missing_rights_are_told_as_the_statements_that_give_them() {
    let place = Place::new(&Setup::default());
    let desk = place.desk("");
    let mends = |words: &[&str]| {
        let run = desk.run(&["run"]);
        run.assert(6, words);
        let told = desk.run(&["check"]);
        told.assert(6, &["the user may not write there"]).assert(6, words);
        place.obey(&told);
        desk.run(&["check"]).assert(0, &["kustomer, may be written"]);
    };
    mends(&["GRANT CREATE ON DATABASE \"warehouse\" TO \"loader\""]);
    place.sql("REVOKE CREATE ON DATABASE warehouse FROM loader; CREATE SCHEMA kustomer");
    mends(&["GRANT USAGE, CREATE ON SCHEMA \"kustomer\" TO \"loader\""]);
    place.sql("REVOKE CREATE ON SCHEMA kustomer FROM loader");
    mends(&["GRANT CREATE ON SCHEMA \"kustomer\" TO \"loader\""]);
    desk.run(&["run"]).assert(0, &["complete"]);
    place.assert_exact();

    // While everything is there, somebody takes rights away.
    for (theft, words) in [
        (
            "REVOKE INSERT, UPDATE ON kustomer.customers FROM loader",
            "GRANT INSERT, UPDATE ON TABLE \"kustomer\".\"customers\" TO \"loader\"",
        ),
        (
            "ALTER TABLE kustomer.customers OWNER TO boss",
            "ALTER TABLE \"kustomer\".\"customers\" OWNER TO \"loader\"",
        ),
        (
            "ALTER TABLE kustomer._bobbin_state OWNER TO boss",
            "ALTER TABLE \"kustomer\".\"_bobbin_state\" OWNER TO \"loader\"",
        ),
        (
            "REVOKE TEMPORARY ON DATABASE warehouse FROM PUBLIC",
            "GRANT TEMPORARY ON DATABASE \"warehouse\" TO \"loader\"",
        ),
        (
            "REVOKE USAGE ON SCHEMA kustomer FROM loader",
            "GRANT USAGE ON SCHEMA \"kustomer\" TO \"loader\"",
        ),
    ] {
        place.sim.control().mutate(&Mutation::update("customer", Pick::Random(20))).unwrap();
        place.sim.control().advance(600_000);
        place.sql(theft);
        mends(&[words]);
        desk.run(&["run"]).assert(0, &["complete"]);
        place.assert_exact();
    }
}
