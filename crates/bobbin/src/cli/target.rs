//! `bobbin target`: a Singer target over any destination.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use bobbin_core::clock::SystemClock;
use bobbin_core::report::Level;
use bobbin_core::tap::Context;
use bobbin_core::{Error, Result};
use bobbin_singer::about::{self, About};
use bobbin_singer::cli::Format;
use bobbin_singer::config;
use bobbin_singer::logs::SingerLog;
use bobbin_singer::target::Target as SingerTarget;
use clap::{ArgAction, Args, Parser};
use serde_json::Value;

use super::{Session, Stop};
use crate::config::schema_name;
use crate::out::{print, println};
use crate::registry::kind::Kind;
use crate::{exit, registry};

/// Load Singer messages from standard input; print states once their records are durable
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(super) struct Target {
    /// What to load into, and the flags of a Singer target: bobbin target --help
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "DESTINATION")]
    rest: Vec<OsString>,
}

/// A target's flags are Singer's, not those of bobbin's other verbs.
#[derive(Parser)]
#[command(
    name = "bobbin target",
    about = "Load Singer messages from standard input; print states once their records are durable",
    disable_version_flag = true,
    after_help = concat!(
        "Examples:\n",
        "  tap-anything --config tap.json | bobbin target duckdb --config target.json\n",
        "  bobbin target postgres --config target.json --input messages.jsonl\n",
        "  target-bobbin-duckdb --config target.json          the same as a program of its own\n",
        "\n",
        "The config is JSON: the settings of the destination as in bobbin.toml, and\n",
        "`default_target_schema` (or `schema`) for the schema, `singer` when absent.\n",
    )
)]
struct Flags {
    /// What to load into: duckdb or postgres
    destination: String,

    /// Config file (JSON); may be repeated, later files win. The word ENV adds settings from the
    /// environment, which win over files: TARGET_BOBBIN_DUCKDB_PATH for `path`
    #[arg(short, long, value_name = "FILE")]
    config: Vec<String>,

    /// Read messages from a file in place of standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Describe the program and its settings, and leave
    #[arg(long)]
    about: bool,

    /// Format of --about
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    /// Print the version and leave
    #[arg(short = 'V', long, action = ArgAction::SetTrue)]
    version: bool,
}

impl Target {
    /// To a Singer runner a status is 0 or 1, and the reason a CRITICAL line.
    pub(super) fn run(&self, session: &Session) -> u8 {
        let words = [OsString::from("bobbin target")].into_iter().chain(self.rest.iter().cloned());
        let mut flags = match Flags::try_parse_from(words) {
            Ok(flags) => flags,
            Err(error) => {
                let status = if error.use_stderr() { exit::CONFIG } else { exit::OK };
                let _ = error.print();
                return status;
            }
        };
        // Said before the destination, it was taken for bobbin's own.
        if flags.config.is_empty() && session.config != std::path::Path::new(super::DEFAULT_FILE) {
            flags.config.push(session.config.to_string_lossy().into_owned());
        }
        let log = SingerLog::stderr(SingerLog::level_from_env("bobbin"));
        match act(&flags, &log) {
            Ok(()) => exit::OK,
            Err(error) => {
                log.critical(&error);
                exit::BUG
            }
        }
    }
}

fn act(flags: &Flags, log: &SingerLog) -> Result<()> {
    let kind = Kind::named(&flags.destination)?;
    let version = env!("CARGO_PKG_VERSION");
    if flags.version {
        println!("{} v{version}", kind.program);
        return Ok(());
    }
    if flags.about {
        let about = About {
            name: kind.program,
            version,
            description: kind.description,
            capabilities: &about::TARGET,
            settings: kind.settings,
        };
        print!("{}", about.text(flags.format));
        return Ok(());
    }
    let settings = config::load(&flags.config, kind.program, kind.settings)?;
    let schema = ["default_target_schema", "schema"]
        .iter()
        .find_map(|key| settings.get(*key).and_then(Value::as_str))
        .unwrap_or("singer");
    let keys = settings.as_object().into_iter().flat_map(|settings| settings.keys());
    for key in keys.filter(|key| !kind.takes(key)) {
        log.say(Level::Warn, &format!("the setting `{key}` is not known and has no effect"));
    }
    if schema_name(schema) != schema {
        let name = schema_name(schema);
        log.say(Level::Warn, &format!("the schema `{schema}` is written as `{name}`"));
    }
    let destination = registry::own_destination(&kind.part(&settings)?)?;
    let stop = Stop::on_signals();
    let cx = Context { clock: &SystemClock, cancel: &stop.cancel, log };
    let input: Box<dyn Read + Send> = match &flags.input {
        None => Box::new(std::io::stdin()),
        Some(path) => Box::new(File::open(path).map_err(|error| {
            Error::io("cannot open the input", error).with("path", path.display())
        })?),
    };
    let target = SingerTarget { destination: &*destination, schema: schema_name(schema).into() };
    let summary = target.run(input, &mut std::io::stdout().lock(), &cx)?;
    log.say(
        Level::Info,
        &format!(
            "{} records received, {} rows written, {} replaced before they were, {} set aside, \
             {} removed",
            summary.received, summary.loaded, summary.superseded, summary.rejected, summary.removed
        ),
    );
    Ok(())
}
