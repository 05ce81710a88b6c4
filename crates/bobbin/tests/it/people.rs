//! Users, sessions, and who did what: as a person, a page and somebody who means ill ask for it.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fake_kustomer::{Running, Simulator};
use serde_json::{Value, json};

use crate::api::Serving;
use crate::setup::empty;
use crate::support::{Desk, Told, tiny};

/// An answer with its headers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn assert(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

pub(crate) fn send(
    serving: &Serving,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: impl Into<String>,
) -> Answer {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", serving.address));
    if !headers.iter().any(|(name, _)| *name == "Content-Type") {
        request = request.header("Content-Type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = agent.run(request.body(body.into()).unwrap()).unwrap();
    Answer {
        status: answer.status().as_u16(),
        headers: answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        text: String::from_utf8_lossy(&answer.body_mut().read_to_vec().unwrap()).into_owned(),
    }
}

/// Somebody who has logged in.
pub(crate) struct Page<'a> {
    pub(crate) serving: &'a Serving,
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

impl<'a> Page<'a> {
    #[track_caller]
    pub(crate) fn open(serving: &'a Serving, body: &Value) -> Self {
        let answer = login(serving, body).assert(201);
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Self { serving, cookie, csrf: answer.json()["csrf"].as_str().unwrap().to_owned() }
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("Cookie", self.cookie.as_str()), ("X-Bobbin-CSRF", self.csrf.as_str())];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        send(self.serving, (method, path), &headers, body)
    }

    /// The same, asked of the service after it was started anew.
    pub(crate) fn at(other: &'a Serving, (cookie, csrf): (String, String)) -> Self {
        Self { serving: other, cookie, csrf }
    }

    pub(crate) fn parts(self) -> (String, String) {
        (self.cookie, self.csrf)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ask("GET", "/api/v1/me", &Value::Null).status == 401
    }
}

pub(crate) fn login(serving: &Serving, body: &Value) -> Answer {
    send(serving, ("POST", "/api/v1/session"), &[], body.to_string())
}

pub(crate) fn user(name: &str) -> Value {
    json!({ "name": name, "password": password(name) })
}

pub(crate) fn password(name: &str) -> String {
    format!("pass-canary-{name}")
}

/// The command line with a password as its input.
fn with_password(desk: &Desk, arguments: &[&str], password: &str) -> Told {
    let mut child = desk
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who refuses before it has read is no failure here.
    let _ = child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes());
    Told::of(child.wait_with_output().unwrap())
}

pub(crate) fn add(desk: &Desk, name: &str, role: &str) {
    let arguments = ["user", "add", name, "--role", role, "--password-stdin"];
    with_password(desk, &arguments, &password(name)).assert(0, &[name, "is made"]);
}

pub(crate) fn start() -> (Running, Desk, Serving) {
    let sim = Simulator::start(tiny(71)).unwrap();
    let desk = empty(&sim);
    let serving = Serving::start(&desk);
    (sim, desk, serving)
}

/// Every file of bobbin's directory but the token.
pub(crate) fn files(desk: &Desk) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(desk.path(".bobbin")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_file() && name != "api-token" {
            all.push((name, fs::read(path).unwrap()));
        }
    }
    all
}

#[test]
fn f101_users_are_made_and_managed_on_the_command_line() {
    let sim = Simulator::start(tiny(71)).unwrap();
    let desk = empty(&sim);
    let serving = Serving::start(&desk);
    desk.run(&["user", "list"]).assert(0, &["no users"]);
    add(&desk, "anna", "administrator");
    let again = ["user", "add", "ANNA", "--role", "viewer", "--password-stdin"];
    with_password(&desk, &again, "long enough to be one").assert(2, &["there is a user"]);
    for (name, password, word) in [
        ("bert", "too short", "12 to 200 characters, this one 9"),
        ("bert-the-great", "Bert-The-Great", "the user's name"),
        ("b/b", "long enough to be one", "no user's name"),
    ] {
        let add = ["user", "add", name, "--role", "viewer", "--password-stdin"];
        let told = with_password(&desk, &add, password);
        told.assert(2, &[word]);
        assert!(!format!("{told:?}").contains(password));
    }
    desk.run(&["user", "add", "bert", "--role", "viewer"]).assert(2, &["--password-stdin"]);
    add(&desk, "bert", "viewer");
    let told = desk.run(&["user", "list"]);
    told.assert(0, &["anna", "administrator", "bert", "viewer"]);
    assert!(!told.stdout.contains("argon2"));
    desk.run(&["user", "list", "--format", "json"]).assert(0, &["\"disabled_at\":null"]);
    desk.run(&["user", "role", "anna", "operator"])
        .assert(0, &["operator now", "no user is an administrator now", "api-token still is"]);
    desk.run(&["user", "role", "Bert", "administrator"]).assert(0, &["`bert` is administrator"]);
    desk.run(&["user", "disable", "anna"]).assert(0, &["not let in any more"]);
    login(&serving, &user("anna")).assert(401);
    desk.run(&["user", "enable", "anna"]).assert(0, &["is let in"]);
    let page = Page::open(&serving, &user("anna"));
    let other = ["user", "password", "anna", "--password-stdin"];
    with_password(&desk, &other, "quite another one").assert(0, &["another password now"]);
    assert!(page.is_over());
    login(&serving, &user("anna")).assert(401);
    login(&serving, &json!({ "name": "Anna", "password": "quite another one" })).assert(201);
    desk.run(&["user", "remove", "anna"]).assert(0, &["is removed"]);
    desk.run(&["user", "remove", "anna"]).assert(2, &["there is no user `anna`"]);
    login(&serving, &json!({ "name": "anna", "password": "quite another one" })).assert(401);

    // All of it was written down, by whom and from where.
    let told = desk.run(&["audit"]);
    told.assert(0, &["user add anna (administrator)", "user remove anna", "127.0.0.1"]);
    told.assert(0, &["user role bert administrator", "user password anna", "user anna"]);
    let uid = format!("cli uid {}", rustix::process::getuid().as_raw());
    assert!(told.stdout.contains(&uid), "{told:?}");
    desk.run(&["audit", "--limit", "1", "--format", "json"]).assert(0, &["\"status\":401"]);
    serving.stop();
}

/// A session begins with the token while there are no users, and with a password; what it may it may with
/// what only its own page knows.
#[test]
fn f101_a_page_begins_with_the_token_and_makes_users() {
    let (_sim, desk, serving) = start();
    let token = fs::read_to_string(desk.path(".bobbin/api-token")).unwrap();
    for (wrong, status) in [
        (json!({ "token": "wrong" }), 401),
        (json!({ "name": "anna", "password": "wrong" }), 401),
        (json!({ "name": "anna" }), 400),
        (json!({ "name": "a", "password": "b", "token": token.trim() }), 400),
        (json!({ "token": 7_312_312_312_i64 }), 400),
        (json!([]), 400),
    ] {
        let answer = login(&serving, &wrong).assert(status);
        assert!(answer.header("set-cookie").is_none() && !answer.text.contains("7312312312"));
    }
    let answer = login(&serving, &json!({ "token": token })).assert(201);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("bobbin_session="), "{cookie}");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let first = Page::open(&serving, &json!({ "token": token.trim() }));
    let me = first.ask("GET", "/api/v1/me", &Value::Null).assert(200).json();
    assert_eq!((&me["kind"], &me["role"]), (&"token".into(), &"administrator".into()));
    assert_eq!(me["csrf"], first.csrf.as_str());

    // It makes users; they change their own passwords.
    let mut anna = user("anna");
    anna["role"] = "viewer".into();
    first.ask("POST", "/api/v1/users", &anna).assert(201);
    first.ask("POST", "/api/v1/users", &anna).assert(409);
    anna["name"] = "än".into();
    first.ask("POST", "/api/v1/users", &anna).assert(422);
    let short = json!({ "name": "bert", "role": "viewer", "password": "short-one" });
    let refused = first.ask("POST", "/api/v1/users", &short).assert(422);
    assert!(!refused.text.contains("short-one"));
    let typo = json!({ "name": "bert", "role": "king", "password": password("bert") });
    let refused = first.ask("POST", "/api/v1/users", &typo).assert(400);
    assert!(!refused.text.contains("canary") && !refused.text.contains("king"));
    let users = first.ask("GET", "/api/v1/users", &Value::Null).assert(200);
    assert!(!users.text.contains("argon2") && users.text.contains("\"anna\""), "{users:?}");

    let (here, there) = (Page::open(&serving, &user("anna")), Page::open(&serving, &user("anna")));
    let me = here.ask("GET", "/api/v1/me", &Value::Null).json();
    assert_eq!((&me["kind"], &me["name"]), (&"user".into(), &"anna".into()));
    here.ask("GET", "/api/v1/users", &Value::Null).assert(403);
    let own = "/api/v1/me/password";
    let change = |old: &str, new: &str| json!({ "old": old, "new": new });
    here.ask("PUT", own, &change("wrong", "another long one")).assert(422);
    here.ask("PUT", own, &change(&password("anna"), "short")).assert(422);
    here.ask("PUT", own, &change(&password("anna"), "another long one")).assert(200);
    assert!(!here.is_over() && there.is_over());
    login(&serving, &user("anna")).assert(401);
    let anna = json!({ "name": "anna", "password": "another long one" });
    let there = Page::open(&serving, &anna);

    // Another role, no entrance.
    let of = "/api/v1/users/anna";
    let answer = first.ask("PATCH", of, &json!({ "role": "operator" })).assert(200);
    assert!(answer.json()["warning"].as_str().unwrap().contains("no user is an administrator"));
    assert!(here.is_over() && there.is_over());
    let here = Page::open(&serving, &anna);
    first.ask("PATCH", of, &json!({ "enabled": false })).assert(200);
    assert!(here.is_over());
    login(&serving, &anna).assert(401);
    first.ask("PATCH", of, &json!({ "enabled": true, "password": "a third long one" })).assert(200);
    assert!(here.is_over(), "what has ended does not begin again");
    first.ask("PATCH", "/api/v1/users/none", &json!({ "enabled": true })).assert(404);
    first.ask("PATCH", of, &json!({ "zebra": true })).assert(400);
    first.ask("PATCH", of, &json!({})).assert(400);
    first.ask("DELETE", of, &Value::Null).assert(200);
    first.ask("DELETE", of, &Value::Null).assert(404);

    // What has no session, what has no password.
    first.ask("PUT", own, &change("a", "b")).assert(409);
    assert_eq!(serving.send("DELETE", "/api/v1/session", &json!({})).0, 409);
    assert_eq!(serving.send("PUT", own, &change("a", "b")).0, 409);
    let me = serving.get("/api/v1/me");
    assert_eq!((&me["kind"], &me["csrf"]), (&"token".into(), &Value::Null));
    let gone = first.ask("DELETE", "/api/v1/session", &Value::Null).assert(204);
    let cookie = gone.header("set-cookie").unwrap();
    assert!(cookie.starts_with("bobbin_session=;") && cookie.contains("Max-Age=0"), "{cookie}");
    assert!(first.is_over());

    // A new first token ends what began with the old one.
    let first = Page::open(&serving, &json!({ "token": token.trim() })).parts();
    serving.stop();
    fs::remove_file(desk.path(".bobbin/api-token")).unwrap();
    let serving = Serving::start(&desk);
    assert!(Page::at(&serving, first).is_over());
    serving.stop();
}

/// Every operation by every role, in a session.
#[test]
fn f101_each_role_may_in_a_session_what_it_may_with_a_key() {
    let (_sim, desk, serving) = start();
    let document = serving.get("/api/v1/openapi.json");
    let roles = ["viewer", "operator", "administrator"];
    let mut refused = 0;
    for (rank, role) in roles.iter().enumerate() {
        add(&desk, role, role);
        let mut page = Page::open(&serving, &user(role));
        // Events do not end.
        let paths = document["paths"].as_object().unwrap().iter();
        for (path, operations) in paths.filter(|(path, _)| *path != "/api/v1/events") {
            let address = path.replace("{connection}", "none").replace(['{', '}'], "");
            for (method, operation) in operations.as_object().unwrap() {
                let Some(needed) = operation["x-role"].as_str() else { continue };
                let needed = roles.iter().position(|role| *role == needed).unwrap();
                let method = method.to_uppercase();
                let answer = page.ask(&method, &address, &Value::Null);
                assert_eq!(answer.status == 403, rank < needed, "{method} {path}: {answer:?}");
                assert_ne!(answer.status, 401, "{method} {path} {role}");
                refused += u32::from(answer.status == 403);
                if (path.as_str(), method.as_str()) == ("/api/v1/session", "DELETE") {
                    page = Page::open(&serving, &user(role));
                }
            }
        }
    }
    assert!(refused > 15, "{refused}");
    serving.stop();
}

/// `failures.md` 4.4: pages of other places, names that lead here, sessions that are put upon somebody.
#[test]
fn f101_a_session_is_of_use_to_its_own_page_alone() {
    let (_sim, desk, serving) = start();
    add(&desk, "anna", "administrator");
    let page = Page::open(&serving, &user("anna"));
    let (cookie, csrf) = (page.cookie.as_str(), page.csrf.as_str());
    let origin = format!("http://{}", serving.address);
    let body = json!({ "description": "x", "role": "viewer" }).to_string();
    let post = |headers: &[(&str, &str)]| {
        let headers = [&[("Cookie", cookie)], headers].concat();
        send(&serving, ("POST", "/api/v1/keys"), &headers, body.as_str()).status
    };
    let csrf_header = ("X-Bobbin-CSRF", csrf);
    let other = Page::open(&serving, &user("anna"));
    for (headers, status) in [
        (vec![csrf_header], 201),
        (vec![csrf_header, ("Origin", &*origin), ("Sec-Fetch-Site", "same-origin")], 201),
        (vec![], 403),
        (vec![("X-Bobbin-CSRF", "")], 403),
        (vec![("X-Bobbin-CSRF", &*"0".repeat(64))], 403),
        (vec![("X-Bobbin-CSRF", &*other.csrf)], 403),
        (vec![("Origin", &*origin)], 403),
        (vec![csrf_header, ("Origin", "http://evil.example")], 403),
        (vec![csrf_header, ("Origin", "http://localhost:1")], 403),
        (vec![csrf_header, ("Origin", "null")], 403),
        (vec![csrf_header, ("Sec-Fetch-Site", "cross-site")], 403),
        (vec![csrf_header, ("Sec-Fetch-Site", "same-site")], 403),
        (vec![csrf_header, ("Host", "evil.example")], 421),
        (vec![csrf_header, ("Authorization", "Bearer wrong")], 401),
        (vec![csrf_header, ("Authorization", "Bearer")], 401),
        // What a proxy asks for is the proxy's.
        (vec![csrf_header, ("Authorization", "Basic YTpi"), ("Origin", &*origin)], 201),
    ] {
        assert_eq!(post(&headers), status, "{headers:?}");
    }
    // A form cannot send what is no JSON, nor a page of another place log somebody in.
    let form = [("Content-Type", "text/plain")];
    send(&serving, ("POST", "/api/v1/session"), &form, user("anna").to_string()).assert(400);
    for foreign in [("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")] {
        let body = user("anna").to_string();
        send(&serving, ("POST", "/api/v1/session"), &[foreign], body).assert(403);
        send(&serving, ("GET", "/api/v1/me"), &[foreign, ("Cookie", cookie)], "").assert(403);
    }
    let own = [("Origin", origin.as_str())];
    send(&serving, ("POST", "/api/v1/session"), &own, user("anna").to_string()).assert(201);
    send(&serving, ("GET", "/api/v1/me"), &own, "").assert(401);
    let bearer = [own[0], ("Authorization", serving.bearer.as_str())];
    send(&serving, ("GET", "/api/v1/me"), &bearer, "").assert(403);
    assert!(
        page.ask("GET", "/api/v1/me", &Value::Null).header("access-control-allow-origin").is_none()
    );

    // Fixation: what came along is not what one has after, and ends.
    let fixed = format!("bobbin_session={}", "a".repeat(64));
    for before in [fixed.as_str(), cookie] {
        let headers = [("Cookie", before)];
        let body = user("anna").to_string();
        let answer = send(&serving, ("POST", "/api/v1/session"), &headers, body).assert(201);
        assert!(!answer.header("set-cookie").unwrap().starts_with(before));
        send(&serving, ("GET", "/api/v1/me"), &headers, "").assert(401);
    }
    assert!(!other.is_over());

    // Idle for half a day, or a week old.
    let other = other.parts();
    serving.stop();
    let sqlite = rusqlite::Connection::open(desk.path(".bobbin/ledger.sqlite")).unwrap();
    let set = |column: &str, hours: i64| {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
        let sql = format!("UPDATE sessions SET {column} = ?1");
        sqlite.execute(&sql, [format!("{at:.9}")]).unwrap();
    };
    let serving = Serving::start(&desk);
    let other = Page::at(&serving, other);
    set("seen", 11);
    assert!(!other.is_over());
    set("seen", 12);
    assert!(other.is_over());
    set("seen", 0);
    assert!(!other.is_over());
    set("made", 7 * 24);
    assert!(other.is_over());
    serving.stop();
}

/// A name is tried five times; nothing tells whether there is such a user.
#[test]
fn f101_wrong_passwords_are_slowed_down_and_tell_nothing() {
    let (_sim, desk, serving) = start();
    add(&desk, "anna", "viewer");
    let mut took = [Duration::ZERO; 2];
    let wrong = |name: &str| json!({ "name": name, "password": "wrong-password-canary" });
    for _ in 0..5 {
        let mut said = Vec::new();
        for (n, name) in ["anna", "nobody"].into_iter().enumerate() {
            let since = Instant::now();
            let answer = login(&serving, &wrong(name)).assert(401);
            took[n] += since.elapsed();
            said.push(answer.text);
        }
        assert_eq!(said[0], said[1]);
    }
    let ratio = took[0].as_secs_f64() / took[1].as_secs_f64();
    assert!((0.3..3.0).contains(&ratio), "{took:?}");
    let mut said = Vec::new();
    for name in ["Anna", "nobody"] {
        let answer = login(&serving, &wrong(name)).assert(429);
        let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((800..=900).contains(&after), "{after}");
        said.push(answer.text);
    }
    assert_eq!(said[0], said[1]);
    login(&serving, &user("anna")).assert(429);
    // Anna elsewhere is not kept out by whoever tries her name here.
    let elsewhere = [("X-Forwarded-For", "10.1.2.3")];
    let body = user("anna").to_string();
    send(&serving, ("POST", "/api/v1/session"), &elsewhere, body).assert(201);
    login(&serving, &user("anna")).assert(429);
    // The first token still lets in, and each of it was written down, without what was typed.
    let token = serving.bearer.trim_start_matches("Bearer ").to_owned();
    Page::open(&serving, &json!({ "token": token }));
    let audit = serving.get("/api/v1/audit");
    let rows = audit["data"].as_array().unwrap();
    let of = |name: &str, status: u16| {
        rows.iter().filter(|row| row["name"] == name && row["status"] == status).count()
    };
    assert_eq!((of("anna", 401), of("nobody of that name", 401)), (5, 5), "{audit}");
    assert_eq!(
        (of("anna", 429), of("nobody of that name", 429)),
        (1, 1),
        "once is enough: {audit}"
    );
    assert_eq!(of("api-token", 201), 1);
    // Whoever shows wrong tokens does not fill the disk.
    for _ in 0..60 {
        login(&serving, &json!({ "token": "wrong" })).assert(401);
    }
    let audit = serving.get("/api/v1/audit");
    let rows = audit["data"].as_array().unwrap();
    let failed = rows.iter().filter(|row| row["status"] == 401).count();
    assert_eq!(failed, 5 + 50 - 1, "anna's, and of nobody fifty with the refusal: {audit}");
    assert!(!audit.to_string().contains("canary"));
    serving.stop();
}

/// Who did what is written down, for administrators; no secret is, anywhere.
#[test]
fn who_did_what_is_written_down_and_no_secret_is() {
    let sim = Simulator::start(tiny(71)).unwrap();
    let desk = empty(&sim);
    let mut command = desk.command(&["serve", "--format", "json", "--listen", "127.0.0.1:0"]);
    let mut serving =
        Serving::of(&desk, command.stderr(fs::File::create(desk.path("stderr")).unwrap()));
    add(&desk, "anna", "operator");
    let page = Page::open(&serving, &user("anna"));
    page.ask("POST", "/api/v1/connections/none/stop?secret-canary=1", &Value::Null).assert(404);
    page.ask("DELETE", "/api/v1/connections/none", &Value::Null).assert(403);
    page.ask("GET", "/api/v1/connections", &Value::Null).assert(200);
    let key = desk.run(&["key", "create", "robot", "--role", "administrator", "--format", "json"]);
    let key: Value = serde_json::from_str(&key.stdout).unwrap();
    let text = key["key"].as_str().unwrap();
    let ending = &text[text.len() - 4..];
    let bearer = format!("Bearer {text}");
    let headers = [("Authorization", bearer.as_str()), ("X-Forwarded-For", "9.9.9.9, 10.1.2.3")];
    let body = json!({ "name": "kim", "role": "viewer", "password": password("kim") });
    send(&serving, ("POST", "/api/v1/users"), &headers, body.to_string()).assert(201);
    send(&serving, ("POST", "/api/v1/users"), &[], body.to_string()).assert(401);

    let mut rows = Vec::new();
    let mut before = String::new();
    loop {
        let page = serving.get(&format!("/api/v1/audit?limit=2{before}"));
        rows.extend(page["data"].as_array().unwrap().clone());
        let Some(next) = page["next_before"].as_i64() else { break };
        before = format!("&before={next}");
    }
    let told: Vec<String> = rows
        .iter()
        .rev()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
            let name = text("name").replace(ending, "ENDS");
            format!(
                "{} {name}: {} {} {} {}",
                text("kind"),
                text("method"),
                text("path"),
                row["status"],
                text("address")
            )
        })
        .collect();
    let uid = format!("cli uid {}", rustix::process::getuid().as_raw());
    assert_eq!(
        told,
        [
            &*format!("{uid}: bobbin user add anna (operator) null -"),
            "user anna: POST /api/v1/session 201 127.0.0.1",
            "user anna: POST /api/v1/connections/none/stop 404 127.0.0.1",
            "user anna: DELETE /api/v1/connections/none 403 127.0.0.1",
            &*format!("{uid}: bobbin key create 1 (administrator) null -"),
            "key robot (…ENDS): POST /api/v1/users 201 10.1.2.3",
        ]
    );
    page.ask("GET", "/api/v1/audit", &Value::Null).assert(403);

    // What cannot be written down fails nothing, and is told.
    let sqlite = rusqlite::Connection::open(desk.path(".bobbin/ledger.sqlite")).unwrap();
    sqlite.execute_batch("ALTER TABLE audit RENAME TO elsewhere").unwrap();
    assert_eq!(serving.ask("DELETE", "/api/v1/users/kim").0, 200);
    sqlite.execute_batch("ALTER TABLE elsewhere RENAME TO audit").unwrap();
    drop(sqlite);

    // Secrets are in no file, answer or line.
    let session = page.cookie.trim_start_matches("bobbin_session=");
    let token = serving.bearer.trim_start_matches("Bearer ").to_owned();
    let secrets = [&*password("anna"), &*password("kim"), session, &*page.csrf, &*token, text];
    let mut told = files(&desk);
    assert!(told.iter().any(|(name, _)| name == "ledger.sqlite"));
    for path in ["users", "audit", "keys", "me", "connections", "sources"] {
        told.push((path.to_owned(), serving.get(&format!("/api/v1/{path}")).to_string().into()));
    }
    for verb in [vec!["user", "list"], vec!["audit"], vec!["key", "list"]] {
        told.push((verb.join(" "), desk.run(&verb).stdout.into()));
    }
    crate::serving::terminate(&mut serving.child);
    let lines: Vec<String> = serving.lines.by_ref().map(Result::unwrap).collect();
    told.push(("stdout".to_owned(), lines.join("\n").into()));
    let stderr = fs::read_to_string(desk.path("stderr")).unwrap();
    assert!(stderr.contains("warning: cannot write down who did what"), "{stderr}");
    told.push(("stderr".to_owned(), stderr.into()));
    serving.child.wait().unwrap();
    told.extend(files(&desk));
    for (name, bytes) in &told {
        for secret in secrets {
            let there = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!there, "{secret} is in {name}");
        }
    }
}
