//! One client for all calls: sends, reads, judges, repeats.
//!
//! A call ends in what its reader made of a good answer, or in a [`Failure`] that says whether to
//! ask for less, to go without, or to stop. Everything here only reads, so that repeating is
//! always safe.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bobbin_core::id::StreamName;
use bobbin_core::report::Event;
use bobbin_core::secret::Secret;
use bobbin_core::tap::Context;
use bobbin_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use serde_json::Value;

use super::desk::{Desk, Seat};
use super::pace::{self, Bucket, Pace, RateHeaders, until_reset};
use super::refusal::{self, Meaning};
use super::retry::{self, RetryBudget};
use crate::config::{Config, Limits};

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The body of a POST; a GET without.
    pub body: Option<String>,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// Which budget it draws on.
    pub bucket: Bucket,
    /// The stream it is for.
    pub stream: Option<StreamName>,
    /// Whether the caller can ask for less when an answer is too large or too slow.
    pub divisible: bool,
}

/// A good answer's body, to be read.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The body.
    pub bytes: &'a [u8],
    /// When it was here.
    pub at: Timestamp,
    /// How many answers to this call were flawed before this one.
    pub flawed: u32,
    /// Whether an answer to this call held bytes that are not UTF-8 before.
    pub lossy: bool,
}

/// Why an answer with status 200 cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// It did not arrive whole.
    Transport(String),
    /// It is not what the interface promises.
    Contract(String),
    /// It holds bytes that are not UTF-8.
    Encoding,
}

/// How a call failed for good.
#[derive(Debug)]
pub enum Failure {
    /// The API refuses this call (a status in 400..500 that is not worth repeating).
    Refused {
        /// The status.
        status: u16,
        /// The whole story.
        error: Error,
    },
    /// The answer is too large or comes too slowly: ask for less.
    TooMuch(Error),
    /// Repeated in vain.
    GaveUp(Error),
    /// Nothing else will work either: a bad key, or a wish to stop.
    Stop(Error),
}

impl Failure {
    /// The story alone.
    pub fn into_error(self) -> Error {
        match self {
            Self::Refused { error, .. }
            | Self::TooMuch(error)
            | Self::GaveUp(error)
            | Self::Stop(error) => error,
        }
    }
}

/// What a plain GET found.
#[derive(Clone, PartialEq, Debug)]
pub enum Got {
    /// The document.
    Json(Value),
    /// It may not be read (403) or is not there (404), or the API refuses the question (another
    /// status below 500).
    Refused(u16),
}

/// The user behind the key; every key may read it.
const CURRENT: &str = "/v1/users/current";

/// The server's clock as seen in its answers' `Date`.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The server's clock less ours since we began, in milliseconds: the least seen, so that one
    /// answer with a date that is ahead does no harm.
    offset: Option<i64>,
    /// The first date, and when it came.
    first: Option<(i64, i64)>,
    /// Answers with a date.
    dated: u32,
    /// Answers without.
    undated: u32,
    /// Last good answer.
    success: Option<Instant>,
}

/// The client. Shared by all threads.
pub struct Client {
    agent: ureq::Agent,
    base: String,
    host: String,
    authorization: Secret,
    limits: Limits,
    pace: Pace,
    budget: RetryBudget,
    seen: Mutex<Seen>,
    began: Instant,
    /// Nobody waits for answers any more.
    abandoned: AtomicBool,
    organization: OnceLock<String>,
    /// Where bodies are read.
    desk: Desk,
}

/// One attempt's outcome.
enum Attempt<T> {
    Done(T),
    Again { error: Error, slow: bool, held: bool },
    Refused { status: u16, error: Error },
    TooMuch(Error),
    Stop(Error),
}

impl Client {
    /// A client for the API the settings point at.
    pub fn new(config: &Config) -> Self {
        let limits = config.limits.clone();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_per_read(Some(limits.read))
            .timeout_recv_response(Some(limits.read))
            .timeout_recv_body(Some(limits.body))
            .max_idle_connections(config.max_in_flight * 2)
            .max_idle_connections_per_host(config.max_in_flight * 2)
            .max_redirects(0)
            .user_agent(config.user_agent.as_str())
            .accept("application/json")
            .build()
            .new_agent();
        let base = config.base_url.clone();
        let host = base.split_once("://").map_or(base.as_str(), |(_, host)| host).to_owned();
        Self {
            agent,
            base,
            host,
            authorization: Secret::new(format!("Bearer {}", config.api_token.reveal())),
            pace: Pace::new(&config.rate),
            budget: RetryBudget::new(&limits),
            limits,
            seen: Mutex::new(Seen::default()),
            began: Instant::now(),
            abandoned: AtomicBool::new(false),
            organization: OnceLock::new(),
            desk: Desk::new(),
        }
    }

    /// The same client, its connections, budgets and the server's time, with the patience and the
    /// retries of a new run.
    pub fn renewed(self, limits: &Limits) -> Self {
        Self { budget: RetryBudget::new(limits), limits: limits.clone(), ..self }
    }

    /// The budgets.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The host, for messages.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The server's present time, by the `Date` of its answers; `None` while it is not known. A
    /// date that is far from this machine's is believed once three answers bear it out.
    pub fn server_time(&self) -> Option<Timestamp> {
        let seen = *self.lock();
        let time = Timestamp::from_millisecond(seen.offset? + self.since_start()).ok()?;
        let far =
            Timestamp::now().duration_since(time).abs() > jiff::SignedDuration::from_secs(120);
        (!far || seen.dated >= 3).then_some(time)
    }

    /// The server's present time as far as it can be told, be it by one answer alone.
    pub fn likely_time(&self) -> Option<Timestamp> {
        let offset = self.lock().offset?;
        Timestamp::from_millisecond(offset + self.since_start()).ok()
    }

    /// Whether answers come without a `Date`.
    pub fn is_dateless(&self) -> bool {
        let seen = *self.lock();
        seen.dated == 0 && seen.undated > 0
    }

    fn since_start(&self) -> i64 {
        self.began.elapsed().as_millis() as i64
    }

    /// Makes calls that are under way end soon: their answers are not wanted any more.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Sleeps, or fails when nobody waits any more.
    fn rest(&self, cx: &Context<'_>, duration: Duration) -> Result<()> {
        let until = Instant::now() + duration;
        loop {
            if self.abandoned.load(Ordering::Relaxed) {
                return Err(Error::cancelled());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return cx.cancel.check();
            }
            cx.cancel.sleep(left.min(Duration::from_millis(100)))?;
        }
    }

    /// When an answer could last be used.
    pub fn last_success(&self) -> Option<Instant> {
        self.lock().success
    }

    /// Repetitions so far.
    pub fn repeats(&self) -> u64 {
        self.budget.repeats()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks who the key is, to learn whether it is good, the time and the organisation. What it
    /// answers may be anything.
    ///
    /// # Errors
    /// When the key is bad, on a stop, or when repetitions ran out.
    pub fn ask_who(&self, cx: &Context<'_>) -> Result<()> {
        let organization = |answer: &Answer<'_>| {
            let answer: Option<Value> = serde_json::from_slice(answer.bytes).ok();
            let id = answer.as_ref().and_then(|answer| {
                answer.pointer("/data/relationships/org/data/id").and_then(Value::as_str)
            });
            Ok(id.map(str::to_owned))
        };
        match self.call(cx, &Self::get(CURRENT), false, organization) {
            Ok(Some(id)) => {
                let _ = self.organization.set(id);
                Ok(())
            }
            Ok(None) | Err(Failure::Refused { .. }) => Ok(()),
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// The id of the key's organisation, as far as [`Client::ask_who`] learnt it.
    pub fn organization(&self) -> Option<&str> {
        self.organization.get().map(String::as_str)
    }

    fn get(path: &str) -> Call {
        Call {
            body: None,
            path: path.to_owned(),
            bucket: Bucket::Organization,
            stream: None,
            divisible: false,
        }
    }

    /// GETs a small document.
    ///
    /// # Errors
    /// When the key is bad, on a stop, or when repetitions ran out.
    pub fn get_json(&self, cx: &Context<'_>, path: &str) -> Result<Got> {
        let call = Self::get(path);
        let read = |answer: &Answer<'_>| {
            let (text, _) = super::pages::decode_lossy(answer.bytes);
            serde_json::from_str::<Value>(super::pages::without_mark(&text))
                .map_err(|_| Flaw::Transport("the answer is not complete JSON".to_owned()))
                .and_then(|value| match value.get("errors") {
                    Some(Value::Array(errors)) if !errors.is_empty() => {
                        Err(Flaw::Contract("the answer holds errors".to_owned()))
                    }
                    _ => Ok(value),
                })
        };
        match self.call(cx, &call, false, read) {
            Ok(value) => Ok(Got::Json(value)),
            Err(Failure::Refused { status, .. }) => Ok(Got::Refused(status)),
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// Makes a call until an answer can be read or hope is gone. `paced` tells that its place in
    /// the budgets was taken already.
    ///
    /// # Errors
    /// A [`Failure`]; see there.
    pub fn call<T>(
        &self,
        cx: &Context<'_>,
        call: &Call,
        paced: bool,
        mut read: impl FnMut(&Answer<'_>) -> Result<T, Flaw>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let mut taken = paced;
        let mut attempts = 0;
        let mut flawed = 0;
        let mut lossy = false;
        let mut slow = 0;
        self.budget.call();
        loop {
            if !taken {
                self.pace
                    .take(call.bucket, |duration| self.rest(cx, duration))
                    .map_err(Failure::Stop)?;
            }
            taken = false;
            attempts += 1;
            let attempt = self.attempt(cx, call, flawed, lossy, &mut read, &mut |flaw| {
                flawed += 1;
                lossy |= *flaw == Flaw::Encoding;
            });
            let (error, held) = match attempt {
                Attempt::Done(value) => return Ok(value),
                Attempt::Refused { status, error } => {
                    return Err(Failure::Refused { status, error });
                }
                Attempt::Stop(error) => return Err(Failure::Stop(error)),
                Attempt::TooMuch(error) if call.divisible => return Err(Failure::TooMuch(error)),
                Attempt::TooMuch(error) => return Err(Failure::GaveUp(error)),
                Attempt::Again { error, slow: was_slow, held } => {
                    slow = if was_slow { slow + 1 } else { 0 };
                    if slow >= 2 && call.divisible {
                        return Err(Failure::TooMuch(error));
                    }
                    (error, held)
                }
            };
            let late = began.elapsed() > self.limits.deadline;
            // Being held back by the rate limit is no failure, but it has an end too.
            let spent = !held && (attempts >= self.limits.attempts || !self.budget.repeat());
            if late || spent {
                let error = if held { pace::refused_for_long() } else { error };
                return Err(Failure::GaveUp(
                    error.with("call", label(call)).with("attempts", attempts),
                ));
            }
            if !held {
                self.rest(cx, retry::pause(&self.limits, attempts, retry::chance()))
                    .map_err(Failure::Stop)?;
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the one place where a call meets the wire")]
    fn attempt<T>(
        &self,
        cx: &Context<'_>,
        call: &Call,
        flawed: u32,
        lossy: bool,
        read: &mut impl FnMut(&Answer<'_>) -> Result<T, Flaw>,
        note: &mut impl FnMut(&Flaw),
    ) -> Attempt<T> {
        if let Err(error) = cx.cancel.check() {
            self.pace.lost();
            return Attempt::Stop(error);
        }
        let sent = Instant::now();
        let answered = self.send(call);
        let duration = sent.elapsed();
        let report = |status: Option<u16>, usable: bool| {
            cx.log.event(Event::Call {
                stream: call.stream.clone(),
                endpoint: label(call),
                status,
                duration,
                usable,
            });
        };
        let (status, headers, body) = match answered {
            Ok(answered) => answered,
            Err(error) => {
                self.pace.lost();
                report(None, false);
                let slow = matches!(error, ureq::Error::Timeout(_));
                let error = refusal::of_transport(&self.host, error);
                return Attempt::Again { error, slow, held: false };
            }
        };
        let now = Instant::now();
        let observed = self.pace.observe(call.bucket, status == 429, headers, now);
        if let Some((bucket, limit, remaining)) = observed.headers {
            cx.log.event(Event::RateLimit { bucket: bucket.name(), limit, remaining });
        }
        if let Some((bucket, duration)) = observed.held {
            cx.log.event(Event::RateWait { bucket: bucket.name(), duration });
        }
        match (status, body) {
            (200..300, Ok(seat)) => {
                let answer = Answer { bytes: &seat.bytes, at: cx.clock.now(), flawed, lossy };
                let result = read(&answer);
                drop(seat);
                match result {
                    Ok(value) => {
                        report(Some(status), true);
                        self.lock().success = Some(Instant::now());
                        Attempt::Done(value)
                    }
                    Err(flaw) => {
                        report(Some(status), false);
                        note(&flaw);
                        let error = match flaw {
                            Flaw::Transport(why) => Error::new(ErrorKind::Unavailable, why),
                            Flaw::Contract(why) => Error::protocol(why),
                            Flaw::Encoding => {
                                Error::protocol("the answer holds bytes that are not UTF-8")
                            }
                        };
                        Attempt::Again { error, slow: false, held: false }
                    }
                }
            }
            (200..300, Err(Body::TooLarge)) => {
                report(Some(status), false);
                Attempt::TooMuch(
                    Error::protocol("the answer is larger than max_body_mb")
                        .with("call", label(call))
                        .hint("raise max_body_mb if single records are that large"),
                )
            }
            (200..300, Err(Body::Broken(error))) => {
                report(Some(status), false);
                let slow = matches!(&error, ureq::Error::Timeout(_));
                Attempt::Again {
                    error: refusal::of_transport(&self.host, error),
                    slow,
                    held: false,
                }
            }
            (status, body) => {
                report(Some(status), false);
                let body = body.as_ref().map_or(&[][..], |seat| &seat.bytes);
                let token = self.authorization.reveal().trim_start_matches("Bearer ");
                match refusal::of_status(status, body, &label(call), &self.host, token) {
                    Meaning::Again { error, held } => Attempt::Again { error, slow: false, held },
                    Meaning::Refused(error) => Attempt::Refused { status, error },
                    Meaning::Stop(error) => Attempt::Stop(error),
                }
            }
        }
    }

    /// Sends a call and reads the answer.
    fn send(&self, call: &Call) -> Result<Received<'_>, ureq::Error> {
        let url = format!("{}{}", self.base, call.path);
        let authorization = self.authorization.reveal();
        let mut response = match &call.body {
            Some(body) => self
                .agent
                .post(&url)
                .header("authorization", authorization)
                .content_type("application/json")
                .send(body.as_bytes())?,
            None => self.agent.get(&url).header("authorization", authorization).call()?,
        };
        let status = response.status().as_u16();
        let text = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::trim)
        };
        let date = text("date").and_then(http_date);
        {
            let since_start = self.since_start();
            let mut seen = self.lock();
            match date {
                Some(date) => {
                    let offset = date.as_millisecond() - since_start;
                    seen.offset = Some(seen.offset.map_or(offset, |known| known.min(offset)));
                    seen.dated += 1;
                    let date = date.as_millisecond();
                    let (first, at) = *seen.first.get_or_insert((date, since_start));
                    self.pace.watch_clock(
                        (date - first) as f64 / 1000.0,
                        (since_start - at) as f64 / 1000.0,
                    );
                }
                None => seen.undated += 1,
            }
        }
        let number = |name: &str| text(name).and_then(|text| text.parse::<f64>().ok());
        let now = date.map(|date| date.as_millisecond() as f64 / 1000.0);
        let after = text("retry-after").and_then(|text| match text.parse::<f64>() {
            Ok(seconds) => until_reset(seconds, now),
            Err(_) => {
                let at = http_date(text)?.as_millisecond() as f64 / 1000.0;
                Some(Duration::from_secs_f64((at - now?).clamp(0.0, 86_400.0)))
            }
        });
        let host_now = Timestamp::now().as_millisecond() as f64 / 1000.0;
        let headers = RateHeaders {
            limit: number("x-ratelimit-limit").filter(|n| n.is_finite()),
            remaining: number("x-ratelimit-remaining").filter(|n| n.is_finite()),
            reset: after
                .or_else(|| until_reset(number("x-ratelimit-reset")?, now.or(Some(host_now)))),
        };
        let most = self.limits.max_body;
        let mut buffer = self.desk.sit();
        if let Some(length) = response.body().content_length().filter(|n| *n <= most as u64) {
            buffer.bytes.reserve(length as usize + 1);
        }
        let mut reader =
            response.body_mut().with_config().limit(u64::MAX).reader().take(most as u64 + 1);
        let body = match reader.read_to_end(&mut buffer.bytes) {
            Ok(_) if buffer.bytes.len() > most => Err(Body::TooLarge),
            Ok(_) => Ok(buffer),
            Err(error) => Err(Body::Broken(error.into())),
        };
        Ok((status, headers, body))
    }
}

/// Status, rate headers, body.
type Received<'a> = (u16, RateHeaders, Result<Seat<'a>, Body>);

/// Why a body could not be read.
enum Body {
    TooLarge,
    Broken(ureq::Error),
}

/// A call's name in events and messages: no query, no body.
fn label(call: &Call) -> String {
    let path = call.path.split('?').next().unwrap_or_default();
    format!("{} {path}", if call.body.is_some() { "POST" } else { "GET" })
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    #[test]
    fn a_date_header_is_read() {
        assert_eq!(
            http_date("Wed, 04 Mar 2026 04:53:20 GMT").unwrap().to_string(),
            "2026-03-04T04:53:20Z"
        );
    }
}
