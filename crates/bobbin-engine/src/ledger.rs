//! The ledger: what was set up, what ran, what was loaded and who did it.
//!
//! It is a record of what happened and a cache of the state; the truth about rows and bookmarks
//! is in the destination. A lost ledger costs history and what was set up through the API, never
//! data.
//!
//! Each noun is a trait with its rules; [`Ledger`] is all of them, and [`SqliteLedger`] keeps them
//! in one file.

use std::collections::BTreeMap;
use std::fmt;

use bobbin_core::{Error, Result};

mod audit;
mod catalogs;
mod checks;
mod fills;
mod hooks;
mod jobs;
mod keys;
mod leases;
mod loads;
mod migrations;
mod notices;
mod numbers;
mod replies;
mod sessions;
mod slots;
mod sqlite;
mod states;
mod store;
mod tokens;
mod users;

pub use audit::{Act, Audit, Deed};
pub use catalogs::Catalogs;
pub use checks::{Checked, Checks, Side};
pub use fills::Fills;
pub use hooks::Hooks;
pub use jobs::{JobHead, JobRow, Jobs, Trigger};
pub use keys::{Key, Keys, MOST_KEYS, Role};
pub(crate) use leases::taken;
pub use leases::{Lease, Leases};
pub use loads::{Load, LoadedTable, Loads, PERIOD_DAYS, Rows};
pub use notices::{Notice, NoticeKind, Notices, Telling};
pub use numbers::Numbers;
pub use replies::{Replies, Reply};
pub use sessions::{Owner, SESSION_IDLE, SESSION_LIFE, Session, Sessions};
pub(crate) use slots::{FOLLOWS, OVERRUN};
pub use slots::{Kept, SlotOutcome, SlotRow, Slots};
pub use sqlite::SqliteLedger;
pub use states::States;
pub use store::{Removed, Store, Stored, Thing};
pub use tokens::{MOST_TOKENS, Token, Tokens};
pub use users::{MOST_USERS, User, UserChange, Users};

/// Everything that is written down. What a call writes is durable when it returns, whole or not at
/// all. Writers of several processes and machines may work at once: what a job writes carries its
/// [`Lease`], and counts for nothing once another one has that.
pub trait Ledger:
    Audit
    + Catalogs
    + Checks
    + Fills
    + Hooks
    + Jobs
    + Keys
    + Leases
    + Loads
    + Notices
    + Numbers
    + Replies
    + Sessions
    + Slots
    + States
    + Store
    + Tokens
    + Users
    + Send
    + fmt::Debug
{
    /// Does all of `act` or, on an error, none of it; `what` could not be done then. Within another
    /// one it is a part of that.
    fn transact(&self, what: &str, act: &mut dyn FnMut() -> Result<()>) -> Result<()>;

    /// How many migrations it has.
    fn version(&self) -> Result<u32>;

    /// How many rows each of its tables has.
    fn rows_by_table(&self) -> Result<BTreeMap<String, u64>>;
}

impl Ledger for SqliteLedger {
    fn transact(&self, what: &str, act: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.atomically(what, act)
    }

    fn version(&self) -> Result<u32> {
        self.user_version()
    }

    fn rows_by_table(&self) -> Result<BTreeMap<String, u64>> {
        self.count_rows()
    }
}

/// How many migrations this bobbin knows.
pub fn known_version() -> usize {
    migrations::MIGRATIONS.len()
}

impl dyn Ledger + '_ {
    /// [`Ledger::transact`], which gives what `act` gave.
    pub(crate) fn atomically<T>(&self, what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let (mut act, mut done) = (Some(act), None);
        self.transact(what, &mut || {
            done = act.take().map(|act| act()).transpose()?;
            Ok(())
        })?;
        done.ok_or_else(|| Error::bug("what was to be done at once was not done"))
    }
}
