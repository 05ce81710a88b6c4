//! The examples of the product, and ten years in thirty zones against a walk over every minute.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use jiff::civil::{Date, Weekday, date};
use jiff::tz::TimeZone;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cron(expression: &str, zone: &str) -> Schedule {
    Schedule::of(&Settings {
        cron: Some(expression.to_owned()),
        time_zone: Some(zone.to_owned()),
        ..Settings::default()
    })
    .unwrap()
}

fn every(minutes: u32, anchor: Option<&str>) -> Schedule {
    Schedule::of(&Settings {
        frequency_minutes: Some(minutes),
        anchor: anchor.map(at),
        ..Settings::default()
    })
    .unwrap()
}

#[track_caller]
fn check(schedule: &Schedule, base: &str, after: &str, expected: &[&str]) {
    let found: Vec<String> = schedule
        .slots(at(base), at(after))
        .take(expected.len())
        .map(|slot| slot.strftime("%Y-%m-%d %H:%M").to_string())
        .collect();
    assert_eq!(found, expected, "{schedule}");
}

#[test]
fn f16_a_frequency_counts_from_the_first_job() {
    let hourly = every(60, None);
    let base = "2024-05-01T02:30:00Z";
    check(&hourly, base, "2024-05-01T02:29:59Z", &["2024-05-01 02:30", "2024-05-01 03:30"]);
    // The job of 03:30 ended at 04:38: what comes next is on the grid.
    check(&hourly, base, "2024-05-01T04:38:00Z", &["2024-05-01 05:30", "2024-05-01 06:30"]);
    check(&every(7, None), base, "2024-05-01T02:30:00Z", &["2024-05-01 02:37"]);
}

#[test]
fn f18_the_first_job_by_hand_is_the_base() {
    check(&every(60, None), "2024-05-01T10:07:00Z", "2024-05-01T10:07:00Z", &["2024-05-01 11:07"]);
}

#[test]
fn f15_a_frequency_that_is_none_is_refused_and_an_hour_is_the_default() {
    let none = Settings { frequency_minutes: Some(0), ..Settings::default() };
    assert!(Schedule::of(&none).unwrap_err().to_string().contains("0 minutes"));
    assert_eq!(Schedule::of(&Settings::default()).unwrap().to_string(), "every hour");
}

#[test]
fn f19_f20_an_anchor_makes_the_grid() {
    let any = "2000-01-01T00:00:00Z";
    check(
        &every(360, Some("2024-05-01T13:00:00Z")),
        any,
        "2024-05-01T12:00:00Z",
        &["2024-05-01 13:00", "2024-05-01 19:00", "2024-05-02 01:00", "2024-05-02 07:00"],
    );
    check(
        &every(1440, Some("2024-05-01T13:00:00Z")),
        any,
        "2024-05-01T16:00:00Z",
        &["2024-05-02 13:00", "2024-05-03 13:00"],
    );
    check(
        &every(60, Some("2024-05-01T18:30:00Z")),
        any,
        "2024-05-01T17:30:00Z",
        &["2024-05-01 18:30", "2024-05-01 19:30"],
    );
    check(
        &every(360, Some("2018-04-30T03:30:00Z")),
        any,
        "2018-05-01T00:00:00Z",
        &["2018-05-01 03:30", "2018-05-01 09:30", "2018-05-01 15:30", "2018-05-01 21:30"],
    );
    check(
        &every(60, Some("2018-11-06T22:00:00Z")),
        any,
        "2020-06-22T18:07:32Z",
        &["2020-06-22 19:00"],
    );
    // Under an hour it has no effect (C9).
    check(
        &every(30, Some("2024-05-01T18:30:00Z")),
        any,
        "2024-01-01T00:07:00Z",
        &["2024-01-01 00:30"],
    );
}

#[test]
fn f21_with_a_zone_whole_days_keep_the_local_time() {
    let mut settings = Settings {
        frequency_minutes: Some(1440),
        anchor: Some(at("2024-03-29T08:00:00Z")),
        time_zone: Some("Europe/Berlin".to_owned()),
        cron: None,
    };
    let any = "2000-01-01T00:00:00Z";
    let local = Schedule::of(&settings).unwrap();
    assert_eq!(local.to_string(), "every day from 2024-03-29T08:00:00Z (Europe/Berlin)");
    check(&local, any, "2024-03-30T00:00:00Z", &["2024-03-30 08:00", "2024-03-31 07:00"]);
    settings.time_zone = None;
    let utc = Schedule::of(&settings).unwrap();
    check(&utc, any, "2024-03-30T00:00:00Z", &["2024-03-30 08:00", "2024-03-31 08:00"]);
}

#[test]
fn f22_every_example_of_the_product() {
    // 2024-05-01 is a Wednesday.
    let cases: &[(&[&str], &[&str])] = &[
        (&["0 0 0 ? * *", "0 0 0 * * ?"], &["05-02 00:00", "05-03 00:00"]),
        (
            &["0 0 0 ? * MON-FRI", "0 0 0 ? * 2-6", "0 0 0 ? * mon-fri *"],
            &["05-02 00:00", "05-03 00:00", "05-06 00:00"],
        ),
        (&["0 0 23 ? * SUN", "0 0 23 ? * 1"], &["05-05 23:00", "05-12 23:00"]),
        (&["0 0 0,12 * * ?"], &["05-01 12:00", "05-02 00:00", "05-02 12:00"]),
        (&["0 0 3 ? * 3-5"], &["05-01 03:00", "05-02 03:00", "05-07 03:00"]),
        (&["0 0 0 ? * 2,4,6", "0 0 0 ? * MON,WED,FRI"], &["05-03 00:00", "05-06 00:00"]),
        (&["0 0 12 ? * MON-FRI *"], &["05-01 12:00", "05-02 12:00"]),
        (&["0 0/15 * * * ?"], &["05-01 00:15", "05-01 00:30", "05-01 00:45", "05-01 01:00"]),
        (&["0 0 3/6 * * ?"], &["05-01 03:00", "05-01 09:00", "05-01 15:00", "05-01 21:00"]),
        (&["0 0 0 1/5 * ?"], &["05-06 00:00", "05-11 00:00"]),
        (&["0 0 22-1 ? * *"], &["05-01 01:00", "05-01 22:00", "05-01 23:00", "05-02 00:00"]),
    ];
    for (expressions, expected) in cases {
        let expected: Vec<String> = expected.iter().map(|slot| format!("2024-{slot}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        for expression in *expressions {
            check(
                &cron(expression, "UTC"),
                "2000-01-01T00:00:00Z",
                "2024-05-01T00:00:00Z",
                &expected,
            );
        }
    }
    let january = &["2025-01-01 00:05", "2025-01-01 00:06"];
    for expression in ["0 5-10,30 * ? 1 *", "0 5-10,30 * * 1 ?"] {
        check(&cron(expression, "UTC"), "2000-01-01T00:00:00Z", "2024-05-01T00:00:00Z", january);
    }
}

#[test]
fn f23_the_special_characters() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("0 0 0 L * ?", "2024-02-01", &["2024-02-29 00:00", "2024-03-31 00:00"]),
        ("0 0 0 L-2 * ?", "2024-02-01", &["2024-02-27 00:00", "2024-03-29 00:00"]),
        ("0 0 0 ? * L", "2024-05-01", &["2024-05-04 00:00", "2024-05-11 00:00"]),
        ("0 0 0 ? * 6L", "2024-05-01", &["2024-05-31 00:00", "2024-06-28 00:00"]),
        ("0 0 0 ? * FRIL", "2024-05-01", &["2024-05-31 00:00", "2024-06-28 00:00"]),
        // June 15th, 2024 is a Saturday, September 15th a Sunday.
        ("0 0 0 15W 6,9 ?", "2024-05-01", &["2024-06-14 00:00", "2024-09-16 00:00"]),
        // June 1st, 2024 is a Saturday.
        ("0 0 0 1W 6 ?", "2024-05-01", &["2024-06-03 00:00"]),
        // June 30th, 2024 is a Sunday.
        ("0 0 0 LW 6 ?", "2024-05-01", &["2024-06-28 00:00"]),
        ("0 0 0 30W 6 ?", "2024-05-01", &["2024-06-28 00:00"]),
        ("0 0 0 ? * 4#2", "2024-05-01", &["2024-05-08 00:00", "2024-06-12 00:00"]),
        ("0 0 0 ? * WED#2", "2024-05-01", &["2024-05-08 00:00", "2024-06-12 00:00"]),
        ("0 0 0 ? * 7#5", "2024-05-01", &["2024-06-29 00:00", "2024-08-31 00:00"]),
        ("0 0 0 29 2 ?", "2024-03-01", &["2028-02-29 00:00", "2032-02-29 00:00"]),
        (
            "0 0 0 1 1 ? 2030,2040-2041",
            "2024-03-01",
            &["2030-01-01 00:00", "2040-01-01 00:00", "2041-01-01 00:00"],
        ),
    ];
    for (expression, after, expected) in cases {
        let after = format!("{after}T00:00:01Z");
        check(&cron(expression, "UTC"), "2000-01-01T00:00:00Z", &after, expected);
    }
    let never = cron("0 0 0 31 2 ?", "UTC");
    assert_eq!(never.next(at("2000-01-01T00:00:00Z"), at("2024-01-01T00:00:00Z")), None);
    let over = cron("0 0 0 ? * * 2020", "UTC");
    assert_eq!(over.next(at("2000-01-01T00:00:00Z"), at("2024-01-01T00:00:00Z")), None);
}

#[test]
fn f24_cron_goes_before_anchor_and_frequency() {
    let mut settings = Settings {
        frequency_minutes: Some(120),
        anchor: Some(at("2024-05-01T00:30:00Z")),
        cron: Some("0 45 * ? * *".to_owned()),
        time_zone: None,
    };
    let any = "2024-05-01T00:10:00Z";
    check(&Schedule::of(&settings).unwrap(), any, any, &["2024-05-01 00:45", "2024-05-01 01:45"]);
    settings.cron = None;
    check(&Schedule::of(&settings).unwrap(), any, any, &["2024-05-01 00:30", "2024-05-01 02:30"]);
    settings.anchor = None;
    check(&Schedule::of(&settings).unwrap(), any, any, &["2024-05-01 02:10", "2024-05-01 04:10"]);
}

#[test]
fn an_expression_that_is_wrong_is_told_where() {
    let cases = [
        ("0 0 0 * * *", "exactly one of day of month and day of week must be `?`"),
        ("0 0 0 ? * ?", "both `?`"),
        ("0 0 ? * *", "it has 5 fields"),
        ("", "it has 0 fields"),
        ("5 0 0 ? * *", "seconds must be 0"),
        ("0 60 0 ? * *", "minutes: 60 is not 0 to 59"),
        ("0 0 0-24 ? * *", "hours: 24 is not 0 to 23"),
        ("0 0 0 ? * TUE-THUR", "day of week: `THUR` is no number, nor one of SUN MON"),
        ("0 0 0 ? * 0", "day of week: 0 is not 1 to 7"),
        ("0 0 0 ? * 2#6", "after `#` comes 1 to 5"),
        ("0 0 0 1-5W * ?", "`W` goes with a single day"),
        ("0 0 0 1,L * ?", "`L` and `W` stand alone"),
        ("0 0 0 ? * 2,3L", "`L` goes with a single day"),
        ("0 0 0 L-31 * ?", "no month has"),
        ("0 */0 0 ? * *", "the step 0 is not"),
        ("0 1,,2 0 ? * *", "a value is missing"),
        ("0 ? 0 ? * *", "`?` is for the two day fields"),
        ("0 x 0 ? * *", "minutes: `X` is no number"),
        ("0 0 0 ? * * 1969", "year: 1969 is not 1970 to 2099"),
        ("0 0 0 ? * * 2030-2029", "ends before it begins"),
    ];
    for (expression, words) in cases {
        let error = expression.parse::<Quartz>().unwrap_err();
        let told = error.report();
        assert!(told.contains(words), "{expression}: {told}");
        assert!(told.contains("cron expression"), "{told}");
    }
    let nowhere = Settings { time_zone: Some("Mars/Olympus".to_owned()), ..Settings::default() };
    assert!(Schedule::of(&nowhere).unwrap_err().to_string().contains("Mars/Olympus"));
}

#[test]
fn a_local_time_that_is_skipped_is_due_after_it_and_one_that_comes_twice_once() {
    let any = "2000-01-01T00:00:00Z";
    let zone = "America/New_York";
    // 02:00 to 03:00 is skipped on 2026-03-08; 01:00 to 02:00 comes twice on 2026-11-01.
    check(
        &cron("0 30 2 ? * *", zone),
        any,
        "2026-03-07T12:00:00Z",
        &["2026-03-08 07:00", "2026-03-09 06:30"],
    );
    check(
        &cron("0 0/10 2 ? * *", zone),
        any,
        "2026-03-08T00:00:00Z",
        &["2026-03-08 07:00", "2026-03-09 06:00"],
    );
    check(
        &cron("0 30 1 ? * *", zone),
        any,
        "2026-11-01T00:00:00Z",
        &["2026-11-01 05:30", "2026-11-02 06:30"],
    );
}

/// Zones with every habit there is: half hours, midnights, two hours, clocks that go back in spring,
/// countries that gave it up, and those that never had it.
const ZONES: [&str; 30] = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Volgograd",
    "Europe/Chisinau",
    "America/New_York",
    "America/St_Johns",
    "America/Havana",
    "America/Santiago",
    "America/Asuncion",
    "America/Mexico_City",
    "America/Sao_Paulo",
    "America/Nuuk",
    "America/Scoresbysund",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Juba",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Tehran",
    "Asia/Amman",
    "Asia/Kathmandu",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Fiji",
    "Antarctica/Troll",
];

/// An expression, or an anchor, and by its plain meaning on which days and at which minutes it is due.
struct Case {
    schedule: fn(&str) -> Schedule,
    day: fn(Date) -> bool,
    minute: fn(i64) -> bool,
}

fn is_workday(date: Date) -> bool {
    !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

const ANCHOR: &str = "2020-01-01T00:00:00Z";

fn cases() -> Vec<Case> {
    vec![
        Case { schedule: |zone| cron("0 30 2 ? * *", zone), day: |_| true, minute: |m| m == 150 },
        Case {
            schedule: |zone| cron("0 0/20 0-3 ? * SUN,MON", zone),
            day: |d| matches!(d.weekday(), Weekday::Sunday | Weekday::Monday),
            minute: |m| m < 240 && m % 20 == 0,
        },
        Case { schedule: |zone| cron("0 0 * ? * *", zone), day: |_| true, minute: |m| m % 60 == 0 },
        Case {
            schedule: |zone| cron("0 15,45 23-1 L * ?", zone),
            day: |d| d.tomorrow().unwrap().day() == 1,
            minute: |m| [15, 45].contains(&(m % 60)) && [23, 0, 1].contains(&(m / 60)),
        },
        Case {
            schedule: |zone| cron("0 0 12 15W * ?", zone),
            day: |d| {
                is_workday(d)
                    && (d.day() == 15
                        || d.day() == 14 && d.weekday() == Weekday::Friday
                        || d.day() == 16 && d.weekday() == Weekday::Monday)
            },
            minute: |m| m == 720,
        },
        Case {
            schedule: |zone| cron("0 5 0 1W * ?", zone),
            day: |d| {
                is_workday(d) && (d.day() == 1 || d.weekday() == Weekday::Monday && d.day() <= 3)
            },
            minute: |m| m == 5,
        },
        Case {
            schedule: |zone| cron("0 59 23 LW * ?", zone),
            day: |d| {
                is_workday(d)
                    && (d.day() + 1..=d.days_in_month())
                        .all(|day| !is_workday(date(d.year(), d.month(), day)))
            },
            minute: |m| m == 1439,
        },
        Case {
            schedule: |zone| cron("0 10 2 ? * 1L", zone),
            day: |d| {
                d.weekday() == Weekday::Sunday
                    && (d + jiff::Span::new().days(7)).month() != d.month()
            },
            minute: |m| m == 130,
        },
        Case {
            schedule: |zone| cron("0 0 2 ? 3,11 SUN#2 2021-2027", zone),
            day: |d| {
                d.weekday() == Weekday::Sunday
                    && (8..=14).contains(&d.day())
                    && [3, 11].contains(&d.month())
                    && (2021..=2027).contains(&d.year())
            },
            minute: |m| m == 120,
        },
    ]
}

/// When the days and minutes are due, by walking over every minute of ten years.
fn walk(zone: &TimeZone, cases: &[Case]) -> Vec<Vec<Timestamp>> {
    let start = at(ANCHOR).as_second() / 60;
    let end = at("2030-01-01T00:00:00Z").as_second() / 60;
    let days: Vec<Vec<bool>> = cases
        .iter()
        .map(|case| {
            let first = date(2019, 12, 30);
            (0..3660).map(|n| (case.day)(first + jiff::Span::new().days(n))).collect()
        })
        .collect();
    let minutes: Vec<Vec<bool>> =
        cases.iter().map(|case| (0..1440).map(case.minute).collect()).collect();
    let first_day =
        i64::from(date(2019, 12, 30).duration_since(date(1970, 1, 1)).as_hours() as i32 / 24);
    let is_due = |case: usize, local: i64| {
        minutes[case][local.rem_euclid(1440) as usize]
            && days[case][(local.div_euclid(1440) - first_day) as usize]
    };
    let mut due = vec![Vec::new(); cases.len()];
    let mut furthest = i64::MIN;
    let mut offset = 0;
    for now in start..end {
        // Every change of the clock in these years is at a quarter of an hour.
        if now % 15 == 0 {
            let instant = Timestamp::from_second(now * 60).unwrap();
            offset = i64::from(zone.to_offset(instant).seconds() / 60);
        }
        let local = now + offset;
        let came_before = local <= furthest;
        let skipped = if furthest == i64::MIN { local..local } else { furthest + 1..local };
        furthest = furthest.max(local);
        if came_before {
            continue;
        }
        for (case, due) in due.iter_mut().enumerate() {
            if is_due(case, local) || skipped.clone().any(|local| is_due(case, local)) {
                due.push(Timestamp::from_second(now * 60).unwrap());
            }
        }
    }
    due
}

#[test]
fn f21_ten_years_in_thirty_zones_are_what_a_walk_over_every_minute_says() {
    let cases = cases();
    let mut total = 0;
    for name in ZONES {
        let zone = TimeZone::get(name).unwrap();
        for (case, expected) in cases.iter().zip(walk(&zone, &cases)) {
            let schedule = (case.schedule)(name);
            let before = at(ANCHOR).checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap();
            let found: Vec<Timestamp> = schedule
                .slots(at(ANCHOR), before)
                .take_while(|slot| *slot < at("2030-01-01T00:00:00Z"))
                .collect();
            total += found.len();
            if found != expected {
                let at = found.iter().zip(&expected).position(|(a, b)| a != b);
                let at = at.unwrap_or(found.len().min(expected.len()));
                panic!(
                    "{schedule}: {:?} where the walk says {:?}",
                    found.get(at),
                    expected.get(at)
                );
            }
        }
    }
    assert!(total > 3_000_000, "{total} slots were compared");
}

/// Anchored days against the same walk.
#[test]
fn f21_anchored_days_in_thirty_zones_are_what_a_walk_says() {
    for name in ZONES {
        let zone = TimeZone::get(name).unwrap();
        let local = zone.to_datetime(at("2020-01-03T02:30:00Z"));
        for days in [1_u32, 2, 7] {
            let schedule = Schedule::of(&Settings {
                frequency_minutes: Some(days * 1440),
                anchor: Some(at("2020-01-03T02:30:00Z")),
                time_zone: Some(name.to_owned()),
                cron: None,
            })
            .unwrap();
            let end = at("2030-01-01T00:00:00Z");
            let found: Vec<Timestamp> =
                schedule.slots(at(ANCHOR), at(ANCHOR)).take_while(|slot| *slot < end).collect();
            let mut expected = Vec::new();
            let mut day = local;
            while expected.last().is_none_or(|last| *last < end) {
                // The first instant whose local time is this one or, where it is skipped, a later
                // one; the clocks of these zones and years show full quarters of an hour.
                let early =
                    jiff::tz::Offset::UTC.to_timestamp(day).unwrap().as_second() - 26 * 3600;
                let due = (0..4 * 52)
                    .map(|n| Timestamp::from_second(early + n * 900).unwrap())
                    .find(|instant| zone.to_datetime(*instant) >= day)
                    .unwrap();
                expected.push(due);
                day += jiff::Span::new().days(days);
            }
            expected.pop();
            assert_eq!(found, expected, "{schedule}");
        }
    }
}
