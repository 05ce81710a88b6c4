//! The one list of taps and destinations.

pub(crate) mod kind;
mod layout;
mod singer;
pub(crate) mod types;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bobbin_core::destination::Destination;
use bobbin_core::id::ConnectionId;
use bobbin_core::report::JobLog;
use bobbin_core::tap::Tap;
use bobbin_core::{Error, Result};
use bobbin_duckdb::DuckDb;
use bobbin_import::tap::ImportTap;
use bobbin_postgres::{Guard, Postgres, Ssh, Tls};
use serde_json::{Map, Value};
use tap_kustomer::config::Config;
use tap_kustomer::tap::KustomerTap;

use crate::config::{Connection, Part};

/// What a source is of whose records programs push in.
pub(crate) const IMPORT: &str = "import_api";

/// The tap of a connection.
pub(crate) fn tap_of(connection: &Connection, home: &Path) -> Result<Box<dyn Tap>> {
    tap(&connection.source, (&inbox(home, &connection.id), home))
}

/// Whether a connection's source can be asked for everything again.
///
/// # Errors
/// When it cannot: what was pushed into it is nowhere but in its tables.
pub(crate) fn reread(connection: &Connection) -> Result<()> {
    if connection.source.kind != IMPORT {
        return Ok(());
    }
    Err(Error::config(format!("`{}` cannot be read again", connection.name)).hint(
        "its records were pushed, and are nowhere but in its tables; whoever pushed them may push them again",
    ))
}

/// Where the records wait that are pushed into a connection.
pub(crate) fn inbox(home: &Path, connection: &ConnectionId) -> PathBuf {
    home.join("inbox").join(connection.as_str())
}

/// The tap of a source; what is pushed into its connection waits in `inbox`, sealed with the key of `home`.
pub(crate) fn tap(part: &Part, (inbox, home): (&Path, &Path)) -> Result<Box<dyn Tap>> {
    match part.kind.as_str() {
        IMPORT => match part.settings.keys().next() {
            None => Ok(Box::new(ImportTap::new(inbox, home))),
            Some(key) => {
                Err(Error::config(format!("source `{}` has an unknown setting `{key}`", part.name))
                    .hint("a source of type import_api takes none"))
            }
        },
        "kustomer" => {
            let mut settings = Map::new();
            for (key, value) in &part.settings {
                settings.insert(key.clone(), json(value));
            }
            if let Some(token) = part.secret("api_token")? {
                settings.insert("api_token".into(), token.reveal().into());
            }
            let (config, unknown) = Config::read(&Value::Object(settings)).map_err(|error| {
                error.wrap(format!("the settings of source `{}` are wrong", part.name))
            })?;
            if let Some(unknown) = unknown.first() {
                let known: Vec<_> = tap_kustomer::cli::SETTINGS.iter().map(|s| s.name).collect();
                return Err(Error::config(format!(
                    "source `{}` has an unknown setting `{unknown}`",
                    part.name
                ))
                .hint(format!("a kustomer source takes: {}", known.join(", "))));
            }
            Ok(Box::new(KustomerTap::new(config)))
        }
        "singer" => singer::tap(part),
        other => {
            Err(Error::config(format!("source `{}` has an unknown type `{other}`", part.name))
                .hint("there are: kustomer, import_api, singer"))
        }
    }
}

/// The destination of the file. What a foreign target confirmed is kept below `home`; what it says
/// goes to `log`.
pub(crate) fn destination(
    part: &Part,
    home: &Path,
    log: Arc<dyn JobLog>,
) -> Result<Box<dyn Destination>> {
    match part.kind.as_str() {
        "singer" => singer::target(part, home, log),
        _ => own_destination(part),
    }
}

/// One of bobbin's own destinations.
pub(crate) fn own_destination(part: &Part) -> Result<Box<dyn Destination>> {
    match part.kind.as_str() {
        "duckdb" => Ok(Box::new(DuckDb::new(duckdb(part)?))),
        "postgres" => Ok(Box::new(Postgres::new(postgres(part)?))),
        other => {
            Err(Error::config(format!("destination `{}` has an unknown type `{other}`", part.name))
                .hint("there are: duckdb, postgres, singer"))
        }
    }
}

/// A PostgreSQL destination's settings.
fn postgres(part: &Part) -> Result<bobbin_postgres::Config> {
    let wrong = |message: String| {
        Error::config(message).hint(
            "a postgres destination takes: host, port, database, user, password, tls, ca_file, \
             arrays, naming, load_mode, keep_original_name, on_key_change, hard_delete, max_columns, \
             rows_per_commit, connect_timeout_seconds, statement_timeout_seconds, \
             lock_timeout_seconds, ssh_host, ssh_port, ssh_user, ssh_key_file, \
             ssh_known_hosts_file",
        )
    };
    let text = |key: &str| match part.settings.get(key) {
        Some(toml::Value::String(text)) => Ok(Some(text.clone())),
        None => Ok(None),
        Some(_) => Err(wrong(format!("`{key}` of destination `{}` is no text", part.name))),
    };
    let number = |key: &str| match part.settings.get(key) {
        Some(toml::Value::Integer(n)) if *n > 0 => Ok(Some(*n as u64)),
        None => Ok(None),
        Some(_) => Err(wrong(format!("`{key}` of destination `{}` is no number", part.name))),
    };
    const KEYS: [&str; 16] = [
        "host",
        "port",
        "database",
        "user",
        "password",
        "tls",
        "ca_file",
        "rows_per_commit",
        "connect_timeout_seconds",
        "statement_timeout_seconds",
        "lock_timeout_seconds",
        "ssh_host",
        "ssh_port",
        "ssh_user",
        "ssh_key_file",
        "ssh_known_hosts_file",
    ];
    let known = |key: &&str| KEYS.contains(key) || layout::KEYS.contains(key);
    if let Some(key) = part.settings.keys().map(String::as_str).find(|key| !known(key)) {
        return Err(wrong(format!("destination `{}` has an unknown setting `{key}`", part.name)));
    }
    let need = |key: &str| {
        text(key)?.ok_or_else(|| wrong(format!("destination `{}` has no {key}", part.name)))
    };
    let host = text("host")?.unwrap_or_else(|| "localhost".to_owned());
    let mut config = bobbin_postgres::Config::new(host, need("database")?, need("user")?);
    config.password = part.secret("password")?;
    let port = |key: &str| match number(key)?.map(u16::try_from) {
        Some(Err(_)) => Err(wrong(format!("`{key}` of destination `{}` is too large", part.name))),
        port => Ok(port.and_then(Result::ok)),
    };
    if let Some(port) = port("port")? {
        config.port = port;
    }
    if let Some(host) = text("ssh_host")? {
        // ssh itself knows what a tilde stands for.
        let file = |key: &str| match text(key)? {
            Some(file) if !file.starts_with('~') => {
                let file = part.base.join(file);
                if !file.is_file() {
                    return Err(Error::config(format!(
                        "`{key}` of destination `{}` names no file",
                        part.name
                    ))
                    .with("file", file.display()));
                }
                Ok(Some(file))
            }
            file => Ok(file.map(PathBuf::from)),
        };
        config.ssh = Some(Ssh {
            host,
            port: port("ssh_port")?,
            user: text("ssh_user")?,
            key_file: file("ssh_key_file")?,
            known_hosts_file: file("ssh_known_hosts_file")?,
        });
    } else if let Some(key) = part.settings.keys().find(|key| key.starts_with("ssh_")) {
        return Err(wrong(format!("destination `{}` has {key}, but no ssh_host", part.name)));
    }
    match text("tls")?.as_deref() {
        None => {}
        Some("off") => config.tls = Tls::Off,
        Some("require") => config.tls = Tls::Require,
        Some(_) => {
            return Err(wrong(format!("`tls` of destination `{}` is wrong", part.name))
                .hint("write tls = \"require\" or tls = \"off\""));
        }
    }
    if let Some(file) = text("ca_file")? {
        config.ca_file = Some(part.base.join(file));
        config.tls = Tls::Require;
    }
    if part.guarded {
        config.guard = Some(Guard::new(|address| !types::is_local_address(address)));
    }
    config.layout = layout::layout(part, config.layout)?;
    if let Some(rows) = number("rows_per_commit")? {
        config.rows_per_commit = rows;
    }
    if let Some(seconds) = number("connect_timeout_seconds")? {
        config.connect_timeout = Duration::from_secs(seconds);
    }
    if let Some(seconds) = number("statement_timeout_seconds")? {
        config.statement_timeout = Duration::from_secs(seconds);
    }
    if let Some(seconds) = number("lock_timeout_seconds")? {
        config.lock_timeout = Duration::from_secs(seconds);
    }
    Ok(config)
}

/// A DuckDB destination's settings.
pub(crate) fn duckdb(part: &Part) -> Result<bobbin_duckdb::Config> {
    if part.kind != "duckdb" {
        return Err(Error::config(format!("destination `{}` is not a DuckDB file", part.name))
            .hint("bobbin asks DuckDB files only; for PostgreSQL use psql"));
    }
    let wrong = |message: String| {
        Error::config(message).hint(
            "a duckdb destination takes: path, arrays, naming, load_mode, keep_original_name, \
                 on_key_change, hard_delete, max_columns, memory_limit_mb, threads, rows_per_commit",
        )
    };
    let mut path = None;
    let mut memory_limit_mb = None;
    let mut threads = None;
    let mut rows_per_commit = None;
    for (key, value) in &part.settings {
        match (key.as_str(), value) {
            ("path", toml::Value::String(text))
                if text == ":memory:" || text.starts_with("md:") =>
            {
                return Err(Error::config(format!(
                    "the path of destination `{}` is no file: {text}",
                    part.name
                ))
                .hint("bobbin writes DuckDB files, for example path = \"warehouse.duckdb\""));
            }
            ("path", toml::Value::String(text)) => path = Some(part.base.join(text)),
            ("memory_limit_mb", toml::Value::Integer(n)) if *n > 0 => {
                memory_limit_mb = u32::try_from(*n).ok();
            }
            ("threads", toml::Value::Integer(n)) if *n > 0 => threads = u32::try_from(*n).ok(),
            ("rows_per_commit", toml::Value::Integer(n)) if *n > 0 => {
                rows_per_commit = u64::try_from(*n).ok();
            }
            ("path" | "memory_limit_mb" | "threads" | "rows_per_commit", _) => {
                return Err(wrong(format!("`{key}` of destination `{}` is wrong", part.name)));
            }
            (key, _) if layout::KEYS.contains(&key) => {}
            _ => {
                return Err(wrong(format!(
                    "destination `{}` has an unknown setting `{key}`",
                    part.name
                )));
            }
        }
    }
    let path = path.ok_or_else(|| wrong(format!("destination `{}` has no path", part.name)))?;
    let mut config = bobbin_duckdb::Config::new(path);
    config.layout = layout::layout(part, config.layout)?;
    if let Some(limit) = memory_limit_mb {
        config.memory_limit_mb = limit;
    }
    if let Some(threads) = threads {
        config.threads = threads;
    }
    if let Some(rows) = rows_per_commit {
        config.rows_per_commit = rows;
    }
    Ok(config)
}

/// A setting as JSON.
pub(crate) fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(n) => Value::from(*n),
        toml::Value::Float(n) => Value::from(*n),
        toml::Value::Boolean(b) => Value::from(*b),
        toml::Value::Datetime(instant) => Value::from(instant.to_string()),
        toml::Value::Array(items) => items.iter().map(json).collect(),
        toml::Value::Table(table) => {
            table.iter().map(|(key, value)| (key.clone(), json(value))).collect()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::config::Managed;

    /// What a name leads to is asked of what came through the API alone.
    #[test]
    fn a_postgres_host_of_the_api_is_guarded() {
        let settings: toml::Table = toml::from_str(
            "type = 'postgres'\nhost = 'db.example.com'\ndatabase = 'd'\nuser = 'u'",
        )
        .unwrap();
        let part = |by| Part::new(("destination", "x"), settings.clone(), Path::new("."), by);
        assert!(postgres(&part(Managed::File).unwrap()).unwrap().guard.is_none());
        let mut part = part(Managed::Api).unwrap();
        let guard = postgres(&part).unwrap().guard.unwrap();
        for (address, allowed) in [
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("0.0.0.0", false),
            ("10.0.0.5", true),
            ("93.184.216.34", true),
        ] {
            assert_eq!((guard.allows)(address.parse().unwrap()), allowed, "{address}");
        }
        part.guarded = false;
        assert!(postgres(&part).unwrap().guard.is_none(), "allow_local");
    }
}
