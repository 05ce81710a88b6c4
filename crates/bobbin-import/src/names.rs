//! Names that clients may use, and ours.

/// The field that every record is led by: the sequence its client gave it, by which the newest version
/// of a record is found, whatever the order requests arrived in.
pub const SEQUENCE: &str = "_import_sequence";

/// The field that tells records apart in tables without a key: the request and the place in it, so that
/// a record that is loaded a second time is the same row.
pub const ID: &str = "_import_id";

/// Characters that a table's name may have.
pub(crate) const MOST_NAME: usize = 255;

/// How names of tables that are bobbin's own begin.
const RESERVED: [&str; 4] = ["_sdc", "__sdc", "_rjm", "_bobbin"];

/// Whether a field's name is one of ours. Destinations compare names without regard to case.
pub(crate) fn is_ours(field: &str) -> bool {
    field.starts_with('_') && [SEQUENCE, ID].iter().any(|ours| field.eq_ignore_ascii_case(ours))
}

/// Why no table can have this name.
pub(crate) fn fault(table: &str) -> Option<String> {
    let lower = table.to_lowercase();
    if table.is_empty() {
        Some("is empty".to_owned())
    } else if table.chars().count() > MOST_NAME {
        Some(format!("has more than {MOST_NAME} characters"))
    } else if table.trim() != table {
        Some("begins or ends with white space".to_owned())
    } else if table.chars().any(char::is_control) {
        Some("has a control character".to_owned())
    } else if !table.chars().any(|c| c.is_alphanumeric()) {
        Some("has no letter and no digit".to_owned())
    } else {
        let begins = RESERVED.iter().find(|begins| lower.starts_with(*begins));
        begins.map(|begins| format!("begins with {begins}, which is reserved"))
    }
}
