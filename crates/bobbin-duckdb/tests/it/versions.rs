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
    let text = numbered(number as i64 * 20_000 + job.parse::<i64>().unwrap() * 1_000_000, records);
    let mut segment = segment(stream, job, number, records.len() as u64);
    segment.version = version;
    segment.activates = activates;
    loader.load(stream, &segment, &mut std::io::Cursor::new(text.as_bytes())).unwrap()
}

#[test]
fn f86_a_keyed_table_keeps_only_the_last_whole_version() {
    let place = Place::of_tables();
    let stream = stream();
    let ids = || place.texts("SELECT id, _sdc_table_version FROM crm.things ORDER BY id");
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
    assert_eq!(place.texts("SELECT value FROM crm.things__tags"), ["z"]);

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
    let names = || place.texts("SELECT name FROM crm.things ORDER BY name");
    let tags = || place.texts("SELECT value FROM crm.things__tags ORDER BY value");
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
    assert_eq!(place.texts("SELECT newer FROM crm.things ORDER BY name"), ["null", "2"]);
    let left = "SELECT count(*) FROM duckdb_tables() WHERE starts_with(table_name, '_bobbin_next')";
    assert_eq!(place.one(left), "0");
}

/// What is there may be newer than what a version brings; it belongs to the version all the same.
#[test]
fn f86_a_record_that_is_newer_than_the_versions_own_stays() {
    let place = Place::of_tables();
    let stream = stream();
    let mut loader = place.open("1");
    let newer = r#"{"id":"a","rev":9,"tags":["new"]}"#;
    let older = r#"{"id":"a","rev":8,"tags":["old","older"]}"#;
    load(&mut loader, &stream, ("1", 1), (Some(100), true), &[newer, r#"{"id":"gone","rev":1}"#]);
    loader.commit(None).unwrap();
    let receipt = load(&mut loader, &stream, ("1", 2), (Some(200), true), &[older]);
    assert_eq!((receipt.loaded, receipt.superseded, receipt.removed), (0, 1, 1));
    // After the version, in the same round, with a new column.
    let receipt = load(&mut loader, &stream, ("1", 3), (None, false), &[older]);
    assert_eq!((receipt.loaded, receipt.superseded), (0, 1));
    let back = r#"{"id":"gone","rev":0,"back":true,"tags":["back"]}"#;
    let receipt = load(&mut loader, &stream, ("1", 4), (None, false), &[back]);
    assert_eq!((receipt.loaded, receipt.superseded), (1, 0));
    loader.commit(None).unwrap();
    drop(loader);
    assert_eq!(
        place.texts("SELECT id, rev, back, _sdc_table_version FROM crm.things ORDER BY id"),
        ["a | 9 | null | 200", "gone | 0 | true | 200"]
    );
    assert_eq!(
        place.texts("SELECT value, _sdc_table_version FROM crm.things__tags ORDER BY value"),
        ["back | 200", "new | 200"]
    );
}

/// Several versions become whole, and columns are added, before anything is committed.
#[test]
fn f86_versions_may_follow_each_other_in_one_round() {
    for key in [vec!["id".to_owned()], Vec::new()] {
        let place = Place::of_tables();
        let stream = Stream { key, ..stream() };
        let mut loader = place.open("1");
        let first = [r#"{"id":"a","tags":["x"]}"#, r#"{"id":"b","tags":["y"]}"#];
        load(&mut loader, &stream, ("1", 1), (Some(100), true), &first);
        loader.commit(None).unwrap();
        let record = r#"{"id":"c","two":2,"tags":["z"]}"#;
        let receipt = load(&mut loader, &stream, ("1", 2), (Some(200), true), &[record]);
        assert_eq!(receipt.removed, 2);
        let record = r#"{"id":"d","three":3,"items":[{"n":1}]}"#;
        let receipt = load(&mut loader, &stream, ("1", 3), (Some(300), true), &[record]);
        assert_eq!(receipt.removed, 1);
        let record = r#"{"id":"e","four":4,"tags":["w"]}"#;
        load(&mut loader, &stream, ("1", 4), (Some(300), false), &[record]);
        // Outdated records bring no column, and are no trouble to those who do.
        let record = r#"{"id":"e","five":4,"tags":["w"],"more":[1]}"#;
        let receipt = load(&mut loader, &stream, ("1", 5), (Some(250), true), &[record]);
        assert_eq!((receipt.loaded, receipt.superseded, receipt.removed), (0, 1, 0));
        let record = r#"{"id":"f","five":5,"more":[2]}"#;
        load(&mut loader, &stream, ("1", 6), (None, false), &[record]);
        loader.commit(None).unwrap();
        drop(loader);
        assert_eq!(
            place.texts(
                "SELECT id, two, three, four, five, _sdc_table_version FROM crm.things ORDER BY id"
            ),
            [
                "d | null | 3 | null | null | 300",
                "e | null | null | 4 | null | 300",
                "f | null | null | null | 5 | 300"
            ]
        );
        assert_eq!(place.texts("SELECT value FROM crm.things__tags ORDER BY 1"), ["w"]);
        assert_eq!(place.texts("SELECT n FROM crm.things__items"), ["1"]);
        assert_eq!(place.texts("SELECT value FROM crm.things__more"), ["2"]);
    }
}

/// A large table is replaced within the default limit of memory.
#[test]
fn f86_a_large_table_is_replaced_as_a_whole() {
    for key in [vec!["id".to_owned()], Vec::new()] {
        let place = Place::of_tables();
        let stream = Stream { key, ..stream() };
        let text = "some text that takes its room ".repeat(6);
        for job in 1..3i64 {
            let mut loader = place.open(&job.to_string());
            for part in 0..10i64 {
                let records: Vec<String> = (0..10_000)
                    .map(|n| {
                        let id = job * 50_000 + part * 10_000 + n;
                        format!(r#"{{"id":"{id}","rev":{id},"name":"{text}{id}","tags":["{id}"]}}"#)
                    })
                    .collect();
                let records: Vec<&str> = records.iter().map(String::as_str).collect();
                let number = (job.to_string(), part as u64 + 1);
                let version = (Some(job * 100), part == 9);
                load(&mut loader, &stream, (&number.0, number.1), version, &records);
                loader.commit(None).unwrap();
            }
            loader.finish().unwrap();
        }
        assert_eq!(
            place.texts("SELECT count(*), count(DISTINCT id), min(rev) FROM crm.things"),
            ["100000 | 100000 | 100000"]
        );
        assert_eq!(place.one("SELECT count(DISTINCT value) FROM crm.things__tags"), "100000");
    }
}
