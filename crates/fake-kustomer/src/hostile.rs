//! Records whose bytes a test chooses, for ever: everything a parser should survive.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::out::{Out, timestamp};
use crate::overlay::Rec;
use crate::world::World;

/// One record with bytes of your own choice. It keeps its place, id and times in every query.
///
/// Text may contain `__ID__`, `__UPDATED_AT__`, `__CREATED_AT__` and `__REV__`, which become those
/// of the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hostile {
    /// The stream.
    pub stream: String,
    /// Which record, counted from 0 in order of creation.
    pub number: u64,
    /// What its bytes are.
    #[serde(flatten)]
    pub bytes: HostileBytes,
}

/// Where the chosen bytes go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostileBytes {
    /// The whole record is this text.
    Record(String),
    /// The whole record is these bytes, written in hexadecimal.
    RecordHex(String),
    /// The value of `attributes` is this text.
    Attributes(String),
    /// These members are added to `attributes`, as in `"oddNum": 1e400`.
    Insert(String),
    /// These bytes, written in hexadecimal, become the members added to `attributes`.
    InsertHex(String),
    /// A well-known nuisance.
    Poison(Poison),
}

impl Hostile {
    /// The whole record is this text.
    pub fn record(stream: &str, number: u64, text: &str) -> Self {
        Self::new(stream, number, HostileBytes::Record(text.to_owned()))
    }

    /// The whole record is these bytes.
    pub fn record_bytes(stream: &str, number: u64, bytes: &[u8]) -> Self {
        Self::new(stream, number, HostileBytes::RecordHex(hex(bytes)))
    }

    /// The value of `attributes` is this text.
    pub fn attributes(stream: &str, number: u64, text: &str) -> Self {
        Self::new(stream, number, HostileBytes::Attributes(text.to_owned()))
    }

    /// These members are added to `attributes`.
    pub fn insert(stream: &str, number: u64, members: &str) -> Self {
        Self::new(stream, number, HostileBytes::Insert(members.to_owned()))
    }

    /// A well-known nuisance.
    pub fn poison(stream: &str, number: u64, poison: Poison) -> Self {
        Self::new(stream, number, HostileBytes::Poison(poison))
    }

    fn new(stream: &str, number: u64, bytes: HostileBytes) -> Self {
        Self { stream: stream.to_owned(), number, bytes }
    }
}

/// Well-known nuisances, each done to one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Poison {
    /// `"\ud800"` in a string.
    LoneSurrogate,
    /// `"\u0000"` in a string.
    Nul,
    /// Bytes that are no UTF-8.
    InvalidUtf8,
    /// A raw control character in a string.
    RawControl,
    /// The number `1e400`.
    HugeNumber,
    /// A whole number of 30 digits.
    LongInteger,
    /// The token `NaN`.
    Nan,
    /// Arrays 200 deep.
    Deep200,
    /// Arrays 10,000 deep.
    Deep10000,
    /// The same key twice.
    DuplicateKeys,
    /// Ten megabytes of text.
    TenMegabytes,
    /// An array of 100,000 items.
    LongArray,
    /// 5,000 custom attributes.
    ManyKeys,
    /// `"id": null`.
    NullId,
    /// No `id`.
    MissingId,
    /// A number as id.
    NumericId,
    /// `"updatedAt": null`.
    NullUpdatedAt,
    /// No `updatedAt`.
    MissingUpdatedAt,
    /// `"updatedAt": "0000-00-00"`.
    OddUpdatedAt,
    /// `updatedAt` as a number of milliseconds.
    EpochUpdatedAt,
    /// Strings where objects belong, objects where strings belong.
    OddTypes,
    /// Keys that are empty, differ by case, look like ours, or are emoji.
    OddKeys,
    /// `"attributes": null`.
    NullAttributes,
    /// The record is `null`.
    NullRecord,
    /// The record is a string.
    StringRecord,
    /// `"type"` of another stream.
    WrongType,
}

impl Poison {
    /// Every poison, for tests that want them all.
    pub const ALL: [Self; 26] = [
        Self::LoneSurrogate,
        Self::Nul,
        Self::InvalidUtf8,
        Self::RawControl,
        Self::HugeNumber,
        Self::LongInteger,
        Self::Nan,
        Self::Deep200,
        Self::Deep10000,
        Self::DuplicateKeys,
        Self::TenMegabytes,
        Self::LongArray,
        Self::ManyKeys,
        Self::NullId,
        Self::MissingId,
        Self::NumericId,
        Self::NullUpdatedAt,
        Self::MissingUpdatedAt,
        Self::OddUpdatedAt,
        Self::EpochUpdatedAt,
        Self::OddTypes,
        Self::OddKeys,
        Self::NullAttributes,
        Self::NullRecord,
        Self::StringRecord,
        Self::WrongType,
    ];

    /// Does it to a clean record.
    pub(crate) fn apply(self, clean: &[u8], rec: &Rec<'_>) -> Vec<u8> {
        let id = format!("\"id\":\"{}\"", rec.id);
        let updated = format!("\"updatedAt\":\"{}\"", timestamp(rec.updated));
        match self {
            Self::LoneSurrogate => insert(clean, br#""poisonStr":"a\ud800b""#),
            Self::Nul => insert(clean, br#""poisonStr":"a\u0000b""#),
            Self::InvalidUtf8 => insert(clean, b"\"poisonStr\":\"a\xff\xfe\xc3(b\""),
            Self::RawControl => insert(clean, b"\"poisonStr\":\"a\x01\nb\""),
            Self::HugeNumber => insert(clean, br#""poisonNum":1e400"#),
            Self::LongInteger => insert(clean, br#""poisonNum":123456789012345678901234567890"#),
            Self::Nan => insert(clean, br#""poisonNum":NaN"#),
            Self::Deep200 => insert(clean, nested(200).as_bytes()),
            Self::Deep10000 => insert(clean, nested(10_000).as_bytes()),
            Self::DuplicateKeys => insert(clean, br#""poisonStr":"first","poisonStr":"last""#),
            Self::TenMegabytes => {
                insert(clean, format!("\"poisonTxt\":\"{}\"", "0123456789".repeat(1 << 20)).as_bytes())
            }
            Self::LongArray => {
                insert(clean, format!("\"poisonStr\":[{}1]", "1,".repeat(99_999)).as_bytes())
            }
            Self::ManyKeys => {
                let keys: Vec<_> = (0..5000).map(|k| format!("\"key{k}Num\":{k}")).collect();
                insert(clean, keys.join(",").as_bytes())
            }
            Self::NullId => replace(clean, &id, "\"id\":null"),
            Self::MissingId => replace(clean, &format!("{id},"), ""),
            Self::NumericId => replace(clean, &id, "\"id\":12345"),
            Self::NullUpdatedAt => replace(clean, &updated, "\"updatedAt\":null"),
            Self::MissingUpdatedAt => replace(clean, &format!("{updated},"), ""),
            Self::OddUpdatedAt => replace(clean, &updated, "\"updatedAt\":\"0000-00-00\""),
            Self::EpochUpdatedAt => replace(clean, &updated, &format!("\"updatedAt\":{}", rec.updated)),
            Self::OddTypes => insert(
                clean,
                br#""emails":"none","tags":{"0":"x"},"rev":"7","sentiment":[1],"deleted":"true","channels":null"#,
            ),
            Self::OddKeys => insert(
                clean,
                "\"\":1,\"Name\":2,\"NAME\":3,\"_sdc_batched_at\":4,\"🧵\":5,\"a b\":6,\"naïve\":7,\"select\":8,\"a\\\"b\":9".as_bytes(),
            ),
            Self::NullAttributes => {
                format!("{{\"type\":\"x\",{id},\"attributes\":null}}").into_bytes()
            }
            Self::NullRecord => b"null".to_vec(),
            Self::StringRecord => b"\"not a record\"".to_vec(),
            Self::WrongType => replace(clean, "{\"type\":\"", "{\"type\":\"not_"),
        }
    }
}

fn nested(depth: usize) -> String {
    format!("\"poisonStr\":{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// Adds members at the front of `attributes`.
fn insert(clean: &[u8], members: &[u8]) -> Vec<u8> {
    let marker = b"\"attributes\":{";
    let Some(at) = clean.windows(marker.len()).position(|window| window == marker) else {
        return clean.to_vec();
    };
    let (head, tail) = clean.split_at(at + marker.len());
    [head, members, b",", tail].concat()
}

/// Replaces the first occurrence.
fn replace(clean: &[u8], from: &str, to: &str) -> Vec<u8> {
    let from = from.as_bytes();
    let Some(at) = clean.windows(from.len()).position(|window| window == from) else {
        return clean.to_vec();
    };
    [&clean[..at], to.as_bytes(), &clean[at + from.len()..]].concat()
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    let mut out = Out::default();
    for byte in bytes {
        out.hex(u64::from(*byte), 2);
    }
    String::from_utf8_lossy(&out.buf).into_owned()
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| {
        u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok().filter(|_| pair.len() == 2)
    });
    pairs.collect::<Option<_>>().ok_or_else(|| format!("{text:?} is no hexadecimal text"))
}

#[derive(Clone)]
enum Ready {
    Record(Vec<u8>),
    Attributes(Vec<u8>),
    Insert(Vec<u8>),
    Poison(Poison),
}

/// Hostile records by place.
#[derive(Default)]
pub(crate) struct HostileMap {
    streams: Vec<usize>,
    records: HashMap<(usize, u64), Ready>,
}

impl HostileMap {
    pub(crate) fn new(world: &World, list: &[Hostile]) -> Result<Self, String> {
        let mut map = Self::default();
        for hostile in list {
            map.add(world, hostile)?;
        }
        Ok(map)
    }

    pub(crate) fn add(&mut self, world: &World, hostile: &Hostile) -> Result<(), String> {
        let stream = world.stream_index(&hostile.stream)?;
        let ready = match &hostile.bytes {
            HostileBytes::Record(text) => Ready::Record(text.clone().into_bytes()),
            HostileBytes::RecordHex(text) => Ready::Record(unhex(text)?),
            HostileBytes::Attributes(text) => Ready::Attributes(text.clone().into_bytes()),
            HostileBytes::Insert(text) => Ready::Insert(text.clone().into_bytes()),
            HostileBytes::InsertHex(text) => Ready::Insert(unhex(text)?),
            HostileBytes::Poison(poison) => Ready::Poison(*poison),
        };
        if !self.streams.contains(&stream) {
            self.streams.push(stream);
        }
        self.records.insert((stream, hostile.number), ready);
        Ok(())
    }

    #[inline]
    pub(crate) fn has(&self, stream: usize, number: u64) -> bool {
        !self.streams.is_empty()
            && self.streams.contains(&stream)
            && self.records.contains_key(&(stream, number))
    }

    pub(crate) fn write(&self, out: &mut Out, stream: usize, rec: &Rec<'_>, clean: &[u8]) {
        let bytes = match self.records.get(&(stream, rec.number)) {
            Some(Ready::Record(bytes)) => filled(bytes, rec),
            Some(Ready::Attributes(bytes)) => {
                let head = format!(
                    "{{\"type\":\"{}\",\"id\":\"{}\",\"attributes\":",
                    crate::data::type_of(stream),
                    rec.id
                );
                let text = String::from_utf8_lossy(clean);
                let tail = text.find(",\"relationships\":").map_or("}", |at| &text[at..]);
                [head.as_bytes(), &filled(bytes, rec), tail.as_bytes()].concat()
            }
            Some(Ready::Insert(bytes)) => insert(clean, &filled(bytes, rec)),
            Some(Ready::Poison(poison)) => poison.apply(clean, rec),
            None => clean.to_vec(),
        };
        out.buf.extend_from_slice(&bytes);
    }
}

/// Fills in what the record knows about itself.
fn filled(bytes: &[u8], rec: &Rec<'_>) -> Vec<u8> {
    let values = [
        ("__ID__", rec.id.to_string()),
        ("__UPDATED_AT__", timestamp(rec.updated)),
        ("__CREATED_AT__", timestamp(rec.created)),
        ("__REV__", rec.rev.to_string()),
    ];
    let mut bytes = bytes.to_vec();
    for (name, value) in values {
        while bytes.windows(name.len()).any(|window| window == name.as_bytes()) {
            bytes = replace(&bytes, name, &value);
        }
    }
    bytes
}
