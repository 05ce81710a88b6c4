//! `bobbin plan`: told before, and so it comes; nothing is touched.

use bobbin_core::Result;
use fake_kustomer::Simulator;
use serde_json::Value;

use crate::server::Server;
use crate::support::{Desk, FAST, Told, tiny};

fn objects(told: &Told) -> Result<Vec<Value>, serde_json::Error> {
    told.stdout.lines().map(serde_json::from_str).collect()
}

#[test]
fn into_duckdb() {
    let sim = Simulator::start(tiny(1)).unwrap();
    let desk = Desk::new(&sim);
    desk.run(&["plan"]).assert(0, &["conversations", "is made with its first row", "to come"]);
    assert!(!desk.path("out.duckdb").exists());
    let before = objects(&desk.run(&["plan", "--format", "json"])).unwrap();
    desk.run(&["run"]).assert(0, &["complete"]);
    let bytes = std::fs::read(desk.path("out.duckdb")).unwrap();
    desk.run(&["plan"]).assert(0, &["conversations", "is there"]);
    let told = desk.run(&["plan", "--table", "conversations"]);
    told.assert(0, &["_sdc_sequence", "BIGINT", "satisfaction_level__score"]);
    assert!(!told.stdout.contains("customers"), "{told:?}");
    desk.run(&["plan", "--table", "nothing"]).assert(2, &["there would be: ", "conversations"]);
    let after = objects(&desk.run(&["plan", "--format", "json"])).unwrap();
    assert_eq!(std::fs::read(desk.path("out.duckdb")).unwrap(), bytes);

    // Every column that came was told before, with its name and type.
    let told = |plans: &[Value], table: &Value, column: &Value| -> Option<Value> {
        let plan = plans.iter().find(|plan| plan["table"] == *table)?;
        let mut columns = plan["columns"].as_array()?.iter();
        columns.find(|told| told["name"] == *column).cloned()
    };
    let mut compared = 0;
    for plan in &after {
        for column in plan["columns"].as_array().unwrap() {
            let Some(before) = told(&before, &plan["table"], &column["name"]) else { continue };
            if column["state"] == "there" && !before["type"].is_null() {
                assert_eq!(before["type"], column["type"], "{}: {column}", plan["table"]);
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared}");

    duckdb::Connection::open(desk.path("out.duckdb"))
        .unwrap()
        .execute_batch("ALTER TABLE kustomer.tags ALTER name TYPE INTEGER USING 1")
        .unwrap();
    desk.run(&["plan"]).assert(3, &["cannot be loaded", "another type", "hint: ALTER TABLE"]);
}

#[test]
fn into_postgres_with_tables_of_arrays() {
    let (server, sim) = (Server::start(), Simulator::start(tiny(2)).unwrap());
    let desk = Desk::new(&sim);
    let source = format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url());
    let destination = format!(
        "type = \"postgres\"\nhost = \"{}\"\nuser = \"boss\"\ndatabase = \"postgres\"\n\
         arrays = \"tables\"",
        server.host()
    );
    desk.write_with(&source, &destination, "exclude = [\"notes\"]");
    let plan = desk.run(&["plan", "--format", "json"]);
    plan.assert(0, &["\"table\":\"conversations__tags\"", "_sdc_level_0_id"]);
    assert!(!plan.stdout.contains("\"table\":\"notes\""));
    desk.run(&["run"]).assert(0, &["complete"]);
    let planned = objects(&plan).unwrap();
    let mut client = postgres::Client::configure()
        .host(server.host())
        .user("boss")
        .dbname("postgres")
        .connect(postgres::NoTls)
        .unwrap();
    let tables = client
        .query(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = 'kustomer'
             AND tablename NOT LIKE '\\_%' AND tablename NOT LIKE '%\\_\\_custom\\_\\_%'",
            &[],
        )
        .unwrap();
    assert!(tables.len() > 9);
    for row in &tables {
        let table: &str = row.get(0);
        assert!(planned.iter().any(|plan| plan["table"] == table), "{table} was not planned");
    }
    desk.run(&["plan"]).assert(0, &["is there"]);
}
