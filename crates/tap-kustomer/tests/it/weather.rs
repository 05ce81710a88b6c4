//! Records that move while they are read, show up late, or lie behind the horizon.

use fake_kustomer::{
    Activity, Config, Fault, FaultRule, Hook, Matcher, Mutation, Pick, Span, When,
};

use crate::support::Bench;

const DAY: i64 = 86_400_000;

#[test]
fn a_bulk_edit_while_paging_loses_nothing() {
    for (seed, requests) in [(1, 2), (2, 5), (3, 9), (4, 12)] {
        let mut config = Config::tiny(seed).with_count("conversation", 8_000);
        config.hooks.push(Hook {
            on: Matcher::on("search", "conversation"),
            requests,
            every: None,
            advance_ms: 1_000,
            mutations: vec![Mutation::update("conversation", Pick::Random(1_500))],
        });
        let mut bench = Bench::new(config).only(&["conversations"]);
        bench.run().all_complete();
        bench.compare_but(&[]);
        bench.sim.control().advance(600_000);
        bench.run().all_complete();
        bench.compare_but(&[]);
        assert_eq!(bench.count("conversations"), 8_000);
    }
}

#[test]
fn single_edits_during_every_page_lose_nothing() {
    let mut config = Config::tiny(5).with_count("message", 9_000);
    config.hooks.push(Hook {
        on: Matcher::on("search", "message"),
        requests: 1,
        every: Some(1),
        advance_ms: 10,
        mutations: vec![Mutation::update("message", Pick::Oldest(1))],
    });
    config.hooks.push(Hook {
        on: Matcher::on("search", "message"),
        requests: 3,
        every: Some(2),
        advance_ms: 10,
        mutations: vec![Mutation::update("message", Pick::Random(3))],
    });
    let mut bench = Bench::new(config).only(&["messages"]);
    for _ in 0..3 {
        bench.run().all_complete();
        bench.compare_but(&[]);
        bench.sim.control().advance(600_000);
    }
    assert_eq!(bench.count("messages"), 9_000);
}

#[test]
fn records_that_become_visible_late_arrive_in_a_later_run() {
    let mut config = Config::tiny(6).with_count("message", 2_000);
    config.search.max_lag_ms = 45_000;
    config.clock.frozen = false;
    config.clock.factor = 600.0;
    config.activity.push(Activity {
        per_minute: 20.0,
        mutation: Mutation::update("message", Pick::Random(1)),
    });
    let mut bench = Bench::new(config).only(&["messages"]);
    for _ in 0..6 {
        bench.run().all_complete();
        bench.sim.control().advance(120_000);
    }
    bench.sim.control().freeze(true);
    bench.sim.control().advance(3_600_000);
    bench.run().all_complete();
    bench.compare_but(&[]);
}

#[test]
fn what_lies_behind_the_horizon_comes_from_the_archive() {
    let mut config = Config::tiny(7);
    for stream in ["customer", "conversation", "message", "kobject_ecomm-order"] {
        config.spans.insert(stream.to_owned(), old_and_new());
    }
    let mut bench = Bench::new(config)
        .only(&["customers", "conversations", "messages", "kobjects"])
        .set("start_date", "2015-01-01T00:00:00Z");
    let ran = bench.run();
    ran.all_complete();
    bench.compare();
    assert!(ran.calls("archive") >= 4);
    // Bookmarked beyond the horizon, the archive is not asked any more.
    let ran = bench.run();
    ran.all_complete();
    assert_eq!(ran.calls("archive"), 0);
}

fn old_and_new() -> Vec<Span> {
    vec![Span::Uniform {
        count: 3_000,
        from: When::relative(-1_400 * DAY),
        to: When::relative(-DAY),
    }]
}

#[test]
fn records_that_cross_the_horizon_while_they_are_read_arrive() {
    for requests in 1..8 {
        let mut config = Config::tiny(12).with_spans(
            "message",
            vec![
                Span::Uniform {
                    count: 900,
                    from: When::relative(-800 * DAY),
                    to: When::relative(-740 * DAY),
                },
                Span::Uniform {
                    count: 900,
                    from: When::relative(-730 * DAY),
                    to: When::relative(-730 * DAY + 60_000),
                },
                Span::Uniform {
                    count: 900,
                    from: When::relative(-700 * DAY),
                    to: When::relative(-DAY),
                },
            ],
        );
        config.hooks.push(Hook {
            on: Matcher::default(),
            requests,
            every: None,
            advance_ms: 30_000,
            mutations: Vec::new(),
        });
        let mut bench = Bench::new(config)
            .only(&["messages"])
            .set("start_date", "2015-01-01T00:00:00Z")
            .set("page_size_limit", 250);
        bench.run().all_complete();
        bench.compare();
        assert_eq!(bench.count("messages"), 2_700);
    }
}

#[test]
fn old_notes_come_from_their_list() {
    let config = Config::tiny(8).with_spans("note", old_and_new());
    let mut bench = Bench::new(config).only(&["notes"]).set("start_date", "2015-01-01T00:00:00Z");
    let ran = bench.run();
    ran.all_complete();
    bench.compare();
    assert_eq!(bench.count("notes"), 3_000);
    assert!(ran.calls("GET /v1/notes") >= 30);
}

#[test]
fn without_an_archive_the_gap_is_named_and_the_rest_arrives() {
    let config =
        Config::tiny(9).with_spans("message", old_and_new()).with_fault(FaultRule::always(
            Matcher { endpoint: Some("archive".to_owned()), ..Matcher::default() },
            Fault::status(404),
        ));
    let mut bench = Bench::new(config)
        .only(&["messages", "conversations"])
        .set("start_date", "2015-01-01T00:00:00Z");
    let ran = bench.run();
    let (word, reason) = ran.ended("messages");
    assert_eq!(word, "incomplete");
    assert!(reason.contains("two years"), "{reason}");
    assert!(bench.count("messages") > 1_500);
    assert!(bench.reached("messages") < 1_425_000_000_000);
}

#[test]
fn new_attributes_are_announced_before_their_records() {
    let mut bench = Bench::new(Config::tiny(10));
    bench.run().all_complete();
    for (round, hidden) in [(1, false), (2, true)] {
        bench.sim.control().advance(600_000);
        for stream in ["conversation", "customer"] {
            bench
                .sim
                .control()
                .mutate(&Mutation::AddAttribute {
                    stream: stream.to_owned(),
                    name: format!("shipped{round}At"),
                    value: None,
                    backfill: false,
                    hidden,
                })
                .unwrap();
            bench.sim.control().mutate(&Mutation::update(stream, Pick::Random(30))).unwrap();
        }
        bench.sim.control().advance(600_000);
        bench.run().all_complete();
        let conversations = &bench.replica.schemas["conversations"];
        let custom = conversations.fields.property("custom").unwrap().object().unwrap();
        let name = format!("shipped{round}_at");
        assert!(
            custom
                .properties
                .iter()
                .any(|(field, _)| *field == name || *field == format!("shipped_{round}_at")),
            "{:?}",
            custom.properties.iter().map(|(name, _)| name).collect::<Vec<_>>()
        );
    }
    assert!(bench.replica.unannounced.is_empty());
}

#[test]
fn soft_deleted_records_arrive_with_their_mark() {
    let mut bench = Bench::new(Config::tiny(11)).only(&["notes", "conversations", "tags"]);
    bench.run().all_complete();
    bench.sim.control().advance(600_000);
    for stream in ["note", "conversation", "tag"] {
        let delete = Mutation::Delete {
            stream: stream.to_owned(),
            pick: Pick::Random(5),
            soft: true,
            bump: true,
        };
        bench.sim.control().mutate(&delete).unwrap();
    }
    bench.sim.control().advance(600_000);
    bench.run().all_complete();
    bench.compare_but(&[]);
}
