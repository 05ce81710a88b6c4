//! Whether what was chosen is there to choose.

use std::collections::BTreeSet;

use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::id::StreamName;
use bobbin_core::report::{Event, Level};
use bobbin_core::selection::{ColumnRule, Selection, automatic};
use bobbin_core::tap::Context;
use bobbin_core::{Error, Result};

/// Columns that a warning names one by one.
const MOST_NAMED: usize = 10;

/// A choice that names nothing would be a table silently missing, or a column silently kept.
///
/// # Errors
/// Of kind `Config` for a table that there is not, or for a rule on a column that has to stay as it is;
/// a column may come yet, and is told as a warning.
pub fn verify_selection(
    cx: Context<'_>,
    selection: &Selection,
    catalog: &Catalog,
    unreadable: &[(StreamName, String)],
) -> Result<()> {
    let warn = |stream: Option<&StreamName>, message: String| {
        cx.log.event(Event::Notice { level: Level::Warn, stream: stream.cloned(), message });
    };
    let there = |name: &StreamName| -> Result<Option<&Stream>> {
        if unreadable.iter().any(|(stream, _)| stream == name) {
            return Ok(None);
        }
        if let Some(stream) = catalog.stream(name) {
            return Ok(Some(stream));
        }
        let known: Vec<&str> = catalog.streams.iter().map(|s| s.name.as_str()).collect();
        Err(Error::config(format!("there is no table `{name}` to choose or exclude"))
            .hint(format!("there are: {}", known.join(", "))))
    };
    for (name, choice) in &selection.streams {
        let Some(stream) = there(name)? else { continue };
        for path in choice.excluded.iter().filter(|path| automatic(stream).any(|key| key == *path))
        {
            let message = format!(
                "`{name}.{path}` is excluded, but stays: it tells the table's records or their versions \
                 apart"
            );
            warn(Some(name), message);
        }
        for path in choice.excluded.iter().filter(|path| !stream.fields.has(path)) {
            let message = format!(
                "`{name}.{path}` is excluded, but no such column is known (it stays excluded if it \
                 ever comes); `bobbin discover --table {name}` lists them"
            );
            warn(Some(name), message);
        }
    }
    for (pattern, _) in &selection.patterns {
        if !catalog.streams.iter().any(|stream| pattern.matches(stream.name.as_str())) {
            warn(None, format!("no table is called like `{}`", pattern.as_str()));
        }
    }
    for (table, path) in &selection.included {
        if !table.is_open() && there(&table.as_str().into())?.is_none() {
            continue;
        }
        let mut streams =
            catalog.streams.iter().filter(|stream| table.matches(stream.name.as_str()));
        if !streams.any(|stream| stream.fields.any_path(&mut |known| path.matches(known))) {
            let message = format!(
                "no column is known that is called like `{}.{}`, which is to be included (it is, if \
                 it ever comes)",
                table.as_str(),
                path.as_str()
            );
            warn(None, message);
        }
    }
    for rule in &selection.treatments {
        if !rule.stream.is_open() && there(&rule.stream.as_str().into())?.is_none() {
            continue;
        }
        verify_rule(rule, selection, catalog, &warn)?;
        let mut streams =
            catalog.streams.iter().filter(|stream| rule.stream.matches(stream.name.as_str()));
        if !streams.any(|stream| stream.fields.any_path(&mut |path| rule.path.matches(path))) {
            let message = format!(
                "no column is known that is called like `{}.{}`, which is to be {} (it is, if it \
                 ever comes)",
                rule.stream.as_str(),
                rule.path.as_str(),
                rule.treatment.done()
            );
            warn(None, message);
        }
    }
    Ok(())
}

/// What tells records or their versions apart stays as it is, whatever a rule says.
fn verify_rule(
    rule: &ColumnRule,
    selection: &Selection,
    catalog: &Catalog,
    warn: &dyn Fn(Option<&StreamName>, String),
) -> Result<()> {
    let chosen = catalog.streams.iter().filter(|stream| selection.contains(&stream.name));
    let streams = chosen.filter(|stream| rule.stream.matches(stream.name.as_str()));
    let kept: BTreeSet<String> = streams
        .flat_map(|stream| {
            let fields = automatic(stream).filter(|field| rule.path.matches(field));
            fields.map(|field| format!("{}.{field}", stream.name))
        })
        .collect();
    let Some(first) = kept.first() else { return Ok(()) };
    let done = rule.treatment.done();
    if !rule.stream.is_open() && !rule.path.is_open() {
        return Err(Error::config(format!(
            "`{first}` cannot be {done}: it tells the table's records or their versions apart"
        ))
        .hint(
            "take the rule out, or exclude the whole table if its values must not be in the \
             destination",
        ));
    }
    let mut names: Vec<&str> = kept.iter().take(MOST_NAMED).map(String::as_str).collect();
    let more = format!("and {} more", kept.len() - names.len());
    if kept.len() > names.len() {
        names.push(&more);
    }
    let message = format!(
        "`{}.{}` is to be {done}, but these columns stay readable, because they tell records or their \
         versions apart: {}",
        rule.stream.as_str(),
        rule.path.as_str(),
        names.join(", ")
    );
    warn(None, message);
    Ok(())
}
