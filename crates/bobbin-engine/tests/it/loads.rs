//! Loading reports: what the ledger knows of loads, failed ones too, and for how long.

use bobbin_core::ErrorKind;
use bobbin_core::clock::FixedClock;
use jiff::{SignedDuration, Timestamp};

use crate::support::{Fault, Memory, Step, alter, engine, run, run_at, spool_files, try_run};

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
        let jobs = ledger.jobs(&"test".into(), None, 100).unwrap().len();
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
    assert_eq!(engine.ledger().unwrap().jobs(&"test".into(), None, 1).unwrap().len(), 1);
}

/// The process ended after the destination had made the rows durable and before that was written down.
#[test]
fn durable_segments_whose_load_was_not_written_down_are_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    let memory = Memory::default();
    let test = "test".into();
    // Both rounds become durable, one answer is lost for good, and nothing is released.
    let answer_lost = Fault::CommitAnswer(2, ErrorKind::Permission);
    memory.faults.lock().unwrap().push(answer_lost);
    let steps = [Step::Records("a", 0..4), Step::Records("b", 0..3), Step::State(1)];
    let first = run(&engine, &steps, &memory);
    assert!(first.error.is_some());
    assert_eq!(memory.durable.lock().unwrap().rows.len(), 7);
    let spool = directory.path().join("spool");
    assert!(!spool_files(&spool).is_empty());
    let told = || -> Vec<(String, u64, bool)> {
        let loads = engine.ledger().unwrap().loads(&test, None, None, 10).unwrap();
        loads.into_iter().map(|(_, l)| (l.stream.to_string(), l.rows, l.error.is_none())).collect()
    };
    let before = [("b".to_owned(), 0, false), ("a".to_owned(), 4, true)];
    assert_eq!(told(), before);
    // As if the next job's process, too, ended before it let go of them: they are there once more.
    let copy = tempfile::tempdir().unwrap();
    let copied = |from: &std::path::Path, to: &std::path::Path| {
        let from = format!("{}/.", from.display());
        let status = std::process::Command::new("cp").args(["-r", &from]).arg(to).status();
        assert!(status.unwrap().success());
    };
    copied(&spool, copy.path());
    let earlier = jiff::Timestamp::now();
    run(&engine, &steps, &memory);
    assert!(spool_files(&spool).is_empty());
    let after = [&[("b".to_owned(), 3, true)], &before[..]].concat();
    assert_eq!(told(), after);
    let ledger = engine.ledger().unwrap();
    let tables = ledger.loaded_tables(&test, Timestamp::now()).unwrap();
    assert_eq!((tables[1].error.as_deref(), tables[1].rows.day), (None, 3));
    let load = ledger.loads(&test, None, None, 1).unwrap().remove(0).1;
    assert_eq!((&load.job, load.bytes > 0, load.bookmark), (&first.job, true, None));
    assert!(load.changes[0].to_string().contains("not known"), "{:?}", load.changes);
    // Whoever looks for its rows by when they were loaded finds them.
    assert!(load.started < earlier && load.started <= load.ended);
    assert_eq!(ledger.state(&test).unwrap(), memory.durable.lock().unwrap().state);

    copied(copy.path(), &spool);
    run(&engine, &steps, &memory);
    assert!(spool_files(&spool).is_empty());
    assert_eq!(told(), after, "counted twice");
}

/// Rows that are durable do not make a job fail because the ledger is full; what it could not take is
/// written down as soon as it can.
#[test]
fn loads_that_cannot_be_written_down_are_told_and_written_down_later() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    drop(engine.ledger().unwrap());
    let full =
        "CREATE TRIGGER full BEFORE INSERT ON loads BEGIN SELECT RAISE(ABORT, 'no room'); END";
    alter(directory.path(), full);
    let memory = Memory::default();
    let steps = [
        Step::Records("a", 0..4),
        Step::Committed(1),
        Step::Ledger("DROP TRIGGER full"),
        Step::Records("a", 4..8),
        Step::State(1),
    ];
    let report = run(&engine, &steps, &memory);
    assert_eq!((report.error, report.tables[0].loaded), (None, 8));
    assert!(report.notices.iter().any(|notice| notice.contains("write down a load")));
    let loads = engine.ledger().unwrap().loads(&"test".into(), None, None, 10).unwrap();
    assert_eq!(loads.iter().map(|(_, load)| load.rows).collect::<Vec<_>>(), [4, 4]);
}

/// A connection that fails for longer than history is kept still knows when it was complete.
#[test]
fn the_last_complete_job_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = engine(&directory);
    engine.keep_days = 10;
    let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let memory = Memory::default();
    for days in 0..30 {
        let clock = FixedClock(start + SignedDuration::from_hours(24 * days));
        let steps = match days {
            0..3 => vec![Step::Records("a", 0..1)],
            _ => vec![Step::Fail(ErrorKind::Protocol)],
        };
        run_at(&clock, &engine, &steps, &memory).unwrap();
    }
    let ledger = engine.ledger().unwrap();
    let last = ledger.last_complete(&"test".into()).unwrap();
    assert_eq!(last, Some(start + SignedDuration::from_hours(48)));
    assert_eq!(ledger.jobs(&"test".into(), None, 100).unwrap().len(), 12);
}

/// More than is deleted at once.
#[test]
fn a_long_history_is_forgotten_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    drop(engine.ledger().unwrap());
    alter(
        directory.path(),
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
         INSERT INTO loads (connection, job, stream, started, ended, rows, unchanged, rejected, removed,
                            bytes)
         SELECT 'test', 'j', 'a', '2020', '2020-01-01T00:00:00.000000000Z', 1, 0, 0, 0, 1 FROM n",
    );
    run(&engine, &[Step::Records("a", 0..1)], &Memory::default());
    let loads = engine.ledger().unwrap().loads(&"test".into(), None, None, 100).unwrap();
    assert_eq!((loads.len(), loads[0].0), (1, 25_001), "numbers are not given twice");
}
