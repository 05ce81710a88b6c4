//! `bobbin query`: the destination in SQL, read-only.

use std::io::{IsTerminal, Read};

use bobbin_core::{Error, Result};
use clap::Args;
use serde_json::{Map, Number, Value};

use super::{Format, Session};
use crate::out::{eprintln, println};
use crate::{exit, print, registry};

/// Ask the destination in SQL, read-only
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin query 'select status, count(*) from kustomer.conversations group by all'\n",
    "  bobbin query 'from kustomer._sdc_rejected'\n",
    "  echo 'show all tables' | bobbin query\n",
))]
pub(super) struct Query {
    /// One SQL statement; read from standard input when absent
    sql: Option<String>,

    /// The connection whose destination is asked, when the file has several
    #[arg(long)]
    connection: Option<String>,

    /// Most rows to print; everything with --format json
    #[arg(long, default_value_t = 1000, value_name = "N")]
    limit: usize,

    /// A DuckDB file, in place of a connection's
    #[arg(long, value_name = "FILE")]
    database: Option<std::path::PathBuf>,
}

impl Query {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let path = match &self.database {
            Some(path) => path.clone(),
            None => {
                let config = session.config()?;
                let connection = config.connection(self.connection.as_deref())?;
                registry::duckdb(&connection.destination)?.path
            }
        };
        let sql = match &self.sql {
            Some(sql) => sql.clone(),
            None => {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .map_err(|error| Error::io("cannot read the statement", error))?;
                text
            }
        };
        let limit = match session.format {
            Format::Text => self.limit,
            Format::Json => usize::MAX,
        };
        let answer = bobbin_duckdb::query::query(&path, &sql, limit).map_err(super::asked)?;
        match session.format {
            Format::Json => {
                for row in answer.rows {
                    let object: Map<String, Value> = answer
                        .columns
                        .iter()
                        .cloned()
                        .zip(
                            row.into_iter().zip(&answer.bare).map(|(cell, bare)| json(cell, *bare)),
                        )
                        .collect();
                    println!("{}", Value::Object(object));
                }
            }
            Format::Text => {
                let count = answer.rows.len();
                print_rows(&answer.columns, answer.rows);
                if answer.more {
                    eprintln!(
                        "only the first {} rows; more with --limit",
                        print::number(count as u64)
                    );
                } else if std::io::stdout().is_terminal() {
                    println!("{} rows", print::number(count as u64));
                }
            }
        }
        Ok(exit::OK)
    }
}

/// Rows as a table; an absent value is shown as nothing.
pub(super) fn print_rows(columns: &[String], rows: Vec<Vec<Option<String>>>) {
    let heading: Vec<&str> = columns.iter().map(String::as_str).collect();
    let rows = rows
        .into_iter()
        .map(|row| row.into_iter().map(Option::unwrap_or_default).collect())
        .collect();
    println!("{}", print::table(&heading, &[], rows));
}

/// A cell in JSON; a number that JSON readers would round stays text.
fn json(cell: Option<String>, bare: bool) -> Value {
    let Some(text) = cell else { return Value::Null };
    if bare {
        if let Ok(value) = text.parse::<bool>() {
            return value.into();
        }
        let number = serde_json::from_str::<Number>(&text).ok();
        if let Some(number) = number.filter(|number| number.to_string() == text) {
            return Value::Number(number);
        }
    }
    text.into()
}
