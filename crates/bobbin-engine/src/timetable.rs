//! Which connection's job is due, decided from given instants: no clock, no thread, no disk.
//!
//! Every slot of a schedule ends as exactly one [`Decision`]: its job starts, or the slot is skipped
//! because a job of the connection is still running, or it is missed because nobody was there to see
//! it. None goes without a trace (`stitch-behaviour.md` 2.6, 12.1).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bobbin_core::id::ConnectionId;
use bobbin_core::schedule::Schedule;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What becomes of a slot while a job of the connection is running.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is skipped; the next slot counts (F-17).
    #[default]
    Skip,
    /// It is skipped, and a job starts as soon as the running one has ended; one, however many slots
    /// were skipped.
    RunOnceFree,
}

/// What becomes of slots that passed while the service was not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// The latest of them is run on return, late; the others are missed.
    #[default]
    RunOnce,
    /// All are missed; the next slot counts.
    Skip,
}

/// How a connection is scheduled.
#[derive(Clone, Debug)]
pub struct Plan {
    /// When its jobs are due.
    pub schedule: Schedule,
    /// When its first job was due: what a frequency counts from.
    pub base: Timestamp,
    /// What becomes of slots while a job is running.
    pub overlap: Overlap,
    /// What becomes of slots that nobody saw.
    pub missed: Missed,
    /// No slot counts while it is set (F-08).
    pub paused: bool,
}

/// What to do now, or what to write down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// A job of the connection is to start.
    Start {
        /// Whose.
        connection: ConnectionId,
        /// The slot it is for.
        slot: Timestamp,
        /// Why it starts now and not at its slot, where it does not.
        late: Option<Late>,
    },
    /// A slot came while a job was running.
    Skipped {
        /// Whose.
        connection: ConnectionId,
        /// The slot.
        slot: Timestamp,
        /// Whether a job follows as soon as the running one has ended.
        owed: bool,
    },
    /// Slots passed and nobody was there.
    Missed {
        /// Whose.
        connection: ConnectionId,
        /// The first of them.
        first: Timestamp,
        /// The last of them.
        last: Timestamp,
        /// How many.
        count: u64,
    },
}

/// Why a job starts later than its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// The service was not running, or asleep.
    Away,
    /// A job of the connection was still running.
    WasRunning,
}

/// A slot that is decided later than this after it was due counts as late.
const PUNCTUAL: SignedDuration = SignedDuration::from_secs(60);

/// The slots of all connections.
#[derive(Default, Debug)]
pub struct Timetable {
    entries: BTreeMap<ConnectionId, Entry>,
    /// Slots to come, nearest first. An entry whose slot moved on leaves a stale one behind.
    queue: BinaryHeap<Reverse<(Timestamp, ConnectionId)>>,
}

#[derive(Debug)]
struct Entry {
    plan: Plan,
    next: Option<Timestamp>,
    running: bool,
    owed: Option<Timestamp>,
}

impl Timetable {
    /// Schedules a connection, in place of what was planned for it. Slots up to `decided` are settled;
    /// those after it are still to be, even where they have passed. Gives the slot whose job was to
    /// follow the running one, where a pause takes that away.
    pub fn set(
        &mut self,
        connection: &ConnectionId,
        plan: Plan,
        decided: Timestamp,
    ) -> Option<Timestamp> {
        let before = self.entries.get(connection);
        let running = before.is_some_and(|entry| entry.running);
        let owed = before.and_then(|entry| entry.owed);
        let (owed, taken) = if plan.paused { (None, owed) } else { (owed, None) };
        let next = if plan.paused { None } else { plan.schedule.next(plan.base, decided) };
        if let Some(next) = next {
            self.queue.push(Reverse((next, connection.clone())));
        }
        let entry = Entry { plan, next, running, owed };
        self.entries.insert(connection.clone(), entry);
        taken
    }

    /// Schedules it no more. Gives the slot whose job was to follow the running one.
    pub fn remove(&mut self, connection: &ConnectionId) -> Option<Timestamp> {
        self.entries.remove(connection)?.owed
    }

    /// The slot of a connection whose job is to follow the running one.
    pub fn owed(&self, connection: &ConnectionId) -> Option<Timestamp> {
        self.entries.get(connection)?.owed
    }

    /// A job of the connection runs, however it was started.
    pub fn began(&mut self, connection: &ConnectionId) {
        if let Some(entry) = self.entries.get_mut(connection) {
            entry.running = true;
        }
    }

    /// Its job ended. Gives the job that was owed meanwhile.
    pub fn ended(&mut self, connection: &ConnectionId) -> Option<Decision> {
        let entry = self.entries.get_mut(connection)?;
        entry.running = false;
        let slot = entry.owed.take()?;
        entry.running = true;
        Some(Decision::Start { connection: connection.clone(), slot, late: Some(Late::WasRunning) })
    }

    /// The jobs that were to follow those that are running, which nobody starts any more.
    pub fn take_owed(&mut self) -> Vec<(ConnectionId, Timestamp)> {
        let owed = self.entries.iter_mut();
        owed.filter_map(|(connection, entry)| Some((connection.clone(), entry.owed.take()?)))
            .collect()
    }

    /// The next slot of a connection; none while it is paused or has none (F-31).
    pub fn next(&self, connection: &ConnectionId) -> Option<Timestamp> {
        self.entries.get(connection)?.next
    }

    /// When [`tick`](Self::tick) has something to decide next.
    pub fn wake(&mut self) -> Option<Timestamp> {
        while let Some(Reverse((slot, connection))) = self.queue.peek() {
            if self.entries.get(connection).is_some_and(|entry| entry.next == Some(*slot)) {
                return Some(*slot);
            }
            self.queue.pop();
        }
        None
    }

    /// Decides every slot that is due at `now`. A connection whose job is to start counts as running
    /// from then on.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Decision> {
        let mut decisions = Vec::new();
        while self.wake().is_some_and(|slot| slot <= now) {
            let Some(Reverse((_, connection))) = self.queue.pop() else { break };
            let Some(entry) = self.entries.get_mut(&connection) else { continue };
            entry.decide(&connection, now, &mut decisions);
            if let Some(next) = entry.next {
                self.queue.push(Reverse((next, connection)));
            }
        }
        decisions
    }
}

impl Entry {
    fn decide(&mut self, connection: &ConnectionId, now: Timestamp, decisions: &mut Vec<Decision>) {
        let Some(first) = self.next else { return };
        let (mut last, mut count, mut before) = (first, 1_u64, None);
        while let Some(next) = self.plan.schedule.next(self.plan.base, last).filter(|n| *n <= now) {
            before = Some(last);
            last = next;
            count += 1;
        }
        self.next = self.plan.schedule.next(self.plan.base, last);
        let connection = connection.clone();
        let away = now.duration_since(last) > PUNCTUAL;
        let runs_late = self.plan.missed == Missed::RunOnce;
        let missed =
            |last, count| Decision::Missed { connection: connection.clone(), first, last, count };
        if self.running {
            if let Some(before) = before {
                decisions.push(missed(before, count - 1));
            }
            let owed = self.plan.overlap == Overlap::RunOnceFree;
            if owed {
                self.owed = Some(last);
            }
            decisions.push(Decision::Skipped { connection, slot: last, owed });
        } else if away && !runs_late {
            decisions.push(missed(last, count));
        } else {
            if let Some(before) = before {
                decisions.push(missed(before, count - 1));
            }
            self.running = true;
            decisions.push(Decision::Start {
                connection,
                slot: last,
                late: away.then_some(Late::Away),
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use bobbin_core::schedule::Settings;

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2024-05-01T{text}:00Z").parse().unwrap()
    }

    fn plan(minutes: u32, base: &str) -> Plan {
        let settings = Settings { frequency_minutes: Some(minutes), ..Settings::default() };
        Plan {
            schedule: Schedule::of(&settings).unwrap(),
            base: at(base),
            overlap: Overlap::Skip,
            missed: Missed::RunOnce,
            paused: false,
        }
    }

    fn connection() -> ConnectionId {
        ConnectionId::from("kustomer")
    }

    /// A timetable with one connection, all of whose slots are to come.
    fn table(plan: Plan) -> Timetable {
        let mut table = Timetable::default();
        let before = plan.base - SignedDuration::from_secs(1);
        table.set(&connection(), plan, before);
        table
    }

    fn start(slot: &str, late: Option<Late>) -> Decision {
        Decision::Start { connection: connection(), slot: at(slot), late }
    }

    fn skipped(slot: &str, owed: bool) -> Decision {
        Decision::Skipped { connection: connection(), slot: at(slot), owed }
    }

    fn missed(first: &str, last: &str, count: u64) -> Decision {
        Decision::Missed { connection: connection(), first: at(first), last: at(last), count }
    }

    #[test]
    fn f17_a_slot_that_comes_while_a_job_runs_is_skipped_and_told() {
        let mut table = table(plan(60, "02:30"));
        assert_eq!(table.tick(at("02:29")), []);
        assert_eq!(table.tick(at("02:30")), [start("02:30", None)]);
        assert_eq!(table.ended(&connection()), None);
        assert_eq!(table.wake(), Some(at("03:30")));
        assert_eq!(table.tick(at("03:30")), [start("03:30", None)]);
        assert_eq!(table.tick(at("04:30")), [skipped("04:30", false)]);
        assert_eq!(table.ended(&connection()), None);
        assert_eq!(table.tick(at("05:29")), []);
        assert_eq!(table.tick(at("05:30")), [start("05:30", None)]);
    }

    #[test]
    fn a_skipped_slot_may_be_run_as_soon_as_the_running_job_ended() {
        let mut table = table(Plan { overlap: Overlap::RunOnceFree, ..plan(60, "02:30") });
        table.tick(at("02:30"));
        assert_eq!(table.tick(at("03:30")), [skipped("03:30", true)]);
        assert_eq!(table.tick(at("04:30")), [skipped("04:30", true)]);
        assert_eq!(table.ended(&connection()), Some(start("04:30", Some(Late::WasRunning))));
        assert_eq!(table.ended(&connection()), None);
        assert_eq!(table.tick(at("05:30")), [start("05:30", None)]);
        table.tick(at("06:30"));
        assert_eq!(table.take_owed(), [(connection(), at("06:30"))]);
        assert_eq!(table.ended(&connection()), None);
    }

    /// Whoever was told that a job follows is told when none does.
    #[test]
    fn a_job_that_was_to_follow_is_given_back_when_a_pause_or_a_removal_takes_it_away() {
        let free = || Plan { overlap: Overlap::RunOnceFree, ..plan(60, "02:30") };
        for paused in [true, false] {
            let mut table = table(free());
            table.tick(at("02:30"));
            assert_eq!(table.tick(at("03:30")), [skipped("03:30", true)]);
            assert_eq!(table.owed(&connection()), Some(at("03:30")));
            assert_eq!(table.set(&connection(), free(), at("03:30")), None, "it stays");
            let taken = if paused {
                table.set(&connection(), Plan { paused, ..free() }, at("03:30"))
            } else {
                table.remove(&connection())
            };
            assert_eq!(taken, Some(at("03:30")));
            assert_eq!((table.owed(&connection()), table.ended(&connection())), (None, None));
        }
    }

    #[test]
    fn slots_that_nobody_saw_are_missed_and_the_last_of_them_is_run_once() {
        let mut table = table(plan(30, "02:30"));
        assert_eq!(
            table.tick(at("04:20")),
            [missed("02:30", "03:30", 3), start("04:00", Some(Late::Away))]
        );
        assert_eq!(table.next(&connection()), Some(at("04:30")));
        let mut strict = super::tests::table(Plan { missed: Missed::Skip, ..plan(30, "02:30") });
        assert_eq!(strict.tick(at("04:20")), [missed("02:30", "04:00", 4)]);
        assert_eq!(strict.tick(at("04:30")), [start("04:30", None)]);
    }

    #[test]
    fn f27_a_job_by_hand_takes_the_place_and_leaves_the_grid() {
        let mut table = table(plan(60, "02:30"));
        table.began(&connection());
        assert_eq!(table.tick(at("02:30")), [skipped("02:30", false)]);
        table.ended(&connection());
        assert_eq!(table.tick(at("03:30")), [start("03:30", None)]);
    }

    #[test]
    fn f08_a_pause_is_without_slots_and_a_changed_plan_counts_at_once() {
        let mut table = table(Plan { paused: true, ..plan(60, "02:30") });
        assert_eq!(table.wake(), None);
        assert_eq!(table.tick(at("12:00")), []);
        table.set(&connection(), plan(60, "02:30"), at("12:00"));
        assert_eq!(table.next(&connection()), Some(at("12:30")));
        table.set(&connection(), plan(60, "02:45"), at("12:00"));
        assert_eq!(table.tick(at("12:30")), []);
        assert_eq!(table.tick(at("12:45")), [start("12:45", None)]);
        // What runs goes on running, whatever is planned anew.
        table.set(&connection(), plan(60, "02:50"), at("12:45"));
        assert_eq!(table.tick(at("12:50")), [skipped("12:50", false)]);
        assert_eq!(table.remove(&connection()), None);
        assert_eq!(table.wake(), None);
    }
}
