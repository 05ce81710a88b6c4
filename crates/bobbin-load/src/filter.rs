//! A small memory of which keys a table holds.
//!
//! Looking a key up in a table without an index reads the whole key column: some 100 ms for three
//! million rows, too much for every segment of a first load. This set answers "certainly not
//! there" from 44 bits per key (5 to 10 bytes of memory each) and errs once in millions.

use std::hash::Hasher;

use rustc_hash::{FxHashSet, FxHasher};

const PARTS: usize = 4096;

/// Keys beyond which the set is given up, so that memory stays bounded (some 70 MB).
const MOST: usize = 8_000_000;

/// Keys that may be in a table.
#[derive(Debug)]
pub struct KeyFilter {
    parts: Vec<FxHashSet<u32>>,
    keys: usize,
}

impl Default for KeyFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyFilter {
    /// No key.
    pub fn new() -> Self {
        Self { parts: vec![FxHashSet::default(); PARTS], keys: 0 }
    }

    /// Adds a key; true when it may have been there before.
    pub fn insert(&mut self, key: &[u8]) -> bool {
        let mut hasher = FxHasher::default();
        hasher.write(key);
        let hash = mix(hasher.finish());
        let known = !self.parts[(hash >> 52) as usize].insert(hash as u32);
        self.keys += usize::from(!known);
        known
    }

    /// Whether it has grown too large to keep.
    pub fn is_too_large(&self) -> bool {
        self.keys > MOST
    }
}

/// `SplitMix64`'s last step, so that all bits depend on all bits.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_and_others_hardly_ever() {
        let mut filter = KeyFilter::new();
        let mut wrong = 0;
        for n in 0..200_000u32 {
            wrong += u32::from(filter.insert(format!("{n:024x}").as_bytes()));
        }
        assert!(wrong <= 2, "{wrong} of 200,000 taken for known");
        for n in 0..200_000u32 {
            assert!(filter.insert(format!("{n:024x}").as_bytes()));
        }
        assert!(!filter.is_too_large());
    }
}
