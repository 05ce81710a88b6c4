//! What the organisation says about its custom attributes.

use crate::out::{Out, timestamp};
use crate::world::{BRAND, COMPANY, CONVERSATION, CUSTOMER, KOBJECT, MESSAGE, USER, World};

/// Name, type, and further JSON members of the attributes each stream starts with. Some attributes
/// of the data are missing here, and one here is deleted, as in any organisation.
fn known(stream: usize) -> &'static [(&'static str, &'static str, &'static str)] {
    match stream {
        CUSTOMER => &[
            ("loyaltyTierStr", "string", r#""enumeration":["gold","silver","bronze","none"]"#),
            ("lifetimeValueNum", "number", r#""enumeration":[]"#),
            ("lastOrderIdNum", "number", ""),
            ("marketingOptInBool", "boolean", r#""enumeration":false"#),
            ("profileUrl", "string", ""),
            ("interestsStr", "string", r#""multi":true,"array":true"#),
            ("remarksTxt", "string", r#""sensitive":{"enabled":true,"maskType":"full"}"#),
            ("firstPurchaseAt", "date-time", ""),
        ],
        CONVERSATION => &[
            ("orderNumberStr", "string", ""),
            ("refundAmountNum", "number", ""),
            ("refundApprovedBool", "boolean", ""),
            ("promisedAt", "date-time", ""),
            (
                "contactReasonTree",
                "tree",
                r#""tree":{"children":[{"name":"delivery","children":[{"name":"damaged"}]}]}"#,
            ),
            ("relatedOrdersId", "string", r#""target":"kobject.ecomm-order","multi":true"#),
            (
                "refundReasonStr",
                "string",
                r#""enumeration":["damaged","late","wrong item"],"multi":true"#,
            ),
            ("summaryTxt", "string", ""),
            ("trackingUrl", "string", ""),
            ("oldFlagBool", "boolean", r#""deletedAt":"2025-09-01T00:00:00.000Z""#),
        ],
        MESSAGE => &[("reviewScoreNum", "number", ""), ("qaNoteTxt", "string", "")],
        COMPANY => &[("segmentStr", "string", r#""enumeration":["smb","mid","enterprise"]"#)],
        USER..=BRAND => &[],
        KOBJECT.. => &[
            ("orderNumberStr", "string", ""),
            ("totalPriceNum", "number", ""),
            ("orderStatusStr", "string", ""),
            ("orderUpdatedAt", "date-time", ""),
            ("giftBool", "boolean", ""),
            ("lineItemsTxt", "string", ""),
            ("trackingUrl", "string", ""),
            ("skusStr", "string", r#""multi":true"#),
        ],
        _ => &[],
    }
}

fn json_type(name: &str) -> &'static str {
    for (suffix, kind) in
        [("Num", "number"), ("Bool", "boolean"), ("At", "date-time"), ("Tree", "tree")]
    {
        if name.ends_with(suffix) {
            return kind;
        }
    }
    "string"
}

/// The `GET /metadata/{resource}` record of a stream.
pub(crate) fn write(out: &mut Out, world: &World, stream: usize, resource: &str) {
    let author = world.id(USER, 0);
    let since = world.origin - 500 * 86_400_000;
    out.raw("{\"type\":\"metadata\",\"id\":")
        .id(world.id(stream, 0))
        .raw(",\"attributes\":{\"properties\":{");
    let mut comma = "";
    let mut one = |out: &mut Out, name: &str, kind: &str, more: &str, at: i64| {
        out.raw(comma).string(name).raw(":{\"type\":\"").raw(kind).raw("\",\"displayName\":");
        out.string(name).raw(",\"modifiedBy\":").id(author).raw(",\"modifiedAt\":\"");
        out.raw(&timestamp(at)).raw("\",\"updatedAt\":\"").raw(&timestamp(at)).raw("\"");
        if !more.is_empty() {
            out.raw(",").raw(more);
        }
        out.raw("}");
        comma = ",";
    };
    for (name, kind, more) in known(stream) {
        one(out, name, kind, more, since);
    }
    for era in world.streams[stream].eras.iter().filter(|era| !era.hidden) {
        one(out, &era.name, json_type(&era.name), "", era.added_at);
    }
    out.raw("}},\"relationships\":{").rel("org", "org", "orgs/", world.org);
    out.raw("},\"links\":{\"self\":\"/v1/metadata/").raw(resource).raw("\"}}");
}
