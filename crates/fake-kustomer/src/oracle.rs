//! What a perfect replica holds.
//!
//! The rule: for every record, the last version whose `updatedAt` lies before the bound. Records
//! deleted for good, and customers merged away, stay as last seen and say when they went; a
//! replica that first looked after that cannot know them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::render;
use crate::digest::digest_record_bytes;
use crate::out::{Out, timestamp};
use crate::overlay::{Entry, Rec, Stream, Version};
use crate::random::mix2;
use crate::state::Shared;
use crate::timeline::{ADDED, Id, Timeline};
use crate::world::World;

/// A record a perfect replica holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its id.
    pub id: String,
    /// The revision held.
    pub rev: u64,
    /// The `updatedAt` of that revision, as in the record.
    pub updated_at: String,
    /// The same in milliseconds.
    pub updated_ms: i64,
    /// See [`crate::digest_attributes`].
    pub digest: u64,
    /// Whether this version says `deleted: true`.
    pub deleted: bool,
    /// When it was deleted for good or merged away.
    pub gone_ms: Option<i64>,
    /// Whether a newer version exists beyond the bound; a search would no longer show this one.
    pub superseded: bool,
}

/// Which versions are asked about: `updatedAt` from `from_ms` (inclusive) to `until_ms`
/// (exclusive). Without an end: up to and including now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The first instant.
    pub from_ms: Option<i64>,
    /// The end.
    pub until_ms: Option<i64>,
}

impl Bounds {
    /// Everything up to now.
    pub const fn all() -> Self {
        Self { from_ms: None, until_ms: None }
    }

    /// Everything before an instant.
    pub const fn until(ms: i64) -> Self {
        Self { from_ms: None, until_ms: Some(ms) }
    }
}

/// One extraction of an incremental replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// When it read; all of it at once.
    pub at_ms: i64,
    /// It read versions updated from here on.
    pub from_ms: i64,
    /// It read versions updated before this.
    pub until_ms: i64,
}

/// Count and digest of all that is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many records.
    pub count: u64,
    /// The sum over all records of a mix of id, revision and digest; order does not matter.
    pub digest: u64,
}

impl Summary {
    /// Adds a record, as a replica would to compute its own summary.
    pub fn add(&mut self, id: &str, rev: u64, digest: u64) {
        let id = id.bytes().fold(0, |sum, byte| mix2(sum, u64::from(byte)));
        self.count += 1;
        self.digest = self.digest.wrapping_add(mix2(mix2(id, rev), digest));
    }
}

/// Questions about what a replica should hold; cheap to clone.
#[derive(Clone)]
pub struct Oracle {
    pub(crate) shared: Arc<Shared>,
}

impl Oracle {
    /// Every record held, in order of creation. Streams are named as in
    /// [`crate::Config::stream_names`]; `kobject` means all classes.
    pub fn held(&self, stream: &str, bounds: Bounds) -> Result<Vec<Held>, String> {
        let mut all = Vec::new();
        self.for_each(stream, bounds, |held, _| all.push(held.clone()))?;
        Ok(all)
    }

    /// Count and digest of all that is held.
    pub fn summary(&self, stream: &str, bounds: Bounds) -> Result<Summary, String> {
        let mut summary = Summary::default();
        self.for_each(stream, bounds, |held, _| summary.add(&held.id, held.rev, held.digest))?;
        Ok(summary)
    }

    /// Calls `visit` with every record held and its bytes, in constant memory.
    pub fn for_each(
        &self,
        stream: &str,
        bounds: Bounds,
        mut visit: impl FnMut(&Held, &[u8]),
    ) -> Result<(), String> {
        let mut place = Place::default();
        while let Some(next) = self.some(stream, bounds, place, 20_000, &mut visit)? {
            place = next;
        }
        Ok(())
    }

    /// Exactly what a replica holds after these runs, in order of creation: of each record the
    /// version last read. Records and versions that came and went between runs are unknown to it.
    pub fn held_after(&self, stream: &str, runs: &[Run]) -> Result<Vec<Held>, String> {
        let world = self.shared.world();
        let now = self.shared.clock.now();
        let mut out = Out::default();
        let mut all = Vec::new();
        for index in world.streams_of(stream)? {
            let state = &world.streams[index];
            let base = 0..state.base_end(now);
            let added = (0..state.added.len() as u64).map(|n| ADDED + n);
            for number in base.chain(added) {
                let reads = |run: &Run, version: &Version| {
                    !version.gone
                        && version.written <= run.at_ms
                        && (run.from_ms..run.until_ms).contains(&version.updated)
                };
                let Some(entry) = state.entries.get(&number) else {
                    let version = state.base_version(number);
                    if runs.iter().any(|run| reads(run, &version)) {
                        let rec = state.base_rec(number);
                        all.push(describe(&mut out, &world, index, &rec, None, false));
                    }
                    continue;
                };
                let mut seen = runs.iter().filter_map(|run| {
                    let at = entry.versions.iter().rposition(|v| v.written <= run.at_ms)?;
                    reads(run, &entry.versions[at]).then_some(at)
                });
                if let Some(at) = seen.next_back() {
                    let rec = state.version_rec(number, &entry.versions[at]);
                    let newer = entry.versions[at + 1..].iter().any(|version| !version.gone);
                    all.push(describe(&mut out, &world, index, &rec, gone_at(entry), newer));
                }
            }
        }
        Ok(all)
    }

    /// Visits up to `count` records from `place`; where to go on, or nothing at the end.
    pub(crate) fn some(
        &self,
        stream: &str,
        bounds: Bounds,
        place: Place,
        count: u64,
        mut visit: impl FnMut(&Held, &[u8]),
    ) -> Result<Option<Place>, String> {
        let world = self.shared.world();
        let now = self.shared.clock.now();
        let streams = world.streams_of(stream)?;
        let Some(&index) = streams.get(place.stream) else { return Ok(None) };
        let state = &world.streams[index];
        let until = bounds.until_ms.unwrap_or(now + 1);
        let end = Timeline::first(0, state.timeline.total(), |n| {
            let updated = state.timeline.updated(n);
            updated >= until || updated > now
        });
        let mut out = Out::default();
        let mut one = |number: u64| {
            if let Some((rec, gone_ms, superseded)) = held_at(state, number, until, end) {
                if bounds.from_ms.is_some_and(|from| rec.updated < from) {
                    return;
                }
                let held = describe(&mut out, &world, index, &rec, gone_ms, superseded);
                visit(&held, &out.buf);
            }
        };
        if place.number < end {
            let stop = (place.number + count).min(end);
            (place.number..stop).for_each(&mut one);
            return Ok(Some(Place { number: stop, ..place }));
        }
        // Base records that come into view only by a change, then added ones.
        let mut late: Vec<u64> =
            state.entries.keys().copied().filter(|n| *n >= end && *n < ADDED).collect();
        late.sort_unstable();
        late.into_iter().for_each(&mut one);
        (0..state.added.len() as u64).map(|n| ADDED + n).for_each(&mut one);
        Ok(Some(Place { stream: place.stream + 1, number: 0 }))
    }

    /// A record as it is now, deleted or not; nothing when it is gone or never was.
    pub fn record(&self, stream: &str, id: &str) -> Option<Value> {
        self.record_bytes(stream, id).and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    /// The exact bytes of a record as it is now.
    pub fn record_bytes(&self, stream: &str, id: &str) -> Option<Vec<u8>> {
        let world = self.shared.world();
        let now = self.shared.clock.now();
        let id = Id::parse(id)?;
        world.streams_of(stream).ok()?.into_iter().find_map(|index| {
            let state = &world.streams[index];
            let rec = state.stored(state.find(id, now)?)?;
            let mut out = Out::default();
            render(&mut out, &world, index, &rec);
            Some(out.buf)
        })
    }

    /// The bytes of every record held.
    pub fn records(&self, stream: &str, bounds: Bounds) -> Result<Vec<Value>, String> {
        let mut all = Vec::new();
        self.for_each(stream, bounds, |_, bytes| {
            all.push(serde_json::from_slice(bytes).unwrap_or(Value::Null));
        })?;
        Ok(all)
    }

    /// Every version a record ever had, oldest first, the last being the present one.
    pub fn versions(&self, stream: &str, id: &str) -> Vec<Held> {
        let world = self.shared.world();
        let now = self.shared.clock.now();
        let Some(id) = Id::parse(id) else { return Vec::new() };
        let mut out = Out::default();
        for index in world.streams_of(stream).unwrap_or_default() {
            let state = &world.streams[index];
            let Some(number) = state.find(id, now) else { continue };
            let Some(entry) = state.entries.get(&number) else {
                return vec![describe(
                    &mut out,
                    &world,
                    index,
                    &state.base_rec(number),
                    None,
                    false,
                )];
            };
            let gone = gone_at(entry);
            let kept: Vec<_> = entry.versions.iter().filter(|version| !version.gone).collect();
            let last = kept.len().saturating_sub(1);
            let versions = kept.into_iter().enumerate().map(|(place, version)| {
                let rec = state.version_rec(number, version);
                describe(&mut out, &world, index, &rec, gone, place < last)
            });
            return versions.collect();
        }
        Vec::new()
    }

    /// Appends the bytes of untouched records `first..first + count` to `buf`, one after another;
    /// how many there were.
    pub fn write_base(
        &self,
        stream: &str,
        first: u64,
        count: u64,
        buf: &mut Vec<u8>,
    ) -> Result<u64, String> {
        let world = self.shared.world();
        let index = world.stream_index(stream)?;
        let state = &world.streams[index];
        let end = (first + count).min(state.timeline.total());
        let mut out = Out { buf: std::mem::take(buf) };
        for number in first..end {
            render(&mut out, &world, index, &state.base_rec(number));
        }
        *buf = out.buf;
        Ok(end.saturating_sub(first))
    }

    /// The id of a record by its number in order of creation (added records excepted).
    pub fn id(&self, stream: &str, number: u64) -> Result<String, String> {
        let world = self.shared.world();
        let index = world.stream_index(stream)?;
        Ok(world.id(index, number).to_string())
    }
}

/// How far a walk has come.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    stream: usize,
    number: u64,
}

fn gone_at(entry: &Entry) -> Option<i64> {
    entry.latest().filter(|version| version.gone).map(|version| version.written)
}

/// The version of a record that counts before `until`; base numbers below `end` have one.
fn held_at(
    state: &Stream,
    number: u64,
    until: i64,
    end: u64,
) -> Option<(Rec<'_>, Option<i64>, bool)> {
    let Some(entry) = state.entries.get(&number) else {
        return (number < end).then(|| (state.base_rec(number), None, false));
    };
    let place = entry.versions.iter().rposition(|v| !v.gone && v.updated < until)?;
    let superseded = entry.versions.iter().rposition(|v| !v.gone).is_some_and(|last| last > place);
    Some((state.version_rec(number, &entry.versions[place]), gone_at(entry), superseded))
}

fn describe(
    out: &mut Out,
    world: &World,
    stream: usize,
    rec: &Rec<'_>,
    gone_ms: Option<i64>,
    superseded: bool,
) -> Held {
    out.buf.clear();
    render(out, world, stream, rec);
    Held {
        id: rec.id.to_string(),
        rev: rec.rev,
        updated_at: timestamp(rec.updated),
        updated_ms: rec.updated,
        digest: digest_record_bytes(&out.buf),
        deleted: rec.deleted,
        gone_ms,
        superseded,
    }
}
