//! One table: what it looks like, making it grow, appending to it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};
use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_load::filter::KeyFilter;
use bobbin_load::shape::batch::Batch;
use bobbin_load::shape::convert::Converter;
use bobbin_load::shape::name;
use bobbin_load::shape::tree::Column;
use bobbin_load::shape::types::{ColumnType, UTC};
use duckdb::{Appender, Connection};
use jiff::Timestamp;
use rustc_hash::FxHashSet;

use crate::error::Doing;
use crate::ledger::Ledger;
use crate::sql;

/// The system columns every table has, with Stitch's names and meaning
/// (`stitch-behaviour.md` 7.2).
pub(crate) const SYSTEM: [(&str, ColumnType); 5] = [
    ("_sdc_extracted_at", ColumnType::DateTime),
    ("_sdc_received_at", ColumnType::DateTime),
    ("_sdc_batched_at", ColumnType::DateTime),
    ("_sdc_sequence", ColumnType::BigInt),
    ("_sdc_table_version", ColumnType::BigInt),
];

/// The version of a table that was never replaced as a whole.
const TABLE_VERSION: i64 = 1;

/// Where a table is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) catalog: String,
    pub(crate) schema: String,
    pub(crate) table: String,
}

impl Place {
    /// The full name, quoted.
    pub(crate) fn sql(&self) -> String {
        format!(
            "{}.{}.{}",
            sql::name(&self.catalog),
            sql::name(&self.schema),
            sql::name(&self.table)
        )
    }
}

/// A table of the open session.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) place: Place,
    pub(crate) stream: StreamName,
    description: Option<String>,
    /// Our columns by position; a gap is a column that never got a value.
    pub(crate) columns: Vec<Option<Column>>,
    /// Positions below this are in the stored column map.
    known: usize,
    exists: bool,
    /// Keys the table may hold; `None` until it is worth reading them all.
    pub(crate) filter: Option<KeyFilter>,
    /// Segments whose keys were looked up for want of a filter.
    pub(crate) look_ups: u32,
    /// Row ids of earlier transactions' rows that the open round replaces.
    pub(crate) doomed: FxHashSet<i64>,
}

/// When a batch's rows were received and when they are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) received: Timestamp,
    pub(crate) batched: Timestamp,
}

impl Table {
    /// Reads what is there for a stream, and the converter that fits it. Changes nothing.
    pub(crate) fn open(
        db: &Connection,
        ledger: &Ledger,
        catalog: &str,
        schema: &str,
        stream: &Stream,
    ) -> Result<(Self, Converter)> {
        let place = Place {
            catalog: catalog.to_owned(),
            schema: schema.to_owned(),
            table: name::plain(&[stream.name.as_str()]),
        };
        let stored = ledger.columns(db, stream.name.as_str())?;
        let found = found_columns(db, &place)?;
        check(&place, &stored, &found)?;
        let exists = !found.is_empty();
        let known = stored.len();
        let table = Self {
            place,
            stream: stream.name.clone(),
            description: stream.description.clone(),
            columns: stored.iter().cloned().map(Some).collect(),
            known,
            exists,
            filter: (!exists).then(KeyFilter::new),
            look_ups: 0,
            doomed: FxHashSet::default(),
        };
        let (stored, others) = sort_out(stored, &found);
        Ok((table, Converter::new(stream, stored, &others)))
    }

    pub(crate) fn exists(&self) -> bool {
        self.exists
    }

    /// The column at a position; one that a batch names is always there.
    pub(crate) fn column(&self, position: usize) -> Result<&Column> {
        self.columns
            .get(position)
            .and_then(Option::as_ref)
            .ok_or_else(|| Error::bug("a batch names a column the table does not have"))
    }

    /// Makes the columns a batch needs; gives what was changed, for people.
    pub(crate) fn grow(
        &mut self,
        db: &Connection,
        ledger: &Ledger,
        batch: &Batch,
    ) -> Result<Vec<String>> {
        if self.exists && batch.new.is_empty() || batch.rows == 0 {
            return Ok(Vec::new());
        }
        let target = self.place.sql();
        let mut changes = Vec::new();
        let mut ddl = String::new();
        if self.exists {
            for (_, column) in &batch.new {
                ddl += &format!(
                    "ALTER TABLE {target} ADD COLUMN {} {};\n",
                    sql::name(&column.name),
                    sql::column_type(column.ty)
                );
                changes.push(format!("{}: added column {}", self.place.table, column.name));
            }
        } else {
            let columns: Vec<String> = batch
                .new
                .iter()
                .map(|(_, column)| (column.name.as_str(), column.ty))
                .chain(SYSTEM)
                .map(|(name, ty)| format!("{} {}", sql::name(name), sql::column_type(ty)))
                .collect();
            ddl += &format!("CREATE TABLE {target} ({});\n", columns.join(", "));
            if let Some(text) = &self.description {
                ddl += &format!("COMMENT ON TABLE {target} IS {};\n", sql::text(text));
            }
            changes.push(format!(
                "{}: created table with {} columns",
                self.place.table,
                batch.new.len()
            ));
        }
        for (_, column) in &batch.new {
            if let Some(text) = &column.description {
                ddl += &format!(
                    "COMMENT ON COLUMN {target}.{} IS {};\n",
                    sql::name(&column.name),
                    sql::text(text)
                );
            }
        }
        db.execute_batch(&ddl).doing("cannot change the table")?;
        ledger.add_columns(db, self.stream.as_str(), &batch.new, self.known)?;
        for (position, column) in &batch.new {
            if self.columns.len() <= *position {
                self.columns.resize(position + 1, None);
            }
            self.columns[*position] = Some(column.clone());
        }
        self.exists = true;
        Ok(changes)
    }

    /// The error of a statement on this table.
    pub(crate) fn error(&self, what: &str, error: duckdb::Error) -> Error {
        let text = error.to_string();
        let out = crate::error::duckdb(what, error).with("table", &self.place.table);
        if text.contains("NOT NULL constraint") {
            return out.hint(
                "a column that was added to this table by hand does not allow null; bobbin has no \
                 value for it: drop the constraint or the column",
            );
        }
        out
    }
}

/// The columns of a table in their order with the catalogue's type names; none when it is missing.
pub(crate) fn found_columns(db: &Connection, place: &Place) -> Result<Vec<(String, String)>> {
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

/// The remembered columns, with whether they are there, and the columns that are not ours.
pub(crate) fn sort_out(
    stored: Vec<Column>,
    found: &[(String, String)],
) -> (Vec<(Column, bool)>, Vec<String>) {
    let others = found
        .iter()
        .filter(|(name, _)| !stored.iter().any(|column| same(&column.name, name)))
        .map(|(name, _)| name.clone())
        .collect();
    let there = |column: &Column| found.iter().any(|(name, _)| same(name, &column.name));
    let stored = stored.into_iter().map(|column| {
        let there = there(&column);
        (column, there)
    });
    (stored.collect(), others)
}

/// Stops a table that was changed in a way that would lose data.
pub(crate) fn check(place: &Place, stored: &[Column], found: &[(String, String)]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let conflict = |message: &str, column: &str| {
        Error::new(ErrorKind::SchemaConflict, message)
            .with("table", format!("{}.{}", place.schema, place.table))
            .with("column", column)
    };
    for (system, ty) in SYSTEM {
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

fn retyped(error: Error, found: &str, expected: &str, place: &Place, column: &str) -> Error {
    error.with("found", found).with("expected", expected).hint(format!(
        "ALTER TABLE {}.{} ALTER {} TYPE {expected}; or drop the column, and bobbin makes it \
         again for new values (reset the stream to fill it)",
        sql::name(&place.schema),
        sql::name(&place.table),
        sql::name(column)
    ))
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Appends batches to a table. Made anew whenever the table changes.
pub(crate) struct Writer<'db> {
    appender: Appender<'db>,
    /// The positions it writes, ascending.
    active: Vec<usize>,
    schema: Arc<Schema>,
}

impl<'db> Writer<'db> {
    /// A writer for the system columns and the columns at `active`.
    pub(crate) fn new(db: &'db Connection, table: &Table, active: Vec<usize>) -> Result<Self> {
        let mut names: Vec<&str> = SYSTEM.iter().map(|(name, _)| *name).collect();
        let mut fields: Vec<Field> =
            SYSTEM.iter().map(|(name, ty)| Field::new(*name, ty.arrow(), true)).collect();
        for &position in &active {
            let column = table.column(position)?;
            names.push(&column.name);
            fields.push(Field::new(&column.name, column.ty.arrow(), true));
        }
        let place = &table.place;
        let appender = db
            .appender_with_columns_to_catalog_and_db(
                &place.table,
                &place.catalog,
                &place.schema,
                &names,
            )
            .map_err(|error| table.error("cannot write to the table", error))?;
        Ok(Self { appender, active, schema: Arc::new(Schema::new(fields)) })
    }

    /// Whether all columns of a batch are among those it writes.
    pub(crate) fn covers(&self, batch: &Batch) -> bool {
        batch.columns.iter().all(|(position, _)| self.active.binary_search(position).is_ok())
    }

    /// The positions it writes and those a batch needs.
    pub(crate) fn union(&self, batch: &Batch) -> Vec<usize> {
        let mut all = self.active.clone();
        all.extend(batch.columns.iter().map(|(position, _)| position));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Appends the rows of a batch.
    pub(crate) fn append(&mut self, table: &Table, batch: &Batch, times: Times) -> Result<()> {
        let rows = batch.rows;
        let constant = |value: i64| vec![value; rows];
        let instants = |values: Vec<i64>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone(UTC))
        };
        let mut arrays: Vec<ArrayRef> = vec![
            instants(batch.extracted_at.clone()),
            instants(constant(times.received.as_microsecond())),
            instants(constant(times.batched.as_microsecond())),
            Arc::new(Int64Array::from(batch.sequence.clone())),
            Arc::new(Int64Array::from(constant(TABLE_VERSION))),
        ];
        let mut have = batch.columns.iter().peekable();
        for (field, position) in self.schema.fields()[SYSTEM.len()..].iter().zip(&self.active) {
            match have.next_if(|(at, _)| at == position) {
                Some((_, array)) => arrays.push(array.clone()),
                None => arrays.push(nulls(field.data_type(), rows)),
            }
        }
        let record_batch = RecordBatch::try_new(self.schema.clone(), arrays)
            .map_err(|error| Error::bug("the columns do not form a batch").caused_by(error))?;
        self.appender
            .append_record_batch(record_batch)
            .and_then(|()| self.appender.flush())
            .map_err(|error| table.error("cannot write to the table", error))
    }
}

fn nulls(ty: &DataType, rows: usize) -> ArrayRef {
    new_null_array(ty, rows)
}
