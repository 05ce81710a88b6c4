//! The page of an extraction, as a person sees it while a job runs and after it has ended.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use fake_kustomer::{Running, Simulator, Token};
use serde_json::{Value, json};

use crate::api::Serving;
use crate::people::{Answer, Page, send, user};
use crate::serving::next;
use crate::setup::empty;
use crate::support::{Desk, tiny};

const LONG: Duration = Duration::from_secs(30);

/// A service with a connection whose first job runs.
pub(crate) fn serving(sim: &Running, tables: &[&str]) -> (Desk, Serving) {
    let desk = empty(sim);
    let serving = Serving::start(&desk);
    set_up(&serving, sim, tables);
    (desk, serving)
}

fn set_up(serving: &Serving, sim: &Running, tables: &[&str]) {
    let made = |what: &str, body: &Value| serving.done("POST", &format!("/api/v1/{what}"), body);
    made("destinations", &json!({ "name": "out", "type": "duckdb", "path": "out.duckdb" }));
    let kustomer = json!({
        "name": "kustomer", "type": "kustomer", "api_token": sim.token(), "api_url": sim.url(),
        "start_date": "2015-01-01", "search_per_minute": 0, "organization_per_minute": 0,
    });
    made("sources", &kustomer);
    made(
        "connections",
        &json!({ "name": "c", "source": "kustomer", "destination": "out", "tables": tables }),
    );
}

/// The connection's latest job, once it is as wanted.
pub(crate) fn job(serving: &Serving, wanted: impl Fn(&Value) -> bool) -> String {
    let until = Instant::now() + LONG;
    loop {
        let jobs = serving.get("/api/v1/connections/c/jobs");
        if let Some(job) = jobs["data"].get(0).filter(|job| wanted(job)) {
            return job["id"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < until, "{jobs}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn ended(job: &Value) -> bool {
    job["report"].is_object()
}

/// Somebody with a role, logged in.
pub(crate) fn person<'a>(serving: &'a Serving, name: &str, role: &str) -> Page<'a> {
    let mut body = user(name);
    body["role"] = role.into();
    serving.done("POST", "/api/v1/users", &body);
    Page::open(serving, &user(name))
}

pub(crate) fn look(page: &Page<'_>, path: &str) -> Answer {
    page.ask("GET", path, &Value::Null)
}

/// What a person sends with a form.
fn form(page: &Page<'_>, path: &str, csrf: &str) -> Answer {
    form_with(page, path, csrf, "")
}

pub(crate) fn form_with(page: &Page<'_>, path: &str, csrf: &str, more: &str) -> Answer {
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let cookie = ("Cookie", page.cookie.as_str());
    send(page.serving, ("POST", path), &[cookie, kind], format!("csrf={csrf}{more}"))
}

#[test]
fn f58_f104_the_page_of_an_ended_extraction_tells_all_of_it() {
    let sim = Simulator::start(tiny(71)).unwrap();
    let (_desk, serving) = serving(&sim, &["customers", "tags"]);
    let job = job(&serving, ended);
    let anna = person(&serving, "anna", "viewer");
    let address = format!("/connections/c/extractions/{job}");
    let page = look(&anna, &address).assert(200).text;
    let report = serving.get(&format!("/api/v1/connections/c/jobs/{job}"))["report"].clone();
    for table in report["tables"].as_array().unwrap() {
        let name = table["stream"].as_str().unwrap();
        let loaded = format!("<data class=\"count\" value=\"{}\">", table["loaded"]);
        let row = page.split("<th scope=\"row\">").find(|row| row.starts_with(name)).unwrap();
        assert!(row.contains(&loaded) && row.contains("Complete"), "{row}");
    }
    // All of the time is covered, and loaded.
    assert!(page.contains("aria-label=\"customers: 100 % loaded\""), "{page}");
    assert!(!page.contains("sse-connect") && !page.contains("/stop"), "it has ended");
    // The windows are those of the log, with the source's counts.
    let windows = look(&anna, &format!("{address}?table=customers")).assert(200).text;
    let log = serving.ask("GET", &format!("/api/v1/connections/c/jobs/{job}/log?format=json")).1;
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut seen = 0;
    for (n, event) in events.iter().enumerate() {
        if event["event"] == "window" && event["stream"] == "customers" {
            seen += 1;
            let line = format!("?line={}#L{}\"", n + 1, n + 1);
            let row = windows.split("<tr>").find(|row| row.contains(&line)).unwrap();
            let received = format!("value=\"{}\"", event["received"]);
            assert!(row.contains(&received) && row.contains(">loaded<"), "{event}: {row}");
        }
    }
    assert!(seen > 0 && windows.contains("id=\"windows\""));
    look(&anna, &format!("{address}?table=none&from=x&until=%00")).assert(200);
    look(&anna, "/connections/c/extractions/none").assert(404);
    look(&anna, "/connections/none/extractions/1").assert(404);
    serving.stop();
}

#[test]
fn f55_f104_lines_of_the_log_are_found_linked_and_harmless() {
    let mut config = tiny(72);
    config.tokens = vec![Token::with_roles(
        "sim-token",
        &["org.permission.search.create", "org.permission.tag.read", "org.user.read"],
    )];
    let sim = Simulator::start(config).unwrap();
    let (desk, serving) = serving(&sim, &["tags", "users", "notes"]);
    let job = job(&serving, ended);
    // What others say stands in logs.
    let path = desk.path(&format!(".bobbin/logs/c/{job}.jsonl"));
    let mut log = std::fs::read_to_string(&path).unwrap();
    let hostile = "<img src=x onerror=alert(1)>\u{1b}[2J</script>\u{202e}";
    for n in 0..1000 {
        let message = if n == 500 { hostile } else { "calm" };
        let line = json!({ "event": "notice", "level": if n == 500 { "error" } else { "info" },
            "stream": null, "message": message, "at": "2026-05-01T16:44:41Z" });
        log.push_str(&format!("{line}\n"));
    }
    std::fs::write(&path, &log).unwrap();
    let total = log.lines().count();
    let anna = person(&serving, "anna", "viewer");
    let address = format!("/connections/c/extractions/{job}");
    let numbers = |text: &str| -> Vec<usize> {
        let ids = text.split("<li id=\"L").skip(1);
        ids.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
    };
    let page = look(&anna, &address).assert(200).text;
    assert_eq!(numbers(&page), (total - 99..=total).collect::<Vec<_>>(), "the last ones");
    // From link to link to the beginning, and every line once.
    let (mut next, mut all) = (String::new(), Vec::new());
    loop {
        let page = look(&anna, &format!("{address}{next}")).assert(200).text;
        let mut lines = numbers(&page);
        lines.extend(all);
        all = lines;
        let Some((_, rest)) = page.split_once("data-more=\"earlier\" href=\"") else { break };
        next = rest.split("#log").next().unwrap().replace("&#38;", "&");
    }
    assert_eq!(all, (1..=total).collect::<Vec<_>>());
    // By level and by what they hold.
    let errors = look(&anna, &format!("{address}/log?level=ERROR&line=1")).assert(200).text;
    let one = total - 499;
    assert!(numbers(&errors).contains(&one), "{errors}");
    assert!(!errors.contains("<img") && !errors.contains('\u{1b}') && !errors.contains('\u{202e}'));
    assert!(errors.contains("&#60;img src=x onerror=alert(1)&#62;\\u{1b}[2J"), "{errors}");
    let found = look(&anna, &format!("{address}/log?line=1&search=ONERROR")).assert(200).text;
    assert_eq!(numbers(&found), [one]);
    let found = look(&anna, &format!("{address}/log?line=300&most=7")).assert(200).text;
    assert_eq!(numbers(&found), (300..307).collect::<Vec<_>>());
    let searched = look(&anna, &format!("{address}?search=%22%3E%3Cscript%3E")).assert(200).text;
    assert!(searched.contains("No line is like that") && !searched.contains("\"><script>"));
    // What is missing says so at the top, with the line that says so.
    assert!(page.contains("Something is missing") && page.contains("notes"), "{page}");
    assert!(page.contains("of the log</a>"));
    serving.stop();
}

#[test]
fn f104_a_running_extraction_is_watched_and_stopped_by_those_who_may() {
    let mut config = tiny(73);
    config.rate.factor = 1.0;
    config.latency_ms = 400;
    let sim = Simulator::start(config).unwrap();
    let (_desk, serving) = serving(&sim, &["customers", "conversations", "messages"]);
    let job = job(&serving, |job| job["status"] == "running");
    let (anna, olga) = (person(&serving, "anna", "viewer"), person(&serving, "olga", "operator"));
    let address = format!("/connections/c/extractions/{job}");
    let page = look(&anna, &address).assert(200).text;
    assert!(page.contains(&format!("sse-connect=\"{address}/live\"")), "{page}");
    assert!(!page.contains("/stop\""), "a viewer is offered nothing to do");
    assert!(look(&olga, &address).assert(200).text.contains(&format!("{address}/stop")));
    // It goes on by itself until it is over.
    let cookie = anna.cookie.clone();
    let url = format!("http://{}{address}/live", serving.address);
    let watching = std::thread::spawn(move || {
        let answer = ureq::get(url).header("Cookie", cookie).call().unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let lines = BufReader::new(answer.into_body().into_reader()).lines();
        let lines: Vec<String> = lines.map_while(Result::ok).collect();
        lines
    });
    form(&anna, &format!("{address}/stop"), &anna.csrf).assert(403);
    form(&olga, &format!("{address}/stop"), "wrong").assert(403);
    let until = Instant::now() + LONG;
    while !look(&anna, &format!("{address}/log")).text.contains("extracting from") {
        assert!(Instant::now() < until, "nothing was extracted");
        std::thread::sleep(Duration::from_millis(100));
    }
    let gone = form(&olga, &format!("{address}/stop"), &olga.csrf).assert(303);
    assert_eq!(gone.header("location"), Some(address.as_str()));
    let lines = watching.join().unwrap();
    for name in ["head", "tables", "coverage", "log", "ended"] {
        assert!(lines.contains(&format!("event: {name}")), "{name}: {lines:#?}");
    }
    let page = look(&anna, &address).assert(200).text;
    assert!(page.contains("It was stopped") && page.contains("Interrupted"), "{page}");
    assert!(!page.contains("sse-connect"));
    form(&olga, &format!("{address}/stop"), &olga.csrf).assert(409);
    serving.stop();
}

/// Whoever asked for a job finds it from that instant on, if it waits for its turn.
#[test]
fn f104_an_extraction_that_waits_for_its_turn_has_a_page() {
    let mut config = tiny(75);
    config.rate.factor = 1.0;
    config.latency_ms = 400;
    let sim = Simulator::start(config).unwrap();
    let desk = empty(&sim);
    let mut serving = Serving::start_with(&desk, &["--listen", "127.0.0.1:0", "--jobs", "1"]);
    set_up(&serving, &sim, &["customers", "conversations", "messages"]);
    job(&serving, |job| job["status"] == "running");
    let other = json!({
        "name": "d", "source": "kustomer", "destination": "out", "tables": ["tags"], "schema": "d",
    });
    serving.done("POST", "/api/v1/connections", &other);
    serving.done("PATCH", "/api/v1/connections/d", &json!({ "paused": true }));
    let begun = serving.done("POST", "/api/v1/connections/d/jobs", &Value::Null);
    let job = begun["job"].as_str().unwrap();
    let known = serving.get(&format!("/api/v1/connections/d/jobs/{job}"));
    assert_eq!((&known["id"], &known["status"]), (&json!(job), &json!("running")));
    assert_eq!(serving.get("/api/v1/connections/d/jobs")["data"], json!([]), "it has not begun");
    let olga = person(&serving, "olga", "operator");
    let address = format!("/connections/d/extractions/{job}");
    let page = look(&olga, &address).assert(200).text;
    assert!(page.contains("Waiting to begin") && page.contains("No lines yet"), "{page}");
    assert!(page.contains(&format!("sse-connect=\"{address}/live\"")), "{page}");
    look(&olga, "/connections/d/extractions/20200101T000000.000000Z").assert(404);
    assert!(page.contains("Waiting for") && !page.contains("Running for"), "{page}");
    let watch = |address: &str| {
        let (cookie, url) =
            (olga.cookie.clone(), format!("http://{}{address}/live", serving.address));
        let (there, is_there) = std::sync::mpsc::channel();
        let watching = std::thread::spawn(move || {
            let answer = ureq::get(url).header("Cookie", cookie).call().unwrap();
            there.send(()).unwrap();
            BufReader::new(answer.into_body().into_reader())
                .lines()
                .map_while(Result::ok)
                .collect::<Vec<String>>()
        });
        is_there.recv().unwrap();
        watching
    };
    // Whoever stops it is led to the list, and whoever watches it is told.
    let watching = watch(&address);
    let stopped = form(&olga, &format!("{address}/stop"), &olga.csrf).assert(303);
    assert_eq!(stopped.header("location"), Some("/connections/d/extractions"));
    let said = stopped.header("set-cookie").unwrap_or_default();
    assert!(said.contains("taken+out+before+its+turn"), "{stopped:?}");
    let page = look(&olga, "/connections/d/extractions").assert(200).text;
    assert!(!page.contains(&address), "{page}");
    let lines = watching.join().unwrap();
    for text in ["It was taken out before its turn came", "event: gone"] {
        assert!(lines.iter().any(|line| line.contains(text)), "{text}: {lines:#?}");
    }
    look(&olga, &address).assert(404);
    // Also whoever comes later, as a page does that found the service away.
    let late = look(&olga, &format!("{address}/live")).assert(200).text;
    assert!(
        late.contains("event: head") && late.ends_with("event: gone\ndata: gone\n\n"),
        "{late}"
    );
    // Another one is watched until the first ends and its turn comes.
    let begun = serving.done("POST", "/api/v1/connections/d/jobs", &Value::Null);
    let address = format!("/connections/d/extractions/{}", begun["job"].as_str().unwrap());
    let watching = watch(&address);
    serving.done("POST", "/api/v1/connections/c/stop", &Value::Null);
    let lines = watching.join().unwrap();
    for text in ["Waiting to begin", "Running", "event: ended"] {
        assert!(lines.iter().any(|line| line.contains(text)), "{text}: {lines:#?}");
    }
    assert!(look(&olga, &address).assert(200).text.contains("Complete"));
    drop(olga);
    next(&mut serving.lines, "refused");
    serving.stop();
}

/// Viewers take no connection from those who ask: as many as there are connections may look.
#[test]
fn those_who_look_keep_nobody_from_asking() {
    let mut config = tiny(74);
    config.latency_ms = 1000;
    let sim = Simulator::start(config).unwrap();
    let (_desk, serving) = serving(&sim, &["customers", "conversations", "messages"]);
    let job = job(&serving, |job| job["status"] == "running");
    let url = format!("http://{}/connections/c/extractions/{job}/live", serving.address);
    let watch = || {
        let answer = ureq::get(&url).header("Authorization", &serving.bearer).call().unwrap();
        let mut lines = BufReader::new(answer.into_body().into_reader()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("event: "));
        lines
    };
    // More than there are places for requests.
    let viewers: Vec<_> = (0..80).map(|_| watch()).collect();
    assert_eq!(serving.ask("GET", "/health").0, 200);
    drop(viewers);
    serving.stop();
}
