//! Changes to inputs, the same for the same seed: a fuzzer's smaller brother for ordinary tests.

/// A source of numbers (`SplitMix64`).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `most`, or 0.
    pub fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % most.max(1) as u64) as usize
    }
}

/// What inputs of JSON are sensitive to.
const PIECES: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"-0",
    b"1e400",
    b"9223372036854775808",
    b"0.1",
    b"\n",
    b"\xff",
    b"\"id\":\"a\",",
    b"\"id\":null,",
    b"2026-01-01T00:00:00Z",
    b"__st",
    b"{\"a\":",
    b"[[[[[[[[",
];

/// Changes `input` in one to four places, taking pieces of `other`.
pub fn mutate(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(out.len() + 1);
        let end = (at + random.below(12)).min(out.len());
        match random.below(6) {
            0 if at < out.len() => out[at] ^= 1 << random.below(8),
            1 => drop(out.drain(at..end)),
            2 => {
                let piece = PIECES[random.below(PIECES.len())];
                out.splice(at..at, piece.iter().copied());
            }
            3 => {
                let piece = PIECES[random.below(PIECES.len())];
                out.splice(at..end, piece.iter().copied());
            }
            4 => {
                let copy = out[at..end].to_vec();
                let to = random.below(out.len() + 1);
                out.splice(to..to, copy);
            }
            _ => {
                let from = random.below(other.len() + 1);
                let to = (from + random.below(40)).min(other.len());
                out.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    out
}
