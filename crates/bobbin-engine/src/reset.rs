//! Reading again what was read (F-34, F-35): bookmarks go, rows stay and are overwritten by key.

use bobbin_core::destination::Destination;
use bobbin_core::id::{ConnectionId, SchemaName, StreamName};
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::Context;
use bobbin_core::{Error, Party, Result};

use crate::course::Replaced;
use crate::engine::{Ends, Engine, job_id, resume};
use crate::hold::Hold;
use crate::journal::Journal;
use crate::load::Rounds;
use crate::treat::Rules;

/// What to read again.
pub struct ResetRequest<'a> {
    /// Whose bookmarks.
    pub connection: &'a ConnectionId,
    /// Where in the destination its tables are.
    pub schema: &'a SchemaName,
    /// Which holds the bookmarks.
    pub destination: &'a dyn Destination,
    /// What was chosen.
    pub selection: &'a Selection,
    /// Only these streams; everything when there are none.
    pub streams: &'a [StreamName],
    /// Whether what is read takes the place of what was there once it is whole, so that rows go which the
    /// source, from the start date on, has no more; else rows stay and are overwritten by key.
    pub replace: bool,
}

impl Engine {
    /// Takes bookmarks out of the destination's state, so that the next job reads from the start date.
    /// What earlier jobs extracted is loaded first: its states are from before. Gives the streams whose
    /// bookmarks went; none where nothing was kept.
    ///
    /// # Errors
    /// When another job of the connection is running, a stream has no bookmark, or the destination
    /// fails.
    pub fn reset(&self, cx: Context<'_>, request: &ResetRequest<'_>) -> Result<Vec<StreamName>> {
        let hold = Hold::take(self, request.connection, cx.clock.now())?;
        hold.keep(cx.clock, || self.reset_held(cx, request, &hold))?
    }

    fn reset_held(
        &self,
        cx: Context<'_>,
        request: &ResetRequest<'_>,
        hold: &Hold<'_>,
    ) -> Result<Vec<StreamName>> {
        let destinations = |error: Error| error.of(Party::Destination);
        let job = job_id(cx.clock.now());
        let mut loader =
            request.destination.open(&cx, request.schema, &job).map_err(destinations)?;
        let journal = Journal::new(cx, hold, &job)?;
        let rounds =
            Rounds { records: request.destination.rows_per_commit().max(1), ..self.rounds };
        let mut ends = Ends::default();
        let selection = self.informed(request.connection, request.selection)?;
        let rules = Rules::of(&selection)?;
        let rules = (rounds, &selection, &*rules);
        let recovered = resume(cx, &mut *loader, &hold.spool, rules, &journal, &mut ends)?;
        journal.catch_up();
        if request.replace && !request.destination.replaces() {
            return Err(Error::config("this destination does not replace tables as a whole")
                .with("destination", request.destination.name())
                .hint(
                    "activate_version = true lets a target do so that understands ACTIVATE_VERSION",
                ));
        }
        // Where nothing is kept, all is read from the start date anyway.
        let kept = recovered.state.is_some();
        let mut state = match recovered.state {
            Some(state) => state,
            None if request.replace => State::default(),
            None => return Ok(Vec::new()),
        };
        let mut replaced = Replaced::take(&mut state);
        let gone: Vec<StreamName> = if request.streams.is_empty() {
            // What was to be replaced is read anew now, so it is to be replaced still.
            std::mem::take(&mut state).bookmarks.into_keys().collect()
        } else {
            for stream in request.streams {
                if state.bookmarks.remove(stream).is_none() && kept {
                    return Err(no_bookmark(stream, &state));
                }
            }
            if state.currently_syncing.as_ref().is_some_and(|s| request.streams.contains(s)) {
                state.currently_syncing = None;
            }
            request.streams.to_vec()
        };
        if request.replace {
            replaced.add(request.streams, cx.clock.now().as_millisecond());
        }
        replaced.put(&mut state);
        loader.commit(Some(&state)).map_err(destinations)?;
        journal.saved(&state);
        loader.finish().map_err(destinations)?;
        Ok(gone)
    }
}

fn no_bookmark(stream: &StreamName, state: &State) -> Error {
    let known: Vec<&str> = state.bookmarks.keys().map(StreamName::as_str).collect();
    let hint = if known.is_empty() {
        "this source keeps one state for everything: reset the whole connection".to_owned()
    } else {
        format!("there are those of: {}; others are read whole in every run", known.join(", "))
    };
    Error::config(format!("there is no bookmark of `{stream}`")).hint(hint)
}
