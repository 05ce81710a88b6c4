//! Upsert: of several rows with one key only the newest version stays.
//!
//! Rows that may replace others wait in a temporary table. One statement then moves the newest of
//! each key into the table unless that holds a newer one, and notes the keys that moved: items are
//! replaced by these. What newer means is `bobbin_load::shape::version`'s order, here in SQL.
//!
//! With a key of one column no statement reads more than it changes, however large the tables are:
//! rows and items are found in the indexes of their keys.

use bobbin_core::{Error, Result};
use bobbin_load::shape::types::ColumnType;
use postgres::Client;

use crate::error::Doing;
use crate::sql;
use crate::table::Table;

/// What waits for a family's tables.
pub(crate) struct Waiting<'a> {
    /// How many rows, table by table.
    pub(crate) rows: &'a [u64],
    /// Whether several of the records may have one key.
    pub(crate) repeats: bool,
    pub(crate) positions: &'a Positions,
    /// The version that takes the place of all others, where the table is replaced as a whole.
    pub(crate) replaces_by: Option<i64>,
    /// Whether one of them is to go, because it is deleted in the source.
    pub(crate) deletes: bool,
    /// Whether records that a version did not have were marked as deleted.
    pub(crate) marks: bool,
}

/// Where in the table of the records some columns are.
pub(crate) struct Positions {
    /// Those of the key, and of each version field.
    pub(crate) keys: Vec<usize>,
    pub(crate) versions: Vec<Vec<usize>>,
    /// Those that say when a record was deleted in the source.
    pub(crate) deleted_at: Vec<usize>,
}

/// What a merge did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Merged {
    /// Records that were inserted or replaced another.
    pub(crate) moved: u64,
    /// Records that are no more, because they are deleted in the source.
    pub(crate) removed: u64,
    /// Items of records that were moved: how many of which table.
    pub(crate) items: Vec<(String, u64)>,
}

/// Moves the waiting rows of a family's tables.
///
/// Items go with their records: those of a record that was replaced are deleted, also where the new
/// one has fewer or none (C21), and only items of records that won arrive.
///
/// Where the table is being replaced as a whole, a record that the new version has in an older form
/// than the table stays as it is and belongs to that version from then on; where an earlier version did
/// not have it and it was marked for that, the mark goes.
///
/// A record that is to go because it is deleted in the source moves like any other, so that it is the
/// newest version of its key that decides, and goes afterwards.
pub(crate) fn merge(db: &mut Client, tables: &[Table], waiting: &Waiting<'_>) -> Result<Merged> {
    let Some((own, children)) = tables.split_first() else {
        return Ok(Merged::default());
    };
    let what = "cannot replace earlier versions";
    let mut key = Vec::new();
    for &position in &waiting.positions.keys {
        let column = own.column(position)?;
        key.push((sql::name(&column.name), column.ty));
    }
    let children: Vec<_> =
        children.iter().zip(&waiting.rows[1..]).filter(|(table, _)| table.exists).collect();
    let won = own.won();
    let mut move_records = records(own, &key, waiting);
    if !children.is_empty() {
        let columns: Vec<String> = key
            .iter()
            .zip(&places(key.len()))
            .map(|((_, ty), place)| format!("{place} {}", sql::column_type(*ty)))
            .collect();
        db.batch_execute(&format!(
            "CREATE TEMP TABLE IF NOT EXISTS {} ({}, _sdc_sequence bigint) ON COMMIT DELETE ROWS;
             TRUNCATE {won}",
            won.trim_start_matches("pg_temp."),
            columns.join(", ")
        ))
        .doing("cannot make a temporary table")?;
        move_records = format!(
            "WITH moved AS ({move_records} RETURNING {})
             INSERT INTO {won} SELECT * FROM moved",
            returned(&key)
        );
    }
    let names: Vec<String> = key.iter().map(|(name, _)| name.clone()).collect();
    if waiting.marks
        && waiting.replaces_by.is_some()
        && let Some(mark) = own.deleted_at()
    {
        // Before the rows move: their marks are the tap's.
        db.batch_execute(&unmarked(own, &names, &mark))
            .doing(what)
            .map_err(|error| error.with("table", &own.name))?;
    }
    let moved = db
        .execute(move_records.as_str(), &[])
        .doing(what)
        .map_err(|error| error.with("table", &own.name))?;
    if let Some(version) = waiting.replaces_by {
        let mut statements = held_on(own, own, (&names, &names), version);
        for (table, _) in &children {
            statements += &held_on(own, table, (&lead(table, names.len()), &names), version);
        }
        db.batch_execute(&statements).doing(what).map_err(|e| e.with("table", &own.name))?;
    }
    let mut items = Vec::new();
    for (table, staged) in &children {
        let told = |error: Error| error.with("table", &table.name);
        let replaced = items_of_replaced(table, &won, key.len());
        db.batch_execute(&replaced).doing(what).map_err(told)?;
        if **staged > 0 {
            let winners = items_of_winners(table, &won, key.len());
            let moved = db.execute(winners.as_str(), &[]).doing(what).map_err(told)?;
            items.push((table.name.clone(), moved));
            db.batch_execute(&format!("TRUNCATE {}", table.stage())).doing(what).map_err(told)?;
        }
    }
    let children: Vec<&Table> = children.into_iter().map(|(table, _)| table).collect();
    let removed = match marked(own, &waiting.positions.deleted_at) {
        Some(marked) if waiting.deletes => remove(db, own, &children, &key, &marked)
            .map_err(|error| error.with("table", &own.name))?,
        _ => 0,
    };
    db.batch_execute(&format!("TRUNCATE {}", own.stage()))
        .doing("cannot empty a temporary table")?;
    Ok(Merged { moved, removed, items })
}

/// Removes records that waited where the row that is there for them now is marked as deleted, with
/// their items.
fn remove(
    db: &mut Client,
    own: &Table,
    children: &[&Table],
    key: &[(String, ColumnType)],
    marked: &str,
) -> Result<u64> {
    let what = "cannot remove records that are deleted in the source";
    let names: Vec<String> = key.iter().map(|(name, _)| name.clone()).collect();
    let (held, stage) = (own.sql(), own.stage());
    // As for items, an array is looked up in the index where a join would read the table.
    let delete = match names.as_slice() {
        [name] => format!(
            "DELETE FROM {held} AS held WHERE {name} = ANY (ARRAY(
                 SELECT {name} FROM {stage})) AND {marked}"
        ),
        _ => format!(
            "DELETE FROM {held} AS held USING (SELECT DISTINCT {columns} FROM {stage}) AS stage
             WHERE {same} AND {marked}",
            columns = names.join(", "),
            same = equal(&names, "held", &names, "stage"),
        ),
    };
    if children.is_empty() {
        return db.execute(&delete, &[]).doing(what);
    }
    let won = own.won();
    db.batch_execute(&format!("TRUNCATE {won}")).doing(what)?;
    let removed = db
        .execute(
            &format!(
                "WITH gone AS ({delete} RETURNING {}) INSERT INTO {won} SELECT * FROM gone",
                returned(key)
            ),
            &[],
        )
        .doing(what)?;
    for table in children {
        db.batch_execute(&items_of_replaced(table, &won, key.len()))
            .doing(what)
            .map_err(|error| error.with("items", &table.name))?;
    }
    Ok(removed)
}

/// The condition for rows, called `held`, that are marked as deleted in the source; none where no row
/// can be.
pub(crate) fn marked(own: &Table, deleted_at: &[usize]) -> Option<String> {
    let columns = deleted_at.iter().filter_map(|&position| own.column(position).ok());
    let set: Vec<String> =
        columns.map(|column| format!("held.{} IS NOT NULL", sql::name(&column.name))).collect();
    (!set.is_empty()).then(|| format!("({})", set.join(" OR ")))
}

/// What the columns of a key are called where the keys that moved are noted.
fn places(keys: usize) -> Vec<String> {
    (0..keys).map(|n| format!("k{n}")).collect()
}

fn returned(key: &[(String, ColumnType)]) -> String {
    let mut columns: Vec<String> = key.iter().map(|(name, _)| format!("held.{name}")).collect();
    columns.push("held._sdc_sequence".to_owned());
    columns.join(", ")
}

/// Deletes the items of records that were replaced.
///
/// A key of one column is compared with an array of all that moved, which the server looks up in the
/// index however many there are; for a join it would rather read a whole table of a million items.
fn items_of_replaced(table: &Table, won: &str, keys: usize) -> String {
    let (items, lead) = (table.sql(), lead(table, keys));
    match lead.as_slice() {
        [lead] => format!("DELETE FROM {items} WHERE {lead} = ANY (ARRAY(SELECT k0 FROM {won}));"),
        _ => format!(
            "DELETE FROM {items} AS item USING {won} AS won WHERE {};",
            equal(&lead, "item", &places(keys), "won")
        ),
    }
}

/// Moves the waiting items of records that were moved.
fn items_of_winners(table: &Table, won: &str, keys: usize) -> String {
    let columns: Vec<String> = table.all_columns();
    let theirs: Vec<String> = columns.iter().map(|column| format!("item.{column}")).collect();
    format!(
        "INSERT INTO {items} ({columns})
         SELECT {theirs} FROM {stage} AS item JOIN {won} AS won
             ON {belongs} AND won._sdc_sequence = item._sdc_sequence",
        items = table.sql(),
        stage = table.stage(),
        belongs = equal(&lead(table, keys), "item", &places(keys), "won"),
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
         WHERE {same} AND held._sdc_table_version IS DISTINCT FROM {version};",
        held = table.sql(),
        columns = key.join(", "),
        stage = own.stage(),
        same = equal(theirs, "held", key, "stage"),
    )
}

/// Takes the mark off records that came: marks which a tap gave are older than the rows they came
/// with, marks of our own are not.
fn unmarked(own: &Table, key: &[String], mark: &str) -> String {
    format!(
        "UPDATE {held} AS held SET {mark} = NULL
         FROM (SELECT DISTINCT {columns} FROM {stage}) AS stage
         WHERE {same} AND held.{mark} >= held._sdc_batched_at;",
        held = own.sql(),
        columns = key.join(", "),
        stage = own.stage(),
        same = equal(key, "held", key, "stage"),
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

/// The statement that moves the waiting records; the row in the table is called `held`.
fn records(table: &Table, key: &[(String, ColumnType)], waiting: &Waiting<'_>) -> String {
    let key: Vec<&str> = key.iter().map(|(name, _)| name.as_str()).collect();
    let key = key.join(", ");
    let columns = table.all_columns();
    let list = columns.join(", ");
    let set: Vec<String> =
        columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    let version = |row: &str| -> Vec<String> {
        let mut parts: Vec<String> = waiting
            .positions
            .versions
            .iter()
            .flat_map(|positions| field(table, positions, row))
            .collect();
        // A person may have made the row, or the column.
        parts.push(format!("coalesce({row}._sdc_sequence, -1)"));
        parts
    };
    let stage = table.stage();
    // Only places are sorted, not rows.
    let newest = if waiting.repeats {
        let newest: Vec<String> =
            version("stage").into_iter().map(|part| format!("{part} DESC")).collect();
        format!(
            "WHERE ctid = ANY (ARRAY(SELECT DISTINCT ON ({key}) ctid FROM {stage} AS stage
                 ORDER BY {key}, {}))",
            newest.join(", ")
        )
    } else {
        String::new()
    };
    format!(
        "INSERT INTO {target} AS held ({list})
         SELECT {list} FROM {stage} {newest}
         ON CONFLICT ({key}) DO UPDATE SET {set}
         WHERE ({mine}) <= ({theirs})",
        target = table.sql(),
        set = set.join(", "),
        mine = version("held").join(", "),
        theirs = version("excluded").join(", "),
    )
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
