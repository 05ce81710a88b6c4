//! A run of typed rows on its way to a destination.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use bobbin_core::receipt::{Fill, Mark, Span};
use jiff::Timestamp;
use rustc_hash::FxHashMap;

use super::tree::{Column, Sub};
use super::types::ColumnType;
use super::version::{Part, Version};

/// Rows of one table, newest version of each key only, and what could not become a row.
///
/// The rows of arrays that have tables of their own are the batch's [children](Self::children):
/// batches, too, but without keys, versions, records or rejected rows.
#[derive(Debug, Default)]
pub struct Batch {
    /// Which of the stream's tables.
    pub sub: Sub,
    /// How many rows.
    pub rows: usize,
    /// The columns that have a value here, by their position in the table; others are null.
    pub columns: Vec<(usize, ArrayRef)>,
    /// Columns that have to be made first, with their position in the table.
    pub new: Vec<(usize, Column)>,
    /// New names of columns that are there, by their position.
    pub renamed: Vec<(usize, String)>,
    /// Columns that every row of the table has, before its own: the keys and positions of an
    /// array's items, the key made for a record without one.
    pub lead: Vec<Lead>,
    /// When the source answered, one per row, microseconds UTC.
    pub extracted_at: Vec<i64>,
    /// The extraction sequence, one per row.
    pub sequence: Vec<i64>,
    /// The key columns' positions in the table, in the order of the stream's key.
    pub keys: Vec<usize>,
    /// Per version field the positions of its columns, the field's own first.
    pub versions: Vec<Vec<usize>>,
    /// The positions of the columns that say when a record was deleted in the source; empty where
    /// nobody asks ([`Deletes`](super::layout::Deletes)).
    pub deleted_at: Vec<usize>,
    /// The least and the greatest value of the stream's replication key.
    pub span: Option<Span>,
    /// How many of the records have a value in which field.
    pub fill: Fill,
    /// Older versions that were left out for a newer one in the same batch.
    pub superseded: u64,
    /// The records' text, one per row, when the destination wants it.
    pub records: Vec<Box<str>>,
    /// Records set aside.
    pub rejected: Vec<RejectedRow>,
    /// Records whose rows lack a value that has no place in the table; kept beside their rows.
    pub partial: Vec<RejectedRow>,
    /// For an array's items, the record's row of each.
    pub parents: Vec<u32>,
    /// For an array's items, their positions by level, until they become [`Batch::lead`] columns.
    pub(super) ids: Vec<Vec<i64>>,
    /// The rows of arrays that have tables of their own.
    pub children: Vec<Batch>,
}

/// A column that every row of a table has.
#[derive(Clone, Debug)]
pub struct Lead {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// Its values, none of them null.
    pub array: ArrayRef,
}

/// A record set aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RejectedRow {
    /// Why; names paths and types, never a value.
    pub reason: String,
    /// The record as it came, as far as it is kept.
    pub record: String,
}

impl Batch {
    /// A column of this batch by its position in the table.
    pub fn column(&self, position: usize) -> Option<&ArrayRef> {
        self.columns
            .binary_search_by_key(&position, |(at, _)| *at)
            .ok()
            .map(|found| &self.columns[found].1)
    }

    /// The version of a row.
    pub fn version(&self, row: usize) -> Version {
        let parts = self
            .versions
            .iter()
            .map(|columns| {
                columns
                    .iter()
                    .filter_map(|&position| self.column(position))
                    .find(|column| column.is_valid(row))
                    .map_or(Part::Absent, |column| Part::at(std::slice::from_ref(column), row))
            })
            .collect();
        Version { parts, sequence: self.sequence[row] }
    }

    /// Whether a row's record is marked as deleted in the source.
    pub fn is_deleted(&self, row: usize) -> bool {
        let columns = self.deleted_at.iter().filter_map(|&position| self.column(position));
        columns.into_iter().any(|column| column.is_valid(row))
    }

    /// The rows' keys as bytes that are equal exactly for equal keys.
    pub fn key_bytes(&self) -> KeyBytes {
        let columns: Vec<&ArrayRef> =
            self.keys.iter().filter_map(|&position| self.column(position)).collect();
        KeyBytes::of(&columns, self.rows)
    }

    /// Leaves out older versions of keys that occur more than once.
    pub(super) fn keep_newest(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let keys = self.key_bytes();
        let mut newest: FxHashMap<&[u8], usize> = FxHashMap::default();
        newest.reserve(self.rows);
        let mut dropped = vec![];
        for row in 0..self.rows {
            if let Some(other) = newest.insert(keys.at(row), row) {
                if self.version(other) > self.version(row) {
                    newest.insert(keys.at(row), other);
                    dropped.push(row);
                } else {
                    dropped.push(other);
                }
            }
        }
        if dropped.is_empty() {
            return;
        }
        self.superseded += dropped.len() as u64;
        let mut kept = vec![true; self.rows];
        for row in dropped {
            kept[row] = false;
        }
        self.retain(&kept);
    }

    fn retain(&mut self, kept: &[bool]) {
        let rows: UInt32Array =
            (0u32..).zip(kept).filter(|(_, kept)| **kept).map(|(row, _)| row).collect();
        self.rows = rows.len();
        for array in self
            .columns
            .iter_mut()
            .map(|(_, array)| array)
            .chain(self.lead.iter_mut().map(|lead| &mut lead.array))
        {
            // Taking existing rows of an array of our own types cannot fail.
            if let Ok(taken) = take(array, &rows, None) {
                *array = taken;
            }
        }
        retain(&mut self.extracted_at, kept);
        retain(&mut self.sequence, kept);
        retain(&mut self.records, kept);
        retain(&mut self.parents, kept);
        for ids in &mut self.ids {
            retain(ids, kept);
        }
        // What the record that stays is called now, by what it was called.
        let mut places = Vec::with_capacity(kept.len());
        let mut next = 0;
        for kept in kept {
            places.push(kept.then_some(next));
            next += u32::from(*kept);
        }
        for child in &mut self.children {
            let place = |row: &u32| places.get(*row as usize).copied().flatten();
            let stay: Vec<bool> = child.parents.iter().map(|row| place(row).is_some()).collect();
            if stay.contains(&false) {
                child.retain(&stay);
            }
            for row in &mut child.parents {
                *row = place(row).unwrap_or(*row);
            }
        }
    }
}

fn retain<T>(values: &mut Vec<T>, kept: &[bool]) {
    let mut keep = kept.iter();
    values.retain(|_| *keep.next().unwrap_or(&true));
}

/// The least and the greatest value of a column; none where it has none, or values of a type that a
/// replication key does not have.
pub(super) fn span(column: &ArrayRef) -> Option<Span> {
    let any = column.as_any();
    let (min, max) = if any.is::<TimestampMicrosecondArray>() {
        let (min, max) = ends(column.as_primitive::<TimestampMicrosecondType>().iter())?;
        let mark = |at| Timestamp::from_microsecond(at).ok().map(Mark::Time);
        (mark(min)?, mark(max)?)
    } else if any.is::<Int64Array>() {
        let (min, max) = ends(column.as_primitive::<Int64Type>().iter())?;
        (Mark::Number(min), Mark::Number(max))
    } else if let Some(texts) = any.downcast_ref::<StringArray>() {
        let (min, max) = ends(texts.iter())?;
        (Mark::Text(min.to_owned()), Mark::Text(max.to_owned()))
    } else {
        return None;
    };
    Some(Span { min, max })
}

fn ends<T: Ord + Copy>(values: impl Iterator<Item = Option<T>>) -> Option<(T, T)> {
    values.flatten().fold(None, |ends, value| {
        let (min, max) = ends.unwrap_or((value, value));
        Some((min.min(value), max.max(value)))
    })
}

/// The keys of many rows in one run of bytes.
#[derive(Debug, Default)]
pub struct KeyBytes {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl KeyBytes {
    /// From the key columns, which must be of the types a key may have and without nulls.
    pub fn of(columns: &[&ArrayRef], rows: usize) -> Self {
        let mut keys =
            Self { bytes: Vec::with_capacity(rows * 25), ends: Vec::with_capacity(rows) };
        if let [column] = columns
            && let Some(text) = column.as_any().downcast_ref::<StringArray>()
        {
            for row in 0..rows {
                keys.bytes.extend_from_slice(text.value(row).as_bytes());
                keys.ends.push(keys.bytes.len());
            }
            return keys;
        }
        for row in 0..rows {
            for column in columns {
                keys.eat(column, row);
            }
            keys.ends.push(keys.bytes.len());
        }
        keys
    }

    fn eat(&mut self, column: &ArrayRef, row: usize) {
        let any = column.as_any();
        if let Some(text) = any.downcast_ref::<StringArray>() {
            let text = text.value(row);
            self.bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            self.bytes.extend_from_slice(text.as_bytes());
        } else if any.is::<Int64Array>() {
            let value = column.as_primitive::<Int64Type>().value(row);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        } else if any.is::<TimestampMicrosecondArray>() {
            let value = column.as_primitive::<TimestampMicrosecondType>().value(row);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        } else if let Some(values) = any.downcast_ref::<Float64Array>() {
            // Both zeros are one key.
            self.bytes.extend_from_slice(&(values.value(row) + 0.0).to_bits().to_le_bytes());
        } else if let Some(values) = any.downcast_ref::<BooleanArray>() {
            self.bytes.push(u8::from(values.value(row)));
        }
    }

    /// The key of a row.
    pub fn at(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}
