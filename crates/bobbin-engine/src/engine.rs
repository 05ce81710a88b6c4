//! One job from its beginning to its report.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Catalog;
use bobbin_core::destination::{Destination, Loader, Recovered};
use bobbin_core::id::{ConnectionId, JobId, SchemaName, StreamName};
use bobbin_core::report::{Event, JobLog as _, Level};
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::{
    Completeness, Context, Discovery, Output as _, StreamOutcome, SyncRequest, Tap,
};
use bobbin_core::{Error, ErrorKind, Party, Result};
use jiff::{SignedDuration, Timestamp};

use crate::choice::verify_selection;
use crate::columns::{Columns, Meeting, asked_for};
use crate::course::{Course, not_replaced};
use crate::extract::{self, Spooling};
use crate::hold::Hold;
use crate::job_log::Recorder;
use crate::journal::Journal;
use crate::ledger::{Ledger, SqliteLedger, Trigger};
use crate::load::{GRACE, Loaded, Loading, Rounds};
use crate::report::{Outcome, Phase, RunReport, TableReport, Tally};
use crate::spool::{self, Limits, Sealed, Spool, WaitingRows};
use crate::treat::{Rules, Treating};
use crate::vault::Vault;

/// Runs jobs. Everything it keeps is below one directory: `ledger.sqlite` and `spool/`.
#[derive(Clone, Debug)]
pub struct Engine {
    home: PathBuf,
    /// Records per segment and commit, in place of what the destination asks for.
    pub rows_per_commit: Option<u64>,
    /// Bounds of the spool's segments.
    pub limits: Limits,
    /// When rounds are committed.
    pub rounds: Rounds,
    /// Days that jobs, their logs, loads and slots are kept (F-54, F-62).
    pub keep_days: u32,
    /// Whether what waits on disk is sealed, with the key of [`crate::vault`] (F-103).
    pub seal_spool: bool,
    /// Days that what is extracted may wait to be loaded (F-106); then it is deleted, and read again.
    pub keep_waiting_days: u32,
    /// Compressed bytes the spool may hold before the extraction waits for the destination.
    pub most_spool_bytes: u64,
}

/// What to run.
pub struct RunRequest<'a> {
    /// Whose job it is.
    pub connection: &'a ConnectionId,
    /// Where in the destination its tables are.
    pub schema: &'a SchemaName,
    /// Where records come from.
    pub tap: &'a mut dyn Tap,
    /// Where rows go.
    pub destination: &'a dyn Destination,
    /// What was chosen.
    pub selection: &'a Selection,
    /// Why it runs.
    pub trigger: Trigger,
    /// The streams of which it reads a part again, so that bookmarks stay where they are; none for a plain
    /// job. What waits is loaded by the whole choice.
    pub part: Option<&'a Selection>,
}

/// What both sides of a job came to.
#[derive(Default)]
pub(crate) struct Ends {
    catalog: Catalog,
    outcomes: Vec<StreamOutcome>,
    loaded: Loaded,
    resumed_segments: u64,
    error: Option<Error>,
}

impl Engine {
    /// An engine that keeps its files below `home`, which is made when missing.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            rows_per_commit: None,
            limits: Limits::default(),
            rounds: Rounds::default(),
            keep_days: 60,
            seal_spool: true,
            keep_waiting_days: 30,
            most_spool_bytes: 8 << 30,
        }
    }

    /// Where this engine keeps its files.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What ended before this is forgotten.
    fn kept_since(&self, now: Timestamp) -> Timestamp {
        let kept = SignedDuration::from_hours(24 * i64::from(self.keep_days));
        now.checked_sub(kept).unwrap_or(Timestamp::MIN)
    }

    /// Deletes what has waited too long in the spools of all connections, also of those that are no more;
    /// gives a line for each of which something went. One whose job runs does so by itself.
    ///
    /// # Errors
    /// When a file cannot be deleted; the others were.
    pub fn erase_what_waited(&self, now: Timestamp) -> Result<Vec<String>> {
        let root = self.home.join("spool");
        let Ok(entries) = std::fs::read_dir(&root) else { return Ok(Vec::new()) };
        let (mut told, mut failed, ledger) = (Vec::new(), None, self.ledger()?);
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            let connection = ConnectionId::from(entry.file_name().to_string_lossy().as_ref());
            let erased = Spool::open(&root, &connection)
                .and_then(|spool| spool.erase(&self.oldest_waiting(now)));
            match erased {
                Ok(erased) if erased.is_empty() => {}
                Ok(erased) => {
                    let line = self.told_of_erased(&*ledger, &connection, &erased)?;
                    told.push(format!("{connection}: {line}"));
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(told), Err)
    }

    fn told_of_erased(
        &self,
        ledger: &dyn Ledger,
        connection: &ConnectionId,
        erased: &[(JobId, u64)],
    ) -> Result<String> {
        let segments: u64 = erased.iter().map(|(_, segments)| segments).sum();
        let mut line = format!(
            "{segments} segments waited longer than {} days to be loaded and were deleted \
             (keep_waiting_days); their records are read again by the next job",
            self.keep_waiting_days
        );
        for (job, _) in erased {
            if ledger.job(connection, job)?.is_some_and(|job| job.is_backfill()) {
                line.push_str(&format!(
                    "; but {job} was a backfill, which has to be asked for again"
                ));
            }
        }
        Ok(line)
    }

    /// Segments of jobs before that have waited too long.
    fn oldest_waiting(&self, now: Timestamp) -> JobId {
        let kept = SignedDuration::from_hours(24 * i64::from(self.keep_waiting_days));
        job_id(now.checked_sub(kept).unwrap_or(Timestamp::MIN))
    }

    /// Whether there is a ledger yet.
    pub fn has_ledger(&self) -> bool {
        self.home.join("ledger.sqlite").exists()
    }

    /// What is extracted of a connection and waits to be loaded, by stream.
    pub fn waiting(&self, connection: &ConnectionId) -> Result<BTreeMap<StreamName, WaitingRows>> {
        spool::waiting(&self.home.join("spool"), connection)
    }

    /// Whether a service runs schedules below `home`.
    pub fn is_served(&self) -> bool {
        let lock = File::open(self.home.join("serve.lock"));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Opens the ledger.
    pub fn ledger(&self) -> Result<Box<dyn Ledger>> {
        make_home(&self.home)?;
        Ok(Box::new(SqliteLedger::open(&self.home.join("ledger.sqlite"))?))
    }

    /// Takes the lock of whoever runs schedules below `home`; it is given back with the file.
    pub(crate) fn lock_service(&self) -> Result<File> {
        make_home(&self.home)?;
        let path = self.home.join("serve.lock");
        let failed =
            |error| Error::io("cannot take the service's lock", error).with("path", path.display());
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::Error(error)) => Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::Conflict, "another bobbin serves this directory")
                    .with("path", path.display())
                    .hint("stop it first, or give this one a `home` of its own"))
            }
        }
    }

    /// Runs one job to its end.
    ///
    /// An error means that no job began (another one is running, the ledger cannot be opened).
    /// Once a job began there is always a report, which holds the error if there was one.
    pub fn run(&self, cx: Context<'_>, request: RunRequest<'_>) -> Result<RunReport> {
        let hold = Hold::take(self, request.connection, cx.clock.now())?;
        hold.keep(cx.clock, || self.run_held(cx, request, &hold))?
    }

    fn run_held(
        &self,
        cx: Context<'_>,
        request: RunRequest<'_>,
        hold: &Hold<'_>,
    ) -> Result<RunReport> {
        let started = cx.clock.now();
        let ledger = &*hold.ledger;
        let job = match request.trigger {
            Trigger::Asked(at) => job_id(at),
            Trigger::Manual | Trigger::Slot(_) => job_id(started),
        };
        let backfill = request.part.is_some();
        ledger.begin(&hold.lease, &job, started, request.trigger, backfill)?;
        let kept_since = self.kept_since(started);

        let recorder =
            Recorder::new(cx.log, cx.clock, (&self.home, kept_since), request.connection, &job);
        let outside = cx;
        let tally = Tally::new(&recorder, cx.clock);
        let cx = Context { log: &tally, ..cx };
        // History that is too long is no reason to have no data.
        warn_of(cx, ledger.forget(kept_since));
        cx.log.event(Event::JobStarted {
            job: job.clone(),
            connection: request.connection.clone(),
            tap: request.tap.name().to_owned(),
            destination: request.destination.name().to_owned(),
            version: env!("CARGO_PKG_VERSION"),
        });
        let connection = request.connection.clone();
        let mut ends = Ends::default();
        let selection = request.part.unwrap_or(request.selection);
        if let Err(error) = self.drive(cx, request, hold, &job, &mut ends) {
            ends.error = Some(error);
        }
        let ended = cx.clock.now();
        let mut report = conclude(ends, selection, tally, job, connection, started, ended);
        for table in report.tables.iter().filter(|table| table.rejected > 0) {
            let message = format!(
                "{} records were set aside, with their reasons: bobbin rejected list",
                table.rejected
            );
            report.notices.push(format!("{}: {message}", table.stream));
            let stream = Some(StreamName::from(table.stream.as_str()));
            recorder.event(Event::Notice { level: Level::Warn, stream, message });
        }
        recorder
            .event(Event::JobEnded { outcome: report.outcome.word(), error: report.error.clone() });
        // It ran, whatever the ledger says of it.
        let told = Context { log: &recorder, ..outside };
        if let Err(error) = ledger.end(&hold.lease, &report) {
            report.notices.push(error.report());
            warn_of(told, Err(error));
        }
        if !backfill {
            warn_of(told, ledger.take_stock(&report));
        }
        Ok(report)
    }

    fn drive(
        &self,
        cx: Context<'_>,
        request: RunRequest<'_>,
        hold: &Hold<'_>,
        job: &JobId,
        ends: &mut Ends,
    ) -> Result<()> {
        let RunRequest { connection, schema, tap, destination, selection, part, .. } = request;
        let (ledger, spool) = (&*hold.ledger, &hold.spool);
        let read = part.unwrap_or(selection);
        let rows = self.rows_per_commit.unwrap_or_else(|| destination.rows_per_commit()).max(1);
        let rounds = Rounds { records: rows, ..self.rounds };
        // A stop leaves the loader time for what is extracted.
        let patience = Cancel::new();
        let mut columns = Columns::read(ledger, connection, selection)?;
        let before = columns.inform(selection);
        let treating_before = Rules::of(&before)?;
        let loading_cx = Context { cancel: &patience, ..cx };
        let mut loader = destination.open(&loading_cx, schema, job).map_err(destinations)?;
        let journal = Journal::new(cx, hold, job)?;
        let rules = (rounds, &before, &*treating_before);
        let erased = spool.erase(&self.oldest_waiting(cx.clock.now()))?;
        if !erased.is_empty() {
            let message = self.told_of_erased(ledger, connection, &erased)?;
            cx.log.event(Event::Notice { level: Level::Warn, stream: None, message });
        }
        let recovered = resume(cx, &mut *loader, spool, rules, &journal, ends)?;
        let state = recovered.state.unwrap_or_default();
        if state == State::default()
            && ledger.state(connection)?.is_some_and(|kept| kept != State::default())
        {
            cx.log.event(Event::Notice {
                level: Level::Warn,
                stream: None,
                message: "the destination holds no state of this connection although earlier jobs saved one (a new or restored database): everything is extracted again from the start date".into(),
            });
        }

        let asked_at = Instant::now();
        let found = tap.discover(&cx)?;
        let (streams, duration) = (found.catalog.streams.len() as u64, asked_at.elapsed());
        cx.log.event(Event::Discovered { streams, duration });
        warn_of(cx, ledger.save_catalog(connection, &found, cx.clock.now()));
        let Discovery { catalog, unreadable } = found;
        ends.catalog = catalog.clone();
        verify_selection(cx, selection, &catalog, &unreadable)?;
        if part.is_some() {
            verify_selection(cx, read, &catalog, &unreadable)?;
            let names = catalog.streams.iter().map(|stream| &stream.name);
            not_replaced(&state, names.filter(|name| read.contains(name)))?;
        }
        let wanted = unreadable.into_iter().filter(|(stream, _)| read.contains(stream));
        ends.outcomes.extend(wanted.map(|(stream, reason)| StreamOutcome {
            stream,
            completeness: Completeness::Unreadable { reason },
            reached: None,
        }));
        // What the tap goes on from is the state without what stands in it of columns.
        let mut known_to_tap = state.clone();
        columns.take(&mut known_to_tap);
        columns.meet(&catalog, selection);
        warn_of(cx, columns.save(ledger, connection, cx.clock.now()));
        let informed = columns.inform(selection);
        let treating = Rules::of(&informed)?;
        let asked = asked_for(&columns.inform(read), &catalog);
        let first_sequence = sequence_after(cx.clock.now(), recovered.sequence);
        let vault = self.seal_spool.then(|| Vault::open(&self.home, true)).transpose()?;
        let vault = vault.map(Arc::new);
        let writer = spool.writer(
            job,
            first_sequence,
            Limits { records: rows, ..self.limits },
            state,
            Arc::clone(&treating),
            vault,
        )?;
        let held_bytes = Arc::clone(&writer.held_bytes);
        let flags = extract::Loading::default();
        let (announce, sealed) = mpsc::channel();
        let mut spooling = Spooling::new(writer, announce, cx, self.most_spool_bytes, &flags);
        let mut loading = Loading::new(&mut *loader, spool, cx, rounds, &journal);
        loading.held_bytes = Some(&held_bytes);

        let done = Cancel::new();
        let (extracted, followed) = std::thread::scope(|scope| {
            // Also when loading panics: the scope waits for the threads.
            let _done = Done(&done);
            let watch = std::thread::Builder::new().name("patience".into());
            let watched = watch.spawn_scoped(scope, || wear_out(cx.cancel, &done, &patience));
            let extraction =
                std::thread::Builder::new().name("extract".into()).spawn_scoped(scope, move || {
                    let mut treated = Treating::new(&mut spooling, &treating);
                    let keep = |columns: &Columns| {
                        let ledger = self.ledger();
                        let now = cx.clock.now();
                        warn_of(cx, ledger.and_then(|own| columns.save(&*own, connection, now)));
                    };
                    let mut meeting = Meeting::new(&mut treated, &informed, columns, &keep);
                    let (mut out, begin) =
                        Course::new(&mut meeting, &known_to_tap, (&catalog, read), part.is_some());
                    let request =
                        SyncRequest { catalog: &catalog, selection: &asked, state: &begin };
                    // So that a state after which nothing came finds a stream to travel with.
                    let mut streams = catalog.streams.iter();
                    let announced = streams.try_for_each(|stream| out.schema(stream));
                    let outcomes = announced.and_then(|()| tap.sync(&cx, &request, &mut out));
                    let outcomes = outcomes.and_then(|outcomes| {
                        out.conclude(&outcomes)?;
                        Ok(outcomes)
                    });
                    let left_out = meeting.end();
                    let sealed = spooling.finish();
                    // Dropping the spooling closes the channel: the loader then ends too.
                    drop(spooling);
                    let extracted = match (outcomes, sealed) {
                        (Ok(_), Err(error)) | (Err(error), _) => Err(error),
                        (Ok(outcomes), Ok(())) => Ok(outcomes),
                    };
                    (extracted, left_out)
                });
            let followed = match watched {
                Ok(_) => loading.follow(&sealed),
                Err(error) => Err(Error::io("cannot start a thread", error)),
            };
            if followed.is_err() {
                flags.stopped.store(true, Ordering::Relaxed);
            }
            let extracted = match extraction {
                Ok(thread) => match thread.join() {
                    Ok((extracted, left_out)) => {
                        if let Some(message) = left_out {
                            tell(cx, message);
                        }
                        extracted
                    }
                    Err(_) => Err(Error::bug("the extraction panicked")),
                },
                Err(error) => Err(Error::io("cannot start the extraction's thread", error)),
            };
            (extracted, followed)
        });
        let now_loaded = loading.loaded;
        ends.loaded.absorb(now_loaded);
        journal.catch_up();
        let mut error = None;
        match extracted {
            Ok(outcomes) => ends.outcomes.extend(outcomes),
            Err(e) => error = Some(e),
        }
        if let Err(e) = followed {
            let e = if e.kind() == ErrorKind::Cancelled {
                Error::cancelled()
            } else {
                e.wrap("loading failed; what was extracted is kept in the spool and is loaded by the next job")
            };
            error = Some(match error {
                Some(first) if first.kind() != ErrorKind::Cancelled => {
                    cx.log.event(Event::Notice {
                        level: Level::Error,
                        stream: None,
                        message: e.report(),
                    });
                    first
                }
                _ => e,
            });
        } else {
            match loader.finish() {
                Err(e) if error.is_none() => error = Some(destinations(e)),
                _ => {}
            }
        }
        match error {
            // What a job that failed leaves is loaded and swept by the next one.
            None => spool.sweep(),
            Some(error) if error.kind() == ErrorKind::Cancelled => {
                Err(error.hint("run again: it goes on from what was saved"))
            }
            Some(error) => Err(error),
        }
    }
}

/// What fails beside the job does not fail it.
fn warn_of(cx: Context<'_>, result: Result<()>) {
    if let Err(error) = result {
        let message = error.report();
        cx.log.event(Event::Notice { level: Level::Warn, stream: None, message });
    }
}

fn tell(cx: Context<'_>, message: String) {
    cx.log.event(Event::Notice { level: Level::Info, stream: None, message });
}

/// Tells that loading is over once it is dropped.
struct Done<'a>(&'a Cancel);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Ends the loader's patience some time after a stop was asked for, unless loading is done before.
fn wear_out(stop: &Cancel, done: &Cancel, patience: &Cancel) {
    while !stop.is_cancelled() {
        if done.sleep(Duration::from_millis(100)).is_err() {
            return;
        }
    }
    if done.sleep(GRACE).is_ok() {
        patience.cancel();
    }
}

fn destinations(error: Error) -> Error {
    error.of(Party::Destination)
}

/// Makes bobbin's directory, if it is missing, for nobody else to read: records and keys rest in it.
///
/// # Errors
/// When it cannot be made.
pub fn make_home(home: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(home).map_err(|error| {
        Error::io("cannot make bobbin's directory", error)
            .with("path", home.display())
            .hint("choose a directory that can be written with `home` in the file or --home")
    })
}

/// What the job is called that began, or was asked for, at an instant.
pub(crate) fn job_id(at: Timestamp) -> JobId {
    JobId::from(at.strftime("%Y%m%dT%H%M%S%.6fZ").to_string())
}

/// Loads what earlier jobs had sealed and not loaded; gives what the destination then holds.
pub(crate) fn resume(
    cx: Context<'_>,
    loader: &mut dyn Loader,
    spool: &Spool,
    (rounds, selection, rules): (Rounds, &Selection, &Rules),
    journal: &Journal<'_>,
    ends: &mut Ends,
) -> Result<Recovered> {
    let mut recovered = loader.recover().map_err(destinations)?;
    recovered.lost.retain(|stream| selection.contains(stream));
    forget_bookmarks(cx, loader, &mut recovered)?;
    let leftovers = spool.recover()?;
    if leftovers.sealed.is_empty() && leftovers.unreadable.is_empty() {
        spool.sweep()?;
        return Ok(recovered);
    }
    let mut loading = Loading::new(loader, spool, cx, rounds, journal);
    for (path, reason) in leftovers.unreadable {
        let aside = spool.quarantine(&path)?;
        cx.log.event(Event::Notice {
            level: Level::Error,
            stream: None,
            message: format!(
                "a segment an earlier job left cannot be used and was set aside as {}; its records are extracted again now: {reason}",
                aside.display()
            ),
        });
    }
    let is_durable = |sealed: &Sealed| recovered.segments.contains(&sealed.segment.id);
    let (durable, left): (Vec<_>, Vec<_>) = leftovers.sealed.into_iter().partition(is_durable);
    // Before others are loaded: what is written down of those makes the ledger forget these.
    warn_of(cx, journal.made_up(&durable, recovered.state.as_ref()));
    for sealed in &durable {
        spool.release(sealed)?;
    }
    loading.rules = Some(rules);
    let (mut resumed, mut treated) = (0, 0);
    let mut current = recovered.state.clone().unwrap_or_default();
    for mut sealed in left {
        cx.cancel.check()?;
        resumed += 1;
        treated += u64::from(rules.again(&sealed.stream, sealed.passed.as_ref()).is_some());
        sealed.stream = selection.prune(&sealed.stream);
        sealed.fit(&mut current);
        loading.add(sealed)?;
    }
    loading.commit()?;
    // What a damaged leftover held is extracted again by this very job.
    let loaded = Loaded { corrupt: Vec::new(), ..loading.loaded };
    ends.loaded.absorb(loaded);
    ends.resumed_segments = resumed;
    if resumed > 0 {
        tell(cx, format!("loaded {resumed} segments that an earlier job had extracted"));
    }
    if treated > 0 {
        tell(
            cx,
            format!(
                "{treated} of them were extracted under other rules for columns: those of now were \
                 applied before they were loaded"
            ),
        );
    }
    spool.sweep()?;
    loader.recover().map_err(destinations)
}

/// Where somebody dropped a stream's table, its bookmark would say that all of it is there: the
/// stream is read again from the start date. That is durable before anything else is loaded.
fn forget_bookmarks(
    cx: Context<'_>,
    loader: &mut dyn Loader,
    recovered: &mut Recovered,
) -> Result<()> {
    let Some(state) = &mut recovered.state else { return Ok(()) };
    let mut forgot = false;
    for stream in &recovered.lost {
        let forgets = state.bookmarks.remove(stream).is_some();
        forgot |= forgets;
        let what = if forgets {
            "it is read again from the start date"
        } else {
            "it is made again with what comes from now on"
        };
        cx.log.event(Event::Notice {
            level: Level::Warn,
            stream: Some(stream.clone()),
            message: format!("its table is not there any more; {what}"),
        });
    }
    if forgot { loader.commit(Some(state)).map_err(destinations) } else { Ok(()) }
}

/// `_sdc_sequence` is the Unix epoch in nanoseconds (`stitch-behaviour.md` 7.2) and must grow
/// even if the clock was set back.
fn sequence_after(now: Timestamp, last: Option<i64>) -> i64 {
    let now = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX / 2);
    now.max(last.map_or(0, |last| last.saturating_add(1)))
}

fn conclude(
    ends: Ends,
    selection: &Selection,
    tally: Tally<'_>,
    job: JobId,
    connection: ConnectionId,
    started: Timestamp,
    ended: Timestamp,
) -> RunReport {
    let mut numbers = tally.into_numbers();
    let mut table = |name: &StreamName| {
        let mut table = numbers.tables.remove(name).unwrap_or_default().report;
        table.stream = name.to_string();
        if let Some(receipt) = ends.loaded.streams.get(name) {
            table.loaded = receipt.loaded;
            table.unchanged = receipt.superseded;
            table.removed = receipt.removed;
            table.rejected += receipt.rejected;
        }
        let outcome = ends.outcomes.iter().find(|outcome| &outcome.stream == name);
        table.reached = outcome.and_then(|outcome| outcome.reached);
        (table.outcome, table.reason) = describe(outcome);
        let arrived = table.loaded + table.unchanged + table.rejected;
        if ends.error.is_some() && table.outcome == "complete" && arrived < table.extracted {
            table.outcome = "not loaded".into();
            table.reason =
                Some("what was extracted is kept, and loaded by the next job".to_owned());
        }
        table
    };
    let chosen = ends.catalog.streams.iter().filter(|stream| selection.contains(&stream.name));
    let mut tables: Vec<TableReport> = chosen.map(|stream| table(&stream.name)).collect();
    // Streams that the credentials do not allow, or that a tap did not announce, are not in the
    // catalog but in the outcomes.
    for outcome in &ends.outcomes {
        if ends.catalog.stream(&outcome.stream).is_none() {
            tables.push(table(&outcome.stream));
        }
    }
    let all_complete =
        ends.outcomes.iter().all(|outcome| matches!(outcome.completeness, Completeness::Complete))
            && ends.loaded.corrupt.is_empty();
    let nothing_known = ends.catalog.streams.is_empty() && ends.outcomes.is_empty();
    let failed_in = ends.error.as_ref().map(|error| match error.party() {
        Party::Destination => Phase::Target,
        _ if nothing_known => Phase::Discovery,
        _ => Phase::Tap,
    });
    let outcome = match &ends.error {
        Some(error) if error.kind() == ErrorKind::Cancelled => Outcome::Interrupted,
        Some(_) => Outcome::Failed,
        None if all_complete => Outcome::Complete,
        None => Outcome::Incomplete,
    };
    RunReport {
        job,
        connection,
        started,
        ended,
        outcome,
        calls: numbers.calls,
        calls_wasted: numbers.calls_wasted,
        rate_wait_seconds: numbers.rate_wait_seconds,
        bytes: tables.iter().map(|table| table.bytes).sum(),
        tables,
        resumed_segments: ends.resumed_segments,
        changes: numbers.changes,
        notices: numbers.notices,
        error: ends.error.as_ref().map(Error::report),
        failed_in: failed_in.filter(|_| outcome == Outcome::Failed),
        failure: ends.error.as_ref().map(|error| (error.kind(), error.party())),
    }
}

/// A stream without an outcome was cut short by what ended the job, which the job's error tells.
fn describe(outcome: Option<&StreamOutcome>) -> (String, Option<String>) {
    match outcome.map(|outcome| &outcome.completeness) {
        Some(Completeness::Complete) => ("complete".into(), None),
        Some(Completeness::Incomplete { reason }) => ("incomplete".into(), Some(reason.clone())),
        Some(Completeness::Unreadable { reason }) => ("unreadable".into(), Some(reason.clone())),
        Some(Completeness::Failed(error)) => ("failed".into(), Some(error.report())),
        None => ("not finished".into(), None),
    }
}
