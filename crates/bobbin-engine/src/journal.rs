//! What is written down with each round: the load, how far the bookmarks are, in the ledger and in
//! the job's log.

use std::cell::RefCell;

use bobbin_core::Result;
use bobbin_core::id::{ConnectionId, JobId};
use bobbin_core::report::{Event, Level};
use bobbin_core::state::State;
use bobbin_core::tap::Context;

use crate::ledger::{Ledger, Load};

/// Writes down what a job loads.
pub(crate) struct Journal<'a> {
    cx: Context<'a>,
    ledger: &'a Ledger,
    connection: &'a ConnectionId,
    job: &'a JobId,
    saved: RefCell<State>,
}

impl<'a> Journal<'a> {
    pub(crate) fn new(
        cx: Context<'a>,
        ledger: &'a Ledger,
        connection: &'a ConnectionId,
        job: &'a JobId,
    ) -> Result<Self> {
        let saved = RefCell::new(ledger.state(connection)?.unwrap_or_default());
        Ok(Self { cx, ledger, connection, job, saved })
    }

    pub(crate) fn job(&self) -> &JobId {
        self.job
    }

    /// A round became durable, and the state with it.
    pub(crate) fn loaded(&self, load: &Load, state: Option<&State>) -> Result<()> {
        if let Some(state) = state {
            self.tell(state);
        }
        self.ledger.loaded(self.connection, load, state)
    }

    /// A round was given up. Whoever cannot write that down has the error itself to tell.
    pub(crate) fn failed(&self, load: &Load) {
        if let Err(error) = self.ledger.loaded(self.connection, load, None) {
            self.cx.log.event(Event::Notice {
                level: Level::Warn,
                stream: Some(load.stream.clone()),
                message: error.to_string(),
            });
        }
    }

    /// A state became durable without rows.
    pub(crate) fn saved(&self, state: &State) -> Result<()> {
        self.tell(state);
        self.ledger.save_state(self.connection, state, self.cx.clock.now())
    }

    fn tell(&self, state: &State) {
        let before = self.saved.replace(state.clone());
        for (stream, bookmark) in &state.bookmarks {
            if before.bookmarks.get(stream) != Some(bookmark) {
                let (stream, bookmark) = (stream.clone(), bookmark.clone());
                self.cx.log.event(Event::Bookmark { stream, bookmark });
            }
        }
    }
}
