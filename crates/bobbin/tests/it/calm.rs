//! Verbs in fair weather.

use std::fs;

use fake_kustomer::{Mutation, Pick, Simulator};
use serde_json::Value;

use crate::support::{Desk, FAST, Told, tiny};

#[test]
fn two_runs_hold_what_the_oracle_holds() {
    let sim = Simulator::start(tiny(1)).unwrap();
    let desk = Desk::new(&sim);
    desk.run(&["run"]).assert(0, &["complete", "conversations"]);
    desk.assert_exact(&sim, None);

    for stream in ["customer", "conversation", "message", "note", "kobject", "user"] {
        sim.control().mutate(&Mutation::update(stream, Pick::Random(20))).unwrap();
    }
    sim.control().mutate(&Mutation::add("message", 50)).unwrap();
    sim.control().advance(60_000);
    sim.control().mutate(&Mutation::add_attribute("customer", "newThingStr")).unwrap();
    sim.control().advance(3_600_000);
    sim.control().mutate(&Mutation::update("customer", Pick::Random(5))).unwrap();
    sim.control().advance(3_600_000);
    desk.run(&["run"]).assert(0, &["complete"]);
    desk.assert_exact(&sim, None);
    let told = desk.run(&[
        "query",
        "--format",
        "json",
        "select count(custom__new_thing_str) between 1 and 5 as n from kustomer.customers",
    ]);
    told.assert(0, &[r#""n":true"#]);

    let status = desk.run(&["status"]);
    status.assert(0, &["customers", "The last finished job"]);
    let jobs = desk.run(&["status", "--format", "json"]);
    assert_eq!(jobs.stdout.lines().count(), 2, "{jobs:?}");
}

#[test]
fn json_is_one_object_a_line_and_ends_with_the_report() {
    let sim = Simulator::start(tiny(2)).unwrap();
    let desk = Desk::new(&sim);
    let told = desk.run(&["run", "--format", "json"]);
    told.assert(0, &[]);
    let events: Vec<Value> =
        told.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let report = &events.last().unwrap()["report"];
    assert_eq!(report["outcome"], "complete");
    assert_eq!(report["tables"].as_array().unwrap().len(), 9);
    for table in report["tables"].as_array().unwrap() {
        assert_eq!(table["outcome"], "complete", "{table}");
        assert_eq!(table["extracted"], table["loaded"], "{table}");
    }
    assert!(events.iter().any(|event| event["event"] == "window"));
    assert!(!told.stdout.contains(sim.token()), "the token is in the output");
    assert!(!told.stderr.contains(sim.token()), "the token is in the log");
}

#[test]
fn init_check_discover_lead_to_a_run() {
    let sim = Simulator::start(tiny(3)).unwrap();
    let desk = Desk::new(&sim);
    fs::remove_file(desk.path("bobbin.toml")).unwrap();
    desk.run(&["check"]).assert(2, &["bobbin.toml", "bobbin init"]);
    desk.run(&["init"]).assert(0, &["wrote bobbin.toml", "KUSTOMER_API_TOKEN"]);
    desk.run(&["init"]).assert(2, &["it is left as it is"]);
    desk.run(&["check"]).assert(2, &["KUSTOMER_API_TOKEN, which is not set"]);

    let text = fs::read_to_string(desk.path("bobbin.toml")).unwrap();
    let text = text
        .replace("# api_url = \"http://127.0.0.1:8080\"", &format!("api_url = \"{}\"", sim.url()));
    fs::write(desk.path("bobbin.toml"), text).unwrap();
    let with_key = |arguments: &[&str]| {
        let mut command = desk.command(arguments);
        Told::of(command.env("KUSTOMER_API_TOKEN", sim.token()).output().unwrap())
    };
    with_key(&["check"]).assert(0, &["ok", "readable"]);
    with_key(&["discover"]).assert(0, &["conversations", "updated_at"]);
    with_key(&["discover", "--table", "conversations"])
        .assert(0, &["satisfaction_level__score", "date-time", "customer_id"]);
    with_key(&["discover", "--table", "nonsense"]).assert(2, &["there are: "]);
    with_key(&["run"]).assert(0, &["complete"]);
}

#[test]
fn selection_leaves_out_tables_and_columns() {
    let sim = Simulator::start(tiny(4)).unwrap();
    let desk = Desk::new(&sim);
    let source = format!(
        "api_token = \"{}\"\napi_url = \"{}\"\n{}",
        sim.token(),
        sim.url(),
        crate::support::FAST
    );
    desk.write(
        &source,
        "path = \"out.duckdb\"",
        "tables = [\"messages\", \"users\"]\nexclude = [\"messages.preview\", \"users.email\"]",
    );
    desk.run(&["run"]).assert(0, &["complete"]);
    let told = desk.run(&["query", "select table_name from information_schema.tables where table_schema = 'kustomer' order by 1"]);
    assert!(!told.stdout.contains("customers"), "{}", told.stdout);
    desk.run(&["query", "select preview from kustomer.messages"]).assert(2, &["preview"]);
    desk.run(&["query", "select count(channel) from kustomer.messages"]).assert(0, &["900"]);
}

#[test]
fn the_demo_proves_its_copy() {
    let desk = Desk::with("");
    let told = desk.run(&["demo", "--records", "200"]);
    told.assert(0, &["complete", "exact", "warrantyUntilAt", "Where to go next"]);
    assert!(!told.stdout.contains("WRONG"), "{}", told.stdout);
    // Again: the directory of an earlier demo is emptied, a foreign one is left alone.
    desk.run(&["demo", "--records", "50"]).assert(0, &["exact"]);
    fs::create_dir(desk.path("mine")).unwrap();
    desk.run(&["demo", "--directory", "mine"]).assert(2, &["left as it is"]);
}

#[test]
fn help_names_the_exit_statuses_and_completions_are_printed() {
    let desk = Desk::with("");
    desk.run(&["--help"]).assert(0, &["Examples:", "bobbin demo"]);
    desk.run(&["-h"]).assert(0, &["Exit status:"]);
    for verb in ["demo", "init", "check", "discover", "run", "status", "query", "simulate"] {
        desk.run(&[verb, "--help"]).assert(0, &["Example", "--config"]);
    }
    desk.run(&["completions", "bash"]).assert(0, &["_bobbin"]);
}

#[test]
fn outputs_that_cannot_be_written_end_no_job() {
    let sim = Simulator::start(tiny(6)).unwrap();
    let desk = Desk::new(&sim);
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let left = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    for verb in ["discover", "plan", "run", "status", "query"] {
        let arguments: &[&str] = if verb == "query" { &["query", "select 1"] } else { &[verb] };
        let told = Told::of(desk.command(arguments).stdout(left()).output().unwrap());
        told.assert(0, &[]);
        assert!(!told.stderr.contains("panicked"), "{told:?}");
        let told = Told::of(desk.command(arguments).stdout(full()).output().unwrap());
        told.assert(7, &["cannot write to stdout", "free some space"]);
        Told::of(desk.command(arguments).stderr(full()).output().unwrap()).assert(0, &[]);
        Told::of(desk.command(arguments).stderr(left()).output().unwrap()).assert(0, &[]);
    }
    let verbose = ["run", "--verbose"];
    Told::of(desk.command(&verbose).stderr(left()).output().unwrap()).assert(0, &["complete"]);
    let wrong = ["run", "nowhere"];
    Told::of(desk.command(&wrong).stderr(full()).output().unwrap()).assert(2, &[]);
    desk.assert_exact(&sim, None);
}

/// F-53: `2026-05-01 16:44:41,159Z    tap - INFO …`
#[track_caller]
fn assert_form(line: &str) {
    let form = line.bytes().zip(*b"0000-00-00 00:00:00,000Z ").all(|(found, form)| match form {
        b'0' => found.is_ascii_digit(),
        form => found == form,
    });
    let (place, rest) = line[25..].split_once(" - ").unwrap();
    let (level, _) = rest.split_once(' ').unwrap();
    assert!(form && place.len() == 6, "{line}");
    assert!(["main", "tap", "target"].contains(&place.trim_start()), "{line}");
    assert!(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"].contains(&level), "{line}");
}

#[test]
fn f53_f55_f56_a_jobs_log_tells_what_happened() {
    let sim = Simulator::start(tiny(8)).unwrap();
    let desk = Desk::new(&sim);
    desk.run(&["logs"]).assert(2, &["has no log yet", "bobbin run"]);
    desk.run(&["run"]).assert(0, &["complete"]);
    let told = desk.run(&["logs", "--verbose"]);
    told.stdout.lines().for_each(assert_form);
    let expected = [
        "main - INFO bobbin 0.1.0: job ",
        "from tap-kustomer into duckdb",
        "tap - INFO conversations: extracting from 2015-01-01T00:00:00Z until ",
        "   tap - DEBUG POST /v1/customers/search: 200 in ",
        "target - INFO conversations: created table with ",
        "rows are durable",
        "target - INFO State update: adding bookmarks.conversations = ",
        "tap - INFO conversations: complete",
    ];
    told.assert(0, &expected);
    assert!(told.stdout.trim_end().ends_with("main - INFO the job is complete"), "{told:?}");
    assert!(!told.stdout.contains(sim.token()));
    // Nothing new: no state moves for what was only looked at.
    desk.run(&["run"]).assert(0, &["complete"]);
    let second = desk.run(&["logs"]);
    assert!(!second.stdout.contains("DEBUG"));
    second.assert(0, &["the job is complete"]);
    assert_eq!(desk.run(&["logs", "--list"]).stdout.lines().count(), 2);
    let found = desk.run(&["logs", "--search", "messages"]);
    assert!(found.stdout.lines().all(|line| line.contains("messages")) && found.stdout.len() > 9);
    let objects = desk.run(&["logs", "--format", "json", "--follow"]);
    let objects: Vec<Value> =
        objects.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.last().unwrap()["event"], "job_ended");
    desk.run(&["logs", "--job", "../../bobbin"]).assert(2, &["there is no log of job"]);

    // A job that fails: the last line says why.
    desk.write(
        &format!(
            "api_token = \"{}\"\napi_url = \"http://127.0.0.1:9\"\nmax_attempts = 1",
            sim.token()
        ),
        "path = \"out.duckdb\"",
        "",
    );
    assert_ne!(desk.run(&["run"]).status, Some(0));
    let told = desk.run(&["logs"]);
    let last = told.stdout.lines().last().unwrap();
    assert_form(last);
    assert!(last.contains("main - CRITICAL failed: ") && last.contains("hint"), "{told:?}");
}

#[test]
fn f34_f35_f36_a_reset_reads_again_and_changes_no_count() {
    let sim = Simulator::start(tiny(9)).unwrap();
    let desk = Desk::new(&sim);
    desk.run(&["run"]).assert(0, &["complete"]);
    let extracted = |told: &Told, table: &str| -> u64 {
        let report: Value = serde_json::from_str(told.stdout.lines().last().unwrap()).unwrap();
        let tables = report["report"]["tables"].as_array().unwrap();
        let found = tables.iter().find(|found| found["stream"] == table).unwrap();
        found["extracted"].as_u64().unwrap()
    };
    let quiet = desk.run(&["run", "--format", "json"]);
    assert_eq!(extracted(&quiet, "notes"), 0);
    desk.run(&["reset", "--table", "notes"]).assert(2, &["notes of kustomer", "--yes"]);
    desk.run(&["reset", "--table", "notes", "--yes"]).assert(0, &["start date: notes"]);
    let again = desk.run(&["run", "--format", "json"]);
    let held = |stream: &str| {
        sim.oracle().held(stream, fake_kustomer::Bounds::all()).unwrap().len() as u64
    };
    assert_eq!(extracted(&again, "notes"), held("note"));
    assert_eq!(extracted(&again, "messages"), 0);
    desk.assert_exact(&sim, None);
    let wrong = desk.run(&["reset", "--table", "nothing", "--yes"]);
    wrong.assert(2, &["no bookmark of `nothing`", "there are those of: ", "notes"]);
    desk.run(&["reset", "--yes"]).assert(0, &["messages", "notes"]);
    let all = desk.run(&["run", "--format", "json"]);
    assert_eq!(extracted(&all, "messages"), held("message"));
    assert!(!all.stdout.contains("restored database"), "{all:?}");
    desk.assert_exact(&sim, None);
}

/// F-35: what is read takes the place of what was there once it is whole, however often it breaks off;
/// until then every old row is there.
#[test]
fn f35_a_table_is_replaced_once_it_is_whole() {
    for arrays in ["columns", "tables"] {
        let sim = Simulator::start(tiny(12)).unwrap();
        let desk = Desk::new(&sim);
        let source =
            format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url());
        let small = format!("path = \"out.duckdb\"\narrays = \"{arrays}\"\nrows_per_commit = 20");
        desk.write(&source, &small, "");
        desk.run(&["run"]).assert(0, &["complete"]);
        let gone = sim.oracle().held("note", fake_kustomer::Bounds::all()).unwrap();
        let rows = |table: &str| -> u64 {
            let sql = format!("select count(*) as n from kustomer.{table}");
            let told = desk.run(&["query", "--format", "json", &sql]);
            let row: Value = serde_json::from_str(told.stdout.trim()).unwrap();
            row["n"].as_u64().unwrap()
        };
        // What the source has no more is no longer there, and all the rest is, once.
        let there = |desk: &Desk, table: &str, stream: &str| {
            let held = sim.oracle().held(stream, fake_kustomer::Bounds::all()).unwrap();
            let mut held: Vec<_> = held.into_iter().filter(|one| one.gone_ms.is_none()).collect();
            held.sort_by(|a, b| a.id.cmp(&b.id));
            let sql = format!("select string_agg(id, ' ' order by id) as n from kustomer.{table}");
            let told = desk.run(&["query", "--format", "json", &sql]);
            let row: Value = serde_json::from_str(told.stdout.trim()).unwrap();
            let ids: Vec<&str> = row["n"].as_str().unwrap().split(' ').collect();
            assert_eq!(ids, held.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), "{table}");
        };
        let (before, messages) = (rows("notes"), rows("messages"));
        assert_eq!(before, gone.len() as u64);
        let some = Pick::Ids(gone.iter().take(7).map(|note| note.id.clone()).collect());
        sim.control().mutate(&Mutation::hard_delete("note", some)).unwrap();
        sim.control().advance(3_600_000);
        // A plain reset keeps what the source has no more.
        desk.run(&["reset", "--table", "notes", "--yes"]).assert(0, &["notes"]);
        desk.run(&["run"]).assert(0, &["complete"]);
        assert_eq!(rows("notes"), before);
        let reset = ["reset", "--table", "notes", "--replace", "--yes"];
        desk.run(&reset).assert(0, &["notes"]);
        for crash in ["after-commit:2", "segment-loaded:4", "state-saved:3"] {
            desk.command(&["run"]).env("BOBBIN_CRASH_AT", crash).output().unwrap();
            assert!(rows("notes") >= before, "{crash}");
        }
        desk.run(&["run"]).assert(0, &["complete"]);
        assert_eq!((rows("notes"), rows("messages")), (before - 7, messages), "{arrays}");
        there(&desk, "notes", "note");
        there(&desk, "messages", "message");
        // It is over: what comes later is of no version of its own, and nothing else goes.
        sim.control().mutate(&Mutation::add("note", 5)).unwrap();
        sim.control().advance(3_600_000);
        desk.run(&["run"]).assert(0, &["complete"]);
        there(&desk, "notes", "note");
        there(&desk, "messages", "message");
        // Everything at once.
        let some = sim.oracle().held("message", fake_kustomer::Bounds::all()).unwrap();
        let some = Pick::Ids(some.iter().take(3).map(|record| record.id.clone()).collect());
        sim.control().mutate(&Mutation::hard_delete("message", some)).unwrap();
        sim.control().advance(3_600_000);
        desk.run(&["reset", "--replace", "--yes"]).assert(0, &["every table of kustomer"]);
        desk.run(&["run"]).assert(0, &["complete"]);
        there(&desk, "notes", "note");
        there(&desk, "messages", "message");
    }
}

/// F-106: what has waited too long to be loaded is deleted, and read again.
#[test]
fn f106_what_waited_too_long_is_deleted_and_read_again() {
    let sim = Simulator::start(tiny(14)).unwrap();
    let desk = Desk::new(&sim);
    desk.command(&["run"]).env("BOBBIN_CRASH_AT", "segment-loaded:3").output().unwrap();
    let spool = desk.path(".bobbin/spool/kustomer");
    let jobs = || -> Vec<_> {
        let entries = fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    };
    let [job] = <[_; 1]>::try_from(jobs()).unwrap();
    assert!(fs::read_dir(&job).unwrap().count() > 0, "nothing waits");
    // What was set aside as damaged a month ago makes nothing else old, and stays.
    let damaged = spool.join("20200101T000000.000000Z");
    fs::create_dir(&damaged).unwrap();
    fs::write(damaged.join("000001.notes.json.corrupt"), "x").unwrap();
    let copy = desk.run(&["run"]);
    assert!(!copy.stdout.contains("waited longer"), "{copy:?}");
    assert!(damaged.join("000001.notes.json.corrupt").exists());
    sim.control().mutate(&Mutation::add("note", 40)).unwrap();
    sim.control().advance(3_600_000);
    desk.command(&["run"]).env("BOBBIN_CRASH_AT", "segment-loaded:1").output().unwrap();
    let job = jobs().into_iter().find(|job| *job != damaged).unwrap();
    // As if it were of a month ago.
    let aged = |days: i64| {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
        at.strftime("%Y%m%dT%H%M%S%.6fZ").to_string()
    };
    fs::rename(&job, spool.join(aged(31))).unwrap();
    let told = desk.run(&["run"]);
    told.assert(0, &["complete", "waited longer than 30 days", "read again by the next job"]);
    desk.assert_exact(&sim, None);
    let told = desk.run(&["run"]);
    assert!(!told.stdout.contains("waited longer"), "{told:?}");
}

/// A part of a table is read again, and no bookmark moves.
#[test]
fn a_part_of_a_table_is_read_again_and_no_bookmark_moves() {
    let sim = Simulator::start(tiny(13)).unwrap();
    let desk = Desk::new(&sim);
    desk.run(&["run"]).assert(0, &["complete"]);
    let ask = |sql: &str| {
        let told = desk.run(&["query", "--format", "json", sql]);
        told.assert(0, &[]);
        serde_json::from_str::<Value>(told.stdout.trim()).unwrap()
    };
    let state = "select state::varchar as s from kustomer._bobbin_state";
    let middle = ask("select quantile_disc(updated_at, 0.5)::varchar as m,
                      strftime(quantile_disc(updated_at, 0.5) at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%gZ') as at
                      from kustomer.notes");
    let middle = middle["at"].as_str().unwrap();
    let half =
        ask(&format!("select count(*) as n from kustomer.notes where updated_at < '{middle}'"));
    // Rows that somebody deleted by hand come again.
    let database = duckdb::Connection::open(desk.path("out.duckdb")).unwrap();
    let deleted = format!("delete from kustomer.notes where updated_at < '{middle}'");
    database.execute_batch(&deleted).unwrap();
    drop(database);
    desk.run(&["run"]).assert(0, &["complete"]);
    let before = ask(state);
    let part = ["backfill", "--table", "notes", "--from", "2015-01-01", "--until", middle];
    let told = desk.run(&[part.as_slice(), &["--format", "json"]].concat());
    told.assert(0, &[]);
    let report: Value = serde_json::from_str(told.stdout.lines().last().unwrap()).unwrap();
    let notes = &report["report"]["tables"][0];
    assert_eq!((&notes["stream"], &notes["extracted"]), (&"notes".into(), &half["n"]), "{report}");
    desk.assert_exact(&sim, None);
    desk.run(&["jobs"]).assert(0, &["backfill"]);
    assert_eq!(ask(state), before);
    let text = fs::read_to_string(desk.path("bobbin.toml")).unwrap();
    let ending = text.replace("start_date", "end_date = \"2020-01-01\"\nstart_date");
    fs::write(desk.path("bobbin.toml"), ending).unwrap();
    desk.run(&["run"]).assert(2, &["`end_date`", "bobbin backfill"]);
    fs::write(desk.path("bobbin.toml"), text).unwrap();
    desk.run(&["backfill", "--table", "zebras", "--from", "2015-01-01", "--until", middle])
        .assert(2, &["`zebras`"]);
    desk.run(&["backfill", "--table", "notes", "--from", middle, "--until", "2015-01-01"])
        .assert(2, &["ends before it begins"]);
    desk.run(&["backfill", "--table", "notes", "--from", "soon", "--until", middle])
        .assert(2, &["write 2026-03-01"]);
}

/// F-59 to F-61, F-97: per table how far it is and how many rows it got, per load what came; the
/// numbers are those of the tables themselves.
#[test]
fn f59_f60_f61_f97_loads_are_told_as_the_tables_hold_them() {
    let sim = Simulator::start(tiny(10)).unwrap();
    let desk = Desk::new(&sim);
    desk.write(
        &format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url()),
        "path = \"out.duckdb\"\narrays = \"tables\"",
        "",
    );
    desk.run(&["loads"]).assert(0, &["nothing was loaded yet", "bobbin run"]);
    desk.run(&["jobs"]).assert(0, &["no job yet", "bobbin run kustomer"]);
    desk.run(&["run"]).assert(0, &["complete"]);
    let objects = |arguments: &[&str]| -> Vec<Value> {
        let told = desk.run(arguments);
        told.assert(0, &[]);
        told.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let one = |sql: &str| -> Value {
        let told = desk.run(&["query", "--format", "json", sql]);
        told.assert(0, &[]);
        serde_json::from_str::<Value>(told.stdout.trim()).unwrap()["n"].clone()
    };
    let tables = objects(&["loads", "--format", "json"]);
    assert!(tables.len() >= 8, "{tables:?}");
    let mut with_items = 0;
    for table in &tables {
        let name = table["stream"].as_str().unwrap();
        assert_eq!(table["replication_key"], "updated_at");
        let reached = one(&format!("select epoch_ms(max(updated_at)) as n from kustomer.{name}"));
        let told: jiff::Timestamp = table["bookmark"].as_str().unwrap().parse().unwrap();
        assert_eq!(told.as_millisecond(), reached.as_i64().unwrap(), "{name}");
        let rows = one(&format!("select count(*) as n from kustomer.{name}"));
        for range in ["day", "period"] {
            assert_eq!(table["rows"][range], rows, "{name}");
        }
        for (subtable, rows) in table["subtables"].as_object().unwrap() {
            let held = one(&format!("select count(*) as n from kustomer.\"{subtable}\""));
            assert_eq!(rows["day"], held, "{subtable}");
            with_items += 1;
        }
    }
    assert!(with_items >= 3, "{tables:?}");
    let loads = objects(&["loads", "--table", "messages", "--format", "json"]);
    let rows: u64 = loads.iter().map(|load| load["rows"].as_u64().unwrap()).sum();
    let all = tables.iter().find(|table| table["stream"] == "messages").unwrap();
    assert_eq!(Value::from(rows), all["rows"]["day"]);
    assert_eq!(loads.last().unwrap()["changes"][0]["change"], "created");

    desk.run(&["loads"]).assert(0, &["greatest bookmark loaded", "updated_at: 20", "messages__"]);
    desk.run(&["loads", "--table", "messages"]).assert(0, &["success", "created table with "]);
    desk.run(&["loads", "--table", "nothing"]).assert(0, &["`bobbin loads` lists the tables"]);
    desk.run(&["loads", "--days", "2"]).assert(0, &["day (UTC)", "messages"]);
    desk.run(&["jobs"]).assert(0, &["manual", "complete"]);
    assert_eq!(objects(&["jobs", "--format", "json"])[0]["status"], "complete");
}

/// Section 5 of stitch-behaviour.md and beyond: patterns choose, columns are made unreadable before
/// anything is stored, what tells records apart stays.
#[test]
fn columns_are_hashed_masked_and_dropped_and_patterns_choose() {
    let sim = Simulator::start(tiny(11)).unwrap();
    let desk = Desk::new(&sim);
    let source = format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url());
    let connection = "tables = [\"c*\", \"tags\", \"users\"]\nexclude = [\"conv*\", \"*.custom\"]\n\
                      hash = [\"*.emails.email\", \"users.email\", \"*.id\"]\n\
                      mask = [\"customers.*.phone\"]\n\
                      drop = [\"customers.name\"]\n";
    desk.write(&source, "path = \"out.duckdb\"", connection);
    desk.run(&["run"]).assert(2, &["columns are to be hashed", "hash_key"]);
    let text = fs::read_to_string(desk.path("bobbin.toml")).unwrap();
    // Plain, so that what is in it can be read here.
    let keyed = format!("seal_spool = false\nhash_key = {{ env = \"BOBBIN_TEST_KEY\" }}\n{text}");
    fs::write(desk.path("bobbin.toml"), keyed).unwrap();
    desk.run(&["run"]).assert(2, &["BOBBIN_TEST_KEY, which is not set"]);

    // Stopped with everything on disk: nothing readable may be there.
    let with_key = |arguments: &[&str]| {
        let mut command = desk.command(arguments);
        command.env("BOBBIN_TEST_KEY", "k").output().map(Told::of).unwrap()
    };
    let mut crash = desk.command(&["run"]);
    crash.env("BOBBIN_TEST_KEY", "k").env("BOBBIN_CRASH_AT", "segment-loaded");
    crash.output().unwrap();
    let mut segments = 0;
    for job in fs::read_dir(desk.path(".bobbin/spool/kustomer")).unwrap() {
        let Ok(files) = fs::read_dir(job.unwrap().path()) else { continue };
        for file in files {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "zst") {
                let bytes = zstd::decode_all(fs::File::open(&path).unwrap()).unwrap();
                let text = String::from_utf8(bytes).unwrap();
                assert!(!text.contains('@') && !text.contains("\"phone\":\"+"), "{path:?}");
                segments += 1;
            }
        }
    }
    assert!(segments > 0, "nothing was in the spool");

    with_key(&["run"]).assert(0, &["complete", "customers", "tags", "users"]);
    let is = |sql: &str| {
        let told = desk.run(&["query", "--format", "json", sql]);
        told.assert(0, &[]);
        assert!(told.stdout.contains("\"n\":true"), "{sql}: {told:?}");
    };
    is("select count(*) > 0 and count(*) filter (emails::text like '%@%') = 0 as n
        from kustomer.customers");
    is("select bool_or(phones::text like '%***%') and not bool_or(phones::text like '%+%') as n
        from kustomer.customers");
    is("select bool_and(length(email) = 64 and email not like '%@%') as n from kustomer.users");
    is("select count(*) = 3 as n from information_schema.tables
        where table_schema = 'kustomer' and table_name not like '\\_%' escape '\\'");
    is("select count(*) = 0 as n from duckdb_columns() where table_name = 'customers'
        and (column_name = 'name' or column_name like 'custom\\_\\_%' escape '\\')");
    let held = sim.oracle().held("customer", fake_kustomer::Bounds::all()).unwrap();
    is(&format!(
        "select count(*) = {} and bool_or(rev > 0) as n from kustomer.customers",
        held.len()
    ));

    // What names nothing is told; a table that there is not is refused.
    desk.write(&source, "path = \"out.duckdb\"", "exclude = [\"zebra*\"]\nmask = [\"*.zebra\"]");
    let told = desk.run(&["run"]);
    told.assert(0, &["no table is called like `zebra*`", "no column is known", "`*.zebra`"]);
    desk.write(&source, "path = \"out.duckdb\"", "mask = [\"zebra.x\"]");
    desk.run(&["run"]).assert(2, &["there is no table `zebra`"]);
    desk.write(&source, "path = \"out.duckdb\"", "mask = [\"users.rev\"]");
    desk.run(&["run"]).assert(2, &["users.rev"]);
    desk.write(&source, "path = \"out.duckdb\"", "mask = [\"users\"]");
    desk.run(&["run"]).assert(2, &["`mask`", "names no column", "users.email"]);
}
