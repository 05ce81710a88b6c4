//! Days with far fewer or more rows than usual, as a service sees them in what real jobs loaded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::{Clock, FastClock};
use bobbin_core::id::ConnectionId;
use bobbin_core::schedule::{Schedule, Settings};
use bobbin_core::{Error, Result};
use bobbin_engine::ledger::{Notice, NoticeKind, SlotRow, Trigger};
use bobbin_engine::service::{Happening, Runner, Scheduled, Service, Watcher, control};
use bobbin_engine::timetable::{Missed, Overlap};
use bobbin_engine::{Engine, Outcome, RunReport};
use jiff::{SignedDuration, Timestamp};

use crate::support::{Memory, Step, run_at};

/// Nothing is due while the service looks.
struct Idle;

impl Runner for Idle {
    fn run(&self, _: &ConnectionId, _: Trigger, _: &Cancel) -> Result<RunReport> {
        Err(Error::bug("no job is due"))
    }
}

impl Watcher for Idle {
    fn happened(&self, _: Timestamp, _: &ConnectionId, what: Happening<'_>) {
        if let Happening::Slot(SlotRow { slot, .. }) = what {
            panic!("a slot at {slot}");
        }
    }

    fn warned(&self, _: Timestamp, _: Option<&ConnectionId>, error: &Error) {
        panic!("{}", error.report());
    }
}

/// Lets a service look at an instant until `done` is true of its notices.
fn look(engine: &Engine, at: Timestamp, done: &dyn Fn(&[Notice]) -> bool) {
    let service = Service {
        engine: engine.clone(),
        clock: Arc::new(FastClock::new(at, 1)) as Arc<dyn Clock>,
        runner: Arc::new(Idle),
        watcher: Arc::new(Idle),
        most_jobs: 1,
        grace: Duration::from_secs(1),
    };
    let cron = Some("0 0 3 1 1 ? 2090".to_owned());
    let scheduled = [Scheduled {
        connection: "test".into(),
        schedule: Schedule::of(&Settings { cron, ..Settings::default() }).unwrap(),
        overlap: Overlap::Skip,
        missed: Missed::Skip,
        paused: false,
        limit: Duration::from_hours(24),
        stale: None,
        watch_rows: true,
    }];
    let stop = Cancel::new();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| service.run(&scheduled, control().1, &stop));
        let ledger = engine.ledger().unwrap();
        let since = Instant::now();
        let mut notices = ledger.notices(true, 10).unwrap();
        while !done(&notices) && since.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(5));
            notices = ledger.notices(true, 10).unwrap();
        }
        stop.cancel();
        running.join().unwrap().unwrap();
        assert!(done(&notices), "at {at}: {notices:#?}");
    });
}

#[test]
fn a_day_with_far_fewer_or_more_rows_is_a_notice_until_the_next_ordinary_one() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, memory) = (Engine::new(directory.path()), Memory::default());
    let midnight: Timestamp = "2024-05-01T00:00:00Z".parse().unwrap();
    let hour =
        |day: usize, hour: i64| midnight + SignedDuration::from_hours(24 * day as i64 + hour);
    let mut loaded: Vec<u64> = Vec::new();
    let mut day = |rows: u64| {
        let at = FastClock::new(hour(loaded.len(), 12), 1);
        loaded.push(rows);
        // What no job before it has brought.
        let steps = loaded.iter().zip(1..);
        let steps = steps.flat_map(|(rows, n)| [Step::Records("a", 0..*rows), Step::State(n)]);
        let report = run_at(&at, &engine, &steps.collect::<Vec<_>>(), &memory).unwrap();
        assert_eq!(report.outcome, Outcome::Complete, "{report:?}");
        let told: u64 = report.tables.iter().map(|table| table.loaded).sum();
        assert_eq!(told, rows);
        loaded.len()
    };
    for rows in [500, 480, 520, 500, 510, 490, 500, 505] {
        day(rows);
    }
    for (rows, raised) in [(20, 1), (495, 1), (6_000, 2), (505, 2)] {
        let days = day(rows);
        let unusual = rows == 20 || rows == 6_000;
        look(&engine, hour(days, 1), &|notices| {
            let newest = notices.first();
            notices.len() == raised
                && newest.is_some_and(|notice| notice.recovered_at.is_none() == unusual)
        });
        let newest = engine.ledger().unwrap().notices(true, 1).unwrap().remove(0);
        assert_eq!(newest.kind, NoticeKind::Unusual);
        if unusual {
            let date = hour(days - 1, 0).strftime("%Y-%m-%d").to_string();
            let said = format!("{rows} rows were loaded on {date}, of late it was 500 a day");
            assert_eq!(newest.message, said);
            assert!(newest.raised_at >= hour(days, 1));
        }
    }
    assert!(engine.ledger().unwrap().notices(false, 10).unwrap().is_empty());
}
