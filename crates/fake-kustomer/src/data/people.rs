//! Users, teams, tags and shortcuts.

use crate::data::words::{COLORS, FIRST, HANDLES, ICONS, LAST, SENTENCES, TAGS, TOPICS};
use crate::data::{some_tag, some_user};
use crate::out::Out;
use crate::overlay::Rec;
use crate::random::Dice;
use crate::world::{USER, World};

/// Times, `rev` and the soft-delete fields that these types share; ends the attributes.
fn finish(out: &mut Out, world: &World, rec: &Rec<'_>, path: &str, flag: bool) {
    out.raw(",\"createdAt\":").ts(rec.created).raw(",\"updatedAt\":").ts(rec.updated);
    out.raw(",\"modifiedAt\":").ts(rec.updated).raw(",\"rev\":").int(rec.rev);
    if flag {
        out.raw(",\"deleted\":").bool(rec.deleted);
    }
    if rec.deleted {
        out.raw(",\"deletedAt\":").ts(rec.updated);
    } else {
        out.raw(",\"deletedAt\":null");
    }
    out.raw("},\"relationships\":{").rel("org", "org", "orgs/", world.org);
    let author = world.id(USER, 0);
    out.raw(",").rel("createdBy", "user", "users/", author).raw(",\"modifiedBy\":null");
    if rec.deleted {
        out.raw(",").rel("deletedBy", "user", "users/", author);
    }
    out.raw("}").close(path, rec.id);
}

pub(crate) fn write_user(out: &mut Out, world: &World, rec: &Rec<'_>) {
    let mut dice = Dice::new(rec.hash);
    let mut edit = Dice::new(rec.edit_hash);
    let first = FIRST[dice.roll(32) as usize];
    let machine = rec.number % 9 == 8;
    out.open("user", rec.id)
        .raw("\"name\":\"")
        .raw(first)
        .raw(" ")
        .raw(LAST[dice.roll(32) as usize]);
    out.raw("\",\"displayName\":\"").raw(first).raw("\",\"userType\":\"");
    out.raw(if machine { "machine" } else { "user" }).raw("\",\"email\":\"");
    out.raw(HANDLES[dice.roll(16) as usize]).int(rec.number).raw("@shop.example\",\"mobile\":null");
    if dice.one_in(3) {
        out.raw(",\"avatarUrl\":\"https://img.example/u/").hex(rec.hash, 8).raw(".png\"");
    }
    out.raw(",\"emailSignature\":\"")
        .raw(first)
        .raw(", Shop care\",\"verifiedEmailStatus\":\"verified\"");
    out.raw(",\"roles\":[\"org.user\"],\"roleGroups\":[")
        .id(world.org)
        .raw("],\"emailVerifiedAt\":");
    out.ts(rec.created).raw(",\"firstEmailVerifiedAt\":").ts(rec.created).raw(",\"firstLoginAt\":");
    out.ts(rec.created).raw(",\"mostRecentLoginAt\":");
    if edit.one_in(6) {
        out.raw("null");
    } else {
        out.ts(rec.updated);
    }
    out.raw(",\"isEmailValid\":true");
    if machine {
        out.raw(",\"password\":{\"allowNew\":false,\"forceNew\":false,\"updatedAt\":")
            .ts(rec.created)
            .raw("}");
    }
    out.raw(",\"custom\":{");
    out.end_custom(world, USER, rec, true);
    finish(out, world, rec, "users/", false);
}

pub(crate) fn write_team(out: &mut Out, world: &World, rec: &Rec<'_>) {
    let mut dice = Dice::new(rec.hash);
    let mut edit = Dice::new(rec.edit_hash);
    let place = ["EU", "US", "Night", "Returns", "Billing", "VIP"][(rec.number % 6) as usize];
    out.open("team", rec.id).raw("\"name\":\"Care ").raw(place).raw("\",\"displayName\":\"Care ");
    out.raw(place).raw("\",\"icon\":\"").raw(ICONS[dice.roll(8) as usize]).raw("\",\"members\":[");
    for seat in 0..edit.roll(6) {
        if seat > 0 {
            out.raw(",");
        }
        out.id(some_user(world, &mut edit));
    }
    out.raw("],\"roleGroups\":[]");
    finish(out, world, rec, "teams/", true);
}

pub(crate) fn write_tag(out: &mut Out, world: &World, rec: &Rec<'_>) {
    let mut edit = Dice::new(rec.edit_hash);
    out.open("tag", rec.id).raw("\"name\":\"").raw(TAGS[(rec.number % 12) as usize]);
    if rec.number >= 12 {
        out.raw(" ").int(rec.number & 0xffff_ffff);
    }
    out.raw("\",\"color\":\"").raw(COLORS[edit.roll(8) as usize]).raw("\"");
    finish(out, world, rec, "tags/", true);
}

pub(crate) fn write_shortcut(out: &mut Out, world: &World, rec: &Rec<'_>) {
    let mut dice = Dice::new(rec.hash);
    let mut edit = Dice::new(rec.edit_hash);
    let text = SENTENCES[edit.roll(32) as usize];
    out.open("shortcut", rec.id).raw("\"name\":\"").raw(TOPICS[dice.roll(16) as usize]).raw(" ");
    out.int(rec.number & 0xffff_ffff)
        .raw("\",\"draft\":{\"text\":\"")
        .raw(text)
        .raw("\"},\"conversation\":");
    if dice.one_in(2) {
        out.raw("{\"tags\":{\"operator\":\"add\",\"value\":[")
            .id(some_tag(world, &mut dice))
            .raw("]}}");
    } else {
        out.raw("{}");
    }
    out.raw(",\"payload\":{\"text\":{\"blocks\":[{\"key\":\"a1\",\"text\":\"").raw(text);
    out.raw("\",\"type\":\"unstyled\",\"depth\":0,\"inlineStyleRanges\":[],\"entityRanges\":[],\"data\":{}}],\"entityMap\":");
    if dice.one_in(4) {
        out.raw("{\"0\":{\"type\":\"LINK\",\"mutability\":\"MUTABLE\",\"data\":{\"url\":\"https://shop.example\"}}}");
    } else {
        out.raw("{}");
    }
    out.raw("}},\"isPrivate\":").bool(dice.one_in(9)).raw(",\"appDisabled\":false");
    finish(out, world, rec, "shortcuts/", true);
}
