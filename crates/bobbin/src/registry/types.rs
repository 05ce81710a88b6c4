//! What can be set up through the API: types of sources and destinations, with their settings.

use std::path::{Component, Path};

use bobbin_core::{Error, Result};
use bobbin_engine::ledger::Thing;
use bobbin_server::{Property, Type};
use bobbin_singer::about::{Setting, SettingKind};

use super::IMPORT;
use super::kind::{KINDS, SCHEMA};
use crate::config::Part;

/// Settings that name files of this machine: whoever may use the API is not therefore to read them.
const FILES: [&str; 6] =
    ["ca_file", "ssh_host", "ssh_port", "ssh_user", "ssh_key_file", "ssh_known_hosts_file"];

/// Where Kustomer's own API is.
const KUSTOMER: &str = ".kustomerapp.com";

/// All types.
pub(crate) fn types() -> Vec<Type> {
    let kustomer = Type {
        side: Thing::Source.word(),
        name: "kustomer",
        description: "Conversations, messages, customers and six more tables of Kustomer.",
        properties: tap_kustomer::cli::SETTINGS.iter().map(property).collect(),
    };
    let import = Type {
        side: Thing::Source.word(),
        name: IMPORT,
        description: "Records that programs push in, with Stitch's Import API.",
        properties: Vec::new(),
    };
    let destinations = KINDS.iter().map(|kind| Type {
        side: Thing::Destination.word(),
        name: kind.name,
        description: kind.description,
        properties: kind
            .settings
            .iter()
            .filter(|setting| setting.name != SCHEMA.name && !FILES.contains(&setting.name))
            .map(property)
            .collect(),
    });
    [kustomer, import].into_iter().chain(destinations).collect()
}

fn property(setting: &Setting) -> Property {
    Property {
        name: setting.name,
        description: setting.description,
        kind: match setting.kind {
            SettingKind::Text => "string",
            SettingKind::DateTime => "date-time",
            SettingKind::Integer => "integer",
            SettingKind::Number => "number",
            SettingKind::Boolean => "boolean",
        },
        required: setting.required,
        credential: setting.secret,
        default: setting.default.and_then(|text| serde_json::from_str(text).ok()),
    }
}

/// Whether a part may be set up through the API, with these settings.
///
/// # Errors
/// When it may not: because of what it is, of a setting there is not, or of one that would let whoever
/// uses the API reach files, programs or hosts that are none of their business.
pub(crate) fn admit(thing: Thing, part: &Part, allow_local: bool) -> Result<()> {
    let (what, name) = (thing.word(), &part.name);
    let types = types();
    if !types.iter().any(|known| known.side == what && known.name == part.kind) {
        let names: Vec<&str> =
            types.iter().filter(|known| known.side == what).map(|known| known.name).collect();
        let error = Error::config(format!(
            "a {what} of type `{}` cannot be set up through the API",
            part.kind
        ));
        return Err(if part.kind == "singer" {
            error.hint("it starts a program of this machine: only the file may name one")
        } else {
            error.hint(format!("there are: {}", names.join(", ")))
        });
    }
    for (key, value) in &part.settings {
        if FILES.contains(&key.as_str()) {
            return Err(Error::config(format!(
                "`{key}` of {what} `{name}` cannot be set through the API"
            ))
            .hint("it is about files of this machine: only the file may name them"));
        }
        if matches!(value, toml::Value::Table(_) | toml::Value::Array(_)) {
            return Err(Error::config(format!(
                "`{key}` of {what} `{name}` is no plain value"
            ))
            .hint("through the API a secret is given itself; references to files and variables are for the file"));
        }
    }
    let text = |key: &str| part.settings.get(key).and_then(toml::Value::as_str);
    if let Some(path) = text("path").filter(|_| part.kind == "duckdb") {
        let plain = |component| matches!(component, Component::Normal(_) | Component::CurDir);
        if !Path::new(path).components().all(plain) {
            return Err(Error::config(format!("the path of {what} `{name}` leads elsewhere"))
                .with("path", path)
                .hint("through the API a DuckDB file is made below the directory of bobbin's file: give a relative path without `..`"));
        }
    }
    if let Some(url) = text("api_url").filter(|_| !allow_local) {
        let host = url.strip_prefix("https://").map(|rest| {
            let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
            &rest[..end]
        });
        let fine = host.is_some_and(|host| {
            host.ends_with(KUSTOMER)
                && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
        });
        if !fine {
            return Err(Error::config(format!("the api_url of {what} `{name}` is not Kustomer's"))
                .with("api_url", url)
                .hint("through the API it is https://….kustomerapp.com; allow_local = true in [service] of the file allows any"));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::config::Managed;

    fn judge(thing: Thing, text: &str, allow_local: bool) -> std::result::Result<(), String> {
        let settings: toml::Table = toml::from_str(text).unwrap();
        let part = Part::new((thing.word(), "x"), settings, Path::new("."), Managed::Api).unwrap();
        admit(thing, &part, allow_local).map_err(|error| error.report())
    }

    #[test]
    fn what_would_reach_files_programs_or_hosts_is_refused() {
        use Thing::{Destination, Source};
        for (thing, text, word) in [
            (Source, "type = 'singer'\nexecutable = 'sh'", "starts a program"),
            (Destination, "type = 'singer'\nexecutable = 'sh'", "starts a program"),
            (Source, "type = 'duckdb'", "cannot be set up"),
            (Source, "type = 'kustomer'\napi_token = { file = '/etc/shadow' }", "no plain value"),
            (Source, "type = 'kustomer'\napi_token = { env = 'HOME' }", "no plain value"),
            (Destination, "type = 'duckdb'\npath = '/etc/x'", "leads elsewhere"),
            (Destination, "type = 'duckdb'\npath = 'a/../../x'", "leads elsewhere"),
            (Destination, "type = 'postgres'\nca_file = 'x'", "files of this machine"),
            (Destination, "type = 'postgres'\nssh_key_file = 'x'", "files of this machine"),
            (Source, "type = 'kustomer'\napi_url = 'http://169.254.169.254'", "not Kustomer's"),
            (
                Source,
                "type = 'kustomer'\napi_url = 'https://kustomerapp.com.evil'",
                "not Kustomer's",
            ),
            (
                Source,
                "type = 'kustomer'\napi_url = 'https://evil#.kustomerapp.com'",
                "not Kustomer's",
            ),
            (
                Source,
                "type = 'kustomer'\napi_url = 'https://evil\\x.kustomerapp.com'",
                "not Kustomer's",
            ),
            (
                Source,
                "type = 'kustomer'\napi_url = 'https://u@x.kustomerapp.com'",
                "not Kustomer's",
            ),
        ] {
            let error = judge(thing, text, false).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let local = "type = 'kustomer'\napi_url = 'http://127.0.0.1:1'";
        assert_eq!(judge(Source, local, true), Ok(()));
        let own =
            "type = 'kustomer'\napi_token = 'x'\napi_url = 'https://acme.api.kustomerapp.com'";
        assert_eq!(judge(Source, own, false), Ok(()));
        assert_eq!(judge(Destination, "type = 'duckdb'\npath = 'a/b.duckdb'", false), Ok(()));
    }
}
