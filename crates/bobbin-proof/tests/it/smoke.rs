//! Every fuzz target over its seeds, over inputs that once failed, and over changes of them.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bobbin_proof::mutate::{Random, mutate};
use bobbin_proof::target::{TARGETS, Target};

/// Changed inputs per target.
const CHANGES: usize = 4_000;

/// Inputs that once broke a promise: `fuzz/regressions/<target>/`.
fn regressions(target: &Target) -> Vec<Vec<u8>> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/regressions");
    let mut paths: Vec<_> = fs::read_dir(place.join(target.name))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn smoke(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let mut inputs = regressions(target);
    inputs.extend((target.seeds)(&bobbin_proof::corpus::themes()));
    assert!(inputs.len() >= 200, "only {} inputs", inputs.len());
    let mut random = Random(20_261_124);
    let short: Vec<&Vec<u8>> = inputs.iter().filter(|input| input.len() <= 4096).collect();
    let changed: Vec<Vec<u8>> = (0..CHANGES)
        .map(|_| {
            let one = short[random.below(short.len())];
            mutate(one, short[random.below(short.len())], &mut random)
        })
        .collect();
    for input in inputs.iter().chain(&changed) {
        if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
            let text = String::from_utf8_lossy(&input[..input.len().min(2_000)]);
            panic!("{name} fails for {text:?}\n(the first of its bytes)");
        }
    }
}

#[test]
fn json() {
    smoke("json");
}

#[test]
fn names() {
    smoke("names");
}

#[test]
fn typing() {
    smoke("typing");
}

#[test]
fn copy() {
    smoke("copy");
}

#[test]
fn singer() {
    smoke("singer");
}

#[test]
fn page() {
    smoke("page");
}
