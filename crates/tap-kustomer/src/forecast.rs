//! How much a first run would read, by the API's own counts.
//!
//! One call a stream tells the total and, by some records, their weight. Newer builds of the API count to
//! 10,000 only (kustomer-api 4.6): there, parts of the time are counted and the rest follows from them.

use bobbin_core::Result;
use bobbin_core::forecast::{Counted, Forecast, StreamForecast};
use bobbin_core::id::StreamName;
use bobbin_core::selection::Selection;
use bobbin_core::tap::Context;
use jiff::Timestamp;

use crate::config::Config;
use crate::http::pace::Bucket;
use crate::http::{Answer, Call, Client, Failure, pages};
use crate::streams::{self, Archive, Reading, Resource};
use crate::sync::{EDGE_MS, HORIZON_MS, missing_role};
use crate::together::together;
use crate::walk::Query;
use crate::window::{Count, Span};

/// Records by whose weight that of the others is told.
const SAMPLE: u32 = 25;
/// How often a span that is not counted is halved: each costs two calls.
const HALVINGS: usize = 4;
/// Of what is still not counted such a part is, or a smaller one.
const SHARES: [u64; 2] = [128, 16_384];
/// The API counts to here, where it does not count all.
const COUNTED: u64 = 10_000;
/// The part of a full window that is aimed at (see [`crate::window::Planner::aim`]).
const AIM: f64 = 0.94;

/// What one call told.
struct Told {
    total: Option<u64>,
    records: u64,
    bytes: u64,
}

impl Told {
    /// Bytes that so many records have, by those that were seen.
    fn weigh(&self, records: u64) -> u64 {
        let average = self.bytes as f64 / self.records.max(1) as f64;
        (average * records as f64) as u64
    }
}

/// Records, how well they are known, and the calls and bytes they take.
#[derive(Clone, Copy)]
struct Amount {
    records: u64,
    counted: Counted,
    calls: u64,
    bytes: u64,
}

impl Amount {
    fn and(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            counted: self.counted.max(other.counted),
            calls: self.calls + other.calls,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// Asks about every chosen stream.
///
/// # Errors
/// When the key is bad, on a stop, or when repetitions ran out.
pub(crate) fn of(
    config: &Config,
    client: &Client,
    cx: &Context<'_>,
    start: Option<Timestamp>,
    selection: &Selection,
) -> Result<Forecast> {
    let now = client.likely_time().unwrap_or_else(|| cx.clock.now());
    let start = start.unwrap_or_else(|| config.start(now)).min(now);
    let asking = Asking { config, client, cx, start, now };
    let chosen: Vec<&Resource> = streams::resources()
        .iter()
        .filter(|resource| selection.contains(&StreamName::from(resource.name)))
        .collect();
    let answers = together(&chosen, |resource| asking.about(resource))?;
    let mut forecast = Forecast {
        start,
        counted_at: now,
        streams: Vec::new(),
        unreadable: Vec::new(),
        minutes: None,
    };
    let (mut searches, mut all) = (0, 0);
    for (resource, answer) in chosen.into_iter().zip(answers) {
        let stream = StreamName::from(resource.name);
        let amount = match answer {
            Ok(amount) => amount,
            Err(reason) => {
                forecast.unreadable.push((stream, reason));
                continue;
            }
        };
        let bucket = match resource.reading {
            Reading::Search { .. } => Bucket::Search,
            Reading::List { .. } => Bucket::Organization,
        };
        all += amount.calls;
        searches += if bucket == Bucket::Search { amount.calls } else { 0 };
        forecast.streams.push(StreamForecast {
            stream,
            records: amount.records,
            counted: amount.counted,
            calls: amount.calls,
            bytes: amount.bytes,
            minutes: asking.minutes(bucket, amount.calls),
        });
    }
    let both =
        [asking.minutes(Bucket::Search, searches), asking.minutes(Bucket::Organization, all)];
    forecast.minutes = both.into_iter().flatten().reduce(f64::max);
    Ok(forecast)
}

struct Asking<'a> {
    config: &'a Config,
    client: &'a Client,
    cx: &'a Context<'a>,
    start: Timestamp,
    now: Timestamp,
}

impl Asking<'_> {
    fn minutes(&self, bucket: Bucket, calls: u64) -> Option<f64> {
        Some(calls as f64 / self.client.pace().per_minute(bucket)?)
    }

    /// How much of a stream there is, or why it may not be read.
    fn about(&self, resource: &'static Resource) -> Result<Result<Amount, String>> {
        let asked = match &resource.reading {
            Reading::List { path, page_size, variants } => {
                self.list(resource, path, *page_size, variants)
            }
            Reading::Search { context, archive } => self.search(resource, context, *archive),
        };
        match asked {
            Ok(amount) => Ok(Ok(amount)),
            Err(Failure::Refused { status: 403, error }) => Ok(Err(missing_role(resource, &error))),
            Err(Failure::Refused { status: 404 | 405 | 410, .. }) => {
                Ok(Err(format!("the API does not offer {}", resource.name)))
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// Lists are read whole, whatever the start date.
    fn list(
        &self,
        resource: &Resource,
        path: &str,
        page_size: u32,
        variants: &[&str],
    ) -> Result<Amount, Failure> {
        let mut sum = None;
        for variant in [None].into_iter().chain(variants.iter().map(Some)) {
            let more = variant.map_or_else(String::new, |variant| format!("&{variant}"));
            let call = get(resource, format!("{path}?page=1&pageSize={page_size}{more}"));
            let told = match self.ask(&call) {
                Ok(told) => told,
                // A variant that is not known holds nothing.
                Err(Failure::Refused { .. }) if variant.is_some() => continue,
                Err(failure) => return Err(failure),
            };
            let full = told.records >= u64::from(page_size);
            let (records, counted) = match told.total {
                Some(total) => (total, Counted::Exactly),
                None if full => (told.records, Counted::AtLeast),
                None => (told.records, Counted::Exactly),
            };
            let amount = Amount {
                records,
                counted,
                calls: records.div_ceil(page_size.into()).max(1),
                bytes: told.weigh(records),
            };
            sum = Some(sum.map_or(amount, |sum: Amount| sum.and(amount)));
        }
        Ok(sum.unwrap_or(Amount { records: 0, counted: Counted::Exactly, calls: 0, bytes: 0 }))
    }

    fn search(
        &self,
        resource: &'static Resource,
        context: &'static str,
        archive: Archive,
    ) -> Result<Amount, Failure> {
        let settle = self.config.settle.as_millis() as i64;
        let now = self.now.as_millisecond();
        let to = now - settle;
        let from = self.start.as_millisecond().clamp(0, to.max(0));
        let live = self.span(resource, Query::live(context), Span { from, to })?;
        let horizon = now - HORIZON_MS;
        if from >= horizon {
            return Ok(live);
        }
        // What has not changed for two years is elsewhere, and the days about that are read twice.
        let old = Span { from, to: (horizon + EDGE_MS).min(to) };
        let old = match archive {
            Archive::Search => self.span(resource, Query::archive(context), old),
            Archive::None => self.behind(resource, live.records),
        };
        match old {
            Ok(old) => Ok(live.and(Amount { calls: old.calls + 1, ..old })),
            // A run tells that it is missing.
            Err(Failure::Refused { .. }) => Ok(Amount { counted: Counted::AtLeast, ..live }),
            Err(failure) => Err(failure),
        }
    }

    /// What the list of everything holds beyond the `live` records.
    fn behind(&self, resource: &Resource, live: u64) -> Result<Amount, Failure> {
        let told =
            self.ask(&get(resource, format!("/v1/{}?page=1&pageSize=100", resource.name)))?;
        let all = told.total.unwrap_or(told.records);
        let records = all.saturating_sub(live);
        let counted = if told.total.is_some() { Counted::Estimated } else { Counted::AtLeast };
        let bytes = told.weigh(records);
        Ok(Amount { records, counted, calls: all.div_ceil(100).max(1), bytes })
    }

    fn span(
        &self,
        resource: &'static Resource,
        mut query: Query,
        span: Span,
    ) -> Result<Amount, Failure> {
        let stream = StreamName::from(resource.name);
        let told = match self.ask(&query.probe(&stream, span, SAMPLE)) {
            // As a walk does: the plainest question is taken everywhere.
            Err(Failure::Refused { status: 400 | 422, .. }) if query.retreat() => {
                self.ask(&query.probe(&stream, span, SAMPLE))?
            }
            told => told?,
        };
        let (records, counted) = match Count::of(told.total) {
            Count::Exact(total) => (total, Counted::Exactly),
            Count::AtLeast(least) => match self.by_parts(&stream, &query, span)? {
                Some(records) => (records.max(least), Counted::Estimated),
                None => (least, Counted::AtLeast),
            },
            Count::Unknown if told.records < u64::from(SAMPLE) => (told.records, Counted::Exactly),
            Count::Unknown => (told.records, Counted::AtLeast),
        };
        let calls = calls(records, self.config.page_size.into(), self.config.window_cap);
        Ok(Amount { records, counted, calls, bytes: told.weigh(records) })
    }

    /// Records of a span that holds more than is counted: its halves are counted, and theirs, and of what is
    /// still too much a small part. None where even that is.
    fn by_parts(
        &self,
        stream: &StreamName,
        query: &Query,
        span: Span,
    ) -> Result<Option<u64>, Failure> {
        let count = |spans: &[Span]| {
            let told = together(spans, |span| self.ask(&query.probe(stream, *span, 1)))?;
            Ok::<_, Failure>(told.into_iter().map(|told| Count::of(told.total)).collect::<Vec<_>>())
        };
        let (mut records, mut dense) = (0, vec![span]);
        for _ in 0..HALVINGS {
            let widest = dense.iter().enumerate().max_by_key(|(_, span)| span.width());
            let Some(widest) = widest.map(|(at, _)| at) else { break };
            let Some((first, second)) = dense.swap_remove(widest).halves(None) else {
                return Ok(None);
            };
            let halves = [first, second];
            for (half, count) in halves.into_iter().zip(count(&halves)?) {
                match count {
                    Count::Exact(more) => records += more,
                    Count::AtLeast(_) | Count::Unknown => dense.push(half),
                }
            }
        }
        for whole in dense {
            let Some(of_part) = Self::by_sample(whole, &count)? else { return Ok(None) };
            records += of_part.max(COUNTED);
        }
        Ok(Some(records))
    }

    /// Records of a span by those of a small part in its middle.
    fn by_sample(
        whole: Span,
        count: &impl Fn(&[Span]) -> Result<Vec<Count>, Failure>,
    ) -> Result<Option<u64>, Failure> {
        for share in SHARES {
            let width = (whole.width() / share).max(1);
            let from = whole.from + (whole.width() / 2) as i64;
            let part = Span { from, to: (from + width as i64 - 1).min(whole.to) };
            if let [Count::Exact(records)] = count(&[part])?[..] {
                let all = records as f64 * (whole.width() as f64 / part.width() as f64);
                return Ok(Some(all as u64));
            }
        }
        Ok(None)
    }

    fn ask(&self, call: &Call) -> Result<Told, Failure> {
        self.client.call(self.cx, call, false, |answer: &Answer<'_>| {
            let (text, _) = pages::decode_lossy(answer.bytes);
            let page = pages::cut(pages::without_mark(&text))?;
            let bytes = page.records.iter().map(|record| record.len() as u64).sum();
            Ok(Told { total: page.total, records: page.records.len() as u64, bytes })
        })
    }
}

fn get(resource: &Resource, path: String) -> Call {
    Call {
        body: None,
        path,
        bucket: Bucket::Organization,
        stream: Some(StreamName::from(resource.name)),
        divisible: false,
    }
}

/// Calls that read so many records: one window where they fit. Else the first page of all is kept, and
/// windows follow whose last page is half full.
fn calls(records: u64, page: u64, cap: u64) -> u64 {
    if records <= cap {
        return records.div_ceil(page).max(1);
    }
    let rest = records.saturating_sub(page) as f64;
    let windows = rest / (cap as f64 * AIM);
    1 + (rest / page as f64 + windows / 2.0).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::calls;

    #[test]
    fn calls_follow_from_pages_and_windows() {
        for (records, expected) in
            [(0, 1), (1, 1), (500, 1), (501, 2), (10_000, 20), (10_001, 21), (100_000, 206)]
        {
            assert_eq!(calls(records, 500, 10_000), expected, "{records}");
        }
    }
}
