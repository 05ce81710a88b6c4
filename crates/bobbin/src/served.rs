//! What a service serves: the file as it was last applied, and how it differs from the file now.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bobbin_core::cancel::Cancel;
use bobbin_core::id::ConnectionId;
use bobbin_core::report::{Event, JobLog, Level};
use bobbin_core::selection::Selection;
use bobbin_core::{Error, Result};
use bobbin_engine::RunReport;
use bobbin_engine::ledger::Trigger;
use bobbin_engine::service::{Control, Runner, Scheduled};
use bobbin_notify::Notifier;
use bobbin_server::{Change, Described, Difference, Program};
use jiff::Timestamp;

use crate::config::{Config, Connection};
use crate::job;
use crate::out::eprintln;

/// Makes each job's tap and destination out of the file, as it was last applied.
pub(crate) struct Served {
    /// The file, and the directory that was named in place of its own.
    file: (PathBuf, Option<PathBuf>),
    control: Control,
    now: RwLock<Arc<Config>>,
    notifier: RwLock<Arc<Notifier>>,
    /// One at a time.
    applying: Mutex<()>,
}

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
        })
    }

    /// The file as it was last applied.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells whom that file names.
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
        paused: plan.paused,
        limit: plan.limit,
        stale: plan.stale,
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
            .ok_or_else(|| Error::config("the file does not have this connection any more"))?;
        let log = Arc::new(Warnings { connection: connection.name.clone() });
        job::run(connection, &config.engine(), trigger, cancel, &log)
    }
}

impl Program for Served {
    fn connections(&self) -> BTreeMap<ConnectionId, Described> {
        let config = self.config();
        let described = |connection: &Connection| {
            let described = Described {
                name: connection.name.clone(),
                schema: connection.schema.to_string(),
                source: connection.source.kind.clone(),
                destination: connection.destination.kind.clone(),
                destination_name: connection.destination.name.clone(),
            };
            (connection.id.clone(), described)
        };
        config.connections.values().map(described).collect()
    }

    fn selection(&self, connection: &ConnectionId) -> Option<Selection> {
        let config = self.config();
        let mut connections = config.connections.values();
        connections.find(|known| known.id == *connection).map(|found| found.selection.clone())
    }

    fn apply(&self, make: bool) -> Result<Vec<Difference>> {
        let _one = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = Config::read(&self.file.0)?;
        if let Some(home) = &self.file.1 {
            file.home.clone_from(home);
        }
        let now = self.config();
        if file.home != now.home {
            return Err(Error::config("`home` cannot change while bobbin serves it")
                .with("home", now.home.display())
                .hint("stop the service and start it again"));
        }
        let notifier = file.notifier()?;
        let differences = differences(&now, &file);
        if !make {
            return Ok(differences);
        }
        let file = Arc::new(file);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&file);
        *self.notifier.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(notifier);
        for difference in &differences {
            match file.connections.get(&difference.connection) {
                Some(connection) => self.control.declare(scheduled(connection))?,
                None => {
                    // Another name with the same files is the same connection.
                    let gone = now.connections.get(&difference.connection);
                    let gone = gone.filter(|gone| {
                        file.connections.values().all(|connection| connection.id != gone.id)
                    });
                    if let Some(gone) = gone {
                        self.control.withdraw(&gone.id)?;
                    }
                }
            }
        }
        Ok(differences)
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
        let mut parts = before.differing(after);
        if old.keep_days != new.keep_days {
            parts.push("keep_days".to_owned());
        }
        if !parts.is_empty() {
            differs(name, Change::Changed, parts);
        }
    }
    differences
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
            let now = Timestamp::now();
            eprintln!("{now:.0} {}: {word}: {stream}{message}", self.connection);
        }
    }
}
