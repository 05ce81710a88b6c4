//! How tables look: the settings that every destination of ours takes.

use bobbin_core::{Error, Result};
use bobbin_load::shape::layout::{Arrays, Deletes, KeyChange, Layout, Loading, Naming, Split};

use crate::config::Part;

/// The settings' names.
pub(crate) const KEYS: [&str; 7] = [
    "arrays",
    "naming",
    "load_mode",
    "keep_original_name",
    "on_key_change",
    "hard_delete",
    "max_columns",
];

/// The layout of a destination whose own is `default`.
pub(crate) fn layout(part: &Part, default: Layout) -> Result<Layout> {
    let mut layout = default;
    if let Some(arrays) = choice(part, "arrays", &["tables", "columns"])? {
        layout.arrays = if arrays == 0 { Arrays::Tables } else { Arrays::Columns };
    }
    if choice(part, "naming", &["bobbin", "stitch"])? == Some(1) {
        layout.naming = Naming::Stitch;
        // As Stitch's PostgreSQL does (`stitch-behaviour.md` C6); DuckDB is like its Snowflake.
        if part.kind == "postgres" {
            layout.split = Split::Renames;
        }
    }
    if choice(part, "load_mode", &["upsert", "append"])? == Some(1) {
        layout.loading = Loading::Append;
    }
    if let Some(keeps) = switch(part, "keep_original_name")? {
        layout.split = if keeps { Split::KeepsName } else { Split::Renames };
    }
    if let Some(hard) = switch(part, "hard_delete")? {
        layout.deletes = if hard { Deletes::Remove } else { Deletes::Mark };
    }
    if choice(part, "on_key_change", &["stop", "append"])? == Some(1) {
        layout.key_change = KeyChange::Appends;
    }
    // PostgreSQL's tables end at 1,600, with those of bobbin and of people.
    let most = if part.kind == "postgres" { 1_500 } else { 10_000 };
    match part.settings.get("max_columns") {
        None => {}
        Some(toml::Value::Integer(columns)) if (1..=most).contains(columns) => {
            layout.max_columns = usize::try_from(*columns).ok();
        }
        Some(_) => {
            return Err(Error::config(format!(
                "`max_columns` of destination `{}` is no number from 1 to {most}",
                part.name
            )));
        }
    }
    Ok(layout)
}

/// A setting that is true or false.
fn switch(part: &Part, key: &str) -> Result<Option<bool>> {
    let Some(value) = part.settings.get(key) else { return Ok(None) };
    value.as_bool().map(Some).ok_or_else(|| {
        let name = &part.name;
        Error::config(format!("`{key}` of destination `{name}` is neither true nor false"))
    })
}

/// Which of the words a setting is.
fn choice(part: &Part, key: &str, words: &[&str]) -> Result<Option<usize>> {
    let Some(value) = part.settings.get(key) else { return Ok(None) };
    let found = value.as_str().and_then(|text| words.iter().position(|word| *word == text));
    if found.is_none() {
        let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        return Err(Error::config(format!("`{key}` of destination `{}` is wrong", part.name))
            .hint(format!("write {key} = {}", words.join(" or "))));
    }
    Ok(found)
}
