//! Flattening, typing, siblings, lists, JSON, versions.

use bobbin_core::schema::{Kind, Schema};
use bobbin_load::shape::capabilities::Capabilities;
use bobbin_load::shape::convert::{BATCH_ROWS, Converter, OVERFLOW};
use bobbin_load::shape::version::Part;
use proptest::prelude::*;

use crate::support::{Table, fields, line, object, stream, text};

/// The values of each record's row, `id` and `rev` left out.
fn check(members: &[(&str, Schema)], cases: &[(&str, &[&str])]) {
    let mut table = Table::new(&stream(members));
    let records: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(n, (members, _))| format!("{{\"id\":\"{n}\",{members}}}"))
        .collect();
    let batch = table.load(&records.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(batch.rejected, []);
    for (n, (record, expected)) in cases.iter().enumerate() {
        let mut row = table.row(&batch, n);
        row.retain(|value| !value.starts_with("id="));
        row.sort();
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(row, expected, "{record}");
    }
}

#[test]
fn objects_flatten_and_maps_stay_json() {
    check(
        &[
            ("a", object(&[("b", Schema::of(Kind::Integer)), ("c", object(&[("d", text())]))])),
            ("m", Schema::map()),
            ("items", Schema::array(Schema::map())),
        ],
        &[
            (r#""a":{"b":1,"c":{"d":"x"}}"#, &["a__b=1", "a__c__d=x"]),
            (
                r#""a":{"c":{"d":"y","new":2},"also":{"deep":[1]}}"#,
                &["a__c__d=y", "a__c__new=2", r#"a__also={"deep":[1]}"#],
            ),
            (
                r#""m":{"k":1.50},"items":[{"x":1},null]"#,
                &[r#"m={"k":1.50}"#, r#"items=[{"x":1},null]"#],
            ),
            (r#""a":{},"m":null"#, &[]),
            (r#""a":5"#, &["a__bi=5"]),
            (r#""a":[{"b":1}]"#, &[r#"a__js=[{"b":1}]"#]),
            (r#""m":"text""#, &["m__st=text"]),
            (r#""items":{"x":1}"#, &[r#"items={"x":1}"#]),
        ],
    );
}

#[test]
fn a_contradicting_value_goes_to_a_typed_sibling() {
    check(
        &[
            ("age", Schema::of(Kind::Integer)),
            ("magic", Schema::of(Kind::Boolean)),
            ("at", Schema::of(Kind::DateTime)),
            ("price", Schema::of(Kind::Number)),
            ("name", text()),
        ],
        &[
            (r#""age":15,"magic":false"#, &["age=15", "magic=false"]),
            (r#""age":16.0,"magic":"yes""#, &["age__do=16.0", "magic__st=yes"]),
            (r#""age":"x","magic":1"#, &["age__st=x", "magic__bi=1"]),
            (r#""age":12345678901234567890"#, &["age__de=12345678901234567890.000000000"]),
            (
                r#""age":123456789012345678901234567890123"#,
                &["age__st=123456789012345678901234567890123"],
            ),
            (r#""age":true,"at":5"#, &["age__bo=true", "at__bi=5"]),
            (r#""at":"2024-05-01T12:00:00+02:00""#, &["at=2024-05-01T10:00:00Z"]),
            (r#""at":"soon""#, &["at__st=soon"]),
            (r#""price":3"#, &["price=3.0"]),
            (r#""price":0.1"#, &["price=0.1"]),
            (r#""price":1234567890123.123456789"#, &["price__de=1234567890123.123456789"]),
            (r#""price":3.14159265358979323846"#, &["price__st=3.14159265358979323846"]),
            (r#""name":5,"age":null"#, &["name__bi=5"]),
            (r#""name":{"first":"a"}"#, &[r#"name__js={"first":"a"}"#]),
            (r#""name":["a"]"#, &[r#"name__js=["a"]"#]),
        ],
    );
}

#[test]
fn the_first_value_types_an_undeclared_field() {
    check(
        &[("any", Schema::of(Kind::Any)), ("u", Schema::of(Kind::Union(vec![text()])))],
        &[
            (r#""any":null,"x":null"#, &[]),
            (
                r#""any":1,"x":"s","y":1.5,"z":true,"w":{"a":1},"v":[]"#,
                &["any=1", "x=s", "y=1.5", "z=true", r#"w={"a":1}"#, "v=[]"],
            ),
            (
                r#""any":1.5,"x":1,"y":2,"z":"t","w":[1],"v":["a"]"#,
                &["any__do=1.5", "x__bi=1", "y=2.0", "z__st=t", "w=[1]", r#"v=["a"]"#],
            ),
            (r#""u":5"#, &["u=5"]),
            (r#""u":"five""#, &["u__st=five"]),
        ],
    );
}

#[test]
fn arrays_of_scalars_become_lists() {
    check(
        &[
            ("tags", Schema::array(text())),
            ("counts", Schema::array(Schema::of(Kind::Integer))),
            ("prices", Schema::array(Schema::of(Kind::Number))),
            ("flags", Schema::array(Schema::of(Kind::Boolean))),
            ("times", Schema::array(Schema::of(Kind::DateTime))),
        ],
        &[
            (
                r#""tags":["a","b\n",null],"counts":[1,2]"#,
                &["tags=[a, b\n, null]", "counts=[1, 2]"],
            ),
            (r#""tags":[]"#, &["tags=[]"]),
            (r#""tags":["a",1]"#, &[r#"tags__js=["a",1]"#]),
            (r#""tags":["c"],"counts":[1,2.5]"#, &["tags=[c]", "counts__js=[1,2.5]"]),
            (r#""tags":"a""#, &["tags__st=a"]),
            (r#""tags":[["a"]]"#, &[r#"tags__js=[["a"]]"#]),
            (r#""prices":[1,2.5],"flags":[true]"#, &["prices=[1.0, 2.5]", "flags=[true]"]),
            (r#""prices":[0.1234567890123456789]"#, &["prices__js=[0.1234567890123456789]"]),
            (r#""times":["2024-05-01"]"#, &["times=[2024-05-01T00:00:00Z]"]),
            (r#""times":["2024-05-01","never"]"#, &[r#"times__js=["2024-05-01","never"]"#]),
        ],
    );
}

#[test]
fn a_stored_column_map_is_kept() {
    let first = stream(&[("x", Schema::of(Kind::Integer))]);
    let mut table = Table::new(&first);
    table.load(&[r#"{"id":"1","x":1,"Y":"a","y":"b"}"#]);
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names[..3], ["id", "x", "Y"]);
    assert!(names[3].starts_with("y_"), "{names:?}");

    // At the next start fields come in another order and the schema says something else.
    let later = stream(&[("x", text())]);
    let stored = table.columns.iter().map(|column| (column.clone(), true)).collect();
    let mut again =
        Table { converter: Converter::new(&later, stored, &[]), columns: table.columns };
    let batch = again.load(&[r#"{"y":"b","Y":"a","x":"now text","id":"1"}"#]);
    assert_eq!(batch.new.len(), 1);
    let row = again.row(&batch, 0);
    assert!(
        row.contains(&"Y=a".to_owned()) && row.contains(&"x__st=now text".to_owned()),
        "{row:?}"
    );
    assert!(row.iter().any(|value| value.starts_with("y_") && value.ends_with("=b")), "{row:?}");
}

#[test]
fn a_column_that_was_dropped_is_made_again() {
    let stream = stream(&[("x", text())]);
    let mut table = Table::new(&stream);
    table.load(&[r#"{"id":"1","x":"a"}"#]);
    let stored = table.columns.iter().map(|column| (column.clone(), column.name != "x")).collect();
    let mut converter = Converter::new(&stream, stored, &[]);
    converter.line(line(1, r#"{"id":"1"}"#).as_bytes());
    assert!(converter.finish().unwrap().new.is_empty());
    converter.line(line(1, r#"{"id":"1","x":"b"}"#).as_bytes());
    let batch = converter.finish().unwrap();
    assert_eq!(batch.new.len(), 1);
    assert_eq!((batch.new[0].0, batch.new[0].1.name.as_str()), (1, "x"));
}

#[test]
fn a_users_own_column_keeps_its_name() {
    let stream = stream(&[]);
    let mut converter = Converter::new(&stream, Vec::new(), &["Note".to_owned()]);
    converter.line(line(1, r#"{"id":"1","note":"a"}"#).as_bytes());
    let batch = converter.finish().unwrap();
    assert!(batch.new[1].1.name.starts_with("note_"), "{:?}", batch.new[1].1.name);
}

#[test]
fn a_closed_object_drops_what_it_does_not_declare() {
    let mut closed = fields(&[("b", text())]);
    closed.open = false;
    check(
        &[("a", Schema::of(Kind::Object(closed)))],
        &[(r#""a":{"x":{"deep":1},"b":"kept","y":2}"#, &["a__b=kept"])],
    );
}

#[test]
fn fields_beyond_the_limit_of_columns_go_to_one_column() {
    let mut table = Table::new(&stream(&[("late", text())]));
    let wide: Vec<String> = (0..5000).map(|n| format!("\"f{n}\":{n}")).collect();
    let record =
        format!("{{\"id\":\"1\",{},\"a.b\\\\\":[\"\\\"\"],\"late\":\"declared\"}}", wide.join(","));
    let batch = table.load(&[&record, r#"{"id":"2","f4999":"text"}"#]);
    assert_eq!(batch.rejected, []);
    let extra = table.columns.iter().position(|column| column.name == OVERFLOW).unwrap();
    // `late` is declared and gets its column; the overflow column is one more.
    assert_eq!(table.columns.len(), Capabilities::default().columns + 2);
    let values: Vec<String> = table.row(&batch, 0);
    let extra_value = values.iter().find(|value| value.starts_with(OVERFLOW)).unwrap();
    let object: serde_json::Value =
        serde_json::from_str(extra_value.strip_prefix("_sdc_extra=").unwrap()).unwrap();
    assert_eq!(object["f4999"], 4999);
    assert_eq!(object["a\\.b\\\\"][0], "\"");
    assert_eq!(object.as_object().unwrap().len() + table.row(&batch, 0).len(), 5000 + 2 + 2);
    assert!(values.contains(&"late=declared".to_owned()));
    assert!(batch.column(extra).is_some());
    assert_eq!(table.row(&batch, 1), ["id=2", r#"_sdc_extra={"f4999":"text"}"#]);
}

#[test]
fn keys_that_are_data_do_not_pile_up() {
    let mut table = Table::new(&stream(&[("late", text())]));
    for round in 0..3 {
        let records: Vec<String> = (0..8)
            .map(|n| {
                let members: Vec<String> =
                    (0..2000).map(|m| format!("\"r{round}_{n}_{m}\":\"{m}\"")).collect();
                format!("{{\"id\":\"{n}\",\"x\":1,{},\"late\":\"l\"}}", members.join(","))
            })
            .collect();
        let batch = table.load(&records.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((batch.rows, batch.rejected.len()), (8, 0));
        let row = table.row(&batch, 7);
        assert!(row.contains(&"x=1".to_owned()) && row.contains(&"late=l".to_owned()), "{row:?}");
        assert_eq!(row.iter().filter(|value| value.contains("\"r")).count(), 1);
    }
    assert_eq!(table.columns.len(), Capabilities::default().columns + 2);
}

#[test]
fn of_one_key_the_newest_version_stays_in_a_batch() {
    let mut table = Table::new(&stream(&[]));
    let batch = table.load(&[
        r#"{"id":"a","rev":2,"v":"new"}"#,
        r#"{"id":"b","v":"only"}"#,
        r#"{"id":"a","rev":1,"v":"old"}"#,
        r#"{"id":"a","v":"no rev"}"#,
        r#"{"id":"c","rev":1,"v":"first"}"#,
        r#"{"id":"c","rev":1,"v":"again"}"#,
    ]);
    assert_eq!(batch.superseded, 3);
    assert_eq!(
        table.rows(&batch),
        [vec!["id=a", "rev=2", "v=new"], vec!["id=b", "v=only"], vec!["id=c", "rev=1", "v=again"],]
    );
    assert_eq!(batch.sequence, [1, 2, 6]);
    assert_eq!(batch.version(1).parts, [Part::Absent]);
}

#[test]
fn batches_end_at_their_limit_and_begin_empty() {
    let mut converter = Converter::new(&stream(&[]), Vec::new(), &[]);
    let mut batches = 0;
    for n in 0..BATCH_ROWS * 2 + 10 {
        converter.line(line(n as i64, &format!("{{\"id\":\"{n}\",\"n\":{n}}}")).as_bytes());
        if converter.is_full() {
            let batch = converter.finish().unwrap();
            assert_eq!(batch.rows, BATCH_ROWS);
            assert!(batch.columns.iter().all(|(_, array)| array.len() == BATCH_ROWS));
            batches += 1;
        }
    }
    assert_eq!(batches, 2);
    assert_eq!(converter.finish().unwrap().rows, 10);
    assert!(converter.finish().is_none());
}

#[test]
fn a_tap_s_rejected_record_keeps_its_reason() {
    let mut converter = Converter::new(&stream(&[]), Vec::new(), &[]);
    converter.line(
        line(1, r#"{"_sdc_rejected":{"reason":"half a pair","record":"{\"id\":1}"}}"#).as_bytes(),
    );
    // A field of that name in a record is data.
    converter.line(line(2, r#"{"_sdc_rejected":{"reason":"a","record":"b"},"id":"1"}"#).as_bytes());
    let batch = converter.finish().unwrap();
    assert_eq!((batch.rows, batch.rejected.len()), (1, 1));
    assert_eq!(batch.rejected[0].reason, "half a pair");
    assert_eq!(batch.rejected[0].record, r#"{"id":1}"#);
    assert_eq!(batch.new[0].1.name, "source_sdc_rejected");
}

proptest! {
    #[test]
    fn the_newest_version_does_not_depend_on_the_order(
        versions in proptest::collection::vec((0..3u8, proptest::option::of(0..3i64)), 1..12),
        seed in any::<u64>(),
    ) {
        let records: Vec<(i64, String)> = versions
            .iter()
            .enumerate()
            .map(|(n, (id, rev))| {
                let rev = rev.map_or("null".to_owned(), |rev| rev.to_string());
                (n as i64, format!("{{\"id\":\"{id}\",\"rev\":{rev},\"n\":{n}}}"))
            })
            .collect();
        let mut shuffled = records.clone();
        let mut state = seed | 1;
        for at in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(at, (state >> 33) as usize % (at + 1));
        }
        let newest = |records: &[(i64, String)]| {
            let mut converter = Converter::new(&stream(&[]), Vec::new(), &[]);
            for (sequence, record) in records {
                converter.line(line(*sequence, record).as_bytes());
            }
            let batch = converter.finish().unwrap();
            let mut kept = batch.sequence.clone();
            kept.sort_unstable();
            (kept, batch.superseded)
        };
        prop_assert_eq!(newest(&records), newest(&shuffled));
    }

    #[test]
    fn no_line_can_break_the_converter(lines in proptest::collection::vec("\\PC{0,60}|[{}\\[\\]\":,0-9a-z]{0,60}", 0..8)) {
        let mut converter = Converter::new(&stream(&[("a", object(&[("b", text())]))]), Vec::new(), &[]);
        for text in &lines {
            converter.line(text.as_bytes());
            converter.line(line(1, &format!("{{\"id\":\"1\",\"a\":{text}}}")).as_bytes());
        }
        converter.line(line(1, r#"{"id":"neighbour"}"#).as_bytes());
        let batch = converter.finish().unwrap();
        prop_assert!(batch.rows >= 1);
        prop_assert!(batch.columns.iter().all(|(_, array)| array.len() == batch.rows));
    }
}
