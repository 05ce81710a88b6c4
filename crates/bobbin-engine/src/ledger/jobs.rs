//! Jobs: what ran, why, and how it ended (`stitch-behaviour.md` 6.2).

use bobbin_core::id::{ConnectionId, JobId};
use bobbin_core::{Error, Result};
use jiff::Timestamp;
use rusqlite::params;

use super::{Lease, SqliteLedger, slots};
use crate::report::{Outcome, RunReport};

/// What stands for the trigger of jobs that read a part again: they make nothing complete.
const BACKFILL: &str = "backfill";

/// Why a job runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trigger {
    /// Somebody asked for it.
    #[default]
    Manual,
    /// Somebody asked the service for it, and was told at that instant what it is called.
    Asked(Timestamp),
    /// A slot of its schedule came.
    Slot(Timestamp),
}

impl Trigger {
    /// What the job is called, where somebody was told so before it began.
    pub fn job(self) -> Option<JobId> {
        match self {
            Self::Asked(at) => Some(crate::engine::job_id(at)),
            Self::Manual | Self::Slot(_) => None,
        }
    }

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Manual | Self::Asked(_) => "manual",
            Self::Slot(_) => "schedule",
        }
    }
}

/// A job as the ledger knows it. Without a report it is running, or its process ended abruptly.
#[derive(Clone, Debug)]
pub struct JobRow {
    /// Which.
    pub id: JobId,
    /// When it began.
    pub started: Timestamp,
    /// `manual` or `schedule`.
    pub trigger: String,
    /// Whether it has ended, if without a word: its process died.
    pub ended: bool,
    /// How it ended, with everything it said.
    pub report: Option<RunReport>,
}

impl JobRow {
    /// Whether it read a part again, and made nothing complete.
    pub fn is_backfill(&self) -> bool {
        self.trigger == BACKFILL
    }

    /// `running`, `complete`, `incomplete`, `interrupted`, `failed` or `abrupt`: its process died.
    pub fn status(&self) -> &'static str {
        match &self.report {
            Some(report) => report.outcome.word(),
            None if self.ended => "abrupt",
            None => "running",
        }
    }
}

/// What is known of a job without its report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobHead {
    /// Which.
    pub id: JobId,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; none while it runs.
    pub ended: Option<Timestamp>,
    /// As [`JobRow::status`] says.
    pub status: &'static str,
    /// Whether it read a part again, and made nothing complete.
    pub is_backfill: bool,
}

/// The jobs of connections.
pub trait Jobs {
    /// Notes that a job began. The caller has the lease, so what has not ended by now never will.
    fn begin(
        &self,
        lease: &Lease,
        job: &JobId,
        now: Timestamp,
        trigger: Trigger,
        backfill: bool,
    ) -> Result<()>;

    /// The connections with a job that has not ended: it runs, or its process is gone.
    fn unended(&self) -> Result<Vec<ConnectionId>>;

    /// Ends the jobs of a connection that have not ended. The caller has the lease, so they never will.
    fn end_abruptly(&self, lease: &Lease, now: Timestamp) -> Result<()>;

    /// Notes how a job ended.
    fn end(&self, lease: &Lease, report: &RunReport) -> Result<()>;

    /// The latest jobs of a connection, newest first; those before one, if it is named.
    fn jobs(
        &self,
        connection: &ConnectionId,
        before: Option<&JobId>,
        most: u32,
    ) -> Result<Vec<JobRow>>;

    /// One job.
    fn job(&self, connection: &ConnectionId, job: &JobId) -> Result<Option<JobRow>>;

    /// The latest job of a connection, without its report.
    fn latest(&self, connection: &ConnectionId) -> Result<Option<JobHead>>;

    /// The latest ended job of a connection that was to make it complete, so no backfill; also one whose
    /// process died.
    fn last_whole(&self, connection: &ConnectionId) -> Result<Option<JobHead>>;

    /// The latest job of a connection that has ended in order.
    fn last_ended(&self, connection: &ConnectionId) -> Result<Option<JobRow>>;

    /// How many jobs of a connection ended in which way, of those that are kept.
    fn outcomes(&self, connection: &ConnectionId) -> Result<Vec<(String, u64)>>;
}

impl Jobs for SqliteLedger {
    fn begin(
        &self,
        lease: &Lease,
        job: &JobId,
        now: Timestamp,
        trigger: Trigger,
        backfill: bool,
    ) -> Result<()> {
        let connection = &lease.connection;
        let word = if backfill { BACKFILL } else { trigger.word() };
        let failed = |error| self.error("cannot note the job's beginning", error);
        let transaction = self.writing().map_err(failed)?;
        self.end_abruptly(lease, now)?;
        transaction
            .execute(
                "INSERT INTO jobs (id, connection, started, trigger) VALUES (?1, ?2, ?3, ?4)",
                params![job.as_str(), connection.as_str(), now.to_string(), word],
            )
            .map_err(failed)?;
        if let Trigger::Slot(slot) = trigger {
            transaction
                .execute(
                    "UPDATE slots SET job = ?3 WHERE connection = ?1 AND slot = ?2",
                    params![connection.as_str(), slots::text(slot), job.as_str()],
                )
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    fn unended(&self) -> Result<Vec<ConnectionId>> {
        let failed = |error| self.error("cannot read the jobs", error);
        let mut statement = self
            .sqlite
            .prepare("SELECT DISTINCT connection FROM jobs WHERE ended IS NULL")
            .map_err(failed)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
        rows.map(|row| Ok(row.map_err(failed)?.into())).collect()
    }

    fn end_abruptly(&self, lease: &Lease, now: Timestamp) -> Result<()> {
        const WHAT: &str = "cannot note a job's end";
        self.atomically(WHAT, || {
            self.fenced(lease)?;
            let ended = self.sqlite.execute(
                "UPDATE jobs SET ended = ?2, outcome = 'abrupt'
                 WHERE connection = ?1 AND ended IS NULL",
                params![lease.connection.as_str(), now.to_string()],
            );
            ended.map(drop).map_err(|error| self.error(WHAT, error))
        })
    }

    fn end(&self, lease: &Lease, report: &RunReport) -> Result<()> {
        let text = serde_json::to_string(report)
            .map_err(|error| Error::bug("cannot write a report as JSON").caused_by(error))?;
        const WHAT: &str = "cannot note the job's end";
        self.atomically(WHAT, || {
            self.fenced(lease)?;
            let (job, ended) = (report.job.as_str(), report.ended.to_string());
            let ended = self.sqlite.execute(
                "UPDATE jobs SET ended = ?3, outcome = ?4, report = ?5
                 WHERE connection = ?1 AND id = ?2",
                params![lease.connection.as_str(), job, ended, report.outcome.word(), text],
            );
            ended.map(drop).map_err(|error| self.error(WHAT, error))
        })
    }

    fn jobs(
        &self,
        connection: &ConnectionId,
        before: Option<&JobId>,
        most: u32,
    ) -> Result<Vec<JobRow>> {
        let before = before.map(JobId::as_str);
        self.job_rows(
            "AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3",
            params![connection.as_str(), before, most],
        )
    }

    fn job(&self, connection: &ConnectionId, job: &JobId) -> Result<Option<JobRow>> {
        let rows = self.job_rows("AND id = ?2", params![connection.as_str(), job.as_str()])?;
        Ok(rows.into_iter().next())
    }

    fn latest(&self, connection: &ConnectionId) -> Result<Option<JobHead>> {
        self.job_head("", params![connection.as_str()])
    }

    fn last_whole(&self, connection: &ConnectionId) -> Result<Option<JobHead>> {
        let which = "AND ended IS NOT NULL AND trigger <> ?2";
        self.job_head(which, params![connection.as_str(), BACKFILL])
    }

    fn last_ended(&self, connection: &ConnectionId) -> Result<Option<JobRow>> {
        let rows = self.job_rows(
            "AND report IS NOT NULL ORDER BY id DESC LIMIT 1",
            params![connection.as_str()],
        )?;
        Ok(rows.into_iter().next())
    }

    fn outcomes(&self, connection: &ConnectionId) -> Result<Vec<(String, u64)>> {
        let failed = |error| self.error("cannot count the jobs", error);
        let mut statement = self
            .sqlite
            .prepare(
                "SELECT outcome, count(*) FROM jobs
                 WHERE connection = ?1 AND outcome IS NOT NULL GROUP BY outcome ORDER BY outcome",
            )
            .map_err(failed)?;
        let rows = statement
            .query_map(params![connection.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }
}

impl SqliteLedger {
    /// The latest of some jobs.
    fn job_head(
        &self,
        which: &str,
        parameters: &[&dyn rusqlite::ToSql],
    ) -> Result<Option<JobHead>> {
        let failed = |error| self.error("cannot read the jobs", error);
        let mut statement = self
            .sqlite
            .prepare_cached(&format!(
                "SELECT id, started, ended, outcome, trigger FROM jobs
                 WHERE connection = ?1 {which} ORDER BY id DESC LIMIT 1"
            ))
            .map_err(failed)?;
        let mut rows = statement.query(parameters).map_err(failed)?;
        let Some(row) = rows.next().map_err(failed)? else { return Ok(None) };
        let (id, started): (String, String) =
            (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
        let (ended, outcome): (Option<String>, Option<String>) =
            (row.get(2).map_err(failed)?, row.get(3).map_err(failed)?);
        let trigger: String = row.get(4).map_err(failed)?;
        let outcomes =
            [Outcome::Complete, Outcome::Incomplete, Outcome::Interrupted, Outcome::Failed];
        let status = match outcome {
            None => "running",
            Some(word) => outcomes
                .into_iter()
                .map(Outcome::word)
                .find(|known| *known == word)
                .unwrap_or("abrupt"),
        };
        Ok(Some(JobHead {
            id: id.into(),
            started: slots::instant(&started)?,
            ended: ended.as_deref().map(slots::instant).transpose()?,
            status,
            is_backfill: trigger == BACKFILL,
        }))
    }

    fn job_rows(&self, which: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<JobRow>> {
        let failed = |error| self.error("cannot read the jobs", error);
        let mut statement = self
            .sqlite
            .prepare(&format!(
                "SELECT id, started, trigger, ended IS NOT NULL, report FROM jobs
                 WHERE connection = ?1 {which}"
            ))
            .map_err(failed)?;
        let mut rows = statement.query(parameters).map_err(failed)?;
        let mut jobs = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let id: String = row.get(0).map_err(failed)?;
            let started: String = row.get(1).map_err(failed)?;
            let report: Option<String> = row.get(4).map_err(failed)?;
            jobs.push(JobRow {
                id: id.into(),
                started: started.parse().unwrap_or(Timestamp::UNIX_EPOCH),
                trigger: row.get(2).map_err(failed)?,
                ended: row.get(3).map_err(failed)?,
                report: report.and_then(|text| serde_json::from_str(&text).ok()),
            });
        }
        Ok(jobs)
    }
}
