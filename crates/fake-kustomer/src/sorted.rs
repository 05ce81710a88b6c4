//! A sorted set that knows ranks: insert, remove, count below, pick the k-th.

const CHUNK: usize = 1024;

/// Sorted chunks of at most `CHUNK` items. Cheap to change anywhere, quick to ask for ranks.
#[derive(Clone, Debug)]
pub(crate) struct SortedSet<T> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T: Ord + Copy> SortedSet<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The chunk that holds, or should hold, `item`.
    fn chunk_of(&self, item: &T) -> usize {
        let after = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|l| l < item));
        after.min(self.chunks.len().saturating_sub(1))
    }

    /// Adds `item`; false when it was there.
    pub(crate) fn insert(&mut self, item: T) -> bool {
        if self.chunks.is_empty() {
            self.chunks.push(vec![item]);
            self.len = 1;
            return true;
        }
        let at = self.chunk_of(&item);
        let chunk = &mut self.chunks[at];
        let Err(place) = chunk.binary_search(&item) else { return false };
        chunk.insert(place, item);
        self.len += 1;
        if chunk.len() > CHUNK {
            let rest = chunk.split_off(CHUNK / 2);
            self.chunks.insert(at + 1, rest);
        }
        true
    }

    /// Removes `item`; false when it was not there.
    pub(crate) fn remove(&mut self, item: &T) -> bool {
        if self.chunks.is_empty() {
            return false;
        }
        let at = self.chunk_of(item);
        let Ok(place) = self.chunks[at].binary_search(item) else { return false };
        self.chunks[at].remove(place);
        self.len -= 1;
        if self.chunks[at].is_empty() {
            self.chunks.remove(at);
        }
        true
    }

    pub(crate) fn contains(&self, item: &T) -> bool {
        !self.chunks.is_empty() && self.chunks[self.chunk_of(item)].binary_search(item).is_ok()
    }

    /// How many items are below `item`.
    pub(crate) fn rank(&self, item: &T) -> usize {
        let at = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|l| l < item));
        let before: usize = self.chunks[..at].iter().map(Vec::len).sum();
        before + self.chunks.get(at).map_or(0, |chunk| chunk.partition_point(|x| x < item))
    }

    /// Everything from the item of rank `from` on, in order.
    pub(crate) fn iter_from(&self, from: usize) -> impl Iterator<Item = T> + '_ {
        let mut skip = from;
        let mut at = 0;
        while at < self.chunks.len() && self.chunks[at].len() <= skip {
            skip -= self.chunks[at].len();
            at += 1;
        }
        let first = self.chunks.get(at).map_or(&[][..], |chunk| &chunk[skip..]);
        let rest = self.chunks.get(at + 1..).unwrap_or(&[]);
        first.iter().copied().chain(rest.iter().flatten().copied())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::random::{below, mix};

    #[test]
    fn behaves_like_a_tree_set() {
        let mut set = SortedSet::default();
        let mut model = BTreeSet::new();
        for step in 0..20_000_u64 {
            let item = below(mix(step), 6000);
            if below(mix(!step), 3) == 0 {
                assert_eq!(set.remove(&item), model.remove(&item));
            } else {
                assert_eq!(set.insert(item), model.insert(item));
            }
        }
        assert_eq!(set.len(), model.len());
        for probe in (0..6010).step_by(37) {
            assert_eq!(set.rank(&probe), model.range(..probe).count());
            assert_eq!(set.contains(&probe), model.contains(&probe));
            let from = set.rank(&probe);
            assert!(set.iter_from(from).take(5).eq(model.range(probe..).take(5).copied()));
        }
        assert_eq!(set.iter_from(model.len()).next(), None);
    }
}
