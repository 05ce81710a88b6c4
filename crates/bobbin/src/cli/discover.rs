//! `bobbin discover`: what can be replicated.

use bobbin_core::Result;
use bobbin_core::catalog::Stream;
use bobbin_core::clock::SystemClock;
use bobbin_core::schema::{Kind, Object, Schema};
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
        let Discovery { catalog, unreadable } = registry::tap(&connection.source)?.discover(&cx)?;
        progress.finish();
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
                        "columns": columns(&stream.fields, "").into_iter().map(|column| json!({
                            "name": column.name,
                            "path": column.path,
                            "type": column.kind,
                            "description": column.description,
                            "selected": !connection.selection.excludes(stream, &column.path),
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
                let rows = columns(&stream.fields, "")
                    .into_iter()
                    .map(|column| vec![column.name, column.kind, column.description])
                    .collect();
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
                        print::number(columns(&stream.fields, "").len() as u64),
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

struct Column {
    name: String,
    path: String,
    kind: String,
    description: String,
}

/// The columns a structure flattens to.
fn columns(object: &Object, prefix: &str) -> Vec<Column> {
    let mut all = Vec::new();
    for (name, schema) in &object.properties {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match &schema.kind {
            Kind::Object(inner) if !inner.is_map() => all.extend(columns(inner, &path)),
            _ => all.push(Column {
                name: path.replace('.', "__"),
                kind: kind(schema),
                description: schema.description.clone().unwrap_or_default(),
                path,
            }),
        }
    }
    all
}

fn kind(schema: &Schema) -> String {
    match &schema.kind {
        Kind::Any => "by first value".into(),
        Kind::Boolean => "boolean".into(),
        Kind::Integer => "integer".into(),
        Kind::Number => "number".into(),
        Kind::Text => "text".into(),
        Kind::DateTime => "date-time".into(),
        Kind::Object(_) => "json".into(),
        Kind::Array(items) => match &items.kind {
            Kind::Object(_) | Kind::Array(_) | Kind::Any | Kind::Union(_) => "json".into(),
            _ => format!("list of {}", kind(items)),
        },
        Kind::Union(options) => options.iter().map(kind).collect::<Vec<_>>().join(" or "),
    }
}
