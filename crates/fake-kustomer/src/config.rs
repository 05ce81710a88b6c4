//! Everything that can be chosen about a simulated organisation, as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{ClockConfig, When};
use crate::fault::{FaultRule, Hook};
use crate::hostile::Hostile;
use crate::mutation::Activity;
use crate::timeline::Span;

/// A whole simulated organisation. Every part has a default; unknown keys are refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Decides all data and all chance.
    pub seed: u64,
    /// Where to listen.
    pub bind: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// Threads that answer requests.
    pub threads: usize,
    /// The organisation's name, its sign-in subdomain.
    pub org: String,
    /// The region that serves it.
    pub pod: String,
    /// Who may call. Empty means: no token is asked for.
    pub tokens: Vec<Token>,
    /// The organisation's time.
    pub clock: ClockConfig,
    /// How many days of past the default spans cover.
    pub history_days: u32,
    /// Whether default spans go on into the future at the same pace.
    pub live: bool,
    /// Records per stream, for streams without spans of their own (`kobject` is shared out among
    /// the classes). See [`Config::stream_names`].
    pub counts: BTreeMap<String, u64>,
    /// Timelines written out, per stream.
    pub spans: BTreeMap<String, Vec<Span>>,
    /// Custom object classes.
    pub klasses: Vec<KlassConfig>,
    /// How search behaves.
    pub search: SearchConfig,
    /// What `GET` answers for a customer merged into another.
    pub merged: Merged,
    /// Which of the two error shapes is used.
    pub errors: ErrorShape,
    /// Request budgets.
    pub rate: RateConfig,
    /// Time every answer takes at least.
    pub latency_ms: u64,
    /// Changes that happen by themselves.
    pub activity: Vec<Activity>,
    /// What goes wrong.
    pub faults: Vec<FaultRule>,
    /// Changes that follow a request.
    pub hooks: Vec<Hook>,
    /// Records with bytes of your own choice.
    pub hostile: Vec<Hostile>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            bind: "127.0.0.1".to_owned(),
            port: 0,
            threads: 2,
            org: "sim".to_owned(),
            pod: "prod1".to_owned(),
            tokens: vec![Token::all_roles("sim-token")],
            clock: ClockConfig::default(),
            history_days: 600,
            live: false,
            counts: default_counts(),
            spans: BTreeMap::new(),
            klasses: vec![
                KlassConfig::named("ecomm-order"),
                KlassConfig::named("calendly-event"),
                KlassConfig { status: "disabled".to_owned(), ..KlassConfig::named("survey_2019") },
            ],
            search: SearchConfig::default(),
            merged: Merged::NotFound,
            errors: ErrorShape::Short,
            rate: RateConfig::default(),
            latency_ms: 0,
            activity: Vec::new(),
            faults: Vec::new(),
            hooks: Vec::new(),
            hostile: Vec::new(),
        }
    }
}

fn default_counts() -> BTreeMap<String, u64> {
    [
        ("customer", 1000),
        ("conversation", 2000),
        ("message", 8000),
        ("note", 800),
        ("kobject", 1500),
        ("company", 100),
        ("user", 25),
        ("team", 6),
        ("tag", 40),
        ("shortcut", 30),
        ("brand", 2),
        ("queue", 4),
        ("sla", 2),
        ("schedule", 1),
    ]
    .into_iter()
    .map(|(name, count)| (name.to_owned(), count))
    .collect()
}

impl Config {
    /// A test's organisation: frozen clock, no request budgets, a few hundred records.
    pub fn tiny(seed: u64) -> Self {
        let mut config = Self { seed, ..Self::default() };
        config.clock =
            ClockConfig { start: When::at(1_772_600_000_000), factor: 1.0, frozen: true };
        config.rate.factor = 0.0;
        for (name, count) in [
            ("customer", 150),
            ("conversation", 300),
            ("message", 900),
            ("note", 120),
            ("kobject", 90),
        ] {
            config.counts.insert(name.to_owned(), count);
        }
        config
    }

    /// Sets how many records a stream has.
    #[must_use]
    pub fn with_count(mut self, stream: &str, count: u64) -> Self {
        self.counts.insert(stream.to_owned(), count);
        self
    }

    /// Writes out a stream's timeline.
    #[must_use]
    pub fn with_spans(mut self, stream: &str, spans: Vec<Span>) -> Self {
        self.spans.insert(stream.to_owned(), spans);
        self
    }

    /// Makes this record's bytes what `hostile` says.
    #[must_use]
    pub fn with_hostile(mut self, hostile: Hostile) -> Self {
        self.hostile.push(hostile);
        self
    }

    /// Adds a fault rule.
    #[must_use]
    pub fn with_fault(mut self, rule: FaultRule) -> Self {
        self.faults.push(rule);
        self
    }

    /// Reads a configuration from JSON text.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("the configuration: {error}"))
    }

    /// The streams this configuration makes, by name.
    pub fn stream_names(&self) -> Vec<String> {
        let fixed = crate::world::FIXED.iter().map(|name| (*name).to_owned());
        let classes = self.klasses.iter().map(|klass| format!("kobject_{}", klass.name));
        fixed.chain(classes).collect()
    }
}

/// A key and what it may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The bearer token.
    pub token: String,
    /// Roles such as `org.permission.search.create`; `*` means all.
    pub roles: Vec<String>,
    /// The region that issued it, when not the organisation's.
    #[serde(default)]
    pub pod: Option<String>,
    /// When it stops working.
    #[serde(default)]
    pub expires: Option<When>,
}

impl Token {
    /// A token that may read everything.
    pub fn all_roles(token: &str) -> Self {
        Self { token: token.to_owned(), roles: vec!["*".to_owned()], pod: None, expires: None }
    }

    /// A token with these roles only.
    pub fn with_roles(token: &str, roles: &[&str]) -> Self {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Self { roles, ..Self::all_roles(token) }
    }
}

/// A custom object class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KlassConfig {
    /// The unchanging name, such as `ecomm-order`.
    pub name: String,
    /// `enabled`, `disabled` or `existing_only`.
    pub status: String,
}

impl KlassConfig {
    /// An enabled class.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), status: "enabled".to_owned() }
    }
}

impl Default for KlassConfig {
    fn default() -> Self {
        Self::named("")
    }
}

/// How search behaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// Larger page sizes are silently cut to this.
    pub max_page_size: u64,
    /// The last page that can be asked for.
    pub max_pages: u64,
    /// The last row that can be reached.
    pub max_rows: u64,
    /// What happens past either.
    pub past_cap: PastCap,
    /// Whether `total` stops counting.
    pub total: TotalMode,
    /// In what order records of one millisecond come.
    pub ties: Ties,
    /// Records become visible up to this long after they changed.
    pub max_lag_ms: u64,
    /// Search sees this many days back, the archive what is older; `null` for no horizon.
    pub horizon_days: Option<u32>,
    /// Whether standard search takes `{object}_id` criteria.
    pub id_criteria: bool,
    /// Whether standard search takes `kobject_{class}_updated_at` and its like.
    pub klass_criteria: bool,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            max_page_size: 500,
            max_pages: 100,
            max_rows: 10_000,
            past_cap: PastCap::BadRequest,
            total: TotalMode::Exact,
            ties: Ties::Stable,
            max_lag_ms: 0,
            horizon_days: Some(730),
            id_criteria: false,
            klass_criteria: true,
        }
    }
}

/// What a request past the cap answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PastCap {
    /// 400 `bad_request`.
    BadRequest,
    /// 404 `not_found`.
    NotFound,
    /// 200 with no records.
    Empty,
    /// 200 with the last reachable page again.
    Repeat,
    /// No cap: rows go on.
    Serve,
}

/// How `total` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TotalMode {
    /// As many as there are.
    Exact,
    /// At most 10,000.
    Bounded,
}

/// The order of records that share a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// By id.
    Stable,
    /// Another order in every request.
    Unstable,
}

/// What becomes of a merged customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merged {
    /// It vanishes; `GET` answers 404.
    NotFound,
    /// It vanishes from search; `GET` answers the customer it was merged into.
    Redirect,
    /// It stays, with `deleted: true`.
    Deleted,
}

/// The two error shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorShape {
    /// `code`, `message`, `meta`.
    Short,
    /// `status`, `code`, `title`, `detail`, `source`, `meta`, `links`.
    Long,
}

/// Request budgets. A minute is a minute of the simulated clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateConfig {
    /// All requests of a minute.
    pub org_per_minute: u64,
    /// Searches of a minute, archive included.
    pub search_per_minute: u64,
    /// Multiplies both; 0 switches budgets off.
    pub factor: f64,
    /// Requests of a minute that other integrations use up.
    pub others_per_minute: u64,
    /// Fixed windows or a leaky bucket.
    pub algorithm: RateAlgorithm,
    /// Whether the three `x-ratelimit-` headers are sent.
    pub headers: RateHeaders,
    /// What `x-ratelimit-reset` means.
    pub reset: ResetUnit,
    /// Whether a 429 carries `Retry-After`.
    pub retry_after: bool,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self {
            org_per_minute: 1000,
            search_per_minute: 100,
            factor: 1.0,
            others_per_minute: 0,
            algorithm: RateAlgorithm::FixedWindow,
            headers: RateHeaders::Org,
            reset: ResetUnit::EpochSeconds,
            retry_after: false,
        }
    }
}

/// How a budget refills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateAlgorithm {
    /// All at once, every minute.
    FixedWindow,
    /// A little all the time.
    LeakyBucket,
}

/// Which budget the headers speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateHeaders {
    /// No headers.
    Absent,
    /// Always the organisation's.
    Org,
    /// The search budget on searches, the organisation's elsewhere.
    Tightest,
}

/// The unit of `x-ratelimit-reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetUnit {
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMilliseconds,
    /// Seconds from now.
    SecondsFromNow,
}
