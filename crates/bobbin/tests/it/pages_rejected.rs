//! The page of records that were set aside.

use fake_kustomer::{Hostile, Simulator};
use serde_json::Value;

use crate::pages_extraction::{ended, form_with, job, look, person, serving};
use crate::support::tiny;

#[test]
fn f104_records_set_aside_are_told_shown_on_demand_and_loaded_again() {
    let bytes = b"{\"id\":\"<script>alert('secret')</script>\xff\"}";
    let config = tiny(81).with_hostile(Hostile::record_bytes("note", 0, bytes));
    let sim = Simulator::start(config).unwrap();
    let (_desk, serving) = serving(&sim, &["notes", "tags"]);
    job(&serving, ended);
    let (anna, olga) = (person(&serving, "anna", "viewer"), person(&serving, "olga", "operator"));
    let address = "/connections/c/rejected";
    let told = serving.get("/api/v1/connections/c/rejected");
    let group = &told["groups"][0];
    let page = look(&anna, address).assert(200).text;
    let reason = group["reason"].as_str().unwrap();
    let escaped = askama_escaped(reason);
    assert!(page.contains(">notes</a>") && page.contains(&escaped), "{reason}: {page}");
    assert!(!page.contains("secret"), "what it holds is shown on demand");
    let texts = look(&anna, &format!("{address}?table=notes&texts=yes")).assert(200).text;
    assert!(texts.contains("secret") && !texts.contains("<script>alert"), "{texts}");
    let none = look(&anna, &format!("{address}?table=%3Cb%3E")).assert(200).text;
    assert!(none.contains("Nothing is set aside") && !none.contains("of <b>"), "{none}");
    // The same as JSON lines.
    let file = look(&anna, &format!("{address}/download?table=notes")).assert(200);
    assert!(file.header("content-disposition").unwrap().contains("rejected.jsonl"));
    let line: Value = serde_json::from_str(file.text.lines().next().unwrap()).unwrap();
    assert_eq!(line["reason"], group["reason"]);
    assert!(line["record"].as_str().unwrap().contains("secret"));
    // Only those who may load them again, and only from this page.
    assert!(!page.contains("/rejected/retry"));
    form_with(&anna, &format!("{address}/retry"), &anna.csrf, "").assert(403);
    form_with(&olga, &format!("{address}/retry"), "wrong", "").assert(403);
    let gone = form_with(&olga, &format!("{address}/retry"), &olga.csrf, "&table=notes");
    assert_eq!(gone.assert(303).header("location"), Some(address));
    look(&anna, "/connections/none/rejected").assert(404);
    serving.stop();
}

/// Without any the page says what that means.
#[test]
fn no_record_set_aside_is_told_as_good_news() {
    let sim = Simulator::start(tiny(82)).unwrap();
    let (_desk, serving) = serving(&sim, &["tags"]);
    job(&serving, ended);
    let olga = person(&serving, "olga", "operator");
    let page = look(&olga, "/connections/c/rejected").assert(200).text;
    assert!(page.contains("Nothing is set aside") && !page.contains("/rejected/retry"), "{page}");
    let gone = form_with(&olga, "/connections/c/rejected/retry", &olga.csrf, "").assert(303);
    let said = gone.header("set-cookie").unwrap();
    assert!(said.contains("nothing+that+can+be+loaded"), "{said}");
    serving.stop();
}

/// A text as it stands on a page.
fn askama_escaped(text: &str) -> String {
    text.replace('&', "&#38;").replace('<', "&#60;").replace('"', "&#34;").replace('\'', "&#39;")
}
