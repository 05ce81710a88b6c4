//! Words of PostgreSQL's SQL.

use bobbin_load::shape::types::{ColumnType, Scalar};

/// A name, quoted.
pub(crate) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text literal.
pub(crate) fn text(text: &str) -> String {
    let quoted = text.replace('\0', "\u{2400}").replace('\'', "''").replace('\\', "\\\\");
    format!("E'{quoted}'")
}

/// The type of a column, as `format_type` writes it.
pub(crate) fn column_type(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Boolean => "boolean",
        ColumnType::BigInt => "bigint",
        ColumnType::Double => "double precision",
        ColumnType::Decimal => "numeric",
        ColumnType::Text => "text",
        ColumnType::DateTime => "timestamp with time zone",
        ColumnType::Json => "jsonb",
        ColumnType::List(Scalar::Boolean) => "boolean[]",
        ColumnType::List(Scalar::BigInt) => "bigint[]",
        ColumnType::List(Scalar::Double) => "double precision[]",
        ColumnType::List(Scalar::Text) => "text[]",
        ColumnType::List(Scalar::DateTime) => "timestamp with time zone[]",
    }
}
