//! Who is told of notices and of loads and was set up through the API, beside `[notify.NAME]` and
//! `[hooks.NAME]` of the file.

use std::collections::BTreeMap;
use std::path::Path;

use bobbin_core::secret::Secret;
use bobbin_core::{Error, Result};
use bobbin_notify::{Channel, Hook, Mail, Means, Target};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::notify::{HOOK_AGENT, Telling, USER_AGENT, delay, given, told};
use super::{Config, Connection};

/// A channel or a hook, word for word. It has a secret and is therefore never shown whole.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelTable {
    #[serde(rename = "type")]
    kind: ChannelKind,
    delay_minutes: Option<u32>,
    warnings: Option<bool>,
    hide_errors: Option<bool>,
    to: Option<Vec<String>>,
    url: Option<String>,
    destination: Option<String>,
    connections: Option<Vec<String>>,
    /// Since when nobody is told by it; it is told otherwise.
    pub(crate) disabled_at: Option<Timestamp>,
}

/// How somebody is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChannelKind {
    /// A person by mail, through the file's mail server.
    Email,
    /// A room in Slack.
    Slack,
    /// A program, of notices.
    Webhook,
    /// A program, of loads.
    PostLoad,
}

impl ChannelKind {
    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Slack => "slack",
            Self::Webhook => "webhook",
            Self::PostLoad => "post_load",
        }
    }
}

impl ChannelTable {
    /// How it tells.
    pub(crate) fn kind(&self) -> ChannelKind {
        self.kind
    }

    /// The addresses of those it tells by mail.
    pub(crate) fn addresses(&self) -> &[String] {
        self.to.as_deref().unwrap_or_default()
    }

    /// Its URL.
    pub(super) fn secret(&self) -> Option<Secret> {
        self.url.as_deref().map(Secret::new)
    }

    /// The host of its URL.
    pub(crate) fn host(&self) -> Option<String> {
        self.target(true).ok().map(|target| target.host().to_owned())
    }

    /// What it says but for its secret, in the words in which it was given.
    pub(crate) fn settings(&self) -> Map<String, Value> {
        given(json!({
            "delay_minutes": self.delay_minutes,
            "warnings": self.warnings,
            "hide_errors": self.hide_errors,
            "to": self.to,
            "destination": self.destination,
            "connections": self.connections,
        }))
    }

    /// Whether somebody can be told so, without telling anybody.
    ///
    /// # Errors
    /// Of kind `Config`, with what is wrong.
    pub(super) fn check(&self, telling: &Telling) -> Result<()> {
        let hook = self.kind == ChannelKind::PostLoad;
        let mail = self.kind == ChannelKind::Email;
        let misplaced = [
            ("delay_minutes", hook && self.delay_minutes.is_some()),
            ("warnings", hook && self.warnings.is_some()),
            ("hide_errors", hook && self.hide_errors.is_some()),
            ("to", !mail && self.to.is_some()),
            ("url", mail && self.url.is_some()),
            ("destination", !hook && self.destination.is_some()),
            ("connections", !hook && self.connections.is_some()),
        ];
        if let Some((key, _)) = misplaced.iter().find(|(_, misplaced)| *misplaced) {
            let kind = self.kind.word();
            return Err(Error::config(format!(
                "`{key}` means nothing to a channel of type `{kind}`"
            )));
        }
        if mail {
            // Each by itself, so that each is enabled and disabled by itself.
            let [address] = self.addresses() else {
                return Err(Error::config("`to` is no list of one address")
                    .hint("for example \"to\": [\"data@example.com\"]; make a channel for each"));
            };
            Mail::check_address(address)?;
            return telling.mail_server().map(drop);
        }
        let target = self.target(telling.allow_local)?;
        if target.is_local() && !telling.allow_local {
            let host = target.host();
            return Err(Error::config("the URL leads to this machine or its networks")
                .with("host", host)
                .hint("allow_local = true in [service] of the file allows that"));
        }
        Ok(())
    }

    /// Whether the destination and the connections whose loads are told are there. Later they may go: then
    /// nothing of them is told.
    ///
    /// # Errors
    /// Of kind `Config`, with the one there is not.
    pub(crate) fn check_names(&self, config: &Config) -> Result<()> {
        let named = self.destination.iter().filter(|name| !config.destinations.contains_key(*name));
        if let Some(name) = named.into_iter().next() {
            return Err(Error::config(format!("there is no destination `{name}`")));
        }
        let mut named = self.connections.iter().flatten();
        match named.find(|name| !config.connections.contains_key(*name)) {
            Some(name) => Err(Error::config(format!("there is no connection `{name}`"))),
            None => Ok(()),
        }
    }

    /// Whether it names the same destination and connections.
    pub(crate) fn names_as(&self, other: &Self) -> bool {
        self.destination == other.destination && self.connections == other.connections
    }

    /// Somebody who is told of notices; none for a hook.
    pub(super) fn channel(
        &self,
        name: &str,
        telling: &Telling,
        base: &Path,
    ) -> Result<Option<Channel>> {
        let means = match self.kind {
            ChannelKind::PostLoad => return Ok(None),
            ChannelKind::Email => {
                let (_, server) = telling.mail_server()?;
                Means::Mail(server.mail(name, self.addresses(), base)?)
            }
            ChannelKind::Slack => Means::Slack(self.target(telling.allow_local)?),
            ChannelKind::Webhook => Means::Webhook(self.target(telling.allow_local)?),
        };
        Ok(Some(Channel {
            name: name.to_owned(),
            means,
            delay: delay(self.delay_minutes),
            warnings: self.warnings.unwrap_or(true),
            hides_errors: self.hide_errors.unwrap_or(false),
        }))
    }

    /// A program that is told of loads; none for others.
    pub(super) fn hook(
        &self,
        name: &str,
        telling: &Telling,
        connections: &BTreeMap<String, Connection>,
    ) -> Result<Option<Hook>> {
        if self.kind != ChannelKind::PostLoad {
            return Ok(None);
        }
        let takes = |(name, connection): &(&String, &Connection)| {
            let named = self.connections.as_ref().is_none_or(|names| names.contains(name));
            let into = self.destination.as_ref();
            named && into.is_none_or(|into| *into == connection.destination.name)
        };
        let taken = connections.iter().filter(takes);
        Ok(Some(Hook {
            name: name.to_owned(),
            target: self.target(telling.allow_local)?,
            connections: taken.map(|(_, connection)| told(connection)).collect(),
        }))
    }

    fn target(&self, local: bool) -> Result<Target> {
        let user_agent = if self.kind == ChannelKind::PostLoad { HOOK_AGENT } else { USER_AGENT };
        let url = self.url.as_ref().ok_or_else(|| Error::config("it has no `url`"))?;
        Target::new(&Secret::new(url.as_str()), local, user_agent)
    }
}
