//! What a first run would read is told before it, by the command line and by the API.

use fake_kustomer::{Bounds, Simulator};
use serde_json::{Value, json};

use crate::api::Serving;
use crate::serving::source;
use crate::support::{Desk, TABLES, tiny};

/// The number of records that the oracle has of each table from a day on.
fn held(sim: &fake_kustomer::Running, table: &str, name: &str, from: &str) -> u64 {
    let from: jiff::Timestamp = from.parse().unwrap();
    let list = ["users", "teams", "tags", "shortcuts"].contains(&table);
    let from_ms = (!list).then(|| from.as_millisecond());
    sim.oracle().summary(name, Bounds { from_ms, until_ms: None }).unwrap().count
}

#[test]
fn f104_the_service_and_the_command_line_foretell_the_oracles_counts() {
    let sim = Simulator::start(tiny(91)).unwrap();
    let desk = Desk::new(&sim);
    desk.write(&source(&sim), "path = \"out.duckdb\"", "schedule = { paused = true }");
    let told = desk.run(&["plan", "--forecast", "--start-date", "2025-09-01", "--format", "json"]);
    told.assert(0, &[]);
    let by_hand: Value = serde_json::from_str(&told.stdout).unwrap();
    let words = ["in all", "minutes", "counted by the source."];
    desk.run(&["plan", "--forecast", "--start-date", "2025-09-01"]).assert(0, &words);
    // The settings go back further than two years, and what notes there are of then is not counted.
    desk.run(&["plan", "--forecast"]).assert(0, &["~ is an estimate"]);
    desk.run(&["plan", "--start-date", "2025-09-01"]).assert(2, &["--forecast"]);

    let serving = Serving::start(&desk);
    let of = "/api/v1/sources/kustomer/forecast";
    let forecast = serving.get(&format!("{of}?start_date=2025-09-01"));
    assert_eq!(forecast["start_date"], "2025-09-01T00:00:00Z");
    assert_eq!(forecast["data"].as_array().unwrap().len(), TABLES.len(), "{forecast}");
    let mut sum = 0;
    for (table, name) in TABLES {
        let same = |told: &&Value| told["stream"] == table;
        let data = forecast["data"].as_array().unwrap();
        let records = data.iter().find(same).unwrap()["records"].as_u64().unwrap();
        assert_eq!(records, held(&sim, table, name, "2025-09-01T00:00:00Z"), "{table}");
        let streams = by_hand["streams"].as_array().unwrap();
        assert_eq!(streams.iter().find(same).unwrap()["records"], records, "{table}");
        sum += records;
    }
    assert_eq!(forecast["records"], sum);
    assert!(forecast["size_bytes"].as_u64().unwrap() > 100 * sum, "{forecast}");
    assert_eq!(serving.ask("GET", &format!("{of}?start_date=soon")).0, 422);
    assert_eq!(serving.ask("GET", "/api/v1/sources/none/forecast").0, 404);
    let pushed = json!({ "name": "pushed", "type": "import_api" });
    serving.done("POST", "/api/v1/sources", &pushed);
    let (status, text) = serving.ask("GET", "/api/v1/sources/pushed/forecast");
    assert!(status == 422 && text.contains("does not count"), "{status} {text}");
    serving.stop();
}
