//! What a schema holds, for people who look at it.

use std::collections::BTreeMap;

use bobbin_core::destination::MOST_CELL;
use bobbin_core::held::{HeldColumn, HeldTable, Sample};
use bobbin_core::id::SchemaName;
use bobbin_core::{Error, ErrorKind, Result};
use postgres::Client;

use crate::client::connect;
use crate::config::Config;
use crate::error::Doing;
use crate::sql;

/// The tables of a schema.
pub(crate) fn tables(config: &Config, schema: &SchemaName) -> Result<Vec<HeldTable>> {
    read(&mut reading(config)?, schema)
}

fn reading(config: &Config) -> Result<Client> {
    let mut db = connect(config)?;
    db.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .doing("cannot begin a transaction")?;
    Ok(db)
}

fn read(db: &mut Client, schema: &SchemaName) -> Result<Vec<HeldTable>> {
    let rows = db
        .query(
            "SELECT c.relname::text, c.reltuples::bigint, a.attname::text,
                    format_type(a.atttypid, a.atttypmod)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT starts_with(c.relname, '_bobbin')
             ORDER BY c.relname, a.attnum",
            &[&schema.as_str()],
        )
        .doing("cannot read which tables there are")?;
    let mut tables: BTreeMap<String, HeldTable> = BTreeMap::new();
    for row in rows {
        let name: String = row.get(0);
        let table = tables.entry(name.clone()).or_insert_with(|| HeldTable {
            name,
            // -1 before its first ANALYZE.
            rows: u64::try_from(row.get::<_, i64>(1)).ok(),
            columns: Vec::new(),
        });
        table.columns.push(HeldColumn { name: row.get(2), kind: row.get(3) });
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
    let mut db = reading(config)?;
    let tables = read(&mut db, schema)?;
    let Some(held) = tables.into_iter().find(|held| held.name == table) else {
        return Err(Error::new(ErrorKind::NotFound, "there is no such table")
            .with("table", table)
            .with("schema", schema));
    };
    let columns: Vec<String> = held.columns.into_iter().map(|column| column.name).collect();
    // As one array: a select list has an end.
    let cells = columns.iter().map(|column| {
        let column = format!("{}::text", sql::name(column));
        format!("CASE WHEN length({column}) > {MOST_CELL} THEN left({column}, {MOST_CELL}) || '…' ELSE {column} END")
    });
    let rows = db
        .query(
            &format!(
                "SELECT ARRAY[{}]::text[] FROM {}.{} LIMIT {}",
                cells.collect::<Vec<_>>().join(", "),
                sql::name(schema.as_str()),
                sql::name(table),
                most + 1
            ),
            &[],
        )
        .doing("cannot read the first rows")?;
    let more = rows.len() > most;
    let rows = rows.iter().take(most).map(|row| row.get(0));
    Ok(Sample { columns, rows: rows.collect(), more })
}
