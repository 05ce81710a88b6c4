//! Numbers keep their digits: a literal goes where it fits exactly, or stays text.

use super::types::DECIMAL;

/// The number as 64 bits, when it is written without fraction and exponent and fits.
#[inline]
pub fn integer(literal: &str) -> Option<i64> {
    let bytes = literal.as_bytes();
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    if digits.len() > 18 {
        return literal.parse().ok();
    }
    let mut value: i64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -value } else { value })
}

/// Whether it is written without fraction and exponent.
#[inline]
pub fn is_whole(literal: &str) -> bool {
    !literal.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// The double whose shortest form denotes the same number, if there is one.
#[inline]
pub fn exact_double(literal: &str) -> Option<f64> {
    let value: f64 = literal.parse().ok()?;
    // 15 significant digits always survive the way through a double and back.
    if literal.len() <= 15 && !literal.bytes().any(|byte| matches!(byte, b'e' | b'E')) {
        return Some(value);
    }
    (value.is_finite() && Digits::of(literal) == Digits::of(&format!("{value:e}"))).then_some(value)
}

/// The number times 10⁹, when that is whole and has at most 38 digits.
pub fn exact_decimal(literal: &str) -> Option<i128> {
    let Digits { negative, digits, exponent } = Digits::of(literal);
    if digits.is_empty() {
        return Some(0);
    }
    let zeros = exponent.checked_add(i64::from(DECIMAL.1))?;
    let length = i64::try_from(digits.len()).ok()?;
    if zeros < 0 || length.checked_add(zeros)? > i64::from(DECIMAL.0) {
        return None;
    }
    let mut value: i128 = 0;
    for digit in digits {
        value = value * 10 + i128::from(digit - b'0');
    }
    value *= 10i128.pow(u32::try_from(zeros).ok()?);
    Some(if negative { -value } else { value })
}

/// A number's sign, its digits from the first to the last that is not zero, and the power of ten
/// of the last: one form per number.
#[derive(PartialEq, Eq, Debug)]
struct Digits {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Digits {
    fn of(literal: &str) -> Self {
        let (mantissa, exponent) = match literal.find(['e', 'E']) {
            Some(at) => (&literal[..at], parse_exponent(&literal[at + 1..])),
            None => (literal, 0),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut exponent = exponent.saturating_sub(fraction.len() as i64);
        let mut digits: Vec<u8> =
            whole.bytes().chain(fraction.bytes()).skip_while(|&digit| digit == b'0').collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
            exponent = exponent.saturating_add(1);
        }
        if digits.is_empty() {
            exponent = 0;
        }
        Self { negative, digits, exponent }
    }
}

fn parse_exponent(text: &str) -> i64 {
    let limit = if text.starts_with('-') { i64::MIN / 4 } else { i64::MAX / 4 };
    text.parse::<i64>().map_or(limit, |value| value.clamp(i64::MIN / 4, i64::MAX / 4))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_fit_or_do_not() {
        assert_eq!(integer("0"), Some(0));
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(integer("1.0"), None);
        assert_eq!(integer("1e3"), None);
    }

    #[test]
    fn a_double_is_taken_only_when_it_says_the_same() {
        for (literal, exact) in [
            ("0.1", true),
            ("-0", true),
            ("-0.0", true),
            ("16.0", true),
            ("1e22", true),
            ("9007199254740992", true),
            ("9007199254740993", false),
            ("3.141592653589793", true),
            ("3.14159265358979323846", false),
            ("1e-400", false),
            ("1e-99999999999999999999", false),
            ("5e-324", true),
            ("4e-324", false),
            ("0e99999999999999999999", true),
            ("1.7976931348623157e308", true),
            ("12345678901234567890123", false),
            ("0.30000000000000004", true),
            ("0.300000000000000040", true),
        ] {
            assert_eq!(exact_double(literal).is_some(), exact, "{literal}");
        }
    }

    #[test]
    fn a_decimal_is_taken_only_when_it_fits() {
        assert_eq!(
            exact_decimal("9223372036854775808"),
            Some(9_223_372_036_854_775_808_000_000_000)
        );
        assert_eq!(exact_decimal("-1.5"), Some(-1_500_000_000));
        assert_eq!(exact_decimal("0.0000000001"), None);
        assert_eq!(exact_decimal("1e28"), Some(10i128.pow(37)));
        assert_eq!(exact_decimal("1e29"), None);
        assert_eq!(
            exact_decimal("99999999999999999999999999999.999999999"),
            Some(10i128.pow(38) - 1)
        );
        assert_eq!(exact_decimal("0e-5"), Some(0));
    }

    proptest! {
        #[test]
        fn every_double_is_exact_in_its_own_form(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            let text = format!("{value:?}");
            prop_assert_eq!(exact_double(&text).map(f64::to_bits), Some(value.to_bits()));
        }

        #[test]
        fn decimals_and_digits_agree(whole in 0u64..1_000_000_000_000, fraction in 0u32..1_000_000_000) {
            let literal = format!("{whole}.{fraction:09}");
            let expected = i128::from(whole) * 1_000_000_000 + i128::from(fraction);
            prop_assert_eq!(exact_decimal(&literal), Some(expected));
        }
    }
}
