//! Words of SQL: quoting, and DuckDB's names for our types.

use bobbin_load::shape::types::ColumnType;

/// A name in double quotes.
pub(crate) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in single quotes.
pub(crate) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The type as it is written in DDL.
pub(crate) fn column_type(ty: ColumnType) -> String {
    match ty {
        ColumnType::Boolean => "BOOLEAN".to_owned(),
        ColumnType::BigInt => "BIGINT".to_owned(),
        ColumnType::Double => "DOUBLE".to_owned(),
        ColumnType::Decimal => "DECIMAL(38,9)".to_owned(),
        ColumnType::Text => "VARCHAR".to_owned(),
        // As the catalogue spells TIMESTAMPTZ, so that both can be compared.
        ColumnType::DateTime => "TIMESTAMP WITH TIME ZONE".to_owned(),
        ColumnType::Json => "JSON".to_owned(),
        ColumnType::List(item) => format!("{}[]", column_type(item.column())),
    }
}
