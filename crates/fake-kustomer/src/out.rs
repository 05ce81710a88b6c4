//! The byte writer behind every record: no values, no formatting machinery.

use crate::timeline::Id;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Two decimal digits for every number below 100.
static PAIRS: [[u8; 2]; 100] = pairs();

const fn pairs() -> [[u8; 2]; 100] {
    let mut table = [[0_u8; 2]; 100];
    let mut index = 0;
    while index < 100 {
        table[index] = [b'0' + (index / 10) as u8, b'0' + (index % 10) as u8];
        index += 1;
    }
    table
}

/// Writes JSON text into a buffer that is used again and again.
#[derive(Default)]
pub(crate) struct Out {
    pub(crate) buf: Vec<u8>,
}

impl Out {
    pub(crate) fn with_buffer(mut buf: Vec<u8>) -> Self {
        buf.clear();
        Self { buf }
    }

    /// Text as it is.
    #[inline(always)]
    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.buf.extend_from_slice(text.as_bytes());
        self
    }

    /// An id between quotes.
    #[inline(always)]
    pub(crate) fn id(&mut self, id: Id) -> &mut Self {
        let mut text = [b'"'; 26];
        id.write_hex(&mut text[1..25]);
        self.buf.extend_from_slice(&text);
        self
    }

    /// An id without quotes, as in a path.
    #[inline(always)]
    pub(crate) fn bare_id(&mut self, id: Id) -> &mut Self {
        let mut text = [0_u8; 24];
        id.write_hex(&mut text);
        self.buf.extend_from_slice(&text);
        self
    }

    /// A timestamp between quotes, `2026-03-02T09:14:22.310Z`.
    #[inline(always)]
    pub(crate) fn ts(&mut self, ms: i64) -> &mut Self {
        let mut text = [b'"'; 26];
        write_timestamp(ms, &mut text[1..25]);
        self.buf.extend_from_slice(&text);
        self
    }

    /// A whole number.
    #[inline(always)]
    pub(crate) fn int(&mut self, value: u64) -> &mut Self {
        let mut text = [0_u8; 20];
        let mut at = 20;
        let mut rest = value;
        while rest >= 100 {
            let pair = PAIRS[(rest % 100) as usize];
            at -= 2;
            text[at] = pair[0];
            text[at + 1] = pair[1];
            rest /= 100;
        }
        let pair = PAIRS[rest as usize];
        at -= 1;
        text[at] = pair[1];
        if rest >= 10 {
            at -= 1;
            text[at] = pair[0];
        }
        self.buf.extend_from_slice(&text[at..]);
        self
    }

    /// A signed whole number.
    pub(crate) fn signed(&mut self, value: i64) -> &mut Self {
        if value < 0 {
            self.raw("-");
        }
        self.int(value.unsigned_abs())
    }

    /// A number of hundredths, `12.05`; whole amounts lose their decimals.
    #[inline(always)]
    pub(crate) fn cents(&mut self, hundredths: u64) -> &mut Self {
        self.int(hundredths / 100);
        let rest = (hundredths % 100) as usize;
        if rest != 0 {
            let pair = PAIRS[rest];
            self.buf.push(b'.');
            self.buf.push(pair[0]);
            if pair[1] != b'0' {
                self.buf.push(pair[1]);
            }
        }
        self
    }

    /// Hexadecimal digits of a hash, lower case.
    pub(crate) fn hex(&mut self, value: u64, digits: usize) -> &mut Self {
        for place in (0..digits).rev() {
            self.buf.push(HEX[((value >> (place * 4)) & 15) as usize]);
        }
        self
    }

    /// A JSON string with whatever escapes it needs (not for the hot path).
    pub(crate) fn string(&mut self, text: &str) -> &mut Self {
        self.buf.extend_from_slice(quoted(text).as_bytes());
        self
    }

    /// `true` or `false`.
    #[inline(always)]
    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(if value { "true" } else { "false" })
    }
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writes 24 bytes, `YYYY-MM-DDTHH:MM:SS.mmmZ`; years 0 to 9999.
#[inline(always)]
fn write_timestamp(ms: i64, text: &mut [u8]) {
    let days = ms.div_euclid(86_400_000);
    let in_day = ms.rem_euclid(86_400_000) as u32;
    // Days to a civil date, after Howard Hinnant.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = (shifted - era * 146_097) as u32;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = (i64::from(year_of_era) + era * 400 + i64::from(month <= 2)).clamp(0, 9999) as u32;
    let seconds = in_day / 1000;
    let millis = in_day % 1000;
    let mut two = |at: usize, value: u32| {
        let pair = PAIRS[value as usize % 100];
        text[at] = pair[0];
        text[at + 1] = pair[1];
    };
    two(0, year / 100);
    two(2, year % 100);
    two(5, month);
    two(8, day);
    two(11, seconds / 3600);
    two(14, seconds / 60 % 60);
    two(17, seconds % 60);
    two(20, millis / 10);
    text[4] = b'-';
    text[7] = b'-';
    text[10] = b'T';
    text[13] = b':';
    text[16] = b':';
    text[19] = b'.';
    text[22] = b'0' + (millis % 10) as u8;
    text[23] = b'Z';
}

/// A timestamp as Kustomer writes it.
pub fn timestamp(ms: i64) -> String {
    let mut text = [0_u8; 24];
    write_timestamp(ms, &mut text);
    text.iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_agree_with_a_calendar_library() {
        let mut ms = -62_000_000_000_000_i64;
        while ms < 250_000_000_000_000 {
            let expected = jiff::Timestamp::from_millisecond(ms).map(|t| format!("{t:.3}"));
            assert_eq!(Ok(timestamp(ms)), expected.map_err(|_| ()));
            ms += 987_654_321_123;
        }
    }

    #[test]
    fn numbers_read_back() {
        let mut out = Out::default();
        out.int(0).raw(" ").int(7).raw(" ").int(10).raw(" ").int(12345).raw(" ").int(u64::MAX);
        out.raw(" ").cents(1250).raw(" ").cents(5).raw(" ").cents(700).raw(" ").signed(-12);
        assert_eq!(
            String::from_utf8_lossy(&out.buf),
            "0 7 10 12345 18446744073709551615 12.5 0.05 7 -12"
        );
    }
}
