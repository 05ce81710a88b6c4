//! Conversations (`kustomer-api.md` 11.3).

use super::field::{
    Field, any, anys, flag, int, map, num, object, objects, sentiment, text, texts, time,
};

fn response(name: &'static str) -> Field {
    object(
        name,
        vec![
            text("id").about("The message that answered"),
            int("time"),
            int("business_time").about("The same, counting business hours only"),
            int("response_time"),
            text("source"),
            time("created_at"),
            time("sent_at"),
            text("created_by"),
            texts("created_by_teams"),
            texts("assigned_teams"),
            texts("assigned_users"),
        ],
    )
}

fn done(name: &'static str) -> Field {
    object(
        name,
        vec![
            int("time"),
            int("business_time"),
            time("created_at"),
            text("created_by").about("User who closed it"),
            texts("created_by_teams"),
            texts("assigned_teams"),
            texts("assigned_users"),
            int("note_count"),
            int("message_count"),
            int("outbound_message_count"),
            map("message_count_by_channel"),
            map("outbound_message_count_by_channel"),
            text("last_message_direction"),
            text("last_message_direction_type"),
            text("source"),
        ],
    )
}

fn unresponded(name: &'static str) -> Field {
    object(name, vec![text("id"), time("created_at"), time("sent_at")])
}

fn durations(name: &'static str) -> Field {
    object(name, vec![int("time"), int("business_time")])
}

fn metric(name: &'static str, more: Vec<Field>) -> Field {
    let mut fields = vec![time("breach_at"), time("satisfied_at")];
    fields.extend(more);
    object(name, fields)
}

fn sla() -> Field {
    object(
        "sla",
        vec![
            text("name"),
            int("version"),
            time("matched_at"),
            text("status").about("pending, paused or done"),
            flag("breached"),
            object("breach", vec![text("metric"), time("at")]),
            object("summary", vec![time("satisfied_at"), time("first_breach_at")]),
            object(
                "metrics",
                vec![
                    metric("first_response", Vec::new()),
                    metric("longest_unresponded_message", Vec::new()),
                    metric("next_reply", vec![int("on_time_count"), int("late_count")]),
                    metric("total_conversation_open_time", Vec::new()),
                    metric("total_customer_wait_time", Vec::new()),
                ],
            ),
        ],
    )
    .about("The service level that applies and how it was kept; its id is sla_id")
}

fn assistant() -> Field {
    object(
        "assistant",
        vec![
            texts("assistant_id"),
            text("status"),
            text("type"),
            text("app"),
            text("channel"),
            flag("emulation"),
            time("transferred_at"),
            object(
                "fac",
                vec![
                    flag("is_fac"),
                    object("source", vec![text("type"), text("channel")]),
                    time("created_at"),
                    texts("reasons"),
                    anys("exclusions"),
                ],
            ),
        ],
    )
    .about("The automatic assistant that took part")
}

fn last_deflection() -> Field {
    object(
        "last_deflection",
        vec![
            time("deflected_at"),
            text("type"),
            text("status"),
            object("query", vec![text("raw_text")]),
            objects(
                "articles",
                vec![
                    text("id"),
                    any("version"),
                    text("lang"),
                    text("title"),
                    text("url"),
                    int("visited"),
                    flag("deflected"),
                ],
            ),
        ],
    )
}

fn satisfaction_level() -> Field {
    object(
        "satisfaction_level",
        vec![
            text("form").about("The survey"),
            text("form_response").about("The customer's response to it"),
            text("status").about("scheduled, offered, rated, commented, canceled or unresponded"),
            int("rating").about("From 1 to 5"),
            int("score").about("0 bad, 1 good"),
            text("first_answer"),
            anys("answers"),
            text("channel"),
            text("sent_by"),
            texts("sent_by_teams"),
            time("scheduled_for"),
            time("created_at"),
            time("sent_at"),
            time("updated_at"),
        ],
    )
    .about("The satisfaction survey sent for this conversation")
}

fn messages_and_responses() -> Vec<Field> {
    vec![
        object(
            "first_message_in",
            vec![
                text("id"),
                text("channel"),
                text("direction_type"),
                time("created_at"),
                time("sent_at"),
                map("meta"),
                object(
                    "first_delivered",
                    vec![
                        time("timestamp"),
                        text("client_type"),
                        text("client_version"),
                        flag("supports_read_receipts"),
                    ],
                ),
            ],
        ),
        object(
            "first_message_out",
            vec![
                text("id"),
                text("channel"),
                text("direction_type"),
                time("created_at"),
                time("sent_at"),
                text("created_by"),
                texts("created_by_teams"),
            ],
        ),
        object(
            "last_message_in",
            vec![text("id"), text("channel"), time("created_at"), time("sent_at"), map("meta")],
        ),
        object(
            "last_message_out",
            vec![text("id"), time("created_at"), time("sent_at"), text("created_by")],
        ),
        unresponded("last_message_unresponded_to"),
        unresponded("last_message_unresponded_to_since_last_done"),
        response("first_response"),
        response("first_response_since_last_done"),
        response("last_response"),
        done("first_done"),
        done("last_done"),
        object(
            "total_open",
            vec![
                int("time"),
                int("business_time"),
                int("time_since_last_done"),
                int("business_time_since_last_done"),
                any("business_time_by_schedule"),
                any("business_time_by_schedule_since_last_done"),
            ],
        ),
        durations("total_done"),
        durations("total_snooze"),
    ]
}

/// The attributes.
pub(super) fn fields() -> Vec<Field> {
    let mut fields = vec![
        text("name").about("Subject"),
        text("preview").about("Beginning of the latest message"),
        text("external_id"),
        text("status").about("open, snoozed or done"),
        int("priority").about("From 1, lowest, to 5"),
        text("direction").about("in when the customer wrote first, else out"),
        texts("channels"),
        text("reply_channel"),
        text("default_lang"),
        text("locale"),
        text("phase"),
        text("external_queue"),
        int("message_count"),
        int("note_count"),
        int("outbound_message_count"),
        int("inbound_message_count"),
        int("done_count"),
        int("reopen_count"),
        int("reopen_from_done_count"),
        int("snooze_count"),
        time("created_at").about("When the record was made, or the time given on import"),
        time("updated_at").about("Last stored change of any kind; what extraction follows"),
        time("modified_at").about("Last change by a user, key or rule"),
        time("imported_at"),
        time("last_activity_at"),
        time("last_message_at"),
        time("last_received_at"),
        time("ended_at"),
        flag("ended"),
        text("ended_reason"),
        text("ended_by_type").about("user or customer"),
        flag("spam"),
        flag("deleted"),
        flag("merged_target").about("Whether others were merged into it"),
        flag("locked"),
        flag("pinned"),
        text("last_message_direction"),
        texts("tags").about("Tag ids"),
        texts("assigned_users").about("User ids"),
        texts("assigned_teams").about("Team ids"),
        anys("skills"),
        texts("role_group_versions"),
        anys("access_override"),
        anys("matched_time_based_rules"),
        anys("predictions"),
        anys("linked_conversations"),
        objects("suggested_tags", vec![text("tag"), num("confidence")]),
        objects("suggested_shortcuts", vec![text("shortcut_id"), num("confidence")]),
        object("open", vec![time("status_at")]),
        object(
            "snooze",
            vec![
                time("time").about("When it wakes up"),
                text("status").about("scheduled, canceled or elapsed"),
                time("status_at"),
            ],
        ),
    ];
    fields.extend(messages_and_responses());
    fields.extend([
        int("satisfaction").about("Rating of the older kind of survey"),
        satisfaction_level(),
        sentiment(),
        sla(),
        assistant(),
        object(
            "attribution",
            vec![num("total_revenue"), flag("has_attributable_revenue"), text("currency")],
        ),
        last_deflection(),
        object(
            "modification_history",
            vec![
                time("name_at"),
                time("priority_at"),
                time("channel_at"),
                time("assigned_teams_at"),
                time("assigned_users_at"),
                time("brand_at"),
                time("default_lang_at"),
                time("status_at"),
                time("tags_at"),
                time("custom_at"),
            ],
        )
        .about("When each of these last changed"),
        object("first_company", vec![text("id"), text("name")]),
        int("rev").about("Revision, grows with each write"),
    ]);
    fields
}
