//! A connection that is made as one there is.

use fake_kustomer::Simulator;
use serde_json::{Value, json};

use crate::api::Serving;
use crate::serving::{next, source};
use crate::support::{Desk, tiny};

const ORIGINAL: &str = "/api/v1/connections/kustomer/clone";

/// A service whose file has one connection, once its first job is over.
fn served(desk: &Desk, sim: &fake_kustomer::Running) -> Serving {
    let more = "tables = [\"tags\", \"users\"]\nexclude = [\"users.email\"]\n\
                schedule = { frequency_minutes = 600 }\n[service]\nallow_local = true\n";
    desk.write(&source(sim), "path = \"out.duckdb\"", more);
    let mut serving = Serving::start(desk);
    assert_eq!(next(&mut serving.lines, "job")["report"]["outcome"], "complete");
    serving
}

/// F-10: a clone rests, has read nothing, and replicates what the original does once it is let.
#[test]
fn f10_a_clone_is_paused_and_its_tables_are_as_the_originals() {
    let sim = Simulator::start(tiny(64)).unwrap();
    let desk = Desk::new(&sim);
    let mut serving = served(&desk, &sim);
    let wish = json!({ "display_name": "Kustomer (copy)", "schema": "copied" });
    let made = serving.done("POST", ORIGINAL, &wish);
    for (key, value) in [
        ("id", json!("kustomer_copy")),
        ("display_name", json!("Kustomer (copy)")),
        ("managed_by", json!("api")),
        ("schema", json!("copied")),
        ("source_name", json!("kustomer")),
        ("destination_name", json!("warehouse")),
        ("configured", json!(true)),
        ("paused", json!(true)),
        ("status", json!("idle")),
        ("next_job_at", Value::Null),
    ] {
        assert_eq!(made[key], value, "{key}: {made}");
    }
    let of = "/api/v1/connections/kustomer_copy";
    assert_eq!(serving.get(&format!("{of}/jobs"))["data"], json!([]));
    let definition = serving.get(&format!("{of}/definition"))["definition"].clone();
    assert_eq!(definition["tables"], json!(["tags", "users"]));
    assert_eq!(definition["exclude"], json!(["users.email"]));
    assert_eq!(definition["schedule"]["frequency_minutes"], 600);

    serving.done("POST", &format!("{of}/jobs"), &json!({}));
    let report = next(&mut serving.lines, "job")["report"].clone();
    assert_eq!(
        (&report["connection"], &report["outcome"]),
        (&json!("kustomer_copy"), &json!("complete"))
    );
    for table in ["tags", "users"] {
        let sql = format!(
            "select (select count(*) from copied.{table}) = (select count(*) from kustomer.{table}) \
             and not exists (select id, updated_at from kustomer.{table} \
             except select id, updated_at from copied.{table}) as same, count(*) > 0 as filled \
             from copied.{table}"
        );
        let sql = format!("select same and filled as right from ({sql})");
        desk.run(&["query", "--database", "out.duckdb", &sql]).assert(0, &["true"]);
    }
    let sql = "select email from copied.users";
    desk.run(&["query", "--database", "out.duckdb", sql]).assert(2, &["email"]);

    // It goes on for good, also after a start.
    serving.done("PATCH", of, &json!({ "paused": false }));
    serving.stop();
    let serving = Serving::start(&desk);
    let seen = serving.get(of);
    assert!(seen["paused"] == false && seen["next_job_at"].is_string(), "{seen}");
    serving.stop();
}

/// F-10: without the original's choice a clone has none; it still rests when one is made.
#[test]
fn f10_a_clone_without_selection_goes_elsewhere_and_waits() {
    let sim = Simulator::start(tiny(65)).unwrap();
    let desk = Desk::new(&sim);
    let serving = served(&desk, &sim);
    let place = json!({ "name": "other", "type": "duckdb", "path": "other.duckdb" });
    serving.done("POST", "/api/v1/destinations", &place);
    // The same schema in another destination is another one.
    let wish = json!({
        "display_name": "Elsewhere", "schema": "kustomer", "destination": "other", "keep_selection": false,
    });
    let made = serving.done("POST", ORIGINAL, &wish);
    assert_eq!((&made["configured"], &made["destination_name"]), (&json!(false), &json!("other")));
    let of = "/api/v1/connections/elsewhere";
    let mut definition = serving.get(&format!("{of}/definition"))["definition"].clone();
    assert_eq!((&definition["tables"], &definition["exclude"]), (&json!([]), &Value::Null));

    // What has no tables of its own has none to give.
    let clone = format!("{of}/clone");
    let (status, answer) = serving.send("POST", &clone, &json!({ "display_name": "Third" }));
    assert!(status == 409 && answer["detail"].as_str().unwrap().contains("no tables"), "{answer}");
    let third = json!({ "display_name": "Third", "keep_selection": false });
    assert_eq!(serving.done("POST", &clone, &third)["schema"], "third");

    definition["tables"] = json!(["tags"]);
    serving.done("PUT", of, &definition);
    let seen = serving.get(of);
    assert_eq!((&seen["configured"], &seen["paused"]), (&json!(true), &json!(true)), "{seen}");
    assert_eq!(seen["status"], "idle");
    assert_eq!(serving.get(&format!("{of}/jobs"))["data"], json!([]));

    let pushed = json!({ "name": "orders", "type": "import_api" });
    serving.done("POST", "/api/v1/sources", &pushed);
    let pushed = json!({ "name": "orders", "source": "orders", "destination": "other" });
    serving.done("POST", "/api/v1/connections", &pushed);
    for (connection, wish, status, word) in [
        ("kustomer", json!({ "display_name": "Elsewhere" }), 409, "is called"),
        ("kustomer", json!({ "display_name": "x", "schema": "kustomer" }), 409, "writes to"),
        ("kustomer", json!({ "display_name": "x", "destination": "nowhere" }), 422, "`nowhere`"),
        ("kustomer", json!({ "display_name": "x", "schema": "pg_x" }), 422, "pg_x"),
        ("kustomer", json!({ "display_name": "…" }), 422, "letter"),
        ("kustomer", json!({ "display_name": "x", "tables": [] }), 400, "tables"),
        ("nowhere", json!({ "display_name": "x" }), 404, "connection"),
        ("orders", json!({ "display_name": "x" }), 422, "pushed"),
    ] {
        let path = format!("/api/v1/connections/{connection}/clone");
        let (answered, answer) = serving.send("POST", &path, &wish);
        assert_eq!(answered, status, "{wish}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(word), "{wish}: {answer}");
    }
    assert_eq!(serving.get("/api/v1/connections")["data"].as_array().unwrap().len(), 4);
    serving.stop();
}
