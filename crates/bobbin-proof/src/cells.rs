//! Values out of Arrow arrays.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType,
};

use crate::check::Cell;

/// The value at a row; `json` says that a column of text holds JSON, which Arrow does not tell.
pub fn cell(column: &ArrayRef, row: usize, json: bool) -> Option<Cell> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Boolean => Cell::Bool(column.as_boolean().value(row)),
        DataType::Int64 => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Cell::Double(column.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => {
            Cell::Decimal(column.as_primitive::<Decimal128Type>().value_as_string(row))
        }
        DataType::Utf8 if json => Cell::Json(column.as_string::<i32>().value(row).to_owned()),
        DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Timestamp(..) => {
            Cell::Instant(column.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            Cell::List((0..items.len()).map(|item| cell(&items, item, false)).collect())
        }
        other => panic!("a column of type {other}"),
    })
}
