//! Conversations.

use crate::data::words::{CHANNELS, SENTENCES, TOPICS, TREES};
use crate::data::{some_tag, some_team, some_user};
use crate::out::Out;
use crate::overlay::Rec;
use crate::random::Dice;
use crate::timeline::Id;
use crate::world::{BRAND, CONVERSATION, CUSTOMER, KOBJECT, MESSAGE, QUEUE, SLA, World};

pub(crate) fn write(out: &mut Out, world: &World, rec: &Rec<'_>) {
    let mut dice = Dice::new(rec.hash);
    let mut edit = Dice::new(rec.edit_hash);
    let customer = rec.customer.unwrap_or_else(|| world.birth_customer(CONVERSATION, rec.number));
    let channel = CHANNELS[dice.roll(8) as usize];
    let topic = TOPICS[dice.roll(16) as usize];
    let user = some_user(world, &mut dice);
    let team = some_team(world, &mut dice);
    let inbound = !dice.one_in(6);
    let status = ["open", "done", "open", "done", "snoozed"][edit.roll(5) as usize];
    let done = status == "done";
    let span = rec.updated - rec.created;
    let at = |eighths: i64| rec.created + span / 8 * eighths;
    let ins = 1 + edit.roll(5);
    let outs = edit.roll(5);
    let first_message = message_near(world, rec.number, 0);
    let last_message = message_near(world, rec.number, 1);
    out.open("conversation", rec.id);

    out.raw("\"name\":");
    if dice.one_in(12) {
        out.raw("null");
    } else {
        out.raw("\"").raw(topic).raw(" ").int(10_000 + rec.number % 90_000).raw("\"");
    }
    out.raw(",\"preview\":\"").raw(SENTENCES[edit.roll(32) as usize]).raw("\"");
    if dice.one_in(8) {
        out.raw(",\"externalId\":\"case-").int(rec.number).raw("\"");
    }
    out.raw(",\"channels\":[\"").raw(channel).raw("\"");
    if dice.one_in(7) {
        out.raw(",\"note\"");
    }
    out.raw("],\"status\":\"")
        .raw(status)
        .raw("\",\"open\":{\"statusAt\":")
        .ts(rec.created)
        .raw("}");
    if status == "snoozed" {
        out.raw(",\"snooze\":{\"time\":").ts(rec.updated + 86_400_000);
        out.raw(",\"status\":\"scheduled\",\"statusAt\":").ts(rec.updated).raw("}");
    }
    out.raw(",\"messageCount\":").int(ins + outs).raw(",\"inboundMessageCount\":").int(ins);
    out.raw(",\"outboundMessageCount\":").int(outs).raw(",\"noteCount\":").int(edit.roll(3));
    if dice.one_in(8) {
        satisfaction(out, world, rec, &mut edit, channel, user, team);
    } else if dice.one_in(3) {
        out.raw(",\"satisfaction\":null,\"satisfactionLevel\":null");
    }
    out.raw(",\"createdAt\":").ts(rec.created).raw(",\"updatedAt\":").ts(rec.updated);
    out.raw(",\"modifiedAt\":").ts(at(6)).raw(",\"lastActivityAt\":").ts(rec.updated);
    out.raw(",\"lastMessageAt\":").ts(at(5)).raw(",\"lastReceivedAt\":").ts(at(4));
    if dice.one_in(15) {
        out.raw(",\"importedAt\":").ts(rec.created);
    }
    if dice.one_in(14) {
        out.raw(",\"endedAt\":")
            .ts(at(7))
            .raw(",\"endedReason\":\"timeout\",\"endedByType\":\"user\"");
    }
    out.raw(",\"spam\":").bool(dice.one_in(40)).raw(",\"ended\":").bool(dice.one_in(9));
    out.raw(",\"deleted\":").bool(rec.deleted).raw(",\"tags\":[");
    for place in 0..edit.roll(3) {
        if place > 0 {
            out.raw(",");
        }
        out.id(some_tag(world, &mut edit));
    }
    out.raw("],\"suggestedTags\":[");
    if dice.one_in(9) {
        out.raw("{\"tag\":")
            .id(some_tag(world, &mut dice))
            .raw(",\"confidence\":0.")
            .int(11 + edit.roll(80))
            .raw("}");
    }
    out.raw(
        "],\"suggestedShortcuts\":[],\"predictions\":[],\"skills\":[],\"matchedTimeBasedRules\":[]",
    );
    if !dice.one_in(3) {
        out.raw(",\"firstMessageIn\":{\"id\":")
            .id(first_message)
            .raw(",\"sentAt\":")
            .ts(rec.created);
        out.raw(",\"createdAt\":")
            .ts(rec.created)
            .raw(",\"directionType\":\"initial-in\",\"channel\":\"");
        out.raw(channel).raw("\",\"meta\":{\"subject\":\"").raw(topic).raw("\",\"from\":\"c");
        out.int(customer & 0xffff_ffff).raw("@customer.example\"");
        if channel == "email" {
            out.raw(",\"to\":[{\"email\":\"help@shop.example\"}],\"recipient\":{\"email\":\"help@shop.example\",\"mailboxHash\":\"\"}");
        }
        out.raw("}}");
    }
    if outs > 2 {
        out.raw(",\"firstMessageOut\":{\"id\":").id(last_message).raw(",\"sentAt\":").ts(at(1));
        out.raw(",\"createdAt\":").ts(at(1)).raw(",\"channel\":\"").raw(channel);
        out.raw("\",\"directionType\":\"response-out\",\"createdBy\":").id(user);
        out.raw(",\"createdByTeams\":[")
            .id(team)
            .raw("]},\"lastMessageOut\":{\"id\":")
            .id(last_message);
        out.raw(",\"createdAt\":")
            .ts(at(5))
            .raw(",\"sentAt\":")
            .ts(at(5))
            .raw(",\"createdBy\":")
            .id(user)
            .raw("}");
    } else {
        out.raw(",\"firstMessageOut\":null");
    }
    if dice.one_in(2) {
        out.raw(",\"lastMessageIn\":{\"id\":").id(last_message).raw(",\"sentAt\":").ts(at(4));
        out.raw(",\"createdAt\":")
            .ts(at(4))
            .raw(",\"channel\":\"")
            .raw(channel)
            .raw("\",\"meta\":{}}");
    }
    if dice.one_in(4) {
        out.raw(",\"lastMessageUnrespondedTo\":{\"id\":").id(last_message).raw(",\"createdAt\":");
        out.ts(at(4)).raw(",\"sentAt\":").ts(at(4)).raw("}");
    }
    out.raw(",\"assignedUsers\":[");
    if !dice.one_in(5) {
        out.id(user);
    }
    out.raw("],\"assignedTeams\":[").id(team).raw("]");
    if outs > 2 {
        let time = span.unsigned_abs() / 8;
        out.raw(",\"firstResponse\":{\"id\":").id(last_message).raw(",\"time\":").int(time);
        out.raw(",\"businessTime\":").int(time / 3).raw(",\"responseTime\":").int(time + 17);
        out.raw(",\"createdAt\":")
            .ts(at(1))
            .raw(",\"sentAt\":")
            .ts(at(1))
            .raw(",\"createdBy\":")
            .id(user);
        out.raw(",\"createdByTeams\":[")
            .id(team)
            .raw("],\"assignedTeams\":[],\"assignedUsers\":[")
            .id(user);
        out.raw("],\"source\":\"user\"}");
    }
    if done {
        if dice.one_in(4) {
            finished(out, "firstDone", at(6), user, team, channel, ins, outs);
        }
        finished(out, "lastDone", at(6), user, team, channel, ins, outs);
    }
    out.raw(",\"doneCount\":").int(u64::from(done)).raw(",\"reopenCount\":").int(edit.roll(3));
    out.raw(",\"reopenFromDoneCount\":0,\"snoozeCount\":0,\"direction\":\"");
    out.raw(if inbound { "in" } else { "out" }).raw("\",\"lastMessageDirection\":\"");
    out.raw(if outs > 2 { "out" } else { "in" }).raw("\",\"replyChannel\":\"").raw(channel);
    out.raw("\",\"priority\":").int(1 + edit.roll(5)).raw(",\"defaultLang\":\"en_us\"");
    if dice.one_in(3) {
        out.raw(",\"locale\":null,\"phase\":\"queued\"");
    }
    let time = span.unsigned_abs() / 8 * 6;
    out.raw(",\"totalOpen\":{\"time\":").int(time).raw(",\"businessTime\":").int(time / 3);
    if dice.one_in(4) {
        out.raw(",\"timeSinceLastDone\":0,\"businessTimeBySchedule\":{\"").bare_id(user);
        out.raw("\":").int(time / 4).raw("}");
    }
    out.raw("},\"totalDone\":{\"time\":0,\"businessTime\":0},\"totalSnooze\":{\"time\":0,\"businessTime\":0}");
    if dice.one_in(2) {
        out.raw(",\"sentiment\":{\"polarity\":").signed(edit.roll(3) as i64 - 1);
        out.raw(",\"confidence\":0.").int(11 + edit.roll(80)).raw("}");
    }
    let has_sla = dice.one_in(5);
    if has_sla {
        let breached = dice.one_in(4);
        out.raw(",\"sla\":{\"name\":\"Email standard\",\"version\":2,\"matchedAt\":")
            .ts(rec.created);
        out.raw(",\"metrics\":{\"firstResponse\":{\"breachAt\":").ts(rec.created + 14_400_000);
        out.raw(",\"satisfiedAt\":").ts(at(1)).raw("}},\"breached\":").bool(breached);
        if breached {
            out.raw(",\"breach\":{\"metric\":\"firstResponse\",\"at\":")
                .ts(rec.created + 14_400_000)
                .raw("}");
        }
        out.raw(",\"status\":\"done\",\"summary\":{\"satisfiedAt\":").ts(at(6)).raw("}}");
    }
    if dice.one_in(20) {
        out.raw(",\"assistant\":{\"assistantId\":[").id(user).raw(
            "],\"status\":\"transferred\",\"type\":\"email\",\"app\":\"kustomer\",\"channel\":\"",
        );
        out.raw(channel).raw("\",\"emulation\":false,\"transferredAt\":").ts(at(1));
        out.raw(",\"fac\":{\"isFac\":false,\"reasons\":[\"handover\"],\"exclusions\":[]}}");
    }
    if dice.one_in(10) {
        out.raw(",\"attribution\":{\"totalRevenue\":").cents(edit.roll(50_000));
        out.raw(",\"hasAttributableRevenue\":true,\"currency\":\"EUR\"}");
    }
    if dice.one_in(30) {
        out.raw(",\"lastDeflection\":{\"deflectedAt\":").ts(at(2)).raw(",\"type\":\"article\",\"status\":\"deflected\",\"query\":{\"rawText\":\"return\"},\"articles\":[{\"id\":").id(user);
        out.raw(",\"version\":3,\"lang\":\"en_us\",\"title\":\"Returns\",\"url\":\"https://help.example/returns\",\"visited\":1,\"deflected\":true}]}");
    }
    if dice.one_in(2) {
        out.raw(",\"modificationHistory\":{\"statusAt\":")
            .ts(at(6))
            .raw(",\"assignedUsersAt\":")
            .ts(at(1));
        out.raw(",\"tagsAt\":null,\"customAt\":").ts(at(6)).raw("}");
    }
    out.raw(",\"roleGroupVersions\":[],\"accessOverride\":[],\"linkedConversations\":[]");
    if dice.one_in(12) {
        out.raw(",\"mergedTarget\":false,\"locked\":false,\"pinned\":false");
    }
    out.raw(",\"rev\":").int(rec.rev);
    custom(out, world, rec, &mut dice, &mut edit);

    out.raw("},\"relationships\":{\"messages\":{\"links\":{\"self\":\"/v1/conversations/");
    out.bare_id(rec.id).raw("/messages\"}},").rel("org", "org", "orgs/", world.org);
    out.raw(",").rel("customer", "customer", "customers/", world.id(CUSTOMER, customer));
    if dice.one_in(2) {
        let brand = dice.roll(world.total(BRAND).max(1));
        out.raw(",").rel("brand", "brand", "brands/", world.id(BRAND, brand));
    }
    if !edit.one_in(3) {
        out.raw(",\"modifiedBy\":null");
    } else {
        out.raw(",").rel("modifiedBy", "user", "users/", user);
    }
    if dice.one_in(4) {
        let queue = dice.roll(world.total(QUEUE).max(1));
        out.raw(",").rel("queue", "queue", "routing/queues/", world.id(QUEUE, queue));
    }
    if has_sla {
        let sla = world.id(SLA, dice.roll(world.total(SLA).max(1)));
        out.raw(",").rel("sla", "sla", "slas/", sla);
        out.raw(",\"slaVersion\":{\"data\":{\"type\":\"sla_version\",\"id\":").id(sla).raw("}}");
    }
    out.raw("}").close("conversations/", rec.id);
}

/// The first or last message of a conversation, or nearly.
fn message_near(world: &World, conversation: u64, last: u64) -> Id {
    let place = World::share(conversation, world.total(CONVERSATION), world.total(MESSAGE));
    world.id(MESSAGE, place + last)
}

fn satisfaction(
    out: &mut Out,
    world: &World,
    rec: &Rec<'_>,
    edit: &mut Dice,
    channel: &str,
    user: Id,
    team: Id,
) {
    let rating = 1 + edit.roll(5);
    let later = rec.created + (rec.updated - rec.created) / 8 * 7;
    out.raw(",\"satisfaction\":")
        .int(rating)
        .raw(",\"satisfactionLevel\":{\"form\":")
        .id(world.org);
    out.raw(",\"formResponse\":")
        .id(rec.id)
        .raw(",\"status\":\"commented\",\"rating\":")
        .int(rating);
    out.raw(",\"score\":").int(u64::from(rating > 3)).raw(",\"firstAnswer\":\"");
    out.raw(SENTENCES[edit.roll(32) as usize]).raw("\",\"answers\":[],\"channel\":\"").raw(channel);
    out.raw("\",\"sentBy\":")
        .id(user)
        .raw(",\"sentByTeams\":[")
        .id(team)
        .raw("],\"scheduledFor\":")
        .ts(later);
    out.raw(",\"createdAt\":")
        .ts(later)
        .raw(",\"sentAt\":")
        .ts(later)
        .raw(",\"updatedAt\":")
        .ts(later)
        .raw("}");
}

#[expect(clippy::too_many_arguments, reason = "the facts of one nested object")]
fn finished(
    out: &mut Out,
    name: &str,
    at: i64,
    user: Id,
    team: Id,
    channel: &str,
    ins: u64,
    outs: u64,
) {
    let time = (at.unsigned_abs() >> 4) & 0xff_ffff;
    out.raw(",\"").raw(name).raw("\":{\"time\":").int(time).raw(",\"businessTime\":").int(time / 3);
    out.raw(",\"createdAt\":")
        .ts(at)
        .raw(",\"createdBy\":")
        .id(user)
        .raw(",\"createdByTeams\":[")
        .id(team);
    out.raw("],\"assignedTeams\":[").id(team).raw("],\"assignedUsers\":[").id(user);
    out.raw("],\"noteCount\":1,\"messageCount\":")
        .int(ins + outs)
        .raw(",\"messageCountByChannel\":{\"");
    out.raw(channel).raw("\":").int(ins + outs).raw("},\"outboundMessageCount\":").int(outs);
    out.raw(",\"outboundMessageCountByChannel\":{\"").raw(channel).raw("\":").int(outs);
    out.raw("},\"lastMessageDirection\":\"out\",\"lastMessageDirectionType\":\"followup-out\",\"source\":\"user\"}");
}

fn custom(out: &mut Out, world: &World, rec: &Rec<'_>, dice: &mut Dice, edit: &mut Dice) {
    out.raw(",\"custom\":{\"orderNumberStr\":\"").int(10_000 + rec.number % 90_000).raw("\"");
    match dice.roll(3) {
        0 => {
            out.raw(",\"refundAmountNum\":").cents(edit.roll(20_000));
        }
        1 => {
            out.raw(",\"refundAmountNum\":").int(edit.roll(200));
        }
        _ => {}
    }
    if dice.one_in(2) {
        out.raw(",\"refundApprovedBool\":").raw(["true", "false", "null"][edit.roll(3) as usize]);
    }
    if dice.one_in(2) {
        out.raw(",\"promisedAt\":").ts(rec.created - rec.created.rem_euclid(86_400_000));
    }
    out.raw(",\"contactReasonTree\":\"").raw(TREES[edit.roll(8) as usize]).raw("\"");
    if dice.one_in(3) && world.streams.len() > KOBJECT {
        let object = World::share(rec.number, world.total(CONVERSATION), world.total(KOBJECT));
        out.raw(",\"relatedOrdersId\":[").id(world.id(KOBJECT, object)).raw(",");
        out.id(world.id(KOBJECT, object + 1)).raw("]");
    }
    if dice.one_in(4) {
        out.raw(",\"refundReasonStr\":[\"damaged\",\"late\"]");
    } else if dice.one_in(3) {
        out.raw(",\"refundReasonStr\":\"wrong item\"");
    }
    if dice.one_in(6) {
        out.raw(",\"summaryTxt\":\"").prose(edit, 3).raw("\"");
    }
    if dice.one_in(8) {
        out.raw(",\"trackingUrl\":\"https://carrier.example/t/").hex(rec.hash, 10).raw("\"");
    }
    if dice.one_in(10) {
        // A suffix nobody has documented, in data but not in the metadata.
        out.raw(",\"geoHashXyz\":{\"h\":\"u09t\",\"p\":[").int(edit.roll(90)).raw(",2.5]}");
    }
    out.end_custom(world, CONVERSATION, rec, false);
}
