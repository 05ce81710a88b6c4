//! Rounds are whole or not at all, whatever happens to the connection. F-84.

use bobbin_core::ErrorKind;

use crate::support::{Place, job, load, numbered, state, stream};

#[test]
fn f84_a_round_without_commit_leaves_everything_as_before() {
    let place = Place::new();
    let stream = stream();
    job(&place, &stream, "1", 1, &[r#"{"id":"a","rev":1,"name":"A"}"#]);
    let before = place.dump("things");
    let mut loader = place.open("2");
    let text = numbered(10, &[r#"{"id":"a","rev":2,"new":true}"#, r#"{"id":"b"}"#]);
    load(&mut loader, &stream, "2", 1, &text).unwrap();
    loader.rollback().unwrap();
    assert_eq!(place.dump("things"), before);
    // The same session goes on, and makes the column again.
    load(&mut loader, &stream, "2", 2, &text).unwrap();
    loader.commit(Some(&state("two"))).unwrap();
    assert_eq!(place.one("SELECT new FROM crm.things WHERE id = 'a'"), "t");
    load(&mut loader, &stream, "2", 3, &numbered(20, &[r#"{"id":"c"}"#])).unwrap();
    drop(loader);
    assert_eq!(place.one("SELECT count(*) FROM crm.things"), "2");
    let recovered = place.open("3").recover().unwrap();
    assert_eq!(recovered.state, Some(state("two")));
    assert_eq!(recovered.sequence, Some(11));
    assert_eq!(recovered.segments.len(), 2);
}

#[test]
fn a_segment_is_loaded_once() {
    let place = Place::new();
    let stream = stream();
    job(&place, &stream, "1", 1, &[r#"{"id":"a"}"#]);
    let mut loader = place.open("1");
    let receipt = load(&mut loader, &stream, "1", 1, &numbered(1, &[r#"{"id":"a"}"#])).unwrap();
    assert_eq!((receipt.loaded, receipt.superseded, receipt.rejected), (0, 0, 0));
}

#[test]
fn who_opens_later_fences_the_other_off() {
    let place = Place::new();
    let stream = stream();
    let mut first = place.open("1");
    let mut second = place.open("2");
    load(&mut first, &stream, "1", 1, &numbered(1, &[r#"{"id":"a","name":"first"}"#])).unwrap();
    let error = first.commit(Some(&state("first"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    load(&mut second, &stream, "2", 1, &numbered(1, &[r#"{"id":"a","name":"second"}"#])).unwrap();
    second.commit(Some(&state("second"))).unwrap();
    assert_eq!(place.query("SELECT name FROM crm.things"), ["second"]);
}

#[test]
fn f84_a_server_that_crashes_takes_the_round_along_and_no_more() {
    let place = Place::new();
    let stream = stream();
    let mut loader = place.open("1");
    load(&mut loader, &stream, "1", 1, &numbered(1, &[r#"{"id":"a"}"#])).unwrap();
    loader.commit(Some(&state("one"))).unwrap();
    load(&mut loader, &stream, "1", 2, &numbered(2, &[r#"{"id":"b"}"#])).unwrap();
    place.server.crash();
    let error = loader.commit(Some(&state("two"))).unwrap_err();
    assert!(error.is_transient(), "{}", error.report());
    loader.rollback().unwrap();
    // While it is away, each attempt says so.
    let error = load(&mut loader, &stream, "1", 2, &numbered(2, &[r#"{"id":"b"}"#])).unwrap_err();
    assert!(error.is_transient(), "{}", error.report());
    loader.rollback().unwrap();
    place.server.go_on();
    assert_eq!(place.query("SELECT id FROM crm.things"), ["a"]);
    load(&mut loader, &stream, "1", 2, &numbered(2, &[r#"{"id":"b"}"#])).unwrap();
    loader.commit(Some(&state("two"))).unwrap();
    assert_eq!(place.query("SELECT id FROM crm.things ORDER BY 1"), ["a", "b"]);
    assert_eq!(place.open("2").recover().unwrap().state, Some(state("two")));
}

#[test]
fn a_connection_that_is_ended_is_made_anew() {
    let place = Place::new();
    let stream = stream();
    let mut loader = place.open("1");
    load(&mut loader, &stream, "1", 1, &numbered(1, &[r#"{"id":"a"}"#])).unwrap();
    place.by_hand(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bobbin'",
    );
    let error = loader.commit(Some(&state("one"))).unwrap_err();
    assert!(error.is_transient(), "{}", error.report());
    load(&mut loader, &stream, "1", 1, &numbered(1, &[r#"{"id":"a"}"#])).unwrap();
    loader.commit(Some(&state("one"))).unwrap();
    assert_eq!(place.query("SELECT id FROM crm.things"), ["a"]);
}

#[test]
fn a_lock_of_somebody_else_is_waited_for_and_then_told() {
    let place = Place::new();
    let stream = stream();
    job(&place, &stream, "1", 1, &[r#"{"id":"a"}"#]);
    let mut other = place.client();
    other.batch_execute("BEGIN; LOCK TABLE crm.things IN SHARE MODE").unwrap();
    let mut config = place.config();
    config.lock_timeout = std::time::Duration::from_millis(200);
    let mut loader = Place::try_open(&config, "2").unwrap();
    let text = numbered(10, &[r#"{"id":"a","name":"b"}"#]);
    let error = load(&mut loader, &stream, "2", 1, &text).unwrap_err();
    assert!(error.is_transient() && error.report().contains("lock"), "{}", error.report());
    loader.rollback().unwrap();
    other.batch_execute("ROLLBACK").unwrap();
    load(&mut loader, &stream, "2", 1, &text).unwrap();
    loader.commit(None).unwrap();
    assert_eq!(place.query("SELECT name FROM crm.things"), ["b"]);
}
