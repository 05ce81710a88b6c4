//! Loading reports: what the ledger knows of loads, failed ones too, and for how long.

use bobbin_core::ErrorKind;
use bobbin_core::clock::FixedClock;
use jiff::{SignedDuration, Timestamp};

use crate::support::{Fault, Memory, Step, engine, run, run_at, try_run};

/// F-60: each round is a load; F-59: tables with their counts.
#[test]
fn f60_each_round_is_a_load_of_its_table() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    let steps =
        [Step::Records("a", 0..6), Step::Rejected("a"), Step::State(1), Step::Records("b", 0..2)];
    let report = run(&engine, &steps, &Memory::default());
    let ledger = engine.ledger().unwrap();
    let connection = "test".into();
    let loads = ledger.loads(&connection, None, None, 10).unwrap();
    let told: Vec<_> = loads
        .iter()
        .map(|(_, load)| (load.stream.as_str(), load.rows, load.rejected, load.error.is_none()))
        .collect();
    assert_eq!(told, [("b", 2, 0, true), ("a", 2, 1, true), ("a", 4, 0, true)]);
    assert!(loads.iter().all(|(_, load)| load.job == report.job && load.bytes > 0));
    assert!(loads.iter().all(|(_, load)| load.started <= load.ended));

    // Pages go on where the one before ended.
    let page = ledger.loads(&connection, Some(&"a".into()), None, 1).unwrap();
    let next = ledger.loads(&connection, Some(&"a".into()), Some(page[0].0), 10).unwrap();
    assert_eq!((page[0].1.rows, next.len(), next[0].1.rows), (2, 1, 4));

    let tables = ledger.loaded_tables(&connection, Timestamp::now()).unwrap();
    let told: Vec<_> = tables
        .iter()
        .map(|t| (t.stream.as_str(), t.rows.day, t.rows.period, t.rows.period_before))
        .collect();
    assert_eq!(told, [("a", 6, 6, 0), ("b", 2, 2, 0)]);
    assert_eq!(tables[0].bookmark, None, "this destination does not tell");
    assert_eq!(tables[0].replication_key.as_deref(), Some("updated_at"));
}

/// F-60: an attempt that failed is told with its error, until one succeeds.
#[test]
fn f60_a_failed_load_is_told_until_one_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    let memory = Memory::default();
    for fault in [Fault::Load(1, ErrorKind::Permission), Fault::Commit(1, ErrorKind::Permission)] {
        memory.faults.lock().unwrap().push(fault);
    }
    let steps = [Step::Records("a", 0..3)];
    for _ in 0..2 {
        try_run(&engine, &steps, &memory).unwrap().error.unwrap();
        let tables =
            engine.ledger().unwrap().loaded_tables(&"test".into(), Timestamp::now()).unwrap();
        let error = tables[0].error.as_deref().unwrap();
        assert!(error.contains("fails as scripted"), "{error}");
        assert_eq!((tables[0].loaded_at, tables[0].rows.day), (None, 0));
    }
    run(&engine, &steps, &memory);
    let ledger = engine.ledger().unwrap();
    let tables = ledger.loaded_tables(&"test".into(), Timestamp::now()).unwrap();
    assert_eq!((tables[0].error.as_deref(), tables[0].rows.day > 0), (None, true));
    let loads = ledger.loads(&"test".into(), None, None, 10).unwrap();
    let failed = loads.iter().filter(|(_, load)| load.error.is_some()).count();
    assert_eq!(failed, 2, "{loads:?}");
}

/// F-54, F-62, F-97: history is kept for its days, the latest job of all, counts for two periods.
#[test]
fn f62_old_jobs_and_loads_are_forgotten_counts_stay_longer() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = engine(&directory);
    engine.keep_days = 10;
    let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let at = |days: i64| FixedClock(start + SignedDuration::from_hours(24 * days));
    let memory = Memory::default();
    let job = |days: i64, ids: std::ops::Range<u64>| {
        run_at(&at(days), &engine, &[Step::Records("a", ids)], &memory).unwrap();
    };
    let counts = |days: i64| {
        let tables = engine.ledger().unwrap().loaded_tables(&"test".into(), at(days).0).unwrap();
        let rows = tables[0].rows;
        (rows.day, rows.period, rows.period_before)
    };
    let kept = || {
        let ledger = engine.ledger().unwrap();
        let jobs = ledger.jobs(&"test".into(), 100).unwrap().len();
        (jobs, ledger.loads(&"test".into(), None, None, 100).unwrap().len())
    };
    job(0, 0..1);
    job(9, 1..3);
    assert_eq!((kept(), counts(9)), ((2, 2), (2, 3, 0)));
    job(15, 3..6);
    assert_eq!((kept(), counts(15)), ((2, 2), (3, 6, 0)));
    // The first day is of the period before by now.
    assert_eq!(counts(32), (0, 5, 1));
    let days = engine.ledger().unwrap().rows_by_day(&"test".into(), at(15).0, 10).unwrap();
    let days: Vec<_> = days.iter().map(|(day, _, rows)| (day.as_str(), *rows)).collect();
    assert_eq!(days, [("2026-01-16", 3), ("2026-01-10", 2)]);
    assert_eq!(engine.ledger().unwrap().jobs(&"test".into(), 1).unwrap().len(), 1);
}
