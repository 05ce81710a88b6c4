//! What is set of a connection by its page: nothing that was entered is lost or means something else later.

use serde_json::json;

use crate::pages::{Visitor, set_up};
use crate::people::start;

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
