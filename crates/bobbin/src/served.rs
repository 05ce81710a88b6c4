//! What a service serves: the file as it was last applied, with what was set up through the API, and how
//! that differs from the file now.

mod acts;
mod channels;
mod checks;
mod cloning;
mod pushes;
mod setup;

pub(crate) use channels::channels;
pub(crate) use setup::parts;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bobbin_core::cancel::Cancel;
use bobbin_core::forecast::Forecast;
use bobbin_core::held::{HeldTable, Sample};
use bobbin_core::id::{ConnectionId, JobId, StreamName};
use bobbin_core::rejected::{RejectedList, RejectedQuery};
use bobbin_core::report::{Event, JobLog, Level, NoLog};
use bobbin_core::selection::Selection;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_engine::ledger::{Side, Thing, Trigger};
use bobbin_engine::service::{Control, Runner, Scheduled};
use bobbin_engine::{Retried, RunReport};
use bobbin_import::inbox::Inbox;
use bobbin_notify::Notifier;
use bobbin_server::{
    Change, Channel, CloneOf, Compared, Described, Difference, Edit, Part, Program, Type,
};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::config::{Config, Connection, Managed};
use crate::job::Backfill;
use crate::out::eprintln;
use crate::{job, registry, support, time};

/// Makes each job's tap and destination out of the file, as it was last applied.
pub(crate) struct Served {
    /// The file, and the directory that was named in place of its own.
    file: (PathBuf, Option<PathBuf>),
    control: Control,
    now: RwLock<Arc<Config>>,
    notifier: RwLock<Arc<Notifier>>,
    /// One at a time.
    applying: Mutex<()>,
    checks: checks::Checks,
    pushes: pushes::Pushes,
    /// What jobs that were asked for read again, in place of what is new.
    backfills: Mutex<Backfills>,
}

/// Backfills that were asked for, by the names of their jobs.
type Backfills = BTreeMap<JobId, (ConnectionId, Backfill)>;

impl Served {
    /// # Errors
    /// When somebody who is to be told cannot be.
    pub(crate) fn new(config: Config, home: Option<PathBuf>, control: Control) -> Result<Self> {
        let notifier = config.notifier()?;
        Ok(Self {
            file: (config.path.clone(), home),
            control,
            now: RwLock::new(Arc::new(config)),
            notifier: RwLock::new(Arc::new(notifier)),
            applying: Mutex::new(()),
            checks: checks::Checks::default(),
            pushes: pushes::Pushes::default(),
            backfills: Mutex::default(),
        })
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.applying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file as it was last applied.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells whom that file names, and who was set up through the API.
    pub(crate) fn notifier(&self) -> Arc<Notifier> {
        Arc::clone(&self.notifier.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How a connection is to be scheduled.
pub(crate) fn scheduled(connection: &Connection) -> Scheduled {
    let plan = &connection.schedule;
    Scheduled {
        connection: connection.id.clone(),
        schedule: plan.schedule.clone(),
        overlap: plan.overlap,
        missed: plan.missed,
        // What nobody has chosen tables of has nothing to replicate.
        paused: plan.paused || !connection.configured,
        limit: plan.limit,
        stale: plan.stale,
        watch_rows: plan.watch_rows,
    }
}

impl Runner for Served {
    fn run(
        &self,
        connection: &ConnectionId,
        trigger: Trigger,
        cancel: &Cancel,
    ) -> Result<RunReport> {
        let config = self.config();
        let connection = config
            .connections
            .values()
            .find(|known| known.id == *connection)
            .ok_or_else(|| Error::config("there is no such connection any more"))?;
        if !connection.configured {
            return Err(Error::config("no tables are chosen yet"));
        }
        let log = Arc::new(Warnings { connection: connection.name.clone() });
        let engine = config.engine();
        let backfill = trigger.job().and_then(|job| self.backfills().remove(&job));
        let backfill = backfill.map(|(_, backfill)| backfill);
        let report = job::run(connection, &engine, (trigger, backfill.as_ref()), cancel, &log)?;
        if connection.source.kind == registry::IMPORT {
            self.make_room(&connection.id, &engine);
        }
        Ok(report)
    }
}

impl Program for Served {
    fn connections(&self) -> BTreeMap<ConnectionId, Described> {
        let config = self.config();
        let described = |connection: &Connection| {
            let described = Described {
                name: connection.name.clone(),
                display_name: connection.display_name.clone(),
                managed_by: connection.by.into(),
                configured: connection.configured,
                schema: connection.schema.to_string(),
                source: connection.source.kind.clone(),
                destination: connection.destination.kind.clone(),
                source_name: connection.source.name.clone(),
                destination_name: connection.destination.name.clone(),
            };
            (connection.id.clone(), described)
        };
        config.connections.values().map(described).collect()
    }

    fn selection(&self, connection: &ConnectionId) -> Option<Selection> {
        let config = self.config();
        let mut connections = config.connections.values();
        let chosen = &connections.find(|known| known.id == *connection)?.selection;
        // Whoever asks reads the ledger, too, and tells what is wrong with it.
        Some(config.engine().informed(connection, chosen).unwrap_or_else(|_| chosen.clone()))
    }

    fn parts(&self, thing: Thing) -> Vec<Part> {
        setup::parts(&self.config(), thing)
    }

    fn channels(&self) -> Vec<Channel> {
        channels::channels(&self.config())
    }

    fn written(&self, connection: &ConnectionId) -> Option<Map<String, Value>> {
        let key = (Thing::Connection, connection.to_string());
        self.config().store.written.get(&key).map(|written| written.body.clone())
    }

    fn broken(&self) -> Vec<(Thing, String, String)> {
        let config = self.config();
        let broken = config.broken.iter();
        broken.map(|((thing, name), why)| (*thing, name.clone(), why.clone())).collect()
    }

    fn change(&self, edits: &[Edit]) -> Result<()> {
        self.set_up(edits, None)
    }

    fn clone_connection(&self, wish: &CloneOf) -> Result<()> {
        self.make_clone(wish)
    }

    fn types(&self) -> Vec<Type> {
        registry::types::types()
    }

    fn check(&self, side: Side, name: &str) -> Result<()> {
        self.begin_check(side, name)
    }

    fn forecast(&self, source: &str, start: Option<Timestamp>) -> Result<Forecast> {
        self.forecast_of(source, start)
    }

    fn reset(
        &self,
        connection: &ConnectionId,
        streams: &[StreamName],
        replace: bool,
    ) -> Result<Vec<StreamName>> {
        self.reset_of(connection, streams, replace)
    }

    fn backfill(
        &self,
        connection: &ConnectionId,
        tables: Vec<StreamName>,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<JobId> {
        self.begin_backfill(connection, Backfill::new(tables, from, until)?)
    }

    fn rejected(&self, connection: &ConnectionId, query: &RejectedQuery) -> Result<RejectedList> {
        self.rejected_of(connection, query)
    }

    fn held(&self, connection: &ConnectionId) -> Result<Vec<HeldTable>> {
        self.looked_into(connection, |destination, cx, schema| destination.held(cx, schema))
    }

    fn sample(&self, connection: &ConnectionId, table: &str, most: usize) -> Result<Sample> {
        self.looked_into(connection, |destination, cx, schema| {
            destination.sample(cx, schema, table, most)
        })
    }

    fn retry(&self, connection: &ConnectionId, table: Option<&str>) -> Result<Vec<Retried>> {
        self.retry_of(connection, table)
    }

    fn inbox(&self, connection: &ConnectionId) -> Result<Arc<Inbox>> {
        self.inbox_of(connection)
    }

    fn pushed(&self, connection: &ConnectionId) {
        self.pushes.add(connection);
    }

    fn support(&self) -> Result<(String, Vec<u8>)> {
        let now = time::now();
        Ok((support::name(now), support::bundle(&self.config(), support::JOBS, now)?))
    }

    fn about(&self) -> Value {
        support::about(&self.config(), time::now())
    }

    fn apply(&self, make: bool) -> Result<Compared> {
        let _one = self.one_at_a_time();
        let now = self.config();
        let file = Config::read(&self.file.0, self.file.1.as_deref())?;
        if file.home != now.home {
            return Err(Error::config("`home` cannot change while bobbin serves it")
                .with("home", now.home.display())
                .hint("stop the service and start it again"));
        }
        // A file that was cut short must not end everything.
        let of_file =
            |config: &Config| config.connections.values().any(|known| known.by == Managed::File);
        if of_file(&now) && !of_file(&file) {
            return Err(Error::config("the file has no connection any more")
                .with("path", file.path.display())
                .hint("if that is meant, stop the service"));
        }
        for connection in file.connections.values().filter(|known| known.by == Managed::File) {
            registry::tap_of(connection, &file.home)?;
            let log = Arc::new(NoLog);
            registry::destination(&connection.destination, &file.home, log)?;
            connection.chosen()?;
        }
        let notifier = file.notifier()?;
        let path = std::path::absolute(&file.path).unwrap_or_else(|_| file.path.clone());
        let compared = Compared {
            file: path.display().to_string(),
            connections: differences(&now, &file),
            settings: now.differing_settings(&file),
        };
        if make {
            // What goes by the file's other things and cannot any more.
            let broken = file.broken.iter().filter(|(key, _)| !now.broken.contains_key(*key));
            let broken: Vec<Error> = broken
                .map(|((thing, name), reason)| {
                    let what = format!("the {} `{name}` is left out", thing.word());
                    Error::config(reason.clone()).wrap(what)
                })
                .collect();
            self.take_effect(&now, Arc::new(file))?;
            self.tell_with(notifier);
            broken.iter().for_each(warn);
        }
        Ok(compared)
    }
}

impl Served {
    fn tell_with(&self, notifier: Notifier) {
        *self.notifier.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(notifier);
    }

    fn go_on_with(&self, config: Arc<Config>) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Goes on with `new` in place of `now`. What runs is left alone.
    fn take_effect(&self, now: &Config, new: Arc<Config>) -> Result<()> {
        let (mut declared, mut withdrawn, mut first) = (Vec::new(), Vec::new(), Vec::new());
        let ledger = new.engine().ledger()?;
        for difference in differences(now, &new) {
            let name = &difference.connection;
            let before = now.connections.get(name);
            if let Some(connection) = new.connections.get(name) {
                declared.push(scheduled(connection));
                let chosen = connection.configured && before.is_some_and(|known| !known.configured);
                if chosen && !connection.schedule.paused && !ledger.is_paused(&connection.id)? {
                    first.push(connection.id.clone());
                }
                continue;
            }
            // Another name with the same files is the same connection.
            let gone = before
                .filter(|gone| new.connections.values().all(|connection| connection.id != gone.id));
            withdrawn.extend(gone.map(|gone| gone.id.clone()));
        }
        let known = Arc::clone(&*self.now.read().unwrap_or_else(PoisonError::into_inner));
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = new;
        if let Err(error) = self.control.apply(declared, withdrawn) {
            // So that the next attempt finds what is different still.
            *self.now.write().unwrap_or_else(PoisonError::into_inner) = known;
            return Err(error);
        }
        // Whoever has just chosen tables does not wait for the next slot.
        for connection in first {
            match self.control.run(&connection) {
                Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What is different in `new`, connection by connection.
fn differences(old: &Config, new: &Config) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differs = |connection: &str, change: Change, parts: Vec<String>| {
        differences.push(Difference { connection: connection.to_owned(), change, parts });
    };
    for name in old.connections.keys().filter(|name| !new.connections.contains_key(*name)) {
        differs(name, Change::Removed, Vec::new());
    }
    for (name, after) in &new.connections {
        let Some(before) = old.connections.get(name) else {
            differs(name, Change::Added, Vec::new());
            continue;
        };
        let parts = before.differing(after);
        if !parts.is_empty() {
            differs(name, Change::Changed, parts);
        }
    }
    differences
}

/// Tells whoever reads the service's log of what went wrong beside everything.
fn warn(error: &Error) {
    let now = time::now();
    eprintln!("{now:.0} warning: {}", error.report().replace('\n', "\n  "));
}

/// What a person who reads the service's log has to know of a running job.
struct Warnings {
    connection: String,
}

impl JobLog for Warnings {
    fn event(&self, event: Event) {
        if let Event::Notice { level, stream, message } = event
            && level >= Level::Warn
        {
            let stream = stream.map_or_else(String::new, |stream| format!("{stream}: "));
            let word = if level == Level::Error { "error" } else { "warning" };
            let now = time::now();
            eprintln!("{now:.0} {}: {word}: {stream}{message}", self.connection);
        }
    }
}
