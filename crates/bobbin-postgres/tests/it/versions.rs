//! F-86: a table replaced as a whole, with keys and without.

use bobbin_core::catalog::Stream;
use bobbin_core::destination::Loader;
use bobbin_core::receipt::Receipt;

use crate::support::{Place, numbered, segment, stream};

/// Loads records of one version; `activates` after them.
fn load(
    loader: &mut Box<dyn Loader>,
    stream: &Stream,
    (job, number): (&str, u64),
    (version, activates): (Option<i64>, bool),
    records: &[&str],
) -> Receipt {
    let text = numbered(number as i64 * 100 + job.parse::<i64>().unwrap() * 10_000, records);
    let mut segment = segment(stream, job, number, records.len() as u64);
    segment.version = version;
    segment.activates = activates;
    loader.load(stream, &segment, &mut std::io::Cursor::new(text.as_bytes())).unwrap()
}

#[test]
fn f86_a_keyed_table_keeps_only_the_last_whole_version() {
    let place = Place::of_tables();
    let stream = stream();
    let ids = || place.query("SELECT id, _sdc_table_version FROM crm.things ORDER BY id");
    let mut loader = place.open("1");
    let first = [r#"{"id":"a","tags":["x"]}"#, r#"{"id":"b","tags":["y"]}"#];
    load(&mut loader, &stream, ("1", 1), (Some(100), false), &first);
    loader.commit(None).unwrap();
    assert_eq!(ids(), ["a | 100", "b | 100"], "the first rows ever show at once");
    load(&mut loader, &stream, ("1", 2), (Some(100), true), &[]);
    loader.commit(None).unwrap();
    drop(loader);

    // A version that never becomes whole removes nothing.
    let mut loader = place.open("2");
    load(&mut loader, &stream, ("2", 1), (Some(200), false), &[r#"{"id":"b"}"#]);
    loader.commit(None).unwrap();
    drop(loader);
    assert_eq!(ids(), ["a | 100", "b | 200"]);

    let mut loader = place.open("3");
    load(&mut loader, &stream, ("3", 1), (Some(300), false), &[r#"{"id":"c","tags":["z"]}"#]);
    let receipt = load(&mut loader, &stream, ("3", 2), (Some(300), true), &[r#"{"id":"b"}"#]);
    assert_eq!((receipt.loaded, receipt.removed), (1, 1));
    assert_eq!(ids(), ["a | 100", "b | 200"], "nobody sees it half replaced");
    loader.commit(None).unwrap();
    assert_eq!(ids(), ["b | 300", "c | 300"]);
    assert_eq!(place.query("SELECT value FROM crm.things__tags"), ["z"]);

    // Records of a version that is over are older than all that is there.
    let receipt = load(&mut loader, &stream, ("3", 3), (Some(250), true), &[r#"{"id":"d"}"#]);
    assert_eq!((receipt.loaded, receipt.superseded, receipt.removed), (0, 1, 0));
    loader.commit(None).unwrap();
    assert_eq!(ids(), ["b | 300", "c | 300"]);
}

#[test]
fn f86_a_table_without_keys_is_never_seen_half_replaced() {
    let place = Place::of_tables();
    let stream = Stream { key: Vec::new(), ..stream() };
    let names = || place.query("SELECT name FROM crm.things ORDER BY name");
    let tags = || place.query("SELECT value FROM crm.things__tags ORDER BY value");
    let mut loader = place.open("1");
    let first = [r#"{"name":"a","tags":["x"]}"#, r#"{"name":"b","tags":["y"]}"#];
    load(&mut loader, &stream, ("1", 1), (Some(100), true), &first);
    loader.commit(None).unwrap();
    assert_eq!(names(), ["a", "b"]);

    // Several rounds, a process that dies, and a new column on the way.
    load(&mut loader, &stream, ("1", 2), (Some(200), false), &[r#"{"name":"lost","new":1}"#]);
    loader.commit(None).unwrap();
    drop(loader);
    assert_eq!(names(), ["a", "b"]);
    let mut loader = place.open("2");
    load(&mut loader, &stream, ("2", 1), (Some(300), false), &[r#"{"name":"c","tags":["z"]}"#]);
    loader.commit(None).unwrap();
    assert_eq!((names(), tags()), (vec!["a".into(), "b".into()], vec!["x".into(), "y".into()]));
    let receipt =
        load(&mut loader, &stream, ("2", 2), (Some(300), true), &[r#"{"name":"d","newer":2}"#]);
    assert_eq!(receipt.removed, 2);
    loader.commit(None).unwrap();
    assert_eq!((names(), tags()), (vec!["c".into(), "d".into()], vec!["z".into()]));
    assert_eq!(place.query("SELECT newer FROM crm.things ORDER BY name"), ["null", "2"]);
    let left = "SELECT count(*) FROM pg_tables WHERE tablename LIKE '\\_bobbin\\_next%'";
    assert_eq!(place.one(left), "0");
}

/// A record that the whole version has in an older form than the table is no record that is gone.
#[test]
fn f86_a_newer_row_survives_an_older_form_of_it() {
    let place = Place::of_tables();
    let stream = stream();
    let mut loader = place.open("1");
    let first = [r#"{"id":"a","rev":9,"tags":["kept"]}"#, r#"{"id":"gone","rev":1}"#];
    load(&mut loader, &stream, ("1", 1), (Some(100), true), &first);
    loader.commit(None).unwrap();
    let second = [r#"{"id":"a","rev":8,"tags":["older"]}"#, r#"{"id":"b","rev":1}"#];
    let receipt = load(&mut loader, &stream, ("1", 2), (Some(200), true), &second);
    loader.commit(None).unwrap();
    assert_eq!((receipt.superseded, receipt.removed), (1, 1));
    assert_eq!(
        place.query("SELECT id, rev, _sdc_table_version FROM crm.things ORDER BY id"),
        ["a | 9 | 200", "b | 1 | 200"]
    );
    assert_eq!(place.query("SELECT value FROM crm.things__tags"), ["kept"]);
    // A version that is over teaches the session nothing about columns.
    load(&mut loader, &stream, ("1", 3), (Some(150), false), &[r#"{"id":"c","never":1}"#]);
    load(&mut loader, &stream, ("1", 4), (Some(200), false), &[r#"{"id":"c","never":2}"#]);
    loader.commit(None).unwrap();
    assert_eq!(place.one("SELECT never FROM crm.things WHERE id = 'c'"), "2");
}

/// Tables of arrays that appear while rows gather beside are not seen before their time.
#[test]
fn f86_a_table_of_an_array_may_appear_with_the_next_version() {
    let place = Place::of_tables();
    let stream = Stream { key: Vec::new(), ..stream() };
    let mut loader = place.open("1");
    load(&mut loader, &stream, ("1", 1), (Some(100), true), &[r#"{"name":"a"}"#]);
    load(&mut loader, &stream, ("1", 2), (Some(200), false), &[r#"{"name":"b","tags":["x"]}"#]);
    loader.commit(None).unwrap();
    assert_eq!(place.one("SELECT count(*) FROM crm.things__tags"), "0");
    // Another process goes on with the same version.
    drop(loader);
    let mut loader = place.open("2");
    load(
        &mut loader,
        &stream,
        ("2", 1),
        (Some(200), true),
        &[r#"{"name":"c","tags":["y"],"n":1}"#],
    );
    loader.commit(None).unwrap();
    assert_eq!(place.query("SELECT name FROM crm.things ORDER BY name"), ["b", "c"]);
    assert_eq!(place.query("SELECT value FROM crm.things__tags ORDER BY value"), ["x", "y"]);
}
