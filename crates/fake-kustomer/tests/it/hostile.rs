//! Records with bytes of one's own choice.

use fake_kustomer::{Config, Hostile, Poison};
use serde_json::{Value, json};

use crate::support::Client;

fn body() -> Value {
    json!({"queryContext": "note", "sort": [{"note_updated_at": "asc"}]})
}

#[test]
fn every_poison_spoils_one_record_and_keeps_its_place() {
    for poison in Poison::ALL {
        let config = Config::tiny(1).with_hostile(Hostile::poison("note", 4, poison));
        let client = Client::new(config);
        let clean = Client::new(Config::tiny(1)).search(&body(), 1, 10);
        let answer = client.search(&body(), 1, 10);
        assert_ne!(answer.body, clean.body, "{poison:?}");
        let unreadable = matches!(
            poison,
            Poison::LoneSurrogate
                | Poison::InvalidUtf8
                | Poison::RawControl
                | Poison::HugeNumber
                | Poison::Nan
                | Poison::Deep200
                | Poison::Deep10000
        );
        match serde_json::from_slice::<Value>(&answer.body) {
            Ok(page) => {
                assert!(!unreadable, "{poison:?}");
                assert_eq!(page["meta"]["total"], 120);
                assert_eq!(page["data"].as_array().unwrap().len(), 10);
                assert_eq!(page["data"][5], clean.json()["data"][5]);
            }
            Err(_) => assert!(unreadable, "{poison:?}"),
        }
        // The same in every form of reading.
        assert!(client.get("/v1/notes?pageSize=10").body.len() != clean.body.len());
    }
}

#[test]
fn raw_bytes_know_their_record() {
    let config = Config::tiny(1)
        .with_hostile(Hostile::record(
            "note",
            0,
            r#"{"id":"__ID__","attributes":{"updatedAt":"__UPDATED_AT__","rev":__REV__,"odd":1}}"#,
        ))
        .with_hostile(Hostile::attributes("note", 1, r#"{"updatedAt":"__UPDATED_AT__"}"#))
        .with_hostile(Hostile::insert("note", 2, r#""amountNum":123456789012345678901234567890"#))
        .with_hostile(Hostile::record_bytes("note", 3, b"{\"id\":\"\xff\"}"));
    let client = Client::new(config);
    let answer = client.search(&body(), 1, 3);
    let page = answer.json();
    let ids: Vec<_> = (0..3).map(|n| client.sim.oracle().id("note", n).unwrap()).collect();
    for (row, id) in ids.iter().enumerate() {
        assert_eq!(page["data"][row]["id"], id.as_str());
    }
    assert_eq!(page["data"][0]["attributes"]["odd"], 1);
    assert_eq!(page["data"][1]["attributes"].as_object().unwrap().len(), 1);
    assert!(page["data"][1]["relationships"]["org"].is_object());
    assert!(answer.text().contains("\"amountNum\":123456789012345678901234567890,"));
    let raw = client.search(&body(), 4, 1);
    assert!(raw.body.windows(2).any(|pair| pair == b"\"\xff"));
}
