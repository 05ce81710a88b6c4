//! Whether as many rows come as usual: a schema or a filter that went wrong fails no job.

use bobbin_core::id::ConnectionId;
use bobbin_core::{Error, Result};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::ledger::{Ledger, NoticeKind};

/// Days (UTC) that make a habit, and how many of them must have had rows.
const DAYS: i64 = 14;
const LEAST_DAYS: usize = 7;

/// Rows a day below which nothing is said: few come by chance.
const LEAST_ROWS: u64 = 100;

/// How many times more or less than usual is unusual.
const FACTOR: u64 = 5;

/// Looks at the day that ended last and says so, or that it is over.
///
/// # Errors
/// When the ledger cannot be used.
pub(crate) fn look(ledger: &dyn Ledger, connection: &ConnectionId, now: Timestamp) -> Result<()> {
    let day = |days: i64| -> Result<Date> {
        let then = now.checked_sub(SignedDuration::from_hours(24 * days));
        let then = then.map_err(|error| Error::bug("no such day").caused_by(error))?;
        Ok(TimeZone::UTC.to_datetime(then).date())
    };
    let loaded = ledger.rows_by_day(connection, now, DAYS + 1)?;
    let rows = |day: Date| -> u64 {
        let day = day.to_string();
        loaded.iter().filter(|(on, _, _)| *on == day).map(|(_, _, rows)| rows).sum()
    };
    let mut before = Vec::new();
    for days in 2..=DAYS {
        before.push(rows(day(days)?));
    }
    let yesterday = day(1)?;
    let found = rows(yesterday);
    let Some(usual) = unusual(found, &mut before) else {
        return ledger.recover(connection, NoticeKind::Unusual, now);
    };
    let message = format!("{found} rows were loaded on {yesterday}, of late it was {usual} a day");
    let detail = "bobbin loads --days 14 shows each table; watch_rows = false says nothing of it";
    ledger.raise_on(connection, NoticeKind::Unusual, &message, Some(detail), now)
}

/// What is usual, if a day's rows are far from it; the median of the days with rows.
fn unusual(found: u64, before: &mut Vec<u64>) -> Option<u64> {
    before.retain(|rows| *rows > 0);
    before.sort_unstable();
    let usual = *before.get(before.len() / 2)?;
    let known = before.len() >= LEAST_DAYS && usual >= LEAST_ROWS;
    let far = found < usual / FACTOR || found > usual.saturating_mul(FACTOR);
    (known && far).then_some(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_from_the_median_is_unusual() {
        let days = |rows: u64, count: usize| vec![rows; count];
        assert_eq!(unusual(0, &mut days(1000, 10)), Some(1000));
        assert_eq!(unusual(199, &mut days(1000, 10)), Some(1000));
        assert_eq!(unusual(5001, &mut days(1000, 10)), Some(1000));
        for (found, mut before) in [
            (200, days(1000, 10)),
            (5000, days(1000, 10)),
            (0, days(1000, 6)),
            (0, days(99, 10)),
            (0, Vec::new()),
        ] {
            assert_eq!(unusual(found, &mut before), None, "{found}");
        }
        // Days without rows make no habit, one wild day does not move it.
        let mut mixed = [days(0, 6), days(500, 7), days(90_000, 1)].concat();
        assert_eq!(unusual(10, &mut mixed), Some(500));
    }
}
