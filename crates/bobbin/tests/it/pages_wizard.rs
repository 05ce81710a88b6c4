//! The first run, the wizard for Kustomer and the destinations in the browser: what is done, what is told, who
//! may, and that nothing entered is lost or run as script.

use std::time::{Duration, Instant};

use fake_kustomer::{Running, Simulator, Token};
use serde_json::json;

use crate::api::Serving;
use crate::people::{Answer, Page, add, start, user};
use crate::serving::next;
use crate::setup::empty;
use crate::support::{Desk, tiny};

/// A form as a browser sends it.
fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Somebody at a browser.
struct Browser<'a> {
    serving: &'a Serving,
    cookie: String,
    csrf: String,
}

impl<'a> Browser<'a> {
    fn token(serving: &'a Serving) -> Self {
        let token = serving.bearer.strip_prefix("Bearer ").unwrap();
        Self::of(Page::open(serving, &json!({ "token": token })))
    }

    fn user(serving: &'a Serving, name: &str) -> Self {
        Self::of(Page::open(serving, &user(name)))
    }

    fn of(page: Page<'a>) -> Self {
        let serving = page.serving;
        let (cookie, csrf) = page.parts();
        Self { serving, cookie, csrf }
    }

    fn get(&self, path: &str) -> Answer {
        let headers = [("Cookie", self.cookie.as_str())];
        crate::people::send(self.serving, ("GET", path), &headers, "")
    }

    fn post(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let csrf = [("csrf", self.csrf.as_str())];
        self.send(path, &[&csrf, pairs].concat())
    }

    fn send(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let headers = [
            ("Cookie", self.cookie.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        crate::people::send(self.serving, ("POST", path), &headers, form(pairs))
    }

    /// Waits until a page says something.
    #[track_caller]
    fn wait(&self, path: &str, word: &str) -> String {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.get(path);
            if answer.status == 200 && answer.text.contains(word) {
                return answer.text;
            }
            assert!(Instant::now() < until, "{path} does not say `{word}`: {}", answer.text);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Answer {
    #[track_caller]
    fn leads_to(&self, to: &str) {
        assert_eq!((self.status, self.header("location")), (303, Some(to)), "{self:?}");
    }

    #[track_caller]
    fn says(&self, status: u16, words: &[&str]) {
        assert_eq!(self.status, status, "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "`{word}` is not in {}", self.text);
        }
    }
}

fn destination(browser: &Browser<'_>) {
    let pairs = [("type", "duckdb"), ("display_name", "Warehouse"), ("path", "out.duckdb")];
    browser.post("/welcome/destination", &pairs).leads_to("/add");
}

fn key<'a>(sim: &'a Running, name: &'a str, token: &'a str) -> [(&'a str, &'a str); 3] {
    [("display_name", name), ("api_token", token), ("api_url", sim.url())]
}

#[test]
fn f105_the_first_run_makes_a_user_and_a_destination() {
    let (_sim, _desk, serving) = start();
    let token = serving.bearer.strip_prefix("Bearer ").unwrap().to_owned();
    let form_type = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = form(&[("by", "token"), ("token", &token)]);
    crate::people::send(&serving, ("POST", "/login"), &form_type, body).leads_to("/welcome");

    let first = Browser::token(&serving);
    first.get("/welcome").says(200, &["Who are you?", "name=\"csrf\""]);
    let user = |name: &'static str, password: &'static str, again: &'static str| {
        [("name", name), ("password", password), ("again", again)]
    };
    let good = "correct horse battery";
    first.send("/welcome/user", &user("anna", good, good)).says(403, &["X-Bobbin-CSRF"]);
    for (pairs, word) in [
        (user("anna", "short", "short"), "A password has 12"),
        (user("anna", good, "another one, wrong"), "This is not the password above."),
        (user("a b", good, good), "no user"),
    ] {
        let answer = first.post("/welcome/user", &pairs);
        answer.says(422, &[word, "aria-invalid=\"true\"", &format!("value=\"{}\"", pairs[0].1)]);
        assert!(!answer.text.contains(good), "a password is not sent back");
    }
    let made = first.post("/welcome/user", &user("anna", good, good));
    made.leads_to("/welcome/destination");
    assert!(made.header("set-cookie").unwrap().starts_with("bobbin_s"), "{made:?}");
    assert_eq!(first.get("/welcome").status, 303, "that session has given way to anna's");

    let anna = Browser::of(Page::open(&serving, &json!({ "name": "anna", "password": good })));
    anna.post("/welcome/user", &user("bert", good, good)).says(409, &["users already"]);
    anna.get("/welcome").leads_to("/welcome/destination");
    anna.get("/add").leads_to("/welcome/destination");
    anna.get("/welcome/destination").says(200, &["value=\"warehouse.duckdb\"", "PostgreSQL"]);
    let outside = [("type", "duckdb"), ("display_name", "Out"), ("path", "/etc/out")];
    anna.post("/welcome/destination", &outside).says(422, &["wrong-path", "value=\"/etc/out\""]);
    destination(&anna);
    anna.get("/welcome/destination").leads_to("/add");
    anna.get("/welcome").leads_to("/");
    serving.stop();
}

#[test]
fn f105_the_wizard_keeps_what_was_entered_and_ends_with_a_run() {
    let mut config = tiny(93);
    let roles = ["org.permission.search.create", "org.permission.user.read"];
    config.tokens.push(Token::with_roles("few-roles", &roles));
    let sim = Simulator::start(config).unwrap();
    let desk = empty(&sim);
    let mut serving = Serving::start(&desk);
    let (cookie, csrf) = {
        let browser = Browser::token(&serving);
        destination(&browser);
        browser.get("/add").says(200, &["org.permission.search.create", "How to make the key"]);
        browser.get("/add-naming?display_name=Acme+(EU)").says(200, &["acme_eu"]);

        // What is wrong is told at its field; a secret is never sent back.
        let [name, _, url] = key(&sim, "Acme <b>EU</b>", "");
        let none = browser.post("/add", &[name, ("api_token", ""), url]);
        none.says(422, &["Paste the key here.", "Acme &#60;b&#62;EU&#60;/b&#62;"]);
        assert!(!none.text.contains("<b>EU"), "{}", none.text);
        let pairs =
            [&key(&sim, "Acme", "canary-token")[..], &[("schema", "Not a schema")]].concat();
        let wrong = browser.post("/add", &pairs);
        wrong.says(422, &["wrong-schema", "value=\"Not a schema\""]);
        assert!(!wrong.text.contains("canary-token"), "{}", wrong.text);

        // A wrong key fails the check and everything is kept.
        browser.post("/add", &key(&sim, "Acme", "canary-token")).leads_to("/add/acme/check");
        let failed = browser.wait("/add/acme/check", "The check failed");
        assert!(failed.contains("is not accepted") && !failed.contains("canary"), "{failed}");
        browser.get("/add/acme").leads_to("/add/acme/check");
        browser.get("/add/acme/tables").says(409, &["back to the check"]);
        let kept = browser.get("/add/acme/key");
        kept.says(200, &["value=\"Acme\"", sim.url(), "It is set; leave empty to keep it."]);
        assert!(!kept.text.contains("canary"), "{}", kept.text);
        browser.get("/").says(200, &["Not set up", "/add/acme\""]);
        browser
            .post("/add", &key(&sim, "Acme", "x"))
            .says(422, &["Another connection has this name"]);

        // A key without some roles: which, table by table.
        browser.post("/add/acme/key", &key(&sim, "Acme", "few-roles")).leads_to("/add/acme/check");
        let partly = browser.wait("/add/acme/check", "may read 6 of 9 tables");
        assert!(partly.contains("org.permission.tag.read"), "{partly}");
        browser.post("/add/acme/key", &key(&sim, "Acme", sim.token())).leads_to("/add/acme/check");
        browser.wait("/add/acme/check", "may read all 9 tables");
        browser.get("/add/acme").leads_to("/add/acme/start");
        (browser.cookie, browser.csrf)
    };

    // Not even a restart loses it.
    serving.stop();
    serving = Serving::start(&desk);
    let browser = Browser { serving: &serving, cookie, csrf };
    browser.get("/add/acme").leads_to("/add/acme/start");
    let held = sim.oracle().summary("message", fake_kustomer::Bounds::all()).unwrap().count;
    let forecast = browser.get("/add/acme/forecast?start_date=2015-01-01");
    forecast.says(200, &["messages", &format!("value=\"{held}\"")]);
    let asks = [("start_date", "2015-01-01"), ("act", "forecast")];
    let shown = "/add/acme/start/forecast?start_date=2015-01-01";
    browser.post("/add/acme/start", &asks).leads_to(shown);
    let shown = browser.get(shown);
    shown.says(200, &["What the first run will read", &format!("value=\"{held}\"")]);
    browser.get("/add/acme/forecast?start_date=soon").says(200, &["It cannot be told now"]);
    let start = |date: &'static str| browser.post("/add/acme/start", &[("start_date", date)]);
    start("2999-01-01").says(422, &["This day is still to come."]);
    start("2015-01-01").leads_to("/add/acme/schedule");

    // The schedule: what is shown is what bobbin schedule preview tells.
    let daily = [
        ("how", "every"),
        ("every", "1"),
        ("unit", "days"),
        ("anchor", "2026-01-01T06:30"),
        ("time_zone", "Europe/Berlin"),
    ];
    let preview = browser.get(&format!("/schedule/preview?{}", form(&daily)));
    preview
        .says(200, &["every day from 2026-01-01T05:30:00Z (Europe/Berlin)", "06:30", "Your time"]);
    let look = [&daily[..], &[("act", "preview")]].concat();
    browser.post("/add/acme/schedule", &look).says(200, &["value=\"2026-01-01T06:30\"", "06:30"]);
    let wrong = [("how", "cron"), ("cron", "0 15 10 * * *")];
    browser.post("/add/acme/schedule", &wrong).says(422, &["wrong-cron", "0 15 10 * * *"]);
    browser.get("/add/acme").leads_to("/add/acme/schedule");
    browser.post("/add/acme/schedule", &daily).leads_to("/add/acme/tables");
    browser.get("/add/acme").leads_to("/add/acme/tables");

    // Tables and columns.
    browser.get("/add/acme/tables").says(200, &["name=\"users.email\"", "value=\"tags\" checked"]);
    let finish = |pairs: &[(&str, &str)]| browser.post("/add/acme/finish", pairs);
    finish(&[]).says(422, &["Choose at least one table."]);
    let hash = [("table", "users"), ("users.email", "hash")];
    finish(&hash).says(422, &["there is no hash_key", "<option value=\"hash\" selected>"]);
    let none = finish(&[("act", "none"), ("table", "users"), ("users.email", "mask")]);
    none.says(200, &["value=\"users\">", "<option value=\"mask\" selected>"]);
    let chosen =
        [("table", "users"), ("table", "tags"), ("users.email", "mask"), ("users.name", "exclude")];
    browser.get("/add/acme/tables").says(200, &["Finish and begin the first run"]);
    let finished = finish(&chosen);
    finished.leads_to("/connections/acme");
    assert!(finished.said().contains("The first job begins."), "{finished:?}");
    let (cookie, csrf) = (browser.cookie, browser.csrf);
    let report = next(&mut serving.lines, "job")["report"].clone();
    assert_eq!(report["outcome"], "complete", "{report}");
    let browser = Browser { serving: &serving, cookie, csrf };
    browser.get("/add/acme").leads_to("/connections/acme");
    browser.get("/add/acme/key").says(409, &["is set up"]);
    let definition = serving.get("/api/v1/connections/acme/definition")["definition"].clone();
    let expected = json!({
        "source": "acme", "destination": "warehouse", "display_name": "Acme", "schema": "acme",
        "tables": ["tags", "users"], "mask": ["users.email"], "exclude": ["users.name"],
        "schedule": { "frequency_minutes": 1440, "anchor": "2026-01-01T05:30:00Z",
                      "time_zone": "Europe/Berlin" },
    });
    assert_eq!(definition, expected);
    serving.stop();
    desk.run(&[
        "query",
        "select count(*) > 0 and bool_and(email = '***') as masked from acme.users",
    ])
    .assert(0, &["true"]);
}

#[test]
fn f105_a_setup_can_be_given_up() {
    let (sim, _desk, serving) = start();
    let browser = Browser::token(&serving);
    destination(&browser);
    browser.post("/add", &key(&sim, "Acme", sim.token())).leads_to("/add/acme/check");
    browser.post("/add/acme/discard", &[]).leads_to("/");
    browser.get("/add/acme").says(404, &["no such connection"]);
    let sources = serving.get("/api/v1/sources");
    assert_eq!(sources["data"], json!([]), "its key is gone, too");

    // What was begun by Stitch's calls, without a key, goes on here.
    let begun = json!({ "display_name": "Other", "type": "platform.kustomer",
                        "properties": { "api_url": sim.url() } });
    serving.done("POST", "/v4/sources", &begun);
    browser.get("/add/other").leads_to("/add/other/key");
    let pairs = [("display_name", "Other"), ("api_token", sim.token()), ("api_url", sim.url())];
    browser.post("/add/other/key", &pairs).leads_to("/add/other/check");
    browser.wait("/add/other/check", "may read all 9 tables");
    serving.stop();
}

/// A source that others read, too, is told as such, goes with the last of them, and its checks are shown.
#[test]
fn f105_what_a_source_is_to_others_is_told() {
    let (sim, _desk, serving) = start();
    let browser = Browser::token(&serving);
    destination(&browser);
    browser.get("/add").says(200, &["Warehouse</a> be written?", "id=\"checked\""]);
    browser.wait("/add", ">Works<");
    browser.post("/add", &key(&sim, "Acme", sim.token())).leads_to("/add/acme/check");
    let alone = browser.get("/add/acme/key");
    assert!(!alone.text.contains("The same source is read by"), "{}", alone.text);
    let twin = [("clone_name", "Twin")];
    browser.post("/connections/acme/clone", &twin).leads_to("/connections/twin");
    for step in ["key", "start"] {
        let page = browser.get(&format!("/add/twin/{step}"));
        page.says(200, &["The same source is read by Acme"]);
    }
    browser.post("/add/twin/check", &[]).leads_to("/add/twin/check");
    browser.wait("/add/twin/check", "may read all 9 tables");
    let start = [("start_date", "2015-01-01")];
    browser.post("/add/twin/start", &start).leads_to("/add/twin/schedule");
    let daily = [("how", "every"), ("every", "1"), ("unit", "days"), ("time_zone", "UTC")];
    browser.post("/add/twin/schedule", &daily).leads_to("/add/twin/tables");
    browser.get("/add/twin/tables").says(200, &["Finish; it stays paused"]);
    let finished = browser.post("/add/twin/finish", &[("table", "tags")]);
    assert!(finished.said().contains("begins once it is resumed"), "{finished:?}");

    // Another key is tried, and what came of it stands there.
    let settings = "/connections/twin/settings";
    browser.get(settings).says(
        200,
        &["Acme: the key counts there, too", "Its source and the key stay: Acme reads it, too."],
    );
    browser.post("/connections/twin/key", &[("api_token", "canary")]).leads_to(settings);
    let page = browser.wait(settings, ">Failed<");
    assert!(page.contains("is not accepted") && !page.contains("canary"), "{page}");
    browser.get("/connections/twin/checked").says(200, &["id=\"checked\"", ">Failed<"]);

    browser.post("/connections/twin/delete", &[("delete", "Twin")]).leads_to("/");
    assert_eq!(serving.get("/api/v1/sources")["data"].as_array().unwrap().len(), 1);
    let last = browser.get("/connections/acme/settings");
    last.says(200, &["Its source and the key that is kept for it are deleted, too."]);
    browser.post("/connections/acme/delete", &[("delete", "Acme")]).leads_to("/");
    assert_eq!(serving.get("/api/v1/sources")["data"], json!([]), "its key is gone, too");
    serving.stop();
}

#[test]
fn f105_steps_for_a_source_of_the_file_are_left_out() {
    let sim = Simulator::start(tiny(96)).unwrap();
    let desk = Desk::new(&sim);
    desk.write(
        &crate::serving::source(&sim),
        "path = \"file.duckdb\"",
        "schedule = { paused = true }",
    );
    let serving = Serving::start(&desk);
    let browser = Browser::token(&serving);
    let two = json!({ "name": "two", "display_name": "Two", "source": "kustomer", "schema": "two",
                      "destination": "warehouse", "tables": [] });
    serving.done("POST", "/api/v1/connections", &two);
    browser.get("/add/two").leads_to("/add/two/check");
    let page = browser.get("/add/two/key");
    page.says(200, &["The file has the source"]);
    assert!(!page.text.contains("name=\"api_token\""), "{}", page.text);
    browser
        .post("/add/two/key", &[("display_name", "Second"), ("schema", "two")])
        .leads_to("/add/two/check");
    browser.wait("/add/two/check", "may read all 9 tables");
    browser.get("/add/two").leads_to("/add/two/schedule");
    let page = browser.get("/add/two/start");
    page.says(200, &["this step is left out"]);
    assert!(!page.text.contains("name=\"start_date\""), "{}", page.text);
    browser.post("/add/two/start", &[]).leads_to("/add/two/schedule");
    browser.post("/add/two/discard", &[]).leads_to("/");
    assert_eq!(serving.get("/api/v1/sources")["data"].as_array().unwrap().len(), 1);
    serving.stop();
}

/// Who may: the route and role matrix of these pages, and that a form of elsewhere does nothing.
#[test]
fn f101_f104_only_who_may_sees_and_does_it() {
    let (sim, desk, serving) = start();
    let root = Browser::token(&serving);
    destination(&root);
    root.post("/add", &key(&sim, "Acme", sim.token())).leads_to("/add/acme/check");
    for (name, role) in [("vera", "viewer"), ("otto", "operator")] {
        add(&desk, name, role);
    }
    let (viewer, operator) = (Browser::user(&serving, "vera"), Browser::user(&serving, "otto"));
    let governed = [
        "/add",
        "/add/acme",
        "/add/acme/key",
        "/add/acme/tables",
        "/add-destination",
        "/add-naming?display_name=a",
        "/add/acme/forecast",
        "/welcome",
        "/welcome/destination",
    ];
    for path in governed {
        for browser in [&viewer, &operator] {
            browser.get(path).says(403, &["You may not do that"]);
        }
        assert!(root.get(path).status < 400, "{path}");
    }
    let posts = [
        "/add",
        "/add/acme/check",
        "/add/acme/discard",
        "/add/acme/finish",
        "/add/acme/key",
        "/add/acme/schedule",
        "/add/acme/start",
        "/add-destination",
        "/destinations/warehouse/save",
        "/destinations/warehouse/delete",
        "/welcome/user",
        "/welcome/destination",
    ];
    for path in posts {
        for browser in [&viewer, &operator] {
            assert_eq!(browser.post(path, &[]).status, 403, "{path}");
        }
        root.send(path, &[]).says(403, &["X-Bobbin-CSRF"]);
        let nobody = crate::people::send(&serving, ("POST", path), &[], "");
        nobody.leads_to("/login");
    }
    viewer.post("/destinations/warehouse/check", &[]).says(403, &["role operator"]);
    operator.post("/destinations/warehouse/check", &[]).leads_to("/destinations/warehouse");
    let seen = viewer.get("/destinations/warehouse");
    seen.says(200, &["out.duckdb", "Acme"]);
    for hidden in ["Check and save", "Check now", "Delete"] {
        assert!(!seen.text.contains(hidden), "{hidden}");
    }
    assert!(operator.get("/destinations/warehouse").text.contains("Check now"));
    assert!(!viewer.get("/destinations").text.contains("Add a destination"));
    serving.stop();
}

#[test]
fn f104_destinations_are_set_up_checked_and_deleted_by_name() {
    let (sim, _desk, serving) = start();
    let browser = Browser::token(&serving);
    browser.get("/destinations").says(200, &["No destinations yet"]);
    browser.get("/add-destination").says(200, &["DuckDB file", "PostgreSQL"]);
    browser.get("/add-destination?type=redis").says(404, &["type of destination"]);
    let name = "<script>alert(1)</script>";
    let postgres = [
        ("type", "postgres"),
        ("display_name", name),
        ("host", "127.0.0.1"),
        ("port", "1"),
        ("database", "x"),
        ("user", "bobbin"),
        ("password", "canary-password"),
    ];
    let wrong = [&postgres[..3], &[("port", "many")], &postgres[4..]].concat();
    let wrong = browser.post("/add-destination", &wrong);
    wrong.says(422, &["wrong-port", "value=\"127.0.0.1\"", "&#60;script&#62;"]);
    assert!(!wrong.text.contains("canary") && !wrong.text.contains("<script>alert"));
    let made = browser.post("/add-destination", &postgres);
    let at = made.header("location").unwrap().to_owned();
    assert_eq!(at, "/destinations/_script_alert1__script_", "{made:?}");
    let page = browser.wait(&at, ">Failed<");
    assert!(page.contains("It is set; leave empty to keep it."), "{page}");
    assert!(!page.contains("canary") && !page.contains("<script>alert"), "{page}");

    // A secret that is left out stays, but not for another server.
    let save = format!("{at}/save");
    let without = |host: &'static str| {
        let mut pairs = postgres.to_vec();
        pairs[2].1 = host;
        pairs[6].1 = "";
        pairs
    };
    browser.post(&save, &without("127.0.0.1")).leads_to(&at);
    browser.post(&save, &without("127.0.0.2")).says(422, &["has to be given again"]);
    let part = serving.get("/api/v1/destinations")["data"][0].clone();
    assert_eq!((&part["secrets"], &part["settings"]["port"]), (&json!(["password"]), &json!(1)));

    // Deleted by its name, once nobody uses it.
    let delete = format!("{at}/delete");
    browser.post(&delete, &[("name", "another")]).says(422, &["Nothing was deleted."]);
    browser.post(&delete, &[("name", name)]).leads_to("/destinations");
    assert_eq!(browser.get(&at).status, 404);
    destination(&browser);
    browser.wait("/destinations/warehouse", ">Works<");
    browser.post("/add", &key(&sim, "Acme", sim.token())).leads_to("/add/acme/check");
    browser.get("/destinations").says(200, &["out.duckdb", "/connections/acme", "Works"]);
    let used = browser.post("/destinations/warehouse/delete", &[("name", "Warehouse")]);
    used.says(422, &["acme", "Connections use it"]);
    serving.stop();

    // What the file has, only the file changes.
    let other = Desk::new(&sim);
    other.write(
        &crate::serving::source(&sim),
        "path = \"file.duckdb\"",
        "schedule = { paused = true }",
    );
    let serving = Serving::start(&other);
    let browser = Browser::token(&serving);
    let page = browser.get("/destinations/warehouse");
    page.says(200, &["The file of the service has this destination", "file.duckdb"]);
    assert!(!page.text.contains("Check and save") && !page.text.contains("Delete"));
    let pairs = [("display_name", "x"), ("path", "y.duckdb")];
    browser.post("/destinations/warehouse/save", &pairs).says(422, &["managed by the file"]);
    serving.stop();
}
