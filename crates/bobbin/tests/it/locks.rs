//! A server that is busy with others, or away: locks, time-outs, deadlocks, a long absence.

use std::process::Stdio;
use std::time::{Duration, Instant};

use fake_kustomer::{Mutation, Pick, Simulator};

use crate::connecting::Place;
use crate::server::Setup;
use crate::support::{Told, tiny};

/// A replica that is complete, and a change that the next run will load.
fn place(settings: &[&str]) -> Place {
    let place = Place::new(&Setup { settings, ..Setup::default() });
    place.sql("GRANT CREATE ON DATABASE warehouse TO loader");
    place.desk("").run(&["run"]).assert(0, &["complete"]);
    place.sim.control().mutate(&Mutation::update("customer", Pick::Random(50))).unwrap();
    place.sim.control().advance(600_000);
    place
}

/// Waits for something that happens in another process.
#[track_caller]
fn wait_until(mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_mins(1), "it never happened");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How many of bobbin's sessions wait for a lock.
fn waiting(place: &Place) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE application_name = 'bobbin' AND wait_event_type = 'Lock'";
    place.boss("warehouse").query_one(sql, &[]).unwrap().get(0)
}

#[test]
fn a_lock_that_stays_is_told_with_its_holder_and_one_that_goes_is_waited_for() {
    let place = place(&[]);
    let mut other = place.boss("warehouse");
    let lock = "SET application_name = 'nightly report'; BEGIN;
                LOCK TABLE kustomer.customers IN SHARE MODE";
    other.batch_execute(lock).unwrap();
    let desk = place.desk("lock_timeout_seconds = 1");
    desk.run(&["run"]).assert(
        6,
        &[
            "kept in the spool",
            "customers",
            "user boss, program nightly report",
            "holds a lock on kustomer.customers",
            "pg_terminate_backend",
            "lock_timeout_seconds",
        ],
    );
    // What was extracted is loaded by the next run, once the lock goes.
    let desk_two = place.desk("");
    std::fs::copy(desk_two.path("bobbin.toml"), desk.path("bobbin.toml")).unwrap();
    let mut command = desk.command(&["run"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(|| waiting(&place) > 0);
    other.batch_execute("ROLLBACK").unwrap();
    Told::of(child.wait_with_output().unwrap()).assert(0, &["complete"]);
    place.assert_exact();
}

#[test]
fn a_statement_that_takes_too_long_is_told() {
    let place = place(&[]);
    let mut other = place.boss("warehouse");
    other.batch_execute("BEGIN; LOCK TABLE kustomer.customers IN SHARE MODE").unwrap();
    let desk = place.desk("lock_timeout_seconds = 60\nstatement_timeout_seconds = 1");
    desk.run(&["run"])
        .assert(6, &["kept in the spool", "statement timeout", "statement_timeout_seconds"]);
    other.batch_execute("ROLLBACK").unwrap();
    desk.run(&["run"]).assert(0, &["complete"]);
    place.assert_exact();
}

/// The other session has what bobbin wants next and wants what bobbin has; PostgreSQL ends bobbin's
/// transaction, and the round is repeated.
#[test]
fn a_deadlock_costs_one_repetition() {
    let place = place(&["deadlock_timeout=3s"]);
    // Who waits for long looks for a deadlock and is its victim: let it be bobbin.
    place.sql("ALTER ROLE boss SET deadlock_timeout = '10min'");
    let mut other = place.boss("warehouse");
    other.batch_execute("BEGIN; LOCK TABLE kustomer._bobbin_segments IN SHARE MODE").unwrap();
    let desk = place.desk("");
    let mut command = desk.command(&["run"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Its rows are written; it waits to name its segment.
    wait_until(|| waiting(&place) > 0);
    let written =
        "SELECT DISTINCT c.relname::text FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                   JOIN pg_stat_activity a ON a.pid = l.pid
                   WHERE a.application_name = 'bobbin' AND l.mode = 'RowExclusiveLock' AND l.granted
                         AND c.relkind = 'r' AND c.relname NOT LIKE '\\_%'
                         AND c.relname NOT LIKE '%\\_\\_%'
                         AND c.relnamespace = 'kustomer'::regnamespace";
    let table: String = other.query_one(written, &[]).unwrap().get(0);
    let lock = format!("LOCK TABLE kustomer.{table} IN ACCESS EXCLUSIVE MODE; ROLLBACK");
    other.batch_execute(&lock).unwrap();
    Told::of(child.wait_with_output().unwrap()).assert(0, &["tried again", "complete"]);
    place.assert_exact();
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'warehouse'";
    let count = || -> i64 { place.boss("warehouse").query_one(sql, &[]).unwrap().get(0) };
    wait_until(|| count() == 1);
}

/// F-85: the server goes away in the middle of a run and stays away. The extraction goes on to its
/// end; the next run loads what the spool kept and asks the source for nothing of it again.
#[test]
fn f85_what_is_extracted_while_the_server_is_away_is_not_extracted_again() {
    let mut place = Place::new(&Setup::default());
    place.sql("GRANT CREATE ON DATABASE warehouse TO loader");
    let mut config = tiny(2).with_count("message", 20_000);
    config.latency_ms = 60;
    place.sim = Simulator::start(config).unwrap();
    let desk = place.desk("rows_per_commit = 500");
    let mut command = desk.command(&["run"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut boss = place.boss("warehouse");
    let there = "SELECT count(*) FROM pg_tables WHERE schemaname = 'kustomer'
                 AND NOT starts_with(tablename, '_')";
    // Those of two streams.
    wait_until(|| boss.query_one(there, &[]).unwrap().get::<_, i64>(0) >= 2);
    drop(boss);
    place.server.crash();
    Told::of(child.wait_with_output().unwrap()).assert(6, &["kept in the spool", "hint"]);
    let first = place.sim.control().stats();
    let whole: u64 = 20_000;
    assert!(first.records > whole, "the extraction stopped: {first:?}");

    // Still away: another run says so and asks for nothing.
    place.sim.control().reset_stats();
    desk.run(&["run"]).assert(6, &["PostgreSQL refuses connections", "hint"]);
    assert_eq!(place.sim.control().stats().records, 0);

    place.server.go_on();
    desk.run(&["run"]).assert(0, &["segments that an earlier job had extracted", "complete"]);
    place.assert_exact();
    let second = place.sim.control().stats();
    // The lists are read whole by every run, and of the rest the overlap before the bookmark.
    assert!(second.records * 20 < first.records, "{second:?} after {first:?}");
    let searches = |kind: &fake_kustomer::Stats| -> u64 {
        kind.by_kind.iter().filter(|(kind, _)| kind.starts_with("search")).map(|(_, n)| n).sum()
    };
    assert!(searches(&second) * 2 < searches(&first), "{second:?} after {first:?}");
}
