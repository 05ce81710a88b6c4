//! A service over days of simulated time: every slot is accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::{Clock, FastClock};
use bobbin_core::id::ConnectionId;
use bobbin_core::report::NoLog;
use bobbin_core::schedule::{Schedule, Settings};
use bobbin_core::tap::Context;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_engine::ledger::{NoticeKind, SlotOutcome, SlotRow, Trigger};
use bobbin_engine::service::{Control, Happening, Runner, Scheduled, Service, Watcher, control};
use bobbin_engine::timetable::{Missed, Overlap};
use bobbin_engine::{Engine, Outcome, RunReport, RunRequest};
use jiff::Timestamp;

use crate::support::{Fault, Memory, Script, Step, alter};

const START: &str = "2024-05-01T00:00:00Z";

fn start() -> Timestamp {
    START.parse().unwrap()
}

/// Real jobs, some of which take hours of simulated time, some of which fail.
struct Jobs {
    engine: Engine,
    clock: Arc<FastClock>,
    memories: BTreeMap<ConnectionId, Memory>,
    takes: fn(u64) -> u64,
    began: Mutex<Vec<(ConnectionId, Trigger)>>,
}

impl Runner for Jobs {
    fn run(
        &self,
        connection: &ConnectionId,
        trigger: Trigger,
        cancel: &Cancel,
    ) -> Result<RunReport> {
        let number = {
            let mut began = self.began.lock().unwrap();
            began.push((connection.clone(), trigger));
            began.len() as u64
        };
        let minutes = (self.takes)(number);
        let _ = cancel.sleep(self.clock.real(jiff::SignedDuration::from_mins(minutes as i64)));
        let memory = &self.memories[connection];
        // What no job before it has brought.
        let step = |n| [Step::Records("a", 0..3), Step::Records("b", 0..2), Step::State(n)];
        let steps: Vec<Step> = (1..=number).flat_map(step).collect();
        let cx = Context { clock: &*self.clock, cancel, log: &NoLog };
        self.engine.run(
            cx,
            RunRequest {
                connection,
                schema: &connection.as_str().into(),
                tap: &mut Script {
                    steps,
                    memory: memory.clone(),
                    spool: self.engine.home().into(),
                },
                destination: memory,
                selection: &bobbin_core::selection::Selection::all(),
                trigger,
                part: None,
            },
        )
    }
}

/// A service in a directory of its own, for one connection whose jobs take so many minutes.
fn served(
    directory: &tempfile::TempDir,
    clock: &Arc<FastClock>,
    connection: &str,
    takes: fn(u64) -> u64,
) -> (Service, Arc<Jobs>, Arc<Notes>) {
    let engine = Engine::new(directory.path());
    let runner = Arc::new(Jobs {
        engine: engine.clone(),
        clock: Arc::clone(clock),
        memories: [(connection.into(), Memory::default())].into(),
        takes,
        began: Mutex::default(),
    });
    let notes = Arc::new(Notes::default());
    let service = Service {
        engine,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        runner: Arc::clone(&runner) as Arc<dyn Runner>,
        watcher: Arc::clone(&notes) as Arc<dyn Watcher>,
        most_jobs: 2,
        grace: Duration::from_mins(1),
    };
    (service, runner, notes)
}

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Watcher for Notes {
    fn happened(&self, _: Timestamp, connection: &ConnectionId, what: Happening<'_>) {
        let word = match what {
            Happening::Slot(row) => row.outcome.word().to_owned(),
            Happening::Ended(report) => report.outcome.word().to_owned(),
            Happening::Refused(error) => error.report(),
            Happening::TooLong(_) => "too long".to_owned(),
        };
        self.0.lock().unwrap().push(format!("{connection}: {word}"));
    }

    fn warned(&self, _: Timestamp, _: Option<&ConnectionId>, error: &Error) {
        self.0.lock().unwrap().push(format!("warning: {error}"));
    }
}

impl Notes {
    fn has(&self, part: &str) -> bool {
        self.0.lock().unwrap().iter().any(|note| note.contains(part))
    }
}

/// Waits for something, not for ever.
fn until(what: &str, happened: &dyn Fn() -> bool) {
    let since = std::time::Instant::now();
    while !happened() {
        assert!(since.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn scheduled(name: &str, settings: Settings, overlap: Overlap) -> Scheduled {
    Scheduled {
        connection: name.into(),
        schedule: Schedule::of(&settings).unwrap(),
        overlap,
        missed: Missed::RunOnce,
        paused: false,
        limit: Duration::from_hours(24),
        stale: None,
        watch_rows: false,
    }
}

fn every(minutes: u32) -> Settings {
    Settings { frequency_minutes: Some(minutes), ..Settings::default() }
}

fn cron(text: &str) -> Settings {
    Settings { cron: Some(text.to_owned()), ..Settings::default() }
}

/// Every slot of the time is in the ledger exactly once, and each that started has its job.
fn assert_accounted(service: &Service, scheduled: &[Scheduled], until: Timestamp) {
    let ledger = service.engine.ledger().unwrap();
    for scheduled in scheduled {
        let kept = ledger.schedule(&scheduled.connection, until).unwrap();
        // What was due before the service first saw the connection is not its own.
        let before = kept.base - jiff::SignedDuration::from_nanos(1);
        let expected: Vec<Timestamp> = scheduled
            .schedule
            .slots(kept.base, before)
            .take_while(|slot| *slot <= kept.decided)
            .collect();
        assert!(!expected.is_empty());
        let next = scheduled.schedule.next(kept.base, kept.decided).unwrap();
        assert!(next > until - jiff::SignedDuration::from_mins(30), "{next} was not decided");
        let jobs: BTreeSet<_> = ledger
            .jobs(&scheduled.connection, None, 10_000)
            .unwrap()
            .into_iter()
            .map(|job| job.id)
            .collect();
        let mut found = Vec::new();
        for row in ledger.slots(&scheduled.connection, 10_000).unwrap() {
            let within = expected.iter().filter(|slot| (row.slot..=row.last).contains(*slot));
            let within: Vec<_> = within.copied().collect();
            assert_eq!(within.len(), row.count as usize, "{}: {row:?}", scheduled.connection);
            found.extend(within);
            match row.outcome {
                SlotOutcome::Started => assert!(jobs.contains(&row.job.unwrap())),
                SlotOutcome::Skipped | SlotOutcome::Missed => assert!(row.reason.is_some()),
            }
        }
        found.sort_unstable();
        assert_eq!(found, expected, "{}", scheduled.connection);
    }
}

#[test]
fn a_day_of_overruns_failures_and_restarts_leaves_no_slot_without_a_word() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(FastClock::new(start(), 10_000));
    let scheduled = [
        scheduled("half_hours", every(30), Overlap::Skip),
        scheduled("hours", every(60), Overlap::RunOnceFree),
        scheduled("anchored", Settings { anchor: Some(start()), ..every(120) }, Overlap::Skip),
        scheduled("cron", cron("0 10,40 * ? * *"), Overlap::RunOnceFree),
        scheduled("minutes", every(7), Overlap::Skip),
    ];
    let mut engine = Engine::new(directory.path());
    engine.rows_per_commit = Some(4);
    engine.rounds.retry_wait = Duration::from_millis(1);
    let memories: BTreeMap<ConnectionId, Memory> = scheduled
        .iter()
        .map(|scheduled| (scheduled.connection.clone(), Memory::default()))
        .collect();
    for (n, memory) in memories.values().enumerate() {
        // Some rounds fail for a while, one for good.
        let faults = [ErrorKind::Unavailable, ErrorKind::Permission];
        memory.faults.lock().unwrap().push(Fault::Commit(2 + n as u64, faults[n % 2]));
    }
    let runner = Arc::new(Jobs {
        engine: engine.clone(),
        clock: Arc::clone(&clock),
        memories: memories.clone(),
        takes: |number| [1, 5, 20, 45, 3, 100, 12][number as usize % 7],
        began: Mutex::default(),
    });
    let notes = Arc::new(Notes::default());
    let mut service = Service {
        engine,
        clock: clock.clone(),
        runner: runner.clone(),
        watcher: notes.clone(),
        most_jobs: 3,
        grace: Duration::from_mins(1),
    };
    let end = start() + jiff::SignedDuration::from_hours(24);
    let mut restarts = 0;
    while clock.now() < end {
        let stop = Cancel::new();
        let stopper = stop.clone();
        let run_for = clock.real(jiff::SignedDuration::from_mins(197));
        let timer = std::thread::spawn(move || {
            std::thread::sleep(run_for);
            stopper.cancel();
        });
        service.run(&scheduled, control().1, &stop).unwrap();
        timer.join().unwrap();
        restarts += 1;
        // Away for a while.
        std::thread::sleep(clock.real(jiff::SignedDuration::from_mins(31)));
    }
    assert!(restarts > 3, "{restarts}");
    service.most_jobs = 8;
    // Once more, so that what was missed last is decided, too.
    let stop = Cancel::new();
    let stopper = stop.clone();
    let timer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        stopper.cancel();
    });
    let until = clock.now();
    service.run(&scheduled, control().1, &stop).unwrap();
    timer.join().unwrap();
    assert_accounted(&service, &scheduled, until);

    let words = notes.0.lock().unwrap().join("\n");
    for word in ["started", "skipped", "missed", "complete", "failed"] {
        assert!(words.contains(word), "nothing was {word}:\n{words}");
    }
    // Nothing is left of any job, and each replica is whole.
    let ledger = service.engine.ledger().unwrap();
    for scheduled in &scheduled {
        for job in ledger.jobs(&scheduled.connection, None, 10_000).unwrap() {
            assert!(job.ended && job.report.is_some(), "{job:?}");
        }
        assert_eq!(memories[&scheduled.connection].durable.lock().unwrap().rows.len(), 5);
    }
}

#[test]
fn f29_a_job_that_takes_too_long_is_stopped_and_the_next_comes_by_schedule() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(FastClock::new(start(), 20_000));
    let scheduled = [Scheduled {
        limit: Duration::from_hours(3),
        ..scheduled("slow", every(60), Overlap::Skip)
    }];
    let takes = |number| if number == 1 { 100_000 } else { 1 };
    let (service, runner, notes) = served(&directory, &clock, "slow", takes);
    let stop = Cancel::new();
    let (stopper, watched) = (stop.clone(), runner.clone());
    let timer = std::thread::spawn(move || {
        let since = std::time::Instant::now();
        while watched.began.lock().unwrap().len() < 3 && since.elapsed() < Duration::from_mins(1) {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(50));
        stopper.cancel();
    });
    service.run(&scheduled, control().1, &stop).unwrap();
    timer.join().unwrap();
    assert!(notes.0.lock().unwrap().contains(&"slow: too long".to_owned()));
    let ledger = service.engine.ledger().unwrap();
    let jobs = ledger.jobs(&"slow".into(), None, 100).unwrap();
    assert_eq!(jobs.last().unwrap().report.as_ref().unwrap().outcome, Outcome::Interrupted);
    assert!(jobs.len() >= 2, "{jobs:?}");
    let slots = ledger.slots(&"slow".into(), 100).unwrap();
    assert!(slots.iter().any(|row| row.outcome == SlotOutcome::Skipped), "{slots:?}");
    assert_accounted(&service, &scheduled, start());
}

/// As after a crash: the ledger says that a job was to start, and it never began.
#[test]
fn a_slot_whose_job_never_began_is_made_up_for() {
    for missed in [Missed::RunOnce, Missed::Skip] {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(FastClock::new(start(), 1));
        let scheduled = [Scheduled { missed, ..scheduled("late", every(1440), Overlap::Skip) }];
        let (service, ..) = served(&directory, &clock, "late", |_| 0);
        let late: ConnectionId = "late".into();
        let slot = {
            let ledger = service.engine.ledger().unwrap();
            let slot = ledger.schedule(&late, clock.now()).unwrap().base;
            let outcome = SlotOutcome::Started;
            let (reason, job) = (None, None);
            let row = SlotRow { slot, last: slot, count: 1, outcome, reason, job, decided: slot };
            ledger.decide(&late, &row).unwrap();
            slot
        };
        let stop = Cancel::new();
        std::thread::scope(|scope| {
            let served = scope.spawn(|| service.run(&scheduled, control().1, &stop));
            let ledger = service.engine.ledger().unwrap();
            let since = std::time::Instant::now();
            loop {
                let row = ledger.slots(&late, 1).unwrap().remove(0);
                let made_up = row.slot == slot
                    && match missed {
                        Missed::RunOnce => row.job.is_some(),
                        Missed::Skip => row.outcome == SlotOutcome::Missed,
                    };
                if made_up {
                    break;
                }
                assert!(since.elapsed() < Duration::from_mins(1), "{row:?}");
                std::thread::sleep(Duration::from_millis(5));
            }
            // Two services over one directory would both decide.
            let second = service.run(&scheduled, control().1, &Cancel::new()).unwrap_err();
            assert_eq!(second.kind(), ErrorKind::Conflict);
            stop.cancel();
            served.join().unwrap().unwrap();
        });
    }
}

/// As after a crash in the midst of overruns: whoever was told that a job comes gets one, or a word why not.
#[test]
fn slots_that_a_crash_left_open_are_closed_by_one_job() {
    use SlotOutcome::{Missed as Gone, Skipped, Started};
    const OVERRUN: &str = "the job before it was still running";
    const FOLLOWS: &str =
        "the job before it was still running; one follows as soon as that has ended";
    const STOPPED: &str =
        "the job before it was still running, and bobbin was stopped before one could follow";
    const TURN: &str = "bobbin ended before its turn came";
    const COULD: &str = "and bobbin ended before one could follow";
    // What the ledger holds, oldest first (with a job or not), and what becomes of it.
    type Rows = &'static [(SlotOutcome, &'static str, bool)];
    let cases: [(Missed, Rows, Rows); 8] = [
        (
            Missed::RunOnce,
            &[(Started, "", false), (Skipped, OVERRUN, false)],
            &[(Started, TURN, true), (Skipped, OVERRUN, false)],
        ),
        (
            Missed::Skip,
            &[(Started, "", false), (Skipped, OVERRUN, false)],
            &[(Gone, TURN, false), (Skipped, OVERRUN, false)],
        ),
        (
            Missed::RunOnce,
            &[(Started, "", true), (Skipped, FOLLOWS, false), (Skipped, FOLLOWS, false)],
            &[(Started, "", true), (Skipped, FOLLOWS, false), (Started, COULD, true)],
        ),
        (
            Missed::Skip,
            &[(Started, "", true), (Skipped, FOLLOWS, false)],
            &[(Started, "", true), (Skipped, COULD, false)],
        ),
        (
            Missed::RunOnce,
            &[(Started, "", false), (Skipped, FOLLOWS, false)],
            &[(Gone, TURN, false), (Started, COULD, true)],
        ),
        // Both gave way to one that was taken back in order.
        (
            Missed::RunOnce,
            &[(Started, "", true), (Skipped, FOLLOWS, false), (Skipped, STOPPED, false)],
            &[(Started, "", true), (Skipped, FOLLOWS, false), (Skipped, STOPPED, false)],
        ),
        // It was to follow still, when others were not any more.
        (
            Missed::RunOnce,
            &[(Started, "", true), (Skipped, FOLLOWS, false), (Skipped, OVERRUN, false)],
            &[(Started, "", true), (Started, COULD, true), (Skipped, OVERRUN, false)],
        ),
        // It followed, and that is long ago.
        (
            Missed::RunOnce,
            &[(Skipped, FOLLOWS, false), (Started, "late", true)],
            &[(Skipped, FOLLOWS, false), (Started, "late", true)],
        ),
    ];
    for (missed, before, after) in cases {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(FastClock::new(start(), 1));
        let scheduled = [Scheduled { missed, ..scheduled("open", every(1440), Overlap::Skip) }];
        let (service, runner, _) = served(&directory, &clock, "open", |_| 0);
        let open: ConnectionId = "open".into();
        let ledger = service.engine.ledger().unwrap();
        let base = ledger.schedule(&open, clock.now()).unwrap().base;
        ledger.settle(clock.now()).unwrap();
        for ((outcome, reason, job), n) in before.iter().zip(1..) {
            let slot = base + jiff::SignedDuration::from_hours(n - 9);
            let reason = (!reason.is_empty()).then(|| (*reason).to_owned());
            let (last, count, decided) = (slot, 1, slot);
            let row = SlotRow { slot, last, count, outcome: *outcome, reason, job: None, decided };
            ledger.decide(&open, &row).unwrap();
            if *job {
                let id = format!("job_{n}");
                let lease = ledger.lease(&open, "here", slot, slot).unwrap();
                ledger
                    .begin(&lease, &id.as_str().into(), slot, Trigger::Slot(slot), false)
                    .unwrap();
            }
        }
        let jobs = after.iter().zip(before).filter(|(after, before)| after.2 != before.2).count();
        while_served(&service, &scheduled, |control| {
            let idle =
                |seen: &bobbin_engine::service::Seen| seen.running_since.is_none() && !seen.waiting;
            let began = || runner.began.lock().unwrap().len();
            until("done", &|| began() == jobs && idle(&control.look().unwrap()[0]));
        })
        .unwrap();
        let mut rows = ledger.slots(&open, 10).unwrap();
        rows.reverse();
        assert_eq!(rows.len(), after.len(), "{rows:?}");
        for (row, (outcome, reason, job)) in rows.iter().zip(after) {
            let told = row.reason.as_deref().unwrap_or_default();
            let same = (row.outcome, row.job.is_some()) == (*outcome, *job);
            assert!(same && told.contains(reason), "{missed:?} {before:?}: {rows:?}");
        }
    }
}

#[test]
fn f08_f26_f27_f28_a_running_service_runs_stops_and_pauses_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(FastClock::new(start(), 1000));
    let scheduled = [scheduled("asked", every(60), Overlap::Skip)];
    let takes = |number| if number == 2 { 100_000 } else { 1 };
    let (service, runner, _) = served(&directory, &clock, "asked", takes);
    let (control, inbox) = control();
    let stop = Cancel::new();
    let asked: ConnectionId = "asked".into();
    let idle = || control.look().unwrap()[0].running_since.is_none();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| service.run(&scheduled, inbox, &stop));
        until("asked", &|| runner.began.lock().unwrap().len() == 1 && idle());
        control.pause(&asked, true).unwrap();
        let seen = control.look().unwrap().remove(0);
        assert!(
            seen.paused && seen.next.is_none() && seen.schedule.to_string() == "every hour",
            "{seen:?}"
        );
        // Two hours pass without a job, but one may be asked for, and ended.
        let then = clock.now() + jiff::SignedDuration::from_hours(2);
        until("asked", &|| clock.now() > then);
        let job = control.run(&asked).unwrap();
        let twice = control.run(&asked).unwrap_err();
        assert_eq!(twice.kind(), ErrorKind::Conflict);
        until("asked", &|| control.look().unwrap()[0].running_since.is_some());
        control.stop(&asked).unwrap();
        until("idle", &idle);
        assert_eq!(control.stop(&asked).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(control.run(&"other".into()).unwrap_err().kind(), ErrorKind::NotFound);
        let trigger = runner.began.lock().unwrap()[1].1;
        let Trigger::Asked(at) = trigger else { panic!("{trigger:?}") };
        assert_eq!(job.as_str(), at.strftime("%Y%m%dT%H%M%S%.6fZ").to_string());
        control.pause(&asked, false).unwrap();
        let next = control.look().unwrap()[0].next.unwrap();
        assert!(next > clock.now() && next < clock.now() + jiff::SignedDuration::from_hours(1));
        until("asked", &|| runner.began.lock().unwrap().len() == 3 && idle());
        stop.cancel();
        served.join().unwrap().unwrap();
    });
    assert_eq!(control.look().unwrap_err().kind(), ErrorKind::Unavailable);
    let ledger = service.engine.ledger().unwrap();
    let slots = ledger.slots(&asked, 100).unwrap();
    assert!(slots.iter().all(|slot| slot.outcome == SlotOutcome::Started), "{slots:?}");
    let outcomes: Vec<_> =
        ledger.jobs(&asked, None, 10).unwrap().into_iter().map(|job| job.trigger).collect();
    assert_eq!(outcomes.last().unwrap(), "schedule");
    assert!(outcomes.contains(&"manual".to_owned()));
}

/// Ends a service also when its test fails.
struct Stops<'a>(&'a Cancel);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// F-91 and beyond: jobs that fail, and tables that get old, are notices until they are over.
#[test]
fn f91_failures_and_old_tables_are_notices_until_a_job_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(FastClock::new(start(), 10_000));
    let (service, runner, _) = served(&directory, &clock, "hourly", |_| 1);
    let memory = runner.memories.values().next().unwrap();
    // Complete at once, then six hours of failures.
    let faults = (2..=7).map(|n| Fault::Commit(n, ErrorKind::Permission));
    memory.faults.lock().unwrap().extend(faults);
    let stale = Some(Duration::from_hours(3));
    let scheduled = [Scheduled { stale, ..scheduled("hourly", every(60), Overlap::Skip) }];
    let stop = Cancel::new();
    let open = || -> Vec<NoticeKind> {
        let notices = service.engine.ledger().unwrap().notices(false, 10).unwrap();
        notices.into_iter().map(|notice| notice.kind).collect()
    };
    let mut seen = BTreeSet::new();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| service.run(&scheduled, control().1, &stop));
        let _stops = Stops(&stop);
        let end = start() + jiff::SignedDuration::from_hours(9);
        while clock.now() < end {
            seen.extend(open().into_iter().map(NoticeKind::word));
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.cancel();
        running.join().unwrap().unwrap();
    });
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["loading", "stale"]);
    assert_eq!(open(), [], "{:?}", service.engine.ledger().unwrap().notices(true, 10));
    let all = service.engine.ledger().unwrap().notices(true, 10).unwrap();
    let loading = all.iter().find(|notice| notice.kind == NoticeKind::Loading).unwrap();
    assert_eq!(loading.times, 6, "{loading:?}");
    assert!(loading.detail.as_deref().unwrap().contains("commit fails as scripted"));
    // Looked at every minute, counted every hour.
    let stale = all.iter().find(|notice| notice.kind == NoticeKind::Stale).unwrap();
    assert!((1..=5).contains(&stale.times), "{stale:?}");
}

/// A service in a directory of its own, and what it did, while `during` asks it.
fn while_served(
    service: &Service,
    scheduled: &[Scheduled],
    during: impl FnOnce(&Control),
) -> Result<()> {
    let (control, inbox) = control();
    let stop = Cancel::new();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| service.run(scheduled, inbox, &stop));
        let stops = Stops(&stop);
        during(&control);
        drop(stops);
        served.join().unwrap()
    })
}

/// What nobody has to decide about does not end the service: it is told, and goes on.
#[test]
fn a_notice_that_cannot_be_written_down_is_told_and_the_service_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(FastClock::new(start(), 10_000));
    let (service, runner, notes) = served(&directory, &clock, "hourly", |_| 1);
    let ledger = service.engine.ledger().unwrap();
    ledger.schedule(&"elsewhere".into(), start()).unwrap();
    alter(
        directory.path(),
        "CREATE TRIGGER full BEFORE INSERT ON notices BEGIN SELECT RAISE(ABORT, 'no room'); END;
         CREATE TRIGGER fuller BEFORE UPDATE ON schedules WHEN OLD.connection = 'elsewhere'
         BEGIN SELECT RAISE(ABORT, 'no room'); END",
    );
    let stale = Some(Duration::from_hours(1));
    let elsewhere =
        Scheduled { stale, ..scheduled("elsewhere", cron("0 0 0 1 1 ?"), Overlap::Skip) };
    let scheduled =
        [Scheduled { stale, ..scheduled("hourly", every(60), Overlap::Skip) }, elsewhere];
    let began = || runner.began.lock().unwrap().len();
    while_served(&service, &scheduled, |_| {
        until("jobs", &|| began() > 3);
        for told in ["write down a notice", "settle the schedules"] {
            until(told, &|| notes.has(told));
        }
        // Every slot is decided all the same, and what was not settled is, as soon as it can be.
        let then = began();
        alter(directory.path(), "DROP TRIGGER fuller; DROP TRIGGER full");
        until("more jobs", &|| began() > then + 1);
        let decided = || ledger.schedule(&"elsewhere".into(), start()).unwrap().decided;
        until("settled", &|| decided() > start() + jiff::SignedDuration::from_hours(1));
    })
    .unwrap();
    let settling = notes.0.lock().unwrap().iter().filter(|note| note.contains("settle")).count();
    assert_eq!(settling, 1, "told once, tried again");
}

/// Somebody who asks a lot takes no slot away.
#[test]
fn a_connection_that_is_declared_again_and_again_loses_no_slot() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(FastClock::new(start(), 50_000));
    let (service, ..) = served(&directory, &clock, "busy", |_| 0);
    let scheduled = [scheduled("busy", every(1), Overlap::Skip)];
    let mut last = start();
    while_served(&service, &scheduled, |control| {
        for _ in 0..200 {
            control.declare(scheduled[0].clone()).unwrap();
        }
        last = clock.now();
    })
    .unwrap();
    assert_accounted(&service, &scheduled, last);
}

/// A slot whose job was to come, and does not, leaves a row that says so.
#[test]
fn jobs_that_wait_or_were_to_follow_are_taken_back_with_a_word() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(FastClock::new(start(), 10_000));
    let (mut service, runner, notes) = served(&directory, &clock, "long", |_| 1_000_000);
    service.most_jobs = 1;
    let waiting = |name: &str| scheduled(name, every(100_000), Overlap::Skip);
    let all = [
        scheduled("long", every(60), Overlap::RunOnceFree),
        waiting("m_paused"),
        waiting("n_stopped"),
        waiting("o_declared"),
        waiting("p_asked"),
        waiting("q_goes"),
    ];
    let ledger = service.engine.ledger().unwrap();
    let newest = |name: &str| ledger.slots(&name.into(), 1).unwrap().into_iter().next();
    let reason = |name: &str| newest(name).and_then(|row| row.reason).unwrap_or_default();
    while_served(&service, &all, |control| {
        let looks = |name: &str| {
            let all = control.look().unwrap();
            all.into_iter().find(|seen| seen.connection.as_str() == name).unwrap()
        };
        until("running", &|| looks("long").running_since.is_some() && looks("q_goes").waiting);
        until("owed", &|| reason("long").contains("one follows"));

        control.pause(&"m_paused".into(), true).unwrap();
        assert!(
            reason("m_paused").contains("was paused before its turn"),
            "{}",
            reason("m_paused")
        );
        assert_eq!(newest("m_paused").unwrap().outcome, SlotOutcome::Skipped);
        assert!(!looks("m_paused").waiting);
        // Asked for, it waits again, and a pause leaves it.
        control.run(&"m_paused".into()).unwrap();
        control.pause(&"m_paused".into(), false).unwrap();
        control.pause(&"m_paused".into(), true).unwrap();
        assert!(looks("m_paused").waiting);

        control.stop(&"n_stopped".into()).unwrap();
        assert!(reason("n_stopped").contains("stopped it before its turn"));
        assert_eq!(control.stop(&"n_stopped".into()).unwrap_err().kind(), ErrorKind::Conflict);
        control.run(&"n_stopped".into()).unwrap();
        control.stop(&"n_stopped".into()).unwrap();
        assert!(notes.has("n_stopped: a job that was asked for"), "{:?}", notes.0);

        let paused = Scheduled { paused: true, ..all[3].clone() };
        control.declare(paused).unwrap();
        assert!(reason("o_declared").contains("was paused before its turn"));

        control.stop(&"p_asked".into()).unwrap();
        control.run(&"p_asked".into()).unwrap();
        let gone = ["p_asked".into(), "q_goes".into()];
        control.apply(Vec::new(), gone.to_vec()).unwrap();
        assert!(notes.has("p_asked: a job that was asked for: the connection was taken"));
        assert!(reason("q_goes").contains("was taken out before its turn"));

        // The row that promised a job says what became of it.
        control.pause(&"long".into(), true).unwrap();
        let row = newest("long").unwrap();
        assert_eq!(row.outcome, SlotOutcome::Skipped);
        assert!(reason("long").contains("was paused before one could follow"), "{row:?}");
        control.stop(&"long".into()).unwrap();
        until("stopped", &|| looks("long").running_since.is_none());
        control.pause(&"long".into(), false).unwrap();
        let slots = || ledger.slots(&"long".into(), 100).unwrap();
        until("goes on", &|| looks("long").running_since.is_some());
        until("owed again", &|| reason("long").contains("one follows"));
        control.withdraw(&"long".into()).unwrap();
        assert!(reason("long").contains("was taken out before one could follow"), "{:?}", slots());
    })
    .unwrap();
    let began: Vec<_> = runner.began.lock().unwrap().iter().map(|(c, _)| c.to_string()).collect();
    assert!(began.iter().all(|name| ["long", "m_paused"].contains(&name.as_str())), "{began:?}");
}

/// Connections come and go together, or everything stays as it was.
#[test]
fn what_is_applied_is_applied_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(FastClock::new(start(), 1000));
    let (service, ..) = served(&directory, &clock, "old", |_| 1_000_000);
    let rare = |name: &str| scheduled(name, cron("0 0 0 1 1 ?"), Overlap::Skip);
    let full = "CREATE TRIGGER full BEFORE INSERT ON schedules WHEN NEW.connection = 'bad'
                BEGIN SELECT RAISE(ABORT, 'no room'); END";
    while_served(&service, &[rare("old"), rare("other")], |control| {
        let names = || {
            let seen = control.look().unwrap().into_iter();
            seen.map(|seen| (seen.connection.to_string(), seen.paused)).collect::<Vec<_>>()
        };
        let before = names();
        alter(directory.path(), full);
        let paused = Scheduled { paused: true, ..rare("other") };
        let declared = vec![rare("new"), paused, rare("bad")];
        let error = control.apply(declared.clone(), vec!["old".into()]).unwrap_err();
        assert!(error.report().contains("no room"), "{error:?}");
        assert_eq!(names(), before);
        let ledger = service.engine.ledger().unwrap();
        assert_eq!(ledger.base(&"new".into()).unwrap(), None, "kept of what was not done");
        alter(directory.path(), "DROP TRIGGER full");
        control.apply(declared, vec!["old".into(), "new".into()]).unwrap();
        let now = [("bad", false), ("new", false), ("other", true)];
        assert_eq!(names(), now.map(|(name, paused)| (name.to_owned(), paused)));
    })
    .unwrap();
}

/// After a crash nothing runs for ever; what runs elsewhere is left alone.
#[test]
fn jobs_of_processes_that_are_gone_are_ended_when_a_service_starts() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(FastClock::new(start(), 1));
    let (service, ..) = served(&directory, &clock, "served", |_| 0);
    let ledger = service.engine.ledger().unwrap();
    let (gone, runs): (ConnectionId, ConnectionId) = ("gone".into(), "runs".into());
    for connection in [&gone, &runs] {
        let lease = ledger.lease(connection, "here", start(), start()).unwrap();
        ledger.begin(&lease, &"job".into(), start(), Trigger::Manual, false).unwrap();
    }
    let spool = directory.path().join("spool");
    let _runs = bobbin_engine::spool::Spool::open(&spool, &runs).unwrap();
    let rare = [scheduled("served", cron("0 0 0 1 1 ?"), Overlap::Skip)];
    while_served(&service, &rare, |control| drop(control.look().unwrap())).unwrap();
    let status = |connection| ledger.jobs(connection, None, 1).unwrap()[0].status();
    assert_eq!((status(&gone), status(&runs)), ("abrupt", "running"));
}
