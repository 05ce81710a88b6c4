//! What tables look like, how they grow, and what people may do to them.

use bobbin_core::ErrorKind;
use bobbin_core::receipt::{Change, Changed};
use bobbin_core::schema::{Kind, Schema};

use crate::support::{Place, job, load, numbered, stream};

#[test]
fn f66_f69_f72_f73_f80_columns_have_their_types_and_come_with_their_first_value() {
    let place = Place::new();
    let stream = stream();
    let receipt = job(
        &place,
        &stream,
        "1",
        1,
        &[r#"{"id":"a","name":null,"age":1,"tags":["x"],"items":[{"q":1.50}]}"#],
    );
    assert_eq!(receipt.changes, [Change::of("things", Changed::Created { columns: 4 })]);
    let receipt = job(
        &place,
        &stream,
        "2",
        2,
        &[
            r#"{"id":"b","name":"B","age":"old","price":12345678901234567890,"o":{"k":"v"},"up":true}"#,
            r#"{"id":"c","updated_at":"2026-01-01T01:00:00+01:00","ratio":0.25}"#,
        ],
    );
    assert_eq!(receipt.changes.len(), 7, "{:?}", receipt.changes);
    assert_eq!(
        place.query(
            "SELECT column_name || ' ' || data_type FROM duckdb_columns()
             WHERE schema_name = 'crm' AND table_name = 'things' ORDER BY column_index"
        ),
        [
            "id VARCHAR",
            "age BIGINT",
            "tags VARCHAR[]",
            "items JSON",
            "_sdc_extracted_at TIMESTAMP WITH TIME ZONE",
            "_sdc_received_at TIMESTAMP WITH TIME ZONE",
            "_sdc_batched_at TIMESTAMP WITH TIME ZONE",
            "_sdc_sequence BIGINT",
            "_sdc_table_version BIGINT",
            "name VARCHAR",
            "age__st VARCHAR",
            "price__de DECIMAL(38,9)",
            "o JSON",
            "up BOOLEAN",
            "updated_at TIMESTAMP WITH TIME ZONE",
            "ratio DOUBLE",
        ]
        .map(|text| vec![Some(text.to_owned())])
    );
    assert_eq!(place.one("SELECT items FROM crm.things WHERE id = 'a'"), r#"[{"q":1.50}]"#);
    assert_eq!(
        place.one("SELECT updated_at::VARCHAR FROM crm.things WHERE id = 'c'"),
        "2026-01-01 00:00:00+00"
    );
    assert_eq!(
        place.one("SELECT price__de FROM crm.things WHERE id = 'b'"),
        "12345678901234567890.000000000"
    );
    assert_eq!(
        place.one("SELECT comment FROM duckdb_tables() WHERE table_name = 'things'"),
        "things that are"
    );
    assert_eq!(
        place.one("SELECT comment FROM duckdb_columns() WHERE table_name = 'things' AND column_name = 'name'"),
        "what it's called"
    );
    assert_eq!(
        place.one(
            "SELECT bool_and(_sdc_extracted_at <= _sdc_received_at AND _sdc_received_at <= _sdc_batched_at
                             AND _sdc_table_version = 1) FROM crm.things"
        ),
        "true"
    );
}

#[test]
fn f75_f76_hostile_names_and_texts_arrive_unchanged() {
    let place = Place::new();
    let stream = stream();
    job(
        &place,
        &stream,
        "1",
        1,
        &[
            r#"{"id":"a","x\"; DROP TABLE things; --":"'; --","NAME":"upper","name":"lower","":"e","a\u0000b":"n\u0000l","😀":"😀","_sdc_sequence":"mine"}"#,
        ],
    );
    let dump = place.dump("things");
    let mut values: Vec<&str> = dump[0].values().map(String::as_str).collect();
    values.sort_unstable();
    assert_eq!(values, ["'; --", "a", "e", "lower", "mine", "n\0l", "upper", "😀"]);
    assert_eq!(dump[0]["NAME"], "upper");
    assert_eq!(dump[0]["source_sdc_sequence"], "mine");
}

#[test]
fn f72_a_table_without_a_row_is_not_made() {
    let place = Place::new();
    job(&place, &stream(), "1", 1, &[r#"{"name":"no id"}"#]);
    assert_eq!(place.one("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'things'"), "0");
}

#[test]
fn f83_what_people_made_survives() {
    let place = Place::new();
    let stream = stream();
    job(&place, &stream, "1", 1, &[r#"{"id":"a","name":"A"}"#]);
    place.by_hand(
        "ALTER TABLE crm.things ADD COLUMN note VARCHAR;
         UPDATE crm.things SET note = 'by hand';
         CREATE VIEW crm.names AS SELECT id, name FROM warehouse.crm.things;
         CREATE TABLE crm.mine AS SELECT 1 AS x;",
    );
    job(&place, &stream, "2", 2, &[r#"{"id":"b","name":"B","note":"from the source","more":1}"#]);
    assert_eq!(place.one("SELECT string_agg(name, ',' ORDER BY name) FROM crm.names"), "A,B");
    assert_eq!(place.one("SELECT note FROM crm.things WHERE id = 'a'"), "by hand");
    assert_eq!(place.one("SELECT note FROM crm.things WHERE id = 'b'"), "null");
    assert!(
        place.dump("things")[1]
            .iter()
            .any(|(name, value)| { name.starts_with("note_") && value == "from the source" })
    );
    assert_eq!(place.one("SELECT x FROM crm.mine"), "1");
}

#[test]
fn f83_a_dropped_column_or_table_is_made_again() {
    let place = Place::new();
    let stream = stream();
    job(&place, &stream, "1", 1, &[r#"{"id":"a","name":"A","Name":"B"}"#]);
    place.by_hand("ALTER TABLE crm.things DROP COLUMN name;");
    job(&place, &stream, "2", 2, &[r#"{"id":"b","name":"B","Name":"C"}"#]);
    assert_eq!(place.one("SELECT name FROM crm.things WHERE id = 'b'"), "B");
    let columns = place.answer("SELECT * FROM crm.things").columns;
    place.by_hand("DROP TABLE crm.things;");
    job(&place, &stream, "3", 3, &[r#"{"id":"c","Name":"E","name":"D"}"#]);
    let mut again = place.answer("SELECT * FROM crm.things").columns;
    assert_eq!(place.one("SELECT name FROM crm.things"), "D");
    let mut columns = columns;
    columns.sort();
    again.sort();
    assert_eq!(again, columns, "names are kept, whatever the order they come in now");
    assert_eq!(
        place.one("SELECT count(*) - count(DISTINCT (path, type)) FROM crm._bobbin_columns"),
        "0"
    );
}

#[test]
fn f83_a_table_changed_beyond_repair_stops_alone() {
    let place = Place::new();
    let things = stream();
    let mut others = stream();
    others.name = "others".into();
    job(&place, &things, "1", 1, &[r#"{"id":"a","age":1}"#]);
    for (by_hand, column, found) in [
        ("ALTER TABLE crm.things ALTER age TYPE VARCHAR", "age", "VARCHAR"),
        ("ALTER TABLE crm.things DROP COLUMN _sdc_sequence", "_sdc_sequence", "_sdc_sequence"),
    ] {
        place.by_hand(by_hand);
        let mut loader = place.open("2");
        load(&mut loader, &others, "2", 1, &numbered(5, &[r#"{"id":"o"}"#])).unwrap();
        let error =
            load(&mut loader, &things, "2", 2, &numbered(6, &[r#"{"id":"b"}"#])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaConflict, "{error:?}");
        let report = error.report();
        for part in ["crm.things", column, found, "expected: BIGINT", "hint: "] {
            assert!(report.contains(part), "{part} not in {report}");
        }
        load(&mut loader, &others, "2", 3, &numbered(7, &[r#"{"id":"p"}"#])).unwrap();
        loader.commit(None).unwrap();
        drop(loader);
    }
    assert_eq!(place.one("SELECT count(*) FROM crm.others"), "2");
}

#[test]
fn a_table_can_get_very_wide() {
    let mut place = Place::new();
    place.layout.max_columns = Some(1_600);
    let stream = stream();
    let wide: Vec<String> = (0..5000).map(|n| format!("\"f{n}\":{n}")).collect();
    let record = format!("{{\"id\":\"a\",{}}}", wide.join(","));
    let mut loader = place.open("1");
    load(&mut loader, &stream, "1", 1, &numbered(1, &[r#"{"id":"b"}"#, &record, r#"{"id":"c"}"#]))
        .unwrap();
    loader.commit(None).unwrap();
    load(&mut loader, &stream, "1", 2, &numbered(9, &[&record])).unwrap();
    loader.commit(None).unwrap();
    loader.finish().unwrap();
    assert_eq!(place.one("SELECT count(*) FROM crm.things"), "3");
    assert_eq!(place.one("SELECT f10 FROM crm.things WHERE id = 'a'"), "10");
    assert_eq!(place.one("SELECT _sdc_extra->>'f4999' FROM crm.things WHERE id = 'a'"), "4999");
    let columns = "SELECT count(*) FROM duckdb_columns() WHERE table_name = 'things'";
    assert_eq!(
        place.one(columns),
        (1_600 + 1 + 5).to_string(),
        "with _sdc_extra and those of all tables"
    );
}

#[test]
fn many_small_wide_tables_fit_the_limit_of_memory() {
    let place = Place::new();
    let mut loader = place.open_with("1", |config| config.memory_limit_mb = 96);
    let members: Vec<String> = (0..120).map(|n| format!("\"f{n}\":\"{n}\"")).collect();
    let mut number = 0;
    for round in 0..3 {
        for table in 0..14 {
            let mut stream = stream();
            stream.name = format!("table{table}").into();
            let records: Vec<String> = (0..40)
                .map(|n| format!("{{\"id\":\"{round}-{n}\",{}}}", members.join(",")))
                .collect();
            let records: Vec<&str> = records.iter().map(String::as_str).collect();
            number += 1;
            load(&mut loader, &stream, "1", number, &numbered(number as i64 * 100, &records))
                .unwrap();
        }
        loader.commit(None).unwrap();
    }
    loader.finish().unwrap();
    assert_eq!(place.one("SELECT count(*) FROM crm.table13"), "120");
}

/// The schema may grow while a job runs: what it says holds for the records after it.
#[test]
fn a_field_declared_later_has_its_declared_type() {
    let place = Place::new();
    let mut stream = stream();
    let mut loader = place.open("1");
    load(&mut loader, &stream, "1", 1, &numbered(1, &[r#"{"id":"a"}"#])).unwrap();
    stream.fields.properties.push(("due_at".to_owned(), Schema::of(Kind::DateTime)));
    let text = numbered(2, &[r#"{"id":"b","due_at":"2026-01-01T00:00:00Z"}"#]);
    load(&mut loader, &stream, "1", 2, &text).unwrap();
    loader.commit(None).unwrap();
    drop(loader);
    assert_eq!(
        place.one("SELECT data_type FROM information_schema.columns WHERE column_name = 'due_at'"),
        "TIMESTAMP WITH TIME ZONE"
    );
}
