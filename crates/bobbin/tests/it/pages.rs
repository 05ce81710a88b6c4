//! The pages, as a browser without a script asks for them: who may see and do what, and that nothing anybody
//! enters or Kustomer holds becomes more than text.

use std::collections::BTreeSet;

use fake_kustomer::{Running, Simulator};
use serde_json::json;

use crate::api::Serving;
use crate::people::{Answer, add, password, send, start};
use crate::setup::empty;
use crate::support::tiny;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// Somebody with a browser.
pub(crate) struct Visitor<'a> {
    pub(crate) serving: &'a Serving,
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

impl<'a> Visitor<'a> {
    /// Logs in by the page for that.
    #[track_caller]
    pub(crate) fn enter(serving: &'a Serving, fields: &[(&str, &str)]) -> Self {
        let answer = send(serving, ("POST", "/login"), &[FORM], form(fields)).assert(303);
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let mut visitor = Self { serving, cookie, csrf: String::new() };
        visitor.csrf = visitor.see("/me").csrf();
        visitor
    }

    pub(crate) fn of(serving: &'a Serving, name: &str) -> Self {
        Self::enter(serving, &[("name", name), ("password", &password(name))])
    }

    pub(crate) fn with_token(serving: &'a Serving) -> Self {
        let token = serving.bearer.strip_prefix("Bearer ").unwrap().to_owned();
        Self::enter(serving, &[("by", "token"), ("token", &token)])
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        send(self.serving, ("GET", path), &[("Cookie", &self.cookie)], "")
    }

    #[track_caller]
    pub(crate) fn see(&self, path: &str) -> Answer {
        self.get(path).assert(200)
    }

    /// Sends a form as its page would.
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let fields = [&[("csrf", self.csrf.as_str())], fields].concat();
        send(self.serving, ("POST", path), &[FORM, ("Cookie", &self.cookie)], form(&fields))
    }
}

impl Answer {
    /// What the page's forms carry.
    #[track_caller]
    pub(crate) fn csrf(&self) -> String {
        let field = "name=\"csrf\" value=\"";
        let at = self.text.find(field).expect("a form") + field.len();
        self.text[at..].split('"').next().unwrap().to_owned()
    }

    /// What the next page would say.
    pub(crate) fn said(&self) -> String {
        let mut cookies = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        let said = cookies.find_map(|(_, text)| text.strip_prefix("bobbin_said="));
        let said = said.and_then(|text| text.split(';').next()).unwrap_or("");
        said.replace('+', " ")
    }
}

pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Roles, each with what it may do besides the one before.
const ROLES: [&str; 3] = ["viewer", "operator", "administrator"];

/// The pages and what is done by their forms, with the least role for it: 0 for everybody who is known.
fn routes() -> Vec<(&'static str, &'static str, usize)> {
    let text = include_str!("pages/routes.txt");
    let rows = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| {
        let mut words = line.split_whitespace();
        let (role, method, path) =
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let role = match role {
            "anybody" => usize::MAX,
            role => ROLES.iter().position(|known| *known == role).unwrap(),
        };
        (method, path, role)
    })
    .collect()
}

/// A page that is not in the list would be tried by nobody.
#[test]
fn every_page_is_in_the_list_of_those_that_are_tried() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../bobbin-server/src/pages.rs");
    let source = std::fs::read_to_string(root).unwrap();
    let mut there = BTreeSet::new();
    for route in source.split(".route(").skip(1) {
        let path = route.split('"').nth(1).unwrap();
        let rest = &route[route.find(path).unwrap() + path.len()..];
        let methods = rest.split("\n        .").next().unwrap().split("\n}").next().unwrap();
        for (word, method) in [("get(", "GET"), ("post(", "POST")] {
            if methods.contains(word) {
                there.insert((method.to_owned(), path.to_owned()));
            }
        }
    }
    let known: BTreeSet<(String, String)> = routes()
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert!(there.len() > 30, "{there:?}");
    assert_eq!(there, known, "pages.rs and tests/it/pages/routes.txt differ");
}

/// Sets a connection up that replicates two small tables.
pub(crate) fn set_up(serving: &Serving, sim: &Running, name: &str) {
    let warehouse = json!({ "name": "warehouse", "type": "duckdb", "path": "out.duckdb" });
    serving.done("POST", "/api/v1/destinations", &warehouse);
    let source = json!({
        "name": "kustomer",
        "type": "kustomer",
        "api_token": sim.token(),
        "api_url": sim.url(),
    });
    serving.done("POST", "/api/v1/sources", &source);
    let connection = json!({
        "name": name,
        "source": "kustomer",
        "destination": "warehouse",
        "schema": name,
        "tables": ["tags", "users"],
        "schedule": { "frequency_minutes": 1440 },
    });
    serving.done("POST", "/api/v1/connections", &connection);
}

fn filled(path: &str) -> String {
    path.replace("{connection}", "there")
        .replace("{job}", "job_1")
        .replace("{table}", "tags")
        .replace("{name}", "none")
        .replace("{channel}", "none")
        .replace("{destination}", "none")
        .replace("{user}", "none")
        .replace("{notice}", "99")
        .replace("{key}", "99")
        .replace("{step}", "schedule")
}

/// F-101 for pages: each role sees what it may, no form does more, nobody who is not known sees anything, and
/// no form is taken from another place.
#[test]
fn f101_each_role_sees_and_does_what_it_may_on_every_page() {
    let (sim, desk, serving) = start();
    set_up(&serving, &sim, "there");
    for role in ROLES {
        add(&desk, role, role);
    }
    let people: Vec<Visitor<'_>> = ROLES.map(|role| Visitor::of(&serving, role)).into();
    for (method, route, least) in routes() {
        // Leaving would leave the others without their session; a test of its own leaves.
        if route == "/logout" || route == "/login" || route.starts_with("/assets/") {
            continue;
        }
        let path = filled(route);
        let unknown = send(&serving, (method, &path), &[FORM], "").assert(303);
        assert!(unknown.header("location").unwrap().starts_with("/login"), "{method} {path}");
        for (role, person) in people.iter().enumerate() {
            let answer = match method {
                "GET" => person.get(&path),
                _ => person.post(&path, &[]),
            };
            let refused = answer.status == 403;
            assert_eq!(refused, role < least, "{method} {path} by {}: {answer:?}", ROLES[role]);
            assert!(!answer.text.contains("no such address"), "{method} {path}");
            assert_ne!(answer.status, 500, "{method} {path}: {answer:?}");
            // Buttons of the frame lead to a page, also from one that answers a form.
            if let Some((_, back)) = answer.text.split_once("name=\"back\" value=\"") {
                let back = back.split('"').next().unwrap().replace("&#38;", "&");
                assert_ne!(person.get(&back).status, 405, "{method} {path} leads back to {back}");
            }
            if method == "POST" {
                let headers = [FORM, ("Cookie", person.cookie.as_str())];
                for body in ["", "csrf=", "csrf=0000"] {
                    let answer = send(&serving, (method, &path), &headers, body);
                    assert_eq!(answer.status, 403, "{path} without its sign: {answer:?}");
                }
                let other = [headers[0], headers[1], ("Origin", "http://elsewhere.example")];
                let body = form(&[("csrf", &person.csrf)]);
                let answer = send(&serving, (method, &path), &other, body);
                assert_eq!(answer.status, 403, "{path} from elsewhere: {answer:?}");
            }
        }
    }
    drop(people);
    serving.stop();
}

/// What only some may do is shown to nobody else.
#[test]
fn a_viewer_sees_no_action() {
    let (sim, desk, serving) = start();
    set_up(&serving, &sim, "there");
    add(&desk, "viewer", "viewer");
    add(&desk, "boss", "administrator");
    let (viewer, boss) = (Visitor::of(&serving, "viewer"), Visitor::of(&serving, "boss"));
    for path in
        ["/", "/connections/there", "/connections/there/extractions", "/notices", "/channels"]
    {
        let forms = |page: &str| {
            let all = page.split("<form").skip(1).map(|form| form.split("</form").next().unwrap());
            let own = ["\"/logout\"", "\"/theme\""];
            all.filter(|form| !own.iter().any(|own| form.contains(own))).count()
        };
        assert_eq!(forms(&viewer.see(path).text), 0, "{path}");
        assert!(!viewer.see(path).text.contains("href=\"/add\""), "{path}");
        if path == "/" {
            assert!(forms(&boss.see(path).text) >= 2);
        }
    }
    drop((viewer, boss));
    serving.stop();
}

/// What cannot be had back asks first, without a script; nobody is sent to what they may not see.
#[test]
fn what_destroys_asks_first_and_links_lead_where_one_may_go() {
    let (_sim, desk, serving) = start();
    add(&desk, "viewer", "viewer");
    add(&desk, "boss", "administrator");
    let (viewer, boss) = (Visitor::of(&serving, "viewer"), Visitor::of(&serving, "boss"));
    boss.post("/keys/add", &[("description", "dbt"), ("role", "viewer")]).assert(200);
    let channel = [("name", "anna"), ("kind", "webhook"), ("place", "https://example.com/x")];
    boss.post("/add-channel", &channel).assert(303);
    for (path, end) in [("/keys", "/delete\""), ("/channels", "/remove\""), ("/users", "/remove\"")]
    {
        let page = boss.see(path).text;
        let before = page.split(end).next().unwrap();
        assert!(before.len() < page.len(), "{path}: {page}");
        assert!(before.rfind("<details>") > before.rfind("</details>"), "{path}: {page}");
        assert!(["/users", "/keys", "/audit"].iter().all(|to| page.contains(&format!("\"{to}\""))));
    }
    let page = viewer.see("/channels").text;
    for hidden in ["\"/users\"", "\"/keys\"", "\"/audit\""] {
        assert!(!page.contains(hidden), "{hidden}: {page}");
    }
    assert!(viewer.see("/notices").text.contains("href=\"/channels\""));
    let login = send(&serving, ("GET", "/login?by=token"), &[], "").assert(200).text;
    assert!(login.contains("<code>cat "), "on this machine the whole path is told: {login}");
    drop((viewer, boss));
    serving.stop();
}

/// Names that somebody chose and texts of errors, which other programs wrote, stay text on every page.
#[test]
fn hostile_names_stay_text_and_no_page_runs_what_is_in_it() {
    let sim = Simulator::start(tiny(72)).unwrap();
    let (desk, hostile) =
        (empty(&sim), "\"><script>alert(1)</script><img src=x onerror=alert(2)>'");
    let serving = Serving::start(&desk);
    set_up(&serving, &sim, "there");
    let mut definition = serving.get("/api/v1/connections/there/definition")["definition"].clone();
    definition["display_name"] = hostile.into();
    serving.done("PUT", "/api/v1/connections/there", &definition);
    serving.done("POST", "/api/v1/keys", &json!({ "description": hostile, "role": "viewer" }));
    add(&desk, "boss", "administrator");
    let boss = Visitor::of(&serving, "boss");
    wait_for_job(&serving);
    let mut seen = 0;
    for (method, route, _) in routes() {
        if method != "GET" || route.starts_with("/assets/") || route == "/login" {
            continue;
        }
        let job = serving.get("/api/v1/connections/there/jobs")["data"][0]["id"].clone();
        let path = filled(route).replace("job_1", job.as_str().unwrap());
        let page = boss.get(&path);
        let html = &page.text;
        seen += html.matches("&#60;script&#62;alert").count()
            + html.matches("&lt;script&gt;alert").count();
        assert!(!html.contains("<script>alert") && !html.contains("<img src=x"), "{path}: {html}");
        assert_policy(&path, &page);
    }
    assert!(seen > 5, "the name is shown somewhere: {seen}");
    let login = send(&serving, ("GET", "/login?next=%22%3E%3Cscript%3E"), &[], "").assert(200);
    assert!(!login.text.contains("<script>\""), "{}", login.text);
    let gone = boss.get("/connections/%3Cscript%3Ealert(1)%3C%2Fscript%3E").assert(404);
    assert!(!gone.text.contains("<script>alert") && gone.text.contains("There is no such page"));
    drop(boss);
    serving.stop();
}

/// A page may run and draw only what this service gives it, in no frame of others.
#[track_caller]
fn assert_policy(path: &str, page: &Answer) {
    let html = &page.text;
    if page.header("content-type").is_none_or(|kind| !kind.starts_with("text/html")) {
        return;
    }
    let policy = page.header("content-security-policy").unwrap_or("");
    for part in
        ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(part), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{path}: {policy}");
    assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
    assert!(!html.contains(" style=\"") && !html.contains("<style"), "{path}: {html}");
    for tag in html.split("<script").skip(1) {
        let tag = tag.split('>').next().unwrap();
        assert!(
            tag.contains(" src=\"/assets/") || tag.contains("application/json"),
            "{path}: {tag}"
        );
    }
    let handler = html.split('<').any(|tag| {
        // Without what stands in quotes.
        let tag: String = tag.split('>').next().unwrap().split('"').step_by(2).collect();
        [" onclick=", " onload=", " onerror=", " onsubmit="].iter().any(|on| tag.contains(on))
    });
    assert!(!handler, "{path}: {html}");
    assert!(!html.contains("http://") || !html.contains("src=\"http"), "{path}");
}

pub(crate) fn wait_for_job(serving: &Serving) {
    for _ in 0..300 {
        let jobs = serving.get("/api/v1/connections/there/jobs");
        if !jobs["data"][0]["report"].is_null() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("no job ended");
}

/// Coming in, being sent back to where one wanted to go, leaving; the way to look is kept.
#[test]
fn somebody_comes_in_goes_on_and_leaves() {
    let (_sim, desk, serving) = start();
    let page = send(&serving, ("GET", "/login"), &[], "").assert(200);
    assert!(page.text.contains("First-run token") && page.text.contains("api-token"), "{page:?}");
    let wrong =
        send(&serving, ("POST", "/login"), &[FORM], form(&[("by", "token"), ("token", "x")]));
    assert!(wrong.assert(401).text.contains("that is not the token"));
    let visitor = Visitor::with_token(&serving);
    assert!(visitor.see("/me").text.contains("first-run token"));
    let made = [("name", "anna"), ("role", "administrator"), ("password", &*password("anna"))];
    visitor.post("/users/add", &made).assert(303);
    let again = visitor.post("/users/add", &made);
    assert!(again.status == 409 && again.text.contains("value=\"anna\""), "{again:?}");
    assert!(!again.text.contains(&password("anna")), "a password is never shown");
    let asked = send(&serving, ("GET", "/connections/a?b=c"), &[], "").assert(303);
    assert_eq!(asked.header("location"), Some("/login?next=%2Fconnections%2Fa%3Fb%3Dc"));
    let fields = [("name", "Anna"), ("password", &*password("anna")), ("next", "/notices")];
    let entered = send(&serving, ("POST", "/login"), &[FORM], form(&fields)).assert(303);
    assert_eq!(entered.header("location"), Some("/notices"));
    let fields = [("name", "anna"), ("password", &*password("anna")), ("next", "//evil.example")];
    let entered = send(&serving, ("POST", "/login"), &[FORM], form(&fields)).assert(303);
    assert_eq!(entered.header("location"), Some("/"));
    let anna = Visitor::of(&serving, "anna");
    let dark = anna.post("/theme", &[("back", "/notices")]).assert(303);
    assert!(dark.header("set-cookie").unwrap().starts_with("bobbin_theme=dark"), "{dark:?}");
    assert!(!anna.see("/").text.contains("data-theme"));
    let headers = [("Cookie", &*format!("{}; bobbin_theme=dark", anna.cookie))];
    let page = send(&serving, ("GET", "/"), &headers, "").assert(200);
    assert!(page.text.contains("data-theme=\"dark\""));
    anna.post("/me/password", &[("old", "wrong"), ("new", "something longer")]).assert(422);
    anna.post("/logout", &[]).assert(303);
    anna.get("/").assert(303);
    let audit = visitor.see("/audit").text;
    assert!(audit.contains("/users/add") && audit.contains("/logout") && audit.contains("anna"));
    drop((visitor, anna, desk));
    serving.stop();
}

/// The state of a connection is told on its pages, a button runs, pauses and stops it, what was loaded can be
/// looked at, and what is asked for too late is told.
#[test]
fn f63_f65_a_connection_is_watched_and_run_by_its_pages() {
    let (sim, _desk, serving) = start();
    set_up(&serving, &sim, "there");
    let visitor = Visitor::with_token(&serving);
    wait_for_job(&serving);
    let first = visitor.see("/").text;
    assert!(first.contains("/connections/there") && first.contains("Complete"), "{first}");
    let summary = visitor.see("/connections/there").text;
    for words in ["Complete: everything the source had", "rows today", "Next job", "days-data"] {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    let extractions = visitor.see("/connections/there/extractions").text;
    assert!(extractions.contains("1 jobs, 1 of them complete"), "{extractions}");
    let loads = visitor.see("/connections/there/loads").text;
    let rows = serving.get("/api/v1/connections/there/loads")["data"][0]["rows"].to_string();
    assert!(
        loads.contains(&format!("value=\"{rows}\"")) && loads.contains("created table"),
        "{loads}"
    );
    let data = visitor.see("/connections/there/data").text;
    assert!(data.contains("/connections/there/data/tags"), "{data}");
    let tags = visitor.see("/connections/there/data/tags").text;
    assert!(tags.contains("<td class=\"cell\">") && tags.contains("_sdc_sequence"), "{tags}");
    visitor.get("/connections/there/data/nothing").assert(404);
    let paused = visitor.post("/connections/there/pause", &[("paused", "yes"), ("back", "/")]);
    assert!(paused.assert(303).said().contains("Paused"));
    assert!(visitor.see("/").text.contains("Paused"));
    visitor.post("/connections/there/pause", &[("paused", "no")]).assert(303);
    let stopped = visitor.post("/connections/there/stop", &[("back", "/connections/there")]);
    assert!(stopped.assert(303).said().starts_with("bad."), "nothing runs");
    let run = visitor.post("/connections/there/jobs", &[]).assert(303);
    let to = run.header("location").unwrap();
    assert!(to.starts_with("/connections/there/extractions/20"), "{to}");
    drop(visitor);
    serving.stop();
}

/// Pages are small, and a browser keeps what belongs to all of them.
#[test]
fn pages_are_packed_and_assets_are_kept() {
    let (_sim, _desk, serving) = start();
    let page =
        send(&serving, ("GET", "/login"), &[("Accept-Encoding", "identity")], "").assert(200);
    assert_eq!(page.header("content-encoding"), None);
    let mut all = 0;
    for part in page.text.split(['"']).filter(|part| part.starts_with("/assets/")) {
        let asset = send(&serving, ("GET", part), &[], "").assert(200);
        let kept = asset.header("cache-control").unwrap();
        assert!(kept.contains("immutable"), "{part}: {kept}");
        all += 1;
    }
    assert_eq!(all, 5, "{}", page.text);
    send(&serving, ("GET", "/assets/bobbin.css"), &[], "").assert(404);
    serving.stop();
}
