//! The budget is used to the full and never overrun.

use std::time::{Duration, Instant};

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::clock::SystemClock;
use bobbin_core::id::StreamName;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::report::Event;
use bobbin_core::selection::{Selection, StreamSelection};
use bobbin_core::state::State;
use bobbin_core::tap::{Context, Output, SyncRequest, Tap};
use fake_kustomer::{
    Config, Fault, FaultRule, Matcher, RateAlgorithm, RateHeaders, ResetUnit, Simulator,
};
use serde_json::json;
use tap_kustomer::metadata::CustomAttributes;
use tap_kustomer::streams;
use tap_kustomer::tap::KustomerTap;

use crate::support::{Bench, Events};

/// Counts and forgets.
#[derive(Default)]
struct Count(u64);

impl Output for Count {
    fn schema(&mut self, _: &Stream) -> bobbin_core::Result<()> {
        Ok(())
    }
    fn records(&mut self, _: &StreamName, records: Records<'_>) -> bobbin_core::Result<()> {
        self.0 += records.count;
        Ok(())
    }
    fn rejected(&mut self, _: &StreamName, _: &Rejected) -> bobbin_core::Result<()> {
        Ok(())
    }
    fn state(&mut self, _: &State) -> bobbin_core::Result<()> {
        Ok(())
    }
}

/// Reads messages in small pages under a budget that passes sixty times as fast.
fn paced(change: impl FnOnce(&mut Config)) -> (Duration, usize, usize) {
    let mut config = Config::tiny(1).with_count("message", 12_000);
    config.clock.frozen = false;
    config.rate.factor = 60.0;
    config.latency_ms = 300;
    change(&mut config);
    let sim = Simulator::start(config).unwrap();
    let settings = json!({
        "api_url": sim.url(), "api_token": sim.token(), "start_date": "2024-06-01T00:00:00Z",
        "rate_factor": 60, "page_size_limit": 40,
    });
    let tap = KustomerTap::new(tap_kustomer::config::Config::from_json(&settings).unwrap());
    let events = Events::default();
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &events };
    let resource = streams::resource("messages").unwrap();
    let catalog =
        Catalog { streams: vec![streams::stream(resource, &CustomAttributes::default())] };
    let mut selection = Selection::default();
    selection
        .streams
        .insert("messages".into(), StreamSelection { selected: true, ..Default::default() });
    let state = State::default();
    let request = SyncRequest { catalog: &catalog, selection: &selection, state: &state };
    let mut out = Count::default();
    let start = Instant::now();
    tap.sync(&cx, &request, &mut out).unwrap();
    let elapsed = start.elapsed();
    assert_eq!(out.0, 12_000);
    let events = events.0.into_inner().unwrap();
    let statuses = |wanted: u16| {
        events
            .iter()
            .filter(|event| matches!(event, Event::Call { status: Some(s), .. } if *s == wanted))
            .count()
    };
    (elapsed, statuses(200), statuses(429))
}

#[test]
fn with_latency_the_whole_share_is_used_without_a_refusal() {
    // A minute with sixty times the calls, and a minute that lasts a second.
    for (headers, algorithm, short_minutes) in [
        (RateHeaders::Absent, RateAlgorithm::FixedWindow),
        (RateHeaders::Org, RateAlgorithm::FixedWindow),
        (RateHeaders::Tightest, RateAlgorithm::FixedWindow),
        (RateHeaders::Tightest, RateAlgorithm::LeakyBucket),
    ]
    .into_iter()
    .flat_map(|(headers, algorithm)| [(headers, algorithm, false), (headers, algorithm, true)])
    {
        let (elapsed, calls, refused) = paced(|config| {
            if short_minutes {
                config.clock.factor = 60.0;
                config.rate.factor = 1.0;
            }
            config.rate.headers = headers;
            config.rate.algorithm = algorithm;
        });
        // 100 searches a minute, sixty times as fast, four fifths of them.
        let granted = 80.0;
        let ideal = calls as f64 / granted;
        println!(
            "{headers:?} {algorithm:?} {short_minutes}: {calls} calls in {elapsed:?}, ideal {ideal:.2} s"
        );
        assert_eq!(refused, 0);
        assert!(calls as f64 <= 300.0 * 1.05 + 3.0, "{calls} calls");
        // Four answers follow each other before the pace is reached: the time, once more to be
        // sure, the first page, and the first page of a window that fits.
        assert!(elapsed.as_secs_f64() <= ideal * 1.05 + 1.5, "{elapsed:?}");
        assert!(elapsed.as_secs_f64() >= (calls as f64 - 12.0) / 100.0);
    }
}

#[test]
fn a_refusal_is_waited_out_and_loses_nothing() {
    for unit in [ResetUnit::EpochSeconds, ResetUnit::SecondsFromNow, ResetUnit::EpochMilliseconds] {
        let mut config = Config::tiny(2);
        config.rate.reset = unit;
        let config = config.with_fault(FaultRule {
            on: Matcher::on("search", "message"),
            times: Some(2),
            faults: vec![Fault::Status {
                status: 429,
                body: fake_kustomer::FaultBody::Empty,
                retry_after: Some("1".to_owned()),
            }],
            ..FaultRule::default()
        });
        let mut bench = Bench::new(config).only(&["messages"]).set("rate_factor", 10);
        let ran = bench.run();
        ran.all_complete();
        bench.compare();
        assert_eq!(ran.with_status(429), 2);
        assert!(ran.events.iter().any(|event| matches!(event, Event::RateWait { .. })));
    }
}
