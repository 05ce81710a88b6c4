//! Rows, rejected rows, ledger and state are one transaction.

use std::io::{BufRead, Cursor, Read};

use bobbin_core::ErrorKind;
use bobbin_core::receipt::{Change, Changed};

use crate::support::{Place, job, load, numbered, segment, state, stream};

#[test]
fn f84_a_round_without_commit_leaves_everything_as_before() {
    let place = Place::new();
    let stream = stream();
    job(&place, &stream, "1", 1, &[r#"{"id":"a","rev":1,"name":"A"}"#]);
    let before = place.dump("things");

    for end in ["drop", "rollback"] {
        let mut loader = place.open("2");
        let receipt = load(
            &mut loader,
            &stream,
            "2",
            1,
            &numbered(
                10,
                &[
                    r#"{"id":"a","rev":2,"name":"changed","brand_new":true}"#,
                    r#"{"id":"b","rev":1}"#,
                    r#"{"name":"no id"}"#,
                ],
            ),
        )
        .unwrap();
        assert_eq!((receipt.loaded, receipt.rejected), (2, 1));
        if end == "rollback" {
            loader.rollback().unwrap();
            loader.finish().unwrap();
        } else {
            drop(loader);
        }
        assert_eq!(place.dump("things"), before, "{end}");
        assert_eq!(place.one("SELECT count(*) FROM crm._sdc_rejected"), "0");
        assert_eq!(
            place.one("SELECT count(*) FROM crm._bobbin_columns WHERE name = 'brand_new'"),
            "0"
        );
    }

    // The round can be repeated, in one session with its rollback too.
    let mut loader = place.open("3");
    let recovered = loader.recover().unwrap();
    assert_eq!(recovered.state, Some(state("1")));
    assert_eq!(recovered.sequence, Some(1));
    assert_eq!(recovered.segments.len(), 1);
    let text = numbered(10, &[r#"{"id":"a","rev":2,"name":"changed","brand_new":true}"#]);
    load(&mut loader, &stream, "3", 1, &text).unwrap();
    loader.rollback().unwrap();
    let receipt = load(&mut loader, &stream, "3", 1, &text).unwrap();
    let what = Changed::Added { column: "brand_new".into() };
    assert_eq!(receipt.changes, [Change::of("things", what)]);
    loader.commit(Some(&state("3"))).unwrap();
    let recovered = loader.recover().unwrap();
    assert_eq!((recovered.state, recovered.sequence), (Some(state("3")), Some(10)));
    loader.finish().unwrap();
    assert_eq!(place.one("SELECT brand_new FROM crm.things"), "true");
}

#[test]
fn a_segment_is_loaded_once() {
    let place = Place::new();
    let stream = stream();
    let text = numbered(1, &[r#"{"id":"a"}"#, r#"{"name":"no id"}"#]);
    let mut loader = place.open("1");
    load(&mut loader, &stream, "1", 1, &text).unwrap();
    let again = load(&mut loader, &stream, "1", 1, &text).unwrap();
    assert_eq!(again, Default::default(), "in the same round");
    loader.commit(Some(&state("x"))).unwrap();
    let again = load(&mut loader, &stream, "1", 1, &text).unwrap();
    assert_eq!(again, Default::default(), "in the same session");
    loader.commit(None).unwrap();
    drop(loader);
    let mut loader = place.open("2");
    assert_eq!(
        loader.recover().unwrap().state,
        Some(state("x")),
        "a commit without state keeps it"
    );
    let again = load(&mut loader, &stream, "1", 1, &text).unwrap();
    assert_eq!(again, Default::default(), "in a later session");
    loader.commit(None).unwrap();
    drop(loader);
    assert_eq!(place.one("SELECT count(*) FROM crm._sdc_rejected"), "1");
    assert_eq!(
        place.query(
            "SELECT stream, records, loaded, superseded, rejected FROM crm._bobbin_segments"
        ),
        [["things", "2", "1", "0", "1"].map(|text| Some(text.to_owned()))]
    );
}

#[test]
fn f77_f79_rejected_records_are_kept_with_their_reason() {
    let place = Place::new();
    let stream = stream();
    job(
        &place,
        &stream,
        "1",
        1,
        &[
            r#"{"id":"a"}"#,
            r#"{"id":null,"name":"nobody"}"#,
            r#"{"id":"b","name":"\ud800"}"#,
            r#"{"_sdc_rejected":{"reason":"by the tap","record":"{\"x\""}}"#,
            r#"{"id":"c"}"#,
        ],
    );
    assert_eq!(place.one("SELECT string_agg(id, ',' ORDER BY id) FROM crm.things"), "a,c");
    let rejected =
        place.query("SELECT table_name, reason, record FROM crm._sdc_rejected ORDER BY reason");
    assert_eq!(rejected.len(), 3);
    assert_eq!(rejected[0], ["things", "by the tap", "{\"x\""].map(|text| Some(text.to_owned())));
    assert!(
        rejected[2][1].as_ref().unwrap().starts_with("the key `id` is missing"),
        "{rejected:?}"
    );
    assert!(rejected[2][2].as_ref().unwrap().contains("nobody"));
    assert_eq!(
        place.one(
            "SELECT bool_and(_sdc_rejected_at > now() - INTERVAL 1 HOUR) FROM crm._sdc_rejected"
        ),
        "true"
    );
}

/// F-81: a record over 20 MB is told with its table and size, and harms no neighbour.
#[test]
fn f81_a_record_that_is_too_large_is_set_aside_with_its_size() {
    let place = Place::new();
    let large = format!("{{\"id\":\"large\",\"name\":\"{}\"}}", "x".repeat(21 << 20));
    let receipt = job(&place, &stream(), "1", 1, &[r#"{"id":"a"}"#, &large, r#"{"id":"z"}"#]);
    assert_eq!((receipt.loaded, receipt.rejected), (2, 1));
    let told = place.one("SELECT table_name || ': ' || reason FROM crm._sdc_rejected");
    assert!(told.starts_with("things: the record is 22020"), "{told}");
    assert_eq!(place.one("SELECT length(record) < 70000 FROM crm._sdc_rejected"), "true");
}

#[test]
fn who_opens_later_fences_the_other_off() {
    let place = Place::new();
    let stream = stream();
    let mut first = place.open("1");
    load(&mut first, &stream, "1", 1, &numbered(1, &[r#"{"id":"a","name":"first"}"#])).unwrap();
    first.commit(Some(&state("1"))).unwrap();
    let mut second = place.open("2");
    load(&mut first, &stream, "1", 2, &numbered(2, &[r#"{"id":"b","name":"first"}"#])).unwrap();
    let error = first.commit(Some(&state("late"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    load(&mut second, &stream, "2", 1, &numbered(3, &[r#"{"id":"c","name":"second"}"#])).unwrap();
    second.commit(Some(&state("2"))).unwrap();
    drop((first, second));
    assert_eq!(place.one("SELECT string_agg(id, ',' ORDER BY id) FROM crm.things"), "a,c");
    assert_eq!(place.open("3").recover().unwrap().state, Some(state("2")));
}

/// A reader that fails half way, as a spool with a bad frame does.
struct Failing(Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

impl BufRead for Failing {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.0.position() as usize == self.0.get_ref().len() {
            return Err(std::io::Error::other("bad frame"));
        }
        self.0.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.0.consume(count);
    }
}

#[test]
fn a_load_that_failed_cannot_be_committed() {
    let place = Place::new();
    let stream = stream();
    let mut loader = place.open("1");
    let records: Vec<String> = (0..5000).map(|n| format!("{{\"id\":\"{n}\"}}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let text = numbered(1, &records);
    let mut lines = Failing(Cursor::new(text.clone().into_bytes()));
    let error = loader.load(&stream, &segment(&stream, "1", 1, 5000), &mut lines).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("segment: 1/000001"), "{error}");
    assert!(loader.commit(Some(&state("wrong"))).is_err());
    loader.rollback().unwrap();
    load(&mut loader, &stream, "1", 1, &text).unwrap();
    loader.commit(Some(&state("right"))).unwrap();
    loader.finish().unwrap();
    assert_eq!(place.one("SELECT count(*) FROM crm.things"), "5000");
    assert_eq!(place.open("2").recover().unwrap().state, Some(state("right")));
}

/// `DuckDB` 1.5.6 loses count of a transaction's own rows in a table to which a column is added after
/// it wrote some of them to disk, and invalidates the open file (duckdb pull request 25724).
#[test]
fn a_column_may_come_late_in_a_long_round() {
    let count = 60_000;
    let stream = stream();
    for (n, at) in [17_000, 20_000, 33_000, 40_000].into_iter().enumerate() {
        let mut place = Place::of_tables();
        place.renew(&format!("late-{n}"));
        let records: Vec<(i64, String)> = (0..count)
            .map(|i| {
                let late =
                    if i % at == at - 1 { format!(r#","late_{i}":{i}"#) } else { String::new() };
                let items: Vec<String> =
                    (0..3).map(|k| format!(r#"{{"k":{k},"words":"word {i}"{late}}}"#)).collect();
                (
                    i,
                    format!(
                        r#"{{"id":"{i}","rev":1,"name":"n{i}","items":[{}]{late}}}"#,
                        items.join(",")
                    ),
                )
            })
            .collect();
        let mut loader = place.open("1");
        let text = crate::support::lines(&records);
        let receipt = load(&mut loader, &stream, "1", 1, &text).unwrap();
        assert_eq!(receipt.loaded, count as u64);
        loader.commit(None).unwrap();
        // What a machine that stops here and now leaves.
        let mut crashed = Place::of_tables();
        for file in [place.path.clone(), place.path.with_extension("duckdb.wal")] {
            std::fs::copy(&file, crashed.directory.path().join(file.file_name().unwrap())).unwrap();
        }
        crashed.renew(&format!("late-{n}"));
        loader.finish().unwrap();
        let items = count * 3;
        let i = at - 1;
        for place in [&place, &crashed] {
            let sums = "SELECT count(*), count(DISTINCT id), count(name) FROM crm.things";
            assert_eq!(place.texts(sums), [format!("{count} | {count} | {count}")], "{at}");
            let sums = "SELECT count(*), count(DISTINCT words), sum(k) FROM crm.things__items";
            assert_eq!(place.texts(sums), [format!("{items} | {count} | {items}")], "{at}");
            let late = format!("SELECT count(late_{i}), sum(late_{i}) FROM crm.things__items");
            assert_eq!(place.texts(&late), [format!("3 | {}", i * 3)], "{at}");
            let late = format!("SELECT count(late_{i}), sum(late_{i}) FROM crm.things");
            assert_eq!(place.texts(&late), [format!("1 | {i}")], "{at}");
        }
    }
}
