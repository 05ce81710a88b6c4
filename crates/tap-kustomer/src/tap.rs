//! The tap as bobbin sees it.

use std::sync::{Mutex, PoisonError};

use bobbin_core::catalog::Catalog;
use bobbin_core::forecast::Forecast;
use bobbin_core::id::StreamName;
use bobbin_core::report::{Event, Level};
use bobbin_core::selection::Selection;
use bobbin_core::tap::{Check, Context, Discovery, Output, StreamOutcome, SyncRequest, Tap};
use bobbin_core::{Error, ErrorKind, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::config::Config;
use crate::forecast;
use crate::http::pace::Bucket;
use crate::http::{Call, Client, Failure, Got};
use crate::metadata::fetch_custom;
use crate::streams::{self, Reading, Resource};
use crate::sync;
use crate::together::together;
use crate::token::Claims;
use crate::walk::Query;
use crate::window::Span;

/// How long before its expiry a key is worth a warning.
const WARN_DAYS: i64 = 14;

/// Kustomer.
pub struct KustomerTap {
    config: Config,
    /// Left by a discovery for the extraction after it: open connections, what the budgets have
    /// spent, the server's time.
    client: Mutex<Option<Client>>,
}

impl KustomerTap {
    /// A tap with these settings. Nothing is called yet.
    pub fn new(config: Config) -> Self {
        Self { config, client: Mutex::new(None) }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A client that does not try as long as an extraction would: somebody is waiting.
    fn brief_client(&self) -> Client {
        let mut config = self.config.clone();
        config.limits.attempts = config.limits.attempts.min(4);
        Client::new(&config)
    }

    /// Says in time that the key will stop working.
    fn warn_of_expiry(&self, cx: &Context<'_>) {
        let Some(expires) = Claims::of(self.config.api_token.reveal()).expires else { return };
        let left = expires.duration_since(cx.clock.now());
        if left < SignedDuration::from_hours(24 * WARN_DAYS) && left.is_positive() {
            cx.log.event(Event::Notice {
                level: Level::Warn,
                stream: None,
                message: format!(
                    "the API key expires in {} days; make a new one in Kustomer under Settings > \
                     Security > API Keys",
                    left.as_hours() / 24
                ),
            });
        }
    }
}

impl Tap for KustomerTap {
    fn name(&self) -> &'static str {
        "tap-kustomer"
    }

    fn check(&self, cx: &Context<'_>) -> Result<Check> {
        self.warn_of_expiry(cx);
        let client = self.brief_client();
        let mut check = Check::default();
        let mut fact = |label: &str, value: String| check.facts.push((label.to_owned(), value));
        fact("API", self.config.base_url.clone());
        let claims = Claims::of(self.config.api_token.reveal());
        if let Some(organization) = claims.organization {
            fact("organisation", organization);
        }
        if let Some(pod) = claims.pod {
            fact("region", pod);
        }
        if let Some(expires) = claims.expires {
            fact("key expires", expires.strftime("%Y-%m-%d").to_string());
        }
        for path in ["/v1/users/current", "/v1/auth/tokens/current"] {
            let Got::Json(answer) = client.get_json(cx, path)? else { continue };
            let name = ["displayName", "name"].iter().find_map(|key| {
                answer.pointer(&format!("/data/attributes/{key}")).and_then(Value::as_str)
            });
            if let Some(name) = name {
                fact("key of", name.to_owned());
                break;
            }
        }
        if let Some(time) = client.server_time() {
            let skew = time.duration_since(cx.clock.now());
            if skew.abs() > SignedDuration::from_secs(60) {
                fact("clock", format!("this machine's differs by {} s", skew.as_secs()));
            }
        }
        let resources = streams::resources();
        let probes = together(resources, |resource| probe(&client, cx, &self.config, resource))?;
        let names = resources.iter().map(|resource| StreamName::from(resource.name));
        check.streams.extend(names.zip(probes));
        Ok(check)
    }

    fn discover(&self, cx: &Context<'_>) -> Result<Discovery> {
        self.warn_of_expiry(cx);
        let client = self.brief_client();
        // A bad key is told by the first call, not by eight at once.
        client.ask_who(cx)?;
        let resources = streams::resources();
        let (probes, custom) = std::thread::scope(|scope| {
            let custom = scope.spawn(|| fetch_custom(&client, cx));
            let probes = together(resources, |resource| probe(&client, cx, &self.config, resource));
            (probes, custom.join().unwrap_or_else(|_| Err(Error::bug("discovery panicked"))))
        });
        let (probes, custom) = (probes?, custom?);
        let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
        for (resource, missing) in resources.iter().zip(probes) {
            match missing {
                None => readable.push(resource),
                Some(reason) => {
                    let stream = StreamName::from(resource.name);
                    cx.log.event(Event::Notice {
                        level: Level::Warn,
                        stream: Some(stream.clone()),
                        message: format!("left out: {reason}"),
                    });
                    unreadable.push((stream, reason));
                }
            }
        }
        if readable.is_empty() {
            return Err(Error::new(ErrorKind::Permission, "the API key may not read any stream")
                .hint(
                    "make a key with read roles, for example org.permission.search.create and \
                       org.permission.customer.read",
                ));
        }
        let streams =
            readable.into_iter().map(|resource| streams::stream(resource, &custom)).collect();
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
        Ok(Discovery { catalog: Catalog { streams }, unreadable })
    }

    fn forecast(
        &self,
        cx: &Context<'_>,
        start: Option<Timestamp>,
        selection: &Selection,
    ) -> Result<Option<Forecast>> {
        let client = self.brief_client();
        client.ask_who(cx)?;
        forecast::of(&self.config, &client, cx, start, selection).map(Some)
    }

    fn sync(
        &self,
        cx: &Context<'_>,
        request: &SyncRequest<'_>,
        out: &mut dyn Output,
    ) -> Result<Vec<StreamOutcome>> {
        self.warn_of_expiry(cx);
        let left = self.client.lock().unwrap_or_else(PoisonError::into_inner).take();
        let client = match left {
            Some(client) => client.renewed(&self.config.limits),
            None => Client::new(&self.config),
        };
        sync::run(&self.config, &client, cx, request, out)
    }
}

/// Asks for one record of a stream. `None` when it may be read, else what is missing.
fn probe(
    client: &Client,
    cx: &Context<'_>,
    config: &Config,
    resource: &Resource,
) -> Result<Option<String>> {
    let name = StreamName::from(resource.name);
    let call = match &resource.reading {
        Reading::Search { context, .. } => {
            let now = client.server_time().unwrap_or_else(|| cx.clock.now());
            let from = config.start(now).min(now);
            let span = Span { from: from.as_millisecond(), to: now.as_millisecond() };
            Query::live(context).probe(&name, span, 1)
        }
        Reading::List { path, .. } => Call {
            body: None,
            path: format!("{path}?page=1&pageSize=1"),
            bucket: Bucket::Organization,
            stream: Some(name),
            divisible: false,
        },
    };
    let looked = client.call(cx, &call, false, |answer| {
        let (text, _) = crate::http::pages::decode_lossy(answer.bytes);
        crate::http::pages::cut(crate::http::pages::without_mark(&text)).map(|_| ())
    });
    match looked {
        Ok(()) => Ok(None),
        Err(Failure::Refused { status: 403, error }) => {
            Ok(Some(sync::missing_role(resource, &error)))
        }
        Err(Failure::Refused { status: 404 | 405 | 410, .. }) => {
            Ok(Some(format!("the API does not offer {}", resource.name)))
        }
        // A probe may be refused for its form; reading will find one that is taken.
        Err(Failure::Refused { .. } | Failure::TooMuch(_)) => Ok(None),
        Err(failure) => Err(failure.into_error()),
    }
}
