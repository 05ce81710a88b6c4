//! Writes every fuzz target's seeds: `cargo run -p bobbin-proof --example seeds -- <directory>`.
#![allow(clippy::expect_used, reason = "a tool of developers")]

use std::fs;
use std::path::Path;

use bobbin_proof::target::TARGETS;

fn main() {
    let directory = std::env::args().nth(1).expect("a directory");
    for target in TARGETS {
        let place = Path::new(&directory).join(target.name);
        fs::create_dir_all(&place).expect("the directory can be made");
        for (n, seed) in target.short_seeds().iter().enumerate() {
            fs::write(place.join(format!("seed-{n:04}")), seed).expect("a seed can be written");
        }
    }
}
