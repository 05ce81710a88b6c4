//! `bobbin rejected`: the records that were set aside, listed or loaded again.

use std::io::IsTerminal;
use std::sync::Arc;

use bobbin_core::Result;
use bobbin_core::clock::SystemClock;
use bobbin_core::destination::Destination;
use bobbin_core::rejected::{RejectedGroup, RejectedList, RejectedQuery};
use bobbin_core::report::NoLog;
use bobbin_core::tap::Context;
use bobbin_engine::{Retried, RetryRequest};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Format, Session, Stop};
use crate::config::Connection;
use crate::out::println;
use crate::progress::Progress;
use crate::{exit, print, registry};

/// List the records that were set aside, or load them again
#[derive(Args)]
pub(super) struct Rejected {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the records that were set aside, with their reasons
    List(List),
    /// Load them again, after what was wrong has been mended
    Retry(Retry),
}

#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin rejected list\n",
    "  bobbin rejected list --table messages --records --limit 1     with the record itself\n",
))]
struct List {
    /// The connection, when the file has several
    connection: Option<String>,

    /// Only those of this table
    #[arg(long, short)]
    table: Option<String>,

    /// Most records to show one by one, newest first
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: u64,

    /// Show the records themselves: your data
    #[arg(long)]
    records: bool,
}

#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin rejected retry\n",
    "  bobbin rejected retry --table messages\n",
    "\n",
    "Records become rows, or are set aside again with the reason they have now; at every moment each\n",
    "is in one of the places. A newer version that the table holds by now stays.\n",
    "The exit status is 0 when no record is set aside any more, 3 when some are.\n",
))]
struct Retry {
    /// The connection, when the file has several
    connection: Option<String>,

    /// Only those of this table and its arrays
    #[arg(long, short)]
    table: Option<String>,
}

impl Rejected {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        match &self.verb {
            Verb::List(verb) => verb.run(session),
            Verb::Retry(verb) => verb.run(session),
        }
    }
}

impl List {
    fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        let destination =
            registry::destination(&connection.destination, &config.home, Arc::new(NoLog))?;
        let query =
            RejectedQuery { table: self.table.clone(), most: self.limit, text: self.records };
        let list = ask(&*destination, connection, &query)?;
        if session.format == Format::Json {
            for group in &list.groups {
                println!("{}", json!({ "event": "rejected", "group": group }));
            }
            for record in &list.records {
                println!("{}", json!({ "event": "rejected_record", "record": record }));
            }
            return Ok(exit::OK);
        }
        if list.groups.is_empty() {
            println!("nothing is set aside");
            return Ok(exit::OK);
        }
        show_groups(&list.groups);
        if list.records.is_empty() {
            return Ok(exit::OK);
        }
        let rows = list
            .records
            .iter()
            .map(|record| {
                vec![
                    format!("{:.0}", record.at),
                    record.table.clone(),
                    record.reason.clone(),
                    print::bytes(record.bytes),
                ]
            })
            .collect();
        println!("\n{}", print::table(&["set aside at", "table", "reason", "size"], &[3], rows));
        for record in list.records.iter().filter_map(|record| record.record.as_ref()) {
            println!("{record}");
        }
        let all: u64 = list.groups.iter().map(|group| group.records).sum();
        if all > list.records.len() as u64 {
            println!("the newest {} of {}; more with --limit", list.records.len(), all);
        }
        Ok(exit::OK)
    }
}

impl Retry {
    fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        let progress = Arc::new(Progress::new(session.format, false));
        let destination =
            registry::destination(&connection.destination, &config.home, progress.clone())?;
        let query = RejectedQuery::default();
        let before = self.mine(ask(&*destination, connection, &query)?);
        let mut retried = Vec::new();
        if before.iter().any(|group| group.whole > 0) {
            let tap = registry::tap_of(connection, &config.home)?;
            let stop = Stop::on_signals();
            let cx = Context { clock: &SystemClock, cancel: &stop.cancel, log: &*progress };
            let request = RetryRequest {
                connection: &connection.id,
                schema: &connection.schema,
                tap: &*tap,
                destination: &*destination,
                selection: &connection.selection,
                table: self.table.as_deref(),
            };
            let result = config.engine().retry_rejected(cx, &request);
            progress.finish();
            retried = result?;
        }
        let left = self.mine(ask(&*destination, connection, &query)?);
        match session.format {
            Format::Json => {
                println!("{}", json!({ "event": "retried", "streams": retried, "left": left }));
            }
            Format::Text => show(&retried, &left),
        }
        Ok(if left.is_empty() { exit::OK } else { exit::INCOMPLETE })
    }

    /// What the choice of a table leaves.
    fn mine(&self, list: RejectedList) -> Vec<RejectedGroup> {
        let mine = |group: &RejectedGroup| {
            self.table.as_ref().is_none_or(|table| {
                let rest = group.table.strip_prefix(table.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("__"))
            })
        };
        list.groups.into_iter().filter(mine).collect()
    }
}

fn ask(
    destination: &dyn Destination,
    connection: &Connection,
    query: &RejectedQuery,
) -> Result<RejectedList> {
    let cancel = bobbin_core::cancel::Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    destination.rejected(&cx, &connection.schema, query).map_err(super::asked)
}

fn show(retried: &[Retried], left: &[RejectedGroup]) {
    let terminal = std::io::stdout().is_terminal();
    if retried.is_empty() && left.is_empty() {
        println!("nothing is set aside");
        return;
    }
    if !retried.is_empty() {
        let rows = retried
            .iter()
            .map(|stream| {
                vec![
                    stream.stream.clone(),
                    print::number(stream.tried),
                    print::number(stream.loaded),
                    print::number(stream.unchanged),
                    print::number(stream.rejected),
                ]
            })
            .collect();
        let heading = ["table", "tried", "loaded", "unchanged", "set aside again"];
        println!("{}", print::table(&heading, &[1, 2, 3, 4], rows));
    }
    for stream in retried {
        if let Some(why) = &stream.stopped {
            let why = why.replace('\n', "\n    ");
            println!("{} {}: {why}", print::paint("!", print::YELLOW, terminal), stream.stream);
        }
    }
    if left.is_empty() {
        println!("\nnothing is set aside any more");
        return;
    }
    println!("\nStill set aside:");
    show_groups(left);
    let sum = |pick: fn(&RejectedGroup) -> u64| left.iter().map(pick).sum::<u64>();
    let (cut, raw) = (sum(|group| group.cut), sum(RejectedGroup::raw));
    if cut > 0 {
        println!(
            "\n{} cannot be tried again here: they were too long to be kept whole. {ANEW}",
            print::number(cut)
        );
    }
    if raw > 0 {
        println!(
            "\n{} cannot be tried again here: they stand as the source sent them, because they could \
             not be read as records. {ANEW}",
            print::number(raw)
        );
    }
}

/// What to do about records that only the source has whole.
const ANEW: &str = "Any change to such a record at the source brings it again with the next run; a \
                    connection of another name reads everything anew.";

fn show_groups(groups: &[RejectedGroup]) {
    let rows = groups
        .iter()
        .map(|group| {
            vec![
                group.table.clone(),
                group.reason.clone(),
                print::number(group.records),
                print::number(group.whole),
                format!("{:.0}", group.latest),
            ]
        })
        .collect();
    let heading = ["table", "reason", "records", "can be tried again", "latest"];
    println!("{}", print::table(&heading, &[2, 3], rows));
}
