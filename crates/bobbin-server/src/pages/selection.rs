//! Tables and columns to choose, as a form, and back.

use std::collections::BTreeSet;

use askama::Template;
use askama::filters::HtmlSafe;
use bobbin_core::catalog::Stream;
use bobbin_core::selection::{Pattern, Selection, Treatment};
use bobbin_core::tap::Discovery;
use serde_json::{Map, Value};

use super::field::{Entered, Wrongs};

/// Lists of columns in a connection, in the words of the file, with what they do and how the form calls it.
const LISTS: [(&str, Treatment, &str); 4] = [
    ("hash", Treatment::Hash, "Hash"),
    ("mask", Treatment::Mask, "Mask"),
    ("exclude", Treatment::Exclude, "Leave out"),
    ("drop", Treatment::Drop, "Leave out everywhere"),
];

/// The tables that a source has, with what is chosen of them. Put `{{ tables }}` into a form;
/// [`write`] puts what is sent into the connection.
#[derive(Template, Clone)]
#[template(path = "parts/tables.html")]
pub(crate) struct Tables {
    tables: Vec<Table>,
    /// Names and reasons of those that the key may not read.
    unreadable: Vec<(String, String)>,
}

impl HtmlSafe for Tables {}

#[derive(Clone)]
struct Table {
    name: String,
    description: String,
    chosen: bool,
    columns: Vec<Column>,
    treated: usize,
}

#[derive(Clone)]
struct Column {
    path: String,
    name: String,
    kind: String,
    description: String,
    /// Why it stays as it is, or is as it is; none where it can be chosen.
    fixed: Option<String>,
    is_key: bool,
    /// It came after its table was first replicated, and waits to be chosen (F-49).
    waits: bool,
    /// The list it is in; empty in none.
    treated: &'static str,
}

impl Column {
    #[allow(clippy::unused_self, reason = "templates ask the column")]
    fn lists(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        LISTS.iter().map(|(list, _, word)| (*list, *word))
    }
}

impl Tables {
    /// What a source has: chosen as `entered`, else as `selection` says; all of it where that is none.
    pub(crate) fn of(
        found: &Discovery,
        body: &Map<String, Value>,
        selection: Option<&Selection>,
        entered: Option<&Entered>,
    ) -> Self {
        let all = Selection::all();
        let shown = selection.unwrap_or(&all);
        let tables = found.catalog.streams.iter().map(|stream| {
            let chosen = match (entered, entered.map(|entered| entered.get("act"))) {
                (_, Some("all")) => true,
                (_, Some("none")) => false,
                (Some(entered), _) => {
                    entered.pairs().any(|pair| pair == ("table", stream.name.as_str()))
                }
                (None, _) => shown.contains(&stream.name),
            };
            let columns = columns(stream, body, shown, entered);
            Table {
                name: stream.name.to_string(),
                description: stream.description.clone().unwrap_or_default(),
                chosen,
                treated: columns.iter().filter(|column| !column.treated.is_empty()).count(),
                columns,
            }
        });
        let unreadable = found.unreadable.iter();
        Self {
            tables: tables.collect(),
            unreadable: unreadable.map(|(name, why)| (name.to_string(), why.clone())).collect(),
        }
    }
}

fn columns(
    stream: &Stream,
    body: &Map<String, Value>,
    selection: &Selection,
    entered: Option<&Entered>,
) -> Vec<Column> {
    let treated = selection.of(stream);
    let columns = stream.columns().into_iter().map(|column| {
        let name = format!("{}.{}", stream.name, column.path);
        let word = |treatment: Treatment| {
            LISTS.iter().find(|(_, of, _)| *of == treatment).map_or("", |(list, _, _)| *list)
        };
        let kept = treated.by(&column.path).map_or("", word);
        let is_automatic = treated.is_automatic(&column.path);
        let fixed = if is_automatic {
            Some("always replicated: it tells records or their versions apart".to_owned())
        } else {
            pattern_of(body, stream.name.as_str(), &column.path)
                .map(|pattern| format!("as the rule {pattern} says"))
        };
        let entered = entered.filter(|entered| fixed.is_none() && entered.has(&name));
        let chosen = entered.map(|entered| {
            LISTS
                .iter()
                .find(|(list, ..)| *list == entered.get(&name))
                .map_or("", |(list, ..)| *list)
        });
        Column {
            name: column.name(),
            kind: column.kind(),
            description: column.schema.description.clone().unwrap_or_default(),
            is_key: stream.key.contains(&column.path),
            waits: treated.is_new(&column.path),
            treated: chosen.unwrap_or(kept),
            fixed,
            path: name,
        }
    });
    columns.collect()
}

/// An entry of a list that names more than this column.
fn pattern_of(body: &Map<String, Value>, table: &str, path: &str) -> Option<String> {
    let texts = LISTS.iter().flat_map(|(list, ..)| texts(body, list));
    let mut patterns = texts.filter(|text| text.contains('*'));
    patterns.find(|text| {
        text.split_once('.').is_some_and(|(of, column)| {
            Pattern::new(of).matches(table) && Pattern::new(column).matches(path)
        })
    })
}

fn texts(body: &Map<String, Value>, list: &str) -> Vec<String> {
    let texts = body.get(list).and_then(Value::as_array).into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Puts what was chosen into a connection, in the words of the file. What is not on offer now stays as it was.
///
/// # Errors
/// When no table is chosen.
pub(crate) fn write(
    body: &mut Map<String, Value>,
    found: &Discovery,
    entered: &Entered,
) -> Result<(), Wrongs> {
    let offered: BTreeSet<&str> = found.catalog.streams.iter().map(|s| s.name.as_str()).collect();
    let chosen = |name: &str| entered.pairs().any(|pair| pair == ("table", name));
    let mut tables: Vec<String> =
        texts(body, "tables").into_iter().filter(|name| !offered.contains(name.as_str())).collect();
    tables.extend(offered.iter().filter(|name| chosen(name)).map(|name| (*name).to_owned()));
    if tables.is_empty() {
        return Err(Wrongs::of("table", "Choose at least one table."));
    }
    let sent: BTreeSet<&str> =
        entered.pairs().map(|(name, _)| name).filter(|name| name.contains('.')).collect();
    for (list, ..) in LISTS {
        let mut names = texts(body, list);
        names.retain(|name| !sent.contains(name.as_str()) && !offered.contains(name.as_str()));
        let new = entered.pairs().filter(|(name, text)| name.contains('.') && *text == list);
        names.extend(new.map(|(name, _)| name.to_owned()));
        if names.is_empty() {
            body.remove(list);
        } else {
            body.insert(list.to_owned(), names.into());
        }
    }
    let mut included = texts(body, "include");
    let new = entered.pairs().filter(|(name, text)| name.contains('.') && *text == "include");
    included.extend(new.map(|(name, _)| name.to_owned()));
    if !included.is_empty() {
        body.insert("include".to_owned(), included.into());
    }
    body.insert("tables".to_owned(), tables.into());
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use bobbin_core::catalog::Catalog;
    use bobbin_core::schema::{Kind, Object, Schema};
    use serde_json::json;

    use super::*;

    fn found() -> Discovery {
        let text = |name: &str| (name.to_owned(), Schema::of(Kind::Text));
        let stream = |name: &str| Stream {
            name: name.into(),
            fields: Object {
                properties: vec![text("id"), text("email"), text("phone")],
                open: true,
            },
            key: vec!["id".into()],
            replication_key: None,
            version_fields: Vec::new(),
            description: None,
        };
        Discovery {
            catalog: Catalog { streams: vec![stream("users"), stream("tags")] },
            unreadable: vec![("notes".into(), "a role".to_owned())],
        }
    }

    fn entered(pairs: &[(&str, &str)]) -> Entered {
        Entered::new(pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect())
    }

    #[test]
    fn what_is_chosen_is_written_and_what_is_not_on_offer_stays() {
        let body = json!({ "source": "a", "tables": ["notes"], "exclude": ["tags", "users.email"],
                           "hash": ["*.phone"], "drop": ["notes.body"] });
        let mut body = body.as_object().cloned().unwrap();
        let sent = entered(&[
            ("csrf", "x"),
            ("table", "users"),
            ("users.email", "mask"),
            ("tags.email", ""),
        ]);
        write(&mut body, &found(), &sent).unwrap();
        assert_eq!(
            Value::Object(body.clone()),
            json!({ "source": "a", "tables": ["notes", "users"], "mask": ["users.email"],
                    "hash": ["*.phone"], "drop": ["notes.body"] })
        );
        assert!(write(&mut Map::new(), &found(), &entered(&[])).is_err());

        let tables = Tables::of(&found(), &body, None, Some(&sent));
        let users = &tables.tables[0];
        assert!(users.chosen && !tables.tables[1].chosen);
        let column = |name: &str| users.columns.iter().find(|column| column.name == name).unwrap();
        assert!(column("id").fixed.is_some() && column("id").is_key);
        assert_eq!((column("email").treated, &column("email").fixed), ("mask", &None));
        assert_eq!(column("phone").fixed.as_deref(), Some("as the rule *.phone says"));
    }
}
