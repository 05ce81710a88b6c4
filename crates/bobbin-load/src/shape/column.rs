//! A column under construction: values pushed row by row, nulls only where they are needed.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use bobbin_core::json::{JsonError, Peek, Reader};

use super::types::{ColumnType, Scalar, UTC, item_field};
use super::{number, time};

/// The values of one column of the batch being built.
///
/// A builder is padded with nulls only when a value comes or the batch ends, so a column that is
/// absent from a batch costs nothing.
#[derive(Debug)]
pub struct Builder {
    ty: ColumnType,
    valid: Vec<bool>,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Boolean(Vec<bool>),
    /// Whole numbers, and instants in microseconds.
    Int(Vec<i64>),
    Double(Vec<f64>),
    Decimal(Vec<i128>),
    Text {
        offsets: Vec<i32>,
        bytes: Vec<u8>,
    },
    List {
        offsets: Vec<i32>,
        items: Box<Builder>,
    },
}

impl Builder {
    /// An empty builder.
    pub fn new(ty: ColumnType) -> Self {
        let data = match ty {
            ColumnType::Boolean => Data::Boolean(Vec::new()),
            ColumnType::BigInt | ColumnType::DateTime => Data::Int(Vec::new()),
            ColumnType::Double => Data::Double(Vec::new()),
            ColumnType::Decimal => Data::Decimal(Vec::new()),
            ColumnType::Text | ColumnType::Json => {
                Data::Text { offsets: vec![0], bytes: Vec::new() }
            }
            ColumnType::List(item) => {
                Data::List { offsets: vec![0], items: Box::new(Self::new(item.column())) }
            }
        };
        Self { ty, valid: Vec::new(), data }
    }

    /// Rows so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.valid.len()
    }

    /// Whether there is no row yet.
    pub fn is_empty(&self) -> bool {
        self.valid.is_empty()
    }

    /// Fills up with nulls to `rows` rows.
    #[inline]
    pub fn pad(&mut self, rows: usize) {
        if self.valid.len() < rows {
            self.pad_some(rows);
        }
    }

    fn pad_some(&mut self, rows: usize) {
        self.valid.resize(rows, false);
        match &mut self.data {
            Data::Boolean(values) => values.resize(rows, false),
            Data::Int(values) => values.resize(rows, 0),
            Data::Double(values) => values.resize(rows, 0.0),
            Data::Decimal(values) => values.resize(rows, 0),
            Data::Text { offsets, .. } | Data::List { offsets, .. } => {
                let last = offsets.last().copied().unwrap_or(0);
                offsets.resize(rows + 1, last);
            }
        }
    }

    /// Takes rows back until `rows` are left, and items of a list that was not ended: a record may
    /// break off in the middle of one.
    pub fn truncate(&mut self, rows: usize) {
        self.abandon_list();
        if self.valid.len() <= rows {
            return;
        }
        self.valid.truncate(rows);
        match &mut self.data {
            Data::Boolean(values) => values.truncate(rows),
            Data::Int(values) => values.truncate(rows),
            Data::Double(values) => values.truncate(rows),
            Data::Decimal(values) => values.truncate(rows),
            Data::Text { offsets, bytes } => {
                offsets.truncate(rows + 1);
                bytes.truncate(offsets.last().map_or(0, |&end| end as usize));
            }
            Data::List { offsets, items } => {
                offsets.truncate(rows + 1);
                items.truncate(offsets.last().map_or(0, |&end| end as usize));
            }
        }
    }

    /// Bytes of the last row's value; a null has none.
    pub fn last_bytes(&self) -> usize {
        match &self.data {
            Data::Text { offsets, .. } => match offsets.as_slice() {
                [.., from, to] => (to - from) as usize,
                _ => 0,
            },
            Data::Boolean(_) => 1,
            _ => 8,
        }
    }

    /// The last row's text; empty for other types and null.
    pub fn last_text(&self) -> &[u8] {
        match &self.data {
            Data::Text { offsets, bytes } => match offsets.as_slice() {
                [.., from, to] => &bytes[*from as usize..*to as usize],
                _ => &[],
            },
            _ => &[],
        }
    }

    /// Adds a boolean. The builder must be of that type, here and below.
    #[inline]
    pub fn push_bool(&mut self, value: bool) {
        if let Data::Boolean(values) = &mut self.data {
            values.push(value);
            self.valid.push(true);
        }
    }

    /// Adds a whole number or an instant.
    #[inline]
    pub fn push_int(&mut self, value: i64) {
        if let Data::Int(values) = &mut self.data {
            values.push(value);
            self.valid.push(true);
        }
    }

    /// Adds a double.
    #[inline]
    pub fn push_double(&mut self, value: f64) {
        if let Data::Double(values) = &mut self.data {
            values.push(value);
            self.valid.push(true);
        }
    }

    /// Adds a decimal, times 10⁹.
    #[inline]
    pub fn push_decimal(&mut self, value: i128) {
        if let Data::Decimal(values) = &mut self.data {
            values.push(value);
            self.valid.push(true);
        }
    }

    /// Adds text or JSON.
    #[inline]
    pub fn push_text(&mut self, value: &str) {
        if let Data::Text { offsets, bytes } = &mut self.data {
            bytes.extend_from_slice(value.as_bytes());
            offsets.push(bytes.len() as i32);
            self.valid.push(true);
        }
    }

    /// The items of the list being added; end it with [`Builder::push_list`].
    #[inline]
    pub fn items(&mut self) -> Option<&mut Builder> {
        match &mut self.data {
            Data::List { items, .. } => Some(items),
            _ => None,
        }
    }

    /// Ends a list whose items were added to [`Builder::items`].
    #[inline]
    pub fn push_list(&mut self) {
        if let Data::List { offsets, items } = &mut self.data {
            offsets.push(items.len() as i32);
            self.valid.push(true);
        }
    }

    /// Drops items of a list that was not ended.
    pub fn abandon_list(&mut self) {
        if let Data::List { offsets, items } = &mut self.data {
            items.truncate(offsets.last().map_or(0, |&end| end as usize));
        }
    }

    /// The array of `rows` rows, or nothing when no row has a value. Leaves an empty builder.
    pub fn finish(&mut self, rows: usize) -> Option<ArrayRef> {
        if self.valid.is_empty() {
            return None;
        }
        if !self.valid.contains(&true) {
            self.truncate(0);
            return None;
        }
        self.pad(rows);
        Some(self.array())
    }

    fn array(&mut self) -> ArrayRef {
        let capacity = self.valid.len();
        let done = std::mem::replace(self, Self::with_capacity(self.ty, capacity));
        let nulls = if done.valid.contains(&false) {
            Some(NullBuffer::new(bits(&done.valid)))
        } else {
            None
        };
        match done.data {
            Data::Boolean(values) => Arc::new(BooleanArray::new(bits(&values), nulls)),
            Data::Int(values) if done.ty == ColumnType::DateTime => Arc::new(
                TimestampMicrosecondArray::new(ScalarBuffer::from(values), nulls)
                    .with_timezone(UTC),
            ),
            Data::Int(values) => Arc::new(Int64Array::new(ScalarBuffer::from(values), nulls)),
            Data::Double(values) => Arc::new(Float64Array::new(ScalarBuffer::from(values), nulls)),
            Data::Decimal(values) => {
                let array = Decimal128Array::new(ScalarBuffer::from(values), nulls);
                Arc::new(array.with_data_type(ColumnType::Decimal.arrow()))
            }
            Data::Text { offsets, bytes } => {
                Arc::new(StringArray::new(offset_buffer(offsets), Buffer::from_vec(bytes), nulls))
            }
            Data::List { offsets, mut items } => {
                let item = match done.ty {
                    ColumnType::List(item) => item,
                    _ => Scalar::Text,
                };
                let values = items.array();
                Arc::new(ListArray::new(item_field(item), offset_buffer(offsets), values, nulls))
            }
        }
    }

    fn with_capacity(ty: ColumnType, rows: usize) -> Self {
        let mut builder = Self::new(ty);
        builder.valid.reserve(rows);
        match &mut builder.data {
            Data::Boolean(values) => values.reserve(rows),
            Data::Int(values) => values.reserve(rows),
            Data::Double(values) => values.reserve(rows),
            Data::Decimal(values) => values.reserve(rows),
            Data::Text { offsets, .. } | Data::List { offsets, .. } => offsets.reserve(rows),
        }
        builder
    }
}

fn bits(values: &[bool]) -> BooleanBuffer {
    BooleanBuffer::from(values)
}

fn offset_buffer(offsets: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

/// Reads an array into a list; false (with items left to abandon) when an item is of another type.
pub(super) fn list(
    r: &mut Reader<'_>,
    builder: &mut Builder,
    item: Scalar,
) -> Result<bool, JsonError> {
    let Some(items) = builder.items() else { return Ok(false) };
    r.array()?;
    while r.item()? {
        match (r.peek()?, item) {
            (Peek::Null, _) => {
                r.null()?;
                items.pad(items.len() + 1);
            }
            (Peek::String, Scalar::Text) => {
                let text = r.string()?;
                if text.escaped {
                    items.push_text(&text.decode());
                } else {
                    items.push_text(text.raw);
                }
            }
            (Peek::String, Scalar::DateTime) => match time::micros(r.string()?.raw) {
                Some(micros) => items.push_int(micros),
                None => return Ok(false),
            },
            (Peek::Number, Scalar::BigInt) => match number::integer(r.number()?) {
                Some(value) => items.push_int(value),
                None => return Ok(false),
            },
            (Peek::Number, Scalar::Double) => match number::exact_double(r.number()?) {
                Some(value) => items.push_double(value),
                None => return Ok(false),
            },
            (Peek::Bool, Scalar::Boolean) => items.push_bool(r.bool()?),
            _ => return Ok(false),
        }
    }
    builder.push_list();
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use arrow::array::Array;

    use super::*;
    use crate::shape::types::ALL;

    #[test]
    fn a_column_without_values_gives_no_array() {
        for ty in ALL {
            let mut builder = Builder::new(ty);
            assert!(builder.finish(3).is_none());
            builder.pad(2);
            assert!(builder.finish(3).is_none());
            assert!(builder.is_empty());
        }
    }

    #[test]
    fn rows_can_be_taken_back() {
        let mut builder = Builder::new(ColumnType::List(Scalar::Text));
        builder.pad(1);
        builder.items().unwrap().push_text("a");
        builder.push_list();
        builder.items().unwrap().push_text("b");
        builder.push_list();
        builder.items().unwrap().push_text("left over");
        builder.truncate(2);
        builder.items().unwrap().push_text("c");
        builder.items().unwrap().pad(2 + 1);
        builder.push_list();
        let array = builder.finish(4).unwrap();
        let lists = array.as_any().downcast_ref::<ListArray>().unwrap();
        assert_eq!(lists.len(), 4);
        assert!(lists.is_null(0) && lists.is_null(3));
        let items = lists.value(2);
        let items = items.as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(items.iter().collect::<Vec<_>>(), [Some("c"), None]);
    }

    #[test]
    fn every_type_has_the_arrow_type_it_promises() {
        for ty in ALL {
            let mut builder = Builder::new(ty);
            builder.push_bool(true);
            builder.push_int(1);
            builder.push_double(1.0);
            builder.push_decimal(1);
            builder.push_text("1");
            builder.push_list();
            assert_eq!(builder.len(), 1, "{ty:?}");
            let array = builder.finish(2).unwrap();
            assert_eq!(array.data_type(), &ty.arrow());
            assert_eq!(array.null_count(), 1);
        }
    }
}
