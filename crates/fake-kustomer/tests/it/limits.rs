//! Tokens, roles, budgets, caps, error shapes, time.

use fake_kustomer::{
    ClockConfig, Config, ErrorShape, PastCap, RateAlgorithm, RateHeaders, ResetUnit, Token, When,
};
use serde_json::json;

use crate::support::Client;

#[test]
fn keys_that_do_not_fit_are_refused() {
    let mut config = Config::tiny(1);
    config.tokens = vec![
        Token::with_roles("search-only", &["org.permission.search.*"]),
        Token { expires: Some(When::days_ago(1)), ..Token::all_roles("old") },
        Token { pod: Some("prod2".to_owned()), ..Token::all_roles("far") },
    ];
    let mut client = Client::new(config);
    let customers = json!({"queryContext": "customer"});
    assert_eq!(client.search(&customers, 1, 1).status, 200);
    let answer = client.get("/v1/users");
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("org.permission.user.read"), "{}", answer.text());
    assert_eq!(client.get("/v1/auth/tokens/current").status, 200);
    for (token, words) in [
        ("old", "Expired token"),
        ("far", "Token associated with pod prod2 but request is being handled by prod1"),
        ("wrong", "Invalid token"),
    ] {
        client.token = token.to_owned();
        let answer = client.get("/v1/users");
        assert_eq!(answer.status, 401);
        assert!(answer.text().contains(words), "{}", answer.text());
    }
}

#[test]
fn errors_come_in_both_shapes() {
    for (shape, member) in [(ErrorShape::Short, "message"), (ErrorShape::Long, "title")] {
        let mut config = Config::tiny(1);
        config.errors = shape;
        let error = Client::new(config).get("/v1/customers/x").json()["errors"][0].clone();
        assert_eq!(error["code"], "not_found");
        assert!(error[member].is_string());
    }
}

#[test]
fn searches_past_the_cap_end_in_five_ways() {
    let body = json!({"queryContext": "message"});
    for past_cap in
        [PastCap::BadRequest, PastCap::NotFound, PastCap::Empty, PastCap::Repeat, PastCap::Serve]
    {
        let mut config = Config::tiny(1).with_count("message", 1000);
        config.search.max_rows = 500;
        config.search.past_cap = past_cap;
        let client = Client::new(config);
        let reachable = client.search(&body, 5, 100).json();
        let past = client.search(&body, 6, 100);
        match past_cap {
            PastCap::BadRequest => assert_eq!(past.status, 400),
            PastCap::NotFound => assert_eq!(past.status, 404),
            PastCap::Empty => assert_eq!(past.json()["data"], json!([])),
            PastCap::Repeat => assert_eq!(past.json()["data"], reachable["data"]),
            PastCap::Serve => {
                assert_eq!(past.json()["data"].as_array().unwrap().len(), 100);
                assert_ne!(past.json()["data"], reachable["data"]);
            }
        }
    }
}

#[test]
fn budgets_refuse_and_recover_with_the_clock() {
    for (unit, retry_after) in [
        (ResetUnit::EpochSeconds, false),
        (ResetUnit::EpochMilliseconds, true),
        (ResetUnit::SecondsFromNow, true),
    ] {
        let mut config = Config::tiny(1);
        config.rate.factor = 0.1;
        config.rate.headers = RateHeaders::Tightest;
        config.rate.reset = unit;
        config.rate.retry_after = retry_after;
        let client = Client::new(config);
        let control = client.sim.control();
        let window_end = (control.now_ms() / 60_000 + 1) * 60_000;
        let body = json!({"queryContext": "note"});
        for left in (0..10).rev() {
            let answer = client.search(&body, 1, 1);
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("x-ratelimit-limit"), Some("10"));
            assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
        }
        let refused = client.search(&body, 1, 1);
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("retry-after").is_some(), retry_after);
        let reset: i64 = refused.header("x-ratelimit-reset").unwrap().parse().unwrap();
        let now = control.now_ms();
        assert_eq!(
            reset,
            match unit {
                ResetUnit::EpochSeconds => window_end / 1000,
                ResetUnit::EpochMilliseconds => window_end,
                ResetUnit::SecondsFromNow => (window_end - now + 999) / 1000,
            }
        );
        // Lists have the organisation's budget.
        assert_eq!(client.get("/v1/users").header("x-ratelimit-limit"), Some("100"));
        control.set_clock(window_end);
        assert_eq!(client.search(&body, 1, 1).status, 200);
    }
}

#[test]
fn headers_may_be_absent_and_buckets_may_leak() {
    let mut config = Config::tiny(1);
    config.rate.factor = 0.1;
    config.rate.headers = RateHeaders::Absent;
    config.rate.algorithm = RateAlgorithm::LeakyBucket;
    let client = Client::new(config);
    let body = json!({"queryContext": "note"});
    let mut refused = 0;
    for _ in 0..15 {
        let answer = client.search(&body, 1, 1);
        assert!(answer.header("x-ratelimit-limit").is_none());
        refused += u32::from(answer.status == 429);
    }
    assert_eq!(refused, 5);
    client.sim.control().advance(6000);
    assert_eq!(client.search(&body, 1, 1).status, 200);
    assert_eq!(client.search(&body, 1, 1).status, 429);
}

#[test]
fn the_clock_rules_date_and_growth() {
    let mut config = Config::tiny(1);
    config.live = true;
    config.clock = ClockConfig { frozen: false, factor: 86_400.0, ..config.clock };
    let client = Client::new(config);
    let date = client.get("/v1/users").header("date").unwrap().to_owned();
    assert!(date.contains("Mar 2026"), "{date}");
    let body = json!({"queryContext": "message"});
    let total = || client.search(&body, 1, 1).json()["meta"]["total"].as_u64().unwrap();
    let before = total();
    let started = std::time::Instant::now();
    while total() == before {
        assert!(started.elapsed().as_secs() < 60, "nothing came in sixty simulated days");
    }
}

#[test]
fn size_costs_nothing() {
    let started = std::time::Instant::now();
    let mut config = Config::tiny(1).with_count("conversation", 10_000_000);
    config.search.past_cap = PastCap::Serve;
    let client = Client::new(config);
    let body = json!({
        "queryContext": "conversation",
        "sort": [{"conversation_updated_at": "asc"}],
    });
    let page = client.search(&body, 10_000, 500).json();
    assert_eq!(page["meta"]["total"], 10_000_000);
    assert_eq!(page["data"].as_array().unwrap().len(), 500);
    assert!(started.elapsed().as_secs() < 5);
}
