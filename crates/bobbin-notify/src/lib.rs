//! Tells people and programs what happens: notices to webhooks, Slack and mailboxes, loads to
//! post-load hooks.
//!
//! What there is to tell, and whom it was told, is in the ledger: nothing is forgotten by a restart
//! and nothing is told twice to a channel that took it.

mod channel;
mod hook;
mod http;
mod mail;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::Clock;
use bobbin_core::{Error, Result};
use bobbin_engine::Engine;
use bobbin_engine::ledger::{Ledger, Notice, Telling};
use jiff::{SignedDuration, Timestamp};

pub use channel::{Channel, Means};
pub use hook::Hook;
pub use http::Target;
pub use mail::{Mail, MailTls};

/// Loads that a hook is sent in one turn, so that a slow one holds nobody up for ever.
const MOST_LOADS: u32 = 100;

/// How long the hooks have in one turn; an attempt that has begun by then is ended.
const MOST_TIME: Duration = Duration::from_secs(30);

/// What is good between turns.
pub const PAUSE: Duration = Duration::from_secs(2);

/// Tells channels and hooks what there is to tell.
pub struct Notifier {
    /// Whose ledger it is.
    pub engine: Engine,
    /// Who is told of notices.
    pub channels: Vec<Channel>,
    /// Who is told of loads.
    pub hooks: Vec<Hook>,
    /// The wait before a hook's first retry; doubled for each further one.
    pub retry_wait: Duration,
    /// The hook that is told first in the next turn.
    first: AtomicUsize,
    /// The channel that comes first in the next turn.
    first_channel: AtomicUsize,
    /// Whether the ledger has forgotten about other hooks.
    tidied: AtomicBool,
}

impl Notifier {
    /// A notifier for what `engine` writes down.
    pub fn new(engine: Engine, channels: Vec<Channel>, hooks: Vec<Hook>) -> Self {
        Self {
            engine,
            channels,
            hooks,
            retry_wait: Duration::from_secs(2),
            first: AtomicUsize::new(0),
            first_channel: AtomicUsize::new(0),
            tidied: AtomicBool::new(false),
        }
    }

    /// Whether there is nobody to tell. Its first [turn](Self::turn) is good for something also then.
    pub fn is_idle(&self) -> bool {
        self.channels.is_empty() && self.hooks.is_empty()
    }

    /// Has the hooks be told of every load from now on, also of those before the first [turn](Self::turn).
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn begin(&self) -> Result<()> {
        if self.hooks.is_empty() {
            return Ok(());
        }
        let ledger = self.engine.ledger()?;
        self.hooks.iter().try_for_each(|hook| ledger.begin_hook(&hook.name))
    }

    /// Tells what there is to tell now: channels first, so that no hook holds a notice up, and in a
    /// bounded time. What fails is tried again in a later turn. `failed` hears of what could not be told.
    pub fn turn(&self, clock: &dyn Clock, cancel: &Cancel, failed: &dyn Fn(&Error)) {
        let tidied = self.tidied.load(Ordering::Relaxed);
        if self.is_idle() && (tidied || !self.engine.has_ledger()) {
            return;
        }
        let ledger = match self.engine.ledger() {
            Ok(ledger) => ledger,
            Err(error) => return failed(&error),
        };
        if !tidied {
            match self.tidy(&*ledger, clock) {
                Ok(()) => self.tidied.store(true, Ordering::Relaxed),
                Err(error) => failed(&error),
            }
        }
        let since = Instant::now();
        let first = self.first_channel.load(Ordering::Relaxed);
        for n in 0..self.channels.len() {
            let at = (first + n) % self.channels.len();
            if let Err(error) = tell(&*ledger, &self.channels[at], clock, cancel, failed) {
                failed(&error);
            }
            if cancel.is_cancelled() || since.elapsed() >= MOST_TIME {
                // The others come first the next time.
                self.first_channel.store(at + 1, Ordering::Relaxed);
                break;
            }
        }
        let since = Instant::now();
        let first = self.first.load(Ordering::Relaxed);
        for n in 0..self.hooks.len() {
            let at = (first + n) % self.hooks.len();
            if let Err(error) = self.send(&*ledger, &self.hooks[at], clock, cancel, since) {
                failed(&error);
            }
            if cancel.is_cancelled() || since.elapsed() >= MOST_TIME {
                // The others come first the next time.
                self.first.store(at + 1, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Turns until no hook waits to be tried again, but not for longer than `within`: for a program that
    /// ends then. What is left is told in the next turn of whoever comes.
    pub fn finish(
        &self,
        clock: &dyn Clock,
        cancel: &Cancel,
        failed: &dyn Fn(&Error),
        within: Duration,
    ) {
        let until = Instant::now() + within;
        loop {
            self.turn(clock, cancel, failed);
            if self.hooks.is_empty() {
                return;
            }
            let next = match self.engine.ledger().and_then(|ledger| ledger.next_try()) {
                Ok(Some(next)) => next,
                Ok(None) => return,
                Err(error) => return failed(&error),
            };
            let wait = clock.real(next.duration_since(clock.now())).max(Duration::from_millis(10));
            if Instant::now() + wait >= until || cancel.sleep(wait).is_err() {
                return;
            }
        }
    }

    /// Makes the ledger forget hooks that are not there any more.
    fn tidy(&self, ledger: &dyn Ledger, clock: &dyn Clock) -> Result<()> {
        let hook = |name: &str| self.hooks.iter().find(|hook| hook.name == name);
        ledger.keep_hooks(
            &|name, connection| {
                hook(name).is_some_and(|hook| connection.is_none_or(|of| hook.takes(of)))
            },
            clock.now(),
        )
    }

    fn send(
        &self,
        ledger: &dyn Ledger,
        hook: &Hook,
        clock: &dyn Clock,
        cancel: &Cancel,
        since: Instant,
    ) -> Result<()> {
        for (id, connection, load) in ledger.unsent(&hook.name, MOST_LOADS, clock.now())? {
            if cancel.is_cancelled() || since.elapsed() >= MOST_TIME {
                return Ok(());
            }
            if !hook.takes(&connection) {
                ledger.sent(&hook.name, id)?;
                continue;
            }
            let Err(error) = hook.send(&connection, &load) else {
                ledger.sent(&hook.name, id)?;
                ledger.recover_hook(&connection, &hook.name, clock.now())?;
                continue;
            };
            let now = clock.now();
            if ledger.unsendable(&hook.name, id, self.retry_wait, now)? {
                let message = format!(
                    "the post-load hook `{}` could not be told of a load of {}",
                    hook.name, load.stream
                );
                ledger.raise_hook(&connection, &hook.name, &message, Some(&error.report()), now)?;
            }
            // It is not there now: its further loads wait, too.
            return Ok(());
        }
        Ok(())
    }
}

fn tell(
    ledger: &dyn Ledger,
    channel: &Channel,
    clock: &dyn Clock,
    cancel: &Cancel,
    failed: &dyn Fn(&Error),
) -> Result<()> {
    for (notice, telling) in ledger.untold(&channel.name, clock.now())? {
        if cancel.is_cancelled() {
            return Ok(());
        }
        if !is_due(channel, &notice, telling, clock.now()) {
            continue;
        }
        let result = channel.tell(&notice, telling);
        let error = result.as_ref().err().map(Error::report);
        ledger.told(&channel.name, &notice, telling, error.as_deref(), clock.now())?;
        if let Err(error) = result {
            failed(&error.wrap(format!("the channel `{}` could not be told", channel.name)));
            // It is not there now: others are told before it gets its further notices.
            return Ok(());
        }
    }
    Ok(())
}

fn is_due(channel: &Channel, notice: &Notice, telling: Telling, now: Timestamp) -> bool {
    if telling == Telling::Recovered {
        return true;
    }
    if !channel.wants(notice.kind) {
        return false;
    }
    let delay = SignedDuration::try_from(channel.delay(notice.kind)).unwrap_or(SignedDuration::MAX);
    notice.raised_at.checked_add(delay).is_ok_and(|due| due <= now)
}
