//! The file: sources, destinations and connections, and what they mean.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bobbin_core::secret::Secret;
use bobbin_core::{Error, Result};
use bobbin_engine::Engine;
use bobbin_engine::ledger::Thing;
use bobbin_notify::Notifier;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::job::END_DATE;

mod channel;
mod chosen;
mod connection;
mod notify;
mod part;
mod store;

pub(crate) use channel::ChannelKind;
pub(crate) use connection::{Connection, identity, schema_name};
use connection::{ConnectionTable, Resolver};
pub(crate) use notify::MOST_HOOKS;
pub(crate) use part::Part;
pub(crate) use store::Store;

/// What the file says, word for word.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    home: Option<PathBuf>,
    keep_days: Option<u32>,
    keep_waiting_days: Option<u32>,
    #[serde(default = "yes")]
    seal_spool: bool,
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
    #[serde(default)]
    service: ServiceTable,
}

fn yes() -> bool {
    true
}

impl Default for File {
    fn default() -> Self {
        Self {
            home: None,
            keep_days: None,
            keep_waiting_days: None,
            seal_spool: true,
            hash_key: None,
            sources: BTreeMap::new(),
            destinations: BTreeMap::new(),
            connections: BTreeMap::new(),
            notify: BTreeMap::new(),
            hooks: BTreeMap::new(),
            service: ServiceTable::default(),
        }
    }
}

/// `[service]`, word for word: what the running service lets the API do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceTable {
    /// Whether sources that are set up through the API may be at addresses of this machine and its
    /// networks.
    #[serde(default)]
    pub(crate) allow_local: bool,
}

/// Where a thing was written, and so can be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Managed {
    /// In the file.
    File,
    /// Through the API.
    Api,
}

/// What was set up in the file and through the API as meant: everything resolved but the secrets.
pub(crate) struct Config {
    /// Where it was read from.
    pub(crate) path: PathBuf,
    /// Where bobbin keeps its spool and ledger.
    pub(crate) home: PathBuf,
    /// Days that jobs, logs and loads are kept; the default unless given.
    pub(crate) keep_days: Option<u32>,
    /// Days that what is extracted may wait to be loaded; the default unless given.
    pub(crate) keep_waiting_days: Option<u32>,
    /// Whether what waits on disk is sealed.
    pub(crate) seal_spool: bool,
    /// The sources by name.
    pub(crate) sources: BTreeMap<String, Part>,
    /// The destinations by name.
    pub(crate) destinations: BTreeMap<String, Part>,
    /// The connections by name.
    pub(crate) connections: BTreeMap<String, Connection>,
    /// What was set up through the API and cannot be used, with the reason. Everything else goes on.
    pub(crate) broken: BTreeMap<(Thing, String), String>,
    /// What the API may do.
    pub(crate) service: ServiceTable,
    /// What was set up through the API, as given.
    pub(crate) store: Store,
    /// Who is told of notices and loads.
    pub(crate) telling: notify::Telling,
    /// Directory that relative paths start from.
    pub(crate) base: PathBuf,
    /// The file as it was read.
    file: File,
}

impl File {
    /// What it says, and the directory that relative paths start from.
    fn read(path: &Path) -> Result<(Self, PathBuf)> {
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
        Ok((Self::parse(&text, path)?, directory(path)))
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            // Not the line itself, which may hold a secret.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
            Error::config("the configuration file cannot be understood")
                .with("path", path.display())
                .with("line", line)
                .with("column", column)
                .caused_by(std::io::Error::other(error.message().to_owned()))
                .hint("`bobbin init --print` shows a file with every setting explained")
        })
    }

    fn home(&self, base: &Path) -> PathBuf {
        base.join(self.home.as_deref().unwrap_or(Path::new(".bobbin")))
    }
}

impl Config {
    /// The engine that keeps what this file says.
    pub(crate) fn engine(&self) -> Engine {
        let mut engine = Engine::new(&self.home);
        engine.keep_days = self.keep_days.unwrap_or(engine.keep_days);
        engine.seal_spool = self.seal_spool;
        engine.keep_waiting_days = self.keep_waiting_days.unwrap_or(engine.keep_waiting_days);
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

    /// Reads a file, and what was set up through the API beside it. `home` stands for the file's own.
    ///
    /// # Errors
    /// When something in the file is wrong. What is wrong elsewhere is kept in [`Config::broken`].
    pub(crate) fn read(path: &Path, home: Option<&Path>) -> Result<Self> {
        let (file, base) = File::read(path)?;
        let home = home.map_or_else(|| file.home(&base), Path::to_owned);
        let store = Store::read(&home)?;
        Self::resolve(file, (path, &base), home, store)
    }

    /// The same as if the file were empty, for a service that is set up through its API.
    pub(crate) fn without_file(path: &Path, home: Option<&Path>) -> Result<Self> {
        let file = File::default();
        let base = directory(path);
        let home = home.map_or_else(|| file.home(&base), Path::to_owned);
        let store = Store::read(&home)?;
        Self::resolve(file, (path, &base), home, store)
    }

    /// What the same file means with another store.
    pub(crate) fn with_store(&self, store: Store) -> Result<Self> {
        Self::resolve(self.file.clone(), (&self.path, &self.base), self.home.clone(), store)
    }

    fn resolve(
        file: File,
        (path, base): (&Path, &Path),
        home: PathBuf,
        store: Store,
    ) -> Result<Self> {
        let kept = file.clone();
        let here = |error: Error| error.with("path", path.display());
        if file.keep_days == Some(0) {
            return Err(here(Error::config("`keep_days` is wrong").hint(
                "jobs, logs and loads are kept for at least a day, 60 unless the file says so",
            )));
        }
        if file.keep_waiting_days == Some(0) {
            return Err(here(Error::config("`keep_waiting_days` is wrong").hint(
                "what is extracted may wait to be loaded for at least a day, 30 unless the file says so",
            )));
        }
        let hash_key = file.hash_key.map(|value| hash_key(&value, path, base));
        let mut broken = store.broken.clone();
        type Tables = BTreeMap<String, toml::Table>;
        let mut parts = |thing: Thing, written: Tables, stored: &Tables| {
            let mut parts = BTreeMap::new();
            for (name, settings) in written {
                if settings.contains_key(END_DATE) {
                    return Err(here(ends(thing, &name)));
                }
                let part = Part::new((thing.word(), &name), settings, base, Managed::File);
                parts.insert(name, part.map_err(here)?);
            }
            for (name, settings) in stored {
                let part = Part::new((thing.word(), name), settings.clone(), base, Managed::Api);
                match part {
                    Ok(part) if part.settings.contains_key(END_DATE) => {
                        broken.insert((thing, name.clone()), ends(thing, name).report());
                    }
                    Ok(_) if parts.contains_key(name) => {
                        broken.insert((thing, name.clone()), taken(thing, name));
                    }
                    Ok(mut part) => {
                        part.guarded &= !file.service.allow_local;
                        parts.insert(name.clone(), part);
                    }
                    Err(error) => {
                        broken.insert((thing, name.clone()), error.report());
                    }
                }
            }
            Ok::<_, Error>(parts)
        };
        let sources = parts(Thing::Source, file.sources, &store.sources)?;
        let destinations = parts(Thing::Destination, file.destinations, &store.destinations)?;
        let mut resolver = Resolver {
            sources: &sources,
            destinations: &destinations,
            hash_key,
            connections: BTreeMap::new(),
        };
        for (name, table) in file.connections {
            resolver.add(&name, table, Managed::File).map_err(here)?;
        }
        for (name, table) in &store.connections {
            let added = if resolver.connections.contains_key(name) {
                Err(taken(Thing::Connection, name))
            } else {
                let table = table.clone();
                resolver.add(name, table, Managed::Api).map_err(|error| error.report())
            };
            if let Err(reason) = added {
                broken.insert((Thing::Connection, name.clone()), reason);
            }
        }
        let connections = resolver.connections;
        let mut telling = notify::Telling {
            channels: file.notify,
            hooks: file.hooks,
            stored: BTreeMap::new(),
            allow_local: file.service.allow_local,
        };
        for (name, table) in &store.channels {
            let fit = if telling.is_of_file(name) {
                Err(taken(Thing::Channel, name))
            } else {
                table.check(&telling).map_err(|error| error.report())
            };
            match fit {
                Ok(()) => drop(telling.stored.insert(name.clone(), table.clone())),
                Err(reason) => drop(broken.insert((Thing::Channel, name.clone()), reason)),
            }
        }
        Ok(Self {
            path: path.to_owned(),
            home,
            keep_days: file.keep_days,
            keep_waiting_days: file.keep_waiting_days,
            seal_spool: file.seal_spool,
            sources,
            destinations,
            connections,
            broken,
            service: file.service,
            store,
            telling,
            base: base.to_owned(),
            file: kept,
        })
    }

    /// The key of hashes, where there is one and it can be read.
    pub(crate) fn hash_key(&self) -> Option<Secret> {
        let value = self.file.hash_key.as_ref()?;
        hash_key(value, &self.path, &self.base).secret(HASH_KEY).ok().flatten()
    }

    /// How a connection was set up, in the words of the file, wherever that was.
    ///
    /// # Errors
    /// Of kind `Bug` when it was not.
    pub(crate) fn definition(&self, connection: &Connection) -> Result<Map<String, Value>> {
        let name = &connection.name;
        let body = match connection.by {
            Managed::Api => {
                let written = self.store.written.get(&(Thing::Connection, name.clone()));
                written.map(|written| written.body.clone())
            }
            Managed::File => {
                let table = self.file.connections.get(name).map(serde_json::to_value);
                table.and_then(|value| value.ok()?.as_object().cloned())
            }
        };
        body.ok_or_else(|| Error::bug(format!("the connection `{name}` was set up nowhere")))
    }

    /// Which of the settings for all connections are others in `new`.
    pub(crate) fn differing_settings(&self, new: &Self) -> Vec<String> {
        let settings = [
            ("keep_days", self.keep_days != new.keep_days),
            ("seal_spool", self.seal_spool != new.seal_spool),
            ("keep_waiting_days", self.keep_waiting_days != new.keep_waiting_days),
            ("notify", self.telling.channels != new.telling.channels),
            ("hooks", self.telling.hooks != new.telling.hooks),
            ("service", self.service != new.service),
        ];
        let differing = settings.iter().filter(|(_, differs)| *differs);
        differing.map(|(name, _)| (*name).to_owned()).collect()
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

/// The key of hashes, as one of a part's settings.
const HASH_KEY: &str = "hash_key";

fn hash_key(value: &toml::Value, path: &Path, base: &Path) -> Part {
    Part {
        name: path.display().to_string(),
        kind: String::new(),
        labels: BTreeMap::new(),
        settings: [(HASH_KEY.to_owned(), value.clone())].into_iter().collect(),
        base: base.to_owned(),
        by: Managed::File,
        guarded: false,
    }
}

/// Where relative paths of a file start.
fn directory(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

fn ends(thing: Thing, name: &str) -> Error {
    Error::config(format!("`{END_DATE}` of {} `{name}` would end it for good", thing.word()))
        .hint("bobbin backfill reads a part of a table again")
}

fn taken(thing: Thing, name: &str) -> String {
    format!(
        "the file now has a {} `{name}`, which holds; this one was set up through the API",
        thing.word()
    )
}

/// Names as a message lists them.
fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

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
        let (path, base) = (Path::new("bobbin.toml"), Path::new("/somewhere"));
        let file = File::parse(text, path)?;
        let home = file.home(base);
        Config::resolve(file, (path, base), home, Store::default())
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
        insta::assert_snapshot!(report("[connections.a]\nsource = \"k\"\ndestnation = \"d\"\n"), @r"
        the configuration file cannot be understood (path: bobbin.toml, line: 3, column: 1)
          caused by: unknown field `destnation`, expected one of `source`, `destination`, `display_name`, `schema`, `tables`, `exclude`, `new_columns`, `include`, `drop`, `hash`, `mask`, `schedule`
          hint: `bobbin init --print` shows a file with every setting explained
        ");
        insta::assert_snapshot!(report(&GOOD.replace("source = \"k\"", "source = \"kk\"")), @r"
        connection `Stitch Kustomer (EU)` names a source `kk` that the file does not have (path: bobbin.toml)
          hint: there are: k
        ");
        insta::assert_snapshot!(report(&GOOD.replace("Stitch Kustomer (EU)", "9 lives")), @r#"
        `9_lives` cannot be the schema of connection `9 lives` (path: bobbin.toml)
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
