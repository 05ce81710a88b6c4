//! Brands, queues, SLAs and schedules: small lists.

use crate::out::Out;
use crate::overlay::Rec;
use crate::random::Dice;
use crate::world::{SCHEDULE, World};

fn times(out: &mut Out, rec: &Rec<'_>) {
    out.raw(",\"createdAt\":").ts(rec.created).raw(",\"updatedAt\":").ts(rec.updated);
    out.raw(",\"modifiedAt\":").ts(rec.updated).raw(",\"rev\":").int(rec.rev);
    if rec.deleted {
        out.raw(",\"deleted\":true,\"deletedAt\":").ts(rec.updated);
    }
}

fn finish(out: &mut Out, world: &World, rec: &Rec<'_>, path: &str) {
    times(out, rec);
    out.raw("},\"relationships\":{").rel("org", "org", "orgs/", world.org);
    out.raw("}").close(path, rec.id);
}

pub(crate) fn write_brand(out: &mut Out, world: &World, rec: &Rec<'_>) {
    out.open("brand", rec.id).raw("\"name\":\"Shop ").int(rec.number & 0xffff_ffff);
    out.raw("\",\"iconUrl\":\"https://img.example/b/").hex(rec.hash, 6);
    out.raw(".png\",\"default\":").bool(rec.number == 0);
    finish(out, world, rec, "brands/");
}

pub(crate) fn write_queue(out: &mut Out, world: &World, rec: &Rec<'_>) {
    let mut edit = Dice::new(rec.edit_hash);
    let system = rec.number == 0;
    out.open("queue", rec.id).raw("\"name\":\"");
    if system {
        out.raw("DEFAULT_QUEUE");
    } else {
        out.raw("QUEUE_").int(rec.number & 0xffff_ffff);
    }
    out.raw("\",\"displayName\":\"Queue ").int(rec.number & 0xffff_ffff);
    out.raw("\",\"description\":\"\",\"priority\":").int(1 + edit.roll(5)).raw(",\"itemSize\":20");
    out.raw(",\"restrictTransfersByUsers\":false,\"system\":").bool(system);
    finish(out, world, rec, "routing/queues/");
}

pub(crate) fn write_sla(out: &mut Out, world: &World, rec: &Rec<'_>) {
    out.open("sla", rec.id).raw("\"currentVersion\":").int(rec.rev);
    // An SLA has no `updatedAt`.
    out.raw(",\"createdAt\":").ts(rec.created);
    out.raw("},\"relationships\":{").rel("org", "org", "orgs/", world.org);
    out.raw(",\"versions\":{\"data\":[{\"type\":\"sla_version\",\"id\":").id(rec.id).raw("}]}}");
    out.close("slas/", rec.id);
}

/// The version that `GET /slas` puts into `included`.
pub(crate) fn write_sla_version(out: &mut Out, world: &World, rec: &Rec<'_>) {
    out.open("sla_version", rec.id)
        .raw("\"name\":\"Email standard\",\"description\":\"\",\"version\":");
    out.int(rec.rev).raw(",\"hours\":").id(world.id(SCHEDULE, 0));
    out.raw(",\"metrics\":{\"firstResponse\":{\"enabled\":true,\"basedOnHumanInteraction\":false,\"times\":{\"1\":28800,\"2\":28800,\"3\":14400,\"4\":7200,\"5\":3600}}},\"criteria\":{\"and\":[{\"conversation_channel\":{\"operator\":\"equals\",\"value\":\"email\"}}]},\"createdAt\":");
    out.ts(rec.updated).raw("},\"relationships\":{").rel("sla", "sla", "slas/", rec.id).raw("}}");
}

pub(crate) fn write_schedule(out: &mut Out, world: &World, rec: &Rec<'_>) {
    out.open("schedule", rec.id)
        .raw("\"name\":\"Weekdays\",\"timezone\":\"Europe/Paris\",\"default\":");
    out.bool(rec.number == 0);
    out.raw(",\"hours\":{\"0\":null,\"1\":[[540,1080]],\"2\":[[540,720],[780,1080]],\"3\":[[540,1080]],\"4\":[[540,1080]],\"5\":[[540,1020]],\"6\":null}");
    finish(out, world, rec, "schedules/");
}

/// The holiday that `GET /schedules` puts into `included`.
pub(crate) fn write_holiday(out: &mut Out, _world: &World, rec: &Rec<'_>) {
    out.open("holiday", rec.id).raw("\"name\":\"New Year\",\"startDate\":\"2026-01-01\",\"endDate\":\"2026-01-01\",\"description\":\"\",\"enabled\":true");
    times(out, rec);
    out.raw("},\"relationships\":{").rel("schedule", "schedule", "schedules/", rec.id).raw("}}");
}
