//! Programs that push records into a running service with Stitch's Import API.

use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, Instant};

use fake_kustomer::Simulator;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::api::Serving;
use crate::serving::{ask, next};
use crate::singer::{run_tap, settings, target_stitch};
use crate::support::{Desk, tiny};

const FILE: &str = "[sources.pushed]\ntype = \"import_api\"\n\
                    [destinations.warehouse]\ntype = \"duckdb\"\npath = \"out.duckdb\"\n\
                    [connections.kustomer]\nsource = \"pushed\"\ndestination = \"warehouse\"\n\
                    schedule = { frequency_minutes = 600 }\n";

fn desk() -> Desk {
    let desk = Desk::with("");
    fs::write(desk.path("bobbin.toml"), FILE).unwrap();
    desk
}

/// Pushes with a token; gives the status and what was answered.
fn push(serving: &Serving, token: &str, path: &str, body: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let url = format!("http://{}/v2/import/{path}", serving.address);
    let (status, text) = ask("POST", &url, &headers, &body.to_string());
    (status, serde_json::from_str(&text).unwrap_or_default())
}

fn batch(table: &str, messages: &[(i64, Value)]) -> Value {
    let messages: Vec<Value> = messages
        .iter()
        .map(|(sequence, data)| json!({ "action": "upsert", "sequence": sequence, "data": data }))
        .collect();
    let schema = json!({ "type": "object", "properties": {
        "id": { "type": "integer" }, "name": { "type": ["null", "string"] },
        "amount": { "type": ["null", "number"] },
    } });
    json!({ "table_name": table, "schema": schema, "key_names": ["id"], "messages": messages })
}

/// F-100: Stitch's own target pushes what the tap says; the tables are the oracle's.
#[test]
fn f100_stitchs_target_pushes_and_the_tables_are_the_oracles() {
    let sim = Simulator::start(tiny(71)).unwrap();
    let desk = desk();
    let mut serving = Serving::start(&desk);
    // Nothing was pushed yet, and that is complete.
    let report = next(&mut serving.lines, "job")["report"].clone();
    assert_eq!(report["outcome"], "complete", "{report}");
    let made = serving.done("POST", "/v4/sources/1/tokens", &json!({}));
    let token = made["access_token"].as_str().unwrap();
    let directory = settings(&sim);
    let messages = run_tap(directory.path());
    let url = format!("http://{}/v2/import/batch", serving.address);
    let config = json!({
        "client_id": 1, "token": token, "small_batch_url": url, "big_batch_url": url,
        "batch_size_preferences": {}, "turbo_boost_factor": 5, "disable_collection": true,
    });
    fs::write(directory.path().join("target.json"), config.to_string()).unwrap();
    let output = Command::new(target_stitch())
        .arg("--config")
        .arg(directory.path().join("target.json"))
        .args(["--max-batch-records", "50"])
        .stdin(File::open(messages).unwrap())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let states = String::from_utf8_lossy(&output.stdout);
    assert!(states.lines().last().is_some_and(|state| state.contains("bookmarks")), "{states}");
    let mut rejected = 0;
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let report = next(&mut serving.lines, "job")["report"].clone();
        assert_eq!(report["outcome"], "complete", "{report}");
        let tables = report["tables"].as_array().unwrap();
        rejected += tables.iter().map(|table| table["rejected"].as_u64().unwrap()).sum::<u64>();
        let left = fs::read_dir(desk.path(".bobbin/inbox/kustomer/requests")).unwrap().count();
        if left == 0 {
            break;
        }
        assert!(Instant::now() < until, "{left} requests wait still");
    }
    assert_eq!(rejected, 0);
    serving.stop();
    desk.assert_exact(&sim, None);
}

/// F-100: what was answered with 201 survives a kill at once; what a sequence says is newer stays; what
/// cannot be taken is refused whole; tokens are two at most, shown once, and gone once deleted.
#[test]
fn f100_what_was_accepted_survives_and_what_is_wrong_is_refused_whole() {
    let desk = desk();
    let mut serving = Serving::start(&desk);
    next(&mut serving.lines, "job");
    let told = desk.run(&["token", "create", "kustomer", "--format", "json"]);
    let made: Value = serde_json::from_str(&told.stdout).unwrap();
    let token = made["token"].as_str().unwrap().to_owned();
    let status = format!("http://{}/v2/import/status", serving.address);
    assert_eq!(ask("GET", &status, &[], "").0, 200);

    let big = "12345678901234567890.125";
    let first = batch(
        "orders",
        &[
            (20, json!({ "id": 1, "name": "second", "amount": 1.5 })),
            (10, json!({ "id": 2, "name": "only" })),
        ],
    )
    .to_string()
    .replace("1.5", big);
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let url = format!("http://{}/v2/import/batch", serving.address);
    let (status, body) = ask("POST", &url, &headers, &first);
    assert_eq!(status, 201, "{body}");
    // An older one that comes later, in the form for several tables, with a table that has no key.
    let several = json!([
        { "client_id": 1, "table_name": "orders", "sequence": 15, "action": "upsert",
          "key_names": ["id"], "data": { "id": 1, "name": "first" } },
        { "client_id": 1, "table_name": "visits", "sequence": 1, "action": "upsert",
          "key_names": [], "data": { "page": "/" } },
        { "client_id": 1, "table_name": "visits", "sequence": 2, "action": "upsert",
          "key_names": [], "data": { "page": "/" } },
    ]);
    assert_eq!(push(&serving, &token, "push", &several).0, 201);

    // What is wrong is refused whole, with where it is.
    let wrong = batch("orders", &[(30, json!({ "id": 3 })), (31, json!({ "id": "x" }))]);
    let (status, body) = push(&serving, &token, "batch", &wrong);
    assert_eq!((status, &body["index"], &body["path"]), (400, &1.into(), &"/id".into()), "{body}");
    assert_eq!(push(&serving, &token, "validate", &wrong).0, 400);
    assert_eq!(
        push(&serving, &token, "validate", &batch("orders", &[(1, json!({ "id": 4 }))])).0,
        200
    );
    assert_eq!(push(&serving, "push_wrong", "batch", &wrong).0, 401);
    let (status, body) = ask("POST", &url, &headers[..1], &first);
    assert_eq!(status, 415, "{body}");
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(21 << 20));
    let (status, body) = ask("POST", &url, &headers, &large);
    assert!(status == 413 && body.starts_with("{\"status\":\"ERROR\""), "{status} {body}");
    // A token pushes and does nothing else; a key does not push.
    let (status, _) =
        ask("GET", &format!("http://{}/api/v1/connections", serving.address), &headers, "");
    assert_eq!(status, 401);
    let key = [("Authorization", serving.bearer.as_str()), headers[1]];
    assert_eq!(ask("POST", &url, &key, &first).0, 401);

    // Killed before any job began to load it.
    let pid = Pid::from_raw(i32::try_from(serving.child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    serving.child.wait().unwrap();
    let mut serving = Serving::start(&desk);
    let report = next(&mut serving.lines, "job")["report"].clone();
    assert_eq!(report["outcome"], "complete", "{report}");
    let is = |sql: &str| {
        let told = desk.run(&["query", "--format", "json", sql]);
        assert!(told.stdout.contains("\"n\":true"), "{sql}: {told:?}");
    };
    // A job reads the file while the service has it open no more.
    is("select count(*) = 2 and max(name) filter (id = 1) = 'second' as n from kustomer.orders");
    is("select count(*) = 2 as n from kustomer.visits");
    is("select max(amount__de)::varchar like '1234567890123456%' as n from kustomer.orders");

    // What was pushed is nowhere else: it cannot be read again, so nothing is removed for it.
    for reset in [&["reset", "kustomer", "--yes"][..], &["reset", "kustomer", "--replace", "--yes"]]
    {
        desk.run(reset).assert(2, &["cannot be read again"]);
    }
    let reset = json!({ "mode": "replace" });
    assert_eq!(serving.send("POST", "/api/v1/connections/kustomer/reset", &reset).0, 422);

    // A token's text is kept nowhere, so the answer is not given again.
    let path = "/api/v1/connections/kustomer/tokens";
    let key = [("Authorization", serving.bearer.as_str()), ("Idempotency-Key", "one")];
    let url = format!("http://{}{path}", serving.address);
    for _ in 0..2 {
        let (status, body) = ask("POST", &url, &key, "{}");
        assert!(status == 400 && body.contains("holds a secret"), "{status} {body}");
    }
    assert_eq!(serving.get(path)["data"].as_array().unwrap().len(), 1);

    // Two tokens at most; a deleted one is not accepted.
    let second = serving.done("POST", path, &json!({}));
    assert_eq!(serving.send("POST", path, &json!({})).0, 409);
    let listed = serving.get(path);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(second["token"].as_str().unwrap()));
    assert_eq!(serving.send("DELETE", &format!("{path}/{}", made["id"]), &json!({})).0, 204);
    assert_eq!(
        push(&serving, &token, "batch", &batch("orders", &[(1, json!({ "id": 9 }))])).0,
        401
    );
    desk.run(&["token", "list", "kustomer"]).assert(0, &["ends with"]);
    serving.stop();
}
