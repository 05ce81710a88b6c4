//! Peak memory of bobbin, at 300,000 and at 3 million records.

use std::process::Command;

use super::Place;
use super::process::{Simulator, bobbin_toml, measure};
use super::throughput::{NO_LIMITS, simulator_config};

pub(super) fn run(place: &Place) -> Result<(), String> {
    println!("\npeak memory of bobbin run into DuckDB\n");
    println!("{:>10} {:>9} {:>11} {:>10}", "records", "seconds", "records/s", "peak MiB");
    for records in [100_000, 1_000_000] {
        let scratch = place.fresh("memory")?;
        let simulator = Simulator::start(
            &place.program("fake-kustomer"),
            &simulator_config(records),
            &scratch,
        )?;
        let file = bobbin_toml(
            &scratch,
            &simulator.url,
            NO_LIMITS,
            "tables = [\"customers\", \"conversations\", \"messages\"]",
        )?;
        let cost = measure(
            Command::new(place.program("bobbin"))
                .args(["run", "--format", "json", "--config"])
                .arg(file),
            true,
        )?;
        let all = (records * 3) as f64;
        println!(
            "{:>10} {:>9.1} {:>11.0} {:>10.0}",
            records * 3,
            cost.wall,
            all / cost.wall,
            cost.peak_mib
        );
    }
    Ok(())
}
