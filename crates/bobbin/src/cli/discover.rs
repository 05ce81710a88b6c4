//! `bobbin discover`: what can be replicated.

use bobbin_core::Result;
use bobbin_core::catalog::{Column, Stream};
use bobbin_core::clock::SystemClock;
use bobbin_core::tap::{Context, Discovery};
use clap::Args;
use serde_json::json;

use super::{Session, Stop};
use crate::cli::Format;
use crate::out::println;
use crate::progress::Progress;
use crate::{exit, print, registry};

/// List the tables and columns that can be replicated
#[derive(Args)]
#[command(after_help = "Examples:\n  bobbin discover\n  bobbin discover --table conversations")]
pub(super) struct Discover {
    /// The connection, when the file has several
    connection: Option<String>,

    /// Show the columns of this table
    #[arg(long, short)]
    table: Option<String>,
}

impl Discover {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        let stop = Stop::on_signals();
        let progress = Progress::new(Format::Text, false);
        let cx = Context { clock: &SystemClock, cancel: &stop.cancel, log: &progress };
        let Discovery { catalog, unreadable } =
            registry::tap_of(connection, &config.home)?.discover(&cx)?;
        progress.finish();
        let selection = config.engine().informed(&connection.id, &connection.selection)?;
        let wanted = |stream: &&Stream| {
            self.table.as_ref().is_none_or(|table| table == stream.name.as_str())
        };
        let streams: Vec<&Stream> = catalog.streams.iter().filter(wanted).collect();
        if let (Some(table), true) = (&self.table, streams.is_empty()) {
            let known: Vec<_> = catalog.streams.iter().map(|stream| stream.name.as_str()).collect();
            return Err(bobbin_core::Error::config(format!("there is no table `{table}`"))
                .hint(format!("there are: {}", known.join(", "))));
        }
        if session.format == Format::Json {
            for stream in streams {
                println!(
                    "{}",
                    json!({
                        "table": stream.name,
                        "description": stream.description,
                        "key": stream.key,
                        "replication_key": stream.replication_key,
                        "readable": true,
                        "selected": connection.selection.contains(&stream.name),
                        "columns": stream.columns().into_iter().map(|column| json!({
                            "name": column.name(),
                            "type": column.kind(),
                            "description": column.schema.description.as_deref().unwrap_or(""),
                            "selected": !selection.excludes(stream, &column.path),
                            "path": column.path,
                        })).collect::<Vec<_>>(),
                    })
                );
            }
            for (stream, reason) in unreadable {
                if self.table.is_none() {
                    println!("{}", json!({"table": stream, "readable": false, "reason": reason}));
                }
            }
        } else if self.table.is_some() {
            for stream in streams {
                let line = |column: Column<'_>| {
                    let meaning = column.schema.description.clone().unwrap_or_default();
                    vec![column.name(), column.kind(), meaning]
                };
                let rows = stream.columns().into_iter().map(line).collect();
                println!("{}", print::table(&["column", "type", "meaning"], &[], rows));
            }
        } else {
            let rows = streams
                .iter()
                .map(|stream| {
                    vec![
                        stream.name.to_string(),
                        stream.key.join(", "),
                        stream.replication_key.clone().unwrap_or_default(),
                        print::number(stream.columns().len() as u64),
                        if connection.selection.contains(&stream.name) { "yes" } else { "no" }
                            .to_owned(),
                        stream.description.clone().unwrap_or_default(),
                    ]
                })
                .collect();
            println!(
                "{}",
                print::table(
                    &["table", "key", "replication key", "columns", "chosen", "what it is"],
                    &[3],
                    rows
                )
            );
            println!("\nColumns of one table: bobbin discover --table NAME");
        }
        Ok(exit::OK)
    }
}
