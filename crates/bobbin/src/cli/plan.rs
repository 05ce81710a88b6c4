//! `bobbin plan`: what a run would change in the destination.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use bobbin_core::catalog::Stream;
use bobbin_core::clock::SystemClock;
use bobbin_core::forecast::{Counted, Forecast, StreamForecast};
use bobbin_core::plan::{ColumnPlan, ColumnState, TablePlan, TableState};
use bobbin_core::report::NoLog;
use bobbin_core::tap::{Context, Discovery};
use bobbin_core::{Error, Result};
use clap::Args;
use jiff::Timestamp;

use super::apply::Compared;
use super::backfill::instant;
use super::{Format, Session, Stop};
use crate::config::Connection;
use crate::out::println;
use crate::progress::Progress;
use crate::remote::Remote;
use crate::{exit, print, registry};

/// Show what a run would change in the destination; change nothing
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin plan                              one line a table\n",
    "  bobbin plan --table conversations        its columns, too\n",
    "  bobbin plan --forecast                   records, calls and minutes of a first run\n",
    "  bobbin plan --format json                one object a table\n",
    "\n",
    "Fields the source does not declare get their columns when they come; they are not listed.\n",
    "The exit status is 3 when some table cannot be loaded as things stand.\n",
))]
pub(super) struct Plan {
    /// The connection, when the file has several
    connection: Option<String>,

    /// Show this table alone, with its columns
    #[arg(long, short)]
    table: Option<String>,

    /// Show the columns of every table
    #[arg(long)]
    columns: bool,

    /// Show instead how much a first run would read, by the source's own counts
    #[arg(long, conflicts_with_all = ["table", "columns"])]
    forecast: bool,

    /// From when on that is; as the source is set, unless given
    #[arg(long, value_name = "DATE", requires = "forecast", value_parser = instant)]
    start_date: Option<Timestamp>,
}

impl Plan {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        let stop = Stop::on_signals();
        if self.forecast {
            return self.foretell(session, connection, &config.home, &stop);
        }
        let destination =
            registry::destination(&connection.destination, &config.home, Arc::new(NoLog))?;
        let progress = Progress::new(Format::Text, false);
        let cx = Context { clock: &SystemClock, cancel: &stop.cancel, log: &progress };
        let discovered = registry::tap_of(connection, &config.home)?.discover(&cx);
        progress.finish();
        let Discovery { catalog, unreadable } = discovered?;
        bobbin_engine::choice::verify_selection(cx, &connection.selection, &catalog, &unreadable)?;
        let selection = config.engine().informed(&connection.id, &connection.selection)?;
        let chosen = catalog.streams.iter().filter(|s| selection.contains(&s.name));
        let streams: Vec<Stream> = chosen.clone().map(|stream| selection.prune(stream)).collect();
        let mut plans =
            destination.plan(&cx, &connection.schema, &streams).map_err(super::asked)?;
        for stream in chosen {
            let treated = selection.of(stream);
            let new = stream.columns().into_iter().filter(|column| treated.is_new(&column.path));
            let of_stream = |plan: &&mut TablePlan| plan.stream == stream.name;
            if let Some(plan) = plans.iter_mut().find(of_stream) {
                let (ty, state) = (None, ColumnState::NotChosen);
                let told = |name| ColumnPlan { name, ty: ty.clone(), state: state.clone() };
                plan.columns.extend(new.map(|column| told(column.name())));
            }
        }
        if let Some(table) = &self.table {
            let known: Vec<String> = plans.iter().map(|plan| plan.table.clone()).collect();
            plans.retain(|plan| plan.table == *table);
            if plans.is_empty() {
                return Err(Error::config(format!("there would be no table `{table}`"))
                    .hint(format!("there would be: {}", known.join(", "))));
            }
        }
        match session.format {
            Format::Json => {
                for plan in &plans {
                    let line = serde_json::to_string(plan).map_err(|error| {
                        Error::bug("a plan cannot be written as JSON").caused_by(error)
                    })?;
                    println!("{line}");
                }
            }
            Format::Text => {
                // What runs by schedule may go by an older file still.
                let running = Remote::find(&config.home);
                let compared = running.map(|remote| Compared::ask(&remote, "GET")).transpose()?;
                let lines = compared.map(|compared| compared.lines()).unwrap_or_default();
                if !lines.is_empty() {
                    println!(
                        "The running service goes by an older file; bobbin apply makes it so:"
                    );
                    for line in lines {
                        println!("  {line}");
                    }
                    println!();
                }
                self.show(&plans);
                let unreadable = unreadable.iter().filter(|(stream, _)| {
                    self.table.is_none() && connection.selection.contains(stream)
                });
                for (stream, reason) in unreadable {
                    println!("{stream}: not readable: {reason}");
                }
            }
        }
        let stops = plans.iter().any(TablePlan::stops);
        Ok(if stops { exit::INCOMPLETE } else { exit::OK })
    }

    fn foretell(
        &self,
        session: &Session,
        connection: &Connection,
        home: &Path,
        stop: &Stop,
    ) -> Result<u8> {
        let progress = Progress::new(Format::Text, false);
        let cx = Context { clock: &SystemClock, cancel: &stop.cancel, log: &progress };
        let tap = registry::tap_of(connection, home)?;
        let forecast = tap.forecast(&cx, self.start_date, &connection.selection);
        progress.finish();
        let forecast = forecast?.ok_or_else(|| {
            let kind = &connection.source.kind;
            Error::config(format!("a source of type `{kind}` does not count what it has"))
        })?;
        match session.format {
            Format::Json => {
                let line = serde_json::to_string(&forecast).map_err(|error| {
                    Error::bug("a forecast cannot be written as JSON").caused_by(error)
                })?;
                println!("{line}");
            }
            Format::Text => {
                println!("A first run from {:.0} on would read:", forecast.start);
                println!("{}", foretold(&forecast));
                println!(
                    "\nRecords are counted by the source{}. Calls and bytes are about so many; minutes are \
                     those at the granted rate.",
                    match forecast.counted() {
                        Counted::Exactly => "",
                        _ => ", which stops counting: ~ is an estimate, + is at least so many",
                    }
                );
                for (stream, reason) in &forecast.unreadable {
                    println!("{stream}: not readable: {reason}");
                }
            }
        }
        Ok(exit::OK)
    }

    fn show(&self, plans: &[TablePlan]) {
        let terminal = std::io::stdout().is_terminal();
        if plans.is_empty() {
            println!("no table is chosen");
            return;
        }
        let rows = plans.iter().map(summary).collect();
        println!("{}", print::table(&["table", "what happens", "key", "columns"], &[], rows));
        if self.columns || self.table.is_some() {
            for plan in plans.iter().filter(|plan| !plan.columns.is_empty()) {
                println!("\n{}", print::paint(&plan.table, print::BOLD, terminal));
                let rows = plan.columns.iter().map(column).collect();
                println!("{}", print::table(&["column", "type", "what happens"], &[], rows));
            }
        } else {
            println!("\nColumns: bobbin plan --columns, or --table NAME");
        }
        for plan in plans {
            if let TableState::Stops { message, hint } = &plan.state {
                println!("{} {}: {message}", print::paint("!", print::RED, terminal), plan.table);
                if let Some(hint) = hint {
                    println!("  hint: {hint}");
                }
            }
        }
    }
}

fn foretold(forecast: &Forecast) -> String {
    let line = |name: &str, counted: Counted, numbers: (u64, u64, u64), minutes: Option<f64>| {
        let (records, calls, bytes) = numbers;
        let records = match counted {
            Counted::Exactly => print::number(records),
            Counted::Estimated => format!("~{}", print::number(records)),
            Counted::AtLeast => format!("{}+", print::number(records)),
        };
        let minutes = minutes.map_or_else(|| "no limit".to_owned(), |n| format!("{n:.1}"));
        vec![name.to_owned(), records, print::number(calls), print::bytes(bytes), minutes]
    };
    let of = |told: &StreamForecast| {
        let numbers = (told.records, told.calls, told.bytes);
        line(told.stream.as_str(), told.counted, numbers, told.minutes)
    };
    let mut rows: Vec<Vec<String>> = forecast.streams.iter().map(of).collect();
    let numbers = (forecast.records(), forecast.calls(), forecast.bytes());
    rows.push(line("in all", forecast.counted(), numbers, forecast.minutes));
    print::table(&["table", "records", "calls", "bytes", "minutes"], &[1, 2, 3, 4], rows)
}

fn summary(plan: &TablePlan) -> Vec<String> {
    let count = |states: &[ColumnState]| {
        plan.columns.iter().filter(|column| states.contains(&column.state)).count() as u64
    };
    let refused = |column: &&ColumnPlan| matches!(column.state, ColumnState::Refused { .. });
    let counts = [
        (count(&[ColumnState::There]), "there"),
        (count(&[ColumnState::FirstValue, ColumnState::TypeByFirstValue]), "to come"),
        (count(&[ColumnState::ComesAgain]), "to come again"),
        (count(&[ColumnState::NotChosen]), "new, not chosen"),
        (count(&[ColumnState::Yours]), "yours"),
        (plan.columns.iter().filter(refused).count() as u64, "without a name"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", print::number(*n)))
        .collect();
    let happens = match &plan.state {
        TableState::Made => "is made with its first row",
        TableState::There => "is there",
        TableState::Stops { .. } => "cannot be loaded",
    };
    vec![plan.table.clone(), happens.to_owned(), plan.key.join(", "), counts.join(", ")]
}

fn column(column: &ColumnPlan) -> Vec<String> {
    let happens = match &column.state {
        ColumnState::There => "there".to_owned(),
        ColumnState::FirstValue => "comes with its first value".to_owned(),
        ColumnState::ComesAgain => "was dropped and comes again".to_owned(),
        ColumnState::TypeByFirstValue => "type decided by the first value".to_owned(),
        ColumnState::NotChosen => "new, not chosen: name it in include".to_owned(),
        ColumnState::Yours => "yours".to_owned(),
        ColumnState::Refused { reason } => format!("has no place: {reason}"),
    };
    vec![column.name.clone(), column.ty.clone().unwrap_or_default(), happens]
}
