//! Column names: readable where they can be, injective always, never changed once given.
//!
//! A field's path becomes its parts joined with `__` (`stitch-behaviour.md` 7.4). Destinations
//! compare names without regard to case, and different paths can spell the same name, so a name
//! that is taken gets `_` and eight hex digits of a hash of path and type. Whoever was first keeps
//! the plain name; the caller stores every name given and hands them back at the next start.

use std::fmt::Write as _;

use rustc_hash::FxHashSet;

/// Names that are ours, by how they begin.
const RESERVED: [&str; 4] = ["_sdc", "__sdc", "_rjm", "_bobbin"];

/// Put before a field's name that would begin like one of ours: `_sdc_x` → `source_sdc_x`.
const ESCAPE: &str = "source";

/// The names of one table.
#[derive(Clone, Debug)]
pub struct Names {
    taken: FxHashSet<String>,
    pub(super) limit: usize,
}

impl Names {
    /// No name is taken; none is given that is longer than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { taken: FxHashSet::default(), limit }
    }

    /// Marks a name as taken: one given earlier, a system column's, or a user's own column.
    pub fn reserve(&mut self, name: &str) {
        self.taken.insert(name.to_lowercase());
    }

    /// Takes back a name just given, for a column that is not made after all.
    pub(super) fn release(&mut self, name: &str) {
        self.taken.remove(&name.to_lowercase());
    }

    /// Gives a free name for the field at `path`, with `__` and the suffix for a sibling.
    pub fn claim(&mut self, path: &[&str], suffix: Option<&str>) -> String {
        let mut plain = plain(path);
        if let Some(suffix) = suffix {
            plain.push_str("__");
            plain.push_str(suffix);
        }
        let mut name = shorten(&plain, self.limit)
            .map_or(plain.clone(), |short| format!("{short}_{:08x}", hash(path, suffix, 0)));
        let mut attempt = 0;
        while !self.taken.insert(name.to_lowercase()) {
            let short = shorten(&plain, self.limit).unwrap_or(&plain);
            name = format!("{short}_{:08x}", hash(path, suffix, attempt));
            attempt += 1;
        }
        name
    }
}

/// The name for a table when nobody else has it, of at most `limit` bytes.
pub fn table(name: &str, limit: usize) -> String {
    Names::new(limit).claim(&[name], None)
}

/// The name for `path` when nobody else has it.
pub fn plain(path: &[&str]) -> String {
    let mut name = String::new();
    for (level, part) in path.iter().enumerate() {
        if level > 0 {
            name.push_str("__");
        }
        if part.is_empty() {
            name.push_str("empty");
        }
        for character in part.chars() {
            match character {
                // Control characters have pictures of their own in Unicode.
                '\0'..='\u{1f}' => {
                    name.push(char::from_u32(0x2400 + character as u32).unwrap_or('\u{fffd}'));
                }
                '\u{7f}'..='\u{9f}' => {
                    let _ = write!(name, "{}", character.escape_unicode());
                }
                other => name.push(other),
            }
        }
    }
    let lower = name.to_lowercase();
    if RESERVED.iter().any(|reserved| lower.starts_with(reserved)) {
        name.insert_str(0, ESCAPE);
    }
    name
}

/// The front of a name that is too long, or nothing when it is not.
fn shorten(name: &str, limit: usize) -> Option<&str> {
    // Room is left for `_` and the hash.
    (name.len() > limit - 9).then(|| {
        let mut end = limit - 9;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        &name[..end]
    })
}

/// FNV-1a over the parts, folded to 32 bits: stable across versions and machines.
fn hash(path: &[&str], suffix: Option<&str>, attempt: u32) -> u32 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut eat = |bytes: &[u8]| {
        for &byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for part in path {
        eat(&(part.len() as u64).to_le_bytes());
        eat(part.as_bytes());
    }
    eat(&[0xff]);
    eat(suffix.unwrap_or("").as_bytes());
    eat(&attempt.to_le_bytes());
    (hash ^ (hash >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim_all(paths: &[&[&str]]) -> Vec<String> {
        let mut names = Names::new(255);
        paths.iter().map(|path| names.claim(path, None)).collect()
    }

    #[test]
    fn names_are_readable_where_they_can_be() {
        let names = claim_all(&[
            &["id"],
            &["Id"],
            &["a", "b"],
            &["a__b"],
            &[""],
            &["empty"],
            &["_sdc_sequence"],
            &["_BOBBIN_state"],
            &["with space", "and.dot"],
            &["nul\0"],
            &["😀"],
            &["quote\"'"],
        ]);
        assert_eq!(
            names,
            [
                "id",
                "Id_ac5c653c",
                "a__b",
                "a__b_b991e839",
                "empty",
                "empty_f22f702a",
                "source_sdc_sequence",
                "source_BOBBIN_state",
                "with space__and.dot",
                "nul␀",
                "😀",
                "quote\"'",
            ]
        );
    }

    #[test]
    fn a_key_that_looks_like_a_sibling_keeps_apart_from_it() {
        let mut names = Names::new(255);
        assert_eq!(names.claim(&["age", "st"], None), "age__st");
        let sibling = names.claim(&["age"], Some("st"));
        assert_ne!(sibling, "age__st");
        assert!(sibling.starts_with("age__st_"), "{sibling}");
    }

    proptest! {
        #[test]
        fn different_fields_get_different_names(
            paths in proptest::collection::btree_set(
                (proptest::collection::vec("[aAbB_\u{0}é.]{0,3}|st|_sdc_x|x{300}", 1..4), any::<bool>()),
                1..40,
            ),
            limit in 63..=255usize,
        ) {
            let mut names = Names::new(limit);
            let mut seen = std::collections::BTreeSet::new();
            let mut given = Vec::new();
            for (path, sibling) in &paths {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let name = names.claim(&path, sibling.then_some("st"));
                prop_assert!(name.len() <= limit);
                prop_assert!(!name.contains('\0') && !name.is_empty());
                prop_assert!(!name.to_lowercase().starts_with("_sdc"));
                prop_assert!(seen.insert(name.to_lowercase()), "{} given twice", name);
                given.push(name);
            }
            // The same order gives the same names, on any machine.
            let mut again = Names::new(limit);
            for ((path, sibling), name) in paths.iter().zip(&given) {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                prop_assert_eq!(&again.claim(&path, sibling.then_some("st")), name);
            }
        }
    }
}
