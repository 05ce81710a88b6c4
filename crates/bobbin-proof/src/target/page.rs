//! Answers of the API: a page is cut into its records, each becomes a line or is set aside.

use tap_kustomer::fuzzing::{Pages, page};

use crate::corpus::Theme;
use crate::exact::{Value, parse};

/// The body: the bytes are an answer, as it came and asked for again.
pub fn run(data: &[u8]) {
    thread_local! {
        static PAGES: std::cell::RefCell<Pages> = std::cell::RefCell::new(Pages::new());
    }
    PAGES.with_borrow_mut(|pages| {
        for lossy in [false, true] {
            answer(pages, data, lossy);
        }
    });
}

fn answer(pages: &mut Pages, data: &[u8], lossy: bool) {
    let whole = std::str::from_utf8(data).ok().and_then(|text| {
        parse(text.strip_prefix('\u{feff}').unwrap_or(text)).map(|document| document.value)
    });
    let read = match page(pages, data, lossy) {
        Ok(read) => read,
        Err(reason) => {
            assert!(!reason.is_empty());
            return;
        }
    };
    assert_eq!(read.rows, read.received, "a record of the page has no row");
    let text = String::from_utf8(read.text).expect("lines are text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len() + read.rejected.len(), read.received, "a record vanished");
    assert!(text.is_empty() || text.ends_with('\n'));
    for line in &lines {
        let document = parse(line).expect("a line is JSON");
        let Value::Object(members) = document.value else { panic!("a line is no object") };
        assert!(matches!(members.get("id"), Some(Value::Text(id)) if !id.is_empty()), "no id");
        assert_eq!(document.twice, 0, "a key stands twice in a line");
    }
    for (reason, record) in &read.rejected {
        assert!(!reason.is_empty() && !record.is_empty());
    }
    // Where the whole answer can be read, nothing of it is set aside without need.
    let Some(Value::Object(members)) = whole else { return };
    let records = match members.get("data") {
        Some(Value::Array(records)) => records.clone(),
        Some(one @ Value::Object(_)) => vec![one.clone()],
        _ => return,
    };
    // Of a `data` that stands twice both are cut; the reader of this test keeps the last.
    if records.len() != read.received {
        return;
    }
    let good = records.iter().filter(|record| {
        let Value::Object(members) = record else { return false };
        let object =
            |name| matches!(members.get(name), None | Some(Value::Null | Value::Object(_)));
        object("attributes")
            && object("relationships")
            && matches!(members.get("id"), Some(Value::Text(id)) if !id.is_empty())
    });
    assert!(lines.len() >= good.count(), "a good record was set aside: {:?}", read.rejected);
}

/// Pages of the corpus' records as attributes, three at a time.
pub fn seeds(themes: &[Theme]) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        r#"{"data":[]}"#,
        r#"{"data":{"id":"a","type":"user","attributes":{"name":"x"}},"links":{"next":"/v1/x"}}"#,
        r#"{"errors":[{"code":"x"}],"data":[]}"#,
        r#"{"meta":{"total":3,"pageSize":"100","timed_out":true},"data":[{}],"links":{"next":null}}"#,
        "<html>busy</html>",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    seeds.push(include_bytes!("../../../tap-kustomer/tests/documents/conversation.json").to_vec());
    let cases: Vec<_> = themes.iter().flat_map(|theme| &theme.cases).collect();
    for cases in cases.chunks(2) {
        let mut text = br#"{"meta":{"total":3},"data":["#.to_vec();
        for case in cases {
            text.extend_from_slice(br#"{"type":"conversation","id":"c1","attributes":"#);
            text.extend_from_slice(&case.bytes);
            text.extend_from_slice(
                br#","relationships":{"customer":{"data":{"type":"customer","id":"x"},"links":{}}}},"#,
            );
        }
        text.extend_from_slice(br#"{"type":"conversation","id":"last","attributes":{"rev":1}}]}"#);
        seeds.push(text);
    }
    seeds
}
