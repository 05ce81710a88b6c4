//! New columns of chosen tables: replicated as they come, or left out until somebody chooses them (F-49).

use std::fs;
use std::path::Path;

use fake_kustomer::{Mutation, Pick, Running, Simulator};
use serde_json::{Value, json};

use crate::api::Serving;
use crate::serving::source;
use crate::support::{Desk, tiny};

/// What values of the attributes hold that come later.
const CANARY: &str = "canary-7f3a";

/// A custom attribute that customers have from now on; `hidden` from what the source says of itself.
fn comes(sim: &Running, name: &str, hidden: bool) {
    let attribute = Mutation::AddAttribute {
        stream: "customer".to_owned(),
        name: name.to_owned(),
        value: Some(json!(CANARY)),
        backfill: false,
        hidden,
    };
    sim.control().mutate(&attribute).unwrap();
    changes(sim);
}

/// Some customers change.
fn changes(sim: &Running) {
    sim.control().advance(3_600_000);
    sim.control().mutate(&Mutation::update("customer", Pick::Random(7))).unwrap();
    sim.control().advance(3_600_000);
}

fn write(desk: &Desk, sim: &Running, connection: &str) {
    desk.write(&source(sim), "path = \"out.duckdb\"", connection);
    let file = desk.path("bobbin.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("seal_spool = false\n{text}")).unwrap();
}

/// Rows with a value in a column of customers; none when there is no such column.
fn filled(desk: &Desk, column: &str) -> Option<u64> {
    let sql = format!("SELECT count({column}) FROM kustomer.customers");
    let answer = bobbin_duckdb::query::query(&desk.path("out.duckdb"), &sql, 1);
    answer.ok().map(|answer| answer.rows[0][0].as_ref().unwrap().parse().unwrap())
}

/// The text of everything that waits in the spool, which is not sealed here.
fn spooled(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&spooled(&path));
        } else if path.extension().is_some_and(|extension| extension == "zst") {
            let lines = zstd::decode_all(fs::File::open(&path).unwrap()).unwrap();
            text.push_str(std::str::from_utf8(&lines).unwrap());
        }
    }
    text
}

#[test]
fn f49_new_columns_come_by_themselves_or_wait_until_they_are_chosen() {
    for off in [false, true] {
        let sim = Simulator::start(tiny(71)).unwrap();
        let desk = Desk::new(&sim);
        let switch = if off { "new_columns = \"off\"" } else { "" };
        write(&desk, &sim, switch);
        desk.run(&["run"]).assert(0, &["complete"]);
        let known = filled(&desk, "custom__loyalty_tier_str");
        assert!(known > Some(0), "what is there at first is known");
        comes(&sim, "newThingStr", false);
        comes(&sim, "unseenStr", true);
        // The process ends while customers wait on disk.
        let killed = desk.command(&["run"]).env("BOBBIN_CRASH_AT", "before-commit:5").output();
        assert!(!killed.unwrap().status.success());
        let waits = spooled(&desk.path(".bobbin/spool"));
        assert!(waits.contains("loyalty_tier_str"), "no customer waits");
        assert_eq!(waits.contains(CANARY), !off);
        changes(&sim);
        let told = desk.run(&["run"]);
        told.assert(0, &["complete"]);
        desk.assert_exact(&sim, None);
        let plan = desk.run(&["plan", "--table", "customers"]);
        let log = desk.run(&["logs"]);
        if !off {
            assert!(filled(&desk, "custom__new_thing_str") >= Some(7));
            assert!(filled(&desk, "custom__unseen_str") > Some(0));
            assert!(!plan.stdout.contains("not chosen"), "{plan:?}");
            // Off from now on: what came so far is known, also what only records showed.
            write(&desk, &sim, "new_columns = \"off\"");
            let before = filled(&desk, "custom__unseen_str");
            comes(&sim, "thirdStr", false);
            desk.run(&["run"]).assert(0, &["complete"]);
            assert!(filled(&desk, "custom__unseen_str") > before);
            assert_eq!(filled(&desk, "custom__third_str"), None);
            continue;
        }
        assert_eq!(filled(&desk, "custom__new_thing_str"), None);
        assert_eq!(filled(&desk, "custom__unseen_str"), None);
        assert!(!told.stderr.contains("warning"), "{told:?}");
        plan.assert(0, &["custom__new_thing_str", "new, not chosen"]);
        log.assert(0, &["customers.custom.new_thing_str", "customers.custom.unseen_str"]);

        // It is new still after the ledger was lost: the destination knows.
        for file in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
            let _ = fs::remove_file(desk.path(".bobbin").join(file));
        }
        changes(&sim);
        desk.run(&["run"]).assert(0, &["complete"]);
        assert_eq!(filled(&desk, "custom__new_thing_str"), None);
        assert!(filled(&desk, "custom__loyalty_tier_str") >= known, "known columns go on");

        // Chosen, it comes with the rows that are read from then on; the other one stays out.
        write(&desk, &sim, "new_columns = \"off\"\ninclude = [\"customers.custom.new_*\"]");
        changes(&sim);
        desk.run(&["run"]).assert(0, &["complete"]);
        assert_eq!(filled(&desk, "custom__new_thing_str"), Some(7), "older rows are NULL");
        assert_eq!(filled(&desk, "custom__unseen_str"), None);
        desk.assert_exact(&sim, None);
        let discovered = desk.run(&["discover", "--table", "customers", "--format", "json"]);
        let table: Value = serde_json::from_str(discovered.stdout.trim()).unwrap();
        let columns = table["columns"].as_array().unwrap();
        let new = columns.iter().find(|column| column["path"] == "custom.new_thing_str").unwrap();
        assert_eq!(new["selected"], true);

        // On: everything comes.
        write(&desk, &sim, "new_columns = \"on\"");
        changes(&sim);
        desk.run(&["run"]).assert(0, &["complete"]);
        assert!(filled(&desk, "custom__unseen_str") >= Some(7));
    }
}

/// Over HTTP a new column is told as one that can be chosen, and is chosen with Stitch's call.
#[test]
fn f49_f52_a_new_column_is_told_and_chosen_over_http() {
    let sim = Simulator::start(tiny(72)).unwrap();
    let desk = crate::setup::empty(&sim);
    let mut serving = Serving::start(&desk);
    let make = |what: &str, body: Value| serving.done("POST", &format!("/api/v1/{what}"), &body);
    make("destinations", json!({ "name": "out", "type": "duckdb", "path": "out.duckdb" }));
    make(
        "sources",
        json!({
            "name": "kustomer", "type": "kustomer", "api_token": sim.token(), "api_url": sim.url(),
            "start_date": "2015-01-01", "search_per_minute": 0, "organization_per_minute": 0,
        }),
    );
    make(
        "connections",
        json!({
            "name": "kustomer", "source": "kustomer", "destination": "out",
            "tables": ["customers"], "new_columns": "off",
        }),
    );
    let job = |serving: &mut Serving, begins: bool| {
        if begins {
            serving.done("POST", "/api/v1/connections/kustomer/jobs", &json!({}));
        }
        let report = crate::serving::next(&mut serving.lines, "job")["report"].clone();
        assert_eq!(report["outcome"], "complete", "{report}");
    };
    job(&mut serving, false);
    comes(&sim, "newThingStr", false);
    job(&mut serving, true);
    let column = |serving: &Serving| {
        let stream = serving.get("/api/v1/connections/kustomer/streams/customers");
        let columns = stream["columns"].as_array().unwrap().clone();
        let found = columns.into_iter().find(|column| column["path"] == "custom.new_thing_str");
        let found = found.unwrap();
        (found["new"].clone(), found["selected"].clone())
    };
    assert_eq!(column(&serving), (true.into(), false.into()));
    let source = serving.get("/v4/sources")[0]["id"].clone();
    let of = format!("/v4/sources/{source}/streams");
    let streams = serving.get(&of);
    let customers = streams.as_array().unwrap().iter().find(|s| s["stream_name"] == "customers");
    let number = customers.unwrap()["stream_id"].clone();
    let crumbs = json!(["properties", "custom", "properties", "new_thing_str"]);
    let metadata = |serving: &Serving| {
        let stream = serving.get(&format!("{of}/{number}"));
        let all = stream["metadata"].as_array().unwrap().clone();
        let found = all.into_iter().find(|entry| entry["breadcrumb"] == crumbs).unwrap();
        found["metadata"].clone()
    };
    let told = metadata(&serving);
    assert_eq!(
        (&told["selected"], &told["selected-by-default"], &told["inclusion"]),
        (&false.into(), &false.into(), &"available".into())
    );
    assert_eq!(filled(&desk, "custom__new_thing_str"), None);

    let wish = |selected: bool| {
        json!({ "streams": [{ "tap_stream_id": "customers", "metadata": [
            { "breadcrumb": crumbs, "metadata": { "selected": selected } } ] }] })
    };
    serving.done("PUT", &format!("{of}/metadata"), &wish(true));
    assert_eq!(metadata(&serving)["selected"], true);
    assert_eq!(column(&serving), (false.into(), true.into()));
    changes(&sim);
    job(&mut serving, true);
    assert_eq!(filled(&desk, "custom__new_thing_str"), Some(7));
    serving.done("PUT", &format!("{of}/metadata"), &wish(false));
    assert_eq!(column(&serving), (true.into(), false.into()));
    serving.stop();
}
