//! A service that is set up through its API: with Stitch's calls and with bobbin's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use fake_kustomer::{Running, Simulator};
use serde_json::{Value, json};

use crate::api::Serving;
use crate::serving::{ask, next, source};
use crate::support::{Desk, tiny};

const LOCAL: &str = "[service]\nallow_local = true\n";

/// A desk whose file allows the simulator's address and says nothing else.
pub(crate) fn empty(sim: &Running) -> Desk {
    let desk = Desk::new(sim);
    fs::write(desk.path("bobbin.toml"), LOCAL).unwrap();
    desk
}

/// Waits until an address answers with what is looked for.
#[track_caller]
pub(crate) fn wait(serving: &Serving, path: &str, done: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let (status, text) = serving.ask("GET", path);
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        if status == 200 && done(&value) {
            return value;
        }
        assert!(Instant::now() < until, "{path}: {status} {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A shape: values whose meaning is their type become its name, so that a snapshot stays.
fn shape(value: &Value) -> Value {
    const ONES_OWN: [&str; 14] = [
        "modified_at",
        "disabled_at",
        "created_at",
        "updated_at",
        "paused_at",
        "deleted_at",
        "next_fire_time",
        "start_time",
        "completion_time",
        "last_batch_loaded_at",
        "job_name",
        "check_job_name",
        "api_url",
        "image_version",
    ];
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| {
                let job =
                    key == "name" && value.as_str().is_some_and(|name| name.contains(".check."));
                let own = job || ONES_OWN.contains(&key.as_str()) && value.is_string();
                (key.clone(), if own { format!("<{key}>").into() } else { shape(value) })
            })
            .collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        other => other.clone(),
    }
}

pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(&shape(value)).unwrap()
}

/// F-01, F-02, F-03, F-05, F-43, F-52, F-58, F-64, F-98: the life of a source by Stitch's calls alone, in
/// Stitch's shapes; the service begins with nothing.
#[test]
fn f01_f05_f98_a_source_lives_by_stitchs_calls_alone() {
    let sim = Simulator::start(tiny(61)).unwrap();
    let desk = empty(&sim);
    let mut serving = Serving::start(&desk);
    assert_eq!(serving.get("/v4/sources"), json!([]));
    let home = fs::metadata(desk.path(".bobbin")).unwrap().permissions();
    assert_eq!(home.mode() & 0o777, 0o700, "nobody else reads what rests there");

    // A destination, then a source whose form lacks its token.
    let types = serving.get("/v4/destination-types");
    assert_eq!(types.as_array().unwrap().len(), 2);
    let wrong = json!({ "type": "redshift", "properties": {} });
    let (status, body) = serving.send("POST", "/v4/destinations", &wrong);
    assert_eq!((status, &body["error"]["type"]), (400, &"InvalidType".into()));
    let bad = json!({ "type": "duckdb", "name": "Out", "properties": { "path": "/etc/out" } });
    let (status, body) = serving.send("POST", "/v4/destinations", &bad);
    assert_eq!((status, &body["error"]["type"]), (400, &"InvalidProperties".into()));
    let properties = json!({ "display_name": "Acme", "type": "platform.kustomer" });
    let (status, body) = serving.send("POST", "/v4/sources", &properties);
    assert!(status == 400 && body["error"]["message"].as_str().unwrap().contains("no destination"));
    let out = json!({ "type": "duckdb", "name": "Out", "properties": { "path": "out.duckdb" } });
    let destination = serving.done("POST", "/v4/destinations", &out);
    assert_eq!(destination["report_card"]["current_step_type"], "fully_configured");
    let number = destination["id"].clone();
    let check = format!("/v4/destinations/{number}/last-connection-check");
    assert_eq!(wait(&serving, &check, |check| check["status"] != "running")["error"], false);

    let source = json!({
        "display_name": "Acme Kustomer (EU)",
        "type": "platform.kustomer",
        "destination_id": number,
        "properties": {
            "start_date": "2015-01-01T00:00:00Z",
            "frequency_in_minutes": "1440",
            "anchor_time": "2026-01-01T06:00:00Z",
            "api_url": sim.url(),
        },
    });
    let made = serving.done("POST", "/v4/sources", &source);
    assert_eq!(made["report_card"]["current_step_type"], "form");
    assert_eq!(made["name"], "acme_kustomer_eu");
    let id = made["id"].as_i64().unwrap();
    let of = format!("/v4/sources/{id}");
    let (status, body) = serving.send("POST", "/v4/sources", &source);
    assert_eq!((status, &body["error"]["type"]), (400, &"InvalidDisplayName".into()));

    // A token that is wrong fails the check; all that was entered stays.
    let token = |token: &str| json!({ "properties": { "api_token": token } });
    serving.done("PUT", &of, &token("wrong-canary"));
    let check = format!("{of}/last-connection-check");
    let failed = wait(&serving, &check, |check| check["status"] != "running");
    assert_eq!((&failed["status"], &failed["check_exit_status"]), (&"failed".into(), &1.into()));
    let message = failed["discovery_error_message"].as_str().unwrap();
    assert!(!message.is_empty() && !message.contains("wrong-canary"), "{message}");
    let source = serving.get(&of);
    assert_eq!(source["report_card"]["current_step_type"], "discover_schema");
    assert_eq!(source["properties"]["start_date"], "2015-01-01T00:00:00Z");
    assert_eq!(serving.send("POST", &format!("{of}/sync"), &json!({})).0, 409);
    serving.done("PUT", &of, &token(sim.token()));
    wait(&serving, &check, |check| check["status"] == "succeeded");
    let source = serving.get(&of);
    assert_eq!(source["report_card"]["current_step_type"], "field_selection");
    assert!(source["schedule"].is_null() && source["paused_at"].is_null(), "{source}");
    assert!(!source.to_string().contains(sim.token()));

    // What is chosen is replicated, at once and as it was set.
    let streams = serving.get(&format!("{of}/streams"));
    assert_eq!(streams.as_array().unwrap().len(), 9);
    assert!(streams.as_array().unwrap().iter().all(|stream| stream["selected"] == false));
    let choice = |table: &str, crumbs: &[&str], selected: bool| {
        json!({ "streams": [{ "tap_stream_id": table, "metadata": [
            { "breadcrumb": crumbs, "metadata": { "selected": selected } } ] }] })
    };
    let metadata = format!("{of}/streams/metadata");
    for wrong in [
        choice("zebras", &[], true),
        choice("users", &["properties", "zebra"], true),
        choice("users", &["email"], true),
        json!({ "streams": [{ "tap_stream_id": "users", "metadata": [
            { "breadcrumb": [], "metadata": { "table-key-properties": ["x"] } } ] }] }),
    ] {
        let (status, body) = serving.send("PUT", &metadata, &wrong);
        assert_eq!((status, &body["error"]["type"]), (400, &"invalid_fields".into()), "{body}");
    }
    assert_eq!(
        serving.done("PUT", &metadata, &choice("users", &["properties", "email"], false))["status"],
        200
    );
    assert_eq!(serving.get(&of)["report_card"]["current_step_type"], "field_selection");
    let table = |name: &str, selected: bool| {
        json!({ "tap_stream_id": name, "metadata": [
            { "breadcrumb": [], "metadata": { "selected": selected } } ] })
    };
    let tables = [table("users", true), table("tags", true), table("messages", false)];
    serving.done("PUT", &metadata, &json!({ "streams": tables }));
    let source = serving.get(&of);
    assert_eq!(source["report_card"]["current_step_type"], "fully_configured");
    assert!(source["schedule"]["next_fire_time"].as_str().unwrap().ends_with("T06:00:00Z"));
    let report = next(&mut serving.lines, "job")["report"].clone();
    assert_eq!(report["outcome"], "complete", "{report}");
    desk.run(&["query", "select email from acme_kustomer_eu.users"]).assert(2, &["email"]);
    let count = "select count(*) > 0 as filled from acme_kustomer_eu.tags";
    desk.run(&["query", count]).assert(0, &["true"]);

    // Another schedule, a pause, another name.
    let cron = json!({ "properties": { "cron_expression": "0 15 10 ? * MON-FRI" } });
    serving.done("PUT", &of, &cron);
    assert_eq!(serving.get(&of)["schedule"]["type"], "cron");
    let bad = json!({ "properties": { "cron_expression": "0 15 10 * * *" } });
    let (status, body) = serving.send("PUT", &of, &bad);
    assert_eq!((status, &body["error"]["type"]), (400, &"InvalidCronExpression".into()), "{body}");
    let bad = json!({ "properties": { "zebra": 1, "frequency_in_minutes": "soon" } });
    let (_, body) = serving.send("PUT", &of, &bad);
    let bad = body["error"]["bad_properties"].as_object().unwrap();
    assert_eq!(bad.keys().collect::<Vec<_>>(), ["zebra", "frequency_in_minutes"]);
    let paused = serving.done("PUT", &of, &json!({ "paused_at": "2099-01-01T00:00:00Z" }));
    assert!(paused["schedule"].is_null());
    let since: jiff::Timestamp = paused["paused_at"].as_str().unwrap().parse().unwrap();
    assert!(since <= jiff::Timestamp::now(), "since when, not until when: {since}");
    serving.done("PUT", &of, &json!({ "paused_at": null, "display_name": "Acme" }));

    // In Stitch's shapes.
    insta::assert_snapshot!("source", pretty(&serving.get(&of)));
    insta::assert_snapshot!("destination", pretty(&serving.get("/v4/destinations")));
    insta::assert_snapshot!(
        "source_type",
        pretty(&serving.get("/v4/source-types/platform.kustomer"))
    );
    insta::assert_snapshot!("check", pretty(&serving.get(&check)));
    insta::assert_snapshot!("stream", pretty(&serving.get(&format!("{of}/streams"))[0]));
    insta::assert_snapshot!("extractions", pretty(&serving.get("/v4/1/extractions")));
    insta::assert_snapshot!("loads", pretty(&serving.get("/v4/1/loads")));

    // What a destination is needed for keeps it; a source that is gone is listed still.
    let (status, body) = serving.send("DELETE", &format!("/v4/destinations/{number}"), &json!({}));
    assert!(status == 400 && body["error"]["message"].as_str().unwrap().contains("acme"), "{body}");
    let gone = serving.done("DELETE", &of, &json!({}));
    assert!(gone["deleted_at"].is_string());
    insta::assert_snapshot!("deleted_source", pretty(&gone));
    assert_eq!(serving.get("/v4/sources")[0], gone);
    assert_eq!(serving.send("POST", &format!("{of}/sync"), &json!({})).0, 404);
    serving.done("DELETE", &format!("/v4/destinations/{number}"), &json!({}));
    desk.run(&["query", "--database", "out.duckdb", count]).assert(0, &["true"]);
    serving.stop();
}

/// F-04, F-103: secrets are sealed, never given back, and kept by whoever leaves them out; what the file has
/// is the file's; a lost key breaks what it sealed and nothing else.
#[test]
fn f04_f103_what_is_set_up_through_the_api_is_sealed_and_survives() {
    let sim = Simulator::start(tiny(62)).unwrap();
    let desk = Desk::new(&sim);
    let more = format!("tables = [\"tags\"]\nschedule = {{ frequency_minutes = 600 }}\n{LOCAL}");
    desk.write(&source(&sim), "path = \"out.duckdb\"", &more);
    let mut serving = Serving::start(&desk);
    next(&mut serving.lines, "job");
    let own = json!({
        "name": "second", "type": "kustomer", "api_token": sim.token(), "api_url": sim.url(),
        "start_date": "2015-01-01", "search_per_minute": 0, "organization_per_minute": 0,
    });
    let made = serving.done("POST", "/api/v1/sources", &own);
    assert!(made["secrets"].as_array().unwrap().contains(&"api_token".into()));
    assert_eq!(made["managed_by"], "api");
    assert_eq!(serving.send("POST", "/api/v1/sources", &own).0, 409);
    let place = json!({ "name": "other", "type": "duckdb", "path": "other.duckdb" });
    serving.done("POST", "/api/v1/destinations", &place);
    let connection = json!({
        "name": "second", "source": "second", "destination": "other", "tables": ["teams"],
        "schedule": { "frequency_minutes": 600 },
    });
    serving.done("POST", "/api/v1/connections", &connection);
    let report = next(&mut serving.lines, "job")["report"].clone();
    assert_eq!((&report["connection"], &report["outcome"]), (&"second".into(), &"complete".into()));

    // Left out, the secret stays; the file's own things are the file's.
    let mut body = own.as_object().unwrap().clone();
    body.remove("name");
    body.remove("api_token");
    body.insert("page_size_limit".to_owned(), 100.into());
    let changed = serving.done("PUT", "/api/v1/sources/second", &body.into());
    assert!(changed["secrets"].as_array().unwrap().contains(&"api_token".into()));
    assert_eq!(changed["settings"]["page_size_limit"], 100);
    assert_eq!(
        serving.done("POST", "/api/v1/connections/second/jobs", &json!({}))["status"],
        "accepted"
    );
    assert_eq!(next(&mut serving.lines, "job")["report"]["outcome"], "complete");
    // A secret is not sent to somebody else than it was given for.
    let mut elsewhere = own.as_object().unwrap().clone();
    for key in ["name", "api_token"] {
        elsewhere.remove(key);
    }
    elsewhere.insert("api_url".to_owned(), "http://127.0.0.1:1".into());
    let (status, answer) = serving.send("PUT", "/api/v1/sources/second", &elsewhere.into());
    assert!(
        status == 422 && answer["detail"].as_str().unwrap().contains("given again"),
        "{answer}"
    );
    for (method, path, body) in [
        ("PUT", "/api/v1/sources/kustomer", json!({ "type": "kustomer" })),
        ("DELETE", "/api/v1/connections/kustomer", json!({})),
        (
            "POST",
            "/api/v1/destinations",
            json!({ "name": "warehouse", "type": "duckdb", "path": "x" }),
        ),
        ("DELETE", "/api/v1/sources/second", json!({})),
        (
            "POST",
            "/api/v1/connections",
            json!({ "name": "kustomer", "source": "second", "destination": "other" }),
        ),
    ] {
        let (status, answer) = serving.send(method, path, &body);
        assert_eq!(status, 409, "{method} {path}: {answer}");
    }
    for (path, body, word) in [
        (
            "/api/v1/connections",
            json!({ "name": "x", "source": "none", "destination": "other" }),
            "`none`",
        ),
        (
            "/api/v1/connections",
            json!({ "name": "x", "source": "second", "destination": "other", "tabels": [] }),
            "tabels",
        ),
        (
            "/api/v1/connections",
            json!({ "name": "X y", "source": "second", "destination": "other" }),
            "X y",
        ),
        (
            "/api/v1/sources",
            json!({ "name": "s", "type": "singer", "executable": "sh" }),
            "only the file",
        ),
        (
            "/api/v1/sources",
            json!({ "name": "s", "type": "kustomer", "api_token": { "file": "bobbin.toml" } }),
            "no plain value",
        ),
        (
            "/api/v1/destinations",
            json!({ "name": "d", "type": "duckdb", "path": "../d" }),
            "leads elsewhere",
        ),
        ("/api/v1/destinations", json!({ "name": "d", "type": "duckdb" }), "no path"),
    ] {
        let (status, answer) = serving.send("POST", path, &body);
        assert_eq!(status, 422, "{path} {body}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(word), "{answer}");
    }
    desk.run(&["apply"]).assert(0, &["the service runs as the file says"]);
    // Nor does what was set up here make a file that was cut short a good one.
    let text = fs::read_to_string(desk.path("bobbin.toml")).unwrap();
    fs::write(desk.path("bobbin.toml"), LOCAL).unwrap();
    desk.run(&["apply"]).assert(2, &["no connection any more"]);
    fs::write(desk.path("bobbin.toml"), text).unwrap();

    // On disk and in answers there is no secret.
    let everything = [
        serving.get("/api/v1/sources").to_string(),
        serving.get("/api/v1/connections/second/definition").to_string(),
        serving.get("/v4/sources").to_string(),
    ];
    assert!(everything.iter().all(|text| !text.contains(sim.token())));
    serving.stop();
    for name in ["ledger.sqlite", "ledger.sqlite-wal", "store-key"] {
        let bytes = fs::read(desk.path(&format!(".bobbin/{name}"))).unwrap_or_default();
        let token = sim.token().as_bytes();
        assert!(!bytes.windows(token.len()).any(|part| part == token), "{name}");
    }
    desk.run(&["run", "second"]).assert(0, &["complete"]);

    // Without the key what it sealed is left out; the rest goes on.
    fs::rename(desk.path(".bobbin/store-key"), desk.path("kept")).unwrap();
    let serving = Serving::start(&desk);
    let all = serving.get("/api/v1/connections");
    assert_eq!(all["data"].as_array().unwrap().len(), 1);
    assert_eq!(all["broken"].as_array().unwrap().len(), 3);
    assert!(all["broken"][0]["reason"].as_str().unwrap().contains("store-key"), "{all}");
    serving.stop();
    fs::rename(desk.path("kept"), desk.path(".bobbin/store-key")).unwrap();
    let serving = Serving::start(&desk);
    assert_eq!(serving.get("/api/v1/connections")["data"].as_array().unwrap().len(), 2);

    // A name that had bookmarks is not given to something else.
    assert_eq!(serving.send("DELETE", "/api/v1/connections/second", &json!({})).0, 204);
    let (status, answer) = serving.send("POST", "/api/v1/connections", &connection);
    assert!(status == 409 && answer["detail"].as_str().unwrap().contains("before"), "{answer}");
    let again = json!({ "name": "second_2", "schema": "second", "source": "second", "destination": "other", "tables": [] });
    serving.done("POST", "/api/v1/connections", &again);
    assert_eq!(serving.send("POST", "/api/v1/connections/second_2/jobs", &json!({})).0, 409);
    let url = format!("http://{}/api/v1/sources", serving.address);
    assert_eq!(ask("POST", &url, &[], "{}").0, 401);
    serving.stop();
}
