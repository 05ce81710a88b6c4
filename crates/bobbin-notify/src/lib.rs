//! Tells people and programs what happens: notices to webhooks, Slack and mailboxes, loads to
//! post-load hooks.
//!
//! What there is to tell, and whom it was told, is in the ledger: nothing is forgotten by a restart
//! and nothing is told twice to a channel that took it.

mod channel;
mod hook;
mod http;
mod mail;

use std::time::Duration;

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::Clock;
use bobbin_core::id::ConnectionId;
use bobbin_core::{Error, Result};
use bobbin_engine::Engine;
use bobbin_engine::ledger::{Ledger, Load, Notice, NoticeKind, Telling};
use jiff::{SignedDuration, Timestamp};

pub use channel::{Channel, Means};
pub use hook::Hook;
pub use http::Target;
pub use mail::{Mail, MailTls};

/// Loads that a hook is sent in one turn, so that a slow one holds nobody up for ever.
const MOST_LOADS: u32 = 100;

/// How often a post-load hook is tried again (`stitch-behaviour.md` 9.3).
const RETRIES: u32 = 5;

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
}

impl Notifier {
    /// A notifier for what `engine` writes down.
    pub fn new(engine: Engine, channels: Vec<Channel>, hooks: Vec<Hook>) -> Self {
        Self { engine, channels, hooks, retry_wait: Duration::from_secs(2) }
    }

    /// Whether there is nobody to tell.
    pub fn is_idle(&self) -> bool {
        self.channels.is_empty() && self.hooks.is_empty()
    }

    /// Tells what there is to tell now. `failed` hears of what could not be told.
    pub fn turn(&self, clock: &dyn Clock, cancel: &Cancel, failed: &dyn Fn(&Error)) {
        if self.is_idle() {
            return;
        }
        let ledger = match self.engine.ledger() {
            Ok(ledger) => ledger,
            Err(error) => return failed(&error),
        };
        for channel in &self.channels {
            if let Err(error) = tell(&ledger, channel, clock, cancel, failed) {
                failed(&error);
            }
        }
        for hook in &self.hooks {
            if let Err(error) = self.send(&ledger, hook, clock, cancel) {
                failed(&error);
            }
        }
    }

    fn send(&self, ledger: &Ledger, hook: &Hook, clock: &dyn Clock, cancel: &Cancel) -> Result<()> {
        for (id, connection, load) in ledger.unsent(&hook.name, MOST_LOADS)? {
            if cancel.is_cancelled() {
                return Ok(());
            }
            if hook.takes(&connection) {
                match self.try_to_send(hook, &connection, &load, cancel) {
                    Ok(()) => ledger.recover(&connection, NoticeKind::Hook, clock.now())?,
                    // It is sent again after the next start.
                    Err(_) if cancel.is_cancelled() => return Ok(()),
                    Err(error) => {
                        let message = format!(
                            "the post-load hook `{}` could not be told of a load of {}",
                            hook.name, load.stream
                        );
                        let detail = error.report();
                        let kind = NoticeKind::Hook;
                        ledger.raise(&connection, kind, &message, Some(&detail), clock.now())?;
                        // It is not there now: others are not kept waiting for its further loads.
                        return ledger.sent(&hook.name, id);
                    }
                }
            }
            ledger.sent(&hook.name, id)?;
        }
        Ok(())
    }

    fn try_to_send(
        &self,
        hook: &Hook,
        connection: &ConnectionId,
        load: &Load,
        cancel: &Cancel,
    ) -> Result<()> {
        let mut wait = self.retry_wait;
        let mut retries = 0;
        loop {
            let error = match hook.send(connection, load) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if retries == RETRIES {
                return Err(error);
            }
            retries += 1;
            cancel.sleep(wait)?;
            wait *= 2;
        }
    }
}

fn tell(
    ledger: &Ledger,
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
