//! The bodies of the fuzz targets: each takes any bytes and panics when a promise is broken.
//!
//! `fuzz/` calls them from libFuzzer; `tests/it/smoke.rs` replays seeds and regressions through them.

pub mod copy;
pub mod json;
pub mod names;
pub mod page;
pub mod singer;
pub mod typing;

use crate::corpus::{Theme, themes};

/// A fuzz target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, also that of its binary and of its directories of inputs.
    pub name: &'static str,
    /// Its body.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn(&[Theme]) -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: [Target; 6] = [
    Target { name: "json", run: json::run, seeds: json::seeds },
    Target { name: "names", run: names::run, seeds: names::seeds },
    Target { name: "typing", run: typing::run, seeds: typing::seeds },
    Target { name: "copy", run: copy::run, seeds: typing::seeds },
    Target { name: "singer", run: singer::run, seeds: singer::seeds },
    Target { name: "page", run: page::run, seeds: page::seeds },
];

/// Bytes of the longest seed: longer ones slow a fuzzer down more than they teach it.
const SEED_BYTES: usize = 4096;

impl Target {
    /// The seeds, without the long ones.
    pub fn short_seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = (self.seeds)(&themes());
        seeds.retain(|seed| seed.len() <= SEED_BYTES);
        seeds
    }
}
