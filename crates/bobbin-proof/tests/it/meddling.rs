//! What people and taps may change between two rounds, in both destinations: tables, columns, keys
//! and settings.

use bobbin_core::catalog::Stream;
use bobbin_core::destination::Loader;
use bobbin_core::receipt::Receipt;
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_core::{Error, ErrorKind};
use bobbin_load::shape::layout::{Arrays, Deletes, Loading, Naming};
use bobbin_proof::corpus::line;
use jiff::Timestamp;

use crate::replica::{self, MODES, Mode, Replica, load_version};

fn stream(key: &[&str]) -> Stream {
    let properties = ["id", "region"].into_iter().map(|name| (name.into(), Schema::of(Kind::Text)));
    Stream {
        name: "things".into(),
        fields: Object { properties: properties.collect(), open: true },
        key: key.iter().map(|&name| name.to_owned()).collect(),
        replication_key: None,
        version_fields: vec!["rev".to_owned()],
        description: None,
    }
}

/// Both destinations, with arrays as tables.
fn each(mode: Mode, mut run: impl FnMut(&mut dyn Replica)) {
    run(&mut crate::duckdb::File::new(mode));
    let mut base = crate::postgres::Base::new(mode);
    base.renew();
    run(&mut base);
}

fn tables() -> Mode {
    MODES[1]
}

/// Loads one segment; its records have the sequences `number` × 100 and on.
fn load(
    loader: &mut Box<dyn Loader>,
    stream: &Stream,
    number: u64,
    whole: (Option<i64>, bool),
    records: &[&str],
) -> Result<Receipt, Error> {
    let first = number as i64 * 100;
    let lines = records.iter().zip(first..).map(|(record, at)| line(at, record.as_bytes()));
    load_version(loader, stream, ("1", number), whole, &lines.collect::<Vec<_>>())
}

/// The same in a session of its own.
fn session(replica: &dyn Replica, stream: &Stream, number: u64, records: &[&str]) {
    let mut loader = replica.open(&number.to_string());
    load(&mut loader, stream, number, (None, false), records).unwrap();
    loader.commit(None).unwrap();
    loader.finish().unwrap();
}

#[test]
fn f83_the_items_of_a_table_that_was_dropped_go_with_it() {
    each(tables(), |replica| {
        let stream = stream(&["id"]);
        session(replica, &stream, 1, &[r#"{"id":"a","tags":["x","y"]}"#]);
        replica.execute("DROP TABLE crm.things");
        session(replica, &stream, 2, &[r#"{"id":"a","tags":["z"]}"#, r#"{"id":"b"}"#]);
        assert_eq!(replica.query("SELECT value FROM crm.things__tags"), ["z"]);
        replica.execute("DROP TABLE crm.things");
        session(replica, &stream, 3, &[r#"{"id":"a"}"#]);
        assert!(replica.query("SELECT value FROM crm.things__tags").is_empty());
    });
}

/// Made again now, it would look as if all of it were there.
#[test]
fn f83_a_table_that_is_dropped_while_bobbin_runs_is_not_made_again_by_the_way() {
    each(tables(), |replica| {
        let stream = stream(&["id"]);
        session(replica, &stream, 1, &[r#"{"id":"a"}"#]);
        replica.execute("DROP TABLE crm.things");
        let mut loader = replica.open("2");
        assert_eq!(loader.recover().unwrap().lost, vec![stream.name.clone()]);
        load(&mut loader, &stream, 2, (None, false), &[r#"{"id":"a"}"#]).unwrap();
        loader.commit(None).unwrap();
        loader.finish().unwrap();
    });
    // DuckDB gives its file to one program; a server to all.
    let mut base = crate::postgres::Base::new(tables());
    base.renew();
    let stream = stream(&["id"]);
    session(&base, &stream, 1, &[r#"{"id":"a"}"#]);
    let mut loader = base.open("2");
    assert!(loader.recover().unwrap().lost.is_empty());
    base.execute("DROP TABLE crm.things");
    let error = load(&mut loader, &stream, 2, (None, false), &[r#"{"id":"b"}"#]).unwrap_err();
    assert!(error.report().contains("dropped while bobbin ran"), "{}", error.report());
    loader.rollback().unwrap();
    let mut loader = base.open("3");
    assert_eq!(loader.recover().unwrap().lost, vec![stream.name.clone()]);
}

#[test]
fn f82_a_key_that_changes_within_a_session_stops_the_stream() {
    each(tables(), |replica| {
        let mut loader = replica.open("1");
        load(&mut loader, &stream(&["id"]), 1, (None, false), &[r#"{"id":"1","region":"eu"}"#])
            .unwrap();
        loader.commit(None).unwrap();
        let both = [r#"{"id":"1","region":"eu"}"#, r#"{"id":"1","region":"us"}"#];
        let error =
            load(&mut loader, &stream(&["id", "region"]), 2, (None, false), &both).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaConflict, "{}", error.report());
        loader.rollback().unwrap();
        loader.finish().unwrap();
        assert_eq!(replica.query("SELECT region FROM crm.things"), ["eu"]);
    });
}

#[test]
fn f83_a_column_of_the_key_that_was_dropped_stops_the_table() {
    each(tables(), |replica| {
        let stream = stream(&["id"]);
        session(replica, &stream, 1, &[r#"{"id":"a","region":"eu"}"#]);
        replica.execute("ALTER TABLE crm.things DROP COLUMN id");
        let mut loader = replica.open("2");
        let error = load(&mut loader, &stream, 2, (None, false), &[r#"{"id":"a"}"#]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaConflict, "{}", error.report());
        loader.rollback().unwrap();
        loader.finish().unwrap();
        assert_eq!(replica.query("SELECT region FROM crm.things"), ["eu"]);
    });
}

#[test]
fn f83_a_column_of_a_version_field_may_be_dropped() {
    each(tables(), |replica| {
        let stream = stream(&["id"]);
        session(replica, &stream, 1, &[r#"{"id":"a","rev":1}"#, r#"{"id":"b","rev":"x"}"#]);
        replica.execute("ALTER TABLE crm.things DROP COLUMN rev__st");
        session(replica, &stream, 2, &[r#"{"id":"a","rev":2,"region":"new"}"#]);
        session(replica, &stream, 3, &[r#"{"id":"a","rev":1,"region":"old"}"#]);
        assert_eq!(replica.query("SELECT region FROM crm.things WHERE id = 'a'"), ["new"]);
        session(replica, &stream, 4, &[r#"{"id":"b","rev":"y"}"#]);
        assert_eq!(replica.query("SELECT rev__st FROM crm.things WHERE id = 'b'"), ["y"]);
    });
}

/// A column that was made anew by hand, and rows that a person made, stand back behind the source.
#[test]
fn f83_rows_without_a_sequence_are_older_than_any_record() {
    each(tables(), |replica| {
        let stream = stream(&["id"]);
        session(replica, &stream, 1, &[r#"{"id":"a","region":"old"}"#]);
        replica.execute("ALTER TABLE crm.things DROP COLUMN _sdc_sequence");
        replica.execute("ALTER TABLE crm.things ADD COLUMN _sdc_sequence bigint");
        replica.execute("INSERT INTO crm.things (id, region) VALUES ('b', 'mine')");
        let records = [r#"{"id":"a","region":"new"}"#, r#"{"id":"b","region":"new"}"#];
        session(replica, &stream, 2, &records);
        assert_eq!(replica.query("SELECT region FROM crm.things"), ["new", "new"]);
        replica.execute("INSERT INTO crm.things (id, region) VALUES ('c', 'mine')");
        let mut loader = replica.open("3");
        load(&mut loader, &stream, 3, (Some(100), true), &records).unwrap();
        loader.commit(None).unwrap();
        loader.finish().unwrap();
        assert_eq!(replica.query("SELECT region FROM crm.things"), ["new", "new"]);
    });
}

#[test]
fn f68_a_table_with_items_may_be_appended_to_from_now_on() {
    each(tables(), |replica| {
        let stream = stream(&["id"]);
        session(replica, &stream, 1, &[r#"{"id":"a","tags":["x"]}"#]);
        replica.choose(Mode {
            duckdb: |to| {
                to.layout.arrays = Arrays::Tables;
                to.layout.loading = Loading::Append;
            },
            postgres: |to| to.layout.loading = Loading::Append,
            ..tables()
        });
        session(replica, &stream, 2, &[r#"{"id":"a","tags":["y"]}"#]);
        session(replica, &stream, 3, &[r#"{"id":"a","tags":["z"]}"#]);
        assert_eq!(replica.query("SELECT id FROM crm.things"), ["a", "a", "a"]);
        let items = "SELECT value FROM crm.things__tags ORDER BY value";
        assert_eq!(replica.query(items), ["x", "y", "z"]);
    });
}

#[test]
fn f83_an_index_of_a_person_that_refuses_a_row_is_named() {
    let mut base = crate::postgres::Base::new(tables());
    base.renew();
    let stream = stream(&["id"]);
    session(&base, &stream, 1, &[r#"{"id":"a","region":"eu"}"#]);
    base.execute("CREATE UNIQUE INDEX my_own ON crm.things (region)");
    let mut loader = base.open("2");
    for records in [r#"{"id":"b","region":"eu"}"#, r#"{"id":"a","region":"secret value"}"#] {
        let more = r#"{"id":"c","region":"secret value"}"#;
        let error = load(&mut loader, &stream, 2, (None, false), &[records, more]).unwrap_err();
        let told = error.report();
        assert_eq!(error.kind(), ErrorKind::SchemaConflict, "{told}");
        assert!(told.contains("my_own") && told.contains("drop it"), "{told}");
        assert!(!told.contains("secret"), "{told}");
        loader.rollback().unwrap();
    }
}

fn deletes(deletes: Deletes) -> Mode {
    match deletes {
        Deletes::AsTold => tables(),
        Deletes::Remove => Mode {
            duckdb: |to| to.layout.deletes = Deletes::Remove,
            postgres: |to| to.layout.deletes = Deletes::Remove,
            ..tables()
        },
        Deletes::Mark => Mode {
            duckdb: |to| to.layout.deletes = Deletes::Mark,
            postgres: |to| to.layout.deletes = Deletes::Mark,
            ..tables()
        },
    }
}

/// A record that was marked before goes when it comes, in whatever form.
#[test]
fn f86_hard_delete_may_be_chosen_later() {
    each(deletes(Deletes::AsTold), |replica| {
        let stream = stream(&["id"]);
        let marked = r#"{"id":"a","rev":5,"_sdc_deleted_at":"2026-01-01T00:00:00Z"}"#;
        session(replica, &stream, 1, &[marked, r#"{"id":"b","rev":5}"#]);
        replica.choose(deletes(Deletes::Remove));
        session(replica, &stream, 2, &[r#"{"id":"b","rev":6}"#]);
        assert_eq!(replica.query("SELECT id FROM crm.things ORDER BY id"), ["a", "b"]);
        let mut loader = replica.open("3");
        let receipt = load(&mut loader, &stream, 3, (None, false), &[r#"{"id":"a","rev":3}"#]);
        assert_eq!(receipt.unwrap().removed, 1);
        loader.commit(None).unwrap();
        loader.finish().unwrap();
        assert_eq!(replica.query("SELECT id FROM crm.things"), ["b"]);
    });
}

/// The tap's own mark stays, also one that lies ahead of our clock.
#[test]
fn f86_a_mark_of_the_tap_is_not_taken_off() {
    each(deletes(Deletes::Mark), |replica| {
        let stream = stream(&["id"]);
        let mut loader = replica.open("1");
        load(&mut loader, &stream, 1, (Some(100), true), &[r#"{"id":"a","rev":1}"#]).unwrap();
        loader.commit(None).unwrap();
        let marked = r#"{"id":"a","rev":2,"_sdc_deleted_at":"2999-01-01T00:00:00Z"}"#;
        load(&mut loader, &stream, 2, (Some(200), true), &[marked]).unwrap();
        loader.commit(None).unwrap();
        loader.finish().unwrap();
        let marks = "SELECT id FROM crm.things WHERE _sdc_deleted_at IS NOT NULL";
        assert_eq!(replica.query(marks), ["a"]);
    });
}

/// Two values of a record without a place are one entry, and trying again makes no second row.
#[test]
fn f79_a_record_set_aside_for_two_reasons_is_tried_once() {
    let stitch = Mode {
        duckdb: |to| to.layout.naming = Naming::Stitch,
        postgres: |to| {
            to.layout.naming = Naming::Stitch;
            to.layout.arrays = Arrays::Tables;
        },
        ..tables()
    };
    each(stitch, |replica| {
        let stream = stream(&[]);
        session(replica, &stream, 1, &[r#"{"x__st":1,"y__bo":2,"region":"eu"}"#]);
        let entries = "SELECT reason FROM crm._sdc_rejected";
        assert_eq!(replica.query(entries).len(), 1);
        for job in 2..4 {
            let mut loader = replica.open(&job.to_string());
            let taken = loader.take_rejected(&stream, Timestamp::MAX, 500).unwrap();
            let text = String::from_utf8(taken.lines).unwrap();
            let lines: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
            replica::load(&mut loader, &stream, &job.to_string(), 1, &lines).unwrap();
            loader.commit(None).unwrap();
            loader.finish().unwrap();
            assert_eq!(replica.query("SELECT region FROM crm.things"), ["eu"]);
            assert_eq!(replica.query(entries).len(), 1);
        }
    });
}
