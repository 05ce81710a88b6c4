//! How fast an extraction is when nothing is done with its records.
//!
//! `cargo run --release -p tap-kustomer --example extract -- '{"api_url": …, "api_token": …}'
//! [stream …]` prints what came, how long it took and how many calls it made.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::clock::SystemClock;
use bobbin_core::id::StreamName;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::report::Event;
use bobbin_core::selection::{Selection, StreamSelection};
use bobbin_core::state::State;
use bobbin_core::tap::{Context, Output, SyncRequest, Tap};
use bobbin_core::{Error, Result};
use tap_kustomer::config::Config;
use tap_kustomer::metadata::CustomAttributes;
use tap_kustomer::streams;
use tap_kustomer::tap::KustomerTap;

struct Null {
    sink: std::fs::File,
    records: u64,
    bytes: u64,
}

impl Output for Null {
    fn schema(&mut self, _: &Stream) -> Result<()> {
        Ok(())
    }

    fn records(&mut self, _: &StreamName, records: Records<'_>) -> Result<()> {
        self.records += records.count;
        self.bytes += records.text.len() as u64;
        self.sink.write_all(records.text).map_err(|error| Error::io("cannot write", error))
    }

    fn rejected(&mut self, _: &StreamName, _: &Rejected) -> Result<()> {
        Ok(())
    }

    fn state(&mut self, _: &State) -> Result<()> {
        Ok(())
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let settings = arguments.next().unwrap_or_default();
    let settings = serde_json::from_str(&settings)
        .map_err(|error| Error::config("the first argument is no JSON").caused_by(error))?;
    let tap = KustomerTap::new(Config::from_json(&settings)?);
    let wanted: Vec<String> = arguments.collect();
    let catalog = Catalog {
        streams: streams::resources()
            .iter()
            .map(|resource| streams::stream(resource, &CustomAttributes::default()))
            .collect(),
    };
    let mut selection = Selection { others: wanted.is_empty(), ..Selection::default() };
    for stream in &wanted {
        let chosen = StreamSelection { selected: true, ..StreamSelection::default() };
        selection.streams.insert(StreamName::from(stream.as_str()), chosen);
    }
    let (calls, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let log = |event: Event| {
        if let Event::Call { status, .. } = event {
            calls.fetch_add(1, Ordering::Relaxed);
            refused.fetch_add(u64::from(status == Some(429)), Ordering::Relaxed);
        }
    };
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &log };
    let sink = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/null")
        .map_err(|error| Error::io("cannot open /dev/null", error))?;
    let mut out = Null { sink, records: 0, bytes: 0 };
    let state = State::default();
    let request = SyncRequest { catalog: &catalog, selection: &selection, state: &state };
    let start = Instant::now();
    let outcomes = tap.sync(&cx, &request, &mut out)?;
    let seconds = start.elapsed().as_secs_f64();
    for outcome in outcomes {
        println!("{}: {:?}", outcome.stream, outcome.completeness);
    }
    println!(
        "{} records, {:.1} MB in {seconds:.2} s: {:.0} records/s, {:.1} MB/s; {} calls, {} refused",
        out.records,
        out.bytes as f64 / 1e6,
        out.records as f64 / seconds,
        out.bytes as f64 / 1e6 / seconds,
        calls.load(Ordering::Relaxed),
        refused.load(Ordering::Relaxed),
    );
    Ok(())
}
