//! Which columns of a connection are known, so that new ones can stay out until somebody chooses them
//! (F-49, `stitch-behaviour.md` 12, C5).
//!
//! A stream's columns are known from the first job on that finds it chosen; while new columns are on, those
//! that come are known from then on. They stand in the ledger and, while new columns are off, in the
//! destination's state, which travels with the rows: a lost ledger makes no column known that was not.

use std::collections::{BTreeMap, BTreeSet};

use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::id::{ConnectionId, StreamName};
use bobbin_core::record::{Records, Rejected};
use bobbin_core::selection::{NewColumns, Selection};
use bobbin_core::state::State;
use bobbin_core::tap::Output;
use bobbin_core::{Error, Result};
use jiff::Timestamp;
use serde::Deserialize;

use crate::engine::Engine;
use crate::ledger::Ledger;

/// Under this name the known columns stand in a state. Taps do not see it.
const NOTE: &str = "bobbin_columns";

/// New columns that a line of the log names one by one.
const MOST_NAMED: usize = 20;

/// Paths of columns by stream.
type Paths = BTreeMap<StreamName, BTreeSet<String>>;

impl Engine {
    /// The selection of a connection as its next job begins with: with the columns that are known.
    ///
    /// # Errors
    /// When new columns are left out and the ledger cannot be read.
    pub fn informed(&self, connection: &ConnectionId, selection: &Selection) -> Result<Selection> {
        match selection.new_columns {
            NewColumns::Off if self.has_ledger() => {
                informed(&*self.ledger()?, connection, selection, None)
            }
            _ => Ok(selection.clone()),
        }
    }
}

/// The selection with the columns that the ledger or, where it knows nothing of them, the destination's state has
/// as known.
pub(crate) fn informed(
    ledger: &dyn Ledger,
    connection: &ConnectionId,
    selection: &Selection,
    state: Option<&State>,
) -> Result<Selection> {
    if selection.new_columns == NewColumns::On {
        return Ok(selection.clone());
    }
    let mut columns = Columns::read(ledger, connection, selection)?;
    if let Some(state) = state {
        columns.take(&mut state.clone());
    }
    Ok(columns.inform(selection))
}

/// The columns of a connection that are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    known: Paths,
    /// Whether anybody wrote down which they are.
    written: bool,
}

impl Columns {
    /// As the ledger has them. Where jobs ran and none wrote them down yet, they are those that its catalog has;
    /// before the first job none is known, whatever a check has found.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(crate) fn read(
        ledger: &dyn Ledger,
        connection: &ConnectionId,
        selection: &Selection,
    ) -> Result<Self> {
        if let Some(known) = ledger.columns(connection)? {
            return Ok(Self { known, written: true });
        }
        let found = match ledger.last_ended(connection)? {
            Some(_) => ledger.catalog(connection)?,
            None => None,
        };
        let streams = found.iter().flat_map(|(found, _)| &found.catalog.streams);
        let streams = streams.filter(|stream| selection.contains(&stream.name));
        let known = streams.map(|stream| (stream.name.clone(), stream.paths())).collect();
        Ok(Self { known, written: false })
    }

    /// Takes them out of the destination's state, where the ledger knows nothing of them.
    pub(crate) fn take(&mut self, state: &mut State) {
        let Some(note) = state.notes.remove(NOTE) else { return };
        if !self.written
            && let Ok(known) = Paths::deserialize(note)
        {
            *self = Self { known, written: true };
        }
    }

    /// Meets what the source has to offer.
    pub(crate) fn meet(&mut self, catalog: &Catalog, selection: &Selection) {
        for stream in catalog.streams.iter().filter(|stream| selection.contains(&stream.name)) {
            match selection.new_columns {
                NewColumns::On => drop(self.add(stream)),
                NewColumns::Off => {
                    self.known.entry(stream.name.clone()).or_insert_with(|| stream.paths());
                }
            }
        }
    }

    /// Whether any of them was not known.
    fn add(&mut self, stream: &Stream) -> bool {
        let known = self.known.entry(stream.name.clone()).or_default();
        let before = known.len();
        known.append(&mut stream.paths());
        known.len() > before
    }

    /// The selection with what is known.
    pub(crate) fn inform(&self, selection: &Selection) -> Selection {
        Selection { known: self.known.clone(), ..selection.clone() }
    }

    /// Writes them into the ledger.
    pub(crate) fn save(
        &self,
        ledger: &dyn Ledger,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<()> {
        ledger.save_columns(connection, &self.known, now)
    }
}

/// What a tap is asked for: all that is chosen, without the new fields that its source declares. Those that
/// only records show are left out on their way to the spool.
pub(crate) fn asked_for(informed: &Selection, catalog: &Catalog) -> Selection {
    let mut asked = Selection { new_columns: NewColumns::On, ..informed.clone() };
    for stream in catalog.streams.iter().filter(|stream| informed.contains(&stream.name)) {
        let treated = informed.of(stream);
        let new: Vec<String> = all_paths(stream).filter(|path| treated.is_new(path)).collect();
        if !new.is_empty() {
            let choice = asked.streams.entry(stream.name.clone()).or_default();
            choice.selected = true;
            choice.excluded.extend(new);
        }
    }
    asked
}

/// Fields that hold values, and those that hold them.
fn all_paths(stream: &Stream) -> impl Iterator<Item = String> {
    let mut all = Vec::new();
    stream.fields.any_path(&mut |path| {
        all.push(path.to_owned());
        false
    });
    all.into_iter()
}

/// An output that meets the columns of what goes through it, and writes what is known into its states.
pub(crate) struct Meeting<'a> {
    onward: &'a mut dyn Output,
    informed: &'a Selection,
    columns: Columns,
    /// Writes down what is known, before a record that has it goes on.
    keep: &'a dyn Fn(&Columns),
    /// New ones.
    left_out: Paths,
}

impl<'a> Meeting<'a> {
    pub(crate) fn new(
        onward: &'a mut dyn Output,
        informed: &'a Selection,
        columns: Columns,
        keep: &'a dyn Fn(&Columns),
    ) -> Self {
        Self { onward, informed, columns, keep, left_out: Paths::new() }
    }

    /// A line about what was left out.
    pub(crate) fn end(self) -> Option<String> {
        let all = self.left_out.iter();
        let all =
            all.flat_map(|(stream, paths)| paths.iter().map(move |p| format!("{stream}.{p}")));
        let mut names: Vec<String> = all.collect();
        if names.is_empty() {
            return None;
        }
        if names.len() > MOST_NAMED {
            let more = names.len() - MOST_NAMED;
            names.truncate(MOST_NAMED);
            names.push(format!("and {more} more"));
        }
        let names = names.join(", ");
        Some(format!("new columns are not replicated until `include` names them: {names}"))
    }
}

impl Output for Meeting<'_> {
    fn schema(&mut self, stream: &Stream) -> Result<()> {
        if self.informed.contains(&stream.name) {
            match self.informed.new_columns {
                NewColumns::On => {
                    if self.columns.add(stream) {
                        (self.keep)(&self.columns);
                    }
                }
                NewColumns::Off => {
                    let treated = self.informed.of(stream);
                    let new = stream.paths().into_iter().filter(|path| treated.is_new(path));
                    let new: BTreeSet<String> = new.collect();
                    if !new.is_empty() {
                        self.left_out.entry(stream.name.clone()).or_default().extend(new);
                    }
                }
            }
        }
        self.onward.schema(stream)
    }

    fn records(&mut self, stream: &StreamName, records: Records<'_>) -> Result<()> {
        self.onward.records(stream, records)
    }

    fn rejected(&mut self, stream: &StreamName, rejected: &Rejected) -> Result<()> {
        self.onward.rejected(stream, rejected)
    }

    fn activate(&mut self, stream: &StreamName, version: i64) -> Result<()> {
        self.onward.activate(stream, version)
    }

    fn state(&mut self, state: &State) -> Result<()> {
        let mut state = state.clone();
        state.notes.remove(NOTE);
        if self.informed.new_columns == NewColumns::Off {
            let note = serde_json::to_value(&self.columns.known)
                .map_err(|error| Error::bug("cannot write columns as JSON").caused_by(error))?;
            state.notes.insert(NOTE.to_owned(), note);
        }
        self.onward.state(&state)
    }
}
