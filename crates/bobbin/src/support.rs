//! The support bundle: what whoever helps has to know of a bobbin, and nothing else. No secret and nothing of
//! a record is in it.
//!
//! Each part is told without secrets to begin with; in the texts at the end, every secret that is known is
//! replaced once more. What foreign programs said may be anything and stays out.

mod machine;
mod scrub;

use std::io::Write as _;
use std::path::Path;

use bobbin_core::{Error, Result};
use bobbin_engine::ledger::{self, Ledger, Thing};
use bobbin_engine::{RunReport, job_log};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::config::{Config, Connection};
use crate::served;
use scrub::Scrub;

/// Jobs of each connection that are told, unless asked for fewer or more.
pub(crate) const JOBS: u32 = 20;

/// Logs of each connection that are in it: those of its last jobs.
const LOGS: usize = 3;

/// Lines of a log: its last ones.
const MOST_LINES: usize = 1000;

/// Bytes of a line.
const MOST_LINE_BYTES: usize = 4 << 10;

/// Bytes of all logs together.
const MOST_LOG_BYTES: usize = 16 << 20;

/// Slots of each connection.
const SLOTS: u32 = 50;

/// Notices.
const NOTICES: u32 = 200;

/// What is in the bundle, for whoever opens it.
const README: &str = "\
What bobbin says of itself, for whoever helps with it. JSON throughout.

about.json           versions, the machine, memory, disks, what waits
configuration.json   sources, destinations, connections and who is told, without secrets
schedules.json       when jobs are due, and what became of the last slots
ledger.json          the history's version and size
notices.json         what needs or needed attention
jobs/                the last jobs of each connection with their reports
logs/                the ends of the logs of its last jobs

There is no token, password, key or address of a hook in it, and nothing of a record. Names of tables,
columns, connections and hosts are. What foreign Singer programs said is left out.
";

/// A bundle as a compressed archive (`.tar.gz`), with so many jobs of each connection. What cannot be read is
/// told in its place.
///
/// # Errors
/// When the archive cannot be written.
pub(crate) fn bundle(config: &Config, jobs: u32, now: Timestamp) -> Result<Vec<u8>> {
    let mut archive = Archive::new(config, now);
    archive.text("README.txt", README)?;
    archive.json("about.json", Ok(machine::about(config, now)))?;
    archive.json("configuration.json", Ok(configuration(config)))?;
    let ledger = config.engine().ledger();
    let ledger = match &ledger {
        Ok(ledger) => &**ledger,
        Err(error) => {
            archive.json("ledger.json", Ok(json!({ "error": error.report() })))?;
            return archive.finish();
        }
    };
    archive.json("schedules.json", schedules(config, ledger))?;
    archive.json("ledger.json", history(config, ledger))?;
    archive.json("notices.json", notices(config, ledger))?;
    let mut room = MOST_LOG_BYTES;
    for connection in config.connections.values() {
        let id = connection.id.as_str();
        archive.json(&format!("jobs/{id}.json"), last_jobs(ledger, connection, jobs))?;
        if is_foreign(connection) {
            continue;
        }
        let known = match job_log::jobs(&config.home, &connection.id) {
            Ok(known) => known,
            Err(error) => {
                archive.text(&format!("logs/{id}.txt"), &error.report())?;
                continue;
            }
        };
        for job in known.into_iter().take(LOGS) {
            let lines = job_log::open(&config.home, &connection.id, &job).and_then(|mut log| {
                job_log::last_lines(&mut log, MOST_LINES, |line| {
                    let line = archive.scrub.text(line);
                    Some(line.get(..line.floor_char_boundary(MOST_LINE_BYTES))?.to_owned())
                })
            });
            let text = match lines {
                Ok(lines) => lines.join("\n"),
                Err(error) => error.report(),
            };
            let Some(left) = room.checked_sub(text.len()) else { continue };
            room = left;
            archive.text(&format!("logs/{id}/{job}.jsonl"), &text)?;
        }
    }
    archive.finish()
}

/// The machine and what bobbin takes of it.
pub(crate) fn about(config: &Config, now: Timestamp) -> Value {
    machine::about(config, now)
}

/// What a bundle made at an instant is called.
pub(crate) fn name(now: Timestamp) -> String {
    format!("bobbin-support-{}", now.strftime("%Y%m%dT%H%M%SZ"))
}

/// An archive on its way.
struct Archive {
    tar: tar::Builder<GzEncoder<Vec<u8>>>,
    scrub: Scrub,
    directory: String,
    now: Timestamp,
}

impl Archive {
    fn new(config: &Config, now: Timestamp) -> Self {
        let packed = GzEncoder::new(Vec::new(), Compression::default());
        let (tar, directory) = (tar::Builder::new(packed), name(now));
        Self { tar, scrub: Scrub::of(config), directory, now }
    }

    fn json(&mut self, name: &str, told: Result<Value>) -> Result<()> {
        let told = told.unwrap_or_else(|error| json!({ "error": error.report() }));
        self.text(name, &format!("{told:#}\n"))
    }

    fn text(&mut self, name: &str, text: &str) -> Result<()> {
        let text = self.scrub.text(text);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(self.now.as_second()).unwrap_or_default());
        let path = Path::new(&self.directory).join(name);
        self.tar.append_data(&mut header, path, text.as_bytes()).map_err(failed)
    }

    fn finish(self) -> Result<Vec<u8>> {
        let mut packed = self.tar.into_inner().map_err(failed)?;
        packed.flush().map_err(failed)?;
        packed.finish().map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("cannot write the support bundle", error)
}

/// Whether programs of others work for it, whose words may hold anything.
fn is_foreign(connection: &Connection) -> bool {
    [&connection.source, &connection.destination].iter().any(|part| part.kind == "singer")
}

fn configuration(config: &Config) -> Value {
    let connections = config.connections.values().map(|connection| {
        json!({
            "id": connection.id,
            "name": connection.name,
            "managed_by": bobbin_server::Managed::from(connection.by),
            "configured": connection.configured,
            "schema": connection.schema,
            "source": connection.source.kind,
            "destination": connection.destination.kind,
            "definition": config.definition(connection).ok(),
        })
    });
    let broken = config.broken.iter().map(
        |((thing, name), reason)| json!({ "kind": thing.word(), "name": name, "reason": reason }),
    );
    json!({
        "file": config.path,
        "home": config.home,
        "keep_days": config.keep_days,
        "keep_waiting_days": config.keep_waiting_days,
        "seal_spool": config.seal_spool,
        "has_hash_key": config.hash_key().is_some(),
        "allow_local": config.service.allow_local,
        "sources": served::parts(config, Thing::Source),
        "destinations": served::parts(config, Thing::Destination),
        "connections": connections.collect::<Vec<_>>(),
        "channels": served::channels(config),
        "broken": broken.collect::<Vec<_>>(),
    })
}

fn schedules(config: &Config, ledger: &dyn Ledger) -> Result<Value> {
    let told = config.connections.values().map(|connection| {
        let (id, plan) = (&connection.id, &connection.schedule);
        Ok(json!({
            "connection": id,
            "schedule": plan.schedule.to_string(),
            "overlap": plan.overlap,
            "missed": plan.missed,
            "paused": plan.paused,
            "paused_since": ledger.paused_since(id)?,
            "limit_seconds": plan.limit.as_secs(),
            "counts_from": ledger.base(id)?,
            "last_complete": ledger.last_complete(id)?,
            "slots": ledger.slots(id, SLOTS)?,
        }))
    });
    told.collect()
}

fn history(config: &Config, ledger: &dyn Ledger) -> Result<Value> {
    let size = |name: &str| std::fs::metadata(config.home.join(name)).ok().map(|file| file.len());
    Ok(json!({
        "version": ledger.version()?,
        "known_version": ledger::known_version(),
        "size_bytes": size("ledger.sqlite"),
        "journal_size_bytes": size("ledger.sqlite-wal"),
        "rows": ledger.rows_by_table()?,
    }))
}

fn notices(config: &Config, ledger: &dyn Ledger) -> Result<Value> {
    let told = ledger.notices(true, NOTICES)?.into_iter().map(|notice| {
        let mut connections = config.connections.values();
        let known = connections.find(|known| known.id == notice.connection);
        let mut told = json!(notice);
        if known.is_none_or(is_foreign) {
            told["message"] = Value::Null;
            told["detail"] = Value::Null;
        }
        told
    });
    Ok(told.collect())
}

fn last_jobs(ledger: &dyn Ledger, connection: &Connection, most: u32) -> Result<Value> {
    let jobs = ledger.jobs(&connection.id, None, most)?.into_iter().map(|job| {
        json!({
            "job": job.id,
            "trigger": job.trigger,
            "started_at": job.started,
            "status": job.status(),
            "report": job.report.map(|report| told(report, is_foreign(connection))),
        })
    });
    Ok(jobs.collect())
}

/// A report; without what foreign programs said.
fn told(mut report: RunReport, is_foreign: bool) -> RunReport {
    if is_foreign {
        report.notices.clear();
        report.error = report.error.map(|_| "left out".to_owned());
        for table in &mut report.tables {
            table.reason = table.reason.take().map(|_| "left out".to_owned());
        }
    }
    report
}
