//! One row per key, and the newest version wins whatever the order of arrival.

use std::collections::BTreeMap;

use bobbin_core::schema::{Kind, Schema};
use proptest::prelude::*;

use crate::support::{Place, job, lines, load, numbered, stream, text};

#[test]
fn f67_a_later_job_replaces_whole_rows() {
    let place = Place::new();
    let stream = stream();
    let first = job(
        &place,
        &stream,
        "1",
        1,
        &[r#"{"id":"a","rev":1,"name":"A","age":1}"#, r#"{"id":"b","rev":1,"name":"B"}"#],
    );
    assert_eq!((first.loaded, first.superseded), (2, 0));
    let second = job(
        &place,
        &stream,
        "2",
        10,
        &[r#"{"id":"a","rev":2,"name":"A2"}"#, r#"{"id":"c","rev":1,"name":"C"}"#],
    );
    assert_eq!((second.loaded, second.superseded), (2, 0));
    assert_eq!(
        place.query("SELECT id, name, age::VARCHAR FROM crm.things ORDER BY id"),
        [
            [Some("a".to_owned()), Some("A2".to_owned()), None],
            [Some("b".to_owned()), Some("B".to_owned()), None],
            [Some("c".to_owned()), Some("C".to_owned()), None],
        ]
    );
}

#[test]
fn f67_an_older_version_that_comes_later_is_superseded() {
    let place = Place::new();
    let stream = stream();
    job(&place, &stream, "1", 1, &[r#"{"id":"a","rev":5,"name":"new"}"#]);
    let receipt = job(
        &place,
        &stream,
        "2",
        10,
        &[r#"{"id":"a","rev":4,"name":"old"}"#, r#"{"id":"a","name":"no rev"}"#],
    );
    assert_eq!((receipt.loaded, receipt.superseded), (0, 2));
    assert_eq!(place.one("SELECT name FROM crm.things"), "new");
    // The same version once more: the later extraction stands.
    let receipt = job(&place, &stream, "3", 20, &[r#"{"id":"a","rev":5,"name":"new"}"#]);
    assert_eq!((receipt.loaded, receipt.superseded), (1, 0));
    assert_eq!(
        place.query("SELECT name, _sdc_sequence FROM crm.things"),
        [[Some("new".to_owned()), Some("20".to_owned())]]
    );
}

#[test]
fn one_key_in_several_segments_of_one_round() {
    let place = Place::new();
    let stream = stream();
    let mut loader = place.open("1");
    let text = |from, rev, name: &str| {
        numbered(from, &[&format!("{{\"id\":\"a\",\"rev\":{rev},\"name\":\"{name}\"}}")])
    };
    let receipts: Vec<_> = [(1, 2, "two"), (2, 3, "three"), (3, 1, "one")]
        .into_iter()
        .map(|(n, rev, name)| {
            let receipt = load(&mut loader, &stream, "1", n, &text(n as i64, rev, name)).unwrap();
            (receipt.loaded, receipt.superseded)
        })
        .collect();
    assert_eq!(receipts, [(1, 0), (1, 0), (0, 1)]);
    loader.commit(None).unwrap();
    drop(loader);
    assert_eq!(place.query("SELECT name FROM crm.things"), [[Some("three".to_owned())]]);
}

/// DuckDB refuses to commit a column that was added after rows of an earlier transaction were
/// deleted.
#[test]
fn a_column_that_appears_after_rows_were_replaced_in_the_same_round() {
    let place = Place::new();
    let stream = stream();
    job(&place, &stream, "1", 1, &[r#"{"id":"a","rev":1}"#, r#"{"id":"b","rev":1}"#]);
    let mut loader = place.open("2");
    for (n, record) in [
        r#"{"id":"a","rev":2}"#,
        r#"{"id":"a","rev":3,"name":"three"}"#,
        r#"{"id":"b","rev":0,"other":1}"#,
        r#"{"id":"a","rev":1,"another":1}"#,
    ]
    .into_iter()
    .enumerate()
    {
        load(&mut loader, &stream, "2", n as u64, &numbered(n as i64 + 10, &[record])).unwrap();
    }
    loader.commit(None).unwrap();
    drop(loader);
    assert_eq!(
        place.query("SELECT id, rev::VARCHAR, name FROM crm.things ORDER BY id"),
        [
            [Some("a".to_owned()), Some("3".to_owned()), Some("three".to_owned())],
            [Some("b".to_owned()), Some("1".to_owned()), None],
        ]
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
fn keys_of_other_types_and_of_several_fields() {
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
        &[
            r#"{"n":1,"s":"a","name":"old"}"#,
            r#"{"n":1,"s":"b","name":"other"}"#,
            r#"{"n":11,"s":"","name":"third"}"#,
        ],
    );
    let receipt = job(&place, &stream, "2", 5, &[r#"{"n":1,"s":"a","name":"new"}"#]);
    assert_eq!(receipt.loaded, 1);
    assert_eq!(
        place.one("SELECT string_agg(name, ',' ORDER BY name) FROM crm.things"),
        "new,other,third"
    );
}

#[test]
fn many_rows_over_many_jobs_stay_one_per_key() {
    // Enough jobs that keys are first looked up, then read into the filter.
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
            load(&mut loader, &stream, &format!("job{round}"), part as u64 + 1, &lines(&records))
                .unwrap();
            if part % 2 == 1 {
                loader.commit(None).unwrap();
            }
        }
        loader.commit(None).unwrap();
        loader.finish().unwrap();
    }
    assert_eq!(place.one("SELECT count(*) - count(DISTINCT id) FROM crm.things"), "0");
    assert_eq!(place.one("SELECT count(DISTINCT name) FROM crm.things"), "1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn f67_the_order_of_arrival_does_not_matter(
        records in proptest::collection::vec((0..5u8, proptest::option::of(0..4i64), proptest::option::of(0..3u8)), 1..30),
        cuts in proptest::collection::vec(1..8usize, 1..6),
        seed in any::<u64>(),
    ) {
        let stream = stream();
        let records: Vec<(i64, String)> = (0i64..).zip(&records).map(|(n, (id, rev, day))| {
            let rev = rev.map_or(String::new(), |rev| format!(",\"rev\":{rev}"));
            let day = day.map_or(String::new(), |day| format!(",\"updated_at\":\"2026-01-0{}T00:00:00Z\"", day + 1));
            (n, format!("{{\"id\":\"{id}\"{rev}{day},\"name\":\"{n}\"}}"))
        }).collect();
        let mut shuffled = records.clone();
        let mut random = seed | 1;
        for at in (1..shuffled.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(at, (random >> 33) as usize % (at + 1));
        }
        let run = |records: &[(i64, String)], cuts: &[usize]| {
            let place = Place::new();
            let mut loader = place.open("1");
            let (mut at, mut number, mut seen) = (0, 0, (0, 0));
            while at < records.len() {
                number += 1;
                let end = (at + cuts[number as usize % cuts.len()]).min(records.len());
                let receipt = load(&mut loader, &stream, "1", number, &lines(&records[at..end])).unwrap();
                seen = (seen.0 + receipt.loaded, seen.1 + receipt.superseded);
                at = end;
                if number % 2 == 0 {
                    loader.commit(None).unwrap();
                }
            }
            // The whole again, as after a crash that lost the ledger: nothing changes.
            load(&mut loader, &stream, "0", 1, &lines(records)).unwrap();
            loader.commit(None).unwrap();
            drop(loader);
            (place.dump("things"), seen.0 + seen.1)
        };
        let (expected, total) = run(&records, &[records.len()]);
        prop_assert_eq!(total, records.len() as u64);
        let (found, total) = run(&shuffled, &cuts);
        prop_assert_eq!(total, records.len() as u64);
        prop_assert_eq!(&found, &expected);
        let ids: BTreeMap<&str, usize> = expected.iter().map(|row| (row["id"].as_str(), 1)).collect();
        prop_assert_eq!(ids.len(), expected.len());
    }
}
