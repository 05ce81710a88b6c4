//! `bobbin check`: tries both ends, changes nothing.

use std::io::IsTerminal;
use std::sync::Arc;

use bobbin_core::clock::SystemClock;
use bobbin_core::report::NoLog;
use bobbin_core::tap::{self, Context};
use bobbin_core::{Error, Party, Result};
use clap::Args;
use serde_json::json;

use super::{Format, Session, Stop};
use crate::config::Connection;
use crate::out::println;
use crate::{exit, print, registry};

/// Try the key and the destination; change nothing
#[derive(Args)]
#[command(after_help = "Example: bobbin check --config production.toml")]
pub(super) struct Check {
    /// The connection, when the file has several
    connection: Option<String>,
}

impl Check {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        let stop = Stop::on_signals();
        let cx = Context { clock: &SystemClock, cancel: &stop.cancel, log: &NoLog };
        let source = registry::tap_of(connection, &config.home).and_then(|tap| tap.check(&cx));
        let source = source.and_then(|check| verify(connection, check));
        let log = Arc::new(NoLog);
        let destination = registry::destination(&connection.destination, &config.home, log)
            .and_then(|place| {
                place.check(&cx, &connection.schema).map_err(|error| error.of(Party::Destination))
            });
        match session.format {
            Format::Text => show(connection, &source, &destination),
            Format::Json => println!(
                "{}",
                json!({
                    "connection": connection.name,
                    "source": as_json(&source),
                    "destination": as_json(&destination),
                })
            ),
        }
        Ok(match (&source, &destination) {
            (Err(error), _) | (_, Err(error)) => exit::status(error.kind(), error.party()),
            (Ok(source), Ok(_)) => {
                let chosen = |name| connection.selection.contains(name);
                let unreadable =
                    source.streams.iter().any(|(name, role)| role.is_some() && chosen(name));
                if unreadable { exit::INCOMPLETE } else { exit::OK }
            }
        })
    }
}

/// What was chosen must be there. A source that names no tables is asked when it runs.
fn verify(connection: &Connection, check: tap::Check) -> Result<tap::Check> {
    let known: Vec<&str> = check.streams.iter().map(|(name, _)| name.as_str()).collect();
    let mut named = connection.selection.streams.keys();
    match named.find(|name| !known.is_empty() && !known.contains(&name.as_str())) {
        Some(name) => {
            Err(Error::config(format!("there is no table `{name}` to choose or exclude"))
                .hint(format!("there are: {}", known.join(", "))))
        }
        None => Ok(check),
    }
}

fn show(connection: &Connection, source: &Result<tap::Check>, destination: &Result<tap::Check>) {
    let terminal = std::io::stdout().is_terminal();
    for (part, result) in [(&connection.source, source), (&connection.destination, destination)] {
        match result {
            Ok(check) => {
                println!(
                    "{} ({}): {}",
                    part.name,
                    part.kind,
                    print::paint("ok", print::GREEN, terminal)
                );
                for (label, value) in &check.facts {
                    println!("  {label}: {value}");
                }
                for (stream, missing) in &check.streams {
                    let verdict = match missing {
                        None => print::paint("readable", print::GREEN, terminal),
                        Some(why) => {
                            format!(
                                "{} {why}",
                                print::paint("not readable:", print::YELLOW, terminal)
                            )
                        }
                    };
                    println!("  {stream:<14} {verdict}");
                }
            }
            Err(error) => {
                println!(
                    "{} ({}): {}",
                    part.name,
                    part.kind,
                    print::paint("failed", print::RED, terminal)
                );
                println!("  {}", error.report().replace('\n', "\n  "));
            }
        }
    }
}

fn as_json(result: &Result<tap::Check, Error>) -> serde_json::Value {
    match result {
        Ok(check) => json!({
            "ok": true,
            "facts": check.facts.iter().map(|(label, value)| (label.clone(), value.clone().into()))
                .collect::<serde_json::Map<String, serde_json::Value>>(),
            "streams": check.streams.iter().map(|(stream, missing)| json!({
                "stream": stream, "readable": missing.is_none(), "reason": missing,
            })).collect::<Vec<_>>(),
        }),
        Err(error) => json!({
            "ok": false, "error": error.to_string(), "report": error.report(),
        }),
    }
}
