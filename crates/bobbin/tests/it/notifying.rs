//! Who is told, set up through the API of a running service: by Stitch's calls and by bobbin's own.

use std::fs;
use std::time::{Duration, Instant};

use fake_kustomer::{Mutation, Pick, Running, Simulator};
use serde_json::{Value, json};

use crate::api::Serving;
use crate::listener::{Post, Posted, Web};
use crate::serving::{next, source};
use crate::setup::pretty;
use crate::support::{Desk, tiny};

const EMAILS: &str = "/notifications/public/v1/api/custom-emails";
const HOOKS: &str = "/notifications/public/v1/api/hooks";
const CHANNELS: &str = "/api/v1/channels";

/// What stands in an address and must be seen nowhere.
const CANARY: &str = "T0KEN-canary";

/// The file: one connection, and whatever `more` says of who is told.
fn write(desk: &Desk, source: &str, more: &str) {
    let settings = format!("tables = [\"tags\"]\nschedule = {{ frequency_minutes = 600 }}\n{more}");
    desk.write(source, "path = \"out.duckdb\"", &settings);
}

fn mail_server(post: &Post) -> String {
    format!(
        "[notify.mail]\ntype = \"email\"\nserver = \"127.0.0.1\"\nport = {}\ntls = \"off\"\n\
         from = \"bobbin@example.com\"\nto = []\n",
        post.address.port()
    )
}

/// Runs a job in which tags come.
fn load(serving: &mut Serving, sim: &Running) {
    sim.control().mutate(&Mutation::update("tag", Pick::Random(2))).unwrap();
    sim.control().advance(3_600_000);
    serving.done("POST", "/api/v1/connections/kustomer/jobs", &json!({}));
    let report = next(&mut serving.lines, "job")["report"].clone();
    assert_eq!(report["outcome"], "complete", "{report}");
}

/// Waits until something was posted there.
#[track_caller]
fn posted(web: &Web) -> Vec<Posted> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let heard = web.take();
        if !heard.is_empty() {
            return heard;
        }
        assert!(Instant::now() < until, "nothing was posted");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// F-93: ten people at most, each told or not, by Stitch's calls and in its shapes.
#[test]
fn f93_people_are_told_by_stitchs_calls() {
    let sim = Simulator::start(tiny(66)).unwrap();
    let (desk, post) = (Desk::new(&sim), Post::start());
    write(&desk, &source(&sim), "");
    let mut serving = Serving::start(&desk);
    next(&mut serving.lines, "job");
    assert_eq!(serving.get(EMAILS), json!([]));
    let anna = json!({ "email_address": "anna@example.com" });
    // Nobody is promised what cannot be kept.
    let (status, body) = serving.send("POST", EMAILS, &anna);
    assert_eq!((status, &body["error"]["type"]), (400, &json!("InvalidBody")), "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("[notify.mail]"), "{body}");

    write(&desk, &source(&sim), &mail_server(&post));
    desk.run(&["apply"]).assert(0, &["notify"]);
    let made = serving.done("POST", EMAILS, &anna);
    insta::assert_snapshot!("custom_email", pretty(&made));
    for wrong in [
        json!({ "email_address": "ANNA@example.com" }),
        json!({ "email_address": "nobody" }),
        json!({ "email_address": 1 }),
        json!({}),
    ] {
        let (status, body) = serving.send("POST", EMAILS, &wrong);
        assert_eq!((status, &body["error"]["type"]), (400, &json!("InvalidBody")), "{body}");
    }
    for n in 1..10 {
        serving.done("POST", EMAILS, &json!({ "email_address": format!("n{n}@example.com") }));
    }
    let (status, body) = serving.send("POST", EMAILS, &json!({ "email_address": "x@example.com" }));
    assert!(status == 400 && body.to_string().contains("there are 10 recipients"), "{body}");
    assert_eq!(serving.get(EMAILS).as_array().unwrap().len(), 10);

    let of = format!("{EMAILS}/{}", made["id"]);
    let off = serving.done("PUT", &of, &json!({ "disabled_at": "2099-01-01T00:00:00Z" }));
    insta::assert_snapshot!("disabled_email", pretty(&off));
    assert!(serving.get(EMAILS)[0]["disabled_at"].is_string());
    assert_eq!(serving.send("PUT", &of, &json!({})).0, 400);
    let on = serving.done("PUT", &of, &json!({ "disabled_at": null }));
    assert_eq!(on, json!({ "disabled_at": null }));
    assert_eq!(serving.done("DELETE", &of, &json!({})), json!([1]));
    let (status, body) = serving.send("DELETE", &of, &json!({}));
    assert_eq!((status, &body["error"]["type"]), (404, &json!("InvalidId")), "{body}");
    assert_eq!(serving.get(EMAILS).as_array().unwrap().len(), 9);

    // They are kept; without the mail server they are told of, and nothing else stops.
    serving.stop();
    write(&desk, &source(&sim), "");
    let serving = Serving::start(&desk);
    let channels = serving.get(CHANNELS);
    assert_eq!(channels["data"], json!([]));
    assert_eq!(channels["broken"].as_array().unwrap().len(), 9, "{channels}");
    assert!(channels["broken"][0]["reason"].as_str().unwrap().contains("mail server"));
    let of = format!("{CHANNELS}/{}", channels["broken"][0]["name"].as_str().unwrap());
    assert_eq!(serving.send("DELETE", &of, &json!({})).0, 204);
    assert_eq!(serving.get(CHANNELS)["broken"].as_array().unwrap().len(), 8);
    serving.stop();
}

/// F-96: a hook that was set up by Stitch's calls is told of loads from then on, unless it is disabled; its
/// address is shown to nobody.
#[test]
fn f96_hooks_are_set_up_by_stitchs_calls() {
    let sim = Simulator::start(tiny(67)).unwrap();
    let (desk, web, other) = (Desk::new(&sim), Web::start(), Web::start());
    let own = format!(
        "[service]\nallow_local = true\n[hooks.own]\nurl = \"http://{}/own/{CANARY}\"\nallow_local = true\n",
        other.address
    );
    write(&desk, &source(&sim), &own);
    let mut serving = Serving::start(&desk);
    next(&mut serving.lines, "job");
    let destination = serving.get("/v4/destinations")[0]["id"].clone();
    let wish = json!({
        "type": "post_load", "destination_id": destination,
        "config": { "url": format!("http://{}/loaded/{CANARY}", web.address) },
    });
    let made = serving.done("POST", HOOKS, &wish);
    insta::assert_snapshot!("hook", pretty(&made));
    for (wrong, word) in [
        (json!({ "type": "pre_load", "config": { "url": "https://example.com" } }), "InvalidType"),
        (json!({ "type": "post_load" }), "InvalidBody"),
        (json!({ "type": "post_load", "config": { "url": "ftp://example.com" } }), "InvalidBody"),
        (
            json!({ "type": "post_load", "destination_id": 999, "config": { "url": "https://example.com" } }),
            "InvalidProperties",
        ),
    ] {
        let (status, body) = serving.send("POST", HOOKS, &wrong);
        assert_eq!((status, &body["error"]["type"]), (400, &json!(word)), "{body}");
    }
    load(&mut serving, &sim);
    let heard = posted(&web);
    assert!(heard[0].head.starts_with(&format!("POST /loaded/{CANARY} ")), "{heard:?}");
    assert_eq!(heard[0].body["integration_name"], "kustomer");
    posted(&other);

    // Disabled it hears nothing, and later nothing of what was meanwhile.
    let of = format!("{HOOKS}/{}", made["id"]);
    let off = serving.done("PUT", &of, &json!({ "enable": false }));
    assert!(off["disabled_at"].is_string() && off["id"] == made["id"], "{off}");
    load(&mut serving, &sim);
    posted(&other);
    assert!(web.take().is_empty());
    let on = serving.done("PUT", &of, &json!({ "enable": true }));
    assert!(on["disabled_at"].is_null(), "{on}");
    load(&mut serving, &sim);
    let (ours, theirs) = (posted(&web), posted(&other));
    assert_eq!((ours.len(), theirs.len()), (1, 1));
    assert_eq!(ours[0].body, theirs[0].body);

    // A connection that is made meanwhile is told, too.
    let copy = json!({ "display_name": "copy" });
    serving.done("POST", "/api/v1/connections/kustomer/clone", &copy);
    serving.done("POST", "/api/v1/connections/copy/jobs", &json!({}));
    next(&mut serving.lines, "job");
    assert_eq!(posted(&other)[0].body["integration_name"], "copy");

    // Those of the file are told of and are the file's.
    let all = serving.get(HOOKS);
    insta::assert_snapshot!("hooks", pretty(&all));
    let files = all["post_load"].as_array().unwrap().iter().find(|hook| hook["id"] != made["id"]);
    let files = format!("{HOOKS}/{}", files.unwrap()["id"]);
    for (method, body) in [("PUT", json!({ "enable": false })), ("DELETE", json!({}))] {
        let (status, body) = serving.send(method, &files, &body);
        assert!(status == 400 && body.to_string().contains("managed by the file"), "{body}");
    }
    assert_eq!(serving.done("DELETE", &of, &json!({})), Value::Null);
    assert_eq!(serving.send("PUT", &of, &json!({ "enable": true })).0, 404);
    // Another one has a number of its own, and there are ten, the file's among them.
    let again = serving.done("POST", HOOKS, &wish);
    assert_ne!(again["id"], made["id"]);
    for _ in 2..10 {
        serving.done("POST", HOOKS, &wish);
    }
    let (status, body) = serving.send("POST", HOOKS, &wish);
    assert!(status == 400 && body.to_string().contains("there are 10"), "{body}");

    let seen = [
        serving.get(HOOKS).to_string(),
        serving.get(CHANNELS).to_string(),
        serving.get("/api/v1/audit").to_string(),
    ];
    assert!(seen.iter().all(|text| !text.contains(CANARY)));
    serving.stop();
    for name in ["ledger.sqlite", "ledger.sqlite-wal"] {
        let bytes = fs::read(desk.path(&format!(".bobbin/{name}"))).unwrap_or_default();
        assert!(!bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()), "{name}");
    }
}

/// F-92, F-95: who is told of notices is set up, changed, silenced and removed while the service runs.
#[test]
fn f92_f95_channels_are_set_up_beside_those_of_the_file() {
    let sim = Simulator::start(tiny(68)).unwrap();
    let (desk, web, post) = (Desk::new(&sim), Web::start(), Post::start());
    let local = "[service]\nallow_local = true\n";
    let more = format!("{local}{}", mail_server(&post));
    write(&desk, &source(&sim), &more);
    let mut serving = Serving::start(&desk);
    next(&mut serving.lines, "job");
    let of_file = serving.get(CHANNELS)["data"].clone();
    assert_eq!(of_file.as_array().unwrap().len(), 1);
    assert_eq!(
        (&of_file[0]["managed_by"], &of_file[0]["host"]),
        (&json!("file"), &json!("127.0.0.1"))
    );
    assert_eq!(serving.send("DELETE", "/api/v1/channels/mail", &json!({})).0, 409);

    let url = format!("http://{}/{CANARY}", web.address);
    let slack = json!({ "name": "team", "type": "slack", "url": url });
    let made = serving.done("POST", CHANNELS, &slack);
    assert_eq!((&made["host"], &made["secrets"]), (&json!("127.0.0.1"), &json!(["url"])), "{made}");
    assert!(!made.to_string().contains(CANARY));
    let mail =
        json!({ "name": "anna", "type": "email", "to": ["anna@example.com"], "delay_minutes": 0 });
    serving.done("POST", CHANNELS, &mail);
    for (wish, status, word) in [
        (slack.clone(), 409, "already"),
        (json!({ "name": "mail", "type": "slack", "url": "https://x.example" }), 409, "the file"),
        (json!({ "name": "x", "type": "slack" }), 422, "`url`"),
        (json!({ "name": "x", "type": "slack", "url": "gopher://x" }), 422, "https://"),
        (
            json!({ "name": "x", "type": "webhook", "url": "https://x.example", "to": ["a@b.c"] }),
            422,
            "`to`",
        ),
        (json!({ "name": "x", "type": "email", "to": ["a@b.c", "d@e.f"] }), 422, "one address"),
        (
            json!({ "name": "x", "type": "post_load", "url": "https://x.example", "destination": "y" }),
            422,
            "`y`",
        ),
        (
            json!({ "name": "x", "type": "post_load", "url": "https://x.example", "connections": ["y"] }),
            422,
            "`y`",
        ),
        (
            json!({ "name": "x", "type": "slack", "url": "https://x.example", "allow_local": true }),
            422,
            "allow_local",
        ),
        (json!({ "name": "X y", "type": "slack", "url": "https://x.example" }), 422, "X y"),
        (json!({ "name": "x", "type": "pigeon" }), 422, "pigeon"),
    ] {
        let (answered, answer) = serving.send("POST", CHANNELS, &wish);
        assert_eq!(answered, status, "{wish}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(word), "{wish}: {answer}");
    }

    // A failure is told at once, by the address that a change left out.
    let changed = json!({ "type": "slack", "hide_errors": true });
    assert_eq!(
        serving.done("PUT", "/api/v1/channels/team", &changed)["settings"],
        json!({ "hide_errors": true })
    );
    write(&desk, &source(&sim).replace(sim.token(), "wrong-key"), &more);
    desk.run(&["apply"]).assert(0, &["source"]);
    let job = "/api/v1/connections/kustomer/jobs";
    serving.done("POST", job, &json!({}));
    next(&mut serving.lines, "job");
    let told = posted(&web);
    assert!(told[0].head.starts_with(&format!("POST /{CANARY} ")), "{told:?}");
    let text = told[0].body["text"].as_str().unwrap();
    assert!(text.contains("extraction fails") && !text.contains("hint"), "{text}");
    let until = Instant::now() + Duration::from_secs(30);
    let mails = loop {
        let mails = post.take();
        if !mails.is_empty() {
            break mails;
        }
        assert!(Instant::now() < until, "no mail came");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(
        mails[0].contains("anna@example.com") && mails[0].contains("extraction fails"),
        "{mails:?}"
    );

    // Silenced it stays so in a change and after a start; who is told instead hears that it is over.
    let off = serving.done("PATCH", "/api/v1/channels/team", &json!({ "enabled": false }));
    assert!(off["disabled_at"].is_string(), "{off}");
    let kept = serving.done("PUT", "/api/v1/channels/team", &json!({ "type": "slack" }));
    assert_eq!(kept["disabled_at"], off["disabled_at"]);
    let other = Web::start();
    let hook =
        json!({ "name": "other", "type": "webhook", "url": format!("http://{}/", other.address) });
    serving.done("POST", CHANNELS, &hook);
    assert_eq!(posted(&other)[0].body["event"], "raised");
    serving.stop();
    write(&desk, &source(&sim), &more);
    let mut serving = Serving::start(&desk);
    assert_eq!(serving.get("/api/v1/channels/team")["disabled_at"], off["disabled_at"]);
    load(&mut serving, &sim);
    assert_eq!(posted(&other)[0].body["event"], "recovered");
    assert!(web.take().is_empty());
    assert_eq!(serving.send("DELETE", "/api/v1/channels/team", &json!({})).0, 204);
    assert_eq!(serving.send("GET", "/api/v1/channels/team", &json!({})).0, 404);
    serving.stop();

    // Without allow_local nothing in the clear, and nothing of this machine's networks is asked.
    write(&desk, &source(&sim), &mail_server(&post));
    let serving = Serving::start(&desk);
    let (status, answer) = serving.send("POST", CHANNELS, &slack);
    assert!(status == 422 && answer["detail"].as_str().unwrap().contains("https://"), "{answer}");
    for host in ["127.0.0.1", "localhost", "10.0.0.1", "[::1]", "169.254.169.254"] {
        let wish =
            json!({ "name": "x", "type": "slack", "url": format!("https://{host}/{CANARY}") });
        let (status, answer) = serving.send("POST", CHANNELS, &wish);
        let detail = answer["detail"].as_str().unwrap();
        assert!(status == 422 && detail.contains("this machine or its networks"), "{answer}");
        assert!(!detail.contains(CANARY));
    }
    assert_eq!(serving.get(CHANNELS)["broken"][0]["name"], "other");
    serving.stop();
}
