//! Many records on one millisecond.

use fake_kustomer::{Config, Span, Ties, TotalMode, When};

use crate::support::Bench;

const DAY: i64 = 86_400_000;

/// Some records before, a plateau, some records after.
fn plateau(seed: u64, stream: &str, count: u64, same_created: bool) -> Config {
    Config::tiny(seed).with_spans(
        stream,
        vec![
            Span::Uniform {
                count: 700,
                from: When::relative(-40 * DAY),
                to: When::relative(-39 * DAY),
            },
            Span::Plateau { count, at: When::relative(-30 * DAY), same_created },
            Span::Uniform {
                count: 700,
                from: When::relative(-30 * DAY + 1),
                to: When::relative(-DAY),
            },
        ],
    )
}

#[test]
fn twelve_hundred_on_one_millisecond() {
    for ties in [Ties::Stable, Ties::Unstable] {
        let mut config = plateau(1, "conversation", 1_200, false);
        config.search.ties = ties;
        let mut bench = Bench::new(config).only(&["conversations"]);
        bench.run().all_complete();
        bench.compare();
        assert_eq!(bench.count("conversations"), 2_600);
    }
}

#[test]
fn twelve_hundred_that_nothing_tells_apart_come_together_in_time() {
    let mut config = plateau(6, "conversation", 1_200, true);
    config.search.ties = Ties::Unstable;
    let mut bench = Bench::new(config).only(&["conversations"]);
    let ran = bench.run();
    println!("{} calls", ran.calls("search"));
    ran.all_complete();
    bench.compare();
}

#[test]
fn twenty_five_thousand_on_one_millisecond() {
    for (ties, total) in [
        (Ties::Stable, TotalMode::Exact),
        (Ties::Unstable, TotalMode::Exact),
        (Ties::Stable, TotalMode::Bounded),
    ] {
        let mut config = plateau(2, "message", 25_000, false);
        config.search.ties = ties;
        config.search.total = total;
        let mut bench = Bench::new(config).only(&["messages"]);
        let ran = bench.run();
        println!("{ties:?} {total:?}: {} calls", ran.calls("search"));
        ran.all_complete();
        bench.compare();
        assert_eq!(bench.count("messages"), 26_400);
    }
}

#[test]
fn an_instant_that_cannot_be_told_apart_is_named_and_the_rest_arrives() {
    let mut config = plateau(3, "message", 1_200, true);
    config.search.max_rows = 1_000;
    let mut bench =
        Bench::new(config).only(&["messages"]).set("window_cap", 1_000).set("page_size_limit", 100);
    let ran = bench.run();
    println!("{} calls", ran.calls("search"));
    let (word, reason) = ran.ended("messages");
    assert_eq!(word, "incomplete");
    assert!(reason.starts_with("instant over cap: "), "{reason}");
    assert!(reason.contains("holds 1200 records"), "{reason}");
    // As many as can be reached came, and everything before and after.
    assert!(bench.count("messages") >= 2_400, "{}", bench.count("messages"));
    let instant = bench.sim.control().now_ms() - 30 * DAY;
    assert_eq!(bench.reached("messages"), instant - 1);
    // The next run tries again, and claims no more.
    let ran = bench.run();
    assert_eq!(ran.ended("messages").0, "incomplete");
    assert_eq!(bench.reached("messages"), instant - 1);
}

#[test]
fn bounded_totals_and_small_caps_lose_nothing() {
    for (cap, size) in [(1_000, 100), (700, 500), (50, 7)] {
        let mut config = Config::tiny(5).with_count("message", 6_000);
        config.search.total = TotalMode::Bounded;
        config.search.max_rows = cap;
        let mut bench = Bench::new(config)
            .only(&["messages"])
            .set("window_cap", cap)
            .set("page_size_limit", size);
        bench.run().all_complete();
        bench.compare();
    }
}
