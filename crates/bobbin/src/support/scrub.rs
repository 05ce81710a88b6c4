//! Takes secrets out of texts.

use bobbin_core::secret::Secret;
use bobbin_engine::ledger::Thing;
use bobbin_engine::vault;
use bobbin_server::token;

use crate::config::{Config, Part};
use crate::served;

/// What stands in a secret's place.
const HIDDEN: &str = "***";

/// Bytes of the shortest secret that is looked for; a shorter one is part of ordinary words.
const SHORTEST: usize = 6;

/// Knows secrets, and finds them in texts.
pub(super) struct Scrub(Vec<Secret>);

impl Scrub {
    /// With every secret of a configuration that can be read.
    pub(super) fn of(config: &Config) -> Self {
        let mut texts = Vec::new();
        for (thing, parts) in
            [(Thing::Source, &config.sources), (Thing::Destination, &config.destinations)]
        {
            let shown = served::parts(config, thing);
            for part in parts.values() {
                let hidden = shown.iter().filter(|shown| shown.name == part.name);
                for key in hidden.flat_map(|shown| &shown.secrets) {
                    texts_of(part, key, part.settings.get(key), &mut texts);
                }
            }
        }
        let read = |path: &std::path::Path| std::fs::read_to_string(path).ok();
        texts.extend(read(&token::path(&config.home)));
        texts.extend(read(&vault::path(&config.home)));
        texts.extend(std::env::var(vault::VARIABLE));
        let more = config.telling.secrets(&config.base).into_iter().chain(config.hash_key());
        texts.extend(more.map(|secret| secret.reveal().to_owned()));
        Self::new(texts)
    }

    fn new(texts: Vec<String>) -> Self {
        let mut known: Vec<String> = Vec::new();
        for text in texts.iter().map(|text| text.trim()).filter(|text| text.len() >= SHORTEST) {
            // As it stands in JSON, too.
            let quoted = serde_json::Value::from(text).to_string();
            known.push(quoted.trim_matches('"').to_owned());
            known.push(text.to_owned());
        }
        known.sort_by_key(|text| std::cmp::Reverse(text.len()));
        known.dedup();
        Self(known.into_iter().map(Secret::new).collect())
    }

    /// A text without them, and without names and passwords in addresses.
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = without_users(text);
        for secret in &self.0 {
            if text.contains(secret.reveal()) {
                text = text.replace(secret.reveal(), HIDDEN);
            }
        }
        text
    }
}

/// Every text in a setting; what a reference stands for in place of the reference.
fn texts_of(part: &Part, key: &str, value: Option<&toml::Value>, texts: &mut Vec<String>) {
    match value {
        Some(toml::Value::String(text)) => texts.push(text.clone()),
        Some(toml::Value::Array(items)) => {
            for item in items {
                texts_of(part, key, Some(item), texts);
            }
        }
        Some(table @ toml::Value::Table(members)) => match part.referred(key, table) {
            Ok(Some(text)) => texts.push(text),
            _ => {
                for member in members.values() {
                    texts_of(part, key, Some(member), texts);
                }
            }
        },
        _ => {}
    }
}

/// A text whose addresses have no user's name and password: `https://***@host/`.
fn without_users(text: &str) -> String {
    let mut left = text;
    let mut clean = String::with_capacity(text.len());
    while let Some((before, after)) = left.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\\' | '`'))
            .unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                clean.push_str(HIDDEN);
                clean.push('@');
                clean.push_str(host);
            }
            None => clean.push_str(authority),
        }
        left = rest;
    }
    clean.push_str(left);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_as_they_are_and_as_json_has_them() {
        let scrub = Scrub::new(vec![
            "pass\"word".into(),
            "pass\"word longer".into(),
            " trimmed\n".into(),
            "x".into(),
        ]);
        for (text, clean) in [
            ("is pass\"word here", "is *** here"),
            ("{\"a\":\"pass\\\"word\"}", "{\"a\":\"***\"}"),
            ("pass\"word longer", "***"),
            ("trimmed, x", "***, x"),
        ] {
            assert_eq!(scrub.text(text), clean);
        }
    }

    #[test]
    fn addresses_lose_their_users_and_nothing_else() {
        for (text, clean) in [
            ("https://u:p@host/x?y=a@b", "https://***@host/x?y=a@b"),
            ("see http://a@b and ftp://c:d@e.", "see http://***@b and ftp://***@e."),
            ("https://u:p@odd@host\"", "https://***@host\""),
            ("https://host/a@b, a@b", "https://host/a@b, a@b"),
            ("no address: //", "no address: //"),
        ] {
            assert_eq!(without_users(text), clean);
        }
    }
}
