//! Hostile records (`failures.md` 4.3): each is loaded exactly or set aside with a reason, and its
//! neighbours are as if it had not been there.

use bobbin_core::schema::{Kind, Schema};
use bobbin_load::shape::convert::Converter;

use crate::support::{Table, line, object, stream, text};

/// What must become of a record.
enum Fate {
    /// The row holds these values and no others beside `id`.
    Row(&'static [&'static str]),
    /// The reason holds this.
    Rejected(&'static str),
}
use Fate::{Rejected, Row};

fn declared() -> Vec<(&'static str, Schema)> {
    vec![
        ("text", text()),
        ("int", Schema::of(Kind::Integer)),
        ("num", Schema::of(Kind::Number)),
        ("at", Schema::of(Kind::DateTime)),
        ("bool", Schema::of(Kind::Boolean)),
        ("list", Schema::array(text())),
        ("obj", object(&[("a", text())])),
        ("map", Schema::map()),
    ]
}

/// Kinds of text that need no huge input; members of an object that also has an `id`.
const KINDS: &[(&str, &str, Fate)] = &[
    // Encodings
    ("lone high surrogate", r#""text":"\ud800""#, Rejected("surrogate")),
    ("lone low surrogate", r#""text":"\udc00x""#, Rejected("surrogate")),
    ("surrogates reversed", r#""text":"\udc00\ud800""#, Rejected("surrogate")),
    ("surrogate pair", r#""text":"\ud83d\ude00""#, Row(&["text=😀"])),
    ("escaped NUL", r#""text":"a\u0000b""#, Row(&["text=a\0b"])),
    ("raw control character", "\"text\":\"a\u{1}b\"", Rejected("control character")),
    ("raw tab", "\"text\":\"a\tb\"", Rejected("control character")),
    ("all escapes", r#""text":"\"\\\/\b\f\n\r\t""#, Row(&["text=\"\\/\u{8}\u{c}\n\r\t"])),
    ("unknown escape", r#""text":"\x41""#, Rejected("escape")),
    ("short escape", r#""text":"\u12""#, Rejected("escape")),
    ("byte order mark in text", "\"text\":\"\u{feff}a\"", Row(&["text=\u{feff}a"])),
    ("right-to-left override", "\"text\":\"\u{202e}abc\"", Row(&["text=\u{202e}abc"])),
    ("noncharacter", "\"text\":\"\u{fffe}\u{10ffff}\"", Row(&["text=\u{fffe}\u{10ffff}"])),
    ("combining characters", "\"text\":\"e\u{301}é\"", Row(&["text=e\u{301}é"])),
    ("delete character", "\"text\":\"\u{7f}\"", Row(&["text=\u{7f}"])),
    (
        "line separators",
        "\"text\":\"\u{2028}\u{2029}\u{85}\"",
        Row(&["text=\u{2028}\u{2029}\u{85}"]),
    ),
    // Numbers
    (
        "integer above i64",
        r#""int":9223372036854775808"#,
        Row(&["int__de=9223372036854775808.000000000"]),
    ),
    ("smallest integer", r#""int":-9223372036854775808"#, Row(&["int=-9223372036854775808"])),
    (
        "integer below i64",
        r#""int":-9223372036854775809"#,
        Row(&["int__de=-9223372036854775809.000000000"]),
    ),
    (
        "integer above u64",
        r#""int":18446744073709551616"#,
        Row(&["int__de=18446744073709551616.000000000"]),
    ),
    (
        "23 digits",
        r#""int":12345678901234567890123"#,
        Row(&["int__de=12345678901234567890123.000000000"]),
    ),
    (
        "40 digits",
        r#""int":1234567890123456789012345678901234567890"#,
        Row(&["int__st=1234567890123456789012345678901234567890"]),
    ),
    ("fraction in an integer", r#""int":1.5"#, Row(&["int__do=1.5"])),
    ("whole fraction in an integer", r#""int":16.0"#, Row(&["int__do=16.0"])),
    ("exponent in an integer", r#""int":1e3"#, Row(&["int__do=1000.0"])),
    ("integer in a number", r#""num":5"#, Row(&["num=5.0"])),
    (
        "2^53 + 1 in a number",
        r#""num":9007199254740993"#,
        Row(&["num__de=9007199254740993.000000000"]),
    ),
    ("20 decimals", r#""num":0.12345678901234567890"#, Row(&["num__st=0.12345678901234567890"])),
    (
        "money beyond a double",
        r#""num":12345678901234567.89"#,
        Row(&["num__de=12345678901234567.890000000"]),
    ),
    ("negative zero", r#""num":-0.0"#, Row(&["num=-0.0"])),
    ("1e400", r#""num":1e400"#, Rejected("beyond the range of a double")),
    ("1e-400", r#""num":1e-400"#, Row(&["num__st=1e-400"])),
    ("NaN", r#""num":NaN"#, Rejected("number")),
    ("Infinity", r#""num":Infinity"#, Rejected("number")),
    ("-Infinity", r#""num":-Infinity"#, Rejected("number")),
    ("leading zero", r#""num":007"#, Rejected("number")),
    ("plus sign", r#""num":+1"#, Rejected("number")),
    ("bare point", r#""num":.5"#, Rejected("number")),
    ("hexadecimal", r#""num":0x1F"#, Rejected("unexpected")),
    ("number as text", r#""num":"12.50""#, Row(&["num__st=12.50"])),
    // Dates
    ("year 0", r#""at":"0000-01-01T00:00:00Z""#, Row(&["at=0000-01-01T00:00:00Z"])),
    ("no date at all", r#""at":"0000-00-00""#, Row(&["at__st=0000-00-00"])),
    ("year 9999", r#""at":"9999-12-31T23:59:59.999Z""#, Row(&["at=9999-12-31T23:59:59.999Z"])),
    ("year 10000", r#""at":"10000-01-01T00:00:00Z""#, Row(&["at__st=10000-01-01T00:00:00Z"])),
    ("signed year", r#""at":"-0001-01-01T00:00:00Z""#, Row(&["at__st=-0001-01-01T00:00:00Z"])),
    ("leap second", r#""at":"2016-12-31T23:59:60Z""#, Row(&["at__st=2016-12-31T23:59:60Z"])),
    (
        "offset +99:99",
        r#""at":"2024-01-01T00:00:00+99:99""#,
        Row(&["at__st=2024-01-01T00:00:00+99:99"]),
    ),
    ("offset", r#""at":"2024-05-01T12:00:00+02:00""#, Row(&["at=2024-05-01T10:00:00Z"])),
    (
        "nanoseconds that count",
        r#""at":"2024-01-01T00:00:00.123456789Z""#,
        Row(&["at__st=2024-01-01T00:00:00.123456789Z"]),
    ),
    (
        "nanoseconds that do not",
        r#""at":"2024-01-01T00:00:00.120000000Z""#,
        Row(&["at=2024-01-01T00:00:00.120Z"]),
    ),
    ("epoch as text", r#""at":"1714564800000""#, Row(&["at__st=1714564800000"])),
    ("epoch as number", r#""at":1714564800000"#, Row(&["at__bi=1714564800000"])),
    ("1e15 milliseconds", r#""at":1e15"#, Row(&["at__do=1000000000000000.0"])),
    ("30 February", r#""at":"2024-02-30T00:00:00Z""#, Row(&["at__st=2024-02-30T00:00:00Z"])),
    ("empty text as date", r#""at":"""#, Row(&["at__st="])),
    ("escaped date", r#""at":"2024-01-01T00:00:00\u005a""#, Row(&["at__st=2024-01-01T00:00:00Z"])),
    // Structure
    ("duplicate keys", r#""text":"first","text":"last""#, Row(&["text=last"])),
    ("duplicate key, last null", r#""text":"first","text":null"#, Row(&[])),
    ("duplicate key, other type", r#""text":"first","text":5"#, Row(&["text__bi=5"])),
    ("duplicate object", r#""obj":{"a":"x","b":"y"},"obj":{"a":"z"}"#, Row(&["obj__a=z"])),
    ("duplicate object, then text", r#""obj":{"a":"x"},"obj":"flat""#, Row(&["obj__st=flat"])),
    ("empty text is not null", r#""text":"""#, Row(&["text="])),
    ("null is absent", r#""text":null,"obj":null,"list":null"#, Row(&[])),
    ("empty list is not null", r#""list":[]"#, Row(&["list=[]"])),
    ("empty object", r#""obj":{}"#, Row(&[])),
    ("mixed list", r#""list":["a",1,null]"#, Row(&[r#"list__js=["a",1,null]"#])),
    ("trailing comma", r#""text":"a","#, Rejected("unexpected")),
    ("missing colon", r#""text" "a""#, Rejected("unexpected")),
    ("single quotes", r"'text':'a'", Rejected("unexpected")),
    ("comment", r#""text":/**/"a""#, Rejected("unexpected")),
    ("truncated literal", r#""bool":tru"#, Rejected("unexpected")),
    ("upper-case literal", r#""bool":TRUE"#, Rejected("unexpected")),
    ("true as text", r#""bool":"true""#, Row(&["bool__st=true"])),
    ("one for true", r#""bool":1"#, Row(&["bool__bi=1"])),
    ("scalar where an object was", r#""obj":"flat""#, Row(&["obj__st=flat"])),
    ("object where text was", r#""text":{"a":1}"#, Row(&[r#"text__js={"a":1}"#])),
    // Names
    ("empty key", r#""":"x""#, Row(&["empty=x"])),
    ("key with dots", r#""a.b":"x""#, Row(&["a.b=x"])),
    ("key with quotes", r#""a\"b'":"x""#, Row(&["a\"b'=x"])),
    ("key with NUL", r#""a\u0000b":"x""#, Row(&["a␀b=x"])),
    ("emoji key", r#""😀":"x""#, Row(&["😀=x"])),
    ("key of spaces", r#"" ":"x""#, Row(&[" =x"])),
    ("key named like a system column", r#""_sdc_sequence":"x""#, Row(&["source_sdc_sequence=x"])),
    ("key named like ours", r#""_bobbin_state":"x""#, Row(&["source_bobbin_state=x"])),
    ("key with SQL", r#""x\"; DROP TABLE t; --":"x""#, Row(&["x\"; DROP TABLE t; --=x"])),
    (
        "keys that differ by accent",
        "\"e\u{301}\":\"1\",\"\u{e9}\":\"2\"",
        Row(&["e\u{301}=1", "\u{e9}=2"]),
    ),
    // Content
    ("SQL text", r#""text":"'); DROP TABLE things; --""#, Row(&["text='); DROP TABLE things; --"])),
    ("formula text", r#""text":"=cmd|' /C calc'!A0""#, Row(&["text==cmd|' /C calc'!A0"])),
    (
        "markup text",
        r#""text":"<script>alert(1)</script>""#,
        Row(&["text=<script>alert(1)</script>"]),
    ),
    ("text that says null", r#""text":"NULL""#, Row(&["text=NULL"])),
];

#[test]
fn every_kind_is_loaded_exactly_or_set_aside_and_neighbours_stay() {
    assert!(KINDS.len() >= 60, "{}", KINDS.len());
    for (kind, members, fate) in KINDS {
        let mut table = Table::new(&stream(&declared()));
        let before = r#"{"id":"before","text":"b","int":1,"list":["b"],"obj":{"a":"b"}}"#;
        let hostile = format!("{{\"id\":\"hostile\",{members}}}");
        let after = r#"{"id":"after","text":"a","num":0.5,"list":["a"],"obj":{"a":"a"}}"#;
        let batch = table.load(&[before, &hostile, after]);
        let mut rows = table.rows(&batch);
        let last = rows.pop().unwrap();
        let first = rows.remove(0);
        assert_eq!(first, ["id=before", "text=b", "int=1", "list=[b]", "obj__a=b"], "{kind}");
        let mut last_sorted = last.clone();
        last_sorted.sort();
        assert_eq!(
            last_sorted,
            ["id=after", "list=[a]", "num=0.5", "obj__a=a", "text=a"],
            "{kind}"
        );
        match fate {
            Row(expected) => {
                assert_eq!(batch.rejected, [], "{kind}");
                let mut row = rows.pop().unwrap_or_else(|| panic!("{kind}: no row"));
                row.retain(|value| value != "id=hostile");
                row.sort();
                let mut expected = expected.to_vec();
                expected.sort_unstable();
                assert_eq!(row, expected, "{kind}");
            }
            Rejected(reason) => {
                assert!(rows.is_empty(), "{kind}: {rows:?}");
                assert_eq!(batch.rejected.len(), 1, "{kind}");
                let rejected = &batch.rejected[0];
                assert!(rejected.reason.contains(reason), "{kind}: {}", rejected.reason);
                assert!(rejected.record.contains("hostile"), "{kind}");
            }
        }
    }
}

/// Loads one line between two neighbours; gives the reason if it was rejected.
fn one(hostile: &[u8]) -> Option<String> {
    let mut converter = Converter::new(&stream(&declared()), Vec::new(), &[]);
    converter.line(line(1, r#"{"id":"before","text":"b"}"#).as_bytes());
    converter.line(hostile);
    converter.line(line(3, r#"{"id":"after","text":"a"}"#).as_bytes());
    let batch = converter.finish().unwrap();
    assert_eq!(batch.rows + batch.rejected.len(), 3);
    assert_eq!((batch.sequence.first(), batch.sequence.last()), (Some(&1), Some(&3)));
    batch.rejected.into_iter().next().map(|rejected| rejected.reason)
}

#[test]
fn whole_lines_that_are_no_record() {
    for (kind, bytes, reason) in [
        ("invalid UTF-8", &b"{\"id\":\"\xff\"}"[..], "UTF-8"),
        ("overlong UTF-8", b"{\"id\":\"\xc0\x80\"}", "UTF-8"),
        ("UTF-16", b"{\0\"\0i\0d\0", "JSON"),
        ("empty line", b"", "JSON"),
        ("HTML", b"<html>busy</html>", "JSON"),
        ("byte order mark", b"\xef\xbb\xbf{}", "JSON"),
        ("array", b"[1]", "JSON"),
        ("no system fields", b"{\"id\":\"1\"}", "_sdc_extracted_at"),
        ("system field of another type", b"{\"_sdc_extracted_at\":5}", "unexpected"),
        (
            "truncated",
            br#"{"_sdc_extracted_at":"2026-01-01T00:00:00Z","_sdc_sequence":2,"id":"x"#,
            "ends",
        ),
        (
            "trailing text",
            br#"{"_sdc_extracted_at":"2026-01-01T00:00:00Z","_sdc_sequence":2,"id":"x"}<!-- -->"#,
            "after the end",
        ),
        (
            "two records",
            br#"{"_sdc_extracted_at":"2026-01-01T00:00:00Z","_sdc_sequence":2,"id":"x"}{}"#,
            "after the end",
        ),
    ] {
        let found = one(bytes).unwrap_or_else(|| panic!("{kind} was taken"));
        assert!(found.contains(reason), "{kind}: {found}");
    }
}

#[test]
fn keys_that_name_nothing() {
    for (kind, record, reason) in [
        ("missing", r#"{"text":"x"}"#, "`id` is missing or null"),
        ("null", r#"{"id":null}"#, "`id` is missing or null"),
        ("number", r#"{"id":5}"#, "`id` is a whole number where the table has text"),
        ("object", r#"{"id":{"a":1}}"#, "`id` is an object or array where the table has text"),
        ("list", r#"{"id":["a"]}"#, "`id` is an object or array"),
        ("boolean", r#"{"id":true}"#, "`id` is a boolean"),
        ("duplicate, last null", r#"{"id":"x","id":null}"#, "`id` is missing or null"),
        ("empty record", "{}", "`id` is missing or null"),
    ] {
        let found = one(line(2, record).as_bytes()).unwrap_or_else(|| panic!("{kind} was taken"));
        assert!(found.contains(reason), "{kind}: {found}");
        // No sibling column is left behind by a record that was set aside.
        let mut table = Table::new(&stream(&declared()));
        let batch = table.load(&[record, r#"{"id":"fine"}"#]);
        assert_eq!(batch.new.len(), 1, "{kind}");
    }
    assert_eq!(one(line(2, r#"{"id":""}"#).as_bytes()), None, "an empty key is a key");
}

/// What a rejected record asked for is taken back: items of an unended list, columns, names, types.
#[test]
fn a_rejected_record_leaves_no_mark() {
    let good = r#"{"id":"good","list":["fine"],"x":1,"name":"a","later":true}"#;
    let mut alone = Table::new(&stream(&declared()));
    let expected = alone.load(&[good]);
    for broken in [
        r#"{"id":"bad","list":["left","over""#,
        r#"{"id":"bad","list":["left",5],"list":["over""#,
        r#"{"id":"bad","x":"text","NAME":"taken","later":1.5,"new":{"a":1},"z":[1]} trailing"#,
        r#"{"id":null,"x":1e300,"Name":1,"later":"text"}"#,
        r#"{"id":"bad","x":"\ud800"}"#,
    ] {
        let mut table = Table::new(&stream(&declared()));
        let batch = table.load(&[broken, broken, good, broken]);
        assert_eq!(batch.rejected.len(), 3, "{broken}");
        assert_eq!(table.rows(&batch), alone.rows(&expected), "{broken}");
        assert_eq!(batch.new, expected.new, "{broken}");
    }
}

#[test]
fn sizes() {
    // Depth: the limit is kept exactly.
    let deep = |levels: usize| {
        format!("{{\"id\":\"d\",\"map\":{}1{}}}", "[".repeat(levels), "]".repeat(levels))
    };
    assert_eq!(one(line(2, &deep(127)).as_bytes()), None);
    assert!(one(line(2, &deep(128)).as_bytes()).unwrap().contains("128 levels"));
    assert!(one(line(2, &deep(100_000)).as_bytes()).unwrap().contains("128 levels"));
    let objects = format!("{{\"id\":\"d\",\"map\":{}1{}}}", "{\"a\":".repeat(200), "}".repeat(200));
    assert!(one(line(2, &objects).as_bytes()).unwrap().contains("128 levels"));
    // A hundred thousand items.
    let items = vec!["\"x\""; 100_000].join(",");
    assert_eq!(one(line(2, &format!("{{\"id\":\"l\",\"list\":[{items}]}}")).as_bytes()), None);
    // A key and a text of a megabyte.
    let long = "k".repeat(1 << 20);
    assert_eq!(
        one(line(2, &format!("{{\"id\":\"k\",\"{long}\":1,\"text\":\"{long}\"}}")).as_bytes()),
        None
    );
    // A rejected record is kept only so far.
    let mut converter = Converter::new(&stream(&[]), Vec::new(), &[]);
    converter.line(line(1, &format!("{{\"text\":\"{}\"}}", "é".repeat(1 << 19))).as_bytes());
    let rejected = &converter.finish().unwrap().rejected[0];
    assert!(rejected.record.len() < 66_000 && rejected.record.ends_with(" bytes in all)"));
}
