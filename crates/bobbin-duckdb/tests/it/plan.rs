//! What is planned is what loading makes; planning makes nothing.

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Stream;
use bobbin_core::clock::SystemClock;
use bobbin_core::destination::Destination;
use bobbin_core::plan::{ColumnState, TablePlan, TableState};
use bobbin_core::report::NoLog;
use bobbin_core::tap::Context;
use bobbin_duckdb::{Config, DuckDb};
use proptest::test_runner::{Config as Cases, TestRunner};

use crate::shapes::{streams, whole};
use crate::support::{Place, job, load, numbered, stream};

fn plan(place: &Place, streams: &[Stream]) -> Vec<TablePlan> {
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    DuckDb::new(Config::new(&place.path)).plan(&cx, &"crm".into(), streams).unwrap()
}

fn made(place: &Place) -> Vec<String> {
    let rows = place.query(
        "SELECT table_name || '.' || column_name || ' ' || data_type FROM duckdb_columns()
         WHERE schema_name = 'crm' AND table_name NOT LIKE '\\_bobbin\\_%' ESCAPE '\\'
               AND table_name <> '_sdc_rejected' ORDER BY table_name, column_index",
    );
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

fn planned(plans: &[TablePlan]) -> Vec<String> {
    let mut all = Vec::new();
    for plan in plans {
        for column in &plan.columns {
            let ty = column.ty.as_deref().unwrap_or("VARCHAR");
            all.push(format!("{}.{} {ty}", plan.table, column.name));
        }
    }
    all
}

#[test]
fn what_is_planned_is_what_a_whole_record_makes() {
    let mut runner = TestRunner::new(Cases::with_cases(25));
    let tried = runner.run(&streams(), |stream| {
        let place = Place::new();
        let these = std::slice::from_ref(&stream);
        let before = plan(&place, these);
        assert!(before.iter().all(|table| table.state == TableState::Made));
        assert!(!place.path.exists());
        job(&place, &stream, "1", 1, &[&whole(&stream.fields)]);
        assert_eq!(planned(&before), made(&place), "{:#?}", stream.fields);

        let bytes = std::fs::read(&place.path).unwrap();
        let after = plan(&place, these);
        assert_eq!(plan(&place, these), after);
        assert_eq!(std::fs::read(&place.path).unwrap(), bytes);
        assert_eq!(planned(&after), made(&place));
        for table in &after {
            assert_eq!(table.state, TableState::There);
            assert!(table.columns.iter().all(|column| column.state == ColumnState::There));
        }
        Ok(())
    });
    tried.unwrap();
}

#[test]
fn a_file_of_others_is_only_read() {
    let place = Place::new();
    place.by_hand("CREATE SCHEMA crm; CREATE TABLE crm.mine (a INTEGER)");
    let bytes = std::fs::read(&place.path).unwrap();
    let plans = plan(&place, &[stream()]);
    assert_eq!(plans[0].state, TableState::Made);
    assert_eq!(std::fs::read(&place.path).unwrap(), bytes);
    assert_eq!(made(&place), ["mine.a INTEGER"]);
}

#[test]
fn each_columns_state_is_told_and_one_stopped_table_holds_nothing_back() {
    let place = Place::new();
    let things = stream();
    job(&place, &things, "1", 1, &[r#"{"id":"a","rev":1,"name":"n","age":3,"odd":"x"}"#]);
    place.by_hand("ALTER TABLE crm.things ADD COLUMN note VARCHAR");
    place.by_hand("ALTER TABLE crm.things DROP COLUMN age");
    let mut others = things.clone();
    others.name = "others".into();
    let both = [things.clone(), others];
    let plans = plan(&place, &both);
    let state = |name: &str| {
        let found = plans[0].columns.iter().find(|column| column.name == name);
        found.map(|column| column.state.clone())
    };
    assert_eq!(state("name"), Some(ColumnState::There));
    assert_eq!(state("odd"), Some(ColumnState::There));
    assert_eq!(state("age"), Some(ColumnState::ComesAgain));
    assert_eq!(state("tags"), Some(ColumnState::FirstValue));
    assert_eq!(state("note"), Some(ColumnState::Yours));
    assert_eq!(plans[0].key, ["id"]);
    assert_eq!((plans.len(), &plans[1].state), (2, &TableState::Made));

    place.by_hand("ALTER TABLE crm.things ALTER name TYPE INTEGER USING 1");
    let plans = plan(&place, &both);
    let TableState::Stops { message, hint } = &plans[0].state else { panic!("{plans:#?}") };
    assert_eq!(plans[1].state, TableState::Made);
    let mut loader = place.open("2");
    let error = load(&mut loader, &things, "2", 1, &numbered(9, &[r#"{"id":"b"}"#])).unwrap_err();
    assert!(error.to_string().starts_with(message.trim_end_matches(')')), "{error}");
    assert_eq!(error.hint_text(), hint.as_deref());
}
