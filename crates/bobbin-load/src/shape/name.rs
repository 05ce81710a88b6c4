//! Column names: readable where they can be, injective always, never changed once given.
//!
//! A field's path becomes its parts joined with `__` (`stitch-behaviour.md` 7.4). Destinations
//! compare names without regard to case, and different paths can spell the same name, so a name
//! that is taken gets `_` and eight hex digits of a hash of path and type. Whoever was first keeps
//! the plain name; the caller stores every name given and hands them back at the next start.
//!
//! Under Stitch's naming (`stitch-behaviour.md` 7.7) there are no hashes: special characters go,
//! and a name that is then taken, too long or reserved is refused, with the reason Stitch gives.

use std::fmt::Write as _;

use rustc_hash::FxHashSet;

use super::capabilities::Capabilities;
use super::layout::Naming;
use super::types::ALL;

/// Names that are ours, by how they begin.
const RESERVED: [&str; 4] = ["_sdc", "__sdc", "_rjm", "_bobbin"];

/// The mark of a record that is deleted in the source, which taps of databases send under this name
/// (`singer.md` 7 and 10); the column keeps it.
pub const DELETED: &str = "_sdc_deleted_at";

/// Put before a field's name that would begin like one of ours: `_sdc_x` → `source_sdc_x`.
const ESCAPE: &str = "source";

/// The names of one table, or of one schema's tables.
#[derive(Clone, Debug)]
pub struct Names {
    taken: FxHashSet<String>,
    naming: Naming,
    limit: usize,
    case_sensitive: bool,
}

/// Why a field or table has no name under Stitch's naming.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The record that has the field is rejected.
    Record(String),
    /// Only the field's values are.
    Field(String),
}

impl Refused {
    /// The reason.
    pub fn reason(&self) -> &str {
        match self {
            Self::Record(reason) | Self::Field(reason) => reason,
        }
    }
}

impl Names {
    /// No name is taken; none is given that is longer than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { taken: FxHashSet::default(), naming: Naming::Bobbin, limit, case_sensitive: false }
    }

    /// Names of columns in a destination.
    pub fn of_columns(capabilities: &Capabilities, naming: Naming) -> Self {
        let limit = match naming {
            Naming::Bobbin => capabilities.name_bytes,
            Naming::Stitch => capabilities.stitch_column_bytes,
        };
        let mut names = Self { naming, ..Self::new(limit) };
        names.case_sensitive = capabilities.case_sensitive && naming == Naming::Stitch;
        for name in capabilities.reserved {
            names.reserve(name);
        }
        names
    }

    /// Names of tables in a destination.
    pub fn of_tables(capabilities: &Capabilities, naming: Naming) -> Self {
        let mut names = Self { naming, ..Self::new(capabilities.name_bytes) };
        names.case_sensitive = capabilities.case_sensitive && naming == Naming::Stitch;
        names
    }

    /// Marks a name as taken: one given earlier, a system column's, or a user's own column.
    pub fn reserve(&mut self, name: &str) {
        self.taken.insert(self.compared(name));
    }

    /// The name as it is compared with others.
    pub(super) fn compared(&self, name: &str) -> String {
        if self.case_sensitive { name.to_owned() } else { name.to_lowercase() }
    }

    /// Gives a free name for the field at `path`, with `__` and the suffix for a sibling.
    ///
    /// # Errors
    /// Under Stitch's naming, when there is none.
    pub fn give(&mut self, path: &[&str], suffix: Option<&str>) -> Result<String, Refused> {
        match self.naming {
            Naming::Bobbin => Ok(self.claim(path, suffix)),
            Naming::Stitch => self.as_stitch(path, suffix),
        }
    }

    /// Stitch's name, or the reason why there is none.
    fn as_stitch(&mut self, path: &[&str], suffix: Option<&str>) -> Result<String, Refused> {
        let mut name = cleaned(&path.join("__"));
        let shown = path.join(".");
        let refused = |what: &str| Err(Refused::Field(format!("the name of `{shown}` {what}")));
        let lower = name.to_lowercase();
        if name.is_empty() {
            return refused("has no letter");
        }
        if path != [DELETED] && (lower.contains("_sdc") || lower.contains("_rjm")) {
            return refused("is reserved");
        }
        if let Some(ty) = ALL.iter().find(|ty| lower.ends_with(&format!("__{}", ty.suffix()))) {
            return refused(&format!("ends in __{}, which is reserved", ty.suffix()));
        }
        if name.len() > self.limit {
            return refused(&format!("is longer than {} bytes", self.limit));
        }
        if let Some(suffix) = suffix {
            name.push_str("__");
            name.push_str(suffix);
        }
        if !self.taken.insert(self.compared(&name)) {
            return Err(Refused::Record(format!("Field collision on {name}")));
        }
        Ok(name)
    }

    /// Takes back a name just given, for a column that is not made after all.
    pub(super) fn release(&mut self, name: &str) {
        self.taken.remove(&self.compared(name));
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
        while !self.taken.insert(self.compared(&name)) {
            let short = shorten(&plain, self.limit).unwrap_or(&plain);
            name = format!("{short}_{:08x}", hash(path, suffix, attempt));
            attempt += 1;
        }
        name
    }
}

/// A name as Stitch writes it in PostgreSQL (`stitch-behaviour.md` 7.7, C22): letters, digits, `_`
/// and spaces are kept, everything else goes, and so does what stands before the first letter or `_`.
pub fn cleaned(name: &str) -> String {
    let kept = name.chars().filter(|c| c.is_alphanumeric() || matches!(c, '_' | ' '));
    kept.skip_while(|c| !c.is_alphabetic() && *c != '_').collect()
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
    if path != [DELETED] && RESERVED.iter().any(|reserved| lower.starts_with(reserved)) {
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

/// The name of the column that holds a record's key in the tables of its arrays.
pub fn source_key(key: &str, limit: usize) -> String {
    limited(&format!("_sdc_source_key_{key}"), limit)
}

/// A name of ours of at most `limit` bytes: what is longer ends in a hash.
pub fn limited(name: &str, limit: usize) -> String {
    match shorten(name, limit) {
        Some(short) if name.len() > limit => format!("{short}_{:08x}", hash(&[name], None, 0)),
        _ => name.to_owned(),
    }
}

/// A number that stands for a text on every machine.
pub fn hash_of(text: &str) -> u64 {
    let low = u64::from(hash(&[text], None, 0));
    low << 32 | u64::from(hash(&[text], None, 1))
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
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]
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
            &["_sdc_deleted_at"],
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
                "_sdc_deleted_at",
                "source_BOBBIN_state",
                "with space__and.dot",
                "nul␀",
                "😀",
                "quote\"'",
            ]
        );
    }

    /// F-74, F-75, F-76, F-78.
    #[test]
    fn stitchs_names_are_cleaned_and_refused() {
        let postgres = Capabilities {
            name_bytes: 63,
            stitch_column_bytes: 59,
            case_sensitive: true,
            ..Capabilities::default()
        };
        let mut names = Names::of_columns(&postgres, Naming::Stitch);
        let mut give = |path: &[&str], suffix| names.give(path, suffix);
        assert_eq!(give(&["customer-Id!"], None).unwrap(), "customerId");
        assert_eq!(give(&["123x"], None).unwrap(), "x");
        assert_eq!(give(&["_987X"], None).unwrap(), "_987X");
        assert_eq!(give(&["a b", "c"], None).unwrap(), "a b__c");
        assert_eq!(give(&["Id"], None).unwrap(), "Id");
        assert_eq!(give(&["ID"], None).unwrap(), "ID");
        assert_eq!(give(&["Id"], Some("st")).unwrap(), "Id__st");
        let reason = give(&["I.d"], None).unwrap_err();
        assert_eq!(reason, Refused::Record("Field collision on Id".to_owned()));
        for (path, words) in [
            ("x__st", "ends in __st, which is reserved"),
            ("X__BO", "reserved"),
            ("_sdc_batched_at", "is reserved"),
            ("a_RJM", "is reserved"),
            ("1!", "has no letter"),
            (&*"long".repeat(15), "is longer than 59 bytes"),
        ] {
            let Refused::Field(reason) = give(&[path], None).unwrap_err() else { panic!("{path}") };
            assert!(reason.contains(words), "{reason}");
        }
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
                prop_assert!(!name.to_lowercase().starts_with("_sdc"), "{}", name);
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
