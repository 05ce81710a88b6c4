//! The tables in the destination: their columns, how they belong together, their first rows.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bobbin_core::held::{HeldTable, Relation, Sample};
use bobbin_core::id::StreamName;

use super::{Head, Tab};
use crate::Api;
use crate::api::data;
use crate::gate::Watch;
use crate::pages::show::{Count, segment};
use crate::pages::{Frame, Place, Visit, shown};

#[derive(Template)]
#[template(path = "connection/data.html")]
struct DataPage {
    frame: Frame,
    head: Head,
    /// Whether a job ever ended, which had made tables.
    has_run: bool,
    tables: Vec<Listed>,
    picture: Picture,
    related: Vec<Relation>,
    wrong: Option<String>,
}

struct Listed {
    name: String,
    rows: Option<Count>,
    columns: usize,
    key: String,
}

pub(in crate::pages) async fn tables(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path(connection): Path<String>,
    visit: Visit,
) -> Response {
    let looked = data::look(Arc::clone(&api), &watch, connection.clone()).await;
    shown(api, visit, Place::Connections, move |api, frame| {
        let ledger = api.engine.ledger()?;
        let head = Head::of(api, &*ledger, &connection, Tab::Data)?;
        let (tables, related, wrong) = match looked {
            Ok((tables, related)) => (tables, related, None),
            Err(problem) => (Vec::new(), Vec::new(), Some(problem.detail().to_owned())),
        };
        let catalog = ledger.catalog(&head.id)?.map(|(found, _)| found.catalog);
        let key = |name: &str| {
            let stream = catalog.as_ref()?.stream(&StreamName::from(name))?;
            Some(stream.key.join(", "))
        };
        let listed = tables.iter().map(|table| Listed {
            name: table.name.clone(),
            rows: table.rows.map(Count),
            columns: table.columns.len(),
            key: key(&table.name).unwrap_or_default(),
        });
        Ok(DataPage {
            has_run: ledger.last_whole(&head.id)?.is_some(),
            tables: listed.collect(),
            picture: Picture::of(&head.id.to_string(), &tables, &related),
            related,
            wrong,
            frame: frame.titled(format!("Data of {}", head.described.display_name)),
            head,
        })
    })
    .await
}

#[derive(Template)]
#[template(path = "connection/rows.html")]
struct RowsPage {
    frame: Frame,
    head: Head,
    table: String,
    columns: Vec<(String, String, Option<String>)>,
    sample: Sample,
    rows: Option<Count>,
}

pub(in crate::pages) async fn rows(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path((connection, table)): Path<(String, String)>,
    visit: Visit,
) -> Response {
    let looked = async {
        let (tables, related) = data::look(Arc::clone(&api), &watch, connection.clone()).await?;
        let of = (connection.clone(), table.clone());
        Ok((tables, related, data::first_rows(Arc::clone(&api), &watch, of, None).await?))
    };
    let (tables, related, sample) = match looked.await {
        Ok(looked) => looked,
        Err(problem) => {
            let problem: crate::problem::Problem = problem;
            return problem.into_response();
        }
    };
    shown(api, visit, Place::Connections, move |api, frame| {
        let ledger = api.engine.ledger()?;
        let head = Head::of(api, &*ledger, &connection, Tab::Data)?;
        let held = tables.into_iter().find(|held| held.name == table);
        let rows = held.as_ref().and_then(|held| held.rows).map(Count);
        let columns = held.into_iter().flat_map(|held| held.columns).map(|column| {
            let to = related.iter().find(|one| one.from == table && one.column == column.name);
            (column.name, column.kind, to.map(|one| one.to.clone()))
        });
        Ok(RowsPage {
            columns: columns.collect(),
            frame: frame.titled(format!("{table} of {}", head.described.display_name)),
            head,
            table,
            sample,
            rows,
        })
    })
    .await
}

/// The tables as boxes and their relations as lines between them: those that others speak of stand to the
/// right of those that speak of them.
struct Picture {
    width: usize,
    height: usize,
    boxes: Vec<Tile>,
    lines: Vec<Line>,
}

struct Tile {
    x: usize,
    y: usize,
    name: String,
    link: String,
    told: String,
}

struct Line {
    path: String,
    told: String,
}

/// Pixels of a box, and of the space between boxes.
const WIDE: usize = 200;
const HIGH: usize = 46;
const ACROSS: usize = 120;
const DOWN: usize = 18;

/// The most tables that are drawn: more is no picture.
const MOST_DRAWN: usize = 60;

impl Picture {
    fn of(connection: &str, tables: &[HeldTable], related: &[Relation]) -> Self {
        let pairs: BTreeSet<(&str, &str)> = related
            .iter()
            .map(|one| (one.from.as_str(), one.to.as_str()))
            .filter(|(from, to)| from != to)
            .collect();
        let drawn = |table: &&HeldTable| !table.name.starts_with('_');
        let tables: Vec<&HeldTable> = tables.iter().filter(drawn).take(MOST_DRAWN).collect();
        // How many others speak of a table says how far to the right it stands.
        let spoken = |name: &str| pairs.iter().filter(|(_, to)| *to == name).count();
        let speaks = |name: &str| pairs.iter().any(|(from, _)| *from == name);
        let rank = |name: &str| match (spoken(name), speaks(name)) {
            (0, true) => 0,
            (0, false) => 3,
            (1, true) => 1,
            _ => 2,
        };
        let taken: BTreeSet<usize> = tables.iter().map(|table| rank(&table.name)).collect();
        let mut filled = vec![0_usize; taken.len()];
        let mut boxes = Vec::new();
        for table in &tables {
            let column = taken.range(..rank(&table.name)).count();
            let (x, y) = (column * (WIDE + ACROSS) + 2, filled[column] * (HIGH + DOWN) + 2);
            filled[column] += 1;
            boxes.push(Tile {
                x,
                y,
                name: table.name.clone(),
                link: format!("/connections/{connection}/data/{}", segment(&table.name)),
                told: format!("{} columns", table.columns.len()),
            });
        }
        let place = |name: &str| boxes.iter().find(|one| one.name == name);
        let lines = pairs.iter().filter_map(|(from, to)| {
            let (a, b) = (place(from)?, place(to)?);
            let (ay, by) = (a.y + HIGH / 2, b.y + HIGH / 2);
            let path = if a.x < b.x {
                let (x1, x2) = (a.x + WIDE, b.x);
                let middle = usize::midpoint(x1, x2);
                format!("M{x1} {ay} C{middle} {ay} {middle} {by} {x2} {by}")
            } else {
                let (x1, x2) = (a.x + WIDE, b.x + WIDE);
                let out = x1.max(x2) + ACROSS / 2;
                format!("M{x1} {ay} C{out} {ay} {out} {by} {x2} {by}")
            };
            Some(Line { path, told: format!("{from} to {to}") })
        });
        let lines = lines.collect();
        let rows = filled.iter().copied().max().unwrap_or(0);
        Self {
            width: filled.len() * (WIDE + ACROSS),
            height: rows * (HIGH + DOWN) + 4,
            boxes,
            lines,
        }
    }
}

/// A text in the form of an attribute or of an element's text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { width, height, boxes, lines } = self;
        write!(
            f,
            "<svg class=\"picture\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"group\" aria-label=\"{} tables with {} relations\">",
            boxes.len(),
            lines.len()
        )?;
        for line in lines {
            write!(f, "<path d=\"{}\"><title>{}</title></path>", line.path, escaped(&line.told))?;
        }
        for one in boxes {
            let (x, y) = (one.x, one.y);
            let short: String = match one.name.char_indices().nth(24) {
                Some((at, _)) => format!("{}…", &one.name[..at]),
                None => one.name.clone(),
            };
            write!(
                f,
                "<a href=\"{}\"><rect x=\"{x}\" y=\"{y}\" width=\"{WIDE}\" height=\"{HIGH}\" rx=\"6\"/>\
                 <text x=\"{}\" y=\"{}\">{}</text><text class=\"more\" x=\"{}\" y=\"{}\">{}</text>\
                 <title>{}</title></a>",
                escaped(&one.link),
                x + 12,
                y + 20,
                escaped(&short),
                x + 12,
                y + 37,
                one.told,
                escaped(&one.name),
            )?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Picture {}
