//! The types a column can have, whatever the destination calls them.

use std::fmt;

use arrow::datatypes::{DataType, Field, TimeUnit};
use bobbin_core::schema::{Kind, Schema};

/// Digits of a decimal column in all, and behind the point.
pub const DECIMAL: (u8, i8) = (38, 9);

/// The time zone of instants in Arrow arrays: UTC, as an offset so that no zone data is needed.
pub const UTC: &str = "+00:00";

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ColumnType {
    /// `true` or `false`.
    Boolean,
    /// A whole number of 64 bits.
    BigInt,
    /// A double; holds only numbers whose shortest form is the source's number.
    Double,
    /// A number of 38 digits, 9 of them behind the point.
    Decimal,
    /// Text.
    Text,
    /// An instant in microseconds, UTC.
    DateTime,
    /// JSON text as the source wrote it.
    Json,
    /// A list of one scalar type; items may be null.
    List(Scalar),
}

/// The type of a list's items.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scalar {
    /// As [`ColumnType::Boolean`].
    Boolean,
    /// As [`ColumnType::BigInt`].
    BigInt,
    /// As [`ColumnType::Double`].
    Double,
    /// As [`ColumnType::Text`].
    Text,
    /// As [`ColumnType::DateTime`].
    DateTime,
}

/// Every type there is.
pub const ALL: [ColumnType; 12] = [
    ColumnType::Boolean,
    ColumnType::BigInt,
    ColumnType::Double,
    ColumnType::Decimal,
    ColumnType::Text,
    ColumnType::DateTime,
    ColumnType::Json,
    ColumnType::List(Scalar::Boolean),
    ColumnType::List(Scalar::BigInt),
    ColumnType::List(Scalar::Double),
    ColumnType::List(Scalar::Text),
    ColumnType::List(Scalar::DateTime),
];

impl ColumnType {
    /// The type a declared shape asks for; `None` where the first value decides.
    pub fn declared(schema: &Schema) -> Option<Self> {
        match &schema.kind {
            Kind::Any | Kind::Union(_) => None,
            Kind::Boolean => Some(Self::Boolean),
            Kind::Integer => Some(Self::BigInt),
            Kind::Number => Some(Self::Double),
            Kind::Text => Some(Self::Text),
            Kind::DateTime => Some(Self::DateTime),
            Kind::Object(_) => Some(Self::Json),
            Kind::Array(items) => Some(Scalar::declared(items).map_or(Self::Json, Self::List)),
        }
    }

    /// What is put behind `__` in the name of a sibling column of this type
    /// (`stitch-behaviour.md` 7.6, the PostgreSQL column).
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Boolean => "bo",
            Self::BigInt => "bi",
            Self::Double => "do",
            Self::Decimal => "de",
            Self::Text => "st",
            Self::DateTime => "ti",
            Self::Json => "js",
            Self::List(Scalar::Boolean) => "list_bo",
            Self::List(Scalar::BigInt) => "list_bi",
            Self::List(Scalar::Double) => "list_do",
            Self::List(Scalar::Text) => "list_st",
            Self::List(Scalar::DateTime) => "list_ti",
        }
    }

    /// The type with this [suffix](Self::suffix); how types are written in a stored column map.
    pub fn from_suffix(suffix: &str) -> Option<Self> {
        ALL.into_iter().find(|ty| ty.suffix() == suffix)
    }

    /// The Arrow type of its arrays.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::BigInt => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Decimal => DataType::Decimal128(DECIMAL.0, DECIMAL.1),
            Self::Text | Self::Json => DataType::Utf8,
            Self::DateTime => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::List(item) => DataType::List(item_field(item)),
        }
    }
}

/// The Arrow field of a list's items.
pub(crate) fn item_field(item: Scalar) -> arrow::datatypes::FieldRef {
    std::sync::Arc::new(Field::new("item", item.column().arrow(), true))
}

impl Scalar {
    fn declared(schema: &Schema) -> Option<Self> {
        match &schema.kind {
            Kind::Boolean => Some(Self::Boolean),
            Kind::Integer => Some(Self::BigInt),
            Kind::Number => Some(Self::Double),
            Kind::Text => Some(Self::Text),
            Kind::DateTime => Some(Self::DateTime),
            Kind::Any | Kind::Union(_) | Kind::Object(_) | Kind::Array(_) => None,
        }
    }

    /// The same type for a column of its own.
    pub fn column(self) -> ColumnType {
        match self {
            Self::Boolean => ColumnType::Boolean,
            Self::BigInt => ColumnType::BigInt,
            Self::Double => ColumnType::Double,
            Self::Text => ColumnType::Text,
            Self::DateTime => ColumnType::DateTime,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "a boolean",
            Self::BigInt => "a whole number",
            Self::Double => "a number",
            Self::Decimal => "a decimal number",
            Self::Text => "text",
            Self::DateTime => "a date-time",
            Self::Json => "an object or array",
            Self::List(_) => "a list",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_distinct_and_lead_back() {
        for ty in ALL {
            assert_eq!(ColumnType::from_suffix(ty.suffix()), Some(ty));
        }
    }

    #[test]
    fn declared_shapes_become_types() {
        let of = |kind| ColumnType::declared(&Schema::of(kind));
        assert_eq!(of(Kind::Integer), Some(ColumnType::BigInt));
        assert_eq!(of(Kind::Any), None);
        assert_eq!(
            ColumnType::declared(&Schema::array(Schema::of(Kind::Text))),
            Some(ColumnType::List(Scalar::Text))
        );
        assert_eq!(ColumnType::declared(&Schema::array(Schema::map())), Some(ColumnType::Json));
        assert_eq!(ColumnType::declared(&Schema::map()), Some(ColumnType::Json));
    }
}
