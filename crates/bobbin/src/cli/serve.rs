//! `bobbin serve`: every connection, by its schedule.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bobbin_core::cancel::Cancel;
use bobbin_core::id::ConnectionId;
use bobbin_core::{Error, Result};
use bobbin_engine::Engine;
use bobbin_engine::ledger::{SlotOutcome, Thing};
use bobbin_engine::service::{self, Control, Happening, Scheduled, Service, Watcher};
use bobbin_notify::PAUSE;
use bobbin_server::{Api, Events, Server, token};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Format, Session, Stop};
use crate::out::{eprintln, println};
use crate::remote::Announced;
use crate::served::{Served, scheduled};
use crate::time::Wall;
use crate::{exit, print, remote, time};

/// How often what has waited too long is looked for.
const HOUSEKEEPING: Duration = Duration::from_hours(1);

/// Replicate every connection by its schedule, until stopped
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  bobbin serve\n",
    "  bobbin serve --format json             one object a line for each slot and each job\n",
    "  bobbin schedule preview                see first when jobs will be due\n",
))]
pub(super) struct Serve {
    /// Jobs that run at once; others wait for their turn
    #[arg(long, default_value_t = 2, value_name = "N")]
    jobs: usize,

    /// Address of the API, or `none`
    #[arg(long, default_value = "127.0.0.1:8087", value_name = "ADDRESS")]
    listen: String,

    /// A further name by which the API may be asked for, as a proxy passes it on; may be given again
    #[arg(long, value_name = "NAME", value_parser = host)]
    allow_host: Vec<String>,

    /// Seconds that running jobs have, once asked to stop, to save what is on its way
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    grace: u64,
}

impl Serve {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let config = session.config_to_serve()?;
        if config.connections.is_empty() && self.listen == "none" {
            return Err(Error::config("there is no connection")
                .with("path", config.path.display())
                .hint("add one: [connections.NAME] with source = \"…\" and destination = \"…\""));
        }
        let stop = Stop::on_signals();
        let scheduled: Vec<Scheduled> = config.connections.values().map(scheduled).collect();
        let names: Vec<String> = config.connections.keys().cloned().collect();
        let (control, inbox) = service::control();
        let engine = config.engine();
        let broken: Vec<String> = config.broken.iter().map(broken).collect();
        let served = Served::new(config, session.home.clone(), control.clone())?;
        let served = Arc::new(served);
        let events = Events::default();
        let server = self.server(&engine, &served, control, &events)?;
        let address = server.as_ref().map(Server::address);
        let watcher = Arc::new(Shown {
            format: session.format,
            engine: engine.clone(),
            names,
            broken,
            address,
            announced: Mutex::default(),
            events,
        });
        let service = Service {
            engine,
            clock: Arc::new(Wall),
            runner: served.clone(),
            watcher: watcher.clone(),
            most_jobs: self.jobs,
            grace: Duration::from_secs(self.grace),
        };
        let over = Cancel::new();
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                served.look_for_pushes();
                let mut looked: Option<Instant> = None;
                while over.sleep(PAUSE).is_ok() {
                    if looked.is_none_or(|looked| looked.elapsed() > HOUSEKEEPING) {
                        looked = Some(Instant::now());
                        served.erase_what_waited();
                    }
                    served.load_what_was_pushed();
                    served.notifier().turn(&Wall, &over, &untold);
                }
            });
            let ended = service.run(&scheduled, inbox, &stop.cancel);
            over.cancel();
            ended
        });
        watcher.announced.lock().unwrap_or_else(PoisonError::into_inner).take();
        ended?;
        drop(server);
        watcher.say(None, "stopped", json!({ "event": "stopped" }));
        Ok(if stop.was_terminated() { exit::OK } else { exit::INTERRUPTED })
    }

    /// The API, unless there is to be none.
    fn server(
        &self,
        engine: &Engine,
        served: &Arc<Served>,
        control: Control,
        events: &Events,
    ) -> Result<Option<Server>> {
        if self.listen == "none" {
            return Ok(None);
        }
        let address: SocketAddr = self.listen.parse().map_err(|error| {
            Error::config(format!("`{}` is no address to listen on", self.listen))
                .hint("for example --listen 127.0.0.1:8087, or --listen none")
                .caused_by(error)
        })?;
        let api = Api {
            control,
            engine: engine.clone(),
            program: served.clone(),
            token: token::read_or_make(engine.home())?,
            events: events.clone(),
            hosts: self.allow_host.clone(),
            warned: untold,
        };
        Server::start(address, api).map(Some)
    }
}

/// A name of a machine, without scheme and port.
fn host(text: &str) -> std::result::Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !text.is_empty() && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err("only the name, for example bobbin.example.com".to_owned())
}

/// What was set up through the API and cannot be used.
fn broken(((thing, name), reason): (&(Thing, String), &String)) -> String {
    let reason = reason.replace('\n', "\n  ");
    format!("the {} `{name}` is left out: {reason}", thing.word())
}

/// What could not be done beside everything else: somebody told, something written down.
fn untold(error: &Error) {
    let now = time::now();
    eprintln!("{now:.0} warning: {}", error.report().replace('\n', "\n  "));
}

/// What the service does, as lines or objects.
struct Shown {
    format: Format,
    engine: Engine,
    /// The connections at the beginning.
    names: Vec<String>,
    /// What was left out of them, and why.
    broken: Vec<String>,
    /// Where the API is.
    address: Option<SocketAddr>,
    /// That this is written down.
    announced: Mutex<Option<Announced>>,
    /// Those who watch by the API.
    events: Events,
}

impl Shown {
    /// What is served, and where.
    fn greeting(&self) -> String {
        let mut line = match self.names.as_slice() {
            [] => "serving no connection yet".to_owned(),
            names => format!("serving {}", names.join(", ")),
        };
        if let Some(address) = self.address {
            let token = token::path(self.engine.home());
            line.push_str(&format!(
                "; the API is at http://{address}, its token in {}",
                token.display()
            ));
            if !address.ip().is_loopback() {
                line.push_str(
                    "; that is open to other machines and not encrypted: put a proxy with TLS \
                     before it",
                );
            }
        }
        line
    }

    /// What only the one service of a directory may do.
    fn take_over(&self) -> Result<()> {
        if let Some(address) = self.address {
            let announced = remote::announce(self.engine.home(), address)?;
            *self.announced.lock().unwrap_or_else(PoisonError::into_inner) = Some(announced);
        }
        self.engine.ledger()?.abandon_checks(time::now())
    }

    fn say(&self, at: Option<Timestamp>, line: &str, object: Value) {
        let at = at.unwrap_or_else(time::now);
        let mut object = object;
        object["ts"] = at.to_string().into();
        self.events.send(&object);
        match self.format {
            Format::Text => println!("{at:.0} {line}"),
            Format::Json => println!("{object}"),
        }
    }
}

impl Watcher for Shown {
    fn began(&self) {
        if let Err(error) = self.take_over() {
            self.warned(time::now(), None, &error);
        }
        let object = json!({ "event": "serving", "connections": self.names, "api": self.address });
        self.say(None, &self.greeting(), object);
        for line in &self.broken {
            let object = json!({ "event": "warning", "message": line });
            self.say(None, &format!("warning: {line}"), object);
        }
    }

    fn warned(&self, at: Timestamp, connection: Option<&ConnectionId>, error: &Error) {
        let whose = connection.map_or_else(String::new, |connection| format!("{connection}: "));
        let line = format!("{whose}warning: {}", error.report().replace('\n', "\n  "));
        let object =
            json!({ "event": "warning", "connection": connection, "error": error.report() });
        self.say(Some(at), &line, object);
    }

    fn happened(&self, at: Timestamp, connection: &ConnectionId, what: Happening<'_>) {
        let (line, object) = match what {
            Happening::Slot(row) => {
                let due = format!("the job of {:.0}", row.slot);
                let why = row.reason.as_deref().map_or_else(String::new, |why| format!(" ({why})"));
                let line = match row.outcome {
                    SlotOutcome::Started => format!("{due} starts{why}"),
                    SlotOutcome::Skipped => format!("{due} is skipped{why}"),
                    SlotOutcome::Missed if row.count == 1 => format!("{due} was missed{why}"),
                    SlotOutcome::Missed => format!(
                        "{} jobs from {:.0} to {:.0} were missed{why}",
                        row.count, row.slot, row.last
                    ),
                };
                (line, json!({ "event": "slot", "connection": connection, "slot": row }))
            }
            Happening::Ended(report) => {
                let sum = |pick: fn(&bobbin_engine::TableReport) -> u64| -> u64 {
                    report.tables.iter().map(pick).sum()
                };
                let took = report.ended.duration_since(report.started).as_secs_f64();
                let mut line = format!(
                    "{}: {} records in {}, {} calls",
                    report.outcome.word(),
                    print::number(sum(|table| table.extracted)),
                    print::seconds(took),
                    print::number(report.calls)
                );
                if let Some(error) = &report.error {
                    line.push_str(&format!("\n  {}", error.replace('\n', "\n  ")));
                }
                (line, json!({ "event": "job", "connection": connection, "report": report }))
            }
            Happening::Refused(error) => (
                format!("could not begin: {}", error.report().replace('\n', "\n  ")),
                json!({ "event": "refused", "connection": connection, "error": error.report() }),
            ),
            Happening::TooLong(limit) => (
                format!("takes longer than {} h and is stopped", limit.as_secs() / 3600),
                json!({ "event": "too_long", "connection": connection, "limit_seconds": limit.as_secs() }),
            ),
        };
        self.say(Some(at), &format!("{connection}: {line}"), object);
    }
}
