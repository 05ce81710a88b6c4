//! Notes (`kustomer-api.md` 11.5).

use super::field::{Field, flag, int, text, texts, time};

/// The attributes.
pub(super) fn fields() -> Vec<Field> {
    vec![
        text("body").about("The text"),
        text("external_id"),
        text("lang"),
        time("created_at").about("When the record was made, or the time given on import"),
        time("updated_at").about("Last stored change of any kind; what extraction follows"),
        time("modified_at").about("Last change by a user, key or rule"),
        time("imported_at"),
        time("deleted_at"),
        flag("deleted"),
        texts("created_by_teams").about("Team ids"),
        int("rev").about("Revision, grows with each write"),
    ]
}
