//! Seam A: a tap drives, an output receives.

use jiff::Timestamp;

use crate::cancel::Cancel;
use crate::catalog::{Catalog, Stream};
use crate::clock::Clock;
use crate::forecast::Forecast;
use crate::id::StreamName;
use crate::record::{Records, Rejected};
use crate::report::JobLog;
use crate::selection::Selection;
use crate::state::State;
use crate::{Error, Result};

/// What a running tap or loader may use of the world around it.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Wall-clock time.
    pub clock: &'a dyn Clock,
    /// The wish to stop; check it between pages.
    pub cancel: &'a Cancel,
    /// Where events go. Recording one cannot fail the job.
    pub log: &'a dyn JobLog,
}

/// A source of streams.
pub trait Tap: Send {
    /// The tap's name, for example `tap-kustomer`.
    fn name(&self) -> &str;

    /// Tests the connection: reachable, key accepted. Changes nothing.
    fn check(&self, cx: &Context<'_>) -> Result<Check>;

    /// Lists what can be read with these credentials, and what cannot.
    fn discover(&self, cx: &Context<'_>) -> Result<Discovery>;

    /// Tells by the source's own counts how much a first run would read of the chosen streams, from `start`
    /// or, without one, as it is set. Costs few calls. None where the source does not count.
    ///
    /// # Errors
    /// As those of [`Tap::check`].
    fn forecast(
        &self,
        cx: &Context<'_>,
        start: Option<Timestamp>,
        selection: &Selection,
    ) -> Result<Option<Forecast>> {
        let _ = (cx, start, selection);
        Ok(None)
    }

    /// Extracts. Calls, in order: [`Output::schema`] before a stream's first record and whenever
    /// its shape grew, [`Output::records`] and [`Output::rejected`] any number of times,
    /// [`Output::activate`] when a stream that is read whole has been sent to its end, and
    /// [`Output::state`] when everything sent before may be committed.
    ///
    /// A stream that cannot be completed does not end the others: it gets an outcome. An error
    /// means the run as a whole had to stop; what was covered by a state stays good.
    fn sync(
        &self,
        cx: &Context<'_>,
        request: &SyncRequest<'_>,
        out: &mut dyn Output,
    ) -> Result<Vec<StreamOutcome>>;
}

/// What a source has for these credentials.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Discovery {
    /// The streams that can be read.
    pub catalog: Catalog,
    /// The others, each with what is missing. A run that wants one of them is not complete.
    pub unreadable: Vec<(StreamName, String)>,
}

/// What to extract.
#[derive(Clone, Copy, Debug)]
pub struct SyncRequest<'a> {
    /// The streams on offer, from [`Tap::discover`].
    pub catalog: &'a Catalog,
    /// What was chosen of them.
    pub selection: &'a Selection,
    /// How far earlier runs got.
    pub state: &'a State,
}

/// Receives what a tap extracts. Calls come from one thread.
pub trait Output {
    /// A stream's shape; repeated when it grows.
    fn schema(&mut self, stream: &Stream) -> Result<()>;
    /// Records in order.
    fn records(&mut self, stream: &StreamName, records: Records<'_>) -> Result<()>;
    /// A record that could not be read, to be kept with its reason.
    fn rejected(&mut self, stream: &StreamName, rejected: &Rejected) -> Result<()>;
    /// All records of `version` were sent: rows of the stream's other versions are no more. Readers
    /// of the table never see it half replaced. An output that keeps nothing may ignore it.
    fn activate(&mut self, stream: &StreamName, version: i64) -> Result<()> {
        let _ = (stream, version);
        Ok(())
    }
    /// Everything sent before this may be committed together with `state`.
    fn state(&mut self, state: &State) -> Result<()>;
}

/// How one stream ended.
#[derive(Clone, Debug)]
pub struct StreamOutcome {
    /// The stream.
    pub stream: StreamName,
    /// Whether nothing is missing.
    pub completeness: Completeness,
    /// The bookmark's instant after the run, if the tap keeps one.
    pub reached: Option<Timestamp>,
}

/// Whether a stream holds everything up to its bookmark's upper bound.
#[derive(Clone, Debug)]
pub enum Completeness {
    /// Every planned window was walked to its end and its total reconciled.
    Complete,
    /// Something is missing or unverified; the reason names it.
    Incomplete {
        /// What is missing, where, and what happens next.
        reason: String,
    },
    /// The credentials do not allow this stream.
    Unreadable {
        /// The role that is missing.
        reason: String,
    },
    /// The stream failed; others went on.
    Failed(std::sync::Arc<Error>),
}

/// What a connection test found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Check {
    /// What was found out, label and value, for a person to read.
    pub facts: Vec<(String, String)>,
    /// Per stream: readable, or the role that is missing.
    pub streams: Vec<(StreamName, Option<String>)>,
}
