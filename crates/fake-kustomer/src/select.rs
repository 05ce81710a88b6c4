//! Pages out of sorted sources: totals by counting, rows by rank, nothing held.

use crate::overlay::Stream;
use crate::random::mix2;
use crate::sorted::SortedSet;
use crate::timeline::{ADDED, Id, Timeline};
use crate::world::World;

/// What rows are ordered by. Every key grows with the record number in the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Updated,
    Created,
}

/// A row: which stream, which record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) stream: usize,
    pub(crate) number: u64,
}

/// Which records a query can see at all. Bounds are low inclusive, high exclusive.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) updated: (i64, i64),
    pub(crate) created: (i64, i64),
    pub(crate) id: (Option<Id>, Option<Id>),
}

impl Default for Window {
    fn default() -> Self {
        let open = (i64::MIN, i64::MAX);
        Self { updated: open, created: open, id: (None, None) }
    }
}

impl Window {
    fn only_updated(&self) -> bool {
        self.created == (i64::MIN, i64::MAX) && self.id == (None, None)
    }

    fn admits(&self, created: i64, id: Id) -> bool {
        created >= self.created.0
            && created < self.created.1
            && self.id.0.is_none_or(|low| id >= low)
            && self.id.1.is_none_or(|high| id < high)
    }
}

enum Source<'w> {
    /// Base numbers `low..high` without those in `minus`.
    Base { stream: &'w Stream, low: u64, high: u64, minus: &'w SortedSet<u64>, before: usize },
    /// Ranks `low..high` of an overlay index; only in update order.
    Set { stream: usize, set: &'w SortedSet<(i64, u64)>, low: usize, high: usize },
    /// Rows written out, by key.
    List { stream: usize, items: Vec<(i64, u64)> },
}

impl Source<'_> {
    fn stream(&self) -> usize {
        match self {
            Source::Base { stream, .. } => stream.index,
            Source::Set { stream, .. } | Source::List { stream, .. } => *stream,
        }
    }

    fn len(&self) -> usize {
        match self {
            Source::Base { low, high, .. } => self.kept_below(*high) - self.kept_below(*low),
            Source::Set { low, high, .. } => high - low,
            Source::List { items, .. } => items.len(),
        }
    }

    /// Base numbers in `low..number` that are not in `minus`.
    fn kept_below(&self, number: u64) -> usize {
        match self {
            Source::Base { low, minus, before, .. } => {
                (number - low) as usize - (minus.rank(&number) - before)
            }
            _ => 0,
        }
    }

    /// How many rows come before key `t`.
    fn below(&self, key: Key, t: i64) -> usize {
        match self {
            Source::Base { stream, low, high, .. } => {
                let first = Timeline::first(*low, *high, |n| base_key(stream, key, n) >= t);
                self.kept_below(first)
            }
            Source::Set { set, low, high, .. } => set.rank(&(t, 0)).clamp(*low, *high) - low,
            Source::List { items, .. } => items.partition_point(|(k, _)| *k < t),
        }
    }

    fn bounds(&self, key: Key) -> Option<(i64, i64)> {
        if self.len() == 0 {
            return None;
        }
        match self {
            Source::Base { stream, low, high, .. } => {
                Some((base_key(stream, key, *low), base_key(stream, key, high - 1)))
            }
            Source::Set { set, low, high, .. } => {
                Some((set.iter_from(*low).next()?.0, set.iter_from(high - 1).next()?.0))
            }
            Source::List { items, .. } => Some((items.first()?.0, items.last()?.0)),
        }
    }

    /// Rows from place `skip` on.
    fn rows(&self, key: Key, skip: usize) -> Box<dyn Iterator<Item = (i64, u64)> + '_> {
        match self {
            Source::Base { stream, low, high, minus, .. } => {
                let start = if skip == 0 {
                    *low
                } else {
                    Timeline::first(*low, *high, |n| self.kept_below(n) >= skip)
                };
                let mut gaps = minus.iter_from(minus.rank(&start)).peekable();
                let rows = (start..*high).filter(move |n| gaps.next_if_eq(n).is_none());
                Box::new(rows.map(move |n| (base_key(stream, key, n), n)))
            }
            Source::Set { set, low, high, .. } => {
                Box::new(set.iter_from(low + skip).take((high - low).saturating_sub(skip)))
            }
            Source::List { items, .. } => Box::new(items.iter().copied().skip(skip)),
        }
    }
}

#[inline(always)]
fn base_key(stream: &Stream, key: Key, number: u64) -> i64 {
    match key {
        Key::Updated => stream.timeline.updated(number),
        Key::Created => stream.timeline.created(number),
    }
}

fn key_of(stream: &Stream, key: Key, updated: i64, number: u64) -> i64 {
    match key {
        Key::Updated => updated,
        Key::Created => stream.created(number),
    }
}

/// The rows of a query, not yet looked at.
pub(crate) struct Selection<'w> {
    world: &'w World,
    sources: Vec<Source<'w>>,
    key: Key,
}

impl<'w> Selection<'w> {
    /// What the search index shows at `now`.
    pub(crate) fn index(
        world: &'w World,
        streams: &[usize],
        key: Key,
        window: &Window,
        include_deleted: bool,
        now: i64,
    ) -> Self {
        let mut sources = Vec::new();
        for &index in streams {
            let stream = &world.streams[index];
            let timeline = &stream.timeline;
            let total = timeline.total();
            let low = Timeline::first(0, total, |n| {
                timeline.updated(n) >= window.updated.0
                    && timeline.created(n) >= window.created.0
                    && window.id.0.is_none_or(|low| timeline.id(n) >= low)
            });
            let high = Timeline::first(low, total, |n| {
                timeline.updated(n) >= window.updated.1
                    || timeline.created(n) >= window.created.1
                    || window.id.1.is_some_and(|high| timeline.id(n) >= high)
            });
            let settled = Timeline::first(low, high, |n| timeline.updated(n) > now - world.max_lag);
            let arrived = Timeline::first(settled, high, |n| timeline.updated(n) > now);
            let before = stream.touched.rank(&low);
            let minus = &stream.touched;
            sources.push(Source::Base { stream, low, high: settled, minus, before });

            let mut items: Vec<(i64, u64)> = (settled..arrived)
                .filter(|n| !stream.touched.contains(n))
                .filter(|n| {
                    let rec = stream.base_rec(*n);
                    rec.updated + world.lag(index, *n, rec.rev) <= now
                })
                .map(|n| (base_key(stream, key, n), n))
                .collect();
            let set = if include_deleted { &stream.all } else { &stream.live };
            let from = set.rank(&(window.updated.0, 0));
            let to = set.rank(&(window.updated.1, 0));
            if key == Key::Updated && window.only_updated() {
                sources.push(Source::Set { stream: index, set, low: from, high: to.max(from) });
            } else {
                let rows = set.iter_from(from).take(to.saturating_sub(from));
                let rows = rows.filter(|(_, n)| window.admits(stream.created(*n), stream.id(*n)));
                items.extend(rows.map(|(updated, n)| (key_of(stream, key, updated, n), n)));
                items.sort_unstable();
            }
            sources.push(Source::List { stream: index, items });
        }
        Self { world, sources, key }
    }

    /// What the store holds at `now`, in order of creation, for `GET` lists.
    pub(crate) fn store(world: &'w World, streams: &[usize], now: i64) -> Self {
        let mut sources = Vec::new();
        for &index in streams {
            let stream = &world.streams[index];
            let high = stream.base_end(now);
            let minus = &stream.hidden;
            sources.push(Source::Base { stream, low: 0, high, minus, before: 0 });
            let added = (0..stream.added.len() as u64).map(|n| ADDED + n);
            let added = added.filter(|n| !stream.hidden.contains(n));
            let items = added.map(|n| (stream.created(n), n)).collect();
            sources.push(Source::List { stream: index, items });
        }
        Self { world, sources, key: Key::Created }
    }

    /// These records, in order of creation.
    pub(crate) fn of(world: &'w World, stream: usize, numbers: impl Iterator<Item = u64>) -> Self {
        let state = &world.streams[stream];
        let mut items: Vec<_> = numbers.map(|n| (state.created(n), n)).collect();
        items.sort_unstable();
        Self { world, sources: vec![Source::List { stream, items }], key: Key::Created }
    }

    /// Keeps the rows for which `keep` holds, ordered by `order` when given.
    pub(crate) fn filtered(
        self,
        keep: impl Fn(Hit) -> bool,
        order: Option<&dyn Fn(Hit) -> String>,
    ) -> Self {
        let world = self.world;
        let mut kept: Vec<(i64, Hit)> = Vec::new();
        for source in &self.sources {
            let stream = source.stream();
            let rows = source.rows(self.key, 0).map(|(k, number)| (k, Hit { stream, number }));
            kept.extend(rows.filter(|(_, hit)| keep(*hit)));
        }
        if let Some(order) = order {
            // Values become places, so that the rest works as for times.
            let mut valued: Vec<_> = kept.iter().map(|(_, hit)| order(*hit)).collect();
            valued.sort_unstable();
            valued.dedup();
            for (key, hit) in &mut kept {
                *key = valued.partition_point(|value| *value < order(*hit)) as i64;
            }
        }
        let mut streams: Vec<usize> = kept.iter().map(|(_, hit)| hit.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        let sources = streams.into_iter().map(|stream| {
            let own = kept.iter().filter(|(_, hit)| hit.stream == stream);
            let mut items: Vec<_> = own.map(|(key, hit)| (*key, hit.number)).collect();
            items.sort_unstable();
            Source::List { stream, items }
        });
        Self { world, sources: sources.collect(), key: self.key }
    }

    /// How many rows there are.
    pub(crate) fn total(&self) -> u64 {
        self.sources.iter().map(|source| source.len() as u64).sum()
    }

    /// Rows `offset..offset + limit`. Rows of one key are ordered by id, or shuffled by `shuffle`.
    pub(crate) fn page(
        &self,
        offset: u64,
        limit: u64,
        descending: bool,
        shuffle: Option<u64>,
    ) -> Vec<Hit> {
        let total = self.total();
        if offset >= total || limit == 0 {
            return Vec::new();
        }
        let limit = limit.min(total - offset);
        if descending {
            let mut hits = self.ascending(total - offset - limit, limit, shuffle);
            hits.reverse();
            return hits;
        }
        self.ascending(offset, limit, shuffle)
    }

    fn below(&self, t: i64) -> u64 {
        self.sources.iter().map(|source| source.below(self.key, t) as u64).sum()
    }

    fn ascending(&self, offset: u64, limit: u64, shuffle: Option<u64>) -> Vec<Hit> {
        let bounds = self.sources.iter().filter_map(|source| source.bounds(self.key));
        let Some((mut low, mut high)) = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else {
            return Vec::new();
        };
        // The key of the row at `offset`: the largest with at most `offset` rows before it.
        while low < high {
            let middle = low + (high - low + 1) / 2;
            if self.below(middle) <= offset {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        let mut skip = (offset - self.below(low)) as usize;
        let mut rows: Vec<_> = self
            .sources
            .iter()
            .map(|source| {
                (source.stream(), source.rows(self.key, source.below(self.key, low)).peekable())
            })
            .collect();
        let mut hits = Vec::with_capacity(limit as usize);
        let mut group: Vec<(u128, Hit)> = Vec::new();
        while let Some(next) = rows.iter_mut().filter_map(|(_, r)| r.peek().map(|row| row.0)).min()
        {
            group.clear();
            for (stream, source) in &mut rows {
                while let Some((_, number)) = source.next_if(|row| row.0 == next) {
                    let hit = Hit { stream: *stream, number };
                    group.push((self.rank_in_tie(hit, shuffle), hit));
                }
            }
            if group.len() > 1 {
                group.sort_unstable_by_key(|(rank, _)| *rank);
            }
            for (_, hit) in group.iter().skip(skip) {
                hits.push(*hit);
                if hits.len() as u64 == limit {
                    return hits;
                }
            }
            skip = skip.saturating_sub(group.len());
        }
        hits
    }

    fn rank_in_tie(&self, hit: Hit, shuffle: Option<u64>) -> u128 {
        match shuffle {
            Some(seed) => u128::from(mix2(seed, (hit.number << 6) | hit.stream as u64)),
            None => self.world.id(hit.stream, hit.number).as_u128(),
        }
    }
}
