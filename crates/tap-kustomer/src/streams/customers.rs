//! Customers (`kustomer-api.md` 11.1).

use super::field::{Field, anys, flag, int, num, object, objects, sentiment, text, texts, time};

fn emails(name: &'static str) -> Field {
    objects(
        name,
        vec![
            text("type").about("home, work or other"),
            text("email"),
            flag("verified"),
            flag("external_verified"),
            text("id"),
        ],
    )
}

fn phones(name: &'static str) -> Field {
    objects(
        name,
        vec![
            text("type").about("mobile, home, work, fax or other"),
            text("phone"),
            flag("verified"),
            text("id"),
        ],
    )
}

fn whatsapps(name: &'static str) -> Field {
    objects(name, vec![text("type"), text("phone"), flag("verified"), text("id")])
}

fn socials(name: &'static str) -> Field {
    objects(
        name,
        vec![
            text("type").about("twitter, facebook, instagram, linkedin or pinterest"),
            text("userid"),
            text("username"),
            text("url"),
            flag("verified"),
        ],
    )
}

fn external_ids(name: &'static str) -> Field {
    objects(name, vec![text("external_id"), flag("verified"), text("id")])
}

fn location_fields() -> Vec<Field> {
    vec![
        text("type"),
        text("name"),
        text("address"),
        text("address2"),
        text("address3"),
        num("latitude"),
        num("longitude"),
        text("country_code"),
        text("country_name"),
        text("region_code"),
        text("region_name"),
        text("city_name"),
        text("zip_code"),
        text("area_code"),
    ]
}

fn satisfaction(name: &'static str) -> Field {
    object(
        name,
        vec![
            text("conversation").about("Id of the conversation it was about"),
            text("form"),
            text("form_response"),
            text("status"),
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
}

/// The attributes.
pub(super) fn fields() -> Vec<Field> {
    vec![
        text("name").about("Full name"),
        text("first_name"),
        text("last_name"),
        text("display_name"),
        text("display_color"),
        text("display_icon"),
        text("avatar_url"),
        text("username"),
        text("company_name"),
        text("external_id").about("First of the ids the organisation gave this customer"),
        external_ids("external_ids"),
        external_ids("shared_external_ids"),
        emails("emails"),
        emails("shared_emails"),
        phones("phones"),
        phones("shared_phones"),
        whatsapps("whatsapps"),
        whatsapps("shared_whatsapps"),
        objects("facebook_ids", vec![text("page_id"), text("user_id"), text("name")]),
        objects(
            "instagram_ids",
            vec![text("page_id"), text("thread_id"), text("username"), text("instagram_id")],
        ),
        anys("smooch_ids"),
        socials("socials"),
        socials("shared_socials"),
        objects("urls", vec![text("type").about("website, blog or other"), text("url")]),
        objects("locations", location_fields()),
        object("recent_location", vec![time("updated_at"), object("location", location_fields())]),
        text("locale"),
        text("time_zone"),
        text("default_lang"),
        text("gender"),
        text("presence").about("online, offline or idle"),
        time("birthday_at"),
        time("signed_up_at"),
        time("last_seen_at"),
        time("last_activity_at"),
        time("last_customer_activity_at"),
        time("last_message_at"),
        time("created_at").about("When the record was made, or the time given on import"),
        time("updated_at").about("Last stored change of any kind; what extraction follows"),
        time("modified_at").about("Last change by a user, key or rule"),
        time("imported_at"),
        texts("active_users"),
        texts("watchers").about("Ids of users who follow this customer"),
        texts("tags").about("Tag ids"),
        flag("verified"),
        flag("deleted"),
        text("progressive_status").about("snoozed, open or done: the most urgent conversation's"),
        object("conversation_counts", vec![int("all"), int("open"), int("snoozed"), int("done")]),
        object(
            "last_conversation",
            vec![text("id"), texts("channels"), texts("tags"), sentiment()],
        ),
        object("last_message_in", vec![text("channel"), time("sent_at"), sentiment()]),
        object("last_message_out", vec![text("channel"), time("sent_at")]),
        object("last_message_unresponded_to", vec![text("channel"), time("sent_at")]),
        object(
            "preview",
            vec![time("preview_at"), text("type"), text("channel"), text("subject"), text("text")],
        ),
        sentiment(),
        objects(
            "recent_items",
            vec![
                text("type"),
                text("id"),
                time("updated_at"),
                object("meta", vec![text("klass_name")]),
            ],
        ),
        object(
            "satisfaction_level",
            vec![
                satisfaction("first_satisfaction"),
                satisfaction("last_satisfaction"),
                int("count"),
                int("acknowledge_count"),
                num("avg_rating"),
                num("avg_score"),
            ],
        )
        .about("What surveys said about this customer's conversations"),
        texts("role_group_versions"),
        objects("access_override", vec![text("user")]),
        object("unmasking_window", vec![time("created_at"), time("updated_at")]),
        int("rev").about("Revision, grows with each write"),
    ]
}
