//! What a table looks like in the database, and whether it is still what bobbin made.

use bobbin_core::catalog::Stream;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_load::shape::map::KnownTable;
use bobbin_load::shape::tree::{Column, Sub};
use bobbin_load::shape::types::ColumnType;
use duckdb::Connection;

use crate::error::Doing;
use crate::family::shown;
use crate::sql;
use crate::table::{Place, SYSTEM};

/// The columns of a table in their order with the catalogue's type names; none when it is missing.
pub(crate) fn columns(db: &Connection, place: &Place) -> Result<Vec<(String, String)>> {
    let what = "cannot read the table's columns";
    let mut statement = db
        .prepare(
            "SELECT column_name, data_type FROM duckdb_columns()
             WHERE database_name = ? AND schema_name = ? AND lower(table_name) = lower(?)
             ORDER BY column_index",
        )
        .doing(what)?;
    let rows = statement
        .query_map([&place.catalog, &place.schema, &place.table], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .doing(what)?;
    rows.map(|row| row.doing(what)).collect()
}

/// Stops a table that was changed in a way that would lose data.
pub(crate) fn check(
    place: &Place,
    lead: &[(String, ColumnType)],
    stored: &[Column],
    found: &[(String, String)],
) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let conflict = |message: &str, column: &str| {
        Error::new(ErrorKind::SchemaConflict, message)
            .with("table", format!("{}.{}", place.schema, place.table))
            .with("column", column)
    };
    let lead = lead.iter().map(|(name, ty)| (name.as_str(), *ty));
    for (system, ty) in SYSTEM.into_iter().chain(lead) {
        let expected = sql::column_type(ty);
        match found.iter().find(|(name, _)| same(name, system)) {
            None => {
                return Err(conflict("a system column is missing from the table", system)
                    .with("expected", &expected)
                    .hint(format!(
                        "if the table is bobbin's, restore it from a backup, or drop it and reset \
                         the stream; if it is not, rename it: {}.{} is where bobbin writes",
                        place.schema, place.table
                    )));
            }
            Some((_, found)) if *found != expected => {
                return Err(retyped(
                    conflict("a system column has another type", system),
                    found,
                    &expected,
                    place,
                    system,
                ));
            }
            Some(_) => {}
        }
    }
    for column in stored {
        let expected = sql::column_type(column.ty);
        if let Some((_, found)) = found.iter().find(|(name, _)| same(name, &column.name))
            && *found != expected
        {
            return Err(retyped(
                conflict("a column has another type", &column.name),
                found,
                &expected,
                place,
                &column.name,
            ));
        }
    }
    Ok(())
}

/// A table went since the session told which are there: whoever made it again now would hide that what
/// it held is to be read again.
pub(crate) fn dropped_meanwhile(place: &Place) -> Error {
    Error::new(ErrorKind::SchemaConflict, "the table was dropped while bobbin ran")
        .with("table", format!("{}.{}", place.schema, place.table))
        .hint("run again: its stream is read again from the start date then")
}

/// Stops a table from which a column of its key was dropped: its rows cannot be told apart.
pub(crate) fn check_key(
    db: &Connection,
    place: &Place,
    stream: &Stream,
    stored: &[(Sub, Column)],
) -> Result<()> {
    let found = columns(db, place)?;
    for key in &stream.key {
        let given = stored.iter().find(|(sub, column)| {
            sub.is_own() && column.primary && column.path == std::slice::from_ref(key)
        });
        let Some((_, column)) = given else { continue };
        if !found.iter().any(|(name, _)| same(name, &column.name)) {
            return Err(Error::new(
                ErrorKind::SchemaConflict,
                "a column of the key is missing from the table",
            )
            .with("table", format!("{}.{}", place.schema, place.table))
            .with("column", &column.name)
            .hint(format!(
                "ALTER TABLE {} ADD COLUMN {} {}, and fill it; or rename the table, and bobbin \
                 makes it anew and reads it again",
                shown(place),
                sql::name(&column.name),
                sql::column_type(column.ty)
            )));
        }
    }
    Ok(())
}

fn retyped(error: Error, found: &str, expected: &str, place: &Place, column: &str) -> Error {
    error.with("found", found).with("expected", expected).hint(format!(
        "ALTER TABLE {}.{} ALTER {} TYPE {expected}; or drop the column, and bobbin makes it \
         again for new values (or drop the table, and the next run reads it again)",
        sql::name(&place.schema),
        sql::name(&place.table),
        sql::name(column)
    ))
}

/// Whether two names are one to `DuckDB`.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// The error for a table whose rows are told apart by another key than the stream's (C23).
pub(crate) fn other_key(place: &Place, recorded: &KnownTable, stream: &Stream) -> Error {
    let shown_key = |key: &[String]| match key {
        [] => "none, every version is a row".to_owned(),
        key => key.join(", "),
    };
    let table = shown(place);
    let key = match stream.key.as_slice() {
        [] => "NULL".to_owned(),
        key => sql::text(&serde_json::json!(key).to_string()),
    };
    Error::new(ErrorKind::SchemaConflict, "the stream has another key than the table")
        .with("table", format!("{}.{}", place.schema, place.table))
        .with("key of the table", shown_key(recorded.key.as_deref().unwrap_or_default()))
        .with("key of the stream", shown_key(&stream.key))
        .hint(format!(
            "rename the table ({table}) and let bobbin make it anew; or set \
             on_key_change = \"append\", and every version becomes a row; or, where each of its \
             rows has a stream key of its own, UPDATE {}._bobbin_tables SET key = {key} \
             WHERE stream = {}",
            sql::name(&place.schema),
            sql::text(stream.name.as_str()),
        ))
}
