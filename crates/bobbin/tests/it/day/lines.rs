//! The twenty connections of the day, and when each is due, by counting minutes.

/// When a connection is due, in minutes since the start.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// Every so many minutes from the first job on, whenever that is.
    FromFirst(i64),
    /// Every so many minutes, one of them this one.
    Grid(i64, i64),
    /// At these minutes of the hours from the first to the second, by UTC.
    Hourly(&'static [i64], i64, i64),
    /// At half past each hour in Berlin: the half hour that is skipped is due when the skipping ends.
    HalfPastInBerlin,
    /// At half past two in Berlin, which is skipped that night.
    NightlyInBerlin,
}

impl Due {
    /// Whether this minute is a slot.
    pub(super) fn at(self, minute: i64) -> bool {
        match self {
            Self::FromFirst(_) => false,
            Self::Grid(step, one) => (minute - one) % step == 0,
            Self::Hourly(minutes, from, to) => {
                let hour = (12 + minute.div_euclid(60)) % 24;
                minutes.contains(&minute.rem_euclid(60)) && (from..=to).contains(&hour)
            }
            Self::HalfPastInBerlin => minute % 60 == 30 || minute == 780,
            Self::NightlyInBerlin => minute == 780,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Into {
    DuckDb,
    /// A DuckDB file whose directory is away for some hours.
    DuckDbAway,
    Postgres,
    /// A server that is down for some hours.
    PostgresAway,
}

/// A connection of the day.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// Its schedule in the file.
    pub(super) schedule: &'static str,
    pub(super) due: Due,
    pub(super) into: Into,
    /// How late each answer of its source is: a job then takes longer than its slots are apart.
    pub(super) late_ms: u64,
}

pub(super) const fn line(name: &'static str, schedule: &'static str, due: Due, into: Into) -> Line {
    Line { name, schedule, due, into, late_ms: 0 }
}

pub(super) const fn slow(late_ms: u64, line: Line) -> Line {
    Line { late_ms, ..line }
}

/// Those of the short version come first.
pub(super) const LINES: [Line; 20] = [
    line("half_hours", "frequency_minutes = 30", Due::FromFirst(30), Into::DuckDb),
    slow(250, line("overrun", "frequency_minutes = 5", Due::FromFirst(5), Into::DuckDb)),
    slow(
        250,
        line(
            "overrun_follows",
            "frequency_minutes = 6, overlap = \"run_once_free\"",
            Due::FromFirst(6),
            Into::Postgres,
        ),
    ),
    line(
        "anchored",
        "frequency_minutes = 60, anchor = \"2018-04-30T03:37:00Z\"",
        Due::Grid(60, 37),
        Into::DuckDb,
    ),
    line("cron", "cron = \"0 10,40 * ? * *\"", Due::Hourly(&[10, 40], 0, 23), Into::DuckDb),
    line("paused", "frequency_minutes = 20", Due::FromFirst(20), Into::DuckDb),
    line("away", "cron = \"0 0/20 * ? * *\"", Due::Hourly(&[0, 20, 40], 0, 23), Into::DuckDbAway),
    line(
        "server_away",
        "frequency_minutes = 30, overlap = \"run_once_free\"",
        Due::FromFirst(30),
        Into::PostgresAway,
    ),
    // And these are there all day.
    line("strict", "frequency_minutes = 40, missed = \"skip\"", Due::FromFirst(40), Into::DuckDb),
    line(
        "paused_cron",
        "cron = \"0 25 * ? * *\", missed = \"skip\"",
        Due::Hourly(&[25], 0, 23),
        Into::Postgres,
    ),
    line(
        "anchored_ninety",
        "frequency_minutes = 90, anchor = \"2026-03-28T13:23:00Z\"",
        Due::Grid(90, 83),
        Into::Postgres,
    ),
    line(
        "nightly_berlin",
        "frequency_minutes = 1440, anchor = \"2026-03-20T01:30:00Z\", time_zone = \"Europe/Berlin\"",
        Due::NightlyInBerlin,
        Into::DuckDb,
    ),
    line(
        "cron_berlin",
        "cron = \"0 30 * ? * *\", time_zone = \"Europe/Berlin\"",
        Due::HalfPastInBerlin,
        Into::Postgres,
    ),
    line(
        "mornings",
        "cron = \"0 0/15 6-9 ? * *\"",
        Due::Hourly(&[0, 15, 30, 45], 6, 9),
        Into::DuckDb,
    ),
    line(
        "follows",
        "frequency_minutes = 45, overlap = \"run_once_free\"",
        Due::FromFirst(45),
        Into::DuckDb,
    ),
    slow(
        400,
        line(
            "overrun_strict",
            "frequency_minutes = 7, missed = \"skip\", overlap = \"run_once_free\"",
            Due::FromFirst(7),
            Into::DuckDb,
        ),
    ),
    line("away_often", "frequency_minutes = 30", Due::FromFirst(30), Into::DuckDbAway),
    line(
        "away_anchored",
        "frequency_minutes = 60, anchor = \"2026-03-28T12:52:00Z\", missed = \"skip\"",
        Due::Grid(60, 52),
        Into::DuckDbAway,
    ),
    line(
        "server_away_cron",
        "cron = \"0 5,35 * ? * *\"",
        Due::Hourly(&[5, 35], 0, 23),
        Into::PostgresAway,
    ),
    line(
        "server_away_anchored",
        "frequency_minutes = 60, anchor = \"2026-01-01T00:48:00Z\"",
        Due::Grid(60, 48),
        Into::PostgresAway,
    ),
];

/// What happens at a minute.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Act {
    Mutate,
    Pause(&'static str),
    GoOn(&'static str),
    DuckDbAway(bool),
    PostgresAway(bool),
    /// SIGTERM, and another process.
    Restart,
    /// SIGKILL while a segment lies in the spool that no destination holds yet.
    KillWhileSealed,
    /// SIGKILL as soon as a slot is told to start, and another waits for its turn.
    KillAtSlot,
}
