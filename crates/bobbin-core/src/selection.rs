//! What was chosen of a catalog, and what is done to columns before anything is stored.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::catalog::Stream;
use crate::id::StreamName;
use crate::schema::{Kind, Object, Schema};
use crate::secret::Secret;

/// What was chosen: per stream whether it is replicated, which fields are left out, which are made
/// unreadable.
///
/// An explicit choice of a stream wins over patterns, and those over `others`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// Choices made explicitly.
    pub streams: BTreeMap<StreamName, StreamSelection>,
    /// Whether streams without a choice are replicated.
    pub others: bool,
    /// Choices of several streams at once. One that leaves a stream out wins over one that takes it.
    pub patterns: Vec<(Pattern, bool)>,
    /// What is done to columns.
    pub treatments: Vec<ColumnRule>,
    /// The key of the hashes.
    pub hash_key: Option<Secret>,
    /// What becomes of columns that come after the choice was made.
    pub new_columns: NewColumns,
    /// New columns that are replicated whatever `new_columns` says: stream, and dotted path of a field.
    pub included: Vec<(Pattern, Pattern)>,
    /// The columns that are not new, by stream ([`Stream::paths`]). A stream that is not here, or has none,
    /// has no new columns.
    pub known: BTreeMap<StreamName, BTreeSet<String>>,
}

/// What becomes of columns that come after the choice was made (`stitch-behaviour.md` 12, C5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewColumns {
    /// They are replicated, too.
    #[default]
    On,
    /// They are left out until they are chosen.
    Off,
}

/// The choice for one stream.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StreamSelection {
    /// Replicate it at all.
    pub selected: bool,
    /// Dotted paths of fields to leave out, for example `custom.notes_txt`. Keys and replication
    /// keys cannot be left out.
    pub excluded: BTreeSet<String>,
}

/// What is done to the columns that a pattern names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnRule {
    /// Of which streams.
    pub stream: Pattern,
    /// Dotted paths of fields.
    pub path: Pattern,
    /// What.
    pub treatment: Treatment,
}

/// What is done to a column's values, other than to leave them as they are. Of several the greatest
/// holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// Each value becomes a keyed hash of it: equal ones stay equal, in all tables.
    Hash,
    /// Each value becomes [`MASK`].
    Mask,
    /// It is left out.
    Exclude,
    /// It is left out, and not kept with records that are set aside either.
    Drop,
}

impl Treatment {
    /// What is done to a value, in a word.
    pub fn done(self) -> &'static str {
        match self {
            Self::Hash => "hashed",
            Self::Mask => "masked",
            Self::Exclude => "excluded",
            Self::Drop => "dropped",
        }
    }
}

/// What stands for a value that is masked.
pub const MASK: &str = "***";

/// A name in which `*` stands for any characters, or none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern as it is written.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it is more than a plain name.
    pub fn is_open(&self) -> bool {
        self.0.contains('*')
    }

    /// What is written before the first `*`.
    fn literal(&self) -> &str {
        self.0.split('*').next().unwrap_or_default()
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names this.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

impl Selection {
    /// Everything on offer.
    pub fn all() -> Self {
        Self { others: true, ..Self::default() }
    }

    /// Exactly these streams.
    pub fn only(streams: impl IntoIterator<Item = (StreamName, StreamSelection)>) -> Self {
        Self { streams: streams.into_iter().collect(), ..Self::default() }
    }

    /// The same with no other streams than these.
    pub fn narrowed(&self, to: &[StreamName]) -> Self {
        let chosen = |name: &StreamName| {
            let excluded = self.streams.get(name).map(|choice| choice.excluded.clone());
            let excluded = excluded.unwrap_or_default();
            (name.clone(), StreamSelection { selected: self.contains(name), excluded })
        };
        Self {
            streams: to.iter().map(chosen).collect(),
            others: false,
            patterns: Vec::new(),
            treatments: self.treatments.clone(),
            hash_key: self.hash_key.clone(),
            new_columns: self.new_columns,
            included: self.included.clone(),
            known: self.known.clone(),
        }
    }

    /// Whether a stream was chosen.
    pub fn contains(&self, name: &StreamName) -> bool {
        if let Some(choice) = self.streams.get(name) {
            return choice.selected;
        }
        let matching = self.patterns.iter().filter(|(pattern, _)| pattern.matches(name.as_str()));
        matching.map(|(_, take)| *take).reduce(|a, b| a && b).unwrap_or(self.others)
    }

    /// Whether values are to be hashed, which needs a key.
    pub fn hashes(&self) -> bool {
        self.treatments.iter().any(|rule| rule.treatment == Treatment::Hash)
    }

    /// What is done to the fields of a stream.
    pub fn of(&self, stream: &Stream) -> Treated {
        let rules = self.treatments.iter();
        let rules = rules.filter(|rule| rule.stream.matches(stream.name.as_str()));
        let known = match self.new_columns {
            NewColumns::On => None,
            NewColumns::Off => self.known.get(&stream.name).filter(|known| !known.is_empty()),
        };
        // A map that was known and has declared fields by now holds nothing known: all of them are new.
        let known = known.map(|known| {
            let known = known.iter().filter(|path| !stream.fields.has_structure(path));
            known.cloned().collect()
        });
        let included = self.included.iter();
        let included = included.filter(|(table, _)| table.matches(stream.name.as_str()));
        let included = included.map(|(_, path)| path.clone());
        let included = if known.is_some() { included.collect() } else { Vec::new() };
        Treated {
            automatic: automatic(stream).map(str::to_owned).collect(),
            excluded: self
                .streams
                .get(&stream.name)
                .map(|choice| choice.excluded.clone())
                .unwrap_or_default(),
            rules: rules.map(|rule| (rule.path.clone(), rule.treatment)).collect(),
            known,
            included,
        }
    }

    /// Whether a field (dotted path) of a chosen stream is left out.
    pub fn excludes(&self, stream: &Stream, path: &str) -> bool {
        self.of(stream).excludes(path)
    }

    /// The stream without the fields that were left out; those that become unreadable are text.
    pub fn prune(&self, stream: &Stream) -> Stream {
        let fields = self.of(stream).prune_object(&stream.fields, "");
        Stream { fields, ..stream.clone() }
    }
}

/// The fields of a stream that tell its records or their versions apart: they always stay as they are.
pub fn automatic(stream: &Stream) -> impl Iterator<Item = &str> {
    let fields = stream.key.iter().chain(&stream.replication_key).chain(&stream.version_fields);
    fields.map(String::as_str)
}

/// What is done to the fields of one stream.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Treated {
    automatic: Vec<String>,
    excluded: BTreeSet<String>,
    rules: Vec<(Pattern, Treatment)>,
    /// The fields that are not new, where new ones are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known: Option<BTreeSet<String>>,
    /// New ones that are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    included: Vec<Pattern>,
}

impl Treated {
    /// What is done to a field, given by its dotted path. What tells records and their versions
    /// apart always stays as it is.
    pub fn by(&self, path: &str) -> Option<Treatment> {
        if self.is_automatic(path) {
            return None;
        }
        let left_out = self.excluded.contains(path) || self.is_new(path);
        let explicit = left_out.then_some(Treatment::Exclude);
        let rules = self.rules.iter().filter(|(pattern, _)| pattern.matches(path));
        rules.map(|(_, treatment)| *treatment).max().max(explicit)
    }

    /// Whether a field came after the choice was made, was not chosen since, and is left out for that. What
    /// lies in a known field is not new, nor is a field in which a known one lies.
    pub fn is_new(&self, path: &str) -> bool {
        let Some(known) = &self.known else { return false };
        let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
        for above in ends.map(|end| &path[..end]) {
            if known.contains(above) || self.included.iter().any(|p| p.matches(above)) {
                return false;
            }
        }
        let below = format!("{path}.");
        let mut after = known.range(below.clone()..);
        let holds_known = after.next().is_some_and(|next| next.starts_with(&below));
        let mut included = self.included.iter();
        !holds_known
            && !included.any(|pattern| pattern.literal().starts_with(&below))
            && !self.is_automatic(path)
    }

    /// Whether a field tells records or their versions apart, and so always stays.
    pub fn is_automatic(&self, path: &str) -> bool {
        self.automatic.iter().any(|field| field == path)
    }

    /// Whether a field is left out.
    pub fn excludes(&self, path: &str) -> bool {
        self.by(path) >= Some(Treatment::Exclude)
    }

    /// Whether nothing is done to any field.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.excluded.is_empty() && self.known.is_none()
    }

    /// Whether values of fields are hashed.
    pub fn hashes(&self) -> bool {
        self.rules.iter().any(|(_, treatment)| *treatment == Treatment::Hash)
    }

    /// Whether what went through this needs none of `other` any more (but for the hashes' key).
    pub fn covers(&self, other: &Self) -> bool {
        let stayed = |field: &String| other.is_automatic(field);
        other.is_empty()
            || other.rules.iter().all(|rule| self.rules.contains(rule))
                && other.excluded.is_subset(&self.excluded)
                && self.knows_no_more_than(other)
                && self.automatic.iter().all(stayed)
    }

    /// Whether new fields were left out that `other` leaves out.
    fn knows_no_more_than(&self, other: &Self) -> bool {
        let Some(known) = &other.known else { return true };
        self.known.as_ref().is_some_and(|own| own.is_subset(known))
            && self.included.iter().all(|pattern| other.included.contains(pattern))
    }

    /// Whether there is a rule for columns, beside explicit choices.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty() || self.known.is_some()
    }

    /// Whether the stream's records may hold what must not be stored.
    pub fn is_secret(&self) -> bool {
        self.rules.iter().any(|(_, treatment)| *treatment != Treatment::Exclude)
    }

    fn prune_object(&self, object: &Object, prefix: &str) -> Object {
        let mut kept = Object { properties: Vec::new(), open: object.open };
        for (name, schema) in &object.properties {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            let schema = match self.by(&path) {
                Some(Treatment::Exclude | Treatment::Drop) => continue,
                Some(Treatment::Hash | Treatment::Mask) => veiled(schema),
                None => self.prune_schema(schema, &path),
            };
            kept.properties.push((name.clone(), schema));
        }
        kept
    }

    /// Fields of an array's objects have the array's path before theirs.
    fn prune_schema(&self, schema: &Schema, path: &str) -> Schema {
        let kind = match &schema.kind {
            Kind::Object(inner) if !inner.is_map() => Kind::Object(self.prune_object(inner, path)),
            Kind::Array(items) => Kind::Array(Box::new(self.prune_schema(items, path))),
            other => other.clone(),
        };
        Schema { kind, ..schema.clone() }
    }
}

/// A schema whose values are all text.
fn veiled(schema: &Schema) -> Schema {
    let kind = match &schema.kind {
        Kind::Object(inner) => {
            let properties =
                inner.properties.iter().map(|(name, schema)| (name.clone(), veiled(schema)));
            Kind::Object(Object { properties: properties.collect(), open: inner.open })
        }
        Kind::Array(items) => Kind::Array(Box::new(veiled(items))),
        _ => Kind::Text,
    };
    Schema { kind, ..schema.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_what_they_look_like() {
        for (pattern, name, matches) in [
            ("notes", "notes", true),
            ("notes", "note", false),
            ("notes", "notes2", false),
            ("*", "", true),
            ("*", "anything.at.all", true),
            ("conv*", "conversations", true),
            ("conv*", "messages", false),
            ("*.email", "custom.email", true),
            ("*.email", "email", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a.b.b.c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("**", "x", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn f49_a_field_is_new_unless_it_is_known_chosen_or_in_or_around_such_a_field() {
        let mut selection = Selection { new_columns: NewColumns::Off, ..Selection::all() };
        let text = |name: &str| (name.to_owned(), Schema::of(Kind::Text));
        let fields = |names: &[&str]| Object {
            properties: names.iter().map(|name| text(name)).collect(),
            open: true,
        };
        let object = |names: &[&str]| Schema::of(Kind::Object(fields(names)));
        let mut stream = Stream {
            name: "a".into(),
            fields: fields(&["id", "name"]),
            key: vec!["id".into()],
            replication_key: Some("late".into()),
            version_fields: Vec::new(),
            description: None,
        };
        let more = [
            ("data", Schema::map()),
            ("custom", object(&["old_str"])),
            ("map", Schema::map()),
            ("emails", Schema::array(object(&["email"]))),
        ];
        stream.fields.properties.extend(more.map(|(name, of)| (name.to_owned(), of)));
        assert!(!selection.of(&stream).is_new("other"), "nothing is known of the stream");
        selection.known.insert("a".into(), stream.paths());
        assert!(!selection.of(&stream).is_new("data.any"), "a map has no columns");
        stream.fields.properties[2].1 = object(&["first"]);
        selection.included = vec![
            (Pattern::new("*"), Pattern::new("custom.vip*")),
            (Pattern::new("a"), Pattern::new("loyalty.level")),
            (Pattern::new("b"), Pattern::new("custom.wrong_str")),
        ];
        let treated = selection.of(&stream);
        for (path, new) in [
            ("id", false),
            ("late", false),
            ("name", false),
            ("name.first", false),
            ("nam", true),
            ("data", true),
            ("data.first", true),
            ("names", true),
            ("custom", false),
            ("custom.old_str", false),
            ("custom.old", true),
            ("custom.wrong_str", true),
            ("custom.vip_num", false),
            ("map.any.thing", false),
            ("emails", false),
            ("emails.email", false),
            ("emails.verified", true),
            ("loyalty", false),
            ("loyalty.level", false),
            ("loyalty.points", true),
        ] {
            assert_eq!(treated.is_new(path), new, "{path}");
            assert_eq!(treated.excludes(path), new, "{path}");
        }
        // What was extracted with more columns goes through this again, what had fewer does not.
        let open = Selection { new_columns: NewColumns::On, ..selection.clone() }.of(&stream);
        assert!(treated.covers(&open) && !open.covers(&treated));
        let mut fewer = selection.clone();
        fewer.known.insert("a".into(), ["name".to_owned()].into());
        assert!(fewer.of(&stream).covers(&treated) && !treated.covers(&fewer.of(&stream)));
        fewer.included.clear();
        assert!(fewer.of(&stream).covers(&treated));
    }

    fn rule(stream: &str, path: &str, treatment: Treatment) -> ColumnRule {
        ColumnRule { stream: Pattern::new(stream), path: Pattern::new(path), treatment }
    }

    #[test]
    fn the_closer_choice_of_a_stream_wins_and_the_stronger_treatment() {
        let mut selection = Selection::only([(
            "conversations".into(),
            StreamSelection { selected: true, excluded: ["preview".to_owned()].into() },
        )]);
        selection.patterns.push((Pattern::new("*s"), true));
        selection.patterns.push((Pattern::new("conv*"), false));
        let chosen = |name: &str| selection.contains(&name.into());
        assert!(chosen("conversations") && chosen("users"));
        assert!(!chosen("convs") && !chosen("history"));

        selection.treatments = vec![
            rule("*", "*email", Treatment::Hash),
            rule("conversations", "sms.*", Treatment::Mask),
            rule("*", "sms.email", Treatment::Drop),
            rule("*", "*", Treatment::Hash),
        ];
        let text = |name: &str| (name.to_owned(), Schema::of(Kind::Integer));
        let inner = Object { properties: vec![text("email"), text("n")], open: true };
        let stream = Stream {
            name: "conversations".into(),
            fields: Object {
                properties: vec![
                    text("id"),
                    text("rev"),
                    text("preview"),
                    ("sms".to_owned(), Schema::of(Kind::Object(inner))),
                ],
                open: true,
            },
            key: vec!["id".into()],
            replication_key: Some("updated_at".into()),
            version_fields: vec!["rev".into()],
            description: None,
        };
        let treatment = |path: &str| selection.of(&stream).by(path);
        assert_eq!(treatment("id"), None);
        assert_eq!(treatment("rev"), None);
        assert_eq!(treatment("updated_at"), None);
        assert_eq!(treatment("preview"), Some(Treatment::Exclude));
        assert_eq!(treatment("sms.n"), Some(Treatment::Mask));
        assert_eq!(treatment("sms.email"), Some(Treatment::Drop));
        assert_eq!(treatment("custom.email"), Some(Treatment::Hash));
        let many = selection.of(&stream);
        selection.treatments.pop();
        let fewer = selection.of(&stream);
        assert!(many.covers(&many) && many.covers(&fewer) && !fewer.covers(&many));
        assert!(fewer.covers(&Treated::default()) && !Treated::default().covers(&fewer));
        let other_key = selection.of(&Stream { key: vec!["email".into()], ..stream.clone() });
        assert!(!other_key.covers(&fewer), "the key's values went through nothing");
        let pruned = selection.prune(&stream);
        let kind = |field: &str| pruned.fields.property(field).map(|schema| schema.kind.clone());
        assert_eq!(kind("id"), Some(Kind::Integer));
        assert_eq!(kind("preview"), None);
        let inner =
            Object { properties: vec![("n".to_owned(), Schema::of(Kind::Text))], open: true };
        assert_eq!(kind("sms"), Some(Kind::Object(inner)));
    }
}
