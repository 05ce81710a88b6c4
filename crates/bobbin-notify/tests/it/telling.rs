//! Who is told what, when, how often.

use std::time::Duration;

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::FixedClock;
use bobbin_core::id::ConnectionId;
use bobbin_core::receipt::{Mark, Span};
use bobbin_core::secret::Secret;
use bobbin_engine::Engine;
use bobbin_engine::ledger::{Ledger, Load, NoticeKind};
use bobbin_notify::{Channel, Hook, Mail, MailTls, Means, Notifier, Target};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::listener::{Post, Web};

const DETAIL: &str = "the key is refused\n  hint: make another one";

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn ledger(&self) -> Box<dyn Ledger> {
        Engine::new(self.directory.path()).ledger().unwrap()
    }

    fn notifier(&self, channels: Vec<Channel>, hooks: Vec<Hook>) -> Notifier {
        let mut notifier = Notifier::new(Engine::new(self.directory.path()), channels, hooks);
        notifier.retry_wait = Duration::from_mins(1);
        notifier
    }
}

fn at(minutes: i64) -> Timestamp {
    "2026-05-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes)
}

fn kustomer() -> ConnectionId {
    "kustomer".into()
}

fn target(web: &Web) -> Target {
    let url = format!("http://{}/hooks/T0KEN", web.address);
    Target::new(&Secret::new(url), true, "StitchLoadingWebhook").unwrap()
}

fn channel(name: &str, means: Means) -> Channel {
    Channel { name: name.into(), means, delay: None, warnings: true, hides_errors: false }
}

/// One turn; gives what could not be told.
fn turn(notifier: &Notifier, minutes: i64) -> Vec<String> {
    let failed = std::cell::RefCell::new(Vec::new());
    notifier.turn(&FixedClock(at(minutes)), &Cancel::new(), &|error| {
        failed.borrow_mut().push(error.report());
    });
    failed.into_inner()
}

fn put(ledger: &dyn Ledger, connection: &ConnectionId, load: &Load) {
    let lease = ledger.lease(connection, "here", at(0), at(0)).unwrap();
    ledger.loaded(&lease, load, None).unwrap();
}

fn raise(ledger: &dyn Ledger, kind: NoticeKind, minutes: i64) {
    ledger.raise(&kustomer(), kind, "the key is refused", Some(DETAIL), at(minutes)).unwrap();
}

/// F-91, F-95: a webhook is told once that it is so and once that it is over.
#[test]
fn f91_f95_a_webhook_is_told_once_that_it_is_so_and_that_it_is_over() {
    let (place, web, slack) = (Place::new(), Web::start(), Web::start());
    let ledger = place.ledger();
    let notifier = place.notifier(
        vec![
            channel("ops", Means::Webhook(target(&web))),
            Channel { warnings: false, ..channel("chat", Means::Slack(target(&slack))) },
        ],
        Vec::new(),
    );
    let detail = "the key is refused\n  hint: make another one, not <!channel> & co";
    ledger.raise(&kustomer(), NoticeKind::Extraction, "x", Some(detail), at(0)).unwrap();
    ledger.raise(&kustomer(), NoticeKind::Extraction, "x", Some(detail), at(60)).unwrap();
    raise(&*ledger, NoticeKind::Rejected, 60);
    for minutes in [60, 61, 62] {
        assert_eq!(turn(&notifier, minutes), [""; 0]);
    }
    let told = web.take();
    assert_eq!(told.len(), 2, "{told:?}");
    let first = &told[0].body;
    assert_eq!((&first["event"], &first["kind"]), (&json!("raised"), &json!("extraction")));
    assert_eq!((&first["times"], &first["level"]), (&json!(2), &json!("critical")));
    assert_eq!(first["detail"], detail);
    let chat = slack.take();
    assert_eq!(chat.len(), 1, "warnings are not wanted there: {chat:?}");
    let text = chat[0].body["text"].as_str().unwrap();
    let escaped = "make another one, not &lt;!channel&gt; &amp; co";
    assert!(
        text.contains("kustomer: critical: extraction fails") && text.contains(escaped),
        "{text}"
    );

    // A dismissed one is told to nobody, a recovered one to whoever knew.
    raise(&*ledger, NoticeKind::Loading, 63);
    let loading = ledger.notices(false, 10).unwrap()[0].id;
    assert!(ledger.dismiss(loading, at(63)).unwrap());
    raise(&*ledger, NoticeKind::Loading, 64);
    assert_eq!(ledger.notices(false, 10).unwrap().len(), 2, "dismissed until it is over");
    for kind in [NoticeKind::Loading, NoticeKind::Extraction] {
        ledger.recover(&kustomer(), kind, at(65)).unwrap();
    }
    for minutes in [65, 66] {
        assert_eq!(turn(&notifier, minutes), [""; 0]);
    }
    let told: Vec<Value> =
        web.take().into_iter().map(|posted| posted.body["event"].clone()).collect();
    assert_eq!(told, ["recovered"]);
    assert!(slack.take()[0].body["text"].as_str().unwrap().contains("over since"));
    // It comes again: a new notice.
    raise(&*ledger, NoticeKind::Loading, 70);
    turn(&notifier, 70);
    assert_eq!(web.take().len(), 1);
}

/// F-92 to F-94: a mail comes when it is so for its delay, with the error or without.
#[test]
fn f92_f93_f94_a_mail_comes_after_its_delay() {
    let (place, post) = (Place::new(), Post::start());
    let ledger = place.ledger();
    let mail = || {
        let (host, port) = (post.address.ip().to_string(), post.address.port());
        let to = ["a@example.com".to_owned(), "Data <b@example.com>".to_owned()];
        Mail::new((&host, Some(port), MailTls::Off), None, "bobbin@example.com", &to).unwrap()
    };
    let notifier = place.notifier(
        vec![
            channel("mail", Means::Mail(mail())),
            Channel { hides_errors: true, ..channel("discreet", Means::Mail(mail())) },
        ],
        Vec::new(),
    );
    raise(&*ledger, NoticeKind::Extraction, 0);
    raise(&*ledger, NoticeKind::Loading, 0);
    assert_eq!(turn(&notifier, 59), [""; 0]);
    assert!(post.take().is_empty());
    assert_eq!(turn(&notifier, 60), [""; 0]);
    let mails = post.take();
    assert_eq!(mails.len(), 2, "{mails:?}");
    assert!(mails[0].contains("Subject: bobbin: kustomer: extraction fails"), "{}", mails[0]);
    assert!(mails[0].contains("<a@example.com>") && mails[0].contains("<b@example.com>"));
    assert!(mails[0].contains("the key is refused"));
    assert!(!mails[1].contains("the key is refused"), "{}", mails[1]);
    // One that is over in time is never told of.
    ledger.recover(&kustomer(), NoticeKind::Loading, at(100)).unwrap();
    turn(&notifier, 121);
    assert!(post.take().is_empty());
    ledger.recover(&kustomer(), NoticeKind::Extraction, at(122)).unwrap();
    turn(&notifier, 122);
    assert!(post.take()[0].contains("over: extraction fails"));

    let none: [String; 0] = [];
    for (from, to) in [("nobody", &["a@b.c".to_owned()][..]), ("a@b.c", &none)] {
        assert!(Mail::new(("localhost", None, MailTls::Off), None, from, to).is_err());
    }
    let many = vec!["a@example.com".to_owned(); 11];
    assert!(Mail::new(("localhost", None, MailTls::Off), None, "a@b.c", &many).is_err());
}

/// A channel that cannot be told is tried again later, and not for ever; its address is not shown.
#[test]
fn a_channel_that_fails_is_tried_again_later() {
    let (place, web) = (Place::new(), Web::start());
    let ledger = place.ledger();
    let notifier = place.notifier(vec![channel("ops", Means::Webhook(target(&web)))], Vec::new());
    raise(&*ledger, NoticeKind::Extraction, 0);
    web.answer(&[500, 302]);
    let failed = turn(&notifier, 0);
    assert!(failed[0].contains("`ops` could not be told"), "{failed:?}");
    assert!(failed[0].contains("status 500") && !failed[0].contains("T0KEN"), "{failed:?}");
    assert_eq!(turn(&notifier, 1), [""; 0], "too early");
    assert!(turn(&notifier, 2)[0].contains("redirects are not followed"));
    assert_eq!(turn(&notifier, 6), [""; 0]);
    assert_eq!(web.take().len(), 3);
    web.answer(&[500; 100]);
    raise(&*ledger, NoticeKind::Incomplete, 10);
    let tries = (10..1000).filter(|minutes| !turn(&notifier, *minutes).is_empty()).count();
    assert_eq!(tries, 8);

    // What is critical is told on, every hour, for as long as it is so.
    web.take();
    raise(&*ledger, NoticeKind::Loading, 1000);
    web.answer(&[500; 100]);
    let tries: Vec<i64> =
        (1000..3000).filter(|minutes| !turn(&notifier, *minutes).is_empty()).collect();
    assert!(tries.len() > 30, "{tries:?}");
    assert!(tries[8..].windows(2).all(|pair| pair[1] - pair[0] == 60), "{tries:?}");
    ledger.recover(&kustomer(), NoticeKind::Loading, at(3000)).unwrap();
    assert!((3000..3100).all(|minutes| turn(&notifier, minutes).is_empty()));
}

/// A channel that is not there gets one try in a turn, however much there is to tell.
#[test]
fn a_channel_that_fails_holds_the_others_up_once_a_turn() {
    let (place, web, other) = (Place::new(), Web::start(), Web::start());
    let ledger = place.ledger();
    let channels = vec![
        channel("gone", Means::Webhook(target(&web))),
        channel("there", Means::Webhook(target(&other))),
    ];
    let notifier = place.notifier(channels, Vec::new());
    for kind in [NoticeKind::Extraction, NoticeKind::Loading, NoticeKind::Stale] {
        raise(&*ledger, kind, 0);
    }
    web.answer(&[500]);
    assert_eq!(turn(&notifier, 0).len(), 1);
    assert_eq!((web.take().len(), other.take().len()), (1, 3));
    assert_eq!(turn(&notifier, 1), [""; 0]);
    assert_eq!(web.take().len(), 2, "the others");
    turn(&notifier, 2);
    assert_eq!(web.take().len(), 1, "the first once more");
}

fn load(stream: &str, rows: u64, rejected: u64) -> Load {
    let mark = |text: &str| Mark::Time(text.parse().unwrap());
    Load {
        job: "j".into(),
        stream: stream.into(),
        table: stream.to_lowercase(),
        version: None,
        replaced: false,
        started: at(0),
        ended: at(1),
        rows,
        unchanged: 0,
        rejected,
        removed: 0,
        bytes: 9,
        replication_key: Some("updated_at".into()),
        bookmark: (rows > 0)
            .then(|| Span { min: mark("2026-04-01T00:00:00Z"), max: mark("2026-04-30T00:00:00Z") }),
        extracted_at: (rows > 0).then(|| at(0)),
        subtables: [("orders__order_items".to_owned(), 3)].into(),
        changes: Vec::new(),
        fill: bobbin_core::receipt::Fill::default(),
        error: None,
    }
}

/// F-96: what a hook is sent, in Stitch's form; retries; no replay.
#[test]
fn f96_a_hook_is_sent_each_load_once_with_retries_and_no_replay() {
    let (place, web) = (Place::new(), Web::start());
    let ledger = place.ledger();
    let hook = || hook("dbt", &web);
    let notifier = place.notifier(Vec::new(), vec![hook()]);
    let loaded = |connection: &str, load: &Load| {
        put(&*ledger, &connection.into(), load);
    };
    loaded("kustomer", &load("Orders", 1, 0));
    turn(&notifier, 0);
    assert!(web.take().is_empty(), "what was before the hook is not sent");
    loaded("kustomer", &load("Orders", 40, 2));
    loaded("other", &load("Orders", 1, 0));
    loaded("kustomer", &load("Orders", 0, 0));
    loaded("kustomer", &Load { error: Some("no".into()), ..load("Orders", 0, 1) });
    turn(&notifier, 1);
    let sent = web.take();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].head.starts_with("POST /hooks/T0KEN "));
    assert!(sent[0].head.to_lowercase().contains("user-agent: stitchloadingwebhook"));
    let bookmarks = json!([{"key": "updated_at", "min_value": "2026-04-01T00:00:00Z",
                            "max_value": "2026-04-30T00:00:00Z"}]);
    let table = |source: &str, name: &str, rows: u64, rejected: u64| {
        json!({"source_table_name": source, "destination_table_name": name, "num_rows": rows,
               "num_rows_rejected": rejected, "primary_keys": null, "s3_objects": null,
               "bookmark_metadata": bookmarks, "max_time_extracted": "2026-05-01T00:00:00Z"})
    };
    assert_eq!(
        sent[0].body,
        json!({
            "version": "1.0",
            "integration_name": "stitch_kustomer",
            "minimum_sdc_batched_at": "2026-05-01T00:00:00Z",
            "new_version": false,
            "source_root_table_name": "Orders",
            "destination_root_table_name": "orders",
            "table_version": 0,
            "tables": [
                table("Orders", "orders", 40, 2),
                table("order_items", "orders__order_items", 3, 0),
            ],
        })
    );

    // One attempt a turn; five retries, the last of which it takes.
    web.answer(&[500; 5]);
    loaded("kustomer", &load("Orders", 1, 0));
    loaded("kustomer", &load("Orders", 2, 0));
    let mut tries = Vec::new();
    for minutes in 2..60 {
        turn(&notifier, minutes);
        tries.extend(web.take().iter().map(|posted| (minutes, rows(&posted.body))));
    }
    let first = [2, 3, 5, 9, 17, 33].map(|minutes| (minutes, 1));
    assert_eq!(tries, [&first[..], &[(33, 2)]].concat(), "each wait is twice the one before");
    assert!(ledger.notices(false, 10).unwrap().is_empty());
    // Then one that is never taken: no replay, the next one is sent.
    web.answer(&[500; 6]);
    loaded("kustomer", &load("Orders", 0, 5));
    for minutes in 60..91 {
        turn(&notifier, minutes);
    }
    assert!(ledger.notices(false, 10).unwrap().is_empty(), "not given up yet");
    turn(&notifier, 91);
    let sent = web.take();
    assert_eq!((sent.len(), &sent[0].body["tables"][0]["bookmark_metadata"]), (6, &Value::Null));
    let notices = ledger.notices(false, 10).unwrap();
    assert_eq!((notices.len(), notices[0].kind), (1, NoticeKind::Hook));
    assert!(!notices[0].detail.as_deref().unwrap().contains("T0KEN"));
    turn(&notifier, 200);
    assert!(web.take().is_empty(), "no replay");
    // A new start goes on behind it; the next load that is taken ends the notice.
    loaded("kustomer", &Load { version: Some(7), replaced: true, ..load("Orders", 2, 0) });
    turn(&place.notifier(Vec::new(), vec![hook()]), 201);
    let sent = web.take();
    assert_eq!(
        (&sent[0].body["new_version"], &sent[0].body["table_version"]),
        (&json!(true), &json!(7))
    );
    assert!(ledger.notices(false, 10).unwrap().is_empty());
}

fn rows(body: &Value) -> u64 {
    body["tables"][0]["num_rows"].as_u64().unwrap()
}

fn hook(name: &str, web: &Web) -> Hook {
    let connections = vec![(kustomer(), "stitch_kustomer".into())];
    Hook { name: name.into(), target: target(web), connections }
}

/// One that is not there waits alone, and what is said of it is not about another one.
#[test]
fn a_hook_that_is_not_there_holds_nobody_up_and_has_a_notice_of_its_own() {
    let (place, gone, there, chat) = (Place::new(), Web::start(), Web::start(), Web::start());
    let ledger = place.ledger();
    let hooks = || vec![hook("gone", &gone), hook("there", &there)];
    let channels = || vec![channel("ops", Means::Webhook(target(&chat)))];
    let notifier = place.notifier(channels(), hooks());
    turn(&notifier, 0);
    for n in 1..=20 {
        put(&*ledger, &kustomer(), &load("Orders", n, 0));
    }
    gone.answer(&[500; 6]);
    let since = std::time::Instant::now();
    turn(&notifier, 1);
    assert_eq!((gone.take().len(), there.take().len()), (1, 20), "no other load is tried");
    raise(&*ledger, NoticeKind::Loading, 2);
    turn(&notifier, 2);
    assert_eq!(chat.take().len(), 1);
    for minutes in 3..33 {
        turn(&notifier, minutes);
    }
    assert!(since.elapsed() < Duration::from_secs(30), "nobody sleeps");
    // Given up: its notice stays although the other one takes what comes.
    let open = || {
        let notices = ledger.notices(false, 10).unwrap().into_iter();
        notices.filter(|notice| notice.kind == NoticeKind::Hook).collect::<Vec<_>>()
    };
    assert_eq!(open().len(), 1);
    assert!(open()[0].message.contains("`gone`"));
    gone.answer(&[500; 100]);
    put(&*ledger, &kustomer(), &load("Orders", 1, 0));
    turn(&notifier, 33);
    assert_eq!((there.take().len(), open().len()), (1, 1));
    // Both fail: two notices.
    there.answer(&[500; 6]);
    put(&*ledger, &kustomer(), &load("Orders", 1, 0));
    for minutes in 34..70 {
        turn(&notifier, minutes);
    }
    assert_eq!(open().len(), 2, "{:?}", open());
    // It is taken out of the file, and so is its notice.
    turn(&place.notifier(channels(), vec![hook("there", &there)]), 70);
    assert_eq!(open().len(), 1);
    assert!(open()[0].message.contains("`there`"));
    let elsewhere = Hook { connections: Vec::new(), ..hook("there", &there) };
    turn(&place.notifier(Vec::new(), vec![elsewhere]), 71);
    assert_eq!(open(), [], "it is not told of that connection's loads any more");
}

/// A hook that was taken out and comes back is not told of what was meanwhile.
#[test]
fn a_hook_that_comes_back_is_not_sent_what_it_missed() {
    let (place, web) = (Place::new(), Web::start());
    let ledger = place.ledger();
    let loaded = |rows| put(&*ledger, &kustomer(), &load("Orders", rows, 0));
    let with = || place.notifier(Vec::new(), vec![hook("dbt", &web)]);
    turn(&with(), 0);
    loaded(1);
    turn(&with(), 1);
    assert_eq!(web.take().len(), 1);
    // Nobody is told of anything then, which has to be said to the ledger all the same.
    turn(&place.notifier(Vec::new(), Vec::new()), 2);
    loaded(2);
    turn(&with(), 3);
    loaded(3);
    turn(&with(), 4);
    let sent = web.take();
    assert_eq!(sent.iter().map(|posted| rows(&posted.body)).collect::<Vec<_>>(), [3]);
}

/// A program that ends tries again for a while, and leaves the rest to the next one.
#[test]
fn whoever_ends_does_not_wait_for_a_hook_that_is_not_there() {
    let (place, web) = (Place::new(), Web::start());
    let ledger = place.ledger();
    let mut notifier = place.notifier(Vec::new(), vec![hook("dbt", &web)]);
    notifier.retry_wait = Duration::from_millis(50);
    let clock = bobbin_core::clock::SystemClock;
    let finish = |within| {
        notifier.finish(&clock, &Cancel::new(), &|error| panic!("{error}"), within);
    };
    finish(Duration::from_secs(20));
    put(&*ledger, &kustomer(), &load("Orders", 1, 0));
    web.answer(&[500; 2]);
    finish(Duration::from_secs(20));
    assert_eq!(web.take().len(), 3, "tried again until it was taken");
    put(&*ledger, &kustomer(), &load("Orders", 2, 0));
    web.answer(&[500; 3]);
    let since = std::time::Instant::now();
    finish(Duration::from_millis(100));
    assert!(since.elapsed() < Duration::from_secs(5));
    let tried = web.take().len();
    assert!((1..=2).contains(&tried), "{tried}");
    std::thread::sleep(Duration::from_millis(150));
    finish(Duration::from_secs(20));
    assert_eq!(tried + web.take().len(), 4, "it goes on where it was left");
}

/// A password goes over no network in the clear.
#[test]
fn a_password_is_not_sent_in_the_clear_to_another_machine() {
    let password = Secret::new("pw");
    let to = ["a@example.com".to_owned()];
    let mail = |host, tls, login: bool| {
        let login = login.then_some(("user", &password));
        Mail::new((host, None, tls), login, "b@example.com", &to)
    };
    let error = mail("mail.example.com", MailTls::Off, true).unwrap_err().report();
    assert!(error.contains("in the clear") && error.contains("starttls"), "{error}");
    for host in ["10.0.0.1", "localhost.example.com"] {
        assert!(mail(host, MailTls::Off, true).is_err(), "{host}");
    }
    for host in ["localhost", "127.0.0.1", "::1"] {
        assert!(mail(host, MailTls::Off, true).is_ok(), "{host}");
    }
    assert!(mail("mail.example.com", MailTls::Off, false).is_ok());
    assert!(mail("mail.example.com", MailTls::StartTls, true).is_ok());
}
