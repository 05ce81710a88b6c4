//! `bobbin reset`: reading again what was read.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

use bobbin_core::clock::SystemClock;
use bobbin_core::id::StreamName;
use bobbin_core::tap::Context;
use bobbin_core::{Error, Result};
use bobbin_engine::ResetRequest;
use clap::Args;
use serde_json::json;

use super::{Format, Session, Stop};
use crate::out::println;
use crate::progress::Progress;
use crate::{exit, registry};

/// Read everything, or one table, again from the start date
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin reset --table notes             the next run reads notes from the start date\n",
    "  bobbin reset --table notes --replace   and notes that the source has no more go\n",
    "  bobbin reset --yes                     the next run reads everything, without a question\n",
    "\n",
    "Rows stay and are overwritten by key (with load_mode = \"append\" they are added again). To be\n",
    "rid of rows that the source has no more: --replace. Readers see the old rows until the new ones are\n",
    "whole, however many runs that takes."
))]
pub(super) struct Reset {
    /// The connection, when the file has several
    connection: Option<String>,

    /// Only this table; may be given more than once
    #[arg(long = "table", value_name = "NAME")]
    tables: Vec<String>,

    /// What is read takes the place of what was there once it is whole: rows go that the source, from
    /// the start date on, has no more
    #[arg(long)]
    replace: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Reset {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let connection = config.connection(self.connection.as_deref())?;
        registry::reread(connection)?;
        let what = match self.tables.as_slice() {
            [] => format!("every table of {}", connection.name),
            tables => format!("{} of {}", tables.join(", "), connection.name),
        };
        if !self.yes && !agreed(&what, self.replace)? {
            println!("nothing was changed");
            return Ok(exit::OK);
        }
        let stop = Stop::on_signals();
        let progress = Arc::new(Progress::new(Format::Text, false));
        let destination =
            registry::destination(&connection.destination, &config.home, progress.clone())?;
        let streams: Vec<StreamName> =
            self.tables.iter().map(|table| StreamName::from(table.as_str())).collect();
        let cx = Context { clock: &SystemClock, cancel: &stop.cancel, log: &*progress };
        let request = ResetRequest {
            connection: &connection.id,
            schema: &connection.schema,
            destination: &*destination,
            selection: &connection.selection,
            streams: &streams,
            replace: self.replace,
        };
        let reset = config.engine().reset(cx, &request);
        progress.finish();
        let reset = reset?;
        match session.format {
            Format::Json => println!("{}", json!({ "event": "reset", "streams": reset })),
            Format::Text if self.replace => println!(
                "the next runs read {what} from the start date; once that is whole, it takes the place of what is there"
            ),
            Format::Text if reset.is_empty() => {
                println!("there was no bookmark; the next run reads from the start date anyway");
            }
            Format::Text => {
                let names: Vec<&str> = reset.iter().map(StreamName::as_str).collect();
                println!("the next run reads again from the start date: {}", names.join(", "));
            }
        }
        Ok(exit::OK)
    }
}

/// Asks, where there is somebody to answer.
fn agreed(what: &str, replace: bool) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::config(format!("{what} would be read again"))
            .hint("say --yes where nobody can be asked"));
    }
    let mut out = std::io::stderr();
    let then = if replace {
        ", and remove rows that are not in it, such as those older than the start date"
    } else {
        ""
    };
    let asked = write!(out, "Read {what} again from the start date{then}? [y/N] ");
    let mut answer = String::new();
    asked
        .and_then(|()| out.flush())
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Error::io("cannot ask", error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
