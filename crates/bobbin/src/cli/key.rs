//! `bobbin key`: who else may use the API, and for what.

use bobbin_core::{Error, Result};
use bobbin_engine::ledger::{Ledger, Role};
use bobbin_server::token;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::json;

use super::{Format, Session, audit};
use crate::out::println;
use crate::{exit, print};

/// Make and manage keys of the service's API
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin key create 'Grafana' --role viewer\n",
    "  bobbin key list\n",
    "  bobbin key disable 3\n",
))]
pub(super) struct KeyVerb {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a key; its text is shown once
    Create(Create),
    /// List the keys
    List,
    /// Accept a key again
    Enable(Number),
    /// Accept a key no more
    Disable(Number),
    /// Delete a key
    Delete(Number),
}

#[derive(Args)]
struct Create {
    /// What it is for
    description: String,

    /// viewer: look; operator: also start, stop, pause; administrator: also apply the file, keys
    #[arg(long, value_enum)]
    role: RoleWord,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum RoleWord {
    Viewer,
    Operator,
    Administrator,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Viewer => Self::Viewer,
            RoleWord::Operator => Self::Operator,
            RoleWord::Administrator => Self::Administrator,
        }
    }
}

#[derive(Args)]
struct Number {
    /// The key's number
    number: i64,
}

impl KeyVerb {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let ledger = session.config()?.engine().ledger()?;
        match &self.verb {
            Verb::Create(create) => create.run(session, &*ledger)?,
            Verb::List => list(session, &*ledger)?,
            Verb::Enable(Number { number }) => {
                there(ledger.enable_key(*number, true, Timestamp::now())?, *number)?;
                audit::note(&*ledger, &format!("key enable {number}"));
                println!("key {number} is accepted");
            }
            Verb::Disable(Number { number }) => {
                there(ledger.enable_key(*number, false, Timestamp::now())?, *number)?;
                audit::note(&*ledger, &format!("key disable {number}"));
                println!("key {number} is not accepted any more");
            }
            Verb::Delete(Number { number }) => {
                there(ledger.delete_key(*number)?, *number)?;
                audit::note(&*ledger, &format!("key delete {number}"));
                println!("key {number} is deleted");
            }
        }
        Ok(exit::OK)
    }
}

fn there(there: bool, number: i64) -> Result<()> {
    if there {
        return Ok(());
    }
    Err(Error::config(format!("there is no key {number}")).hint("bobbin key list shows them"))
}

impl Create {
    fn run(&self, session: &Session, ledger: &dyn Ledger) -> Result<()> {
        let role = Role::from(self.role);
        let (text, key) = token::make_key(ledger, &self.description, role)?;
        audit::note(ledger, &format!("key create {} ({})", key.id, role.word()));
        match session.format {
            Format::Json => {
                let mut object = json!(key);
                object["key"] = text.reveal().into();
                println!("{object}");
            }
            Format::Text => {
                println!("{}", text.reveal());
                println!("That is key {} ({}). It is not shown again.", key.id, role.word());
            }
        }
        Ok(())
    }
}

fn list(session: &Session, ledger: &dyn Ledger) -> Result<()> {
    let keys = ledger.keys()?;
    if session.format == Format::Json {
        for key in keys {
            println!("{}", json!(key));
        }
        return Ok(());
    }
    if keys.is_empty() {
        println!("no key beside the one in {}", token::path(&session.config()?.home).display());
        return Ok(());
    }
    let lines = keys.into_iter().map(|key| {
        vec![
            key.id.to_string(),
            key.description,
            key.role.word().to_owned(),
            format!("…{}", key.ending),
            format!("{:.0}", key.made_at),
            key.disabled_at.map_or_else(String::new, |at| format!("{at:.0}")),
        ]
    });
    let heading = ["number", "for", "role", "ends with", "made", "disabled"];
    println!("{}", print::table(&heading, &[], lines.collect()));
    Ok(())
}
