//! Tables as people see them: types, names, columns, what is set aside, what is left alone.

use bobbin_core::ErrorKind;
use bobbin_core::schema::{Kind, Object, Schema};

use crate::support::{Place, job, lines, load, numbered, stream, text};

/// F-66, F-69, F-72, F-73, F-80.
#[test]
fn f66_f69_f72_f73_f80_columns_have_their_types_and_come_with_their_first_value() {
    let place = Place::new();
    let mut stream = stream();
    stream.fields.properties.push((
        "score".to_owned(),
        Schema::of(Kind::Object(Object {
            properties: vec![("value".to_owned(), Schema::of(Kind::Number))],
            open: true,
        })),
    ));
    stream.fields.properties.push(("days".to_owned(), Schema::array(Schema::of(Kind::DateTime))));
    job(
        &place,
        &stream,
        "1",
        1,
        &[
            r#"{"id":"a","updated_at":"2024-05-01T12:00:00+02:00","age":9223372036854775807,"tags":["x",null,"ü,{}\"\\"],"items":[{"n":1.50}],"score":{"value":0.1},"flag":true,"name":null}"#,
            r#"{"id":"b","age":"old","score":{"value":-0.0},"tags":[],"days":["0001-01-01T00:00:00Z","9999-12-31T23:59:59.999999Z"]}"#,
            r#"{"id":"c","age":12345678901234567890,"score":{"value":123456789012345678901234567.5}}"#,
            r#"{"id":"d","age":1.5,"score":{"value":1.7976931348623157e308},"name":"line\nbreak\ttab \\N"}"#,
        ],
    );
    assert_eq!(
        place.query(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
             WHERE attrelid = 'crm.things'::regclass AND attnum > 0 ORDER BY attname COLLATE \"C\""
        ),
        [
            "_sdc_batched_at | timestamp with time zone",
            "_sdc_extracted_at | timestamp with time zone",
            "_sdc_received_at | timestamp with time zone",
            "_sdc_sequence | bigint",
            "_sdc_table_version | bigint",
            "age | bigint",
            "age__de | numeric",
            "age__do | double precision",
            "age__st | text",
            "days | timestamp with time zone[]",
            "flag | boolean",
            "id | text",
            "items | jsonb",
            "name | text",
            "score__value | double precision",
            "score__value__de | numeric",
            "tags | text[]",
            "updated_at | timestamp with time zone",
        ]
    );
    let dump = place.dump("things");
    let show = |row: usize| format!("{:?}", dump[row]);
    assert_eq!(
        show(0),
        r#"{"age": "9223372036854775807", "flag": "t", "id": "a", "items": "[{\"n\": 1.50}]", "score__value": "0.1", "tags": "{x,NULL,\"ü,{}\\\"\\\\\"}", "updated_at": "2024-05-01 10:00:00+00"}"#
    );
    assert_eq!(
        show(1),
        r#"{"age__st": "old", "days": "{\"0001-01-01 00:00:00+00\",\"9999-12-31 23:59:59.999999+00\"}", "id": "b", "score__value": "-0", "tags": "{}"}"#
    );
    assert_eq!(
        show(2),
        r#"{"age__de": "12345678901234567890", "id": "c", "score__value__de": "123456789012345678901234567.5"}"#
    );
    assert_eq!(
        show(3),
        r#"{"age__do": "1.5", "id": "d", "name": "line\nbreak\ttab \\N", "score__value": "1.7976931348623157e+308"}"#
    );
    assert_eq!(
        place.query(
            "SELECT _sdc_extracted_at, _sdc_received_at <= _sdc_batched_at,
                    _sdc_extracted_at < _sdc_received_at, _sdc_sequence, _sdc_table_version
             FROM crm.things WHERE id = 'b'"
        ),
        ["2026-01-01 00:00:00.5+00 | t | t | 2 | 1"]
    );
    assert_eq!(place.one("SELECT obj_description('crm.things'::regclass)"), "things that are");
    assert_eq!(
        place.one(
            "SELECT col_description(attrelid, attnum) FROM pg_attribute
             WHERE attrelid = 'crm.things'::regclass AND attname = 'name'"
        ),
        "what it's called"
    );
}

/// Whatever a decimal holds, `numeric` shows the same.
#[test]
fn decimals_keep_every_digit() {
    let place = Place::new();
    let mut stream = stream();
    stream.fields.properties.retain(|(name, _)| name != "age");
    let numbers = [
        "99999999999999999999999999999.999999999",
        "-99999999999999999999999999999.999999999",
        "10000000000000000000000000000",
        "12345678901234567890.000000001",
        "-12345678901234567890.1",
        "10000000000000000.0001",
        "123456789012345678.9",
        "18446744073709551616",
        "100000000000000000000000.5",
    ];
    let records: Vec<(i64, String)> = (0i64..)
        .zip(numbers)
        .map(|(n, number)| (n, format!("{{\"id\":\"{n}\",\"rev\":{number}}}")))
        .collect();
    let mut loader = place.open("1");
    load(&mut loader, &stream, "1", 1, &lines(&records)).unwrap();
    loader.commit(None).unwrap();
    assert_eq!(place.query("SELECT rev__de::text FROM crm.things ORDER BY id"), numbers);
}

/// F-77, and failures.md 4.3: what PostgreSQL cannot hold is replaced and told, or set aside alone.
#[test]
fn f77_f79_what_postgres_cannot_hold_harms_no_neighbour() {
    let place = Place::new();
    let stream = stream();
    // Rows of a thousand short texts do not fit a page.
    let wide: Vec<String> = (0..900).map(|n| format!("\"c{n}\":\"{}\"", "x".repeat(20))).collect();
    let wide = format!("{{\"id\":\"wide\",{}}}", wide.join(","));
    let long = format!("{{\"id\":\"{}\"}}", incompressible(20_000));
    let before = place.open("1");
    drop(before);
    let receipt = job(
        &place,
        &stream,
        "1",
        1,
        &[
            r#"{"id":"a","name":"nul \u0000 inside","items":[{"x":"\u0000"}]}"#,
            &wide,
            r#"{"id":"b","name":"good"}"#,
            &long,
            r#"{"id":"c","name":"good","items":[{"n":1.50}]}"#,
            r#"{"id":null,"name":"no key"}"#,
        ],
    );
    assert_eq!((receipt.loaded, receipt.rejected), (3, 3));
    assert!(
        receipt.changes.iter().any(|change| change.to_string().contains("replaced")),
        "{receipt:?}"
    );
    assert_eq!(
        place.query("SELECT id, name, items FROM crm.things ORDER BY id"),
        ["a | nul ␀ inside | [{\"x\": \"␀\"}]", "b | good | null", "c | good | [{\"n\": 1.50}]",]
    );
    let rejected = place.query(
        "SELECT table_name, reason, left(record, 20), length(record) > 15000
         FROM crm._sdc_rejected ORDER BY reason",
    );
    assert_eq!(rejected.len(), 3, "{rejected:?}");
    assert!(
        rejected[0].starts_with("things | PostgreSQL refuses the row: row is too big"),
        "{rejected:?}"
    );
    assert!(rejected[0].ends_with("| t"), "{rejected:?}");
    assert!(rejected[1].contains("key `id` is missing or null"), "{rejected:?}");
    assert!(rejected[2].contains("the key has 20000 bytes"), "{rejected:?}");
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
    assert_eq!(place.one("SELECT length(record) < 70000 FROM crm._sdc_rejected"), "t");
}

/// Text that compression does not shorten.
fn incompressible(length: usize) -> String {
    let mut state = 7u64;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + ((state >> 33) % 90) as u8)
        })
        .map(|c| if matches!(c, '"' | '\\') { '_' } else { c })
        .collect()
}

/// F-75, F-78: names that are too long, hostile or differ by case only.
#[test]
fn f75_f76_f78_names_fit_and_stay_apart() {
    let place = Place::new();
    let mut stream = stream();
    stream.name = "a_table_whose_name_is_much_longer_than_the_sixty_three_bytes_allowed".into();
    let long = "x".repeat(80);
    let record = format!(
        r#"{{"id":"1","{long}a":1,"{long}b":2,"Id":3,"select":4,"quote\"'; DROP TABLE x; --":5,"":6,"_sdc_sequence":7,"ctid":8,"xmin":9,"tableoid":10}}"#
    );
    job(&place, &stream, "1", 1, &[&record]);
    let names = place.query(
        "SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relname LIKE 'a_table%' AND c.relkind = 'r' AND a.attnum > 0 ORDER BY a.attnum",
    );
    assert_eq!(names.len(), 11 + 5, "{names:?}");
    assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
    let table =
        place.one("SELECT relname FROM pg_class WHERE relname LIKE 'a_table%' AND relkind = 'r'");
    assert_eq!(table.len(), 63);
    // Names once given stay.
    job(&place, &stream, "2", 5, &[&record.replace(":1,", ":11,")]);
    let again = place.query(
        "SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relname LIKE 'a_table%' AND c.relkind = 'r' AND a.attnum > 0 ORDER BY a.attnum",
    );
    assert_eq!(names, again);
    assert_eq!(place.one(&format!("SELECT count(*) FROM crm.{table}")), "1");
}

/// F-83.
#[test]
fn f83_what_people_made_survives_and_what_they_broke_is_told() {
    let place = Place::new();
    let stream = stream();
    let record = r#"{"id":"a","rev":1,"name":"A","age":1}"#;
    job(&place, &stream, "1", 1, &[record]);
    place.by_hand(
        "ALTER TABLE crm.things ADD COLUMN note text DEFAULT 'mine', DROP COLUMN age;
         CREATE VIEW crm.named AS SELECT id, name, note FROM crm.things;
         CREATE INDEX by_name ON crm.things (name);
         CREATE TABLE crm.own (n integer)",
    );
    job(&place, &stream, "2", 5, &[r#"{"id":"a","rev":2,"name":"A2","age":2}"#]);
    job(&place, &stream, "3", 9, &[r#"{"id":"b","rev":2,"name":"B","note":"theirs"}"#]);
    assert_eq!(
        place.query("SELECT id, name, note, age FROM crm.things ORDER BY id"),
        ["a | A2 | mine | 2", "b | B | mine | null"]
    );
    assert_eq!(place.query("SELECT name FROM crm.named ORDER BY 1"), ["A2", "B"]);

    let conflict = |sql: &str, words: &[&str]| {
        place.by_hand(sql);
        let mut loader = place.open("9");
        let error =
            load(&mut loader, &stream, "9", 1, &numbered(90, &[r#"{"id":"z"}"#])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaConflict, "{}", error.report());
        for word in words {
            assert!(error.report().contains(word), "`{word}` is not in:\n{}", error.report());
        }
    };
    conflict(
        "ALTER TABLE crm.things ALTER age TYPE text",
        &["crm.things", "age", "found: text", "expected: bigint"],
    );
    conflict(
        "ALTER TABLE crm.things ALTER age TYPE bigint USING age::bigint;
         ALTER TABLE crm.things DROP COLUMN _sdc_sequence",
        &["_sdc_sequence", "ADD COLUMN"],
    );
    conflict(
        "ALTER TABLE crm.things ADD COLUMN _sdc_sequence bigint;
         ALTER TABLE crm.things DROP CONSTRAINT things_pkey",
        &["unique key", "ADD PRIMARY KEY (\"id\")"],
    );
    place.by_hand("ALTER TABLE crm.things ADD PRIMARY KEY (id)");
    job(&place, &stream, "10", 99, &[r#"{"id":"a","rev":3,"name":"A3"}"#]);
    assert_eq!(place.one("SELECT name FROM crm.things WHERE id = 'a'"), "A3");
    place.by_hand("DROP TABLE crm.things CASCADE");
    job(&place, &stream, "11", 100, &[record]);
    assert_eq!(place.one("SELECT age FROM crm.things"), "1");
}

/// F-72, C27.
#[test]
fn f72_a_table_without_a_row_is_not_made() {
    let place = Place::new();
    let mut stream = stream();
    stream.fields.properties.push(("extra".to_owned(), text()));
    job(&place, &stream, "1", 1, &[r#"{"name":"no key"}"#]);
    assert_eq!(place.one("SELECT count(*) FROM pg_tables WHERE tablename = 'things'"), "0");
    assert_eq!(place.one("SELECT count(*) FROM crm._sdc_rejected"), "1");
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
        "timestamp with time zone"
    );
}
