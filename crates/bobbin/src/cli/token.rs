//! `bobbin token`: programs that push records into a connection.

use bobbin_core::{Error, Result};
use bobbin_server::token;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Format, Session};
use crate::config::{Config, Connection};
use crate::out::println;
use crate::{exit, print, registry};

/// Make and manage tokens with which programs push records into a connection
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin token create orders        the connection's source is of type import_api\n",
    "  bobbin token list orders\n",
    "  bobbin token delete orders 3\n",
    "\n",
    "Programs push with Stitch's Import API into the running service: POST /v2/import/batch and /push, with\n",
    "Authorization: Bearer TOKEN.",
))]
pub(super) struct TokenVerb {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a token; its text is shown once
    Create(Whose),
    /// List the tokens of a connection
    List(Whose),
    /// Delete a token
    Delete(Delete),
}

#[derive(Args)]
struct Whose {
    /// The connection, when there are several
    connection: Option<String>,
}

#[derive(Args)]
struct Delete {
    /// The connection
    connection: String,

    /// The token's number
    number: i64,
}

impl TokenVerb {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config()?;
        let ledger = config.engine().ledger()?;
        match &self.verb {
            Verb::Create(Whose { connection }) => {
                let connection = pushed(&config, connection.as_deref())?;
                let (text, token) = token::make_token(&*ledger, &connection.id)?;
                if session.format == Format::Json {
                    let mut object = json!(token);
                    object["token"] = text.reveal().into();
                    println!("{object}");
                } else {
                    println!("{}", text.reveal());
                    println!(
                        "That is token {} of {}. It is not shown again.",
                        token.id, connection.name
                    );
                }
            }
            Verb::List(Whose { connection }) => {
                let tokens = ledger.tokens(&pushed(&config, connection.as_deref())?.id)?;
                if session.format == Format::Json {
                    for token in tokens {
                        println!("{}", json!(token));
                    }
                    return Ok(exit::OK);
                }
                if tokens.is_empty() {
                    println!("no token yet; bobbin token create makes one");
                    return Ok(exit::OK);
                }
                let lines = tokens.into_iter().map(|token| {
                    vec![
                        token.id.to_string(),
                        format!("…{}", token.ending),
                        format!("{:.0}", token.made_at),
                    ]
                });
                let heading = ["number", "ends with", "made"];
                println!("{}", print::table(&heading, &[], lines.collect()));
            }
            Verb::Delete(Delete { connection, number }) => {
                let connection = pushed(&config, Some(connection))?;
                if !ledger.delete_token(&connection.id, *number)? {
                    return Err(Error::config(format!(
                        "there is no token {number} of `{}`",
                        connection.name
                    ))
                    .hint("bobbin token list shows them"));
                }
                println!("token {number} is deleted");
            }
        }
        Ok(exit::OK)
    }
}

/// A connection into which programs push.
fn pushed<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a Connection> {
    let connection = config.connection(name)?;
    if connection.source.kind == registry::IMPORT {
        return Ok(connection);
    }
    Err(Error::config(format!("nobody pushes into the connection `{}`", connection.name))
        .hint("its source would be of type import_api"))
}
