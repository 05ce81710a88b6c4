//! How fast records move when no budget limits them, beside what the machine could do at best.

use std::process::Command;

use super::process::{Cost, Simulator, TOKEN, bobbin_toml, measure, median};
use super::{Place, Plan};

const STREAMS: [(&str, &str); 3] =
    [("customer", "customers"), ("conversation", "conversations"), ("message", "messages")];

/// Settings that lift every budget.
pub(super) const NO_LIMITS: &str = "start_date = \"2025-01-01\"\nsearch_share = 1.0\norganization_share = 1.0\nsearch_per_minute = 0\norganization_per_minute = 0";

pub(super) fn run(plan: &Plan, place: &Place) -> Result<(), String> {
    let scratch = place.fresh("throughput")?;
    let config = simulator_config(plan.records.unwrap_or(100_000));
    let simulator = Simulator::start(&place.program("fake-kustomer"), &config, &scratch)?;
    let contexts = STREAMS.map(|(context, _)| context);
    let tables = STREAMS.map(|(_, table)| format!("\"{table}\"")).join(", ");

    // The same records as files, for DuckDB's own reader.
    let files = place.fresh("files")?;
    let saved = measure(
        Command::new(place.example("download"))
            .args([&simulator.url, TOKEN, "--save", &files.to_string_lossy()])
            .args(contexts),
        true,
    )?;
    let saved: serde_json::Value =
        serde_json::from_str(&saved.stdout).map_err(|error| error.to_string())?;
    let records = saved["records"].as_f64().unwrap_or(0.0);
    let megabytes = saved["bytes"].as_f64().unwrap_or(0.0) / 1e6;
    println!(
        "\n{records:.0} records, {megabytes:.0} MB, {} runs of each in turn; medians\n",
        plan.runs()
    );

    let tap_config = scratch.join("tap.json");
    let settings = serde_json::json!({
        "api_token": TOKEN, "api_url": simulator.url, "start_date": "2025-01-01T00:00:00Z",
        "search_share": 1.0, "organization_share": 1.0, "search_per_minute": 0, "organization_per_minute": 0,
    });
    std::fs::write(&tap_config, settings.to_string()).map_err(|error| error.to_string())?;
    let catalog = scratch.join("catalog.json");
    catalog_of(place, &tap_config, &catalog)?;

    let mut download = Vec::new();
    let mut floor = Vec::new();
    let mut tap = Vec::new();
    let mut whole = Vec::new();
    for n in 0..plan.runs() {
        download.push(measure(
            Command::new(place.example("download")).args([&simulator.url, TOKEN]).args(contexts),
            true,
        )?);
        let database = place.fresh(&format!("floor-{n}"))?;
        let mut reader = Command::new(place.example("floor"));
        reader.arg(database.join("floor.duckdb"));
        for context in contexts {
            reader.arg(files.join(format!("{context}.ndjson")));
        }
        floor.push(measure(&mut reader, true)?);
        let _ = std::fs::remove_dir_all(database);
        tap.push(measure(
            Command::new(place.program("tap-kustomer"))
                .arg("--config")
                .arg(&tap_config)
                .arg("--catalog")
                .arg(&catalog),
            false,
        )?);
        let directory = place.fresh(&format!("whole-{n}"))?;
        let file =
            bobbin_toml(&directory, &simulator.url, NO_LIMITS, &format!("tables = [{tables}]"))?;
        whole.push(measure(
            Command::new(place.program("bobbin"))
                .args(["run", "--format", "json", "--config"])
                .arg(file),
            true,
        )?);
        let _ = std::fs::remove_dir_all(directory);
    }

    // The inner clocks of the two floors leave out process start and planning.
    let inner = |costs: &[Cost]| {
        median(
            costs
                .iter()
                .filter_map(|cost| serde_json::from_str::<serde_json::Value>(&cost.stdout).ok())
                .filter_map(|value| value["seconds"].as_f64())
                .collect(),
        )
    };
    let wall = |costs: &[Cost]| median(costs.iter().map(|cost| cost.wall).collect());
    let floor_seconds = inner(&floor);
    println!(
        "{:<42} {:>8} {:>11} {:>8} {:>8} {:>10} {:>9}",
        "", "seconds", "records/s", "MB/s", "CPU s", "peak MiB", "x floor"
    );
    for (name, costs, seconds) in [
        ("download only (floor)", &download, inner(&download)),
        ("DuckDB reads NDJSON, makes tables (floor)", &floor, floor_seconds),
        ("tap-kustomer > /dev/null", &tap, wall(&tap)),
        ("bobbin run into DuckDB, end to end", &whole, wall(&whole)),
    ] {
        println!(
            "{name:<42} {seconds:>8.2} {:>11.0} {:>8.1} {:>8.2} {:>10.0} {:>9.2}",
            records / seconds,
            megabytes / seconds,
            median(costs.iter().map(|cost| cost.cpu).collect()),
            median(costs.iter().map(|cost| cost.peak_mib).collect()),
            seconds / floor_seconds,
        );
    }
    println!("simulator: peak {:.0} MiB in its own process", simulator.peak_mib());
    Ok(())
}

/// An organisation with as many records of each of the three streams, and no budgets.
pub(super) fn simulator_config(records: u64) -> serde_json::Value {
    let mut counts = serde_json::json!({
        "customer": records, "conversation": records, "message": records,
        "note": 0, "kobject": 0, "company": 0,
    });
    counts["user"] = 20.into();
    serde_json::json!({
        "seed": 7,
        "tokens": [{ "token": TOKEN, "roles": ["*"] }],
        "rate": { "factor": 0.0 },
        "counts": counts,
    })
}

/// The tap's own catalog with the three streams chosen.
fn catalog_of(place: &Place, config: &std::path::Path, to: &std::path::Path) -> Result<(), String> {
    let found = measure(
        Command::new(place.program("tap-kustomer")).arg("--config").arg(config).arg("--discover"),
        true,
    )?;
    let mut catalog: serde_json::Value =
        serde_json::from_str(&found.stdout).map_err(|error| error.to_string())?;
    for stream in catalog["streams"].as_array_mut().into_iter().flatten() {
        let name = stream["tap_stream_id"].as_str().unwrap_or_default().to_owned();
        let selected = STREAMS.iter().any(|(_, table)| *table == name);
        for entry in stream["metadata"].as_array_mut().into_iter().flatten() {
            if entry["breadcrumb"].as_array().is_some_and(Vec::is_empty) {
                entry["metadata"]["selected"] = selected.into();
            }
        }
    }
    std::fs::write(to, catalog.to_string()).map_err(|error| error.to_string())
}
