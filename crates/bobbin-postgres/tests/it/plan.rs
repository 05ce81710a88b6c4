//! What is planned is what loading makes; planning makes nothing.

use std::io::Cursor;

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Stream;
use bobbin_core::clock::SystemClock;
use bobbin_core::destination::Destination;
use bobbin_core::plan::{ColumnState, TablePlan, TableState};
use bobbin_core::report::NoLog;
use bobbin_core::tap::Context;
use bobbin_load::shape::layout::Arrays;
use bobbin_postgres::{Config, Postgres};
use proptest::test_runner::{Config as Cases, TestRunner};

use crate::shapes::{streams, whole};
use crate::support::{Place, job, lines, segment, stream};

fn plan(config: &Config, connection: &str, streams: &[Stream]) -> Vec<TablePlan> {
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    Postgres::new(config.clone()).plan(&cx, &connection.into(), streams).unwrap()
}

fn load(config: &Config, connection: &str, stream: &Stream, record: String) {
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    let postgres = Postgres::new(config.clone());
    let mut loader = postgres.open(&cx, &connection.into(), &"1".into()).unwrap();
    let text = lines(&[(1, record)]);
    let segment = segment(stream, "1", 1, 1);
    let receipt = loader.load(stream, &segment, &mut Cursor::new(text.as_bytes())).unwrap();
    assert_eq!(receipt.loaded, 1);
    loader.commit(None).unwrap();
    loader.finish().unwrap();
}

/// The tables of data with their columns, as they are.
fn made(place: &Place, connection: &str) -> Vec<(String, Vec<String>)> {
    let mut made: Vec<(String, Vec<String>)> = Vec::new();
    let columns = place.query(&format!(
        "SELECT c.relname, a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
              JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = '{connection}' AND c.relkind = 'r' AND a.attnum > 0
               AND c.relname NOT LIKE '\\_bobbin\\_%' AND c.relname <> '_sdc_rejected'
         ORDER BY c.relname, a.attnum"
    ));
    for row in columns {
        let (table, column) = row.split_once(" | ").unwrap();
        match made.last_mut() {
            Some((last, columns)) if last == table => columns.push(column.to_owned()),
            _ => made.push((table.to_owned(), vec![column.to_owned()])),
        }
    }
    made
}

/// What a plan says will be; a type that the first value decides is what a text makes of it.
fn planned(plans: &[TablePlan]) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = plans
        .iter()
        .map(|plan| {
            let columns = plan.columns.iter().map(|column| {
                format!("{} {}", column.name, column.ty.as_deref().unwrap_or("text"))
            });
            (plan.table.clone(), columns.collect())
        })
        .collect();
    all.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    all
}

#[test]
fn what_is_planned_is_what_a_whole_record_makes() {
    let place = Place::new();
    let number = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Cases::with_cases(40));
    let tried = runner.run(&streams(), |stream| {
        for arrays in [Arrays::Columns, Arrays::Tables] {
            number.set(number.get() + 1);
            let connection = format!("c{}", number.get());
            let mut config = place.config();
            config.layout.arrays = arrays;
            let before = plan(&config, &connection, std::slice::from_ref(&stream));
            assert!(before.iter().all(|table| table.state == TableState::Made));
            assert_eq!(plan(&config, &connection, std::slice::from_ref(&stream)), before);
            let there = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{connection}'");
            assert_eq!(place.one(&there), "0");

            load(&config, &connection, &stream, whole(&stream.fields));
            let mut made = made(&place, &connection);
            made.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            assert_eq!(planned(&before), made, "{arrays:?} {:#?}", stream.fields);

            let after = plan(&config, &connection, std::slice::from_ref(&stream));
            assert_eq!(planned(&after), made);
            for table in &after {
                assert_eq!(table.state, TableState::There);
                assert!(table.columns.iter().all(|column| column.state == ColumnState::There));
            }
        }
        Ok(())
    });
    tried.unwrap();
}

#[test]
fn each_columns_state_is_told_and_one_stopped_table_holds_nothing_back() {
    let place = Place::new();
    let things = stream();
    job(&place, &things, "1", 1, &[r#"{"id":"a","rev":1,"name":"n","age":3,"odd":"x"}"#]);
    place.by_hand("ALTER TABLE crm.things ADD COLUMN note text, DROP COLUMN age");
    let mut others = things.clone();
    others.name = "others".into();
    let state = |plans: &[TablePlan], name: &str| {
        let found = plans[0].columns.iter().find(|column| column.name == name);
        found.map(|column| column.state.clone())
    };
    let plans = plan(&place.config(), "crm", &[things.clone(), others.clone()]);
    assert_eq!(state(&plans, "name"), Some(ColumnState::There));
    assert_eq!(state(&plans, "odd"), Some(ColumnState::There));
    assert_eq!(state(&plans, "age"), Some(ColumnState::ComesAgain));
    assert_eq!(state(&plans, "tags"), Some(ColumnState::FirstValue));
    assert_eq!(state(&plans, "note"), Some(ColumnState::Yours));
    assert_eq!(plans[0].key, ["id"]);
    assert_eq!((plans.len(), &plans[1].state), (2, &TableState::Made));

    for (damage, words) in [
        ("ALTER TABLE crm.things ALTER name TYPE integer USING 1", "a column has another type"),
        ("ALTER TABLE crm.things ALTER name TYPE text, DROP _sdc_sequence", "a system column is"),
        (
            "ALTER TABLE crm.things ADD _sdc_sequence bigint, DROP CONSTRAINT things_pkey",
            "no unique key",
        ),
    ] {
        place.by_hand(damage);
        let plans = plan(&place.config(), "crm", &[things.clone(), others.clone()]);
        let TableState::Stops { message, hint } = &plans[0].state else { panic!("{damage}") };
        assert!(message.contains(words) && hint.is_some(), "{message}");
        assert_eq!(plans[1].state, TableState::Made);
        let mut loader = place.open("2");
        let text = lines(&[(9, r#"{"id":"b"}"#.to_owned())]);
        let segment = segment(&things, "2", 1, 1);
        let error = loader.load(&things, &segment, &mut Cursor::new(text.as_bytes())).unwrap_err();
        assert!(error.to_string().starts_with(message.trim_end_matches(')')), "{error}");
        assert_eq!(error.hint_text(), hint.as_deref());
    }
}
