//! Loads a file in the form of segments through a destination's loader and says what it cost.
//!
//! `load postgres <socket directory or host> <database> <schema> <columns|tables> <file>`
//! `load duckdb <database> <schema> <file>`
//!
//! Segments have as many records as the destination commits best, each is a round of its own.
#![allow(missing_docs, reason = "a measuring aid")]

#[path = "../src/memory.rs"]
mod memory;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::time::Instant;

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Stream;
use bobbin_core::clock::SystemClock;
use bobbin_core::destination::Destination;
use bobbin_core::id::SegmentId;
use bobbin_core::report::NoLog;
use bobbin_core::segment::{MOST_WEIGHT, Segment, weight};
use bobbin_core::state::State;
use bobbin_core::tap::Context;
use bobbin_duckdb::DuckDb;
use bobbin_load::shape::layout::Arrays;
use bobbin_postgres::Postgres;

const USAGE: &str = "usage: load postgres <host> <database> <schema> <columns|tables> <file>
       load duckdb <database> <schema> <file>";

fn main() -> Result<(), Box<dyn Error>> {
    memory::give_back();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (destination, schema, file): (Box<dyn Destination>, _, _) = match words.as_slice() {
        ["postgres", host, database, schema, arrays, file] => {
            let mut config = bobbin_postgres::Config::new(*host, *database, "boss");
            config.layout.arrays =
                if *arrays == "tables" { Arrays::Tables } else { Arrays::Columns };
            (Box::new(Postgres::new(config)), schema, file)
        }
        ["duckdb", database, schema, file] => {
            let config = bobbin_duckdb::Config::new(*database);
            (Box::new(DuckDb::new(config)), schema, file)
        }
        _ => return Err(USAGE.into()),
    };
    let mut input = BufReader::with_capacity(1 << 18, File::open(file)?);
    let rows = destination.rows_per_commit();
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    let stream = conversations()?;
    let job = format!("{}", jiff::Timestamp::now()).into();
    let mut loader = destination.open(&cx, &(*schema).into(), &job)?;
    loader.recover()?;
    let start = Instant::now();
    let (mut loaded, mut superseded, mut rejected) = (0, 0, 0);
    for number in 1.. {
        let id = SegmentId { job: job.clone(), number };
        let segment = Segment {
            id,
            stream: stream.name.clone(),
            records: rows,
            rejected: 0,
            bytes: 0,
            weight: 0,
            version: None,
            activates: false,
            state: None,
        };
        let mut lines = TakeLines { inner: &mut input, left: rows, line: 0, weight: 0 };
        if lines.fill_buf()?.is_empty() {
            break;
        }
        let receipt = loader.load(&stream, &segment, &mut lines)?;
        loaded += receipt.loaded;
        superseded += receipt.superseded;
        rejected += receipt.rejected;
        loader.commit(Some(&State::default()))?;
    }
    let seconds = start.elapsed().as_secs_f64();
    loader.finish()?;
    let told = serde_json::json!({
        "loaded": loaded, "superseded": superseded, "rejected": rejected, "seconds": seconds,
    });
    println!("{told}");
    Ok(())
}

/// A reader that ends after some lines, or the first of them that has it all.
struct TakeLines<'a> {
    inner: &'a mut dyn BufRead,
    left: u64,
    /// Bytes of the line at hand so far, and the weight of those before.
    line: u64,
    weight: u64,
}

impl Read for TakeLines<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for TakeLines<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 { Ok(&[]) } else { self.inner.fill_buf() }
    }

    fn consume(&mut self, count: usize) {
        // The loader consumes up to one line break at a time.
        self.line += count as u64;
        if let Ok(buffer) = self.inner.fill_buf()
            && count > 0
            && buffer.get(count - 1) == Some(&b'\n')
        {
            self.weight += weight(std::mem::take(&mut self.line));
            self.left = if self.weight < MOST_WEIGHT { self.left - 1 } else { 0 };
        }
        self.inner.consume(count);
    }
}

fn conversations() -> Result<Stream, Box<dyn Error>> {
    let schema = serde_json::from_str(include_str!("conversations.json"))?;
    Ok(Stream {
        name: "conversations".into(),
        fields: bobbin_singer::schema::object_from_json(&schema),
        key: vec!["id".to_owned()],
        replication_key: Some("updatedAt".to_owned()),
        version_fields: vec!["rev".to_owned(), "updatedAt".to_owned()],
        description: None,
    })
}
