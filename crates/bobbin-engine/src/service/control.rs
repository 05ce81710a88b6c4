//! Asking a running service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use bobbin_core::id::{ConnectionId, JobId};
use bobbin_core::schedule::Schedule;
use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;

use super::{Ended, Scheduled};
use crate::ledger::Trigger;

/// What the deciding thread hears.
pub(super) enum Message {
    Ended(Box<Ended>),
    Asked(Asked),
}

/// A question, until somebody takes it up or its asker gives it up: one of the two, and only one.
pub(super) struct Asked {
    question: Question,
    settled: Arc<AtomicBool>,
}

impl Asked {
    /// The question, unless nobody waits for the answer any more.
    pub(super) fn take(self) -> Option<Question> {
        (!self.settled.swap(true, Ordering::SeqCst)).then_some(self.question)
    }
}

/// What somebody asks of a running service, and where the answer goes.
pub(super) enum Question {
    Run(ConnectionId, Sender<Result<JobId>>),
    Stop(ConnectionId, Sender<Result<()>>),
    Pause(ConnectionId, bool, Sender<Result<()>>),
    Apply(Vec<Scheduled>, Vec<ConnectionId>, Sender<Result<()>>),
    Look(Sender<Vec<Seen>>),
}

/// A connection as the service sees it now.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which.
    pub connection: ConnectionId,
    /// The rule of its schedule.
    pub schedule: Schedule,
    /// When its next job is due; none while it is paused.
    pub next: Option<Timestamp>,
    /// Whether somebody paused it.
    pub paused: bool,
    /// Since when a job of it is running.
    pub running_since: Option<Timestamp>,
    /// Whether a job of it waits for its turn.
    pub waiting: bool,
    /// Why the job is that waits or runs.
    pub trigger: Option<Trigger>,
}

/// Asks a running service; clones ask the same one. A service that has ended refuses everything.
#[derive(Clone)]
pub struct Control {
    messages: Sender<Message>,
    pub(super) patience: Duration,
}

/// Where a service hears what is asked.
pub struct Inbox {
    pub(super) messages: Sender<Message>,
    pub(super) heard: Receiver<Message>,
}

/// The two ends.
pub fn control() -> (Control, Inbox) {
    let (messages, heard) = channel();
    (Control { messages: messages.clone(), patience: ANSWER }, Inbox { messages, heard })
}

/// How long an answer may take; the deciding thread never waits for anything long.
const ANSWER: Duration = Duration::from_secs(10);

impl Control {
    /// Starts a job now, paused or not (F-27); gives what it is called.
    ///
    /// # Errors
    /// Of kind `Conflict` while one is running or waiting (F-26), `NotFound` for a connection there is
    /// not.
    pub fn run(&self, connection: &ConnectionId) -> Result<JobId> {
        self.ask(|answer| Question::Run(connection.clone(), answer))?
    }

    /// Ends the running job in order: what was extracted is loaded (F-28). One that waits for its turn is
    /// taken back.
    ///
    /// # Errors
    /// Of kind `Conflict` when there is none.
    pub fn stop(&self, connection: &ConnectionId) -> Result<()> {
        self.ask(|answer| Question::Stop(connection.clone(), answer))?
    }

    /// Pauses the schedule, or goes on with it from now (F-08). What runs is left alone, as is a job that
    /// somebody asked for and that waits for its turn; a slot whose job waits is skipped.
    pub fn pause(&self, connection: &ConnectionId, paused: bool) -> Result<()> {
        self.ask(|answer| Question::Pause(connection.clone(), paused, answer))?
    }

    /// Schedules a connection from now on, in place of what was said of it before. What runs is left
    /// alone, and a pause stays.
    pub fn declare(&self, scheduled: Scheduled) -> Result<()> {
        self.apply(vec![scheduled], Vec::new())
    }

    /// Schedules a connection no more. A job of it that runs goes on to its end.
    pub fn withdraw(&self, connection: &ConnectionId) -> Result<()> {
        self.apply(Vec::new(), vec![connection.clone()])
    }

    /// [Declares](Self::declare) some connections and [withdraws](Self::withdraw) others at once.
    ///
    /// # Errors
    /// When the ledger cannot be written: then everything stays as it was.
    pub fn apply(&self, declared: Vec<Scheduled>, withdrawn: Vec<ConnectionId>) -> Result<()> {
        self.ask(|answer| Question::Apply(declared, withdrawn, answer))?
    }

    /// All connections.
    pub fn look(&self) -> Result<Vec<Seen>> {
        self.ask(Question::Look)
    }

    /// An error means that nothing was done and nothing will be.
    fn ask<T>(&self, question: impl FnOnce(Sender<T>) -> Question) -> Result<T> {
        let gone = || Error::new(ErrorKind::Unavailable, "the service is stopping");
        let (answer, answered) = channel();
        let settled = Arc::new(AtomicBool::new(false));
        let asked = Asked { question: question(answer), settled: Arc::clone(&settled) };
        self.messages.send(Message::Asked(asked)).map_err(|_| gone())?;
        match answered.recv_timeout(self.patience) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
            // It was taken up a moment ago.
            Err(RecvTimeoutError::Timeout) if settled.swap(true, Ordering::SeqCst) => {
                answered.recv().map_err(|_| gone())
            }
            Err(RecvTimeoutError::Timeout) => Err(Error::new(
                ErrorKind::Timeout,
                "the service is busy and did not answer in time; what was asked is not done",
            )
            .hint("ask again")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    /// Whoever was told that nothing happened is right.
    #[test]
    fn a_question_is_carried_out_or_given_up_and_not_both() {
        let (mut control, inbox) = control();
        control.patience = Duration::from_millis(20);
        let connection = "kustomer".into();
        let error = control.run(&connection).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.report().contains("is not done"), "{error:?}");
        let taken = |message| match message {
            Message::Asked(asked) => asked.take(),
            Message::Ended(_) => None,
        };
        assert!(taken(inbox.heard.recv().unwrap()).is_none(), "its asker has gone");

        // Taken up in time, it is waited for.
        control.patience = Duration::from_secs(1);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let question = taken(inbox.heard.recv().unwrap());
                std::thread::sleep(Duration::from_millis(1300));
                if let Some(Question::Run(_, answer)) = question {
                    answer.send(Ok("job".into())).unwrap();
                }
            });
            control.run(&connection).unwrap();
        });
        let error = control.run(&connection).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
}
