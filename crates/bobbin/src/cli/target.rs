//! `bobbin target`: a Singer target over any destination.

use std::fs::File;
use std::io::Read;

use bobbin_core::clock::SystemClock;
use bobbin_core::report::Level;
use bobbin_core::tap::Context;
use bobbin_core::{Error, Result};
use bobbin_singer::config::json_file;
use bobbin_singer::logs::SingerLog;
use bobbin_singer::target::Target as SingerTarget;
use clap::Args;
use serde_json::Value;

use super::{Session, Stop};
use crate::config::{Part, schema_name};
use crate::{exit, registry};

/// Load Singer messages from standard input; print states once their records are durable
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  tap-anything --config tap.json | bobbin target duckdb --config target.json\n",
    "  bobbin target postgres --config target.json --input messages.jsonl\n",
    "\n",
    "The file given with --config is JSON: the settings of the destination as in bobbin.toml, and\n",
    "`default_target_schema` (or `schema`) for the schema, `singer` when absent.\n",
))]
pub(super) struct Target {
    /// What to load into: duckdb or postgres
    destination: String,

    /// Read messages from a file in place of standard input
    #[arg(long, value_name = "FILE")]
    input: Option<std::path::PathBuf>,
}

impl Target {
    /// To a Singer runner a status is 0 or 1, and the reason a CRITICAL line.
    pub(super) fn run(&self, session: &Session) -> u8 {
        let log = SingerLog::stderr(SingerLog::level_from_env("bobbin"));
        match self.load(session, &log) {
            Ok(summary) => {
                log.say(Level::Info, &summary);
                exit::OK
            }
            Err(error) => {
                log.critical(&error);
                exit::BUG
            }
        }
    }

    fn load(&self, session: &Session, log: &SingerLog) -> Result<String> {
        let path = session.config.to_string_lossy();
        let settings = json_file("config", &path)
            .map_err(|error| error.hint("give the target's settings: --config target.json"))?;
        let part = part(&self.destination, &settings)?;
        let schema = ["default_target_schema", "schema"]
            .iter()
            .find_map(|key| settings.get(*key).and_then(Value::as_str))
            .unwrap_or("singer");
        let destination = registry::destination(&part)?;
        let stop = Stop::on_signals();
        let cx = Context { clock: &SystemClock, cancel: &stop.cancel, log };
        let input: Box<dyn Read + Send> = match &self.input {
            None => Box::new(std::io::stdin()),
            Some(path) => Box::new(File::open(path).map_err(|error| {
                Error::io("cannot open the input", error).with("path", path.display())
            })?),
        };
        let target =
            SingerTarget { destination: &*destination, connection: schema_name(schema).into() };
        let summary = target.run(input, &mut std::io::stdout().lock(), &cx)?;
        Ok(format!(
            "{} records received, {} rows written, {} replaced before they were, {} set aside",
            summary.received, summary.loaded, summary.superseded, summary.rejected
        ))
    }
}

/// The destination's settings out of a Singer config. Unknown keys are the runner's own.
fn part(kind: &str, settings: &Value) -> Result<Part> {
    let known: &[(&str, &str)] = match kind {
        "duckdb" => &[
            ("path", "path"),
            ("filepath", "path"),
            ("memory_limit_mb", "memory_limit_mb"),
            ("threads", "threads"),
            ("rows_per_commit", "rows_per_commit"),
        ],
        "postgres" => &[
            ("host", "host"),
            ("port", "port"),
            ("database", "database"),
            ("dbname", "database"),
            ("user", "user"),
            ("password", "password"),
            ("tls", "tls"),
            ("ca_file", "ca_file"),
            ("rows_per_commit", "rows_per_commit"),
            ("connect_timeout_seconds", "connect_timeout_seconds"),
            ("statement_timeout_seconds", "statement_timeout_seconds"),
            ("lock_timeout_seconds", "lock_timeout_seconds"),
        ],
        other => {
            return Err(Error::config(format!("there is no destination `{other}`"))
                .hint("there are: duckdb, postgres"));
        }
    };
    let mut table = toml::Table::new();
    for (key, ours) in known {
        let number = matches!(*ours, "port" | "rows_per_commit" | "memory_limit_mb" | "threads")
            || ours.ends_with("_seconds");
        let value = match settings.get(*key) {
            None | Some(Value::Null) => continue,
            // Numbers often arrive as text.
            Some(Value::String(text)) => match text.parse::<i64>() {
                Ok(value) if number => toml::Value::Integer(value),
                _ => toml::Value::String(text.clone()),
            },
            Some(Value::Number(value)) => match value.as_i64() {
                Some(value) if number => toml::Value::Integer(value),
                _ => toml::Value::String(value.to_string()),
            },
            Some(_) => {
                return Err(Error::config(format!("`{key}` in the config is no text or number")));
            }
        };
        table.insert((*ours).to_owned(), value);
    }
    Ok(Part {
        name: kind.to_owned(),
        kind: kind.to_owned(),
        settings: table,
        base: std::path::PathBuf::new(),
    })
}
