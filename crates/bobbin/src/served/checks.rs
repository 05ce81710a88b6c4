//! Connection checks: can the source be read and the destination be written, and what is there; and how
//! much that is.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::SystemClock;
use bobbin_core::forecast::Forecast;
use bobbin_core::report::NoLog;
use bobbin_core::selection::Selection;
use bobbin_core::tap::Context;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_engine::Engine;
use bobbin_engine::ledger::Side;
use jiff::Timestamp;

use super::{Served, warn};
use crate::config::Part;
use crate::registry;

/// Checks at once.
const MOST: usize = 8;

/// How many run.
#[derive(Default)]
pub(super) struct Checks(Arc<AtomicUsize>);

/// A check's place among those that run.
struct Place(Arc<AtomicUsize>);

impl Checks {
    fn take(&self) -> Result<Place> {
        let place = Place(Arc::clone(&self.0));
        if self.0.fetch_add(1, Ordering::SeqCst) >= MOST {
            drop(place);
            return Err(Error::new(ErrorKind::Unavailable, "too many connection checks run")
                .hint("ask again in a minute"));
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a check tries.
enum Tried {
    /// A connection's source: its key, and what it offers.
    Source(bobbin_core::id::ConnectionId, Part),
    /// A destination.
    Destination(Part),
}

impl Served {
    /// Begins a check; how it goes stands in the ledger.
    pub(super) fn begin_check(&self, side: Side, name: &str) -> Result<()> {
        let config = self.config();
        let unknown =
            || Error::new(ErrorKind::NotFound, format!("there is nothing called `{name}`"));
        let tried = match side {
            Side::Source => {
                let mut connections = config.connections.values();
                let found = connections.find(|known| known.id.as_str() == name);
                let found = found.ok_or_else(unknown)?;
                Tried::Source(found.id.clone(), found.source.clone())
            }
            Side::Destination => {
                Tried::Destination(config.destinations.get(name).cloned().ok_or_else(unknown)?)
            }
        };
        let place = self.checks.take()?;
        let engine = config.engine();
        let number = engine.ledger()?.begin_check(side, name, Timestamp::now())?;
        let name = name.to_owned();
        std::thread::Builder::new()
            .name("check".to_owned())
            .spawn(move || {
                let _place = place;
                let ended = check(&engine, &tried);
                let kept = engine.ledger().and_then(|ledger| {
                    let which = (side, name.as_str(), number);
                    ledger.end_check(which, ended.as_ref().err(), Timestamp::now())
                });
                if let Err(error) = kept {
                    warn(&error);
                }
            })
            .map_err(|error| Error::io("cannot start a check's thread", error))?;
        Ok(())
    }
}

impl Served {
    /// How much a first run of a source would read.
    pub(super) fn forecast_of(&self, name: &str, start: Option<Timestamp>) -> Result<Forecast> {
        let config = self.config();
        let unknown = || Error::new(ErrorKind::NotFound, format!("there is no source `{name}`"));
        let part = config.sources.get(name).ok_or_else(unknown)?;
        let cancel = Cancel::new();
        let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
        // Nothing is pushed into what counts.
        let tap = registry::tap(part, (Path::new(""), Path::new("")))?;
        let forecast = tap.forecast(&cx, start, &Selection::all())?;
        forecast.ok_or_else(|| {
            Error::config(format!("a source of type `{}` does not count what it has", part.kind))
        })
    }
}

fn check(engine: &Engine, tried: &Tried) -> Result<()> {
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    match tried {
        Tried::Source(connection, part) => {
            let tap =
                registry::tap(part, (&registry::inbox(engine.home(), connection), engine.home()))?;
            let found = tap.discover(&cx)?;
            engine.ledger()?.save_catalog(connection, &found, Timestamp::now())?;
            if found.catalog.streams.is_empty()
                && let Some((_, reason)) = found.unreadable.first()
            {
                return Err(Error::config("nothing can be read with these credentials")
                    .hint(reason.clone()));
            }
            Ok(())
        }
        Tried::Destination(part) => {
            let place = registry::destination(part, engine.home(), Arc::new(NoLog))?;
            // The name of a schema is a connection's; asking for this one makes nothing.
            place.check(&cx, &"bobbin_check".into()).map(drop)
        }
    }
}
