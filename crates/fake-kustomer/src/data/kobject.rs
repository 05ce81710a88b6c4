//! Custom objects and their classes.

use crate::data::words::{CHANNELS, COLORS, ICONS, PRODUCTS};
use crate::data::{some_tag, some_team, some_user};
use crate::out::Out;
use crate::overlay::{Rec, Stream};
use crate::random::{Dice, mix2};
use crate::world::{COMPANY, CONVERSATION, CUSTOMER, KLASS, QUEUE, World};

/// Who a custom object belongs to: one in eight to a company, one in eight to nobody.
fn owner(hash: u64) -> u64 {
    (hash >> 20) & 7
}

/// Whether an object has no customer.
pub(crate) fn is_orphan(stream: &Stream, number: u64) -> bool {
    owner(mix2(stream.timeline.salt(), number)) < 2
}

pub(crate) fn write(out: &mut Out, world: &World, stream: usize, rec: &Rec<'_>) {
    let mut dice = Dice::new(rec.hash);
    let mut edit = Dice::new(rec.edit_hash);
    let Some(klass) = world.klass_of(stream) else { return };
    let product = PRODUCTS[dice.roll(8) as usize];
    out.open("kobject", rec.id).raw("\"externalId\":");
    if dice.one_in(6) {
        out.raw("null");
    } else {
        out.raw("\"").int(80_000 + rec.number).raw("\"");
    }
    out.raw(",\"title\":\"").raw(product).raw(" ").int(80_000 + rec.number);
    out.raw("\",\"description\":\"").prose(&mut dice, 1).raw("\",\"icon\":\"cart\",\"images\":[");
    if dice.one_in(5) {
        out.raw("\"https://img.example/p/").hex(rec.hash, 8).raw(".jpg\"");
    }
    out.raw("],\"custom\":{\"orderNumberStr\":\"")
        .int(80_000 + rec.number)
        .raw("\",\"totalPriceNum\":");
    match dice.roll(4) {
        0 => out.int(edit.roll(500)),
        1 => out.int(9_223_372_036_854_775_807 - (rec.hash >> 40)),
        _ => out.cents(edit.roll(50_000)),
    };
    out.raw(",\"orderStatusStr\":\"");
    out.raw(["placed", "paid", "shipped", "delivered", "returned"][edit.roll(5) as usize]);
    out.raw("\",\"orderUpdatedAt\":")
        .ts(rec.updated - 3405)
        .raw(",\"giftBool\":")
        .bool(dice.one_in(7));
    if dice.one_in(2) {
        out.raw(",\"lineItemsTxt\":\"")
            .raw(product)
            .raw(" × 2\\n")
            .raw(PRODUCTS[dice.roll(8) as usize])
            .raw("\"");
    }
    if dice.one_in(3) {
        out.raw(",\"trackingUrl\":\"https://carrier.example/t/").hex(rec.hash, 12).raw("\"");
    }
    if dice.one_in(3) {
        out.raw(",\"skusStr\":[\"").hex(rec.hash, 6).raw("\",\"").hex(rec.hash >> 8, 6).raw("\"]");
    }
    out.end_custom(world, stream, rec, false);
    out.raw(",\"tags\":[");
    if dice.one_in(4) {
        out.id(some_tag(world, &mut dice));
    }
    out.raw("],\"createdAt\":").ts(rec.created).raw(",\"updatedAt\":").ts(rec.updated);
    if dice.one_in(5) {
        out.raw(",\"importedAt\":").ts(rec.created);
    }
    out.raw(",\"rev\":").int(rec.rev);
    if rec.deleted {
        out.raw(",\"deleted\":true");
    }
    if dice.one_in(3) {
        out.raw(",\"klassDisplayName\":")
            .string(&klass.name)
            .raw(",\"klassMixins\":[\"commentable\",\"assignable\"]");
        out.raw(",\"status\":\"").raw(if edit.one_in(2) { "open" } else { "done" });
        out.raw("\",\"assignedUser\":").id(some_user(world, &mut dice)).raw(",\"assignedTeam\":");
        out.id(some_team(world, &mut dice)).raw(",\"queue\":").id(world.id(QUEUE, 0));
        out.raw(",\"doneCount\":")
            .int(edit.roll(3))
            .raw(",\"reopenCount\":0,\"reopenFromDoneCount\":0");
        out.raw(",\"firstDone\":{\"time\":")
            .int(edit.roll(900_000))
            .raw(",\"businessTime\":")
            .int(edit.roll(90_000));
        out.raw(",\"createdAt\":")
            .ts(rec.updated)
            .raw(",\"createdBy\":")
            .id(some_user(world, &mut dice))
            .raw(",\"commentCount\":1}");
    }
    if dice.one_in(8) {
        out.raw(",\"attribution\":{\"conversationId\":").id(world.id(CONVERSATION, rec.number));
        out.raw(",\"attributionBy\":\"time\",\"channel\":\"").raw(CHANNELS[dice.roll(8) as usize]);
        out.raw("\",\"time\":")
            .int(edit.roll(99_999))
            .raw(",\"revenueValue\":")
            .cents(edit.roll(20_000))
            .raw(",\"currency\":\"EUR\"}");
    }
    if dice.one_in(4) {
        out.raw(",\"data\":{\"id\":")
            .int(rec.hash >> 20)
            .raw(",\"lines\":[{\"sku\":\"")
            .hex(rec.hash, 6);
        out.raw("\",\"quantity\":")
            .int(1 + dice.roll(4))
            .raw(",\"price\":\"")
            .cents(dice.roll(9999))
            .raw("\"}]}");
    }
    out.raw(",\"roleGroupVersions\":[]},\"relationships\":{").rel("org", "org", "orgs/", world.org);
    let klass_id = world.id(KLASS, klass.number);
    // The one place where the service writes `link` instead of `links`.
    out.raw(",\"klass\":{\"link\":{\"self\":\"/v1/klasses/").bare_id(klass_id);
    out.raw("\"},\"data\":{\"type\":\"klass\",\"id\":").id(klass_id).raw("}}");
    match (rec.customer, owner(rec.hash)) {
        (Some(customer), _) => {
            out.raw(",").rel("customer", "customer", "customers/", world.id(CUSTOMER, customer));
        }
        (None, 0) => {
            let company = dice.roll(world.total(COMPANY).max(1));
            out.raw(",").rel("company", "company", "companies/", world.id(COMPANY, company));
        }
        (None, 1) => {
            out.raw(",\"customer\":null");
        }
        (None, _) => {
            let customer = world.birth_customer(stream, rec.number);
            out.raw(",").rel("customer", "customer", "customers/", world.id(CUSTOMER, customer));
        }
    }
    out.raw("},\"links\":{\"self\":\"/v1/klasses/")
        .raw(&klass.name)
        .raw("/")
        .bare_id(rec.id)
        .raw("\"}}");
}

pub(crate) fn write_klass(out: &mut Out, world: &World, rec: &Rec<'_>) {
    let mut dice = Dice::new(rec.hash);
    let klass = world.klasses.iter().find(|klass| klass.number == rec.number);
    let (name, status) = klass.map_or(("unnamed", "enabled"), |k| (&*k.name, &*k.status));
    out.open("klass", rec.id).raw("\"name\":").string(name).raw(",\"displayName\":").string(name);
    out.raw(",\"icon\":\"").raw(ICONS[dice.roll(8) as usize]).raw("\",\"color\":\"");
    out.raw(COLORS[dice.roll(8) as usize]).raw("\",\"status\":").string(status);
    out.raw(",\"mixins\":[\"commentable\"],\"appDisabled\":false,\"createdAt\":").ts(rec.created);
    out.raw(",\"updatedAt\":").ts(rec.updated).raw(",\"rev\":").int(rec.rev);
    out.raw("},\"relationships\":{").rel("org", "org", "orgs/", world.org);
    out.raw(",\"kobjects\":{\"links\":{\"self\":\"/v1/klasses/").raw(name).raw("\"}}}");
    out.close("klasses/", rec.id);
}
