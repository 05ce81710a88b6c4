//! Copies of either side, crashes between any two steps, damage: nothing is lost or left out in silence.

use std::fs;

use bobbin_core::report::Level;
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::{Context, Output as _, SyncRequest, Tap as _};
use bobbin_core::{ErrorKind, cancel::Cancel, clock::SystemClock, report::NoLog};
use bobbin_import::Batch;
use bobbin_import::tap::ImportTap;

use crate::support::{Home, Ran, copy, now, push, upserts};

/// The inbox was deleted and made again, and gives the same numbers.
#[test]
fn a_new_inbox_is_read_whole_whatever_an_old_state_says() {
    let home = Home::new();
    for n in 1..=5 {
        home.accept(&upserts("t", &[(n, 1)]));
    }
    let old = home.run(&State::default()).state;
    fs::remove_dir_all(home.path()).unwrap();
    for n in 11..=13 {
        home.accept(&upserts("t", &[(n, 1)]));
    }
    assert_eq!(home.open().waiting(&old).unwrap().requests, 3);
    let ran = home.run(&old);
    assert_eq!(ran.ids(), [11, 12, 13]);
    assert!(ran.notice(Level::Warn, "another inbox"));
    assert!(ran.incomplete().is_empty());
    assert!(home.run(&ran.state).ids().is_empty());
}

/// The inbox is an older copy of itself: it gives numbers again that the destination's state covers.
#[test]
fn an_older_copy_of_the_inbox_loses_nothing_that_it_takes_from_then_on() {
    let home = Home::new();
    let backup = home.path().with_extension("backup");
    let writer = home.open();
    for n in 1..=3 {
        writer.accept(&upserts("t", &[(n, 1)]), now()).unwrap();
    }
    copy(&home.path(), &backup);
    for n in 4..=6 {
        writer.accept(&upserts("t", &[(n, 1)]), now()).unwrap();
    }
    let state = home.run(&State::default()).state;
    drop(writer);
    fs::remove_dir_all(home.path()).unwrap();
    fs::rename(&backup, home.path()).unwrap();
    // Numbers 4 and 5 for the second time.
    home.accept(&upserts("t", &[(14, 1)]));
    home.accept(&upserts("t", &[(15, 1)]));
    let ran = home.run(&state);
    assert_eq!(ran.ids(), [14, 15]);
    assert!(home.run(&ran.state).ids().is_empty());
}

/// The power failed after a job had read a request, before its directory entry was durable.
#[test]
fn a_number_that_was_seen_and_lost_is_given_again_without_harm() {
    let home = Home::new();
    home.accept(&upserts("t", &[(1, 1)]));
    let before = home.run(&State::default()).state;
    home.accept(&upserts("t", &[(2, 1)]));
    let seen = home.run(&before).state;
    fs::remove_file(home.request()).unwrap();
    // As far as the writer knows, number 2 was never given.
    fs::remove_file(home.path().join("released.json")).unwrap();
    home.accept(&upserts("t", &[(3, 1)]));
    assert!(home.names("requests")[0].starts_with("000000000001-"));
    assert_eq!(home.run(&seen).ids(), [3]);
}

/// The destination is an older copy: what was loaded since is deleted, and that is told.
#[test]
fn an_older_destination_is_told_what_it_cannot_have_again() {
    let home = Home::new();
    home.accept(&upserts("t", &[(1, 1)]));
    let old = home.run(&State::default()).state;
    home.accept(&upserts("t", &[(2, 1)]));
    let new = home.run(&old).state;
    home.accept(&upserts("t", &[(3, 1)]));
    // Only at the beginning of this job is 2 deleted; before, an older copy still gets it.
    assert_eq!(home.run(&old).ids(), [2, 3]);
    home.run(&new);
    let ran = home.run(&old);
    assert_eq!(ran.ids(), [3]);
    insta::assert_snapshot!(format!("{:?}", ran.incomplete()), @r#"
    [("t", "what came in 1 request up to number 2 was loaded before and is deleted, and this destination does not have it (a new or restored one, or a reset); have the clients send it again")]
    "#);
    assert!(ran.notice(Level::Error, "what came in 1 request up to number 2 was loaded before"));
    assert!(home.run(&ran.state).incomplete().is_empty());
    // Also when nothing waits, and told once.
    let ran = home.run(&State::default());
    assert_eq!(ran.incomplete().len(), 1);
    assert!(home.run(&ran.state).incomplete().is_empty());
}

#[test]
fn numbers_go_on_after_everything_was_deleted() {
    let home = Home::new();
    for n in 1..=3 {
        home.accept(&upserts("t", &[(n, 1)]));
    }
    let ran = home.run(&State::default());
    assert_eq!(home.open().release(&ran.state).unwrap(), 3);
    assert!(home.names("requests").is_empty());
    assert_eq!(home.accept(&upserts("t", &[(4, 1)])).number, 4);
    assert_eq!(home.run(&ran.state).ids(), [4]);
    // Many starts of the service, few names kept.
    let mut state = ran.state;
    for n in 5..40 {
        home.accept(&upserts("t", &[(n, 1)]));
        state = home.run(&state).state;
    }
    let inbox = fs::read_to_string(home.path().join("inbox.json")).unwrap();
    assert!(inbox.matches("first").count() < 5, "{inbox}");
}

/// A process may end between any two steps of taking and of deleting.
#[test]
fn steps_half_done_are_done_again() {
    let home = Home::new();
    home.accept(&upserts("t", &[(1, 1)]));
    home.accept(&upserts("t", &[(2, 1)]));
    let state = home.run(&State::default()).state;
    // Written down as deleted, and still there.
    fs::write(home.path().join("released.json"), br#"{"number":2}"#).unwrap();
    let ran = home.run(&state);
    assert!(ran.ids().is_empty() && ran.incomplete().is_empty());
    assert!(home.names("requests").is_empty());
    // A series that began and gave nothing; a table that is listed and has nothing.
    let inbox = home.path().join("inbox.json");
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&inbox).unwrap()).unwrap();
    let series = value["series"].as_array_mut().unwrap();
    series.push(serde_json::json!({"id": "feedfeedfeedfeed", "first": 3}));
    fs::write(&inbox, value.to_string()).unwrap();
    assert_eq!(home.accept(&upserts("t", &[(3, 1)])).number, 3);
    let ran = home.run(&state);
    assert_eq!(ran.ids(), [3]);
    assert!(home.run(&ran.state).ids().is_empty());
}

#[test]
fn a_run_that_fails_in_between_is_repeated_from_its_last_state() {
    let home = Home::new();
    for n in 1..=3 {
        home.accept(&push(&format!(
            r#"[{{"table_name":"t","sequence":1,"action":"upsert","data":{{"id":{n}}}}}]"#
        )));
    }
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    let (selection, state) = (Selection::all(), State::default());
    let tap = ImportTap::new(home.path(), home.path());
    let catalog = tap.discover(&cx).unwrap().catalog;
    let request = SyncRequest { catalog: &catalog, selection: &selection, state: &state };
    let mut failing = Ran { fails_after: Some(1), ..Ran::default() };
    tap.sync(&cx, &request, &mut failing).unwrap_err();
    assert_eq!(failing.state, State::default());
    let whole = home.run(&failing.state);
    // The same records under the same ids: the rows are the same.
    assert_eq!(failing.records()[..2], whole.records()[..2]);
    cancel.cancel();
    let mut stopped = Ran::default();
    let error = tap.sync(&cx, &request, &mut stopped).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    stopped.state(&whole.state).unwrap();
}

/// Any byte of a file that is another, and any end that is missing.
#[test]
fn a_damaged_request_is_set_aside_and_told_and_the_others_are_loaded() {
    damaged(false);
    damaged(true);
}

fn damaged(sealed: bool) {
    let home = Home::new();
    let accept = |batches: &[Batch]| {
        if sealed { home.accept_sealed(batches) } else { home.accept(batches) }
    };
    accept(&upserts("first", &[(1, 1)]));
    let good = fs::read(home.request()).unwrap();
    let path = home.request();
    let whole = home.run(&State::default()).text();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        for bad in [bad, good[..at].to_vec()] {
            fs::write(&path, &bad).unwrap();
            let (ran, result) = home.try_run(&State::default(), &Selection::all());
            if let Err(error) = result {
                // Alone with its seal broken nobody can tell whether it is the key that is wrong.
                assert!(
                    sealed && error.report().contains("nothing was touched"),
                    "byte {at}: {error}"
                );
                assert!(home.names("damaged").is_empty() && path.exists(), "byte {at}");
                continue;
            }
            if ran.ids() == [1] {
                // A bit that means nothing to zstd: what is in the file is as it was.
                assert!(!sealed, "byte {at} of a sealed file");
                assert_eq!(ran.text(), whole, "byte {at}");
                continue;
            }
            assert!(ran.ids().is_empty(), "byte {at}");
            let aside = home.names("damaged");
            assert_eq!(aside.len(), 1, "byte {at}");
            fs::remove_file(home.path().join("damaged").join(&aside[0])).unwrap();
        }
    }
    fs::write(&path, &good).unwrap();
    accept(&upserts("second", &[(2, 1)]));
    accept(&upserts("first", &[(3, 1)]));
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    let ran = home.run(&State::default());
    assert_eq!(ran.ids(), [2, 3]);
    assert!(ran.told.contains(&"state 3".to_owned()));
    let told = "request 1 of 2026-11-28T09:30:00Z with 1 record is damaged and was set aside; have \
                its client send it again";
    assert_eq!(ran.incomplete(), [("first".to_owned(), told.to_owned())]);
    assert!(ran.notice(Level::Error, "request 1 of 2026-11-28T09:30:00Z with 1 record is damaged"));
    // It is not read again, and not forgotten.
    let later = home.run(&ran.state);
    assert!(later.incomplete().is_empty());
    assert!(later.notice(Level::Warn, "1 request could not be read"));
    assert_eq!(home.open().waiting(&ran.state).unwrap().damaged, 1);
    assert_eq!(accept(&upserts("first", &[(4, 1)])).number, 4);
}

#[test]
fn a_request_of_a_newer_bobbin_stops_the_run_and_stays() {
    let home = Home::new();
    home.accept(&upserts("t", &[(1, 1)]));
    let path = home.request();
    let newer = zstd::encode_all(&b"{\"form\":2,\"other\":true}\n"[..], 1).unwrap();
    fs::write(&path, newer).unwrap();
    let (ran, result) = home.try_run(&State::default(), &Selection::all());
    insta::assert_snapshot!(result.unwrap_err().message(), @r#"
    a request was written by a newer bobbin
    "#);
    assert!(ran.told.is_empty() && path.exists());
}
