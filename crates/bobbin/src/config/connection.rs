//! A connection: a source and a destination, what is replicated, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use bobbin_core::id::{ConnectionId, SchemaName};
use bobbin_core::schedule::{Schedule, Settings};
use bobbin_core::selection::{NewColumns, Selection};
use bobbin_core::{Error, Result};
use bobbin_engine::timetable::{Missed, Overlap};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Managed, Part, chosen, list};

/// Hours that a job may take unless the file says otherwise (C2).
const LIMIT_HOURS: u32 = 24;

/// `[connections.NAME]`, word for word.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionTable {
    pub(super) source: String,
    pub(super) destination: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tables: Option<Vec<String>>,
    #[serde(default)]
    pub(super) exclude: Vec<String>,
    #[serde(default)]
    pub(super) new_columns: NewColumns,
    #[serde(default)]
    pub(super) include: Vec<String>,
    #[serde(default)]
    pub(super) drop: Vec<String>,
    #[serde(default)]
    pub(super) hash: Vec<String>,
    #[serde(default)]
    pub(super) mask: Vec<String>,
    #[serde(default)]
    schedule: ScheduleTable,
}

/// `[connections.NAME.schedule]`, word for word.
#[derive(Clone, PartialEq, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ScheduleTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_minutes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    #[serde(default)]
    overlap: Overlap,
    #[serde(default)]
    missed: Missed,
    #[serde(default)]
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_hours: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_hours: Option<u32>,
    #[serde(default)]
    watch_rows: bool,
}

/// One connection with its source and destination.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Its name in the file; its identity, if it was set up through the API.
    pub(crate) name: String,
    /// What people call it.
    pub(crate) display_name: String,
    /// Where it was written.
    pub(crate) by: Managed,
    /// Whether tables are chosen: what was set up through the API has none at first
    /// (`stitch-behaviour.md` 1.4).
    pub(crate) configured: bool,
    /// Its identity: what its spool, jobs and logs are kept by.
    pub(crate) id: ConnectionId,
    /// The schema of its tables in the destination.
    pub(crate) schema: SchemaName,
    /// The source's settings.
    pub(crate) source: Part,
    /// The destination's settings.
    pub(crate) destination: Part,
    /// What is replicated; without the key of hashes.
    pub(crate) selection: Selection,
    /// That key, as one of the settings there.
    hash_key: Option<Part>,
    /// When `bobbin serve` replicates it.
    pub(crate) schedule: Planned,
}

/// When a connection is replicated, as meant.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// When jobs are due.
    pub(crate) schedule: Schedule,
    /// What becomes of slots while a job is running.
    pub(crate) overlap: Overlap,
    /// What becomes of slots while bobbin is not.
    pub(crate) missed: Missed,
    /// Whether no slot counts.
    pub(crate) paused: bool,
    /// The longest a job may take.
    pub(crate) limit: Duration,
    /// For how long no job may be complete before somebody is told.
    pub(crate) stale: Option<Duration>,
    /// Whether somebody is told of far more or fewer rows than usual.
    pub(crate) watch_rows: bool,
    /// The same, word for word.
    written: ScheduleTable,
}

impl Connection {
    /// Which parts of it are others in `new`.
    pub(crate) fn differing(&self, new: &Self) -> Vec<String> {
        let parts = [
            ("source", self.source != new.source),
            ("destination", self.destination != new.destination),
            ("schema", self.schema != new.schema),
            ("display_name", self.display_name != new.display_name),
            (
                "selection",
                self.selection != new.selection
                    || self.hash_key != new.hash_key
                    || self.configured != new.configured,
            ),
            ("schedule", self.schedule.written != new.schedule.written),
        ];
        let differing = parts.iter().filter(|(_, differs)| *differs);
        differing.map(|(part, _)| (*part).to_owned()).collect()
    }

    /// What is replicated, with all that a job needs for it.
    ///
    /// # Errors
    /// When the key of hashes cannot be read.
    pub(crate) fn chosen(&self) -> Result<Selection> {
        let mut selection = self.selection.clone();
        if selection.hashes()
            && let Some(part) = &self.hash_key
        {
            selection.hash_key = part.secret("hash_key")?;
        }
        Ok(selection)
    }
}

/// Makes connections of what is written.
pub(super) struct Resolver<'a> {
    /// The sources there are.
    pub(super) sources: &'a BTreeMap<String, Part>,
    /// The destinations there are.
    pub(super) destinations: &'a BTreeMap<String, Part>,
    /// The key of hashes, as a setting.
    pub(super) hash_key: Option<Part>,
    /// The connections made so far, by name.
    pub(super) connections: BTreeMap<String, Connection>,
}

impl Resolver<'_> {
    /// Makes one more.
    ///
    /// # Errors
    /// When something in it is wrong, or it goes with none of those there are.
    pub(super) fn add(&mut self, name: &str, table: ConnectionTable, by: Managed) -> Result<()> {
        let connection = self.connection(name, table, by)?;
        self.connections.insert(name.to_owned(), connection);
        Ok(())
    }

    fn connection(&self, name: &str, table: ConnectionTable, by: Managed) -> Result<Connection> {
        chosen::check(name, &table)?;
        let selection = chosen::selection(&table);
        let find = |kind: &str, parts: &BTreeMap<String, Part>, wanted: &str| {
            parts.get(wanted).cloned().ok_or_else(|| {
                let known: Vec<_> = parts.keys().map(String::as_str).collect();
                Error::config(format!(
                    "connection `{name}` names a {kind} `{wanted}` that the file does not have"
                ))
                .hint(format!("there are: {}", list(&known)))
            })
        };
        let source = find("source", self.sources, &table.source)?;
        let destination = find("destination", self.destinations, &table.destination)?;
        let schema = table.schema.unwrap_or_else(|| schema_name(name));
        check_schema(&schema, name)?;
        let id = identity(name);
        if id.as_str().is_empty() {
            return Err(Error::config(format!("`{name}` is no name for a connection"))
                .hint("a name has letters or digits"));
        }
        if let Some(other) = self.connections.values().find(|other| other.id == id) {
            return Err(Error::config(format!(
                "connections `{}` and `{name}` would both keep their files as `{id}`",
                other.name
            ))
            .hint("give one of them another name"));
        }
        let same = |other: &&Connection| {
            other.schema.as_str() == schema && other.destination.name == destination.name
        };
        if let Some(other) = self.connections.values().find(same) {
            return Err(Error::config(format!(
                "connections `{}` and `{name}` write to the same schema `{schema}`",
                other.name
            ))
            .hint("give one of them another name, or a schema = \"…\" of its own"));
        }
        let schedule = planned(table.schedule)
            .map_err(|error| error.wrap(format!("the schedule of connection `{name}` is wrong")))?;
        Ok(Connection {
            name: name.to_owned(),
            display_name: table.display_name.unwrap_or_else(|| name.to_owned()),
            by,
            configured: by == Managed::File || table.tables.is_none_or(|tables| !tables.is_empty()),
            id,
            schema: schema.into(),
            source,
            destination,
            selection,
            hash_key: self.hash_key.clone(),
            schedule,
        })
    }
}

fn planned(table: ScheduleTable) -> Result<Planned> {
    let written = table.clone();
    let anchor = table.anchor.as_deref().map(|text| {
        text.parse::<Timestamp>().map_err(|error| {
            Error::config(format!("the anchor `{text}` is no instant"))
                .hint("write it with its offset, for example anchor = \"2026-05-01T06:00:00Z\"")
                .caused_by(error)
        })
    });
    let schedule = Schedule::of(&Settings {
        frequency_minutes: table.frequency_minutes,
        anchor: anchor.transpose()?,
        cron: table.cron,
        time_zone: table.time_zone,
    })?;
    Ok(Planned {
        schedule,
        overlap: table.overlap,
        missed: table.missed,
        paused: table.paused,
        limit: Duration::from_hours(u64::from(table.limit_hours.unwrap_or(LIMIT_HOURS))),
        watch_rows: table.watch_rows,
        stale: table.stale_hours.map(|hours| Duration::from_hours(hours.into())),
        written,
    })
}

/// The schema's name for a connection's name (`stitch-behaviour.md` 1.2).
pub(crate) fn schema_name(name: &str) -> String {
    name.to_lowercase()
        .chars()
        .filter(|c| !matches!(c, '.' | '(' | ')'))
        .map(|c| if c == ' ' || c == '-' { '_' } else { c })
        .collect()
}

/// What files of a connection of that name are called.
pub(crate) fn identity(name: &str) -> ConnectionId {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    schema_name(name).chars().map(plain).take(100).collect::<String>().into()
}

fn check_schema(schema: &str, connection: &str) -> Result<()> {
    let first = schema.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    let rest = schema
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$');
    let reserved = schema.starts_with("pg_") || schema == "information_schema";
    if first && rest && !reserved && schema.len() < 50 {
        return Ok(());
    }
    Err(Error::config(format!(
        "`{schema}` cannot be the schema of connection `{connection}`"
    ))
    .hint("a schema has fewer than 50 characters, only a-z, 0-9, _ and $, begins with a letter or _, and is none of the database's own (pg_…); set schema = \"…\" in the connection"))
}
