//! Reading for people: one statement, everything as text.

use std::path::Path;
use std::sync::Arc;

use bobbin_core::{Error, ErrorKind, Result};
use bobbin_load::shape::types::UTC;
use duckdb::Connection;
use duckdb::arrow::array::{Array, ArrayRef, ListArray, TimestampMicrosecondArray};
use duckdb::arrow::datatypes::{DataType, Field};
use duckdb::arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::database::{Database, Read, attach};
use crate::error::{Cause, Doing};
use crate::sql;

/// The answer to a query.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// The columns' names.
    pub columns: Vec<String>,
    /// Per column whether it holds numbers or truth values, which JSON writes bare.
    pub bare: Vec<bool>,
    /// The rows; null is `None`.
    pub rows: Vec<Vec<Option<String>>>,
    /// True when there were more rows than asked for.
    pub more: bool,
}

/// Runs one SQL statement that changes nothing on the file at `path`; at most `limit` rows.
pub fn query(path: &Path, statement: &str, limit: usize) -> Result<Answer> {
    let open = open(path)?;
    let db = &open.connection;
    db.execute_batch("BEGIN TRANSACTION READ ONLY").doing("cannot begin a transaction")?;
    let failed = |error: duckdb::Error| {
        // The statement is the person's own, so DuckDB's whole message may be shown.
        Error::new(ErrorKind::Config, "the query failed").caused_by(Cause(error.to_string()))
    };
    let mut prepared = db.prepare(statement).map_err(failed)?;
    let mut answer = Answer::default();
    let batches = prepared.query_arrow([]).map_err(failed)?;
    for field in batches.get_schema().fields() {
        let ty = field.data_type();
        answer.columns.push(field.name().clone());
        answer.bare.push(ty.is_numeric() || *ty == DataType::Boolean);
    }
    let options = FormatOptions::default();
    for batch in batches {
        let columns: Vec<ArrayRef> = batch.columns().iter().map(as_offset).collect();
        let formats = columns
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::bug("a column cannot be shown").caused_by(error))?;
        for row in 0..batch.num_rows() {
            if answer.rows.len() == limit {
                answer.more = true;
                return Ok(answer);
            }
            let cells = columns
                .iter()
                .zip(&formats)
                .map(|(column, format)| column.is_valid(row).then(|| format.value(row).to_string()))
                .collect();
            answer.rows.push(cells);
        }
    }
    Ok(answer)
}

/// Instants with their zone as an offset, which can be shown without zone data.
fn as_offset(column: &ArrayRef) -> ArrayRef {
    if let Some(instants) = column.as_any().downcast_ref::<TimestampMicrosecondArray>()
        && instants.timezone().is_some()
    {
        return Arc::new(instants.clone().with_timezone(UTC));
    }
    if let Some(lists) = column.as_any().downcast_ref::<ListArray>() {
        let values = as_offset(lists.values());
        let field = Arc::new(Field::new("item", values.data_type().clone(), true));
        return Arc::new(ListArray::new(
            field,
            lists.offsets().clone(),
            values,
            lists.nulls().cloned(),
        ));
    }
    column.clone()
}

/// The tables of a connection's schema with their rows, by name.
pub fn table_counts(path: &Path, schema: &str) -> Result<Vec<(String, u64)>> {
    let what = "cannot count the rows";
    let open = open(path)?;
    let db = &open.connection;
    let mut statement = db
        .prepare(
            "SELECT table_name FROM duckdb_tables()
             WHERE database_name = current_database() AND schema_name = ?
               AND NOT starts_with(table_name, '_bobbin') ORDER BY table_name",
        )
        .doing(what)?;
    let names: Vec<String> = statement
        .query_map([schema], |row| row.get(0))
        .doing(what)?
        .collect::<duckdb::Result<_>>()
        .doing(what)?;
    let mut counts = Vec::new();
    for table in names {
        let rows: i64 = db
            .query_row(
                &format!("SELECT count(*) FROM {}.{}", sql::name(schema), sql::name(&table)),
                [],
                |row| row.get(0),
            )
            .doing(what)?;
        counts.push((table, rows as u64));
    }
    Ok(counts)
}

/// An open file; keeps it open where this process is loading into it.
pub(crate) struct Open {
    pub(crate) connection: Connection,
    // After the connection: it is dropped when that is closed.
    _read: Read,
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> Result<Open> {
    if !path.exists() {
        return Err(Error::config("there is no database file yet")
            .with("path", path.display())
            .hint("run the connection once; the first job makes the file"));
    }
    let read = Database::read(path)?;
    if let Read::Joined(database) = &read {
        return Ok(Open { connection: database.connect()?, _read: read });
    }
    let what = "cannot start DuckDB";
    let db = Connection::open_in_memory().doing(what)?;
    let catalog = attach(&db, path, "READ_ONLY", None)?;
    db.execute_batch(&format!("USE {}; SET TimeZone = 'UTC'", sql::name(&catalog))).doing(what)?;
    Ok(Open { connection: db, _read: read })
}
