//! Running connections by their schedules: slots come due, jobs start, and everything that happens
//! or does not happen is written down.
//!
//! One thread decides ([`Timetable`]); each job has a thread of its own. A decision is in the ledger
//! before anything is done about it, so a slot leaves a trace even when the process dies at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::Clock;
use bobbin_core::id::ConnectionId;
use bobbin_core::schedule::Schedule;
use bobbin_core::{Error, ErrorKind, Result};
use jiff::{SignedDuration, Timestamp};

use crate::engine::Engine;
use crate::ledger::{Ledger, SlotOutcome, SlotRow, Trigger};
use crate::report::RunReport;
use crate::timetable::{Decision, Late, Missed, Overlap, Plan, Timetable};

/// Runs the jobs of connections; the program knows what they are made of.
pub trait Runner: Send + Sync {
    /// Runs one job to its end, or to where `cancel` asks it to stop.
    ///
    /// # Errors
    /// When no job began. What went wrong in a job is in its report.
    fn run(
        &self,
        connection: &ConnectionId,
        trigger: Trigger,
        cancel: &Cancel,
    ) -> Result<RunReport>;
}

/// Hears what the service does, for whoever watches it.
pub trait Watcher: Send + Sync {
    /// Something happened.
    fn happened(&self, at: Timestamp, connection: &ConnectionId, what: Happening<'_>);
}

/// What a service does.
#[derive(Debug)]
pub enum Happening<'a> {
    /// A slot was decided.
    Slot(&'a SlotRow),
    /// A job ended.
    Ended(&'a RunReport),
    /// A job could not begin.
    Refused(&'a Error),
    /// A job goes on for longer than it may and is stopped.
    TooLong(Duration),
}

/// A connection as it is to be scheduled.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// Which.
    pub connection: ConnectionId,
    /// When its jobs are due.
    pub schedule: Schedule,
    /// What becomes of slots while a job is running.
    pub overlap: Overlap,
    /// What becomes of slots that nobody saw.
    pub missed: Missed,
    /// No slot counts while it is set.
    pub paused: bool,
    /// The longest a job may take (F-29).
    pub limit: Duration,
}

/// Runs connections by their schedules.
pub struct Service {
    /// Keeps the ledger.
    pub engine: Engine,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Runs the jobs.
    pub runner: Arc<dyn Runner>,
    /// Hears what happens.
    pub watcher: Arc<dyn Watcher>,
    /// Jobs that run at once; others wait for their turn.
    pub most_jobs: usize,
    /// How long running jobs have, once the service is asked to stop, to save what is on its way.
    pub grace: Duration,
}

/// How often a wish to stop, and a clock that was set, are looked for.
const WATCH: Duration = Duration::from_millis(200);

struct Ended {
    connection: ConnectionId,
    slot: Timestamp,
    result: Result<RunReport>,
}

struct Running {
    cancel: Cancel,
    until: Timestamp,
    told: bool,
    thread: JoinHandle<()>,
}

/// The state of one [`Service::run`].
struct Round<'a> {
    service: &'a Service,
    ledger: Ledger,
    timetable: Timetable,
    limits: BTreeMap<ConnectionId, Duration>,
    waiting: VecDeque<(ConnectionId, Timestamp)>,
    running: BTreeMap<ConnectionId, Running>,
    ended: Sender<Ended>,
}

impl Service {
    /// Schedules `connections` until `stop` is asked for; then lets running jobs save what is on its
    /// way, and returns.
    ///
    /// # Errors
    /// When the ledger cannot be used: without it nobody could tell what was done.
    pub fn run(&self, connections: &[Scheduled], stop: &Cancel) -> Result<()> {
        let (ended, ends) = channel();
        let mut round = Round {
            service: self,
            ledger: self.engine.ledger()?,
            timetable: Timetable::default(),
            limits: BTreeMap::new(),
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            ended,
        };
        for scheduled in connections {
            round.schedule(scheduled)?;
        }
        let decided = round.go_on(&ends, stop);
        let stopped = round.wind_up(&ends);
        decided.and(stopped)
    }
}

impl Round<'_> {
    fn schedule(&mut self, scheduled: &Scheduled) -> Result<()> {
        let now = self.service.clock.now();
        let kept = self.ledger.schedule(&scheduled.connection, now)?;
        let plan = Plan {
            schedule: scheduled.schedule.clone(),
            base: kept.base,
            overlap: scheduled.overlap,
            missed: scheduled.missed,
            paused: scheduled.paused,
        };
        self.timetable.set(&scheduled.connection, plan, kept.decided);
        self.limits.insert(scheduled.connection.clone(), scheduled.limit);
        Ok(())
    }

    fn go_on(&mut self, ends: &Receiver<Ended>, stop: &Cancel) -> Result<()> {
        while !stop.is_cancelled() {
            let now = self.service.clock.now();
            for decision in self.timetable.tick(now) {
                self.take(decision, now)?;
            }
            self.start_waiting(now)?;
            self.stop_what_takes_too_long(now);
            let until = self.timetable.wake().map(|wake| wake.duration_since(now));
            let wait = until.map_or(WATCH, |until| self.service.clock.real(until).min(WATCH));
            match ends.recv_timeout(wait.max(Duration::from_millis(1))) {
                Ok(end) => {
                    let connection = self.conclude(end)?;
                    if let Some(owed) = self.timetable.ended(&connection) {
                        self.take(owed, self.service.clock.now())?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::bug("the service does not hear its own jobs"));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, decision: Decision, now: Timestamp) -> Result<()> {
        let row = |slot, last, count, outcome, reason: Option<String>| SlotRow {
            slot,
            last,
            count,
            outcome,
            reason,
            job: None,
            decided: now,
        };
        let (connection, row) = match decision {
            Decision::Start { connection, slot, late } => {
                let reason = late.map(|late| match late {
                    Late::Away => "late: bobbin was not running at its time".to_owned(),
                    Late::WasRunning => "late: the job before it was still running".to_owned(),
                });
                self.waiting.push_back((connection.clone(), slot));
                (connection, row(slot, slot, 1, SlotOutcome::Started, reason))
            }
            Decision::Skipped { connection, slot, owed } => {
                let mut reason = "the job before it was still running".to_owned();
                if owed {
                    reason.push_str("; one follows as soon as that has ended");
                }
                (connection, row(slot, slot, 1, SlotOutcome::Skipped, Some(reason)))
            }
            Decision::Missed { connection, first, last, count } => {
                let reason = "bobbin was not running at its time".to_owned();
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                (connection, row(first, last, count, SlotOutcome::Missed, Some(reason)))
            }
        };
        self.ledger.decide(&connection, &row)?;
        self.service.watcher.happened(now, &connection, Happening::Slot(&row));
        Ok(())
    }

    /// Starts jobs that are due, as many as may run at once.
    fn start_waiting(&mut self, now: Timestamp) -> Result<()> {
        while self.running.len() < self.service.most_jobs.max(1)
            && let Some((connection, slot)) = self.waiting.pop_front()
        {
            let cancel = Cancel::new();
            let (runner, ended) = (Arc::clone(&self.service.runner), self.ended.clone());
            let (whose, watched) = (connection.clone(), cancel.clone());
            let thread = std::thread::Builder::new()
                .name(format!("job {connection}"))
                .spawn(move || {
                    let run = || runner.run(&whose, Trigger::Slot(slot), &watched);
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
                    let result = result.unwrap_or_else(|_| Err(Error::bug("a job panicked")));
                    // Nobody listens once the service has given up.
                    let _ = ended.send(Ended { connection: whose, slot, result });
                })
                .map_err(|error| Error::io("cannot start a job's thread", error))?;
            let limit = self.limits.get(&connection).copied().unwrap_or(Duration::MAX);
            let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
            let until = now.checked_add(limit).unwrap_or(Timestamp::MAX);
            self.running.insert(connection, Running { cancel, until, told: false, thread });
        }
        Ok(())
    }

    fn stop_what_takes_too_long(&mut self, now: Timestamp) {
        for (connection, running) in &mut self.running {
            if now >= running.until && !running.told {
                running.told = true;
                running.cancel.cancel();
                let limit = self.limits.get(connection).copied().unwrap_or_default();
                self.service.watcher.happened(now, connection, Happening::TooLong(limit));
            }
        }
    }

    /// Writes down how a job ended; gives whose it was.
    fn conclude(&mut self, end: Ended) -> Result<ConnectionId> {
        let Ended { connection, slot, result } = end;
        let now = self.service.clock.now();
        if let Some(running) = self.running.remove(&connection) {
            // It has sent its last word, so this does not wait.
            let _ = running.thread.join();
        }
        match &result {
            Ok(report) => {
                self.service.watcher.happened(now, &connection, Happening::Ended(report));
            }
            Err(error) => {
                let reason = match error.kind() {
                    ErrorKind::Conflict => "another job of the connection was running".to_owned(),
                    _ => error.report(),
                };
                let row = SlotRow {
                    slot,
                    last: slot,
                    count: 1,
                    outcome: SlotOutcome::Skipped,
                    reason: Some(reason),
                    job: None,
                    decided: now,
                };
                self.ledger.decide(&connection, &row)?;
                self.service.watcher.happened(now, &connection, Happening::Refused(error));
            }
        }
        Ok(connection)
    }

    /// Stops what runs, and waits until it has saved what was on its way.
    fn wind_up(&mut self, ends: &Receiver<Ended>) -> Result<()> {
        for running in self.running.values() {
            running.cancel.cancel();
        }
        let now = self.service.clock.now();
        for (connection, slot) in std::mem::take(&mut self.waiting) {
            let row = SlotRow {
                slot,
                last: slot,
                count: 1,
                outcome: SlotOutcome::Skipped,
                reason: Some("bobbin was stopped before its turn came".to_owned()),
                job: None,
                decided: now,
            };
            self.ledger.decide(&connection, &row)?;
            self.service.watcher.happened(now, &connection, Happening::Slot(&row));
        }
        let deadline = Instant::now() + self.service.grace;
        while !self.running.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            match ends.recv_timeout(left) {
                Ok(end) => {
                    self.conclude(end)?;
                }
                Err(_) => {
                    let names: Vec<&str> = self.running.keys().map(ConnectionId::as_str).collect();
                    return Err(Error::new(ErrorKind::Timeout, "jobs did not end in time")
                        .with("connections", names.join(", "))
                        .with("grace_seconds", self.service.grace.as_secs())
                        .hint("nothing that was saved is lost; their next jobs go on from there"));
                }
            }
        }
        Ok(())
    }
}
