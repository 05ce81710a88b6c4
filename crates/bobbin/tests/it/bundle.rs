//! The support bundle: everything that helps, and no secret and nothing of a record.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;

use fake_kustomer::Simulator;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::api::Serving;
use crate::serving::{ask, next, source};
use crate::support::{Desk, tiny};

/// What stands in every place where a secret may.
fn canary(place: &str) -> String {
    format!("canary-{place}-7fQ2")
}

/// The files of a bundle by their names, without the directory's.
fn unpack(packed: &[u8]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(GzDecoder::new(packed)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let name = path.components().skip(1).collect::<std::path::PathBuf>();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(name.to_str().unwrap().to_owned(), text);
    }
    files
}

fn decompressed(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A file with secrets in every place it has for them; only the first source and destination are used.
fn write(desk: &Desk, sim: &fake_kustomer::Running) {
    let text = format!(
        "hash_key = \"{hash}\"\n\
         [sources.kustomer]\ntype = \"kustomer\"\n{source}\
         [sources.odd]\ntype = \"kustomer\"\napi_token = \"{token}\"\n\
         api_url = \"https://somebody:{user}@127.0.0.1:1\"\n\
         [sources.foreign]\ntype = \"singer\"\nexecutable = \"no-such-tap\"\n\
         config = {{ token = \"{foreign}\", deep = [{{ key = \"{deep}\" }}] }}\n\
         [destinations.warehouse]\ntype = \"duckdb\"\npath = \"out.duckdb\"\n\
         [destinations.spare]\ntype = \"postgres\"\nhost = \"db.example.com\"\ndatabase = \"d\"\n\
         user = \"u\"\npassword = \"{password}\"\n\
         [notify.mail]\ntype = \"email\"\nserver = \"127.0.0.1\"\nport = 1\nuser = \"u\"\n\
         password = \"{smtp}\"\nfrom = \"bobbin@example.com\"\nto = [\"data@example.com\"]\n\
         [notify.team]\ntype = \"slack\"\nurl = {{ env = \"BOBBIN_TEST_SLACK\" }}\n\
         [hooks.own]\nurl = \"https://127.0.0.1:1/{hook}\"\n\
         [service]\nallow_local = true\n\
         [connections.kustomer]\nsource = \"kustomer\"\ndestination = \"warehouse\"\n\
         tables = [\"tags\", \"users\", \"customers\"]\nhash = [\"users.email\"]\n\
         schedule = {{ frequency_minutes = 600 }}\n\
         [connections.foreign]\nsource = \"foreign\"\ndestination = \"warehouse\"\n\
         schedule = {{ frequency_minutes = 600 }}\n",
        hash = canary("hash"),
        source = source(sim),
        token = canary("odd"),
        user = canary("url-user"),
        foreign = canary("foreign"),
        deep = canary("deep"),
        password = canary("postgres"),
        smtp = canary("smtp"),
        hook = canary("hook"),
    );
    fs::write(desk.path("bobbin.toml"), text).unwrap();
}

/// Sets up through the API whatever holds a secret; gives the secrets that were made there.
fn set_up(serving: &Serving, sim: &fake_kustomer::Running) -> Vec<String> {
    let mut made = Vec::new();
    for (path, body) in [
        (
            "sources",
            json!({ "name": "second", "type": "kustomer", "api_token": canary("api-source"),
                    "api_url": sim.url() }),
        ),
        (
            "destinations",
            json!({ "name": "api_spare", "type": "postgres", "host": "db.example.com",
                    "database": "d", "user": "u", "password": canary("api-postgres") }),
        ),
        (
            "connections",
            json!({ "name": "second", "source": "second", "destination": "warehouse",
                    "tables": [], "schedule": { "frequency_minutes": 600 } }),
        ),
        ("sources", json!({ "name": "orders", "type": "import_api" })),
        (
            "connections",
            json!({ "name": "orders", "source": "orders", "destination": "warehouse",
                    "schedule": { "frequency_minutes": 600 } }),
        ),
        (
            "channels",
            json!({ "name": "chat", "type": "slack", "url": format!("https://127.0.0.1:1/{}", canary("slack")) }),
        ),
        (
            "channels",
            json!({ "name": "off", "type": "post_load", "enabled": false,
                    "url": format!("https://127.0.0.1:1/{}", canary("off")) }),
        ),
        ("users", json!({ "name": "anna", "role": "viewer", "password": canary("user") })),
    ] {
        serving.done("POST", &format!("/api/v1/{path}"), &body);
    }
    let key = json!({ "description": "robot", "role": "viewer" });
    let key = serving.done("POST", "/api/v1/keys", &key);
    made.push(key["key"].as_str().unwrap().to_owned());
    let token = serving.done("POST", "/api/v1/connections/orders/tokens", &json!({}));
    made.push(token["token"].as_str().unwrap().to_owned());
    made
}

#[test]
fn a_support_bundle_tells_much_and_no_secret_and_nothing_of_a_record() {
    let sim = Simulator::start(tiny(69)).unwrap();
    let desk = Desk::new(&sim);
    write(&desk, &sim);
    let slack = format!("https://127.0.0.1:1/{}", canary("env-slack"));
    let mut serve =
        desk.command(&["serve", "--format", "json", "--listen", "127.0.0.1:0", "--jobs", "1"]);
    serve.env("BOBBIN_TEST_SLACK", &slack);
    let mut serving = Serving::of(&desk, &mut serve);
    // One job is good, that of the foreign tap is not: there is no such program.
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let report = next(&mut serving.lines, "job")["report"].clone();
        outcomes.push(report["outcome"].as_str().unwrap().to_owned());
    }
    outcomes.sort();
    assert_eq!(outcomes, ["complete", "failed"]);
    let mut secrets = set_up(&serving, &sim);
    // Neither is that with the wrong token.
    let chosen = json!({ "source": "second", "destination": "warehouse", "tables": ["tags"] });
    serving.done("PUT", "/api/v1/connections/second", &chosen);
    let record = json!({
        "table_name": "orders", "key_names": ["id"],
        "schema": { "type": "object", "properties": {
            "id": { "type": "integer" }, "name": { "type": "string" } } },
        "messages": [{ "action": "upsert", "sequence": 1, "data": { "id": 1, "name": canary("record") } }],
    });
    let bearer = format!("Bearer {}", secrets[1]);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let url = format!("http://{}/v2/import/batch", serving.address);
    assert_eq!(ask("POST", &url, &headers, &record.to_string()).0, 201);
    while next(&mut serving.lines, "job")["report"]["connection"] != "orders"
        || serving.get("/api/v1/connections/second/jobs")["data"][0]["report"].is_null()
        || serving.get("/api/v1/connections/orders/tables")["data"] == json!([])
    {}

    // By the API and on the command line, the same.
    let (status, _) = ask("GET", &format!("http://{}/api/v1/support", serving.address), &[], "");
    assert_eq!(status, 401);
    let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
    let mut answer = agent
        .get(format!("http://{}/api/v1/support", serving.address))
        .header("Authorization", serving.bearer.as_str())
        .call()
        .unwrap();
    let named = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(named.starts_with("attachment; filename=\"bobbin-support-2"), "{named}");
    let by_api = answer.body_mut().read_to_vec().unwrap();
    let told = desk.run(&["support", "--out", "bundle.tar.gz"]);
    told.assert(0, &["bundle.tar.gz", "no secret"]);
    desk.run(&["support", "--out", "bundle.tar.gz"]).assert(2, &["there already"]);
    let mode = fs::metadata(desk.path("bundle.tar.gz")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let by_hand = fs::read(desk.path("bundle.tar.gz")).unwrap();

    for place in [
        "hash",
        "odd",
        "url-user",
        "foreign",
        "deep",
        "postgres",
        "smtp",
        "hook",
        "api-source",
        "api-postgres",
        "slack",
        "env-slack",
        "off",
        "user",
        "record",
    ] {
        secrets.push(canary(place));
    }
    secrets.push(sim.token().to_owned());
    for file in ["api-token", "store-key"] {
        let text = fs::read_to_string(desk.path(&format!(".bobbin/{file}"))).unwrap();
        secrets.push(text.trim().to_owned());
    }
    // What people of the source are called, and how they are reached.
    let names = desk.run(&[
        "query",
        "--database",
        "out.duckdb",
        "--format",
        "json",
        "select name as one from kustomer.customers where length(name) > 5 union all \
         select display_name from kustomer.users where length(display_name) > 5",
    ]);
    let names: Vec<String> = names
        .stdout
        .lines()
        .filter_map(|line| {
            serde_json::from_str::<Value>(line).ok()?["one"].as_str().map(str::to_owned)
        })
        .collect();
    assert!(names.len() > 5, "{names:?}");
    for packed in [&by_api, &by_hand] {
        let bytes = decompressed(packed);
        for secret in secrets.iter().chain(&names) {
            let found = bytes.windows(secret.len()).position(|part| part == secret.as_bytes());
            let around = found
                .map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(200)..at]).into_owned());
            assert_eq!(around, None, "`{secret}` is in it, after this");
        }
    }

    // What is left is of use.
    let files = unpack(&by_api);
    let read = |name: &str| -> Value { serde_json::from_str(&files[name]).unwrap() };
    assert!(files["README.txt"].contains("configuration.json"));
    let about = read("about.json");
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["served"], true);
    for number in [
        &about["disk"]["available_bytes"],
        &about["memory"]["total_bytes"],
        &about["memory"]["resident_bytes"],
        &about["directories"]["logs"]["size_bytes"],
    ] {
        assert!(number.as_u64().unwrap() > 0, "{about}");
    }
    let configuration = read("configuration.json");
    assert_eq!(configuration["connections"].as_array().unwrap().len(), 4);
    assert_eq!(configuration["has_hash_key"], true);
    let hidden = configuration["sources"].as_array().unwrap();
    let hidden = hidden.iter().find(|part| part["name"] == "second").unwrap();
    assert!(hidden["secrets"].as_array().unwrap().contains(&"api_token".into()), "{hidden}");
    assert!(files["configuration.json"].contains("https://***@127.0.0.1:1"));
    assert_eq!(configuration["channels"].as_array().unwrap().len(), 5);
    let jobs = read("jobs/kustomer.json");
    assert_eq!(jobs[0]["report"]["outcome"], "complete");
    assert!(read("jobs/second.json")[0]["report"]["error"].as_str().unwrap().contains("key"));
    assert_eq!(read("jobs/foreign.json")[0]["report"]["error"], "left out");
    assert_eq!(read("schedules.json")[1]["slots"][0]["outcome"], "started");
    assert!(read("ledger.json")["rows"]["jobs"].as_u64().unwrap() >= 4);
    assert_eq!(read("ledger.json")["version"], read("ledger.json")["known_version"]);
    assert!(!read("notices.json").as_array().unwrap().is_empty());
    let logs: Vec<&String> = files.keys().filter(|name| name.starts_with("logs/")).collect();
    assert!(logs.iter().any(|name| name.starts_with("logs/kustomer/")), "{logs:?}");
    assert!(!logs.iter().any(|name| name.starts_with("logs/foreign/")), "{logs:?}");
    let log = files.iter().find(|(name, _)| name.starts_with("logs/kustomer/")).unwrap().1;
    assert!(log.contains("job_started") && log.contains("job_ended"), "{log}");
    assert_eq!(unpack(&by_hand).keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>());
    serving.stop();
}
