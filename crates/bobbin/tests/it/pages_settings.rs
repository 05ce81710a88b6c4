//! What is set of a connection by its page: nothing that was entered is lost or means something else later.

use serde_json::json;

use crate::pages::{Visitor, set_up};
use crate::people::{add, start};

/// A form that comes back for one wrong field would else reset every table once that is right.
#[test]
fn what_was_entered_stays_when_a_form_comes_back() {
    let (sim, _desk, serving) = start();
    set_up(&serving, &sim, "there");
    let second = json!({ "name": "second", "type": "duckdb", "path": "second.duckdb" });
    serving.done("POST", "/api/v1/destinations", &second);
    let boss = Visitor::with_token(&serving);
    let send = |verb: &str, fields: &[(&str, &str)]| {
        boss.post(&format!("/connections/there/{verb}"), fields)
    };
    let wrong = |verb: &str, fields: &[(&str, &str)], words: &[&str]| {
        let page = send(verb, fields).assert(422).text;
        for word in words {
            assert!(page.contains(word), "{word}: {page}");
        }
        page
    };
    // The source was asked what it has, so that there are tables to choose.
    crate::pages::wait_for_job(&serving);
    let shown = boss.see("/connections/there/settings").text;
    assert!(shown.contains("<option>tags</option>"), "{shown}");
    let back = "name=\"back\" value=\"/connections/there/settings\"";
    let reset = [("table", "tags"), ("mode", "replace"), ("reset", "another")];
    wrong("reset", &reset, &["<option selected>tags<", "value=\"replace\" checked", back]);
    let part = [("table", "users"), ("from", "2026-01-01"), ("until", "soon")];
    wrong("backfill", &part, &["value=\"users\" checked", "value=\"2026-01-01\""]);

    // A clone goes where it is sent.
    let taken = [("clone_name", "there"), ("clone_schema", "x"), ("clone_destination", "second")];
    let page = wrong("clone", &taken, &["value=\"second\" selected", "value=\"x\""]);
    assert!(page.contains("name=\"keep_selection\" value=\"yes\">"), "{page}");
    let clone = [&[("clone_name", "Copy")], &taken[1..], &[("keep_selection", "yes")]].concat();
    let made = send("clone", &clone).assert(303);
    assert_eq!(made.header("location"), Some("/connections/copy"));
    let copy = serving.get("/api/v1/connections/copy/definition")["definition"].clone();
    assert_eq!((&copy["destination"], &copy["schema"]), (&json!("second"), &json!("x")));
    assert_eq!(copy["tables"], json!(["tags", "users"]));

    // From when on: not from a day to come; what is said follows from which day it was.
    wrong("start", &[("start_date", "2999-01-01")], &["still to come", "value=\"2999-01-01\""]);
    let said = |day: &str| send("start", &[("start_date", day)]).assert(303).said();
    assert!(said("2020-01-01").contains("2020-01-01"));
    assert!(said("2015-01-01").contains("The next job reads"));
    assert!(said("2021-01-01").contains("Nothing is removed"));

    // While a schedule is typed its times go on counting from the first job.
    let shown = boss.see("/connections/there/settings").text;
    assert!(shown.contains("hx-get=\"/schedule/preview?connection=there\""), "{shown}");
    let preview =
        |more: &str| boss.get(&format!("/schedule/preview?how=every&every=7&unit=hours{more}"));
    let anew = "as if it began now";
    assert!(preview("").assert(200).text.contains(anew));
    assert!(!preview("&connection=there").assert(200).text.contains(anew));
    preview("&connection=none").assert(404);
    drop(boss);
    serving.stop();
}

/// A channel is changed; what is secret, and what no form shows, stays, and so does whether it is on.
#[test]
fn a_channel_is_changed_and_keeps_what_nobody_entered() {
    let (sim, desk, serving) = start();
    set_up(&serving, &sim, "there");
    for channel in [
        json!({ "name": "ops", "type": "webhook", "url": "https://one.example/secret", "delay_minutes": 5,
                "hide_errors": true }),
        json!({ "name": "dbt", "type": "post_load", "url": "https://one.example/secret",
                "connections": ["there"] }),
    ] {
        serving.done("POST", "/api/v1/channels", &channel);
    }
    serving.done("PATCH", "/api/v1/channels/dbt", &json!({ "enabled": false }));
    add(&desk, "boss", "administrator");
    add(&desk, "viewer", "viewer");
    let (boss, viewer) = (Visitor::of(&serving, "boss"), Visitor::of(&serving, "viewer"));
    let told = |name: &str| serving.get(&format!("/api/v1/channels/{name}"));
    let since = told("dbt")["disabled_at"].clone();
    assert!(since.is_string());

    let page = boss.see("/channels/ops").text;
    assert!(page.contains("value=\"5\"") && !page.contains("secret\""), "{page}");
    assert!(page.contains("It is set; leave empty to keep it."), "{page}");
    let page = viewer.see("/channels/ops").text;
    assert!(!page.contains("/save") && page.contains("after 5 minutes"), "{page}");

    boss.post("/channels/ops/save", &[("place", ""), ("delay", "7"), ("critical", "yes")])
        .assert(303);
    let ops = told("ops");
    assert_eq!((&ops["host"], &ops["secrets"]), (&json!("one.example"), &json!(["url"])));
    let settings = &ops["settings"];
    assert_eq!((&settings["delay_minutes"], &settings["warnings"]), (&json!(7), &json!(false)));
    assert_eq!(settings["hide_errors"], true);
    boss.post("/channels/dbt/save", &[("place", "https://two.example/other")]).assert(303);
    let dbt = told("dbt");
    assert_eq!((&dbt["host"], &dbt["disabled_at"]), (&json!("two.example"), &since));
    assert_eq!(dbt["settings"]["connections"], json!(["there"]));

    // What is wrong is told beside its field, and a URL that was entered must be entered again.
    let sent = [("place", "https://three.example/x"), ("delay", "soon")];
    let page = boss.post("/channels/ops/save", &sent).assert(422).text;
    assert!(page.contains("Give a whole number of minutes, or nothing."), "{page}");
    assert!(page.contains("value=\"soon\"") && !page.contains("three.example"), "{page}");
    assert!(page.contains("Enter the new one again") && !page.contains("leave empty"), "{page}");
    let page = boss.post("/channels/ops/save", &[("place", "ftp://nowhere")]).assert(422).text;
    assert!(page.contains("id=\"wrong-place\""), "{page}");
    assert_eq!(told("ops"), ops, "nothing was changed");
    boss.get("/channels/none").assert(404);
    drop((boss, viewer));
    serving.stop();
}
