//! Messages (`kustomer-api.md` 11.4).

use super::field::{
    Field, any, flag, int, map, num, object, objects, sentiment, text, texts, time,
};

/// The attributes.
pub(super) fn fields() -> Vec<Field> {
    vec![
        text("external_id"),
        text("channel"),
        text("app").about("App that sent or received it"),
        text("subject"),
        text("preview").about("Text, shortened by Kustomer"),
        text("lang"),
        text("status").about("sent, received or error"),
        text("direction").about("in from the customer, out to them"),
        text("direction_type").about("initial, response or followup, with in or out"),
        text("source"),
        int("size"),
        flag("auto").about("Sent by a rule, not a person"),
        flag("redacted").about("Whether the content was removed"),
        time("sent_at"),
        time("created_at").about("When the record was made, or the time given on import"),
        time("updated_at").about("Last stored change of any kind; what extraction follows"),
        time("modified_at").about("Last change by a user, key or rule"),
        time("imported_at"),
        time("error_at"),
        time("redacted_at"),
        int("response_time"),
        int("response_business_time"),
        texts("assigned_teams").about("Team ids"),
        texts("assigned_users").about("User ids"),
        texts("created_by_teams").about("Team ids"),
        sentiment(),
        object(
            "error",
            vec![
                int("status"),
                text("code"),
                text("title"),
                text("detail"),
                any("source"),
                any("meta"),
                any("links"),
            ],
        ),
        map("location"),
        objects(
            "reactions",
            vec![text("subject_id"), text("subject_type"), text("name"), time("created_at")],
        ),
        object("first_delivered", vec![time("timestamp"), text("client_type")]),
        object("first_read", vec![time("timestamp")]),
        objects(
            "intent_detections",
            vec![text("intent"), num("confidence"), text("resolution_type")],
        ),
        map("meta").about("What the channel says about it: from, to, cc, recordings and so on"),
        int("rev").about("Revision, grows with each write"),
    ]
}
