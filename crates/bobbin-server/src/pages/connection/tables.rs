//! What is replicated of a connection.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bobbin_engine::ledger::Thing;
use serde_json::{Map, Value};

use super::{Head, Tab};
use crate::api::{Answer, known};
use crate::pages::field::{self, Entered, Pairs, Refused, Wrongs};
use crate::pages::selection::{self, Tables};
use crate::pages::{Frame, Place, Said, Visit};
use crate::problem::Problem;
use crate::{Api, Edit};

#[derive(Template)]
#[template(path = "connection/tables.html")]
struct TablesPage {
    frame: Frame,
    head: Head,
    /// None before the source was asked what it has.
    tables: Option<Tables>,
    new_columns: bool,
    may_change: bool,
    wrong: Option<String>,
}

/// The setting of whether new columns of chosen tables come by themselves (`stitch-behaviour.md` 12, C5).
const NEW_COLUMNS: &str = "new_columns";

fn page(
    api: &Api,
    frame: Frame,
    connection: &str,
    entered: Option<&Entered>,
    wrongs: &Wrongs,
) -> Answer<TablesPage> {
    let ledger = api.engine.ledger()?;
    let head = Head::of(api, &*ledger, connection, Tab::Tables)?;
    let written = api.program.written(&head.id);
    let may_change = written.is_some() && frame.may_govern();
    let body = written.unwrap_or_default();
    let selection = api.program.selection(&head.id);
    let found = ledger.catalog(&head.id)?;
    let fills = ledger.fills(&head.id)?;
    let tables =
        found.map(|(found, _)| Tables::filled(&found, &body, selection.as_ref(), entered, &fills));
    let new_columns = match entered {
        Some(entered) => entered.get(NEW_COLUMNS) == "on",
        None => body.get(NEW_COLUMNS).and_then(Value::as_str) != Some("off"),
    };
    Ok(TablesPage {
        frame: frame.titled(format!("Tables of {}", head.described.display_name)),
        tables,
        new_columns,
        may_change,
        wrong: wrongs.beside(&[]),
        head,
    })
}

pub(in crate::pages) async fn tables(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
) -> Response {
    field::form((api, visit, Place::Connections), name, page).await
}

/// Has the next job replicate what is chosen.
pub(in crate::pages) async fn save(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    let act = |api: &Api, of: &str, entered: &Entered| {
        if selection::looks(entered) {
            return Ok(None);
        }
        keep(api, of, entered)?;
        let said = Said::good("Chosen. It counts from the next job on.");
        Ok(Some((format!("/connections/{of}/tables"), Some(said))))
    };
    field::sent_of((api, visit, Place::Connections), (name, pairs), act, page).await
}

fn keep(api: &Api, name: &str, entered: &Entered) -> Result<(), Refused> {
    let id = known(api, name)?;
    let mut body = written(api, name)?;
    let found = api.engine.ledger()?.catalog(&id)?;
    let (found, _) = found.ok_or_else(|| Problem::not_found("list of tables yet"))?;
    selection::write(&mut body, &found, entered)?;
    if entered.get(NEW_COLUMNS) == "on" {
        body.remove(NEW_COLUMNS);
    } else {
        body.insert(NEW_COLUMNS.to_owned(), "off".into());
    }
    let wish =
        Edit { thing: Thing::Connection, name: name.to_owned(), body: Some(body), new: false };
    api.program.change(&[wish]).map_err(|error| Refused::by(&error, &[]))
}

/// A connection as it was set up through the service.
///
/// # Errors
/// When only the file can change it.
pub(super) fn written(api: &Api, name: &str) -> Answer<Map<String, Value>> {
    api.program.written(&known(api, name)?).ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "the file has this connection: change it there")
    })
}

impl From<Wrongs> for Refused {
    fn from(wrongs: Wrongs) -> Self {
        Self::Wrong(wrongs)
    }
}
