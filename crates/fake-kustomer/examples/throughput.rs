//! How fast records are written: `cargo run --release -p fake-kustomer --example throughput`.

use std::time::Instant;

use fake_kustomer::{Config, Simulator};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = ["customer", "conversation", "message", "note", "kobject"]
        .iter()
        .fold(Config::tiny(1), |config, stream| config.with_count(stream, 10_000_000));
    let started = Instant::now();
    let sim = Simulator::start(config)?;
    println!("50 million records ready in {:?}", started.elapsed());
    let oracle = sim.oracle();
    let mut buf = Vec::with_capacity(4 << 20);
    for stream in ["customer", "conversation", "message", "note", "kobject_ecomm-order"] {
        let started = Instant::now();
        let (mut records, mut bytes) = (0, 0);
        while started.elapsed().as_millis() < 1000 {
            buf.clear();
            records += oracle.write_base(stream, records, 500, &mut buf)?;
            bytes += buf.len() as u64;
        }
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{stream:20} {:>9.0} records/s {:>7.0} MB/s, {} bytes each",
            records as f64 / seconds,
            bytes as f64 / seconds / 1e6,
            bytes / records
        );
    }
    Ok(())
}
