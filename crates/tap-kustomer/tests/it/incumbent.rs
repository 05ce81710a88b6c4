//! The four failures that the public Kustomer taps show, as tests of their own.

use fake_kustomer::{Config, Fault, FaultRule, Matcher, Span, Ties, When};

use crate::support::Bench;

const DAY: i64 = 86_400_000;

#[test]
fn a_good_answer_with_nothing_remaining_is_used() {
    let config = Config::tiny(1).with_fault(FaultRule {
        on: Matcher::on("search", "conversation"),
        times: Some(1),
        faults: vec![Fault::RateHeaders {
            limit: Some("100".to_owned()),
            remaining: Some("0".to_owned()),
            reset: Some("1".to_owned()),
        }],
        ..FaultRule::default()
    });
    let mut bench = Bench::new(config).set("start_date", "2024-06-01T00:00:00Z");
    let ran = bench.run();
    ran.all_complete();
    bench.compare();
    let again = ran.calls("search");
    assert_eq!(again, 6, "no page was asked for twice");
}

#[test]
fn twelve_hundred_ties_with_pages_of_five_hundred() {
    let mut config = Config::tiny(2).with_spans(
        "conversation",
        vec![Span::Plateau { count: 1_200, at: When::relative(-DAY), same_created: false }],
    );
    config.search.ties = Ties::Unstable;
    let mut bench = Bench::new(config).only(&["conversations"]).set("page_size_limit", 500);
    bench.run().all_complete();
    bench.compare();
    assert_eq!(bench.count("conversations"), 1_200);
}

#[test]
fn an_interruption_in_page_two_of_users_and_another_run() {
    let mut config = Config::tiny(3).with_count("user", 1_300);
    config.latency_ms = 5;
    let config = config.with_fault(FaultRule {
        on: Matcher { page: Some(2), ..Matcher::on("list", "user") },
        times: Some(4),
        faults: vec![Fault::CutInBody { at: 0.5 }],
        ..FaultRule::default()
    });
    let mut bench = Bench::new(config).set("max_attempts", 2);
    let ran = bench.run();
    assert_eq!(ran.ended("users").0, "failed");
    let before = bench.state.bookmarks.get(&"users".into()).cloned();
    assert_eq!(before, None, "users claim nothing");
    bench.sim.control().clear_faults();
    bench.run().all_complete();
    bench.compare_but(&[]);
    assert_eq!(bench.count("users"), 1_300);
}

#[test]
fn twelve_thousand_notes_with_a_hundred_ties_across_row_ten_thousand() {
    for ties in [Ties::Stable, Ties::Unstable] {
        let mut config = Config::tiny(4).with_spans(
            "note",
            vec![
                Span::Uniform {
                    count: 9_950,
                    from: When::relative(-300 * DAY),
                    to: When::relative(-100 * DAY),
                },
                Span::Plateau { count: 100, at: When::relative(-100 * DAY), same_created: false },
                Span::Uniform {
                    count: 1_950,
                    from: When::relative(-100 * DAY + 1),
                    to: When::relative(-DAY),
                },
            ],
        );
        config.search.ties = ties;
        let mut bench = Bench::new(config).only(&["notes"]);
        bench.run().all_complete();
        bench.compare();
        assert_eq!(bench.count("notes"), 12_000);
    }
}
