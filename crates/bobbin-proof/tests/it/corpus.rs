//! Every hostile record through both loaders, alone and among good neighbours. `failures.md` 4.3.
//!
//! What became of each stands in `snapshots/`. Beside the snapshots it is asserted that nothing
//! vanished, that what can be read became a row that says the same, that neighbours are unharmed, and
//! that no reason tells a value.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bobbin_proof::check::{self, Cell, Found, Rules, Verdict};
use bobbin_proof::corpus::{Case, Fate, Theme, line, themes};
use bobbin_proof::exact::{Value, parse};

use crate::replica::{MODES, Mode, Replica, Table, load};

/// Where the sequences of the first load and of the second begin: numbers of one length, so that
/// reasons tell the same places.
const FIRST: i64 = 1_000_000;
const LATER: i64 = 2_000_000;

/// What became of a case, for people.
#[derive(PartialEq)]
struct Outcome {
    verdict: String,
    values: Vec<String>,
}

#[test]
fn every_record_is_a_row_of_duckdb_that_says_the_same_or_set_aside() {
    for mode in MODES {
        every_theme(&mut crate::duckdb::File::new(*mode), *mode);
    }
}

#[test]
fn every_record_is_a_row_of_postgres_that_says_the_same_or_set_aside() {
    for mode in MODES {
        every_theme(&mut crate::postgres::Base::new(*mode), *mode);
    }
}

fn every_theme(replica: &mut dyn Replica, mode: Mode) {
    let themes = themes();
    let cases: usize = themes.iter().map(|theme| theme.cases.len()).sum();
    assert!(cases >= 200, "only {cases} cases");
    let only = std::env::var("CORPUS_THEME").ok();
    let mut problems = Vec::new();
    for theme in &themes {
        if only.as_ref().is_some_and(|only| *only != theme.name) {
            continue;
        }
        let text = run(replica, mode, theme, &mut problems);
        let name = format!("{}-{}-{}", replica.name(), mode.name, theme.name);
        if catch_unwind(AssertUnwindSafe(|| compare(&name, &text))).is_err() {
            problems.push(format!("{name}: the snapshot differs"));
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn compare(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Whether a case is also loaded alone, into a table of its own. In other modes than the first only
/// what is special to them, because tables take their time.
fn is_loaded_alone(case: &Case, mode: Mode) -> bool {
    fn has_array(value: &Value) -> bool {
        match value {
            Value::Array(_) => true,
            Value::Object(members) => members.values().any(has_array),
            _ => false,
        }
    }
    mode.name == MODES[0].name || case.document().is_some_and(|read| has_array(&read.value))
}

/// Loads a theme both ways; gives the text of its snapshot.
fn run(replica: &mut dyn Replica, mode: Mode, theme: &Theme, problems: &mut Vec<String>) -> String {
    replica.renew();
    let mut loader = replica.open("alone");
    let place = format!("{} ({}), {}", replica.name(), mode.name, theme.name);
    let alone_too: Vec<bool> = theme.cases.iter().map(|case| is_loaded_alone(case, mode)).collect();
    for (n, case) in theme.cases.iter().enumerate().filter(|(n, _)| alone_too[*n]) {
        let stream = theme.stream(&alone(n));
        let lines = [case.line(FIRST)];
        match load(&mut loader, &stream, "alone", n as u64 + 1, &lines) {
            Ok(receipt) if receipt.loaded + receipt.rejected == 1 => loader.commit(None).unwrap(),
            Ok(receipt) => problems.push(format!("{place}, {}: {receipt:?}", case.name)),
            Err(error) => {
                problems.push(format!("{place}, {}: {}", case.name, error.report()));
                loader.rollback().unwrap();
            }
        }
    }
    let stream = theme.stream("together");
    let mut lines = vec![line(FIRST + 1, theme.good(0).as_bytes())];
    for (n, case) in theme.cases.iter().enumerate() {
        lines.push(case.line(FIRST + n as i64 * 2 + 2));
        lines.push(line(FIRST + n as i64 * 2 + 3, theme.good(n + 1).as_bytes()));
    }
    match load(&mut loader, &stream, "together", 1, &lines) {
        Ok(receipt) => {
            loader.commit(None).unwrap();
            if receipt.loaded + receipt.rejected != lines.len() as u64 {
                problems.push(format!("{place}: {} lines became {receipt:?}", lines.len()));
            }
        }
        Err(error) => {
            problems.push(format!("{place}, together: {}", error.report()));
            loader.rollback().unwrap();
        }
    }
    loader.finish().unwrap();
    let mut first = replica.read("together");

    // Once more as a later job's: now every row replaces one, which is another way into the table.
    let mut loader = replica.open("again");
    let mut lines = vec![line(LATER + 1, theme.good(0).as_bytes())];
    for (n, case) in theme.cases.iter().enumerate() {
        lines.push(case.line(LATER + n as i64 * 2 + 2));
        lines.push(line(LATER + n as i64 * 2 + 3, theme.good(n + 1).as_bytes()));
    }
    match load(&mut loader, &stream, "again", 1, &lines) {
        Ok(_) => loader.commit(None).unwrap(),
        Err(error) => {
            problems.push(format!("{place}, again: {}", error.report()));
            loader.rollback().unwrap();
        }
    }
    loader.finish().unwrap();

    let rules = replica.rules();
    let mut together = replica.read("together");
    for stray in first.strays.iter().chain(&together.strays) {
        problems.push(format!("{place}: {stray}"));
    }
    if theme.key.is_empty() {
        let later = together.rows.split_off(&LATER);
        if later.len() != together.rows.len() {
            problems.push(format!("{place}: again, {} rows were added", later.len()));
        }
        together.rows = later;
    }
    // What was set aside before stands there still.
    for rejected in &first.rejected {
        let Some(at) = together.rejected.iter().position(|other| other == rejected) else {
            problems.push(format!("{place}: again, a rejected record is gone: {}", rejected.0));
            continue;
        };
        together.rejected.remove(at);
    }
    for sequence in &together.twice {
        problems.push(format!("{place}: two rows of sequence {sequence}"));
    }
    let mut text = String::new();
    for (n, case) in theme.cases.iter().enumerate() {
        let mut problem = |words: String| problems.push(format!("{place}, {}: {words}", case.name));
        let one = alone_too[n].then(|| {
            let mut table = replica.read(&alone(n));
            let one = outcome(theme, case, FIRST, &mut table, rules, &mut problem);
            if table != Table::default() {
                problem(format!("more came of it than one row: {table:?}"));
            }
            one
        });
        let many =
            outcome(theme, case, FIRST + n as i64 * 2 + 2, &mut first, rules, &mut |words| {
                problem(format!("among others: {words}"));
            });
        let sequence = LATER + n as i64 * 2 + 2;
        let again = outcome(theme, case, sequence, &mut together, rules, &mut |words| {
            problem(format!("again: {words}"));
        });
        if again.verdict != many.verdict {
            problem(format!("again it is another: {} / {}", many.verdict, again.verdict));
        }
        let one = one.as_ref().unwrap_or(&many);
        let _ = writeln!(text, "{} ({})\n  {}", case.name, case.note, one.verdict);
        one.values.iter().for_each(|value| text += &format!("    {value}\n"));
        if many != *one {
            let _ = writeln!(text, "  among others: {}", many.verdict);
            many.values.iter().for_each(|value| text += &format!("    {value}\n"));
        }
    }
    for n in 0..=theme.cases.len() {
        let good = parse(&theme.good(n)).expect("a good record").value;
        let sequence = LATER + if n == 0 { 1 } else { n as i64 * 2 + 1 };
        let Some(found) = together.rows.remove(&sequence) else {
            problems.push(format!("{place}: the good neighbour {n} is lost"));
            continue;
        };
        let verdict = check::row(&good, &theme.fields, &found, rules);
        if verdict != Ok(Verdict::Same) {
            problems.push(format!("{place}: the good neighbour {n} is harmed: {verdict:?}"));
        }
    }
    if first.rows.len() != theme.cases.len() + 1 {
        // Its cases' rows were taken out; what is left are the neighbours.
        problems.push(format!("{place}: {} rows are left of the first load", first.rows.len()));
    }
    for (reason, record) in &together.rejected {
        let record: String = record.chars().take(200).collect();
        problems.push(format!("{place}: set aside and nobody's: {reason}: {record}"));
    }
    for sequence in together.rows.keys() {
        problems.push(format!("{place}: a row that is nobody's, sequence {sequence}"));
    }
    text
}

fn alone(n: usize) -> String {
    format!("alone{n:03}")
}

/// Takes out of the table what became of a case, and says what is wrong with it.
fn outcome(
    theme: &Theme,
    case: &Case,
    sequence: i64,
    table: &mut Table,
    rules: Rules,
    problem: &mut dyn FnMut(String),
) -> Outcome {
    let fate = theme.fate(case);
    // A line may have no sequence of the test's own.
    let row = table.rows.remove(&sequence);
    let line = case.line(sequence);
    let rejected = table.rejected.iter().position(|(_, record)| is_of(record, &line, rules));
    let rejected = rejected.map(|at| table.rejected.remove(at));
    let (verdict, values) = match (row, rejected, &fate) {
        (Some(found), None, Fate::Row(document)) => {
            let mut values: Vec<String> = found.iter().map(show).collect();
            if values.len() > 40 {
                let more = values.len() - 10;
                values.truncate(10);
                values.push(format!("… and {more} more"));
            }
            let verdict = match check::row(&document.value, &theme.fields, &found, rules) {
                Ok(Verdict::Same) if document.twice == 0 => "same".to_owned(),
                Ok(Verdict::Same) => "same (of a key that stands twice the last)".to_owned(),
                Ok(Verdict::Mended(notes)) => format!("mended: {}", notes.join("; ")),
                Err(words) => {
                    problem(words.clone());
                    format!("WRONG: {words}")
                }
            };
            (verdict, values)
        }
        (None, Some((reason, _)), fate) => {
            if let Fate::Row(document) = fate
                && !reason.starts_with("PostgreSQL ")
                && !(rules.nul && is_no_key_of_postgres(theme, &document.value))
            {
                problem(format!("set aside without need: {reason}"));
            }
            for value in values_of(case) {
                if value != case.name && value.chars().count() >= 6 && reason.contains(&value) {
                    problem(format!("the reason tells a value: {reason}"));
                }
            }
            (format!("rejected: {reason}"), Vec::new())
        }
        (Some(found), None, Fate::Rejected) => {
            problem("became a row although it cannot be read or has no key".to_owned());
            ("WRONG: a row".to_owned(), found.iter().map(show).collect())
        }
        (Some(_), Some((reason, _)), _) => {
            problem(format!("is there twice, as a row and set aside: {reason}"));
            ("WRONG: twice".to_owned(), Vec::new())
        }
        (None, None, _) => {
            problem("vanished".to_owned());
            ("WRONG: vanished".to_owned(), Vec::new())
        }
    };
    Outcome { verdict, values }
}

/// Whether a record's key is one that PostgreSQL cannot hold: with NUL, or too long for an index.
fn is_no_key_of_postgres(theme: &Theme, record: &Value) -> bool {
    let Value::Object(members) = record else { return false };
    let mut texts = Vec::new();
    theme.key.iter().filter_map(|key| members.get(key)).for_each(|key| key.scalars(&mut texts));
    let bytes: usize = texts.iter().map(String::len).sum();
    bytes > 2_600 || texts.iter().any(|text| text.contains('\0'))
}

/// Whether a rejected record's text is that of a line, or of the record the tap set aside in it.
fn is_of(record: &str, line: &[u8], rules: Rules) -> bool {
    let mut text = String::from_utf8_lossy(line).into_owned();
    if let Some((_, inner)) = text.split_once(",\"_sdc_rejected\":")
        && let Some(Value::Object(inner)) =
            parse(&inner[..inner.len() - 1]).map(|document| document.value)
        && inner.len() == 2
        && let (Some(Value::Text(inner)), Some(_)) = (inner.get("record"), inner.get("reason"))
    {
        text.clone_from(inner);
    }
    if rules.nul {
        text = text.replace('\0', "␀");
    }
    if text.len() <= 1_000 {
        return record == text;
    }
    let begin: String = text.chars().take(500).collect();
    record.starts_with(&begin)
}

/// The values in a record, or, when it cannot be read, the texts in quotes that look like some.
fn values_of(case: &Case) -> Vec<String> {
    let mut values = Vec::new();
    match case.document() {
        Some(document) => document.value.scalars(&mut values),
        None => {
            let text = String::from_utf8_lossy(&case.bytes);
            // The tap's own reason may say what it likes.
            let text = text.replace("\"reason\":\"", "");
            let after_colons = text.split(':').skip(1);
            values.extend(
                after_colons
                    .filter_map(|part| part.strip_prefix('"')?.split('"').next())
                    .map(|value| value.chars().take(500).collect()),
            );
        }
    }
    values
}

fn show(found: &Found) -> String {
    let value = value(&found.cell);
    let cell = match &found.cell {
        Cell::Bool(_) => format!("boolean {value}"),
        Cell::Int(_) => format!("whole {value}"),
        Cell::Double(_) => format!("double {value}"),
        Cell::Decimal(_) => format!("decimal {value}"),
        Cell::Text(_) => format!("text {value}"),
        Cell::Instant(at) => match jiff::Timestamp::from_microsecond(*at) {
            Ok(at) => format!("instant {at}"),
            Err(_) => format!("instant {value}"),
        },
        Cell::Json(_) => format!("json {value}"),
        Cell::List(_) => shortened(&format!("list {value}")),
        Cell::Object(_) => shortened(&format!("object {value}")),
    };
    format!("{} = {cell}", shortened(&found.column.escape_debug().to_string()))
}

fn value(cell: &Cell) -> String {
    match cell {
        Cell::Bool(value) => value.to_string(),
        Cell::Int(value) => value.to_string(),
        Cell::Double(value) => format!("{value:?}"),
        Cell::Decimal(value) => value.clone(),
        Cell::Text(text) => quoted(text),
        Cell::Instant(at) => format!("{at} µs"),
        Cell::Json(text) => shortened(text),
        Cell::List(items) => {
            let item = |item: &Option<Cell>| item.as_ref().map_or("null".to_owned(), value);
            format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(", "))
        }
        Cell::Object(members) => {
            let members = members.iter().map(|(key, cell)| {
                format!("{}: {}", shortened(&key.escape_debug().to_string()), value(cell))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    shortened(&format!("{text:?}"))
}

/// Long text by its beginning and its length.
fn shortened(text: &str) -> String {
    let length = text.chars().count();
    if length <= 160 {
        return text.to_owned();
    }
    format!("{}… ({length} characters)", text.chars().take(60).collect::<String>())
}
