//! One run: which call next, what is handed over when, and how each stream ends.
//!
//! One thread, the caller's, decides and talks to the output; the crew's threads make the calls
//! and shape the pages. The stream at the front is handed over as its pages come; when it has
//! nothing more to ask for, the next streams begin, so that the budget is used to the full across
//! windows and streams. What waits in memory is bounded.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bobbin_core::catalog::Stream;
use bobbin_core::report::{Event, Level};
use bobbin_core::tap::{Completeness, Context, Output, StreamOutcome, SyncRequest};
use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;

use crate::bookmark;
use crate::config::Config;
use crate::crew::{Crew, Done, Task};
use crate::http::Client;
use crate::lane::{Lane, Outlet};
use crate::lists::ListWalk;
use crate::streams::{self, Archive, Reading, Resource};
use crate::walk::{Query, SearchWalk, Trouble, Walk};
use crate::window::Span;

/// How far back the live search sees: two years (kustomer-api 4.8), less a day for the sake of
/// leap days.
pub(crate) const HORIZON_MS: i64 = 729 * DAY_MS;
/// Live and archive search are read across the horizon by this much on either side.
pub(crate) const EDGE_MS: i64 = 7 * DAY_MS;
const DAY_MS: i64 = 86_400_000;
/// What a page is taken to weigh before one has come.
const PAGE_BYTES: usize = 1 << 20;

/// A stream being read.
struct Track {
    resource: &'static Resource,
    lane: Lane,
    /// What is still to be walked; `None` before it was begun.
    walks: Option<VecDeque<Box<dyn Walk>>>,
    /// When its first call could be made.
    planned: Option<Instant>,
    begun: bool,
    /// Whether `start_date` was set back since the stream was first read.
    moved: bool,
    from: Option<i64>,
    until: Option<i64>,
    trouble: Option<Trouble>,
    outstanding: usize,
}

/// One run.
pub(crate) struct Run<'a> {
    config: &'a Config,
    client: &'a Client,
    cx: Context<'a>,
    tracks: Vec<Track>,
    head: usize,
    outstanding: usize,
    /// Calls that should be under way.
    most: usize,
    outcomes: Vec<StreamOutcome>,
    measure: Measure,
}

/// What is known of the other side's speed and of pages' weight.
struct Measure {
    /// Shortest time an answer took, slowly forgotten.
    latency: Option<f64>,
    /// Time to read and shape a page.
    work: f64,
    bytes: f64,
    cores: usize,
}

impl Measure {
    fn take(&mut self, done: &Done) {
        let network = done.network.as_secs_f64();
        self.latency =
            Some(self.latency.map_or(network, |known| (known * 1.01 + 1e-5).min(network)));
        self.work = self.work * 0.9 + done.work.as_secs_f64() * 0.1;
        if let Ok(page) = &done.result {
            self.bytes = self.bytes * 0.9 + page.text.len() as f64 * 0.1;
        }
    }

    /// How many calls should be under way: enough to fill the time an answer takes.
    fn in_flight(&self, per_second: Option<f64>, most: usize) -> usize {
        let latency = self.latency.unwrap_or(0.3);
        let wanted = match per_second {
            Some(per_second) => per_second * latency * 1.3 + 3.0,
            None => {
                let work = self.work.max(0.000_5);
                self.cores as f64 * (2.0 + latency / work)
            }
        };
        (wanted.ceil() as usize).clamp(1, most)
    }
}

/// Extracts what was asked for.
///
/// # Errors
/// When the run as a whole has to stop; what was covered by a state stays good.
pub(crate) fn run(
    config: &Config,
    client: &Client,
    cx: &Context<'_>,
    request: &SyncRequest<'_>,
    out: &mut dyn Output,
) -> Result<Vec<StreamOutcome>> {
    let mut tracks = Vec::new();
    for stream in &request.catalog.streams {
        if !request.selection.contains(&stream.name) {
            continue;
        }
        let Some(resource) = streams::resource(stream.name.as_str()) else {
            return Err(Error::config("the catalog holds a stream that Kustomer does not have")
                .with("stream", &stream.name)
                .hint("discover again and use the new catalog"));
        };
        tracks.push(Track::new(stream, resource, request, config)?);
    }
    // An interrupted stream comes first, those before it last.
    if let Some(current) = &request.state.currently_syncing
        && let Some(at) = tracks.iter().position(|track| track.lane.name() == current)
    {
        tracks.rotate_left(at);
    }
    let spare = Mutex::new(Vec::new());
    let mut outlet = Outlet {
        cx: *cx,
        out,
        state: request.state.clone(),
        selection: request.selection,
        spare: &spare,
    };
    let mut run = Run {
        config,
        client,
        cx: *cx,
        tracks,
        head: 0,
        outstanding: 0,
        most: 1,
        outcomes: Vec::new(),
        measure: Measure {
            latency: None,
            work: 0.005,
            bytes: PAGE_BYTES as f64,
            cores: std::thread::available_parallelism().map_or(2, usize::from),
        },
    };
    if client.organization().is_none() {
        client.ask_who(cx)?;
    }
    if let Some(organization) = client.organization() {
        bookmark::of_organization(&mut outlet.state, organization)?;
    }
    run.learn_the_time()?;
    let streams =
        run.tracks.iter().map(|track| (track.lane.stream.clone(), track.resource)).collect();
    let crew = Crew::new(client, *cx, streams, request.selection, &spare);
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        // Also when something panics: the scope waits for the threads.
        let _home = SendHome { client, crew: &crew };
        let mut threads = 0;
        run.drive(&crew, &receive, &mut outlet, &mut |wanted| {
            while threads < wanted {
                let (crew, send) = (&crew, send.clone());
                let spawned = std::thread::Builder::new()
                    .name("tap-kustomer".to_owned())
                    .spawn_scoped(scope, move || crew.work(&send));
                if spawned.is_err() && threads == 0 {
                    return Err(Error::new(ErrorKind::Io, "no thread could be started"));
                }
                threads += 1;
            }
            Ok(())
        })
    })?;
    outlet.state.currently_syncing = None;
    outlet.out.state(&outlet.state)?;
    Ok(run.outcomes)
}

/// Lets the threads go home once it is dropped.
struct SendHome<'a> {
    client: &'a Client,
    crew: &'a Crew<'a>,
}

impl Drop for SendHome<'_> {
    fn drop(&mut self) {
        self.client.abandon();
        self.crew.close();
    }
}

impl Track {
    fn new(
        stream: &Stream,
        resource: &'static Resource,
        request: &SyncRequest<'_>,
        config: &Config,
    ) -> Result<Self> {
        let name = &stream.name;
        let mut before = bookmark::read(name.as_str(), request.state.bookmarks.get(name))?;
        // An earlier start than last time asks for what lies between (`stitch-behaviour.md` 3.2).
        let moved = match (bookmark::start(request.state, name), config.start_date) {
            (Some(start), Some(wanted)) => before.is_some() && wanted < start,
            _ => false,
        };
        if moved {
            before = None;
        }
        Ok(Self {
            moved,
            resource,
            lane: Lane::new(stream.clone(), before),
            walks: None,
            planned: None,
            begun: false,
            from: None,
            until: None,
            trouble: None,
            outstanding: 0,
        })
    }

    /// Plans the stream, given the server's time.
    fn plan(&mut self, config: &Config, now: Timestamp) {
        let name = self.lane.name().clone();
        let mut hi = now.as_millisecond() - config.settle.as_millis() as i64;
        if let Some(end) = config.end_date {
            hi = hi.min(end.as_millisecond() - 1);
        }
        let mut walks: VecDeque<Box<dyn Walk>> = VecDeque::new();
        self.until = Some(hi);
        match &self.resource.reading {
            Reading::List { path, page_size, variants } => {
                walks.push_back(Box::new(ListWalk::new(name, 1, path, *page_size, variants)));
            }
            Reading::Search { context, archive } => {
                let lo = match self.lane.bookmark() {
                    Some(bookmark) => {
                        bookmark.as_millisecond().min(hi) - config.overlap.as_millis() as i64
                    }
                    None => config.start(now).as_millisecond(),
                };
                let lo = lo.min(hi).max(0);
                self.from = Some(lo);
                let horizon = now.as_millisecond() - HORIZON_MS;
                let (cap, size) = (config.window_cap, config.page_size);
                let live = |ordinal: u32, from: i64, to: i64| {
                    let query = Query::live(context);
                    SearchWalk::new(name.clone(), ordinal, query, Span { from, to }, cap, size)
                };
                if lo < horizon {
                    // A record that crosses the horizon while we read goes from the live search
                    // to the archive. So the live side of the edge is read before the archive:
                    // whatever has left it by then is in the archive.
                    let (edge, behind) = ((horizon - EDGE_MS).max(lo), (horizon + EDGE_MS).min(hi));
                    let old = Span { from: lo, to: behind };
                    walks.push_back(Box::new(live(1, edge, behind).without_bookmark(edge)));
                    walks.push_back(match archive {
                        Archive::Search => {
                            let query = Query::archive(context);
                            let walk = SearchWalk::new(name.clone(), 2, query, old, cap, size);
                            Box::new(walk.behind_the_horizon(edge))
                        }
                        // Notes have a list with everything in it, if the API keeps to it.
                        Archive::None => {
                            let path = format!("/v1/{name}");
                            let walk = ListWalk::new(name.clone(), 2, &path, 100, &[]);
                            Box::new(walk.keeping(old.from, old.to))
                        }
                    });
                    if behind < hi {
                        walks.push_back(Box::new(live(3, behind + 1, hi)));
                    }
                } else {
                    walks.push_back(Box::new(live(1, lo, hi)));
                }
            }
        }
        self.walks = Some(walks);
        self.planned = Some(Instant::now());
    }

    fn is_done(&self) -> bool {
        self.trouble.is_some() || self.walks.as_ref().is_some_and(VecDeque::is_empty)
    }

    /// A walk's trouble: where an archive is absent the rest of the stream goes on.
    fn stumble(&mut self, place: usize, trouble: Trouble) {
        if let Some(walks) = &mut self.walks
            && let Some(from) = walks.get(place).and_then(|walk| walk.old_from())
            && let Trouble::Absent(error) | Trouble::Unreadable(error) = &trouble
        {
            let what = error.message().to_owned();
            walks.remove(place);
            self.lane.block(
                from - 1,
                format!(
                    "records unchanged for two years cannot be read ({what}); set start_date to \
                     less than two years ago to do without them"
                ),
            );
            return;
        }
        self.trouble.get_or_insert(trouble);
    }
}

impl Run<'_> {
    /// The server's present time, once it can be trusted; without a `Date` header the host's.
    fn now(&self) -> Option<Timestamp> {
        match self.client.server_time() {
            Some(time) => Some(time),
            None if self.client.is_dateless() => Some(self.cx.clock.now()),
            None => None,
        }
    }

    /// Makes sure that the server's time is known before the first search is planned. A list in
    /// front tells it on the way.
    fn learn_the_time(&self) -> Result<()> {
        let list_first = self
            .tracks
            .first()
            .is_some_and(|track| matches!(track.resource.reading, Reading::List { .. }));
        if list_first || self.tracks.is_empty() || self.now().is_some() {
            return Ok(());
        }
        let (client, cx) = (self.client, &self.cx);
        let ask = || client.ask_who(cx);
        ask()?;
        if self.now().is_none() {
            // A clock far from ours is asked for twice more, at once.
            std::thread::scope(|scope| {
                let other = scope.spawn(ask);
                let mine = ask();
                other.join().unwrap_or(Ok(())).and(mine)
            })?;
        }
        Ok(())
    }

    fn drive(
        &mut self,
        crew: &Crew<'_>,
        results: &Receiver<Done>,
        outlet: &mut Outlet<'_>,
        staff: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        while self.head < self.tracks.len() {
            self.cx.cancel.check()?;
            self.ask(crew, staff)?;
            if self.emit(crew, outlet)? {
                continue;
            }
            if self.outstanding == 0 {
                // Nothing under way and nothing ready: something must be asked for next.
                if self.tracks[self.head].walks.is_none() {
                    self.client.ask_who(&self.cx)?;
                    continue;
                }
                if self.ask_one(crew, self.head) {
                    staff(1)?;
                    continue;
                }
                return Err(Error::bug("a stream waits for nothing")
                    .with("stream", self.tracks[self.head].lane.name()));
            }
            match results.recv_timeout(Duration::from_millis(200)) {
                Ok(done) => self.arrive(done)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::bug("all threads are gone"));
                }
            }
            while let Ok(done) = results.try_recv() {
                self.arrive(done)?;
            }
        }
        Ok(())
    }

    /// Asks for as much as time and memory allow, front streams first.
    fn ask(&mut self, crew: &Crew<'_>, staff: &mut dyn FnMut(usize) -> Result<()>) -> Result<()> {
        let most = self
            .measure
            .in_flight(self.client.pace().searches_per_second(), self.config.max_in_flight);
        self.most = most;
        let page = self.measure.bytes.max(1024.0) as usize;
        let waiting = |tracks: &[Track]| -> usize {
            tracks
                .iter()
                .filter_map(|track| track.walks.as_ref())
                .flat_map(|walks| walks.iter().map(|walk| walk.waiting_bytes()))
                .sum()
        };
        // The front stream has two thirds of the memory: what is read ahead for the others cannot
        // be handed over before it is done, and must not starve it. A call weighs a quarter of a
        // page: most calls only wait for their answer.
        let third = self.config.max_buffer / 3;
        let rest = self.head + 1;
        let room = (third * 2).saturating_sub(waiting(&self.tracks[self.head..rest])) / page * 4;
        let front = most.min(room).max(1);
        let mut idle = false;
        while self.outstanding < most && self.tracks[self.head].outstanding < front && !idle {
            idle = !self.ask_one(crew, self.head);
        }
        // When the front stream wants nothing more, the next one may have all there is.
        if idle && rest < self.tracks.len() {
            let room = self.config.max_buffer.saturating_sub(waiting(&self.tracks[self.head..]));
            let room = (room / page * 4).max(1);
            while self.outstanding < most.min(room) && self.ask_one(crew, rest) {}
        }
        let room = third.saturating_sub(waiting(&self.tracks[rest..])) / page * 4;
        let mut index = rest;
        let mut ahead: usize = self.tracks[rest..].iter().map(|track| track.outstanding).sum();
        while self.outstanding < most && ahead < room && index < self.tracks.len() {
            if self.ask_one(crew, index) {
                ahead += 1;
            } else {
                index += 1;
            }
        }
        staff(self.outstanding)
    }

    /// Asks for one page of a track; false when it wants none now.
    fn ask_one(&mut self, crew: &Crew<'_>, index: usize) -> bool {
        let now = self.now();
        let lookahead = self.most;
        let Some(track) = self.tracks.get_mut(index) else { return false };
        if track.trouble.is_some() {
            return false;
        }
        if track.walks.is_none() {
            let list = matches!(track.resource.reading, Reading::List { .. });
            match now {
                Some(now) => track.plan(self.config, now),
                // A list's own answer will tell the time.
                None if list => track.plan(self.config, self.cx.clock.now()),
                None => return false,
            }
            if list && now.is_none() {
                track.until = None;
            }
        }
        // A walk in front that only waits lets the one behind it go ahead.
        for walk in track.walks.iter_mut().flatten() {
            if let Some(ask) = walk.next(lookahead) {
                crew.push(Task { lane: index, ask });
                track.outstanding += 1;
                self.outstanding += 1;
                return true;
            }
            if walk.comes_first() {
                break;
            }
        }
        false
    }

    /// Takes in what came of a call.
    fn arrive(&mut self, mut done: Done) -> Result<()> {
        self.outstanding -= 1;
        self.measure.take(&done);
        let Some(track) = self.tracks.get_mut(done.lane) else { return Ok(()) };
        track.outstanding -= 1;
        if let Ok(page) = &mut done.result {
            track.lane.discover(std::mem::take(&mut page.discovered));
        }
        if track.trouble.is_some() {
            return Ok(());
        }
        let began = done.began;
        let gave_up = matches!(&done.result, Err(crate::http::Failure::GaveUp(_)));
        let mut walks = track.walks.iter_mut().flatten().enumerate();
        let Some((place, walk)) = walks.find(|(_, walk)| walk.owns(done.unit)) else {
            return Ok(());
        };
        match walk.arrive(done.unit, done.page, done.result) {
            Ok(()) => Ok(()),
            Err(Trouble::Run(error)) => Err(error),
            Err(Trouble::Stream(error))
                if gave_up
                    && error.is_transient()
                    && self.client.last_success().is_none_or(|at| at < began) =>
            {
                // Nothing at all has worked meanwhile: the other streams would fare no better.
                Err(error
                    .wrap("the API cannot be used at the moment")
                    .with("host", self.client.host()))
            }
            Err(trouble) => {
                track.stumble(place, trouble);
                Ok(())
            }
        }
    }

    /// Hands over what the front stream has ready. True when a stream ended.
    fn emit(&mut self, crew: &Crew<'_>, outlet: &mut Outlet<'_>) -> Result<bool> {
        let Some(track) = self.tracks.get_mut(self.head) else { return Ok(false) };
        if track.walks.is_none() && track.trouble.is_none() {
            return Ok(false);
        }
        if !track.begun {
            track.begun = true;
            self.cx.log.event(Event::StreamStarted {
                stream: track.lane.name().clone(),
                from: track.from.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
                until: track.until.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            });
            outlet.state.currently_syncing = Some(track.lane.name().clone());
            if let (Some(bookmark), Some(until)) = (track.lane.bookmark(), track.until)
                && bookmark.as_millisecond() > until + DAY_MS
            {
                outlet.notice(
                    Level::Warn,
                    track.lane.name(),
                    "the bookmark lies in the future; if that is a mistake, remove it from the \
                     state to read the stream from start_date again",
                );
            }
            if track.moved {
                outlet.notice(
                    Level::Info,
                    track.lane.name(),
                    "start_date is earlier than before, so everything since then is read again",
                );
            }
            track.lane.begin(outlet, track.from)?;
        }
        while track.trouble.is_none() {
            let Some(walk) = track.walks.as_mut().and_then(VecDeque::front_mut) else { break };
            match walk.emit(&mut track.lane, outlet) {
                Ok(true) => {
                    if let Some(walks) = &mut track.walks {
                        walks.pop_front();
                    }
                }
                Ok(false) => return Ok(false),
                Err(Trouble::Run(error)) => return Err(error),
                Err(trouble) => track.stumble(0, trouble),
            }
        }
        if !track.is_done() {
            return Ok(false);
        }
        // A list says nothing about time; what was there when its reading began was read.
        if matches!(track.resource.reading, Reading::List { .. })
            && track.trouble.is_none()
            && track.lane.problems.is_empty()
            && let Some(now) = match self.client.likely_time() {
                Some(time) => Some(time),
                None if self.client.is_dateless() => Some(self.cx.clock.now()),
                None => None,
            }
        {
            let taken = track.planned.map_or(Duration::ZERO, |at| at.elapsed());
            let before = (taken + self.config.settle).as_millis() as i64;
            track.lane.verified(outlet, now.as_millisecond() - before)?;
        }
        let withdrawn = crew.withdraw(self.head);
        track.outstanding -= withdrawn;
        self.outstanding -= withdrawn;
        track.lane.close(outlet);
        let outcome = outcome(track);
        let (word, reason) = match &outcome.completeness {
            Completeness::Complete => ("complete", None),
            Completeness::Incomplete { reason } => ("incomplete", Some(reason.clone())),
            Completeness::Unreadable { reason } => ("unreadable", Some(reason.clone())),
            Completeness::Failed(error) => ("failed", Some(error.to_string())),
        };
        if word == "unreadable" {
            outlet.notice(Level::Warn, track.lane.name(), reason.clone().unwrap_or_default());
        }
        self.cx.log.event(Event::StreamEnded {
            stream: track.lane.name().clone(),
            outcome: word,
            reason,
        });
        self.outcomes.push(outcome);
        self.head += 1;
        Ok(true)
    }
}

fn outcome(track: &mut Track) -> StreamOutcome {
    let completeness = match track.trouble.take() {
        None if track.lane.problems.is_empty() => Completeness::Complete,
        None => Completeness::Incomplete { reason: track.lane.problems.join("; ") },
        Some(Trouble::Unreadable(error)) => {
            Completeness::Unreadable { reason: missing_role(track.resource, &error) }
        }
        Some(Trouble::Run(error) | Trouble::Stream(error) | Trouble::Absent(error)) => {
            Completeness::Failed(std::sync::Arc::new(error))
        }
    };
    StreamOutcome {
        stream: track.lane.name().clone(),
        completeness,
        reached: track.lane.bookmark(),
    }
}

/// Which role a stream wants, in a sentence.
pub(crate) fn missing_role(resource: &Resource, error: &Error) -> String {
    let search = match resource.reading {
        Reading::Search { .. } => format!(" and {}", streams::SEARCH_ROLES[0]),
        Reading::List { .. } => String::new(),
    };
    let role = resource.roles.first().copied().unwrap_or_default();
    format!("{} ({}): the key needs the role {role}{search}", error.message(), resource.name)
}
