//! Whatever goes wrong on the way: nothing is lost, and what cannot be had is said.

use std::time::Instant;

use fake_kustomer::{Config, Fault, FaultRule, Hostile, Matcher, Poison};

use crate::support::Bench;

/// Every kind of fault, with what a test can wait for.
fn every_fault() -> Vec<Fault> {
    let mut faults = Fault::transient();
    faults.extend([
        Fault::CutInBody { at: 0.99 },
        Fault::StallBody { at: 0.5, ms: 20 },
        Fault::Drip { bytes: 100_000, ms: 1 },
        Fault::Slow { ms: 20 },
        Fault::NullData,
        Fault::TimedOut { keep: 0 },
        Fault::DuplicateInPage,
        Fault::DuplicateAcrossPages,
        Fault::MissingRows { count: 3 },
        Fault::Unsorted,
        Fault::WrongTotal { by: 5 },
        Fault::WrongTotal { by: -5 },
        Fault::ShrinkingTotal { by: 1 },
        Fault::NextLoop,
        Fault::NextMissing,
        Fault::RepeatPage,
        Fault::RateHeaders {
            limit: Some("many".to_owned()),
            remaining: Some("-1".to_owned()),
            reset: Some("soon".to_owned()),
        },
        Fault::SkewedDate { seconds: -3600 },
        Fault::SkewedDate { seconds: 3600 },
        Fault::Bom,
    ]);
    faults
}

/// Faults that hold a budget back for a second at least: struck less often.
fn holds(fault: &Fault) -> bool {
    matches!(fault, Fault::RemainingZero | Fault::Status { status: 429, .. })
}

/// Lists have no total and no mark of a time-out: what is missing from their end cannot be seen.
fn unseen_in_lists(fault: &Fault) -> bool {
    matches!(fault, Fault::TimedOut { .. } | Fault::MissingRows { .. })
}

fn world(seed: u64) -> Config {
    let mut config = Config::tiny(seed);
    config.counts.insert("message".to_owned(), 2_300);
    config.counts.insert("user".to_owned(), 230);
    config.counts.insert("tag".to_owned(), 230);
    config
}

fn bench(config: Config) -> Bench {
    // Rate headers of a simulated clock that stands still say nothing about waiting.
    Bench::new(config)
        .only(&["users", "tags", "conversations", "messages"])
        .set("rate_factor", 100)
        .set("page_size_limit", 200)
}

#[test]
fn each_fault_once_on_every_kind_of_call_loses_nothing() {
    for fault in every_fault() {
        let start = Instant::now();
        let mut config = world(1);
        for on in [
            Matcher::on("search", "message"),
            Matcher { page: Some(3), ..Matcher::on("search", "message") },
            Matcher::on("list", "user"),
            Matcher { page: Some(2), ..Matcher::on("list", "tag") },
        ] {
            if unseen_in_lists(&fault) && on.endpoint.as_deref() == Some("list") {
                continue;
            }
            config = config.with_fault(FaultRule::once(on, fault.clone()));
        }
        let mut bench = bench(config);
        let ran = bench.run();
        println!("{:?}: {:?}, {} calls", fault, start.elapsed(), ran.calls(""));
        ran.all_complete();
        bench.compare();
    }
}

#[test]
fn each_fault_in_a_third_of_all_answers_loses_nothing() {
    for (n, fault) in every_fault().into_iter().enumerate() {
        let start = Instant::now();
        let part = if holds(&fault) { 0.05 } else { 0.3 };
        let mut rule = FaultRule::random(part, n as u64, vec![fault.clone()]);
        if unseen_in_lists(&fault) {
            rule.on.endpoint = Some("search".to_owned());
        }
        let mut bench = bench(world(2).with_fault(rule));
        let ran = bench.run();
        println!("{:?}: {:?}, {} calls", fault, start.elapsed(), ran.calls(""));
        ran.outcomes.as_ref().unwrap();
        // A date an hour ahead in a third of all answers may put the bookmark ahead, too.
        if !matches!(fault, Fault::SkewedDate { .. }) {
            for stream in ["users", "tags", "conversations", "messages"] {
                let (word, reason) = ran.ended(stream);
                assert!(word == "complete" || word == "incomplete", "{stream} {word}: {reason}");
                assert_eq!(word, "complete", "{stream}: {reason}");
            }
        }
        bench.compare();
    }
}

#[test]
fn all_faults_together_in_a_third_of_all_answers_lose_nothing() {
    for seed in 0..5 {
        let faults: Vec<Fault> = every_fault()
            .into_iter()
            .filter(|fault| !holds(fault) && !unseen_in_lists(fault))
            .filter(|fault| !matches!(fault, Fault::SkewedDate { .. }))
            .collect();
        let mut bench = bench(world(seed).with_fault(FaultRule::random(0.3, seed, faults)));
        let ran = bench.run();
        ran.all_complete();
        bench.compare();
    }
}

#[test]
fn a_poisoned_record_is_set_aside_and_its_neighbours_arrive() {
    let poisons = [
        Poison::LoneSurrogate,
        Poison::InvalidUtf8,
        Poison::RawControl,
        Poison::HugeNumber,
        Poison::Nan,
        Poison::Deep200,
        Poison::Deep10000,
        Poison::NullId,
        Poison::MissingId,
        Poison::NumericId,
    ];
    let mut config = Config::tiny(3).with_count("conversation", 1_000);
    for (n, poison) in poisons.into_iter().enumerate() {
        config = config.with_hostile(Hostile::poison("conversation", 40 + 90 * n as u64, poison));
    }
    let mut bench = Bench::new(config).only(&["conversations"]);
    let ran = bench.run();
    ran.all_complete();
    assert_eq!(
        bench.count("conversations") + bench.replica.rejected.len(),
        1_000,
        "{:?}",
        bench.replica.rejected.iter().map(|(_, r)| &r.reason).collect::<Vec<_>>()
    );
    assert!(bench.replica.rejected.len() <= poisons.len());
    assert!(bench.replica.rejected.len() >= 7);
    let rejected = bench.replica.rejected.len();
    // Set aside once, also when a later run reads over it again.
    bench.run().all_complete();
    assert_eq!(bench.replica.rejected.len(), rejected);
}

#[test]
fn odd_but_readable_records_arrive() {
    let poisons = [
        Poison::Nul,
        Poison::LongInteger,
        Poison::DuplicateKeys,
        Poison::TenMegabytes,
        Poison::LongArray,
        Poison::ManyKeys,
        Poison::NullUpdatedAt,
        Poison::MissingUpdatedAt,
        Poison::OddUpdatedAt,
        Poison::EpochUpdatedAt,
        Poison::OddTypes,
    ];
    let mut config = Config::tiny(4).with_count("message", 1_200);
    for (n, poison) in poisons.into_iter().enumerate() {
        config = config.with_hostile(Hostile::poison("message", 40 + 90 * n as u64, poison));
    }
    let mut bench = Bench::new(config).only(&["messages"]);
    bench.run().all_complete();
    assert_eq!(
        bench.count("messages"),
        1_200,
        "{:?}",
        bench.replica.rejected.iter().map(|(_, r)| &r.reason).collect::<Vec<_>>()
    );
}

#[test]
fn pages_too_large_or_too_slow_are_asked_for_in_smaller_pieces() {
    let config = Config::tiny(5).with_count("conversation", 2_000);
    let mut bench = Bench::new(config).only(&["conversations"]).set("max_body_mb", 0.2);
    bench.run().all_complete();
    bench.compare();
    let config = Config::tiny(6).with_count("conversation", 2_000).with_fault(
        FaultRule::always(Matcher::on("search", "conversation"), Fault::Slow { ms: 400 }).times(6),
    );
    let mut bench = Bench::new(config).only(&["conversations"]).set("read_timeout_seconds", 0.2);
    bench.run().all_complete();
    bench.compare();
}

#[test]
fn a_stream_that_never_answers_well_fails_alone() {
    let config = Config::tiny(7)
        .with_fault(FaultRule::always(Matcher::on("search", "message"), Fault::ErrorsIn200));
    let mut bench = Bench::new(config).set("max_attempts", 4);
    let ran = bench.run();
    let (word, reason) = ran.ended("messages");
    assert_eq!(word, "failed");
    assert!(reason.contains("the answer holds errors"), "{reason}");
    for stream in ["users", "customers", "conversations", "notes", "kobjects"] {
        assert_eq!(ran.ended(stream).0, "complete");
    }
    assert!(!bench.state.bookmarks.is_empty());
}

#[test]
fn counts_that_never_agree_end_in_incomplete_not_in_a_loop() {
    let config = Config::tiny(8).with_count("message", 3_000).with_fault(FaultRule::always(
        Matcher::on("search", "message"),
        Fault::WrongTotal { by: 7 },
    ));
    let mut bench = Bench::new(config).only(&["messages"]);
    let ran = bench.run();
    let (word, reason) = ran.ended("messages");
    println!("{} calls: {reason}", ran.calls("search"));
    assert_eq!(word, "incomplete");
    assert_eq!(bench.count("messages"), 3_000);
    assert!(ran.calls("search") < 1_500);
}
