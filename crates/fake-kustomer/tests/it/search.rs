//! Pages and totals against brute force over everything the store holds.

use std::collections::BTreeSet;

use fake_kustomer::{
    Bounds, Config, Merged, Mutation, Pick, SearchConfig, Span, Ties, TotalMode, When,
};
use serde_json::{Value, json};

use crate::support::{Client, between, chance, id, ids, ms, updated_ms};

fn busy(seed: u64) -> Config {
    let mut config = Config::tiny(seed);
    config.search.ties = if seed.is_multiple_of(2) { Ties::Stable } else { Ties::Unstable };
    config.merged = if seed.is_multiple_of(3) { Merged::Deleted } else { Merged::NotFound };
    config.with_spans(
        "conversation",
        vec![
            Span::Uniform { count: 120, from: When::days_ago(1000), to: When::days_ago(600) },
            Span::Plateau {
                count: 90,
                at: When::days_ago(500),
                same_created: seed.is_multiple_of(2),
            },
            Span::Uniform { count: 150, from: When::days_ago(400), to: When::days_ago(1) },
        ],
    )
}

/// Some changes, the clock moving between them.
fn stir(client: &Client, seed: u64) {
    let control = client.sim.control();
    for step in 0..12 {
        control.advance(1 + chance(seed * 100 + step, 100_000) as i64);
        let stream = ["conversation", "customer", "message", "note", "kobject_ecomm-order"]
            [chance(seed * 7 + step, 5) as usize];
        let count = 1 + chance(seed * 31 + step, 40);
        let mutation = match chance(seed * 13 + step, 7) {
            0 | 1 => Mutation::update(stream, Pick::Random(count)),
            2 => Mutation::soft_delete(stream, Pick::Random(count / 8 + 1)),
            3 => Mutation::hard_delete(stream, Pick::Random(count / 8 + 1)),
            4 => Mutation::merge(Pick::Random(2)),
            5 => Mutation::add(stream, count),
            _ => Mutation::silent_update(stream, Pick::Random(count)),
        };
        control.mutate(&mutation).unwrap();
    }
}

/// What the index should show, as records, by the oracle's own list of everything.
fn everything(client: &Client, context: &str) -> Vec<Value> {
    let oracle = client.sim.oracle();
    let held = oracle.held(context, Bounds::all()).unwrap();
    let records = oracle.records(context, Bounds::all()).unwrap();
    let present = held.iter().zip(records).filter(|(held, _)| held.gone_ms.is_none());
    present.map(|(_, record)| record).collect()
}

fn deleted(record: &Value) -> bool {
    record["attributes"]["deleted"] == true
}

#[test]
fn windows_hold_what_brute_force_finds_on_many_small_organisations() {
    for seed in 0..16 {
        let client = Client::new(busy(seed));
        stir(&client, seed);
        let now = client.sim.control().now_ms();
        let horizon = now - 730 * 86_400_000;
        for context in
            ["conversation", "customer", "message", "note", "kobject", "kobject_ecomm-order"]
        {
            let all = everything(&client, context);
            for round in 0..5 {
                let times: Vec<i64> = all.iter().map(updated_ms).collect();
                let pick = |salt: u64| {
                    times[chance(seed * 997 + round * 31 + salt, times.len() as u64) as usize]
                };
                let (low, high) = (pick(1).min(pick(2)), pick(1).max(pick(2)));
                let include = round % 2 == 0;
                let mut body = between(context, low, high);
                body["includeDeleted"] = json!(include);
                let descending = round == 3;
                if descending {
                    let key = format!("{}_updated_at", context.split('_').next().unwrap());
                    body["sort"] = json!([{key: "desc"}]);
                }
                let expected: BTreeSet<String> = all
                    .iter()
                    .filter(|record| (low.max(horizon)..=high).contains(&updated_ms(record)))
                    .filter(|record| include || !deleted(record))
                    .map(id)
                    .collect();
                // Unstable order may repeat rows across pages, so one page must hold all.
                let size = if seed.is_multiple_of(2) { 7 + round * 20 } else { 500 };
                let (total, found) = client.search_all(&body, size);
                assert_eq!(total, expected.len() as u64, "{context} seed {seed}");
                if expected.len() <= 500 || seed.is_multiple_of(2) {
                    assert_eq!(found.len(), expected.len());
                    assert_eq!(ids(&found).into_iter().collect::<BTreeSet<_>>(), expected);
                }
                let mut sorted: Vec<i64> = found.iter().map(updated_ms).collect();
                if descending {
                    sorted.reverse();
                }
                assert!(sorted.is_sorted(), "{context} seed {seed}");
            }
        }
    }
}

#[test]
fn other_criteria_scan_to_the_same_rows() {
    for seed in 0..4 {
        let client = Client::new(busy(seed * 2));
        stir(&client, seed);
        let horizon = client.sim.control().now_ms() - 730 * 86_400_000;
        let all: Vec<Value> = everything(&client, "conversation")
            .into_iter()
            .filter(|record| !deleted(record) && updated_ms(record) >= horizon)
            .collect();
        let check = |body: Value, holds: &dyn Fn(&Value) -> bool| {
            let expected: BTreeSet<_> = all.iter().filter(|record| holds(record)).map(id).collect();
            let (total, found) = client.search_all(&body, 500);
            assert_eq!(total, expected.len() as u64, "{body}");
            assert_eq!(ids(&found).into_iter().collect::<BTreeSet<_>>(), expected, "{body}");
        };
        let query = |criteria: Value| {
            let mut body = json!({"queryContext": "conversation"});
            for (key, value) in criteria.as_object().unwrap() {
                body[key] = value.clone();
            }
            body
        };
        check(query(json!({"and": [{"conversation_status": {"equals": "done"}}]})), &|r| {
            r["attributes"]["status"] == "done"
        });
        check(query(json!({"and": {"conversation_priority": {"gte": 4}}, "or": []})), &|r| {
            r["attributes"]["priority"].as_u64().unwrap() >= 4
        });
        check(
            query(
                json!({"or": [{"conversation_status": {"equals": "open"}}, {"conversation_channels": {"in": ["sms", "voice"]}}]}),
            ),
            &|r| {
                r["attributes"]["status"] == "open"
                    || r["attributes"]["channels"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .any(|c| c == "sms" || c == "voice")
            },
        );
        check(query(json!({"not": {"conversation_name": {"contains": "REFUND"}}})), &|r| {
            !r["attributes"]["name"].as_str().unwrap_or("").to_lowercase().contains("refund")
        });
        check(
            query(json!({"and": [{"conversation_custom_promisedAt": {"not_set": true}}]})),
            &|r| r["attributes"]["custom"]["promisedAt"].is_null(),
        );
        let middle = updated_ms(&all[all.len() / 2]) - 3 * 86_400_000;
        let at = fake_kustomer::timestamp(middle);
        check(query(json!({"and": [{"conversation_created_at": {"gt": at}}]})), &|r| {
            ms(&r["attributes"]["createdAt"]) > middle
        });
        let customer = all[3]["relationships"]["customer"]["data"]["id"].clone();
        check(query(json!({"and": [{"conversation_customer_id": {"equals": customer}}]})), &|r| {
            r["relationships"]["customer"]["data"]["id"] == customer
        });
        check(
            query(json!({"and": [{"not": [{"conversation_status": {"equals": "done"}}]}]})),
            &|r| r["attributes"]["status"] != "done",
        );
    }
}

#[test]
fn criteria_may_belong_to_the_parent() {
    let client = Client::new(Config::tiny(3));
    let (_, parents) = client.search_all(
        &json!({"queryContext": "conversation", "and": [{"conversation_status": {"equals": "snoozed"}}]}),
        500,
    );
    let parents: BTreeSet<_> = ids(&parents).into_iter().collect();
    let body =
        json!({"queryContext": "message", "and": [{"conversation_status": {"equals": "snoozed"}}]});
    let (total, found) = client.search_all(&body, 500);
    assert!(total > 0);
    for message in found {
        let parent = message["relationships"]["conversation"]["data"]["id"].as_str().unwrap();
        assert!(parents.contains(parent));
    }
}

#[test]
fn ties_can_be_split_by_creation_or_come_in_one_go() {
    let spans = |same_created| {
        vec![
            Span::Uniform { count: 1000, from: When::days_ago(90), to: When::days_ago(80) },
            Span::Plateau { count: 25_000, at: When::days_ago(70), same_created },
            Span::Uniform { count: 1000, from: When::days_ago(60), to: When::days_ago(50) },
        ]
    };
    let client = Client::new(Config::tiny(5).with_spans("message", spans(false)));
    let now = client.sim.control().now_ms();
    let at = now - 70 * 86_400_000;
    let body = between("message", at, at);
    assert_eq!(client.search(&body, 1, 500).json()["meta"]["total"], 25_000);
    let last = client.search(&body, 20, 500).json();
    assert_eq!(last["data"].as_array().unwrap().len(), 500);
    assert_eq!(client.search(&body, 21, 500).status, 400);

    // Halving by creation reaches every row.
    let count = |low: i64, high: i64| {
        let mut body = between("message", at, at);
        let both = [("gte", low), ("lt", high)];
        for (operator, ms) in both {
            let bound = json!({operator: fake_kustomer::timestamp(ms)});
            body["and"].as_array_mut().unwrap().push(json!({"message_created_at": bound}));
        }
        client.search(&body, 1, 1).json()["meta"]["total"].as_u64().unwrap()
    };
    let start = at - 12 * 86_400_000;
    let slices = 8;
    let width = (at - start) / slices + 1;
    let sizes: Vec<u64> = (0..slices)
        .map(|slice| count(start + slice * width, start + (slice + 1) * width))
        .collect();
    assert_eq!(sizes.iter().sum::<u64>(), 25_000);
    assert!(sizes.iter().filter(|size| **size > 0).count() > 1);

    // With one creation time for all, nothing splits them.
    let client = Client::new(Config::tiny(5).with_spans("message", spans(true)));
    let record = client.search(&between("message", at, at), 1, 1).json()["data"][0].clone();
    let created = record["attributes"]["createdAt"].clone();
    let mut body = between("message", at, at);
    body["and"].as_array_mut().unwrap().push(json!({"message_created_at": {"gte": &created}}));
    body["and"].as_array_mut().unwrap().push(json!({"message_created_at": {"lte": &created}}));
    assert_eq!(client.search(&body, 1, 1).json()["meta"]["total"], 25_000);
}

#[test]
fn unstable_ties_differ_between_requests_and_stable_ones_do_not() {
    for ties in [Ties::Stable, Ties::Unstable] {
        let mut config = Config::tiny(1);
        config.search.ties = ties;
        let plateau = Span::Plateau { count: 400, at: When::days_ago(9), same_created: false };
        let client = Client::new(config.with_spans("note", vec![plateau]));
        let at = client.sim.control().now_ms() - 9 * 86_400_000;
        let first = client.search(&between("note", at, at), 1, 500).json();
        let second = client.search(&between("note", at, at), 1, 500).json();
        assert_eq!(first["data"] == second["data"], ties == Ties::Stable);
    }
}

#[test]
fn totals_may_be_bounded() {
    let mut config = Config::tiny(1).with_count("message", 12_000);
    config.search.total = TotalMode::Bounded;
    let client = Client::new(config);
    let page = client.search(&json!({"queryContext": "message"}), 1, 100).json();
    assert_eq!(page["meta"]["total"], 10_000);
    assert_eq!(page["meta"]["totalPages"], 100);
    let end = client.search(&json!({"queryContext": "message"}), 100, 100).json();
    assert_eq!(end["links"]["next"], "/v1/customers/search?page=101&pageSize=100");
}

#[test]
fn the_horizon_parts_search_from_archive() {
    let client = Client::new(busy(2));
    let now = client.sim.control().now_ms();
    let body = between("conversation", 0, now);
    let (live, _) = client.search_all(&body, 500);
    let archive = client.post("/v1/customers/archive/search?pageSize=500", &body);
    let archived = archive.json()["meta"]["total"].as_u64().unwrap();
    assert_eq!(live + archived, 360);
    assert!(archived > 0);
    let note = json!({"queryContext": "note"});
    assert_eq!(client.post("/v1/customers/archive/search", &note).status, 400);
    // A change brings a record back.
    let oldest = Mutation::update("conversation", Pick::Oldest(5));
    client.sim.control().mutate(&oldest).unwrap();
    let (after, _) = client.search_all(&body, 500);
    assert_eq!(after, live + 5);
}

#[test]
fn records_show_after_their_lag() {
    let mut config = Config::tiny(4);
    config.search = SearchConfig { max_lag_ms: 10_000, ..config.search };
    let client = Client::new(config);
    let control = client.sim.control();
    let start = control.now_ms();
    control.advance(1000);
    let pick = Pick::Random(100);
    let changed = control.mutate(&Mutation::update("conversation", pick)).unwrap();
    assert_eq!(changed.ids.len(), 100);
    let body = between("conversation", start, start + 60_000);
    let mut seen = Vec::new();
    for _ in 0..12 {
        seen.push(client.search(&body, 1, 1).json()["meta"]["total"].as_u64().unwrap());
        control.advance(1000);
    }
    assert!(seen.is_sorted() && seen[0] < 50 && seen[3] > 5 && seen[3] < 95, "{seen:?}");
    assert_eq!(seen[11], 100);
    // The store knows at once.
    let record = client.get(&format!("/v1/conversations/{}", changed.ids[0])).json();
    assert_eq!(updated_ms(&record["data"]), start + 1000);
}

#[test]
fn base_records_have_lag_too_when_the_organisation_is_live() {
    let mut config = Config::tiny(4);
    config.search.max_lag_ms = 3_600_000;
    config = config.with_spans(
        "note",
        vec![Span::Uniform { count: 1000, from: When::days_ago(1), to: When::days_ago(-1) }],
    );
    let client = Client::new(config);
    let control = client.sim.control();
    for _ in 0..5 {
        let now = control.now_ms();
        let held = client.sim.oracle().held("note", Bounds::all()).unwrap().len() as u64;
        let (shown, records) = client.search_all(&json!({"queryContext": "note"}), 90);
        assert!(shown < held && shown > held - 45, "{shown} of {held}");
        assert_eq!(records.len() as u64, shown);
        assert!(records.iter().all(|record| updated_ms(record) <= now));
        control.advance(3_600_000);
    }
}

#[test]
fn rows_shift_when_a_record_changes_between_pages() {
    let client = Client::new(Config::tiny(6));
    let now = client.sim.control().now_ms();
    let body = between("conversation", 0, now + 1_000_000);
    let first = client.search(&body, 1, 100).json();
    let moved = id(&first["data"][0]);
    client.sim.control().advance(1000);
    let pick = Pick::Ids(vec![moved.clone()]);
    client.sim.control().mutate(&Mutation::update("conversation", pick)).unwrap();
    let again = client.search(&body, 1, 100).json();
    assert_ne!(id(&again["data"][0]), moved);
    assert_eq!(again["data"][98], first["data"][99]);
    let (total, all) = client.search_all(&body, 100);
    assert_eq!(total, 300);
    assert_eq!(id(&all[299]), moved);
    let rev = |record: &Value| record["attributes"]["rev"].as_u64().unwrap();
    assert_eq!(rev(&all[299]), rev(&first["data"][0]) + 1);
}

#[test]
fn odd_searches_are_refused_and_explained() {
    let client = Client::new(Config::tiny(1));
    let bodies = [
        json!({}),
        json!({"queryContext": "planet"}),
        json!({"queryContext": "customer", "and": [{"customer_shoe_size": {"gte": 1}}]}),
        json!({"queryContext": "customer", "and": [{"customer_id": {"equals": "x"}}]}),
        json!({"queryContext": "customer", "and": [{"customer_name": {"prefix": "M"}}]}),
        json!({"queryContext": "customer", "and": [{"customer_updated_at": {"gte": "soon"}}]}),
        json!({"queryContext": "customer", "and": ["x"]}),
        json!({"queryContext": "customer", "sort": [{"customer_name": "up"}]}),
        json!({"queryContext": "message", "sort": [{"message_body": "asc"}]}),
        json!({"queryContext": "customer", "surprise": 1}),
    ];
    for body in bodies {
        let answer = client.search(&body, 1, 10);
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json()["errors"][0]["code"], "bad_request");
    }
    let fine = json!({"queryContext": "customer"});
    for query in ["page=0", "page=x", "pageSize=0", "pageSize=-1"] {
        assert_eq!(client.post(&format!("/v1/customers/search?{query}"), &fine).status, 400);
    }
    let clamped = client.search(&fine, 1, 1000).json();
    assert_eq!(clamped["meta"]["pageSize"], 500);
}

#[test]
fn ids_only_and_dates_and_sorting_by_name_work() {
    let client = Client::new(Config::tiny(8));
    let slim = client
        .post("/v1/customers/search?pageSize=3&idsOnly=true", &json!({"queryContext": "customer"}))
        .json();
    assert_eq!(slim["data"][0].as_object().unwrap().len(), 2);
    assert!(slim["links"]["next"].as_str().unwrap().ends_with("&idsOnly=true"));

    let (_, named) = client
        .search_all(&json!({"queryContext": "customer", "sort": [{"customer_name": "asc"}]}), 40);
    let names: Vec<_> = named.iter().map(|c| c["attributes"]["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 150);
    assert!(names.is_sorted());

    let count = |zone: &str| {
        let body = json!({
            "queryContext": "message",
            "timeZone": zone,
            "and": [
                {"message_created_at": {"gte": "2025-06-01"}},
                {"message_created_at": {"lte": "2025-06-30"}},
            ],
        });
        client.search_all(&body, 500).1
    };
    for (zone, start) in [("GMT", "2025-06-01T00:00:00Z"), ("Asia/Tokyo", "2025-05-31T15:00:00Z")] {
        let start = start.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let inside = start..start + 30 * 86_400_000;
        let found = count(zone);
        assert!(!found.is_empty());
        assert!(found.iter().all(|m| inside.contains(&ms(&m["attributes"]["createdAt"]))));
    }
}
