//! What a connection's lists of tables and columns mean.

use bobbin_core::id::StreamName;
use bobbin_core::selection::{ColumnRule, Pattern, Selection, Treatment};
use bobbin_core::{Error, Result};

use super::connection::ConnectionTable;

/// What the file chooses of a source.
pub(super) fn selection(table: &ConnectionTable) -> Selection {
    let included = table.include.iter().filter_map(|name| name.split_once('.'));
    let mut selection = Selection {
        others: table.tables.is_none(),
        new_columns: table.new_columns,
        included: included.map(|(s, path)| (Pattern::new(s), Pattern::new(path))).collect(),
        ..Selection::default()
    };
    let mut columns: Vec<(&str, &str, Treatment)> = Vec::new();
    let mut choose = |name: &str, take: bool| {
        let pattern = Pattern::new(name);
        if pattern.is_open() {
            selection.patterns.push((pattern, take));
        } else {
            selection.streams.entry(name.into()).or_default().selected = take;
        }
    };
    for name in table.tables.iter().flatten() {
        choose(name, true);
    }
    for name in &table.exclude {
        match name.split_once('.') {
            None => choose(name, false),
            Some((stream, path)) => columns.push((stream, path, Treatment::Exclude)),
        }
    }
    let treated = [
        (&table.drop, Treatment::Drop),
        (&table.mask, Treatment::Mask),
        (&table.hash, Treatment::Hash),
    ];
    for (names, treatment) in treated {
        let split = names.iter().filter_map(|name| name.split_once('.'));
        columns.extend(split.map(|(stream, path)| (stream, path, treatment)));
    }
    for (stream, path, treatment) in columns {
        let (stream, path) = (Pattern::new(stream), Pattern::new(path));
        if treatment == Treatment::Exclude && !stream.is_open() && !path.is_open() {
            let name = StreamName::from(stream.as_str());
            let selected = selection.contains(&name);
            let choice = selection.streams.entry(name).or_default();
            choice.selected = selected;
            choice.excluded.insert(path.as_str().to_owned());
        } else {
            selection.treatments.push(ColumnRule { stream, path, treatment });
        }
    }
    selection
}

/// Names of columns have their table's before them.
pub(super) fn check(name: &str, table: &ConnectionTable) -> Result<()> {
    for (key, names) in [
        ("include", &table.include),
        ("drop", &table.drop),
        ("mask", &table.mask),
        ("hash", &table.hash),
    ] {
        if let Some(wrong) = names.iter().find(|name| !name.contains('.')) {
            return Err(Error::config(format!("`{key}` of connection `{name}` names no column"))
                .with("entry", wrong)
                .hint(format!("write TABLE.COLUMN, for example {key} = [\"users.email\"]")));
        }
    }
    Ok(())
}
