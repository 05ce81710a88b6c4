//! What a person sets, and what it means: regions, limits and defaults.
//!
//! The settings are a JSON object, as Singer wants it. Keys that are not ours are ignored, so that
//! a configuration made for another Kustomer tap works unchanged; numbers may be given as text.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use bobbin_core::secret::Secret;
use bobbin_core::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::token::Claims;

/// Everything that can be set, with its defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// The API key (`api_token`, required).
    pub api_token: Secret,
    /// First instant of the first sync (`start_date`; default: one year before now).
    pub start_date: Option<Timestamp>,
    /// First instant that is not read any more (`end_date`), to read a part again; none for up to now.
    pub end_date: Option<Timestamp>,
    /// What we call ourselves (`user_agent`).
    pub user_agent: String,
    /// Where the API is: scheme and host, without a path at its end.
    pub base_url: String,
    /// Rows asked for per search page (`page_size_limit`, 1 to 500; default 500).
    pub page_size: u32,
    /// Rows that one query may reach (`window_cap`, default 10,000; kustomer-api 4.7).
    pub window_cap: u64,
    /// How far behind the server's clock we read (`settle_seconds`, default 60).
    pub settle: Duration,
    /// How far before its bookmark a run starts (`overlap_seconds`, default 300; at least three
    /// times the settle delay).
    pub overlap: Duration,
    /// Calls per minute and shares.
    pub rate: RateConfig,
    /// Time limits and retries.
    pub limits: Limits,
    /// Most calls in flight at once (`max_in_flight`, default 64).
    pub max_in_flight: usize,
    /// Bytes of pages held at once (`max_buffer_mb`, default 48).
    pub max_buffer: usize,
}

/// How many calls may be made (kustomer-api 6).
#[derive(Clone, Debug, PartialEq)]
pub struct RateConfig {
    /// Searches a machine user may make per minute (`search_per_minute`, default 100; 0: no limit).
    pub search_per_minute: f64,
    /// Calls the organisation may make per minute (`organization_per_minute`); 0 for no limit,
    /// none to learn it from the headers and take 300, the smallest plan's, until then.
    pub organization_per_minute: Option<f64>,
    /// The part of the search budget to use (`search_share`, default 0.8).
    pub search_share: f64,
    /// The part of the organisation's budget to use (`organization_share`, default 0.5).
    pub organization_share: f64,
    /// Multiplies both budgets (`rate_factor`, default 1), for stand-ins of the API whose minute
    /// is shorter.
    pub factor: f64,
}

/// Time limits and retries.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// To connect (`connect_timeout_seconds`, default 10).
    pub connect: Duration,
    /// Between two reads, the first one included (`read_timeout_seconds`, default 30).
    pub read: Duration,
    /// For one body as a whole (`body_timeout_seconds`, default 120).
    pub body: Duration,
    /// For one call with all its repetitions (`retry_deadline_seconds`, default 300).
    pub deadline: Duration,
    /// Attempts per call (`max_attempts`, default 10).
    pub attempts: u32,
    /// The first pause before a repetition, doubled each time (`retry_base_ms`, default 250).
    pub base: Duration,
    /// The longest such pause.
    pub longest: Duration,
    /// Repetitions a run may make, as a part of its calls (`retry_share`, default 0.5: a run gets
    /// through a source of whose answers a third is unusable) …
    pub retry_share: f64,
    /// … or this many, whichever is more (`retry_floor`, default 500).
    pub retry_floor: u32,
    /// Bytes of one answer (`max_body_mb`, default 64); a greater one is asked for in smaller
    /// pages.
    pub max_body: usize,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self {
            search_per_minute: 100.0,
            organization_per_minute: None,
            search_share: 0.8,
            organization_share: 0.5,
            factor: 1.0,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(30),
            body: Duration::from_mins(2),
            deadline: Duration::from_mins(5),
            attempts: 10,
            base: Duration::from_millis(250),
            longest: Duration::from_secs(20),
            retry_share: 0.5,
            retry_floor: 500,
            max_body: 64 << 20,
        }
    }
}

impl Config {
    /// Reads the settings. `date_window_size` of the singer-io tap is taken and not needed: windows
    /// find their size by themselves.
    ///
    /// # Errors
    /// Of kind `Config`, naming the key, when one is missing or cannot be read.
    pub fn from_json(value: &Value) -> Result<Self> {
        Self::read(value).map(|(config, _)| config)
    }

    /// The same, and the names of settings that mean nothing: other Singer programs have theirs among
    /// a tap's, elsewhere they are misspelt.
    ///
    /// # Errors
    /// As above.
    pub fn read(value: &Value) -> Result<(Self, Vec<String>)> {
        let Value::Object(map) = value else {
            return Err(Error::config("the settings are not a JSON object"));
        };
        let keys = Keys { map, asked: RefCell::default() };
        let config = Self::of(&keys)?;
        let asked = keys.asked.into_inner();
        let mut unknown: Vec<String> = map.keys().cloned().collect();
        unknown.retain(|key| !asked.contains(key.as_str()) && !ALSO_KNOWN.contains(&&**key));
        Ok((config, unknown))
    }

    fn of(keys: &Keys<'_>) -> Result<Self> {
        let token = keys.text("api_token")?.ok_or_else(|| {
            Error::config("api_token is missing").hint(
                "make a key in Kustomer under Settings > Security > API Keys and set api_token to it",
            )
        })?;
        let token = token.trim();
        if token.chars().any(|c| c.is_control() || c == ' ') {
            return Err(Error::config("api_token holds spaces or control characters")
                .hint("paste the key alone, without `Bearer` and without line breaks"));
        }
        let defaults = RateConfig::default();
        let limits = Limits::default();
        let seconds = |key: &'static str, default: Duration| {
            keys.number(key, 0.0, 86_400.0 * 30.0)
                .map(|value| value.map_or(default, Duration::from_secs_f64))
        };
        let settle = seconds("settle_seconds", Duration::from_mins(1))?;
        let overlap = match keys.number("overlap_seconds", 0.0, 86_400.0 * 30.0)? {
            None => Duration::from_mins(5).max(settle * 3),
            Some(value) => {
                let overlap = Duration::from_secs_f64(value);
                if overlap < settle * 3 {
                    return Err(Error::config(
                        "overlap_seconds is less than three times settle_seconds",
                    )
                    .hint(
                        "records that become visible late would be missed; raise overlap_seconds",
                    ));
                }
                overlap
            }
        };
        Ok(Self {
            base_url: base_url(keys, token)?,
            api_token: Secret::new(token),
            start_date: keys
                .text("start_date")?
                .map(|text| instant("start_date", text))
                .transpose()?,
            end_date: keys.text("end_date")?.map(|text| instant("end_date", text)).transpose()?,
            user_agent: keys.text("user_agent")?.map_or_else(
                || format!("tap-kustomer/{}", env!("CARGO_PKG_VERSION")),
                str::to_owned,
            ),
            page_size: keys
                .number("page_size_limit", 1.0, 1e9)?
                .map_or(500, |n| n.min(500.0) as u32),
            window_cap: keys.number("window_cap", 1.0, 1e9)?.map_or(10_000, |n| n as u64),
            settle,
            overlap,
            rate: RateConfig {
                search_per_minute: keys
                    .number("search_per_minute", 0.0, 1e9)?
                    .unwrap_or(defaults.search_per_minute),
                organization_per_minute: keys.number("organization_per_minute", 0.0, 1e9)?,
                search_share: keys
                    .number("search_share", 0.01, 1.0)?
                    .unwrap_or(defaults.search_share),
                organization_share: keys
                    .number("organization_share", 0.01, 1.0)?
                    .unwrap_or(defaults.organization_share),
                factor: keys.number("rate_factor", 0.001, 1e6)?.unwrap_or(defaults.factor),
            },
            limits: Limits {
                connect: seconds("connect_timeout_seconds", limits.connect)?,
                read: seconds("read_timeout_seconds", limits.read)?,
                body: seconds("body_timeout_seconds", limits.body)?,
                deadline: seconds("retry_deadline_seconds", limits.deadline)?,
                attempts: keys
                    .number("max_attempts", 1.0, 1000.0)?
                    .map_or(limits.attempts, |n| n as u32),
                base: keys
                    .number("retry_base_ms", 0.0, 60_000.0)?
                    .map_or(limits.base, |n| Duration::from_secs_f64(n / 1000.0)),
                longest: limits.longest,
                retry_share: keys.number("retry_share", 0.0, 100.0)?.unwrap_or(limits.retry_share),
                retry_floor: keys
                    .number("retry_floor", 0.0, 1e9)?
                    .map_or(limits.retry_floor, |n| n as u32),
                max_body: keys
                    .number("max_body_mb", 0.001, 4096.0)?
                    .map_or(limits.max_body, |n| (n * 1024.0 * 1024.0) as usize),
            },
            max_in_flight: keys.number("max_in_flight", 1.0, 1024.0)?.map_or(64, |n| n as usize),
            max_buffer: keys
                .number("max_buffer_mb", 1.0, 65_536.0)?
                .map_or(48 << 20, |n| (n * 1024.0 * 1024.0) as usize),
        })
    }

    /// The first instant of a first sync.
    pub fn start(&self, now: Timestamp) -> Timestamp {
        self.start_date.unwrap_or_else(|| {
            now.saturating_sub(SignedDuration::from_hours(365 * 24)).unwrap_or(now)
        })
    }
}

/// Reads an instant: RFC 3339, or a date alone (its first instant in UTC).
fn instant(key: &'static str, text: &str) -> Result<Timestamp> {
    let text = text.trim();
    text.parse::<Timestamp>()
        .or_else(|_| {
            text.parse::<jiff::civil::DateTime>()
                .and_then(|date| jiff::tz::TimeZone::UTC.to_timestamp(date))
        })
        .map_err(|_| {
            Error::config(format!("{key} is not a date"))
                .hint(format!("write it like this: \"{key}\": \"2025-01-01T00:00:00Z\""))
        })
}

/// Where the API is: `api_url`, else `region`, else the organisation's host, else the region the
/// key names, else the United States (kustomer-api 1.1).
fn base_url(keys: &Keys<'_>, token: &str) -> Result<String> {
    if let Some(url) = keys.text("api_url")? {
        let url = url.trim().trim_end_matches('/');
        let url = url.strip_suffix("/v1").unwrap_or(url);
        let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        return match authority {
            Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']) => {
                Ok(url.to_owned())
            }
            _ => Err(Error::config("api_url is not a web address")
                .hint("write scheme and host, for example https://api.kustomerapp.com")),
        };
    }
    if let Some(region) = keys.text("region")? {
        return region_url(region.trim());
    }
    let organization = match keys.text("organization")? {
        Some(name) => Some(name),
        None => keys.text("org")?,
    };
    if let Some(name) = organization {
        return Ok(format!("https://{}.api.kustomerapp.com", organization_name(name)?));
    }
    match Claims::of(token).pod {
        Some(pod) => region_url(&pod),
        None => Ok("https://api.kustomerapp.com".to_owned()),
    }
}

/// The host of a region or pod.
fn region_url(region: &str) -> Result<String> {
    let region = region.to_ascii_lowercase();
    match region.as_str() {
        "us" | "prod1" => Ok("https://api.kustomerapp.com".to_owned()),
        "eu" | "prod2" => Ok("https://api.prod2.kustomerapp.com".to_owned()),
        "in" | "prod4" => Ok("https://api.prod4.kustomerapp.com".to_owned()),
        pod if pod.strip_prefix("prod").is_some_and(|n| {
            !n.is_empty() && n.len() < 4 && n.bytes().all(|b| b.is_ascii_digit())
        }) =>
        {
            Ok(format!("https://api.{pod}.kustomerapp.com"))
        }
        _ => Err(Error::config("region is not one we know")
            .hint("use us, eu or in, or the pod's own name such as prod2")),
    }
}

/// The organisation's name out of what people paste: a name, a host or a whole address.
fn organization_name(pasted: &str) -> Result<String> {
    let rest = pasted.trim();
    let rest = rest.split_once("://").map_or(rest, |(_, rest)| rest);
    let name = rest.split(['.', '/', ':', '?']).next().unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(Error::config("organization is not the name of an organisation")
            .hint("it is the first part of your Kustomer address: acme in acme.kustomerapp.com"));
    }
    Ok(name.to_ascii_lowercase())
}

/// Settings that are not looked at, or only where others are missing.
const ALSO_KNOWN: [&str; 5] = ["date_window_size", "org", "organization", "region", "api_url"];

struct Keys<'a> {
    map: &'a Map<String, Value>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Keys<'a> {
    fn text(&self, key: &'static str) -> Result<Option<&'a str>> {
        self.asked.borrow_mut().insert(key);
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Error::config(format!("{key} is not text"))),
        }
    }

    fn number(&self, key: &'static str, least: f64, most: f64) -> Result<Option<f64>> {
        self.asked.borrow_mut().insert(key);
        let value = match self.map.get(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Value::String(text)) => text.trim().parse::<f64>().ok(),
            Some(Value::Number(number)) => number.as_f64(),
            Some(_) => None,
        };
        match value {
            Some(value) if value.is_finite() && value >= least && value <= most => Ok(Some(value)),
            Some(_) => Err(Error::config(format!("{key} is not between {least} and {most}"))),
            None => Err(Error::config(format!("{key} is not a number"))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use serde_json::json;

    use super::*;

    fn url(settings: Value) -> String {
        Config::from_json(&settings).unwrap().base_url
    }

    fn complaint(settings: Value) -> String {
        Config::from_json(&settings).unwrap_err().message().to_owned()
    }

    #[test]
    fn numbers_may_be_text_and_strange_keys_are_ignored() {
        let config = Config::from_json(&json!({
            "api_token": "t", "page_size_limit": "1000", "date_window_size": "60",
            "start_date": "2025-06-01", "strange": [1]
        }))
        .unwrap();
        assert_eq!(config.page_size, 500);
        assert_eq!(config.start_date.unwrap().to_string(), "2025-06-01T00:00:00Z");
    }

    #[test]
    fn a_first_sync_starts_a_year_ago() {
        let config = Config::from_json(&json!({"api_token": "t"})).unwrap();
        let start = config.start("2026-03-04T00:00:00Z".parse().unwrap());
        assert_eq!(start.to_string(), "2025-03-04T00:00:00Z");
    }

    #[test]
    fn the_host_follows_from_what_is_known() {
        assert_eq!(url(json!({"api_token": "t"})), "https://api.kustomerapp.com");
        assert_eq!(
            url(json!({"api_token": "t", "region": "EU"})),
            "https://api.prod2.kustomerapp.com"
        );
        assert_eq!(
            url(json!({"api_token": "t", "region": "prod7"})),
            "https://api.prod7.kustomerapp.com"
        );
        assert_eq!(
            url(json!({"api_token": "t", "org": "https://Acme.kustomerapp.com/app"})),
            "https://acme.api.kustomerapp.com"
        );
        assert_eq!(
            url(json!({"api_token": "t", "api_url": "http://127.0.0.1:8080/v1/", "region": "eu"})),
            "http://127.0.0.1:8080"
        );
        // {"pod":"prod4"} as the middle part of a key
        assert_eq!(
            url(json!({"api_token": "e30.eyJwb2QiOiJwcm9kNCJ9.x"})),
            "https://api.prod4.kustomerapp.com"
        );
    }

    #[test]
    fn complaints_name_the_key() {
        assert_eq!(complaint(json!({})), "api_token is missing");
        assert_eq!(complaint(json!({"api_token": 3})), "api_token is not text");
        assert_eq!(
            complaint(json!({"api_token": "t", "start_date": "soon"})),
            "start_date is not a date"
        );
        assert_eq!(
            complaint(json!({"api_token": "t", "page_size_limit": "many"})),
            "page_size_limit is not a number"
        );
        assert_eq!(
            complaint(json!({"api_token": "t", "search_share": 2})),
            "search_share is not between 0.01 and 1"
        );
        assert_eq!(
            complaint(json!({"api_token": "t", "region": "moon"})),
            "region is not one we know"
        );
        assert_eq!(
            complaint(json!({"api_token": "t", "overlap_seconds": 10})),
            "overlap_seconds is less than three times settle_seconds"
        );
        assert_eq!(
            complaint(json!({"api_token": "t", "api_url": "ftp://x"})),
            "api_url is not a web address"
        );
    }
}
