//! Names of columns: different fields get different names, always the same, within the limit.

use std::collections::BTreeSet;

use bobbin_load::shape::name::{Names, limited, plain};
use bobbin_load::shape::types::ALL;

use crate::corpus::Theme;
use crate::exact::Value;

/// Between the parts of a path; a line is a path.
const BETWEEN: char = '\u{1f}';

/// The body. The first byte is the limit of a name's length, the lines are paths; a path that ends in
/// an empty part asks for a sibling column.
pub fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let limit = 63 + usize::from(*first) % 193;
    let text = String::from_utf8_lossy(rest);
    let mut asked = BTreeSet::new();
    let mut claims: Vec<(Vec<&str>, Option<&str>)> = Vec::new();
    for line in text.split('\n').take(200) {
        let mut path: Vec<&str> = line.split(BETWEEN).collect();
        let sibling = path.len() > 1 && path.last() == Some(&"");
        let suffix = sibling.then(|| ALL[line.len() % ALL.len()].suffix());
        if sibling {
            path.pop();
        }
        if asked.insert((path.clone(), suffix)) {
            claims.push((path, suffix));
        }
    }
    let claim = |names: &mut Names| -> Vec<String> {
        claims.iter().map(|(path, suffix)| names.claim(path, *suffix)).collect()
    };
    let given = claim(&mut Names::new(limit));
    assert_eq!(given, claim(&mut Names::new(limit)), "the same fields get other names");
    let mut seen = BTreeSet::new();
    for (name, (path, _)) in given.iter().zip(&claims) {
        let lower = name.to_lowercase();
        assert!(!name.is_empty() && name.len() <= limit, "{} bytes of {limit}", name.len());
        assert!(!name.chars().any(char::is_control), "a control character in {name:?}");
        for ours in ["_sdc", "__sdc", "_rjm", "_bobbin"] {
            // This one keeps its name, also where it has a sibling.
            let looks = lower.starts_with(ours) && path[..] != ["_sdc_deleted_at"];
            assert!(!looks, "{name:?} looks like one of ours");
        }
        assert!(seen.insert(lower), "{name:?} is given twice");
        assert!(!plain(path).is_empty());
        assert!(limited(path[0], limit).len() <= limit);
    }
    // At the next start the names are handed back; no field that is new may get one of them.
    let mut later = Names::new(limit);
    for name in &given {
        later.reserve(name);
    }
    for name in claim(&mut later) {
        assert!(seen.insert(name.to_lowercase()), "{name:?} belongs to another field");
    }
}

/// The keys of the corpus' records, a record's all at once.
pub fn seeds(themes: &[Theme]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for case in themes.iter().flat_map(|theme| &theme.cases) {
        let Some(document) = case.document() else { continue };
        let mut lines = Vec::new();
        paths(&document.value, "", &mut lines);
        seeds.push(format!("\0{}", lines.join("\n")).into_bytes());
    }
    seeds
}

fn paths(value: &Value, before: &str, out: &mut Vec<String>) {
    let Value::Object(members) = value else { return };
    for (key, value) in members {
        let path = if before.is_empty() { key.clone() } else { format!("{before}{BETWEEN}{key}") };
        out.push(path.clone());
        out.push(format!("{path}{BETWEEN}"));
        paths(value, &path, out);
    }
}
