//! Customers and companies.

use crate::data::words::{
    CHANNELS, CITIES, COLORS, FIRST, HANDLES, ICONS, LAST, LOCALES, SENTENCES, TOPICS,
};
use crate::data::{some_tag, some_user};
use crate::out::Out;
use crate::overlay::Rec;
use crate::random::{Dice, mix};
use crate::world::{COMPANY, CONVERSATION, CUSTOMER, KOBJECT, World};

pub(crate) fn write(out: &mut Out, world: &World, rec: &Rec<'_>) {
    let mut dice = Dice::new(rec.hash);
    let mut edit = Dice::new(rec.edit_hash);
    let first = FIRST[dice.roll(32) as usize];
    let last = LAST[dice.roll(32) as usize];
    let handle = HANDLES[dice.roll(16) as usize];
    let city = CITIES[dice.roll(12) as usize];
    let locale = LOCALES[dice.roll(8) as usize];
    let channel = CHANNELS[edit.roll(8) as usize];
    let span = rec.updated - rec.created;
    let seen = rec.created + span / 2;
    let sent = rec.created + span / 4 * 3;
    out.open("customer", rec.id);

    out.raw("\"name\":\"").raw(first).raw(" ").raw(last);
    out.raw("\",\"displayName\":\"").raw(first).raw(" ").raw(last);
    if dice.one_in(5) {
        // Display names change with edits.
        out.raw(" #").int(edit.roll(1000));
    }
    out.raw("\",\"firstName\":\"").raw(first).raw("\",\"lastName\":\"").raw(last);
    out.raw("\",\"displayColor\":\"").raw(COLORS[dice.roll(8) as usize]);
    out.raw("\",\"displayIcon\":\"").raw(ICONS[dice.roll(8) as usize]).raw("\"");
    if dice.one_in(4) {
        out.raw(",\"avatarUrl\":\"https://img.example/a/").hex(rec.hash, 12).raw(".png\"");
    } else if dice.one_in(2) {
        out.raw(",\"avatarUrl\":null");
    }
    if dice.one_in(6) {
        out.raw(",\"username\":\"").raw(handle).int(rec.number).raw("\"");
    }
    if dice.one_in(8) {
        out.raw(",\"companyName\":\"").raw(last).raw(" Ateliers\"");
    }
    if dice.one_in(3) {
        out.raw(",\"externalId\":null,\"externalIds\":[]");
    } else {
        out.raw(",\"externalId\":\"shop-").int(rec.number);
        out.raw("\",\"externalIds\":[{\"externalId\":\"shop-").int(rec.number);
        out.raw("\",\"verified\":true}]");
    }
    out.raw(",\"sharedExternalIds\":[],\"emails\":[{\"type\":\"home\",\"email\":\"");
    out.raw(handle).raw(".").int(rec.number).raw("@customer.example\",\"verified\":");
    out.bool(dice.one_in(2)).raw(",\"externalVerified\":false}");
    if dice.one_in(3) {
        out.raw(",{\"type\":\"work\",\"email\":\"").raw(handle).int(rec.number % 977);
        out.raw("@office.example\",\"verified\":false,\"id\":").id(rec.id).raw("}");
    }
    out.raw("],\"sharedEmails\":[],\"phones\":[");
    if !dice.one_in(3) {
        out.raw("{\"type\":\"mobile\",\"phone\":\"+336").int(10_000_000 + dice.roll(89_999_999));
        out.raw("\",\"verified\":false}");
    }
    out.raw("],\"sharedPhones\":[],\"whatsapps\":[");
    if dice.one_in(9) {
        out.raw("{\"type\":\"mobile\",\"phone\":\"+4917").int(10_000_000 + dice.roll(89_999_999));
        out.raw("\",\"verified\":true}");
    }
    out.raw("],\"sharedWhatsapps\":[],\"facebookIds\":[");
    if dice.one_in(16) {
        out.raw("{\"pageId\":\"1029384756\",\"userId\":\"")
            .int(rec.hash >> 8)
            .raw("\",\"name\":\"");
        out.raw(first).raw("\"}");
    }
    out.raw("],\"instagramIds\":[");
    if dice.one_in(16) {
        out.raw("{\"pageId\":\"178414\",\"threadId\":\"aWdf").hex(rec.hash, 14);
        out.raw("\",\"username\":\"").raw(handle).raw("\",\"instagramId\":\"").int(rec.hash >> 9);
        out.raw("\"}");
    }
    out.raw("],\"socials\":[");
    if dice.one_in(6) {
        out.raw("{\"type\":\"twitter\",\"userid\":\"")
            .int(rec.hash >> 16)
            .raw("\",\"username\":\"");
        out.raw(handle).raw("\",\"url\":\"https://social.example/").raw(handle);
        out.raw("\",\"verified\":false}");
    }
    out.raw("],\"sharedSocials\":[],\"urls\":[");
    if dice.one_in(7) {
        out.raw("{\"type\":\"website\",\"url\":\"https://").raw(handle).raw(".example\"}");
    }
    if dice.one_in(20) {
        out.raw("],\"smoochIds\":[");
    }
    out.raw("],\"locations\":[");
    if dice.one_in(3) {
        out.raw("{\"type\":\"home\",\"address\":\"").int(1 + dice.roll(240)).raw(" High Street");
        out.raw("\",\"address2\":null,\"cityName\":\"").raw(city.0).raw("\",\"countryCode\":\"");
        out.raw(city.1).raw("\",\"countryName\":\"").raw(city.2).raw("\",\"zipCode\":\"");
        out.raw(city.3)
            .raw("\",\"latitude\":")
            .cents(100 + dice.roll(8900))
            .raw(",\"longitude\":-");
        out.cents(1 + dice.roll(17_900)).raw("}");
    }
    out.raw("]");
    match dice.roll(3) {
        0 => {
            out.raw(",\"recentLocation\":{\"updatedAt\":")
                .ts(seen)
                .raw(",\"location\":{\"cityName\":\"");
            out.raw(city.0)
                .raw("\",\"countryCode\":\"")
                .raw(city.1)
                .raw("\",\"regionCode\":null}}");
        }
        1 => {
            out.raw(",\"recentLocation\":null");
        }
        _ => {}
    }
    out.raw(",\"locale\":\"").raw(locale.0).raw("\",\"timeZone\":\"").raw(locale.1);
    out.raw("\",\"defaultLang\":\"").raw(locale.0).raw("\"");
    if dice.one_in(3) {
        out.raw(",\"gender\":").raw(if dice.one_in(2) { "\"f\"" } else { "\"m\"" });
    }
    out.raw(",\"presence\":\"").raw(["online", "offline", "idle"][edit.roll(3) as usize]).raw("\"");
    if dice.one_in(5) {
        out.raw(",\"birthdayAt\":")
            .ts(rec.created - 788_400_000_000 - (dice.roll(700) as i64) * 1_000_000_000);
    }
    match dice.roll(3) {
        0 => {
            out.raw(",\"signedUpAt\":").ts(rec.created);
        }
        1 => {
            out.raw(",\"signedUpAt\":null");
        }
        _ => {}
    }
    out.raw(",\"createdAt\":").ts(rec.created).raw(",\"updatedAt\":").ts(rec.updated);
    out.raw(",\"modifiedAt\":").ts(seen);
    if dice.one_in(10) {
        out.raw(",\"importedAt\":").ts(rec.created);
    }
    out.raw(",\"lastSeenAt\":").ts(seen).raw(",\"lastActivityAt\":").ts(rec.updated);
    out.raw(",\"lastCustomerActivityAt\":").ts(sent).raw(",\"lastMessageAt\":").ts(sent);
    out.raw(",\"activeUsers\":[],\"watchers\":[");
    if dice.one_in(4) {
        out.id(some_user(world, &mut dice));
    }
    out.raw("],\"tags\":[");
    for place in 0..dice.roll(3) {
        if place > 0 {
            out.raw(",");
        }
        out.id(some_tag(world, &mut dice));
    }
    out.raw("],\"verified\":").bool(dice.one_in(2)).raw(",\"deleted\":").bool(rec.deleted);
    match edit.roll(5) {
        0 => {
            out.raw(",\"progressiveStatus\":null");
        }
        1 => {}
        other => {
            let status = ["open", "snoozed", "done"][other as usize - 2];
            out.raw(",\"progressiveStatus\":\"").raw(status).raw("\"");
        }
    }
    let open = edit.roll(3);
    let done = edit.roll(9);
    out.raw(",\"conversationCounts\":{\"all\":").int(open + done).raw(",\"open\":").int(open);
    out.raw(",\"snoozed\":0,\"done\":").int(done).raw("}");
    let conversation = conversation_near(world, rec.number);
    if dice.one_in(2) {
        out.raw(",\"lastConversation\":{\"id\":").id(conversation).raw(",\"channels\":[\"");
        out.raw(channel).raw("\"],\"tags\":[]");
        if dice.one_in(3) {
            out.raw(",\"sentiment\":{\"polarity\":1,\"confidence\":0.")
                .int(10 + edit.roll(89))
                .raw("}");
        }
        out.raw("}");
    }
    out.raw(",\"lastMessageIn\":{\"channel\":\"").raw(channel).raw("\",\"sentAt\":").ts(seen);
    out.raw(",\"sentiment\":null},\"lastMessageOut\":{\"sentAt\":").ts(sent).raw("}");
    if dice.one_in(3) {
        out.raw(",\"lastMessageUnrespondedTo\":{\"sentAt\":").ts(seen).raw(",\"channel\":\"");
        out.raw(channel).raw("\"}");
    } else if dice.one_in(2) {
        out.raw(",\"lastMessageUnrespondedTo\":null");
    }
    out.raw(",\"preview\":{\"previewAt\":").ts(sent).raw(",\"type\":\"message\",\"channel\":\"");
    out.raw(channel).raw("\",\"subject\":\"").raw(TOPICS[edit.roll(16) as usize]);
    out.raw("\",\"text\":\"").raw(SENTENCES[edit.roll(32) as usize]).raw("\"}");
    if !dice.one_in(3) {
        out.raw(",\"sentiment\":{\"polarity\":").signed(edit.roll(3) as i64 - 1);
        out.raw(",\"confidence\":0.").int(10 + edit.roll(89)).raw("}");
    }
    out.raw(",\"recentItems\":[");
    if dice.one_in(5) && world.streams.len() > KOBJECT {
        let object = World::share(rec.number, world.total(CUSTOMER), world.total(KOBJECT));
        out.raw("{\"type\":\"kobject\",\"id\":").id(world.id(KOBJECT, object));
        out.raw(",\"updatedAt\":").ts(seen).raw(",\"meta\":{\"klassName\":");
        out.string(&world.klasses[0].name).raw("}}");
    }
    out.raw("]");
    if dice.one_in(6) {
        let rating = 1 + edit.roll(5);
        out.raw(",\"satisfactionLevel\":{\"firstSatisfaction\":{\"sentByTeams\":[]}");
        out.raw(",\"lastSatisfaction\":{\"rating\":").int(rating).raw(",\"score\":");
        out.int(u64::from(rating > 3)).raw(",\"conversation\":").id(conversation);
        out.raw(",\"sentByTeams\":[]},\"count\":2,\"acknowledgeCount\":1,\"avgRating\":");
        out.cents(rating * 100 - 50 * edit.roll(2)).raw(",\"avgScore\":0.5}");
    } else if dice.one_in(2) {
        out.raw(",\"satisfactionLevel\":{\"firstSatisfaction\":{\"sentByTeams\":[]},");
        out.raw("\"lastSatisfaction\":{\"sentByTeams\":[]}}");
    }
    out.raw(",\"roleGroupVersions\":[],\"accessOverride\":[]");
    if dice.one_in(25) {
        out.raw(",\"unmaskingWindow\":{\"createdAt\":")
            .ts(seen)
            .raw(",\"updatedAt\":")
            .ts(sent)
            .raw("}");
    }
    out.raw(",\"rev\":").int(rec.rev);

    out.raw(",\"custom\":{\"loyaltyTierStr\":\"");
    out.raw(["gold", "silver", "bronze", "none"][edit.roll(4) as usize]);
    out.raw("\",\"lifetimeValueNum\":").cents(edit.roll(900_000));
    match dice.roll(4) {
        0 => {
            out.raw(",\"lastOrderIdNum\":").int(102_701_236_227 + rec.number);
        }
        1 => {
            out.raw(",\"lastOrderIdNum\":").int(9_007_199_254_740_993 + (rec.hash >> 12));
        }
        2 => {
            out.raw(",\"lastOrderIdNum\":").int(rec.number);
        }
        _ => {}
    }
    out.raw(",\"marketingOptInBool\":").raw(["true", "false", "null"][edit.roll(3) as usize]);
    if dice.one_in(2) {
        out.raw(",\"profileUrl\":\"https://shop.example/c/").int(rec.number).raw("\"");
    }
    if dice.one_in(3) {
        out.raw(",\"interestsStr\":[\"home\",\"").raw(COLORS[dice.roll(8) as usize]).raw("\"]");
    }
    if dice.one_in(9) {
        out.raw(",\"remarksTxt\":\"").prose(&mut edit, 2).raw("\"");
    }
    if dice.one_in(4) {
        // Known to the data, not to the metadata.
        out.raw(",\"importBatchRef\":{\"batch\":").int(dice.roll(90)).raw(",\"ok\":true}");
    }
    out.raw(",\"firstPurchaseAt\":");
    if dice.one_in(4) {
        out.raw("null");
    } else {
        out.ts(rec.created - 86_400_000);
    }
    out.end_custom(world, CUSTOMER, rec, false);

    out.raw("},\"relationships\":{\"messages\":{\"links\":{\"self\":\"/v1/customers/");
    out.bare_id(rec.id).raw("/messages\"}},").rel("org", "org", "orgs/", world.org);
    if dice.one_in(5) {
        let company = dice.roll(world.total(COMPANY).max(1));
        out.raw(",").rel("company", "company", "companies/", world.id(COMPANY, company));
    }
    if dice.one_in(3) {
        out.raw(",").rel("createdBy", "user", "users/", some_user(world, &mut dice));
    }
    if !edit.one_in(3) {
        out.raw(",\"modifiedBy\":null");
    } else {
        out.raw(",").rel("modifiedBy", "user", "users/", some_user(world, &mut edit));
    }
    for klass in &world.klasses {
        if dice.one_in(6) {
            out.raw(",\"").raw(&klass.name).raw("s\":{\"links\":{\"self\":\"/v1/customers/");
            out.bare_id(rec.id)
                .raw("/klasses/")
                .raw(&klass.name)
                .raw("s\"},\"meta\":{\"kobject\":true}}");
        }
    }
    out.raw("}").close("customers/", rec.id);
}

/// A conversation that belongs to the customer, or nearly.
fn conversation_near(world: &World, customer: u64) -> crate::timeline::Id {
    let place = World::share(customer, world.total(CUSTOMER), world.total(CONVERSATION));
    world.id(CONVERSATION, place)
}

pub(crate) fn write_company(out: &mut Out, world: &World, rec: &Rec<'_>) {
    let mut dice = Dice::new(rec.hash);
    let mut edit = Dice::new(mix(rec.edit_hash));
    let last = LAST[dice.roll(32) as usize];
    let handle = HANDLES[dice.roll(16) as usize];
    out.open("company", rec.id).raw("\"name\":\"").raw(last).raw(" ");
    out.raw(["Ateliers", "GmbH", "& Sons", "Logistics", "Ltd"][dice.roll(5) as usize]);
    out.raw("\",\"externalId\":\"crm-").int(rec.number).raw("\",\"domains\":[{\"domain\":\"");
    out.raw(handle)
        .int(rec.number)
        .raw(".example\"}],\"emails\":[],\"phones\":[],\"whatsapps\":[],");
    out.raw("\"socials\":[],\"urls\":[],\"locations\":[],\"tags\":[");
    if dice.one_in(2) {
        out.id(some_tag(world, &mut dice));
    }
    out.raw("],\"employeeCount\":");
    if dice.one_in(5) {
        out.raw("null");
    } else {
        out.int(1 + edit.roll(5000));
    }
    out.raw(",\"defaultLang\":\"en_us\",\"createdAt\":").ts(rec.created);
    out.raw(",\"updatedAt\":").ts(rec.updated).raw(",\"modifiedAt\":").ts(rec.updated);
    out.raw(",\"deleted\":").bool(rec.deleted).raw(",\"rev\":").int(rec.rev);
    out.raw(",\"roleGroupVersions\":[],\"custom\":{\"segmentStr\":\"");
    out.raw(["smb", "mid", "enterprise"][edit.roll(3) as usize]).raw("\"");
    out.end_custom(world, COMPANY, rec, false);
    out.raw("},\"relationships\":{").rel("org", "org", "orgs/", world.org).raw(",");
    out.rel("createdBy", "user", "users/", some_user(world, &mut dice));
    out.raw("}").close("companies/", rec.id);
}
