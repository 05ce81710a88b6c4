//! Jobs that are looked at. The log of each is followed once, and what pages show of a running one is made
//! once a second, however many look: a further viewer costs what it takes to send it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use bobbin_core::Result;
use bobbin_core::id::{ConnectionId, JobId};
use bobbin_engine::Engine;
use bobbin_engine::job_reader::JobReader;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::api::Answer;
use crate::problem::Problem;

/// Viewers of running jobs at once. Each holds a connection that counts as none of those for requests
/// ([`crate::guests`]), and so takes no place from anybody who asks.
const MOST_VIEWERS: usize = 256;

/// Logs that are kept open, with what they come to.
const MOST_READERS: usize = 24;

/// How often what viewers see is made anew.
const PULSE: Duration = Duration::from_secs(1);

/// A job of a connection.
pub(crate) type Which = (ConnectionId, JobId);

/// A log that several look into.
pub(crate) type Shared = Arc<Mutex<JobReader>>;

/// What there is to send at one instant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse {
    /// Which it is, from 1; 0 before the first.
    pub(crate) number: u64,
    /// All of it, for whoever has missed something.
    pub(crate) whole: Bytes,
    /// What is new since the one before.
    pub(crate) news: Bytes,
}

/// What a page's parts are now: their names and texts.
pub(crate) struct Parts {
    /// Those that are told again to whoever comes new.
    pub(crate) lasting: Vec<(&'static str, String)>,
    /// Those that are told once, to whoever is there.
    pub(crate) passing: Vec<(&'static str, String)>,
    /// What ends them, once nothing more will come. Everybody is told it, also who has just come.
    pub(crate) end: Option<&'static str>,
}

/// The jobs that are looked at.
pub(crate) struct Live {
    /// The latest first.
    readers: Mutex<Vec<(Which, Shared)>>,
    watched: Mutex<HashMap<Which, Arc<watch::Sender<Pulse>>>>,
    viewers: Arc<Semaphore>,
    pulse: Duration,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            readers: Mutex::default(),
            watched: Mutex::default(),
            viewers: Arc::new(Semaphore::new(MOST_VIEWERS)),
            pulse: PULSE,
        }
    }
}

impl Live {
    /// The log of a job, opened if nobody looked into it for a while.
    ///
    /// # Errors
    /// Of kind `NotFound` when there is none.
    pub(crate) fn reader(&self, engine: &Engine, which: &Which) -> Result<Shared> {
        let mut readers = locked(&self.readers);
        let found = match readers.iter().position(|(known, _)| known == which) {
            Some(place) => readers.remove(place),
            None => {
                let reader = JobReader::open(engine.home(), &which.0, &which.1)?;
                (which.clone(), Arc::new(Mutex::new(reader)))
            }
        };
        let reader = Arc::clone(&found.1);
        readers.insert(0, found);
        readers.truncate(MOST_READERS);
        Ok(reader)
    }

    /// A viewer's seat.
    ///
    /// # Errors
    /// When none is free.
    pub(crate) fn seat(&self) -> Answer<OwnedSemaphorePermit> {
        Arc::clone(&self.viewers).try_acquire_owned().map_err(|_| {
            let detail = "too many look at running jobs; load the page again to see more";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(10)
        })
    }

    /// What viewers of a job are sent. It is made by `make` as long as there is one; an error ends it.
    pub(crate) fn watch(
        self: &Arc<Self>,
        which: &Which,
        make: impl Fn() -> Answer<Parts> + Send + Sync + 'static,
    ) -> watch::Receiver<Pulse> {
        let mut watched = locked(&self.watched);
        if let Some(sender) = watched.get(which) {
            return sender.subscribe();
        }
        let sender = Arc::new(watch::channel(Pulse::default()).0);
        let receiver = sender.subscribe();
        watched.insert(which.clone(), Arc::clone(&sender));
        drop(watched);
        tokio::spawn(Arc::clone(self).beat(which.clone(), sender, Arc::new(make)));
        receiver
    }

    async fn beat(
        self: Arc<Self>,
        which: Which,
        sender: Arc<watch::Sender<Pulse>>,
        make: Arc<impl Fn() -> Answer<Parts> + Send + Sync + 'static>,
    ) {
        let (mut number, mut before) = (0, HashMap::new());
        let mut clock = tokio::time::interval(self.pulse);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            if self.is_left(&which, &sender) {
                return;
            }
            let make = Arc::clone(&make);
            let Ok(Ok(parts)) = tokio::task::spawn_blocking(move || make()).await else { break };
            let (mut whole, mut news) = (String::new(), String::new());
            for (name, text) in parts.lasting {
                let event = event(name, &text);
                whole.push_str(&event);
                if before.get(name) != Some(&text) {
                    news.push_str(&event);
                    before.insert(name, text);
                }
            }
            for (name, text) in parts.passing {
                news.push_str(&event(name, &text));
            }
            if let Some(end) = parts.end {
                let end = event(end, end);
                whole.push_str(&end);
                news.push_str(&end);
            }
            number += 1;
            let (whole, news) = (Bytes::from(whole), Bytes::from(news));
            sender.send_replace(Pulse { number, whole, news });
            if parts.end.is_some() {
                break;
            }
        }
        locked(&self.watched).remove(&which);
    }

    /// Whether nobody looks any more; then nobody can come to it any more, either.
    fn is_left(&self, which: &Which, sender: &watch::Sender<Pulse>) -> bool {
        let mut watched = locked(&self.watched);
        let left = sender.receiver_count() == 0;
        if left {
            watched.remove(which);
        }
        left
    }
}

/// A text as a server-sent event.
fn event(name: &str, text: &str) -> String {
    let mut event = format!("event: {name}\n");
    for line in text.trim_end().split(['\n', '\r']) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event
}

pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// However many look, what they see is made once; and no more once they have left.
    #[tokio::test]
    async fn what_many_see_is_made_once() {
        let live = Arc::new(Live { pulse: Duration::from_millis(20), ..Live::default() });
        let which: Which = ("c".into(), "1".into());
        let made = Arc::new(AtomicUsize::new(0));
        let look = || {
            let made = Arc::clone(&made);
            live.watch(&which, move || {
                let n = made.fetch_add(1, Ordering::Relaxed);
                let lasting = vec![("same", "a\nb".to_owned()), ("other", n.to_string())];
                Ok(Parts { lasting, passing: vec![("log", format!("line {n}"))], end: None })
            })
        };
        let mut many: Vec<_> = (0..200).map(|_| look()).collect();
        for seen in &mut many {
            seen.wait_for(|pulse| pulse.number >= 3).await.unwrap();
        }
        let pulse = many[0].borrow().clone();
        let number = pulse.number;
        let count = made.load(Ordering::Relaxed) as u64;
        assert!(count == number || count == number + 1, "{count} for {number}");
        let other = format!("event: other\ndata: {}\n\n", number - 1);
        let log = format!("event: log\ndata: line {}\n\n", number - 1);
        assert_eq!(pulse.news, format!("{other}{log}"));
        assert_eq!(pulse.whole, format!("event: same\ndata: a\ndata: b\n\n{other}"));
        drop(many);
        let left = async {
            while !locked(&live.watched).is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), left).await.unwrap();
    }

    /// Whoever comes when it ends is told so, too.
    #[tokio::test]
    async fn the_end_is_told_to_who_has_just_come() {
        let live = Arc::new(Live { pulse: Duration::from_millis(1), ..Live::default() });
        let make = || {
            let lasting = vec![("head", "over".to_owned())];
            Ok(Parts { lasting, passing: vec![("log", "line".to_owned())], end: Some("ended") })
        };
        let mut seen = live.watch(&("c".into(), "1".into()), make);
        let pulse = seen.wait_for(|pulse| pulse.number > 0).await.unwrap().clone();
        let (head, end) = ("event: head\ndata: over\n\n", "event: ended\ndata: ended\n\n");
        assert_eq!(pulse.whole, format!("{head}{end}"));
        assert_eq!(pulse.news, format!("{head}event: log\ndata: line\n\n{end}"));
    }

    #[test]
    fn a_text_cannot_end_its_event() {
        assert_eq!(
            event("a", "x\r\n\nevent: b\n"),
            "event: a\ndata: x\ndata: \ndata: \ndata: event: b\n\n"
        );
    }
}
