//! `bobbin loads`: what was loaded into each table, and when.

use bobbin_core::Result;
use bobbin_core::id::StreamName;
use bobbin_engine::ledger::{Load, LoadedTable, Rows};
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::{Format, Session};
use crate::out::println;
use crate::{exit, print};

/// Show what was loaded into each table, and when
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin loads                         every table: how far it is, how many rows it got\n",
    "  bobbin loads --table conversations   its loads, newest first\n",
    "  bobbin loads --days 7                rows per day and table\n",
    "\n",
    "The bookmark is the greatest value of the table's replication key that was loaded.",
))]
pub(super) struct Loads {
    /// The connection, when the file has several
    connection: Option<String>,

    /// The loads of this table
    #[arg(long, short, value_name = "TABLE")]
    table: Option<String>,

    /// How many loads to list
    #[arg(long, default_value_t = 20, value_name = "N", requires = "table")]
    last: u32,

    /// Rows per day and table, for so many days
    #[arg(long, value_name = "N", conflicts_with = "table",
          value_parser = clap::value_parser!(u32).range(1..=90))]
    days: Option<u32>,
}

impl Loads {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        let ledger = config.engine().ledger()?;
        let now = Timestamp::now();
        if let Some(days) = self.days {
            let rows = ledger.rows_by_day(&connection.id, now, i64::from(days))?;
            if session.format == Format::Json {
                for (day, table, rows) in rows {
                    println!("{}", json!({ "day": day, "table": table, "rows": rows }));
                }
                return Ok(exit::OK);
            }
            let lines = rows.into_iter();
            let lines =
                lines.map(|(day, table, rows)| vec![day, table.to_string(), print::number(rows)]);
            println!("{}", print::table(&["day (UTC)", "table", "rows"], &[2], lines.collect()));
        } else if let Some(table) = &self.table {
            let stream = StreamName::from(table.as_str());
            let loads =
                ledger.loads(&connection.id, Some(&stream), None, self.last.clamp(1, 1000))?;
            let loads: Vec<Load> = loads.into_iter().map(|(_, load)| load).collect();
            self::loads(session.format, table, &loads);
        } else {
            let tables = ledger.loaded_tables(&connection.id, now)?;
            if session.format == Format::Json {
                for table in tables {
                    println!("{}", json!(table));
                }
                return Ok(exit::OK);
            }
            if tables.is_empty() {
                println!("{}: nothing was loaded yet. Start a job: bobbin run", connection.name);
                return Ok(exit::OK);
            }
            overview(&tables);
        }
        Ok(exit::OK)
    }
}

/// Every table, its sub-tables below it.
fn overview(tables: &[LoadedTable]) {
    let mut lines = Vec::new();
    for table in tables {
        let at = |at: Option<Timestamp>| at.map_or_else(String::new, |at| format!("{at:.0}"));
        let mut line = vec![
            table.stream.to_string(),
            bookmark(table.replication_key.as_deref(), table.bookmark.as_ref()),
            at(table.extracted_at),
            at(table.loaded_at),
        ];
        line.extend(counts(table.rows));
        lines.push(line);
        for (name, rows) in &table.subtables {
            let mut line = vec![format!("  {name}"), String::new(), String::new(), String::new()];
            line.extend(counts(*rows));
            lines.push(line);
        }
    }
    let heading = [
        "table",
        "greatest bookmark loaded",
        "extracted at",
        "loaded at",
        "rows in 24 h",
        "in 30 days",
        "in the 30 before",
    ];
    println!("{}", print::table(&heading, &[4, 5, 6], lines));
    for table in tables {
        if let Some(error) = &table.error {
            println!(
                "  ! {}: its last load failed: {}",
                table.stream,
                error.replace('\n', "\n    ")
            );
        }
    }
}

fn counts(rows: Rows) -> [String; 3] {
    [rows.day, rows.period, rows.period_before].map(print::number)
}

fn bookmark(key: Option<&str>, mark: Option<&bobbin_core::receipt::Mark>) -> String {
    match (key, mark) {
        (Some(key), Some(mark)) => format!("{key}: {mark}"),
        _ => "unavailable".to_owned(),
    }
}

/// One table's loads.
fn loads(format: Format, table: &str, loads: &[Load]) {
    if format == Format::Json {
        for load in loads {
            println!("{}", json!(load));
        }
        return;
    }
    if loads.is_empty() {
        println!("{table}: nothing was loaded yet; `bobbin loads` lists the tables");
        return;
    }
    let line = |load: &Load| {
        let took = load.ended.duration_since(load.started).as_secs_f64();
        vec![
            format!("{:.0}", load.ended),
            if load.error.is_some() { "error" } else { "success" }.to_owned(),
            bookmark(load.replication_key.as_deref(), load.bookmark.as_ref().map(|b| &b.max)),
            print::number(load.rows),
            print::number(load.subtables.values().sum()),
            print::number(load.unchanged),
            print::number(load.rejected),
            print::bytes(load.bytes),
            print::seconds(took),
            load.job.to_string(),
        ]
    };
    let heading = [
        "completed",
        "status",
        "greatest bookmark",
        "rows",
        "in sub-tables",
        "unchanged",
        "rejected",
        "bytes",
        "time",
        "job",
    ];
    let lines = loads.iter().map(line).collect();
    println!("{}", print::table(&heading, &[3, 4, 5, 6, 7, 8], lines));
    for load in loads {
        for change in &load.changes {
            println!("  {:.0} {change}", load.ended);
        }
        if let Some(error) = &load.error {
            println!("  ! {:.0} {}", load.ended, error.replace('\n', "\n    "));
        }
    }
}
