//! The ledger keeps reports, refuses what it cannot read, and is never needed for the data.

use std::fs;

use bobbin_core::ErrorKind;
use bobbin_engine::ledger::Ledger;

use crate::support::{Memory, Step, engine, run, try_run};

#[test]
fn reports_and_states_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    let steps = [Step::Records("a", 0..3), Step::State(7)];
    let report = run(&engine, &steps, &Memory::default());
    let ledger = engine.ledger().unwrap();
    let jobs = ledger.jobs(&"test".into(), 10).unwrap();
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
    let error = Ledger::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.report().contains("newer bobbin"), "{error:?}");

    fs::write(&path, vec![0x5A; 8192]).unwrap();
    let error = try_run(&engine, &[], &Memory::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.report().contains("move the file away"), "{error:?}");
}
