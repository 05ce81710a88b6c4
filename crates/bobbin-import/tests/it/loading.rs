//! What a job is sent.

use bobbin_core::report::Level;
use bobbin_core::selection::{Selection, StreamSelection};
use bobbin_core::state::State;
use bobbin_load::shape::convert::Converter;
use bobbin_load::shape::version::{Number, Part};

use crate::support::{Home, batch, push, upserts};

const ORDERS: &str = r#""table_name":"orders","schema":{"properties":{"id":{"type":"integer"},"note":{"type":["null","string"]},"lines":{"type":"array","items":{"type":"object","properties":{"price":{"type":"number"},"name":{"type":"string"}}}}}},"key_names":["id"]"#;

#[test]
fn a_table_is_read_whole_in_a_version() {
    let home = Home::new();
    home.accept(&batch(&format!(
        r#"{{{ORDERS},"table_version":7,"messages":[{{"action":"upsert","sequence":1,"time_extracted":"2026-11-28T09:00:00Z","data":{{"id":1}}}},{{"action":"upsert","sequence":2,"data":{{"id":2}}}},{{"action":"activate_version","sequence":3}}]}}"#
    )));
    let ran = home.run(&State::default());
    insta::assert_snapshot!(ran.text(), @r#"
    orders (_import_sequence id note lines) key id
    orders v7 2026-11-28T09:00:00Z: {"_import_sequence":1,"id":1}
    orders v7 2026-11-28T09:30:00Z: {"_import_sequence":2,"id":2}
    orders is whole in version 7
    state 1
    "#);
    assert_eq!(ran.streams[0].replication_key, None);
    assert_eq!(ran.outcomes[0].reached, Some(crate::support::now()));
    // A table that only changes is ordered by its sequence, or by the bookmark it names.
    home.accept(&batch(&format!(r#"{{{ORDERS},"bookmark_names":["note"],"messages":[{{"action":"upsert","sequence":1,"data":{{"id":1}}}}]}}"#)));
    home.accept(&batch(&format!(r#"{{{ORDERS},"bookmark_names":["a.b"],"messages":[{{"action":"upsert","sequence":1,"data":{{"id":1}}}}]}}"#)));
    let keys = home.run(&ran.state).streams;
    assert_eq!(keys[0].replication_key.as_deref(), Some("note"));
    assert_eq!(keys[1].replication_key.as_deref(), Some("_import_sequence"));
}

#[test]
fn numbers_keep_their_digits_and_records_their_order() {
    let home = Home::new();
    let data = r#"{"id":1,"a":12345678901234567890.10,"b":1E+2,"c":-0.0,"d":[1e-7, 123456789012345678901234567890],"e":"\u00e9\n","é":{}}"#;
    home.accept(&push(&format!(
        r#"[{{"table_name":"t","sequence":9223372036854775807,"action":"upsert","key_names":["id"],"data":{data}}}]"#
    )));
    let ran = home.run(&State::default());
    let expected = data.replacen('{', r#"{"_import_sequence":9223372036854775807,"#, 1);
    assert_eq!(ran.records(), [expected]);
}

#[test]
fn of_two_records_with_one_key_the_higher_sequence_stays() {
    // The later request came first, as with five requests side by side.
    for order in [[1, 0], [0, 1]] {
        let home = Home::new();
        let sequences = [1_764_321_000_000_000_001, 1_764_321_000_000_000_002];
        for at in order {
            home.accept(&upserts("t", &[(1, sequences[at])]));
        }
        let ran = home.run(&State::default());
        let mut converter = Converter::new(&ran.streams[0], Vec::new(), &[]);
        for (n, record) in ran.records().into_iter().enumerate() {
            let rest = record.strip_prefix('{').unwrap();
            let line = format!(
                r#"{{"_sdc_extracted_at":"2026-11-28T09:30:00Z","_sdc_sequence":{n},{rest}"#
            );
            converter.line(line.as_bytes());
        }
        let rows = converter.finish().unwrap();
        assert_eq!((rows.rows, rows.superseded, rows.rejected.len()), (1, 1, 0));
        assert_eq!(rows.version(0).parts, [Part::Number(Number::from_int(sequences[1]))]);
    }
}

#[test]
fn what_was_not_chosen_is_left_out() {
    let home = Home::new();
    home.accept(&push(
        r#"[{"table_name":"orders","sequence":1,"action":"upsert","key_names":["id"],"data":{"id":1,"note":"x","lines":[{"price":1.10,"name":"n"}],"z":1}},
            {"table_name":"others","sequence":2,"action":"upsert","key_names":["id"],"data":{"id":1}}]"#,
    ));
    home.accept(&batch(&format!(
        r#"{{{ORDERS},"messages":[{{"action":"upsert","sequence":3,"data":{{"note":"x","id":2,"lines":[{{"name":"n","price":1.10}}]}}}}]}}"#
    )));
    let excluded = ["note", "lines.name", "id"].map(str::to_owned).into();
    let orders = StreamSelection { selected: true, excluded };
    let selection = Selection::only([("orders".into(), orders)]);
    let ran = home.run_with(&State::default(), &selection);
    insta::assert_snapshot!(ran.text(), @r#"
    orders (_import_sequence id lines z) key id
    orders 2026-11-28T09:30:00Z: {"_import_sequence":1,"id":1,"lines":[{"price":1.10}],"z":1}
    orders (_import_sequence id lines) key id
    orders 2026-11-28T09:30:00Z: {"_import_sequence":3,"id":2,"lines":[{"price":1.10}]}
    state 2
    "#);
    assert!(ran.notice(Level::Info, "others: sent although it was not chosen"));
    assert_eq!(ran.outcomes.len(), 1);
    assert!(home.run_with(&ran.state, &selection).told.is_empty());
}

#[test]
fn many_small_requests_are_sent_table_by_table() {
    let home = Home::new();
    for n in 0..3 {
        home.accept(&push(&format!(
            r#"[{{"table_name":"a","sequence":{n},"action":"upsert","key_names":["id"],"data":{{"id":{n}}}}},
                {{"table_name":"b","sequence":{n},"action":"upsert","key_names":["id"],"data":{{"id":{n}}}}}]"#
        )));
    }
    let ran = home.run(&State::default());
    insta::assert_snapshot!(ran.text(), @r#"
    a (_import_sequence id) key id
    a 2026-11-28T09:30:00Z: {"_import_sequence":0,"id":0}
    a 2026-11-28T09:30:00Z: {"_import_sequence":1,"id":1}
    a 2026-11-28T09:30:00Z: {"_import_sequence":2,"id":2}
    b (_import_sequence id) key id
    b 2026-11-28T09:30:00Z: {"_import_sequence":0,"id":0}
    b 2026-11-28T09:30:00Z: {"_import_sequence":1,"id":1}
    b 2026-11-28T09:30:00Z: {"_import_sequence":2,"id":2}
    state 3
    "#);
}

#[test]
fn a_schema_that_changes_is_told_and_without_one_fields_are_collected() {
    let home = Home::new();
    let one = |data: &str| {
        push(&format!(
            r#"[{{"table_name":"orders","sequence":1,"action":"upsert","key_names":["id"],"data":{data}}}]"#
        ))
    };
    home.accept(&one(r#"{"id":1,"a":1}"#));
    home.accept(&one(r#"{"id":2,"b":1}"#));
    home.accept(&batch(&format!(
        r#"{{{ORDERS},"messages":[{{"action":"upsert","sequence":3,"data":{{"id":3}}}}]}}"#
    )));
    home.accept(&one(r#"{"id":4,"c":1}"#));
    let ran = home.run(&State::default());
    insta::assert_snapshot!(ran.text(), @r#"
    orders (_import_sequence id note lines c a) key id
    orders 2026-11-28T09:30:00Z: {"_import_sequence":1,"id":1,"a":1}
    orders (_import_sequence id note lines c b) key id
    orders 2026-11-28T09:30:00Z: {"_import_sequence":1,"id":2,"b":1}
    orders (_import_sequence id note lines) key id
    orders 2026-11-28T09:30:00Z: {"_import_sequence":3,"id":3}
    orders (_import_sequence id note lines c) key id
    orders 2026-11-28T09:30:00Z: {"_import_sequence":1,"id":4,"c":1}
    state 4
    "#);
}

#[test]
fn records_without_a_key_have_an_id_that_stays() {
    let home = Home::new();
    home.accept(&batch(
        r#"{"table_name":"t","schema":{"properties":{"a":{"type":"integer"}}},"messages":[{"action":"upsert","sequence":1,"data":{"a":1}},{"action":"upsert","sequence":1,"data":{}},{"action":"upsert","sequence":1,"data":{ }}]}"#,
    ));
    let first = home.run(&State::default());
    let again = home.run(&State::default());
    assert_eq!(first.told, again.told);
    let mut ids = Vec::new();
    for record in first.records() {
        let value: serde_json::Value = serde_json::from_str(record).unwrap();
        ids.push(value["_import_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 3);
    let mark = &ids[0][..16];
    assert_eq!(ids, [1, 2, 3].map(|n| format!("{mark}-{n}")));
    assert_eq!(first.streams[0].key, ["_import_id"]);
}
