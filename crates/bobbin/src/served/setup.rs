//! Setting up through the API: what is asked for is tried, kept, and then in effect.

use std::path::Path;
use std::sync::Arc;

use bobbin_core::id::ConnectionId;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_engine::ledger::Thing;
use bobbin_server::{Edit, Part as Shown};
use serde_json::{Map, Value, json};

use super::{Served, channels, warn};
use crate::config::{Config, Managed, Part, Store, identity};
use crate::{registry, time};

/// Bytes of a name.
const MOST_NAME: usize = 100;

impl Served {
    /// Makes, changes or removes things: all of them, or none. A connection that is to be paused never runs
    /// before it is.
    pub(super) fn set_up(&self, edits: &[Edit], paused: Option<&ConnectionId>) -> Result<()> {
        let _one = self.one_at_a_time();
        let now = self.config();
        let mut store = now.store.clone();
        let mut changed = Vec::new();
        for edit in edits {
            let (thing, name) = (edit.thing, edit.name.as_str());
            let known = may_change(&now, &store, edit)?;
            changed.push((thing, name.to_owned()));
            let Some(body) = &edit.body else {
                store.remove(thing, name);
                continue;
            };
            if !known && thing == Thing::Connection {
                self.unused(&name.into())?;
            }
            let body = match thing {
                Thing::Connection => body.clone(),
                Thing::Channel => channels::with_url(&store, name, body),
                Thing::Source | Thing::Destination => with_secrets(&store, thing, name, body)?,
            };
            store.put((thing, name), body, (None, None))?;
        }
        let new = now.with_store(store)?;
        let touched: Vec<&(Thing, String)> =
            changed.iter().filter(|(thing, name)| new.store.has(*thing, name)).collect();
        for key in &touched {
            if let Some(reason) = new.broken.get(*key) {
                return Err(Error::config(reason.clone()));
            }
            try_out((&now, &new), key.0, &key.1)?;
        }
        // Nobody else is left without what it needs.
        for ((thing, name), reason) in &new.broken {
            if !now.broken.contains_key(&(*thing, name.clone())) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("the {} `{name}` could not go on: {reason}", thing.word()),
                ));
            }
        }
        let is_part = |(thing, _): &&_| matches!(thing, Thing::Source | Thing::Destination);
        for (thing, name) in changed.iter().filter(is_part) {
            if let Some(user) = user_of(&new, *thing, name) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("the connection `{user}` uses the {} `{name}`", thing.word()),
                )
                .hint("remove the connection first"));
            }
        }
        let notifier = match new.notifier().and_then(|made| made.begin().map(|()| made)) {
            Ok(notifier) => Some(notifier),
            // It worked when it began: whoever changes something else need not know of a secret that is gone.
            Err(error) if changed.iter().all(|(thing, _)| *thing != Thing::Channel) => {
                warn(&error);
                None
            }
            Err(error) => return Err(error),
        };
        let ledger = self.config().engine().ledger()?;
        let gone: Vec<ConnectionId> = changed
            .iter()
            .filter(|(thing, name)| *thing == Thing::Connection && !new.store.has(*thing, name))
            .map(|(_, name)| name.as_str().into())
            .collect();
        for connection in &gone {
            match self.control.stop(connection) {
                Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
                // None is running, or it waits for its turn, which is taken from it.
                _ => {}
            }
        }
        if let Some(connection) = paused {
            let at = time::now();
            ledger.schedule(connection, at)?;
            ledger.pause(connection, true, at)?;
        }
        let new = Arc::new(new);
        self.take_effect(&now, Arc::clone(&new))?;
        let label = |name: &str| now.connections.get(name).map_or_else(String::new, label);
        if let Err(error) = Store::keep(&new.store, &changed, &*ledger, &now.home, label) {
            // What is not kept is not so.
            self.take_effect(&new, now)?;
            return Err(error);
        }
        // With the times that were kept.
        let kept = new.with_store(Store::read(&new.home)?)?;
        self.go_on_with(Arc::new(kept));
        if let Some(notifier) = notifier {
            self.tell_with(notifier);
        }
        for connection in &gone {
            self.forget_inbox(connection);
        }
        Ok(())
    }

    /// A name that had another meaning once would go on from that one's bookmarks.
    fn unused(&self, connection: &ConnectionId) -> Result<()> {
        if !self.config().engine().ledger()?.knows(connection)? {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("there was a connection `{connection}` before, with bookmarks of its own"),
        )
        .hint("give the new one another name; its schema may be the same"))
    }
}

/// Whether there is such a thing already.
///
/// # Errors
/// When it cannot be changed, or cannot be called so.
fn may_change(now: &Config, store: &Store, edit: &Edit) -> Result<bool> {
    let (thing, name) = (edit.thing, edit.name.as_str());
    let by_file = match thing {
        Thing::Channel => now.telling.is_of_file(name).then_some(Managed::File),
        Thing::Source => now.sources.get(name).map(|part| part.by),
        Thing::Destination => now.destinations.get(name).map(|part| part.by),
        Thing::Connection => {
            let same = |known: &&crate::config::Connection| known.id.as_str() == name;
            now.connections.values().find(same).map(|known| known.by)
        }
    };
    if by_file == Some(Managed::File) {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("the {} `{name}` is managed by the file", thing.word()),
        )
        .with("path", now.path.display())
        .hint("change it there; bobbin apply brings that into effect"));
    }
    let known = store.has(thing, name);
    if edit.body.is_none() && !known {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no {} `{name}`", thing.word()),
        ));
    }
    if edit.new && known {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("there is a {} `{name}` already", thing.word()),
        ));
    }
    if !known && (identity(name).as_str() != name || name.is_empty() || name.len() > MOST_NAME) {
        return Err(Error::config(format!("`{name}` cannot be the name of a {}", thing.word()))
            .hint("a name has a-z, 0-9 and _, at most 100 of them"));
    }
    Ok(known)
}

/// Settings that say who is asked: a secret that was given for one is not for another.
const WHERE: [&str; 8] =
    ["host", "port", "user", "database", "tls", "api_url", "organization", "region"];

/// A body as given, with the secrets that it leaves out: nobody is shown them, so nobody gives them again.
///
/// # Errors
/// When they would be sent to somebody else than they were given for.
fn with_secrets(
    store: &Store,
    thing: Thing,
    name: &str,
    body: &Map<String, Value>,
) -> Result<Map<String, Value>> {
    let given = body;
    let mut body = given.clone();
    body.retain(|_, value| !value.is_null());
    let types = registry::types::types();
    let kind = body.get("type").and_then(Value::as_str);
    let before = store.written.get(&(thing, name.to_owned())).map(|written| &written.body);
    let before = before.filter(|before| before.get("type").and_then(Value::as_str) == kind);
    let Some(before) = before else { return Ok(body) };
    let of_kind =
        types.iter().filter(|known| known.side == thing.word() && Some(known.name) == kind);
    let secrets = of_kind.flat_map(|known| &known.properties).filter(|known| known.credential);
    let left_out: Vec<&str> = secrets
        .map(|secret| secret.name)
        .filter(|secret| !given.contains_key(*secret) && before.contains_key(*secret))
        .collect();
    for secret in left_out {
        if let Some(other) = WHERE.iter().find(|key| body.get(**key) != before.get(**key)) {
            return Err(Error::config(format!("`{secret}` of `{name}` has to be given again"))
                .hint(format!("`{other}` is another, and it is sent there")));
        }
        if let Some(value) = before.get(secret) {
            body.insert(secret.to_owned(), value.clone());
        }
    }
    Ok(body)
}

/// Builds what is asked for in place of what there is now, without asking anybody.
fn try_out((now, new): (&Config, &Config), thing: Thing, name: &str) -> Result<()> {
    let local = new.service.allow_local;
    match thing {
        Thing::Source => new.sources.get(name).map_or(Ok(()), |part| {
            registry::types::admit(thing, part, local)?;
            let users = new.connections.values().filter(|known| known.source.name == name);
            // Whoever sets it up may come back for what is missing (`stitch-behaviour.md` 1.4).
            if lacks(part) && users.into_iter().all(|known| !known.configured) {
                return Ok(());
            }
            registry::tap(part, (Path::new(""), Path::new(""))).map(drop)
        }),
        Thing::Destination => new.destinations.get(name).map_or(Ok(()), |part| {
            registry::types::admit(thing, part, local)?;
            registry::own_destination(part).map(drop)
        }),
        Thing::Connection => {
            let same = |known: &&crate::config::Connection| known.id.as_str() == name;
            new.connections.values().find(same).map_or(Ok(()), |known| {
                let selection = known.chosen()?;
                if selection.hashes() && selection.hash_key.is_none() {
                    // Else its first job would tell.
                    return Err(Error::config("columns are to be hashed, but there is no hash_key")
                        .hint("write hash_key = { env = \"NAME\" } at the top of the service's file, then bobbin apply"));
                }
                Ok(())
            })
        }
        Thing::Channel => channels::admit(now, new, name),
    }
}

/// Whether something is missing that a source of its type must have.
fn lacks(part: &Part) -> bool {
    let types = registry::types::types();
    let of = types.iter().filter(|known| known.side == "source" && known.name == part.kind);
    let mut required = of.flat_map(|known| &known.properties).filter(|property| property.required);
    required.any(|property| !part.settings.contains_key(property.name))
}

/// A connection that needs a part which is no longer there.
fn user_of<'a>(new: &'a Config, thing: Thing, name: &str) -> Option<&'a str> {
    if new.store.has(thing, name) {
        return None;
    }
    let uses = |known: &&crate::config::Connection| match thing {
        Thing::Source => known.source.name == name,
        _ => known.destination.name == name,
    };
    new.connections.values().find(uses).map(|known| known.name.as_str())
}

/// What there is to say of a connection that is gone.
fn label(connection: &crate::config::Connection) -> String {
    json!({
        "source": connection.source.kind,
        "schema": connection.schema,
        "display_name": connection.display_name,
    })
    .to_string()
}

/// Sources or destinations, without their secrets.
pub(crate) fn parts(config: &Config, thing: Thing) -> Vec<Shown> {
    let types = registry::types::types();
    let is_secret = |part: &Part, key: &str| {
        let mut of_kind = types.iter().filter(|known| known.side == thing.word());
        let known = of_kind.find(|known| known.name == part.kind);
        // What is not known to be harmless is not shown.
        known.is_none_or(|known| {
            let property = known.properties.iter().find(|property| property.name == key);
            property.is_none_or(|property| property.credential)
        })
    };
    let all = match thing {
        Thing::Source => &config.sources,
        _ => &config.destinations,
    };
    let shown = |part: &Part| {
        let (hidden, open): (Vec<_>, Vec<_>) =
            part.settings.iter().partition(|(key, _)| is_secret(part, key));
        let written = config.store.written.get(&(thing, part.name.clone()));
        let written = written.filter(|_| part.by == Managed::Api);
        Shown {
            name: part.name.clone(),
            kind: part.kind.clone(),
            managed_by: part.by.into(),
            settings: open
                .into_iter()
                .map(|(key, value)| (key.clone(), registry::json(value)))
                .collect(),
            labels: part.labels.clone(),
            secrets: hidden.into_iter().map(|(key, _)| key.clone()).collect(),
            made_at: written.and_then(|written| written.made),
            changed_at: written.and_then(|written| written.changed),
        }
    };
    all.values().map(shown).collect()
}

impl From<Managed> for bobbin_server::Managed {
    fn from(managed: Managed) -> Self {
        match managed {
            Managed::File => Self::File,
            Managed::Api => Self::Api,
        }
    }
}
