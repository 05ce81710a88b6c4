//! One stream on its way to the output: its growing shape, its bookmark, what went wrong.

use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::record::Records;
use bobbin_core::report::{Event, Level};
use bobbin_core::schema::Schema;
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::{Context, Output};
use bobbin_core::{Error, Result};
use jiff::Timestamp;

use crate::book::{Admitted, Book};
use crate::bookmark;
use crate::page::PageData;
use crate::streams;

/// Where a lane's records and states go.
pub(crate) struct Outlet<'a> {
    /// The world.
    pub(crate) cx: Context<'a>,
    /// The output.
    pub(crate) out: &'a mut dyn Output,
    /// All bookmarks, as last sent.
    pub(crate) state: State,
    /// What is left out.
    pub(crate) selection: &'a Selection,
    /// Buffers to write lines to, for reuse.
    pub(crate) spare: &'a std::sync::Mutex<Vec<Vec<u8>>>,
}

impl Outlet<'_> {
    /// Says something worth a line.
    pub(crate) fn notice(&self, level: Level, stream: &StreamName, message: impl Into<String>) {
        self.cx.log.event(Event::Notice {
            level,
            stream: Some(stream.clone()),
            message: message.into(),
        });
    }
}

/// How many records of a page were new.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Not received before in this attempt at the window.
    pub(crate) attempt: u64,
    /// Not received before in any attempt that counts.
    pub(crate) union: u64,
}

/// One stream.
pub(crate) struct Lane {
    /// The stream with every field met so far.
    pub(crate) stream: Stream,
    /// Whether the output does not know the stream's present shape yet.
    unannounced: bool,
    /// Who was received.
    pub(crate) book: Book,
    /// The bookmark as of the last state, in milliseconds.
    reached: Option<i64>,
    /// The bookmark as the earlier run left it; it never moves back from there.
    before: Option<i64>,
    /// Nothing from here on counts as verified: something is missing.
    blocked: Option<i64>,
    /// What is missing, and where.
    pub(crate) problems: Vec<String>,
    /// Records without an `updatedAt`.
    undated: u64,
}

impl Lane {
    /// A lane for a stream that an earlier run left at `before`.
    pub(crate) fn new(stream: Stream, before: Option<Timestamp>) -> Self {
        let before = before.map(Timestamp::as_millisecond);
        Self {
            stream,
            unannounced: true,
            book: Book::default(),
            reached: before,
            before,
            blocked: None,
            problems: Vec::new(),
            undated: 0,
        }
    }

    /// The stream's name.
    pub(crate) fn name(&self) -> &StreamName {
        &self.stream.name
    }

    /// Takes in fields met for the first time.
    pub(crate) fn discover(&mut self, fields: Vec<(String, Schema)>) {
        for (path, schema) in fields {
            self.unannounced |= streams::grow(&mut self.stream, &path, schema);
        }
    }

    /// Sends the stream's shape if the output does not know it.
    pub(crate) fn announce(&mut self, outlet: &mut Outlet<'_>) -> Result<()> {
        if std::mem::take(&mut self.unannounced) {
            outlet.out.schema(&outlet.selection.prune(&self.stream))?;
        }
        Ok(())
    }

    /// Hands a page over, leaving out versions that were handed over before.
    pub(crate) fn hand_over(
        &mut self,
        outlet: &mut Outlet<'_>,
        page: PageData,
        window: u32,
        attempt: u32,
        base: u32,
    ) -> Result<Tally> {
        self.announce(outlet)?;
        let mut tally = Tally::default();
        let mut run = Run { start: 0, end: 0, count: 0 };
        let mut rejected = page.rejected.iter();
        let mut before = 0;
        let mut sent = 0_u64;
        let mut bytes = 0_u64;
        for row in &page.rows {
            let Admitted { in_attempt, in_union, emit } =
                self.book.admit(row, window, attempt, base);
            tally.attempt += u64::from(in_attempt);
            tally.union += u64::from(in_union);
            if row.rejected {
                if let Some(rejected) = rejected.next().filter(|_| emit) {
                    outlet.out.rejected(&self.stream.name, rejected)?;
                    outlet.cx.log.event(Event::SetAside {
                        stream: self.stream.name.clone(),
                        reason: rejected.reason.clone(),
                    });
                }
            } else if emit {
                self.undated += u64::from(row.updated == crate::page::NONE);
                if run.count > 0 && run.end != before {
                    run.send(outlet, &self.stream.name, &page)?;
                    run = Run { start: before, end: before, count: 0 };
                } else if run.count == 0 {
                    run.start = before;
                }
                run.end = row.end;
                run.count += 1;
                sent += 1;
                bytes += (row.end - before) as u64;
            }
            before = row.end;
        }
        run.send(outlet, &self.stream.name, &page)?;
        if sent > 0 {
            outlet.cx.log.event(Event::Extracted {
                stream: self.stream.name.clone(),
                records: sent,
                bytes,
            });
        }
        if let Ok(mut spare) = outlet.spare.lock()
            && spare.len() < 8
            && page.text.capacity() <= 4 << 20
        {
            spare.push(page.text);
        }
        Ok(tally)
    }

    /// The stream's extraction begins, reading from `from`.
    pub(crate) fn begin(&mut self, outlet: &mut Outlet<'_>, from: Option<i64>) -> Result<()> {
        self.announce(outlet)?;
        // Without a bookmark a later first sync would begin later and miss what lies between.
        if self.reached.is_none()
            && let Some(from) = from
        {
            self.reached = Some(from);
            bookmark::write_start(&mut outlet.state, &self.stream.name, instant(from)?);
        }
        self.send_state(outlet)
    }

    /// Something from `instant` on is missing.
    pub(crate) fn block(&mut self, instant: i64, problem: String) {
        self.blocked = Some(self.blocked.map_or(instant, |blocked| blocked.min(instant)));
        self.problem(problem);
    }

    /// Something is missing that no instant can be given for.
    pub(crate) fn problem(&mut self, problem: String) {
        if self.problems.len() < 20 {
            self.problems.push(problem);
        }
    }

    /// Everything up to and including `instant` is handed over and verified.
    pub(crate) fn verified(&mut self, outlet: &mut Outlet<'_>, instant: i64) -> Result<()> {
        let instant = self.blocked.map_or(instant, |blocked| instant.min(blocked));
        if self.reached.is_some_and(|reached| reached >= instant) {
            return Ok(());
        }
        self.reached = Some(instant);
        self.send_state(outlet)
    }

    fn send_state(&mut self, outlet: &mut Outlet<'_>) -> Result<()> {
        if let Some(reached) = self.reached
            && self.before != Some(reached)
        {
            outlet
                .state
                .bookmarks
                .insert(self.stream.name.clone(), bookmark::write(instant(reached)?));
        }
        outlet.out.state(&outlet.state)
    }

    /// The bookmark's instant.
    pub(crate) fn bookmark(&self) -> Option<Timestamp> {
        self.reached.and_then(|ms| Timestamp::from_millisecond(ms).ok())
    }

    /// Says what is odd about the stream as a whole.
    pub(crate) fn close(&self, outlet: &Outlet<'_>) {
        if self.undated > 0 {
            outlet.notice(
                Level::Warn,
                &self.stream.name,
                format!(
                    "{} records came without a readable updated_at and were kept",
                    self.undated
                ),
            );
        }
    }
}

/// Lines of a page that go to the output together.
struct Run {
    start: usize,
    end: usize,
    count: u64,
}

impl Run {
    fn send(&self, outlet: &mut Outlet<'_>, stream: &StreamName, page: &PageData) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let text = &page.text[self.start..self.end];
        let (count, extracted_at) = (self.count, page.at);
        outlet.out.records(stream, Records { text, count, extracted_at, version: None })
    }
}

/// An instant out of milliseconds.
pub(crate) fn instant(ms: i64) -> Result<Timestamp> {
    Timestamp::from_millisecond(ms)
        .map_err(|error| Error::bug("an instant is out of range").caused_by(error))
}
