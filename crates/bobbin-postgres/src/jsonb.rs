//! JSON that `jsonb` can hold. It cannot hold the character NUL, half surrogate pairs, and numbers
//! beyond what `numeric` can; all else passes through untouched.

use std::borrow::Cow;

/// Digits beyond which a number is written as text; `numeric` ends at 131,072 before and 16,383
/// behind the point.
const DIGITS: usize = 16_000;

/// The same value in a form that can be stored, and how many places had to be changed: NUL becomes
/// `␀`, half a surrogate pair `\u{fffd}`, a number beyond all measure its text.
pub(crate) fn storable(json: &str) -> (Cow<'_, str>, u64) {
    let bytes = json.as_bytes();
    let mut out: Option<String> = None;
    let mut changes = 0;
    let mut copied = 0;
    let mut at = 0;
    let mut replace = |from: usize, to: usize, with: &str| {
        let out = out.get_or_insert_with(String::new);
        out.push_str(&json[copied..from]);
        out.push_str(with);
        copied = to;
        changes += 1;
    };
    let mut in_text = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                in_text = !in_text;
                at += 1;
            }
            b'\\' if in_text => {
                let Some(unit) = unit(bytes, at) else {
                    at += 2;
                    continue;
                };
                let next = unit_after_high(bytes, at, unit);
                match unit {
                    0 => replace(at, at + 6, "\u{2400}"),
                    0xd800..=0xdbff if next => at += 6,
                    0xd800..=0xdfff => replace(at, at + 6, "\u{fffd}"),
                    _ => {}
                }
                at += 6;
            }
            b'-' | b'0'..=b'9' if !in_text => {
                let end = bytes[at..]
                    .iter()
                    .position(|byte| {
                        !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
                    })
                    .map_or(bytes.len(), |length| at + length);
                let number = &json[at..end];
                if is_beyond(number) {
                    replace(at, end, &format!("\"{number}\""));
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    match out {
        None => (Cow::Borrowed(json), 0),
        Some(mut text) => {
            text.push_str(&json[copied..]);
            (Cow::Owned(text), changes)
        }
    }
}

/// The UTF-16 unit of a `\uXXXX` at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    if bytes.get(at + 1) != Some(&b'u') {
        return None;
    }
    let digits = std::str::from_utf8(bytes.get(at + 2..at + 6)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

/// Whether a high half at `at` is followed by its low one.
fn unit_after_high(bytes: &[u8], at: usize, high: u16) -> bool {
    (0xd800..=0xdbff).contains(&high)
        && bytes.get(at + 6) == Some(&b'\\')
        && unit(bytes, at + 6).is_some_and(|low| (0xdc00..=0xdfff).contains(&low))
}

fn is_beyond(number: &str) -> bool {
    if number.len() > DIGITS {
        return true;
    }
    let Some((_, exponent)) = number.split_once(['e', 'E']) else { return false };
    exponent.parse::<i64>().map_or(true, |exponent| exponent.abs() > DIGITS as i64 / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jsonb_can_hold_is_untouched_and_the_rest_mended() {
        for (given, stored, changes) in [
            (r#"{"a":[1,2.50,-1e10],"b":"é\u00e9\ud83d\ude00"}"#, None, 0),
            (r#""\\u0000""#, None, 0),
            (r#""a\u0000b\u0000""#, Some("\"a\u{2400}b\u{2400}\""), 2),
            (r#"{"\ud800":"\udc00x"}"#, Some("{\"\u{fffd}\":\"\u{fffd}x\"}"), 2),
            (r#""\ud83d\ud83d\ude00""#, Some("\"\u{fffd}\\ud83d\\ude00\""), 1),
            ("[1e400,1e400000,7]", Some("[1e400,\"1e400000\",7]"), 1),
            (r#""1e400000""#, None, 0),
        ] {
            let (text, count) = storable(given);
            assert_eq!((&*text, count), (stored.unwrap_or(given), changes));
        }
    }
}
