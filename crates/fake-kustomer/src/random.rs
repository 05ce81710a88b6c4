//! Repeatable randomness: every fact about a record is a hash of where it lives.

/// Mixes one word well (the finaliser of splitmix64).
#[inline(always)]
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Mixes two words.
#[inline(always)]
pub(crate) fn mix2(a: u64, b: u64) -> u64 {
    mix(a ^ b.wrapping_mul(0xd6e8_feb8_6659_fd93))
}

/// A number below `bound` taken from the high bits of `hash`.
#[inline(always)]
pub(crate) fn below(hash: u64, bound: u64) -> u64 {
    ((u128::from(hash) * u128::from(bound)) >> 64) as u64
}

/// A run of small decisions from one hash.
#[derive(Clone, Copy)]
pub(crate) struct Dice(u64);

impl Dice {
    #[inline(always)]
    pub(crate) fn new(hash: u64) -> Self {
        Self(hash)
    }

    /// A number below `bound` (small bounds; the bias does not matter here).
    #[inline(always)]
    pub(crate) fn roll(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (((self.0 >> 32) * bound) >> 32) & 0xffff_ffff
    }

    /// True once in `of` times.
    #[inline(always)]
    pub(crate) fn one_in(&mut self, of: u64) -> bool {
        self.roll(of) == 0
    }
}
