//! Converts a file in the form of a segment to columns and says how fast, without a destination.
//!
//! `convert_ndjson <file.ndjson>`; every field is undeclared but `id`.

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::time::Instant;

use bobbin_core::catalog::Stream;
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_load::lines::{Line, Lines, MAX_LINE_BYTES};
use bobbin_load::shape::convert::Converter;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: convert_ndjson <file.ndjson>")?;
    let object = |properties| Schema::of(Kind::Object(Object { properties, open: true }));
    let stream = Stream {
        name: "customers".into(),
        fields: Object {
            properties: vec![
                ("id".to_owned(), Schema::of(Kind::Text).required()),
                ("tags".to_owned(), Schema::array(Schema::of(Kind::Text))),
                ("createdAt".to_owned(), Schema::of(Kind::DateTime)),
                ("custom".to_owned(), object(vec![("a".to_owned(), Schema::of(Kind::Any))])),
            ],
            open: true,
        },
        key: vec!["id".to_owned()],
        replication_key: None,
        version_fields: vec!["rev".to_owned()],
        description: None,
    };
    let mut input = BufReader::with_capacity(1 << 18, File::open(file)?);
    let mut converter = Converter::new(&stream, Vec::new(), &[]);
    let mut lines = Lines::new();
    let (mut rows, mut bytes, mut columns) = (0usize, 0usize, 0usize);
    let start = Instant::now();
    while let Some(line) = lines.next(&mut input, MAX_LINE_BYTES, 0)? {
        if let Line::Whole(line) = line {
            bytes += line.len() + 1;
            converter.line(line);
        }
        if converter.is_full()
            && let Some(batch) = converter.finish()
        {
            rows += batch.rows;
            columns += batch.new.len();
        }
    }
    rows += converter.finish().map_or(0, |batch| batch.rows);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{rows} rows, {columns} columns, {seconds:.2} s, {:.0} rows/s, {:.0} MB/s",
        rows as f64 / seconds,
        bytes as f64 / seconds / 1e6
    );
    Ok(())
}
