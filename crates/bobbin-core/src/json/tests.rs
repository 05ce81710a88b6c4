#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn problem(text: &str) -> Option<Problem> {
    let mut reader = Reader::new(text);
    reader.skip().and_then(|_| reader.end()).err().map(|error| error.problem)
}

#[test]
fn strict_about_what_it_takes() {
    for good in [
        "{}",
        "[]",
        " [1 , 2 ] ",
        "\"\"",
        "0",
        "-0",
        "1.5e-3",
        "true",
        "null",
        r#"{"a":[{"b":[]},null,"\ud83d\ude00"],"c":{}}"#,
        "12345678901234567890123456789.123456789",
    ] {
        assert_eq!(problem(good), None, "{good}");
    }
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    for (bad, expected) in [
        ("", Problem::End),
        ("{", Problem::End),
        ("[1,]", Problem::Unexpected(b']')),
        ("[,1]", Problem::Unexpected(b',')),
        ("{\"a\":1,}", Problem::Unexpected(b'}')),
        ("{\"a\" 1}", Problem::Unexpected(b'1')),
        ("[1 2]", Problem::Unexpected(b'2')),
        ("01", Problem::Number),
        ("1.", Problem::Number),
        ("-", Problem::Number),
        ("1e", Problem::Number),
        ("NaN", Problem::Number),
        ("1e400", Problem::NumberRange),
        ("[-1e400]", Problem::NumberRange),
        ("\"\\ud800\"", Problem::LoneSurrogate),
        ("\"\\udc00\"", Problem::LoneSurrogate),
        ("\"\\ud800\\u0041\"", Problem::LoneSurrogate),
        ("\"\\x\"", Problem::Escape),
        ("\"\\u12g4\"", Problem::Escape),
        ("\"a\u{1}\"", Problem::Control(1)),
        ("\"abcdefghijk", Problem::End),
        ("{} x", Problem::Trailing),
        ("tru", Problem::Unexpected(b't')),
    ] {
        assert_eq!(problem(bad), Some(expected), "{bad}");
    }
    assert_eq!(problem(&deep(128)), None);
    assert_eq!(problem(&deep(129)), Some(Problem::Depth));
    assert_eq!(problem(&"1".repeat(400)), Some(Problem::NumberRange));
}

#[test]
fn cuts_around_what_it_would_not_take() {
    let page = r#"[{"a":"\ud800"},{"b":1e400,"c":NaN},{"d":"]}\"["} , 7]"#;
    let mut reader = Reader::new(page);
    reader.array().unwrap();
    let mut cut = Vec::new();
    while reader.item().unwrap() {
        cut.push(reader.skip_unchecked().unwrap());
    }
    assert_eq!(cut, [r#"{"a":"\ud800"}"#, r#"{"b":1e400,"c":NaN}"#, r#"{"d":"]}\"["}"#, "7"]);
    reader.end().unwrap();
}

#[test]
fn an_expected_key_is_stepped_over_and_no_other() {
    let mut reader = Reader::new(r#"{"a":1,"b":[{"a":2}],"ab" :3}"#);
    reader.object().unwrap();
    assert!(!reader.key_if(br#""b":"#));
    assert!(reader.key_if(br#""a":"#));
    assert_eq!(reader.number().unwrap(), "1");
    assert!(reader.key_if(br#""b":"#));
    reader.array().unwrap();
    assert!(reader.item().unwrap());
    reader.object().unwrap();
    assert!(reader.key_if(br#""a":"#));
    reader.skip().unwrap();
    assert!(!reader.key_if(br#""a":"#), "the object ends");
    assert_eq!(reader.key().unwrap(), None);
    assert!(!reader.item().unwrap());
    assert!(!reader.key_if(br#""ab":"#), "white space is for `key`");
    assert_eq!(reader.key().unwrap().unwrap().raw, "ab");
    reader.skip().unwrap();
    assert_eq!(reader.key().unwrap(), None);
    assert!(!reader.key_if(b""), "nothing is left");
    reader.end().unwrap();
}

/// Rebuilds a value through the reader.
fn read(reader: &mut Reader<'_>) -> Result<Value, JsonError> {
    Ok(match reader.peek()? {
        Peek::Null => {
            reader.null()?;
            Value::Null
        }
        Peek::Bool => reader.bool()?.into(),
        Peek::Number => {
            let digits = reader.number()?;
            match digits.parse::<i64>() {
                Ok(whole) => whole.into(),
                Err(_) => digits.parse::<f64>().unwrap().into(),
            }
        }
        Peek::String => reader.string()?.decode().into_owned().into(),
        Peek::Array => {
            reader.array()?;
            let mut items = Vec::new();
            while reader.item()? {
                items.push(read(reader)?);
            }
            items.into()
        }
        Peek::Object => {
            reader.object()?;
            let mut map = serde_json::Map::new();
            while let Some(key) = reader.key()? {
                map.insert(key.decode().into_owned(), read(reader)?);
            }
            map.into()
        }
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..6)
                .prop_map(|members| { Value::Object(members.into_iter().collect()) }),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_serde_json_writes(value in value(), pretty: bool) {
        let text = if pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        let mut reader = Reader::new(&text);
        prop_assert_eq!(read(&mut reader).unwrap(), value);
        reader.end().unwrap();
        let mut reader = Reader::new(&text);
        prop_assert_eq!(reader.skip().unwrap(), text.as_str());
        let mut reader = Reader::new(&text);
        prop_assert_eq!(reader.skip_unchecked().unwrap(), text.as_str());
    }

    #[test]
    fn accepts_exactly_what_serde_json_accepts(text in r#"[\[\]{}",:\\ua0-9eE+.\-tfnrls \x01]{0,24}"#) {
        let ours = problem(&text).is_none();
        let theirs = serde_json::from_str::<Value>(&text).is_ok();
        prop_assert_eq!(ours, theirs, "{}", text);
    }

    #[test]
    fn a_written_string_reads_back(text in any::<String>()) {
        let mut out = Vec::new();
        write_string(&mut out, &text);
        let mut reader = Reader::from_bytes(&out).unwrap();
        prop_assert_eq!(reader.string().unwrap().decode().into_owned(), text);
    }
}
