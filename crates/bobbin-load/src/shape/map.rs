//! What a destination remembers of its tables: which there are, and the columns that each of their rows
//! has. Destinations store it each in their own way (`_bobbin_tables`, `_bobbin_columns`).

use bobbin_core::catalog::Stream;
use bobbin_core::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::convert::MADE_KEY;
use super::name;
use super::tree::{Column, Sub};
use super::types::ColumnType;

/// A table as it is remembered.
#[derive(Clone, Debug)]
pub struct KnownTable {
    /// The stream it belongs to.
    pub stream: String,
    /// Which of the stream's tables.
    pub sub: Sub,
    /// Its name.
    pub name: String,
    /// The fields its rows are told apart by; none in a table that only grows.
    pub key: Option<Vec<String>>,
    /// The version its rows belong to, when it is replaced as a whole.
    pub version: Option<i64>,
}

/// A path or key as it is stored.
pub fn write<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::bug("a path cannot be written").caused_by(error))
}

/// A path or key as it was stored; `name` is of the table or column it is about.
pub fn read<T: DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| newer(name))
}

/// The error for an entry that this version cannot understand.
pub fn newer(name: &str) -> Error {
    Error::config("the map of tables and columns holds an entry of a newer bobbin")
        .with("name", name)
        .hint("use that version of bobbin or a later one")
}

/// The columns that each row of the table `sub` has before its own: the key and places of an array's
/// item, the key made for a record without one. `stored` are the columns of the stream's tables.
pub fn lead(
    stream: &Stream,
    stored: &[(Sub, Column)],
    sub: &Sub,
    name_bytes: usize,
) -> Vec<(String, ColumnType)> {
    let own = |key: &String| {
        let own = |(of, column): &&(Sub, Column)| {
            of.is_own() && column.primary && column.path == std::slice::from_ref(key)
        };
        stored.iter().find(own).map(|(_, column)| (column.name.clone(), column.ty))
    };
    let made = stream.key.is_empty().then(|| (MADE_KEY.to_owned(), ColumnType::Text));
    if sub.is_own() {
        return made.into_iter().collect();
    }
    let keys = made.into_iter().chain(stream.key.iter().filter_map(own));
    let keys = keys.map(|(key, ty)| (name::source_key(&key, name_bytes), ty));
    let places =
        (0..sub.depth()).map(|level| (format!("_sdc_level_{level}_id"), ColumnType::BigInt));
    keys.chain(places).collect()
}
