//! One row per key, and the newest version wins whatever the order of arrival. F-67.

use bobbin_core::schema::{Kind, Schema};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{Place, job, lines, load, stream, text};

#[test]
fn f67_newer_versions_replace_whole_rows_and_older_ones_do_not() {
    let place = Place::new();
    let stream = stream();
    let first = job(
        &place,
        &stream,
        "1",
        1,
        &[r#"{"id":"a","rev":5,"name":"A","age":1}"#, r#"{"id":"b","rev":1,"name":"B"}"#],
    );
    assert_eq!((first.loaded, first.superseded), (2, 0));
    let second = job(
        &place,
        &stream,
        "2",
        10,
        &[
            r#"{"id":"a","rev":4,"name":"older"}"#,
            r#"{"id":"b","rev":2}"#,
            r#"{"id":"c","rev":1,"name":"C"}"#,
        ],
    );
    assert_eq!((second.loaded, second.superseded), (2, 1));
    // The same version once more: the later extraction stands.
    let third = job(&place, &stream, "3", 20, &[r#"{"id":"a","rev":5,"name":"again"}"#]);
    assert_eq!((third.loaded, third.superseded), (1, 0));
    assert_eq!(
        place.query("SELECT id, name, age FROM crm.things ORDER BY id"),
        ["a | again | null", "b | null | null", "c | C | null"]
    );
}

#[test]
fn a_version_field_of_changing_type_still_orders() {
    let place = Place::new();
    let stream = stream();
    job(&place, &stream, "1", 1, &[r#"{"id":"a","rev":"text is older than numbers","name":"1"}"#]);
    job(&place, &stream, "2", 2, &[r#"{"id":"a","rev":12345678901234567890,"name":"2"}"#]);
    let receipt = job(&place, &stream, "3", 3, &[r#"{"id":"a","rev":7,"name":"3"}"#]);
    assert_eq!((receipt.loaded, receipt.superseded), (0, 1));
    assert_eq!(place.one("SELECT name FROM crm.things"), "2");
}

#[test]
fn keys_of_several_fields_and_streams_without_a_key() {
    let place = Place::new();
    let mut stream = stream();
    stream.key = vec!["n".to_owned(), "s".to_owned()];
    stream.fields.properties.push(("n".to_owned(), Schema::of(Kind::Integer)));
    stream.fields.properties.push(("s".to_owned(), text()));
    job(
        &place,
        &stream,
        "1",
        1,
        &[r#"{"n":1,"s":"a","name":"old"}"#, r#"{"n":1,"s":"b","name":"other"}"#],
    );
    let receipt = job(&place, &stream, "2", 5, &[r#"{"n":1,"s":"a","name":"new"}"#]);
    assert_eq!(receipt.loaded, 1);
    assert_eq!(place.query("SELECT name FROM crm.things ORDER BY 1"), ["new", "other"]);

    stream.name = "events".into();
    stream.key.clear();
    job(&place, &stream, "3", 1, &[r#"{"n":1}"#, r#"{"n":1}"#]);
    job(&place, &stream, "4", 1, &[r#"{"n":1}"#]);
    assert_eq!(place.one("SELECT count(*) FROM crm.events"), "3");
}

#[test]
fn f67_the_order_of_arrival_does_not_matter() {
    let mut place = Place::new();
    let mut databases = 0;
    let cases = (
        proptest::collection::vec(
            (
                0..5u8,
                prop_oneof![
                    Just(String::new()),
                    (0..4i64).prop_map(|n| format!(",\"rev\":{n}")),
                    Just(",\"rev\":1.5".to_owned()),
                    Just(",\"rev\":\"x\"".to_owned()),
                    Just(",\"rev\":true".to_owned()),
                    Just(",\"rev\":12345678901234567890".to_owned()),
                ],
                proptest::option::of(0..3u8),
            ),
            1..30,
        ),
        proptest::collection::vec(1..8usize, 1..6),
    )
        .prop_flat_map(|(records, cuts)| {
            let order: Vec<usize> = (0..records.len()).collect();
            (Just(records), Just(cuts), Just(order).prop_shuffle())
        });
    let cases_wanted = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    let config = ProptestConfig { failure_persistence: None, ..Default::default() };
    let mut runner =
        TestRunner::new(ProptestConfig { cases: cases_wanted.unwrap_or(12), ..config });
    let place = std::cell::RefCell::new(&mut place);
    let databases = std::cell::RefCell::new(&mut databases);
    runner
        .run(&cases, |(records, cuts, order)| {
            let stream = stream();
            let records: Vec<(i64, String)> = (0i64..)
                .zip(&records)
                .map(|(n, (id, rev, day))| {
                    let day = day.map_or(String::new(), |day| {
                        format!(",\"updated_at\":\"2026-01-0{}T00:00:00Z\"", day + 1)
                    });
                    (n, format!("{{\"id\":\"{id}\"{rev}{day},\"name\":\"{n}\"}}"))
                })
                .collect();
            let shuffled: Vec<(i64, String)> =
                order.iter().map(|&at| records[at].clone()).collect();
            let run = |records: &[(i64, String)], cuts: &[usize]| {
                let mut databases = databases.borrow_mut();
                **databases += 1;
                let mut place = place.borrow_mut();
                place.renew(&format!("d{databases}"));
                let mut loader = place.open("1");
                let (mut at, mut number, mut seen) = (0, 0, 0);
                while at < records.len() {
                    number += 1;
                    let end = (at + cuts[number as usize % cuts.len()]).min(records.len());
                    let part = lines(&records[at..end]);
                    let receipt = load(&mut loader, &stream, "1", number, &part).unwrap();
                    seen += receipt.loaded + receipt.superseded;
                    at = end;
                    if number % 2 == 0 {
                        loader.commit(None).unwrap();
                    }
                    if number % 5 == 0 {
                        // As a new job: what the table holds is not known any more.
                        loader.commit(None).unwrap();
                        loader = place.open("1");
                    }
                }
                // The whole again, as after a crash that lost the ledger: nothing changes.
                load(&mut loader, &stream, "0", 1, &lines(records)).unwrap();
                loader.commit(None).unwrap();
                (place.dump("things"), seen)
            };
            let (expected, total) = run(&records, &[records.len()]);
            prop_assert_eq!(total, records.len() as u64);
            let (found, total) = run(&shuffled, &cuts);
            prop_assert_eq!(total, records.len() as u64);
            prop_assert_eq!(&found, &expected);
            Ok(())
        })
        .unwrap();
}

#[test]
fn many_rows_over_many_jobs_stay_one_per_key() {
    let place = Place::new();
    let stream = stream();
    for round in 0..3i64 {
        let mut loader = place.open(&format!("job{round}"));
        for part in 0..7i64 {
            let records: Vec<(i64, String)> = (0..3000i64)
                .map(|n| {
                    let id = (n * 7 + part * 1500) % 12_000;
                    (
                        round * 1_000_000 + part * 10_000 + n,
                        format!("{{\"id\":\"k{id}\",\"rev\":{round},\"name\":\"{round}\"}}"),
                    )
                })
                .collect();
            let text = lines(&records);
            load(&mut loader, &stream, &format!("job{round}"), part as u64 + 1, &text).unwrap();
            if part % 2 == 1 {
                loader.commit(None).unwrap();
            }
        }
        loader.commit(None).unwrap();
        loader.finish().unwrap();
    }
    assert_eq!(place.one("SELECT count(*) - count(DISTINCT id) FROM crm.things"), "0");
    assert_eq!(place.one("SELECT string_agg(DISTINCT name, ',') FROM crm.things"), "2");
}
