//! Which requests a state covers.
//!
//! Requests are numbered in the order they become visible, and a state says up to which number its
//! destination has them. A number alone would lie after a restore: an inbox that was deleted and made
//! again, or is an older copy of itself, or lost its last directory entries with the power, gives numbers
//! once more that a state already covers. So each writer names the numbers it gives: a series, with a
//! random name and its first number, is written down before the first of them is given. A state names the
//! series of its number. It covers
//!
//! * of a series that is known: its number, but at most the last number of that series, as it is known
//!   here. What came later under the same numbers is of another series, and is not covered;
//! * of a series that is not known: nothing.
//!
//! What is sent twice in such a case is the same rows again: by key and sequence, or by the record's id.

use std::path::Path;

use bobbin_core::state::State;
use bobbin_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{self, Place};

/// The version of the form of `inbox.json`. A newer one is refused.
const FORM: u32 = 1;

/// Under this name the position stands in the notes of a state.
const NOTE: &str = "import";

/// Up to where a destination has the requests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The series.
    pub(crate) inbox: String,
    pub(crate) number: u64,
}

impl Position {
    /// What a state says.
    pub(crate) fn of(state: &State) -> Option<Self> {
        Self::deserialize(state.notes.get(NOTE)?).ok()
    }

    /// Says it in a state.
    pub(crate) fn note(&self, state: &mut State) {
        let note = serde_json::json!({ "inbox": self.inbox, "number": self.number });
        state.notes.insert(NOTE.to_owned(), note);
    }
}

/// All series of an inbox, in their order.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct History {
    series: Vec<Series>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Series {
    id: String,
    first: u64,
}

#[derive(Serialize, Deserialize)]
struct Written {
    form: u32,
    series: Vec<Series>,
}

impl History {
    pub(crate) fn read(place: &Place) -> Result<Self> {
        let path = place.file("inbox.json");
        let Some(text) = files::read(&path)? else { return Ok(Self::default()) };
        let bad = |what: &str| {
            Error::new(ErrorKind::InvalidData, what.to_owned()).with("path", path.display())
        };
        let written: Written = serde_json::from_slice(&text)
            .map_err(|error| bad("inbox.json cannot be understood").caused_by(error))?;
        if written.form > FORM {
            return Err(bad("the inbox was written by a newer bobbin")
                .with("form", written.form)
                .hint("run it with that version, or a newer one"));
        }
        Ok(Self { series: written.series })
    }

    /// Begins a series, durably. Those are forgotten whose numbers are all below `released`: no state
    /// that is newer than the last release names them.
    pub(crate) fn begin(&mut self, place: &Place, first: u64, released: u64) -> Result<()> {
        let mut series = self.series.clone();
        series.push(Series { id: files::random()?, first });
        let old = series.iter().skip(1).take_while(|later| later.first <= released).count();
        series.drain(..old);
        let written = Written { form: FORM, series };
        let text = serde_json::to_vec(&written)
            .map_err(|error| Error::bug("cannot write inbox.json").caused_by(error))?;
        files::replace(&place.file("inbox.json"), &text)?;
        self.series = written.series;
        Ok(())
    }

    /// The number up to which everything is covered; none when nothing is.
    pub(crate) fn covered(&self, position: Option<&Position>) -> Option<u64> {
        let position = position?;
        let at = self.series.iter().position(|series| series.id == position.inbox)?;
        let end = self.series.get(at + 1).map_or(u64::MAX, |next| next.first - 1);
        Some(position.number.min(end))
    }

    /// The position of a number.
    pub(crate) fn position(&self, number: u64) -> Option<Position> {
        let series = self.series.iter().rev().find(|series| series.first <= number)?;
        Some(Position { inbox: series.id.clone(), number })
    }
}

/// The number up to which requests were deleted, because a destination had them.
pub(crate) fn released(place: &Place) -> Result<u64> {
    let path = place.file("released.json");
    let Some(text) = files::read(&path)? else { return Ok(0) };
    let value: Value = serde_json::from_slice(&text).unwrap_or_default();
    value["number"].as_u64().ok_or_else(|| {
        Error::new(ErrorKind::InvalidData, "released.json cannot be understood")
            .with("path", path.display())
    })
}

/// Writes it down, before they are deleted.
pub(crate) fn release(place: &Place, number: u64) -> Result<()> {
    let path: &Path = &place.file("released.json");
    files::replace(path, serde_json::json!({ "number": number }).to_string().as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn history(series: &[(&str, u64)]) -> History {
        let series = series.iter().map(|(id, first)| Series { id: (*id).into(), first: *first });
        History { series: series.collect() }
    }

    #[test]
    fn a_state_covers_what_its_series_gave_and_nothing_of_another() {
        let restarted = history(&[("a", 1), ("b", 401), ("c", 401), ("d", 600)]);
        for (series, number, covered) in [
            ("a", 12, Some(12)),
            // An older copy: 401 to 500 of `a` are not known here, others have these numbers.
            ("a", 500, Some(400)),
            // A series that gave nothing that was kept.
            ("b", 401, Some(400)),
            ("c", 450, Some(450)),
            ("c", 700, Some(599)),
            ("d", 700, Some(700)),
            ("x", 700, None),
        ] {
            let position = Position { inbox: series.to_owned(), number };
            assert_eq!(restarted.covered(Some(&position)), covered, "{series} {number}");
        }
        assert_eq!(restarted.covered(None), None);
        assert_eq!(restarted.position(400).unwrap().inbox, "a");
        assert_eq!(restarted.position(401).unwrap().inbox, "c");
    }

    #[test]
    fn a_position_survives_a_state() {
        let mut state = State::default();
        assert_eq!(Position::of(&state), None);
        let position = Position { inbox: "a".into(), number: u64::MAX };
        position.note(&mut state);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(Position::of(&serde_json::from_str(&text).unwrap()), Some(position));
    }
}
