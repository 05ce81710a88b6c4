//! Writes made-up conversations to standard output, for measuring loaders: about 1.3 KB, 105 fields and
//! three array items each, a third of the fields null.
//!
//! `make_records <segment|singer> <count> [--first N] [--step N] [--rev N] [--ids FILE] [--long] [--wide]`
//!
//! Records are numbered from `--first` in steps of `--step`; a number always gives the same key, and
//! with `--rev` the same record. The first records take the keys in `--ids`, where given.
//! `--long` makes ten of the records 10 MB large, `--wide` a hundred of them 5,000 fields wide,
//! `--large` does both. Numbers give keys that grow with time, as Kustomer's do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a measuring aid"
)]

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};

const SCHEMA: &str = include_str!("conversations.json");

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let singer = arguments.next().expect("segment or singer") == "singer";
    let count: u64 = arguments.next().and_then(|n| n.parse().ok()).expect("how many records");
    let (mut first, mut step, mut rev) = (0, 1, 1);
    let (mut long, mut wide) = (false, false);
    let mut ids = Vec::new();
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().expect("a value");
        match name.as_str() {
            "--first" => first = value().parse().expect("a number"),
            "--step" => step = value().parse().expect("a number"),
            "--rev" => rev = value().parse().expect("a number"),
            "--ids" => ids = std::fs::read_to_string(value())?.lines().map(str::to_owned).collect(),
            "--large" => (long, wide) = (true, true),
            "--long" => long = true,
            "--wide" => wide = true,
            other => panic!("unknown option {other}"),
        }
    }
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    if singer {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA)?;
        let message = serde_json::json!({
            "type": "SCHEMA", "stream": "conversations", "schema": schema,
            "key_properties": ["id"], "bookmark_properties": ["updatedAt"],
        });
        writeln!(out, "{message}")?;
    }
    let mut ids = ids.into_iter();
    let mut line = String::with_capacity(4096);
    for n in 0..count {
        let row = first + n * step;
        let id = ids.next().unwrap_or_else(|| key(row));
        line.clear();
        line.push_str(if singer {
            "{\"type\":\"RECORD\",\"stream\":\"conversations\",\"time_extracted\":\
                 \"2026-11-23T15:00:00.123456Z\",\"record\":{"
        } else {
            "{"
        });
        if !singer {
            // One sequence for each record of each revision.
            let sequence = 1_764_000_000_000_000_000 + rev * 100_000_000_000 + row;
            let _ = write!(
                line,
                "\"_sdc_extracted_at\":\"2026-11-23T15:0{}:00.123456Z\",\"_sdc_sequence\":{sequence},",
                row / 500 % 10,
            );
        }
        conversation(&mut line, &id, row, rev);
        if long && n % (count / 10).max(1) == 7 {
            lengthen(&mut line);
        }
        if wide && n % (count / 100).max(1) == 9 {
            widen(&mut line, n);
        }
        line.push_str(if singer { "}}\n" } else { "}\n" });
        out.write_all(line.as_bytes())?;
    }
    out.flush()
}

/// Makes a record some 10 MB large.
fn lengthen(line: &mut String) {
    let _ = write!(line, ",\"transcript\":\"{}\"", "a long text, ".repeat(10_000_000 / 13));
}

/// Makes a record 5,000 fields wider.
fn widen(line: &mut String, n: u64) {
    for field in 0..5_000 {
        let _ = write!(line, ",\"answer{field}\":\"{}\"", field + n);
    }
}

fn key(row: u64) -> String {
    format!("{:08x}{:016x}", 0x5f00_0000 + row / 4, Random(row).next())
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }

    fn id(&mut self) -> String {
        format!("{:08x}{:016x}", 0x5f00_0000 + self.below(0x00ff_ffff), self.next())
    }

    fn words(&mut self, count: u64) -> String {
        let mut text = String::new();
        for n in 0..count {
            if n > 0 {
                text.push(' ');
            }
            text.push_str(self.one(&[
                "order",
                "refund",
                "the",
                "of",
                "delivery",
                "late",
                "please",
                "thank",
                "you",
                "address",
                "changed",
                "box",
                "broken",
                "size",
                "wrong",
                "when",
                "will",
                "arrive",
                "account",
                "password",
                "müde",
                "naïve",
                "tracking",
                "number",
                "\\\"voucher\\\"",
            ]));
        }
        text
    }

    /// A time some days after the record's own.
    fn time(&mut self, row: u64) -> String {
        let at = 1_600_000_000_000 + (row * 997 + self.below(900_000_000)) as i64;
        jiff::Timestamp::from_millisecond(at)
            .map_or_else(|_| "2024-01-01T00:00:00Z".to_owned(), |at| format!("{at:.3}"))
    }
}

fn conversation(line: &mut String, id: &str, row: u64, rev: u64) {
    let mut random = Random(row.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ rev);
    let r = &mut random;
    let mut put = |text: std::fmt::Arguments<'_>| line.write_fmt(text).unwrap();
    put(format_args!("\"id\":\"{id}\",\"rev\":{rev},\"externalId\":null"));
    put(format_args!(",\"name\":\"{}\",\"preview\":\"{}\"", r.words(4), r.words(16)));
    put(format_args!(",\"status\":\"{}\"", r.one(&["done", "open", "snoozed"])));
    put(format_args!(",\"direction\":\"{}\"", r.one(&["in", "out"])));
    let done = r.percent(60);
    if done {
        put(format_args!(
            ",\"endedByType\":\"user\",\"endedReason\":\"manual\",\"endedAt\":\"{}\"",
            r.time(row)
        ));
    } else {
        put(format_args!(",\"endedByType\":null,\"endedReason\":null,\"endedAt\":null"));
    }
    put(format_args!(",\"defaultLang\":\"{}\"", r.one(&["en_us", "de", "fr"])));
    for field in ["customer", "org", "createdBy", "modifiedBy"] {
        put(format_args!(",\"{field}\":\"{}\"", r.id()));
    }
    for field in ["queue", "brand", "importedBy"] {
        if r.percent(30) {
            put(format_args!(",\"{field}\":\"{}\"", r.id()));
        }
    }
    for field in
        ["messageCount", "noteCount", "outboundMessageCount", "inboundMessageCount", "reopenCount"]
    {
        put(format_args!(",\"{field}\":{}", r.below(20)));
    }
    put(format_args!(",\"priority\":{},\"satisfaction\":null", r.below(5)));
    for field in ["snoozeCount", "mergedCount"] {
        if r.percent(5) {
            put(format_args!(",\"{field}\":{}", r.below(4)));
        }
    }
    for field in ["open", "spam", "ended", "merged", "deleted", "imported"] {
        put(format_args!(",\"{field}\":{}", r.percent(30)));
    }
    for field in ["createdAt", "updatedAt", "modifiedAt", "lastActivityAt", "lastMessageAt"] {
        put(format_args!(",\"{field}\":\"{}\"", r.time(row)));
    }
    for field in ["importedAt", "deletedAt", "snoozedUntil"] {
        if r.percent(5) {
            put(format_args!(",\"{field}\":\"{}\"", r.time(row)));
        } else {
            put(format_args!(",\"{field}\":null"));
        }
    }
    let mut list = |field: &str, share: u64, most: u64, r: &mut Random| {
        put(format_args!(",\"{field}\":["));
        let count = if r.percent(share) { 1 + r.below(most) } else { 0 };
        for n in 0..count {
            let comma = if n > 0 { "," } else { "" };
            put(format_args!("{comma}\"{}\"", r.id()));
        }
        put(format_args!("]"));
    };
    list("tags", 60, 3, r);
    list("assignedUsers", 50, 1, r);
    list("assignedTeams", 60, 1, r);
    put(format_args!(",\"channels\":[\"{}\"]", r.one(&["email", "chat", "sms"])));
    if r.percent(10) {
        put(format_args!(
            ",\"interactions\":[{{\"kind\":\"call\",\"at\":\"{}\",\"seconds\":{}.5}},{{\"kind\":\"hold\"}}]",
            r.time(row),
            r.below(900)
        ));
    }
    for (field, share) in [
        ("firstMessageIn", 90),
        ("lastMessageIn", 90),
        ("firstMessageOut", 60),
        ("lastMessageOut", 60),
    ] {
        if r.percent(share) {
            put(format_args!(
                ",\"{field}\":{{\"id\":\"{}\",\"sentAt\":\"{}\",\"channel\":\"email\"}}",
                r.id(),
                r.time(row)
            ));
        } else {
            put(format_args!(",\"{field}\":{{}}"));
        }
    }
    if r.percent(10) {
        put(format_args!(
            ",\"lastMessageUnrespondedTo\":{{\"id\":\"{}\",\"sentAt\":\"{}\"}}",
            r.id(),
            r.time(row)
        ));
    }
    for field in ["firstResponse", "lastResponse"] {
        if done {
            put(format_args!(
                ",\"{field}\":{{\"createdAt\":\"{}\",\"id\":\"{}\",\"time\":{},\"businessTime\":{}}}",
                r.time(row),
                r.id(),
                r.below(9_000_000),
                r.below(900_000)
            ));
        }
    }
    for (field, share) in [("firstDone", 60), ("lastDone", 60)] {
        if r.percent(share) {
            put(format_args!(
                ",\"{field}\":{{\"createdAt\":\"{}\",\"createdBy\":\"{}\",\"time\":{},\"businessTime\":{},\
                 \"noteCount\":{},\"messageCount\":{},\"outboundMessageCount\":{},\
                 \"lastMessageDirection\":\"out\"}}",
                r.time(row),
                r.id(),
                r.below(9_000_000),
                r.below(900_000),
                r.below(4),
                r.below(9),
                r.below(5)
            ));
        }
    }
    if r.percent(20) {
        put(format_args!(
            ",\"sla\":{{\"name\":\"standard\",\"version\":3,\"status\":\"{}\",\"breachAt\":\"{}\"}}",
            r.one(&["pending", "satisfied", "breached"]),
            r.time(row)
        ));
    }
    if r.percent(10) {
        put(format_args!(",\"totalSnooze\":{{\"time\":{},\"businessTime\":0}}", r.below(90_000)));
    }
    put(format_args!(
        ",\"sentiment\":{{\"polarity\":{},\"confidence\":0.{}}}",
        r.below(3),
        r.below(99)
    ));
    put(format_args!(",\"custom\":{{\"orderNumberStr\":\"{}\"", r.below(99_999_999)));
    if r.percent(20) {
        put(format_args!(
            ",\"reasonTree\":\"{}\",\"refundNum\":{}.25,\"promisedAt\":\"{}\"",
            r.words(3),
            r.below(200),
            r.time(row)
        ));
    }
    put(format_args!(",\"escalatedBool\":{}}}", r.percent(5)));
    put(format_args!(",\"metadata\":{{\"source\":\"{}\",\"form\":{}}}", r.words(1), r.below(9)));
}
