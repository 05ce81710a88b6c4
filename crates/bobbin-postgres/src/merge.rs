//! Upsert: of several rows with one key only the newest version stays.
//!
//! Rows that may replace others wait in a temporary table. One statement then moves the newest of
//! each key into the table unless that holds a newer one. What newer means is
//! `bobbin_load::shape::version`'s order, here in SQL.

use bobbin_core::Result;
use bobbin_load::shape::types::ColumnType;
use postgres::Client;

use crate::error::Doing;
use crate::sql;
use crate::table::{SYSTEM, Table};

/// Moves the waiting rows; gives how many were inserted or replaced another.
pub(crate) fn merge(
    db: &mut Client,
    table: &Table,
    keys: &[usize],
    versions: &[Vec<usize>],
) -> Result<u64> {
    let statement = statement(table, keys, versions)?;
    let moved = db
        .execute(statement.as_str(), &[])
        .doing("cannot replace earlier versions")
        .map_err(|error| error.with("table", &table.name))?;
    db.batch_execute(&format!("DELETE FROM {}", table.stage()))
        .doing("cannot empty a temporary table")?;
    Ok(moved)
}

fn statement(table: &Table, keys: &[usize], versions: &[Vec<usize>]) -> Result<String> {
    let mut key = Vec::new();
    for &position in keys {
        key.push(sql::name(&table.column(position)?.name));
    }
    let key = key.join(", ");
    let ours = table.columns.iter().flatten().map(|column| sql::name(&column.name));
    let columns: Vec<String> =
        ours.chain(SYSTEM.iter().map(|(name, _)| (*name).to_owned())).collect();
    let list = columns.join(", ");
    let set: Vec<String> =
        columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    let version = |row: &str| -> Vec<String> {
        let mut parts: Vec<String> =
            versions.iter().flat_map(|positions| field(table, positions, row)).collect();
        parts.push(format!("{row}._sdc_sequence"));
        parts
    };
    let newest: Vec<String> =
        version("stage").into_iter().map(|part| format!("{part} DESC")).collect();
    Ok(format!(
        "INSERT INTO {target} AS held ({list})
         SELECT {list} FROM (
             SELECT DISTINCT ON ({key}) * FROM {stage} AS stage ORDER BY {key}, {newest}) AS waiting
         ON CONFLICT ({key}) DO UPDATE SET {set}
         WHERE ({mine}) <= ({theirs})",
        target = table.sql(),
        stage = table.stage(),
        set = set.join(", "),
        newest = newest.join(", "),
        mine = version("held").join(", "),
        theirs = version("excluded").join(", "),
    ))
}

/// What orders the values of one version field: their kind (absent, boolean, text, number,
/// instant), then the value.
fn field(table: &Table, positions: &[usize], row: &str) -> Vec<String> {
    let columns: Vec<(String, ColumnType)> = positions
        .iter()
        .filter_map(|&position| table.columns.get(position).and_then(Option::as_ref))
        .map(|column| (format!("{row}.{}", sql::name(&column.name)), column.ty))
        .collect();
    if let [(column, ColumnType::DateTime)] = columns.as_slice() {
        return vec![format!("coalesce({column},'-infinity')")];
    }
    let kinds: Vec<String> = columns
        .iter()
        .map(|(column, ty)| format!("WHEN {column} IS NOT NULL THEN {}", kind(*ty)))
        .collect();
    if kinds.is_empty() {
        return Vec::new();
    }
    let mut parts = vec![format!("(CASE {} ELSE 0 END)", kinds.join(" "))];
    for (column, ty) in &columns {
        match ty {
            ColumnType::Boolean => parts.push(format!("coalesce({column},false)")),
            ColumnType::Text => parts.push(format!("(coalesce({column},'') COLLATE \"C\")")),
            ColumnType::DateTime => parts.push(format!("coalesce({column},'-infinity')")),
            ColumnType::Json => parts.push(format!("(coalesce({column}::text,'') COLLATE \"C\")")),
            ColumnType::BigInt | ColumnType::Double | ColumnType::Decimal | ColumnType::List(_) => {
            }
        }
    }
    let numbers = |cast: &str| -> Vec<String> {
        columns
            .iter()
            .filter(|(_, ty)| kind(*ty) == 3)
            .map(|(column, ty)| match ty {
                // A cast from double to numeric would keep 15 digits only.
                ColumnType::Double if cast == "numeric" => format!("{column}::text::numeric"),
                _ => format!("{column}::{cast}"),
            })
            .collect()
    };
    let near = numbers("double precision");
    if !near.is_empty() {
        parts.push(format!("coalesce({},0)", near.join(",")));
        parts.push(format!("coalesce({},0)", numbers("numeric").join(",")));
    }
    parts
}

fn kind(ty: ColumnType) -> u8 {
    match ty {
        ColumnType::Boolean => 1,
        ColumnType::Text | ColumnType::Json | ColumnType::List(_) => 2,
        ColumnType::BigInt | ColumnType::Double | ColumnType::Decimal => 3,
        ColumnType::DateTime => 4,
    }
}
