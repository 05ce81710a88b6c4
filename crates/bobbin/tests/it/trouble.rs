//! Things that go wrong: a clear message, a documented exit status, nothing lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fake_kustomer::{Mutation, Pick, Simulator, Token};

use crate::listener::Web;
use crate::support::{Desk, FAST, Told, tiny};

#[test]
fn a_wrong_key_stops_at_once_and_says_what_to_do() {
    let sim = Simulator::start(tiny(1)).unwrap();
    let desk = Desk::with(&format!("api_token = \"wrong\"\napi_url = \"{}\"\n{FAST}", sim.url()));
    desk.run(&["check"]).assert(4, &["failed", "hint", "API key"]);
    let told = desk.run(&["run"]);
    told.assert(4, &["hint", "API key"]);
    assert!(!told.stdout.contains("wrong") && !told.stderr.contains("\"wrong\""), "{told:?}");
    assert!(sim.control().stats().requests < 12, "{:?}", sim.control().stats());
}

#[test]
fn a_key_of_another_region_names_both() {
    let mut config = tiny(2);
    config.tokens[0].pod = Some("prod2".to_owned());
    let sim = Simulator::start(config).unwrap();
    let desk = Desk::new(&sim);
    desk.run(&["check"]).assert(4, &["prod2", "region"]);
    desk.run(&["run"]).assert(4, &["prod2", "region"]);
}

#[test]
fn a_missing_role_takes_one_table_and_is_named() {
    let mut config = tiny(3);
    config.tokens = vec![Token::with_roles(
        "some",
        &[
            "org.permission.search.create",
            "org.permission.customer.read",
            "org.permission.conversation.read",
            "org.permission.message.read",
            "org.permission.kobject.read",
            "org.permission.klass.read",
            "org.permission.metadata.read",
            "org.permission.tag.read",
            "org.user.read",
        ],
    )];
    config.tokens[0].roles.push("org.permission.note.read".to_owned());
    let sim = Simulator::start(config).unwrap();
    let desk = Desk::new(&sim);
    desk.run(&["check"]).assert(3, &["org.permission.shortcut.read", "not readable"]);
    let told = desk.run(&["run", "--format", "json"]);
    told.assert(3, &["org.permission.shortcut.read"]);
    let report: serde_json::Value =
        serde_json::from_str(told.stdout.lines().last().unwrap()).unwrap();
    for table in report["report"]["tables"].as_array().unwrap() {
        let (name, outcome) = (table["stream"].as_str().unwrap(), table["outcome"].as_str());
        let expected = if name == "shortcuts" { "unreadable" } else { "complete" };
        assert_eq!(outcome, Some(expected), "{table}");
    }
    desk.run(&["run"]).assert(3, &["unreadable", "the key needs the role", "incomplete"]);
    desk.run(&["query", "select count(*) from kustomer.messages"]).assert(0, &["900"]);
    // Without the table it may not read, the same key brings everything that was chosen.
    let source = format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url());
    desk.write(&source, "path = \"out.duckdb\"", "exclude = [\"shortcuts\"]");
    desk.run(&["run"]).assert(0, &["complete"]);
}

#[test]
fn a_choice_of_what_is_not_there_is_named() {
    let sim = Simulator::start(tiny(3)).unwrap();
    let source = format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url());
    let desk = Desk::new(&sim);
    for choice in ["tables = [\"tags\", \"costumers\"]", "exclude = [\"costumers.phones\"]"] {
        desk.write(&source, "path = \"out.duckdb\"", choice);
        for verb in ["plan", "check", "run"] {
            desk.run(&[verb]).assert(2, &["`costumers`", "customers, conversations"]);
        }
    }
    desk.write(&source, "path = \"out.duckdb\"", "exclude = [\"customers.fones\"]");
    desk.run(&["run"]).assert(0, &["customers.fones", "complete"]);
}

#[test]
fn an_unreachable_host_is_told_from_a_wrong_key() {
    let desk = Desk::with(&format!("api_token = \"t\"\napi_url = \"http://127.0.0.1:9\"\n{FAST}"));
    desk.run(&["check"]).assert(5, &["127.0.0.1:9", "hint"]);
    let desk = Desk::with(&format!(
        "api_token = \"t\"\napi_url = \"http://no.such.host.invalid\"\n{FAST}"
    ));
    desk.run(&["check"]).assert(5, &["no.such.host.invalid", "hint"]);
}

#[test]
fn a_wrong_file_or_setting_is_named() {
    let desk = Desk::with("api_token = \"t\"\nstart_date = \"yesterday\"");
    desk.run(&["run"]).assert(2, &["start_date"]);
    let desk = Desk::with("start_date = \"2024-01-01\"");
    desk.run(&["run"]).assert(2, &["api_token"]);
    let desk = Desk::with("api_token = \"t\"\nstart_dat = \"2020-01-01\"");
    desk.run(&["check"]).assert(2, &["unknown setting `start_dat`", "start_date"]);
    desk.write("api_token = \"t\"", "path = \":memory:\"", "");
    desk.run(&["run"]).assert(2, &["is no file", ":memory:"]);
    desk.write("api_token = \"t\"", "path = \"x.duckdb\"", "schema = \"pg_mine\"");
    desk.run(&["plan"]).assert(2, &["`pg_mine`", "database's own"]);
    fs::write(desk.path("bobbin.toml"), "[sources.k\n").unwrap();
    desk.run(&["run"]).assert(2, &["line: 1", "bobbin.toml"]);
    desk.run(&["run", "--config", "nowhere.toml"]).assert(2, &["nowhere.toml", "bobbin init"]);
}

#[test]
fn a_destination_that_cannot_be_written_is_told_before_anything_is_read() {
    let sim = Simulator::start(tiny(4)).unwrap();
    let source = format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url());
    let desk = Desk::new(&sim);
    desk.write(&source, "path = \"no/such/directory/out.duckdb\"", "");
    desk.run(&["check"]).assert(6, &["no/such/directory", "hint"]);
    desk.run(&["run"]).assert(6, &["no/such/directory", "hint"]);

    fs::write(desk.path("text.duckdb"), "this is no database, and it is precious").unwrap();
    desk.write(&source, "path = \"text.duckdb\"", "");
    desk.run(&["check"]).assert(6, &["text.duckdb", "hint"]);
    desk.run(&["run"]).assert(6, &["text.duckdb", "hint"]);
    assert_eq!(
        fs::read_to_string(desk.path("text.duckdb")).unwrap(),
        "this is no database, and it is precious"
    );
    // A check asks both ends; a run asks the source for nothing it could not keep.
    let before = sim.control().stats().requests;
    desk.run(&["run"]).assert(6, &["text.duckdb", "hint"]);
    assert_eq!(sim.control().stats().requests, before, "the source was asked before");
}

#[test]
fn a_database_that_another_program_holds_is_named() {
    let sim = Simulator::start(tiny(5)).unwrap();
    let desk = Desk::new(&sim);
    desk.run(&["run"]).assert(0, &[]);
    // Another process of ours holds it: the same program, with a statement that takes very long.
    let hold = || {
        let sql = "select sum(sqrt(a.range)) from range(100000000000) a";
        let nowhere = std::process::Stdio::null;
        desk.command(&["query", sql]).stdout(nowhere()).stderr(nowhere()).spawn().unwrap()
    };
    let mut holder = hold();
    let held = (0..200).any(|_| {
        let told = desk.run(&["run"]);
        if told.status == Some(0) {
            // The run may have held the file when the holder came.
            if holder.try_wait().unwrap().is_some() {
                holder = hold();
            }
            return false;
        }
        told.assert(8, &["out.duckdb", "hint"]);
        true
    });
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(held, "the other program never held the file");
    desk.run(&["run"]).assert(0, &["complete"]);
    desk.assert_exact(&sim, None);
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "zst") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_corrupt_segment_is_set_aside_and_its_records_are_read_again() {
    let sim = Simulator::start(tiny(6)).unwrap();
    let desk = Desk::new(&sim);
    let mut command = desk.command(&["run"]);
    command.env("BOBBIN_CRASH_AT", "segment-sealed:6").output().unwrap();
    let spool = desk.path(".bobbin/spool");
    let victim = segments(&spool).pop().unwrap();
    let mut bytes = fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    fs::write(&victim, bytes).unwrap();
    let told = desk.run(&["run"]);
    told.assert(0, &["set aside", ".corrupt", "complete"]);
    desk.assert_exact(&sim, None);
}

#[test]
fn a_lost_ledger_costs_no_data() {
    let sim = Simulator::start(tiny(7)).unwrap();
    let desk = Desk::new(&sim);
    desk.run(&["run"]).assert(0, &[]);
    fs::remove_dir_all(desk.path(".bobbin")).unwrap();
    sim.control().mutate(&Mutation::update("customer", Pick::Random(9))).unwrap();
    sim.control().advance(3_600_000);
    let told = desk.run(&["run", "--format", "json"]);
    told.assert(0, &[]);
    desk.assert_exact(&sim, None);
    // The destination knew how far it was: the history was not read again.
    let report: serde_json::Value =
        serde_json::from_str(told.stdout.lines().last().unwrap()).unwrap();
    let messages = report["report"]["tables"].as_array().unwrap();
    let messages = messages.iter().find(|table| table["stream"] == "messages").unwrap();
    assert!(messages["extracted"].as_u64().unwrap() < 900, "{messages}");
    // And the other way round: a lost database is filled again from the start.
    fs::remove_file(desk.path("out.duckdb")).unwrap();
    desk.run(&["run"]).assert(0, &["everything is extracted again"]);
    desk.assert_exact(&sim, None);
}

/// Runs the program with its directory on a file system of a few megabytes.
fn on_small_disk(desk: &Desk, megabytes: u32, then: &str) -> Told {
    let program = env!("CARGO_BIN_EXE_bobbin");
    let small = desk.path("small");
    fs::create_dir_all(&small).unwrap();
    let script = format!(
        "mount -t tmpfs -o size={megabytes}m tmpfs '{small}' && cd '{small}' && cp ../bobbin.toml . && {then}",
        small = small.display(),
        then = then.replace("bobbin", program).replace(&format!("{program}.toml"), "bobbin.toml"),
    );
    let mut command = Command::new("unshare");
    if !rustix_is_root() {
        command.args(["--map-root-user", "--user"]);
    }
    Told::of(command.args(["--mount", "sh", "-c", &script]).output().unwrap())
}

fn rustix_is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

#[test]
fn a_full_disk_stops_in_order_and_loses_nothing() {
    let sim = Simulator::start(tiny(8).with_count("message", 30_000)).unwrap();
    let desk = Desk::new(&sim);
    // Too small: a clear message and status 7. Then the same disk, grown: complete.
    let told = on_small_disk(
        &desk,
        6,
        "{ bobbin run; echo first=$?; mount -o remount,size=400m . ; bobbin run; echo second=$?; cp out.duckdb ../whole.duckdb; }",
    );
    let all = format!("{}{}", told.stdout, told.stderr);
    assert!(all.contains("first=7"), "{all}");
    assert!(all.contains("second=0"), "{all}");
    assert!(all.contains("hint: free some space") || all.contains("free some space"), "{all}");
    crate::support::assert_exact(&desk.path("whole.duckdb"), &sim, None);
}

/// F-91, F-95, F-96: what fails is a notice and told, and that it is over; a load is told to a hook.
#[test]
fn f91_f95_f96_a_run_tells_whoever_the_file_names() {
    let sim = Simulator::start(tiny(12)).unwrap();
    let (web, desk) = (Web::start(), Desk::new(&sim));
    let write = |token: &str| {
        let source = format!("api_token = \"{token}\"\napi_url = \"{}\"\n{FAST}", sim.url());
        let told = format!(
            "tables = [\"tags\"]\n[notify.team]\ntype = \"slack\"\nurl = {{ env = \"BOBBIN_TEST_SLACK\" }}\n\
             allow_local = true\n[hooks.dbt]\nurl = \"http://{}/loaded\"\nallow_local = true\n",
            web.address
        );
        desk.write(&source, "path = \"out.duckdb\"", &told);
    };
    let run = || {
        let slack = format!("http://{}/T0KEN", web.address);
        let mut command = desk.command(&["run"]);
        command.env("BOBBIN_TEST_SLACK", slack).output().map(Told::of).unwrap()
    };
    write("wrong-key");
    run().assert(4, &["the key"]);
    let told = web.take();
    assert_eq!(told.len(), 1, "{told:?}");
    let text = told[0].body["text"].as_str().unwrap();
    assert!(text.contains("kustomer: critical: extraction fails"), "{text}");
    assert!(!text.contains("wrong-key"));
    desk.run(&["notices"]).assert(0, &["extraction", "critical", "hint"]);

    write(sim.token());
    // Without the address, data still comes.
    let quiet = desk.run(&["run"]);
    quiet.assert(0, &["complete"]);
    assert!(quiet.stderr.contains("BOBBIN_TEST_SLACK, which is not set"), "{quiet:?}");
    assert!(web.take().is_empty());
    desk.run(&["notices"]).assert(0, &["nothing needs attention"]);
    sim.control().mutate(&Mutation::update("tag", Pick::Random(2))).unwrap();
    sim.control().advance(3_600_000);
    run().assert(0, &["complete"]);
    let told = web.take();
    assert!(told[0].body["text"].as_str().unwrap().contains("over since"), "{told:?}");
    desk.run(&["notices", "--all"]).assert(0, &["over since"]);
    desk.run(&["notices", "--dismiss", "99"]).assert(2, &["there is no notice 99"]);
    // The hook was asked for then; from now on it is told.
    sim.control().mutate(&Mutation::update("tag", Pick::Random(2))).unwrap();
    sim.control().advance(3_600_000);
    run().assert(0, &["complete"]);
    let sent = web.take();
    let hook = sent.iter().find(|posted| posted.head.starts_with("POST /loaded ")).unwrap();
    assert_eq!(hook.body["integration_name"], "kustomer");
    assert_eq!(hook.body["tables"][0]["destination_table_name"], "tags");
    assert!(hook.body["tables"][0]["num_rows"].as_u64().unwrap() > 0);
}
