//! Writes made-up customers in the form of a segment to standard output, for measuring loaders.
//!
//! `make_customers <rows> [<first row> [<rev>]]`: about 2.6 KB and 110 columns each.

use std::io::{self, BufWriter, Write};

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().unwrap_or(0));
    let rows = args.next().unwrap_or(100_000);
    let first = args.next().unwrap_or(0);
    let rev = args.next().unwrap_or(1);
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let mut line = String::with_capacity(4096);
    for row in first..first + rows {
        let mut random = Random(row.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ rev);
        line.clear();
        customer(&mut line, row, rev, &mut random);
        out.write_all(line.as_bytes())?;
    }
    out.flush()
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
                "order", "refund", "the", "of", "delivery", "late", "please", "thank", "you",
                "address", "changed", "box", "broken", "size", "wrong", "when", "will", "arrive",
                "account", "password", "müde", "naïve", "tracking", "number", "voucher",
            ]));
        }
        text
    }
}

fn time(base: u64, random: &mut Random) -> String {
    let at = jiff::Timestamp::from_millisecond(
        1_600_000_000_000 + (base * 997 + random.below(900)) as i64,
    );
    at.map_or_else(|_| "2024-01-01T00:00:00Z".to_owned(), |at| format!("{at:.3}"))
}

fn customer(line: &mut String, row: u64, rev: u64, r: &mut Random) {
    use std::fmt::Write as _;
    let mut put = |text: std::fmt::Arguments<'_>| {
        let _ = line.write_fmt(text);
    };
    let mut key = Random(row);
    put(format_args!(
        "{{\"_sdc_extracted_at\":\"2026-11-23T15:0{}:00.123456Z\",\"_sdc_sequence\":{}",
        row / 500 % 10,
        1_764_000_000_000_000_000 + rev * 1_000_000_000_000 + row
    ));
    put(format_args!(",\"id\":\"{}\",\"type\":\"customer\",\"rev\":{rev}", key.id()));
    put(format_args!(",\"name\":\"{}\",\"displayName\":\"{}\"", r.words(2), r.words(2)));
    put(format_args!(",\"username\":null,\"externalId\":\"ext-{}\"", r.below(99_999_999)));
    put(format_args!(
        ",\"company\":null,\"progressiveStatus\":{}",
        r.one(&["null", "\"done\"", "\"open\""])
    ));
    for flag in [
        "verified",
        "recent",
        "deleted",
        "spam",
        "locked",
        "emailConsent",
        "smsConsent",
        "vip",
        "merged",
        "imported",
    ] {
        put(format_args!(",\"{flag}\":{}", r.below(2) == 0));
    }
    for field in [
        "createdAt",
        "updatedAt",
        "modifiedAt",
        "lastActivityAt",
        "lastSeenAt",
        "signedUpAt",
        "lastMessageAt",
        "lastConversationAt",
    ] {
        put(format_args!(",\"{field}\":\"{}\"", time(row, r)));
    }
    for field in [
        "birthdayAt",
        "lastMessageOutAt",
        "lastMessageInAt",
        "satisfactionAt",
        "watchedAt",
        "purgedAt",
    ] {
        if r.below(10) == 0 {
            put(format_args!(",\"{field}\":\"{}\"", time(row, r)));
        }
    }
    put(format_args!(
        ",\"emails\":[{{\"type\":\"home\",\"email\":\"{}@example.com\",\"verified\":true,\"id\":\"{}\"}}]",
        r.below(999_999),
        r.id()
    ));
    put(format_args!(
        ",\"sharedEmails\":[],\"phones\":[{{\"type\":\"mobile\",\"phone\":\"+49{}\"}}]",
        r.below(9_999_999_999)
    ));
    put(format_args!(
        ",\"whatsapps\":[],\"facebookIds\":[],\"socials\":[{{\"type\":\"instagram\",\"userid\":\"{}\",\"verified\":false}}]",
        r.id()
    ));
    put(format_args!(
        ",\"urls\":[{{\"url\":\"https://example.com/{}\"}}],\"locations\":[{{\"type\":\"home\",\"address\":\"{}\",\"zip\":\"{}\",\"country\":\"DE\"}}]",
        r.below(99_999),
        r.words(4),
        r.below(99_999)
    ));
    put(format_args!(
        ",\"tags\":[\"{}\",\"{}\"],\"sentimentTags\":[\"{}\"],\"watchers\":[\"{}\"],\"teams\":[\"{}\",\"{}\"]",
        r.id(),
        r.id(),
        r.words(1),
        r.id(),
        r.id(),
        r.id()
    ));
    for field in [
        "createdBy",
        "modifiedBy",
        "firstTeam",
        "lastTeam",
        "brand",
        "org",
        "defaultQueue",
        "importedBy",
    ] {
        put(format_args!(",\"{field}\":\"{}\"", r.id()));
    }
    put(format_args!(
        ",\"locale\":\"{}\",\"timeZone\":\"{}\",\"gender\":\"{}\"",
        r.one(&["de", "en", "fr"]),
        r.one(&["Europe/Berlin", "America/New_York"]),
        r.one(&["f", "m", "x"])
    ));
    put(format_args!(
        ",\"conversationCounts\":{{\"all\":{},\"done\":{},\"open\":{},\"snoozed\":{}}}",
        r.below(50),
        r.below(20),
        r.below(4),
        r.below(4)
    ));
    put(format_args!(
        ",\"sentiment\":{{\"polarity\":{},\"confidence\":{}.{}}}",
        r.below(3),
        r.below(1),
        r.below(99)
    ));
    put(format_args!(
        ",\"satisfactionLevel\":{{\"score\":{}.5,\"sentByTeams\":[\"{}\"],\"answers\":[{{\"a\":\"{}\"}}]}}",
        r.below(5),
        r.id(),
        r.words(6)
    ));
    put(format_args!(
        ",\"preview\":{{\"text\":\"{}\",\"previewAt\":\"{}\",\"type\":\"message\"}}",
        r.words(14),
        time(row, r)
    ));
    put(format_args!(
        ",\"metadata\":{{\"k{}\":\"{}\",\"agent\":\"Mozilla/5.0 {}\"}}",
        r.below(5),
        r.words(3),
        r.words(5)
    ));
    put(format_args!(",\"custom\":{{"));
    let mut first = true;
    for n in 0..34u64 {
        let share = if n < 10 { 95 } else { 4 };
        if r.below(100) >= share {
            continue;
        }
        if !std::mem::take(&mut first) {
            put(format_args!(","));
        }
        match n % 5 {
            0 => put(format_args!("\"tier{n}Str\":\"{}\"", r.one(&["gold", "silver", "bronze"]))),
            1 => put(format_args!("\"orders{n}Num\":{}", r.below(1000))),
            2 => put(format_args!("\"since{n}At\":\"{}\"", time(row, r))),
            3 => put(format_args!("\"note{n}Txt\":\"{}\"", r.words(8))),
            _ => put(format_args!("\"opt{n}Bool\":{}", r.below(2) == 0)),
        }
    }
    put(format_args!("}}}}\n"));
}
