//! Objects of the organisation's own classes (`kustomer-api.md` 11.7). One stream holds all
//! classes; `klass_id` tells them apart.

use super::field::{Field, int, map, num, object, text, texts, time};

fn done(name: &'static str) -> Field {
    object(
        name,
        vec![
            int("time"),
            int("business_time"),
            time("created_at"),
            text("created_by"),
            text("created_by_team"),
            text("assigned_team"),
            text("assigned_user"),
            int("comment_count"),
        ],
    )
}

/// The attributes.
pub(super) fn fields() -> Vec<Field> {
    vec![
        text("external_id"),
        text("title"),
        text("description"),
        text("icon"),
        texts("images"),
        text("s3_data_url"),
        map("data"),
        texts("tags").about("Tag ids"),
        time("created_at").about("When the record was made, or the time given on import"),
        time("updated_at").about("Last stored change of any kind; what extraction follows"),
        time("modified_at").about("Last change by a user, key or rule"),
        time("imported_at"),
        text("klass_display_name"),
        texts("klass_mixins"),
        text("status").about("open or done, for classes that can be assigned"),
        text("assigned_user"),
        text("assigned_team"),
        text("queue"),
        int("done_count"),
        int("reopen_count"),
        int("reopen_from_done_count"),
        done("first_done"),
        done("last_done"),
        object(
            "attribution",
            vec![
                text("conversation_id"),
                text("attribution_by"),
                text("channel"),
                int("time"),
                num("revenue_value"),
                text("currency"),
            ],
        ),
        texts("role_group_versions"),
        int("rev").about("Revision, grows with each write"),
    ]
}
