//! What was set up through the API: kept sealed in the ledger, in the words of the file.

use std::collections::BTreeMap;
use std::path::Path;

use bobbin_core::{Error, Result};
use bobbin_engine::Engine;
use bobbin_engine::ledger::{Ledger, Stored, Thing};
use bobbin_engine::vault::Vault;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::channel::ChannelTable;
use super::connection::ConnectionTable;

/// Everything that was set up through the API.
#[derive(Clone, Default)]
pub(crate) struct Store {
    /// As it was given, by what it is and its name.
    pub(crate) written: BTreeMap<(Thing, String), Written>,
    /// Settings of sources.
    pub(super) sources: BTreeMap<String, toml::Table>,
    /// Settings of destinations.
    pub(super) destinations: BTreeMap<String, toml::Table>,
    /// Connections.
    pub(super) connections: BTreeMap<String, ConnectionTable>,
    /// Who is told.
    pub(super) channels: BTreeMap<String, ChannelTable>,
    /// What cannot be read, with the reason.
    pub(super) broken: BTreeMap<(Thing, String), String>,
}

/// A thing as it was given.
#[derive(Clone)]
pub(crate) struct Written {
    /// What it is, secrets and all.
    pub(crate) body: Map<String, Value>,
    /// Since when there is it; none before it is kept.
    pub(crate) made: Option<Timestamp>,
    /// When it was last changed.
    pub(crate) changed: Option<Timestamp>,
}

/// Bodies hold secrets.
impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written").field("made", &self.made).finish_non_exhaustive()
    }
}

impl Store {
    /// What is stored below `home`. Something that cannot be opened or understood is broken, and keeps
    /// nothing else from being read.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(crate) fn read(home: &Path) -> Result<Self> {
        let engine = Engine::new(home);
        if !engine.has_ledger() {
            return Ok(Self::default());
        }
        let things = engine.ledger()?.things()?;
        let mut store = Self::default();
        if things.is_empty() {
            return Ok(store);
        }
        match Vault::open(home, false) {
            Ok(vault) => {
                for thing in things {
                    let key = (thing.thing, thing.name.clone());
                    if let Err(error) = store.take(&vault, thing) {
                        store.broken.insert(key, error.report());
                    }
                }
            }
            Err(error) => {
                let broken = things.into_iter().map(|thing| (thing.thing, thing.name));
                store.broken = broken.map(|key| (key, error.report())).collect();
            }
        }
        Ok(store)
    }

    fn take(&mut self, vault: &Vault, stored: Stored) -> Result<()> {
        let text = vault.unseal(&label(stored.thing, &stored.name), &stored.sealed)?;
        let body: Map<String, Value> = serde_json::from_slice(&text).map_err(|_| {
            Error::bug(format!("{} is stored as no JSON", label(stored.thing, &stored.name)))
        })?;
        self.put((stored.thing, &stored.name), body, (Some(stored.made), Some(stored.changed)))
    }

    /// Has a thing as given, in place of what there was of that name.
    ///
    /// # Errors
    /// When it is not understood.
    pub(crate) fn put(
        &mut self,
        (thing, name): (Thing, &str),
        body: Map<String, Value>,
        (made, changed): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<()> {
        let value = Value::Object(body.clone());
        let wrong = |error: String| {
            Error::config(format!("{} `{name}` is not understood", thing.word()))
                .caused_by(std::io::Error::other(error))
        };
        let table = || {
            // Null says nothing, and what is written in the file has none.
            match toml::Value::try_from(&value) {
                Ok(toml::Value::Table(table)) => Ok(table),
                Ok(_) => Err(wrong("it is no object".to_owned())),
                Err(_) => Err(wrong("a setting is null".to_owned())),
            }
        };
        match thing {
            Thing::Source => {
                self.sources.insert(name.to_owned(), table()?);
            }
            Thing::Destination => {
                self.destinations.insert(name.to_owned(), table()?);
            }
            Thing::Connection => {
                let table = serde_json::from_value(value.clone())
                    .map_err(|error| wrong(error.to_string()))?;
                self.connections.insert(name.to_owned(), table);
            }
            Thing::Channel => {
                let table = serde_json::from_value(value.clone())
                    .map_err(|error| wrong(error.to_string()))?;
                self.channels.insert(name.to_owned(), table);
            }
        }
        let key = (thing, name.to_owned());
        self.broken.remove(&key);
        self.written.insert(key, Written { body, made, changed });
        Ok(())
    }

    /// Has a thing no more.
    pub(crate) fn remove(&mut self, thing: Thing, name: &str) {
        match thing {
            Thing::Source => drop(self.sources.remove(name)),
            Thing::Destination => drop(self.destinations.remove(name)),
            Thing::Connection => drop(self.connections.remove(name)),
            Thing::Channel => drop(self.channels.remove(name)),
        }
        let key = (thing, name.to_owned());
        self.broken.remove(&key);
        self.written.remove(&key);
    }

    /// Whether there is a thing of that name, broken or not.
    pub(crate) fn has(&self, thing: Thing, name: &str) -> bool {
        let key = (thing, name.to_owned());
        self.written.contains_key(&key) || self.broken.contains_key(&key)
    }

    /// Keeps what is different in `new`: all of it or nothing. A connection that is gone leaves its label.
    ///
    /// # Errors
    /// When the ledger or the key cannot be used.
    pub(crate) fn keep(
        new: &Self,
        changed: &[(Thing, String)],
        ledger: &dyn Ledger,
        home: &Path,
        label_of: impl Fn(&str) -> String,
    ) -> Result<()> {
        let vault = Vault::open(home, ledger.things()?.is_empty())?;
        let mut changes = Vec::new();
        for (thing, name) in changed {
            let sealed = match new.written.get(&(*thing, name.clone())) {
                Some(written) => {
                    let text = serde_json::to_vec(&written.body).map_err(|error| {
                        Error::bug("cannot write a setting as JSON").caused_by(error)
                    })?;
                    Some(vault.seal(&label(*thing, name), &text)?)
                }
                None => None,
            };
            changes.push((*thing, name.as_str(), sealed));
        }
        ledger.change_things(&changes, &label_of, Timestamp::now())
    }
}

/// What a sealed text belongs to.
fn label(thing: Thing, name: &str) -> String {
    format!("{} {name}", thing.word())
}
