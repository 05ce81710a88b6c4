//! The organisation's own time: it can run fast, stand still, and be moved.

use std::sync::Mutex;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// An instant in a configuration: `2026-01-31T12:00:00Z`, or relative to the start of the clock,
/// as `now`, `-90d`, `-12h`, `+5m`, `-30s` or `+250ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    relative: bool,
    ms: i64,
}

impl When {
    /// An instant, in milliseconds since 1970.
    pub const fn at(ms: i64) -> Self {
        Self { relative: false, ms }
    }

    /// So many milliseconds after (or, negative, before) the start of the clock.
    pub const fn relative(ms: i64) -> Self {
        Self { relative: true, ms }
    }

    /// So many days before the start of the clock.
    pub const fn days_ago(days: i64) -> Self {
        Self::relative(-days * 86_400_000)
    }

    /// The instant, given the start of the clock.
    pub const fn resolve(self, origin_ms: i64) -> i64 {
        if self.relative { origin_ms + self.ms } else { self.ms }
    }
}

impl std::str::FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "now" {
            return Ok(Self::relative(0));
        }
        if let Some(first) = text.chars().next()
            && (first == '-' || first == '+')
        {
            let body = &text[1..];
            let digits = body.find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len());
            let unit = match &body[digits..] {
                "ms" => Some(1),
                "s" => Some(1000),
                "m" => Some(60_000),
                "h" => Some(3_600_000),
                "d" => Some(86_400_000_i64),
                _ => None,
            };
            if let (Some(unit), Ok(amount)) = (unit, body[..digits].parse::<i64>()) {
                let sign = if first == '-' { -1 } else { 1 };
                return Ok(Self::relative(sign * amount.saturating_mul(unit)));
            }
        }
        text.parse::<jiff::Timestamp>().map(|t| Self::at(t.as_millisecond())).map_err(|_| {
            format!("{text:?} is no instant: write 2026-01-31T12:00:00Z, now, -90d, -12h or +5m")
        })
    }
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.relative {
            return f.write_str(&crate::out::timestamp(self.ms));
        }
        let sign = if self.ms < 0 { '-' } else { '+' };
        let size = self.ms.unsigned_abs();
        for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
            if size != 0 && size.is_multiple_of(unit) {
                return write!(f, "{sign}{}{name}", size / unit);
            }
        }
        write!(f, "{sign}{size}ms")
    }
}

impl Serialize for When {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How the clock starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClockConfig {
    /// The first instant; `now` is the host's time.
    pub start: When,
    /// Simulated seconds per real second.
    pub factor: f64,
    /// Whether time stands still until a test moves it.
    pub frozen: bool,
}

impl Default for ClockConfig {
    fn default() -> Self {
        Self { start: When::relative(0), factor: 1.0, frozen: false }
    }
}

struct Reading {
    anchor_ms: i64,
    anchored: Instant,
    factor: f64,
    frozen: bool,
}

impl Reading {
    fn now(&self) -> i64 {
        if self.frozen {
            return self.anchor_ms;
        }
        self.anchor_ms + (self.anchored.elapsed().as_secs_f64() * 1000.0 * self.factor) as i64
    }
}

/// A clock that can be sped up, frozen, and moved.
pub(crate) struct Clock {
    origin_ms: i64,
    reading: Mutex<Reading>,
}

impl Clock {
    pub(crate) fn new(config: &ClockConfig) -> Self {
        let host = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_millis() as i64);
        let origin_ms = config.start.resolve(host);
        let reading = Reading {
            anchor_ms: origin_ms,
            anchored: Instant::now(),
            factor: config.factor,
            frozen: config.frozen,
        };
        Self { origin_ms, reading: Mutex::new(reading) }
    }

    /// Where the clock started; relative times in a configuration count from here.
    pub(crate) fn origin(&self) -> i64 {
        self.origin_ms
    }

    pub(crate) fn now(&self) -> i64 {
        self.with(|reading| reading.now())
    }

    pub(crate) fn set(&self, to_ms: i64) {
        self.with(|reading| {
            reading.anchor_ms = to_ms;
            reading.anchored = Instant::now();
        });
    }

    pub(crate) fn advance(&self, by_ms: i64) {
        let now = self.now();
        self.set(now + by_ms);
    }

    pub(crate) fn freeze(&self, frozen: bool) {
        self.with(|reading| {
            reading.anchor_ms = reading.now();
            reading.anchored = Instant::now();
            reading.frozen = frozen;
        });
    }

    pub(crate) fn set_factor(&self, factor: f64) {
        self.with(|reading| {
            reading.anchor_ms = reading.now();
            reading.anchored = Instant::now();
            reading.factor = factor;
        });
    }

    pub(crate) fn factor(&self) -> f64 {
        self.with(|reading| reading.factor)
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.with(|reading| reading.frozen)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Reading) -> T) -> T {
        let mut reading = self.reading.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        act(&mut reading)
    }
}

/// An instant as an HTTP date.
pub(crate) fn http_date(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(
        |_| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
        |t| t.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_read_back_as_written() {
        for text in ["+0ms", "-90d", "-12h", "+5m", "+1500ms", "2026-01-31T12:00:00.000Z"] {
            assert_eq!(text.parse::<When>().map(|when| when.to_string()), Ok(text.to_owned()));
        }
        assert!("yesterday".parse::<When>().is_err());
        assert!("-5 parsecs".parse::<When>().is_err());
    }
}
