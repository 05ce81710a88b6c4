//! PostgreSQL's binary COPY form: what is encoded, decoded again by the manual, says the same as the
//! records.

use std::fmt::Write as _;

use bobbin_load::shape::types::{ColumnType, Scalar};
use bobbin_postgres::fuzzing::encode;

use super::typing::typed;
use crate::check::{Cell, Found, Rules};

/// Microseconds from 1970 to 2000.
const EPOCH: i64 = 946_684_800_000_000;

/// The body; inputs as in [`super::typing`].
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if text.contains('␀') && text.contains("\\u0000") {
        // Two keys of one JSON value may become one by mending; which of them stays is not checked.
        return;
    }
    let Some(typed) = typed(data) else { return };
    let types: Vec<ColumnType> = typed.columns.iter().map(|column| column.ty).collect();
    let encoded = encode(&typed.batch, &types).expect("a batch can be encoded");
    let mut bytes = Bytes(&encoded.bytes);
    let rules = Rules { nul: true, long_numbers: true, ..Rules::default() };
    assert_eq!(encoded.ends.len(), typed.batch.rows);
    for row in 0..typed.batch.rows {
        assert_eq!(usize::from(bytes.u16()), types.len() + 5, "another number of fields");
        let mut found = Vec::new();
        for column in &typed.columns {
            let Some(mut value) = bytes.sized() else { continue };
            let cell = value.cell(column.ty);
            assert!(value.0.is_empty(), "bytes behind a value of {}", column.name);
            found.push(Found { path: column.path.clone(), column: column.name.clone(), cell });
        }
        for _ in 0..5 {
            assert_eq!(bytes.sized().expect("a system column").0.len(), 8);
        }
        assert_eq!(encoded.bytes.len() - bytes.0.len(), encoded.ends[row], "a row ends elsewhere");
        typed.check(row, &found, rules);
    }
    assert!(bytes.0.is_empty(), "bytes behind the last row");
}

/// Bytes to read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (front, rest) = self.0.split_first_chunk().expect("bytes enough");
        self.0 = rest;
        *front
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }

    /// A value with its length in front; `None` is null.
    fn sized(&mut self) -> Option<Bytes<'a>> {
        let length = usize::try_from(self.i32()).ok()?;
        let (front, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(Bytes(front))
    }

    fn rest(&mut self) -> String {
        let text = std::str::from_utf8(std::mem::take(&mut self.0)).expect("text in UTF-8");
        assert!(!text.contains('\0'), "a NUL that PostgreSQL refuses");
        text.to_owned()
    }

    fn cell(&mut self, ty: ColumnType) -> Cell {
        match ty {
            ColumnType::Boolean => Cell::Bool(self.take::<1>()[0] == 1),
            ColumnType::BigInt => Cell::Int(self.i64()),
            ColumnType::Double => Cell::Double(f64::from_be_bytes(self.take())),
            ColumnType::DateTime => Cell::Instant(self.i64() + EPOCH),
            ColumnType::Text => Cell::Text(self.rest()),
            ColumnType::Json => {
                assert_eq!(self.take::<1>(), [1], "another version of jsonb");
                let json = self.rest();
                // An escaped one counts as well; before it stands an even number of backslashes.
                let bare = json.replace("\\\\", "");
                assert!(!bare.contains("\\u0000"), "a NUL that jsonb refuses");
                Cell::Json(json)
            }
            ColumnType::Decimal => Cell::Decimal(self.numeric()),
            ColumnType::List(item) => self.list(item),
        }
    }

    /// `numeric_send`: number of digits to the base of 10,000, weight of the first, sign, scale.
    fn numeric(&mut self) -> String {
        let digits = self.i16();
        let weight = self.i16();
        let sign = self.u16();
        let scale = usize::from(self.u16());
        assert!(matches!(sign, 0 | 0x4000), "another sign");
        let groups: Vec<i16> = (0..digits).map(|_| self.i16()).collect();
        assert!(groups.iter().all(|group| (0..10_000).contains(group)), "no digits of base 10,000");
        assert!(groups.first() != Some(&0) && groups.last() != Some(&0), "zeros at an end");
        let at = |place: i16| {
            let n = usize::try_from(weight - place).ok();
            n.and_then(|n| groups.get(n)).copied().unwrap_or(0)
        };
        let spell = |places: &mut dyn Iterator<Item = i16>| {
            places.fold(String::new(), |mut text, place| {
                let _ = write!(text, "{:04}", at(place));
                text
            })
        };
        let whole = spell(&mut (0..=weight.max(0)).rev());
        let fraction = spell(&mut (1..=3).map(|place: i16| -place));
        let lost = fraction[scale..].bytes().any(|digit| digit != b'0');
        assert!(!lost, "digits behind the scale");
        format!("{}{whole}.{}0", if sign == 0 { "" } else { "-" }, &fraction[..scale])
    }

    /// `array_send` of no or one dimension.
    fn list(&mut self, item: Scalar) -> Cell {
        let dimensions = self.i32();
        let nulls = self.i32();
        let oid = self.i32();
        let expected = match item {
            Scalar::Boolean => 16,
            Scalar::BigInt => 20,
            Scalar::Text => 25,
            Scalar::Double => 701,
            Scalar::DateTime => 1184,
        };
        assert_eq!(oid, expected, "items of another type");
        if dimensions == 0 {
            return Cell::List(Vec::new());
        }
        assert_eq!(dimensions, 1);
        let length = self.i32();
        assert_eq!(self.i32(), 1, "another lower bound");
        let items: Vec<Option<Cell>> = (0..length)
            .map(|_| {
                let mut value = self.sized()?;
                let cell = value.cell(item.column());
                assert!(value.0.is_empty(), "bytes behind an item");
                Some(cell)
            })
            .collect();
        assert_eq!(nulls == 1, items.contains(&None), "the flag for nulls is wrong");
        Cell::List(items)
    }
}
