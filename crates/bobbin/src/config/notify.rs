//! `[notify.NAME]` and `[hooks.NAME]`: who is told of notices and of loads; with them those that were set up
//! through the API.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bobbin_core::id::ConnectionId;
use bobbin_core::secret::Secret;
use bobbin_core::{Error, Result};
use bobbin_engine::Engine;
use bobbin_notify::{Channel, Hook, Mail, MailTls, Means, Notifier, Target};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::channel::ChannelTable;
use super::{Connection, Managed, Part, list};

/// The most hooks there may be (`stitch-behaviour.md` 9.3).
pub(crate) const MOST_HOOKS: usize = 10;

/// What channels call themselves.
pub(super) const USER_AGENT: &str = concat!("bobbin/", env!("CARGO_PKG_VERSION"));

/// What hooks call themselves: Stitch's (`stitch-behaviour.md` 9.3), receivers may look for it.
pub(super) const HOOK_AGENT: &str = "StitchLoadingWebhook";

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
    /// None is a mistake; with an empty list it is only the way to those who were set up through the API.
    to: Option<Vec<String>>,
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

/// Who is told.
#[derive(Clone)]
pub(crate) struct Telling {
    /// Of notices, as it stands in the file.
    pub(super) channels: BTreeMap<String, NotifyTable>,
    /// Of loads, as it stands in the file.
    pub(super) hooks: BTreeMap<String, HookTable>,
    /// Who was set up through the API.
    pub(super) stored: BTreeMap<String, ChannelTable>,
    /// Whether those may be at addresses of this machine and its networks.
    pub(super) allow_local: bool,
}

/// A channel or a hook as it can be shown.
pub(crate) struct Shown<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// How it tells.
    pub(crate) kind: &'static str,
    /// Where it was written.
    pub(crate) by: Managed,
    /// Since when nobody is told by it.
    pub(crate) disabled_at: Option<Timestamp>,
    /// The host of its URL or its mail server.
    pub(crate) host: Option<String>,
    /// What it says but for secrets.
    pub(crate) settings: Map<String, Value>,
    /// The names of the secrets it has.
    pub(crate) secrets: Vec<&'static str>,
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
        let of_file = self.channels.iter().map(|(name, table)| {
            channel(name, table, base)
                .map_err(|error| error.wrap(format!("the channel [notify.{name}] is wrong")))
        });
        if self.hooks.len() > MOST_HOOKS {
            return Err(Error::config(format!("there may be {MOST_HOOKS} hooks"))
                .with("hooks", self.hooks.len()));
        }
        let mut channels: Vec<Channel> = Vec::new();
        for channel in of_file {
            channels.extend(channel?);
        }
        let of_file = self.hooks.iter().map(|(name, table)| {
            hook(name, table, connections, base)
                .map_err(|error| error.wrap(format!("the hook [hooks.{name}] is wrong")))
        });
        let mut hooks = of_file.collect::<Result<Vec<Hook>>>()?;
        for (name, table) in self.stored.iter().filter(|(_, table)| table.disabled_at.is_none()) {
            let wrong = |error: Error| error.wrap(format!("the channel `{name}` is wrong"));
            channels.extend(table.channel(name, self, base).map_err(wrong)?);
            hooks.extend(table.hook(name, self, connections).map_err(wrong)?);
        }
        Ok(Notifier::new(engine, channels, hooks))
    }

    /// The mail server through which those are told who were set up through the API: that of the file's first
    /// channel of type `email`.
    ///
    /// # Errors
    /// Of kind `Config` when the file has none.
    pub(super) fn mail_server(&self) -> Result<(&str, &NotifyTable)> {
        let mut channels = self.channels.iter();
        let found = channels.find(|(_, table)| table.kind == Kind::Email);
        found.map(|(name, table)| (name.as_str(), table)).ok_or_else(|| {
            Error::config("there is no mail server through which somebody could be told").hint(
                "the file names it: [notify.mail] with type = \"email\", server = \"…\", from = \"…\" \
                 and to = []; bobbin apply brings that into effect",
            )
        })
    }

    /// Whether the file has a channel or hook of that name.
    pub(crate) fn is_of_file(&self, name: &str) -> bool {
        self.channels.contains_key(name) || self.hooks.contains_key(name)
    }

    /// Those that were set up through the API.
    pub(crate) fn stored(&self, name: &str) -> Option<&ChannelTable> {
        self.stored.get(name)
    }

    /// The secrets of all of them that can be read.
    pub(crate) fn secrets(&self, base: &Path) -> Vec<Secret> {
        let channels = self.channels.iter().flat_map(|(name, table)| {
            [(name, "url", table.url.as_ref()), (name, "password", table.password.as_ref())]
        });
        let hooks = self.hooks.iter().map(|(name, table)| (name, "url", Some(&table.url)));
        let of_file = channels.chain(hooks).filter_map(|(name, key, value)| {
            part(name, key, value?, base).secret(key).ok().flatten()
        });
        of_file.chain(self.stored.values().filter_map(ChannelTable::secret)).collect()
    }

    /// All of them, the file's first.
    pub(crate) fn shown(&self, base: &Path) -> Vec<Shown<'_>> {
        let channels = self.channels.iter().map(|(name, table)| table.shown(name, base));
        let hooks = self.hooks.iter().map(|(name, table)| table.shown(name, base));
        let stored = self.stored.iter().map(|(name, table)| {
            let mail = table.addresses().is_empty();
            Shown {
                name,
                kind: table.kind().word(),
                by: Managed::Api,
                disabled_at: table.disabled_at,
                host: table.host(),
                settings: table.settings(),
                secrets: if mail { vec!["url"] } else { Vec::new() },
            }
        });
        channels.chain(hooks).chain(stored).collect()
    }
}

impl NotifyTable {
    /// Mails to these addresses through its server.
    pub(super) fn mail(&self, name: &str, to: &[String], base: &Path) -> Result<Mail> {
        let need = |key: &str| Error::config(format!("it has no `{key}`"));
        let server = self.server.as_deref().ok_or_else(|| need("server"))?;
        let from = self.from.as_deref().ok_or_else(|| need("from"))?;
        let tls = match self.tls {
            Tls::Starttls => MailTls::StartTls,
            Tls::Implicit => MailTls::Implicit,
            Tls::Off => MailTls::Off,
        };
        let password = match &self.password {
            Some(value) => part(name, "password", value, base).secret("password")?,
            None => None,
        };
        let login = match (self.user.as_deref(), &password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            (Some(_), None) => return Err(need("password")),
            (None, Some(_)) => return Err(need("user")),
        };
        Mail::new((server, self.port, tls), login, from, to)
    }

    fn shown<'a>(&self, name: &'a str, base: &Path) -> Shown<'a> {
        let kind = match self.kind {
            Kind::Webhook => "webhook",
            Kind::Slack => "slack",
            Kind::Email => "email",
        };
        let all = json!({
            "delay_minutes": self.delay_minutes,
            "warnings": self.warnings,
            "hide_errors": self.hide_errors,
            "from": self.from,
            "to": self.to,
        });
        let secrets = [("url", self.url.is_some()), ("password", self.password.is_some())];
        let url = self.url.as_ref().and_then(|url| host(name, url, base));
        Shown {
            name,
            kind,
            by: Managed::File,
            disabled_at: None,
            host: url.or_else(|| self.server.clone()),
            settings: given(all),
            secrets: secrets.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect(),
        }
    }
}

impl HookTable {
    fn shown<'a>(&self, name: &'a str, base: &Path) -> Shown<'a> {
        Shown {
            name,
            kind: "post_load",
            by: Managed::File,
            disabled_at: None,
            host: host(name, &self.url, base),
            settings: given(json!({ "connections": self.connections })),
            secrets: vec!["url"],
        }
    }
}

/// The members of an object that are not null.
pub(super) fn given(all: Value) -> Map<String, Value> {
    let Value::Object(mut all) = all else { return Map::new() };
    all.retain(|_, value| !value.is_null());
    all
}

/// The host of a URL; none where that cannot be read.
fn host(name: &str, url: &toml::Value, base: &Path) -> Option<String> {
    target(name, url, true, USER_AGENT, base).ok().map(|target| target.host().to_owned())
}

/// How long a notice must be so before it is told; as Stitch does unless given.
pub(super) fn delay(minutes: Option<u32>) -> Option<Duration> {
    minutes.map(|minutes| Duration::from_mins(minutes.into()))
}

/// A connection whose loads are told, with the schema of its tables.
pub(super) fn told(connection: &Connection) -> (ConnectionId, String) {
    (connection.id.clone(), connection.schema.to_string())
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

/// None for one that only names a mail server.
fn channel(name: &str, table: &NotifyTable, base: &Path) -> Result<Option<Channel>> {
    let mails = [
        ("server", table.server.is_some()),
        ("port", table.port.is_some()),
        ("user", table.user.is_some()),
        ("password", table.password.is_some()),
        ("from", table.from.is_some()),
        ("to", table.to.is_some()),
    ];
    let misplaced = if table.kind == Kind::Email {
        table.url.is_some().then_some("url")
    } else {
        mails.iter().find(|(_, set)| *set).map(|(key, _)| *key)
    };
    if let Some(key) = misplaced {
        return Err(Error::config(format!("`{key}` means nothing there")));
    }
    let means = match table.kind {
        Kind::Webhook | Kind::Slack => {
            let url = table.url.as_ref().ok_or_else(|| Error::config("it has no `url`"))?;
            let target = target(name, url, table.allow_local, USER_AGENT, base)?;
            if table.kind == Kind::Slack { Means::Slack(target) } else { Means::Webhook(target) }
        }
        Kind::Email => match table.to.as_deref() {
            // What is wrong with the server is told all the same.
            Some([]) => {
                let own: Vec<String> = table.from.iter().cloned().collect();
                return table.mail(name, &own, base).map(|_| None);
            }
            to => Means::Mail(table.mail(name, to.unwrap_or_default(), base)?),
        },
    };
    Ok(Some(Channel {
        name: name.to_owned(),
        means,
        delay: delay(table.delay_minutes),
        warnings: table.warnings,
        hides_errors: table.hide_errors,
    }))
}

fn hook(
    name: &str,
    table: &HookTable,
    connections: &BTreeMap<String, Connection>,
    base: &Path,
) -> Result<Hook> {
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
    let target = target(name, &table.url, table.allow_local, HOOK_AGENT, base)?;
    Ok(Hook { name: name.to_owned(), target, connections })
}
