//! `[notify.NAME]` and `[hooks.NAME]`: who is told of notices and of loads.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bobbin_core::id::ConnectionId;
use bobbin_core::{Error, Result};
use bobbin_engine::Engine;
use bobbin_notify::{Channel, Hook, Mail, MailTls, Means, Notifier, Target};
use serde::Deserialize;

use super::{Connection, Managed, Part, list};

/// The most hooks a file may have (`stitch-behaviour.md` 9.3).
const MOST_HOOKS: usize = 10;

/// `[notify.NAME]`, word for word.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifyTable {
    #[serde(rename = "type")]
    kind: Kind,
    delay_minutes: Option<u32>,
    #[serde(default = "yes")]
    warnings: bool,
    #[serde(default)]
    hide_errors: bool,
    url: Option<toml::Value>,
    #[serde(default)]
    allow_local: bool,
    server: Option<String>,
    port: Option<u16>,
    #[serde(default)]
    tls: Tls,
    user: Option<String>,
    password: Option<toml::Value>,
    from: Option<String>,
    #[serde(default)]
    to: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Webhook,
    Slack,
    Email,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tls {
    #[default]
    Starttls,
    Implicit,
    Off,
}

/// `[hooks.NAME]`, word for word.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HookTable {
    url: toml::Value,
    connections: Option<Vec<String>>,
    #[serde(default)]
    allow_local: bool,
}

fn yes() -> bool {
    true
}

/// Who is told, as it stands in the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Telling {
    pub(super) channels: BTreeMap<String, NotifyTable>,
    pub(super) hooks: BTreeMap<String, HookTable>,
}

impl Telling {
    /// Somebody who tells them all.
    ///
    /// # Errors
    /// When a setting is wrong, or a secret cannot be read.
    pub(super) fn notifier(
        &self,
        engine: Engine,
        connections: &BTreeMap<String, Connection>,
        base: &Path,
    ) -> Result<Notifier> {
        let channels = self.channels.iter().map(|(name, table)| {
            channel(name, table, base)
                .map_err(|error| error.wrap(format!("the channel [notify.{name}] is wrong")))
        });
        if self.hooks.len() > MOST_HOOKS {
            return Err(Error::config(format!("there may be {MOST_HOOKS} hooks"))
                .with("hooks", self.hooks.len()));
        }
        let hooks = self.hooks.iter().map(|(name, table)| {
            hook(name, table, connections, base)
                .map_err(|error| error.wrap(format!("the hook [hooks.{name}] is wrong")))
        });
        let (channels, hooks) = (channels.collect::<Result<_>>()?, hooks.collect::<Result<_>>()?);
        Ok(Notifier::new(engine, channels, hooks))
    }
}

/// A table's secrets, as those of a source are read.
fn part(name: &str, key: &str, value: &toml::Value, base: &Path) -> Part {
    Part {
        name: name.to_owned(),
        kind: String::new(),
        labels: BTreeMap::new(),
        settings: [(key.to_owned(), value.clone())].into_iter().collect(),
        base: base.to_owned(),
        by: Managed::File,
        guarded: false,
    }
}

fn target(
    name: &str,
    url: &toml::Value,
    local: bool,
    user_agent: &'static str,
    base: &Path,
) -> Result<Target> {
    let url = part(name, "url", url, base).secret("url")?;
    let url = url.ok_or_else(|| Error::bug("a URL that is there is not"))?;
    Target::new(&url, local, user_agent)
}

fn channel(name: &str, table: &NotifyTable, base: &Path) -> Result<Channel> {
    const USER_AGENT: &str = concat!("bobbin/", env!("CARGO_PKG_VERSION"));
    let mails = [
        ("server", table.server.is_some()),
        ("port", table.port.is_some()),
        ("user", table.user.is_some()),
        ("password", table.password.is_some()),
        ("from", table.from.is_some()),
        ("to", !table.to.is_empty()),
    ];
    let misplaced = if table.kind == Kind::Email {
        table.url.is_some().then_some("url")
    } else {
        mails.iter().find(|(_, set)| *set).map(|(key, _)| *key)
    };
    if let Some(key) = misplaced {
        return Err(Error::config(format!("`{key}` means nothing there")));
    }
    let need = |key: &str| Error::config(format!("it has no `{key}`"));
    let means = match table.kind {
        Kind::Webhook | Kind::Slack => {
            let url = table.url.as_ref().ok_or_else(|| need("url"))?;
            let target = target(name, url, table.allow_local, USER_AGENT, base)?;
            if table.kind == Kind::Slack { Means::Slack(target) } else { Means::Webhook(target) }
        }
        Kind::Email => {
            let server = table.server.as_deref().ok_or_else(|| need("server"))?;
            let from = table.from.as_deref().ok_or_else(|| need("from"))?;
            let tls = match table.tls {
                Tls::Starttls => MailTls::StartTls,
                Tls::Implicit => MailTls::Implicit,
                Tls::Off => MailTls::Off,
            };
            let password = match &table.password {
                Some(value) => part(name, "password", value, base).secret("password")?,
                None => None,
            };
            let login = match (table.user.as_deref(), &password) {
                (Some(user), Some(password)) => Some((user, password)),
                (None, None) => None,
                (Some(_), None) => return Err(need("password")),
                (None, Some(_)) => return Err(need("user")),
            };
            Means::Mail(Mail::new((server, table.port, tls), login, from, &table.to)?)
        }
    };
    Ok(Channel {
        name: name.to_owned(),
        means,
        delay: table.delay_minutes.map(|minutes| Duration::from_mins(minutes.into())),
        warnings: table.warnings,
        hides_errors: table.hide_errors,
    })
}

fn hook(
    name: &str,
    table: &HookTable,
    connections: &BTreeMap<String, Connection>,
    base: &Path,
) -> Result<Hook> {
    // Stitch's (`stitch-behaviour.md` 9.3): receivers may look for it.
    const USER_AGENT: &str = "StitchLoadingWebhook";
    let told = |connection: &Connection| -> (ConnectionId, String) {
        (connection.id.clone(), connection.schema.to_string())
    };
    let connections = match &table.connections {
        None => connections.values().map(told).collect(),
        Some(names) => {
            let find = |wanted: &String| {
                connections.get(wanted).map(told).ok_or_else(|| {
                    let known: Vec<&str> = connections.keys().map(String::as_str).collect();
                    Error::config(format!("there is no connection `{wanted}`"))
                        .hint(format!("there are: {}", list(&known)))
                })
            };
            names.iter().map(find).collect::<Result<_>>()?
        }
    };
    let target = target(name, &table.url, table.allow_local, USER_AGENT, base)?;
    Ok(Hook { name: name.to_owned(), target, connections })
}
