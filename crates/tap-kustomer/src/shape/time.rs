//! Instants as Kustomer writes them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Reads a JSON value as an instant: fast for `"2026-03-03T18:44:09.562Z"`, by `jiff`'s rules for
/// anything else (offsets, a space for the `T`, other fractions); without a zone it is UTC.
pub(super) fn parse(value: &str) -> Option<Timestamp> {
    let text = value.strip_prefix('"')?.strip_suffix('"')?;
    standard(text.as_bytes()).or_else(|| {
        text.parse().ok().or_else(|| {
            let civil: DateTime = text.parse().ok()?;
            TimeZone::UTC.to_ambiguous_timestamp(civil).unambiguous().ok()
        })
    })
}

/// `YYYY-MM-DDThh:mm:ss.mmmZ` of the years 1583 to 9999.
fn standard(text: &[u8]) -> Option<Timestamp> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let shape = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if shape.iter().any(|&(at, byte)| text[at] != byte) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0i64, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let milli = number(20, 23)?;
    // Days that not every month has are left to the thorough parser.
    if year < 1583
        || !(1..=12).contains(&month)
        || !(1..=28).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    // Days since 1970-01-01 with years that begin in March, so that leap days come last.
    let shifted = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Timestamp::from_millisecond(seconds * 1000 + milli).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_what_can_be_an_instant() {
        for (value, expected) in [
            (r#""2026-03-03T18:44:09.562Z""#, Some("2026-03-03T18:44:09.562Z")),
            (r#""2024-02-29T00:00:00.000Z""#, Some("2024-02-29T00:00:00Z")),
            (r#""2026-03-03T18:44:09Z""#, Some("2026-03-03T18:44:09Z")),
            (r#""2026-03-03 18:44:09.123456+01:00""#, Some("2026-03-03T17:44:09.123456Z")),
            (r#""2026-03-03T18:44:09""#, Some("2026-03-03T18:44:09Z")),
            (r#""2026-02-30T00:00:00.000Z""#, None),
            (r#""0000-00-00""#, None),
            (r#""""#, None),
            ("null", None),
            ("1772563449", None),
        ] {
            assert_eq!(parse(value), expected.map(|text| text.parse().unwrap()), "{value}");
        }
    }

    proptest! {
        #[test]
        fn the_fast_way_agrees_with_the_thorough_one(ms in -12_000_000_000_000i64..253_000_000_000_000) {
            let instant = Timestamp::from_millisecond(ms).unwrap();
            let text = instant.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
            if let Some(fast) = standard(text.as_bytes()) {
                prop_assert_eq!(fast, instant);
            }
            prop_assert_eq!(parse(&format!("\"{text}\"")), Some(instant));
        }
    }
}
