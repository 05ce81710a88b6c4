//! Arrays as tables of their own, append, Stitch's naming, changed keys: in a real file.

use std::cell::{Cell, RefCell};

use bobbin_core::ErrorKind;
use bobbin_core::catalog::Stream;
use bobbin_core::destination::Loader;
use bobbin_core::receipt::{Changed, Mark, Receipt, Span};
use bobbin_load::shape::layout::{KeyChange, Layout, Loading, Naming, Split};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{Place, job, lines, load, numbered, stream};

/// Like `job`, with tables as a person chose them.
fn job_in(
    place: &Place,
    layout: Layout,
    stream: &Stream,
    name: &str,
    from: i64,
    records: &[&str],
) -> Receipt {
    let mut loader = place.open_with(name, |config| config.layout = layout);
    let receipt = load(&mut loader, stream, name, 1, &numbered(from, records)).unwrap();
    loader.commit(None).unwrap();
    loader.finish().unwrap();
    receipt
}

fn items(place: &Place, table: &str) -> Vec<String> {
    place.texts(&format!(
        "SELECT _sdc_source_key_id, _sdc_level_0_id, value FROM crm.\"{table}\" ORDER BY 1, 2"
    ))
}

/// F-70: tables, keys, positions, values; two levels.
#[test]
fn f70_arrays_are_tables_of_their_own() {
    let place = Place::of_tables();
    job(
        &place,
        &stream(),
        "1",
        1,
        &[
            r#"{"id":"a","tags":["x","y"],"items":[{"sku":"s","tax":[{"rate":0.5},{"rate":2}]},{"sku":"t"}]}"#,
            r#"{"id":"b","tags":[]}"#,
        ],
    );
    assert_eq!(items(&place, "things__tags"), ["a | 0 | x", "a | 1 | y"]);
    assert_eq!(
        place.texts(
            "SELECT _sdc_source_key_id, _sdc_level_0_id, _sdc_level_1_id, rate
             FROM crm.things__items__tax ORDER BY 2, 3"
        ),
        ["a | 0 | 0 | 0.5", "a | 0 | 1 | 2.0"]
    );
    // F-66: items have the system columns, too.
    assert_eq!(
        place.texts(
            "SELECT column_name || ' ' || data_type FROM duckdb_columns()
             WHERE table_name = 'things__items__tax' ORDER BY column_index"
        ),
        [
            "_sdc_source_key_id VARCHAR",
            "_sdc_level_0_id BIGINT",
            "_sdc_level_1_id BIGINT",
            "rate DOUBLE",
            "_sdc_extracted_at TIMESTAMP WITH TIME ZONE",
            "_sdc_received_at TIMESTAMP WITH TIME ZONE",
            "_sdc_batched_at TIMESTAMP WITH TIME ZONE",
            "_sdc_sequence BIGINT",
            "_sdc_table_version BIGINT",
        ]
    );
    assert_eq!(
        place.one(
            "SELECT count(*) FROM duckdb_columns()
             WHERE table_name = 'things' AND column_name IN ('tags', 'items')"
        ),
        "0"
    );
}

/// F-71, C21: no item of an earlier version stays, whatever way the new one comes.
#[test]
fn f71_items_are_replaced_with_their_record() {
    let place = Place::of_tables();
    let stream = stream();
    job(
        &place,
        &stream,
        "1",
        1,
        &[
            r#"{"id":"a","rev":1,"tags":["1","2","3"],"items":[{"x":[1,2]}]}"#,
            r#"{"id":"b","rev":5,"tags":["b"]}"#,
        ],
    );
    let second = job(
        &place,
        &stream,
        "2",
        10,
        &[
            r#"{"id":"a","rev":2,"tags":["only"]}"#,
            r#"{"id":"b","rev":4,"tags":["older","loses"]}"#,
            r#"{"id":"c","rev":1,"tags":["new"]}"#,
        ],
    );
    assert_eq!((second.loaded, second.superseded), (2, 1));
    assert_eq!(items(&place, "things__tags"), ["a | 0 | only", "b | 0 | b", "c | 0 | new"]);
    assert_eq!(place.one("SELECT count(*) FROM crm.things__items"), "0");
    assert_eq!(place.one("SELECT count(*) FROM crm.things__items__x"), "0");
    // Without any array at all, and twice in one session.
    let mut loader = place.open("3");
    load(&mut loader, &stream, "3", 1, &numbered(20, &[r#"{"id":"d","tags":["1"]}"#])).unwrap();
    load(&mut loader, &stream, "3", 2, &numbered(30, &[r#"{"id":"d","tags":["2","3"]}"#])).unwrap();
    load(&mut loader, &stream, "3", 3, &numbered(40, &[r#"{"id":"a","rev":3}"#])).unwrap();
    loader.commit(None).unwrap();
    assert_eq!(
        items(&place, "things__tags"),
        ["b | 0 | b", "c | 0 | new", "d | 0 | 2", "d | 1 | 3"]
    );
}

/// The first items ever belong to a version that is over before its segment ends.
#[test]
fn f71_items_of_a_version_that_never_arrives_leave_no_trace() {
    let place = Place::of_tables();
    let mut loader = place.open("1");
    let records =
        [r#"{"id":"a","rev":1,"tags":["old"],"items":[{"n":1}]}"#, r#"{"id":"a","rev":2}"#];
    load(&mut loader, &stream(), "1", 1, &numbered(1, &records)).unwrap();
    let records = [r#"{"id":"a","rev":3,"tags":["new"],"items":[{"n":2}]}"#];
    load(&mut loader, &stream(), "1", 2, &numbered(5, &records)).unwrap();
    loader.commit(None).unwrap();
    drop(loader);
    assert_eq!(items(&place, "things__tags"), ["a | 0 | new"]);
    assert_eq!(place.texts("SELECT n FROM crm.things__items"), ["2"]);
}

/// Whatever the versions, their order and their cuts into segments and rounds: the tables hold the
/// newest version of each record with just its own items.
#[test]
fn merging_is_independent_of_order_and_repeats() {
    let place = RefCell::new(Place::of_tables());
    let case = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() });
    let versions = proptest::collection::vec((0..3u8, 0..4i64, 0..4usize), 1..12);
    let strategy = (versions, any::<u64>(), 1..5usize);
    runner
        .run(&strategy, |(versions, seed, cut)| {
            case.set(case.get() + 1);
            place.borrow_mut().renew(&format!("case{}", case.get()));
            let place = place.borrow();
            let mut records: Vec<(i64, String)> = (1i64..)
                .zip(&versions)
                .map(|(n, (id, rev, count))| {
                    let tags: Vec<String> = (0..*count).map(|at| format!("\"{n}.{at}\"")).collect();
                    let tags = tags.join(",");
                    (n, format!("{{\"id\":\"{id}\",\"rev\":{rev},\"tags\":[{tags}]}}"))
                })
                .collect();
            let mut expected = Vec::new();
            for id in 0..3u8 {
                let of = (1i64..).zip(&versions).filter(|(_, (of, ..))| *of == id);
                let newest = of.max_by_key(|(n, (_, rev, _))| (*rev, *n));
                if let Some((n, (_, _, count))) = newest {
                    expected.extend((0..*count).map(|at| format!("{id} | {at} | {n}.{at}")));
                }
            }
            let mut state = seed | 1;
            for at in (1..records.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                records.swap(at, (state >> 33) as usize % (at + 1));
            }
            // The second time another job loads the very same once more.
            for name in ["1", "2"] {
                let mut loader = place.open(name);
                for (number, part) in (1u64..).zip(records.chunks(cut)) {
                    load(&mut loader, &stream(), name, number, &lines(part)).unwrap();
                    if number % 2 == 0 {
                        loader.commit(None).unwrap();
                    }
                }
                loader.commit(None).unwrap();
                drop(loader);
                let there =
                    "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'things__tags'";
                let held = if place.one(there) == "1" {
                    items(&place, "things__tags")
                } else {
                    Vec::new()
                };
                prop_assert_eq!(&held, &expected);
            }
            Ok(())
        })
        .unwrap();
}

/// F-68: every version is a row, and the latest-row query gives what upsert gives.
#[test]
fn f68_append_gives_the_same_latest_rows() {
    let mut place = Place::of_tables();
    let append = Layout { loading: Loading::Append, ..place.layout };
    let first = [r#"{"id":"a","name":"1","tags":["x"]}"#, r#"{"id":"b","name":"1"}"#];
    let second = [r#"{"id":"a","name":"2","tags":["y"]}"#, r#"{"id":"a","name":"3"}"#];
    job_in(&place, append, &stream(), "1", 1, &first);
    let receipt = job_in(&place, append, &stream(), "2", 10, &second);
    assert_eq!((receipt.loaded, receipt.superseded), (2, 0));
    assert_eq!(place.one("SELECT count(*) FROM crm.things"), "4");
    assert_eq!(items(&place, "things__tags"), ["a | 0 | x", "a | 0 | y"]);
    let latest = place.texts(
        "SELECT id, name FROM (SELECT t.*, row_number() OVER (PARTITION BY id
             ORDER BY _sdc_sequence DESC, _sdc_batched_at DESC) AS rn FROM crm.things t) x
         WHERE rn = 1 ORDER BY id",
    );
    place.renew("upserted");
    job(&place, &stream(), "1", 1, &first);
    job(&place, &stream(), "2", 10, &second);
    assert_eq!(latest, place.texts("SELECT id, name FROM crm.things ORDER BY id"));
}

/// F-82, C23: a changed key stops the table, or lets it grow where that was chosen.
#[test]
fn f82_a_changed_key_stops_the_table_or_appends() {
    let place = Place::new();
    let mut stream = stream();
    job(&place, &stream, "1", 1, &[r#"{"id":"a","n":1}"#]);
    stream.key = vec!["n".to_owned()];
    let mut loader = place.open("2");
    let error =
        load(&mut loader, &stream, "2", 1, &numbered(5, &[r#"{"id":"a","n":2}"#])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaConflict);
    let report = error.report();
    for words in
        ["crm.things", "key of the table: id", "key of the stream: n", "on_key_change", "UPDATE"]
    {
        assert!(report.contains(words), "{words}: {report}");
    }
    drop(loader);
    // What the hint says helps.
    let statement = report.split("UPDATE ").nth(1).unwrap().lines().next().unwrap();
    let mut by_hand = Place::new();
    std::fs::copy(&place.path, &by_hand.path).unwrap();
    by_hand.by_hand(&format!("UPDATE {statement}"));
    job(&by_hand, &stream, "3", 5, &[r#"{"id":"b","n":1}"#]);
    assert_eq!(by_hand.texts("SELECT id, n FROM crm.things"), ["b | 1"]);
    by_hand.renew("other");

    let appends = Layout { key_change: KeyChange::Appends, ..place.layout };
    for name in ["3", "4"] {
        job_in(&place, appends, &stream, name, 10, &[r#"{"id":"a","n":2}"#]);
    }
    assert_eq!(place.one("SELECT count(*) FROM crm.things"), "3");
    // From then on, whatever the key.
    stream.key = vec!["id".to_owned()];
    job_in(&place, appends, &stream, "5", 20, &[r#"{"id":"a","n":3}"#]);
    assert_eq!(place.one("SELECT count(*) FROM crm.things"), "4");
    let mut loader = place.open("6");
    let error = load(&mut loader, &stream, "6", 1, &numbered(30, &[r#"{"id":"a"}"#])).unwrap_err();
    assert!(error.report().contains("none, every version is a row"), "{}", error.report());
}

/// F-74, F-75, F-76, F-78, F-79, C6: the rules of Stitch's naming, in the file.
#[test]
fn f74_to_f79_stitchs_naming_rejects_with_its_reasons() {
    let place = Place::of_tables();
    let layout = Layout { naming: Naming::Stitch, split: Split::Renames, ..place.layout };
    let long = "l".repeat(252);
    let first = job_in(
        &place,
        layout,
        &stream(),
        "1",
        1,
        &[
            r#"{"id":"1","age":15,"9-lives!":1}"#,
            r#"{"id":"2","x__st":"v","age":7}"#,
            &format!(r#"{{"id":"3","{long}":"v","li!st":[1],"{long}s":[{{"a":1}}]}}"#),
            r#"{"id":"4","age":12345678901234567890}"#,
            r#"{"id":"5","a-b":1,"ab":2}"#,
        ],
    );
    assert_eq!((first.loaded, first.rejected), (3, 2));
    assert!(
        first.changes.iter().any(|line| line.to_string().contains("without a value")),
        "{first:?}"
    );
    let reasons = place.texts("SELECT DISTINCT reason FROM crm._sdc_rejected ORDER BY reason");
    for words in [
        "Field collision on ab",
        "beyond 64 bits",
        "ends in __st",
        "longer than 251 bytes",
        "longer than 255 bytes",
    ] {
        assert!(reasons.iter().any(|reason| reason.contains(words)), "{words}: {reasons:?}");
    }
    assert_eq!(place.texts("SELECT lives, age FROM crm.things WHERE id = '1'"), ["1 | 15"]);
    assert_eq!(items(&place, "things__list"), ["3 | 0 | 1"]);
    let second = job_in(&place, layout, &stream(), "2", 10, &[r#"{"id":"6","age":"old"}"#]);
    assert!(
        second
            .changes
            .iter()
            .any(|line| line.to_string().contains("renamed column age to age__bi"))
    );
    assert_eq!(
        place
            .texts("SELECT id, age__bi, age__st FROM crm.things WHERE id IN ('2','6') ORDER BY id"),
        ["2 | 7 | null", "6 | null | old"]
    );
    job_in(&place, layout, &stream(), "3", 20, &[r#"{"id":"7","age":8}"#]);
    assert_eq!(place.one("SELECT age__bi FROM crm.things WHERE id = '7'"), "8");
    // In the middle of a round, with rows appended before and replaced after.
    let mut loader = place.open_with("3b", |config| config.layout = layout);
    for (number, record) in
        (1u64..).zip([r#"{"id":"6","up":1}"#, r#"{"id":"7","up":"x"}"#, r#"{"id":"6","up":2}"#])
    {
        let text = numbered(25 + number as i64, &[record]);
        load(&mut loader, &stream(), "3b", number, &text).unwrap();
    }
    loader.commit(None).unwrap();
    drop(loader);
    assert_eq!(
        place.texts("SELECT id, up__bi, up__st FROM crm.things WHERE id IN ('6','7') ORDER BY id"),
        ["6 | 2 | null", "7 | null | x"]
    );
    // A table that can have no name: its records are kept with the reason, others are unharmed.
    let mut nameless = stream();
    nameless.name = "t".repeat(256).as_str().into();
    let refused = job_in(&place, layout, &nameless, "4", 30, &[r#"{"id":"1"}"#, r#"{"id":"2"}"#]);
    assert_eq!((refused.loaded, refused.rejected), (0, 2));
    let count = "SELECT count(*) FROM crm._sdc_rejected WHERE reason LIKE '%longer than 255%' AND record LIKE '%\"id\":%'";
    assert_eq!(place.one(count), "3");
}

/// What people add to the tables of arrays survives, and what they drop comes back. F-83.
#[test]
fn f83_tables_of_arrays_may_be_changed_by_people() {
    let place = Place::of_tables();
    job(&place, &stream(), "1", 1, &[r#"{"id":"a","tags":["x"],"items":[{"n":1}]}"#]);
    place.by_hand(
        "ALTER TABLE crm.things__tags ADD COLUMN mine VARCHAR DEFAULT 'kept';
         CREATE VIEW crm.seen AS SELECT value FROM crm.things__tags;
         ALTER TABLE crm.things__items DROP COLUMN n;",
    );
    job(&place, &stream(), "2", 5, &[r#"{"id":"b","tags":["y"],"items":[{"n":2}]}"#]);
    assert_eq!(
        place.texts("SELECT value, mine FROM crm.things__tags ORDER BY value"),
        ["x | kept", "y | kept"]
    );
    assert_eq!(place.texts("SELECT value FROM crm.seen ORDER BY 1"), ["x", "y"]);
    assert_eq!(place.texts("SELECT n FROM crm.things__items ORDER BY 1"), ["2", "null"]);
    place.by_hand("ALTER TABLE crm.things__tags DROP COLUMN _sdc_level_0_id");
    let mut loader: Box<dyn Loader> = place.open("3");
    let error = load(&mut loader, &stream(), "3", 1, &numbered(9, &[r#"{"id":"c"}"#])).unwrap_err();
    let report = error.report();
    for words in ["system column is missing", "crm.things__tags", "_sdc_level_0_id"] {
        assert!(report.contains(words), "{report}");
    }
}

/// More items than DuckDB takes at once, with and without values; and again with fewer.
#[test]
fn a_record_may_have_very_many_items() {
    let place = Place::of_tables();
    let items: Vec<String> = (0..100_000)
        .map(|n| match n % 3 {
            0 => format!("{{\"n\":{n}}}"),
            1 => format!("{{\"n\":{n},\"text\":\"t{n}\",\"even\":{}}}", n % 2 == 0),
            _ => "null".to_owned(),
        })
        .collect();
    let many = format!("{{\"id\":\"a\",\"rev\":1,\"items\":[{}]}}", items.join(","));
    let receipt = job(&place, &stream(), "1", 1, &[r#"{"id":"b","items":[{"n":-1}]}"#, &many]);
    assert_eq!(receipt.loaded, 2);
    assert_eq!(
        place.texts(
            "SELECT count(*), count(n), count(text), count(even), count(DISTINCT _sdc_level_0_id)
             FROM crm.things__items WHERE _sdc_source_key_id = 'a'"
        ),
        ["100000 | 66667 | 33333 | 33333 | 100000"]
    );
    let right = "(_sdc_level_0_id % 3 = 2) = (n IS NULL) AND coalesce(n, _sdc_level_0_id) = _sdc_level_0_id
        AND (_sdc_level_0_id % 3 = 1) = (text IS NOT NULL) AND coalesce(text, 't' || n) = 't' || n
        AND (_sdc_level_0_id % 3 = 1) = (even IS NOT NULL) AND coalesce(even, n % 2 = 0) = (n % 2 = 0)";
    assert_eq!(
        place.one(&format!(
            "SELECT count(*) FROM crm.things__items
             WHERE _sdc_source_key_id = 'a' AND ({right}) IS FALSE"
        )),
        "0"
    );
    let fewer = format!("{{\"id\":\"a\",\"rev\":2,\"items\":[{}]}}", items[..5000].join(","));
    job(&place, &stream(), "2", 10, &[&fewer]);
    assert_eq!(
        place.texts(
            "SELECT _sdc_source_key_id, count(*) FROM crm.things__items GROUP BY 1 ORDER BY 1"
        ),
        ["a | 5000", "b | 1"]
    );
}

/// DuckDB refuses to commit a column that was added after rows of an earlier transaction were
/// deleted.
#[test]
fn a_column_of_items_that_appears_after_records_were_replaced_in_the_same_round() {
    let place = Place::of_tables();
    let first = [
        r#"{"id":"a","rev":1,"items":[{"n":1},{"n":2}]}"#,
        r#"{"id":"b","rev":1,"items":[{"n":3}]}"#,
    ];
    job(&place, &stream(), "1", 1, &first);
    let mut loader = place.open("2");
    let records = [
        r#"{"id":"a","rev":2,"items":[{"n":4}]}"#,
        r#"{"id":"b","rev":2,"items":[{"n":5,"more":"x"}]}"#,
        r#"{"id":"a","rev":3,"items":[{"n":6,"even":true},{"n":7,"deep":[1,2]}]}"#,
        r#"{"id":"b","rev":1,"items":[{"n":8,"late":1}]}"#,
        r#"{"id":"a","rev":3,"brand_new":1,"items":[{"n":9,"other":[{"x":1}]}]}"#,
    ];
    for (number, record) in (1u64..).zip(records) {
        load(&mut loader, &stream(), "2", number, &numbered(10 + number as i64, &[record]))
            .unwrap();
    }
    loader.commit(None).unwrap();
    drop(loader);
    assert_eq!(
        place.texts("SELECT _sdc_source_key_id, n, more, even FROM crm.things__items ORDER BY 1"),
        ["a | 9 | null | null", "b | 5 | x | null"]
    );
    assert_eq!(place.one("SELECT count(*) FROM crm.things__items__deep"), "0");
    assert_eq!(place.one("SELECT count(*) FROM crm.things__items__other"), "1");
}

/// The same records come once more before anything is committed: with the same sequences.
#[test]
fn the_same_records_twice_in_one_round_are_there_once() {
    let place = Place::of_tables();
    let records = [
        r#"{"id":"a","rev":1,"tags":["1","2"]}"#,
        r#"{"id":"b","rev":1,"tags":["3"]}"#,
        r#"{"id":"c","rev":1,"tags":[]}"#,
    ];
    for round in ["1", "2"] {
        let mut loader = place.open(round);
        for number in 1..4 {
            load(&mut loader, &stream(), round, number, &numbered(1, &records)).unwrap();
        }
        loader.commit(None).unwrap();
        drop(loader);
        assert_eq!(items(&place, "things__tags"), ["a | 0 | 1", "a | 1 | 2", "b | 0 | 3"]);
        assert_eq!(place.one("SELECT count(*) FROM crm.things"), "3");
    }
}

/// F-59, F-61: what a load tells of itself: rows of sub-tables that stayed, how far it reaches.
#[test]
fn f59_receipts_count_items_and_tell_the_span() {
    let place = Place::of_tables();
    let stream = stream();
    let mark = |text: &str| Mark::Time(text.parse().unwrap());
    let items = |receipt: &Receipt| -> Vec<(String, u64)> {
        receipt.subtables.clone().into_iter().filter(|(_, rows)| *rows > 0).collect()
    };
    let first = job(
        &place,
        &stream,
        "1",
        1,
        &[
            r#"{"id":"a","rev":2,"updated_at":"2026-01-02T00:00:00Z","tags":["x","y","z"]}"#,
            r#"{"id":"b","rev":1,"updated_at":"2026-01-01T00:00:00+02:00","tags":["x"],"items":[{"sku":"s"}]}"#,
        ],
    );
    let told = |tags: u64| ("things__tags".to_owned(), tags);
    assert_eq!(items(&first), [("things__items".to_owned(), 1), told(4)]);
    let span = Span { min: mark("2025-12-31T22:00:00Z"), max: mark("2026-01-02T00:00:00Z") };
    assert_eq!(first.span, Some(span));
    assert_eq!(first.extracted_at, "2026-01-01T00:00:00.5Z".parse().ok());
    let created = first.changes.iter().filter(|c| matches!(c.what, Changed::Created { .. }));
    assert_eq!(created.count(), 3);

    // A newer version, an older one, and one that is beaten within the segment.
    let mut loader = place.open("2");
    let more = [
        r#"{"id":"a","rev":3,"tags":["w","v"],"nickname":"al"}"#,
        r#"{"id":"b","rev":0,"tags":["1","2","3","4","5"]}"#,
        r#"{"id":"c","rev":1,"tags":["p"]}"#,
    ];
    let second = load(&mut loader, &stream, "2", 1, &numbered(10, &more)).unwrap();
    let newer = [r#"{"id":"c","rev":2,"tags":["q","r"]}"#, r#"{"id":"a","rev":1,"tags":["u"]}"#];
    let third = load(&mut loader, &stream, "2", 2, &numbered(20, &newer)).unwrap();
    loader.commit(None).unwrap();
    loader.finish().unwrap();
    assert_eq!((second.loaded, second.superseded, items(&second)), (2, 1, vec![told(3)]));
    assert_eq!((third.loaded, third.superseded, items(&third)), (1, 1, vec![told(2)]));
    assert_eq!(second.span, None, "no record had a value of the replication key");
    let added: Vec<String> = second.changes.iter().map(ToString::to_string).collect();
    assert_eq!(added, ["things: added column nickname"]);
}
