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
use crate::table::Table;

/// Moves the waiting rows of a family's tables; gives how many records were inserted or replaced
/// another. `staged` says how many rows wait for each table.
///
/// Items go with their records: those of a record that was replaced are deleted, also where the new
/// one has fewer or none (C21), and only items of records that won arrive.
///
/// Where the table is being replaced as a whole, by `version`, a record that the version has in an
/// older form than the table stays as it is and belongs to that version from then on.
pub(crate) fn merge(
    db: &mut Client,
    tables: &[Table],
    staged: &[u64],
    (keys, versions): (&[usize], &[Vec<usize>]),
    version: Option<i64>,
) -> Result<u64> {
    let Some((own, children)) = tables.split_first() else { return Ok(0) };
    let what = "cannot replace earlier versions";
    let moved = db
        .execute(statement(own, keys, versions)?.as_str(), &[])
        .doing(what)
        .map_err(|error| error.with("table", &own.name))?;
    let mut key = Vec::new();
    for &position in keys {
        key.push(sql::name(&own.column(position)?.name));
    }
    for (table, staged) in children.iter().zip(&staged[1..]).filter(|(table, _)| table.exists) {
        let mut statements = items_of_replaced(own, table, &key);
        if *staged > 0 {
            statements += &items_of_winners(own, table, &key);
        }
        db.batch_execute(&statements).doing(what).map_err(|e| e.with("table", &table.name))?;
    }
    if let Some(version) = version {
        let mut statements = held_on(own, own, (&key, &key), version);
        for table in children.iter().filter(|table| table.exists) {
            statements += &held_on(own, table, (&lead(table, key.len()), &key), version);
        }
        db.batch_execute(&statements).doing(what).map_err(|e| e.with("table", &own.name))?;
    }
    db.batch_execute(&format!("DELETE FROM {}", own.stage()))
        .doing("cannot empty a temporary table")?;
    Ok(moved)
}

/// Deletes the items of records that a waiting one has replaced. A record's sequence tells which
/// version of it is there now.
fn items_of_replaced(own: &Table, table: &Table, key: &[String]) -> String {
    format!(
        "DELETE FROM {items} AS item
         USING (SELECT DISTINCT {key}, _sdc_sequence FROM {stage}) AS stage
             JOIN {records} AS record
             ON {same} AND record._sdc_sequence = stage._sdc_sequence
         WHERE {belongs};",
        items = table.sql(),
        records = own.sql(),
        stage = own.stage(),
        same = equal(key, "record", key, "stage"),
        belongs = equal(&lead(table, key.len()), "item", key, "stage"),
        key = key.join(", "),
    )
}

/// Moves the waiting items of records that are there now.
fn items_of_winners(own: &Table, table: &Table, key: &[String]) -> String {
    let columns: Vec<String> = table.all_columns();
    let theirs: Vec<String> = columns.iter().map(|column| format!("item.{column}")).collect();
    format!(
        "INSERT INTO {items} ({columns})
         SELECT {theirs} FROM {stage} AS item JOIN {records} AS record
             ON {belongs} AND record._sdc_sequence = item._sdc_sequence;
         DELETE FROM {stage};",
        items = table.sql(),
        stage = table.stage(),
        records = own.sql(),
        belongs = equal(&lead(table, key.len()), "item", key, "record"),
        columns = columns.join(", "),
        theirs = theirs.join(", "),
    )
}

/// Takes rows whose record came with a version, but in an older form, over into that version.
fn held_on(
    own: &Table,
    table: &Table,
    (theirs, key): (&[String], &[String]),
    version: i64,
) -> String {
    format!(
        "UPDATE {held} AS held SET _sdc_table_version = {version}
         FROM (SELECT DISTINCT {columns} FROM {stage}) AS stage
         WHERE {same} AND held._sdc_table_version <> {version};",
        held = table.sql(),
        columns = key.join(", "),
        stage = own.stage(),
        same = equal(theirs, "held", key, "stage"),
    )
}

/// The columns of an item that hold its record's key, quoted.
fn lead(table: &Table, keys: usize) -> Vec<String> {
    table.lead.iter().take(keys).map(|(name, _)| sql::name(name)).collect()
}

fn equal(a: &[String], a_of: &str, b: &[String], b_of: &str) -> String {
    let pairs: Vec<String> =
        a.iter().zip(b).map(|(a, b)| format!("{a_of}.{a} = {b_of}.{b}")).collect();
    pairs.join(" AND ")
}

fn statement(table: &Table, keys: &[usize], versions: &[Vec<usize>]) -> Result<String> {
    let mut key = Vec::new();
    for &position in keys {
        key.push(sql::name(&table.column(position)?.name));
    }
    let key = key.join(", ");
    let columns = table.all_columns();
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
