//! Arrays as tables, append, and Stitch's naming: what the converter makes of records.

use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bobbin_core::catalog::Stream;
use bobbin_core::schema::{Kind, Schema};
use bobbin_load::shape::batch::Batch;
use bobbin_load::shape::capabilities::Capabilities;
use bobbin_load::shape::convert::Converter;
use bobbin_load::shape::layout::{Arrays, Layout, Loading, Naming, Split};
use bobbin_load::shape::tree::Column;
use proptest::prelude::*;

use crate::support::{line, object, stream, text};

const TABLES: Layout = Layout {
    arrays: Arrays::Tables,
    naming: Naming::Bobbin,
    loading: Loading::Upsert,
    split: Split::KeepsName,
    key_change: bobbin_load::shape::layout::KeyChange::Stops,
    deletes: bobbin_load::shape::layout::Deletes::AsTold,
    max_columns: None,
};

fn converter(stream: &Stream, layout: Layout) -> Converter {
    Converter::arranged(stream, Vec::new(), Capabilities::default(), layout)
}

fn batch(stream: &Stream, layout: Layout, records: &[&str]) -> Batch {
    let mut converter = converter(stream, layout);
    for (n, record) in records.iter().enumerate() {
        converter.line(line(n as i64 + 1, record).as_bytes());
    }
    converter.finish().unwrap()
}

/// Every table's rows as text: the lead columns, then those with a value.
fn tables(batch: &Batch) -> String {
    let mut out = String::new();
    for table in std::iter::once(batch).chain(&batch.children) {
        let mut names: Vec<Column> = Vec::new();
        names.extend(table.new.iter().map(|(_, column)| column.clone()));
        out += &format!("{}:\n", table.sub.parts().join("__"));
        let options = FormatOptions::default();
        for row in 0..table.rows {
            let mut cells = Vec::new();
            let lead = table.lead.iter().map(|lead| (lead.name.as_str(), &lead.array));
            let own = table.columns.iter().map(|(position, array)| {
                let new = table.new.iter().find(|(at, _)| at == position);
                (new.map_or("?", |(_, column)| column.name.as_str()), array)
            });
            for (name, array) in lead.chain(own).filter(|(_, array)| array.is_valid(row)) {
                let value =
                    ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string();
                cells.push(format!("{name}={value}"));
            }
            out += &format!("  {} #{}\n", cells.join(" "), table.sequence[row]);
        }
    }
    out
}

/// F-70: the two examples of `stitch-behaviour.md` 7.4.
#[test]
fn f70_arrays_become_tables_with_the_key_and_the_positions() {
    let level = object(&[("score", Schema::of(Kind::Integer))]);
    let stream = stream(&[("satisfaction_level", level), ("tags", Schema::array(text()))]);
    let made = batch(
        &stream,
        TABLES,
        &[
            r#"{"id":"c1","tags":["t1","t2"],"satisfaction_level":{"score":5,"sent_by_teams":["a"]}}"#,
            r#"{"id":"c2","tags":[],"line_items":[{"sku":"x","tax_lines":[{"rate":0.5},{"rate":1}]},{"sku":"y"}]}"#,
        ],
    );
    insta::assert_snapshot!(tables(&made), @r"
    :
      id=c1 satisfaction_level__score=5 #1
      id=c2 #2
    tags:
      _sdc_source_key_id=c1 _sdc_level_0_id=0 value=t1 #1
      _sdc_source_key_id=c1 _sdc_level_0_id=1 value=t2 #1
    satisfaction_level__sent_by_teams:
      _sdc_source_key_id=c1 _sdc_level_0_id=0 value=a #1
    line_items:
      _sdc_source_key_id=c2 _sdc_level_0_id=0 sku=x #2
      _sdc_source_key_id=c2 _sdc_level_0_id=1 sku=y #2
    line_items__tax_lines:
      _sdc_source_key_id=c2 _sdc_level_0_id=0 _sdc_level_1_id=0 rate=0.5 #2
      _sdc_source_key_id=c2 _sdc_level_0_id=0 _sdc_level_1_id=1 rate=1.0 #2
    ");
}

#[test]
fn items_of_all_kinds_keep_their_places() {
    let made = batch(
        &stream(&[("m", Schema::map())]),
        TABLES,
        &[
            r#"{"id":"1","mixed":[1,"two",null,{"value":3},[4,[5]],true,{}],"m":{"list":[1]}}"#,
            r#"{"id":"2","mixed":"none"}"#,
        ],
    );
    insta::assert_snapshot!(tables(&made), @r#"
    :
      id=1 m={"list":[1]} #1
      id=2 mixed=none #2
    mixed:
      _sdc_source_key_id=1 _sdc_level_0_id=0 value=1 #1
      _sdc_source_key_id=1 _sdc_level_0_id=1 value__st=two #1
      _sdc_source_key_id=1 _sdc_level_0_id=2 #1
      _sdc_source_key_id=1 _sdc_level_0_id=3 value_34ae9d15=3 #1
      _sdc_source_key_id=1 _sdc_level_0_id=4 #1
      _sdc_source_key_id=1 _sdc_level_0_id=5 value__bo=true #1
      _sdc_source_key_id=1 _sdc_level_0_id=6 #1
    mixed__value:
      _sdc_source_key_id=1 _sdc_level_0_id=4 _sdc_level_1_id=0 value=4 #1
      _sdc_source_key_id=1 _sdc_level_0_id=4 _sdc_level_1_id=1 #1
    mixed__value__value:
      _sdc_source_key_id=1 _sdc_level_0_id=4 _sdc_level_1_id=1 _sdc_level_2_id=0 value=5 #1
    "#);
}

#[test]
fn rejected_superseded_and_doubled_values_leave_no_rows_behind() {
    let made = batch(
        &stream(&[]),
        TABLES,
        &[
            r#"{"id":"a","rev":2,"l":[1,{"x":[1]}]}"#,
            r#"{"id":"a","rev":1,"l":[7,7,7]}"#,
            r#"{"l":[8,{"x":[8]}],"id":null}"#,
            r#"{"id":"b","l":[9,{"x":[9,9]}],"l":[2,{"x":[2]}]}"#,
            r#"{"id":"c","l":[3],"broken":nope}"#,
            r#"{"id":["d"]}"#,
        ],
    );
    assert_eq!((made.superseded, made.rejected.len()), (1, 3));
    insta::assert_snapshot!(tables(&made), @r"
    :
      id=a rev=2 #1
      id=b #4
    l:
      _sdc_source_key_id=a _sdc_level_0_id=0 value=1 #1
      _sdc_source_key_id=a _sdc_level_0_id=1 #1
      _sdc_source_key_id=b _sdc_level_0_id=0 value=2 #4
      _sdc_source_key_id=b _sdc_level_0_id=1 #4
    l__x:
      _sdc_source_key_id=a _sdc_level_0_id=1 _sdc_level_1_id=0 value=1 #1
      _sdc_source_key_id=b _sdc_level_0_id=1 _sdc_level_1_id=0 value=2 #4
    ");
}

#[test]
fn records_without_a_key_get_one_that_never_changes() {
    let keyless = Stream { key: Vec::new(), ..stream(&[]) };
    let made = batch(&keyless, TABLES, &[r#"{"x":[1]}"#, r#"{"x":[1]}"#]);
    let again = batch(&keyless, TABLES, &[r#"{"x":[1]}"#, r#"{"x":[1]}"#]);
    assert_eq!(tables(&made), tables(&again));
    assert!(tables(&made).contains("_sdc_source_key___sdc_primary_key="), "{}", tables(&made));
    let key = |row| tables(&made).lines().nth(row).unwrap().split(' ').nth(2).unwrap().to_owned();
    assert_ne!(key(1), key(2));
}

/// F-68: each version stays.
#[test]
fn f68_append_keeps_every_version() {
    let layout = Layout { loading: Loading::Append, ..TABLES };
    let made = batch(
        &stream(&[]),
        layout,
        &[r#"{"id":"a","rev":2,"l":[1]}"#, r#"{"id":"a","rev":1,"l":[2]}"#],
    );
    assert_eq!((made.rows, made.superseded, made.children[0].rows), (2, 0, 2));
}

/// F-74, F-76, F-78, F-79: what Stitch's naming rejects, and whether with or without the record.
#[test]
fn stitchs_naming_rejects_with_its_reasons() {
    let layout = Layout { naming: Naming::Stitch, ..TABLES };
    let long = "x".repeat(300);
    let made = batch(
        &stream(&[]),
        layout,
        &[
            r#"{"id":"1","cUsTomErId":1}"#,
            r#"{"id":"2","customerid":2,"cUsTomErId":3}"#,
            r#"{"id":"3","x__st":"v","good":1}"#,
            &format!(r#"{{"id":"4","{long}":"v","good":1}}"#),
            r#"{"id":"5","good":12345678901234567890}"#,
            r#"{"id":"6","cust-omer.id":6,"good":2}"#,
            r#"{"id":"7","_sdc_sequence":6,"good":3}"#,
        ],
    );
    let reasons = |rows: &[bobbin_load::shape::batch::RejectedRow]| -> Vec<String> {
        rows.iter().map(|row| row.reason.clone()).collect()
    };
    assert_eq!(
        reasons(&made.rejected),
        ["Field collision on cUsTomErId", "the whole number `good` is beyond 64 bits"]
    );
    let partial = reasons(&made.partial);
    assert_eq!(partial.len(), 3, "{partial:?}");
    assert!(partial[0].contains("ends in __st, which is reserved"), "{partial:?}");
    assert!(partial[1].contains("is longer than 251 bytes"), "{partial:?}");
    assert!(partial[2].contains("is reserved"), "{partial:?}");
    insta::assert_snapshot!(tables(&made), @r"
    :
      id=1 cUsTomErId=1 #1
      id=3 good=1 #3
      id=4 good=1 #4
      id=6 cUsTomErId=6 good=2 #6
      id=7 good=3 #7
    ");
}

/// C6: `age` becomes `age__bi` once text comes.
#[test]
fn c6_a_split_may_rename_the_first_column() {
    let layout = Layout { split: Split::Renames, ..TABLES };
    let stream = stream(&[("age", Schema::of(Kind::Integer)), ("at", Schema::of(Kind::DateTime))]);
    let mut converter = converter(&stream, layout);
    converter.line(line(1, r#"{"id":"1","age":15}"#).as_bytes());
    let first = converter.finish().unwrap();
    assert_eq!(first.new[1].1.name, "age");
    converter.line(line(2, r#"{"id":"2","age":"x","at":"soon"}"#).as_bytes());
    converter.line(line(3, r#"{"id":"3","at":"2024-05-01T12:00:00Z"}"#).as_bytes());
    let second = converter.finish().unwrap();
    assert_eq!(second.renamed, [(first.new[1].0, "age__bi".to_owned())]);
    let names: Vec<&str> = second.new.iter().map(|(_, column)| column.name.as_str()).collect();
    assert_eq!(names, ["age__st", "at__st", "at__ti"]);
}

/// A record that is set aside for its key renames nothing, least of all the key.
#[test]
fn c6_a_rejected_record_renames_no_column() {
    let layout = Layout { split: Split::Renames, ..TABLES };
    let stream = stream(&[("age", Schema::of(Kind::Integer))]);
    let mut converter = converter(&stream, layout);
    converter.line(line(1, r#"{"id":"1","age":15}"#).as_bytes());
    converter.finish().unwrap();
    converter.line(line(2, r#"{"age":"x","id":2}"#).as_bytes());
    converter.line(line(3, r#"{"id":"3","age":16}"#).as_bytes());
    let second = converter.finish().unwrap();
    assert_eq!(
        second.rejected[0].reason,
        "the key `id` is a whole number where the table has text"
    );
    assert_eq!(second.rows, 1);
    assert_eq!(second.renamed, []);
    assert!(second.new.is_empty(), "{:?}", second.new);
    converter.line(line(4, r#"{"id":"4","age":"y"}"#).as_bytes());
    let third = converter.finish().unwrap();
    let named: Vec<&str> = third.renamed.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(named, ["age__bi"]);
    assert_eq!(third.new[0].1.name, "age__st");
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i32>().prop_map(Into::into),
        "[a-c]{0,2}".prop_map(Into::into),
        any::<bool>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// However records come together in batches, each item has one row, and every array is whole.
    #[test]
    fn every_item_is_a_row_of_its_record(
        records in proptest::collection::vec((0..4u8, value()), 1..8),
        cut in 0..8usize,
    ) {
        fn items(value: &serde_json::Value, in_json: bool) -> usize {
            match value {
                serde_json::Value::Array(list) if !in_json => {
                    list.len() + list.iter().map(|item| match item {
                        serde_json::Value::Object(map) => map.values().map(|v| items(v, v.is_object())).sum(),
                        other => items(other, false),
                    }).sum::<usize>()
                }
                _ => 0,
            }
        }
        let layout = Layout { loading: Loading::Append, ..TABLES };
        let stream = stream(&[]);
        let mut converter = converter(&stream, layout);
        let (mut made, mut expected, mut rows) = (0, 0, 0);
        for (n, (id, value)) in records.iter().enumerate() {
            converter.line(line(n as i64, &format!("{{\"id\":\"{id}\",\"v\":{value}}}")).as_bytes());
            expected += items(value, false);
            if n == cut || n + 1 == records.len() {
                let batch = converter.finish().unwrap();
                rows += batch.rows;
                for child in &batch.children {
                    made += child.rows;
                    prop_assert!(child.lead.iter().all(|lead| lead.array.len() == child.rows));
                    prop_assert!(child.columns.iter().all(|(_, array)| array.len() == child.rows));
                    prop_assert_eq!(child.sequence.len(), child.rows);
                }
            }
        }
        prop_assert_eq!(rows, records.len());
        prop_assert_eq!(made, expected);
    }
}

#[test]
fn a_batch_tells_how_filled_its_fields_are() {
    let made = batch(
        &stream(&[("a", object(&[("b", text())]))]),
        TABLES,
        &[
            r#"{"id":"1","rev":1,"a":{"b":1},"tags":[1,2],"none":null}"#,
            r#"{"id":"2","rev":1,"a":{"b":"x"},"tags":[]}"#,
            r#"{"id":"3","rev":1,"a":{"b":null},"tags":[{"c":[5]},7]}"#,
            // Of one record the newest version counts.
            r#"{"id":"3","rev":2,"a":{"b":null},"tags":[8]}"#,
        ],
    );
    let told: Vec<_> =
        made.fill.fields.iter().map(|(field, filled)| (field.as_str(), *filled)).collect();
    assert_eq!(made.fill.records, 3);
    assert_eq!(told, [("a.b", 2), ("id", 3), ("rev", 3), ("tags", 2)]);
}
