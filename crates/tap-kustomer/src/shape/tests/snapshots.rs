//! What records and declared fields of each stream look like, as people read them.

use super::*;

fn shaped(name: &str, document: &str) -> String {
    let path = Path::new("tests/documents").join(document);
    let raw = std::fs::read_to_string(path).unwrap();
    let mut shaper = shaper(name);
    let text = line(&mut shaper, &raw);
    let record: Map<String, Value> = serde_json::from_str(&text).unwrap();
    let mut lines: Vec<String> =
        record.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    for (path, schema) in shaper.take_discovered() {
        lines.push(format!("+ {path}: {}", kind(&schema)));
    }
    lines.join("\n")
}

/// A schema in few letters.
pub(super) fn kind(schema: &Schema) -> String {
    match &schema.kind {
        Kind::Any => "any".into(),
        Kind::Boolean => "boolean".into(),
        Kind::Integer => "integer".into(),
        Kind::Number => "number".into(),
        Kind::Text => "text".into(),
        Kind::DateTime => "time".into(),
        Kind::Object(object) if object.is_map() => "map".into(),
        Kind::Object(object) => format!("{{{}}}", fields(object, ", ")),
        Kind::Array(items) => format!("[{}]", kind(items)),
        Kind::Union(members) => members.iter().map(kind).collect::<Vec<_>>().join("|"),
    }
}

fn fields(object: &Object, separator: &str) -> String {
    let field = |(name, schema): &(String, Schema)| format!("{name} {}", kind(schema));
    object.properties.iter().map(field).collect::<Vec<_>>().join(separator)
}

#[test]
fn documents_of_each_stream() {
    insta::assert_snapshot!(shaped("conversations", "conversation.json"), @r#"
    type: "conversation"
    id: "66b1f0a2c3d4e5f601a2b3c4"
    name: "Damaged parcel 88231"
    preview: "The box arrived open"
    channels: ["email"]
    status: "done"
    open: {"status_at":"2026-03-02T09:14:22.310Z"}
    message_count: 4
    inbound_message_count: 2
    outbound_message_count: 2
    note_count: 1
    satisfaction: 5
    satisfaction_level: {"form":"65a0c0ffee00000000000001","form_response":"66b1f9990000000000000010","status":"commented","rating":5,"score":1,"first_answer":"Quick help","answers":[],"channel":"email","sent_by":"60aa00000000000000000007","sent_by_teams":["60bb00000000000000000003"],"scheduled_for":"2026-03-03T10:00:00.000Z","created_at":"2026-03-02T15:02:41.007Z","sent_at":"2026-03-03T10:00:01.120Z","updated_at":"2026-03-03T18:44:09.551Z"}
    created_at: "2026-03-02T09:14:22.310Z"
    updated_at: "2026-03-03T18:44:09.562Z"
    modified_at: "2026-03-02T15:02:40.998Z"
    last_activity_at: "2026-03-03T18:44:09.551Z"
    last_message_at: "2026-03-02T14:58:03.000Z"
    last_received_at: "2026-03-02T13:20:11.000Z"
    spam: false
    ended: false
    deleted: false
    tags: ["60cc00000000000000000021"]
    suggested_tags: []
    suggested_shortcuts: []
    predictions: []
    first_message_in: {"id":"66b1f0a2c3d4e5f601a2b3d0","sent_at":"2026-03-02T09:14:20.000Z","created_at":"2026-03-02T09:14:22.300Z","direction_type":"initial-in","channel":"email","meta":{"subject":"Damaged parcel 88231","from":"mia@customer.example","to":[{"email":"help@shop.example"}],"recipient":{"email":"help@shop.example","mailboxHash":""}}}
    first_message_out: {"id":"66b1f4110000000000000002","sent_at":"2026-03-02T10:02:05.000Z","created_at":"2026-03-02T10:02:05.440Z","channel":"email","direction_type":"response-out","created_by":"60aa00000000000000000007","created_by_teams":["60bb00000000000000000003"]}
    last_message_in: {"id":"66b1f2220000000000000005","sent_at":"2026-03-02T13:20:11.000Z","created_at":"2026-03-02T13:20:12.201Z","channel":"email","meta":{}}
    last_message_out: {"id":"66b1f3330000000000000006","sent_at":"2026-03-02T14:58:03.000Z","created_at":"2026-03-02T14:58:03.617Z","created_by":"60aa00000000000000000007"}
    assigned_users: ["60aa00000000000000000007"]
    assigned_teams: ["60bb00000000000000000003"]
    first_response: {"id":"66b1f4110000000000000002","time":2863130,"business_time":2863130,"response_time":2865000,"created_at":"2026-03-02T10:02:05.440Z","sent_at":"2026-03-02T10:02:05.000Z","created_by":"60aa00000000000000000007","created_by_teams":["60bb00000000000000000003"],"assigned_teams":[],"assigned_users":["60aa00000000000000000007"],"source":"user"}
    first_done: {"time":20898688,"business_time":20898688,"created_at":"2026-03-02T15:02:40.998Z","created_by":"60aa00000000000000000007","created_by_teams":["60bb00000000000000000003"],"assigned_teams":["60bb00000000000000000003"],"assigned_users":["60aa00000000000000000007"],"note_count":1,"message_count":4,"message_count_by_channel":{"email":4},"outbound_message_count":2,"outbound_message_count_by_channel":{"email":2},"last_message_direction":"out","last_message_direction_type":"followup-out","source":"user"}
    last_done: {"time":20898688,"business_time":20898688,"created_at":"2026-03-02T15:02:40.998Z","created_by":"60aa00000000000000000007","created_by_teams":["60bb00000000000000000003"],"assigned_teams":["60bb00000000000000000003"],"assigned_users":["60aa00000000000000000007"],"note_count":1,"message_count":4,"message_count_by_channel":{"email":4},"outbound_message_count":2,"outbound_message_count_by_channel":{"email":2},"last_message_direction":"out"}
    done_count: 1
    reopen_count: 0
    direction: "in"
    last_message_direction: "out"
    priority: 3
    default_lang: "en_us"
    total_open: {"time":20898688,"business_time":20898688}
    total_done: {"time":0,"business_time":0}
    sla: {"name":"Email standard","version":2,"matched_at":"2026-03-02T09:14:23.000Z","metrics":{"first_response":{"breach_at":"2026-03-02T13:14:22.310Z","satisfied_at":"2026-03-02T10:02:05.440Z"}},"breached":false,"status":"done","summary":{"satisfied_at":"2026-03-02T15:02:40.998Z"}}
    modification_history: {"status_at":"2026-03-02T15:02:40.998Z","assigned_users_at":"2026-03-02T09:40:00.000Z","tags_at":null,"custom_at":"2026-03-02T15:02:30.000Z"}
    role_group_versions: []
    access_override: []
    linked_conversations: []
    rev: 27
    custom: {"order_number_str":"88231","refund_amount_num":12.5,"refund_approved_bool":true,"promised_at":"2026-03-09T00:00:00.000Z","contact_reason_tree":"delivery.damaged.packaging","related_orders_id":["66b0aaaa0000000000000001","66b0aaaa0000000000000002"]}
    org: {"type":"org","id":"5f0000000000000000000001"}
    org_id: "5f0000000000000000000001"
    customer: {"type":"customer","id":"66a000000000000000000101"}
    customer_id: "66a000000000000000000101"
    brand: {"type":"brand","id":"5f00000000000000000000b1"}
    brand_id: "5f00000000000000000000b1"
    modified_by: {"type":"user","id":"60aa00000000000000000007"}
    modified_by_id: "60aa00000000000000000007"
    queue: {"type":"queue","id":"5f00000000000000000000c1"}
    queue_id: "5f00000000000000000000c1"
    sla_data: {"type":"sla","id":"5f00000000000000000000d1"}
    sla_id: "5f00000000000000000000d1"
    sla_version: {"type":"sla_version","id":"5f00000000000000000000d2"}
    sla_version_id: "5f00000000000000000000d2"
    links: {"self":"/v1/conversations/66b1f0a2c3d4e5f601a2b3c4"}
    + custom.order_number_str: text
    + custom.refund_amount_num: number
    + custom.refund_approved_bool: boolean
    + custom.promised_at: time
    + custom.contact_reason_tree: text
    + custom.related_orders_id: [text]
    "#);
    insta::assert_snapshot!(shaped("customers", "customer.json"), @r#"
    type: "customer"
    id: "66a000000000000000000101"
    name: "Mia Sorel"
    display_name: "Mia Sorel"
    first_name: "Mia"
    last_name: "Sorel"
    display_color: "teal"
    display_icon: "anchor"
    external_id: "shop-77120"
    external_ids: [{"external_id":"shop-77120","verified":true}]
    shared_external_ids: []
    emails: [{"type":"home","email":"mia@customer.example","verified":false,"external_verified":false}]
    shared_emails: []
    phones: [{"type":"mobile","phone":"+33600000000","verified":false}]
    shared_phones: []
    whatsapps: []
    shared_whatsapps: []
    facebook_ids: []
    instagram_ids: []
    socials: []
    shared_socials: []
    urls: []
    locations: [{"type":"home","city_name":"Lyon","country_code":"FR","zip_code":"69001"}]
    active_users: []
    watchers: ["60aa00000000000000000007"]
    tags: []
    locale: "fr_fr"
    time_zone: "Europe/Paris"
    presence: "offline"
    created_at: "2025-11-20T08:00:00.101Z"
    updated_at: "2026-03-03T18:44:09.600Z"
    modified_at: "2025-11-20T08:00:01.870Z"
    last_activity_at: "2026-03-03T18:44:09.600Z"
    last_customer_activity_at: "2026-03-03T18:44:09.551Z"
    last_seen_at: "2026-03-01T20:15:00.000Z"
    last_message_at: "2026-03-02T14:58:03.000Z"
    deleted: false
    verified: true
    progressive_status: "done"
    conversation_counts: {"all":3,"open":0,"snoozed":0,"done":3}
    last_conversation: {"id":"66b1f0a2c3d4e5f601a2b3c4","channels":["email"],"tags":["60cc00000000000000000021"]}
    last_message_in: {"channel":"email","sent_at":"2026-03-02T13:20:11.000Z"}
    last_message_out: {"sent_at":"2026-03-02T14:58:03.000Z"}
    preview: {"preview_at":"2026-03-02T14:58:03.000Z","type":"message","channel":"email","subject":"Damaged parcel 88231","text":"Your refund is on its way"}
    sentiment: {"polarity":1,"confidence":0.82}
    recent_items: [{"type":"kobject","id":"66b0aaaa0000000000000001","updated_at":"2026-03-02T09:00:00.000Z","meta":{"klass_name":"ecomm-order"}}]
    satisfaction_level: {"first_satisfaction":{"sent_by_teams":[]},"last_satisfaction":{"rating":5,"score":1,"conversation":"66b1f0a2c3d4e5f601a2b3c4","sent_by_teams":["60bb00000000000000000003"]},"count":1,"avg_rating":5,"avg_score":1}
    role_group_versions: []
    access_override: []
    rev: 46
    custom: {"loyalty_tier_str":"gold","lifetime_value_num":1840.5,"last_order_id_num":102701236227,"marketing_opt_in_bool":null}
    company: {"type":"company","id":"66c000000000000000000001"}
    company_id: "66c000000000000000000001"
    modified_by: null
    modified_by_id: null
    links: {"self":"/v1/customers/66a000000000000000000101"}
    + custom.loyalty_tier_str: text
    + custom.lifetime_value_num: number
    + custom.last_order_id_num: number
    "#);
    insta::assert_snapshot!(shaped("messages", "message.json"), @r#"
    type: "message"
    id: "66b1f0a2c3d4e5f601a2b3d0"
    external_id: "<a1@mail.customer.example>"
    channel: "email"
    app: "postmark"
    size: 1184
    direction: "in"
    direction_type: "initial-in"
    subject: "Damaged parcel 88231"
    preview: "The box arrived open"
    meta: {"subject":"Damaged parcel 88231","from":"mia@customer.example","to":[{"email":"help@shop.example"}],"cc":[],"recipient":{"email":"help@shop.example","mailboxHash":""},"inReplyTo":""}
    status: "received"
    auto: false
    lang: "en_us"
    redacted: false
    assigned_teams: []
    assigned_users: []
    created_by_teams: []
    sent_at: "2026-03-02T09:14:20.000Z"
    created_at: "2026-03-02T09:14:22.300Z"
    updated_at: "2026-03-02T09:14:25.020Z"
    rev: 3
    custom: {}
    customer: {"type":"customer","id":"66a000000000000000000101"}
    customer_id: "66a000000000000000000101"
    conversation: {"type":"conversation","id":"66b1f0a2c3d4e5f601a2b3c4"}
    conversation_id: "66b1f0a2c3d4e5f601a2b3c4"
    attachments: [{"type":"attachment","id":"66b1f0a30000000000000001"}]
    attachment_ids: ["66b1f0a30000000000000001"]
    links: {"self":"/v1/messages/66b1f0a2c3d4e5f601a2b3d0","related":"https://files.example/signed/abc"}
    "#);
    insta::assert_snapshot!(shaped("notes", "note.json"), @r#"
    type: "note"
    id: "66b1f5550000000000000009"
    body: "Photo confirms damage, refund 12.50"
    created_at: "2026-03-02T10:05:00.000Z"
    updated_at: "2026-03-02T10:05:00.000Z"
    created_by_teams: ["60bb00000000000000000003"]
    deleted: false
    customer: {"type":"customer","id":"66a000000000000000000101"}
    customer_id: "66a000000000000000000101"
    conversation: {"type":"conversation","id":"66b1f0a2c3d4e5f601a2b3c4"}
    conversation_id: "66b1f0a2c3d4e5f601a2b3c4"
    created_by: {"type":"user","id":"60aa00000000000000000007"}
    created_by_id: "60aa00000000000000000007"
    user_mentions: [{"type":"user","id":"60aa00000000000000000008"}]
    user_mention_ids: ["60aa00000000000000000008"]
    links: {"self":"/v1/notes/66b1f5550000000000000009"}
    "#);
    insta::assert_snapshot!(shaped("kobjects", "kobject.json"), @r#"
    type: "kobject"
    id: "66b0aaaa0000000000000001"
    external_id: "88231"
    title: "Order 88231"
    description: "2 items"
    icon: "cart"
    images: []
    custom: {"order_number_str":"88231","total_price_num":59.9,"order_status_str":"delivered","order_updated_at":"2026-02-28T16:00:00.000Z"}
    tags: []
    created_at: "2026-02-20T10:00:00.000Z"
    updated_at: "2026-02-28T16:00:03.405Z"
    rev: 8
    role_group_versions: []
    klass: {"type":"klass","id":"5f00000000000000000000e1"}
    klass_id: "5f00000000000000000000e1"
    customer: {"type":"customer","id":"66a000000000000000000101"}
    customer_id: "66a000000000000000000101"
    links: {"self":"/v1/klasses/ecomm-order/66b0aaaa0000000000000001"}
    + custom.order_number_str: text
    + custom.total_price_num: number
    + custom.order_status_str: text
    + custom.order_updated_at: time
    "#);
    insta::assert_snapshot!(shaped("users", "user.json"), @r#"
    type: "user"
    id: "60aa00000000000000000007"
    name: "Ana Petrov"
    display_name: "Ana"
    user_type: "user"
    email: "ana@shop.example"
    email_verified_at: "2024-01-02T00:00:00.000Z"
    mobile: null
    email_signature: "Ana, Shop care"
    roles: ["org.user"]
    role_groups: ["5f00000000000000000000a1"]
    first_login_at: "2024-01-02T00:00:00.000Z"
    most_recent_login_at: "2026-03-02T08:55:00.000Z"
    is_email_valid: true
    created_at: "2024-01-01T00:00:00.000Z"
    updated_at: "2026-03-02T08:55:00.000Z"
    modified_at: "2025-05-05T00:00:00.000Z"
    deleted_at: null
    links: {"self":"/v1/users/60aa00000000000000000007"}
    "#);
    insta::assert_snapshot!(shaped("teams", "team.json"), @r#"
    type: "team"
    id: "60bb00000000000000000003"
    name: "Care EU"
    display_name: "Care EU"
    icon: "star"
    members: ["60aa00000000000000000007","60aa00000000000000000008"]
    role_groups: []
    deleted: false
    created_at: "2024-01-01T00:00:00.000Z"
    updated_at: "2026-02-01T00:00:00.000Z"
    modified_at: "2026-02-01T00:00:00.000Z"
    links: {"self":"/v1/teams/60bb00000000000000000003"}
    "#);
    insta::assert_snapshot!(shaped("tags", "tag.json"), @r##"
    type: "tag"
    id: "60cc00000000000000000021"
    name: "damaged"
    color: "#cc3333"
    deleted: true
    deleted_at: "2026-03-04T00:00:00.000Z"
    created_at: "2024-02-01T00:00:00.000Z"
    updated_at: "2026-03-04T00:00:00.000Z"
    deleted_by: {"type":"user","id":"60aa00000000000000000001"}
    deleted_by_id: "60aa00000000000000000001"
    links: {"self":"/v1/tags/60cc00000000000000000021"}
    "##);
    insta::assert_snapshot!(shaped("shortcuts", "shortcut.json"), @r#"
    type: "shortcut"
    id: "60dd00000000000000000001"
    name: "Refund sent"
    draft: {"text":"Your refund is on its way"}
    conversation: {"tags":{"operator":"add","value":["60cc00000000000000000021"]}}
    payload: {"text":{"blocks":[{"key":"a1","text":"Your refund is on its way","type":"unstyled","depth":0,"inline_style_ranges":[],"entity_ranges":[],"data":{}}],"entity_map":{}}}
    is_private: false
    deleted: false
    app_disabled: false
    rev: 2
    created_at: "2024-03-01T00:00:00.000Z"
    updated_at: "2025-03-01T00:00:00.000Z"
    access_teams: []
    access_team_ids: []
    links: {"self":"/v1/shortcuts/60dd00000000000000000001"}
    "#);
}

#[test]
fn declared_fields_of_each_stream() {
    let all = streams::resources().iter().map(|resource| {
        let stream = stream(resource.name);
        format!("{}:\n  {}", resource.name, fields(&stream.fields, "\n  "))
    });
    insta::assert_snapshot!(all.collect::<Vec<_>>().join("\n"), @r#"
    users:
      id text
      type text
      name text
      display_name text
      email text
      mobile text
      user_type text
      avatar_url text
      email_signature text
      verified_email_status text
      roles [text]
      role_groups [text]
      email_verified_at time
      first_email_verified_at time
      first_login_at time
      most_recent_login_at time
      created_at time
      updated_at time
      modified_at time
      deleted_at time
      is_email_valid boolean
      password {allow_new boolean, force_new boolean, updated_at time}
      rev integer
      custom map
      org {id text, type text}
      org_id text
      created_by {id text, type text}
      created_by_id text
      modified_by {id text, type text}
      modified_by_id text
      links {self text, related text}
    teams:
      id text
      type text
      name text
      display_name text
      icon text
      members [text]
      role_groups [text]
      deleted boolean
      created_at time
      updated_at time
      modified_at time
      deleted_at time
      rev integer
      org {id text, type text}
      org_id text
      created_by {id text, type text}
      created_by_id text
      modified_by {id text, type text}
      modified_by_id text
      deleted_by {id text, type text}
      deleted_by_id text
      links {self text, related text}
    tags:
      id text
      type text
      name text
      color text
      deleted boolean
      created_at time
      updated_at time
      modified_at time
      deleted_at time
      rev integer
      org {id text, type text}
      org_id text
      created_by {id text, type text}
      created_by_id text
      modified_by {id text, type text}
      modified_by_id text
      deleted_by {id text, type text}
      deleted_by_id text
      links {self text, related text}
    shortcuts:
      id text
      type text
      name text
      draft {text text}
      conversation {name {operator text, value text}, tags {operator text, value [text]}, custom map}
      payload {text {blocks [{key text, text text, type text, depth integer, inline_style_ranges [{style text, offset integer, length integer}], entity_ranges [{key integer, offset integer, length integer}], data map}], entity_map map}}
      is_private boolean
      deleted boolean
      app_disabled boolean
      rev integer
      created_at time
      updated_at time
      modified_at time
      deleted_at time
      org {id text, type text}
      org_id text
      created_by {id text, type text}
      created_by_id text
      modified_by {id text, type text}
      modified_by_id text
      parent {id text, type text}
      parent_id text
      access_users [{id text, type text}]
      access_user_ids [text]
      access_teams [{id text, type text}]
      access_team_ids [text]
      attachments [{id text, type text}]
      attachment_ids [text]
      links {self text, related text}
    customers:
      id text
      type text
      name text
      first_name text
      last_name text
      display_name text
      display_color text
      display_icon text
      avatar_url text
      username text
      company_name text
      external_id text
      external_ids [{external_id text, verified boolean, id text}]
      shared_external_ids [{external_id text, verified boolean, id text}]
      emails [{type text, email text, verified boolean, external_verified boolean, id text}]
      shared_emails [{type text, email text, verified boolean, external_verified boolean, id text}]
      phones [{type text, phone text, verified boolean, id text}]
      shared_phones [{type text, phone text, verified boolean, id text}]
      whatsapps [{type text, phone text, verified boolean, id text}]
      shared_whatsapps [{type text, phone text, verified boolean, id text}]
      facebook_ids [{page_id text, user_id text, name text}]
      instagram_ids [{page_id text, thread_id text, username text, instagram_id text}]
      smooch_ids [any]
      socials [{type text, userid text, username text, url text, verified boolean}]
      shared_socials [{type text, userid text, username text, url text, verified boolean}]
      urls [{type text, url text}]
      locations [{type text, name text, address text, address2 text, address3 text, latitude number, longitude number, country_code text, country_name text, region_code text, region_name text, city_name text, zip_code text, area_code text}]
      recent_location {updated_at time, location {type text, name text, address text, address2 text, address3 text, latitude number, longitude number, country_code text, country_name text, region_code text, region_name text, city_name text, zip_code text, area_code text}}
      locale text
      time_zone text
      default_lang text
      gender text
      presence text
      birthday_at time
      signed_up_at time
      last_seen_at time
      last_activity_at time
      last_customer_activity_at time
      last_message_at time
      created_at time
      updated_at time
      modified_at time
      imported_at time
      active_users [text]
      watchers [text]
      tags [text]
      verified boolean
      deleted boolean
      progressive_status text
      conversation_counts {all integer, open integer, snoozed integer, done integer}
      last_conversation {id text, channels [text], tags [text], sentiment {polarity integer, confidence number}}
      last_message_in {channel text, sent_at time, sentiment {polarity integer, confidence number}}
      last_message_out {channel text, sent_at time}
      last_message_unresponded_to {channel text, sent_at time}
      preview {preview_at time, type text, channel text, subject text, text text}
      sentiment {polarity integer, confidence number}
      recent_items [{type text, id text, updated_at time, meta {klass_name text}}]
      satisfaction_level {first_satisfaction {conversation text, form text, form_response text, status text, rating integer, score integer, first_answer text, answers [any], channel text, sent_by text, sent_by_teams [text], scheduled_for time, created_at time, sent_at time, updated_at time}, last_satisfaction {conversation text, form text, form_response text, status text, rating integer, score integer, first_answer text, answers [any], channel text, sent_by text, sent_by_teams [text], scheduled_for time, created_at time, sent_at time, updated_at time}, count integer, acknowledge_count integer, avg_rating number, avg_score number}
      role_group_versions [text]
      access_override [{user text}]
      unmasking_window {created_at time, updated_at time}
      rev integer
      custom map
      org {id text, type text}
      org_id text
      company {id text, type text}
      company_id text
      created_by {id text, type text}
      created_by_id text
      modified_by {id text, type text}
      modified_by_id text
      links {self text, related text}
    conversations:
      id text
      type text
      name text
      preview text
      external_id text
      status text
      priority integer
      direction text
      channels [text]
      reply_channel text
      default_lang text
      locale text
      phase text
      external_queue text
      message_count integer
      note_count integer
      outbound_message_count integer
      inbound_message_count integer
      done_count integer
      reopen_count integer
      reopen_from_done_count integer
      snooze_count integer
      created_at time
      updated_at time
      modified_at time
      imported_at time
      last_activity_at time
      last_message_at time
      last_received_at time
      ended_at time
      ended boolean
      ended_reason text
      ended_by_type text
      spam boolean
      deleted boolean
      merged_target boolean
      locked boolean
      pinned boolean
      last_message_direction text
      tags [text]
      assigned_users [text]
      assigned_teams [text]
      skills [any]
      role_group_versions [text]
      access_override [any]
      matched_time_based_rules [any]
      predictions [any]
      linked_conversations [any]
      suggested_tags [{tag text, confidence number}]
      suggested_shortcuts [{shortcut_id text, confidence number}]
      open {status_at time}
      snooze {time time, status text, status_at time}
      first_message_in {id text, channel text, direction_type text, created_at time, sent_at time, meta map, first_delivered {timestamp time, client_type text, client_version text, supports_read_receipts boolean}}
      first_message_out {id text, channel text, direction_type text, created_at time, sent_at time, created_by text, created_by_teams [text]}
      last_message_in {id text, channel text, created_at time, sent_at time, meta map}
      last_message_out {id text, created_at time, sent_at time, created_by text}
      last_message_unresponded_to {id text, created_at time, sent_at time}
      last_message_unresponded_to_since_last_done {id text, created_at time, sent_at time}
      first_response {id text, time integer, business_time integer, response_time integer, source text, created_at time, sent_at time, created_by text, created_by_teams [text], assigned_teams [text], assigned_users [text]}
      first_response_since_last_done {id text, time integer, business_time integer, response_time integer, source text, created_at time, sent_at time, created_by text, created_by_teams [text], assigned_teams [text], assigned_users [text]}
      last_response {id text, time integer, business_time integer, response_time integer, source text, created_at time, sent_at time, created_by text, created_by_teams [text], assigned_teams [text], assigned_users [text]}
      first_done {time integer, business_time integer, created_at time, created_by text, created_by_teams [text], assigned_teams [text], assigned_users [text], note_count integer, message_count integer, outbound_message_count integer, message_count_by_channel map, outbound_message_count_by_channel map, last_message_direction text, last_message_direction_type text, source text}
      last_done {time integer, business_time integer, created_at time, created_by text, created_by_teams [text], assigned_teams [text], assigned_users [text], note_count integer, message_count integer, outbound_message_count integer, message_count_by_channel map, outbound_message_count_by_channel map, last_message_direction text, last_message_direction_type text, source text}
      total_open {time integer, business_time integer, time_since_last_done integer, business_time_since_last_done integer, business_time_by_schedule any, business_time_by_schedule_since_last_done any}
      total_done {time integer, business_time integer}
      total_snooze {time integer, business_time integer}
      satisfaction integer
      satisfaction_level {form text, form_response text, status text, rating integer, score integer, first_answer text, answers [any], channel text, sent_by text, sent_by_teams [text], scheduled_for time, created_at time, sent_at time, updated_at time}
      sentiment {polarity integer, confidence number}
      sla {name text, version integer, matched_at time, status text, breached boolean, breach {metric text, at time}, summary {satisfied_at time, first_breach_at time}, metrics {first_response {breach_at time, satisfied_at time}, longest_unresponded_message {breach_at time, satisfied_at time}, next_reply {breach_at time, satisfied_at time, on_time_count integer, late_count integer}, total_conversation_open_time {breach_at time, satisfied_at time}, total_customer_wait_time {breach_at time, satisfied_at time}}}
      assistant {assistant_id [text], status text, type text, app text, channel text, emulation boolean, transferred_at time, fac {is_fac boolean, source {type text, channel text}, created_at time, reasons [text], exclusions [any]}}
      attribution {total_revenue number, has_attributable_revenue boolean, currency text}
      last_deflection {deflected_at time, type text, status text, query {raw_text text}, articles [{id text, version any, lang text, title text, url text, visited integer, deflected boolean}]}
      modification_history {name_at time, priority_at time, channel_at time, assigned_teams_at time, assigned_users_at time, brand_at time, default_lang_at time, status_at time, tags_at time, custom_at time}
      first_company {id text, name text}
      rev integer
      custom map
      org {id text, type text}
      org_id text
      customer {id text, type text}
      customer_id text
      brand {id text, type text}
      brand_id text
      created_by {id text, type text}
      created_by_id text
      modified_by {id text, type text}
      modified_by_id text
      ended_by {id text, type text}
      ended_by_id text
      pinned_by {id text, type text}
      pinned_by_id text
      sla_data {id text, type text}
      sla_id text
      sla_version {id text, type text}
      sla_version_id text
      queue {id text, type text}
      queue_id text
      sub_status {id text, type text}
      sub_status_id text
      links {self text, related text}
    messages:
      id text
      type text
      external_id text
      channel text
      app text
      subject text
      preview text
      lang text
      status text
      direction text
      direction_type text
      source text
      size integer
      auto boolean
      redacted boolean
      sent_at time
      created_at time
      updated_at time
      modified_at time
      imported_at time
      error_at time
      redacted_at time
      response_time integer
      response_business_time integer
      assigned_teams [text]
      assigned_users [text]
      created_by_teams [text]
      sentiment {polarity integer, confidence number}
      error {status integer, code text, title text, detail text, source any, meta any, links any}
      location map
      reactions [{subject_id text, subject_type text, name text, created_at time}]
      first_delivered {timestamp time, client_type text}
      first_read {timestamp time}
      intent_detections [{intent text, confidence number, resolution_type text}]
      meta map
      rev integer
      custom map
      org {id text, type text}
      org_id text
      customer {id text, type text}
      customer_id text
      conversation {id text, type text}
      conversation_id text
      created_by {id text, type text}
      created_by_id text
      modified_by {id text, type text}
      modified_by_id text
      shortcuts [{id text, type text}]
      shortcut_ids [text]
      attachments [{id text, type text}]
      attachment_ids [text]
      links {self text, related text}
    notes:
      id text
      type text
      body text
      external_id text
      lang text
      created_at time
      updated_at time
      modified_at time
      imported_at time
      deleted_at time
      deleted boolean
      created_by_teams [text]
      rev integer
      custom map
      org {id text, type text}
      org_id text
      customer {id text, type text}
      customer_id text
      conversation {id text, type text}
      conversation_id text
      created_by {id text, type text}
      created_by_id text
      modified_by {id text, type text}
      modified_by_id text
      deleted_by {id text, type text}
      deleted_by_id text
      user_mentions [{id text, type text}]
      user_mention_ids [text]
      team_mentions [{id text, type text}]
      team_mention_ids [text]
      links {self text, related text}
    kobjects:
      id text
      type text
      external_id text
      title text
      description text
      icon text
      images [text]
      s3_data_url text
      data map
      tags [text]
      created_at time
      updated_at time
      modified_at time
      imported_at time
      klass_display_name text
      klass_mixins [text]
      status text
      assigned_user text
      assigned_team text
      queue text
      done_count integer
      reopen_count integer
      reopen_from_done_count integer
      first_done {time integer, business_time integer, created_at time, created_by text, created_by_team text, assigned_team text, assigned_user text, comment_count integer}
      last_done {time integer, business_time integer, created_at time, created_by text, created_by_team text, assigned_team text, assigned_user text, comment_count integer}
      attribution {conversation_id text, attribution_by text, channel text, time integer, revenue_value number, currency text}
      role_group_versions [text]
      rev integer
      custom map
      org {id text, type text}
      org_id text
      klass {id text, type text}
      klass_id text
      customer {id text, type text}
      customer_id text
      company {id text, type text}
      company_id text
      queue_data {id text, type text}
      queue_id text
      links {self text, related text}
    "#);
}
