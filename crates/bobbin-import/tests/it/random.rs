//! Random requests: each record comes back once, in order, character by character.

use std::collections::BTreeMap;

use bobbin_core::state::State;
use bobbin_import::request::Requests;
use proptest::prelude::*;

use crate::support::{Home, now};

/// A JSON value as somebody may write it.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just("\"\\u00e9\\ud83d\\ude00\\/\"".to_owned()),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        let space = "[ \n\t\r]{0,2}";
        prop_oneof![
            (proptest::collection::vec(inner.clone(), 0..4), space).prop_map(
                |(items, space)| format!("[{space}{}]", items.join(&format!(",{space}")))
            ),
            (proptest::collection::vec(("[a-z]{1,3}", inner), 0..4), space).prop_map(
                |(members, space)| {
                    let members: Vec<String> = members
                        .into_iter()
                        .map(|(name, value)| format!("\"{name}\"{space}:{value}"))
                        .collect();
                    format!("{{{space}{}{space}}}", members.join(","))
                }
            ),
        ]
    })
}

/// A table, a sequence and a record.
fn message() -> impl Strategy<Value = (String, i64, Vec<(String, String)>)> {
    let members = proptest::collection::vec(("[A-Za-z]{1,4}|é|a\\.b", value()), 0..6);
    ("[ab]", any::<i64>(), members)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_record_comes_back_once_and_in_order(
        requests in proptest::collection::vec(proptest::collection::vec(message(), 1..8), 1..6),
        runs in any::<u8>(),
    ) {
        let home = Home::new();
        let inbox = home.open();
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut state = State::default();
        for (n, request) in requests.iter().enumerate() {
            let mut messages = Vec::new();
            for (at, (table, sequence, members)) in request.iter().enumerate() {
                let mut data = format!("{{ \"id\":{}", n * 100 + at);
                for (name, value) in members {
                    data.push_str(&format!(",\n\"{name}\" : {value}"));
                }
                data.push('}');
                messages.push(format!(r#"{{"data":{data},"table_name":"{table}","action":"upsert","key_names":["id"],"sequence":{sequence}}}"#));
                let line = data[1..].replace(['\n', '\r'], " ");
                expected.entry(table.clone()).or_default().push(format!("{{\"_import_sequence\":{sequence},{line}"));
            }
            let body = format!("[{}]", messages.join(",\n"));
            let batches = Requests::default().push(body.as_bytes()).unwrap();
            inbox.accept(&batches, now()).unwrap();
            if runs >> n & 1 == 1 || n + 1 == requests.len() {
                let ran = home.run(&state);
                for line in &ran.told {
                    if let Some((head, text)) = line.split_once(": ").filter(|(_, text)| text.starts_with('{')) {
                        let table = head.split(' ').next().unwrap().to_owned();
                        found.entry(table).or_default().push(text.to_owned());
                    }
                }
                state = ran.state;
            }
        }
        prop_assert_eq!(found, expected);
    }

    /// Whatever a body is, it is taken or refused in words, in time, and nothing of a refused one stays.
    #[test]
    fn any_body_is_taken_or_refused(body in "(\\PC|[\\[\\]{}\":,]|\"(table_name|schema|messages|data|action|upsert|sequence)\"|1e400|null){0,60}") {
        let requests = Requests::default();
        for result in [requests.batch(body.as_bytes()), requests.push(body.as_bytes())] {
            if let Err(refused) = result {
                prop_assert!(!refused.message.is_empty() && refused.message.len() < 1000);
            }
        }
    }
}
