//! The whole way into PostgreSQL, and what happens to it when either side is killed.

use std::time::{Duration, Instant};

use bobbin_core::crash;
use fake_kustomer::{Mutation, Pick, Running, Simulator};
use postgres::{Client, NoTls};

use crate::api::Serving;
use crate::server::Server;
use crate::support::{Desk, FAST, assert_rows, tiny};

fn desk(sim: &Running, server: &Server) -> Desk {
    let desk = Desk::new(sim);
    let source = format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url());
    let destination = format!(
        "type = \"postgres\"\nhost = \"{}\"\nuser = \"boss\"\ndatabase = \"postgres\"\n\
         rows_per_commit = 100",
        server.host()
    );
    desk.write_with(&source, &destination, "");
    desk
}

fn client(server: &Server) -> Client {
    Client::configure().host(server.host()).user("boss").dbname("postgres").connect(NoTls).unwrap()
}

#[track_caller]
fn assert_exact(server: &Server, sim: &Running) {
    let mut client = client(server);
    assert_rows(sim, None, |table| {
        let sql = format!(
            "SELECT id, (extract(epoch FROM updated_at) * 1000)::bigint FROM kustomer.{table}"
        );
        let rows = client.query(&sql, &[]).ok()?;
        Some(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    });
}

fn change(sim: &Running) {
    for stream in ["customer", "conversation", "message", "note", "kobject", "tag"] {
        sim.control().mutate(&Mutation::update(stream, Pick::Random(15))).unwrap();
    }
    sim.control().mutate(&Mutation::add("conversation", 10)).unwrap();
    sim.control().advance(600_000);
}

#[test]
fn f87_two_runs_hold_what_the_oracle_holds() {
    let (server, sim) = (Server::start(), Simulator::start(tiny(1)).unwrap());
    let desk = desk(&sim, &server);
    desk.run(&["check"]).assert(0, &["PostgreSQL 1"]);
    desk.run(&["run"]).assert(0, &["complete"]);
    assert_exact(&server, &sim);
    sim.control().mutate(&Mutation::add_attribute("customer", "newThingStr")).unwrap();
    sim.control().advance(3_600_000);
    change(&sim);
    desk.run(&["run"]).assert(0, &["complete"]);
    assert_exact(&server, &sim);
    // The state that stands beside the rows wins over everything on this machine.
    std::fs::remove_dir_all(desk.path(".bobbin")).unwrap();
    change(&sim);
    desk.run(&["run"]).assert(0, &["complete"]);
    assert_exact(&server, &sim);
    desk.run(&["query", "select 1"]).assert(2, &["psql"]);
}

/// F-90: another destination starts empty; from the start date on, or with new data only.
/// Whatever way a table went: what the source has is there again after the next run.
#[test]
fn f83_a_table_that_was_dropped_is_read_again() {
    let sim = Simulator::start(tiny(21)).unwrap();
    let server = Server::start();
    let desk = desk(&sim, &server);
    desk.run(&["run"]).assert(0, &["complete"]);
    let drop = "DROP TABLE kustomer.notes, kustomer.users; DROP TABLE kustomer.conversations";
    client(&server).batch_execute(drop).unwrap();
    let rename = "ALTER TABLE kustomer.messages RENAME TO messages_before";
    client(&server).batch_execute(rename).unwrap();
    change(&sim);
    let told = desk.run(&["run"]);
    told.assert(0, &["complete", "notes: its table is not there any more; it is read again"]);
    assert_exact(&server, &sim);
    // What was set aside does not make it again, half.
    client(&server)
        .batch_execute(
            "DROP TABLE kustomer.notes;
             INSERT INTO kustomer._sdc_rejected VALUES (now() - interval '1 hour', 'notes', 'once',
                 '{\"_sdc_extracted_at\":\"2026-01-01T00:00:00Z\",\"_sdc_sequence\":1,\"id\":\"x\"}')",
        )
        .unwrap();
    desk.run(&["rejected", "retry"]).assert(3, &["notes", "run first"]);
    client(&server).batch_execute("TRUNCATE kustomer._sdc_rejected").unwrap();
    desk.run(&["run"]).assert(0, &["complete"]);
    assert_exact(&server, &sim);
    // Killed before anything of it was there.
    client(&server).batch_execute("DROP TABLE kustomer.notes").unwrap();
    change(&sim);
    let killed = desk.command(&["run"]).env("BOBBIN_CRASH_AT", "segment-sealed:2").output();
    assert!(!killed.unwrap().status.success());
    // And killed when some of what it left was there.
    let killed = desk.command(&["run"]).env("BOBBIN_CRASH_AT", "segment-released:1").output();
    assert!(!killed.unwrap().status.success());
    desk.run(&["run"]).assert(0, &["complete"]);
    assert_exact(&server, &sim);
    assert!(!desk.run(&["run"]).stderr.contains("not there"));
}

#[test]
fn f90_another_destination_gets_history_or_new_data_only() {
    let (server, sim) = (Server::start(), Simulator::start(tiny(3)).unwrap());
    let first = Desk::new(&sim);
    first.run(&["run"]).assert(0, &["complete"]);
    sim.control().advance(60_000);
    let now = sim.control().now_ms();
    let second = desk(&sim, &server);
    second.run(&["run"]).assert(0, &["complete"]);
    assert_exact(&server, &sim);
    first.assert_exact(&sim, None);

    client(&server).batch_execute("DROP SCHEMA kustomer CASCADE").unwrap();
    let file = std::fs::read_to_string(second.path("bobbin.toml")).unwrap();
    let today = jiff::Timestamp::from_millisecond(now).unwrap();
    let file = file.replace("start_date = \"2015-01-01\"", &format!("start_date = \"{today}\""));
    assert!(file.contains(&today.to_string()), "{file}");
    std::fs::write(second.path("bobbin.toml"), file).unwrap();
    change(&sim);
    second.run(&["run"]).assert(0, &["complete"]);
    let old =
        "SELECT count(*) FROM kustomer.conversations WHERE updated_at < $1::text::timestamptz";
    let count = |sql: &str| -> i64 {
        client(&server).query_one(sql, &[&today.to_string()]).unwrap().get(0)
    };
    assert_eq!(count(old), 0);
    assert!(count(&old.replace('<', ">=")) >= 25);
}

#[test]
fn f84_killed_at_every_named_point() {
    let server = Server::start();
    for point in crash::POINTS {
        for nth in [1, 5] {
            client(&server).batch_execute("DROP SCHEMA IF EXISTS kustomer CASCADE").unwrap();
            let sim = Simulator::start(tiny(5)).unwrap();
            let desk = desk(&sim, &server);
            let order = format!("{point}:{nth}");
            let mut command = desk.command(&["run"]);
            let output = command.env("BOBBIN_CRASH_AT", &order).output().unwrap();
            assert!(!output.status.success(), "{order} was never passed");
            assert_eq!(output.status.code(), None, "{order}: ended by itself: {output:?}");
            change(&sim);
            desk.run(&["run"]).assert(0, &["complete"]);
            assert_exact(&server, &sim);
        }
    }
}

/// Now and then bobbin is killed, now and then the server, at any moment of a run.
#[test]
fn f84_either_side_killed_at_random_moments() {
    let seed = std::env::var("BOBBIN_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    println!("replay with BOBBIN_TEST_SEED={seed}");
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let (server, sim) = (Server::start(), Simulator::start(tiny(seed)).unwrap());
    let desk = desk(&sim, &server);
    let (mut killed, mut crashed, mut finished) = (0, 0, 0);
    // How long a run takes here decides which moments are worth hitting.
    let mut longest = Duration::from_millis(1500);
    while killed + crashed < 40 {
        let mut child = desk
            .command(&["run"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let wait = Duration::from_micros(random(longest.as_micros() as u64));
        let started = Instant::now();
        let ended = loop {
            if child.try_wait().unwrap().is_some() {
                break true;
            }
            if started.elapsed() >= wait {
                break false;
            }
            std::thread::sleep(Duration::from_micros(500));
        };
        if ended {
            finished += 1;
            longest = longest.min(started.elapsed() * 12 / 10);
            assert!(finished < 2000, "the kills always come too late");
        } else if random(3) == 0 {
            server.crash();
            server.go_on();
            // It finds the server again, or gives up in order.
            child.wait().unwrap();
            crashed += 1;
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
        }
        if random(3) == 0 {
            change(&sim);
        }
    }
    change(&sim);
    desk.run(&["run"]).assert(0, &["complete"]);
    assert_exact(&server, &sim);
    println!("{killed} times killed, {crashed} servers crashed, {finished} finished");
}

/// F-104: what the destination holds is looked at and not changed: tables with their columns, how they belong
/// together, their first rows with long values cut.
#[test]
fn f104_the_tables_in_postgres_are_looked_into() {
    let (server, sim) = (Server::start(), Simulator::start(tiny(31)).unwrap());
    let desk = desk(&sim, &server);
    desk.run(&["run"]).assert(0, &["complete"]);
    let mut client = client(&server);
    let long = "ä".repeat(5000);
    client
        .batch_execute(&format!(
            "ANALYZE kustomer.tags; UPDATE kustomer.tags SET name = '{long}';
             CREATE TABLE kustomer.\"odd \"\"name\" (\"a \"\"b\" int); INSERT INTO kustomer.\"odd \"\"name\" VALUES (7), (NULL)"
        ))
        .unwrap();
    let serving = Serving::start(&desk);
    let held = serving.get("/api/v1/connections/kustomer/data");
    let tables = held["data"].as_array().unwrap();
    let named = |name: &str| tables.iter().find(|table| table["name"] == name).unwrap();
    let count: i64 = client.query_one("SELECT count(*) FROM kustomer.tags", &[]).unwrap().get(0);
    assert_eq!(named("tags")["rows"], count);
    let mut columns = named("messages")["columns"].as_array().unwrap().iter();
    assert!(columns.any(|column| column["name"] == "_sdc_sequence" && column["type"] == "bigint"));
    assert!(tables.iter().all(|table| !table["name"].as_str().unwrap().starts_with("_bobbin")));
    let relations = held["relations"].as_array().unwrap();
    let has =
        |from: &str, to: &str| relations.iter().any(|one| one["from"] == from && one["to"] == to);
    assert!(has("messages", "customers") && has("messages", "conversations"), "{relations:?}");
    let tags = serving.get("/api/v1/connections/kustomer/data/tags?limit=2");
    assert_eq!((tags["rows"].as_array().unwrap().len(), &tags["more"]), (2, &true.into()));
    let at = tags["columns"].as_array().unwrap().iter().position(|name| name == "name").unwrap();
    let name = tags["rows"][0][at].as_str().unwrap();
    assert!(name.ends_with('…') && name.chars().count() == 301, "{}", name.len());
    let odd = serving.get("/api/v1/connections/kustomer/data/odd%20%22name");
    assert_eq!(odd["columns"][0], "a \"b");
    assert_eq!(odd["rows"], serde_json::json!([["7"], [null]]));
    let (status, body) = serving.ask("GET", "/api/v1/connections/kustomer/data/pg_class");
    assert_eq!(status, 404, "{body}");
    serving.stop();
}
