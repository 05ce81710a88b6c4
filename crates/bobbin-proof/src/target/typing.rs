//! Record typing: any lines under any schema become rows that say the same, or are rejected.

use bobbin_core::catalog::Stream;
use bobbin_core::schema::Kind;
use bobbin_load::lines::MAX_LINE_BYTES;
use bobbin_load::shape::batch::Batch;
use bobbin_load::shape::capabilities::Capabilities;
use bobbin_load::shape::convert::Converter;
use bobbin_load::shape::tree::Column;
use bobbin_load::shape::types::ColumnType;

use crate::cells::cell;
use crate::check::{self, Found, Rules};
use crate::corpus::{Case, Fate, Theme, line};

/// Rows with their columns.
pub(super) struct Typed {
    pub(super) theme: Theme,
    pub(super) batch: Batch,
    pub(super) columns: Vec<Column>,
}

/// The body. The first line is a schema as in the corpus, the others are records.
pub fn run(data: &[u8]) {
    let Some(typed) = typed(data) else { return };
    for row in 0..typed.batch.rows {
        let found = typed
            .batch
            .columns
            .iter()
            .zip(&typed.columns)
            .filter_map(|((_, array), column)| {
                let cell = cell(array, row, column.ty == ColumnType::Json)?;
                Some(Found { path: column.path.clone(), column: column.name.clone(), cell })
            })
            .collect::<Vec<_>>();
        typed.check(row, &found, Rules::default());
    }
}

impl Typed {
    /// Compares a row with the record it was made of.
    pub(super) fn check(&self, row: usize, found: &[Found], rules: Rules) {
        let case = whole(self.batch.records[row].as_bytes());
        let document = case.document().expect("a row's record can be read");
        if let Err(words) = check::row(&document.value, &self.theme.fields, found, rules) {
            panic!("a row differs from its record: {words}");
        }
    }
}

fn whole(line: &[u8]) -> Case {
    Case { name: String::new(), note: String::new(), bytes: line.to_vec(), is_line: true }
}

/// Converts the input's lines, and checks what must hold of every batch.
pub(super) fn typed(data: &[u8]) -> Option<Typed> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let about = lines.next()?;
    let theme = theme(about)?;
    let lines: Vec<Vec<u8>> = (1i64..)
        .zip(lines.take(64))
        .map(|(n, text)| if text.starts_with(b"{\"_sdc") { text.to_vec() } else { line(n, text) })
        .collect();
    // Longer ones never reach the converter (`bobbin_load::feed`).
    if lines.iter().any(|line| line.len() > MAX_LINE_BYTES) {
        return None;
    }
    // An instant with an escape in it stays text, which the values read here do not show.
    let instants = theme.key.iter().filter_map(|name| theme.fields.property(name));
    if instants.into_iter().any(|field| field.kind == Kind::DateTime) && data.contains(&b'\\') {
        return None;
    }
    let limits = Capabilities {
        // Few, so that fields beyond them occur.
        columns: 4 + about.len() % 60,
        name_bytes: 63,
        keep_records: true,
        ..Capabilities::default()
    };
    let stream = theme.stream("things");
    let mut converter = Converter::within(&stream, limits);
    for line in &lines {
        converter.line(line);
    }
    let batch = converter.finish()?;
    invariants(&batch, &lines, &stream);
    let must = lines.iter().filter(|line| matches!(theme.fate(&whole(line)), Fate::Row(_)));
    let must = must.count() as u64;
    let rows = batch.rows as u64 + batch.superseded;
    assert_eq!(rows, must, "not exactly the records that can be read and have a key became rows");
    // Nothing is left behind for the next batch.
    assert!(converter.finish().is_none(), "an ended batch leaves something");
    for line in lines.iter().filter(|line| theme.fate(&whole(line)) == Fate::Rejected) {
        converter.line(line);
        let alone = converter.finish().expect("a rejected record is in a batch");
        assert!(alone.rows == 0 && alone.columns.is_empty() && alone.new.is_empty());
        assert_eq!(alone.rejected.len(), 1);
    }
    as_if_alone(&batch, &lines, &theme, &stream, limits);
    let mut columns = Vec::new();
    for (position, _) in &batch.columns {
        let (_, column) = batch.new.iter().find(|(at, _)| at == position).expect("a new column");
        columns.push(column.clone());
    }
    Some(Typed { theme, batch, columns })
}

/// Rejected lines make no difference to the others: not to their columns, names or types.
fn as_if_alone(
    batch: &Batch,
    lines: &[Vec<u8>],
    theme: &Theme,
    stream: &Stream,
    limits: Capabilities,
) {
    let mut converter = Converter::within(stream, limits);
    for line in lines.iter().filter(|line| theme.fate(&whole(line)) != Fate::Rejected) {
        converter.line(line);
    }
    let alone = converter.finish().unwrap_or_default();
    assert_eq!(alone.new, batch.new, "a rejected record leaves its mark on columns");
    assert_eq!(alone.columns, batch.columns, "a rejected record leaves its mark on values");
    assert_eq!(alone.keys, batch.keys);
    if batch.rows > 0 {
        assert_eq!(alone.versions, batch.versions);
    }
}

fn invariants(batch: &Batch, lines: &[Vec<u8>], stream: &Stream) {
    let all = batch.rows as u64 + batch.superseded + batch.rejected.len() as u64;
    assert_eq!(all, lines.len() as u64, "rows and rejected are not the lines");
    assert_eq!(batch.sequence.len(), batch.rows);
    assert_eq!(batch.extracted_at.len(), batch.rows);
    assert_eq!(batch.records.len(), batch.rows);
    assert!(batch.columns.is_sorted_by_key(|(position, _)| *position));
    for (position, array) in &batch.columns {
        assert_eq!(array.len(), batch.rows, "column {position} has another length");
        // Of a column that only an older version of a row had a value for nothing is left.
        let some = array.null_count() < batch.rows || batch.superseded > 0;
        assert!(some, "column {position} without a value");
        array.to_data().validate_full().expect("an array that is well formed");
    }
    if batch.rows > 0 {
        assert_eq!(batch.keys.len(), stream.key.len(), "a key field without column");
    }
    for rejected in &batch.rejected {
        assert!(!rejected.reason.is_empty());
    }
}

/// The stream's schema, from a line in the form of the corpus' schema files.
fn theme(about: &[u8]) -> Option<Theme> {
    let about: serde_json::Value = serde_json::from_slice(about).ok()?;
    let key: Vec<String> = about
        .get("key")?
        .as_array()?
        .iter()
        .take(3)
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let fields = bobbin_singer::schema::object_from_json(about.get("schema")?);
    // Keys are declared, and of a shape that can name something; no name stands twice.
    let mut names: Vec<&String> = key.iter().collect();
    names.sort();
    names.dedup();
    let named = key.iter().all(|name| {
        fields.property(name).is_some_and(|schema| {
            matches!(
                schema.kind,
                Kind::Text | Kind::Integer | Kind::Number | Kind::Boolean | Kind::DateTime
            )
        })
    });
    (named && names.len() == key.len()).then(|| Theme {
        name: String::new(),
        key,
        fields,
        neighbour: String::new(),
        cases: Vec::new(),
    })
}

/// A seed for each case, and one for each theme's short cases together.
pub fn seeds(themes: &[Theme]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for theme in themes {
        let root = bobbin_singer::schema::of_stream(&theme.stream("things"));
        let about = serde_json::json!({ "key": theme.key, "schema": root }).to_string();
        let mut all = about.clone().into_bytes();
        for (n, case) in theme.cases.iter().enumerate() {
            let bytes = if case.is_line { case.line(n as i64) } else { case.bytes.clone() };
            seeds.push([about.as_bytes(), &bytes, theme.good(n).as_bytes()].join(&b'\n'));
            if all.len() + bytes.len() < 4_000 {
                all.push(b'\n');
                all.extend_from_slice(&bytes);
            }
        }
        seeds.push(all);
    }
    seeds
}
