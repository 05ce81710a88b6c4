//! The destinations of ours: the settings of each, and what they are in a Singer config.

use std::path::PathBuf;

use bobbin_core::{Error, Result};
use bobbin_singer::about::{Setting, SettingKind};
use serde_json::Value;

use crate::config::{Managed, Part};

/// What can be loaded into.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Its name as a program of its own; its upper case leads its settings in the environment.
    pub(crate) program: &'static str,
    pub(crate) description: &'static str,
    pub(crate) settings: &'static [Setting],
}

/// Other names under which runners give the same.
const ALIASES: [(&str, &str); 2] = [("filepath", "path"), ("dbname", "database")];

pub(crate) const SCHEMA: Setting = Setting {
    default: Some("\"singer\""),
    ..Setting::text("default_target_schema", "The schema that the tables are in.")
};

const fn number(name: &'static str, description: &'static str) -> Setting {
    Setting { kind: SettingKind::Integer, ..Setting::text(name, description) }
}

const ARRAYS: &str = "Where arrays go: `tables` of their own, or `columns` of lists and JSON.";
const NAMING: Setting =
    Setting::text("naming", "`bobbin` or `stitch`: how names are given and what is rejected.");
const LOAD_MODE: Setting =
    Setting::text("load_mode", "`upsert`, or `append`: every version of a record is a row.");
const KEEP_NAME: Setting = Setting {
    kind: SettingKind::Boolean,
    ..Setting::text(
        "keep_original_name",
        "Whether a column keeps its name once values of a second type come.",
    )
};
const KEY_CHANGE: Setting = Setting::text(
    "on_key_change",
    "`stop`, or `append` from then on, when a stream's key changes.",
);
const HARD_DELETE: Setting = Setting {
    kind: SettingKind::Boolean,
    ..Setting::text(
        "hard_delete",
        "`true`: rows marked as deleted go; `false`: those a version no longer has get a mark.",
    )
};
const MAX_COLUMNS: Setting =
    number("max_columns", "Most columns of a table; undeclared fields beyond go to one of JSON.");

pub(crate) const KINDS: [Kind; 2] = [
    Kind {
        name: "duckdb",
        program: "target-bobbin-duckdb",
        description: "Loads Singer messages into a DuckDB file.",
        settings: &[
            Setting {
                required: true,
                ..Setting::text("path", "The file; it is made when missing.")
            },
            SCHEMA,
            Setting { default: Some("\"columns\""), ..Setting::text("arrays", ARRAYS) },
            NAMING,
            LOAD_MODE,
            KEEP_NAME,
            KEY_CHANGE,
            HARD_DELETE,
            MAX_COLUMNS,
            number("memory_limit_mb", "Memory that DuckDB may use, in MB."),
            number("threads", "Threads that DuckDB may use."),
            number("rows_per_commit", "Records that are committed together."),
        ],
    },
    Kind {
        name: "postgres",
        program: "target-bobbin-postgres",
        description: "Loads Singer messages into PostgreSQL.",
        settings: &[
            Setting { default: Some("\"localhost\""), ..Setting::text("host", "The server.") },
            Setting { default: Some("5432"), ..number("port", "The server's port.") },
            Setting { required: true, ..Setting::text("database", "The database; it must exist.") },
            Setting {
                required: true,
                ..Setting::text("user", "A user who may make schemas in the database.")
            },
            Setting { secret: true, ..Setting::text("password", "The user's password.") },
            SCHEMA,
            Setting::text("tls", "`require` or `off`; off by default only on this machine."),
            Setting::text("ca_file", "A certificate to trust beside those of the system."),
            Setting { default: Some("\"tables\""), ..Setting::text("arrays", ARRAYS) },
            NAMING,
            LOAD_MODE,
            KEEP_NAME,
            KEY_CHANGE,
            HARD_DELETE,
            MAX_COLUMNS,
            number("rows_per_commit", "Records that are committed together."),
            number("connect_timeout_seconds", "How long connecting may take."),
            number("statement_timeout_seconds", "How long a statement may take."),
            number("lock_timeout_seconds", "How long a lock is waited for."),
            Setting::text(
                "ssh_host",
                "The host of an SSH tunnel; `host` and `port` are as it sees them.",
            ),
            number("ssh_port", "The port of its SSH server."),
            Setting::text("ssh_user", "Who logs in there."),
            Setting::text("ssh_key_file", "The file of the private key."),
            Setting::text("ssh_known_hosts_file", "The file of the hosts' keys that are trusted."),
        ],
    },
];

impl Kind {
    pub(crate) fn named(name: &str) -> Result<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
            Error::config(format!("there is no destination `{name}`"))
                .hint("there are: duckdb, postgres")
        })
    }

    /// Whether a key of a Singer config means something to it.
    pub(crate) fn takes(&self, key: &str) -> bool {
        key == "schema"
            || self.settings.iter().any(|setting| setting.name == key)
            || ALIASES.iter().any(|(theirs, _)| *theirs == key)
    }

    /// The destination's settings out of a Singer config. Unknown keys are the runner's own.
    pub(crate) fn part(&self, config: &Value) -> Result<Part> {
        let mut table = toml::Table::new();
        let known = self.settings.iter().filter(|setting| setting.name != SCHEMA.name);
        for setting in known {
            let other = ALIASES.iter().find(|(_, ours)| *ours == setting.name);
            let keys = [setting.name].into_iter().chain(other.map(|(theirs, _)| *theirs));
            let number = setting.kind == SettingKind::Integer;
            for key in keys {
                let value = match config.get(key) {
                    None | Some(Value::Null) => continue,
                    // Numbers often arrive as text.
                    Some(Value::String(text)) => match text.parse::<i64>() {
                        Ok(value) if number => toml::Value::Integer(value),
                        _ if setting.kind == SettingKind::Boolean => {
                            text.parse().map_or_else(|_| text.clone().into(), toml::Value::Boolean)
                        }
                        _ => toml::Value::String(text.clone()),
                    },
                    Some(Value::Number(value)) => match value.as_i64() {
                        Some(value) if number => toml::Value::Integer(value),
                        _ => toml::Value::String(value.to_string()),
                    },
                    Some(Value::Bool(value)) => toml::Value::Boolean(*value),
                    Some(_) => {
                        return Err(Error::config(format!(
                            "`{key}` in the config is no text, number or truth value"
                        )));
                    }
                };
                table.entry(setting.name).or_insert(value);
            }
        }
        let name = self.name.to_owned();
        Ok(Part {
            kind: name.clone(),
            name,
            labels: std::collections::BTreeMap::new(),
            settings: table,
            base: PathBuf::new(),
            by: Managed::File,
            guarded: false,
        })
    }
}
