//! Another connection that is as one there is (`stitch-behaviour.md` 10.4).

use bobbin_core::{Error, ErrorKind, Result};
use bobbin_engine::ledger::Thing;
use bobbin_server::{CloneOf, Edit};
use serde_json::{Map, Value, json};

use super::Served;
use crate::config::{Config, Connection};
use crate::registry;

impl Served {
    /// Makes it, paused.
    pub(super) fn make_clone(&self, wish: &CloneOf) -> Result<()> {
        let config = self.config();
        let body = definition(&config, wish)?;
        let edit =
            Edit { thing: Thing::Connection, name: wish.name.clone(), body: Some(body), new: true };
        self.set_up(&[edit], Some(&wish.name.as_str().into()))
    }
}

/// How it is set up, in the words of the file.
fn definition(config: &Config, wish: &CloneOf) -> Result<Map<String, Value>> {
    let mut all = config.connections.values();
    let original = all
        .find(|known| known.id == wish.connection)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such connection"))?;
    may_be_cloned(original, wish.keep_selection)?;
    let destination = wish.destination.as_ref().unwrap_or(&original.destination.name);
    let schema = wish.schema.as_ref().unwrap_or(&wish.name);
    for other in config.connections.values() {
        if other.display_name == wish.display_name {
            return Err(taken(format!("another connection is called `{}`", wish.display_name))
                .hint("give another display_name"));
        }
        if other.destination.name == *destination && other.schema.as_str() == schema {
            return Err(taken(format!(
                "the connection `{}` writes to the schema `{schema}` of the destination `{destination}`",
                other.name
            ))
            .hint("give another schema"));
        }
    }
    let mut body = config.definition(original)?;
    if !wish.keep_selection {
        body.insert("tables".to_owned(), json!([]));
        body.remove("exclude");
    }
    // It is paused as if by hand, so that whoever lets it go on does so for good.
    if let Some(Value::Object(schedule)) = body.get_mut("schedule") {
        schedule.remove("paused");
    }
    for (key, text) in
        [("display_name", &wish.display_name), ("destination", destination), ("schema", schema)]
    {
        body.insert(key.to_owned(), text.as_str().into());
    }
    Ok(body)
}

fn may_be_cloned(original: &Connection, keep_selection: bool) -> Result<()> {
    if original.source.kind == registry::IMPORT {
        return Err(Error::config(format!("`{}` cannot be cloned", original.name)).hint(
            "its records are pushed with tokens of its own, which no other connection has: make \
             one of the same source, and a token for it",
        ));
    }
    if keep_selection && !original.configured {
        return Err(taken(format!("no tables are chosen of `{}` yet", original.name))
            .hint("set keep_selection to false, or choose its tables first"));
    }
    Ok(())
}

fn taken(message: String) -> Error {
    Error::new(ErrorKind::Conflict, message)
}
