//! In calm weather: everything arrives once, with as few calls as can be.

use bobbin_core::report::Event;
use fake_kustomer::{Config, Mutation, Pick};

use crate::support::Bench;

#[test]
fn a_first_run_brings_everything_and_a_second_nothing() {
    let mut bench = Bench::new(Config::tiny(1));
    bench.run().all_complete();
    bench.compare();
    assert_eq!(bench.count("conversations"), 300);
    let received = bench.replica.received;
    let ran = bench.run();
    ran.all_complete();
    // Only the small lists come again.
    let again = bench.replica.received - received;
    assert!(again < 150, "{again}");
    assert_eq!(ran.calls("search"), 5);
}

#[test]
fn changes_between_runs_arrive() {
    let mut bench = Bench::new(Config::tiny(2));
    bench.run().all_complete();
    for _ in 0..3 {
        bench.sim.control().advance(3_600_000);
        for stream in ["customer", "conversation", "message", "note", "kobject"] {
            let update = Mutation::update(stream, Pick::Random(20));
            bench.sim.control().mutate(&update).unwrap();
        }
        bench.sim.control().advance(3_600_000);
        bench.run().all_complete();
        bench.compare_but(&[]);
    }
}

#[test]
fn more_than_ten_thousand_in_one_window() {
    let config = Config::tiny(3).with_count("message", 34_567);
    let mut bench = Bench::new(config).only(&["messages"]);
    let ran = bench.run();
    ran.all_complete();
    bench.compare();
    assert_eq!(bench.count("messages"), 34_567);
    let fewest = 34_567_usize.div_ceil(500);
    let calls = ran.calls("search");
    assert!(calls as f64 <= fewest as f64 * 1.05 + 1.0, "{calls} of {fewest}");
    // All of them are told before the first, though no window holds all.
    let told = ran.events.iter().filter_map(|event| match event {
        Event::StreamTotal { total, .. } => Some(*total),
        _ => None,
    });
    assert_eq!(told.max(), Some(34_567));
}
