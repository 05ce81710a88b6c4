//! Request budgets per simulated minute.

use crate::config::{RateAlgorithm, RateConfig, RateHeaders, ResetUnit};

const MINUTE: i64 = 60_000;

#[derive(Default)]
struct Bucket {
    window: i64,
    used: f64,
    last: i64,
}

/// What one budget says about a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Budget {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    pub(crate) reset_ms: i64,
    pub(crate) refused: bool,
}

impl Bucket {
    fn take(&mut self, now: i64, limit: f64, others: f64, algorithm: RateAlgorithm) -> Budget {
        let reset_ms = match algorithm {
            RateAlgorithm::FixedWindow => {
                let window = now.div_euclid(MINUTE);
                if window != self.window {
                    self.window = window;
                    self.used = others;
                }
                (window + 1) * MINUTE
            }
            RateAlgorithm::LeakyBucket => {
                let drained = (now - self.last).max(0) as f64 * (limit - others) / MINUTE as f64;
                self.used = (self.used - drained).max(0.0);
                self.last = now;
                now + (MINUTE as f64 / limit.max(1.0)).ceil() as i64
            }
        };
        let refused = self.used + 1.0 > limit;
        if !refused {
            self.used += 1.0;
        }
        let remaining = (limit - self.used).max(0.0) as u64;
        Budget { limit: limit as u64, remaining, reset_ms, refused }
    }
}

/// The organisation's budget and the search budget inside it.
#[derive(Default)]
pub(crate) struct Buckets {
    org: Bucket,
    search: Bucket,
}

impl Buckets {
    /// Charges a request; `None` when budgets are off.
    pub(crate) fn take(&mut self, config: &RateConfig, now: i64, search: bool) -> Option<Budget> {
        if config.factor <= 0.0 {
            return None;
        }
        let scaled = |per_minute: u64| per_minute as f64 * config.factor;
        let others = scaled(config.others_per_minute);
        let org = self.org.take(now, scaled(config.org_per_minute), others, config.algorithm);
        if org.refused || !search {
            return Some(org);
        }
        let limit = scaled(config.search_per_minute);
        let search = self.search.take(now, limit, 0.0, config.algorithm);
        let shown = search.refused || config.headers == RateHeaders::Tightest;
        if shown && config.headers != RateHeaders::Tightest {
            // The headers speak of the organisation even when the search budget refused.
            return Some(Budget { refused: true, reset_ms: search.reset_ms, ..org });
        }
        Some(if shown { search } else { org })
    }
}

/// The text of `x-ratelimit-reset`.
pub(crate) fn reset_text(unit: ResetUnit, reset_ms: i64, now: i64) -> String {
    let seconds_up = |ms: i64| (ms + 999).div_euclid(1000);
    match unit {
        ResetUnit::EpochSeconds => seconds_up(reset_ms).to_string(),
        ResetUnit::EpochMilliseconds => reset_ms.to_string(),
        ResetUnit::SecondsFromNow => seconds_up(reset_ms - now).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(algorithm: RateAlgorithm, times: impl Iterator<Item = i64>) -> usize {
        let config = RateConfig { search_per_minute: 10, algorithm, ..RateConfig::default() };
        let mut buckets = Buckets::default();
        times.filter(|now| buckets.take(&config, *now, true).is_some_and(|b| b.refused)).count()
    }

    #[test]
    fn a_fixed_window_refuses_until_the_next_minute() {
        assert_eq!(refused(RateAlgorithm::FixedWindow, (0..15).map(|n| n * 100)), 5);
        assert_eq!(refused(RateAlgorithm::FixedWindow, (0..20).map(|n| n * 6000)), 0);
        assert_eq!(refused(RateAlgorithm::FixedWindow, (0..20).map(|n| 55_000 + n * 500)), 0);
    }

    #[test]
    fn a_leaky_bucket_refuses_bursts_and_refills_evenly() {
        assert_eq!(refused(RateAlgorithm::LeakyBucket, (0..20).map(|n| 55_000 + n * 500)), 9);
        assert_eq!(refused(RateAlgorithm::LeakyBucket, (0..200).map(|n| n * 6000)), 0);
    }

    #[test]
    fn resets_are_told_in_every_unit() {
        assert_eq!(reset_text(ResetUnit::EpochSeconds, 120_000, 61_500), "120");
        assert_eq!(reset_text(ResetUnit::EpochMilliseconds, 120_000, 61_500), "120000");
        assert_eq!(reset_text(ResetUnit::SecondsFromNow, 120_000, 61_500), "59");
    }
}
