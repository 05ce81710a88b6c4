//! What is refused, and in which words.

use std::fmt::Write as _;

use bobbin_import::request::{MOST_DATA_POINTS, MOST_MESSAGES, Refused, RefusedKind, Requests};

fn refused(body: &str) -> Refused {
    Requests::default().batch(body.as_bytes()).expect_err(body)
}

/// A batch of one message with this data, and a schema.
fn with(schema: &str, data: &str) -> String {
    format!(
        r#"{{"table_name":"t","schema":{schema},"key_names":["id"],"messages":[{{"action":"upsert","sequence":1,"data":{data}}}]}}"#
    )
}

fn told(refusals: &[Refused]) -> String {
    let mut text = String::new();
    for refused in refusals {
        let place = match (&refused.index, &refused.path) {
            (Some(index), Some(path)) => format!(" [{index} {path}]"),
            (Some(index), None) => format!(" [{index}]"),
            _ => String::new(),
        };
        let kind = if refused.kind == RefusedKind::TooLarge { "413" } else { "400" };
        writeln!(text, "{kind} {refused}{place}").unwrap();
    }
    text
}

#[test]
fn a_batch_that_is_none_is_refused_in_words() {
    let message = |message: &str| {
        refused(&format!(
            r#"{{"table_name":"t","schema":{{}},"messages":[{{"action":"upsert","sequence":1,"data":{{"a":1}}}},{message}]}}"#
        ))
    };
    let table =
        |name: &str| refused(&format!(r#"{{"table_name":"{name}","schema":{{}},"messages":[]}}"#));
    let refusals = [
        refused("[]"),
        refused("{"),
        refused(r#"{"table_name":"t"} x"#),
        refused("{}"),
        refused(r#"{"table_name":7}"#),
        refused(r#"{"table_name":"t"}"#),
        refused(r#"{"table_name":"t","schema":{}}"#),
        refused(r#"{"table_name":"t","schema":{},"messages":{}}"#),
        refused(r#"{"table_name":"t","schema":{},"messages":[]}"#),
        refused(r#"{"table_name":"t","schema":{},"key_names":"id","messages":[]}"#),
        refused(r#"{"table_name":"t","schema":{},"key_names":["_import_id"],"messages":[]}"#),
        refused(r#"{"table_name":"t","schema":{},"key_names":[""],"messages":[]}"#),
        refused(r#"{"table_name":"t","schema":{},"table_version":1.5,"messages":[]}"#),
        table(""),
        table(" t"),
        table("a\\u0000b"),
        table("--"),
        table("_SDC_rejected"),
        table(&"x".repeat(256)),
        message("7"),
        message("{}"),
        message(r#"{"action":"delete","sequence":1}"#),
        message(r#"{"action":"upsert","data":{}}"#),
        message(r#"{"action":"upsert","sequence":9223372036854775808,"data":{}}"#),
        message(r#"{"action":"upsert","sequence":"1","data":{}}"#),
        message(r#"{"action":"upsert","sequence":1}"#),
        message(r#"{"action":"upsert","sequence":1,"data":[]}"#),
        message(r#"{"action":"upsert","sequence":1,"data":{"_import_sequence":1}}"#),
        message(r#"{"action":"upsert","sequence":1,"data":{"a":1e400}}"#),
        message(r#"{"action":"upsert","sequence":1,"data":{"a":NaN}}"#),
        message(r#"{"action":"upsert","sequence":1,"data":{"a":"\ud800"}}"#),
        message(r#"{"action":"upsert","sequence":1,"data":{},"time_extracted":"yesterday"}"#),
        message(r#"{"action":"activate_version","sequence":1}"#),
    ];
    insta::assert_snapshot!(told(&refusals), @r#"
    400 the body must be an object
    400 the body cannot be read: the text ends inside a value at byte 1
    400 the body cannot be read: text after the end of the value at byte 19
    400 table_name is missing
    400 table_name must be a text
    400 schema is missing
    400 messages is missing
    400 messages must be a list of messages
    400 there are no messages; a request has 1 to 20000
    400 key_names must be a list of names
    400 key_names has `_import_id`, a name that is reserved
    400 key_names has an empty name
    400 table_version must be an integer, at most 9223372036854775807
    400 table_name is empty
    400 table_name begins or ends with white space
    400 table_name has a control character
    400 table_name has no letter and no digit
    400 table_name begins with _sdc, which is reserved
    400 table_name has more than 255 characters
    400 message 1: it must be an object [1]
    400 message 1: action is missing [1]
    400 message 1: there is no action `delete`; there are upsert and activate_version [1]
    400 message 1: sequence is missing [1]
    400 message 1: sequence must be an integer, at most 9223372036854775807 [1]
    400 message 1: sequence must be an integer, at most 9223372036854775807 [1]
    400 message 1: data is missing [1]
    400 message 1: data must be an object [1]
    400 message 1: the record has a field `_import_sequence`, a name that is reserved [1 /_import_sequence]
    400 message 1: the body cannot be read: number beyond the range of a double at byte 134 [1]
    400 message 1: the body cannot be read: malformed number at byte 134 [1]
    400 message 1: the body cannot be read: half a surrogate pair (\uD800-\uDFFF) in a string at byte 135 [1]
    400 message 1: time_extracted is no instant, such as 2026-11-28T09:30:00Z [1]
    400 message 1: activate_version needs the table_version of the request [1]
    "#);
    let utf8 = Requests::default().batch(b"{\"a\xff\"}").unwrap_err();
    assert_eq!(utf8.message, "the body cannot be read: bytes that are not UTF-8 at byte 3");
}

#[test]
fn a_record_that_is_not_as_declared_is_refused_in_words() {
    let deep = r#"{"type":"object","required":["id"],"additionalProperties":false,"properties":{"id":{"type":"integer"},"n":{"type":["null","number"],"maximum":5,"exclusiveMaximum":true},"at":{"type":"string","format":"date-time"},"mail":{"type":"string","format":"email"},"list":{"type":"array","items":{"type":"object","properties":{"x":{"type":"integer"}}}},"e":{"enum":["secret"]},"p":{"type":"string","pattern":"^[a-z]+$"}}}"#;
    let data = |data: &str| refused(&with(deep, data));
    let schema = |schema: &str| refused(&with(schema, r#"{"id":1}"#));
    let refusals = [
        data(r#"{"a":1}"#),
        data(r#"{"id":null}"#),
        data(r#"{"id":{}}"#),
        data(r#"{"id":"hush"}"#),
        data(r#"{"id":1.0}"#),
        data(r#"{"id":1,"n":5}"#),
        data(r#"{"id":1,"at":"2026-11-28"}"#),
        data(r#"{"id":1,"list":[{"x":1},{"x":"hush"}]}"#),
        data(r#"{"id":1,"e":"hush"}"#),
        data(r#"{"id":1,"p":"HUSH"}"#),
        data(r#"{"id":1,"other":1}"#),
        refused(&with("{}", &format!(r#"{{"id":"{}"}}"#, "é".repeat(256)))),
        schema("[]"),
        schema(r#"{"type":"thing"}"#),
        schema(r#"{"properties":{"_import_id":{}}}"#),
        schema(r#"{"properties":{"a":{"$ref":"http://127.0.0.1/x"}}}"#),
        schema(r##"{"properties":{"a":{"$ref":"#/definitions/none"}}}"##),
        schema(r#"{"properties":{"a":{"pattern":"(?=a)"}}}"#),
    ];
    insta::assert_snapshot!(told(&refusals), @r#"
    400 message 0: the key `id` is missing [0 /id]
    400 message 0: the key `id` is null [0 /id]
    400 message 0: the key `id` is an object or array [0 /id]
    400 message 0: /id is not as the schema says: the value is not of type "integer" [0 /id]
    400 message 0: /id is not as the schema says: the value is not of type "integer" [0 /id]
    400 message 0: /n is not as the schema says: the value is greater than or equal to the maximum of 5 [0 /n]
    400 message 0: /at is not as the schema says: the value is not a "date-time" [0 /at]
    400 message 0: /list/1/x is not as the schema says: the value is not of type "integer" [0 /list/1/x]
    400 message 0: /e is not as the schema says: the value is not one of "secret" [0 /e]
    400 message 0: /p is not as the schema says: the value does not match "^[a-z]+$" [0 /p]
    400 message 0: the record is not as the schema says: Additional properties are not allowed ('other' was unexpected) [0 ]
    400 message 0: the key `id` has 256 characters or more; fewer are taken [0 /id]
    400 schema must be an object, a JSON Schema
    400 schema is no JSON Schema at /type: the value is not valid under any of the schemas listed in the 'anyOf' keyword
    400 schema declares `_import_id`, a name that is reserved
    400 schema has a $ref that is not of the form #/…, within the schema
    400 schema is no JSON Schema: Pointer '/definitions/none' does not exist
    400 schema is no JSON Schema at /properties/a/pattern: the value is not a "regex"
    "#);
    assert!(refusals.iter().all(|refused| !refused.message.to_lowercase().contains("hush")));
    // What is taken: formats that validators differ over, a key of 255 characters, integers of any size.
    for body in [
        with(deep, r#"{"id":1,"n":null,"at":"2026-11-28T09:30:00+01:00","mail":"nobody"}"#),
        with(deep, r#"{"id":12345678901234567890123}"#),
        with("{}", &format!(r#"{{"id":"{}"}}"#, "é".repeat(255))),
        with(r#"{"properties":{"id":{"exclusiveMaximum":5}}}"#, r#"{"id":1}"#),
        with(
            r#"{"$schema":"http://example.com/mine","properties":{"id":{"minimum":1}}}"#,
            r#"{"id":1}"#,
        ),
        with(
            r#"{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"id":{"exclusiveMaximum":5}}}"#,
            r#"{"id":1}"#,
        ),
    ] {
        Requests::default().batch(body.as_bytes()).unwrap();
    }
}

#[test]
fn a_push_that_is_none_is_refused_in_words() {
    let push = |body: &str| Requests::default().push(body.as_bytes()).expect_err(body);
    let first = r#"{"client_id":1,"table_name":"a","sequence":1,"action":"upsert","key_names":["id"],"data":{"id":1}}"#;
    let second = |with: &str| push(&format!("[{first},{{{with}}}]"));
    let refusals = [
        push("{}"),
        push("[]"),
        push(&format!("[{first}] x")),
        second(r#""sequence":1,"action":"upsert","data":{"id":1}"#),
        second(r#""table_name":"a","sequence":1,"action":"upsert","data":{"id":1}"#),
        second(r#""table_name":"b","sequence":1,"action":"activate_version""#),
        second(
            r#""table_name":"b","sequence":1,"action":"upsert","table_version":1,"data":{"id":1}"#,
        ),
        second(
            r#""table_name":"b","sequence":1,"action":"upsert","key_names":["id"],"data":{"x":1}"#,
        ),
    ];
    insta::assert_snapshot!(told(&refusals), @r#"
    400 the body must be a list of messages
    400 there are no messages; a request has 1 to 20000
    400 the body cannot be read: text after the end of the value at byte 101
    400 message 1: table_name is missing [1]
    400 message 1: its key_names are not those of message 0, which is of the same table [1]
    400 message 1: activate_version is for /v2/import/batch; here the action is upsert [1]
    400 message 1: table_version is for /v2/import/batch [1]
    400 message 1: the key `id` is missing [1 /id]
    "#);
}

#[test]
fn there_may_be_so_much_and_no_more() {
    let many = |count: usize| {
        let message = r#"{"action":"upsert","sequence":1,"data":{"a":1}}"#;
        let messages = vec![message; count].join(",");
        format!(r#"{{"table_name":"t","schema":{{}},"messages":[{messages}]}}"#)
    };
    let wide = |count: usize| {
        let fields: Vec<String> = (1..count).map(|n| format!(r#""f{n}":1"#)).collect();
        with("{}", &format!(r#"{{"id":1,{}}}"#, fields.join(",")))
    };
    let list = |count: usize| {
        with("{}", &format!(r#"{{"id":1,"list":[{}]}}"#, vec!["1"; count - 1].join(",")))
    };
    let requests = Requests::default();
    assert_eq!(requests.batch(many(MOST_MESSAGES).as_bytes()).unwrap()[0].rows(), 20_000);
    requests.batch(wide(MOST_DATA_POINTS).as_bytes()).unwrap();
    requests.batch(list(MOST_DATA_POINTS).as_bytes()).unwrap();
    let refusals = [
        refused(&many(MOST_MESSAGES + 1)),
        refused(&wide(MOST_DATA_POINTS + 1)),
        refused(&list(MOST_DATA_POINTS + 1)),
    ];
    insta::assert_snapshot!(told(&refusals), @r#"
    413 there are more than 20000 messages; send them in several requests
    413 message 0: the record has 10001 data points; at most 10000 are taken [0]
    413 message 0: the record has 10001 data points; at most 10000 are taken [0]
    "#);
}

/// No schema and no record takes the stack or for ever: the test's own thread has 2 MiB.
#[test]
fn schemas_and_records_that_go_round_end() {
    let requests = Requests::default();
    let mut most = 0;
    for levels in [1, 5, 20, 60] {
        let mut schema = r##"{"type":"object","properties":{"x":{"$ref":"#"}}}"##.to_owned();
        for _ in 0..levels {
            schema = format!(r#"{{"anyOf":[{schema},{{"type":"integer"}}]}}"#);
        }
        for deep in 1..120 {
            for end in ["{}", "7.5"] {
                let data = format!(
                    r#"{{"id":1,"x":{}{end}{}}}"#,
                    r#"{"x":"#.repeat(deep),
                    "}".repeat(deep)
                );
                match requests.batch(with(&schema, &data).as_bytes()) {
                    Ok(_) => most = most.max(deep),
                    Err(refused) => assert_eq!(refused.index, Some(0)),
                }
            }
        }
    }
    assert!(most > 100);
    let nested = format!("{}{{}}{}", r#"{"allOf":["#.repeat(60), "]}".repeat(60));
    requests.batch(with(&nested, r#"{"id":1}"#).as_bytes()).unwrap();
}
