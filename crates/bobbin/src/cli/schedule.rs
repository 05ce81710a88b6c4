//! `bobbin schedule`: when jobs will be due, and what became of those that were.

use bobbin_core::Result;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Format, Session};
use crate::config::Connection;
use crate::out::println;
use crate::{exit, print};

/// When jobs will be due, and what became of those that were
#[derive(Args)]
pub(super) struct Schedule {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show the next times a connection is due, in UTC and local time
    Preview(Preview),
    /// Show the last slots: started, skipped or missed, and why
    History(History),
}

#[derive(Args)]
#[command(after_help = "Example: bobbin schedule preview --next 10")]
struct Preview {
    /// The connection, when the file has several
    connection: Option<String>,

    /// How many
    #[arg(long, default_value_t = 3, value_name = "N")]
    next: usize,
}

#[derive(Args)]
#[command(after_help = "Example: bobbin schedule history --slots 50")]
struct History {
    /// The connection, when the file has several
    connection: Option<String>,

    /// How many
    #[arg(long, default_value_t = 20, value_name = "N")]
    slots: u32,
}

impl Schedule {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        match &self.verb {
            Verb::Preview(verb) => verb.run(session),
            Verb::History(verb) => verb.run(session),
        }
    }
}

impl Preview {
    fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        let plan = &connection.schedule;
        let now = Timestamp::now();
        // A frequency counts from the first job; without one, it would be now.
        let ledger = config.engine().ledger()?;
        let base = ledger.base(&connection.id)?.unwrap_or(now);
        let paused = plan.paused || ledger.is_paused(&connection.id)?;
        let slots = plan.schedule.slots(base, now).take(if paused { 0 } else { self.next });
        let slots: Vec<Timestamp> = slots.collect();
        let system = TimeZone::system();
        if session.format == Format::Json {
            for slot in slots {
                let local = slot.to_zoned_datetime(zone(connection, &system)).to_string();
                println!(
                    "{}",
                    json!({ "connection": connection.name, "due": slot, "local": local })
                );
            }
            return Ok(exit::OK);
        }
        println!("{}: {}", connection.name, plan.schedule);
        if paused {
            println!("paused: no job is due");
        } else if slots.is_empty() {
            println!("never due again");
        } else {
            let rows = slots.iter().map(|slot| {
                let local = slot.to_zoned_datetime(zone(connection, &system));
                vec![
                    format!("{slot:.0}"),
                    local.strftime("%Y-%m-%d %H:%M:%S %a").to_string(),
                    local.strftime("%Q").to_string(),
                ]
            });
            println!("{}", print::table(&["UTC", "local", "time zone"], &[], rows.collect()));
        }
        Ok(exit::OK)
    }
}

/// The time zone of the schedule, or else of this machine.
fn zone(connection: &Connection, system: &TimeZone) -> TimeZone {
    let own = connection.schedule.schedule.zone();
    if *own == TimeZone::UTC { system.clone() } else { own.clone() }
}

impl History {
    fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        let ledger = config.engine().ledger()?;
        let slots = ledger.slots(&connection.id, self.slots.max(1))?;
        if session.format == Format::Json {
            for slot in slots {
                println!("{}", json!({ "connection": connection.name, "slot": slot }));
            }
            return Ok(exit::OK);
        }
        if slots.is_empty() {
            println!("{}: no slot yet. `bobbin serve` goes by the schedule", connection.name);
            return Ok(exit::OK);
        }
        let rows = slots.into_iter().map(|row| {
            let until = if row.count > 1 { format!(" to {:.0}", row.last) } else { String::new() };
            vec![
                format!("{:.0}{until}", row.slot),
                print::number(u64::from(row.count)),
                row.outcome.word().to_owned(),
                row.job.map_or_else(String::new, |job| job.to_string()),
                row.reason.unwrap_or_default(),
            ]
        });
        let heading = ["due", "slots", "what became of it", "job", "why"];
        println!("{}", print::table(&heading, &[1], rows.collect()));
        Ok(exit::OK)
    }
}
