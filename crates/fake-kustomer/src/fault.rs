//! What goes wrong, as data: rules that pick requests, and faults that befall them.

use serde::{Deserialize, Serialize};

use crate::hostile::Poison;
use crate::mutation::Mutation;
use crate::random::mix2;

/// Which requests a rule or hook is about. Empty parts match everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Matcher {
    /// `search`, `archive`, `list`, `get` or `other`.
    pub endpoint: Option<String>,
    /// A stream or search context: `conversation`, `kobject`, `kobject_ecomm-order`, `user`.
    pub stream: Option<String>,
    /// The page asked for.
    pub page: Option<u64>,
    /// How the path starts.
    pub path: Option<String>,
}

impl Matcher {
    /// Every request of one kind to one stream.
    pub fn on(endpoint: &str, stream: &str) -> Self {
        Self {
            endpoint: Some(endpoint.to_owned()),
            stream: Some(stream.to_owned()),
            ..Self::default()
        }
    }

    pub(crate) fn matches(&self, call: &Call) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        same(&self.endpoint, call.endpoint)
            && same(&self.stream, &call.stream)
            && self.page.is_none_or(|page| page == call.page)
            && self.path.as_ref().is_none_or(|path| call.path.starts_with(path.as_str()))
    }
}

/// A request, as rules and statistics see it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) endpoint: &'static str,
    pub(crate) stream: String,
    pub(crate) page: u64,
    pub(crate) path: String,
    /// Counts all requests but those to `/_sim`, from 1.
    pub(crate) ordinal: u64,
}

/// A rule: of the requests that match, leave out `after`, then strike `times` of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultRule {
    /// Which requests.
    pub on: Matcher,
    /// How many of them pass first.
    pub after: u64,
    /// How many are struck; `null` for all.
    pub times: Option<u64>,
    /// Of the requests after the first struck one, every how manieth is struck.
    pub every: u64,
    /// The chance that a request due to be struck is struck.
    pub probability: f64,
    /// Decides that chance, and which of several faults.
    pub seed: u64,
    /// What happens; one of these, by chance of the seed.
    pub faults: Vec<Fault>,
}

impl Default for FaultRule {
    fn default() -> Self {
        Self {
            on: Matcher::default(),
            after: 0,
            times: None,
            every: 1,
            probability: 1.0,
            seed: 1,
            faults: Vec::new(),
        }
    }
}

impl FaultRule {
    /// Strikes the first matching request.
    pub fn once(on: Matcher, fault: Fault) -> Self {
        Self { on, times: Some(1), faults: vec![fault], ..Self::default() }
    }

    /// Strikes every matching request.
    pub fn always(on: Matcher, fault: Fault) -> Self {
        Self { on, faults: vec![fault], ..Self::default() }
    }

    /// Strikes requests by chance with one of these faults.
    pub fn random(probability: f64, seed: u64, faults: Vec<Fault>) -> Self {
        Self { probability, seed, faults, ..Self::default() }
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.after = requests;
        self
    }

    /// Strikes so many requests.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}

/// The body of a faulty status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultBody {
    /// An error in the organisation's shape.
    #[default]
    Json,
    /// An edge server's page.
    Html,
    /// Nothing.
    Empty,
    /// Plain text.
    Text,
}

/// What befalls a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// An HTTP status: 408, 429, 500, 502, 503, 504, or any other.
    Status {
        /// The status.
        status: u16,
        /// Its body.
        #[serde(default)]
        body: FaultBody,
        /// A `Retry-After` header, as it is.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// The connection ends before the first byte of the answer.
    CutBeforeResponse,
    /// The connection ends inside the headers.
    CutInHeaders,
    /// The connection ends inside the body; `content-length` promises all of it.
    CutInBody {
        /// How much of the body is sent, from 0 to 1.
        #[serde(default = "half")]
        at: f64,
    },
    /// The body stops, and goes on after so long.
    StallBody {
        /// How much of the body is sent first, from 0 to 1.
        #[serde(default = "half")]
        at: f64,
        /// The pause.
        ms: u64,
    },
    /// The body comes in small pieces.
    Drip {
        /// The size of a piece.
        bytes: u64,
        /// The pause after each.
        ms: u64,
    },
    /// The answer comes late.
    Slow {
        /// By so much.
        ms: u64,
    },
    /// 200 with an HTML page.
    Html,
    /// 200 with nothing.
    Empty,
    /// 200 that claims to be gzip and is not.
    BadGzip,
    /// 200 with plain text.
    NotJson,
    /// 200 whose JSON ends early, with a `content-length` to match.
    TruncatedJson {
        /// How much of it is sent, from 0 to 1.
        #[serde(default = "half")]
        at: f64,
    },
    /// 200 with `errors` and no `data`.
    ErrorsIn200,
    /// 200 with `meta` and `links` only.
    NoData,
    /// 200 with `data: null`.
    NullData,
    /// `timed_out: true` and part of the rows.
    TimedOut {
        /// How many rows are kept.
        #[serde(default)]
        keep: u64,
    },
    /// The first row comes twice in the page.
    DuplicateInPage,
    /// The page starts with the last row of the page before.
    DuplicateAcrossPages,
    /// Rows are missing from the middle while `total` is right.
    MissingRows {
        /// How many.
        count: u64,
    },
    /// Rows come in another order than asked for.
    Unsorted,
    /// `total` is off.
    WrongTotal {
        /// By so much.
        by: i64,
    },
    /// `total` falls by so much with every page.
    ShrinkingTotal {
        /// Per page.
        by: u64,
    },
    /// `links.next` is this page.
    NextLoop,
    /// `links.next` is absent, though there is more.
    NextMissing,
    /// The page before comes again.
    RepeatPage,
    /// `x-ratelimit-remaining: 0` on a good answer.
    RemainingZero,
    /// These rate headers; an absent one is not sent.
    RateHeaders {
        /// `x-ratelimit-limit`.
        #[serde(default)]
        limit: Option<String>,
        /// `x-ratelimit-remaining`.
        #[serde(default)]
        remaining: Option<String>,
        /// `x-ratelimit-reset`.
        #[serde(default)]
        reset: Option<String>,
    },
    /// The `Date` header is off.
    SkewedDate {
        /// By so many seconds.
        seconds: i64,
    },
    /// One row is poisoned, this once.
    Poison {
        /// How.
        poison: Poison,
        /// Which row of the page.
        #[serde(default)]
        row: u64,
    },
    /// A page of HTML follows the JSON.
    TrailingHtml,
    /// A byte order mark comes first.
    Bom,
}

fn half() -> f64 {
    0.5
}

impl Fault {
    /// A status with a JSON error.
    pub fn status(status: u16) -> Self {
        Self::Status { status, body: FaultBody::Json, retry_after: None }
    }

    /// The name of the kind, as in JSON.
    pub fn kind(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value["kind"].as_str().unwrap_or_default().to_owned()
    }

    /// Faults a client should outlive by asking again, one of each kind.
    pub fn transient() -> Vec<Self> {
        let status = |status, body| Self::Status { status, body, retry_after: None };
        vec![
            status(500, FaultBody::Json),
            status(502, FaultBody::Html),
            status(503, FaultBody::Empty),
            status(504, FaultBody::Html),
            status(408, FaultBody::Text),
            status(429, FaultBody::Json),
            Self::CutBeforeResponse,
            Self::CutInHeaders,
            Self::CutInBody { at: 0.5 },
            Self::Html,
            Self::Empty,
            Self::BadGzip,
            Self::NotJson,
            Self::TruncatedJson { at: 0.7 },
            Self::ErrorsIn200,
            Self::NoData,
            Self::TimedOut { keep: 1 },
            Self::RemainingZero,
            Self::TrailingHtml,
        ]
    }
}

/// A change that follows a request: after the `requests`-th that matches, and then every
/// `every`-th if given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Which requests are counted.
    #[serde(default)]
    pub on: Matcher,
    /// After which of them, counted from 1.
    pub requests: u64,
    /// Again after each so many more.
    #[serde(default)]
    pub every: Option<u64>,
    /// How far the clock moves first, in milliseconds.
    #[serde(default)]
    pub advance_ms: i64,
    /// What changes.
    #[serde(default)]
    pub mutations: Vec<Mutation>,
}

impl Hook {
    /// After the `requests`-th matching request, makes one change.
    pub fn after(on: Matcher, requests: u64, mutation: Mutation) -> Self {
        Self { on, requests, every: None, advance_ms: 0, mutations: vec![mutation] }
    }
}

/// A fault that befell a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultHit {
    /// The request, counted from 1.
    pub request: u64,
    /// Which rule, counted from 0.
    pub rule: usize,
    /// `search`, `archive`, `list`, `get` or `other`.
    pub endpoint: String,
    /// The stream or context.
    pub stream: String,
    /// The page asked for.
    pub page: u64,
    /// The fault.
    pub fault: Fault,
    /// When, by the simulated clock.
    pub at_ms: i64,
}

#[derive(Default)]
pub(crate) struct Faults {
    rules: Vec<(FaultRule, u64, u64)>,
    hooks: Vec<(Hook, u64)>,
    pub(crate) hits: Vec<FaultHit>,
}

impl Faults {
    pub(crate) fn new(rules: &[FaultRule], hooks: &[Hook]) -> Self {
        let mut faults = Self::default();
        for rule in rules {
            faults.push(rule.clone());
        }
        for hook in hooks {
            faults.push_hook(hook.clone());
        }
        faults
    }

    pub(crate) fn push(&mut self, rule: FaultRule) {
        self.rules.push((rule, 0, 0));
    }

    pub(crate) fn push_hook(&mut self, hook: Hook) {
        self.hooks.push((hook, 0));
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
        self.hooks.clear();
    }

    pub(crate) fn rules(&self) -> Vec<FaultRule> {
        self.rules.iter().map(|(rule, ..)| rule.clone()).collect()
    }

    /// The faults that befall a request.
    pub(crate) fn strike(&mut self, call: &Call, now: i64) -> Vec<Fault> {
        let mut struck = Vec::new();
        for (place, (rule, seen, done)) in self.rules.iter_mut().enumerate() {
            if !rule.on.matches(call) || rule.faults.is_empty() {
                continue;
            }
            *seen += 1;
            let due = *seen > rule.after
                && (*seen - rule.after - 1) % rule.every.max(1) == 0
                && rule.times.is_none_or(|times| *done < times);
            let hash = mix2(mix2(rule.seed, call.ordinal), place as u64);
            let chance = (hash >> 11) as f64 / (1_u64 << 53) as f64;
            if !due || chance >= rule.probability {
                continue;
            }
            *done += 1;
            let which = mix2(hash, 1) % rule.faults.len() as u64;
            let fault = rule.faults[which as usize].clone();
            self.hits.push(FaultHit {
                request: call.ordinal,
                rule: place,
                endpoint: call.endpoint.to_owned(),
                stream: call.stream.clone(),
                page: call.page,
                fault: fault.clone(),
                at_ms: now,
            });
            struck.push(fault);
        }
        struck
    }

    /// The hooks a served request sets off.
    pub(crate) fn follow(&mut self, call: &Call) -> Vec<Hook> {
        let mut due = Vec::new();
        for (hook, seen) in &mut self.hooks {
            if !hook.on.matches(call) {
                continue;
            }
            *seen += 1;
            let again =
                |every: u64| *seen > hook.requests && (*seen - hook.requests) % every.max(1) == 0;
            if *seen == hook.requests || hook.every.is_some_and(again) {
                due.push(hook.clone());
            }
        }
        due
    }
}
