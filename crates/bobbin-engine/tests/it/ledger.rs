//! The ledger keeps reports, refuses what it cannot read, and is never needed for the data.

use std::fs;

use bobbin_core::ErrorKind;
use bobbin_core::clock::FixedClock;
use bobbin_engine::ledger::SqliteLedger;
use jiff::{SignedDuration, Timestamp};

use crate::support::{Memory, Step, engine, run, run_at, try_run};

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
