//! What a destination holds, for people who look at it.

use std::collections::BTreeMap;

use serde::Serialize;

/// A table as it is in a destination.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HeldTable {
    /// Its name.
    pub name: String,
    /// Its rows, as the destination estimates them; none where it does not.
    pub rows: Option<u64>,
    /// Its columns, in their order.
    pub columns: Vec<HeldColumn>,
}

/// A column of such a table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HeldColumn {
    /// Its name.
    pub name: String,
    /// Its type in the destination's words.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The first rows of a table; every value as text.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Sample {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows; null is `None`.
    pub rows: Vec<Vec<Option<String>>>,
    /// Whether there are more.
    pub more: bool,
}

/// A column whose values are keys of another table, or of the table above.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Relation {
    /// The table that has the column.
    pub from: String,
    /// The column; of a table of array items, the one with its record's key.
    pub column: String,
    /// The table whose keys they are.
    pub to: String,
}

/// The relations between tables, as their names tell: `customer_id` is a key of `customers`,
/// `created_by_id` one of `users`, `a__b` has the items of an array in `a`. No destination declares
/// them, since rows of a table may come before those they speak of.
pub fn relations(tables: &[HeldTable]) -> Vec<Relation> {
    let has: BTreeMap<&str, &HeldTable> =
        tables.iter().map(|table| (table.name.as_str(), table)).collect();
    let mut found = Vec::new();
    for table in tables {
        let above = table.name.rmatch_indices("__").map(|(at, _)| &table.name[..at]);
        let above = above.into_iter().find(|name| has.contains_key(name));
        for HeldColumn { name, .. } in &table.columns {
            let to = match above {
                Some(above) if name.starts_with("_sdc_source_key_") => Some(above.to_owned()),
                _ => told(name).filter(|to| has.contains_key(to.as_str())),
            };
            let relation =
                to.map(|to| Relation { from: table.name.clone(), column: name.clone(), to });
            // Two columns may say the same twice: `customer_id` and `customer__id`.
            found.extend(relation);
        }
    }
    found.sort_by_cached_key(|one| {
        (one.from.clone(), one.column.replace("__", "_"), one.to.clone(), one.column.len())
    });
    found.dedup_by(|a, b| {
        a.from == b.from
            && a.to == b.to
            && a.column.replace("__", "_") == b.column.replace("__", "_")
    });
    found
}

/// The table of which a column's name tells.
fn told(column: &str) -> Option<String> {
    let one = column.strip_suffix("__id").or_else(|| column.strip_suffix("_id"))?;
    if one.starts_with("_sdc") || one.is_empty() {
        return None;
    }
    if one.ends_with("_by") || one == "assigned_user" || one == "user" {
        return Some("users".to_owned());
    }
    let one = one.strip_prefix("assigned_").unwrap_or(one);
    Some(match one.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{one}s"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_which_keys_columns_hold() {
        let table = |name: &str, columns: &[&str]| HeldTable {
            name: name.to_owned(),
            rows: None,
            columns: columns
                .iter()
                .map(|name| HeldColumn { name: (*name).to_owned(), kind: "TEXT".to_owned() })
                .collect(),
        };
        let tables = [
            table("customers", &["id", "company_id"]),
            table("customers__emails", &["_sdc_source_key_id", "_sdc_level_0_id", "email"]),
            table(
                "messages",
                &["id", "customer_id", "customer__id", "conversation_id", "created_by_id"],
            ),
            table("users", &["id"]),
        ];
        let found = relations(&tables);
        let found: Vec<_> =
            found.iter().map(|r| (r.from.as_str(), r.column.as_str(), r.to.as_str())).collect();
        assert_eq!(
            found,
            [
                ("customers__emails", "_sdc_source_key_id", "customers"),
                ("messages", "created_by_id", "users"),
                ("messages", "customer_id", "customers"),
            ]
        );
    }
}
