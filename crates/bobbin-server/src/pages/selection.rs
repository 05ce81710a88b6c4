//! Tables and columns to choose, as a form, and back.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use askama::filters::HtmlSafe;
use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::receipt::Fill;
use bobbin_core::selection::{Pattern, Selection, Treatment};
use bobbin_core::tap::Discovery;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::field::{Entered, Wrongs};
use super::show::{Count, When};

/// How filled the fields of streams are, and since when that is counted.
pub(crate) type Fills = BTreeMap<StreamName, (Timestamp, Fill)>;

/// Lists of columns in a connection, in the words of the file, with what they do and how the form calls it.
const LISTS: [(&str, Treatment, &str); 4] = [
    ("hash", Treatment::Hash, "Hash"),
    ("mask", Treatment::Mask, "Mask"),
    ("exclude", Treatment::Exclude, "Leave out"),
    ("drop", Treatment::Drop, "Leave out everywhere"),
];

/// A new column goes on waiting.
const WAIT: &str = "wait";

/// A new column is let in; with a list after it, it goes into that, too.
const INCLUDE: &str = "include";

/// The list that a sent value names.
fn list_of(value: &str) -> Option<&'static str> {
    let value = value.strip_prefix(INCLUDE).map_or(value, str::trim_start);
    LISTS.iter().map(|(list, ..)| *list).find(|list| *list == value)
}

/// Whether a sent value lets a new column in.
fn lets_in(value: &str) -> bool {
    value.split(' ').next() == Some(INCLUDE)
}

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
    key: String,
    /// The field that tells what changed; none where the table is read whole.
    changes: Option<String>,
    chosen: bool,
    /// How many records the columns' fill is of, and since when they are counted.
    counted: Option<(Count, When)>,
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
    /// Percent of the loaded records that had a value.
    filled: Option<u64>,
    /// It came after its table was first replicated, and waits to be chosen (F-49).
    waits: bool,
    /// What is chosen of [`Column::options`].
    value: String,
    /// What becomes of it once it does not wait: what a list says that names it already.
    awaited: Option<String>,
}

impl Column {
    /// What may become of it, as it is sent and in a word. A column that waits is let in along with what is
    /// done to it; never as it is, where a list has it.
    fn options(&self) -> Vec<(String, String)> {
        if !self.waits {
            let clear = (String::new(), "As it is".to_owned());
            let lists = LISTS.iter().map(|(list, _, word)| ((*list).into(), (*word).into()));
            return [clear].into_iter().chain(lists).collect();
        }
        let awaited = self.awaited.as_deref().unwrap_or("As it is");
        let mut options = vec![
            (WAIT.to_owned(), "New: waits to be chosen".to_owned()),
            (INCLUDE.to_owned(), format!("{awaited}, from now on")),
        ];
        let others = LISTS.iter().filter(|(_, _, word)| *word != awaited);
        // A rule holds for more than this column: nothing here is against it.
        let others = others.filter(|_| !awaited.contains('*'));
        options.extend(
            others.map(|(list, _, word)| {
                (format!("{INCLUDE} {list}"), format!("{word}, from now on"))
            }),
        );
        options
    }

    fn is_as_it_is(&self) -> bool {
        self.value.is_empty() || self.value == INCLUDE && self.awaited.is_none()
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
        Self::filled(found, body, selection, entered, &Fills::new())
    }

    /// The same with how filled columns are, as far as that is known.
    pub(crate) fn filled(
        found: &Discovery,
        body: &Map<String, Value>,
        selection: Option<&Selection>,
        entered: Option<&Entered>,
        fills: &Fills,
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
            let known = fills.get(&stream.name).filter(|(_, fill)| fill.records > 0);
            let mut columns = columns(stream, body, shown, entered);
            for column in &mut columns {
                let counted = ["", "hash", "mask"].contains(&&*column.value);
                let path = column.path.split_once('.').map_or("", |(_, path)| path);
                column.filled = known.filter(|_| counted).and_then(|(_, fill)| fill.percent(path));
            }
            Table {
                key: stream.key.join(", "),
                changes: stream.replication_key.clone(),
                counted: known.map(|(since, fill)| (Count(fill.records), When(*since))),
                name: stream.name.to_string(),
                description: stream.description.clone().unwrap_or_default(),
                chosen,
                treated: columns.iter().filter(|column| !column.is_as_it_is()).count(),
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
        let waits = treated.is_new(&column.path);
        let rule = pattern_of(body, stream.name.as_str(), &column.path);
        let fixed = match &rule {
            _ if is_automatic => {
                Some("always replicated: it tells records or their versions apart".to_owned())
            }
            Some(rule) if !waits => Some(format!("as the rule {rule} says")),
            _ => None,
        };
        let listed = LISTS.iter().rev().find(|(list, ..)| texts(body, list).contains(&name));
        let awaited = match rule {
            Some(rule) => Some(format!("As the rule {rule} says")),
            None => listed.map(|(_, _, word)| (*word).to_owned()),
        };
        let value = match entered.filter(|entered| fixed.is_none() && entered.has(&name)) {
            Some(entered) => entered.get(&name).to_owned(),
            None if waits => WAIT.to_owned(),
            None => kept.to_owned(),
        };
        Column {
            name: column.name(),
            kind: column.kind(),
            description: column.schema.description.clone().unwrap_or_default(),
            is_key: stream.key.contains(&column.path),
            filled: None,
            waits,
            value,
            awaited,
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

/// Whether a pattern among these names a table.
fn any_matches(patterns: &[String], table: &str) -> bool {
    let mut patterns = patterns.iter().filter(|text| text.contains('*'));
    patterns.any(|text| Pattern::new(text.as_str()).matches(table))
}

/// Whether somebody only wants all boxes checked, or none, without a script.
pub(crate) fn looks(entered: &Entered) -> bool {
    ["all", "none"].contains(&entered.get("act"))
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
    if !offered.iter().any(|name| chosen(name)) && tables.iter().all(|name| name.contains('*')) {
        return Err(Wrongs::of("table", "Choose at least one table."));
    }
    // Those that a pattern takes need no name of their own, and one that says that they are left out.
    let excludes: Vec<String> =
        texts(body, "exclude").into_iter().filter(|name| !name.contains('.')).collect();
    let is_taken = |name: &str| any_matches(&tables, name) && !any_matches(&excludes, name);
    let (taken, others): (Vec<&str>, Vec<&str>) =
        offered.iter().copied().partition(|name| is_taken(name));
    tables.extend(others.into_iter().filter(|name| chosen(name)).map(str::to_owned));
    let columns: Vec<(&str, &str)> =
        entered.pairs().filter(|(name, _)| name.contains('.')).collect();
    // What only goes on waiting, or is only let in, stays in its list.
    let moved: BTreeSet<&str> = columns
        .iter()
        .filter(|(_, value)| ![WAIT, INCLUDE].contains(value))
        .map(|(name, _)| *name)
        .collect();
    for (list, ..) in LISTS {
        let mut names = texts(body, list);
        names.retain(|name| !moved.contains(name.as_str()) && !offered.contains(name.as_str()));
        let new = columns.iter().filter(|(_, value)| list_of(value) == Some(list));
        names.extend(new.map(|(name, _)| (*name).to_owned()));
        if list == "exclude" {
            names.extend(taken.iter().filter(|name| !chosen(name)).map(|name| (*name).to_owned()));
        }
        if names.is_empty() {
            body.remove(list);
        } else {
            body.insert(list.to_owned(), names.into());
        }
    }
    let mut included = texts(body, "include");
    let new = columns.iter().filter(|(_, value)| lets_in(value)).map(|(name, _)| *name);
    for name in new {
        if !included.iter().any(|known| known == name) {
            included.push(name.to_owned());
        }
    }
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
    use bobbin_core::selection::NewColumns;
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
        assert_eq!((&*column("email").value, &column("email").fixed), ("mask", &None));
        assert_eq!(column("phone").fixed.as_deref(), Some("as the rule *.phone says"));
    }

    #[test]
    fn a_table_that_a_pattern_takes_is_left_out_by_its_name() {
        let of = |value: Value| value.as_object().cloned().unwrap();
        let mut body = of(json!({ "tables": ["*"], "exclude": ["users.phone"] }));
        write(&mut body, &found(), &entered(&[("table", "users")])).unwrap();
        let left_out = json!({ "tables": ["*"], "exclude": ["users.phone", "tags"] });
        assert_eq!(Value::Object(body.clone()), left_out);
        write(&mut body, &found(), &entered(&[("table", "users"), ("table", "tags")])).unwrap();
        let both = json!({ "tables": ["*"], "exclude": ["users.phone"] });
        assert_eq!(Value::Object(body.clone()), both);
        assert!(write(&mut body, &found(), &entered(&[])).is_err());

        // One that a pattern leaves out is taken by its name.
        let mut body = of(json!({ "tables": ["*"], "exclude": ["ta*"] }));
        write(&mut body, &found(), &entered(&[("table", "tags")])).unwrap();
        let named = json!({ "tables": ["*", "tags"], "exclude": ["ta*", "users"] });
        assert_eq!(Value::Object(body), named);
    }

    #[test]
    fn a_new_column_keeps_what_is_to_become_of_it() {
        let body = json!({ "tables": ["users"], "new_columns": "off", "mask": ["users.email"] });
        let body = body.as_object().cloned().unwrap();
        let selection = Selection {
            new_columns: NewColumns::Off,
            known: [("users".into(), ["id".to_owned()].into())].into(),
            ..Selection::all()
        };
        let sent = |column: &str, value: &str| {
            let mut body = body.clone();
            let sent = entered(&[("table", "users"), (column, value)]);
            write(&mut body, &found(), &sent).unwrap();
            (body.get("mask").cloned(), body.get("hash").cloned(), body.get("include").cloned())
        };
        let (masked, email) = (Some(json!(["users.email"])), Some(json!(["users.email"])));
        assert_eq!(sent("users.email", "wait"), (masked.clone(), None, None));
        assert_eq!(sent("users.email", "include"), (masked.clone(), None, email.clone()));
        assert_eq!(sent("users.email", "include hash"), (None, email.clone(), email));
        let phone = Some(json!(["users.phone"]));
        assert_eq!(sent("users.phone", "include hash"), (masked, phone.clone(), phone));

        let offered = |body: &Map<String, Value>, name: &str| {
            let tables = Tables::of(&found(), body, Some(&selection), None);
            let column = tables.tables[0].columns.iter().find(|column| column.name == name);
            let column = column.unwrap();
            assert!(column.waits && column.fixed.is_none() && column.value == "wait");
            column.options().into_iter().map(|(value, word)| format!("{value}: {word}")).collect()
        };
        let email: Vec<String> = offered(&body, "email");
        assert_eq!(email[1], "include: Mask, from now on");
        assert!(email.contains(&"include hash: Hash, from now on".to_owned()), "{email:?}");
        assert!(!email.iter().any(|option| option.contains("As it is")), "{email:?}");
        assert_eq!(offered(&body, "phone")[1], "include: As it is, from now on");
        let mut ruled = body.clone();
        ruled.insert("mask".to_owned(), json!(["*.phone"]));
        let phone = offered(&ruled, "phone");
        assert_eq!(phone[1..], ["include: As the rule *.phone says, from now on"]);
    }
}
