//! What can be set up through the API: types of sources and destinations, with their settings.

use std::net::{IpAddr, Ipv4Addr};
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
    if part.kind == "postgres" {
        admit_postgres(what, part, allow_local)?;
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

/// Whether a PostgreSQL server may be reached. One in a private network may: warehouses are there. What a name
/// leads to is asked with each connection (`Part::guarded`).
fn admit_postgres(what: &str, part: &Part, allow_local: bool) -> Result<()> {
    let name = &part.name;
    let text = |key: &str| part.settings.get(key).and_then(toml::Value::as_str);
    let host = text("host").unwrap_or("localhost");
    if host.starts_with(['/', '@']) {
        // Whoever comes by a socket may be known by bobbin's user alone, without a password.
        return Err(Error::config(format!("the host of {what} `{name}` is a socket"))
            .with("host", host)
            .hint("through the API it is a name or an address; only the file may name a socket"));
    }
    if allow_local {
        return Ok(());
    }
    if is_local(host) {
        return Err(Error::config(format!("the host of {what} `{name}` is this machine or no name"))
            .with("host", host)
            .hint("through the API it is another machine's name or address; allow_local = true in [service] of the file allows any"));
    }
    if text("tls") == Some("off") {
        return Err(Error::config(format!("`tls` of {what} `{name}` is off"))
            .hint("through the API a password goes over TLS only; allow_local = true in [service] of the file allows `off`"));
    }
    Ok(())
}

/// Whether a host is this machine or beside it on the wire, where services of clouds tell secrets; in doubt it
/// is.
fn is_local(host: &str) -> bool {
    let host = host.trim().trim_end_matches('.').to_ascii_lowercase();
    match host.parse() {
        Ok(address) => is_local_address(address),
        Err(_) => {
            // `127.1`, `0x7f000001` and `2130706433` are addresses to whoever looks names up.
            let last = host.rsplit('.').next().unwrap_or("");
            let number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
            number || host.contains([':', '%']) || last == "localhost" || host == "ip6-localhost"
        }
    }
}

/// The same of an address.
pub(crate) fn is_local_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                || address.octets()[0] == 0
        }
        IpAddr::V6(address) => {
            let within = |high: u16, low: u16| {
                let bits = (u32::from(high) << 16) | u32::from(low);
                is_local_address(Ipv4Addr::from_bits(bits).into())
            };
            // The last 32 bits of an old form are an address of version 4, and so are some of NAT64 and 6to4.
            let embeds = match address.segments() {
                [0, 0, 0, 0, 0, 0, _, _] => true,
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] => within(high, low),
                [0x2002, high, low, ..] => within(high, low),
                _ => false,
            };
            embeds || address.is_unicast_link_local() || address.is_multicast()
        }
    }
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

    #[test]
    fn a_postgres_server_is_another_machine_and_reached_with_tls() {
        let judge = |host: &str, more: &str, allow_local| {
            let text = format!("type = 'postgres'\nhost = '{host}'\n{more}");
            judge(Thing::Destination, &text, allow_local)
        };
        for socket in ["/var/run/postgresql", "/", "@abstract"] {
            for allow_local in [false, true] {
                let error = judge(socket, "", allow_local).unwrap_err();
                assert!(error.contains("is a socket"), "{socket}: {error}");
            }
        }
        for local in [
            "localhost",
            "LocalHost.",
            "x.localhost",
            "ip6-localhost",
            "127.0.0.1",
            "127.9.9.9",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "fe80::1",
            "fe80::1%eth0",
            "64:ff9b::7f00:1",
            "2002:a9fe:a9fe::1",
            "ff02::1",
            "[::1]",
            "",
        ] {
            let error = judge(local, "", false).unwrap_err();
            assert!(error.contains("is this machine"), "{local}: {error}");
            assert_eq!(judge(local, "tls = 'off'", true), Ok(()), "{local}");
        }
        let unsaid = "type = 'postgres'\ndatabase = 'x'";
        assert!(super::tests::judge(Thing::Destination, unsaid, false).is_err(), "it is localhost");
        // Private networks are where warehouses are.
        for there in [
            "db.example.com",
            "warehouse",
            "10.0.0.5",
            "172.16.0.5",
            "192.168.1.5",
            "fd00::5",
            "2001:db8::5",
            "8.8.8.8",
        ] {
            assert_eq!(judge(there, "", false), Ok(()), "{there}");
            assert_eq!(judge(there, "tls = 'require'", false), Ok(()), "{there}");
            let error = judge(there, "tls = 'off'", false).unwrap_err();
            assert!(error.contains("is off"), "{there}: {error}");
        }
    }
}
