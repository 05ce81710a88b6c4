//! An inbox as a source: what waits goes to the output, in the order it was taken.

mod send;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bobbin_core::id::StreamName;
use bobbin_core::report::{Event, Level};
use bobbin_core::state::State;
use bobbin_core::tap::{
    Check, Completeness, Context, Discovery, Output, StreamOutcome, SyncRequest, Tap,
};
use bobbin_core::{Error, Result};
use bobbin_engine::{sealed, vault};
use jiff::Timestamp;

use crate::inbox::{self, Content, Fault, History, Named, Place, Position, Tables};
use send::Sender;

/// Bytes of text after which what was read is sent, and requests. A state follows each time. Requests are
/// often small and of many tables; sent one by one, each would be a transaction of its destination.
const GROUP_BYTES: usize = 32 << 20;
const GROUP_REQUESTS: usize = 4_096;

/// An inbox as a [`Tap`].
///
/// Its state is the position in the inbox, a note; there are no bookmarks, because what was loaded is
/// deleted and cannot be read again.
#[derive(Clone, Debug)]
pub struct ImportTap {
    place: Place,
    home: PathBuf,
}

impl ImportTap {
    /// The inbox in this directory, which need not be there yet. What is sealed in it opens with the key of
    /// `home`.
    pub fn new(directory: impl Into<PathBuf>, home: impl Into<PathBuf>) -> Self {
        Self { place: Place::new(&directory.into()), home: home.into() }
    }
}

impl Tap for ImportTap {
    fn name(&self) -> &'static str {
        "import"
    }

    fn check(&self, _cx: &Context<'_>) -> Result<Check> {
        let waiting = inbox::waiting(&self.place, &State::default())?;
        let mut facts = vec![
            ("inbox".to_owned(), self.place.root().display().to_string()),
            (
                "waiting".to_owned(),
                format!(
                    "{}, {}, {}",
                    counted(waiting.requests, "request"),
                    counted(waiting.rows, "record"),
                    counted(waiting.bytes, "byte")
                ),
            ),
        ];
        if let Some(oldest) = waiting.oldest {
            facts.push(("oldest".to_owned(), format!("{oldest:.0}")));
        }
        if waiting.damaged > 0 {
            facts.push(("damaged".to_owned(), counted(waiting.damaged, "request")));
        }
        let streams = Tables::read(&self.place)?.catalog().streams;
        Ok(Check { facts, streams: streams.into_iter().map(|s| (s.name, None)).collect() })
    }

    fn discover(&self, _cx: &Context<'_>) -> Result<Discovery> {
        let catalog = Tables::read(&self.place)?.catalog();
        Ok(Discovery { catalog, unreadable: Vec::new() })
    }

    fn sync(
        &self,
        cx: &Context<'_>,
        request: &SyncRequest<'_>,
        out: &mut dyn Output,
    ) -> Result<Vec<StreamOutcome>> {
        inbox::release(&self.place, request.state)?;
        let files = self.place.settled()?;
        // Read after the list: each file's series is in it, and each table.
        let history = History::read(&self.place)?;
        let tables = Tables::read(&self.place)?;
        let at = Position::of(request.state);
        let mut run = Run {
            cx: *cx,
            place: &self.place,
            home: &self.home,
            history: &history,
            state: request.state.clone(),
            sender: Sender::new(*cx, request.selection, &tables),
            lacking: Lacking::default(),
            reached: None,
            committed: false,
            waiting: &files,
            key_fits: None,
        };
        let covered = history.covered(at.as_ref()).unwrap_or(0);
        let gap = run.look_back(at.as_ref(), covered)?;
        let mut group = Group::default();
        for file in files.iter().filter(|file| file.number > covered) {
            run.read(file, &mut group)?;
            if group.bytes >= GROUP_BYTES || group.last - group.first >= GROUP_REQUESTS as u64 {
                run.send(&mut group, out)?;
            }
        }
        run.send(&mut group, out)?;
        if let Some(number) = gap.filter(|_| !run.committed) {
            // So that the next run does not tell the same.
            run.commit(number, out)?;
        }
        Ok(run.outcomes(request))
    }
}

/// Requests that were read and not sent.
#[derive(Default)]
struct Group {
    requests: Vec<Content>,
    bytes: usize,
    /// The numbers it spans, with those that were set aside; 0 when there are none.
    first: u64,
    last: u64,
}

/// What cannot be had.
#[derive(Default)]
struct Lacking {
    /// Of all tables.
    all: Option<String>,
    /// Of these.
    tables: Vec<(StreamName, String)>,
}

struct Run<'a> {
    cx: Context<'a>,
    place: &'a Place,
    home: &'a Path,
    history: &'a History,
    state: State,
    sender: Sender<'a>,
    lacking: Lacking,
    /// When the last request came that was sent.
    reached: Option<Timestamp>,
    /// Whether a state was sent.
    committed: bool,
    /// What waited when the run began.
    waiting: &'a [Named],
    /// Whether the key opens any of it, once that was asked.
    key_fits: Option<bool>,
}

impl Run<'_> {
    fn tell(&self, level: Level, stream: Option<StreamName>, message: String) {
        self.cx.log.event(Event::Notice { level, stream, message });
    }

    /// Tells what is not there any more. Gives the number up to which requests were deleted though this
    /// destination does not have them: it is an older copy, another one, or was reset.
    fn look_back(&mut self, at: Option<&Position>, covered: u64) -> Result<Option<u64>> {
        let damaged = self.place.set_aside()?.len() as u64;
        if damaged > 0 {
            let message = format!(
                "{} could not be read and was set aside in {}; have its client send it again, and delete it",
                counted(damaged, "request"),
                self.place.damaged().display()
            );
            self.tell(Level::Warn, None, message);
        }
        let released = inbox::released(self.place)?;
        if released <= covered {
            if at.is_some() && covered == 0 {
                self.tell(Level::Warn, None, "the destination has what came through another inbox; all that waits in this one is loaded".to_owned());
            }
            return Ok(None);
        }
        let reason = format!(
            "what came in {} up to number {released} was loaded before and is deleted, and this destination does not have it (a new or restored one, or a reset); have the clients send it again",
            counted(released - covered, "request")
        );
        self.tell(Level::Error, None, reason.clone());
        self.lacking.all = Some(reason);
        Ok(Some(released))
    }

    /// Reads a request into the group; one that is damaged is set aside.
    fn read(&mut self, file: &Named, group: &mut Group) -> Result<()> {
        self.cx.cancel.check()?;
        match Content::read(&file.path, self.home) {
            Ok(content) => {
                group.bytes += content.size();
                group.requests.push(content);
            }
            Err(Fault::Failed(error)) => return Err(error),
            Err(Fault::Damaged(what, tables)) => {
                self.with_the_right_key(file)?;
                self.set_aside(file, &what, tables)?;
            }
        }
        if group.first == 0 {
            group.first = file.number;
        }
        group.last = file.number;
        Ok(())
    }

    /// Fails where a file's seal does not open, nor that of any other that waits: then it is the key that is
    /// wrong, and not they.
    fn with_the_right_key(&mut self, file: &Named) -> Result<()> {
        if sealed::opens(&file.path, self.home).ok().flatten() != Some(false) {
            return Ok(());
        }
        let fits = *self.key_fits.get_or_insert_with(|| {
            let mut others = self.waiting.iter().map(|file| sealed::opens(&file.path, self.home));
            others.any(|opens| matches!(opens, Ok(Some(true))))
        });
        if fits {
            return Ok(());
        }
        Err(Error::config("the key of what is stored does not open what was pushed and waits")
            .with("path", file.path.display())
            .hint(format!(
                "put the right key back (the file store-key, or {}); nothing was touched. If it is \
                 lost, move the files away and have their clients send them again",
                vault::VARIABLE
            )))
    }

    /// A request that cannot be read is put out of the way, so that the others are not held up, and
    /// told: what its client was promised is not kept.
    fn set_aside(&mut self, file: &Named, what: &str, tables: Vec<StreamName>) -> Result<()> {
        // Told first: should the process end in between, it is told again rather than never.
        let came = file.received;
        let rows = counted(file.rows, "record");
        let told = format!("request {} of {came:.0} with {rows}", file.number);
        let aside = self.place.damaged();
        self.tell(
            Level::Error,
            None,
            format!(
                "{told} is damaged ({what}) and is set aside in {}; have its client send it again",
                aside.display()
            ),
        );
        self.place.put_aside(file)?;
        let reason = format!("{told} is damaged and was set aside; have its client send it again");
        if tables.is_empty() {
            self.lacking.all.get_or_insert(reason);
        } else {
            self.lacking.tables.extend(tables.into_iter().map(|table| (table, reason.clone())));
        }
        Ok(())
    }

    fn send(&mut self, group: &mut Group, out: &mut dyn Output) -> Result<()> {
        let Group { requests, first, last, .. } = std::mem::take(group);
        if first == 0 {
            return Ok(());
        }
        self.sender.send(&requests, out)?;
        if let Some(request) = requests.last() {
            self.reached = Some(request.received);
        }
        self.commit(last, out)
    }

    /// Says that everything up to a number was sent.
    fn commit(&mut self, number: u64, out: &mut dyn Output) -> Result<()> {
        let Some(position) = self.history.position(number) else { return Ok(()) };
        position.note(&mut self.state);
        self.committed = true;
        out.state(&self.state)
    }

    fn outcomes(&mut self, request: &SyncRequest<'_>) -> Vec<StreamOutcome> {
        let mut streams = std::mem::take(&mut self.sender.started);
        let chosen = |stream: &StreamName| request.selection.contains(stream);
        let mut there: BTreeSet<StreamName> = streams.iter().cloned().collect();
        let lacking = self.lacking.tables.iter().map(|(stream, _)| stream);
        let others = request.catalog.streams.iter().map(|stream| &stream.name).chain(lacking);
        for stream in others.filter(|stream| chosen(stream)) {
            if there.insert(stream.clone()) {
                streams.push(stream.clone());
            }
        }
        streams.into_iter().map(|stream| self.outcome(stream)).collect()
    }

    fn outcome(&self, stream: StreamName) -> StreamOutcome {
        let of_it = self.lacking.tables.iter().find(|(table, _)| *table == stream);
        let reason = of_it.map(|(_, reason)| reason).or(self.lacking.all.as_ref());
        let outcome = if reason.is_some() { "incomplete" } else { "complete" };
        self.cx.log.event(Event::StreamEnded {
            stream: stream.clone(),
            outcome,
            reason: reason.cloned(),
        });
        let completeness = match reason.cloned() {
            Some(reason) => Completeness::Incomplete { reason },
            None => Completeness::Complete,
        };
        StreamOutcome { stream, completeness, reached: self.reached }
    }
}

/// A number of things.
fn counted(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
