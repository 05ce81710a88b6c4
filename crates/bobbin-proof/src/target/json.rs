//! bobbin's JSON reader against `serde_json`: what one takes the other takes, and it says the same.

use std::collections::BTreeMap;

use bobbin_core::json::{JsonError, Peek, Reader, write_string};

use crate::corpus::Theme;
use crate::exact::{Value, parse};

/// The body.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        assert!(Reader::from_bytes(data).is_err(), "bytes that are not UTF-8 were taken");
        return;
    };
    let expected = parse(text).map(|document| document.value);
    let mut reader = Reader::new(text);
    let found = walk(&mut reader).and_then(|value| reader.end().map(|()| value));
    match (&found, &expected) {
        (Ok(found), Some(expected)) => assert_eq!(found, expected, "another value"),
        (Err(error), Some(_)) => panic!("good text is refused: {error}"),
        (Ok(_), None) => panic!("text that serde_json refuses is taken"),
        (Err(error), None) => assert!(error.offset <= text.len(), "a place beyond the text"),
    }
    let mut skipping = Reader::new(text);
    let skipped = skipping.skip().and_then(|span| skipping.end().map(|()| span));
    assert_eq!(skipped.is_ok(), found.is_ok(), "skipping judges otherwise than reading");
    let mut unchecked = Reader::new(text);
    let cut = unchecked.skip_unchecked();
    if let Ok(span) = skipped {
        assert_eq!(cut, Ok(span), "cutting finds another end");
    }
}

/// Reads a value by the reader's every method; also writes each text again and reads that.
fn walk(r: &mut Reader<'_>) -> Result<Value, JsonError> {
    Ok(match r.peek()? {
        Peek::Null => {
            r.null()?;
            Value::Null
        }
        Peek::Bool => Value::Bool(r.bool()?),
        Peek::Number => Value::Number(r.number()?.to_owned()),
        Peek::String => Value::Text(again(&r.string()?.decode())),
        Peek::Array => {
            r.array()?;
            let mut items = Vec::new();
            while r.item()? {
                items.push(walk(r)?);
            }
            Value::Array(items)
        }
        Peek::Object => {
            r.object()?;
            let mut members = BTreeMap::new();
            let mut last: Option<Vec<u8>> = None;
            loop {
                // Expecting the key before must make no difference.
                let guess = last.take().filter(|quoted| r.key_if(quoted));
                let key = match guess {
                    Some(quoted) => {
                        let text = std::str::from_utf8(&quoted[..quoted.len() - 1]).expect("text");
                        let mut r = Reader::new(text);
                        r.string()?.decode().into_owned()
                    }
                    None => match r.key()? {
                        Some(key) => again(&key.decode()),
                        None => break,
                    },
                };
                let mut quoted = Vec::new();
                write_string(&mut quoted, &key);
                quoted.push(b':');
                last = Some(quoted);
                members.insert(key, walk(r)?);
            }
            Value::Object(members)
        }
    })
}

fn again(text: &str) -> String {
    let mut written = Vec::new();
    write_string(&mut written, text);
    let written = String::from_utf8(written).expect("text is written as text");
    assert_eq!(
        parse(&written).map(|document| document.value),
        Some(Value::Text(text.to_owned())),
        "text is written as other text"
    );
    text.to_owned()
}

/// The records of the corpus.
pub fn seeds(themes: &[Theme]) -> Vec<Vec<u8>> {
    themes.iter().flat_map(|theme| &theme.cases).map(|case| case.bytes.clone()).collect()
}
