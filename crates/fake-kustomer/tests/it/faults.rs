//! Every fault does what it says, once, and is written down.

use std::time::{Duration, Instant};

use fake_kustomer::{
    Activity, Bounds, Config, Fault, FaultBody, FaultRule, Hook, Matcher, Mutation, Pick, Poison,
};
use serde_json::{Value, json};

use crate::support::{Client, between, id, ids};

fn struck(fault: Fault) -> Client {
    Client::new(
        Config::tiny(1).with_fault(FaultRule::once(Matcher::on("search", "message"), fault)),
    )
}

fn body() -> Value {
    json!({"queryContext": "message", "sort": [{"message_updated_at": "asc"}]})
}

/// The struck page as it should have been, by asking again.
fn clean(client: &Client, page: u64) -> Value {
    client.search(&body(), page, 100).json()
}

fn rows(page: &Value) -> Vec<String> {
    ids(page["data"].as_array().unwrap())
}

#[test]
fn statuses_come_with_every_body() {
    for status in [400, 408, 429, 500, 502, 503, 504] {
        for kind in [FaultBody::Json, FaultBody::Html, FaultBody::Empty, FaultBody::Text] {
            let retry_after = Some("7".to_owned());
            let client = struck(Fault::Status { status, body: kind, retry_after });
            let answer = client.search(&body(), 1, 100);
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("retry-after"), Some("7"));
            match kind {
                FaultBody::Json => assert!(answer.json()["errors"].is_array()),
                FaultBody::Html => assert!(answer.text().contains("<html>")),
                FaultBody::Empty => assert!(answer.body.is_empty()),
                FaultBody::Text => assert_eq!(answer.text(), "upstream request failed"),
            }
            assert_eq!(client.search(&body(), 1, 100).status, 200);
            let log = client.sim.control().fault_log();
            assert_eq!((log.len(), log[0].request, log[0].fault.kind().as_str()), (1, 1, "status"));
        }
    }
}

#[test]
fn connections_are_cut_where_asked() {
    for fault in [Fault::CutBeforeResponse, Fault::CutInHeaders, Fault::CutInBody { at: 0.5 }] {
        let client = struck(fault.clone());
        assert!(client.try_post("/v1/customers/search", &body()).is_err(), "{fault:?}");
        assert_eq!(client.search(&body(), 1, 100).status, 200);
    }
}

#[test]
fn slow_answers_take_their_time() {
    for (fault, least) in [
        (Fault::Slow { ms: 150 }, 150),
        (Fault::StallBody { at: 0.5, ms: 150 }, 150),
        (Fault::Drip { bytes: 20_000, ms: 10 }, 60),
    ] {
        let client = struck(fault.clone());
        let started = Instant::now();
        let late = client.search(&body(), 1, 100);
        assert!(started.elapsed() >= Duration::from_millis(least), "{fault:?}");
        assert_eq!(late.json(), clean(&client, 1), "{fault:?}");
    }
    let mut config = Config::tiny(1);
    config.latency_ms = 60;
    let client = Client::new(config);
    let started = Instant::now();
    client.get("/v1/users");
    assert!(started.elapsed() >= Duration::from_millis(60));
}

#[test]
fn bodies_are_not_what_they_should_be() {
    let answer = |fault: Fault| struck(fault).search(&body(), 1, 100);
    assert!(answer(Fault::Html).text().contains("<html>"));
    assert!(answer(Fault::Empty).body.is_empty());
    assert_eq!(answer(Fault::NotJson).text(), "upstream connect error");
    let gzip = struck(Fault::BadGzip).try_post("/v1/customers/search", &body());
    assert!(gzip.is_err() || serde_json::from_slice::<Value>(&gzip.unwrap().body).is_err());
    let short = answer(Fault::TruncatedJson { at: 0.7 });
    assert!(short.body.len() > 10_000 && serde_json::from_slice::<Value>(&short.body).is_err());
    let errors = answer(Fault::ErrorsIn200);
    assert!(errors.status == 200 && errors.json()["errors"].is_array());
    assert!(answer(Fault::NoData).json().get("data").is_none());
    assert!(answer(Fault::NullData).json()["data"].is_null());
    assert!(answer(Fault::TrailingHtml).text().ends_with("</html>"));
    assert!(answer(Fault::Bom).body.starts_with(b"\xef\xbb\xbf{"));
}

#[test]
fn rows_go_missing_and_come_twice() {
    let client = struck(Fault::TimedOut { keep: 3 });
    let page = client.search(&body(), 1, 100).json();
    assert_eq!(page["meta"]["timed_out"], true);
    assert_eq!(page["data"].as_array().unwrap().len(), 3);
    assert_eq!(page["meta"]["total"], 900);

    let client = struck(Fault::DuplicateInPage);
    let mut page = rows(&client.search(&body(), 1, 100).json());
    assert_eq!(page.len(), 101);
    page.sort();
    page.dedup();
    assert_eq!(page.len(), 100);

    let client = struck(Fault::DuplicateAcrossPages);
    let page = rows(&client.search(&body(), 2, 100).json());
    assert_eq!(page[0], rows(&clean(&client, 1))[99]);
    assert_eq!(page[1..], rows(&clean(&client, 2)));

    let client = struck(Fault::MissingRows { count: 4 });
    let page = client.search(&body(), 1, 100).json();
    assert_eq!(page["meta"]["total"], 900);
    assert_eq!(rows(&page).len(), 96);

    let client = struck(Fault::Unsorted);
    let mut page = rows(&client.search(&body(), 1, 100).json());
    page.reverse();
    assert_eq!(page, rows(&clean(&client, 1)));
}

#[test]
fn envelopes_lie() {
    let client = struck(Fault::WrongTotal { by: -33 });
    assert_eq!(client.search(&body(), 1, 100).json()["meta"]["total"], 867);
    let shrinking = Fault::ShrinkingTotal { by: 10 };
    let rule = FaultRule::always(Matcher::default(), shrinking);
    let client = Client::new(Config::tiny(1).with_fault(rule));
    let total = |page| client.search(&body(), page, 100).json()["meta"]["total"].as_u64();
    assert_eq!((total(1), total(3)), (Some(900), Some(880)));

    let page = struck(Fault::NextLoop).search(&body(), 2, 100).json();
    assert_eq!(page["links"]["next"], page["links"]["self"]);
    let page = struck(Fault::NextMissing).search(&body(), 1, 100).json();
    assert!(page["links"].get("next").is_none());
    let client = struck(Fault::RepeatPage);
    let page = client.search(&body(), 3, 100).json();
    assert_eq!(page["meta"]["page"], 3);
    assert_eq!(rows(&page), rows(&clean(&client, 2)));
}

#[test]
fn headers_lie() {
    let zero = struck(Fault::RemainingZero).search(&body(), 1, 100);
    assert_eq!((zero.status, zero.header("x-ratelimit-remaining")), (200, Some("0")));
    assert!(zero.header("x-ratelimit-reset").is_some());
    let odd = Fault::RateHeaders {
        limit: None,
        remaining: Some("-3".into()),
        reset: Some("soon".into()),
    };
    let odd = struck(odd).search(&body(), 1, 100);
    assert_eq!(odd.header("x-ratelimit-remaining"), Some("-3"));
    assert_eq!(odd.header("x-ratelimit-reset"), Some("soon"));
    assert!(odd.header("x-ratelimit-limit").is_none());
    let client = struck(Fault::SkewedDate { seconds: 86_400 });
    let skewed = client.search(&body(), 1, 100);
    assert_ne!(skewed.header("date"), client.search(&body(), 1, 100).header("date"));
}

#[test]
fn a_row_is_poisoned_once() {
    let client = struck(Fault::Poison { poison: Poison::LoneSurrogate, row: 2 });
    let bad = client.search(&body(), 1, 100);
    assert!(bad.text().contains("\\ud800"));
    assert!(serde_json::from_slice::<Value>(&bad.body).is_err());
    assert_eq!(clean(&client, 1)["data"].as_array().unwrap().len(), 100);
}

#[test]
fn rules_count_and_chance_repeats() {
    let rule = FaultRule::always(Matcher::on("list", "user"), Fault::status(500)).after(2).times(2);
    let client = Client::new(Config::tiny(1).with_fault(rule));
    let statuses: Vec<_> = (0..6).map(|_| client.get("/v1/users").status).collect();
    assert_eq!(statuses, [200, 200, 500, 500, 200, 200]);
    assert_eq!(client.get("/v1/teams").status, 200);

    let run = || {
        let rule = FaultRule::random(0.3, 99, vec![Fault::status(500), Fault::status(503)]);
        let client = Client::new(Config::tiny(1).with_fault(rule));
        (0..60).map(|_| client.get("/v1/users").status).collect::<Vec<_>>()
    };
    let first = run();
    assert_eq!(first, run());
    let bad = first.iter().filter(|status| **status != 200).count();
    assert!((8..30).contains(&bad), "{bad}");
    assert!(first.contains(&500) && first.contains(&503));
}

#[test]
fn hooks_change_the_organisation_between_pages() {
    let client = Client::new(Config::tiny(1));
    let control = client.sim.control();
    let now = control.now_ms();
    let bulk = Mutation::update("message", Pick::Oldest(200));
    let mut hook = Hook::after(Matcher::on("search", "message"), 2, bulk);
    hook.advance_ms = 500;
    control.add_hook(hook);
    let body = between("message", 0, now + 1000);
    let pages: Vec<Value> = (1..=3).map(|page| client.search(&body, page, 100).json()).collect();
    // The first 200 rows moved to the end, so the third page is what the fifth was.
    let before = client.sim.oracle().held("message", Bounds::all()).unwrap();
    assert_eq!(id(&pages[2]["data"][0]), before[400].id);
    assert!(before[..200].iter().all(|held| held.updated_ms == now + 500));
}

#[test]
fn an_organisation_changes_by_itself() {
    let mut config = Config::tiny(1);
    let mutation = Mutation::update("customer", Pick::Random(2));
    config.activity.push(Activity { per_minute: 6.0, mutation });
    let client = Client::new(config);
    let now = client.sim.control().now_ms();
    client.sim.control().advance(600_000);
    let body = between("customer", now + 1, now + 600_000);
    let (total, _) = client.search_all(&body, 500);
    assert!((60..=120).contains(&total), "{total}");
}

#[test]
fn everything_can_be_scripted_over_http() {
    let client = Client::new(Config::tiny(1));
    let rule = json!({"on": {"endpoint": "list", "stream": "tag"}, "times": 1,
        "faults": [{"kind": "status", "status": 502, "body": "html"}]});
    assert_eq!(client.post("/_sim/faults", &rule).status, 200);
    assert_eq!(client.get("/v1/tags").status, 502);
    assert_eq!(client.get("/_sim/faults").json()["hits"][0]["fault"]["kind"], "status");
    client.post("/_sim/clock", &json!({"advance_ms": 60_000}));
    let change = json!({"do": "update", "stream": "tag", "pick": {"numbers": [1]},
        "set": {"attributes": {"name": "renamed"}}});
    let outcome = client.post("/_sim/mutate", &json!([change])).json()["outcomes"][0].clone();
    let tag = outcome["ids"][0].as_str().unwrap();
    assert_eq!(
        client.get(&format!("/v1/tags/{tag}")).json()["data"]["attributes"]["name"],
        "renamed"
    );
    assert_eq!(
        client.get(&format!("/_sim/versions/tag/{tag}")).json().as_array().unwrap().len(),
        2
    );
    assert_eq!(client.get("/_sim/stats").json()["by_kind"]["list tag"], 1);
    assert_eq!(client.post("/_sim/mutate", &json!({"do": "dance"})).status, 400);
    assert_eq!(client.get("/_sim/nothing").status, 400);
    let config = client.get("/_sim/config").text();
    assert!(Config::from_json(&config).is_ok());
}
