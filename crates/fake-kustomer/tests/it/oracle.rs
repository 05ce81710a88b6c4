//! The oracle against replicas that read over HTTP.

use std::collections::BTreeMap;

use fake_kustomer::{
    Bounds, Config, Held, Mutation, Pick, Run, Span, Summary, When, digest_attributes,
};
use serde_json::{Value, json};

use crate::support::{Client, between, chance, id};

type Replica = BTreeMap<String, Value>;

/// One extraction: everything updated from `low` up to, not including, `bound`.
fn extract(client: &Client, replica: &mut Replica, context: &str, low: i64, bound: i64) {
    let mut body = between(context, low, bound - 1);
    body["includeDeleted"] = json!(true);
    for record in client.search_all(&body, 100).1 {
        replica.insert(id(&record), record);
    }
}

fn agree(held: &Held, record: &Value) {
    assert_eq!(record["attributes"]["rev"], held.rev);
    assert_eq!(record["attributes"]["updatedAt"], held.updated_at.as_str());
    assert_eq!(digest_attributes(record), held.digest);
}

#[test]
fn a_careful_replica_holds_what_the_oracle_says() {
    for seed in 0..6 {
        let client = Client::new(Config::tiny(seed));
        let control = client.sim.control();
        let mut replicas: BTreeMap<&str, Replica> = BTreeMap::new();
        let streams = ["customer", "conversation", "message", "note", "kobject"];
        let mut low = 0;
        let mut runs = Vec::new();
        for run in 0..5 {
            control.advance(60_000);
            let bound = control.now_ms();
            runs.push(Run { at_ms: bound, from_ms: low, until_ms: bound });
            for stream in streams {
                extract(&client, replicas.entry(stream).or_default(), stream, low, bound);
            }
            for stream in streams {
                let held = client.sim.oracle().held_after(stream, &runs).unwrap();
                let replica = &replicas[stream];
                assert_eq!(held.len(), replica.len(), "{stream} run {run} seed {seed}");
                for held in &held {
                    agree(held, &replica[&held.id]);
                }
                // What is not gone is what the plain question says, too.
                let mut own = Summary::default();
                let mut ideal = Summary::default();
                for held in held.iter().filter(|held| held.gone_ms.is_none()) {
                    own.add(&held.id, held.rev, digest_attributes(&replica[&held.id]));
                }
                let all = client.sim.oracle().held(stream, Bounds::until(bound)).unwrap();
                for held in all.iter().filter(|held| held.gone_ms.is_none()) {
                    ideal.add(&held.id, held.rev, held.digest);
                }
                assert_eq!(own, ideal);
            }
            low = bound;
            for step in 0..6 {
                // Changes happen strictly after the bound, at times of their own.
                control.advance(1 + chance(seed + run * 10 + step, 50) as i64);
                let stream = streams[chance(seed * 3 + run * 11 + step, 4) as usize];
                let mutation = match chance(seed * 5 + run * 17 + step, 6) {
                    0 => Mutation::soft_delete(stream, Pick::Random(3)),
                    1 => Mutation::hard_delete(stream, Pick::Random(3)),
                    2 => Mutation::merge(Pick::Random(1)),
                    3 => Mutation::add(stream, 5),
                    4 => Mutation::add_attribute(stream, &format!("extra{step}Str")),
                    _ => Mutation::update(stream, Pick::Random(30)),
                };
                control.mutate(&mutation).unwrap();
            }
        }
    }
}

#[test]
fn records_know_their_versions_and_when_they_went() {
    let client = Client::new(Config::tiny(1));
    let (control, oracle) = (client.sim.control(), client.sim.oracle());
    let number = |n| Pick::Numbers(vec![n]);
    control.advance(1000);
    let first = control.mutate(&Mutation::update("note", number(7))).unwrap();
    control.advance(1000);
    control
        .mutate(&Mutation::set("note", number(7), json!({"attributes": {"body": "new"}})))
        .unwrap();
    let id = &first.ids[0];
    let versions = oracle.versions("note", id);
    assert_eq!(versions.len(), 3);
    assert!(versions.is_sorted_by(|a, b| a.rev < b.rev && a.updated_ms < b.updated_ms));
    let held = oracle.held("note", Bounds::until(first.at_ms + 1)).unwrap();
    let held = held.iter().find(|held| held.id == *id).unwrap();
    assert_eq!((held.rev, held.superseded), (versions[1].rev, true));
    assert_eq!(oracle.record("note", id).unwrap()["attributes"]["body"], "new");

    control.advance(1000);
    control.mutate(&Mutation::hard_delete("note", number(7))).unwrap();
    assert!(oracle.record("note", id).is_none());
    let held = oracle.held("note", Bounds::all()).unwrap();
    let held = held.iter().find(|held| held.id == *id).unwrap();
    assert_eq!(held.gone_ms, Some(control.now_ms()));
    assert_eq!(held.rev, versions[2].rev);
}

#[test]
fn silent_changes_move_rev_but_not_time() {
    let client = Client::new(Config::tiny(1));
    let oracle = client.sim.oracle();
    let before = oracle.held("note", Bounds::all()).unwrap();
    client.sim.control().advance(1000);
    client.sim.control().mutate(&Mutation::silent_update("note", Pick::Numbers(vec![0]))).unwrap();
    let after = oracle.held("note", Bounds::all()).unwrap();
    assert_eq!(after[0].updated_ms, before[0].updated_ms);
    assert_eq!(after[0].rev, before[0].rev + 1);
    assert_ne!(after[0].digest, before[0].digest);
    assert_eq!(after[1..], before[1..]);
}

#[test]
fn the_oracle_speaks_http() {
    let client = Client::new(Config::tiny(1));
    let text = client.get("/_sim/oracle/message").text();
    let lines: Vec<Held> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, client.sim.oracle().held("message", Bounds::all()).unwrap());
    let middle = &lines[450];
    let path = format!(
        "/_sim/oracle/message/summary?from={}&until={}",
        lines[100].updated_ms, middle.updated_at
    );
    let summary: Summary = serde_json::from_slice(&client.get(&path).body).unwrap();
    assert_eq!(summary.count, 350);
    let record = client.get(&format!("/_sim/record/message/{}", middle.id)).json();
    assert_eq!(digest_attributes(&record), middle.digest);
    assert_eq!(client.get("/_sim/oracle/planet").status, 400);
}

#[test]
fn a_bulk_edit_of_many_is_one_millisecond_and_quick() {
    let config = Config::tiny(1).with_spans(
        "conversation",
        vec![Span::Uniform { count: 500_000, from: When::days_ago(300), to: When::days_ago(1) }],
    );
    let client = Client::new(config);
    let control = client.sim.control();
    control.advance(1000);
    let started = std::time::Instant::now();
    let done = control.mutate(&Mutation::update("conversation", Pick::Random(25_000))).unwrap();
    assert_eq!(done.versions, 25_000);
    let body = between("conversation", done.at_ms, done.at_ms);
    for page in [1, 10, 20] {
        let answer = client.search(&body, page, 500).json();
        assert_eq!(answer["meta"]["total"], 25_000);
        assert_eq!(answer["data"].as_array().unwrap().len(), 500);
    }
    let rest = client.search(&between("conversation", 0, done.at_ms - 1), 1, 1).json();
    assert_eq!(rest["meta"]["total"], 475_000);
    assert!(started.elapsed().as_secs() < 5);
}
