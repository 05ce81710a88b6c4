//! The ledger keeps reports, refuses what it cannot read, and is never needed for the data.

use std::fs;

use bobbin_core::ErrorKind;
use bobbin_core::clock::FixedClock;
use bobbin_engine::ledger::SqliteLedger;
use jiff::{SignedDuration, Timestamp};

use crate::support::{Memory, Step, alter, engine, run, run_at, try_run};

#[test]
fn reports_and_states_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    let steps = [Step::Records("a", 0..3), Step::State(7)];
    let report = run(&engine, &steps, &Memory::default());
    let ledger = engine.ledger().unwrap();
    let jobs = ledger.jobs(&"test".into(), None, 10).unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].id, report.job);
    assert_eq!(jobs[0].report.as_ref().unwrap().tables[0].extracted, report.tables[0].extracted);
    let state = ledger.state(&"test".into()).unwrap().unwrap();
    assert_eq!(state.bookmarks.values().next().unwrap(), 7);
}

#[test]
fn a_newer_or_damaged_ledger_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    let path = directory.path().join("ledger.sqlite");
    drop(engine.ledger().unwrap());
    let sqlite = rusqlite::Connection::open(&path).unwrap();
    sqlite.pragma_update(None, "user_version", 99).unwrap();
    drop(sqlite);
    let error = SqliteLedger::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.report().contains("newer bobbin"), "{error:?}");

    fs::write(&path, vec![0x5A; 8192]).unwrap();
    let error = try_run(&engine, &[], &Memory::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.report().contains("move the file away"), "{error:?}");
}

/// What a hook is told goes by the loads' numbers: a load must not come under a number that was sent.
#[test]
fn a_hook_is_told_of_loads_after_all_others_were_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = engine(&directory);
    engine.keep_days = 10;
    let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let at = |days: i64| FixedClock(start + SignedDuration::from_hours(24 * days));
    let memory = Memory::default();
    let job = |days: i64, ids: std::ops::Range<u64>| {
        run_at(&at(days), &engine, &[Step::Records("a", ids)], &memory).unwrap();
        let ledger = engine.ledger().unwrap();
        let unsent = ledger.unsent("dbt", 100, at(days).0).unwrap();
        for (id, ..) in &unsent {
            ledger.sent("dbt", *id).unwrap();
        }
        unsent.len()
    };
    assert_eq!(job(0, 0..9), 0, "what was before it was asked for is not told");
    assert_eq!(job(1, 9..20), 3);
    // Everything is older than is kept.
    assert_eq!(job(30, 20..21), 1);
    assert_eq!(job(60, 21..22), 1);
}

#[test]
fn a_backfill_hides_no_job_and_a_dead_process_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    let ledger = engine.ledger().unwrap();
    let id = "test".into();
    assert_eq!(ledger.last_whole(&id).unwrap(), None);
    alter(
        directory.path(),
        "INSERT INTO jobs (connection, id, started, ended, outcome, trigger) VALUES
         ('test', '1', '2026-01-01T00:00:00Z', '2026-01-01T00:01:00Z', 'incomplete', 'schedule'),
         ('test', '2', '2026-01-02T00:00:00Z', '2026-01-02T00:01:00Z', 'complete', 'backfill')",
    );
    let last = || ledger.last_whole(&id).unwrap().map(|job| (job.id.to_string(), job.status));
    assert_eq!(last(), Some(("1".to_owned(), "incomplete")));
    assert_eq!(ledger.latest(&id).unwrap().unwrap().id.as_str(), "2");
    alter(
        directory.path(),
        "INSERT INTO jobs (connection, id, started, ended, outcome, trigger) VALUES
         ('test', '3', '2026-01-03T00:00:00Z', '2026-01-03T00:01:00Z', 'abrupt', 'manual'),
         ('test', '4', '2026-01-04T00:00:00Z', NULL, NULL, 'manual')",
    );
    assert_eq!(last(), Some(("3".to_owned(), "abrupt")));
}

#[test]
fn slots_that_came_to_nothing_are_found_however_old_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    let ledger = engine.ledger().unwrap();
    let id = "test".into();
    alter(
        directory.path(),
        "INSERT INTO slots (connection, slot, last, count, outcome, decided)
         WITH RECURSIVE hours (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM hours WHERE n < 2000)
         SELECT 'test', strftime('%Y-%m-%dT%H:%M:%S', 1767225600 + 3600 * n, 'unixepoch')
                        || '.000000000Z', '2026-01-01T00:00:00Z', 1,
                CASE WHEN n % 100 = 7 THEN 'missed' ELSE 'started' END, '2026-01-01T00:00:00Z'
         FROM hours",
    );
    let at = |hour: i64| Some(Timestamp::from_second(1_767_225_600 + 3600 * hour).unwrap());
    let idle = |from, until, most| {
        let slots = ledger.idle_slots(&id, from, until, most).unwrap();
        slots.iter().map(|row| (row.slot.as_second() - 1_767_225_600) / 3600).collect::<Vec<_>>()
    };
    assert_eq!(idle(at(7), at(207), 500), [107, 7]);
    assert_eq!(idle(None, at(8), 500), [7]);
    assert_eq!(idle(at(1900), None, 500), [1907]);
    assert_eq!(idle(None, None, 500).len(), 20);
    assert_eq!(idle(None, None, 3), [1907, 1807, 1707]);
}
