//! The small lists: users, teams, tags, shortcuts (`kustomer-api.md` 11.8).

use super::field::{Field, flag, int, map, object, objects, text, texts, time};

fn created() -> Field {
    time("created_at").about("When the record was made")
}

fn updated() -> Field {
    time("updated_at").about("Last stored change of any kind; what extraction follows")
}

/// Attributes of users.
pub(super) fn users() -> Vec<Field> {
    vec![
        text("name"),
        text("display_name"),
        text("email"),
        text("mobile"),
        text("user_type").about("user, machine or limited"),
        text("avatar_url"),
        text("email_signature"),
        text("verified_email_status"),
        texts("roles"),
        texts("role_groups"),
        time("email_verified_at"),
        time("first_email_verified_at"),
        time("first_login_at"),
        time("most_recent_login_at"),
        created(),
        updated(),
        time("modified_at").about("Last change by a user, key or rule"),
        time("deleted_at").about("When the user was removed, if so"),
        flag("is_email_valid"),
        object("password", vec![flag("allow_new"), flag("force_new"), time("updated_at")]),
        int("rev").about("Revision, grows with each write"),
    ]
}

/// Attributes of teams.
pub(super) fn teams() -> Vec<Field> {
    vec![
        text("name"),
        text("display_name"),
        text("icon"),
        texts("members").about("User ids"),
        texts("role_groups"),
        flag("deleted"),
        created(),
        updated(),
        time("modified_at").about("Last change by a user, key or rule"),
        time("deleted_at"),
        int("rev").about("Revision, grows with each write"),
    ]
}

/// Attributes of tags.
pub(super) fn tags() -> Vec<Field> {
    vec![
        text("name"),
        text("color"),
        flag("deleted"),
        created(),
        updated(),
        time("modified_at").about("Last change by a user, key or rule"),
        time("deleted_at"),
        int("rev").about("Revision, grows with each write"),
    ]
}

/// Attributes of shortcuts.
pub(super) fn shortcuts() -> Vec<Field> {
    vec![
        text("name"),
        object("draft", vec![text("text")]).about("The prepared answer"),
        object(
            "conversation",
            vec![
                object("name", vec![text("operator"), text("value")]),
                object("tags", vec![text("operator"), texts("value")]),
                map("custom"),
            ],
        )
        .about("What using the shortcut changes in the conversation"),
        object(
            "payload",
            vec![object(
                "text",
                vec![
                    objects(
                        "blocks",
                        vec![
                            text("key"),
                            text("text"),
                            text("type"),
                            int("depth"),
                            objects(
                                "inline_style_ranges",
                                vec![text("style"), int("offset"), int("length")],
                            ),
                            objects(
                                "entity_ranges",
                                vec![int("key"), int("offset"), int("length")],
                            ),
                            map("data"),
                        ],
                    ),
                    map("entity_map"),
                ],
            )],
        )
        .about("The prepared answer with its formatting"),
        flag("is_private"),
        flag("deleted"),
        flag("app_disabled"),
        int("rev").about("Revision, grows with each write"),
        created(),
        updated(),
        time("modified_at").about("Last change by a user, key or rule"),
        time("deleted_at"),
    ]
}
