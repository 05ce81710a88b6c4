//! The file: sources, destinations and connections, and what they mean.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bobbin_core::id::{ConnectionId, SchemaName};
use bobbin_core::schedule::{Schedule, Settings};
use bobbin_core::secret::Secret;
use bobbin_core::selection::Selection;
use bobbin_core::{Error, Result};
use bobbin_engine::Engine;
use bobbin_engine::timetable::{Missed, Overlap};
use bobbin_notify::Notifier;
use jiff::Timestamp;
use serde::Deserialize;

mod chosen;
mod notify;

/// Hours that a job may take unless the file says otherwise (C2).
const LIMIT_HOURS: u32 = 24;

/// What the file says, word for word.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    home: Option<PathBuf>,
    keep_days: Option<u32>,
    hash_key: Option<toml::Value>,
    #[serde(default)]
    sources: BTreeMap<String, toml::Table>,
    #[serde(default)]
    destinations: BTreeMap<String, toml::Table>,
    #[serde(default)]
    connections: BTreeMap<String, ConnectionTable>,
    #[serde(default)]
    notify: BTreeMap<String, notify::NotifyTable>,
    #[serde(default)]
    hooks: BTreeMap<String, notify::HookTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectionTable {
    source: String,
    destination: String,
    schema: Option<String>,
    tables: Option<Vec<String>>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    drop: Vec<String>,
    #[serde(default)]
    hash: Vec<String>,
    #[serde(default)]
    mask: Vec<String>,
    #[serde(default)]
    schedule: ScheduleTable,
}

/// `[connections.NAME.schedule]`, word for word.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleTable {
    frequency_minutes: Option<u32>,
    anchor: Option<String>,
    cron: Option<String>,
    time_zone: Option<String>,
    #[serde(default)]
    overlap: Overlap,
    #[serde(default)]
    missed: Missed,
    #[serde(default)]
    paused: bool,
    limit_hours: Option<u32>,
    stale_hours: Option<u32>,
}

/// The file as meant: everything resolved but the secrets.
pub(crate) struct Config {
    /// Where it was read from.
    pub(crate) path: PathBuf,
    /// Where bobbin keeps its spool and ledger.
    pub(crate) home: PathBuf,
    /// Days that jobs, logs and loads are kept; the default unless given.
    pub(crate) keep_days: Option<u32>,
    /// The connections by name.
    pub(crate) connections: BTreeMap<String, Connection>,
    /// Who is told of notices and loads.
    telling: notify::Telling,
    /// Directory that relative paths start from.
    base: PathBuf,
}

/// One connection with its source and destination.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Its name in the file.
    pub(crate) name: String,
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
    /// The same, word for word.
    written: ScheduleTable,
}

/// A source's or destination's settings as they stand in the file.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Part {
    /// Its name in the file, for messages.
    pub(crate) name: String,
    /// What it is: `kustomer`, `duckdb`.
    pub(crate) kind: String,
    /// The other settings.
    pub(crate) settings: toml::Table,
    /// Directory that relative paths start from.
    pub(crate) base: PathBuf,
}

impl Connection {
    /// Which parts of it are others in `new`.
    pub(crate) fn differing(&self, new: &Self) -> Vec<String> {
        let parts = [
            ("source", self.source != new.source),
            ("destination", self.destination != new.destination),
            ("schema", self.schema != new.schema),
            ("selection", self.selection != new.selection || self.hash_key != new.hash_key),
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

impl Config {
    /// The engine that keeps what this file says.
    pub(crate) fn engine(&self) -> Engine {
        let mut engine = Engine::new(&self.home);
        engine.keep_days = self.keep_days.unwrap_or(engine.keep_days);
        engine
    }

    /// Somebody who tells everyone whom the file names.
    ///
    /// # Errors
    /// When a setting is wrong, or a secret cannot be read.
    pub(crate) fn notifier(&self) -> Result<Notifier> {
        self.telling
            .notifier(self.engine(), &self.connections, &self.base)
            .map_err(|error| error.with("path", self.path.display()))
    }

    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let error = Error::config("cannot read the configuration file")
                .with("path", path.display())
                .caused_by(error);
            if missing {
                error.hint("make one with `bobbin init`, or name one with --config")
            } else {
                error
            }
        })?;
        let base = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Self::parse(&text, path, base.unwrap_or(Path::new(".")))
    }

    fn parse(text: &str, path: &Path, base: &Path) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| {
            Error::config("the configuration file cannot be understood")
                .with("path", path.display())
                .caused_by(Unwrapped(error.to_string().trim_end().to_owned()))
                .hint("`bobbin init --print` shows a file with every setting explained")
        })?;
        if file.keep_days == Some(0) {
            return Err(Error::config("`keep_days` is wrong").with("path", path.display()).hint(
                "jobs, logs and loads are kept for at least a day, 60 unless the file says so",
            ));
        }
        let hash_key = file.hash_key.map(|value| Part {
            name: path.display().to_string(),
            kind: String::new(),
            settings: [("hash_key".to_owned(), value)].into_iter().collect(),
            base: base.to_owned(),
        });
        let mut connections = BTreeMap::new();
        for (name, table) in file.connections {
            chosen::check(&name, &table).map_err(|error| error.with("path", path.display()))?;
            let selection = chosen::selection(&table);
            let find = |kind: &str, parts: &BTreeMap<String, toml::Table>, wanted: &str| {
                let Some(settings) = parts.get(wanted) else {
                    let known: Vec<_> = parts.keys().map(String::as_str).collect();
                    return Err(Error::config(format!(
                        "connection `{name}` names a {kind} `{wanted}` that the file does not have"
                    ))
                    .with("path", path.display())
                    .hint(format!("there are: {}", list(&known))));
                };
                Part::new(kind, wanted, settings, base, path)
            };
            let source = find("source", &file.sources, &table.source)?;
            let destination = find("destination", &file.destinations, &table.destination)?;
            let schema = table.schema.unwrap_or_else(|| schema_name(&name));
            check_schema(&schema, &name)?;
            let id = identity(&name);
            if id.as_str().is_empty() {
                return Err(Error::config(format!("`{name}` is no name for a connection"))
                    .with("path", path.display())
                    .hint("a name has letters or digits"));
            }
            if let Some(other) = connections.values().find(|other: &&Connection| other.id == id) {
                return Err(Error::config(format!(
                    "connections `{}` and `{name}` would both keep their files as `{id}`",
                    other.name
                ))
                .with("path", path.display())
                .hint("give one of them another name"));
            }
            let same = |other: &&Connection| {
                other.schema.as_str() == schema && other.destination.name == destination.name
            };
            if let Some(other) = connections.values().find(same) {
                return Err(Error::config(format!(
                    "connections `{}` and `{name}` write to the same schema `{schema}`",
                    other.name
                ))
                .with("path", path.display())
                .hint("give one of them another name, or a schema = \"…\" of its own"));
            }
            let schedule = planned(table.schedule).map_err(|error| {
                error
                    .wrap(format!("the schedule of connection `{name}` is wrong"))
                    .with("path", path.display())
            })?;
            connections.insert(
                name.clone(),
                Connection {
                    name,
                    id,
                    schema: schema.into(),
                    source,
                    destination,
                    selection,
                    hash_key: hash_key.clone(),
                    schedule,
                },
            );
        }
        Ok(Self {
            path: path.to_owned(),
            home: base.join(file.home.unwrap_or_else(|| ".bobbin".into())),
            keep_days: file.keep_days,
            connections,
            telling: notify::Telling { channels: file.notify, hooks: file.hooks },
            base: base.to_owned(),
        })
    }

    /// The connection of that name, or the only one when none is named.
    pub(crate) fn connection(&self, name: Option<&str>) -> Result<&Connection> {
        let known: Vec<_> = self.connections.keys().map(String::as_str).collect();
        let hint = format!("the file has: {}", list(&known));
        match name {
            Some(name) => self.connections.get(name).ok_or_else(|| {
                Error::config(format!("there is no connection `{name}`"))
                    .with("path", self.path.display())
                    .hint(hint)
            }),
            None if self.connections.len() == 1 => self
                .connections
                .values()
                .next()
                .ok_or_else(|| Error::bug("one connection and none")),
            None if self.connections.is_empty() => Err(Error::config("the file has no connection")
                .with("path", self.path.display())
                .hint("add one: [connections.NAME] with source = \"…\" and destination = \"…\"")),
            None => Err(Error::config("which connection?").hint(hint)),
        }
    }
}

impl Part {
    fn new(
        what: &str,
        name: &str,
        settings: &toml::Table,
        base: &Path,
        path: &Path,
    ) -> Result<Self> {
        let mut settings = settings.clone();
        let Some(toml::Value::String(kind)) = settings.remove("type") else {
            return Err(Error::config(format!("{what} `{name}` has no type"))
                .with("path", path.display())
                .hint("add, for example, type = \"kustomer\" or type = \"duckdb\""));
        };
        Ok(Self { name: name.to_owned(), kind, settings, base: base.to_owned() })
    }

    /// A setting that may be text, `{ env = "NAME" }` or `{ file = "path" }`.
    pub(crate) fn secret(&self, key: &str) -> Result<Option<Secret>> {
        let Some(value) = self.settings.get(key) else { return Ok(None) };
        let text = match value {
            toml::Value::String(text) => text.clone(),
            other => self.referred(key, other)?.ok_or_else(|| {
                Error::config(format!("`{key}` of `{}` is neither text nor a reference", self.name))
                    .hint(format!(
                        "write {key} = {{ env = \"NAME\" }} or {key} = {{ file = \"path\" }}"
                    ))
            })?,
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::config(format!("`{key}` of `{}` is empty", self.name)));
        }
        Ok(Some(Secret::new(text)))
    }

    /// What `{ env = "NAME" }` or `{ file = "path" }` stands for; none when it is neither.
    pub(crate) fn referred(&self, key: &str, value: &toml::Value) -> Result<Option<String>> {
        let toml::Value::Table(table) = value else { return Ok(None) };
        match table.iter().next().filter(|_| table.len() == 1) {
            Some((kind, toml::Value::String(name))) if kind == "env" => {
                std::env::var(name).map(Some).map_err(|_| {
                    Error::config(format!(
                        "`{key}` of `{}` is in the environment variable {name}, which is not set",
                        self.name
                    ))
                    .hint(format!("export {name}=… and run again"))
                })
            }
            Some((kind, toml::Value::String(file))) if kind == "file" => {
                let path = self.base.join(file);
                std::fs::read_to_string(&path).map(Some).map_err(|error| {
                    Error::config(format!("cannot read `{key}` of `{}` from its file", self.name))
                        .with("path", path.display())
                        .caused_by(error)
                })
            }
            _ => Ok(None),
        }
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
fn identity(name: &str) -> ConnectionId {
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

/// `tables` lists what is replicated (everything when absent); `exclude` takes away tables
/// (`kobjects`) and columns (`messages.preview`).
fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// A cause that is a text of several lines.
#[derive(Debug)]
struct Unwrapped(String);

impl std::fmt::Display for Unwrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unwrapped {}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [sources.k]
        type = "kustomer"
        api_token = { env = "BOBBIN_TEST_NO_SUCH_VARIABLE" }
        [destinations.d]
        type = "duckdb"
        path = "x.duckdb"
        [connections."Stitch Kustomer (EU)"]
        source = "k"
        destination = "d"
        exclude = ["kobjects", "messages.preview"]
    "#;

    fn parse(text: &str) -> Result<Config> {
        Config::parse(text, Path::new("bobbin.toml"), Path::new("/somewhere"))
    }

    #[test]
    fn a_file_is_understood() {
        let config = parse(GOOD).unwrap();
        let connection = config.connection(None).unwrap();
        assert_eq!(connection.schema.as_str(), "stitch_kustomer_eu");
        assert_eq!(config.home, Path::new("/somewhere/.bobbin"));
        assert!(!connection.selection.contains(&"kobjects".into()));
        assert!(connection.selection.contains(&"messages".into()));
        assert!(connection.selection.contains(&"users".into()));
        let error = connection.source.secret("api_token").unwrap_err();
        insta::assert_snapshot!(error.report(), @r"
        `api_token` of `k` is in the environment variable BOBBIN_TEST_NO_SUCH_VARIABLE, which is not set
          hint: export BOBBIN_TEST_NO_SUCH_VARIABLE=… and run again
        ");
    }

    #[test]
    fn only_listed_tables() {
        let table = |text: &str| -> ConnectionTable {
            toml::from_str(&format!("source = \"k\"\ndestination = \"d\"\n{text}")).unwrap()
        };
        let chosen =
            chosen::selection(&table("tables = [\"users\", \"tags\"]\nexclude = [\"tags.color\"]"));
        assert!(chosen.contains(&"tags".into()));
        assert!(!chosen.contains(&"teams".into()));
    }

    #[test]
    fn mistakes_are_named() {
        let report = |text: &str| parse(text).map(|_| ()).unwrap_err().report();
        insta::assert_snapshot!(report("[connections.a]\nsource = \"k\"\ndestnation = \"d\"\n"), @r#"
        the configuration file cannot be understood (path: bobbin.toml)
          caused by: TOML parse error at line 3, column 1
          |
        3 | destnation = "d"
          | ^^^^^^^^^^
        unknown field `destnation`, expected one of `source`, `destination`, `schema`, `tables`, `exclude`, `drop`, `hash`, `mask`, `schedule`
          hint: `bobbin init --print` shows a file with every setting explained
        "#);
        insta::assert_snapshot!(report(&GOOD.replace("source = \"k\"", "source = \"kk\"")), @r"
        connection `Stitch Kustomer (EU)` names a source `kk` that the file does not have (path: bobbin.toml)
          hint: there are: k
        ");
        insta::assert_snapshot!(report(&GOOD.replace("Stitch Kustomer (EU)", "9 lives")), @r#"
        `9_lives` cannot be the schema of connection `9 lives`
          hint: a schema has fewer than 50 characters, only a-z, 0-9, _ and $, begins with a letter or _, and is none of the database's own (pg_…); set schema = "…" in the connection
        "#);
        let twice = format!(
            "{GOOD}[connections.stitch_kustomer_eu]\nsource = \"k\"\ndestination = \"d\"\n"
        );
        insta::assert_snapshot!(report(&twice), @r#"
        connections `Stitch Kustomer (EU)` and `stitch_kustomer_eu` would both keep their files as `stitch_kustomer_eu` (path: bobbin.toml)
          hint: give one of them another name
        "#);
        let shared = format!(
            "{GOOD}[connections.other]\nsource = \"k\"\ndestination = \"d\"\nschema = \"stitch_kustomer_eu\"\n"
        );
        insta::assert_snapshot!(report(&shared), @r#"
        connections `Stitch Kustomer (EU)` and `other` write to the same schema `stitch_kustomer_eu` (path: bobbin.toml)
          hint: give one of them another name, or a schema = "…" of its own
        "#);
        insta::assert_snapshot!(report(&GOOD.replace("type = \"duckdb\"", "")), @r#"
        destination `d` has no type (path: bobbin.toml)
          hint: add, for example, type = "kustomer" or type = "duckdb"
        "#);
    }
}
