//! Messages and notes.

use crate::data::words::{CHANNELS, SENTENCES, TOPICS};
use crate::data::{some_team, some_user};
use crate::out::Out;
use crate::overlay::Rec;
use crate::random::Dice;
use crate::world::{CONVERSATION, CUSTOMER, MESSAGE, NOTE, World};

pub(crate) fn write(out: &mut Out, world: &World, rec: &Rec<'_>) {
    let mut dice = Dice::new(rec.hash);
    let mut edit = Dice::new(rec.edit_hash);
    let conversation = world.conversation_of(MESSAGE, rec.number);
    let customer = rec.customer.unwrap_or_else(|| world.birth_customer(MESSAGE, rec.number));
    let channel = CHANNELS[dice.roll(8) as usize];
    let topic = TOPICS[dice.roll(16) as usize];
    let user = some_user(world, &mut dice);
    let inbound = dice.one_in(2);
    let sent = rec.created - 500;
    out.open("message", rec.id).raw("\"externalId\":");
    if dice.one_in(5) {
        out.raw("null");
    } else {
        out.raw("\"<").hex(rec.hash, 10).raw("@mail.customer.example>\"");
    }
    out.raw(",\"channel\":\"").raw(channel).raw("\",\"app\":\"postmark\",\"size\":");
    out.int(120 + dice.roll(9000)).raw(",\"direction\":\"").raw(if inbound { "in" } else { "out" });
    out.raw("\",\"directionType\":\"");
    out.raw(match (inbound, dice.roll(3)) {
        (true, 0) => "initial-in",
        (true, 1) => "followup-in",
        (true, _) => "response-in",
        (false, 0) => "initial-out",
        (false, 1) => "followup-out",
        (false, _) => "response-out",
    });
    if channel == "email" {
        out.raw("\",\"subject\":\"").raw(topic).raw("\"");
    } else {
        out.raw("\",\"subject\":null");
    }
    let sentences = 1 + dice.roll(2);
    out.raw(",\"preview\":\"").prose(&mut dice, sentences).raw("\",\"meta\":{");
    meta(out, rec, &mut dice, channel, topic, customer);
    out.raw("},\"status\":\"").raw(if inbound { "received" } else { "sent" });
    out.raw("\",\"auto\":").bool(dice.one_in(9)).raw(",\"lang\":\"en_us\",\"redacted\":");
    out.bool(edit.one_in(50));
    if dice.one_in(12) {
        out.raw(",\"source\":\"bulk\"");
    }
    if dice.one_in(40) {
        out.raw(",\"error\":{\"status\":550,\"code\":\"bounce\",\"title\":\"Mailbox full\",\"detail\":null,\"meta\":{}},\"errorAt\":").ts(rec.updated);
    }
    if inbound {
        out.raw(",\"assignedTeams\":[],\"assignedUsers\":[],\"createdByTeams\":[]");
        if dice.one_in(3) {
            out.raw(",\"sentiment\":{\"polarity\":").signed(edit.roll(3) as i64 - 1);
            out.raw(",\"confidence\":0.").int(11 + edit.roll(80)).raw("}");
        }
        if dice.one_in(10) {
            out.raw(",\"intentDetections\":[{\"intent\":\"refund\",\"confidence\":0.93,\"resolutionType\":\"automated\"}]");
        }
    } else {
        let team = some_team(world, &mut dice);
        out.raw(",\"responseTime\":").int(dice.roll(9_000_000)).raw(",\"responseBusinessTime\":");
        out.int(dice.roll(900_000))
            .raw(",\"assignedTeams\":[")
            .id(team)
            .raw("],\"assignedUsers\":[");
        out.id(user).raw("],\"createdByTeams\":[").id(team).raw("]");
        if dice.one_in(3) {
            out.raw(",\"firstDelivered\":{\"timestamp\":")
                .ts(rec.created)
                .raw(",\"clientType\":\"web\"}");
            out.raw(",\"firstRead\":{\"timestamp\":").ts(rec.updated).raw("}");
        }
    }
    if dice.one_in(15) {
        out.raw(",\"reactions\":[{\"subjectId\":")
            .id(user)
            .raw(",\"subjectType\":\"user\",\"name\":\"thumbs_up\",\"createdAt\":")
            .ts(rec.updated)
            .raw("}]");
    }
    if dice.one_in(12) {
        out.raw(",\"location\":{\"cityName\":\"Lyon\",\"countryCode\":\"FR\",\"latitude\":45.76,\"longitude\":4.84}");
    }
    out.raw(",\"sentAt\":").ts(sent).raw(",\"createdAt\":").ts(rec.created).raw(",\"updatedAt\":");
    out.ts(rec.updated);
    if dice.one_in(4) {
        out.raw(",\"modifiedAt\":").ts(rec.updated);
    }
    out.raw(",\"rev\":").int(rec.rev).raw(",\"custom\":{");
    let custom = dice.one_in(4);
    if custom {
        out.raw("\"reviewScoreNum\":").cents(edit.roll(1000)).raw(",\"qaNoteTxt\":\"");
        out.raw(SENTENCES[edit.roll(32) as usize]).raw("\"");
    }
    out.end_custom(world, MESSAGE, rec, !custom);
    if rec.deleted {
        out.raw(",\"deleted\":true");
    }
    out.raw("},\"relationships\":{").rel("org", "org", "orgs/", world.org).raw(",");
    out.rel("customer", "customer", "customers/", world.id(CUSTOMER, customer)).raw(",");
    out.rel("conversation", "conversation", "conversations/", world.id(CONVERSATION, conversation));
    if !inbound && dice.one_in(2) {
        out.raw(",").rel("createdBy", "user", "users/", user);
    }
    if dice.one_in(3) {
        out.raw(",\"modifiedBy\":null");
    }
    if dice.one_in(9) {
        out.raw(",\"shortcuts\":{\"data\":[]}");
    }
    if dice.one_in(6) {
        out.raw(",\"attachments\":{\"data\":[{\"type\":\"attachment\",\"id\":").id(rec.id);
        out.raw("}],\"links\":{\"self\":\"/v1/messages/").bare_id(rec.id).raw("/attachments\"}}");
    }
    out.raw("},\"links\":{\"self\":\"/v1/messages/").bare_id(rec.id);
    out.raw("\",\"related\":\"https://files.example/signed/").hex(rec.hash, 16).raw("\"}}");
}

/// What only this channel has. Recipients come as array, object or string.
fn meta(out: &mut Out, rec: &Rec<'_>, dice: &mut Dice, channel: &str, topic: &str, customer: u64) {
    let address = customer & 0xffff_ffff;
    match channel {
        "email" => {
            out.raw("\"subject\":\"").raw(topic).raw("\",\"from\":\"c").int(address);
            out.raw("@customer.example\",\"to\":");
            match dice.roll(4) {
                0 => out.raw("\"help@shop.example\""),
                1 => out.raw("{\"email\":\"help@shop.example\",\"name\":\"Shop\"}"),
                _ => out.raw("[{\"email\":\"help@shop.example\"}]"),
            };
            match dice.roll(4) {
                0 => out.raw(",\"cc\":\"boss@office.example\""),
                1 => out.raw(",\"cc\":{\"email\":\"boss@office.example\"},\"bcc\":[]"),
                2 => out.raw(
                    ",\"cc\":[{\"email\":\"a@office.example\"},{\"email\":\"b@office.example\"}]",
                ),
                _ => out.raw(",\"cc\":[]"),
            };
            out.raw(",\"recipient\":{\"email\":\"help@shop.example\",\"mailboxHash\":\"\"},\"inReplyTo\":\"\"");
        }
        "voice" => {
            out.raw("\"placedAt\":").ts(rec.created).raw(",\"answeredAt\":").ts(rec.created);
            out.raw(",\"endedAt\":").ts(rec.updated).raw(",\"externalRecordingUrl\":null,\"status\":\"completed\",\"from\":\"+33600000000\",\"to\":\"+33100000000\"");
        }
        "sms" | "whatsapp" => {
            out.raw("\"from\":\"+336")
                .int(10_000_000 + address)
                .raw("\",\"to\":\"+33100000000\",\"proxy\":null,\"attachmentNum\":0");
        }
        _ => {
            out.raw("\"trackingId\":\"")
                .hex(rec.hash, 16)
                .raw("\",\"payload\":{},\"permalink\":null,\"messageType\":\"text\"");
        }
    }
}

pub(crate) fn write_note(out: &mut Out, world: &World, rec: &Rec<'_>) {
    let mut dice = Dice::new(rec.hash);
    let mut edit = Dice::new(rec.edit_hash);
    let conversation = world.conversation_of(NOTE, rec.number);
    let customer = rec.customer.unwrap_or_else(|| world.birth_customer(NOTE, rec.number));
    let user = some_user(world, &mut dice);
    let sentences = 1 + edit.roll(4);
    out.open("note", rec.id).raw("\"body\":\"").prose(&mut edit, sentences).raw("\"");
    if dice.one_in(9) {
        out.raw(",\"externalId\":\"note-").int(rec.number).raw("\"");
    }
    out.raw(",\"lang\":\"en_us\",\"createdAt\":")
        .ts(rec.created)
        .raw(",\"updatedAt\":")
        .ts(rec.updated);
    out.raw(",\"modifiedAt\":").ts(rec.updated).raw(",\"createdByTeams\":[");
    out.id(some_team(world, &mut dice)).raw("],\"deleted\":").bool(rec.deleted);
    if rec.deleted {
        out.raw(",\"deletedAt\":").ts(rec.updated);
    } else if dice.one_in(3) {
        out.raw(",\"deletedAt\":null");
    }
    out.raw(",\"rev\":").int(rec.rev).raw(",\"custom\":{");
    out.end_custom(world, NOTE, rec, true);
    out.raw("},\"relationships\":{").rel("org", "org", "orgs/", world.org).raw(",");
    out.rel("customer", "customer", "customers/", world.id(CUSTOMER, customer)).raw(",");
    out.rel("conversation", "conversation", "conversations/", world.id(CONVERSATION, conversation));
    out.raw(",").rel("createdBy", "user", "users/", user).raw(",\"modifiedBy\":null");
    if rec.deleted {
        out.raw(",").rel("deletedBy", "user", "users/", user);
    }
    out.raw(",\"userMentions\":{\"data\":[");
    if dice.one_in(4) {
        out.raw("{\"type\":\"user\",\"id\":").id(some_user(world, &mut dice)).raw("}");
    }
    out.raw("]}}").close("notes/", rec.id);
}
