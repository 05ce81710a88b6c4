//! What holds whatever fails: every record once, the state never ahead of the rows.

use std::fs;
use std::path::PathBuf;

use bobbin_core::ErrorKind;
use bobbin_engine::Outcome;
use jiff::{SignedDuration, Timestamp};

use crate::support::{self, Durable, Fault, Memory, Step, alter, engine, run, try_run};

fn steps() -> Vec<Step> {
    vec![
        Step::Records("a", 0..10),
        Step::State(1),
        Step::Records("a", 10..20),
        Step::Rejected("a"),
        Step::State(2),
        Step::Records("b", 0..5),
        Step::State(3),
        Step::Records("b", 5..8),
        Step::State(4),
    ]
}

fn assert_whole(memory: &Memory) {
    let durable = memory.durable.lock().unwrap();
    assert_eq!(durable.rows.len(), 28);
    assert!(durable.rows.values().all(|&times| times == 1), "{:?}", durable.rows);
    assert_eq!(durable.rejected, 1);
    let state = durable.state.as_ref().unwrap();
    assert_eq!(state.bookmarks.values().next().unwrap(), 4);
}

fn spool_files(directory: &tempfile::TempDir) -> Vec<PathBuf> {
    support::spool_files(&directory.path().join("spool"))
}

#[test]
fn a_calm_run_is_complete_and_leaves_the_spool_empty() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let report = run(&engine(&directory), &steps(), &memory);
    assert_eq!(report.outcome, Outcome::Complete, "{report:?}");
    assert_eq!(report.tables[0].loaded, 20);
    assert_eq!(report.tables[1].loaded, 8);
    assert_whole(&memory);
    assert!(spool_files(&directory).is_empty());
    // Again, with nothing new.
    let report = run(&engine(&directory), &steps(), &memory);
    assert_eq!(report.outcome, Outcome::Complete);
    assert_whole(&memory);
}

/// A slow source: everything so far is durable and released before the next record comes.
#[test]
fn the_destination_may_be_done_before_the_source_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    // Four records fill a segment and a round: nothing is open while the tap waits.
    let steps = [
        Step::Records("a", 0..4),
        Step::Committed(1),
        Step::Records("a", 4..8),
        Step::Committed(2),
        Step::Records("b", 0..4),
        Step::State(1),
    ];
    let report = run(&engine(&directory), &steps, &memory);
    assert_eq!(report.outcome, Outcome::Complete, "{report:?}");
    assert_eq!(memory.durable.lock().unwrap().rows.len(), 12);
    assert!(spool_files(&directory).is_empty());
    let left = fs::read_dir(directory.path().join("spool/test")).unwrap().count();
    assert_eq!(left, 1, "only the lock stays");
}

#[test]
fn one_segment_holds_several_states_and_the_last_one_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let mut engine = engine(&directory);
    engine.rows_per_commit = Some(1000);
    run(&engine, &steps(), &memory);
    assert_whole(&memory);
    // One for each stream.
    assert_eq!(memory.durable.lock().unwrap().commits, 2);
}

#[test]
fn passing_faults_of_the_destination_are_ridden_out() {
    for n in 1..=4 {
        for fault in [
            Fault::Load(n, ErrorKind::Unavailable),
            Fault::Commit(n, ErrorKind::Timeout),
            Fault::CommitAnswer(n, ErrorKind::Unavailable),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let memory = Memory::default();
            memory.faults.lock().unwrap().push(fault);
            let report = run(&engine(&directory), &steps(), &memory);
            assert_eq!(report.outcome, Outcome::Complete, "{fault:?}: {report:?}");
            assert_whole(&memory);
            assert!(memory.faults.lock().unwrap().is_empty(), "{fault:?} never came");
        }
    }
}

#[test]
fn when_loading_fails_the_extraction_is_kept_and_not_repeated() {
    for n in 1..=4 {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::default();
        memory.faults.lock().unwrap().push(Fault::Load(n, ErrorKind::Permission));
        let report = run(&engine(&directory), &steps(), &memory);
        assert_eq!(report.outcome, Outcome::Failed);
        assert_eq!(report.failure.map(|(kind, _)| kind), Some(ErrorKind::Permission));
        assert!(!spool_files(&directory).is_empty());
        // The source is gone now: everything must come from the spool.
        let report = run(&engine(&directory), &[Step::Fail(ErrorKind::Unavailable)], &memory);
        assert_eq!(report.outcome, Outcome::Failed);
        assert!(report.resumed_segments > 0);
        assert_whole(&memory);
        assert!(spool_files(&directory).is_empty());
    }
}

#[test]
fn when_the_tap_fails_what_a_state_covers_is_kept() {
    for at in 0..steps().len() {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::default();
        let mut failing = steps();
        failing.insert(at, Step::Fail(ErrorKind::Protocol));
        let report = run(&engine(&directory), &failing, &memory);
        assert_eq!(report.outcome, Outcome::Failed);
        let report = run(&engine(&directory), &steps(), &memory);
        assert_eq!(report.outcome, Outcome::Complete);
        let durable = memory.durable.lock().unwrap();
        assert_eq!(durable.rows.len(), 28);
        assert_eq!(durable.state.as_ref().unwrap().bookmarks.values().next().unwrap(), 4);
    }
}

#[test]
fn an_incomplete_stream_makes_the_run_incomplete() {
    let directory = tempfile::tempdir().unwrap();
    let mut steps = steps();
    steps.push(Step::Incomplete("b"));
    let report = run(&engine(&directory), &steps, &Memory::default());
    assert_eq!(report.outcome, Outcome::Incomplete);
    assert_eq!(report.tables[1].reason.as_deref(), Some("as scripted"));
}

#[test]
fn a_damaged_segment_is_set_aside_and_its_records_come_again() {
    for damage in [truncate, flip, damage_manifest] {
        for n in 0..3 {
            let directory = tempfile::tempdir().unwrap();
            let memory = Memory::default();
            memory.faults.lock().unwrap().push(Fault::Load(1, ErrorKind::Permission));
            run(&engine(&directory), &steps(), &memory);
            damage(&sealed(&directory)[n]);
            let report = run(&engine(&directory), &steps(), &memory);
            assert_eq!(report.notices.iter().filter(|n| n.contains("set aside")).count(), 1);
            let durable = memory.durable.lock().unwrap();
            assert_eq!(durable.rows.len(), 28, "{report:?}");
            assert_eq!(durable.state.as_ref().unwrap().bookmarks.values().next().unwrap(), 4);
            assert!(
                spool_files(&directory)
                    .iter()
                    .any(|path| path.to_string_lossy().ends_with(".corrupt"))
            );
        }
    }
}

/// The job that set the segment aside fails, too, before anything came again.
#[test]
fn a_damaged_segment_is_not_forgotten_by_the_job_after_the_next() {
    for damage in [truncate, flip, damage_manifest] {
        for n in 0..4 {
            for later in 1..=5 {
                let directory = tempfile::tempdir().unwrap();
                let memory = Memory::default();
                memory.faults.lock().unwrap().push(Fault::Load(1, ErrorKind::Permission));
                run(&engine(&directory), &steps(), &memory);
                damage(&sealed(&directory)[n]);
                let at = *memory.loads.lock().unwrap() + later;
                memory.faults.lock().unwrap().push(Fault::Load(at, ErrorKind::Permission));
                run(&engine(&directory), &steps(), &memory);
                memory.faults.lock().unwrap().clear();
                let report = run(&engine(&directory), &steps(), &memory);
                let durable = memory.durable.lock().unwrap();
                assert_eq!(durable.rows.len(), 28, "segment {n}, load {later}: {report:?}");
            }
        }
    }
}

/// The database was made anew, or restored, while segments waited for it: their bookmarks do not
/// claim what came before them.
#[test]
fn leftovers_bring_no_bookmark_to_a_destination_they_do_not_go_on_from() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    run(&engine(&directory), &steps(), &memory);
    let restored = memory.durable.lock().unwrap().clone();
    let mut more = steps();
    more.extend([Step::Records("a", 20..25), Step::State(5), Step::Records("b", 8..11)]);
    more.push(Step::State(6));
    run(&engine(&directory), &more, &memory);
    let mut most = more.clone();
    most.extend([Step::Records("a", 25..30), Step::State(7)]);
    memory
        .faults
        .lock()
        .unwrap()
        .push(Fault::Load(*memory.loads.lock().unwrap() + 1, ErrorKind::Permission));
    run(&engine(&directory), &most, &memory);
    assert!(!spool_files(&directory).is_empty());
    for durable in [Durable::default(), restored] {
        let copy = tempfile::tempdir().unwrap();
        let files = std::process::Command::new("cp")
            .args(["-r", &format!("{}/.", directory.path().display())])
            .arg(copy.path())
            .status();
        assert!(files.unwrap().success());
        let memory = Memory::default();
        *memory.durable.lock().unwrap() = durable;
        let report = run(&engine(&copy), &most, &memory);
        assert_eq!(report.outcome, Outcome::Complete);
        assert!(report.resumed_segments > 0);
        let durable = memory.durable.lock().unwrap();
        assert_eq!(durable.rows.len(), 41, "{report:?}");
        assert_eq!(durable.state.as_ref().unwrap().bookmarks.values().next().unwrap(), 7);
    }
    // Where they do go on, nothing is read again.
    let report = run(&engine(&directory), &[Step::Fail(ErrorKind::Unavailable)], &memory);
    assert!(report.resumed_segments > 0);
    let durable = memory.durable.lock().unwrap();
    assert_eq!(durable.rows.len(), 41);
    assert!(durable.rows.values().all(|&times| times == 1));
    assert_eq!(durable.state.as_ref().unwrap().bookmarks.values().next().unwrap(), 7);
}

#[test]
fn a_version_without_a_damaged_segment_is_not_whole() {
    let steps = [Step::Whole("a", 0..10), Step::State(1), Step::Records("b", 0..5), Step::State(2)];
    for damage in [truncate, flip, damage_manifest] {
        for n in 0..3 {
            let directory = tempfile::tempdir().unwrap();
            let memory = Memory::default();
            memory.faults.lock().unwrap().push(Fault::Load(1, ErrorKind::Permission));
            run(&engine(&directory), &steps, &memory);
            damage(&sealed(&directory)[n]);
            run(&engine(&directory), &steps, &memory);
            let durable = memory.durable.lock().unwrap();
            assert_eq!(durable.rows.len(), 15);
            assert!(!durable.activated.is_empty());
            assert!(durable.activated.iter().all(|&rows| rows == 10), "{:?}", durable.activated);
        }
    }
}

/// The data files of what an earlier job sealed.
fn sealed(directory: &tempfile::TempDir) -> Vec<PathBuf> {
    let files = spool_files(directory).into_iter();
    files.filter(|path| path.extension().is_some_and(|extension| extension == "zst")).collect()
}

fn truncate(path: &std::path::Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn flip(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

fn damage_manifest(path: &std::path::Path) {
    let manifest = path.with_extension("").with_extension("json");
    assert!(manifest.exists());
    fs::write(manifest, b"{\"form\":1").unwrap();
}

#[test]
fn two_jobs_of_one_connection_do_not_run_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    let spool = bobbin_engine::spool::Spool::open(&directory.path().join("spool"), &"test".into());
    let error = try_run(&engine, &steps(), &Memory::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    drop(spool);
    run(&engine, &steps(), &Memory::default());
}

/// Where several bobbins share a ledger, one alone runs a connection; after a crash the same one goes on at
/// once, another one when the lease has ended.
#[test]
fn a_lease_keeps_others_away_until_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    run(&engine, &steps(), &Memory::default());
    let (ledger, now) = (engine.ledger().unwrap(), Timestamp::now());
    let (test, later) = ("test".into(), now + SignedDuration::from_hours(1));
    ledger.lease(&test, "elsewhere", now, later).unwrap();
    let error = try_run(&engine, &steps(), &Memory::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.report().contains("another bobbin runs a job of this connection"), "{error}");
    assert!(ledger.lease(&test, "third", now, later).is_err());
    let lease = ledger.lease(&test, "elsewhere", now, now).unwrap();
    run(&engine, &steps(), &Memory::default());
    assert!(!ledger.holds(&lease).unwrap());
    let here = fs::read_to_string(directory.path().join("holder")).unwrap();
    ledger.lease(&test, &here, now, later).unwrap();
    run(&engine, &steps(), &Memory::default());
}

/// Whoever was taken over from stops, and writes nothing down any more.
#[test]
fn a_job_whose_lease_is_taken_stops_before_its_next_commit() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, memory) = (engine(&directory), Memory::default());
    let mut steps = steps();
    let taken = "UPDATE leases SET holder = 'elsewhere', fence = fence + 1";
    steps.insert(0, Step::Ledger(taken));
    let report = run(&engine, &steps, &memory);
    let error = report.error.unwrap();
    assert!(error.contains("another bobbin has taken over this connection"), "{error}");
    assert!(memory.durable.lock().unwrap().rows.is_empty());
    let ledger = engine.ledger().unwrap();
    let job = ledger.jobs(&"test".into(), None, 1).unwrap().remove(0);
    assert!(job.report.is_none() && !job.ended, "its end is not its own to tell");
    assert!(ledger.loads(&"test".into(), None, None, 10).unwrap().is_empty());
    assert_eq!(ledger.state(&"test".into()).unwrap(), None);
}

/// A job that ran and loaded is told as that, whatever the ledger can take.
#[test]
fn a_job_whose_end_cannot_be_written_down_still_has_its_report() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    drop(engine.ledger().unwrap());
    alter(
        directory.path(),
        "CREATE TRIGGER full BEFORE UPDATE ON jobs WHEN NEW.report IS NOT NULL
         BEGIN SELECT RAISE(ABORT, 'no room'); END",
    );
    let memory = Memory::default();
    let report = try_run(&engine, &steps(), &memory).unwrap();
    assert_eq!(report.outcome, Outcome::Complete);
    assert!(report.notices.iter().any(|notice| notice.contains("job's end")), "{report:?}");
    assert_whole(&memory);
}
