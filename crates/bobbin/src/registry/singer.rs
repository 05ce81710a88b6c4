//! Foreign Singer programs: what the file says of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bobbin_core::destination::Destination;
use bobbin_core::report::JobLog;
use bobbin_core::secret::Secret;
use bobbin_core::tap::Tap;
use bobbin_core::{Error, Result};
use bobbin_singer::process::leash::Leash;
use bobbin_singer::process::{
    CommitBy, ProcessTap, ProcessTarget, Program, Settings, TapConfig, TargetConfig,
};
use serde_json::Value;

use super::json;
use crate::config::Part;

const COMMON: [&str; 5] =
    ["executable", "arguments", "config", "config_file", "idle_timeout_minutes"];
const TAP: [&str; 2] = ["catalog_file", "catalog_flag"];
const TARGET: [&str; 4] =
    ["commit_by", "state_wait_seconds", "rows_per_commit", "activate_version"];

/// A child program as a source.
pub(super) fn tap(part: &Part) -> Result<Box<dyn Tap>> {
    let read = Reading { part, what: "source", own: &TAP };
    let program = read.program()?;
    let legacy_catalog = match read.text("catalog_flag")? {
        None | Some("catalog" | "--catalog") => false,
        Some("properties" | "--properties") => true,
        Some(_) => return Err(read.wrong("catalog_flag", "\"catalog\" or \"properties\"")),
    };
    let catalog_file = read.text("catalog_file")?.map(|file| part.base.join(file));
    Ok(Box::new(ProcessTap::new(TapConfig { program, catalog_file, legacy_catalog })))
}

/// A child program as a destination.
pub(super) fn target(
    part: &Part,
    home: &Path,
    log: Arc<dyn JobLog>,
) -> Result<Box<dyn Destination>> {
    let read = Reading { part, what: "destination", own: &TARGET };
    let program = read.program()?;
    let commit_by = match read.text("commit_by")? {
        None | Some("state") => CommitBy::State,
        Some("exit") => CommitBy::Exit,
        Some(_) => return Err(read.wrong("commit_by", "\"state\" or \"exit\"")),
    };
    let rows_per_commit = match part.settings.get("rows_per_commit") {
        None => 50_000,
        Some(toml::Value::Integer(n)) if *n > 0 => n.cast_unsigned(),
        Some(_) => return Err(read.wrong("rows_per_commit", "a number above 0")),
    };
    let activate_version = match part.settings.get("activate_version") {
        None => true,
        Some(toml::Value::Boolean(yes)) => *yes,
        Some(_) => return Err(read.wrong("activate_version", "true or false")),
    };
    let config = TargetConfig {
        program,
        commit_by,
        state_wait: read.duration("state_wait_seconds", 1.0, 5.0)?,
        rows_per_commit,
        activate_version,
        directory: home.join("targets").join(&part.name),
    };
    Ok(Box::new(ProcessTarget::new(config, log)))
}

struct Reading<'a> {
    part: &'a Part,
    what: &'static str,
    own: &'static [&'static str],
}

impl Reading<'_> {
    fn wrong(&self, key: &str, wants: &str) -> Error {
        Error::config(format!("`{key}` of {} `{}` is wrong", self.what, self.part.name))
            .hint(format!("it takes {wants}"))
    }

    fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.part.settings.get(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "text")),
        }
    }

    fn duration(&self, key: &str, unit: f64, default: f64) -> Result<Duration> {
        let number = match self.part.settings.get(key) {
            None => default,
            Some(toml::Value::Integer(n)) => *n as f64,
            Some(toml::Value::Float(n)) => *n,
            Some(_) => f64::NAN,
        };
        Duration::try_from_secs_f64(number * unit)
            .ok()
            .filter(|duration| !duration.is_zero())
            .ok_or_else(|| self.wrong(key, "a number above 0"))
    }

    fn program(&self) -> Result<Program> {
        let part = self.part;
        let known = |key: &&String| !COMMON.iter().chain(self.own).any(|known| known == key);
        if let Some(key) = part.settings.keys().find(known) {
            let all: Vec<&str> = COMMON.iter().chain(self.own).copied().collect();
            return Err(Error::config(format!(
                "{} `{}` has an unknown setting `{key}`",
                self.what, part.name
            ))
            .hint(format!(
                "type = \"singer\" takes: {}; settings of the program itself go into config",
                all.join(", ")
            )));
        }
        let executable = self.text("executable")?.ok_or_else(|| {
            Error::config(format!("{} `{}` has no executable", self.what, part.name))
                .hint("name the program: executable = \"tap-github\", or its path")
        })?;
        let arguments = match part.settings.get("arguments") {
            None => Vec::new(),
            Some(toml::Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(ToOwned::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| self.wrong("arguments", "a list of texts"))?,
            Some(_) => return Err(self.wrong("arguments", "a list of texts")),
        };
        let mut secrets = Vec::new();
        let settings = match (part.settings.get("config"), self.text("config_file")?) {
            (Some(_), Some(_)) => {
                return Err(Error::config(format!(
                    "{} `{}` has both config and config_file",
                    self.what, part.name
                ))
                .hint("keep one of the two"));
            }
            (None, None) => Settings::Inline(Value::Object(serde_json::Map::new())),
            (Some(toml::Value::Table(table)), None) => {
                let mut map = serde_json::Map::new();
                for (key, value) in table {
                    map.insert(key.clone(), self.resolve(key, value, &mut secrets)?);
                }
                let config = Value::Object(map);
                hidden(&config, false, &mut secrets);
                Settings::Inline(config)
            }
            (Some(_), None) => return Err(self.wrong("config", "a table of settings")),
            (None, Some(file)) => {
                let path = part.base.join(file);
                let config =
                    bobbin_singer::config::json_file("config file", &path.to_string_lossy())?;
                hidden(&config, false, &mut secrets);
                Settings::File(path)
            }
        };
        Ok(Program {
            executable: executable.into(),
            arguments,
            base: part.base.clone(),
            settings,
            secrets,
            idle: self.duration("idle_timeout_minutes", 60.0, 60.0)?,
            leash: Leash::of_this_program(),
        })
    }

    /// A value of the program's config, with references replaced by what they stand for.
    fn resolve(&self, key: &str, value: &toml::Value, secrets: &mut Vec<Secret>) -> Result<Value> {
        if let Some(text) = self.part.referred(key, value)? {
            let text = text.trim();
            secrets.push(Secret::new(text));
            return Ok(text.into());
        }
        Ok(match value {
            toml::Value::Table(table) => {
                let mut map = serde_json::Map::new();
                for (key, value) in table {
                    map.insert(key.clone(), self.resolve(key, value, secrets)?);
                }
                Value::Object(map)
            }
            toml::Value::Array(items) => {
                let items = items.iter().map(|item| self.resolve(key, item, secrets));
                Value::Array(items.collect::<Result<_>>()?)
            }
            plain => json(plain),
        })
    }
}

/// Words in the names of settings that must not be shown.
const HIDDEN: [&str; 8] =
    ["password", "passwd", "secret", "token", "credential", "private_key", "api_key", "apikey"];

/// Texts below settings whose names tell that they are secrets, written where they should not be.
fn hidden(value: &Value, below: bool, secrets: &mut Vec<Secret>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.to_lowercase();
                hidden(value, below || HIDDEN.iter().any(|word| key.contains(word)), secrets);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| hidden(item, below, secrets)),
        Value::String(text) if below => secrets.push(Secret::new(text.as_str())),
        _ => {}
    }
}
