//! A source's or destination's settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bobbin_core::secret::Secret;
use bobbin_core::{Error, Result};

use super::Managed;

/// Settings that mean nothing to a source or destination, only to people.
const LABELS: [&str; 2] = ["display_name", "description"];

/// A source's or destination's settings as they were written.
#[derive(Clone, PartialEq)]
pub(crate) struct Part {
    /// Its name, for messages.
    pub(crate) name: String,
    /// What it is: `kustomer`, `duckdb`.
    pub(crate) kind: String,
    /// What people call it and say of it, where they do.
    pub(crate) labels: BTreeMap<String, String>,
    /// The other settings.
    pub(crate) settings: toml::Table,
    /// Directory that relative paths start from.
    pub(crate) base: PathBuf,
    /// Where it was written.
    pub(crate) by: Managed,
    /// Whether it may not lead to this machine, wherever names in it lead: it came through the API.
    pub(crate) guarded: bool,
}

/// Settings may be secrets.
impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("name", &self.name).field("kind", &self.kind).finish()
    }
}

impl Part {
    /// # Errors
    /// When it does not say what it is.
    pub(crate) fn new(
        (what, name): (&str, &str),
        mut settings: toml::Table,
        base: &Path,
        by: Managed,
    ) -> Result<Self> {
        let Some(toml::Value::String(kind)) = settings.remove("type") else {
            return Err(Error::config(format!("{what} `{name}` has no type"))
                .hint("add, for example, type = \"kustomer\" or type = \"duckdb\""));
        };
        let mut labels = BTreeMap::new();
        for key in LABELS {
            match settings.remove(key) {
                None => {}
                Some(toml::Value::String(text)) => drop(labels.insert(key.to_owned(), text)),
                Some(_) => {
                    return Err(Error::config(format!("`{key}` of {what} `{name}` is no text")));
                }
            }
        }
        let guarded = by == Managed::Api;
        Ok(Self {
            name: name.to_owned(),
            kind,
            labels,
            settings,
            base: base.to_owned(),
            by,
            guarded,
        })
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
