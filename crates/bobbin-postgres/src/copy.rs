//! Rows in PostgreSQL's binary COPY form.
//!
//! The form is described under COPY, "Binary Format", in PostgreSQL's manual; the types' own forms
//! are those of their `*send` functions.

use std::borrow::Cow;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use bobbin_core::{Error, Result};
use bobbin_load::shape::types::{ColumnType, Scalar};

use crate::jsonb;

/// Before the first row: signature, flags, length of the header's extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// After the last row.
pub(crate) const TRAILER: &[u8] = &(-1i16).to_be_bytes();

/// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH: i64 = 946_684_800_000_000;

/// A column of the rows to write; `None` is null in every row.
pub(crate) struct Field<'a>(Option<Values<'a>>);

enum Values<'a> {
    Boolean(&'a BooleanArray),
    Int(&'a Int64Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array),
    Text(&'a StringArray),
    Json(&'a StringArray),
    Instant(&'a TimestampMicrosecondArray),
    List(Scalar, &'a ListArray),
}

impl<'a> Field<'a> {
    /// The values of a column of that type.
    pub(crate) fn new(ty: ColumnType, array: Option<&'a ArrayRef>) -> Result<Self> {
        let Some(array) = array else { return Ok(Self(None)) };
        let values = match ty {
            ColumnType::Boolean => array.as_boolean_opt().map(Values::Boolean),
            ColumnType::BigInt => array.as_primitive_opt::<Int64Type>().map(Values::Int),
            ColumnType::Double => array.as_primitive_opt::<Float64Type>().map(Values::Double),
            ColumnType::Decimal => array.as_primitive_opt::<Decimal128Type>().map(Values::Decimal),
            ColumnType::Text => array.as_string_opt().map(Values::Text),
            ColumnType::Json => array.as_string_opt().map(Values::Json),
            ColumnType::DateTime => {
                array.as_primitive_opt::<TimestampMicrosecondType>().map(Values::Instant)
            }
            ColumnType::List(item) => array.as_list_opt().map(|list| Values::List(item, list)),
        };
        values
            .map(|values| Self(Some(values)))
            .ok_or_else(|| Error::bug("a column's values are not of its type"))
    }
}

/// A run of encoded rows.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) bytes: Vec<u8>,
    /// Where each row ends.
    pub(crate) ends: Vec<usize>,
    /// Characters and numbers PostgreSQL cannot hold that were replaced.
    pub(crate) mended: u64,
}

impl Rows {
    /// Appends one row: its own fields, then three instants and two whole numbers.
    pub(crate) fn push(
        &mut self,
        fields: &[Field<'_>],
        row: usize,
        instants: [i64; 3],
        numbers: [i64; 2],
    ) {
        self.bytes.extend_from_slice(&(fields.len() as i16 + 5).to_be_bytes());
        for field in fields {
            self.field(field, row);
        }
        for micros in instants {
            sized(&mut self.bytes, &instant(micros));
        }
        for number in numbers {
            sized(&mut self.bytes, &number.to_be_bytes());
        }
        self.ends.push(self.bytes.len());
    }

    /// The bytes of some rows.
    pub(crate) fn slice(&self, rows: std::ops::Range<usize>) -> &[u8] {
        let start = if rows.start == 0 { 0 } else { self.ends[rows.start - 1] };
        let end = if rows.end == 0 { 0 } else { self.ends[rows.end - 1] };
        &self.bytes[start..end]
    }

    /// How many rows.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Forgets the rows at places that are marked.
    pub(crate) fn remove(&mut self, marked: &[bool]) {
        let mut kept = Self { mended: self.mended, ..Self::default() };
        for row in (0..self.len()).filter(|&row| !marked.get(row).copied().unwrap_or(false)) {
            kept.bytes.extend_from_slice(self.slice(row..row + 1));
            kept.ends.push(kept.bytes.len());
        }
        *self = kept;
    }

    /// Forgets the rows and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn field(&mut self, field: &Field<'_>, row: usize) {
        let out = &mut self.bytes;
        match &field.0 {
            Some(Values::Boolean(values)) if values.is_valid(row) => {
                sized(out, &[u8::from(values.value(row))]);
            }
            Some(Values::Int(values)) if values.is_valid(row) => {
                sized(out, &values.value(row).to_be_bytes());
            }
            Some(Values::Double(values)) if values.is_valid(row) => {
                sized(out, &values.value(row).to_be_bytes());
            }
            Some(Values::Instant(values)) if values.is_valid(row) => {
                sized(out, &instant(values.value(row)));
            }
            Some(Values::Text(values)) if values.is_valid(row) => {
                let (text, mended) = text(values.value(row));
                self.mended += mended;
                sized(out, text.as_bytes());
            }
            Some(Values::Decimal(values)) if values.is_valid(row) => {
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                numeric(out, values.value(row));
                seal(out, start);
            }
            Some(Values::Json(values)) if values.is_valid(row) => {
                let (json, mended) = jsonb::storable(values.value(row));
                self.mended += mended;
                out.extend_from_slice(&(json.len() as i32 + 1).to_be_bytes());
                // The version of the form.
                out.push(1);
                out.extend_from_slice(json.as_bytes());
            }
            Some(Values::List(item, values)) if values.is_valid(row) => {
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                self.mended += list(out, *item, &values.value(row));
                seal(out, start);
            }
            _ => out.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }
}

/// A value with its length in front.
fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Writes the length of what was appended since `start` into the four bytes kept free there.
fn seal(out: &mut [u8], start: usize) {
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Text without NUL, which PostgreSQL cannot hold (`failures.md` 4.3), and how many were replaced.
pub(crate) fn text(text: &str) -> (Cow<'_, str>, u64) {
    if text.as_bytes().contains(&0) {
        let count = text.bytes().filter(|byte| *byte == 0).count() as u64;
        (Cow::Owned(text.replace('\0', "\u{2400}")), count)
    } else {
        (Cow::Borrowed(text), 0)
    }
}

fn instant(micros: i64) -> [u8; 8] {
    (micros - EPOCH).to_be_bytes()
}

/// `numeric`: digits to the base of 10,000, without zeros at either end.
fn numeric(out: &mut Vec<u8>, scaled: i128) {
    let (whole, nanos) =
        (scaled.unsigned_abs() / 1_000_000_000, scaled.unsigned_abs() % 1_000_000_000);
    let mut groups = Vec::with_capacity(12);
    let mut rest = whole;
    while rest > 0 {
        groups.push((rest % 10_000) as i16);
        rest /= 10_000;
    }
    groups.reverse();
    let mut weight = groups.len() as i16 - 1;
    let fraction = nanos * 1_000;
    groups.extend([100_000_000, 10_000, 1].map(|unit| (fraction / unit % 10_000) as i16));
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= leading as i16;
    if groups.is_empty() {
        weight = 0;
    }
    let mut scale = 9i16;
    let mut digits = nanos;
    while scale > 0 && digits % 10 == 0 {
        digits /= 10;
        scale -= 1;
    }
    let sign: u16 = if scaled < 0 { 0x4000 } else { 0 };
    out.extend_from_slice(&(groups.len() as i16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
    for group in groups {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

/// An array of one dimension; gives how much was mended.
fn list(out: &mut Vec<u8>, item: Scalar, items: &ArrayRef) -> u64 {
    let oid: u32 = match item {
        Scalar::Boolean => 16,
        Scalar::BigInt => 20,
        Scalar::Text => 25,
        Scalar::Double => 701,
        Scalar::DateTime => 1184,
    };
    let dimensions = i32::from(!items.is_empty());
    out.extend_from_slice(&dimensions.to_be_bytes());
    out.extend_from_slice(&i32::from(items.null_count() > 0).to_be_bytes());
    out.extend_from_slice(&oid.to_be_bytes());
    if items.is_empty() {
        return 0;
    }
    out.extend_from_slice(&(items.len() as i32).to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut mended = 0;
    for row in 0..items.len() {
        if items.is_null(row) {
            out.extend_from_slice(&(-1i32).to_be_bytes());
            continue;
        }
        match item {
            Scalar::Boolean => sized(out, &[u8::from(items.as_boolean().value(row))]),
            Scalar::BigInt => {
                sized(out, &items.as_primitive::<Int64Type>().value(row).to_be_bytes());
            }
            Scalar::Double => {
                sized(out, &items.as_primitive::<Float64Type>().value(row).to_be_bytes());
            }
            Scalar::DateTime => {
                sized(out, &instant(items.as_primitive::<TimestampMicrosecondType>().value(row)));
            }
            Scalar::Text => {
                let (text, count) = text(items.as_string::<i32>().value(row));
                mended += count;
                sized(out, text.as_bytes());
            }
        }
    }
    mended
}
