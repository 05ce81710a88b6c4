//! The pages of one connection, and what is done with it there.

pub(super) mod acts;
pub(super) mod data;
pub(super) mod extractions;
pub(super) mod loads;
pub(super) mod settings;
pub(super) mod summary;
pub(super) mod tables;

use bobbin_core::id::{ConnectionId, JobId};
use bobbin_engine::ledger::Ledger;
use bobbin_engine::service::Seen;

use super::connections::state;
use super::show::State as Shown;
use crate::api::{Answer, known};
use crate::problem::Problem;
use crate::{Api, Described, Managed};

/// The pages a connection has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tab {
    Summary,
    Tables,
    Extractions,
    Loads,
    Rejected,
    Data,
    Settings,
}

/// What stands above each of them.
pub(crate) struct Head {
    pub(crate) id: ConnectionId,
    pub(crate) described: Described,
    pub(crate) state: Shown,
    pub(crate) paused: bool,
    pub(crate) is_running: bool,
    /// The job that runs.
    pub(crate) running: Option<JobId>,
    backfills: bool,
    pub(crate) seen: Seen,
    tab: Tab,
}

/// A link to one of the pages.
pub(crate) struct TabLink {
    pub(crate) end: &'static str,
    pub(crate) name: &'static str,
    pub(crate) here: bool,
}

impl Head {
    pub(crate) fn of(api: &Api, ledger: &dyn Ledger, connection: &str, tab: Tab) -> Answer<Self> {
        let id = known(api, connection)?;
        let described = api.program.connections().remove(&id);
        let described = described.ok_or_else(|| Problem::not_found("connection"))?;
        let seen = api.control.look()?.into_iter().find(|seen| seen.connection == id);
        let seen = seen.ok_or_else(|| Problem::not_found("connection"))?;
        let latest = ledger.latest(&id)?;
        let is_running = seen.running_since.is_some();
        let latest = latest.filter(|job| is_running && job.ended.is_none());
        Ok(Self {
            state: state(&seen, ledger.last_whole(&id)?.as_ref(), described.configured),
            paused: seen.paused && described.configured,
            is_running,
            backfills: latest.as_ref().is_some_and(|job| job.is_backfill),
            running: latest.map(|job| job.id),
            tab,
            described,
            seen,
            id,
        })
    }

    pub(crate) fn tabs(&self) -> [TabLink; 7] {
        let link = |end, name, tab| TabLink { end, name, here: self.tab == tab };
        [
            link("", "Summary", Tab::Summary),
            link("/tables", "Tables", Tab::Tables),
            link("/extractions", "Extractions", Tab::Extractions),
            link("/loads", "Loads", Tab::Loads),
            link("/rejected", "Rejected", Tab::Rejected),
            link("/data", "Data", Tab::Data),
            link("/settings", "Settings", Tab::Settings),
        ]
    }

    /// The job that waits for its turn, where somebody asked for it.
    pub(crate) fn waits_as(&self) -> Option<JobId> {
        self.seen.trigger.and_then(bobbin_engine::ledger::Trigger::job)
    }

    /// Whether the job that runs reads a part again.
    pub(crate) fn is_backfill(&self) -> bool {
        self.backfills
    }

    pub(crate) fn is_of_file(&self) -> bool {
        self.described.managed_by == Managed::File
    }
}
