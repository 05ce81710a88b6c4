#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeMap;
use std::path::Path;

use bobbin_core::catalog::Stream;
use bobbin_core::schema::{Kind, Object};
use bobbin_core::selection::{Selection, StreamSelection};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::metadata::CustomAttributes;
use crate::streams;

mod snapshots;

use snapshots::kind;

fn stream(name: &str) -> Stream {
    streams::stream(streams::resource(name).unwrap(), &CustomAttributes::default())
}

fn shaper(name: &str) -> Shaper {
    Shaper::new(&stream(name), streams::resource(name).unwrap(), &Selection::all())
}

fn line(shaper: &mut Shaper, raw: &str) -> String {
    let mut out = Vec::new();
    shaper.shape(raw, &mut out).unwrap_or_else(|reason| panic!("{reason}: {raw}"));
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with("}\n") && text.trim_end().lines().count() == 1, "{text}");
    text.trim_end().to_owned()
}

/// A record of a conversation with these attributes.
fn with(attributes: &str) -> String {
    format!(r#"{{"type":"conversation","id":"c1","attributes":{attributes}}}"#)
}

fn check(attributes: &str, expected: &str) {
    let expected = format!(r#"{{"type":"conversation","id":"c1"{expected}}}"#);
    assert_eq!(line(&mut shaper("conversations"), &with(attributes)), expected);
}

/// What is in `tests/documents`, shaped, one field a line.
#[test]
fn every_declared_name_comes_from_one_key() {
    fn look(object: &Object, path: &str) {
        let mut seen = std::collections::BTreeSet::new();
        for (name, schema) in &object.properties {
            assert!(seen.insert(name), "{path}.{name} is declared twice");
            assert_eq!(name::snake(&name::camel(name)), *name, "{path}.{name}");
            // A closing parenthesis is where a custom attribute's key ends.
            assert!(!schema.description.as_ref().is_some_and(|text| text.ends_with(')')), "{name}");
            let inner = match &schema.kind {
                Kind::Array(items) => items.object(),
                _ => schema.object(),
            };
            if let Some(inner) = inner {
                look(inner, &format!("{path}.{name}"));
            }
        }
    }
    for resource in streams::resources() {
        look(&stream(resource.name).fields, resource.name);
    }
}

#[test]
fn what_the_tap_needs_is_found() {
    let mut out = b"before\n".to_vec();
    let mut shaper = shaper("conversations");
    let mut shape = |raw: &str| shaper.shape(raw, &mut out);
    let shaped = shape(&with(r#"{"updatedAt":"2026-03-03T18:44:09.562Z","rev":27}"#)).unwrap();
    assert_eq!(shaped.updated_at, "2026-03-03T18:44:09.562Z".parse().ok());
    assert_eq!((&*shaped.id, shaped.rev), ("c1", Some(27)));
    let shaped = shape(&with(r#"{"updatedAt":null,"rev":2.5}"#)).unwrap();
    assert_eq!((shaped.updated_at, shaped.rev), (None, None));
    let shaped = shape(r#"{"id":"a\u00e9\n"}"#).unwrap();
    assert_eq!(&*shaped.id, "aé\n");
    let before = out.clone();
    let mut shaper = self::shaper("conversations");
    assert!(shaper.shape(&with(r#"{"a":1e400}"#), &mut out).is_err());
    assert_eq!(out, before, "nothing is appended");
}

#[test]
fn names_and_collisions() {
    let distinct = name::distinct;
    let odd = distinct("order_id_str", "orderIDStr");
    for custom in
        [r#"{"orderIDStr":"a","orderIdStr":"b"}"#, r#"{"orderIdStr":"b","orderIDStr":"a"}"#]
    {
        let text = line(&mut shaper("conversations"), &with(&format!(r#"{{"custom":{custom}}}"#)));
        let record: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(record["custom"][&odd], "a");
        assert_eq!(record["custom"]["order_id_str"], "b");
    }
    // The same name with and without its rival, in this record or in others.
    let mut shaper = shaper("conversations");
    assert!(line(&mut shaper, &with(r#"{"custom":{"orderIDStr":"a"}}"#)).contains(&odd));
    check(
        r#"{"fooBar":1,"foo_bar":2}"#,
        &format!(r#","foo_bar":1,"{}":2"#, distinct("foo_bar", "foo_bar")),
    );
    check(
        r#"{"id":"x","type":"y"}"#,
        &format!(r#","{}":"x","{}":"y""#, distinct("id", "id"), distinct("type", "type")),
    );
    check(r#"{"customerId":"x"}"#, &format!(r#","{}":"x""#, distinct("customer_id", "customerId")));
    check(
        r#"{"_sdc_sequence":1}"#,
        &format!(r#","{}":1"#, distinct("_sdc_sequence", "_sdc_sequence")),
    );
    check(r#"{"":1,"a.b":2,"ключ":3}"#, r#","":1,"a.b":2,"ключ":3"#);
    // A name made to collide with a hashed one.
    let made = name::camel(&distinct("foo_bar", "foo_bar"));
    let text = line(
        &mut self::shaper("conversations"),
        &with(&format!(r#"{{"foo_bar":1,"{made}":2,"foo_bar2":3}}"#)),
    );
    let record: Map<String, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(record.len(), 5, "{text}");
}

#[test]
fn a_name_known_to_belong_to_one_attribute_stays_plain() {
    let mut custom = CustomAttributes::default();
    let definitions = json!({
        "orderIDStr": {"type": "string", "displayName": "Order ID"},
        "otherIDStr": {"type": "string"}, "otherIdStr": {"type": "string"},
    });
    custom.add("conversation", definitions.as_object().unwrap());
    let resource = streams::resource("conversations").unwrap();
    let stream = streams::stream(resource, &custom);
    let mut shaper = Shaper::new(&stream, resource, &Selection::all());
    let text = line(
        &mut shaper,
        &with(
            r#"{"custom":{"orderIDStr":"a","orderIdStr":"b","otherIDStr":"c","otherIdStr":"d"}}"#,
        ),
    );
    let record: Value = serde_json::from_str(&text).unwrap();
    let expected = json!({
        "order_id_str": "a", (name::distinct("order_id_str", "orderIdStr")): "b",
        (name::distinct("other_id_str", "otherIDStr")): "c", "other_id_str": "d",
    });
    assert_eq!(record["custom"], expected);
    let discovered = shaper.take_discovered();
    assert_eq!(discovered.len(), 1, "{discovered:?}");
}

#[test]
fn relationships() {
    let note = |relationships: &str| {
        let raw = format!(r#"{{"id":"n","relationships":{relationships}}}"#);
        line(&mut shaper("notes"), &raw)
    };
    for (relationships, expected) in [
        (
            r#"{"customer":{"data":{"type":"customer","id":"k"},"links":{"self":"/x"}}}"#,
            r#","customer":{"type":"customer","id":"k"},"customer_id":"k""#,
        ),
        (r#"{"modifiedBy":null}"#, r#","modified_by":null,"modified_by_id":null"#),
        (r#"{"modifiedBy":{"data":null}}"#, r#","modified_by":null,"modified_by_id":null"#),
        (
            r#"{"messages":{"links":{"self":"/x"}},"ecomm-orders":{"links":{},"meta":{"kobject":true}}}"#,
            "",
        ),
        (
            r#"{"userMentions":{"data":[{"type":"user","id":"a"},{"type":"user","id":"b"}]}}"#,
            r#","user_mentions":[{"type":"user","id":"a"},{"type":"user","id":"b"}],"user_mention_ids":["a","b"]"#,
        ),
        (r#"{"userMentions":{"data":[]}}"#, r#","user_mentions":[],"user_mention_ids":[]"#),
        (r#"{"userMentions":null}"#, r#","user_mentions":null,"user_mention_ids":null"#),
        (
            r#"{"newThing":{"data":{"id":7,"moreData":true}}}"#,
            r#","new_thing":{"id":7,"more_data":true},"new_thing_id":7"#,
        ),
        (r#"{"odd":"text"}"#, r#","odd":"text","odd_id":null"#),
        (
            r#"{"klass":{"link":{"self":"/x"},"data":{"type":"klass","id":"e"}}}"#,
            r#","klass":{"type":"klass","id":"e"},"klass_id":"e""#,
        ),
    ] {
        assert_eq!(note(relationships), format!(r#"{{"id":"n"{expected}}}"#), "{relationships}");
    }
    let sla = r#"{"id":"c","attributes":{"sla":{"name":"x"}},"relationships":{"sla":{"data":{"type":"sla","id":"s"}}}}"#;
    assert_eq!(
        line(&mut shaper("conversations"), sla),
        r#"{"id":"c","sla":{"name":"x"},"sla_data":{"type":"sla","id":"s"},"sla_id":"s"}"#
    );
}

#[test]
fn excluded_fields_are_left_out() {
    let resource = streams::resource("conversations").unwrap();
    let excluded = [
        "custom.secret_str",
        "name",
        "customer",
        "brand_id",
        "id",
        "updated_at",
        "first_done.created_by",
        "suggested_tags.tag",
        "meta",
        "user_mentions",
    ];
    let mut selection = Selection::all();
    selection.streams.insert(
        "conversations".into(),
        StreamSelection { selected: true, excluded: excluded.map(str::to_owned).into() },
    );
    let mut shaper = Shaper::new(&stream("conversations"), resource, &selection);
    let raw = r#"{"id":"c","attributes":{"name":"x","updatedAt":"2026-03-03T18:44:09.562Z",
        "custom":{"secretStr":"x","openStr":"y"},"firstDone":{"createdBy":"x","time":1},
        "suggestedTags":[{"tag":"x","confidence":1}],"meta":{"deep":["x"]}},
        "relationships":{"customer":{"data":{"id":"k"}},"brand":{"data":{"id":"b"}}}}"#;
    let text = line(&mut shaper, raw);
    assert_eq!(
        text,
        r#"{"id":"c","updated_at":"2026-03-03T18:44:09.562Z","custom":{"open_str":"y"},"first_done":{"time":1},"suggested_tags":[{"confidence":1}],"customer_id":"k","brand":{"id":"b"}}"#
    );
    let discovered: Vec<String> = shaper.take_discovered().into_iter().map(|(p, _)| p).collect();
    assert_eq!(discovered, ["custom.open_str"]);
}

#[test]
fn the_schema_lacks_what_the_records_lack() {
    let mut selection = Selection::all();
    selection.streams.insert(
        "conversations".into(),
        StreamSelection {
            selected: true,
            excluded: ["suggested_tags.tag", "sla.breach", "name"].map(str::to_owned).into(),
        },
    );
    let pruned = selection.prune(&stream("conversations"));
    assert_eq!(kind(pruned.fields.property("suggested_tags").unwrap()), "[{confidence number}]");
    let sla = pruned.fields.property("sla").unwrap().object().unwrap();
    assert!(sla.property("breach").is_none() && sla.property("breached").is_some());
    assert!(pruned.fields.property("name").is_none());
}

#[test]
fn undeclared_fields_are_announced_once_with_their_first_value() {
    let mut stream = stream("conversations");
    let resource = streams::resource("conversations").unwrap();
    let mut shaper = Shaper::new(&stream, resource, &Selection::all());
    let first = with(
        r#"{"new":null,"custom":{"aNum":null,"bStr":["x"],"cAt":"soon","dXyz":1,"eNum":"no"}}"#,
    );
    line(&mut shaper, &first);
    let second = with(
        r#"{"new":"x","n2":1.5,"n3":true,"n4":{"aB":1},"n5":[1],"sla":{"fooBar":1},"emails":[{"newKey":1}],"suggestedTags":[{"newKey":"x"}],"custom":{"aNum":1}}"#,
    );
    let text = line(&mut shaper, &second);
    assert!(text.contains(r#""n4":{"aB":1}"#), "maps keep their keys: {text}");
    let mut told = Vec::new();
    for (path, schema) in shaper.take_discovered() {
        told.push(format!("{path}: {}", kind(&schema)));
        assert!(streams::grow(&mut stream, &path, schema.clone()), "{path}");
        assert!(!streams::grow(&mut stream, &path, schema), "{path} is there now");
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
      custom.b_str: [text]
      custom.c_at: time
      custom.d_xyz: any
      custom.e_num: number
      new: text
      n2: number
      n3: boolean
      n4: map
      n5: [any]
      sla.foo_bar: number
      emails: [any]
      suggested_tags.new_key: text
      custom.a_num: number
      "#);
    line(&mut shaper, &first);
    line(&mut shaper, &second);
    assert!(shaper.take_discovered().is_empty());
    // A later run knows them all and names them alike.
    let mut again = Shaper::new(&stream, resource, &Selection::all());
    assert_eq!(line(&mut again, &second), line(&mut shaper, &second));
    assert!(again.take_discovered().is_empty());
}

#[test]
fn white_space_and_order_do_not_matter() {
    let pretty = "\u{20}{\r\n \"attributes\" : {\n  \"custom\": {\"aStr\":\t\"x\"}, \"meta\": {\n \"a\": [1,\n 2]}\n },\n \"id\": \"c1\" }\n";
    assert_eq!(
        line(&mut shaper("conversations"), pretty),
        "{\"custom\":{\"a_str\":\"x\"},\"meta\":{  \"a\": [1,  2]},\"id\":\"c1\"}"
    );
}

/// `tests/hostile`: `record` is the text as it comes, `line` or `rejected` what must become of
/// it. Set `BLESS` to write down what does; then read the difference.
#[test]
fn hostile_records_are_taken_exactly_or_rejected_with_a_reason() {
    let folder = Path::new("tests/hostile");
    let bless = std::env::var_os("BLESS").is_some();
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 60, "{} files", files.len());
    // One shaper for all: what one record teaches must not spoil another.
    let mut long = shaper("conversations");
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut case: Map<String, Value> =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let raw = expand(&case["record"]);
        let (key, outcome) = outcome(&mut shaper("conversations"), &raw);
        let again = self::outcome(&mut long, &raw);
        assert_eq!(again.1, outcome, "{name}: otherwise after other records");
        if bless {
            case.retain(|key, _| key == "record");
            case.insert(key.into(), outcome.into());
            std::fs::write(&path, format!("{:#}\n", Value::Object(case))).unwrap();
        } else if case.get(key).and_then(Value::as_str) != Some(outcome.as_str()) {
            wrong.push(format!("{name}: {key}: {outcome}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A text, or an array of texts and `[text, count]` repetitions.
fn expand(record: &Value) -> String {
    match record {
        Value::Array(parts) => parts
            .iter()
            .map(|part| match part {
                Value::Array(pair) => {
                    pair[0].as_str().unwrap().repeat(pair[1].as_u64().unwrap() as usize)
                }
                text => text.as_str().unwrap().to_owned(),
            })
            .collect(),
        text => text.as_str().unwrap().to_owned(),
    }
}

/// The line or the reason; long lines by length and hash of their values.
fn outcome(shaper: &mut Shaper, raw: &str) -> (&'static str, String) {
    let mut out = Vec::new();
    match shaper.shape(raw, &mut out) {
        Ok(_) => {
            let text = String::from_utf8(out).unwrap();
            let _: Map<String, Value> = serde_json::from_str(&text).unwrap();
            let text = text.trim_end();
            if text.len() > 600 {
                let head: String = text.chars().take(100).collect();
                return ("line", format!("{head}… ({} bytes)", text.len()));
            }
            ("line", text.to_owned())
        }
        Err(reason) => {
            assert!(out.is_empty());
            assert!(reason.len() < 500, "{reason}");
            ("rejected", reason)
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-cA-C_]{0,3}|.{0,4}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn keys() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-cA-C_]{0,4}",
        "(order|vip|a)(Id|ID|_id)(Str|Num|At|Bool|Xyz|)",
        ".{0,6}",
        "id|type|links|customer|customerId|custom|self",
    ]
}

/// Whether two values hold the same, keys aside.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let mut rest: Vec<&Value> = b.values().collect();
            a.len() == b.len()
                && a.values().all(|value| {
                    let at = rest.iter().position(|other| alike(value, other));
                    at.map(|at| rest.swap_remove(at)).is_some()
                })
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        _ => a == b,
    }
}

proptest! {
    #[test]
    fn every_value_arrives_under_a_name_of_its_own(
        records in prop::collection::vec(prop::collection::btree_map(keys(), value(), 0..8), 1..4),
    ) {
        let mut shaper = shaper("conversations");
        let declared = stream("conversations").fields;
        // A declared structure that is null is left out.
        let relationships = streams::reference_columns(streams::resource("conversations").unwrap());
        let structure = |key: &str| {
            let plain = name::snake(key);
            let taken = ["id", "type", "links"].contains(&key)
                || relationships.iter().any(|(_, columns)| columns.value == plain);
            let schema = declared.property(&plain).filter(|_| !taken && name::is_canonical(key));
            let object = schema.and_then(Schema::object);
            key == "custom" || object.is_some_and(|object| !object.is_map())
        };
        // A name never changes hands between records.
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        for attributes in records {
            let raw = json!({"attributes": attributes, "id": "c1"}).to_string();
            // serde_json does not read back every double it writes: compare what it reads.
            let document: Value = serde_json::from_str(&raw).unwrap();
            let text = line(&mut shaper, &raw);
            let mut record: Map<String, Value> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(record.remove("id"), Some(json!("c1")));
            // Fields stand in the order of the attributes.
            let ordered: Vec<_> = document["attributes"]
                .as_object()
                .unwrap()
                .iter()
                .filter(|(key, value)| !(value.is_null() && structure(key)))
                .collect();
            prop_assert_eq!(record.len(), ordered.len(), "{}", text);
            for ((key, value), (name, found)) in ordered.into_iter().zip(&record) {
                let owner = owners.entry(name.clone()).or_insert_with(|| key.clone());
                prop_assert_eq!(owner, key);
                if key == "custom" || stream("conversations").fields.property(name).is_some() {
                    prop_assert!(alike(value, found), "{} is not {}", found, value);
                } else {
                    prop_assert_eq!(value, found);
                }
            }
        }
    }

    #[test]
    fn any_text_is_shaped_or_rejected_in_words(text in "[\\[\\]{}\",:\\\\ua0-9eE+.\\-tfnrlsid \n]{0,40}") {
        let mut out = Vec::new();
        match shaper("notes").shape(&text, &mut out) {
            Ok(_) => prop_assert!(serde_json::from_slice::<Map<String, Value>>(&out).is_ok()),
            Err(reason) => prop_assert!(out.is_empty() && !reason.is_empty()),
        }
    }

    #[test]
    fn the_last_of_equal_keys_holds(
        members in prop::collection::vec(("a|b|fooBar|meta|custom", value()), 0..8),
    ) {
        let object: Vec<String> =
            members.iter().map(|(key, value)| format!("{}:{value}", json!(key))).collect();
        let raw = with(&format!("{{{}}}", object.join(",")));
        let record: Value = serde_json::from_str(&line(&mut shaper("conversations"), &raw)).unwrap();
        for (key, value) in members.into_iter().collect::<BTreeMap<_, _>>() {
            let value: Value = serde_json::from_str(&value.to_string()).unwrap();
            prop_assert!(alike(&record[name::snake(&key)], &value));
        }
    }
}
