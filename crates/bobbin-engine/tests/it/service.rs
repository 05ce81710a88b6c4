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
use bobbin_core::{ErrorKind, Result};
use bobbin_engine::ledger::{NoticeKind, SlotOutcome, SlotRow, Trigger};
use bobbin_engine::service::{Happening, Runner, Scheduled, Service, Watcher, control};
use bobbin_engine::timetable::{Missed, Overlap};
use bobbin_engine::{Engine, Outcome, RunReport, RunRequest};
use jiff::Timestamp;

use crate::support::{Fault, Memory, Script, Step};

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
            .jobs(&scheduled.connection, 10_000)
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
        for job in ledger.jobs(&scheduled.connection, 10_000).unwrap() {
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
    let jobs = ledger.jobs(&"slow".into(), 100).unwrap();
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
    let until = |happened: &dyn Fn() -> bool| {
        let since = std::time::Instant::now();
        while !happened() {
            assert!(since.elapsed() < Duration::from_mins(1));
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let idle = || control.look().unwrap()[0].running_since.is_none();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| service.run(&scheduled, inbox, &stop));
        until(&|| runner.began.lock().unwrap().len() == 1 && idle());
        control.pause(&asked, true).unwrap();
        let seen = control.look().unwrap().remove(0);
        assert!(
            seen.paused && seen.next.is_none() && seen.schedule.to_string() == "every hour",
            "{seen:?}"
        );
        // Two hours pass without a job, but one may be asked for, and ended.
        let then = clock.now() + jiff::SignedDuration::from_hours(2);
        until(&|| clock.now() > then);
        control.run(&asked).unwrap();
        let twice = control.run(&asked).unwrap_err();
        assert_eq!(twice.kind(), ErrorKind::Conflict);
        until(&|| control.look().unwrap()[0].running_since.is_some());
        control.stop(&asked).unwrap();
        until(&idle);
        assert_eq!(control.stop(&asked).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(control.run(&"other".into()).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(runner.began.lock().unwrap()[1].1, Trigger::Manual);
        control.pause(&asked, false).unwrap();
        let next = control.look().unwrap()[0].next.unwrap();
        assert!(next > clock.now() && next < clock.now() + jiff::SignedDuration::from_hours(1));
        until(&|| runner.began.lock().unwrap().len() == 3 && idle());
        stop.cancel();
        served.join().unwrap().unwrap();
    });
    assert_eq!(control.look().unwrap_err().kind(), ErrorKind::Unavailable);
    let ledger = service.engine.ledger().unwrap();
    let slots = ledger.slots(&asked, 100).unwrap();
    assert!(slots.iter().all(|slot| slot.outcome == SlotOutcome::Started), "{slots:?}");
    let outcomes: Vec<_> =
        ledger.jobs(&asked, 10).unwrap().into_iter().map(|job| job.trigger).collect();
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
}
