//! What is foretold is what a run then reads.

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::SystemClock;
use bobbin_core::forecast::{Counted, Forecast};
use bobbin_core::report::NoLog;
use bobbin_core::selection::Selection;
use bobbin_core::tap::{Context, Tap};
use fake_kustomer::{Bounds, Config, Token, TotalMode};
use serde_json::json;

use crate::support::{Bench, Events, STREAMS};

fn foretold(bench: &Bench, start: Option<&str>) -> (Forecast, usize) {
    let (cancel, events) = (Cancel::new(), Events::default());
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &events };
    let start = start.map(|start| start.parse().unwrap());
    let forecast = bench.tap().forecast(&cx, start, &Selection::all()).unwrap().unwrap();
    let calls = events.0.into_inner().unwrap().len();
    (forecast, calls)
}

/// Of every stream as many records as the oracle holds, and about the calls that a run makes, for the cost of
/// some twenty; within two years and beyond them.
#[test]
fn f104_records_are_foretold_exactly_and_calls_nearly() {
    for start in ["2020-01-01T00:00:00Z", "2025-09-01T00:00:00Z"] {
        let config = Config::tiny(5).with_count("message", 23_000).with_count("customer", 1_700);
        let mut bench = Bench::new(config).set("start_date", start);
        let (forecast, asked) = foretold(&bench, None);
        assert!(asked <= 45, "{asked} events");
        let ran = bench.run();
        ran.all_complete();
        let from = start.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        for (stream, name) in STREAMS {
            let told = forecast.streams.iter().find(|told| told.stream.as_str() == stream).unwrap();
            let list = ["users", "teams", "tags", "shortcuts"].contains(&stream);
            let until_ms = (!list).then(|| bench.reached(stream) + 1);
            let from_ms = (!list).then_some(from);
            let held = bench.sim.oracle().summary(name, Bounds { from_ms, until_ms }).unwrap();
            assert_eq!(told.records, held.count, "{start} {stream}: {told:?}");
            let calls = ran.calls_of(stream) as f64;
            let near = calls * 0.85 - 2.0..=calls * 1.15 + 2.0;
            assert!(near.contains(&(told.calls as f64)), "{start} {stream}: {told:?}, {calls}");
            assert!(told.records == 0 || told.bytes / told.records > 100, "{told:?}");
        }
    }
}

#[test]
fn where_the_api_stops_counting_an_estimate_is_called_one() {
    let mut config = Config::tiny(6).with_count("message", 60_000);
    config.search.total = TotalMode::Bounded;
    let bench = Bench::new(config);
    let (forecast, _) = foretold(&bench, Some("2024-06-01T00:00:00Z"));
    let of =
        |name: &str| forecast.streams.iter().find(|told| told.stream.as_str() == name).unwrap();
    assert_eq!(of("messages").counted, Counted::Estimated);
    let held = bench.sim.oracle().summary("message", Bounds::all()).unwrap().count;
    let told = of("messages").records;
    assert!(told > held / 3 && told < held * 3, "{told} of {held}");
    assert_eq!(of("customers").counted, Counted::Exactly);
    assert_eq!(forecast.counted(), Counted::Estimated);
}

#[test]
fn minutes_are_those_of_the_granted_rate() {
    let bench = Bench::new(Config::tiny(7).with_count("message", 9_000))
        .set("search_per_minute", 100)
        .set("organization_per_minute", 1000);
    let (forecast, _) = foretold(&bench, None);
    let of =
        |name: &str| forecast.streams.iter().find(|told| told.stream.as_str() == name).unwrap();
    let messages = of("messages");
    let expected = messages.calls as f64 / 80.0;
    assert!((messages.minutes.unwrap() - expected).abs() < 0.01, "{messages:?}");
    let searches: u64 = forecast.streams[4..].iter().map(|told| told.calls).sum();
    assert!((forecast.minutes.unwrap() - searches as f64 / 80.0).abs() < 0.01, "{forecast:?}");
}

#[test]
fn what_may_not_be_read_is_named_with_its_role() {
    let mut config = Config::tiny(8);
    let roles = ["org.permission.search.create", "org.permission.user.read"];
    config.tokens = vec![Token::with_roles("sim-token", &roles)];
    let mut bench = Bench::new(config);
    bench.settings["api_token"] = json!("sim-token");
    let (forecast, _) = foretold(&bench, None);
    assert_eq!(forecast.streams.len(), 6, "{forecast:?}");
    let tags = forecast.unreadable.iter().find(|(stream, _)| stream.as_str() == "tags").unwrap();
    assert!(tags.1.contains("org.permission.tag.read"), "{tags:?}");

    bench.settings["api_token"] = json!("wrong");
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    bench.tap().forecast(&cx, None, &Selection::all()).unwrap_err();
}
