//! Who is told of notices and of loads, as the API shows and changes it.

use bobbin_core::{Error, ErrorKind, Result};
use bobbin_engine::ledger::Thing;
use bobbin_server::Channel;
use serde_json::{Map, Value};

use crate::config::{ChannelKind, Config, MOST_HOOKS, Managed, Store};

/// The most people who are told by mail and were set up through the API (`stitch-behaviour.md` 9.1).
const MOST_RECIPIENTS: usize = 10;

/// The secret of a channel.
const URL: &str = "url";

/// All of them, without their secrets.
pub(crate) fn channels(config: &Config) -> Vec<Channel> {
    let all = config.telling.shown(&config.base).into_iter().map(|shown| {
        let key = (Thing::Channel, shown.name.to_owned());
        let written = config.store.written.get(&key).filter(|_| shown.by == Managed::Api);
        Channel {
            name: key.1,
            kind: shown.kind,
            managed_by: shown.by.into(),
            disabled_at: shown.disabled_at,
            host: shown.host,
            settings: shown.settings,
            secrets: shown.secrets,
            made_at: written.and_then(|written| written.made),
            changed_at: written.and_then(|written| written.changed),
        }
    });
    all.collect()
}

/// A body as given, with the URL that it leaves out: nobody is shown it, so nobody gives it again.
pub(super) fn with_url(store: &Store, name: &str, body: &Map<String, Value>) -> Map<String, Value> {
    let mut body = body.clone();
    body.retain(|_, value| !value.is_null());
    let before = store.written.get(&(Thing::Channel, name.to_owned())).map(|written| &written.body);
    let before = before.filter(|before| before.get("type") == body.get("type"));
    if let Some(url) = before.and_then(|before| before.get(URL))
        && !body.contains_key(URL)
    {
        body.insert(URL.to_owned(), url.clone());
    }
    body
}

/// Whether a channel may be as it is in `new`, where before there was what there is `now`.
///
/// # Errors
/// Of kind `Conflict` when there are as many as may be or somebody is told already, `Config` when something
/// it names is not there.
pub(super) fn admit(now: &Config, new: &Config, name: &str) -> Result<()> {
    let Some(channel) = new.telling.stored(name) else { return Ok(()) };
    // What it named once may have gone since.
    if now.telling.stored(name).is_none_or(|before| !before.names_as(channel)) {
        channel.check_names(new)?;
    }
    let full = |what: &str, most: usize| {
        Err(Error::new(ErrorKind::Conflict, format!("there are {most} {what}"))
            .hint("remove one first"))
    };
    let all = channels(new);
    let others = || all.iter().filter(|other| other.name != name);
    match channel.kind() {
        ChannelKind::PostLoad => {
            let hooks = others().filter(|other| other.kind == channel.kind().word());
            if hooks.count() >= MOST_HOOKS {
                return full("post-load hooks", MOST_HOOKS);
            }
        }
        ChannelKind::Email => {
            let mails = || others().filter(|other| other.kind == channel.kind().word());
            let same = |other: &&Channel| {
                let to = other.settings.get("to").and_then(Value::as_array);
                let mut to = to.into_iter().flatten().filter_map(Value::as_str);
                to.any(|to| channel.addresses().iter().any(|own| own.eq_ignore_ascii_case(to)))
            };
            if let Some(other) = mails().find(same) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("the channel `{}` tells this address already", other.name),
                ));
            }
            let own = mails().filter(|other| other.managed_by == bobbin_server::Managed::Api);
            if own.count() >= MOST_RECIPIENTS {
                return full("recipients", MOST_RECIPIENTS);
            }
        }
        ChannelKind::Slack | ChannelKind::Webhook => {}
    }
    Ok(())
}
