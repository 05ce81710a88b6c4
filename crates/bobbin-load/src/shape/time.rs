//! Date-times: RFC 3339 and what is close to it, to microseconds, UTC.
//!
//! Taken: a date, optionally followed by `T`, `t` or a space and a time with seconds and up to
//! nine digits behind them (those beyond microseconds must be zero), optionally followed by `Z`
//! or an offset. Without an offset it is UTC; without a time it is midnight (`stitch-behaviour.md`
//! 7.8). Anything else is not a date-time and stays text: a leap second, an hour 24, an
//! impossible date are never bent into shape.

/// Microseconds since 1970 in UTC.
#[inline]
pub fn micros(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = two(bytes, 0)? * 100 + two(bytes, 2)?;
    let (month, day) = (two(bytes, 5)?, two(bytes, 8)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let midnight = days(year, month, day) * 86_400_000_000;
    if bytes.len() == 10 {
        return Some(midnight);
    }
    if bytes.len() < 19
        || !matches!(bytes[10], b'T' | b't' | b' ')
        || bytes[13] != b':'
        || bytes[16] != b':'
    {
        return None;
    }
    let (hour, minute, second) = (two(bytes, 11)?, two(bytes, 14)?, two(bytes, 17)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        let mut place = 100_000;
        let first = at;
        while let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
            if place == 0 && *digit != b'0' {
                return None;
            }
            fraction += i64::from(digit - b'0') * place;
            place /= 10;
            at += 1;
        }
        if at == first || at - first > 9 {
            return None;
        }
    }
    let offset = offset(&bytes[at..])?;
    Some(midnight + (hour * 3600 + minute * 60 + second - offset) * 1_000_000 + fraction)
}

/// The offset from UTC in seconds.
#[inline]
fn offset(bytes: &[u8]) -> Option<i64> {
    let (sign, rest) = match bytes {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (two(rest, 0)?, 0),
        4 => (two(rest, 0)?, two(rest, 2)?),
        5 if rest[2] == b':' => (two(rest, 0)?, two(rest, 3)?),
        _ => return None,
    };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

#[inline]
fn two(bytes: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (bytes[at].wrapping_sub(b'0'), bytes[at + 1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then_some(i64::from(tens) * 10 + i64::from(ones))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 (Howard Hinnant's `days_from_civil`).
#[inline]
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_taken_and_refused() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-05-01T12:00:00+02:00", Some(1_714_557_600_000_000)),
            ("2024-05-01T12:00:00.123Z", Some(1_714_564_800_123_000)),
            ("2024-05-01T12:00:00.123456000Z", Some(1_714_564_800_123_456)),
            ("2024-05-01T12:00:00.1234567Z", None),
            ("2024-05-01T12:00:00.1234560000Z", None),
            ("2024-05-01T12:00:00.Z", None),
            ("2024-05-01 12:00:00", Some(1_714_564_800_000_000)),
            ("2024-05-01t12:00:00z", Some(1_714_564_800_000_000)),
            ("2024-05-01T12:00:00-0530", Some(1_714_584_600_000_000)),
            ("2024-05-01", Some(1_714_521_600_000_000)),
            ("0000-01-01T00:00:00Z", Some(-62_167_219_200_000_000)),
            ("9999-12-31T23:59:59.999999Z", Some(253_402_300_799_999_999)),
            ("0000-00-00", None),
            ("2023-02-29", None),
            ("2024-02-29", Some(1_709_164_800_000_000)),
            ("2016-12-31T23:59:60Z", None),
            ("2024-05-01T24:00:00Z", None),
            ("2024-05-01T12:00:00+99:99", None),
            ("2024-05-01T12:00Z", None),
            ("+12024-05-01T12:00:00Z", None),
            ("12024-05-01T12:00:00Z", None),
            ("1714564800000", None),
            ("", None),
            ("2024-05-01T12:00:00Zjunk", None),
            ("２０２４-05-01", None),
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_jiff(instant in -62_135_596_800_000_000i64..253_402_207_200_000_000) {
            let timestamp = Timestamp::from_microsecond(instant).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(micros(&timestamp.to_string()), Some(instant));
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = micros(&text);
        }

        #[test]
        fn never_panics_near_the_form(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]?[0-9:.]{0,20}[Zz+-]?[0-9:]{0,6}") {
            let _ = micros(&text);
        }
    }
}
