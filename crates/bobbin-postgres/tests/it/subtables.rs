//! Arrays as tables of their own, append, Stitch's naming, changed keys: on a real server.

use std::cell::{Cell, RefCell};
use std::thread;
use std::time::{Duration, Instant};

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
    let mut config = place.config();
    config.layout = layout;
    let mut loader = Place::try_open(&config, name).unwrap();
    let receipt = load(&mut loader, stream, name, 1, &numbered(from, records)).unwrap();
    loader.commit(None).unwrap();
    loader.finish().unwrap();
    receipt
}

fn items(place: &Place, table: &str) -> Vec<String> {
    place.query(&format!(
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
        place.query(
            "SELECT _sdc_source_key_id, _sdc_level_0_id, _sdc_level_1_id, rate
             FROM crm.things__items__tax ORDER BY 2, 3"
        ),
        ["a | 0 | 0 | 0.5", "a | 0 | 1 | 2"]
    );
    // F-66: items have the system columns, too.
    assert_eq!(
        place.query(
            "SELECT attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull
             FROM pg_attribute WHERE attrelid = 'crm.things__items__tax'::regclass AND attnum > 0
             ORDER BY attnum"
        ),
        [
            "_sdc_source_key_id text true",
            "_sdc_level_0_id bigint true",
            "_sdc_level_1_id bigint true",
            "rate double precision false",
            "_sdc_extracted_at timestamp with time zone false",
            "_sdc_received_at timestamp with time zone false",
            "_sdc_batched_at timestamp with time zone false",
            "_sdc_sequence bigint false",
            "_sdc_table_version bigint false",
        ]
    );
    assert_eq!(
        place.one("SELECT count(*) FROM pg_attribute WHERE attrelid = 'crm.things'::regclass AND attname IN ('tags', 'items')"),
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

/// The only items of a batch may go with a record that a later one of its key replaces: the table
/// for them is made when others come.
#[test]
fn items_that_were_superseded_make_no_table_yet() {
    let place = Place::of_tables();
    let mut loader = place.open("1");
    let first = [r#"{"id":"a","rev":1,"tags":["x"]}"#, r#"{"id":"a","rev":2,"tags":[]}"#];
    load(&mut loader, &stream(), "1", 1, &numbered(1, &first)).unwrap();
    load(&mut loader, &stream(), "1", 2, &numbered(9, &[r#"{"id":"b","tags":["y"]}"#])).unwrap();
    loader.commit(None).unwrap();
    assert_eq!(items(&place, "things__tags"), ["b | 0 | y"]);
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
                let there = place.one("SELECT to_regclass('crm.things__tags') IS NOT NULL");
                let held = if there == "t" { items(&place, "things__tags") } else { Vec::new() };
                prop_assert_eq!(&held, &expected);
            }
            Ok(())
        })
        .unwrap();
}

/// A record that PostgreSQL refuses takes its items along, and no neighbour.
#[test]
fn f77_items_of_a_refused_record_stay_out() {
    let place = Place::of_tables();
    let wide: Vec<String> = (0..900).map(|n| format!("\"c{n}\":\"{}\"", "x".repeat(40))).collect();
    let wide = format!(r#"{{"id":"wide","tags":["lost?"],{}}}"#, wide.join(","));
    let receipt = job(
        &place,
        &stream(),
        "1",
        1,
        &[
            r#"{"id":"a","tags":["a"]}"#,
            &wide,
            &format!(r#"{{"id":"{}","tags":["k"]}}"#, "k".repeat(5000)),
            r#"{"id":"z","tags":["z"]}"#,
        ],
    );
    assert_eq!((receipt.loaded, receipt.rejected), (2, 2));
    assert_eq!(items(&place, "things__tags"), ["a | 0 | a", "z | 0 | z"]);
    let reasons = place.query("SELECT reason FROM crm._sdc_rejected ORDER BY reason");
    assert!(reasons[0].contains("row is too big"), "{reasons:?}");
    assert!(reasons[1].contains("the key has 5000 bytes"), "{reasons:?}");
}

/// F-68: every version is a row, and the latest-row query gives what upsert gives.
#[test]
fn f68_append_gives_the_same_latest_rows() {
    let mut place = Place::of_tables();
    let append = Layout { loading: Loading::Append, ..place.config().layout };
    let first = [r#"{"id":"a","name":"1","tags":["x"]}"#, r#"{"id":"b","name":"1"}"#];
    let second = [r#"{"id":"a","name":"2","tags":["y"]}"#, r#"{"id":"a","name":"3"}"#];
    job_in(&place, append, &stream(), "1", 1, &first);
    let receipt = job_in(&place, append, &stream(), "2", 10, &second);
    assert_eq!((receipt.loaded, receipt.superseded), (2, 0));
    assert_eq!(place.one("SELECT count(*) FROM crm.things"), "4");
    assert_eq!(items(&place, "things__tags"), ["a | 0 | x", "a | 0 | y"]);
    let latest = place.query(
        "SELECT id, name FROM (SELECT t.*, row_number() OVER (PARTITION BY id
             ORDER BY _sdc_sequence DESC, _sdc_batched_at DESC) AS rn FROM crm.things t) x
         WHERE rn = 1 ORDER BY id",
    );
    place.renew("upserted");
    job(&place, &stream(), "1", 1, &first);
    job(&place, &stream(), "2", 10, &second);
    assert_eq!(latest, place.query("SELECT id, name FROM crm.things ORDER BY id"));
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
    assert!(error.report().contains("ADD PRIMARY KEY (\"n\")"), "{}", error.report());
    assert!(error.report().contains("on_key_change"), "{}", error.report());
    drop(loader);
    let appends = Layout { key_change: KeyChange::Appends, ..place.config().layout };
    for name in ["3", "4"] {
        job_in(&place, appends, &stream, name, 10, &[r#"{"id":"a","n":2}"#]);
    }
    assert_eq!(place.one("SELECT count(*) FROM crm.things"), "3");
}

/// F-74, F-75, F-76, F-78, F-79, C6: the rules of Stitch's naming, on the server.
#[test]
fn f74_to_f79_stitchs_naming_rejects_with_its_reasons() {
    let place = Place::of_tables();
    let layout = Layout { naming: Naming::Stitch, split: Split::Renames, ..place.config().layout };
    let long = "l".repeat(60);
    let first = job_in(
        &place,
        layout,
        &stream(),
        "1",
        1,
        &[
            r#"{"id":"1","age":15,"Id":"other","9-lives!":1}"#,
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
    let reasons = place.query("SELECT DISTINCT reason FROM crm._sdc_rejected ORDER BY reason");
    for words in [
        "Field collision on ab",
        "beyond 64 bits",
        "ends in __st",
        "longer than 59 bytes",
        "longer than 63 bytes",
    ] {
        assert!(reasons.iter().any(|reason| reason.contains(words)), "{words}: {reasons:?}");
    }
    assert_eq!(
        place.query("SELECT \"Id\", lives, age FROM crm.things WHERE id = '1'"),
        ["other | 1 | 15"]
    );
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
            .query("SELECT id, age__bi, age__st FROM crm.things WHERE id IN ('2','6') ORDER BY id"),
        ["2 | 7 | null", "6 | null | old"]
    );
    job_in(&place, layout, &stream(), "3", 20, &[r#"{"id":"7","age":8}"#]);
    assert_eq!(place.one("SELECT age__bi FROM crm.things WHERE id = '7'"), "8");
    // A table that can have no name: its records are kept with the reason, others are unharmed.
    let mut nameless = stream();
    nameless.name = "t".repeat(64).as_str().into();
    let refused = job_in(&place, layout, &nameless, "4", 30, &[r#"{"id":"1"}"#, r#"{"id":"2"}"#]);
    assert_eq!((refused.loaded, refused.rejected), (0, 2));
    let count = "SELECT count(*) FROM crm._sdc_rejected WHERE reason LIKE '%longer than 63%' AND record LIKE '%\"id\":%'";
    assert_eq!(place.one(count), "3");
}

/// What people add to the tables of arrays survives, and what they drop comes back. F-83.
#[test]
fn f83_tables_of_arrays_may_be_changed_by_people() {
    let place = Place::of_tables();
    job(&place, &stream(), "1", 1, &[r#"{"id":"a","name":"n","tags":["x"],"items":[{"n":1}]}"#]);
    place.by_hand(
        "ALTER TABLE crm.things__tags ADD COLUMN mine text DEFAULT 'kept';
         CREATE INDEX ON crm.things__tags (value);
         CREATE VIEW crm.seen AS SELECT value FROM crm.things__tags;
         ALTER TABLE crm.things__items DROP COLUMN n;",
    );
    job(&place, &stream(), "2", 5, &[r#"{"id":"b","tags":["y"],"items":[{"n":2}]}"#]);
    assert_eq!(
        place.query("SELECT value, mine FROM crm.things__tags ORDER BY value"),
        ["x | kept", "y | kept"]
    );
    assert_eq!(place.query("SELECT value FROM crm.seen ORDER BY 1"), ["x", "y"]);
    assert_eq!(place.query("SELECT n FROM crm.things__items ORDER BY 1"), ["2", "null"]);
    // A column that was dropped and has no value now is in nobody's way.
    place.by_hand(
        "ALTER TABLE crm.things DROP COLUMN name; ALTER TABLE crm.things__items DROP COLUMN n",
    );
    job(&place, &stream(), "2b", 7, &[r#"{"id":"a","tags":["z"],"items":[{}]}"#]);
    place.by_hand("ALTER TABLE crm.things__tags DROP COLUMN _sdc_level_0_id CASCADE");
    let mut loader: Box<dyn Loader> = place.open("3");
    let error = load(&mut loader, &stream(), "3", 1, &numbered(9, &[r#"{"id":"c"}"#])).unwrap_err();
    let report = error.report();
    for words in ["system column is missing", "crm.things__tags", "_sdc_level_0_id"] {
        assert!(report.contains(words), "{report}");
    }
}

/// An increment looks its keys up, however many rows there are: no table is read from end to end.
#[test]
fn an_increment_reads_no_table_from_end_to_end() {
    let place = Place::of_tables();
    let record = |n: usize, rev: u8| {
        format!(r#"{{"id":"{n:06}","rev":{rev},"tags":["{rev}"],"items":[{{"n":{rev}}}]}}"#)
    };
    job(&place, &stream(), "1", 1, &[&record(0, 1)]);
    place.by_hand(
        "INSERT INTO crm.things (id, rev, _sdc_sequence, _sdc_table_version)
             SELECT lpad(n::text, 6, '0'), 1, 2, 1 FROM generate_series(1, 100000) AS n;
         INSERT INTO crm.things__tags
                 (_sdc_source_key_id, _sdc_level_0_id, value, _sdc_sequence, _sdc_table_version)
             SELECT lpad(n::text, 6, '0'), 0, '1', 2, 1 FROM generate_series(1, 100000) AS n;
         INSERT INTO crm.things__items
                 (_sdc_source_key_id, _sdc_level_0_id, n, _sdc_sequence, _sdc_table_version)
             SELECT lpad(n::text, 6, '0'), 0, 1, 2, 1 FROM generate_series(1, 100000) AS n;
         ANALYZE crm.things; ANALYZE crm.things__tags; ANALYZE crm.things__items;",
    );
    place.by_hand("SELECT pg_stat_reset()");
    let changed: Vec<String> = (0..2_000).map(|n| record(n * 50, 2)).collect();
    let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
    let receipt = job(&place, &stream(), "2", 10, &changed);
    assert_eq!((receipt.loaded, receipt.superseded), (2_000, 0));
    // The session's own end sends what it counted.
    let counted = "SELECT sum(n_tup_upd) || ' ' || sum(n_tup_del) FROM pg_stat_user_tables
        WHERE schemaname = 'crm' AND relname LIKE 'things%'";
    let deadline = Instant::now() + Duration::from_secs(30);
    while place.one(counted) != "2000 4000" {
        assert!(Instant::now() < deadline, "{}", place.one(counted));
        thread::yield_now();
    }
    assert_eq!(
        place.query(
            "SELECT relname, seq_tup_read FROM pg_stat_user_tables
             WHERE schemaname = 'crm' AND relname LIKE 'things%' ORDER BY 1"
        ),
        ["things | 0", "things__items | 0", "things__tags | 0"]
    );
    assert_eq!(place.one("SELECT count(*) FROM crm.things__tags WHERE value = '2'"), "2000");
}

/// Keys of several columns: the items of each record are replaced, and of no other.
#[test]
fn items_of_keys_of_several_columns_are_replaced() {
    let place = Place::of_tables();
    let mut stream = stream();
    stream.key = vec!["id".to_owned(), "age".to_owned()];
    job(
        &place,
        &stream,
        "1",
        1,
        &[r#"{"id":"a","age":1,"tags":["1"]}"#, r#"{"id":"a","age":2,"tags":["2"]}"#],
    );
    let second = [
        r#"{"id":"a","age":2,"tags":["old"]}"#,
        r#"{"id":"a","age":2,"tags":["x","y"]}"#,
        r#"{"id":"b","age":2,"tags":["z"]}"#,
    ];
    let mut loader = place.open("2");
    let text = numbered(10, &second);
    let receipt = load(&mut loader, &stream, "2", 1, &text).unwrap();
    assert_eq!((receipt.loaded, receipt.superseded), (2, 1));
    load(&mut loader, &stream, "2", 2, &numbered(20, &[r#"{"id":"b","age":2,"tags":[]}"#]))
        .unwrap();
    loader.commit(None).unwrap();
    assert_eq!(
        place.query(
            "SELECT _sdc_source_key_id, _sdc_source_key_age, _sdc_level_0_id, value
             FROM crm.things__tags ORDER BY 1, 2, 3"
        ),
        ["a | 1 | 0 | 1", "a | 2 | 0 | x", "a | 2 | 1 | y"]
    );
}

/// An index of PostgreSQL has 32 columns at most; arrays may be nested deeper.
#[test]
fn arrays_of_arrays_may_be_deeper_than_an_index_is_wide() {
    let place = Place::of_tables();
    let record = format!(r#"{{"id":"a","x":{}7{}}}"#, "[".repeat(40), "]".repeat(40));
    for n in 1..=2 {
        job(&place, &stream(), &n.to_string(), n, &[&record]);
        assert_eq!(
            place.query(
                "SELECT sum((sub <> '[]')::int), max(json_array_length(sub::json))
                 FROM crm._bobbin_tables"
            ),
            ["40 | 40"]
        );
        let deepest = place
            .query("SELECT name FROM crm._bobbin_tables WHERE json_array_length(sub::json) = 40");
        assert_eq!(
            place.query(&format!(
                "SELECT value, _sdc_level_39_id, _sdc_sequence FROM crm.\"{}\"",
                deepest[0]
            )),
            [format!("7 | 0 | {n}")]
        );
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
