//! What a destination tells of the segments it took: rows, changes of tables, how far they reach.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What became of one segment in the open round, or of several.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Receipt {
    /// The table's name in the destination, where that tells.
    pub table: Option<String>,
    /// Rows inserted or replaced.
    pub loaded: u64,
    /// Records that were already there in the same or a newer version.
    pub superseded: u64,
    /// Records set aside with a reason.
    pub rejected: u64,
    /// Rows that were removed: of older table versions
    /// ([`Segment::activates`](crate::segment::Segment::activates)), or marked as deleted in the
    /// source.
    pub removed: u64,
    /// Changes made to tables.
    pub changes: Vec<Change>,
    /// Rows of the tables of arrays, by their tables' names in the destination.
    pub subtables: BTreeMap<String, u64>,
    /// The least and the greatest value of the stream's replication key among the rows; none for a
    /// stream without one, or where the destination does not tell.
    pub span: Option<Span>,
    /// When the source gave the latest of the rows.
    pub extracted_at: Option<Timestamp>,
    /// How many of the records have a value in which field.
    pub fill: Fill,
}

impl Receipt {
    /// Takes in what became of a further segment.
    pub fn add(&mut self, other: Self) {
        self.table = other.table.or(self.table.take());
        self.loaded += other.loaded;
        self.superseded += other.superseded;
        self.rejected += other.rejected;
        self.removed += other.removed;
        self.changes.extend(other.changes);
        for (table, rows) in other.subtables {
            *self.subtables.entry(table).or_default() += rows;
        }
        Span::widen(&mut self.span, other.span);
        self.extracted_at = self.extracted_at.max(other.extracted_at);
        self.fill.add(&other.fill);
    }
}

/// How many records there were, and in how many of them each field had a value: not null, and at least one item for
/// an array that has a table of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Fill {
    /// The records.
    pub records: u64,
    /// Those that had a value, by the field's dotted path. Fields that never had one are left out.
    pub fields: BTreeMap<String, u64>,
}

impl Fill {
    /// Counts further records.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        for (field, filled) in &other.fields {
            match self.fields.get_mut(field) {
                Some(known) => *known += filled,
                None => drop(self.fields.insert(field.clone(), *filled)),
            }
        }
    }

    /// The percent of records with a value in `field`, rounded so that only none is 0 and only all is 100; none
    /// where there were no records.
    pub fn percent(&self, field: &str) -> Option<u64> {
        let filled = self.fields.get(field).copied().unwrap_or(0);
        match (filled, self.records) {
            (_, 0) => None,
            (0, _) => Some(0),
            (filled, records) if filled >= records => Some(100),
            (filled, records) => {
                let percent = u128::from(filled) * 100 / u128::from(records);
                Some(u64::try_from(percent).unwrap_or(99).clamp(1, 99))
            }
        }
    }
}

/// A change made to a table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Change {
    /// The table's name in the destination.
    pub table: String,
    /// What was done.
    #[serde(flatten)]
    pub what: Changed,
}

/// What was done to a table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Changed {
    /// It was made.
    Created {
        /// With so many columns of the source.
        columns: u64,
    },
    /// It got a column.
    Added {
        /// Its name.
        column: String,
    },
    /// A column got another name, since its values have several types.
    Renamed {
        /// Its name until now.
        from: String,
        /// Its name from now on.
        to: String,
    },
    /// Anything else, in words.
    Other {
        /// What.
        words: String,
    },
}

impl Change {
    /// A change of the table `table`.
    pub fn of(table: impl Into<String>, what: Changed) -> Self {
        Self { table: table.into(), what }
    }

    /// A change that only people are told of.
    pub fn told(table: impl Into<String>, words: impl Into<String>) -> Self {
        Self::of(table, Changed::Other { words: words.into() })
    }
}

/// One line for people, for example `conversations: added column custom__tier_str`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.table)?;
        match &self.what {
            Changed::Created { columns } => write!(f, "created table with {columns} columns"),
            Changed::Added { column } => write!(f, "added column {column}"),
            Changed::Renamed { from, to } => write!(f, "renamed column {from} to {to}"),
            Changed::Other { words } => f.write_str(words),
        }
    }
}

/// The least and the greatest of some values of a replication key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Span {
    /// The least.
    pub min: Mark,
    /// The greatest.
    pub max: Mark,
}

impl Span {
    /// Lets `span` take in another.
    pub fn widen(span: &mut Option<Self>, other: Option<Self>) {
        *span = match (span.take(), other) {
            (Some(a), Some(b)) => Some(a.joined(b)),
            (a, b) => a.or(b),
        };
    }

    /// The span of both. Of values of two types those that stand here are kept.
    fn joined(self, other: Self) -> Self {
        if std::mem::discriminant(&self.max) != std::mem::discriminant(&other.max) {
            return self;
        }
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// A value of a replication key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Mark {
    /// An instant.
    Time(Timestamp),
    /// An integer.
    Number(i64),
    /// Text, in the order of its bytes.
    Text(String),
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(at) => at.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spanning(min: i64, max: i64) -> Receipt {
        let span = Span { min: Mark::Number(min), max: Mark::Number(max) };
        Receipt { loaded: 1, span: Some(span), ..Receipt::default() }
    }

    #[test]
    fn fields_are_filled_in_so_many_percent_of_the_records() {
        let fill = |records, filled| Fill { records, fields: [("a.b".to_owned(), filled)].into() };
        let mut sum = Fill::default();
        assert_eq!(sum.percent("a.b"), None);
        sum.add(&fill(3, 1));
        sum.add(&fill(1, 1));
        assert_eq!((sum.percent("a.b"), sum.percent("c")), (Some(50), Some(0)));
        assert_eq!(fill(1_000_000, 1).percent("a.b"), Some(1));
        assert_eq!(fill(1_000_000, 999_999).percent("a.b"), Some(99));
        assert_eq!(fill(7, 7).percent("a.b"), Some(100));
    }

    #[test]
    fn receipts_add_up() {
        let mut sum = Receipt::default();
        sum.add(spanning(3, 5));
        sum.add(Receipt {
            subtables: [("a__b".to_owned(), 2)].into(),
            extracted_at: Some(Timestamp::UNIX_EPOCH),
            ..spanning(4, 9)
        });
        sum.add(Receipt { subtables: [("a__b".to_owned(), 1)].into(), ..spanning(1, 2) });
        assert_eq!(
            sum,
            Receipt {
                loaded: 3,
                subtables: [("a__b".to_owned(), 3)].into(),
                extracted_at: Some(Timestamp::UNIX_EPOCH),
                ..spanning(1, 9)
            }
        );
        let text = Span { min: Mark::Text("a".into()), max: Mark::Text("b".into()) };
        sum.add(Receipt { span: Some(text), ..Receipt::default() });
        assert_eq!(sum.span, spanning(1, 9).span, "values of another type are not compared");
    }

    #[test]
    fn a_change_reads_well_and_is_data() {
        let change = Change::of("users", Changed::Added { column: "team".into() });
        assert_eq!(change.to_string(), "users: added column team");
        let json = serde_json::to_value(&change).unwrap_or_default();
        assert_eq!(
            json,
            serde_json::json!({"table": "users", "change": "added", "column": "team"})
        );
        assert_eq!(serde_json::from_value::<Change>(json).ok(), Some(change));
    }
}
