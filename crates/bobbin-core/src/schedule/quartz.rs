//! Quartz's cron expressions (`stitch-behaviour.md` 2.9), with seconds that are always 0.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Weekday};

use crate::{Error, Result};

/// `seconds minutes hours day-of-month month day-of-week [year]`, ready to be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quartz {
    text: String,
    minutes: Set,
    hours: Set,
    months: Set,
    days: Days,
    years: Option<Years>,
}

/// Small numbers; a bit each.
type Set = u64;

/// Years from [`Years::FIRST`] on; a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Years([Set; 3]);

impl Years {
    const FIRST: u16 = 1970;
    const LAST: u16 = 2099;

    fn contains(self, year: i16) -> bool {
        u16::try_from(year)
            .ok()
            .and_then(|year| year.checked_sub(Self::FIRST))
            .is_some_and(|at| at < 192 && self.0[usize::from(at / 64)] & (1 << (at % 64)) != 0)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Days {
    /// Days of the month.
    OfMonth(Set),
    /// So many days before the month's last.
    Last(u8),
    /// The last Monday to Friday of the month.
    LastWorkday,
    /// The Monday to Friday that is nearest to a day, in the same month.
    NearestWorkday(u8),
    /// Days of the week, 1 is Sunday.
    OfWeek(Set),
    /// The last of a day of the week in the month.
    LastOfWeek(u8),
    /// The nth of a day of the week in the month.
    Nth(u8, u8),
}

/// One of the fields, as messages name it.
#[derive(Clone, Copy)]
struct Field {
    name: &'static str,
    least: u16,
    most: u16,
    words: &'static [&'static str],
}

const MINUTES: Field = Field { name: "minutes", least: 0, most: 59, words: &[] };
const HOURS: Field = Field { name: "hours", least: 0, most: 23, words: &[] };
const MONTH_DAYS: Field = Field { name: "day of month", least: 1, most: 31, words: &[] };
const MONTHS: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    words: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const WEEK_DAYS: Field = Field {
    name: "day of week",
    least: 1,
    most: 7,
    words: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};
const YEARS: Field = Field { name: "year", least: Years::FIRST, most: Years::LAST, words: &[] };

/// Years that are searched before a schedule counts as never due again: weekdays and leap days repeat
/// within them.
const SEARCHED_YEARS: i16 = 41;

impl Quartz {
    /// The first local time at or after `from` that the expression names.
    pub(super) fn next(&self, from: DateTime) -> Option<DateTime> {
        let minute = from.with().second(0).subsec_nanosecond(0).build().ok()?;
        let mut from = if minute < from { minute.checked_add(1.minute()).ok()? } else { minute };
        let last_year = from.year().saturating_add(SEARCHED_YEARS);
        let mut date = from.date();
        while date.year() <= last_year {
            if !self.is_year(date.year()) {
                date = Date::new(date.year().checked_add(1)?, 1, 1).ok()?;
            } else if !has(self.months, date.month() as u16) {
                date = date.first_of_month().checked_add(1.month()).ok()?;
            } else if self.days.has(date)
                && let Some(found) = self.time(date, from)
            {
                return Some(found);
            } else {
                date = date.tomorrow().ok()?;
            }
            if date > from.date() {
                from = date.to_datetime(jiff::civil::Time::midnight());
            }
        }
        None
    }

    /// The first time of a day at or after `from`.
    fn time(&self, date: Date, from: DateTime) -> Option<DateTime> {
        let (hour, minute) =
            if date == from.date() { (from.hour(), from.minute()) } else { (0, 0) };
        (hour..24).filter(|&h| has(self.hours, h as u16)).find_map(|h| {
            let first = if h == hour { minute } else { 0 };
            let m = (first..60).find(|&m| has(self.minutes, m as u16))?;
            Some(date.at(h, m, 0, 0))
        })
    }

    fn is_year(&self, year: i16) -> bool {
        self.years.is_none_or(|years| years.contains(year))
    }
}

fn has(set: Set, n: u16) -> bool {
    set & (1 << n) != 0
}

impl Days {
    fn has(&self, date: Date) -> bool {
        let (day, last) = (date.day(), date.days_in_month());
        let is_workday = |day: i8| {
            date.with()
                .day(day)
                .build()
                .is_ok_and(|date| !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday))
        };
        match *self {
            Self::OfMonth(days) => has(days, day as u16),
            Self::Last(before) => i16::from(day) + i16::from(before) == i16::from(last),
            Self::LastWorkday => {
                (1..=last).rev().find(|&day| is_workday(day)).is_some_and(|found| found == day)
            }
            Self::NearestWorkday(wanted) => {
                let wanted = wanted as i8;
                // A month without the day has no such workday.
                wanted <= last
                    && [0, -1, 1, -2, 2]
                        .iter()
                        .map(|off| wanted + off)
                        .find(|&near| (1..=last).contains(&near) && is_workday(near))
                        .is_some_and(|found| found == day)
            }
            Self::OfWeek(days) => has(days, number(date.weekday())),
            Self::LastOfWeek(wanted) => {
                u16::from(wanted) == number(date.weekday()) && day + 7 > last
            }
            Self::Nth(wanted, nth) => {
                u16::from(wanted) == number(date.weekday()) && (day - 1) / 7 + 1 == nth as i8
            }
        }
    }
}

/// 1 is Sunday.
fn number(day: Weekday) -> u16 {
    day.to_sunday_one_offset() as u16
}

impl FromStr for Quartz {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).map_err(|what| {
            Error::config(format!("the cron expression `{text}` cannot be understood"))
                .hint("seconds minutes hours day-of-month month day-of-week [year], for example `0 30 6 ? * MON-FRI`")
                .caused_by(Error::config(what))
        })
    }
}

impl fmt::Display for Quartz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse(text: &str) -> Result<Quartz, String> {
    let fields: Vec<String> = text.split_whitespace().map(str::to_ascii_uppercase).collect();
    let (Some(seconds), 6 | 7) = (fields.first(), fields.len()) else {
        return Err(format!("it has {} fields and needs 6, or 7 with a year", fields.len()));
    };
    if seconds != "0" && seconds != "00" {
        return Err(format!("seconds must be 0, not `{seconds}`"));
    }
    let days = match (fields[3].as_str(), fields[5].as_str()) {
        ("?", "?") => return Err("day of month and day of week are both `?`: name one".to_owned()),
        (of_month, "?") => days_of_month(of_month)?,
        ("?", of_week) => days_of_week(of_week)?,
        _ => {
            return Err("exactly one of day of month and day of week must be `?`".to_owned());
        }
    };
    let years = match fields.get(6).map(String::as_str) {
        None | Some("*") => None,
        Some(field) => {
            let mut years = Years([0; 3]);
            for year in numbers(YEARS, field)? {
                let at = year - Years::FIRST;
                years.0[usize::from(at / 64)] |= 1 << (at % 64);
            }
            Some(years)
        }
    };
    Ok(Quartz {
        text: fields.join(" "),
        minutes: set(MINUTES, &fields[1])?,
        hours: set(HOURS, &fields[2])?,
        months: set(MONTHS, &fields[4])?,
        days,
        years,
    })
}

fn days_of_month(field: &str) -> Result<Days, String> {
    match field {
        "L" => return Ok(Days::Last(0)),
        "LW" => return Ok(Days::LastWorkday),
        _ => {}
    }
    if let Some(before) = field.strip_prefix("L-") {
        let before = MONTH_DAYS.number(before)?;
        if before > 30 {
            return Err(format!("day of month: no month has a day {before} before its last"));
        }
        return Ok(Days::Last(before as u8));
    }
    if let Some(day) = field.strip_suffix('W') {
        if day.contains([',', '-', '/']) {
            return Err(format!("day of month: `W` goes with a single day, not with `{field}`"));
        }
        return Ok(Days::NearestWorkday(MONTH_DAYS.number(day)? as u8));
    }
    if field.contains(['L', 'W']) {
        return Err(format!("day of month: `L` and `W` stand alone, not in `{field}`"));
    }
    Ok(Days::OfMonth(set(MONTH_DAYS, field)?))
}

fn days_of_week(field: &str) -> Result<Days, String> {
    if field == "L" {
        return Ok(Days::OfWeek(1 << 7));
    }
    if let Some((day, nth)) = field.split_once('#') {
        let day = WEEK_DAYS.number(day)?;
        return match nth.parse() {
            Ok(nth @ 1..=5) => Ok(Days::Nth(day as u8, nth)),
            _ => Err(format!("day of week: after `#` comes 1 to 5, not `{nth}`")),
        };
    }
    if let Some(day) = field.strip_suffix('L') {
        if day.contains([',', '-', '/']) {
            return Err(format!("day of week: `L` goes with a single day, not with `{field}`"));
        }
        return Ok(Days::LastOfWeek(WEEK_DAYS.number(day)? as u8));
    }
    Ok(Days::OfWeek(set(WEEK_DAYS, field)?))
}

fn set(field: Field, text: &str) -> Result<Set, String> {
    Ok(numbers(field, text)?.into_iter().fold(0, |set, n| set | 1 << n))
}

/// The numbers of a field: a list of `*`, `a`, `a-b`, and any of them with `/step`.
fn numbers(field: Field, text: &str) -> Result<Vec<u16>, String> {
    let mut found = Vec::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step: u16 = step
                    .parse()
                    .map_err(|_| format!("{}: the step `{step}` is no number", field.name))?;
                if step == 0 || step > field.most {
                    return Err(format!(
                        "{}: the step {step} is not 1 to {}",
                        field.name, field.most
                    ));
                }
                (range, Some(step))
            }
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (field.least, field.most),
            Some((first, last)) => (field.number(first)?, field.number(last)?),
            None => {
                let first = field.number(range)?;
                (first, if step.is_some() { field.most } else { first })
            }
        };
        let step = usize::from(step.unwrap_or(1));
        if first <= last {
            found.extend((first..=last).step_by(step));
        } else if field.name == YEARS.name {
            return Err(format!("{}: `{range}` ends before it begins", field.name));
        } else {
            // `22-2` and `FRI-MON` go on from the beginning, as in Quartz.
            found.extend((first..=field.most).chain(field.least..=last).step_by(step));
        }
    }
    Ok(found)
}

impl Field {
    fn number(self, text: &str) -> Result<u16, String> {
        if let Some(at) = self.words.iter().position(|word| *word == text) {
            return Ok(self.least + at as u16);
        }
        if text.is_empty() {
            return Err(format!("{}: a value is missing", self.name));
        }
        if text == "?" {
            return Err(format!("{}: `?` is for the two day fields, alone", self.name));
        }
        let Ok(n) = text.parse::<u16>() else {
            let names = match self.words {
                [] => String::new(),
                words => format!(", nor one of {}", words.join(" ")),
            };
            return Err(format!("{}: `{text}` is no number{names}", self.name));
        };
        if n < self.least || n > self.most {
            return Err(format!("{}: {n} is not {} to {}", self.name, self.least, self.most));
        }
        Ok(n)
    }
}
