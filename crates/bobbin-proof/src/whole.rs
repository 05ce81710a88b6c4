//! Arrays whose items are rows of tables of their own, put together again.
//!
//! Works from the documented maps alone: `_bobbin_tables` says which tables there are, `_bobbin_columns`
//! whose field a column is. On the way it is checked that every item has its record and its place
//! (F-70).

use std::collections::BTreeMap;

use crate::check::{Cell, Found, overflow};

/// The column for fields beyond a table's limit of columns, which has no path either.
const OVERFLOW: &str = "_sdc_extra";

/// The columns that rows have beside their fields.
const SYSTEM: [&str; 4] =
    ["_sdc_extracted_at", "_sdc_received_at", "_sdc_batched_at", "_sdc_table_version"];

/// Which of a stream's tables: the paths of the arrays on the way to it.
type Sub = Vec<Vec<String>>;

/// A record's sequence and the positions in the arrays on the way to an item of it.
type Place = (i64, Vec<i64>);

/// A stream's tables, the records' own first, as the maps describe them.
#[derive(Debug, Default)]
pub struct Map {
    tables: Vec<(Sub, String)>,
    /// By table and column: the field's path, and whether it is the field's own column.
    columns: BTreeMap<(Sub, String), (Vec<String>, bool)>,
    key: Vec<String>,
}

/// A row of one of the tables.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Row {
    sequence: Option<i64>,
    key: BTreeMap<usize, Cell>,
    ids: BTreeMap<usize, i64>,
    found: Vec<Found>,
}

/// The records of a stream.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Whole {
    /// The rows by sequence; each outermost array is a [`Cell::List`] at its path.
    pub rows: BTreeMap<i64, Vec<Found>>,
    /// Sequences that are there more often than once.
    pub twice: Vec<i64>,
    /// What is wrong with the items' rows: without record, out of place, too many.
    pub strays: Vec<String>,
}

impl Map {
    /// From the rows of the maps: `sub`, `name` and `key` of `_bobbin_tables`; `sub`, `name`, `path`
    /// and `is_primary` of `_bobbin_columns`.
    pub fn new(
        tables: Vec<(String, String, Option<String>)>,
        columns: Vec<(String, String, String, bool)>,
    ) -> Self {
        let sub = |text: &str| -> Sub { serde_json::from_str(text).expect("a list of paths") };
        let mut map = Self::default();
        for (of, name, key) in tables {
            if of == "[]" {
                let key = key.map(|key| serde_json::from_str(&key).expect("a list of fields"));
                map.key = key.unwrap_or_default();
            }
            map.tables.push((sub(&of), name));
        }
        map.tables.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        for (of, name, path, primary) in columns {
            let path = serde_json::from_str(&path).expect("a path");
            let before = map.columns.insert((sub(&of), name), (path, primary));
            assert_eq!(before, None, "a column is in the map twice");
        }
        map
    }

    /// The tables' names; [`Self::join`] expects their rows in this order.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|(_, name)| name.as_str())
    }

    /// A row of the table at that place of [`Self::tables`], from its columns in their order.
    pub fn row<'a>(
        &self,
        table: usize,
        values: impl IntoIterator<Item = (&'a str, Option<Cell>)>,
    ) -> Row {
        let sub = &self.tables[table].0;
        let mut row = Row::default();
        let mut keys = 0;
        for (column, cell) in values {
            if let Some((path, primary)) = self.columns.get(&(sub.clone(), column.to_owned())) {
                let Some(cell) = cell else { continue };
                let key = self.key.iter().position(|key| path == std::slice::from_ref(key));
                if let Some(at) = key.filter(|_| sub.is_empty() && *primary) {
                    row.key.insert(at, cell.clone());
                }
                row.found.push(Found { path: path.clone(), column: column.to_owned(), cell });
            } else if column == "_sdc_sequence" {
                let Some(Cell::Int(sequence)) = cell else { panic!("{sub:?}: no sequence") };
                row.sequence = Some(sequence);
            } else if column == "__sdc_primary_key" && sub.is_empty() {
                row.key.extend(cell.map(|cell| (0, cell)));
            } else if column.starts_with("_sdc_source_key_") && !sub.is_empty() {
                row.key.extend(cell.map(|cell| (keys, cell)));
                keys += 1;
            } else if let Some(level) = level(column).filter(|level| *level < sub.len()) {
                let Some(Cell::Int(id)) = cell else { panic!("{sub:?}: no {column}") };
                row.ids.insert(level, id);
            } else {
                assert!(SYSTEM.contains(&column), "{column} is not in the column map");
            }
        }
        row
    }

    /// Puts the rows of all tables together.
    pub fn join(&self, tables: Vec<Vec<Row>>) -> Whole {
        let mut whole = Whole::default();
        let mut keys = BTreeMap::new();
        let mut levels: BTreeMap<&Sub, BTreeMap<Place, Item>> = BTreeMap::new();
        for ((sub, name), rows) in self.tables.iter().zip(tables) {
            if sub.is_empty() {
                for row in rows {
                    let sequence = row.sequence.expect("a sequence");
                    keys.insert(sequence, row.key);
                    if whole.rows.insert(sequence, row.found).is_some() {
                        whole.twice.push(sequence);
                    }
                }
                continue;
            }
            let items = levels.entry(sub).or_default();
            for row in rows {
                let sequence = row.sequence.expect("a sequence");
                let ids: Vec<i64> = row.ids.values().copied().collect();
                assert_eq!(ids.len(), sub.len(), "{name} lacks a level");
                match keys.get(&sequence) {
                    None => whole.strays.push(format!("{name}: {sequence} {ids:?} has no record")),
                    Some(key) if *key != row.key => {
                        let words = format!("{name}: {sequence} {ids:?} has another record's key");
                        whole.strays.push(words);
                    }
                    Some(_) => {}
                }
                let item = Item { found: row.found, arrays: Vec::new() };
                if items.insert((sequence, ids.clone()), item).is_some() {
                    whole.strays.push(format!("{name}: {sequence} {ids:?} is there twice"));
                }
            }
        }
        for (sub, name) in self.tables.iter().rev() {
            let Some((path, above)) = sub.split_last() else { continue };
            let above = above.to_vec();
            let mut lists: BTreeMap<Place, Vec<Option<Cell>>> = BTreeMap::new();
            for ((sequence, ids), item) in levels.remove(sub).unwrap_or_default() {
                let Some((position, ids)) = ids.split_last() else { continue };
                let list = lists.entry((sequence, ids.to_vec())).or_default();
                if *position != list.len() as i64 {
                    let words = format!("{name}: {sequence} {ids:?} {position} is out of place");
                    whole.strays.push(words);
                }
                list.push(item.cell().unwrap_or_else(|words| {
                    whole.strays.push(format!("{name}: {sequence} {ids:?} {position}: {words}"));
                    None
                }));
            }
            for (place, list) in lists {
                let (path, column, cell) = (path.clone(), name.clone(), Cell::List(list));
                let array = Found { path, column, cell };
                let owner = if above.is_empty() {
                    whole.rows.get_mut(&place.0)
                } else {
                    let items = levels.get_mut(&above);
                    items.and_then(|items| items.get_mut(&place)).map(|item| &mut item.arrays)
                };
                match owner {
                    Some(values) => values.push(array),
                    None => whole.strays.push(format!("{name}: {place:?} hang on no row")),
                }
            }
        }
        whole
    }
}

/// The N of `_sdc_level_N_id`.
fn level(column: &str) -> Option<usize> {
    column.strip_prefix("_sdc_level_")?.strip_suffix("_id")?.parse().ok()
}

/// An item's row and the arrays in it.
struct Item {
    found: Vec<Found>,
    arrays: Vec<Found>,
}

impl Item {
    /// What the item is; nothing for one that has no value at all.
    fn cell(self) -> Result<Option<Cell>, String> {
        let mut whole = None;
        for value in self.found.into_iter().chain(self.arrays) {
            if value.path.is_empty() && value.column == OVERFLOW {
                for (path, cell) in overflow(&value.cell)? {
                    // An item that is no object stands there under the name of its column.
                    let itself = whole.is_none() && path == ["value"];
                    put(&mut whole, if itself { &[] } else { &path }, cell)?;
                }
            } else {
                put(&mut whole, &value.path, value.cell)
                    .map_err(|words| format!("{}: {words}", value.column))?;
            }
        }
        Ok(whole)
    }
}

/// Puts a value into an item at its path.
fn put(whole: &mut Option<Cell>, path: &[String], cell: Cell) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else {
        return match whole.replace(cell) {
            None => Ok(()),
            Some(other) => Err(format!("a second value beside {other:?}")),
        };
    };
    match whole.get_or_insert_with(|| Cell::Object(BTreeMap::new())) {
        Cell::Object(members) => {
            let mut member = members.remove(key);
            put(&mut member, rest, cell)?;
            members.extend(member.map(|member| (key.clone(), member)));
            Ok(())
        }
        other => Err(format!("a member beside {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(subs: &[&str]) -> Map {
        let mut tables = vec![("[]".to_owned(), "t".to_owned(), Some(r#"["id"]"#.to_owned()))];
        let mut columns = vec![("[]".to_owned(), "id".to_owned(), r#"["id"]"#.to_owned(), true)];
        for sub in subs {
            tables.push(((*sub).to_owned(), format!("t{sub}"), None));
            columns.push(((*sub).to_owned(), "value".to_owned(), "[]".to_owned(), true));
        }
        Map::new(tables, columns)
    }

    fn record(map: &Map, sequence: i64) -> Row {
        let id = Some(Cell::Int(sequence));
        map.row(0, [("id", id), ("_sdc_sequence", Some(Cell::Int(sequence)))])
    }

    fn item(map: &Map, table: usize, sequence: i64, ids: &[i64], value: Option<i64>) -> Row {
        let names: Vec<String> = (0..ids.len()).map(|n| format!("_sdc_level_{n}_id")).collect();
        let ids = ids.iter().map(|id| Some(Cell::Int(*id)));
        let mut values: Vec<_> = names.iter().map(String::as_str).zip(ids).collect();
        values.push(("_sdc_source_key_id", Some(Cell::Int(sequence))));
        values.push(("_sdc_sequence", Some(Cell::Int(sequence))));
        values.push(("value", value.map(Cell::Int)));
        map.row(table, values)
    }

    #[test]
    fn arrays_of_arrays_come_together() {
        let map = map(&[r#"[["a"],[]]"#, r#"[["a"]]"#]);
        let whole = map.join(vec![
            vec![record(&map, 7)],
            vec![item(&map, 1, 7, &[1], Some(5)), item(&map, 1, 7, &[0], None)],
            vec![item(&map, 2, 7, &[0, 0], Some(6))],
        ]);
        assert_eq!((&whole.strays, &whole.twice), (&Vec::new(), &Vec::new()));
        let inner = Cell::List(vec![Some(Cell::Int(6))]);
        let outer = Cell::List(vec![Some(inner), Some(Cell::Int(5))]);
        assert_eq!(whole.rows[&7][1].path, ["a"]);
        assert_eq!(whole.rows[&7][1].cell, outer);
    }

    #[test]
    fn what_does_not_belong_is_told() {
        let map = map(&[r#"[["a"]]"#, r#"[["a"],[]]"#]);
        let strays = |items: Vec<Row>, inner: Vec<Row>| {
            map.join(vec![vec![record(&map, 7)], items, inner]).strays.join("\n")
        };
        let good = item(&map, 1, 7, &[0], None);
        assert_eq!(strays(vec![good.clone()], vec![]), "");
        let orphan = item(&map, 1, 8, &[0], None);
        assert!(strays(vec![orphan], vec![]).contains("has no record"));
        let other = Row { key: BTreeMap::from([(0, Cell::Int(9))]), ..good.clone() };
        assert!(strays(vec![other], vec![]).contains("another record's key"));
        assert!(strays(vec![good.clone(), good.clone()], vec![]).contains("there twice"));
        assert!(strays(vec![item(&map, 1, 7, &[1], None)], vec![]).contains("out of place"));
        let inner = item(&map, 2, 7, &[1, 0], Some(1));
        assert!(strays(vec![good], vec![inner.clone()]).contains("hang on no row"));
        let scalar = item(&map, 1, 7, &[0], Some(1));
        let inner = item(&map, 2, 7, &[0, 0], Some(1));
        assert!(strays(vec![scalar], vec![inner]).contains("a second value beside"));
    }
}
