//! What a table looks like in the database, and whether it is still what bobbin made.

use bobbin_core::catalog::Stream;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_load::shape::tree::Column;
use bobbin_load::shape::types::ColumnType;
use postgres::Client;

use crate::error::Doing;
use crate::sql;
use crate::table::SYSTEM;

/// The columns of a table with the catalogue's type names; none when it is missing.
pub(crate) fn columns(db: &mut Client, schema: &str, table: &str) -> Result<Vec<(String, String)>> {
    let rows = db
        .query(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod)
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                  JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')
                   AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum",
            &[&schema, &table],
        )
        .doing("cannot read the table's columns")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Stops a table that was changed in a way that would lose data.
pub(crate) fn check(
    place: &str,
    lead: &[(String, ColumnType)],
    stored: &[Column],
    found: &[(String, String)],
) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let ours = SYSTEM
        .iter()
        .map(|(name, ty)| (*name, *ty, true))
        .chain(lead.iter().map(|(name, ty)| (name.as_str(), *ty, true)))
        .chain(stored.iter().map(|column| (column.name.as_str(), column.ty, false)));
    let quoted = place.split_once('.').map_or_else(
        || sql::name(place),
        |(schema, table)| format!("{}.{}", sql::name(schema), sql::name(table)),
    );
    for (column, ty, system) in ours {
        let expected = sql::column_type(ty);
        match found.iter().find(|(name, _)| name == column) {
            Some((_, found)) if found == expected => {}
            // A column that was dropped is made again with its next value.
            None if !system => {}
            None => {
                return Err(Error::new(
                    ErrorKind::SchemaConflict,
                    "a system column is missing from the table",
                )
                .with("table", place)
                .with("column", column)
                .with("expected", expected)
                .hint(format!(
                    "if the table is bobbin's, ALTER TABLE {quoted} ADD COLUMN {} {expected}; \
                     if it is not, rename it: this is where bobbin writes",
                    sql::name(column)
                )));
            }
            Some((_, found)) => {
                return Err(Error::new(ErrorKind::SchemaConflict, "a column has another type")
                    .with("table", place)
                    .with("column", column)
                    .with("found", found)
                    .with("expected", expected)
                    .hint(format!(
                        "ALTER TABLE {quoted} ALTER {} TYPE {expected}; or drop the column, and \
                         bobbin makes it again for new values",
                        sql::name(column)
                    )));
            }
        }
    }
    Ok(())
}

/// Whether some unique index has exactly these columns.
pub(crate) fn is_unique(
    db: &mut Client,
    schema: &str,
    table: &str,
    columns: &[String],
) -> Result<bool> {
    let rows = db
        .query(
            "SELECT array_agg(a.attname::text ORDER BY a.attname)
             FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
                  JOIN pg_namespace n ON n.oid = c.relnamespace
                  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
             WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indisvalid
                   AND i.indpred IS NULL AND i.indexprs IS NULL
             GROUP BY i.indexrelid",
            &[&schema, &table],
        )
        .doing("cannot read the table's key")?;
    let mut wanted = columns.to_vec();
    wanted.sort();
    Ok(rows.iter().any(|row| {
        let mut found: Vec<String> = row.get(0);
        found.sort();
        found == wanted
    }))
}

/// The name of a table's primary key constraint.
pub(crate) fn primary_key(db: &mut Client, schema: &str, table: &str) -> Result<Option<String>> {
    let row = db
        .query_opt(
            "SELECT x.conname::text FROM pg_constraint x JOIN pg_class c ON c.oid = x.conrelid
                  JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname = $2 AND x.contype = 'p'",
            &[&schema, &table],
        )
        .doing("cannot read the table's key")?;
    Ok(row.map(|row| row.get(0)))
}

/// The error for a table whose rows cannot be told apart by the stream's key (C23).
pub(crate) fn other_key(schema: &str, table: &str, stream: &Stream, columns: &[String]) -> Error {
    let key: Vec<String> = columns.iter().map(|column| sql::name(column)).collect();
    Error::new(ErrorKind::SchemaConflict, "the table has no unique key that is the stream's")
        .with("table", format!("{schema}.{table}"))
        .with("key", stream.key.join(", "))
        .hint(format!(
            "ALTER TABLE {}.{} ADD PRIMARY KEY ({}); or rename the table and let bobbin make it \
             anew; or set on_key_change = \"append\", and every version becomes a row",
            sql::name(schema),
            sql::name(table),
            key.join(", ")
        ))
}
