//! Running connections by their schedules: slots come due, jobs start, and everything that happens
//! or does not happen is written down.
//!
//! One thread decides ([`Timetable`]); each job has a thread of its own. A decision is in the ledger
//! before anything is done about it, so a slot leaves a trace even when the process dies at once.

mod answer;
mod control;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::Clock;
use bobbin_core::id::ConnectionId;
use bobbin_core::schedule::Schedule;
use bobbin_core::{Error, ErrorKind, Result};
use jiff::{SignedDuration, Timestamp};

use crate::engine::Engine;
use crate::habit;
use crate::hold::Hold;
use crate::ledger::{FOLLOWS, Ledger, NoticeKind, OVERRUN, SlotOutcome, SlotRow, Trigger};
use crate::report::RunReport;
use crate::timetable::{Decision, Late, Missed, Overlap, Plan, Timetable};

pub use control::{Control, Inbox, Seen, control};

use control::Message;

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
    /// The service has begun: no other one runs for this directory.
    fn began(&self) {}

    /// Something happened.
    fn happened(&self, at: Timestamp, connection: &ConnectionId, what: Happening<'_>);

    /// Something could not be written down that no slot and no job hangs on; the service goes on.
    fn warned(&self, at: Timestamp, connection: Option<&ConnectionId>, error: &Error) {
        let _ = (at, connection, error);
    }
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
    /// For how long no job may be complete before that is a notice.
    pub stale: Option<Duration>,
    /// Whether far more or fewer rows than usual are a notice.
    pub watch_rows: bool,
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

/// How often it is written down how far slots are decided where none is due.
const SETTLE: Duration = Duration::from_mins(1);

/// How often tables are looked at that may be old.
const STALE_LOOK: SignedDuration = SignedDuration::from_mins(1);

struct Ended {
    connection: ConnectionId,
    trigger: Trigger,
    result: Result<RunReport>,
}

struct Running {
    trigger: Trigger,
    cancel: Cancel,
    since: Timestamp,
    until: Timestamp,
    told: bool,
    thread: JoinHandle<()>,
}

/// The state of one [`Service::run`].
struct Round<'a> {
    service: &'a Service,
    ledger: Box<dyn Ledger>,
    timetable: Timetable,
    /// The connections as they were given, with the base of each grid.
    scheduled: BTreeMap<ConnectionId, (Scheduled, Timestamp)>,
    waiting: VecDeque<(ConnectionId, Trigger)>,
    running: BTreeMap<ConnectionId, Running>,
    messages: Sender<Message>,
    /// Slots up to here are decided.
    ticked: Timestamp,
    /// When that was last written down.
    settled: Option<Instant>,
    /// Whether it was told that it cannot be.
    unsettled: bool,
    /// When tables were last looked at that may be old.
    looked: Timestamp,
    /// When a job was last asked for.
    asked: Timestamp,
}

impl Service {
    /// Schedules `connections` until `stop` is asked for; then lets running jobs save what is on its
    /// way, and returns.
    ///
    /// # Errors
    /// When the ledger cannot be used: without it nobody could tell what was done.
    pub fn run(&self, connections: &[Scheduled], inbox: Inbox, stop: &Cancel) -> Result<()> {
        let Inbox { messages, heard } = inbox;
        let _lock = self.engine.lock_service()?;
        let mut round = Round {
            service: self,
            ledger: self.engine.ledger()?,
            timetable: Timetable::default(),
            scheduled: BTreeMap::new(),
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            messages,
            ticked: Timestamp::MIN,
            settled: None,
            unsettled: false,
            looked: Timestamp::UNIX_EPOCH,
            asked: Timestamp::UNIX_EPOCH,
        };
        self.watcher.began();
        round.end_abandoned();
        for scheduled in connections {
            let now = self.clock.now();
            let planned = round.prepare(scheduled, now)?;
            round.install(planned, now);
        }
        let decided = round.go_on(&heard, stop);
        let stopped = round.wind_up(&heard);
        decided.and(stopped)
    }
}

impl Round<'_> {
    fn warn(&self, connection: Option<&ConnectionId>, result: Result<()>) {
        if let Err(error) = result {
            self.service.watcher.warned(self.service.clock.now(), connection, &error);
        }
    }

    /// Ends the jobs of processes that are gone, so that nothing seems to run for ever.
    fn end_abandoned(&self) {
        let now = self.service.clock.now();
        let connections = match self.ledger.unended() {
            Ok(connections) => connections,
            Err(error) => return self.warn(None, Err(error)),
        };
        for connection in connections {
            let ended = match Hold::take(&self.service.engine, &connection, now) {
                Ok(hold) => hold.ledger.end_abruptly(&hold.lease, now),
                // It does run.
                Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
                Err(error) => Err(error),
            };
            self.warn(Some(&connection), ended);
        }
    }

    fn plan(&mut self, scheduled: &Scheduled, base: Timestamp, decided: Timestamp) {
        let plan = Plan {
            schedule: scheduled.schedule.clone(),
            base,
            overlap: scheduled.overlap,
            missed: scheduled.missed,
            paused: scheduled.paused,
        };
        self.timetable.set(&scheduled.connection, plan, decided);
    }

    fn go_on(&mut self, heard: &Receiver<Message>, stop: &Cancel) -> Result<()> {
        while !stop.is_cancelled() {
            let now = self.service.clock.now();
            self.tick(now)?;
            self.settle(now);
            self.look_for_stale(now);
            self.start_waiting(now)?;
            self.stop_what_takes_too_long(now);
            let until = self.timetable.wake().map(|wake| wake.duration_since(now));
            let wait = until.map_or(WATCH, |until| self.service.clock.real(until).min(WATCH));
            match heard.recv_timeout(wait.max(Duration::from_millis(1))) {
                Ok(Message::Asked(asked)) => {
                    if let Some(question) = asked.take() {
                        self.answer(question)?;
                    }
                }
                Ok(Message::Ended(end)) => {
                    let connection = self.conclude(*end)?;
                    self.free(&connection)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::bug("the service does not hear its own jobs"));
                }
            }
        }
        Ok(())
    }

    /// Decides what is due.
    fn tick(&mut self, now: Timestamp) -> Result<()> {
        for decision in self.timetable.tick(now) {
            self.take(decision, now)?;
        }
        self.ticked = now;
        Ok(())
    }

    /// Writes down how far slots are decided, so that a crash makes nothing of a pause look missed. What
    /// cannot be written is tried again in the next turn.
    fn settle(&mut self, now: Timestamp) {
        if self.settled.is_some_and(|settled| settled.elapsed() < SETTLE) {
            return;
        }
        match self.ledger.settle(now) {
            Ok(()) => {
                self.settled = Some(Instant::now());
                self.unsettled = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.unsettled, true) {
                    self.warn(None, Err(error));
                }
            }
        }
    }

    /// Where no job of a connection runs or waits, one may follow that was owed.
    fn free(&mut self, connection: &ConnectionId) -> Result<()> {
        let busy = self.running.contains_key(connection)
            || self.waiting.iter().any(|(waiting, _)| waiting == connection);
        if busy {
            return Ok(());
        }
        match self.timetable.ended(connection) {
            Some(owed) => self.take(owed, self.service.clock.now()),
            None => Ok(()),
        }
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
                self.waiting.push_back((connection.clone(), Trigger::Slot(slot)));
                (connection, row(slot, slot, 1, SlotOutcome::Started, reason))
            }
            Decision::Skipped { connection, slot, owed } => {
                let mut reason = OVERRUN.to_owned();
                if owed {
                    reason.push_str(FOLLOWS);
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
            && let Some((connection, trigger)) = self.waiting.pop_front()
        {
            let cancel = Cancel::new();
            let (runner, messages) = (Arc::clone(&self.service.runner), self.messages.clone());
            let (whose, watched) = (connection.clone(), cancel.clone());
            let thread = std::thread::Builder::new()
                .name(format!("job {connection}"))
                .spawn(move || {
                    let run = || runner.run(&whose, trigger, &watched);
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
                    let result = result.unwrap_or_else(|_| Err(Error::bug("a job panicked")));
                    // Nobody listens once the service has given up.
                    let _ = messages.send(Message::Ended(Box::new(Ended {
                        connection: whose,
                        trigger,
                        result,
                    })));
                })
                .map_err(|error| Error::io("cannot start a job's thread", error))?;
            let limit = self.limit(&connection);
            let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
            let until = now.checked_add(limit).unwrap_or(Timestamp::MAX);
            let running = Running { trigger, cancel, since: now, until, told: false, thread };
            self.running.insert(connection, running);
        }
        Ok(())
    }

    fn limit(&self, connection: &ConnectionId) -> Duration {
        self.scheduled.get(connection).map_or(Duration::MAX, |(scheduled, _)| scheduled.limit)
    }

    fn stop_what_takes_too_long(&mut self, now: Timestamp) {
        for (connection, running) in &mut self.running {
            if now >= running.until && !running.told {
                running.told = true;
                running.cancel.cancel();
                let limit = self.scheduled.get(connection).map_or(Duration::MAX, |(s, _)| s.limit);
                self.service.watcher.happened(now, connection, Happening::TooLong(limit));
            }
        }
    }

    /// Tables may be old although nothing failed: nobody was there, or jobs take too long.
    fn look_for_stale(&mut self, now: Timestamp) {
        let passed = now.duration_since(self.looked);
        if passed.abs() < STALE_LOOK {
            return;
        }
        self.looked = now;
        for (scheduled, _) in self.scheduled.values().filter(|(scheduled, _)| !scheduled.paused) {
            self.warn(Some(&scheduled.connection), self.look_at(scheduled, now));
            if scheduled.watch_rows {
                let looked = habit::look(&*self.ledger, &scheduled.connection, now);
                self.warn(Some(&scheduled.connection), looked);
            }
        }
    }

    fn look_at(&self, scheduled: &Scheduled, now: Timestamp) -> Result<()> {
        let connection = &scheduled.connection;
        let Some(stale) = scheduled.stale else { return Ok(()) };
        let Some(since) = self.ledger.complete_since(connection)? else { return Ok(()) };
        let old = now.duration_since(since);
        if old <= SignedDuration::try_from(stale).unwrap_or(SignedDuration::MAX) {
            return Ok(());
        }
        let message = format!("no job was complete since {since:.0}");
        let hours = stale.as_secs() / 3600;
        let detail = format!("the limit is {hours} h; bobbin jobs shows what was tried");
        self.ledger.raise_on(connection, NoticeKind::Stale, &message, Some(&detail), now)
    }

    /// Writes down how a job ended; gives whose it was.
    fn conclude(&mut self, end: Ended) -> Result<ConnectionId> {
        let Ended { connection, trigger, result } = end;
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
                if let Trigger::Slot(slot) = trigger {
                    let reason = match error.kind() {
                        ErrorKind::Conflict => {
                            "another job of the connection was running".to_owned()
                        }
                        _ => error.report(),
                    };
                    self.ledger.decide(&connection, &skipped(slot, reason, now))?;
                }
                if error.kind() != ErrorKind::Conflict {
                    let (line, all) = (error.to_string(), error.report());
                    let kind = NoticeKind::Extraction;
                    let raised = self.ledger.raise(&connection, kind, &line, Some(&all), now);
                    self.warn(Some(&connection), raised);
                }
                self.service.watcher.happened(now, &connection, Happening::Refused(error));
            }
        }
        Ok(connection)
    }

    /// Stops what runs, and waits until it has saved what was on its way, also where the ledger fails.
    fn wind_up(&mut self, heard: &Receiver<Message>) -> Result<()> {
        for running in self.running.values() {
            running.cancel.cancel();
        }
        self.warn(None, self.ledger.settle(self.ticked));
        let mut all = self.skip_the_rest();
        let deadline = Instant::now() + self.service.grace;
        while !self.running.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            match heard.recv_timeout(left) {
                Ok(Message::Ended(end)) => all = all.and(self.conclude(*end).map(drop)),
                // Its sender goes, which is the answer.
                Ok(Message::Asked(_)) => {}
                Err(_) => {
                    let names: Vec<&str> = self.running.keys().map(ConnectionId::as_str).collect();
                    return Err(Error::new(ErrorKind::Timeout, "jobs did not end in time")
                        .with("connections", names.join(", "))
                        .with("grace_seconds", self.service.grace.as_secs())
                        .hint("nothing that was saved is lost; their next jobs go on from there"));
                }
            }
        }
        all
    }

    /// Writes down the slots whose jobs do not start any more.
    fn skip_the_rest(&mut self) -> Result<()> {
        let now = self.service.clock.now();
        for (connection, slot) in self.timetable.take_owed() {
            let reason = format!("{OVERRUN}, and bobbin was stopped before one could follow");
            self.ledger.decide(&connection, &skipped(slot, reason, now))?;
        }
        for (connection, trigger) in std::mem::take(&mut self.waiting) {
            let Trigger::Slot(slot) = trigger else {
                let error = Error::new(
                    ErrorKind::Cancelled,
                    "bobbin was stopped before the turn of a job that was asked for came",
                );
                self.service.watcher.happened(now, &connection, Happening::Refused(&error));
                continue;
            };
            let reason = "bobbin was stopped before its turn came".to_owned();
            let row = skipped(slot, reason, now);
            self.ledger.decide(&connection, &row)?;
            self.service.watcher.happened(now, &connection, Happening::Slot(&row));
        }
        Ok(())
    }
}

fn skipped(slot: Timestamp, reason: String, now: Timestamp) -> SlotRow {
    SlotRow {
        slot,
        last: slot,
        count: 1,
        outcome: SlotOutcome::Skipped,
        reason: Some(reason),
        job: None,
        decided: now,
    }
}
