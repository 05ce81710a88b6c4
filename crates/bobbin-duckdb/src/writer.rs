//! Appending typed rows to a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};
use bobbin_core::{Error, Result};
use bobbin_load::shape::batch::Batch;
use bobbin_load::shape::convert::BATCH_ROWS;
use bobbin_load::shape::types::UTC;
use duckdb::{Appender, Connection};
use jiff::Timestamp;

use crate::table::{SYSTEM, Table};

/// When a batch's rows were received and when they are written, and the version they belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) received: Timestamp,
    pub(crate) batched: Timestamp,
    pub(crate) version: i64,
}

/// Appends batches to a table. Made anew whenever the table changes.
pub(crate) struct Writer<'db> {
    appender: Appender<'db>,
    /// The positions it writes, ascending.
    active: Vec<usize>,
    schema: Arc<Schema>,
}

impl<'db> Writer<'db> {
    /// A writer for the system columns, those that every row has, and the columns at `active`.
    pub(crate) fn new(db: &'db Connection, table: &Table, active: Vec<usize>) -> Result<Self> {
        let lead = table.lead.iter().map(|(name, ty)| (name.as_str(), *ty));
        let first: Vec<_> = SYSTEM.into_iter().chain(lead).collect();
        let mut names: Vec<&str> = first.iter().map(|(name, _)| *name).collect();
        let mut fields: Vec<Field> =
            first.iter().map(|(name, ty)| Field::new(*name, ty.arrow(), true)).collect();
        for &position in &active {
            let column = table.column(position)?;
            names.push(&column.name);
            fields.push(Field::new(&column.name, column.ty.arrow(), true));
        }
        let place = table.target();
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

    /// Appends the rows of a batch, a vector of `DuckDB`'s at a time.
    pub(crate) fn append(&mut self, table: &Table, batch: &Batch, stamp: Stamp) -> Result<()> {
        let rows = batch.rows;
        let constant = |value: i64| vec![value; rows];
        let instants = |values: Vec<i64>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone(UTC))
        };
        let mut arrays: Vec<ArrayRef> = vec![
            instants(batch.extracted_at.clone()),
            instants(constant(stamp.received.as_microsecond())),
            instants(constant(stamp.batched.as_microsecond())),
            Arc::new(Int64Array::from(batch.sequence.clone())),
            Arc::new(Int64Array::from(constant(stamp.version))),
        ];
        arrays.extend(batch.lead.iter().map(|lead| lead.array.clone()));
        let first = arrays.len();
        let mut have = batch.columns.iter().peekable();
        for (field, position) in self.schema.fields()[first..].iter().zip(&self.active) {
            match have.next_if(|(at, _)| at == position) {
                Some((_, array)) => arrays.push(array.clone()),
                None => arrays.push(nulls(field.data_type(), rows)),
            }
        }
        let record_batch = RecordBatch::try_new(self.schema.clone(), arrays)
            .map_err(|error| Error::bug("the columns do not form a batch").caused_by(error))?;
        // One record may have any number of items; what DuckDB holds before it writes is bounded.
        for from in (0..rows).step_by(BATCH_ROWS) {
            self.appender
                .append_record_batch(record_batch.slice(from, BATCH_ROWS.min(rows - from)))
                .and_then(|()| self.appender.flush())
                .map_err(|error| table.error("cannot write to the table", error))?;
        }
        Ok(())
    }
}

fn nulls(ty: &DataType, rows: usize) -> ArrayRef {
    new_null_array(ty, rows)
}
