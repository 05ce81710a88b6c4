//! Loads a file in the form of a segment into a DuckDB file and says what it cost.
//!
//! `load_ndjson <file.ndjson or -> <database> [rows per segment] [segments per round]`

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
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_core::segment::Segment;
use bobbin_core::state::State;
use bobbin_core::tap::Context;
use bobbin_duckdb::{Config, DuckDb};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, database, rest @ ..] = &args[..] else {
        return Err(
            "usage: load_ndjson <file or -> <database> [rows per segment] [segments per round]"
                .into(),
        );
    };
    let number = |at: usize, default: u64| rest.get(at).map_or(Ok(default), |text| text.parse());
    let (rows, segments) = (number(0, 16_384)?, number(1, 8)?);
    let mut input: Box<dyn BufRead> = if file == "-" {
        Box::new(BufReader::with_capacity(1 << 18, io::stdin().lock()))
    } else {
        Box::new(BufReader::with_capacity(1 << 18, File::open(file)?))
    };

    let mut config = Config::new(database);
    if let Ok(text) = std::env::var("MEMORY_LIMIT_MB") {
        config.memory_limit_mb = text.parse()?;
    }
    if let Ok(text) = std::env::var("DUCKDB_THREADS") {
        config.threads = text.parse()?;
    }
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    let stream = customers();
    let start = Instant::now();
    let job = format!("{}", jiff::Timestamp::now()).into();
    let mut loader = DuckDb::new(config).open(&cx, &"bench".into(), &job)?;
    loader.recover()?;
    let (mut loaded, mut superseded, mut bytes, mut last) = (0, 0, 0, Instant::now());
    for number in 1.. {
        let id = SegmentId { job: job.clone(), number };
        let segment = Segment {
            id,
            stream: stream.name.clone(),
            records: rows,
            rejected: 0,
            bytes: 0,
            version: None,
            activates: false,
            state: None,
        };
        let mut lines = TakeLines { inner: &mut *input, left: rows, bytes: 0 };
        let receipt = loader.load(&stream, &segment, &mut lines)?;
        let ended = lines.left > 0;
        bytes += lines.bytes;
        loaded += receipt.loaded;
        superseded += receipt.superseded;
        if ended || number % segments == 0 {
            loader.commit(Some(&State::default()))?;
            if loaded % (32 * 16_384) == 0 || ended {
                let took = last.elapsed().as_secs_f64();
                eprintln!(
                    "{loaded} rows, {:.0} rows/s so far, {took:.2} s since last, peak {} MiB",
                    loaded as f64 / start.elapsed().as_secs_f64(),
                    peak_mib()
                );
                last = Instant::now();
            }
        }
        if ended {
            break;
        }
    }
    loader.finish()?;
    let wall = start.elapsed().as_secs_f64();
    println!(
        "{loaded} rows loaded, {superseded} superseded, {:.2} s, {:.0} rows/s, {:.0} MB/s, CPU {:.2} s ({:.1} us/row), peak {} MiB",
        wall,
        loaded as f64 / wall,
        bytes as f64 / wall / 1e6,
        cpu_seconds(),
        cpu_seconds() * 1e6 / (loaded.max(1)) as f64,
        peak_mib()
    );
    Ok(())
}

/// A reader that ends after some lines.
struct TakeLines<'a> {
    inner: &'a mut dyn BufRead,
    left: u64,
    bytes: u64,
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
        if let Ok(buffer) = self.inner.fill_buf()
            && count > 0
            && buffer.get(count - 1) == Some(&b'\n')
        {
            self.left -= 1;
        }
        self.bytes += count as u64;
        self.inner.consume(count);
    }
}

fn customers() -> Stream {
    let text = || Schema::of(Kind::Text);
    let time = || Schema::of(Kind::DateTime);
    let mut fields: Vec<(String, Schema)> = Vec::new();
    let mut add = |name: &str, schema: Schema| fields.push((name.to_owned(), schema));
    add("id", text().required());
    add("rev", Schema::of(Kind::Integer));
    for name in ["name", "displayName", "username", "externalId", "locale"] {
        add(name, text());
    }
    for name in [
        "createdAt",
        "updatedAt",
        "modifiedAt",
        "lastActivityAt",
        "lastSeenAt",
        "signedUpAt",
        "lastMessageAt",
        "lastConversationAt",
        "birthdayAt",
        "lastMessageOutAt",
        "lastMessageInAt",
        "satisfactionAt",
        "watchedAt",
        "purgedAt",
    ] {
        add(name, time());
    }
    for name in ["tags", "sentimentTags", "watchers", "teams"] {
        add(name, Schema::array(text()));
    }
    for name in [
        "emails",
        "phones",
        "socials",
        "urls",
        "locations",
        "sharedEmails",
        "whatsapps",
        "facebookIds",
    ] {
        add(name, Schema::array(Schema::map()));
    }
    add("metadata", Schema::map());
    let object = |members: Vec<(&str, Schema)>| {
        let properties =
            members.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
        Schema::of(Kind::Object(Object { properties, open: true }))
    };
    add(
        "conversationCounts",
        object(vec![("all", Schema::of(Kind::Integer)), ("done", Schema::of(Kind::Integer))]),
    );
    add(
        "sentiment",
        object(vec![
            ("polarity", Schema::of(Kind::Integer)),
            ("confidence", Schema::of(Kind::Number)),
        ]),
    );
    add(
        "satisfactionLevel",
        object(vec![("score", Schema::of(Kind::Number)), ("sentByTeams", Schema::array(text()))]),
    );
    add("preview", object(vec![("text", text()), ("previewAt", time())]));
    add(
        "custom",
        object(vec![
            ("tier0Str", text()),
            ("orders1Num", Schema::of(Kind::Number)),
            ("since2At", time()),
            ("since7At", time()),
        ]),
    );
    Stream {
        name: "customers".into(),
        fields: Object { properties: fields, open: true },
        key: vec!["id".to_owned()],
        replication_key: Some("updatedAt".to_owned()),
        version_fields: vec!["rev".to_owned(), "updatedAt".to_owned()],
        description: None,
    }
}

fn peak_mib() -> u64 {
    status("VmHWM:") / 1024
}

fn status(field: &str) -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
