//! Keys: bad, expired, of another region, or without a role.

use bobbin_core::ErrorKind;
use bobbin_core::cancel::Cancel;
use bobbin_core::clock::SystemClock;
use bobbin_core::report::NoLog;
use bobbin_core::tap::{Context, Tap};
use fake_kustomer::{Config, Fault, FaultRule, Matcher, Token, When};

use crate::support::Bench;

fn with_token(token: Token) -> Bench {
    let mut config = Config::tiny(1);
    config.tokens = vec![token];
    Bench::new(config)
}

const READER: &[&str] =
    &["org.permission.search.create", "org.permission.tag.read", "org.permission.shortcut.read"];

#[test]
fn a_bad_key_stops_at_once_and_says_what_to_do() {
    let mut bench = Bench::new(Config::tiny(1)).set("api_token", "wrong");
    let ran = bench.run();
    let error = ran.outcomes.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    let report = ran.error();
    assert!(report.contains("API key"), "{report}");
    assert!(report.contains("hint: make a new key"), "{report}");
    assert!(!report.contains("wrong"), "the key is in the message: {report}");
    assert!(ran.calls("") < 20);
}

#[test]
fn an_expired_key_is_called_expired() {
    let token = Token { expires: Some(When::relative(-1)), ..Token::all_roles("a-long-token") };
    let report = with_token(token).run().error();
    assert!(report.contains("the API key has expired"), "{report}");
}

#[test]
fn a_key_of_another_region_is_told_where_it_belongs() {
    let token = Token { pod: Some("prod2".to_owned()), ..Token::all_roles("a-long-token") };
    let mut bench = with_token(token);
    let report = bench.run().error();
    assert!(report.contains("belongs to region prod2"), "{report}");
    assert!(report.contains("set region to prod2"), "{report}");
}

#[test]
fn a_missing_role_removes_its_stream_alone() {
    let mut bench = with_token(Token::with_roles("a-long-token", READER));
    let ran = bench.run();
    let (word, reason) = ran.ended("teams");
    assert_eq!(word, "unreadable", "{reason}");
    assert!(reason.contains("org.permission.team.read"), "{reason}");
    assert_eq!(ran.ended("tags").0, "complete");
    assert_eq!(ran.ended("messages").0, "complete");
    let no_search = Token::with_roles("a-long-token", &["org.user.read"]);
    let ran = with_token(no_search).run();
    assert_eq!(ran.ended("users").0, "complete");
    let (word, reason) = ran.ended("messages");
    assert_eq!(word, "unreadable", "{reason}");
    assert!(reason.contains("org.permission.search.create"), "{reason}");
}

#[test]
fn a_key_that_goes_bad_midway_stops_the_run_and_the_next_goes_on() {
    let config = Config::tiny(2).with_count("message", 25_000).with_fault(
        FaultRule::always(Matcher::on("search", "message"), Fault::status(401)).after(30),
    );
    let mut bench = Bench::new(config);
    let ran = bench.run();
    assert_eq!(ran.outcomes.as_ref().unwrap_err().kind(), ErrorKind::Auth);
    assert_eq!(bench.state.currently_syncing.as_ref().unwrap().as_str(), "messages");
    assert!(bench.state.bookmarks.contains_key(&"conversations".into()));
    assert!(ran.with_status(401) <= 64);
    bench.sim.control().clear_faults();
    bench.run().all_complete();
    bench.compare_but(&[]);
}

/// F-34, for an earlier date; a later one takes nothing away and reads nothing again.
#[test]
fn an_earlier_start_date_reads_what_lies_before_it() {
    let mut bench = Bench::new(Config::tiny(3));
    let (early, late) = ("2020-01-01", "2100-01-01");
    let middle = {
        // Half of all messages lie behind it.
        bench.run().all_complete();
        let mut instants: Vec<String> = bench.replica.rows["messages"]
            .values()
            .map(|version| version.updated_at.clone())
            .collect();
        instants.sort();
        instants[instants.len() / 2].clone()
    };
    let mut bench = Bench::new(Config::tiny(3)).set("start_date", &*middle);
    bench.run().all_complete();
    let few = bench.replica.rows["messages"].len();
    let state = bench.state.clone();

    bench = bench.set("start_date", late);
    bench.run().all_complete();
    assert_eq!(bench.replica.rows["messages"].len(), few);

    bench = bench.set("start_date", early);
    // Broken off half way, it goes on from where it was.
    bench.replica.break_after = Some(bench.replica.received + few as u64 / 2);
    assert!(bench.run().outcomes.is_err());
    bench.replica.break_after = None;
    bench.run().all_complete();
    bench.compare_but(&[]);
    assert!(bench.replica.rows["messages"].len() > few);

    // Once read, it is not read again.
    let received = bench.replica.received;
    bench.run().all_complete();
    assert!(bench.replica.received - received < few as u64);
    assert_ne!(bench.state.notes, state.notes);
}

#[test]
fn a_state_of_another_organisation_is_refused() {
    let mut bench = Bench::new(Config::tiny(3));
    bench.run().all_complete();
    let state = bench.state.clone();
    let mut other = Bench::new(Config::tiny(4));
    other.state = state.clone();
    let ran = other.run();
    assert_eq!(ran.outcomes.as_ref().unwrap_err().kind(), ErrorKind::Config);
    assert!(ran.error().contains("another Kustomer organisation"), "{}", ran.error());
    assert_eq!(other.replica.received, 0);
    assert_eq!(other.state, state);
}

#[test]
fn nobody_listening_is_said_so() {
    let mut bench =
        Bench::new(Config::tiny(1)).set("api_url", "http://127.0.0.1:1").set("max_attempts", 3);
    let ran = bench.run();
    let error = ran.outcomes.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let report = ran.error();
    assert!(report.contains("refuses connections"), "{report}");
    let mut bench = Bench::new(Config::tiny(1))
        .set("api_url", "http://no-such-host.invalid")
        .set("max_attempts", 2);
    let report = bench.run().error();
    assert!(report.contains("name is not known") || report.contains("cannot be used"), "{report}");
}

#[test]
fn a_check_tells_what_can_be_read() {
    let bench = with_token(Token::with_roles("a-long-token", READER));
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    let check = bench.tap().check(&cx).unwrap();
    let missing: Vec<&str> = check
        .streams
        .iter()
        .filter(|(_, missing)| missing.is_some())
        .map(|(stream, _)| stream.as_str())
        .collect();
    assert!(missing.contains(&"teams"), "{missing:?}");
    assert!(!missing.contains(&"customers"), "{missing:?}");
    assert!(check.facts.iter().any(|(label, _)| label == "API"));
    let bad = Bench::new(Config::tiny(1)).set("api_token", "wrong");
    assert_eq!(bad.tap().check(&cx).unwrap_err().kind(), ErrorKind::Auth);
}

#[test]
fn discovery_hides_what_cannot_be_read() {
    let bench = with_token(Token::with_roles("a-long-token", READER));
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    let found = bench.tap().discover(&cx).unwrap();
    assert!(found.catalog.stream(&"teams".into()).is_none());
    assert!(found.catalog.stream(&"customers".into()).is_some());
    let teams = found.unreadable.iter().find(|(name, _)| name.as_str() == "teams");
    assert!(teams.is_some_and(|(_, reason)| reason.contains("team.read")), "{teams:?}");
}

#[test]
fn stopping_is_noticed_and_the_next_run_goes_on() {
    let mut config = Config::tiny(3).with_count("message", 60_000);
    config.latency_ms = 20;
    let mut bench = Bench::new(config).only(&["messages"]);
    let cancel = Cancel::new();
    let stopper = cancel.clone();
    bench.replica.break_after = None;
    let control = bench.sim.control();
    let thread = std::thread::spawn(move || {
        // In the middle of the 120 pages; the next run would not miss the wish if it came late.
        let started = std::time::Instant::now();
        while control.stats().requests < 30 && started.elapsed().as_secs() < 60 {
            std::thread::yield_now();
        }
        stopper.cancel();
    });
    let ran = bench.run_until(&cancel);
    thread.join().unwrap();
    if let Err(error) = &ran.outcomes {
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
    bench.run().all_complete();
    bench.compare_but(&[]);
}
