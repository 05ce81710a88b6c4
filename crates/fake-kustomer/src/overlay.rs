//! What changed since the base: the versions of touched records, and where the index has them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::random::{mix, mix2};
use crate::sorted::SortedSet;
use crate::timeline::{ADDED, Id, Timeline};

/// One written version of a record.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) updated: i64,
    /// When it was written; differs from `updated` for silent and past-dated changes.
    pub(crate) written: i64,
    pub(crate) rev: u64,
    /// Counts the edits; changes the values.
    pub(crate) edit: u64,
    pub(crate) deleted: bool,
    pub(crate) gone: bool,
    pub(crate) merged_into: Option<u64>,
    /// The customer it belongs to, when no longer the one it was born with.
    pub(crate) customer: Option<u64>,
    pub(crate) patch: Option<Arc<Value>>,
}

/// All versions of a touched record; `versions[0]` of a base record is the base version.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) versions: Vec<Version>,
    /// How many of them the search index has seen; 0 for an added record not yet there.
    pub(crate) indexed: usize,
}

impl Entry {
    pub(crate) fn latest(&self) -> Option<&Version> {
        self.versions.last()
    }

    pub(crate) fn indexed(&self) -> Option<&Version> {
        self.indexed.checked_sub(1).and_then(|at| self.versions.get(at))
    }
}

/// A custom attribute that came later.
#[derive(Clone, Debug)]
pub(crate) struct Era {
    pub(crate) name: String,
    /// JSON text, or nothing to generate by suffix.
    pub(crate) value: Option<String>,
    /// Versions updated from here on carry it; `i64::MIN` when all do.
    pub(crate) since: i64,
    pub(crate) added_at: i64,
    pub(crate) hidden: bool,
}

/// A version of a record, ready to be written out.
#[derive(Clone, Copy)]
pub(crate) struct Rec<'a> {
    pub(crate) number: u64,
    pub(crate) id: Id,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) rev: u64,
    pub(crate) deleted: bool,
    pub(crate) customer: Option<u64>,
    pub(crate) patch: Option<&'a Value>,
    /// Fixed for the record.
    pub(crate) hash: u64,
    /// Fixed for the version.
    pub(crate) edit_hash: u64,
}

/// One stream: its base timeline and its overlay.
pub(crate) struct Stream {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) timeline: Timeline,
    pub(crate) entries: HashMap<u64, Entry>,
    /// Base numbers whose base version the index no longer shows.
    pub(crate) touched: SortedSet<u64>,
    /// Overlaid versions in the index that are not deleted, by time.
    pub(crate) live: SortedSet<(i64, u64)>,
    /// The same with soft-deleted ones.
    pub(crate) all: SortedSet<(i64, u64)>,
    /// Numbers that `GET` lists do not show: deleted, merged.
    pub(crate) hidden: SortedSet<u64>,
    /// Of the hidden, those with `deleted: true`.
    pub(crate) deleted: SortedSet<u64>,
    /// Creation times of added records.
    pub(crate) added: Vec<i64>,
    pub(crate) eras: Vec<Era>,
}

impl Stream {
    pub(crate) fn new(index: usize, name: String, timeline: Timeline) -> Self {
        Self {
            index,
            name,
            timeline,
            entries: HashMap::new(),
            touched: SortedSet::default(),
            live: SortedSet::default(),
            all: SortedSet::default(),
            hidden: SortedSet::default(),
            deleted: SortedSet::default(),
            added: Vec::new(),
            eras: Vec::new(),
        }
    }

    /// Numbers of base records that exist at `now`: below this.
    pub(crate) fn base_end(&self, now: i64) -> u64 {
        Timeline::first(0, self.timeline.total(), |n| self.timeline.updated(n) > now)
    }

    /// When record `number` was created.
    #[inline]
    pub(crate) fn created(&self, number: u64) -> i64 {
        if number < ADDED {
            return self.timeline.created(number.min(self.timeline.total().saturating_sub(1)));
        }
        self.added.get((number - ADDED) as usize).copied().unwrap_or(0)
    }

    /// The id of record `number`, or something like an id when the stream is empty.
    #[inline]
    pub(crate) fn id(&self, number: u64) -> Id {
        if number < ADDED && self.timeline.total() == 0 {
            return Id::new(0, number, self.timeline.salt());
        }
        let number = if number < ADDED { number.min(self.timeline.total() - 1) } else { number };
        Id::new(self.created(number), number, self.timeline.salt())
    }

    /// The record an id names, if there ever was one up to `now`.
    pub(crate) fn find(&self, id: Id, now: i64) -> Option<u64> {
        let number = id.number();
        let known = if number < ADDED {
            number < self.base_end(now)
        } else {
            number - ADDED < self.added.len() as u64
        };
        (known && self.id(number) == id).then_some(number)
    }

    /// The version every base record starts with.
    pub(crate) fn base_version(&self, number: u64) -> Version {
        let updated = self.timeline.updated(number);
        Version {
            updated,
            written: updated,
            rev: base_rev(mix2(self.timeline.salt(), number)),
            edit: 0,
            deleted: false,
            gone: false,
            merged_into: None,
            customer: None,
            patch: None,
        }
    }

    /// An untouched base record.
    #[inline]
    pub(crate) fn base_rec(&self, number: u64) -> Rec<'static> {
        let hash = mix2(self.timeline.salt(), number);
        let created = self.timeline.created(number);
        Rec {
            number,
            id: Id::new(created, number, self.timeline.salt()),
            created,
            updated: self.timeline.updated(number),
            rev: base_rev(hash),
            deleted: false,
            customer: None,
            patch: None,
            hash,
            edit_hash: mix(hash),
        }
    }

    /// A version of a touched record.
    pub(crate) fn version_rec<'a>(&self, number: u64, version: &'a Version) -> Rec<'a> {
        let hash = mix2(self.timeline.salt(), number);
        Rec {
            number,
            id: self.id(number),
            created: self.created(number),
            updated: version.updated,
            rev: version.rev,
            deleted: version.deleted,
            customer: version.customer,
            patch: version.patch.as_deref(),
            hash,
            edit_hash: mix(hash.wrapping_add(version.edit)),
        }
    }

    /// The record as the store has it now, deleted or not.
    pub(crate) fn stored(&self, number: u64) -> Option<Rec<'_>> {
        match self.entries.get(&number) {
            Some(entry) => {
                let version = entry.latest()?;
                (!version.gone).then(|| self.version_rec(number, version))
            }
            None if number < self.timeline.total() => Some(self.base_rec(number)),
            None => None,
        }
    }

    /// The record as the search index has it.
    pub(crate) fn found(&self, number: u64) -> Option<Rec<'_>> {
        match self.entries.get(&number) {
            Some(entry) => {
                let version = entry.indexed()?;
                (!version.gone).then(|| self.version_rec(number, version))
            }
            None => Some(self.base_rec(number)),
        }
    }

    /// Writes a version; the index learns of it by [`Stream::index_version`].
    pub(crate) fn write(&mut self, number: u64, version: Version) -> usize {
        let hide = version.gone || version.deleted;
        if hide {
            self.hidden.insert(number);
        } else {
            self.hidden.remove(&number);
        }
        if version.deleted && !version.gone {
            self.deleted.insert(number);
        } else {
            self.deleted.remove(&number);
        }
        if !self.entries.contains_key(&number) {
            let entry = if number < ADDED {
                Entry { versions: vec![self.base_version(number)], indexed: 1 }
            } else {
                Entry { versions: Vec::new(), indexed: 0 }
            };
            self.entries.insert(number, entry);
        }
        let Some(entry) = self.entries.get_mut(&number) else { return 0 };
        entry.versions.push(version);
        entry.versions.len()
    }

    /// Makes the first `versions` versions of a record known to the index.
    pub(crate) fn index_version(&mut self, number: u64, versions: usize) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        if versions <= entry.indexed {
            return;
        }
        if let Some(old) = entry.indexed() {
            self.live.remove(&(old.updated, number));
            self.all.remove(&(old.updated, number));
        }
        if number < ADDED {
            self.touched.insert(number);
        }
        entry.indexed = versions;
        let Some(new) = entry.indexed() else { return };
        if !new.gone {
            self.all.insert((new.updated, number));
            if !new.deleted {
                self.live.insert((new.updated, number));
            }
        }
    }
}

/// The revision a base record has reached.
#[inline(always)]
fn base_rev(hash: u64) -> u64 {
    2 + (hash >> 58)
}
