//! Measures [`tap_kustomer::shape::Shaper`]: `cargo run --release --example shape [seconds]`.

use std::time::{Duration, Instant};

use bobbin_core::selection::Selection;
use tap_kustomer::metadata::CustomAttributes;
use tap_kustomer::shape::Shaper;
use tap_kustomer::streams;

/// A conversation as in `kustomer-api.md` 14.1.
const CONVERSATION: &str = include_str!("../tests/documents/conversation.json");

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3.0);
    let records: Vec<String> = (0..250).map(variant).collect();
    let bytes: usize = records.iter().map(String::len).sum();
    let Some(resource) = streams::resource("conversations") else { return };
    let stream = streams::stream(resource, &CustomAttributes::default());
    let mut shaper = Shaper::new(&stream, resource, &Selection::all());
    let mut out = Vec::with_capacity(bytes * 2);
    let (mut rounds, mut best) = (0u32, f64::MAX);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs_f64(seconds) {
        out.clear();
        let round = Instant::now();
        for record in &records {
            if let Err(reason) = shaper.shape(record, &mut out) {
                println!("rejected: {reason}");
                return;
            }
        }
        best = best.min(round.elapsed().as_secs_f64());
        rounds += 1;
    }
    let mean = begin.elapsed().as_secs_f64() / f64::from(rounds);
    let mb = bytes as f64 / 1e6;
    println!(
        "{} records of {} bytes in a round: {:.0} MB/s mean, {:.0} MB/s best, {:.0} records/s best, {} bytes out each",
        records.len(),
        bytes / records.len(),
        mb / mean,
        mb / best,
        records.len() as f64 / best,
        out.len() / records.len(),
    );
}

/// The document with a different id and some members missing or null, as in life.
fn variant(n: usize) -> String {
    let mut text = CONVERSATION.trim().replace("66b1f0a2c3d4e5f601a2b3c4", &format!("{n:024x}"));
    if n.is_multiple_of(3) {
        text = text.replace(r#""satisfaction":5,"#, "");
    }
    if n.is_multiple_of(4) {
        text = text.replace(r#""noteCount":1,"satisfaction""#, r#""satisfaction""#);
    }
    if n.is_multiple_of(5) {
        text = text.replace(r#""doneCount":1,"#, r#""doneCount":null,"snoozeCount":2,"#);
    }
    text
}
