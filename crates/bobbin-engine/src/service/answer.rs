//! What a running service does when it is asked.
//!
//! What may fail comes first, in one transaction of the ledger; then what cannot. So whoever gets an
//! error knows that nothing has changed.

use bobbin_core::id::{ConnectionId, JobId};
use bobbin_core::{Error, ErrorKind, Result};
use jiff::{SignedDuration, Timestamp};

use super::control::{Question, Seen};
use super::{Happening, Round, Scheduled, skipped};
use crate::engine::job_id;
use crate::ledger::{OVERRUN, SlotOutcome, SlotRow, Trigger};
use crate::timetable::Missed;

/// A connection that is about to be scheduled.
pub(super) struct Planned {
    scheduled: Scheduled,
    base: Timestamp,
    decided: Timestamp,
    /// Slots that were left open, and whether a job starts for one now.
    made_up: Vec<(SlotRow, bool)>,
}

impl Round<'_> {
    /// Answers a question. An error is one of the ledger that keeps slots from being decided.
    pub(super) fn answer(&mut self, question: Question) -> Result<()> {
        let now = self.service.clock.now();
        // Slots up to now are decided by what held until now.
        self.tick(now)?;
        // Whoever asked may have gone.
        match question {
            Question::Look(answer) => {
                let _ = answer.send(self.look());
            }
            Question::Run(connection, answer) => {
                let _ = answer.send(self.run(&connection, now));
            }
            Question::Stop(connection, answer) => {
                let _ = answer.send(self.stop(&connection, now));
            }
            Question::Pause(connection, paused, answer) => {
                let _ = answer.send(self.pause(&connection, paused, now));
            }
            Question::Apply(declared, withdrawn, answer) => {
                let _ = answer.send(self.apply(&declared, &withdrawn, now));
            }
        }
        Ok(())
    }

    fn known(&self, connection: &ConnectionId) -> Result<()> {
        if self.scheduled.contains_key(connection) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, "there is no such connection"))
    }

    fn waits(&self, connection: &ConnectionId) -> Option<Trigger> {
        let mut waiting = self.waiting.iter();
        waiting.find(|(waiting, _)| waiting == connection).map(|(_, trigger)| *trigger)
    }

    fn run(&mut self, connection: &ConnectionId, now: Timestamp) -> Result<JobId> {
        self.known(connection)?;
        if self.waits(connection).is_some() || self.running.contains_key(connection) {
            return Err(Error::new(ErrorKind::Conflict, "a job of this connection is running"));
        }
        self.timetable.began(connection);
        // No two are called the same, whatever the clock does.
        let next = self.asked.checked_add(SignedDuration::from_micros(1)).unwrap_or(now);
        self.asked = now.max(next);
        self.waiting.push_back((connection.clone(), Trigger::Asked(self.asked)));
        Ok(job_id(self.asked))
    }

    fn stop(&mut self, connection: &ConnectionId, now: Timestamp) -> Result<()> {
        if let Some(running) = self.running.get(connection) {
            running.cancel.cancel();
            return Ok(());
        }
        self.known(connection)?;
        let Some(trigger) = self.waits(connection) else {
            return Err(Error::new(ErrorKind::Conflict, "no job of this connection is running"));
        };
        let why = "somebody stopped it before its turn came";
        let rows: Vec<SlotRow> = match trigger {
            Trigger::Slot(slot) => vec![skipped(slot, why.to_owned(), now)],
            Trigger::Manual | Trigger::Asked(_) => Vec::new(),
        };
        for row in &rows {
            self.ledger.decide(connection, row)?;
        }
        self.take_back(connection, rows, Some(why), now);
        self.free(connection)
    }

    fn pause(&mut self, connection: &ConnectionId, paused: bool, now: Timestamp) -> Result<()> {
        self.known(connection)?;
        let Some((scheduled, base)) = self.scheduled.get(connection) else { return Ok(()) };
        if scheduled.paused == paused {
            return Ok(());
        }
        let (scheduled, base) = (Scheduled { paused, ..scheduled.clone() }, *base);
        let rows = if paused { self.undone(connection, PAUSED, now) } else { Vec::new() };
        let decided = self.ledger.atomically("cannot pause the schedule", || {
            rows.iter().try_for_each(|row| self.ledger.decide(connection, row))?;
            self.ledger.pause(connection, paused, now)?;
            Ok(self.ledger.schedule(connection, now)?.decided)
        })?;
        self.take_back(connection, rows, None, now);
        self.plan(&scheduled, base, decided);
        self.scheduled.insert(connection.clone(), (scheduled, base));
        self.free(connection)
    }

    fn apply(
        &mut self,
        declared: &[Scheduled],
        withdrawn: &[ConnectionId],
        now: Timestamp,
    ) -> Result<()> {
        let mut withdrawn = withdrawn.to_vec();
        withdrawn.retain(|gone| declared.iter().all(|scheduled| scheduled.connection != *gone));
        let mut undone: Vec<(ConnectionId, Vec<SlotRow>)> = Vec::new();
        for gone in &withdrawn {
            undone.push((gone.clone(), self.undone(gone, WITHDRAWN, now)));
        }
        let planned = self.ledger.atomically("cannot change the schedules", || {
            let prepare = |scheduled| self.prepare(scheduled, now);
            let planned: Vec<Planned> = declared.iter().map(prepare).collect::<Result<_>>()?;
            for scheduled in planned.iter().map(|planned| &planned.scheduled) {
                if scheduled.paused {
                    let connection = scheduled.connection.clone();
                    let rows = self.undone(&connection, PAUSED, now);
                    undone.push((connection, rows));
                }
            }
            for (connection, rows) in &undone {
                rows.iter().try_for_each(|row| self.ledger.decide(connection, row))?;
            }
            Ok(planned)
        })?;
        for (connection, rows) in undone {
            let gone = withdrawn.contains(&connection).then_some(WITHDRAWN);
            self.take_back(&connection, rows, gone, now);
        }
        for gone in &withdrawn {
            self.scheduled.remove(gone);
            self.timetable.remove(gone);
        }
        for planned in planned {
            let connection = planned.scheduled.connection.clone();
            self.install(planned, now);
            self.free(&connection)?;
        }
        Ok(())
    }

    /// What the ledger keeps of a connection that is to be scheduled.
    pub(super) fn prepare(&self, scheduled: &Scheduled, now: Timestamp) -> Result<Planned> {
        let connection = &scheduled.connection;
        let kept = self.ledger.schedule(connection, now)?;
        let scheduled = Scheduled { paused: scheduled.paused || kept.paused, ..scheduled.clone() };
        let mut planned =
            Planned { scheduled, base: kept.base, decided: kept.decided, made_up: Vec::new() };
        if self.scheduled.contains_key(connection) {
            planned.decided = kept.decided.max(self.ticked);
        } else if !self.running.contains_key(connection) {
            planned.made_up = self.make_up(&planned.scheduled, now)?;
        }
        Ok(planned)
    }

    /// Slots whose jobs never began, because the process died before: one job makes up for all.
    fn make_up(&self, scheduled: &Scheduled, now: Timestamp) -> Result<Vec<(SlotRow, bool)>> {
        let connection = &scheduled.connection;
        let mut made_up = Vec::new();
        for (slot, was) in self.ledger.left_open(connection)? {
            let newest = made_up.is_empty();
            let runs = newest && scheduled.missed == Missed::RunOnce && !scheduled.paused;
            let followed = was == SlotOutcome::Skipped;
            // One that was to follow and is not the newest gave way to that.
            if followed && !newest {
                continue;
            }
            let why = if followed {
                format!("{OVERRUN}, and bobbin ended before one could follow")
            } else {
                "bobbin ended before its turn came".to_owned()
            };
            let (outcome, reason) = match (runs, followed) {
                (true, _) => (SlotOutcome::Started, format!("late: {why}")),
                (false, true) => (SlotOutcome::Skipped, why),
                (false, false) => (SlotOutcome::Missed, why),
            };
            let row = SlotRow { outcome, ..skipped(slot, reason, now) };
            self.ledger.decide(connection, &row)?;
            made_up.push((row, runs));
        }
        Ok(made_up)
    }

    /// Schedules a connection.
    pub(super) fn install(&mut self, planned: Planned, now: Timestamp) {
        let Planned { scheduled, base, decided, made_up } = planned;
        let connection = scheduled.connection.clone();
        self.plan(&scheduled, base, decided);
        if self.running.contains_key(&connection) {
            self.timetable.began(&connection);
        }
        for (row, runs) in made_up {
            self.service.watcher.happened(now, &connection, Happening::Slot(&row));
            if runs {
                self.timetable.began(&connection);
                self.waiting.push_back((connection.clone(), Trigger::Slot(row.slot)));
            }
        }
        self.scheduled.insert(connection, (scheduled, base));
    }

    /// The slots of a connection whose jobs were to start and do not, because of `why`.
    fn undone(&self, connection: &ConnectionId, why: &str, now: Timestamp) -> Vec<SlotRow> {
        let mut rows = Vec::new();
        if let Some(Trigger::Slot(slot)) = self.waits(connection) {
            rows.push(skipped(slot, format!("{why} before its turn came"), now));
        }
        if let Some(slot) = self.timetable.owed(connection) {
            let reason = format!("{OVERRUN}, and {why} before one could follow");
            rows.push(skipped(slot, reason, now));
        }
        rows
    }

    /// Takes back the jobs of slots that do not start, whose rows are in the ledger; with `refused` also
    /// one that somebody asked for.
    fn take_back(
        &mut self,
        connection: &ConnectionId,
        rows: Vec<SlotRow>,
        refused: Option<&str>,
        now: Timestamp,
    ) {
        for row in &rows {
            self.waiting.retain(|waits| *waits != (connection.clone(), Trigger::Slot(row.slot)));
            self.service.watcher.happened(now, connection, Happening::Slot(row));
        }
        if let Some(why) = refused
            && matches!(self.waits(connection), Some(Trigger::Manual | Trigger::Asked(_)))
        {
            self.waiting.retain(|(waits, _)| waits != connection);
            let error =
                Error::new(ErrorKind::Cancelled, format!("a job that was asked for: {why}"));
            self.service.watcher.happened(now, connection, Happening::Refused(&error));
        }
    }

    fn look(&self) -> Vec<Seen> {
        let seen = |(scheduled, _): &(Scheduled, Timestamp)| {
            let connection = &scheduled.connection;
            let waiting = self.waits(connection);
            let running = self.running.get(connection);
            Seen {
                connection: connection.clone(),
                schedule: scheduled.schedule.clone(),
                next: self.timetable.next(connection),
                paused: scheduled.paused,
                running_since: running.map(|running| running.since),
                waiting: waiting.is_some(),
                trigger: waiting.or(running.map(|running| running.trigger)),
            }
        };
        self.scheduled.values().map(seen).collect()
    }
}

const PAUSED: &str = "the connection was paused";

const WITHDRAWN: &str = "the connection was taken out";
