//! Which of two versions of a record is newer, whatever the order they arrive in.
//!
//! A version is the values of the stream's version fields, most telling first, then the
//! extraction sequence. The order is total over every kind of value: absent < boolean < text <
//! number < instant; numbers compare by value whichever column type holds them.

use std::cmp::Ordering;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};

/// A version of one record. Greater is newer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version {
    /// The version fields' values.
    pub parts: Vec<Part>,
    /// The extraction sequence.
    pub sequence: i64,
}

/// The value of one version field.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// Missing or null: older than anything.
    Absent,
    /// `false` before `true`.
    Boolean(bool),
    /// By code points; also JSON.
    Text(String),
    /// By value.
    Number(Number),
    /// Microseconds UTC.
    Instant(i64),
}

/// A number from a whole-number, double or decimal column.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// The nearest double, which decides unless equal.
    near: f64,
    /// The number times 10⁹ as far as it fits, which tells neighbours of one double apart.
    exact: i128,
}

impl Number {
    /// From a whole number.
    pub fn from_int(value: i64) -> Self {
        Self { near: value as f64, exact: i128::from(value) * 1_000_000_000 }
    }

    /// From a double.
    pub fn from_double(value: f64) -> Self {
        // A cast saturates, so that huge doubles, which no other column type can hold, are equal
        // here only if equal as doubles.
        let exact = (value.trunc() as i128).saturating_mul(1_000_000_000)
            + (value.fract() * 1e9).round() as i128;
        Self { near: value + 0.0, exact }
    }

    /// From a decimal times 10⁹.
    pub fn from_decimal(scaled: i128) -> Self {
        // Through text, because dividing would round twice and put equal numbers apart.
        let near = format!("{scaled}e-9").parse().unwrap_or(scaled as f64 / 1e9);
        Self { near, exact: scaled }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.near + 0.0, other.near + 0.0);
        a.total_cmp(&b).then(self.exact.cmp(&other.exact))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl Part {
    /// The value of a field at a row: the first of its columns that is not null there.
    pub fn at(columns: &[ArrayRef], row: usize) -> Self {
        columns
            .iter()
            .find(|column| column.is_valid(row))
            .map_or(Self::Absent, |column| Self::of(column, row))
    }

    fn of(column: &ArrayRef, row: usize) -> Self {
        let any = column.as_any();
        if let Some(column) = any.downcast_ref::<Int64Array>() {
            Self::Number(Number::from_int(column.value(row)))
        } else if let Some(column) = any.downcast_ref::<TimestampMicrosecondArray>() {
            Self::Instant(column.value(row))
        } else if let Some(column) = any.downcast_ref::<StringArray>() {
            Self::Text(column.value(row).to_owned())
        } else if let Some(column) = any.downcast_ref::<Float64Array>() {
            Self::Number(Number::from_double(column.value(row)))
        } else if let Some(column) = any.downcast_ref::<Decimal128Array>() {
            Self::Number(Number::from_decimal(column.value(row)))
        } else if let Some(column) = any.downcast_ref::<BooleanArray>() {
            Self::Boolean(column.value(row))
        } else {
            // A list: no order means anything, but it is a value.
            Self::Text(String::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_all_types_compare_by_value() {
        let mut numbers = [
            Number::from_double(1e300),
            Number::from_int(i64::MAX),
            Number::from_int(i64::MAX - 1),
            Number::from_decimal(i128::from(i64::MAX) * 1_000_000_000 + 1_000_000_000),
            Number::from_double(2.5),
            Number::from_decimal(2_500_000_001),
            Number::from_int(-3),
        ];
        numbers.sort();
        let expected = [
            Number::from_int(-3),
            Number::from_double(2.5),
            Number::from_decimal(2_500_000_001),
            Number::from_int(i64::MAX - 1),
            Number::from_int(i64::MAX),
            Number::from_decimal(i128::from(i64::MAX) * 1_000_000_000 + 1_000_000_000),
            Number::from_double(1e300),
        ];
        assert_eq!(numbers, expected);
        assert_eq!(Number::from_int(0), Number::from_double(-0.0));
        assert_eq!(Number::from_int(7), Number::from_decimal(7_000_000_000));
    }

    #[test]
    fn an_absent_field_is_older_and_the_sequence_decides_last() {
        let version = |parts: &[Part], sequence| Version { parts: parts.to_vec(), sequence };
        let rev = |value| Part::Number(Number::from_int(value));
        assert!(
            version(&[Part::Absent, Part::Instant(9)], 9) < version(&[rev(1), Part::Absent], 1)
        );
        assert!(version(&[rev(1), Part::Instant(2)], 1) < version(&[rev(2), Part::Instant(1)], 0));
        assert!(version(&[rev(1)], 1) < version(&[rev(1)], 2));
    }

    fn number() -> impl Strategy<Value = Number> {
        prop_oneof![
            any::<i64>().prop_map(Number::from_int),
            (-1e30..1e30).prop_map(Number::from_double),
            (-(10i128.pow(38))..10i128.pow(38)).prop_map(Number::from_decimal),
            (-5i64..5).prop_map(Number::from_int),
            (-5i128..5).prop_map(|v| Number::from_decimal(v * 500_000_000)),
        ]
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in number(), b in number(), c in number()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
