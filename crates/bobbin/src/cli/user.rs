//! `bobbin user`: people who use the service with a name and a password.

use std::io::{BufRead, IsTerminal, Read, stdin};

use bobbin_core::secret::Secret;
use bobbin_core::{Error, Result};
use bobbin_engine::ledger::{Ledger, User, UserChange};
use bobbin_server::people;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::json;

use super::key::RoleWord;
use super::{Format, Session, audit};
use crate::out::{eprintln, println, stderr};
use crate::{exit, print};

/// Make and manage users of the service
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin user add anna --role operator\n",
    "  bobbin user add ci --role viewer --password-stdin < password\n",
    "  bobbin user disable anna\n",
))]
pub(super) struct UserVerb {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a user; asks for the password
    Add(Add),
    /// List the users
    List,
    /// Change what a user may do
    Role(SetRole),
    /// Set another password; ends the user's sessions
    Password(Password),
    /// Let a user in again
    Enable(Name),
    /// Let a user in no more; ends their sessions
    Disable(Name),
    /// Remove a user
    Remove(Name),
}

#[derive(Args)]
struct Add {
    #[command(flatten)]
    password: Password,

    /// viewer: look; operator: also start, stop, pause; administrator: also set up, keys, users
    #[arg(long, value_enum)]
    role: RoleWord,
}

#[derive(Args)]
struct SetRole {
    /// The user's name
    name: String,

    /// viewer: look; operator: also start, stop, pause; administrator: also set up, keys, users
    #[arg(value_enum)]
    role: RoleWord,
}

#[derive(Args)]
struct Password {
    /// The user's name
    name: String,

    /// Read the password from standard input, one line
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Args)]
struct Name {
    /// The user's name
    name: String,
}

impl UserVerb {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let ledger = session.config()?.engine().ledger()?;
        match &self.verb {
            Verb::Add(Add { password, role }) => {
                people::check_name(&password.name)?;
                if ledger.user(&password.name)?.is_some() {
                    return Err(Error::config(format!("there is a user `{}`", password.name))
                        .hint("bobbin user list shows them"));
                }
                let kept = password.kept()?;
                let user =
                    ledger.add_user(&password.name, (*role).into(), &kept, Timestamp::now())?;
                audit::note(&*ledger, &format!("user add {} ({})", user.name, user.role.word()));
                told(session, &user, &format!("user `{}` is made", user.name));
            }
            Verb::List => list(session, &*ledger)?,
            Verb::Role(SetRole { name, role }) => {
                let change = UserChange { role: Some((*role).into()), ..UserChange::default() };
                let user = changed(&*ledger, name, &change)?;
                audit::note(&*ledger, &format!("user role {} {}", user.name, user.role.word()));
                told(session, &user, &format!("user `{}` is {} now", user.name, user.role.word()));
            }
            Verb::Password(password) => {
                there(ledger.user(&password.name)?, &password.name)?;
                let change =
                    UserChange { password: Some(password.kept()?), ..UserChange::default() };
                let user = changed(&*ledger, &password.name, &change)?;
                audit::note(&*ledger, &format!("user password {}", user.name));
                told(session, &user, &format!("user `{}` has another password now", user.name));
            }
            Verb::Enable(Name { name }) => {
                let change = UserChange { enabled: Some(true), ..UserChange::default() };
                let user = changed(&*ledger, name, &change)?;
                audit::note(&*ledger, &format!("user enable {}", user.name));
                told(session, &user, &format!("user `{}` is let in", user.name));
            }
            Verb::Disable(Name { name }) => {
                let change = UserChange { enabled: Some(false), ..UserChange::default() };
                let user = changed(&*ledger, name, &change)?;
                audit::note(&*ledger, &format!("user disable {}", user.name));
                told(session, &user, &format!("user `{}` is not let in any more", user.name));
            }
            Verb::Remove(Name { name }) => {
                let user = there(ledger.user(name)?, name)?;
                ledger.remove_user(name)?;
                audit::note(&*ledger, &format!("user remove {}", user.name));
                told(session, &user, &format!("user `{}` is removed", user.name));
            }
        }
        let takes = matches!(self.verb, Verb::Role(_) | Verb::Disable(_) | Verb::Remove(_));
        if let Some(warning) = people::lacks_administrator(&ledger.users()?).filter(|_| takes) {
            eprintln!("warning: {warning}");
        }
        Ok(exit::OK)
    }
}

fn changed(ledger: &dyn Ledger, name: &str, change: &UserChange) -> Result<User> {
    there(ledger.change_user(name, change, None, Timestamp::now())?, name)
}

fn there(user: Option<User>, name: &str) -> Result<User> {
    user.ok_or_else(|| {
        Error::config(format!("there is no user `{name}`")).hint("bobbin user list shows them")
    })
}

fn told(session: &Session, user: &User, line: &str) {
    match session.format {
        Format::Json => println!("{}", json!(user)),
        Format::Text => println!("{line}"),
    }
}

fn list(session: &Session, ledger: &dyn Ledger) -> Result<()> {
    let users = ledger.users()?;
    if session.format == Format::Json {
        for user in users {
            println!("{}", json!(user));
        }
        return Ok(());
    }
    if users.is_empty() {
        println!("no users; bobbin user add makes one");
        return Ok(());
    }
    let lines = users.into_iter().map(|user| {
        vec![
            user.name,
            user.role.word().to_owned(),
            format!("{:.0}", user.made_at),
            format!("{:.0}", user.password_set_at),
            user.disabled_at.map_or_else(String::new, |at| format!("{at:.0}")),
        ]
    });
    let heading = ["name", "role", "made", "password of", "disabled"];
    println!("{}", print::table(&heading, &[], lines.collect()));
    Ok(())
}

/// Bytes of a line that is a password.
const MOST_BYTES: u64 = 4096;

impl Password {
    /// What is kept of the password that somebody gives.
    fn kept(&self) -> Result<String> {
        people::keep(&self.name, &self.read()?)
    }

    fn read(&self) -> Result<Secret> {
        if self.password_stdin {
            return line();
        }
        if !stdin().is_terminal() {
            return Err(Error::config("there is no terminal to ask for the password on")
                .hint("give it with --password-stdin"));
        }
        let quiet = Quiet::begin()?;
        let first = asked(&format!("Password of {}: ", self.name))?;
        let second = asked("Once more: ")?;
        drop(quiet);
        if first == second {
            return Ok(first);
        }
        Err(Error::config("the two passwords are not the same").hint("nothing was changed"))
    }
}

fn asked(what: &str) -> Result<Secret> {
    stderr(format_args!("{what}"));
    let line = line();
    stderr(format_args!("\n"));
    line
}

/// One line of standard input.
fn line() -> Result<Secret> {
    let mut text = String::new();
    stdin()
        .lock()
        .take(MOST_BYTES)
        .read_line(&mut text)
        .map_err(|error| Error::io("cannot read the password", error))?;
    Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
}

/// A terminal that does not show what is typed, as long as this is there.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> Result<Self> {
        let failed = |error: rustix::io::Errno| {
            Error::io("cannot keep the password from being shown", error.into())
        };
        let was = tcgetattr(stdin()).map_err(failed)?;
        let mut quiet = was.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Flush, &quiet).map_err(failed)?;
        Ok(Self(was))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.0);
    }
}
