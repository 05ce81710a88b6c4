//! What a file holds, for people who look at it.

use std::collections::BTreeMap;

use bobbin_core::destination::MOST_CELL;
use bobbin_core::held::{HeldColumn, HeldTable, Sample};
use bobbin_core::id::SchemaName;
use bobbin_core::{Error, ErrorKind, Result};
use duckdb::params;

use crate::config::Config;
use crate::error::Doing;
use crate::{query, sql};

/// The tables of a schema. A file that is not there is not made.
pub(crate) fn tables(config: &Config, schema: &SchemaName) -> Result<Vec<HeldTable>> {
    let what = "cannot read which tables there are";
    if !config.path.exists() {
        return Ok(Vec::new());
    }
    let open = query::open(&config.path)?;
    let mut statement = open
        .connection
        .prepare(
            "SELECT t.table_name, t.estimated_size, c.column_name, c.data_type
             FROM duckdb_tables() t JOIN duckdb_columns() c USING (database_name, schema_name, table_name)
             WHERE t.database_name = current_database() AND t.schema_name = ?
               AND NOT starts_with(t.table_name, '_bobbin')
             ORDER BY t.table_name, c.column_index",
        )
        .doing(what)?;
    let mut rows = statement.query(params![schema.as_str()]).doing(what)?;
    let mut tables: BTreeMap<String, HeldTable> = BTreeMap::new();
    while let Some(row) = rows.next().doing(what)? {
        let name: String = row.get(0).doing(what)?;
        let count: i64 = row.get(1).doing(what)?;
        let column = HeldColumn { name: row.get(2).doing(what)?, kind: row.get(3).doing(what)? };
        let table = tables.entry(name.clone()).or_insert_with(|| HeldTable {
            name,
            rows: u64::try_from(count).ok(),
            columns: Vec::new(),
        });
        table.columns.push(column);
    }
    Ok(tables.into_values().collect())
}

/// The first rows of a table.
pub(crate) fn sample(
    config: &Config,
    schema: &SchemaName,
    table: &str,
    most: usize,
) -> Result<Sample> {
    let tables = tables(config, schema)?;
    let Some(held) = tables.into_iter().find(|held| held.name == table) else {
        return Err(Error::new(ErrorKind::NotFound, "there is no such table")
            .with("table", table)
            .with("schema", schema));
    };
    // DuckDB gives an answer as a whole: it holds no more rows, and no longer texts, than are shown.
    let cells = held.columns.iter().map(|column| {
        let name = sql::name(&column.name);
        match column.kind.as_str() {
            "VARCHAR" | "JSON" => format!("left({name}::VARCHAR, {}) AS {name}", MOST_CELL + 1),
            _ => name,
        }
    });
    let statement = format!(
        "SELECT {} FROM {}.{} LIMIT {}",
        cells.collect::<Vec<_>>().join(", "),
        sql::name(schema.as_str()),
        sql::name(table),
        most + 1
    );
    let answer = query::query(&config.path, &statement, most)?;
    let cut = |text: String| match text.char_indices().nth(MOST_CELL) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    };
    let rows = answer.rows.into_iter();
    let rows = rows.map(|row| row.into_iter().map(|cell| cell.map(cut)).collect());
    Ok(Sample { columns: answer.columns, rows: rows.collect(), more: answer.more })
}
