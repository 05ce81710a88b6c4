//! How much of the granted budget is used when every answer takes 300 ms, and how many calls more
//! than needed are made.

use std::process::Command;

use super::Place;
use super::process::{Simulator, TOKEN, bobbin_toml, measure};

/// Simulated minutes per real second, so that budgets per minute pass quickly.
const FACTOR: f64 = 10.0;
/// Searches granted per simulated minute.
const GRANTED: f64 = 100.0;
const PER_STREAM: u64 = 300_000;

pub(super) fn run(place: &Place) -> Result<(), String> {
    let scratch = place.fresh("latency")?;
    let config = serde_json::json!({
        "seed": 11,
        "tokens": [{ "token": TOKEN, "roles": ["*"] }],
        "latency_ms": 300,
        "rate": { "factor": FACTOR },
        "counts": {
            "customer": PER_STREAM, "conversation": PER_STREAM, "message": PER_STREAM,
            "note": 0, "kobject": 0, "company": 0,
        },
    });
    let simulator = Simulator::start(&place.program("fake-kustomer"), &config, &scratch)?;
    let file = bobbin_toml(
        &scratch,
        &simulator.url,
        &format!(
            "start_date = \"2025-01-01\"\nsearch_share = 1.0\norganization_share = 1.0\nrate_factor = {FACTOR}"
        ),
        "tables = [\"customers\", \"conversations\", \"messages\"]",
    )?;
    let cost = measure(
        Command::new(place.program("bobbin"))
            .args(["run", "--format", "json", "--config"])
            .arg(file),
        true,
    )?;
    let report: serde_json::Value = cost
        .stdout
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .ok_or("bobbin printed no report")?;
    let tables = report["report"]["tables"].as_array().cloned().unwrap_or_default();
    let calls: f64 = tables.iter().filter_map(|table| table["calls"].as_f64()).sum();
    let fewest = (PER_STREAM.div_ceil(500) * 3) as f64;
    let granted_per_second = GRANTED * FACTOR / 60.0;
    let ideal = fewest / granted_per_second;
    println!(
        "\nrate buckets on ({granted_per_second:.1} calls/s granted), every answer takes 300 ms\n"
    );
    println!(
        "calls made       {calls:>8.0}   fewest possible {fewest:>8.0}   ratio {:.3}",
        calls / fewest
    );
    println!(
        "wall seconds     {:>8.1}   granted at best {ideal:>8.1}   ratio {:.3}",
        cost.wall,
        cost.wall / ideal
    );
    println!("answers 429      {:>8}", report["report"]["calls_wasted"]);
    Ok(())
}
