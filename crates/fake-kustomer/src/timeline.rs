//! When the records of a stream were created and last changed, for any number of them.
//!
//! A timeline is a short list of spans. Record number `n` has a creation time, an update time and
//! an id, and all three never decrease with `n`: any window of them is a range of numbers, found
//! by binary search. What changes afterwards lives in the overlay.

use serde::{Deserialize, Serialize};

use crate::clock::When;
use crate::random::{below, mix, mix2};

/// A run of records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Span {
    /// `count` records whose update times are spread evenly, with jitter, over `from..to`.
    Uniform {
        /// How many records.
        count: u64,
        /// The earliest update.
        from: When,
        /// The end of the span (exclusive).
        to: When,
    },
    /// `count` records all updated in the same millisecond: a bulk edit long ago.
    Plateau {
        /// How many records.
        count: u64,
        /// The shared update time.
        at: When,
        /// Whether they were also all created in one millisecond (an import).
        #[serde(default)]
        same_created: bool,
    },
}

/// A 24-digit id: creation second, record number, and a check that ties it to seed and stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(u128);

/// Numbers at and above this belong to records added by mutation.
pub(crate) const ADDED: u64 = 1 << 39;

impl Id {
    #[inline(always)]
    pub(crate) fn new(created_ms: i64, number: u64, salt: u64) -> Self {
        let seconds = created_ms.div_euclid(1000) as u32;
        let check = mix2(salt, number) & 0xff_ffff;
        Self((u128::from(seconds) << 64) | u128::from((number << 24) | check))
    }

    /// Reads 24 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if text.len() != 24 || !lower {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }

    /// Reads up to 24 hexadecimal digits as a bound for comparisons.
    pub(crate) fn parse_bound(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > 24 {
            return None;
        }
        let padded = format!("{text:0<24}");
        u128::from_str_radix(&padded, 16).ok().map(Self)
    }

    /// The smallest id above this one.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(crate) fn as_u128(self) -> u128 {
        self.0
    }

    /// The record number inside.
    pub(crate) fn number(self) -> u64 {
        (self.0 as u64) >> 24
    }

    #[inline(always)]
    pub(crate) fn write_hex(self, text: &mut [u8]) {
        let bytes = self.0.to_be_bytes();
        for (index, byte) in bytes[4..16].iter().enumerate() {
            let pair = HEX_PAIRS[*byte as usize];
            text[index * 2] = pair[0];
            text[index * 2 + 1] = pair[1];
        }
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:024x}", self.0)
    }
}

static HEX_PAIRS: [[u8; 2]; 256] = hex_pairs();

const fn hex_pairs() -> [[u8; 2]; 256] {
    let digits = b"0123456789abcdef";
    let mut table = [[0_u8; 2]; 256];
    let mut index = 0;
    while index < 256 {
        table[index] = [digits[index >> 4], digits[index & 15]];
        index += 1;
    }
    table
}

/// Even steps through time in fixed point, with jitter inside each step.
#[derive(Clone, Debug)]
struct Steps {
    from: i64,
    step: u64,
    jitter: u64,
}

const FRACTION: u32 = 20;

impl Steps {
    fn new(from: i64, to: i64, count: u64) -> Self {
        let width = (to - from).max(0) as u64;
        let step = ((u128::from(width) << FRACTION) / u128::from(count.max(1))) as u64;
        Self { from, step, jitter: step >> FRACTION }
    }

    #[inline(always)]
    fn at(&self, index: u64, hash: u64) -> i64 {
        let base = ((u128::from(index) * u128::from(self.step)) >> FRACTION) as u64;
        self.from + (base + below(hash, self.jitter)) as i64
    }
}

#[derive(Clone, Debug)]
struct Piece {
    first: u64,
    updated: Steps,
    created: Steps,
}

/// The spans of one stream, ready for questions.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    pieces: Vec<Piece>,
    total: u64,
    salt: u64,
}

impl Timeline {
    /// `age_ms` is how long before its update a record was created.
    pub(crate) fn new(spans: &[Span], origin: i64, salt: u64, age_ms: i64) -> Result<Self, String> {
        let mut pieces = Vec::with_capacity(spans.len());
        let mut total = 0;
        let mut updated_end = i64::MIN;
        let mut created_end = i64::MIN;
        for span in spans {
            let (count, from, to) = match *span {
                Span::Uniform { count, from, to } => {
                    (count, from.resolve(origin), to.resolve(origin))
                }
                Span::Plateau { count, at, .. } => (count, at.resolve(origin), at.resolve(origin)),
            };
            if from < updated_end || to < from {
                return Err(format!("spans must follow each other in time: {span:?}"));
            }
            if count > u64::from(u32::MAX) / 2 {
                return Err(format!("a span holds at most {} records", u32::MAX / 2));
            }
            if count == 0 {
                continue;
            }
            let plateau_start = || created_end.max(from - age_ms - 30 * 86_400_000);
            let (created_from, created_to) = match span {
                Span::Uniform { .. } => (from - age_ms, to - age_ms),
                Span::Plateau { same_created: true, .. } => (from - age_ms, from - age_ms),
                Span::Plateau { .. } => (plateau_start(), from - age_ms),
            };
            let created_from = created_from.max(created_end);
            let created_to = created_to.max(created_from);
            pieces.push(Piece {
                first: total,
                updated: Steps::new(from, to, count),
                created: Steps::new(created_from, created_to, count),
            });
            total += count;
            updated_end = to;
            created_end = created_to;
        }
        if total > u64::from(u32::MAX) {
            return Err(format!("a stream holds at most {} records", u32::MAX));
        }
        Ok(Self { pieces, total, salt })
    }

    /// How many records, past and future.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn salt(&self) -> u64 {
        self.salt
    }

    #[inline(always)]
    fn piece(&self, number: u64) -> &Piece {
        let mut index = self.pieces.len() - 1;
        while self.pieces[index].first > number {
            index -= 1;
        }
        &self.pieces[index]
    }

    /// When base record `number` was last updated; `number < total`.
    #[inline(always)]
    pub(crate) fn updated(&self, number: u64) -> i64 {
        let piece = self.piece(number);
        piece.updated.at(number - piece.first, mix(self.salt ^ number))
    }

    /// When base record `number` was created.
    #[inline(always)]
    pub(crate) fn created(&self, number: u64) -> i64 {
        let piece = self.piece(number);
        let index = number - piece.first;
        let created = piece.created.at(index, mix(self.salt ^ !number));
        created.min(piece.updated.at(index, mix(self.salt ^ number)))
    }

    /// The id of base record `number`.
    #[inline(always)]
    pub(crate) fn id(&self, number: u64) -> Id {
        Id::new(self.created(number), number, self.salt)
    }

    /// The first number in `low..high` for which `reached` holds, else `high`.
    pub(crate) fn first(low: u64, high: u64, reached: impl Fn(u64) -> bool) -> u64 {
        let (mut low, mut high) = (low, high.max(low));
        while low < high {
            let middle = low + (high - low) / 2;
            if reached(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ids_never_decrease() {
        for salt in 0..20 {
            let spans = [
                Span::Uniform { count: 500, from: When::at(1_000_000), to: When::at(1_000_900) },
                Span::Plateau { count: 300, at: When::at(2_000_000), same_created: salt % 2 == 0 },
                Span::Uniform { count: 700, from: When::at(2_000_000), to: When::at(90_000_000) },
                Span::Plateau { count: 2, at: When::at(90_000_000), same_created: false },
            ];
            let timeline = Timeline::new(&spans, 0, mix(salt), 5_000 * salt as i64)
                .unwrap_or_else(|e| unreachable!("{e}"));
            assert_eq!(timeline.total(), 1502);
            for n in 1..timeline.total() {
                assert!(timeline.updated(n - 1) <= timeline.updated(n));
                assert!(timeline.created(n - 1) <= timeline.created(n));
                assert!(timeline.id(n - 1) < timeline.id(n));
                assert!(timeline.created(n) <= timeline.updated(n));
                assert_eq!(Id::parse(&timeline.id(n).to_string()), Some(timeline.id(n)));
                assert_eq!(timeline.id(n).number(), n);
            }
        }
    }
}
