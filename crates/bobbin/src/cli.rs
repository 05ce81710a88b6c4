//! The command line: what can be said, and which verb does it.

mod apply;
mod audit;
mod backfill;
mod check;
mod completions;
mod demo;
mod discover;
mod init;
mod jobs;
mod key;
mod loads;
mod logs;
mod notices;
mod plan;
mod query;
mod rejected;
mod reset;
mod run;
mod schedule;
mod serve;
mod simulate;
mod status;
mod support;
mod target;
mod token;
mod user;

use std::path::{Path, PathBuf};

use bobbin_core::cancel::Cancel;
use bobbin_core::{Error, ErrorKind, Party, Result};
use clap::{Parser, Subcommand, ValueEnum};

use crate::config::Config;
use crate::exit;
use crate::out::eprintln;

/// Replicates Kustomer into your warehouse: every record once, and it can prove it.
#[derive(Parser)]
#[command(
    name = "bobbin",
    version,
    about,
    after_help = exit::HELP,
    after_long_help = concat!(
        "Examples:\n",
        "  bobbin demo                         see it work against a simulated Kustomer\n",
        "  bobbin init                         write a bobbin.toml to fill in\n",
        "  bobbin check                        try the key and the destination\n",
        "  bobbin plan                         see which tables a run would make or change\n",
        "  bobbin run                          replicate once\n",
        "  bobbin query 'select count(*) from kustomer.customers'\n",
    ),
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    /// The configuration file
    #[arg(
        long,
        short,
        global = true,
        default_value = DEFAULT_FILE,
        value_name = "FILE",
        env = "BOBBIN_CONFIG"
    )]
    config: PathBuf,

    /// Where bobbin keeps its spool and ledger, in place of `home` in the file
    #[arg(long, global = true, value_name = "DIR", env = "BOBBIN_HOME")]
    home: Option<PathBuf>,

    /// How to print: for people, or one JSON object a line
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,

    #[command(subcommand)]
    verb: Verb,
}

/// The file, unless another one is named.
const DEFAULT_FILE: &str = "bobbin.toml";

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables and sentences
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Subcommand)]
enum Verb {
    /// Replicate a simulated Kustomer into a DuckDB file and prove the copy
    Demo(demo::Demo),
    /// Write a configuration file to fill in
    Init(init::Init),
    /// Try the key and the destination; change nothing
    Check(check::Check),
    /// List the tables and columns that can be replicated
    Discover(discover::Discover),
    /// Show what a run would change in the destination; change nothing
    Plan(plan::Plan),
    /// Replicate once
    Run(run::Run),
    /// Replicate every connection by its schedule, until stopped
    Serve(serve::Serve),
    /// Let the running service go on as the file says now
    Apply(apply::Apply),
    /// Make and manage keys of the service's API
    Key(key::KeyVerb),
    /// Make and manage tokens with which programs push records into a connection
    Token(token::TokenVerb),
    /// Make and manage users of the service
    User(user::UserVerb),
    /// Show who changed what, and who logged in or tried to
    Audit(audit::Audit),
    /// When jobs will be due, and what became of those that were
    Schedule(schedule::Schedule),
    /// Show the last jobs and how far each table got
    Status(status::Status),
    /// List the last jobs
    Jobs(jobs::Jobs),
    /// Show what was loaded into each table, and when
    Loads(loads::Loads),
    /// Show what happened in a job, line by line
    Logs(logs::Logs),
    /// Show what needs somebody's attention, until it is over or dismissed
    Notices(notices::Notices),
    /// Read records again that changed in a part of time; bookmarks stay where they are
    Backfill(backfill::Backfill),
    /// Read everything, or one table, again from the start date
    Reset(reset::Reset),
    /// List the records that were set aside, or load them again
    Rejected(rejected::Rejected),
    /// Ask the destination in SQL, read-only
    Query(query::Query),
    /// Write a file for whoever helps: versions, settings, jobs and logs, without secrets and records
    Support(support::Support),
    /// Start a simulated Kustomer to try things on
    Simulate(simulate::Simulate),
    /// Load Singer messages from standard input; print states once their records are durable
    Target(target::Target),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// Does what was asked; gives the exit status.
pub(crate) fn run(arguments: Arguments) -> Result<u8> {
    let session =
        Session { config: arguments.config, home: arguments.home, format: arguments.format };
    match arguments.verb {
        Verb::Demo(verb) => verb.run(&session),
        Verb::Init(verb) => verb.run(&session),
        Verb::Check(verb) => verb.run(&session),
        Verb::Discover(verb) => verb.run(&session),
        Verb::Plan(verb) => verb.run(&session),
        Verb::Run(verb) => verb.run(&session),
        Verb::Serve(verb) => verb.run(&session),
        Verb::Apply(verb) => verb.run(&session),
        Verb::Key(verb) => verb.run(&session),
        Verb::Token(verb) => verb.run(&session),
        Verb::User(verb) => verb.run(&session),
        Verb::Audit(verb) => verb.run(&session),
        Verb::Schedule(verb) => verb.run(&session),
        Verb::Status(verb) => verb.run(&session),
        Verb::Jobs(verb) => verb.run(&session),
        Verb::Loads(verb) => verb.run(&session),
        Verb::Logs(verb) => verb.run(&session),
        Verb::Notices(verb) => verb.run(&session),
        Verb::Backfill(verb) => verb.run(&session),
        Verb::Reset(verb) => verb.run(&session),
        Verb::Rejected(verb) => verb.run(&session),
        Verb::Query(verb) => verb.run(&session),
        Verb::Support(verb) => verb.run(&session),
        Verb::Simulate(verb) => verb.run(&session),
        Verb::Target(verb) => Ok(verb.run(&session)),
        Verb::Completions(verb) => verb.run(),
    }
}

/// The error of a question to the destination: what it cannot be asked at all is a matter of the
/// command line, anything else of the destination.
fn asked(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Config => error,
        _ => error.of(Party::Destination),
    }
}

/// What was said for every verb.
pub(crate) struct Session {
    config: PathBuf,
    home: Option<PathBuf>,
    format: Format,
}

impl Session {
    /// What the file says, with what was set up through the API beside it. Where a service was set up
    /// through the API alone there need be no file.
    fn config(&self) -> Result<Config> {
        self.config_or(|config| config.engine().has_ledger())
    }

    /// The same for a service, which may be set up from nothing.
    fn config_to_serve(&self) -> Result<Config> {
        self.config_or(|_| true)
    }

    fn config_or(&self, without: impl Fn(&Config) -> bool) -> Result<Config> {
        let home = self.home.as_deref();
        match Config::read(&self.config, home) {
            Err(error) if self.config == Path::new(DEFAULT_FILE) && !self.config.exists() => {
                let config = Config::without_file(&self.config, home)?;
                if without(&config) { Ok(config) } else { Err(error) }
            }
            read => read,
        }
    }
}

/// Which signal asked us to stop.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// The wish that everyone watches.
    pub(crate) cancel: Cancel,
    terminated: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Stop {
    /// Turns the first Ctrl-C or SIGTERM into a wish to stop in order; a second one ends the
    /// process at once, which loses nothing that was committed.
    pub(crate) fn on_signals() -> Self {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let stop = Self::default();
        let watched = stop.clone();
        if let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) {
            std::thread::spawn(move || {
                for signal in signals.forever() {
                    if watched.cancel.is_cancelled() {
                        std::process::exit(i32::from(exit::INTERRUPTED));
                    }
                    if signal == SIGTERM {
                        watched.terminated.store(true, std::sync::atomic::Ordering::SeqCst);
                    }
                    eprintln!("stopping: finishing what is on its way; once more to stop at once");
                    watched.cancel.cancel();
                }
            });
        }
        stop
    }

    /// Whether it was SIGTERM.
    pub(crate) fn was_terminated(&self) -> bool {
        self.terminated.load(std::sync::atomic::Ordering::SeqCst)
    }
}
