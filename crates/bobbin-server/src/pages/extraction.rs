//! The page of one extraction: how far a running job is, how an ended one went, and what of each table's
//! time is covered. The same parts are shown when the page is loaded and sent to it while the job runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use bobbin_engine::job_view::JobView;
use bobbin_engine::ledger::JobRow;
use serde::Deserialize;

use super::{Body, Frame, Place, Said, Visit, gone_to, part, shown};
use crate::Api;
use crate::api::{Answer, asked, job_row, known};
use crate::gate::Watch;
use crate::live::{Live, Which, locked};
use crate::problem::Problem;

mod coverage;
mod live;
mod log;
mod parts;

pub(super) use live::follow;
pub(super) use log::lines;

use coverage::{CoveragePart, Zoom};
use log::{LinesPart, Wanted};
use parts::{BudgetPart, HeadPart, TablesPart, TroublesPart};

/// How long a page may wait for what of a log was not read yet.
const PAGE: Duration = Duration::from_millis(25);

/// The same for a part of it that is asked for when the page is there.
const LATER: Duration = Duration::from_millis(400);

/// What somebody wants to see of it.
#[derive(Clone, Deserialize, Default)]
#[serde(default)]
pub(super) struct Look {
    /// The table whose windows are shown.
    table: String,
    from: String,
    until: String,
    #[serde(flatten)]
    log: Wanted,
}

#[derive(Template)]
#[template(path = "extraction.html")]
struct ExtractionPage {
    frame: Frame,
    name: String,
    address: String,
    connection: String,
    running: bool,
    head: HeadPart,
    troubles: TroublesPart,
    budget: BudgetPart,
    tables: TablesPart,
    coverage: CoveragePart,
    zoom: Option<Zoom>,
    log: LinesPart,
    look: Look,
    levels: [(&'static str, &'static str); 4],
}

/// The least levels that can be chosen.
const LEVELS: [(&str, &str); 4] =
    [("DEBUG", "everything"), ("INFO", "steps"), ("WARNING", "warnings"), ("ERROR", "errors")];

/// A job and what its log tells of it.
struct Seen {
    which: Which,
    address: String,
    row: JobRow,
    view: Arc<JobView>,
    /// The part of the log that was read.
    read: f64,
    /// Whether the log is gone, or there never was one.
    no_log: bool,
    /// Whether it was asked for and has not begun.
    waits: bool,
}

impl Seen {
    /// Reads on in the log for some time.
    fn of(api: &Api, live: &Live, (connection, job): (&str, &str), time: Duration) -> Answer<Self> {
        let which: Which = (known(api, connection)?, job.into());
        let row = job_row(api, &which.0, &which.1)?;
        let row = row.ok_or_else(|| Problem::not_found("extraction"))?;
        let address = format!("/connections/{connection}/extractions/{job}");
        let (view, read, found) = match live.reader(&api.engine, &which) {
            Ok(reader) => {
                let mut reader = locked(&reader);
                let whole = reader.advance(Instant::now() + time)?;
                let read = if whole { 1.0 } else { reader.progress().min(0.99) };
                (Arc::clone(reader.view()), read, true)
            }
            Err(error) if error.kind() == bobbin_core::ErrorKind::NotFound => {
                (Arc::default(), 1.0, false)
            }
            Err(error) => return Err(error.into()),
        };
        let (no_log, waits) = (!found && row.ended, !found && !row.ended);
        Ok(Self { which, address, row, view, read, no_log, waits })
    }

    fn is_running(&self) -> bool {
        !self.row.ended
    }
}

pub(super) async fn page(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path((connection, job)): Path<(String, String)>,
    Query(look): Query<Look>,
    visit: Visit,
) -> Response {
    shown(api, visit, Place::Connections, move |api, frame| {
        let seen = Seen::of(api, &watch.live, (&connection, &job), PAGE)?;
        let described = api.program.connections();
        let name = described.get(&seen.which.0).map(|known| known.display_name.clone());
        let name = name.unwrap_or_else(|| connection.clone());
        let log = LinesPart::of(api, &watch.live, &seen, &look.log)?;
        Ok(ExtractionPage {
            frame: frame.titled(format!("Extraction {job} of {name}")),
            running: seen.is_running(),
            head: HeadPart::of(&seen),
            troubles: TroublesPart::of(&seen),
            budget: BudgetPart::of(&seen.view),
            tables: TablesPart::of(api, &seen)?,
            coverage: CoveragePart::of(&seen),
            zoom: Zoom::of(&seen, &look),
            log,
            name,
            address: seen.address,
            connection,
            look,
            levels: LEVELS,
        })
    })
    .await
}

/// What of the tables' time is covered, for a page that came before all of the log was read.
pub(super) async fn coverage(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path((connection, job)): Path<(String, String)>,
    visit: Visit,
) -> Answer<Body> {
    part(api, visit.gzip, move |api| {
        let seen = Seen::of(api, &watch.live, (&connection, &job), LATER)?;
        Ok(CoveragePart::of(&seen))
    })
    .await
}

/// Stops the job, if it is the one that runs, or takes it out where it waits for its turn.
pub(super) async fn stop(
    State(api): State<Arc<Api>>,
    Path((connection, job)): Path<(String, String)>,
) -> Answer<Response> {
    let all = format!("/connections/{connection}/extractions");
    let one = format!("{all}/{job}");
    let begun = asked(api, move |api| {
        let (id, job) = (known(api, &connection)?, job.as_str().into());
        let row = job_row(api, &id, &job)?;
        if row.ok_or_else(|| Problem::not_found("extraction"))?.ended {
            let detail = "this extraction has already ended";
            return Err(Problem::new(axum::http::StatusCode::CONFLICT, detail));
        }
        api.control.stop(&id)?;
        Ok(api.engine.ledger()?.job(&id, &job)?)
    })
    .await?;
    let said = match begun {
        None => {
            let said = "It was taken out before its turn came; nothing was read.";
            return Ok(gone_to(&all, Some(&Said::good(said))));
        }
        Some(row) if row.is_backfill() => {
            "It is asked to stop: what was extracted is loaded first; the rest has to be asked for again."
        }
        Some(_) => {
            "It is asked to stop: what was extracted is loaded first, and the next one goes on from there."
        }
    };
    Ok(gone_to(&one, Some(&Said::good(said))))
}
