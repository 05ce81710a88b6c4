//! The tables that an inbox ever received, each with its newest shape: what a job is offered.

use std::collections::BTreeMap;

use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::{Error, ErrorKind, Result};
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use super::files::{self, Place};
use crate::batch::{Batch, has_no_key};
use crate::names::ID;

/// Fields a table without a schema is listed with.
const MOST_FIELDS: usize = 10_000;

/// Tables of one inbox. Each is a table of the destination, and all of them are written with each new one.
const MOST_TABLES: usize = 1_000;

/// By name; the order is the catalog's.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Tables(BTreeMap<String, Stream>);

#[derive(Serialize, Deserialize)]
struct Written {
    tables: Vec<Stream>,
}

impl Tables {
    pub(crate) fn read(place: &Place) -> Result<Self> {
        let path = place.file("tables.json");
        let Some(text) = files::read(&path)? else { return Ok(Self::default()) };
        let written: Written = serde_json::from_slice(&text).map_err(|error| {
            Error::new(ErrorKind::InvalidData, "tables.json cannot be understood")
                .with("path", path.display())
                .hint("delete it: tables are listed again as soon as something comes for them")
                .caused_by(error)
        })?;
        let tables = written.tables.into_iter();
        Ok(Self(tables.map(|stream| (stream.name.to_string(), stream)).collect()))
    }

    /// Takes in what a request says of its tables, durably; writes nothing when all is known.
    ///
    /// # Errors
    /// Of kind `Config` when there would be too many. Those that are there go on, however many they are.
    pub(crate) fn learn(&mut self, place: &Place, batches: &[Batch]) -> Result<()> {
        let mut changed: Option<Self> = None;
        for batch in batches {
            let known = changed.as_ref().unwrap_or(self).0.get(batch.stream.name.as_str());
            if let Some(stream) = newer(known, batch) {
                let is_new = known.is_none();
                let all = changed.get_or_insert_with(|| self.clone());
                if is_new && all.0.len() >= MOST_TABLES {
                    return Err(too_many(&stream));
                }
                all.0.insert(stream.name.to_string(), stream);
            }
        }
        let Some(changed) = changed else { return Ok(()) };
        let written = Written { tables: changed.0.values().cloned().collect() };
        let text = serde_json::to_vec(&written)
            .map_err(|error| Error::bug("cannot write tables.json").caused_by(error))?;
        files::replace(&place.file("tables.json"), &text)?;
        *self = changed;
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Stream> {
        self.0.get(name)
    }

    pub(crate) fn catalog(&self) -> Catalog {
        Catalog { streams: self.0.values().cloned().collect() }
    }
}

fn too_many(stream: &Stream) -> Error {
    Error::config(format!(
        "a connection takes pushed records for {MOST_TABLES} tables at most, and this is a new one"
    ))
    .with("table", &stream.name)
    .hint("is something else than a table's name in table_name? Otherwise push into a second connection")
}

/// The table as it is known after a batch, when that is not as before: a schema takes the place of what
/// was known.
fn newer(known: Option<&Stream>, batch: &Batch) -> Option<Stream> {
    let stream = match known {
        Some(known) if !batch.declared => grown(known, &batch.stream),
        _ => batch.stream.clone(),
    };
    (known != Some(&stream)).then_some(stream)
}

/// A table that is known, with what came for it without a schema: fields are added, and what a schema
/// said of the others stays. The key is what the records have.
pub(crate) fn grown(known: &Stream, stream: &Stream) -> Stream {
    let mut fields = known.fields.clone();
    if !has_no_key(stream) {
        fields.properties.retain(|(name, _)| name != ID);
    }
    let there: FxHashSet<&str> = known.fields.properties.iter().map(|(name, _)| &**name).collect();
    let added = stream.fields.properties.iter().filter(|(name, _)| !there.contains(&**name));
    let room = MOST_FIELDS.saturating_sub(fields.properties.len());
    fields.properties.extend(added.take(room).cloned());
    Stream { fields, key: stream.key.clone(), ..known.clone() }
}
