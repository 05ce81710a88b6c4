//! A schedule as a form, and the times that follow from it.

use std::sync::Arc;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bobbin_core::schedule::{ANCHORED_FROM_MINUTES, DEFAULT_FREQUENCY_MINUTES, Schedule, Settings};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::field::{Entered, Field, Wrongs};
use super::show::Told;
use super::{Visit, part};
use crate::Api;
use crate::api::known;

/// Times that are shown.
const SHOWN: usize = 5;

/// What a schedule's form says, field by field. Put `{{ schedule }}` into a form; [`ScheduleForm::take`] reads
/// what is sent.
#[derive(Template, Clone)]
#[template(path = "parts/schedule.html")]
pub(crate) struct ScheduleForm {
    is_cron: bool,
    every: String,
    unit: &'static str,
    anchor: Field,
    cron: Field,
    zone: Field,
    wrongs: Wrongs,
    preview: Preview,
    /// The connection that has it; empty where there is none yet.
    connection: String,
}

impl HtmlSafe for ScheduleForm {}

/// Units of a frequency, greatest first, with their minutes.
const UNITS: [(&str, u32); 3] = [("days", 24 * 60), ("hours", 60), ("minutes", 1)];

/// Settings of a schedule that the form has; the others stay as they are.
const KEYS: [&str; 4] = ["frequency_minutes", "anchor", "cron", "time_zone"];

impl ScheduleForm {
    /// The form of a connection's `schedule`, in the words of the file. Times count from `base`, when its first
    /// job was due; none is now.
    pub(crate) fn of(schedule: Option<&Value>, base: Option<Timestamp>) -> Self {
        let text = |key: &str| schedule.and_then(|known| known.get(key)).and_then(Value::as_str);
        let minutes = schedule.and_then(|known| known.get("frequency_minutes"));
        let minutes = minutes.and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let minutes = minutes.unwrap_or(DEFAULT_FREQUENCY_MINUTES).max(1);
        let (unit, of) =
            UNITS.into_iter().find(|(_, of)| minutes.is_multiple_of(*of)).unwrap_or(UNITS[2]);
        let zone = text("time_zone").unwrap_or("UTC");
        let anchor = text("anchor").and_then(|text| text.parse::<Timestamp>().ok());
        let anchor = anchor.map(|anchor| {
            let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
            zone.to_datetime(anchor).strftime("%Y-%m-%dT%H:%M").to_string()
        });
        let cron = text("cron");
        let entered = Entered::new(vec![
            ("how".into(), if cron.is_some() { "cron" } else { "every" }.into()),
            ("every".into(), (minutes / of).to_string()),
            ("unit".into(), unit.into()),
            ("anchor".into(), anchor.unwrap_or_default()),
            ("cron".into(), cron.unwrap_or_default().into()),
            ("time_zone".into(), zone.into()),
        ]);
        Self::entered(&entered, &Wrongs::default(), base)
    }

    /// The form as it was filled in.
    pub(crate) fn entered(entered: &Entered, wrongs: &Wrongs, base: Option<Timestamp>) -> Self {
        let unit = UNITS.iter().find(|(unit, _)| *unit == entered.get("unit"));
        let anchor = Field::text("anchor", "First time", entered.get("anchor"))
            .kind("datetime-local")
            .help(
                "Times are counted from here, in the time zone below; from one hour upwards. \
                   Without it they count from the first job.",
            )
            .wrong(wrongs);
        let cron = Field::text("cron", "Cron expression", entered.get("cron"))
            .depends()
            .help(
                "Quartz: seconds, minutes, hours, day of month, month, day of week. \
                   0 30 6 ? * MON-FRI is half past six on working days.",
            )
            .wrong(wrongs);
        let zone = Field::text("time_zone", "Time zone", entered.get("time_zone"))
            .help("A name like Europe/Berlin; the local time stays when clocks change. UTC, unless given.")
            .list("zones")
            .wrong(wrongs);
        Self {
            is_cron: entered.get("how") == "cron",
            every: entered.get("every").to_owned(),
            unit: unit.map_or("hours", |(unit, _)| unit),
            anchor,
            cron,
            zone,
            wrongs: wrongs.clone(),
            preview: Preview::of(entered, base),
            connection: String::new(),
        }
    }

    /// The form of a connection there is: its times go on counting from its first job while somebody types.
    pub(crate) fn of_connection(mut self, connection: &str) -> Self {
        connection.clone_into(&mut self.connection);
        self
    }

    /// Names of time zones.
    #[allow(clippy::unused_self, reason = "templates ask the form")]
    fn zones(&self) -> Vec<String> {
        let names = jiff::tz::db().available().map(|name| name.to_string());
        names.filter(|name| name.contains('/') && !name.starts_with("Etc/")).collect()
    }

    fn is_unit(&self, unit: &str) -> bool {
        self.unit == unit
    }

    /// The schedule that was entered, in the words of the file; what the form does not have stays as in
    /// `before`.
    ///
    /// # Errors
    /// What is wrong, field by field.
    pub(crate) fn take(
        entered: &Entered,
        before: Option<&Value>,
    ) -> Result<Map<String, Value>, Wrongs> {
        let settings = settings(entered)?;
        let mut schedule = before.and_then(Value::as_object).cloned().unwrap_or_default();
        schedule.retain(|key, _| !KEYS.contains(&key.as_str()));
        if let Ok(Value::Object(written)) = serde_json::to_value(&settings) {
            schedule.extend(written);
        }
        Ok(schedule)
    }
}

/// What was entered as the settings of a schedule that is one.
fn settings(entered: &Entered) -> Result<Settings, Wrongs> {
    let zone = Some(entered.get("time_zone")).filter(|zone| !zone.is_empty() && *zone != "UTC");
    let mut settings = Settings { time_zone: zone.map(str::to_owned), ..Settings::default() };
    let is_cron = entered.get("how") == "cron";
    if is_cron {
        settings.cron = Some(entered.get("cron").to_owned());
    } else {
        let of =
            UNITS.iter().find(|(unit, _)| *unit == entered.get("unit")).map_or(60, |(_, n)| *n);
        let every = entered.get("every").parse::<u32>().ok().filter(|every| *every > 0);
        let minutes = every.and_then(|every| every.checked_mul(of));
        let wrong = || Wrongs::of("every", "This is no whole number from 1 upwards.");
        settings.frequency_minutes = Some(minutes.ok_or_else(wrong)?);
        let anchor = entered.get("anchor");
        if !anchor.is_empty() {
            let local = anchor.parse::<DateTime>();
            let wrong = |_| Wrongs::of("anchor", "This is no date with a time.");
            let local = local.map_err(wrong)?;
            let zone = match &settings.time_zone {
                None => TimeZone::UTC,
                Some(name) => TimeZone::get(name).map_err(|_| {
                    Wrongs::of("time_zone", format!("There is no time zone {name}."))
                })?,
            };
            settings.anchor = zone.to_timestamp(local).ok();
        }
    }
    match Schedule::of(&settings) {
        Ok(_) => Ok(settings),
        Err(error) => {
            let report = error.report();
            let field = match is_cron {
                _ if report.contains("time zone") => "time_zone",
                true => "cron",
                false => "every",
            };
            Err(Wrongs::of(field, Told::line(&report)))
        }
    }
}

/// The next times, or why there are none.
#[derive(Template, Clone)]
#[template(path = "parts/preview.html")]
pub(crate) struct Preview {
    rule: String,
    /// The time zone of local times, where it is not UTC.
    zone: Option<String>,
    times: Vec<Time>,
    note: Option<&'static str>,
    wrong: Option<String>,
}

impl HtmlSafe for Preview {}

#[derive(Clone)]
struct Time {
    at: Timestamp,
    utc: String,
    local: String,
}

impl Preview {
    fn of(entered: &Entered, base: Option<Timestamp>) -> Self {
        let none =
            Self { rule: String::new(), zone: None, times: Vec::new(), note: None, wrong: None };
        let settings = match settings(entered) {
            Ok(settings) => settings,
            Err(wrongs) => return Self { wrong: wrongs.beside(&[]), ..none },
        };
        let schedule = match Schedule::of(&settings) {
            Ok(schedule) => schedule,
            Err(error) => return Self { wrong: Some(Told::line(&error.report())), ..none },
        };
        let now = Timestamp::now();
        let shown = |at: Timestamp, zone: &TimeZone| {
            zone.to_datetime(at).strftime("%a %Y-%m-%d %H:%M").to_string()
        };
        let times = schedule.slots(base.unwrap_or(now), now).take(SHOWN).map(|at| Time {
            at,
            utc: shown(at, &TimeZone::UTC),
            local: shown(at, schedule.zone()),
        });
        let few = settings.frequency_minutes.is_some_and(|n| n < ANCHORED_FROM_MINUTES);
        let note = match (settings.anchor.is_some() && few, schedule.counts_from_the_first_job()) {
            (true, _) => Some("Below one hour the first time has no effect."),
            (false, true) if base.is_none() => {
                Some("These count from the first job, as if it began now.")
            }
            _ => None,
        };
        Self {
            rule: schedule.to_string(),
            zone: settings.time_zone.clone(),
            times: times.collect(),
            note,
            ..none
        }
    }
}

/// The next times of a schedule that is being entered, as a part of a page.
pub(super) async fn preview(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Response {
    let entered = Entered::new(pairs);
    let make = move |api: &Api| {
        let base = match entered.get("connection") {
            "" => None,
            name => api.engine.ledger()?.base(&known(api, name)?)?,
        };
        Ok(Preview::of(&entered, base))
    };
    match part(api, visit.gzip, make).await {
        Ok(body) => body.into_response(),
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use serde_json::json;

    use super::*;

    fn entered(pairs: &[(&str, &str)]) -> Entered {
        Entered::new(pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect())
    }

    #[test]
    fn a_schedule_comes_back_as_it_was() {
        for schedule in [
            json!({ "frequency_minutes": 30 }),
            json!({ "frequency_minutes": 2880, "anchor": "2026-01-01T05:30:00Z",
                    "time_zone": "Europe/Berlin", "overlap": "run_once_free" }),
            json!({ "cron": "0 30 6 ? * MON-FRI", "time_zone": "Asia/Kolkata" }),
        ] {
            let form = ScheduleForm::of(Some(&schedule), None);
            let of = [
                ("how", if form.is_cron { "cron" } else { "every" }),
                ("every", &form.every),
                ("unit", form.unit),
                ("anchor", &form.anchor.value),
                ("cron", &form.cron.value),
                ("time_zone", &form.zone.value),
            ];
            let taken = ScheduleForm::take(&entered(&of), Some(&schedule)).unwrap();
            assert_eq!(Value::Object(taken), schedule);
            assert_eq!(form.preview.times.len(), SHOWN);
        }
    }

    #[test]
    fn what_is_wrong_is_told_at_its_field() {
        for (pairs, field) in [
            (&[("every", "0"), ("unit", "hours")][..], "every"),
            (&[("every", "x")], "every"),
            (&[("every", "1"), ("anchor", "soon")], "anchor"),
            (&[("every", "1"), ("time_zone", "Mars/Base")], "time_zone"),
            (&[("how", "cron"), ("cron", "0 15 10 * * *")], "cron"),
            (&[("how", "cron"), ("cron", "")], "cron"),
        ] {
            let wrongs = ScheduleForm::take(&entered(pairs), None).unwrap_err();
            assert!(wrongs.get(field).is_some(), "{pairs:?}: {wrongs:?}");
        }
    }
}
