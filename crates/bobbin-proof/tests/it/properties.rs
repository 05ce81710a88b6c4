//! What must hold of any records, by random ones in both destinations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bobbin_core::catalog::Stream;
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_load::shape::version::{Number, Part, Version};
use bobbin_proof::check;
use bobbin_proof::corpus::{Case, Fate, Theme, line};
use bobbin_proof::exact::parse;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::replica::{Replica, Table, each, load};

/// Runs a property against one destination; a case costs a database.
fn check_all<S: Strategy>(
    strategy: S,
    cases: u32,
    mut property: impl FnMut(&mut dyn Replica, S::Value) -> Result<(), TestCaseError>,
) where
    S::Value: Clone,
{
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    let config = ProptestConfig {
        cases: wanted.unwrap_or(cases),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Default::default()
    };
    each(|replica, mode| {
        let place = format!("{} ({})", replica.name(), mode.name);
        let both = std::cell::RefCell::new((&mut *replica, &mut property));
        TestRunner::new(config.clone())
            .run(&strategy, |value| {
                let mut both = both.borrow_mut();
                let (replica, property) = &mut *both;
                replica.renew();
                property(*replica, value)
            })
            .unwrap_or_else(|error| panic!("{place}: {error}"));
    });
}

/// Loads lines in parts: segments of `cuts` lines, two of them to a round, three rounds to a job.
fn load_in_parts(
    replica: &dyn Replica,
    stream: &Stream,
    lines: &[Vec<u8>],
    cuts: &[usize],
) -> (u64, u64) {
    let (mut loaded, mut rejected) = (0, 0);
    let (mut at, mut number) = (0, 0);
    let mut job = "1".to_owned();
    let mut loader = replica.open(&job);
    while at < lines.len() {
        let end = (at + cuts[number as usize % cuts.len()]).min(lines.len());
        number += 1;
        let receipt = load(&mut loader, stream, &job, number, &lines[at..end]).unwrap();
        loaded += receipt.loaded + receipt.superseded;
        rejected += receipt.rejected;
        at = end;
        if number % 2 == 0 {
            loader.commit(None).unwrap();
        }
        if number % 6 == 0 {
            loader.finish().unwrap();
            job = format!("{}", number + 1);
            loader = replica.open(&job);
        }
    }
    loader.commit(None).unwrap();
    loader.finish().unwrap();
    (loaded, rejected)
}

/// A stream's table, where every item of an array has its record and its place.
fn sound(replica: &dyn Replica, stream: &str) -> Table {
    let table = replica.read(stream);
    assert!(table.strays.is_empty(), "{:?}", table.strays);
    table
}

/// A version field's value, as JSON and as what it is worth.
fn version_part() -> impl Strategy<Value = (Option<&'static str>, Part)> {
    prop_oneof![
        Just((None, Part::Absent)),
        Just((Some("null"), Part::Absent)),
        Just((Some("0"), Part::Number(Number::from_int(0)))),
        Just((Some("1"), Part::Number(Number::from_int(1)))),
        Just((Some("2"), Part::Number(Number::from_int(2)))),
        Just((Some("1.0"), Part::Number(Number::from_double(1.0)))),
        Just((Some("1.5"), Part::Number(Number::from_double(1.5)))),
        Just((Some("-0.0"), Part::Number(Number::from_double(-0.0)))),
        Just((Some("true"), Part::Boolean(true))),
        Just((Some("\"x\""), Part::Text("x".to_owned()))),
        Just((Some("\"10\""), Part::Text("10".to_owned()))),
        Just((
            Some("12345678901234567890"),
            Part::Number(Number::from_decimal(12_345_678_901_234_567_890_000_000_000))
        )),
        Just((Some("9223372036854775807"), Part::Number(Number::from_int(i64::MAX)))),
        Just((
            Some("9223372036854775808"),
            Part::Number(Number::from_decimal(9_223_372_036_854_775_808_000_000_000))
        )),
    ]
}

/// The order of arrival, the cuts into segments, rounds and jobs, and loading again make no
/// difference: of each key the newest version stands, by the order of `shape::version`. F-67.
#[test]
fn the_newest_version_of_each_key_stands_whatever_the_order() {
    let records = vec((0..5u8, version_part(), prop::option::of(0..3i64)), 1..24);
    let cases = (records, vec(1..8usize, 1..6)).prop_flat_map(|(records, cuts)| {
        let order: Vec<usize> = (0..records.len()).collect();
        (Just(records), Just(cuts), Just(order).prop_shuffle())
    });
    let stream = Stream {
        name: "things".into(),
        fields: Object {
            properties: vec![
                ("id".to_owned(), Schema::of(Kind::Text).required()),
                ("rev".to_owned(), Schema::of(Kind::Integer)),
                ("at".to_owned(), Schema::of(Kind::DateTime)),
            ],
            open: true,
        },
        key: vec!["id".to_owned()],
        replication_key: None,
        version_fields: vec!["rev".to_owned(), "at".to_owned()],
        description: None,
    };
    check_all(cases, 10, |replica, (records, cuts, order)| {
        let mut newest: BTreeMap<u8, (Version, String)> = BTreeMap::new();
        let mut lines = Vec::new();
        for (n, (id, (rev, part), day)) in records.iter().enumerate() {
            let rev_text = rev.map_or(String::new(), |rev| format!(",\"rev\":{rev}"));
            let at = day.map_or(String::new(), |day| format!(",\"at\":\"1970-01-0{}\"", day + 1));
            let record = format!("{{\"id\":\"{id}\"{rev_text}{at},\"name\":\"{n}\"}}");
            lines.push(line(n as i64, record.as_bytes()));
            let parts = vec![
                part.clone(),
                day.map_or(Part::Absent, |day| Part::Instant(day * 86_400_000_000)),
            ];
            let version = Version { parts, sequence: n as i64 };
            let newer = newest.get(id).is_none_or(|(other, _)| version > *other);
            if newer {
                newest.insert(*id, (version, record));
            }
        }
        let shuffled: Vec<Vec<u8>> = order.iter().map(|&at| lines[at].clone()).collect();
        let (loaded, rejected) = load_in_parts(replica, &stream, &shuffled, &cuts);
        prop_assert_eq!((loaded, rejected), (records.len() as u64, 0));
        let table = sound(replica, "things");
        stands(&table, &newest, &stream, replica)?;
        // The same segments again, as after a crash: nothing happens. The same records in other
        // segments, as when the ledger was lost: nothing changes.
        let mut loader = replica.open("again");
        let first = &shuffled[..cuts[0].min(shuffled.len())];
        let skipped = load(&mut loader, &stream, "1", 1, first).unwrap();
        prop_assert_eq!(skipped, bobbin_core::receipt::Receipt::default());
        let receipt = load(&mut loader, &stream, "again", 1, &lines).unwrap();
        prop_assert_eq!(receipt.loaded + receipt.superseded, records.len() as u64);
        loader.commit(None).unwrap();
        loader.finish().unwrap();
        let again = sound(replica, "things");
        stands(&again, &newest, &stream, replica)?;
        prop_assert_eq!(again, table);
        Ok(())
    });
}

fn stands(
    table: &Table,
    newest: &BTreeMap<u8, (Version, String)>,
    stream: &Stream,
    replica: &dyn Replica,
) -> Result<(), TestCaseError> {
    prop_assert!(table.twice.is_empty() && table.rejected.is_empty(), "{:?}", table);
    let expected: BTreeSet<i64> = newest.values().map(|(version, _)| version.sequence).collect();
    let found: BTreeSet<i64> = table.rows.keys().copied().collect();
    prop_assert_eq!(found, expected);
    for (version, record) in newest.values() {
        let record = parse(record).unwrap().value;
        let row = &table.rows[&version.sequence];
        if let Err(words) = check::row(&record, &stream.fields, row, replica.rules()) {
            return Err(TestCaseError::fail(words));
        }
    }
    Ok(())
}

/// Keys that meet each other in one way or another.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[aAbB_]{0,4}",
        2 => "[aé\u{301}İiI\u{131}ßẞsS]{1,3}",
        1 => "\\PC{0,6}",
        1 => "(_sdc|_SDC|_bobbin|rowid|ctid|xmin|a__st|a__bi|select|a\u{0}b|a␀b| )",
        1 => "n{58,70}[ab]",
    ]
}

/// Names of columns are one per field, and stay what they are in later jobs, whatever the order in
/// which the fields come. F-75, F-78.
#[test]
fn names_are_one_per_field_and_stay() {
    let keys = prop::collection::btree_set(key(), 1..14);
    let cases = (keys, prop::collection::btree_set(key(), 0..8)).prop_flat_map(|(keys, more)| {
        let keys: Vec<String> = keys.into_iter().collect();
        let more = keys.iter().cloned().chain(more).collect::<BTreeSet<_>>();
        let more: Vec<String> = more.into_iter().collect();
        (Just(keys).prop_shuffle(), Just(more).prop_shuffle())
    });
    let theme = theme(Object {
        properties: vec![("id".to_owned(), Schema::of(Kind::Text).required())],
        open: true,
    });
    let stream = theme.stream("things");
    check_all(cases, 16, |replica, (keys, more)| {
        let record = |id: &str, keys: &[String]| {
            let members = keys.iter().enumerate().filter(|(_, key)| *key != "id");
            let members: Vec<String> = members
                .map(|(n, key)| format!("{}:{n}", serde_json::Value::from(key.as_str())))
                .collect();
            let between = if members.is_empty() { "" } else { "," };
            format!("{{\"id\":\"{id}\"{between}{}}}", members.join(","))
        };
        let records = [record("a", &keys), record("b", &more), record("c", &keys)];
        for (n, record) in (1i64..).zip(&records) {
            let job = n.to_string();
            let mut loader = replica.open(&job);
            load(&mut loader, &stream, &job, 1, &[line(n, record.as_bytes())]).unwrap();
            loader.commit(None).unwrap();
            loader.finish().unwrap();
        }
        let table = sound(replica, "things");
        let mut columns: BTreeMap<Vec<String>, String> = BTreeMap::new();
        for (n, record) in (1i64..).zip(&records) {
            let Some(row) = table.rows.get(&n) else {
                return Err(TestCaseError::fail(format!("row {n} is lost: {:?}", table.rejected)));
            };
            let value = parse(record).unwrap().value;
            check::row(&value, &stream.fields, row, replica.rules())
                .map_err(TestCaseError::fail)?;
            for found in row {
                let known = columns.entry(found.path.clone()).or_insert(found.column.clone());
                prop_assert_eq!(&*known, &found.column, "a name has changed");
            }
        }
        let lower: BTreeSet<String> = columns.values().map(|name| name.to_lowercase()).collect();
        prop_assert_eq!(lower.len(), columns.len(), "two fields share a name");
        Ok(())
    });
}

fn theme(fields: Object) -> Theme {
    Theme {
        name: String::new(),
        key: vec!["id".to_owned()],
        fields,
        neighbour: String::new(),
        cases: Vec::new(),
    }
}

fn schema() -> impl Strategy<Value = Schema> {
    let leaf = prop_oneof![
        Just(Kind::Any),
        Just(Kind::Boolean),
        Just(Kind::Integer),
        Just(Kind::Number),
        Just(Kind::Text),
        Just(Kind::DateTime),
    ]
    .prop_map(Schema::of);
    leaf.prop_recursive(3, 12, 3, |inner| {
        let members = vec(("[abc]", inner.clone()), 0..3);
        prop_oneof![
            (members, any::<bool>()).prop_map(|(properties, open)| {
                let unique: BTreeMap<String, Schema> = properties.into_iter().collect();
                let open = open || unique.is_empty();
                let properties = unique.into_iter().collect();
                Schema::of(Kind::Object(Object { properties, open }))
            }),
            inner.clone().prop_map(Schema::array),
            inner.prop_map(|one| { Schema::of(Kind::Union(vec![one, Schema::of(Kind::Text)])) }),
        ]
    })
}

/// A value's text; now and then one that is no JSON.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => "(null|true|false|0|1|-7|-0|1\\.0|0\\.1|1e3|1E-5|9223372036854775807)",
        1 => "-?(0|[1-9][0-9]{0,45})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?",
        3 => "\\PC{0,8}".prop_map(|text| serde_json::Value::from(text).to_string()),
        2 => "\"(2026-01-01|2024-05-01T12:00:00[.]?[0-9]{0,9}(Z|[+]05:30)?|yes|\\\\u0000|\\\\ud83d\\\\ude00)\"",
        1 => "(\"\\\\ud800\"|NaN|1e400|\\[1,|tru)",
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            vec(("[abcd]", inner), 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Any record under any schema becomes a row that says the same or is set aside, and it makes no
/// difference whether all come in one batch or in many. `failures.md` 4.3.
#[test]
fn any_record_is_a_row_that_says_the_same_or_set_aside() {
    let fields = vec(("[abcd]", schema()), 0..4).prop_map(|properties| {
        let unique: BTreeMap<String, Schema> = properties.into_iter().collect();
        let id = ("id".to_owned(), Schema::of(Kind::Text).required());
        Object { properties: std::iter::once(id).chain(unique).collect(), open: true }
    });
    let records = vec(vec(("[abcde]", value()), 0..6), 1..20);
    let cases = (fields, records, vec(1..6usize, 1..4));
    check_all(cases, 24, |replica, (fields, records, cuts)| {
        let theme = theme(fields);
        let lines: Vec<Vec<u8>> = (1i64..)
            .zip(&records)
            .map(|(n, members)| {
                let mut text = format!("{{\"id\":\"{n}\"");
                for (key, value) in members {
                    let _ = write!(text, ",\"{key}\":{value}");
                }
                line(n, (text + "}").as_bytes())
            })
            .collect();
        let mut tables = Vec::new();
        for (name, cuts) in [("one", &[lines.len()][..]), ("many", &cuts[..])] {
            // Segments are known by job and number; the second stream begins another list of them.
            replica.renew();
            let stream = theme.stream(name);
            let (loaded, rejected) = load_in_parts(replica, &stream, &lines, cuts);
            let table = sound(replica, name);
            prop_assert_eq!(table.rows.len() as u64, loaded);
            prop_assert_eq!(table.rejected.len() as u64, rejected);
            for (n, line) in (1i64..).zip(&lines) {
                let bytes = line.clone();
                let case = Case { name: String::new(), note: String::new(), bytes, is_line: true };
                match (theme.fate(&case), table.rows.get(&n)) {
                    (Fate::Row(document), Some(found)) => {
                        check::row(&document.value, &theme.fields, found, replica.rules())
                            .map_err(TestCaseError::fail)?;
                    }
                    (Fate::Rejected, None) => {}
                    (Fate::Row(_), None) => {
                        return Err(TestCaseError::fail(format!("lost: {:?}", table.rejected)));
                    }
                    (Fate::Rejected, Some(found)) => {
                        return Err(TestCaseError::fail(format!("taken: {found:?}")));
                    }
                }
            }
            tables.push(table);
        }
        prop_assert_eq!(values(&tables[0]), values(&tables[1]), "batches make a difference");
        Ok(())
    });
}

/// A table's values, without the columns' names.
fn values(table: &Table) -> BTreeMap<i64, Vec<(Vec<String>, String)>> {
    table
        .rows
        .iter()
        .map(|(sequence, row)| {
            let mut row: Vec<_> =
                row.iter().map(|found| (found.path.clone(), format!("{:?}", found.cell))).collect();
            row.sort();
            (*sequence, row)
        })
        .collect()
}
