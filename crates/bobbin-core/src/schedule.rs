//! When the jobs of a connection are due (`stitch-behaviour.md` 2.6 to 2.9). Pure: a rule, and
//! instants that are given; no clock is read and nobody waits here.
//!
//! A due instant is called a slot. Three rules, the first that is set holds (F-24):
//!
//! * **cron**: a [`Quartz`] expression, in the schedule's time zone;
//! * **anchor and frequency**: `anchor + k × frequency` (F-19, F-20), from an hour upwards (C9);
//! * **frequency**: the same counted from the first job (F-16, F-18, C8).
//!
//! With a time zone, cron and anchored frequencies of whole days keep the local time of day; shorter
//! frequencies count real minutes. A local time that the clock skips is due when the skipping ends,
//! once however many slots lay in it; one that comes twice is due the first time.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

mod quartz;

pub use quartz::Quartz;

/// Minutes between jobs when nothing is set (`stitch-behaviour.md` 2.2).
pub const DEFAULT_FREQUENCY_MINUTES: u32 = 60;

/// Frequencies from here on, in minutes, may have an anchor (C9).
pub const ANCHORED_FROM_MINUTES: u32 = 60;

/// What a person sets. Everything may be left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Minutes between the starts of jobs, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_minutes: Option<u32>,
    /// An instant that slots are counted from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Timestamp>,
    /// A Quartz expression of six or seven fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// An IANA name; UTC where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// A rule for when jobs are due.
#[derive(Clone, Debug)]
pub struct Schedule {
    rule: Rule,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum Rule {
    Quartz(Box<Quartz>),
    Anchored { anchor: Timestamp, minutes: u32 },
    Every { minutes: u32 },
}

impl Schedule {
    /// The schedule that settings mean; an error says which of them is wrong and how.
    pub fn of(settings: &Settings) -> Result<Self> {
        let zone = match settings.time_zone.as_deref() {
            None | Some("UTC") => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|error| {
                Error::config(format!("there is no time zone `{name}`"))
                    .hint(
                        "use a name of the IANA database, such as Europe/Berlin; it comes with the \
                         system's package tzdata",
                    )
                    .caused_by(error)
            })?,
        };
        let minutes = settings.frequency_minutes.unwrap_or(DEFAULT_FREQUENCY_MINUTES);
        if minutes == 0 {
            return Err(Error::config("a frequency of 0 minutes is none")
                .hint("set frequency_minutes to 1 or more"));
        }
        let rule = match (&settings.cron, settings.anchor) {
            (Some(cron), _) => Rule::Quartz(Box::new(cron.parse()?)),
            (None, Some(anchor)) if minutes >= ANCHORED_FROM_MINUTES => {
                Rule::Anchored { anchor, minutes }
            }
            (None, _) => Rule::Every { minutes },
        };
        Ok(Self { rule, zone })
    }

    /// The first slot later than `after`; none is a schedule that is never due again. `base` is when the
    /// first job was due: a frequency without an anchor counts from it.
    pub fn next(&self, base: Timestamp, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Quartz(quartz) => {
                let mut from = self.zone.to_datetime(after);
                loop {
                    let local = quartz.next(from)?;
                    let slot = instant(&self.zone, local)?;
                    if slot > after {
                        return Some(slot);
                    }
                    from = local.checked_add(1.minute()).ok()?;
                }
            }
            Rule::Anchored { anchor, minutes } if minutes.is_multiple_of(DAY) => {
                self.next_day(*anchor, minutes / DAY, after)
            }
            Rule::Anchored { anchor, minutes } => grid(*anchor, *minutes, after),
            Rule::Every { minutes } => grid(base, *minutes, after),
        }
    }

    /// The slots later than `after`, without end unless the schedule has one.
    pub fn slots(&self, base: Timestamp, after: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        let mut last = Some(after);
        std::iter::from_fn(move || {
            last = self.next(base, last?);
            last
        })
    }

    /// The cron expression, where that is the rule.
    pub fn cron(&self) -> Option<String> {
        match &self.rule {
            Rule::Quartz(quartz) => Some(quartz.to_string()),
            Rule::Anchored { .. } | Rule::Every { .. } => None,
        }
    }

    /// The minutes between slots, where that is the rule.
    pub fn frequency_minutes(&self) -> Option<u32> {
        match self.rule {
            Rule::Quartz(_) => None,
            Rule::Anchored { minutes, .. } | Rule::Every { minutes } => Some(minutes),
        }
    }

    /// Whether slots depend on when the first job was due.
    pub fn counts_from_the_first_job(&self) -> bool {
        matches!(self.rule, Rule::Every { .. })
    }

    /// The time zone that local times are meant in.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// `anchor` and every `days` days later at the same local time.
    fn next_day(&self, anchor: Timestamp, days: u32, after: Timestamp) -> Option<Timestamp> {
        let first = self.zone.to_datetime(anchor);
        if after < anchor {
            return Some(anchor);
        }
        let passed = (self.zone.to_datetime(after).date() - first.date()).get_days();
        let days = i32::try_from(days).ok()?;
        let mut k = passed / days;
        loop {
            let local = first.checked_add(k.checked_mul(days)?.days()).ok()?;
            let slot = instant(&self.zone, local)?;
            if slot > after {
                return Some(slot);
            }
            k += 1;
        }
    }
}

const DAY: u32 = 24 * 60;

/// The first of `start + k × minutes`, k from 0, that is later than `after`.
fn grid(start: Timestamp, minutes: u32, after: Timestamp) -> Option<Timestamp> {
    let step = i128::from(minutes) * 60 * 1_000_000_000;
    let passed = after.as_nanosecond() - start.as_nanosecond();
    if passed < 0 {
        return Some(start);
    }
    Timestamp::from_nanosecond(start.as_nanosecond() + (passed / step + 1) * step).ok()
}

/// When a local time is: the first time, if it comes twice; when the skipping ends, if it is skipped.
fn instant(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            // By the old offset it is at the change or later.
            let past = before.to_timestamp(local).ok()?.checked_add(1.nanosecond()).ok()?;
            Some(zone.preceding(past).next()?.timestamp())
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Rule::Quartz(quartz) => write!(f, "cron {quartz}")?,
            Rule::Anchored { anchor, minutes } => {
                write!(f, "every {} from {anchor:.0}", Minutes(*minutes))?;
            }
            Rule::Every { minutes } => write!(f, "every {}", Minutes(*minutes))?,
        }
        match self.zone.iana_name() {
            None | Some("UTC") => Ok(()),
            Some(name) => write!(f, " ({name})"),
        }
    }
}

struct Minutes(u32);

impl fmt::Display for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, unit) = match self.0 {
            n if n.is_multiple_of(DAY) => (n / DAY, "day"),
            n if n.is_multiple_of(60) => (n / 60, "hour"),
            n => (n, "minute"),
        };
        if n == 1 { f.write_str(unit) } else { write!(f, "{n} {unit}s") }
    }
}

#[cfg(test)]
mod tests;
